"""
What a feature is: settings, a resource or wrapper, and one registration.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from twisted.application.service import IService
from twisted.web.resource import IResource

from mixweb.engine.authority import Authority
from mixweb.paths import CanonicalPath
from mixweb.stores import IStore, StoreService, StoreURL, open_store

if TYPE_CHECKING:
    from mixweb.engine.request import Request

#: A path in a setting; a relative one counts from the file that holds it, or from the current directory.
FilePath: TypeAlias = str | os.PathLike[str]

#: The same, or text that begins with a scheme and a colon (``https://...``, ``store:``), which stays as it is.
Place: TypeAlias = Annotated[str, "place"]


class Stage(IntEnum):
    """Where a wrapper stands, outermost first."""

    OBSERVE = 0  # the access log sees every answer
    TRUST = 1  # client address, scheme and host are facts for all below
    HEADERS = 2  # error pages need them too
    REDIRECT = 3  # before a password is asked in clear
    REWRITE = 4  # the path decided is the path served
    CORS = 5  # a preflight carries no credentials
    ADMISSION = 6  # limits by address
    ENCODE = 7  # a cache keeps one identity copy; Vary and ETags in one place
    SESSION = 8
    CSRF = 9
    AUTH = 10  # nothing below runs for a stranger
    QUOTA = 11  # limits by user or key
    CACHE = 12
    TRANSFORM = 13


#: These stand before the host is chosen: they belong to the server.
SERVER_STAGES = (Stage.OBSERVE, Stage.TRUST)


def option(
    default: Any, *, help: str, principal: bool = False, secret: bool = False, metavar: str = "", kw_only: bool = False
) -> Any:
    """
    A field of a settings class.

    :param default: its value when nothing is given; a list or dict is copied.
    :param help: one line.
    :param principal: the first positional argument in Python and the value of the feature's own option.
    :param secret: masked wherever settings are shown.
    :param metavar: what help shows for its value.
    """
    metadata = {"help": help, "principal": principal, "secret": secret, "metavar": metavar}
    if isinstance(default, (list, dict)):
        return field(default_factory=default.copy, metadata=metadata, kw_only=kw_only)
    return field(default=default, metadata=metadata, kw_only=kw_only)


def settings_fields(settings: type | Any) -> list[Field[Any]]:
    """The fields of a settings class that are options: the principal one first, those of every mount or wrapper last."""
    common = ("at", "paths", "except_paths")
    options = [item for item in fields(settings) if "help" in item.metadata]
    return sorted(options, key=lambda item: (not item.metadata["principal"], item.name in common))


def principal_field(settings: type) -> str | None:
    """The name of the principal field, if there is one."""
    return next((item.name for item in settings_fields(settings) if item.metadata["principal"]), None)


def default_of(item: Field[Any]) -> Any:
    """The default of a settings field."""
    return item.default if item.default_factory is MISSING else item.default_factory()


@dataclass(frozen=True)
class Settings:
    """Settings of a feature."""


@dataclass(frozen=True)
class MountSettings(Settings):
    """Settings of a feature that owns a path."""

    at: str = option("/", help="Path it is mounted at.", metavar="PATH", kw_only=True)


@dataclass(frozen=True)
class WrapperSettings(Settings):
    """Settings of a feature that stands in front of resources."""

    paths: Sequence[str] = option(
        (), help="Paths and globs it applies to; everything by default.", metavar="PATH", kw_only=True
    )
    except_paths: Sequence[str] = option((), help="Paths and globs it does not apply to.", metavar="PATH", kw_only=True)


@dataclass
class About:
    """
    The server that a resource tree is part of, for features that show it.

    :ivar kept: values that live as long as the server, over all its configurations.
    :ivar worker: whether it is one of several processes that serve together.
    :ivar configuration: what is in force, as text without secrets.
    :ivar certificates: tells of each certificate that is served its path, its names and the time it ends, in seconds.
    """

    kept: dict[str, Any] = field(default_factory=dict)
    worker: bool = False
    configuration: str = ""
    certificates: Callable[[], Sequence[tuple[str, Sequence[str], float]]] = tuple


@dataclass(frozen=True)
class Context:
    """
    What a feature is given besides its settings.

    :ivar reactor: the reactor that everything runs on.
    :ivar add_service: has a service (a timer, a thread, a child process) live as long as the resource tree.
    :ivar observe: has a function called with each request when it has ended.
    :ivar announce_raw: tells, below the mount's path, where targets are to stay undecoded; ``None`` is any segment.
    :ivar warn: says something at start that the owner of the server should know.
    :ivar interactive: whether a person watches the terminal.
    :ivar server_store: the URL of the server's store.
    :ivar watch: has a function called with each request before anything else sees it.
    :ivar expect_tunnels: has clients of HTTP/2 told that a stream may become something else, as a WebSocket (RFC 8441).
    :ivar expect_connect: has requests with CONNECT passed to resources over HTTP/1.1, as others are.
    :ivar offers: what features of the same tree let others look at and change: objects with interfaces of
        :mod:`mixweb.interfaces`.
    :ivar mounts: the names and paths of all mounts of the same host.
    :ivar wrappers: the names of the wrappers in front of its mounts; ``None`` when they are not known.
    :ivar about: the server, for features that show it.
    """

    reactor: Any
    add_service: Callable[[IService], None]
    observe: Callable[[Callable[[Request], None]], None]
    announce_raw: Callable[[Sequence[bytes | None]], None]
    warn: Callable[[str], None]
    interactive: bool = False
    server_store: StoreURL = "memory:"
    watch: Callable[[Callable[[Request], None]], None] = lambda watcher: None
    expect_tunnels: Callable[[], None] = lambda: None
    expect_connect: Callable[[], None] = lambda: None
    offers: list[Any] = field(default_factory=list)
    mounts: Sequence[tuple[str, str]] = ()
    wrappers: frozenset[str] | None = None
    about: About = field(default_factory=About)

    def store(self, url: StoreURL = "") -> IStore:
        """
        The store of a URL, open as long as the resource tree lives; the same one for the same URL.

        :param url: the server's store when it is empty.
        :raises ValueError: when there is no such store.
        """
        store = open_store(url or self.server_store, self.reactor)
        self.add_service(StoreService(store))
        return store


@dataclass(frozen=True)
class Asked:
    """
    What a client asks for, where a feature explains what it makes of it.

    :ivar target: path and query, undecoded.
    :ivar authority: the host that is asked for; ``None`` when none is named.
    """

    method: bytes
    target: bytes
    path: CanonicalPath
    authority: Authority | None = None
    secure: bool = False


@dataclass(frozen=True)
class Verdict:
    """
    What a feature makes of a request.

    :ivar why: a phrase that names the rule.
    :ivar target: the target from there on; ``None`` where it stays.
    :ivar status: that the feature answers with itself; 0 where it passes the request on.
    """

    why: str
    target: bytes | None = None
    status: int = 0


#: Tells what a feature with these settings makes of a request; ``None`` where it has nothing to say.
Explain: TypeAlias = Callable[[Any, Asked], Verdict | None]


@dataclass(frozen=True)
class Mount:
    """
    Registration of a feature that owns a path.

    :ivar build: makes the resource.
    :ivar raw: whether what is below its path stays undecoded (a field of this name in the settings decides, if there is one).
    :ivar declines: whether it may decline a path, so that another mount at the same place gets its turn.
    :ivar watches: whether it shows what requests meet on their way (a field of this name in the settings decides, if
        there is one).
    """

    name: str
    settings: type[MountSettings]
    build: Callable[[Any, Context], IResource]
    raw: bool = False
    declines: bool = False
    watches: bool = False


@dataclass(frozen=True)
class Wrap:
    """
    Registration of a feature that stands in front of resources.

    :ivar build: makes the wrapper around the resource inside.
    :ivar default: whether it is there unless taken away.
    :ivar explain: tells what it makes of a request, without one.
    :ivar own_paths: whether it is asked about every request and looks at ``paths`` and ``except_paths`` itself.
    :ivar brings: tells from the settings which other wrappers are there with it, unless they are taken away.
    """

    name: str
    stage: Stage
    settings: type[WrapperSettings]
    build: Callable[[Any, IResource, Context], IResource]
    default: bool = False
    explain: Explain = lambda settings, asked: None
    own_paths: bool = False
    brings: Callable[[Any], Iterable[str]] = lambda settings: ()


Feature: TypeAlias = Mount | Wrap


def existing_path(path: FilePath) -> Path:
    """
    The path, which must exist.

    :raises ValueError: with the nearest name that does exist.
    """
    from difflib import get_close_matches

    found = Path(path)
    if found.exists():
        return found
    siblings = [item.name for item in found.parent.iterdir()] if found.parent.is_dir() else []
    near = get_close_matches(found.name, siblings, 1)
    hint = f" (nearest: '{found.parent / near[0]}')" if near else ""
    raise ValueError(f"'{path}' does not exist{hint}")
