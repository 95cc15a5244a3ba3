"""
A client of HTTP/2 in memory, for tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from twisted.web.http_headers import Headers

from mixweb.engine._h2_frame import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from mixweb.engine.hpack import Decoder, encode_field
from mixweb.engine.site import Site
from mixweb.testing import Answer, Exchange, Fields

_HEADER = Struct(">IBI")
_SETTING = Struct(">HI")
_LONG = Struct(">I")

#: Windows that close for no answer of a test.
_LARGE = 2**30

#: Looks at the clock after which a site that never comes to rest is let be.
_LOOKS = 10_000

#: Fields of HTTP/1.1 that say how it uses its connection.
_CONNECTION = frozenset(("connection", "host", "keep-alive", "transfer-encoding", "upgrade"))


@dataclass
class Received:
    """
    What has come on a stream.

    :ivar unsent: what is left of the request's body.
    :ivar window: how many bytes of it may be sent.
    :ivar complete: whether the answer is.
    :ivar reset: the code that the stream was reset with.
    """

    method: str
    unsent: bytes
    window: int
    heads: list[tuple[int, Headers]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False
    reset: int | None = None


class Http2Exchange(Exchange):
    """
    One connection of HTTP/2, with a stream for each request.

    :param clock: of the site; what is due now is done when the answers are looked at.
    :ivar streams: what has come, by the ids of the streams.
    :ivar goaway: the code of the GOAWAY that has come.
    """

    def __init__(self, site: Site, clock: Any, peer: str = "127.0.0.1") -> None:
        super().__init__(site, peer, True, b"h2")
        self.clock = clock
        self.streams: dict[int, Received] = {}
        self.goaway: int | None = None
        self._decoder = Decoder()
        self._block = b""
        self._window = self._initial_window = 2**16 - 1
        self.send(PREFACE + frame(SETTINGS, 0, 0, _SETTING.pack(INITIAL_WINDOW_SIZE, _LARGE)))
        self.send(frame(WINDOW_UPDATE, 0, 0, _LONG.pack(_LARGE)))
        self._look()

    def request(self, method: str, target: str, headers: Fields = (), body: bytes = b"") -> None:
        """Deliver a request; ``:authority`` and ``Content-Length`` are added, and fields of a connection left out."""
        lines = [(name.lower(), value) for name, value in _pairs(headers)]
        given = dict(lines)
        if body and "content-length" not in given:
            lines.append(("content-length", str(len(body))))
        pseudo = {":method": method, ":scheme": "https", ":path": target, ":authority": given.get("host", "localhost")}
        fields = [*pseudo.items(), *(line for line in lines if line[0] not in _CONNECTION)]
        stream_id = 2 * len(self.streams) + 1
        self.streams[stream_id] = Received(method, body, self._initial_window)
        block = b"".join([encode_field(name.encode(), value.encode("utf-8")) for name, value in fields])
        kind, flags = HEADERS, 0 if body else END_STREAM
        while len(block) > MAX_FRAME:
            self.send(frame(kind, flags, stream_id, block[:MAX_FRAME]))
            kind, flags, block = CONTINUATION, 0, block[MAX_FRAME:]
        self.send(frame(kind, flags | END_HEADERS, stream_id, block))
        self._look()

    def _send_bodies(self) -> bool:
        """Send what the windows allow; whether there was something."""
        before = self._window
        for stream_id, stream in self.streams.items():
            while stream.unsent and stream.reset is None and min(self._window, stream.window) > 0:
                size = min(len(stream.unsent), self._window, stream.window, MAX_FRAME)
                piece, stream.unsent = stream.unsent[:size], stream.unsent[size:]
                self._window -= size
                stream.window -= size
                self.send(frame(DATA, 0 if stream.unsent else END_STREAM, stream_id, piece))
        return self._window != before

    def _look(self) -> None:
        """Read what the site sends until it has nothing more to do now."""
        for _ in range(_LOOKS):
            self.clock.advance(0)
            data = self.transport.value()
            self.transport.clear()
            for kind, flags, stream_id, payload in _frames(data):
                self._receive(kind, flags, stream_id, payload)
            due = any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls())
            if not (self._send_bodies() or data or due):
                return

    def _receive(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        stream = self.streams.get(stream_id)
        if kind == SETTINGS and not flags & ACK:
            self._initial_window = dict(_SETTING.iter_unpack(payload)).get(INITIAL_WINDOW_SIZE, self._initial_window)
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE and stream is None:
            self._window += _LONG.unpack(payload)[0]
        elif kind == GOAWAY:
            self.goaway = _LONG.unpack_from(payload, 4)[0]
        elif stream is not None:
            self._receive_on(stream, kind, flags, payload)

    def _receive_on(self, stream: Received, kind: int, flags: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            stream.window += _LONG.unpack(payload)[0]
        elif kind == RST_STREAM:
            stream.reset = _LONG.unpack(payload)[0]
        elif kind == DATA:
            stream.body += payload
        if kind in (HEADERS, CONTINUATION):
            self._block += payload
            if flags & END_HEADERS:
                stream.heads.append(_read_head(self._decoder.decode(self._block)))
                self._block = b""
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            stream.complete = True

    @property
    def received(self) -> bytes:
        """All that the site answered, written as HTTP/1 would be."""
        self._look()
        pieces = []
        for stream in self.streams.values():
            for status, headers in stream.heads:
                lines = [b"%b: %b" % (name, value) for name, values in headers.getAllRawHeaders() for value in values]
                pieces.append(b"\r\n".join([b"HTTP/2 %d" % status, *lines, b"", b""]))
            pieces.append(stream.body)
        return b"".join(pieces)

    def answers(self) -> list[Answer]:
        """The complete answers, in the order of the requests."""
        self._look()
        found = []
        for stream in self.streams.values():
            if stream.complete:
                status, headers = stream.heads[-1]
                interim = tuple(status for status, _ in stream.heads[:-1])
                found.append(Answer(status, "", headers, stream.body, interim))
        return found


def _pairs(headers: Fields) -> list[tuple[str, str]]:
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def _frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of each frame."""
    at = 0
    while at < len(data):
        length, flags, stream_id = _HEADER.unpack_from(data, at)
        at += 9 + (length >> 8)
        yield length & 0xFF, flags, stream_id, data[at - (length >> 8) : at]


def _read_head(fields: list[tuple[bytes, bytes]]) -> tuple[int, Headers]:
    headers = Headers()
    for name, value in fields[1:]:
        headers.addRawHeader(name, value)
    return int(fields[0][1]), headers
