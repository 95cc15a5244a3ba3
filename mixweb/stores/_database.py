"""
What the sqlite store keeps in its file; everything here runs in one thread of its own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import sleep

from mixweb.stores._gcra import decide
from mixweb.stores.interface import Conflict, Decision, Entry, Status, StoreFull, StoreUnavailable

#: Says that a file is ours ("mixw"), and how it is laid out.
_APPLICATION, _LAYOUT = 0x6D697877, 1

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entries (
    version INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, value BLOB NOT NULL, expires REAL
);
CREATE INDEX IF NOT EXISTS entries_expire ON entries (expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS hits (key BLOB PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS hits_expire ON hits (until);
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, channel BLOB NOT NULL, data BLOB NOT NULL, sent REAL NOT NULL
);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_LAYOUT};
COMMIT;
"""

#: A message is kept for this many seconds, and no more messages than this.
_MESSAGE_SECONDS, _MESSAGES = 60, 10_000

#: How many rows are cleared away in one go.
_SWEEP_ROWS = 1000

_PAGE_BYTES = 4096

Message = tuple[int, bytes, bytes]


class Database:
    """
    One connection to the file, made when it is first needed and again after it broke.

    :param seconds: the wall clock.
    :param busy_seconds: how long to wait for other processes.
    :param max_bytes: of the file.
    """

    def __init__(self, path: str, seconds: Callable[[], float], busy_seconds: float, max_bytes: int) -> None:
        self.path = path
        self._seconds = seconds
        self._busy_seconds = busy_seconds
        self._max_pages = max(max_bytes // _PAGE_BYTES, 1)
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """
        The connection.

        :raises StoreFull: for what SQLite says so of.
        :raises StoreUnavailable: for its other errors.
        """
        try:
            if self._connection is None:
                self._connection = self._connect()
            yield self._connection
        except sqlite3.Error as error:
            raise self._explained(error) from None

    def _explained(self, error: sqlite3.Error) -> Exception:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith("SQLITE_FULL"):
            return StoreFull(f"there is no room in {self.path}")
        if not name.startswith("SQLITE_BUSY"):
            self.close()
        return StoreUnavailable(f"{self.path}: {error}")

    def _connect(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreUnavailable(f"{self.path}: {error.strerror}") from None
        connection = sqlite3.connect(self.path, self._busy_seconds, isolation_level=None)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        is_new = not connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        made_by = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        if not is_new and made_by != [_APPLICATION, _LAYOUT]:
            raise StoreUnavailable(f"{self.path} was not made by this version of mixweb")
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA max_page_count = {self._max_pages}")
        if is_new:
            connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Nobody else writes meanwhile; all is written, or nothing."""
        with self.connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def get(self, key: bytes) -> Entry | None:
        with self.connected() as connection:
            row = connection.execute(
                "SELECT value, version FROM entries WHERE key = ? AND (expires IS NULL OR expires > ?)",
                (key, self._seconds()),
            ).fetchone()
        return None if row is None else Entry(*row)

    def put(self, key: bytes, value: bytes, ttl: float | None, if_version: int | None) -> int:
        with self._transaction() as connection:
            now = self._seconds()
            if if_version is not None:
                row = connection.execute(
                    "SELECT version FROM entries WHERE key = ? AND (expires IS NULL OR expires > ?)", (key, now)
                ).fetchone()
                found = 0 if row is None else row[0]
                if found != if_version:
                    raise Conflict(found)
            done = connection.execute(
                "INSERT OR REPLACE INTO entries (key, value, expires) VALUES (?, ?, ?)",
                (key, value, None if ttl is None else now + ttl),
            )
            assert done.lastrowid is not None
            return done.lastrowid

    def touch(self, key: bytes, ttl: float | None) -> bool:
        now = self._seconds()
        with self.connected() as connection:
            done = connection.execute(
                "UPDATE entries SET expires = ? WHERE key = ? AND (expires IS NULL OR expires > ?)",
                (None if ttl is None else now + ttl, key, now),
            )
        return done.rowcount > 0

    def delete(self, key: bytes) -> bool:
        with self._transaction() as connection:
            rows = connection.execute("DELETE FROM entries WHERE key = ? RETURNING expires", (key,)).fetchall()
            connection.execute("DELETE FROM hits WHERE key = ?", (key,))
        return any(expires is None or expires > self._seconds() for (expires,) in rows)

    def scan(self, prefix: bytes, limit: int, after: bytes) -> list[bytes]:
        condition, values = _range(prefix, after)
        with self.connected() as connection:
            rows = connection.execute(
                f"SELECT key FROM entries WHERE {condition} AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?",  # noqa: S608 - holds no value
                (*values, self._seconds(), limit),
            ).fetchall()
        return [key for (key,) in rows]

    def hit(self, key: bytes, burst: int, period: float, cost: int) -> Decision:
        with self._transaction() as connection:
            row = connection.execute("SELECT until FROM hits WHERE key = ?", (key,)).fetchone()
            decision, until = decide(None if row is None else row[0], self._seconds(), burst, period, cost)
            if until is not None:
                connection.execute("INSERT OR REPLACE INTO hits VALUES (?, ?)", (key, until))
        return decision

    def publish(self, channel: bytes, data: bytes) -> None:
        with self.connected() as connection:
            connection.execute(
                "INSERT INTO messages (channel, data, sent) VALUES (?, ?, ?)", (channel, data, self._seconds())
            )

    def last_message(self) -> int:
        """The number of the newest message there has been."""
        with self.connected() as connection:
            row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
        return 0 if row is None else int(row[0])

    def messages(self, after: int) -> list[Message]:
        """Some messages with a higher number, in order."""
        with self.connected() as connection:
            return connection.execute(
                "SELECT id, channel, data FROM messages WHERE id > ? ORDER BY id LIMIT 100", (after,)
            ).fetchall()

    def sweep(self) -> bool:
        """
        Clear away some of what is over.

        :returns: whether there may be more.
        """
        now = self._seconds()
        with self._transaction() as connection:
            counts = [
                connection.execute(statement, values).rowcount
                for statement, values in (
                    (
                        "DELETE FROM entries WHERE version IN (SELECT version FROM entries WHERE expires <= ? LIMIT ?)",
                        (now, _SWEEP_ROWS),
                    ),
                    (
                        "DELETE FROM hits WHERE key IN (SELECT key FROM hits WHERE until <= ? LIMIT ?)",
                        (now, _SWEEP_ROWS),
                    ),
                    (
                        "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE sent <= ?"
                        " OR id <= (SELECT max(id) FROM messages) - ? ORDER BY id LIMIT ?)",
                        (now - _MESSAGE_SECONDS, _MESSAGES, _SWEEP_ROWS),
                    ),
                )
            ]
        return max(counts) >= _SWEEP_ROWS

    def status(self) -> Status:
        """How many entries there are, and the size of the file."""
        with self.connected() as connection:
            entries = connection.execute(
                "SELECT count(*) FROM entries WHERE expires IS NULL OR expires > ?", (self._seconds(),)
            ).fetchone()[0]
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
        return Status("up", entries=entries, size=pages * _PAGE_BYTES)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch a file over, which does not wait by itself for another process that does the same."""
    for attempt in range(100):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if attempt == 99 or not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise
            sleep(0.01)
        else:
            return


def _range(prefix: bytes, after: bytes) -> tuple[str, list[bytes]]:
    """The condition for keys with a prefix, and its values."""
    conditions, values = ["key >= ?"], [prefix]
    stem = prefix.rstrip(b"\xff")
    if stem:
        conditions.append("key < ?")
        values.append(stem[:-1] + bytes([stem[-1] + 1]))
    if after:
        conditions.append("key > ?")
        values.append(after)
    return " AND ".join(conditions), values
