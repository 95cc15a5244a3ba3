"""
HTTP/1.1 answers from bytes (RFC 9112), without any input or output: what other servers are read with.

It shares the grammar of :mod:`mixweb.engine.http1`, and its strictness::

    parser = ResponseParser()
    parser.expect(b"GET")
    parser.receive(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
    parser.next_event()  # ResponseHead with status 200
    parser.next_event()  # b"hi"
    parser.next_event()  # ResponseParser.END
"""

from __future__ import annotations

import re
from typing import Any

from mixweb.engine._head import BROKEN, DEFAULT_LIMITS, Fields, Limits, Refusal, name_broken
from mixweb.engine.http1 import _CHUNK_SIZE, _COMPLETE, _HEAD, _LENGTH, Parser, _End

__all__ = ["ResponseFields", "ResponseHead", "ResponseParser"]

#: RFC 9112, 4. The blank before an empty reason is often left out, and harmless.
_STATUS = re.compile(rb"HTTP/1\.([0-9]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n")

#: What an answer must begin with, however little of it has arrived.
_BEGINNING = b"HTTP/1."

#: The phase of a body that ends with the connection.
_TO_THE_END = 7

#: Answers without a body (RFC 9112, 6.3); an interim answer is followed by another one.
_BODILESS = frozenset([204, 304])


class ResponseFields(Fields):
    """
    The field section of an answer.

    :ivar framed: whether a field tells where the body ends.
    """

    __slots__ = ("framed",)

    def __init__(self, raw: bytes) -> None:
        self.framed = False
        super().__init__(raw)

    def _set_framing(self, found: dict[bytes, list[bytes]]) -> None:
        found.pop(b"host", None)
        found.pop(b"expect", None)
        self.framed = b"content-length" in found or b"transfer-encoding" in found
        super()._set_framing(found)


class ResponseHead:
    """
    The head of an answer. A server that sends the same one again gives the same object again.

    :ivar raw: as received.
    :ivar status: 100 to 599.
    :ivar reason: the reason phrase, often empty.
    :ivar persistent: whether the server takes another request on this connection.
    :ivar notes: what the reader of the answer made of it, for when the same comes again.
    """

    __slots__ = ("fields", "notes", "persistent", "raw", "reason", "status")

    def __init__(self, raw: bytes, status: int, reason: bytes, minor: bytes, fields: ResponseFields) -> None:
        self.raw = raw
        self.status = status
        self.reason = reason
        self.fields = fields
        self.persistent = minor != b"0" and not fields.close
        self.notes: Any = None


class ResponseParser(Parser):
    """
    Reads the answers of one connection.

    An answer that cannot be read is a :class:`Refusal`; its status is of no interest, its detail says what is wrong.
    """

    __slots__ = ("_early", "_last", "_method")

    _last: ResponseHead | None

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(limits)
        self._last = None
        self._early = b""
        self._method = b""

    def expect(self, method: bytes) -> None:
        """Be ready for the answer to a request of this method."""
        self._method = method

    def forget(self) -> None:
        """Forget the last answer."""
        self._last = None

    def next_event(self) -> Any:
        """
        The next event, or ``None`` until more arrives: a :class:`ResponseHead`, also of an interim answer, then the
        pieces of its body, then :attr:`END`, also where there is no body. What follows 101 is given to nobody.

        :raises Refusal: when this is no answer.
        """
        if self._early:
            early, self._early = self._early, b""
            return early
        if self._phase is _TO_THE_END:
            return self._take(len(self._buffer)) or None
        if self._phase is not _HEAD:
            return self._next_of_body()
        if not self._buffer:
            return None
        head = self._read_response_head()
        if head is None:
            return None
        if head.status >= 200:
            self._begin_response(head)
        return head

    def end(self) -> _End | None:
        """
        Told that the connection has ended.

        :returns: :attr:`END` when that is how the body ends, ``None`` when the answer is incomplete.
        """
        if self._phase is _TO_THE_END:
            self._phase = _HEAD
            return self.END
        return None

    def take_whole(self) -> bytes | None:
        """
        The whole body behind a head that was given out, if it has come; :attr:`END` is not given out then.

        ``None`` leaves everything to :meth:`next_event`.
        """
        if self._phase is _CHUNK_SIZE:
            return self._take_whole_chunks()
        if self._phase is _LENGTH and len(self._buffer) - self._start >= self._left:
            body = self._take(self._left)
        elif self._phase is _COMPLETE:
            body = b""
        else:
            return None
        self._phase = _HEAD
        return body

    def _take_whole_chunks(self) -> bytes | None:
        self._early = self._read_chunks()
        if self._phase is not _COMPLETE:
            return None
        body, self._early, self._phase = self._early, b"", _HEAD
        return body

    @property
    def idle(self) -> bool:
        """Whether nothing of another answer has been received."""
        return self._phase is _HEAD and not self.buffered

    def _read_response_head(self) -> ResponseHead | None:
        last, start = self._last, self._start
        if last is not None and self._buffer.startswith(last.raw, start):
            self._pass(len(last.raw))
            return last
        found = _STATUS.match(self._buffer, start)
        if found is None:
            self._check_status_line()
            return None
        minor, status, reason = found.groups()
        self._start = found.end()
        section = self._read_section("field section of the answer")
        self._start = start
        if section is None:
            return None
        if reason is not None and len(reason) > self.limits.field:
            raise Refusal(502, "The status line of the answer is too long.")
        raw = bytes(found[0]) + section
        head = ResponseHead(raw, int(status), bytes(reason or b""), bytes(minor), ResponseFields(section))
        if minor == b"0" and head.fields.length is None:
            raise Refusal(502, "HTTP/1.0 has no Transfer-Encoding.")
        if head.status >= 200:
            self._last = head
        self._pass(len(raw))
        return head

    def _pass(self, count: int) -> None:
        self._start += count
        if self._start == len(self._buffer):
            self._buffer = b""
            self._start = self._scanned = 0

    def _check_status_line(self) -> None:
        """Refuse what has its end and is no status line, or begins as none, or has grown too long."""
        begun = bytes(self._buffer[self._start : self._start + len(_BEGINNING)])
        if not _BEGINNING.startswith(begun):
            raise Refusal(502, "The answer does not begin with a status line of HTTP/1.1.")
        length = len(self._buffer) - self._start
        if self._buffer.find(b"\r\n", self._start) >= 0:
            raise Refusal(502, "The status line of the answer is malformed.")
        if length > self.limits.request_line:
            raise Refusal(502, "The status line of the answer is too long.")
        broken = BROKEN.search(self._buffer, self._start)
        if broken is not None:
            raise Refusal(502, name_broken(broken[0]))

    def _begin_response(self, head: ResponseHead) -> None:
        fields = head.fields
        self._left = 0
        if self._method == b"HEAD" or head.status in _BODILESS or (fields.length == 0 and fields.framed):
            self._phase = _COMPLETE
        elif fields.length is None:
            self._phase = _CHUNK_SIZE
            self._extensions = 0
        elif fields.framed:
            self._phase = _LENGTH
            self._left = fields.length
        else:
            self._phase = _TO_THE_END
