"""
Programs that are started for one request each (CGI, RFC 3875).
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.protocols.basic import FileSender
from twisted.python.failure import Failure
from zope.interface import implementer

from mixweb import __version__
from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.kit.bodylength import BodyLength
from mixweb.kit.gateway import meta_variables, path, text
from mixweb.kit.heads import parse_head
from mixweb.wrapper import Leaf

#: What a program that was asked to end is given to do so, in seconds.
KILL_SECONDS = 5

#: How much of what one program says on its standard error is logged, in bytes.
_MAX_SAID = 16 * 1024

#: What is taken over from the environment of the server: nothing that could hold a secret.
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT", "LD_LIBRARY_PATH")


@dataclass
class Limits:
    """
    What programs may use.

    :ivar seconds: a program may run for, in all.
    :ivar max_output_bytes: it may answer with.
    :ivar programs: that may run at once.
    :ivar running: that run now.
    """

    seconds: float = 300
    max_output_bytes: int = 1024 * 1024 * 1024
    programs: int = 50
    running: int = 0


#: Of the programs that stand among files.
_STANDARD = Limits()


def find_interpreters(names: Mapping[str, str]) -> dict[str, str]:
    """
    The paths of programs that run files, by extension.

    :raises ValueError: when there is no such program.
    """
    found = {}
    for extension, name in names.items():
        program = shutil.which(name)
        if program is None:
            raise ValueError(f"interpreters: there is no program '{name}' for '{extension}'")
        found[extension.lstrip(".").lower()] = program
    return found


def environment(request: Request, script: str) -> dict[str, bytes]:
    """The environment of a program: the meta-variables, and nothing of the server's but where programs are found."""
    found = {name: text(os.fsencode(os.environ[name])) for name in _INHERITED if name in os.environ}
    found |= meta_variables(request)
    rest = path(request.postpath)
    found |= {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": f"mixweb/{__version__.public()}",
        "REQUEST_URI": request.uri.decode("latin-1"),
        "REQUEST_SCHEME": "https" if request.isSecure() else "http",
        "SCRIPT_NAME": path(request.prepath),
        "SCRIPT_FILENAME": text(os.fsencode(script)),
        "PATH_INFO": rest,
        "REDIRECT_STATUS": "200",  # php-cgi refuses to run without it
    }
    if rest:
        found["PATH_TRANSLATED"] = text(os.fsencode(os.path.dirname(script))) + rest
    if request.isSecure():
        found["HTTPS"] = "on"
    length = request.content.seek(0, os.SEEK_END)
    request.content.seek(0)
    if length or request.requestHeaders.hasHeader(b"Content-Length"):
        found["CONTENT_LENGTH"] = str(length)
    # A value cannot hold what ends it; canonical paths and fields do not, except by %00.
    return {name: value.encode("latin-1") for name, value in found.items() if "\0" not in value}


class ProgramResource(Leaf):
    """
    A program at a path and all below it, which is told to it.

    :param script: the file, an absolute path.
    :param interpreter: the program that runs it; it runs by itself when there is none.
    """

    def __init__(self, script: str, interpreter: str = "", limits: Limits = _STANDARD) -> None:
        self.script = script
        self.command = [interpreter, script] if interpreter else [script]
        self.limits = limits

    def handle(self, request: Request) -> None:
        if len(self.command) == 1 and not os.access(self.script, os.X_OK):
            raise HTTPError(403, "This file cannot be run: it is not executable, and no interpreter is named for it.")
        Program(request, self.script, self.limits).start(self.command)


@implementer(IPushProducer)
class Program(ProcessProtocol):
    """
    One run of a program.

    Its output is read as fast as the client takes it; when the client leaves, it is ended.
    """

    transport: Any
    _log = Logger()

    def __init__(self, request: Request, script: str, limits: Limits) -> None:
        self.request = request
        self.script = script
        self.limits = limits
        self.reactor: Any = request.site.reactor
        self.head = b""
        self.body: BodyLength | None = None
        self.sent = 0
        self.said = 0
        self.gone = False
        self._alive = False
        self._feeding = False
        self._timer: Any = None

    def start(self, command: Sequence[str]) -> None:
        """
        Run it.

        :raises HTTPError: 503 when too many run already, 502 when it cannot be started.
        """
        if self.limits.running >= self.limits.programs:
            self.request.setHeader(b"Retry-After", b"1")
            raise HTTPError(503, "Too many programs are running.")
        try:
            self.reactor.spawnProcess(
                self, command[0], list(command), environment(self.request, self.script), os.path.dirname(self.script)
            )
        except OSError as reason:
            self._log.error("{script} cannot be started: {reason}", script=self.script, reason=reason)
            raise HTTPError(502, "The program cannot be started.") from None
        self.limits.running += 1
        self._alive = True
        self._timer = self.reactor.callLater(self.limits.seconds, self._too_long)
        self.request.notifyFinish().addBoth(self._left)

    # The process

    def connectionMade(self) -> None:
        """Hand it the body, as fast as it reads."""
        self.request.registerProducer(self, True)
        self._feeding = True
        sending = FileSender().beginFileTransfer(self.request.content, self.transport)
        sending.addCallbacks(self._fed, lambda _: None)

    def _fed(self, _: object) -> None:
        self._feeding = False
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """Take the head, then pass on the body."""
        if self.gone:
            return
        self.sent += len(data)
        if self.sent > self.limits.max_output_bytes:
            self._fail("says more than max_output_bytes")
        elif self.body is not None:
            self._write(data)
        else:
            self.head += data
            self._begin()

    def errReceived(self, data: bytes) -> None:
        """What it complains of goes to the log."""
        room, self.said = max(_MAX_SAID - self.said, 0), self.said + len(data)
        for line in data[:room].decode("utf-8", "replace").splitlines():
            self._log.warn("{script}: {line}", script=self.script, line=line)

    def processEnded(self, reason: Failure) -> None:
        """The answer is complete, if it has begun and the program did not fail."""
        self.limits.running -= 1
        self._alive = False
        if self._timer.active():
            self._timer.cancel()
        if self.gone:
            return
        if self.body is None:
            self._fail("ended without an answer")
        elif isinstance(end := reason.value, ProcessTerminated) and end.signal is not None:
            self._fail(f"was ended by signal {end.signal}")
        elif self.body.left:
            self._fail(f"gave {self.body.left} bytes less than its Content-Length")
        else:
            self.request.unregisterProducer()
            self.request.finish()

    # How fast

    def pauseProducing(self) -> None:
        """The client takes no more for now."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The client takes more."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The client has left: the request tells it."""

    # The answer

    def _begin(self) -> None:
        try:
            head = parse_head(self.head)
        except ValueError as reason:
            self._fail(f"gave no valid answer: {reason}")
            return
        if head is None:
            return
        request = self.request
        location = [value for name, value in head.fields if name.lower() == b"location"]
        if head.status is not None:
            request.setResponseCode(head.status, head.reason)
        elif location:
            request.setResponseCode(302)
        request.defaultContentType = None
        for name, value in head.fields:
            request.responseHeaders.addRawHeader(name, value)
        try:
            self.body = BodyLength(request)
        except ValueError as reason:
            self._fail(f"gave no valid answer: {reason}")
            return
        rest, self.head = self.head[head.length :], b""
        request.write(b"")
        self._write(rest)

    def _write(self, data: bytes) -> None:
        assert self.body is not None
        kept = self.body.cut(data)
        if kept:
            self.request.write(kept)

    def _fail(self, reason: str, status: int = 502) -> None:
        """Answer with an error, or drop the connection where the answer has begun."""
        self._log.error("{script} {reason}", script=self.script, reason=reason)
        request = self.request
        if request.producer:
            request.unregisterProducer()
        if self.body is not None:
            request.abort()
        else:
            request.error(status, "The program failed." if status == 502 else "The program took too long.")

    def _too_long(self) -> None:
        self._fail(f"ran for more than {self.limits.seconds} seconds", 504)

    def _left(self, _: object) -> None:
        """The request has ended, however: so does the program."""
        self.gone = True
        if not self._alive:
            return
        if self._feeding:
            self.transport.unregisterProducer()
        self.transport.closeStdin()
        self.transport.resumeProducing()
        self._signal(signal.SIGTERM)
        if self._timer.active():
            self._timer.cancel()
        self._timer = self.reactor.callLater(KILL_SECONDS, self._kill)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        # What it has started may hold its pipes open for ever.
        self.transport.loseConnection()

    def _signal(self, number: int) -> None:
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(number)
