"""
Run suites of Twisted's with the engine's channel, request and site in the place of Twisted's own, and print what failed.

``python -m tests.engine.twisted_suites SUITE...`` prints a JSON object: how many tests were ``run``, and what went wrong by
the name of each test in ``failed``. A suite is the name of a module of :mod:`twisted.web.test`; ``test_http+request`` has the
engine's request in the place of ``http.Request``, too, which most tests of :mod:`twisted.web.test.test_http` derive from.

The stand-ins differ from the real ones where the tests would not come to the point otherwise: a request need name no host,
as most in these suites do not; a refusal is said in Twisted's words; a channel that was made by itself has a site.
"""

from __future__ import annotations

import io
import json
import sys
from copy import copy
from typing import Any

from twisted.internet.task import Clock
from twisted.spread import pb
from twisted.trial import util
from twisted.trial.reporter import Reporter
from twisted.trial.runner import TestLoader, TrialRunner
from twisted.web import http, server
from twisted.web.resource import Resource

from mixweb.engine import channel, http1, request, site
from mixweb.engine.errors import reason_phrase

#: Seconds that a test may take: one that waits for an answer of another kind never ends.
PATIENCE = 5.0


def judge(line: http1.Line, fields: http1.Fields, strictly: Any = http1.judge) -> Any:
    """A head as it is judged, but for the host that it does not name."""
    if fields.host is None:
        fields.host = b"localhost"
    return strictly(line, fields)


class Request(request.Request):
    """The engine's request, which needs no host."""

    def _host_is_valid(self) -> bool:
        return not self.requestHeaders.hasHeader(b"Host") or super()._host_is_valid()


class Site(site.Site):
    """The engine's site with that request."""

    requestFactory = Request


class Channel(channel.Channel):
    """The engine's channel with a site of its own, which refuses as Twisted's does: in one line."""

    site = Site(Resource(), reactor=Clock())
    requestFactory = http.Request

    def refuse(self, status: int, detail: str) -> None:
        self.transport.write(b"HTTP/1.1 %d %s\r\n\r\n" % (status, reason_phrase(status)))
        self.loseConnection()

    @property
    def _optimisticEagerReadSize(self) -> int:
        return self.site.max_pipelined_bytes

    @_optimisticEagerReadSize.setter
    def _optimisticEagerReadSize(self, size: int) -> None:
        self.site = copy(self.site)
        self.site.max_pipelined_bytes = size


class BareRequest(Request):
    """The engine's request, which begins as ``http.Request`` does: without fields and without a version."""

    clientproto = b"(no clientproto yet)"
    defaultContentType = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.responseHeaders._rawHeaders.clear()


BareRequest.__name__ = "Request"


def substitute(with_request: bool) -> None:
    """Put the engine's parts in the place of Twisted's."""
    from twisted.web import distrib

    http1.judge = judge  # type: ignore[assignment]
    http.HTTPChannel = Channel  # type: ignore[misc,assignment]
    server.Request = Request  # type: ignore[misc]
    server.Site = Site  # type: ignore[misc]
    if with_request:
        http.Request = Channel.requestFactory = BareRequest  # type: ignore[misc,assignment]
    pb.setUnjellyableForClass("twisted.web.server.Request", distrib.Request)


def run(suites: list[str]) -> dict[str, Any]:
    """The outcome of some suites."""
    found = TestLoader().loadByNames([f"twisted.web.test.{suite}" for suite in suites])
    result = TrialRunner(lambda *arguments: Reporter(io.StringIO(), *arguments[1:]), workingDirectory="trial").run(
        found
    )
    failed: dict[str, str] = {}
    for test, failure in [*result.failures, *result.errors]:
        name = test.id().removeprefix("twisted.web.test.")
        failed[name] = failed.get(name) or str(getattr(failure, "value", failure)).strip().partition("\n")[0][:300]
    return {"run": result.testsRun, "failed": failed}


if __name__ == "__main__":
    util.DEFAULT_TIMEOUT_DURATION = PATIENCE
    with_request = [suite for suite in sys.argv[1:] if suite.endswith("+request")]
    substitute(bool(with_request))
    print(json.dumps(run([suite.removesuffix("+request") for suite in sys.argv[1:]]), indent=1))
