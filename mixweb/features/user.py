"""
The pages of the users of this machine: ``~/public_html``, and the servers they run themselves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from stat import S_ISSOCK
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

from twisted.application.service import Service
from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.web.resource import IResource, Resource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import File
from zope.interface import implementer

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.feature import Context, Mount, MountSettings, option
from mixweb.kit.mounted import redirect_to_directory
from mixweb.shared import RemoteSite

T = TypeVar("T")

#: How long the connection to a user's server may take, in seconds.
CONNECT_SECONDS = 10

#: What the name of a user has at its end where the user's own server is meant.
_SERVER = b".twistd"

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Users</title>
</head>
<body>
<h1>Users</h1>
<ul>
{items}</ul>
</body>
</html>
"""


@dataclass(frozen=True)
class UserDirectory(MountSettings):
    """Pages of the users of this machine: ~/public_html at /user/, their own server at /user.twistd/."""

    directory: str = option("public_html", help="Folder in a home directory that is served.", metavar="NAME")
    socket: str = option(".twistd-web-pb", help="Socket in a home directory of a user's own server.", metavar="NAME")

    def __post_init__(self) -> None:
        for name in ("directory", "socket"):
            value = getattr(self, name)
            if not value or value.startswith("/") or ".." in value.split("/"):
                raise ValueError(f"{name} must be a path inside a home directory, not {value!r}")


class Account(Protocol):
    """An entry of the user database."""

    pw_name: str
    pw_uid: int
    pw_gecos: str
    pw_dir: str


class Accounts(Protocol):
    """The user database, like the module :mod:`pwd`."""

    def getpwall(self) -> list[Any]:
        """All accounts."""

    def getpwnam(self, name: str, /) -> Any:
        """
        The account of a name.

        :raises KeyError: when there is none.
        """


class Entry(NamedTuple):
    """A line of the list of users: the segment it leads to, and its text."""

    name: str
    text: str


class Homes:
    """
    What the users offer. Every method asks the user database and the file system, and may take a while.
    """

    def __init__(self, settings: UserDirectory, accounts: Accounts) -> None:
        self.settings = settings
        self.accounts = accounts

    def directory(self, name: str) -> str | None:
        """The folder that a user has served."""
        account = self._find(name)
        return None if account is None else self._directory(account)

    def socket(self, name: str) -> str | None:
        """The socket of a user's server."""
        account = self._find(name)
        return None if account is None else self._socket(account)

    def entries(self) -> list[Entry]:
        """All users that offer something."""
        found = []
        for account in self.accounts.getpwall():
            real_name = account.pw_gecos.partition(",")[0] or account.pw_name
            if self._directory(account):
                found.append(Entry(account.pw_name, f"{real_name} (file)"))
            if self._socket(account):
                found.append(Entry(account.pw_name + _SERVER.decode("ascii"), f"{real_name} (twistd)"))
        return found

    def _find(self, name: str) -> Account | None:
        try:
            account: Account = self.accounts.getpwnam(name)
        except (KeyError, ValueError):
            return None
        return account

    def _directory(self, account: Account) -> str | None:
        path = os.path.join(account.pw_dir, self.settings.directory)
        return path if os.path.isdir(path) else None

    def _socket(self, account: Account) -> str | None:
        """The user's socket; one that belongs to another user than that or root is not theirs to offer."""
        path = os.path.join(account.pw_dir, self.settings.socket)
        try:
            status = os.stat(path)
        except OSError:
            return None
        return path if S_ISSOCK(status.st_mode) and status.st_uid in (account.pw_uid, 0) else None


class PublicFile(File):
    """
    A file or folder that a user offers: without names that begin with a dot, and without links that lead out of it.

    :param root: the folder, as a real path.
    """

    def __init__(self, path: str, root: str = "") -> None:
        super().__init__(path, defaultType="application/octet-stream")
        self.root = root or os.path.realpath(path)

    def createSimilarFile(self, path: str | bytes) -> PublicFile:
        return PublicFile(os.fsdecode(path), self.root)

    def getChild(self, path: bytes, request: Request) -> IResource:
        if path.startswith(b".") or b"/" in path or b"\0" in path:
            return self.childNotFound
        found: IResource = super().getChild(path, request)
        return found if not isinstance(found, PublicFile) or found.is_inside() else self.childNotFound

    def is_inside(self) -> bool:
        """Whether it is really below the root."""
        return os.path.commonpath([os.path.realpath(self.path), self.root]) == self.root

    def listNames(self) -> list[str]:
        return sorted(name for name in super().listNames() if not name.startswith("."))


class UserList(Resource):
    """The page with all users that offer something."""

    def __init__(self, entries: list[Entry]) -> None:
        super().__init__()
        self.entries = entries

    def render_GET(self, request: Request) -> str:
        items = [f'<li><a href="{quote(name, safe="")}/">{escape(text)}</a></li>\n' for name, text in self.entries]
        return _PAGE.format(items="".join(items))


@implementer(IResource)
class UserDirectoryResource:
    """
    The users of this machine: a list of them, and below each name what that user offers.

    :param reactor: has the threads in which the user database is asked; a Clock has none, and then it is asked at once.
    """

    isLeaf = True

    def __init__(self, homes: Homes, reactor: Any) -> None:
        self.homes = homes
        self.reactor = reactor
        self.sites: dict[str, RemoteSite] = {}

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        raise TypeError("the user directory is a leaf: it has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        raise TypeError("the user directory is a leaf: it has no children")

    def render(self, request: Request) -> bytes | int:
        if not request.postpath:
            return redirect_to_directory(request)
        request.spawn(self._answer(request))
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        name = request.postpath.pop(0)
        request.prepath.append(name)
        if name:
            resource = await self._find(name)
        else:
            resource = UserList(await self._in_thread(self.homes.entries))
        if name and not request.postpath:
            request.complete(redirect_to_directory(request))
        else:
            request.render(getChildForRequest(resource, request))

    async def _find(self, name: bytes) -> IResource:
        user = name.removesuffix(_SERVER).decode(sys.getfilesystemencoding(), "surrogateescape")
        if name.endswith(_SERVER):
            path = await self._in_thread(self.homes.socket, user)
            if path is not None:
                return self._site(path)
        else:
            path = await self._in_thread(self.homes.directory, user)
            if path is not None:
                return PublicFile(path)
        raise HTTPError(404, "Nothing is here.")

    def _site(self, path: str) -> RemoteSite:
        if path not in self.sites:
            for other in [other for other, site in self.sites.items() if site.idle]:
                del self.sites[other]
            self.sites[path] = RemoteSite(UNIXClientEndpoint(self.reactor, path, CONNECT_SECONDS), path)
        return self.sites[path]

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> Deferred[T]:
        if not IReactorThreads.providedBy(self.reactor):
            return execute(work, *arguments)
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), work, *arguments)

    def disconnect(self) -> None:
        """Close the connections to the users' servers."""
        for site in self.sites.values():
            site.disconnect()


class _Connections(Service):
    def __init__(self, users: UserDirectoryResource) -> None:
        self.users = users

    def stopService(self) -> None:
        super().stopService()
        self.users.disconnect()


def build(settings: UserDirectory, context: Context) -> IResource:
    try:
        import pwd
    except ImportError:
        raise ValueError("this system has no user database of the POSIX kind") from None
    users = UserDirectoryResource(Homes(settings, pwd), context.reactor)
    context.add_service(_Connections(users))
    return users


FEATURE = Mount("user", UserDirectory, build)
