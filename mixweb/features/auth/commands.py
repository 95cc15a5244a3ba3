"""
What ``mixweb passwd`` and ``mixweb unlock`` do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from getpass import getpass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from mixweb.features.auth import Auth
from mixweb.features.auth import _hashes as hashes
from mixweb.features.auth._files import User, check_name, edit, line_of, parse, parse_roles, realm_of, with_line
from mixweb.features.auth._lockout import unlock
from mixweb.features.auth._policy import PasswordPolicy
from mixweb.features.auth._pool import WorkPool
from mixweb.features.auth._storeusers import StoreUsers
from mixweb.features.auth._unlock import ask
from mixweb.features.auth._users import wait
from mixweb.stores import StoreError, StoreURL, open_store

_STORES = ("memory", "sqlite", "redis", "rediss", "unix")


class Refused(Exception):
    """What was asked for cannot be done; the text says why."""


def read_password(name: str, from_stdin: bool) -> str:
    """
    A new password: typed twice, and not shown; or the first line of standard input.

    :raises Refused: when there is none.
    """
    if from_stdin:
        return hashes.normalized(sys.stdin.readline().rstrip("\r\n"))
    if not sys.stdin.isatty():
        raise Refused("standard input is no terminal; give --stdin to have its first line taken")
    password = getpass(f"New password of {name}: ")
    if getpass("Again: ") != password:
        raise Refused("these were two different passwords; nothing was changed")
    return hashes.normalized(password)


def passwd(place: str, name: str, roles: str | None, delete: bool, from_stdin: bool, realm: str, force: bool) -> str:
    """
    Set the password of a user, make one, or take one away.

    :param place: a file, or the URL of a store.
    :param roles: with commas; ``None`` to leave them.
    :param realm: of a new htdigest line.
    :param force: whether a password is taken that is too weak.
    :returns: what was done.
    :raises Refused: when it cannot be done.
    """
    try:
        name, wanted = check_name(name), None if roles is None else parse_roles(roles)
    except ValueError as reason:
        raise Refused(str(reason)) from None
    password = "" if delete else read_password(name, from_stdin)
    problem = "" if delete or force else PasswordPolicy().problem(password, name)
    if problem:
        raise Refused(f"{problem} (--force takes it all the same)")

    def changed(found: User | None) -> User | None:
        if delete:
            return None
        kept = found.roles if found is not None else frozenset()
        return User(name, _stored(place, found, name, password, realm), kept if wanted is None else wanted)

    if place.partition(":")[0] in _STORES and ":" in place:
        return _in_store(place, name, changed)
    return _in_file(place, name, changed)


def _stored(place: str, found: User | None, name: str, password: str, realm: str) -> str:
    """How a password is kept: as an HA1 where there was one, or the file is one of htdigest."""
    known = None if found is None else realm_of(found.password)
    if known is None and "htdigest" not in os.path.basename(place):
        return hashes.new_hash(password)
    algorithm = "SHA-256" if found is not None and found.password.startswith(f"{hashes.HA1}SHA-256:") else "MD5"
    chosen = realm or known
    if not chosen:
        raise Refused("say which realm the password is for: --realm NAME")
    return f"{hashes.HA1}{algorithm}:{chosen}:{hashes.ha1(algorithm, name, chosen, password)}"


def _said(name: str, before: bool, after: User | None, place: str) -> str:
    if after is None:
        return f"{name}: {'taken away' if before else 'was not there'}: {place}"
    return f"{name}: {'password set' if before else 'added'}: {place}"


def _in_file(path: str, name: str, change: Callable[[User | None], User | None]) -> str:
    result = ""

    def rewritten(data: bytes) -> bytes:
        nonlocal result
        before = parse(data, hashes.CLEAR).users.get(name)
        after = change(before)
        result = _said(name, before is not None, after, path)
        return with_line(data, name, None if after is None else line_of(after))

    try:
        edit(os.path.expanduser(path), rewritten, create=True)
    except OSError as reason:
        raise Refused(f"cannot write {path!r}: {reason.strerror}") from None
    return result


def _in_store(url: str, name: str, change: Callable[[User | None], User | None]) -> str:
    store_url, _, collection = url.partition("#")
    if store_url.startswith("memory:"):
        raise Refused("what is in the memory of a server cannot be changed from here")

    async def work(reactor: Any) -> str:
        store = open_store(store_url, reactor)
        store.open()
        try:
            users = StoreUsers(store, store_url, collection, WorkPool(reactor, 1, 1), False)
            before = await wait(users.find(name))
            after = change(before)
            await (users.delete(name) if after is None else users.put(after))
            return _said(name, before is not None, after, store_url)
        finally:
            await store.close()

    return run(work)


def unlock_user(name: str, places: Iterable[tuple[Auth, StoreURL]]) -> list[str]:
    """
    Let a user try again.

    :param places: settings, each with the URL of its store.
    :returns: what was done.
    :raises Refused: when it cannot be done, or nothing was.
    """
    asked = {url: settings for settings, url in places}
    if not asked:
        raise Refused("there is no [auth] in this configuration")
    done = [_ask_server(name, settings) for url, settings in asked.items() if url.startswith("memory:")]
    shared = [(url, settings.attempts) for url, settings in asked.items() if not url.startswith("memory:")]
    return done + ([run(lambda reactor: _unlock_in(reactor, shared, name))] if shared else [])


def _ask_server(name: str, settings: Auth) -> str:
    path = os.path.realpath(settings.users)
    if not os.path.isfile(path):
        raise Refused("failures are in the memory of the server: a restart forgets them, or set store = 'sqlite:PATH'")
    try:
        return f"{name} may try again in a second: {ask(path, name)} tells the server"
    except OSError as reason:
        raise Refused(f"cannot tell the server by a file beside {path!r}: {reason.strerror}") from None


async def _unlock_in(reactor: Any, stores: Iterable[tuple[StoreURL, int]], name: str) -> str:
    for url, attempts in stores:
        store = open_store(url, reactor)
        store.open()
        try:
            await unlock(store, name, attempts)
        finally:
            await store.close()
    return f"{name} may try again"


def run(work: Callable[[Any], Coroutine[Any, Any, str]]) -> str:
    """
    What a coroutine returns that is given a running reactor.

    :raises Refused: when its store cannot be used.
    """
    results: list[str | Refused] = []

    async def kept(reactor: Any) -> None:
        try:
            results.append(await work(reactor))
        except (StoreError, ValueError, Refused) as reason:
            results.append(Refused(str(reason)))

    with suppress(SystemExit):
        react(lambda reactor: Deferred.fromCoroutine(kept(reactor)))
    (result,) = results
    if isinstance(result, Refused):
        raise result
    return result
