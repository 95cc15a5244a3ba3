"""
Letting a user try again whose failures only the server's own memory knows: a file beside that of the users says whom.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.application.internet import TimerService
from twisted.logger import Logger

from mixweb.features.auth._lockout import unlock
from mixweb.features.auth._pool import Busy, WorkPool
from mixweb.stores import IStore

#: How often the file is looked for, in seconds.
_LOOK = 1.0

_SUFFIX = ".unlock"

log = Logger(namespace="mixweb.auth")


def ask(path: str, name: str) -> str:
    """
    Have the server unlock a user. It blocks.

    :param path: of the file of users.
    :returns: the file that says so.
    :raises OSError: when it cannot be written.
    """
    with open(path + _SUFFIX, "a", encoding="utf-8") as file:
        file.write(name + "\n")
    return path + _SUFFIX


def take(path: str) -> list[str]:
    """Whom to unlock; nobody is named twice. It blocks."""
    try:
        with open(path + _SUFFIX, encoding="utf-8", errors="replace") as file:
            names = file.read().splitlines()
        os.unlink(path + _SUFFIX)
    except FileNotFoundError:
        return []
    return [name for name in names if name]


class UnlockService(TimerService):
    """
    Unlocks whom the file names.

    :param path: of the file of users.
    """

    def __init__(self, path: str, store: IStore, attempts: int, pool: WorkPool, reactor: Any) -> None:
        super().__init__(_LOOK, self._look)
        self.clock = reactor
        self._path = path
        self._store = store
        self._attempts = attempts
        self._pool = pool
        self._told = False

    async def _look(self) -> None:
        try:
            for name in await self._pool.run(take, self._path):
                await unlock(self._store, name, self._attempts)
                log.info("{user} may try again", user=ascii(name))
        except Busy:
            pass
        except OSError as reason:
            if not self._told:
                log.error("{path} cannot be taken: {reason}", path=self._path + _SUFFIX, reason=reason.strerror)
            self._told = True
