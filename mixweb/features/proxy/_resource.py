"""
The resource that passes requests on.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from secrets import token_bytes, token_hex
from typing import NamedTuple

from zope.interface import implementer

from mixweb.engine._head import LINE
from mixweb.engine.body import IBodyReceiver
from mixweb.engine.request import Request
from mixweb.engine.responses import ResponseHead
from mixweb.features.proxy import _answer, _request
from mixweb.features.proxy._edits import AnswerEdits, RequestEdits, client_of
from mixweb.features.proxy._request import Origin
from mixweb.features.proxy._target import Paths, join
from mixweb.features.proxy._upstreams import Upstream, Upstreams, by_hash
from mixweb.kit.rules import path_text, quote_path
from mixweb.kit.upstream.connection import Broken
from mixweb.kit.upstream.fields import (
    Via,
    answered,
    as_received,
    asked,
    binds,
    block,
    goes_further,
    named_tokens,
    pairs_of,
)
from mixweb.kit.upstream.pool import Pool
from mixweb.kit.upstream.relay import Answer, Relay
from mixweb.wrapper import HTTPError, Leaf

_FORWARDED = {
    "both": (_request.x_forwarded, _request.forwarded),
    "x-forwarded": (_request.x_forwarded,),
    "forwarded": (_request.forwarded,),
    "off": (),
}

#: Bytes of a cookie that keeps a client at one upstream.
_COOKIE_BYTES = 8


#: What this server says that is allowed, where it answers for the one behind it.
_ALLOWED = b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"


class Prepared(NamedTuple):
    """
    What is made of the fields of a request.

    :ivar proxy: who has made it.
    :ivar at: the path of the mount.
    :ivar lines: the fields as upstream servers get them, without ``Host`` and those that frame the body.
    :ivar websocket: whether they ask for a WebSocket, and it is passed on.
    :ivar single: whether the connection is for nobody else afterwards.
    """

    proxy: ProxyResource
    at: list[bytes]
    lines: bytes
    websocket: bool
    single: bool


@implementer(IBodyReceiver)
class ProxyResource(Leaf):
    """
    Passes requests on to upstream servers.

    :param upstreams: the servers.
    :param paths: makes the targets.
    :param host: ``upstream``, ``client``, or the name to send as ``Host``.
    :param forwarded: ``both``, ``x-forwarded``, ``forwarded`` or ``off``.
    :param cookie: the name of the cookie that says which requests belong together; empty where addresses do.
    :param websocket: whether WebSockets are passed on.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        paths: Paths,
        request_edits: RequestEdits,
        answer_edits: AnswerEdits,
        *,
        host: str = "upstream",
        forwarded: str = "both",
        cookie: str = "",
        websocket: bool = True,
    ) -> None:
        self.upstreams = upstreams
        self.paths = paths
        self.request_edits = request_edits
        self.answer_edits = answer_edits
        self.host = host
        self.forwarded = _FORWARDED[forwarded]
        self.cookie = cookie.encode("ascii")
        self.websocket = websocket
        self.keyed = upstreams.policy is by_hash and len(upstreams.all) > 1
        self.via = Via()

    def handle(self, request: Request) -> None:
        if request.head is None:
            check_line(request)
        if request.method == b"TRACE" or (
            request.method == b"CONNECT" and not (self.websocket and asks_for_websocket(request))
        ):
            # TRACE would show the client what this server adds.
            raise HTTPError(405, "TRACE and CONNECT are not passed on.", [(b"Allow", _ALLOWED)])
        if not goes_further(request):
            request.setResponseCode(204)
            request.setHeader(b"Allow", _ALLOWED)
            request.complete(b"")
            return
        ProxyRelay(self, request).start()

    # The request

    def prepare(self, request: Request) -> Prepared:
        """What is made of the fields of a request."""
        fields, known = as_received(request), request.__dict__
        if (
            fields is None
            or not self.request_edits.constant
            or "_adapterCache" in known
            or "_forceSSL" in known
            or "isSecure" in known
        ):
            # Another feature has said who asks, and how, or may have.
            return self.prepare_anew(request)
        notes = fields.notes
        if type(notes) is not Prepared or notes.proxy is not self or notes.at != request.prepath:
            # The same section comes again with the next request of this connection.
            notes = fields.notes = self.prepare_anew(request)
        return notes

    def prepare_anew(self, request: Request) -> Prepared:
        """The same, whatever is known."""
        fields = asked(pairs_of(request), _request.DROPPED)
        via = self.via.of(request)
        origin = self.origin(request)
        for make in self.forwarded:
            fields += make(origin)
        lines = block(self.request_edits(request, [*fields, via]))
        single = binds(request.requestHeaders.getRawHeaders(b"Authorization"))
        return Prepared(self, request.prepath, lines, self.websocket and asks_for_websocket(request), single)

    def origin(self, request: Request) -> Origin:
        """On whose behalf a request is sent."""
        client, proxies = client_of(request)
        prefix = quote_path(path_text(request.prepath)).encode("ascii") if self.paths.strip and request.prepath else b""
        return Origin(client, proxies, request.isSecure(), request.getHeader(b"Host") or b"", prefix)

    def host_for(self, request: Request, upstream: Upstream) -> bytes:
        """The ``Host`` that an upstream is told."""
        if self.host == "upstream":
            return upstream.target.authority
        if self.host == "client":
            received: bytes | None = request.getHeader(b"Host")
            return received or upstream.target.authority
        return self.host.encode("ascii")

    # Which upstream

    def key(self, request: Request) -> bytes:
        """What says which requests belong together; a client without the cookie is given one."""
        if not self.cookie:
            return client_of(request)[0].encode()
        value: bytes = request.getCookie(self.cookie) or b""
        if not value:
            value = token_hex(_COOKIE_BYTES).encode("ascii")
            path = path_text(request.prepath) if request.prepath else "/"
            request.addCookie(
                self.cookie, value, path=quote_path(path), httpOnly=True, sameSite="lax", secure=request.isSecure()
            )
        return value

    # The answer

    def fields(self, request: Request, head: ResponseHead, upstream: Upstream) -> Answer:
        """The fields of an answer as the client gets them."""
        if head.notes is None:
            headers = self.answer_edits(answered(head.fields.pairs))
            mapped = [name for name, _ in headers.getAllRawHeaders() if name.lower() in _answer.MAPPED]
            head.notes = ([*headers.getAllRawHeaders()], mapped)
        fields, mapped = head.notes
        return self.map(request, fields, upstream) if mapped else fields

    def map(self, request: Request, fields: Answer, upstream: Upstream) -> Answer:
        """Have what names addresses of the upstream name those they have here."""
        target = upstream.target
        own = request.getHeader(b"Host") or b""
        scheme = target.scheme.encode("ascii")
        schemes = {b"", scheme, b"https" if request.isSecure() else b"http"}
        at = quote_path(path_text(request.prepath)).encode("ascii") if self.paths.strip and request.prepath else b""
        mapping = _answer.Mapping(
            frozenset(
                [_answer.origin_of(item, own) for item in schemes]
                + [_answer.origin_of(item, target.authority) for item in (b"", scheme)]
            ),
            target.base,
            at,
            frozenset([target.authority.partition(b":")[0], self.host.partition(":")[0].encode("ascii")]),
        )
        return [
            (
                name,
                [mapping.field(key, value) for value in values] if (key := name.lower()) in _answer.MAPPED else values,
            )
            for name, values in fields
        ]


class ProxyRelay(Relay):
    """
    One request on its way through a proxy.

    :ivar upstream: the server that is asked.
    """

    __slots__ = ("prepared", "proxy", "rest", "single", "upstream")

    upstream: Upstream

    def __init__(self, proxy: ProxyResource, request: Request) -> None:
        self.proxy = proxy
        self.rest = proxy.paths.rest(request)
        self.prepared = prepared = proxy.prepare(request)
        self.single = prepared.single
        # With CONNECT nothing else comes here; over HTTP/2 the fields may be shared with another request.
        switches = request.method == b"CONNECT" or (
            prepared.websocket and request.method == b"GET" and request.clientproto == b"HTTP/1.1"
        )
        super().__init__(request, b"websocket" if switches else b"")

    def choose(self, tried: Sequence[Pool]) -> Pool | None:
        proxy = self.proxy
        chosen = proxy.upstreams.choose(proxy.key(self.request) if proxy.keyed else b"", tried)
        if chosen is None:
            return None
        self.upstream = chosen
        return chosen.pool

    def head(self) -> bytes:
        target = self.upstream.target
        switch = b""
        if self.switch:
            switch = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % self.switch
            if self.request.method == b"CONNECT":
                switch += b"Sec-WebSocket-Key: %b\r\n" % b64encode(token_bytes(16))
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b" % (
            self.method,
            join(target.base, target.tail, self.rest),
            self.proxy.host_for(self.request, self.upstream),
            self.prepared.lines,
            switch,
        )

    def fields(self, head: ResponseHead) -> Answer:
        return self.proxy.fields(self.request, head, self.upstream)

    def ended(self, reason: Broken | None) -> None:
        upstreams = self.proxy.upstreams
        if reason is None:
            if self.upstream.failures:
                upstreams.succeeded(self.upstream)
        else:
            upstreams.failed(self.upstream, reason.detail)


def asks_for_websocket(request: Request) -> bool:
    """Whether the fields of a request ask for a WebSocket (RFC 6455, 4.1), or its stream does (RFC 8441)."""
    if request.method == b"CONNECT":
        return getattr(request.head, "protocol", None) == b"websocket"
    asked_for = request.requestHeaders.getRawHeaders
    upgrade = asked_for(b"Upgrade") or (b"",)
    return upgrade[0].strip().lower() == b"websocket" and b"upgrade" in named_tokens(asked_for(b"Connection") or ())


def check_line(request: Request) -> None:
    """
    A method and target that no HTTP/1.1 parser has looked at must be such as that would let pass.

    :raises HTTPError: 400 when they are not.
    """
    found = LINE.fullmatch(b"%b %b HTTP/1.1\r\n" % (request.method, request.target))
    if found is None or not found[2]:
        raise HTTPError(400, "The request line is malformed.")
