"""
Which pages of other origins may read the answers (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

import idna
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource

from mixweb.engine.fields import TOKEN
from mixweb.engine.request import Request
from mixweb.feature import Asked, Context, Stage, Verdict, Wrap, WrapperSettings, option
from mixweb.route import bare
from mixweb.wrapper import HTTPError, Wrapper

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<wild>\*\.)?(?P<host>[^/:?#@,\\\[\]\s*]+|\[[0-9a-f:.]+\])(?P<port>:(?:[0-9]{1,5}|\*))?\Z"
)
_SENT_ORIGIN = re.compile(rb"[a-z][a-z0-9+.-]*://[!-.0-~]+\Z")
_SENT_TEXT = re.compile(rb"[ -~]*\Z")
_DEFAULT_PORTS = {("http", ":80"), ("https", ":443")}


@dataclass(frozen=True)
class Cors(WrapperSettings):
    """Let pages of other origins read the answers, and answer their preflights."""

    origins: Sequence[str] = option(
        (), principal=True, help="Origin that may: https://a.example, https://*.a.example, *, null.", metavar="ORIGIN"
    )
    methods: Sequence[str] = option(
        ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"), help="Methods that pages may use; * for any."
    )
    headers: Sequence[str] = option(
        ("Accept", "Accept-Language", "Authorization", "Content-Language", "Content-Type"),
        help="Request headers that pages may set; * for any.",
    )
    expose: Sequence[str] = option((), help="Header of the answers that pages may read; * for all.", metavar="NAME")
    credentials: bool = option(False, help="Answer requests with cookies and logins too; not with origins '*'.")
    echo_any_origin: bool = option(False, help="Allow every origin by its name, with credentials if set. Unsafe.")
    max_age: int = option(600, help="Seconds that browsers remember a preflight; 0 for not at all.", metavar="SECONDS")
    private_network: bool = option(False, help="Let public sites reach this server in a private network.")
    override: bool = option(False, help="Let ?origin=VALUE&creds=0|1 decide for one answer. Unsafe.")

    def __post_init__(self) -> None:
        names = origin_names(self.origins)
        if not (names or self.echo_any_origin or self.override):
            raise ValueError("origins: name at least one (https://a.example), or * for every site")
        for origin in names:
            if origin not in ("*", "null"):
                origin_pattern(origin)
        if self.credentials and "*" in names and not self.echo_any_origin:
            raise ValueError(
                "credentials with origins '*' is unsafe: any site could read what its visitors may read here; "
                "name the origins, or set echo_any_origin"
            )
        for setting in ("methods", "headers", "expose"):
            for name in getattr(self, setting):
                if not TOKEN.match(name.encode()):
                    raise ValueError(f"{setting}: {name!r} is not a {'method' if setting == 'methods' else 'header'}")
        for name in self.methods:
            if name != name.upper():
                raise ValueError(f"methods: {name!r} is not a method (they are in capitals)")
        if self.max_age < 0:
            raise ValueError("max_age must not be negative")


def origin_names(setting: Sequence[str]) -> list[str]:
    """The origins of a setting, each of whose texts may have several, with commas or blanks between them."""
    return [name for text in setting for name in re.split(r"[,\s]+", text) if name]


def origin_pattern(text: str) -> re.Pattern[bytes]:
    """
    Matches the origins that a setting means, as browsers send them: lower case, without the port of the scheme.

    ``*.`` before the host is any number of labels, at least one; ``*`` in the place of the port is any port, or none.

    :raises ValueError: when it is not an origin.
    """
    found = _ORIGIN.match(text.lower())
    if found is None:
        raise ValueError(f"origins: {text!r} is not an origin{_hint(text)}")
    host, port = found["host"], found["port"] or ""
    try:
        host = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise ValueError(f"origins: {text!r} is not an origin: {host!r} is no host name") from None
    if (found["scheme"], port) in _DEFAULT_PORTS:
        port = ""
    labels = r"(?:[a-z0-9_-]+\.)+" if found["wild"] else ""
    ports = r"(?::[0-9]{1,5})?" if port == ":*" else re.escape(port)
    return re.compile(rf"{re.escape(found['scheme'])}://{labels}{re.escape(host)}{ports}\Z".encode())


def _hint(text: str) -> str:
    if "://" not in text:
        return f"; did you mean https://{text.strip('/')}?"
    if "*" in text:
        return ": a wildcard stands for the first labels or for the port (https://*.a.example, http://localhost:*)"
    scheme, _, rest = text.partition("://")
    host = re.split(r"[/?#]", rest)[0]
    return f": it ends with the host and port, {scheme}://{host}" if host and host != rest else ""


@dataclass(frozen=True, slots=True)
class Grant:
    """
    What one answer says.

    :ivar origin: the value of ``Access-Control-Allow-Origin``; empty for none.
    :ivar credentials: whether a request with cookies and logins may be answered.
    :ivar varies: whether another origin might have got another answer.
    """

    origin: bytes
    credentials: bool
    varies: bool


class Origins:
    """Decides by origin."""

    def __init__(self, settings: Cors) -> None:
        names = origin_names(settings.origins)
        self.everyone = "*" in names and not settings.echo_any_origin
        self.any_name = settings.echo_any_origin
        self.null = "null" in names
        self.credentials = settings.credentials
        self.patterns = [origin_pattern(name) for name in names if name not in ("*", "null")]

    def grant(self, origin: bytes | None) -> Grant:
        """
        What is said to an origin.

        :param origin: as sent; ``None`` for a request without one.
        """
        if self.everyone:
            return Grant(b"*", False, False)
        allowed = origin if origin is not None and self.allows(origin) else b""
        return Grant(allowed, self.credentials, True)

    def allows(self, origin: bytes) -> bool:
        """Whether an origin may read answers."""
        if origin == b"null":
            return self.null
        if self.any_name and _SENT_ORIGIN.match(origin):
            return True
        return any(pattern.match(origin) for pattern in self.patterns)


def overridden(grant: Grant, query: Mapping[str, Sequence[str]], origin: bytes | None) -> Grant:
    """
    What a request asks for itself: ``origin=VALUE``, where ``{ECHO}`` is its origin or ``*`` and nothing is nothing, and
    ``creds=0`` or ``creds=1``.

    :raises ValueError: naming what cannot be said.
    """
    if "origin" in query:
        asked = query["origin"][-1].encode()
        if not _SENT_TEXT.match(asked):
            raise ValueError("origin has characters that may not stand in a header")
        echoes = asked == b"{ECHO}"
        grant = replace(grant, origin=(origin or b"*") if echoes else asked, varies=echoes)
    if "creds" in query:
        if query["creds"][-1] not in ("0", "1"):
            raise ValueError("creds must be 0 or 1")
        grant = replace(grant, credentials=query["creds"][-1] == "1")
    return grant


def allowed_names(setting: Sequence[str], asked: bytes) -> bytes:
    """
    The names that are allowed: those of the setting or, where that is ``*``, those asked for.

    :param asked: a list of names as the client sent it.
    """
    if "*" not in setting:
        return ", ".join(setting).encode()
    return b", ".join(name for item in asked.split(b",") if TOKEN.match(name := item.strip()))


def add_vary(headers: Headers, *names: bytes) -> None:
    """Add names to ``Vary`` that are not there yet."""
    lines = headers.getRawHeaders(b"Vary") or ()
    there = {name.strip().lower() for line in lines for name in line.split(b",")}
    missing = [name for name in names if name.lower() not in there]
    if missing and b"*" not in there:
        headers.addRawHeader(b"Vary", b", ".join(missing))


def _single(request: Request, name: bytes) -> bytes | None:
    values = request.requestHeaders.getRawHeaders(name) or ()
    return values[0] if len(values) == 1 else None


class CorsWrapper(Wrapper):
    """Answers preflights, and says on every other answer, errors too, who may read it."""

    def __init__(self, settings: Cors, inner: IResource) -> None:
        super().__init__(inner)
        self.settings = settings
        self.origins = Origins(settings)
        self.expose = ", ".join(settings.expose).encode()
        self.max_age = b"%d" % settings.max_age

    def handle(self, request: Request) -> None:
        origin = _single(request, b"Origin")
        grant = self.origins.grant(origin)
        if self.settings.override:
            grant = self._override(grant, request, origin)
        if request.method == b"OPTIONS" and origin is not None:
            method = _single(request, b"Access-Control-Request-Method")
            if method is not None:
                self.answer_preflight(request, grant, method)
                return
        request.before_headers(lambda request: self.say(request, grant))
        self.forward(request)

    def _override(self, grant: Grant, request: Request, origin: bytes | None) -> Grant:
        query = request.target.partition(b"?")[2].decode("ascii", "replace")
        try:
            return overridden(grant, parse_qs(query, keep_blank_values=True, max_num_fields=1000), origin)
        except ValueError as reason:
            raise HTTPError(400, f"cors: {reason}.") from None

    def say(self, request: Request, grant: Grant) -> None:
        """Say who may read an answer, in the place of what the resource said."""
        self._say_origin(request, grant)
        if self.expose and grant.origin:
            headers = request.responseHeaders
            headers.setRawHeaders(b"Access-Control-Expose-Headers", [self._exposed(headers, grant)])

    def _say_origin(self, request: Request, grant: Grant) -> None:
        headers = request.responseHeaders
        if grant.varies:
            add_vary(headers, b"Origin")
        if grant.origin:
            headers.put(b"Access-Control-Allow-Origin", grant.origin)
        else:
            headers.removeHeader(b"Access-Control-Allow-Origin")
        if grant.origin and grant.credentials:
            headers.put(b"Access-Control-Allow-Credentials", b"true")
        elif headers.has(b"Access-Control-Allow-Credentials"):
            headers.removeHeader(b"Access-Control-Allow-Credentials")

    def _exposed(self, headers: Headers, grant: Grant) -> bytes:
        # With credentials browsers take the star for a name.
        if self.expose != b"*" or not grant.credentials:
            return self.expose
        return b", ".join(sorted(name for name, _ in headers.getAllRawHeaders()))

    def answer_preflight(self, request: Request, grant: Grant, method: bytes) -> None:
        """
        Tell a browser what it may send; nothing behind this wrapper is asked.

        :param method: the one that the browser wants to use.
        """
        headers = request.responseHeaders
        self._say_origin(request, grant)
        if grant.origin:
            asked = b",".join(request.requestHeaders.getRawHeaders(b"Access-Control-Request-Headers") or ())
            self._say_names(headers, b"Methods", self.settings.methods, b"Method", method)
            self._say_names(headers, b"Headers", self.settings.headers, b"Headers", asked)
            headers.setRawHeaders(b"Access-Control-Max-Age", [self.max_age])
            if self.settings.private_network and _single(request, b"Access-Control-Request-Private-Network") == b"true":
                headers.setRawHeaders(b"Access-Control-Allow-Private-Network", [b"true"])
        request.setResponseCode(204)
        request.complete(b"")

    def _say_names(self, headers: Headers, what: bytes, setting: Sequence[str], source: bytes, asked: bytes) -> None:
        names = allowed_names(setting, asked)
        if names:
            headers.setRawHeaders(b"Access-Control-Allow-" + what, [names])
        if "*" in setting:
            add_vary(headers, b"Access-Control-Request-" + source)


def build(settings: Cors, inner: IResource, context: Context) -> IResource:
    if isinstance(bare(inner), CorsWrapper):
        raise ValueError("cors is there twice: name all origins in one (--cors 'https://a.example https://b.example')")
    if settings.echo_any_origin:
        context.warn("cors: every site may read the answers, as if it were this one (echo_any_origin)")
    if settings.override:
        context.warn("cors: a request may choose which site reads its answer (override)")
    return CorsWrapper(settings, inner)


def explain(settings: Cors, asked: Asked) -> Verdict | None:
    """What it does with a request besides its headers."""
    if asked.method != b"OPTIONS":
        return None
    return Verdict("a preflight (with Origin and Access-Control-Request-Method) is answered here with 204")


FEATURE = Wrap("cors", Stage.CORS, Cors, build, explain=explain)
