"""
What a session holds, and how it is stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, MutableMapping
from math import inf
from typing import Any, Protocol

from zope.interface import implementer

from mixweb.interfaces import ISession, ISessionTag

Data = dict[str, Any]

#: Keys that begin with this stay behind when the id changes.
BOUND = "~"

_SCHEMA = b"1"

_dumps = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


def encode(until: float, text: str) -> bytes:
    """
    A session as the store keeps it.

    :param until: when it ends in any case, in the seconds of the store.
    :param text: what it holds, as JSON.
    """
    return b"%b %b\n%b" % (_SCHEMA, b"" if until == inf else b"%.3f" % until, text.encode("ascii"))


def decode(value: bytes) -> tuple[float, str] | None:
    """When a stored session ends, and what it holds as JSON; ``None`` for one of another version of this server."""
    head, _, text = value.partition(b"\n")
    schema, _, until = head.partition(b" ")
    if schema != _SCHEMA:
        return None
    return float(until or inf), text.decode("ascii")


def changes(before: Data, after: Data) -> Callable[[Data], Data]:
    """
    What was done to get from one to the other, as a function that does it to a third one: keys that were set are set,
    keys that were taken away are taken away, all others stay as they are.
    """
    put = {key: value for key, value in after.items() if key not in before or _dumps(before[key]) != _dumps(value)}
    gone = before.keys() - after.keys()

    def change(data: Data) -> Data:
        return {key: value for key, value in data.items() if key not in gone} | put

    return change


class Owner(Protocol):
    """What a session asks of the feature that keeps it."""

    def make_id(self, request: Any) -> tuple[str, bytes]:
        """A new id, and what it is stored under."""

    def depend(self, session: LiveSession, request: Any) -> None:
        """The answer begins to depend on the session: on there being none, or (``used``) on what it holds."""

    def leave(self, session: LiveSession, request: Any) -> None:
        """The head of the answer is about to leave."""

    def changed_late(self, session: LiveSession, request: Any) -> None:
        """It was changed when the head of the answer had left."""


@implementer(ISession, ISessionTag)
class LiveSession(MutableMapping[str, Any]):
    """
    The session of one request.

    :ivar key: what it is or will be stored under; ``None`` as long as it has no id.
    :ivar id: a new id, for the client to be told.
    :ivar version: of what is stored; 0 for nothing.
    :ivar until: when it ends in any case, in the seconds of the store.
    :ivar moved_from: what it was stored under before its id changed, with the version.
    :ivar ended: what was stored and is over.
    :ivar over: whether the client is to forget what it has.
    :ivar left: whether the head of the answer has left: no id can be told any more.
    :ivar moved: called when its key changes, with both keys; the second one is ``None`` when it ends.
    """

    # Most requests change none of them.
    new = True
    used = over = left = False
    key: bytes | None = None
    id: str | None = None
    version = 0
    until = inf
    moved_from: tuple[bytes, int] | None = None
    ended: tuple[bytes, ...] = ()
    moved: Callable[[bytes, bytes | None], None] | None = None

    _text = "{}"
    _data: Data | None = None
    _stored: Data | None = None
    _was_set = False

    def __init__(self, owner: Owner, request: Any) -> None:
        self._owner = owner
        self._request = request

    def load(self, key: bytes, version: int, until: float, text: str) -> None:
        """Be what was stored."""
        self.new = False
        self.key, self.version, self.until, self._text = key, version, until, text

    # As a mapping

    def peek(self, key: str) -> Any:
        if self._data is not None:
            return self._data.get(key)
        if self.new:
            return None
        found = self._parsed().get(key)
        if found is not None:
            self._use()
        return found

    def _parsed(self) -> Data:
        """What is stored, not to be changed unless it is opened."""
        if self._stored is None:
            self._stored = json.loads(self._text)
        return self._stored

    def _opened(self) -> Data:
        """What it holds."""
        if self._data is None:
            self._data, self._stored = self._parsed(), None
            self.used = self.used or not self.new
            self._owner.depend(self, self._request)
        return self._data

    def __getitem__(self, key: str) -> Any:
        return self._opened()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"the keys of a session are text, not {key!r}")
        try:
            _dumps(value)
        except (TypeError, ValueError, RecursionError) as reason:
            raise TypeError(f"a session holds what JSON can, session[{key!r}] not: {reason}") from None
        self._opened()[key] = value
        self._note_change()

    def __delitem__(self, key: str) -> None:
        del self._opened()[key]
        self._note_change()

    def __iter__(self) -> Iterator[str]:
        return iter(self._opened())

    def __len__(self) -> int:
        return len(self._opened())

    def __repr__(self) -> str:
        return f"<session {self.tag or 'without id'}>"

    def _note_change(self) -> None:
        self._was_set = True
        self._use()
        if self.left:
            self._owner.changed_late(self, self._request)

    def _use(self) -> None:
        if not self.used:
            self.used = True
            self._owner.depend(self, self._request)

    # As a session

    @property
    def tag(self) -> str:
        """Six characters that tell it from others; none as long as it has no id."""
        return "" if self.key is None else self.key[-6:].decode("ascii")

    def begin(self) -> None:
        """Have an id, so that it is stored even when nothing is put into it."""
        if self.key is None:
            self._renew()

    def rotate(self) -> None:
        if self.key is not None:
            self._check_head()
            if self.version:
                self.moved_from = self.key, self.version
                self.version = 0
            self.drop_bound()
            self._renew()

    def end(self) -> None:
        self._check_head()
        before = self.key
        if self.moved_from is not None:
            self.ended += (self.moved_from[0],)
        elif before is not None and self.id is None:
            self.ended += (before,)
        self.over = True
        self.key = self.id = self.moved_from = None
        self.version, self._text, self._data = 0, "{}", {}
        if before is not None and self.moved is not None:
            self.moved(before, None)

    def drop_bound(self) -> None:
        """Leave behind what belongs to the id before."""
        data = self._opened()
        for key in [key for key in data if key.startswith(BOUND)]:
            del data[key]

    def _renew(self) -> None:
        self._check_head()
        before = self.key
        self.id, self.key = self._owner.make_id(self._request)
        self._use()
        if before is not None and self.moved is not None:
            self.moved(before, self.key)

    def _check_head(self) -> None:
        if self.left:
            raise RuntimeError("a session cannot begin, move or end when the head of the answer has left")

    def leave(self, request: Any) -> None:
        """The head of the answer is about to leave: a hook of the request."""
        self._owner.leave(self, request)

    # As it is stored

    @property
    def text(self) -> str:
        """What it holds, as JSON."""
        return self._text if self._data is None else _dumps(self._data)

    @property
    def is_changed(self) -> bool:
        """Whether it holds something else than what is stored."""
        data = self._data
        if data is None or not (self._was_set or any(isinstance(value, (list, dict)) for value in data.values())):
            return False
        return _dumps(data) != self._text

    def discard(self) -> None:
        """Be what is stored again; what has ended has."""
        self._data = self._stored = self.id = self.moved_from = None

    def saved(self, version: int, until: float, text: str) -> None:
        """It is stored now."""
        self.version, self.until, self._text = version, until, text
        self.id = self.moved_from = None

    def merge(self, version: int, text: str) -> None:
        """Others have stored something meanwhile: hold that, with what was changed here."""
        if self._data is not None:
            self._data = changes(json.loads(self._text), self._data)(json.loads(text))
        self.version, self._text = version, text
