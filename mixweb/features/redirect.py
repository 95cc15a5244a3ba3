"""
Redirects: to TLS, to one host name, to one form of the trailing slash, and from old addresses to new ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

from twisted.web.resource import IResource

from mixweb import feature
from mixweb.engine.authority import Authority, parse_authority
from mixweb.engine.request import Request
from mixweb.feature import Context, Stage, Wrap, WrapperSettings, option
from mixweb.kit.placeholders import Template
from mixweb.kit.rules import (
    capture_names,
    captures,
    clean_target,
    clean_url,
    compile_pattern,
    is_pattern,
    path_text,
    quote_path,
    quote_text,
)
from mixweb.wrapper import Wrapper

_CODES = (301, 302, 303, 307, 308)

#: A target that names its host: literally, or as the host that was asked for. What comes from a path may not name one.
_ABSOLUTE = re.compile(
    r"(?:https?:)?//(?:\{host\}|\[[0-9A-Fa-f:.]+\]|[^/?#{}\[\]@:\s]+)(?::[0-9]+)?(?:\{path\}|[/?#]|\Z)"
)
_RELATIVE = re.compile(r"/(?!/)|\{path\}")

Values = Mapping[str, str]


@dataclass(frozen=True)
class Redirect(WrapperSettings):
    """Send clients elsewhere: to TLS, to the one host name, or from old paths to new ones."""

    rules: Mapping[str, str] = option(
        {}, principal=True, help="Path, glob or regular expression (^...) and where it goes.", metavar="PATH=URL"
    )
    https: bool = option(False, help="Redirect plain HTTP to TLS.")
    https_port: int = option(443, help="Port that TLS is on, as clients see it.", metavar="PORT")
    host: str = option("", help="The one host name; requests for another are redirected to it.", metavar="NAME")
    slash: Literal["", "add", "remove"] = option("", help="Add a slash to the end of paths, or remove it.")
    code: int = option(308, help="Status code: 301, 302, 303, 307 or 308.")

    def __post_init__(self) -> None:
        if self.code not in _CODES:
            raise ValueError(f"code must be one of {', '.join(map(str, _CODES))}, not {self.code}")
        if not 0 < self.https_port < 65536:
            raise ValueError(f"https_port must be a port from 1 to 65535, not {self.https_port}")
        if self.slash not in ("", "add", "remove"):
            raise ValueError(f"slash must be 'add', 'remove' or empty, not {self.slash!r}")
        if self.host:
            _host(self.host)
        Rules(self.rules)


def _host(name: str) -> bytes:
    try:
        authority = parse_authority(name.encode() if name.isascii() else name.encode("idna"))
    except ValueError:
        raise ValueError(f"host: {name!r} is not a host name") from None
    if authority.port is not None:
        raise ValueError(f"host: {name!r} is to have no port")
    return authority.host


class Target:
    """
    Where a rule leads to.

    :param url: a path or an http(s) URL; ``{path}`` and the captures in it are percent-encoded, ``{host}`` is known
        too, and ``{query}`` in its query and fragment. Without ``{query}`` the request's query is kept.
    :param names: the captures.
    :raises ValueError: when it could be made to lead to a host that nobody named, or has an unknown placeholder.
    """

    def __init__(self, url: str, names: Iterable[str]) -> None:
        written = clean_url(url)
        self.is_absolute = _ABSOLUTE.match(written) is not None
        if not self.is_absolute and not _RELATIVE.match(written):
            raise ValueError(
                f"{url!r} is no place to redirect to: begin it with /, {{path}} or http(s)://HOST/"
                " (the host may be {host}, but no other placeholder)"
            )
        head, self._fragment_mark, fragment = written.partition("#")
        path, _, query = head.partition("?")
        in_path = _getters(["path", *names], quote_path) | {"host": itemgetter("host")}
        in_query = _getters(["path", *names], quote_text) | {"host": itemgetter("host"), "query": itemgetter("query")}
        self._path: Template[Values] = Template(path, in_path)
        self._query: Template[Values] = Template(query, in_query)
        self._fragment: Template[Values] = Template(fragment, in_query)
        self._keeps_query = "query" not in self._query.names | self._fragment.names

    def render(self, values: Values) -> str:
        """
        The URL for a request.

        :param values: ``path`` and captures as text, ``query`` and ``host`` (without port) as they stand in a URL.
        """
        path = self._path.render(values)
        if not self.is_absolute:
            path = "/" + path.lstrip("/")
        own = self._query.render(values)
        query = "&".join(filter(None, [own, values["query"] if self._keeps_query else ""]))
        fragment = self._fragment_mark + self._fragment.render(values)
        return path + ("?" + query if query else "") + fragment


def _getters(names: Iterable[str], escape: Callable[[str], str]) -> dict[str, Callable[[Values], str]]:
    def getter(name: str) -> Callable[[Values], str]:
        return lambda values: escape(values[name])

    return {name: getter(name) for name in names}


class Rules:
    """
    Where paths lead to: plain paths first, then the patterns in their order.

    :raises ValueError: naming the rule that is malformed.
    """

    def __init__(self, rules: Mapping[str, str]) -> None:
        self._plain: dict[str, Target] = {}
        self._patterns: list[tuple[re.Pattern[str], Target]] = []
        for text, url in rules.items():
            try:
                pattern = compile_pattern(text)
                target = Target(url, capture_names(pattern))
            except ValueError as reason:
                raise ValueError(f"rules: {text}: {reason}") from None
            if is_pattern(text):
                self._patterns.append((pattern, target))
            else:
                self._plain[text.strip("/")] = target

    def find(self, path: str) -> tuple[Target, dict[str, str]] | None:
        """The target of the first rule that matches the text of a path, and its captures."""
        plain = self._plain.get(path.strip("/"))
        if plain is not None:
            return plain, {}
        for pattern, target in self._patterns:
            if found := pattern.match(path):
                return target, captures(found)
        return None


@dataclass(frozen=True, slots=True)
class Asked:
    """
    What a client asks for.

    :ivar path: the text of the path; ``None`` where a raw mount stands, whose targets stay as they came.
    :ivar target: path and query as they came.
    :ivar is_reading: whether the method is one for which the slash is corrected.
    """

    secure: bool
    authority: Authority
    path: str | None
    target: bytes
    is_reading: bool


class Redirects:
    """Decides where a request is redirected to."""

    def __init__(self, settings: Redirect) -> None:
        self.rules = Rules(settings.rules)
        self.has_rules = bool(settings.rules)
        self.https = settings.https
        self.https_port = None if settings.https_port == 443 else settings.https_port
        self.host = _host(settings.host) if settings.host else b""
        self.slash = settings.slash

    def location(self, asked: Asked) -> str | None:
        """The ``Location``, or ``None`` where the request stays."""
        origin = self.origin(asked)
        moved = None if asked.path is None else self.moved(asked, asked.path)
        if not origin and moved is None:
            return None
        current = clean_target(asked.target if asked.target.startswith(b"/") else b"/" + asked.target)
        if moved is None or moved in (current, _origin("https" if asked.secure else "http", asked.authority) + current):
            return origin + current if origin else None
        return origin + moved if moved.startswith("/") and not moved.startswith("//") else moved

    def origin(self, asked: Asked) -> str:
        """The scheme and host to change to; empty where they stay."""
        to_tls = self.https and not asked.secure
        host = self.host or asked.authority.host
        if not to_tls and host == asked.authority.host:
            return ""
        port = self.https_port if to_tls else asked.authority.port
        return _origin("https" if asked.secure or to_tls else "http", Authority(host, port))

    def moved(self, asked: Asked, path: str) -> str | None:
        """What a rule makes of the path, or the trailing slash; ``None`` where neither applies."""
        found = self.rules.find(path) if self.has_rules else None
        slashed = with_slash(path, self.slash) if asked.is_reading else path
        if found is None and slashed == path:
            return None
        query = clean_target(asked.target.partition(b"?")[2])
        if found is not None:
            target, values = found
            return target.render(
                {**values, "path": path, "query": query, "host": _netloc(Authority(asked.authority.host))}
            )
        return quote_path(slashed) + ("?" + query if query else "")


def with_slash(path: str, slash: str) -> str:
    """The text of a path with (``add``) or without (``remove``) a slash at its end; a name with a dot gets none."""
    if slash == "add" and "." not in path.rpartition("/")[2]:
        return path.removesuffix("/") + "/"
    if slash == "remove" and path != "/":
        return path.removesuffix("/")
    return path


def _netloc(authority: Authority) -> str:
    host = authority.host.decode("ascii")
    name = f"[{host}]" if ":" in host else host
    return name if authority.port is None else f"{name}:{authority.port}"


def _origin(scheme: str, authority: Authority) -> str:
    return f"{scheme}://{_netloc(authority)}"


class RedirectWrapper(Wrapper):
    """Redirects what the settings say, and forwards the rest."""

    def __init__(self, settings: Redirect, inner: IResource) -> None:
        super().__init__(inner)
        self.redirects = Redirects(settings)
        self.code = settings.code

    def handle(self, request: Request) -> None:
        location = self.redirects.location(asked(request))
        if location is None:
            self.forward(request)
            return
        request.setResponseCode(self.code)
        request.setHeader(b"Location", location.encode("ascii"))
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        request.complete(location.encode("ascii") + b"\n")


def asked(request: Request) -> Asked:
    """What a request asks for."""
    path = request.canonical_path
    return Asked(
        secure=request.isSecure(),
        authority=request.authority or Authority(request.getRequestHostname()),
        path=path_text(path.segments) if path.raw is None else None,
        target=request.target,
        is_reading=request.method in (b"GET", b"HEAD"),
    )


def build(settings: Redirect, inner: IResource, context: Context) -> IResource:
    return RedirectWrapper(settings, inner)


def explain(settings: Redirect, found: feature.Asked) -> feature.Verdict | None:
    """Where a request is redirected to."""
    path = path_text(found.path.segments) if found.path.raw is None else None
    authority = found.authority or Authority(b"localhost")
    wanted = Asked(found.secure, authority, path, found.target, found.method in (b"GET", b"HEAD"))
    location = Redirects(settings).location(wanted)
    return None if location is None else feature.Verdict(f"{settings.code} to {location}", status=settings.code)


FEATURE = Wrap("redirect", Stage.REDIRECT, Redirect, build, explain=explain)
