"""
HTTP/1.1 requests from bytes (RFC 9112), without any input or output.

Give a :class:`Parser` bytes as they arrive and take events until there is none::

    parser = Parser()
    parser.receive(b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
    parser.next_event()  # Head(line=Line(method=b"POST", ...), ...)
    parser.next_event()  # b"hi"
    parser.next_event()  # Parser.END
    parser.next_event()  # None

The grammar is the one of RFC 9110 and RFC 9112. Where they leave a choice the strict side is taken: lines end in CRLF
and nothing else, there is no folding, ``Content-Length`` stands once, a message has one kind of framing.

What is still incomplete is kept only up to the :class:`Limits`, and refused as soon as nothing could mend it.
"""

from __future__ import annotations

import re
from typing import NoReturn

from mixweb.engine._head import (
    BROKEN,
    DEFAULT_LIMITS,
    LINE,
    MAX_LENGTH,
    SECTION,
    TOKEN,
    Fields,
    Head,
    Limits,
    Line,
    Refusal,
    judge,
    name_broken,
    read_other_target,
    why_malformed,
)

__all__ = ["DEFAULT_LIMITS", "MAX_LENGTH", "Event", "Fields", "Head", "Limits", "Line", "Parser", "Refusal"]

#: Empty lines before a request (RFC 9112, 2.2).
_EMPTY_LINES = re.compile(rb"(?:\r\n)*+")

#: RFC 9112, 7.1 and 7.1.1
_QUOTED = rb"\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+\""
_EXTENSION = rb"[ \t]*+;[ \t]*+%b(?:[ \t]*+=[ \t]*+(?:%b|%b))?+" % (TOKEN, TOKEN, _QUOTED)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16}+)(?:%b)*+\r\n" % _EXTENSION)
_CHUNK_BEGIN = re.compile(rb"[0-9A-Fa-f]{1,16}+(?:[ \t;\r]|\Z)|\Z")


_HEAD, _LENGTH, _CHUNK_SIZE, _CHUNK_DATA, _CHUNK_END, _TRAILERS, _COMPLETE = range(7)


class _End:
    """The type of :attr:`Parser.END`."""


Event = Head | bytes | _End


class Parser:
    """
    Reads the requests of one connection.

    From the second request on, the last request line and the last field section are remembered with what they mean: a
    client sends the same ones again and again, and comparing them is much cheaper than reading them.
    """

    #: The event after the last piece of a body. A request without a body has none.
    END = _End()

    __slots__ = (
        "_buffer",
        "_extensions",
        "_head",
        "_left",
        "_line_raw",
        "_phase",
        "_repeats",
        "_scanned",
        "_start",
        "limits",
        "line",
    )

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        #: The line of the request that is being read, once it is known.
        self.line: Line | None = None
        self._phase = _HEAD
        self._buffer: bytes | bytearray = b""
        self._start = 0
        self._scanned = 0
        self._left = 0
        self._extensions = 0
        self._line_raw = b""
        self._head: Head | None = None
        self._repeats = False

    @property
    def buffered(self) -> int:
        """Bytes that were received and are in no event yet."""
        return len(self._buffer) - self._start

    @property
    def unread(self) -> bytes:
        """What was received and is in no event yet, with the line of a request whose fields have not been read."""
        line = self._line_raw if self._phase is _HEAD and self.line is not None else b""
        return line + bytes(self._buffer[self._start :])

    @property
    def in_head(self) -> bool:
        """Whether a part of a head has been received; an empty line before it is none."""
        if self._phase is not _HEAD:
            return False
        return self.line is not None or self._buffer[self._start :] not in (b"", b"\r")

    @property
    def in_body(self) -> bool:
        """Whether a head has been given out and the end of its body has not."""
        return self._phase is not _HEAD

    @property
    def body_left(self) -> int | None:
        """Bytes of the body that are in no event yet; ``None`` when nobody knows how many."""
        if self._phase is _LENGTH:
            return self._left
        return 0 if self._phase in (_HEAD, _COMPLETE) else None

    def receive(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        if not self._buffer:
            self._buffer = data
            return
        if isinstance(self._buffer, bytearray):
            del self._buffer[: self._start]
        else:
            self._buffer = bytearray(self._buffer[self._start :])
        self._scanned = max(0, self._scanned - self._start)
        self._start = 0
        self._buffer += data

    def take_rest(self) -> bytes:
        """Take what was received and is in no event yet, because no more requests are read."""
        rest = bytes(self._buffer[self._start :])
        self._buffer = b""
        self._start = self._scanned = 0
        return rest

    def forget(self) -> None:
        """Forget what is only kept to make the next request cheaper to read."""
        self._head = None
        self._repeats = False
        self._line_raw = b""

    def next_event(self) -> Event | None:
        """
        The next event, or ``None`` until more arrives.

        :raises Refusal: when what was received is no request that can be served; nothing more is to be read then.
        """
        if self._phase is not _HEAD:
            return self._next_of_body()
        buffer = self._buffer
        if not buffer:
            return None
        line_end = self._start + len(self._line_raw)
        head = self._head
        if (
            head is not None
            and self.line is None
            and buffer.startswith(self._line_raw, self._start)
            and buffer.startswith(head.fields.raw, line_end)
        ):
            end = line_end + len(head.fields.raw)
        else:
            head = self._read_head()
            if head is None:
                return None
            end = self._start
        if end == len(buffer):
            self._buffer = b""
            self._start = self._scanned = 0
        else:
            self._start = end
        if head.fields.length != 0:
            self._begin_body(head)
        return head

    def _read_head(self) -> Head | None:
        line = self.line
        if line is None:
            line = self.line = self._read_line()
            if line is None:
                return None
        if self._head is not None and self._buffer.startswith(self._head.fields.raw, self._start):
            fields = self._head.fields
        else:
            raw = self._read_section("field section")
            if raw is None:
                return None
            fields = Fields(raw)
        self._start += len(fields.raw)
        head = judge(line, fields)
        if self._repeats:
            self._head = head
        self._repeats = True
        self.line = None
        return head

    # The request line

    def _read_line(self) -> Line | None:
        found = None
        if self._scanned <= self._start or self._buffer.find(b"\r\n", self._scanned - 1) >= 0:
            found = LINE.match(self._buffer, self._start) or self._skip_empty_lines()
        if found is None:
            self._check_unread_line()
            return None
        if found.end() - self._start > self.limits.request_line + 2:
            self._refuse_long_line()
        self._start = self._scanned = found.end()
        raw = self._line_raw = bytes(found[0])
        if type(self._buffer) is bytearray:
            found = LINE.match(raw)
            assert found is not None
        method, origin, other, major, minor = found.groups()
        version = b"HTTP/1.0" if minor == b"0" else b"HTTP/1.1"
        if origin and major == b"1" and method != b"CONNECT":
            return Line(method, origin, origin, None, version)
        target = origin or other
        self.line = Line(method, target, target, None, version)
        if major != b"1":
            raise Refusal(505, "This server speaks HTTP/1.1 here.")
        return Line(method, target, *read_other_target(method, target), version)

    def _skip_empty_lines(self) -> re.Match[bytes] | None:
        empty = _EMPTY_LINES.match(self._buffer, self._start)
        assert empty is not None
        self._start = empty.end()
        return LINE.match(self._buffer, self._start)

    def _check_unread_line(self) -> None:
        """Refuse a line that has its end and is no request line, or that has grown too long."""
        end = self._buffer.find(b"\r\n", max(self._start, self._scanned - 1))
        if (len(self._buffer) if end < 0 else end) - self._start > self.limits.request_line + (end < 0):
            self._refuse_long_line()
        if end >= 0:
            raise Refusal(400, "The request line is malformed.")
        self._check_unfinished()

    def _refuse_long_line(self) -> NoReturn:
        raise Refusal(414, f"The request line is longer than {self.limits.request_line} bytes.")

    # Fields

    def _read_section(self, what: str) -> bytes | None:
        """A field section with the empty line that ends it, its syntax checked; ``None`` until it is complete."""
        start, buffer, limits = self._start, self._buffer, self.limits
        if buffer.startswith(b"\r\n", start):
            return b"\r\n"
        end = buffer.find(b"\r\n\r\n", max(start, self._scanned - 3))
        if (len(buffer) - 3 if end < 0 else end + 2) - start > limits.field_section:
            raise Refusal(431, f"The {what} is longer than {limits.field_section} bytes.")
        if end < 0:
            self._check_unfinished()
            return None
        section = SECTION.match(buffer, start)
        assert section is not None
        if section.end() != end + 2:
            raise Refusal(400, why_malformed(bytes(buffer[section.end() : end + 2])))
        if end - start > limits.field and max(map(len, section[0].split(b"\r\n"))) > limits.field:
            raise Refusal(431, f"A field is longer than {limits.field} bytes.")
        if buffer.count(b"\r\n", start, end + 2) > limits.fields:
            raise Refusal(431, f"The {what} has more than {limits.fields} fields.")
        return bytes(buffer[start : end + 4])

    def _check_unfinished(self) -> None:
        """Refuse lines that go on, when they have what no line may have."""
        broken = BROKEN.search(self._buffer, max(self._start, self._scanned - 1))
        if broken is not None:
            raise Refusal(400, name_broken(broken[0]))
        self._scanned = len(self._buffer)

    # The body

    def _begin_body(self, head: Head) -> None:
        self.line = head.line
        if head.fields.length is None:
            self._phase = _CHUNK_SIZE
            self._extensions = 0
        else:
            self._phase = _LENGTH
            self._left = head.fields.length

    def _next_of_body(self) -> Event | None:
        if self._phase is _LENGTH and self._buffer:
            data = self._take(self._left)
            self._left -= len(data)
            if not self._left:
                self._phase = _COMPLETE
            return data
        if self._phase is _COMPLETE:
            self._phase = _HEAD
            self.line = None
            return self.END
        if self._phase is _LENGTH:
            return None
        data = self._read_chunks()
        return data or (self._next_of_body() if self._phase is _COMPLETE else None)

    def _take(self, most: int) -> bytes:
        """Take bytes from the buffer: as many as there are, up to ``most``."""
        start, end = self._start, len(self._buffer)
        if end - start <= most:
            data = bytes(self._buffer[start:])
            self._buffer = b""
            self._start = self._scanned = 0
        else:
            data = bytes(self._buffer[start : start + most])
            self._start = start + most
        return data

    def _read_chunks(self) -> bytes:
        """The data of all chunks that have arrived, in one piece."""
        pieces = []
        reading = True
        while reading and self._phase is not _COMPLETE:
            if self._phase is _CHUNK_SIZE:
                reading = self._read_chunk_size()
            elif self._phase is _CHUNK_DATA:
                data = self._take(self._left)
                pieces.append(data)
                self._left -= len(data)
                reading = not self._left
                if reading:
                    self._phase = _CHUNK_END
            elif self._phase is _CHUNK_END:
                reading = self._read_chunk_end()
            else:
                reading = self._read_trailers()
        return b"".join(pieces)

    def _read_chunk_size(self) -> bool:
        found = _CHUNK.match(self._buffer, self._start)
        if found is None:
            self._check_unread_chunk_line()
            return False
        length = found.end() - self._start - 2
        self._extensions += length - found.end(1) + self._start
        if length > self.limits.chunk_line or self._extensions > self.limits.chunk_extensions:
            raise Refusal(413, "The chunk extensions are too long.")
        self._start = found.end()
        self._left = int(found[1], 16)
        if self._left > MAX_LENGTH:
            raise Refusal(413, "A chunk is too large.")
        self._phase = _CHUNK_DATA if self._left else _TRAILERS
        return True

    def _check_unread_chunk_line(self) -> None:
        end = self._buffer.find(b"\r\n", self._start)
        if _CHUNK_BEGIN.match(self._buffer, self._start) is None:
            raise Refusal(400, "A chunk size is malformed.")
        if (len(self._buffer) if end < 0 else end) - self._start > self.limits.chunk_line + (end < 0):
            raise Refusal(413, "The chunk extensions are too long.")
        if end >= 0:
            raise Refusal(400, "A chunk extension is malformed.")
        self._check_unfinished()

    def _read_chunk_end(self) -> bool:
        found = bytes(self._buffer[self._start : self._start + 2])
        if not b"\r\n".startswith(found):
            raise Refusal(400, "A chunk is longer than its size.")
        if len(found) < 2:
            return False
        self._start += 2
        self._phase = _CHUNK_SIZE
        return True

    def _read_trailers(self) -> bool:
        section = self._read_section("trailer section")
        if section is None:
            return False
        self._take(len(section))
        self._phase = _COMPLETE
        return True
