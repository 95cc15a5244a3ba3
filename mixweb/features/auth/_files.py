"""
Files of users: ``name:password``, ``name:password:role,role`` and ``name:realm:HA1`` (htdigest), a line each.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from tempfile import NamedTemporaryFile

from mixweb.features.auth._hashes import CLEAR, HA1, normalized, problem

_HA1 = re.compile(r"[0-9a-fA-F]{32}(?:[0-9a-fA-F]{32})?\Z")
_MARKED = re.compile(r"\$[^$]+\$|\{[A-Z0-9]+\}")
_NAME = re.compile(r"[^\s:,#!*](?:[^:,\x00-\x1f\x7f]{0,126}[^\s:,])?\Z")
_ROLE = re.compile(r"[^\s:,#!*][^\s:,]{0,63}\Z")

#: How a password without a mark is stored, by the name of the setting.
UNMARKED = {
    "clear": CLEAR,
    "md5": "{MD5}",
    "sha1": "{SHA1}",
    "sha256": "{SHA256}",
    "sha512": "{SHA512}",
}


@dataclass(frozen=True, slots=True)
class User:
    """
    A user.

    :ivar password: as it is stored.
    :ivar stamp: another one whenever the password is; it gives nothing of it away.
    """

    name: str
    password: str
    roles: frozenset[str] = frozenset()
    stamp: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stamp", sha256(self.password.encode()).hexdigest()[:24])


@dataclass
class Read:
    """
    What a file says.

    :ivar users: by name.
    :ivar problems: pairs of a line's number, from 1, and what is wrong with it.
    :ivar realms: those of htdigest lines.
    """

    users: dict[str, User] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    realms: set[str] = field(default_factory=set)

    @property
    def clear(self) -> int:
        """How many passwords can be read."""
        return sum(user.password.startswith(CLEAR) for user in self.users.values())


def check_name(name: str) -> str:
    """
    A user's name as it is kept.

    :raises ValueError: when nobody can be called that.
    """
    found = normalized(name)
    if not _NAME.match(found) or found == "anyone":
        raise ValueError("a name has 1 to 128 characters, no colon or comma, and begins with none of # ! *")
    return found


def is_quotable(text: str) -> bool:
    """Whether text can stand between quotes in a challenge."""
    return text.isascii() and (text.isprintable() or not text) and not set(text) & set('"\\')


def parse_roles(text: str) -> frozenset[str]:
    """
    Roles with commas between them.

    :raises ValueError: when one of them is malformed.
    """
    roles = frozenset(role for item in text.split(",") if (role := item.strip()))
    wrong = next((role for role in roles if not _ROLE.match(role)), None)
    if wrong is not None:
        raise ValueError(
            f"{wrong[:40]!r} is not a role: up to 64 characters, no blank or colon, none of # ! * at its start"
        )
    return roles


def parse_line(line: str, unmarked: str) -> User:
    """
    The user of a line.

    :param unmarked: the mark of a password that has none; empty when each must have one.
    :raises ValueError: when the line is broken.
    """
    name, colon, rest = line.partition(":")
    if not colon:
        raise ValueError("expected name:password, name:password:roles or name:realm:HA1")
    password, *others = rest.split(":")
    if others and _HA1.match(others[0]):
        key = others.pop(0).lower()
        if not is_quotable(password):
            raise ValueError("the realm is not printable ASCII without quotes and backslashes")
        password = f"{HA1}{'MD5' if len(key) == 32 else 'SHA-256'}:{password}:{key}"
    if len(others) > 1:
        raise ValueError("there are too many fields; a password in a file has no colon")
    if not password:
        raise ValueError("the password is missing")
    if not _MARKED.match(password):
        if not unmarked:
            raise ValueError("this is no hash that can be checked; set the password anew with mixweb passwd")
        password = unmarked + (normalized(password) if unmarked == CLEAR else password)
    wrong = problem(password)
    if wrong:
        raise ValueError(wrong)
    return User(check_name(name), password, parse_roles(others[0]) if others else frozenset())


def parse(data: bytes, unmarked: str, realm: str = "") -> Read:
    """
    The users of a file; each line that is broken is a problem, the others count.

    :param unmarked: as for :func:`parse_line`.
    :param realm: of the htdigest lines that count; all of them when it is empty.
    """
    found = Read()
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        try:
            user = parse_line(text.decode(), unmarked)
            if realm and realm_of(user.password) not in (realm, None):
                continue
            if user.name in found.users:
                raise ValueError(f"{user.name!r} was there before; this line does not count")
        except UnicodeDecodeError:
            found.problems.append((number, "this line is not UTF-8"))
        except ValueError as reason:
            found.problems.append((number, str(reason)))
        else:
            found.users[user.name] = user
            found.realms.update(filter(None, [realm_of(user.password)]))
    return found


def realm_of(password: str) -> str | None:
    """The realm of an HA1; ``None`` for any other stored password."""
    return password.removeprefix(HA1).partition(":")[2].rpartition(":")[0] if password.startswith(HA1) else None


def unmarked_of(path: str, setting: str) -> str:
    """
    The mark of passwords in a file that have none.

    :param setting: ``clear``, ``md5`` ...; empty to tell by the name of the file: an htpasswd file has hashes only.
    """
    if setting:
        return UNMARKED[setting]
    return "" if "htpasswd" in os.path.basename(path).lower() else CLEAR


def line_of(user: User) -> str:
    """The line of a user."""
    password = user.password.removeprefix(CLEAR)
    if password.startswith(HA1):
        password = password.removeprefix(HA1).partition(":")[2]
    return ":".join([user.name, password, *([",".join(sorted(user.roles))] if user.roles else [])])


def with_line(data: bytes, name: str, line: str | None) -> bytes:
    """The content of a file with another line for a user, at the place of the one before; without any when ``None``."""
    new = [] if line is None else [line.encode() + b"\n"]
    kept: list[bytes] = []
    for old in data.splitlines(keepends=True):
        if _name_of(old) == name:
            kept += new
            new = []
        else:
            kept.append(old if old.endswith(b"\n") else old + b"\n")
    return b"".join([*kept, *new])


def has_line(data: bytes, name: str) -> bool:
    """Whether a file has a line for a name, though it may be broken: who was locked out by hand is not free to be made anew."""
    return any(_name_of(line) == name for line in data.splitlines())


def _name_of(line: bytes) -> str:
    return (
        "" if line.lstrip().startswith(b"#") else normalized(line.partition(b":")[0].strip().decode("utf-8", "replace"))
    )


def edit(path: str, change: Callable[[bytes], bytes], *, create: bool = False) -> bytes:
    """
    Change a file of users as a whole; its mode and owner stay. It blocks: call it in a thread.

    :param change: makes the new content of the old one.
    :param create: whether the file may be made, readable for its owner only.
    :returns: the new content.
    :raises OSError: when it cannot be written.
    """
    path = os.path.realpath(path)
    made = create and not os.path.exists(path)
    if made:
        os.close(os.open(path, os.O_CREAT | os.O_RDONLY, 0o600))
    with _locked(path) as file:
        try:
            content = change(_read(file))
        except BaseException:
            if made:
                os.unlink(path)
            raise
        _replace(path, content, os.fstat(file))
    return content


def _replace(path: str, content: bytes, old: os.stat_result) -> None:
    """Put another file in the place of one, with its mode and owner."""
    with NamedTemporaryFile(dir=os.path.dirname(path), prefix=os.path.basename(path) + ".", delete=False) as new:
        try:
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
            os.fchmod(new.fileno(), old.st_mode & 0o7777)
            if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(new.fileno(), old.st_uid, old.st_gid)
            os.replace(new.name, path)
        except BaseException:
            os.unlink(new.name)
            raise


@contextmanager
def _locked(path: str) -> Iterator[int]:
    """The file, as long as no other process changes it."""
    while True:
        file = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Who waited may have the file that another one took the place of.
            if os.path.samestat(os.fstat(file), os.stat(path)):
                yield file
                return
        finally:
            os.close(file)


def _read(file: int) -> bytes:
    pieces: Iterable[bytes] = iter(lambda: os.read(file, 1 << 20), b"")
    return b"".join(pieces)
