"""
The access log in full: each request with its head and the beginning of its body.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from mixweb.engine.request import Request
from mixweb.features._accesslog_lines import duration_text, host_of, local_time, size_text, status_of
from mixweb.kit.received import received_fields, received_target
from mixweb.kit.secrets import Secrets

START = "----- Request Start ----->"
END = "<----- Request End -----"


def printable(value: bytes) -> str:
    """A value on one line: text as it is, anything else escaped as ``\\xNN``."""
    text = value.decode("utf-8", "surrogateescape")
    return "".join([character if character.isprintable() else _escaped(character) for character in text])


def _escaped(character: str) -> str:
    return "".join([f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape")])


def body_lines(body: bytes) -> list[str]:
    """The lines of a body, none of which can be taken for a mark."""
    lines = [printable(line.removesuffix(b"\r")) for line in body.split(b"\n")]
    return [f"\\{line}" if line.startswith((START[:5], END[:6])) else line for line in lines]


class Full:
    """
    Everything a client sent, between two marks.

    :param secrets: what is not shown.
    :param most: bytes of a body that are shown.
    """

    def __init__(self, seconds: Callable[[], float], secrets: Secrets, most: int) -> None:
        self._seconds = seconds
        self._secrets = secrets
        self._most = most

    def __call__(self, request: Request) -> str:
        elapsed = monotonic() - request.received
        began = f"{local_time(self._seconds() - elapsed)} {host_of(request) or '-'}"
        answered = f"{status_of(request)} {size_text(request.sentLength)} {duration_text(elapsed)}"
        return "\n".join([f"{START} {began}", *self._head(request), *self._body(request), f"{END} {answered}"])

    def _head(self, request: Request) -> list[str]:
        target = received_target(request)
        if not target:
            return ["(no request could be read)"]
        hide = self._secrets
        line = b" ".join([request.method, hide.target(target), request.clientproto])
        fields = [b"%b: %b" % (name, hide.field(name, value)) for name, value in received_fields(request)]
        return [printable(line), *map(printable, fields)]

    def _body(self, request: Request) -> list[str]:
        size = request.body_size
        if not size:
            return []
        request.content.seek(0)
        body = request.content.read(self._most)
        if not body:
            return ["", f"({size} bytes, not kept)"]
        rest = [f"({size - len(body)} more bytes)"] if size > len(body) else []
        return ["", *body_lines(self._secrets.body(request.getHeader(b"Content-Type") or b"", body)), *rest]
