"""
Users of a file, read again when it changes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.application.internet import TimerService

from mixweb.features.auth import _hashes as hashes
from mixweb.features.auth._digest import ALGORITHMS
from mixweb.features.auth._files import Read, User, edit, has_line, line_of, parse, unmarked_of, with_line
from mixweb.features.auth._pool import Busy, WorkPool
from mixweb.features.auth._users import Changed, Hashed, Taken, identity_of, log

#: How often a file is looked at, in seconds.
_LOOK = 1.0


class FileUsers(Hashed):
    """
    The users of a file, read again when it changes.

    :param path: absolute.
    :param unmarked: how passwords without a mark are stored (:func:`unmarked_of`).
    :param realm: of the htdigest lines that count; all of them when it is empty.
    :ivar watch: a service that looks whether it has changed.
    :raises OSError: when it cannot be read.
    """

    def __init__(self, path: str, unmarked: str, realm: str, reactor: Any, pool: WorkPool, rehash: bool) -> None:
        super().__init__(pool, rehash)
        self._realm = realm
        self.path = path
        self.identity = identity_of(f"file:{os.path.realpath(path)}")
        self._unmarked = unmarked_of(path, unmarked)
        self.watch = TimerService(_LOOK, self._look)
        self.watch.clock = reactor
        self._stamp = self._stat()
        self._told = ""
        self.read = Read()
        self._take(self._read())

    @property
    def realms(self) -> frozenset[str]:
        return frozenset(self.read.realms)

    @property
    def digests(self) -> tuple[str, ...]:
        stored = [user.password for user in self.read.users.values()]
        return tuple(name for name in ALGORITHMS if any(hashes.has_digest(text, name) for text in stored))

    def find(self, name: str) -> User | None:
        return self.read.users.get(name)

    async def look(self, name: str) -> User | None:
        # A file that cannot be read just now goes on counting as it was.
        with suppress(OSError, Busy):
            await self.refresh()
        return self.find(name)

    async def create(self, name: str, password: str, roles: frozenset[str]) -> User:
        user = User(name, await self._pool.run(hashes.new_hash, password), roles)

        def add(data: bytes) -> User:
            if has_line(data, name):
                raise Taken
            return user

        return await self._edit(name, add)

    async def change(self, user: User, password: str) -> User:
        stored = await self._pool.run(self._stored_like, user, password)

        def replace(data: bytes) -> User:
            found = parse(data, self._unmarked, self._realm).users.get(user.name)
            if found is None or found.stamp != user.stamp:
                raise Changed("it was changed meanwhile")
            return User(user.name, stored, found.roles)

        return await self._edit(user.name, replace)

    def _stored_like(self, user: User, password: str) -> str:
        """How a new password is stored: as an HA1 for one who had one, because digest knows nothing else."""
        if not user.password.startswith(hashes.HA1):
            return hashes.new_hash(password)
        algorithm, _, rest = user.password.removeprefix(hashes.HA1).partition(":")
        realm = rest.rpartition(":")[0]
        return f"{hashes.HA1}{algorithm}:{realm}:{hashes.ha1(algorithm, user.name, realm, password)}"

    async def _edit(self, name: str, change: Callable[[bytes], User]) -> User:
        made: list[User] = []

        def rewritten(data: bytes) -> bytes:
            made[:] = [change(data)]
            return with_line(data, name, line_of(made[0]))

        content = await self._pool.run(edit, self.path, rewritten)
        self._take(content)
        return made[0]

    async def refresh(self) -> None:
        """Read the file if it changed."""
        content = await self._pool.run(self._read_if_changed)
        if content is not None:
            self._take(content)

    async def _look(self) -> None:
        try:
            await self.refresh()
            self._told = ""
        except Busy:
            pass
        except OSError as reason:
            self._tell(f"cannot be read: {reason.strerror}; its users stay as they were")

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            self._told = problem
            log.error("{path} {problem}", path=self.path, problem=problem)

    def _stat(self) -> tuple[int, ...]:
        found = os.stat(self.path)
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _read(self) -> bytes:
        with open(self.path, "rb") as file:
            return file.read()

    def _read_if_changed(self) -> bytes | None:
        stamp = self._stat()
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        return self._read()

    def _take(self, content: bytes) -> None:
        told, self.read = self.read.problems, parse(content, self._unmarked, self._realm)
        self._decoys = sorted({user.password for user in self.read.users.values()}) or [hashes.decoy()]
        for line, problem in self.read.problems:
            if (line, problem) not in told:
                log.warn("{path}:{line}: {problem}", path=self.path, line=line, problem=problem)
