"""
The lines of the access log: one class per format, called with a request that has ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from time import gmtime, localtime, monotonic, strftime

from twisted.web.http import datetimeToLogString

from mixweb.engine.request import Request
from mixweb.interfaces import ISessionTag, IUser
from mixweb.kit.secrets import Mask, Value

#: Makes the line of a request, or its lines with a line feed between them.
Format = Callable[[Request], str]

#: Logged for a request whose connection ended before its answer was complete.
INCOMPLETE = 499

#: A response that took longer, in seconds, is a warning.
SLOW = 1.0

#: Values longer than this are not remembered: clients choose them.
_MEMOISED_BYTES = 512

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 256))}
_ESCAPES |= {ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r", ord('"'): '\\"', ord("\\"): "\\\\"}

_COLOURS = {2: "\x1b[32m", 3: "\x1b[36m", 4: "\x1b[33m", 5: "\x1b[31m"}


def escape(value: Value) -> str:
    """Printable ASCII for any value, written as inside a bytes literal with double quotes."""
    text = value if isinstance(value, str) else value.decode("latin-1")
    return text.translate(_ESCAPES)


def json_text(value: Value) -> str:
    """A JSON string of printable ASCII; bytes that are not UTF-8 are written ``\\xNN``."""
    return json.dumps(value if isinstance(value, str) else value.decode("utf-8", "backslashreplace"))


def memoised(convert: Callable[[Value], str]) -> Callable[[Value], str]:
    """The same conversion; what it makes of short values is remembered."""
    cached = lru_cache(maxsize=1024)(convert)

    def converted(value: Value) -> str:
        return cached(value) if len(value) <= _MEMOISED_BYTES else convert(value)

    return converted


def status_of(request: Request) -> int:
    """The status to log: :data:`INCOMPLETE` unless the whole answer was handed over, or the connection was."""
    opened = request.code == (200 if request.method == b"CONNECT" else 101)
    return request.code if request.finished or opened else INCOMPLETE


def severity(status: int, seconds: float) -> str:
    """``error`` for a failure of the server, ``warning`` for what was slow or left incomplete, else ``info``."""
    if status >= 500:
        return "error"
    return "warning" if seconds > SLOW or status == INCOMPLETE else "info"


def severity_of(request: Request) -> str:
    """The severity of a request that has just ended."""
    return severity(status_of(request), monotonic() - request.received)


class Stamps:
    """Text for a second of the wall clock, made once as long as the same one is asked for."""

    def __init__(self, make: Callable[[int], str]) -> None:
        self._make = make
        self._second = -1
        self._text = ""

    def __call__(self, when: float) -> str:
        second = int(when)
        if second != self._second:
            self._second = second
            self._text = self._make(second)
        return self._text


class Combined:
    """The combined log format, byte for byte as Twisted's own formatter writes it."""

    def __init__(self, seconds: Callable[[], float], mask: Mask) -> None:
        self._seconds = seconds
        self._stamp = Stamps(datetimeToLogString)
        self._url = memoised(lambda url: escape(mask(url)))
        self._text = memoised(escape)

    def __call__(self, request: Request) -> str:
        header = request.requestHeaders.getRawHeaders
        referer = header(b"Referer")
        agent = header(b"User-Agent")
        text = self._text
        return (
            f'"{host_of(request) or "-"}" - - {self._stamp(self._seconds())}'
            f' "{text(request.method)} {self._url(request.uri)} {text(request.clientproto)}"'
            f" {status_of(request)} {request.sentLength or '-'}"
            f' "{(self._url(referer[-1]) if referer else "") or "-"}" "{(text(agent[-1]) if agent else "") or "-"}"'
        )


class Json:
    """One JSON object per line; what is not known is ``null``."""

    def __init__(self, seconds: Callable[[], float], mask: Mask) -> None:
        self._seconds = seconds
        self._stamp = Stamps(lambda second: strftime("%Y-%m-%dT%H:%M:%S", gmtime(second)))
        self._url = memoised(lambda url: json_text(mask(url)))
        self._text = memoised(json_text)

    def __call__(self, request: Request) -> str:
        user, session = IUser(request, None), ISessionTag(request, None)
        text = self._text
        host = host_of(request)
        now = self._seconds()
        return (
            f'{{"time":"{self._stamp(now)}.{int(now * 1000) % 1000:03}Z"'
            f',"client":{text(host) if host else "null"}'
            f',"host":{self._field(request, b"Host")}'
            f',"method":{text(request.method)}'
            f',"target":{self._url(request.uri)}'
            f',"version":{text(request.clientproto)}'
            f',"status":{status_of(request)}'
            f',"bytes":{request.sentLength}'
            f',"duration_ms":{(monotonic() - request.received) * 1000:.3f}'
            f',"referer":{self._field(request, b"Referer", self._url)}'
            f',"user_agent":{self._field(request, b"User-Agent")}'
            f',"user":{"null" if user is None else json_text(user.name)}'
            f',"session":{"null" if session is None else json_text(session.tag)}'
            f',"request_id":{self._request_id(request)}}}'
        )

    def _field(self, request: Request, name: bytes, convert: Callable[[Value], str] | None = None) -> str:
        values = request.requestHeaders.getRawHeaders(name)
        return (convert or self._text)(values[-1]) if values else "null"

    def _request_id(self, request: Request) -> str:
        given = request.responseHeaders.getRawHeaders(b"X-Request-ID")
        return self._text(given[-1]) if given else self._field(request, b"X-Request-ID")


class Canister:
    """Two lines per request, marked with the client and its session, as canister writes them."""

    def __init__(self, seconds: Callable[[], float], mask: Mask) -> None:
        self._seconds = seconds
        self._url = memoised(lambda url: escape(mask(url)))
        self._text = memoised(escape)

    def __call__(self, request: Request) -> str:
        elapsed = monotonic() - request.received
        now = self._seconds()
        status = status_of(request)
        level = severity(status, elapsed).upper()
        session = ISessionTag(request, None)
        tag = f"[{host_of(request) or '-'}-{'...' if session is None else escape(session.tag)}]"
        slow = " !!!" if elapsed > SLOW else ""
        return (
            f"{local_time(now - elapsed)} INFO {tag} {self._text(request.method)} {self._full_url(request)}\n"
            f"{local_time(now)} {level} {tag} Response: {status} ({elapsed * 1000:.0f}ms{slow})"
        )

    def _full_url(self, request: Request) -> str:
        host = request.requestHeaders.getRawHeaders(b"Host") or [b"-"]
        return f"{'https' if request.isSecure() else 'http'}://{self._text(host[-1])}{self._url(request.uri)}"


class Terminal:
    """
    Columns for a person who watches.

    :param coloured: whether the status is coloured by its class.
    """

    def __init__(self, seconds: Callable[[], float], mask: Mask, coloured: bool = False) -> None:
        self._seconds = seconds
        self._stamp = Stamps(lambda second: strftime("%H:%M:%S", localtime(second)))
        self._url = memoised(lambda url: escape(mask(url)))
        self._coloured = coloured

    def __call__(self, request: Request) -> str:
        status = status_of(request)
        shown = str(status)
        if self._coloured and status // 100 in _COLOURS:
            shown = f"{_COLOURS[status // 100]}{status}\x1b[0m"
        return (
            f"{self._stamp(self._seconds())}  {shown}  {escape(request.method):4}  {self._url(request.uri):24}"
            f"  {size_text(request.sentLength):>7}  {duration_text(monotonic() - request.received):>6}"
            f"  {host_of(request) or '-'}"
        )


def size_text(count: int) -> str:
    """A number of bytes for people, in powers of 1000."""
    size, units = float(count), ["B", "kB", "MB", "GB"]
    while size >= 999.95 and len(units) > 1:
        size /= 1000
        del units[0]
    return f"{count} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def duration_text(seconds: float) -> str:
    """A duration for people."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def local_time(when: float) -> str:
    """Local time with milliseconds."""
    return f"{strftime('%Y-%m-%d %H:%M:%S', localtime(when))},{int(when * 1000) % 1000:03}"


def host_of(request: Request) -> str:
    """The client's address; empty when it has none, as over a UNIX socket."""
    return getattr(request.getClientAddress(), "host", "")
