"""
The resource that passes requests on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from secrets import token_hex

from twisted.web.http_headers import Headers
from zope.interface import implementer

from mixweb.engine._head import LINE, SECTION, Fields
from mixweb.engine.body import IBodyReceiver
from mixweb.engine.request import Request
from mixweb.engine.responses import ResponseHead
from mixweb.features.proxy import _answer, _request
from mixweb.features.proxy._request import Origin
from mixweb.features.proxy._target import Paths, join
from mixweb.features.proxy._upstreams import Upstream, Upstreams, by_hash
from mixweb.interfaces import IClientAddress, IUser
from mixweb.kit.headerlines import grouped, header_lines, names_matcher
from mixweb.kit.placeholders import Template, escape_field
from mixweb.kit.rules import path_text, quote_path
from mixweb.kit.upstream.connection import Broken
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


class RequestEdits:
    """
    What is changed in the fields of requests.

    :param set: ``Name: value`` lines; a value may have ``{client}``, ``{host}``, ``{scheme}`` and ``{user}`` in it.
    :param remove: names and globs.
    """

    def __init__(self, set: Sequence[str], remove: Sequence[str]) -> None:
        self.remove = names_matcher(remove, frozenset([b"host"]))
        self.set = [
            (name, Template(value.decode("latin-1"), _PLACEHOLDERS)) for name, value in header_lines("request_set", set)
        ]
        self._names = {name.lower() for name, _ in self.set}
        self.constant = all(template.constant is not None for _, template in self.set)

    def __call__(self, request: Request, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        matcher, names = self.remove, self._names
        kept = [
            (name, value)
            for name, value in fields
            if (key := name.lower()) not in names and not (matcher is not None and matcher.match(key))
        ]
        for name, template in self.set:
            value = template.render(request, escape_field)
            if value:
                kept.append((name, value.encode("latin-1", "replace")))
        return kept


_PLACEHOLDERS: Mapping[str, Callable[[Request], str]] = {
    "client": lambda request: client_of(request)[0],
    "host": lambda request: (request.getHeader(b"Host") or b"").decode("latin-1"),
    "scheme": lambda request: "https" if request.isSecure() else "http",
    "user": lambda request: getattr(IUser(request, None), "name", ""),
}


class AnswerEdits:
    """
    What is changed in the fields of answers.

    :param set: ``Name: value`` lines that take the place of what the upstream says.
    :param add: lines that are added to it.
    :param remove: names and globs.
    """

    def __init__(self, set: Sequence[str], add: Sequence[str], remove: Sequence[str]) -> None:
        self.remove = names_matcher(remove, frozenset([b"content-length"]))
        self.set = grouped(header_lines("set", set))
        self.add = header_lines("add", add)

    def __call__(self, fields: list[tuple[bytes, bytes]]) -> Headers:
        headers = Headers()
        for name, value in fields:
            if self.remove is None or not self.remove.match(name.lower()):
                headers.addRawHeader(name, value)
        for name, values in self.set:
            headers.setRawHeaders(name, values)
        for name, value in self.add:
            headers.addRawHeader(name, value)
        return headers


def client_of(request: Request) -> tuple[str, tuple[str, ...]]:
    """Who sent a request, and the trusted proxies it came through."""
    told = IClientAddress(request, None)
    if told is not None:
        return told.host, told.proxies
    return getattr(request.getClientAddress(), "host", ""), ()


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
        self.via = b"1.1 mixweb-" + token_hex(4).encode("ascii")

    def handle(self, request: Request) -> None:
        if request.head is None:
            check_line(request)
        if request.method == b"TRACE":
            # It would show the client what this server adds.
            raise HTTPError(405, "TRACE is not passed on.", [(b"Allow", _ALLOWED)])
        if request.method == b"OPTIONS" and request.getHeader(b"Max-Forwards") is not None and not _one_less(request):
            request.setResponseCode(204)
            request.setHeader(b"Allow", _ALLOWED)
            request.complete(b"")
            return
        ProxyRelay(self, request).start()

    # The request

    def lines(self, request: Request) -> bytes:
        """The fields of a request as upstream servers get them, without ``Host`` and those that frame the body."""
        fields, known = untouched_fields(request), request.__dict__
        if (
            fields is None
            or not self.request_edits.constant
            or "_adapterCache" in known
            or "_forceSSL" in known
            or "isSecure" in known
        ):
            # Another feature has said who asks, and how, or may have.
            return self.make_lines(request)
        if fields.notes is None or fields.notes[0] is not self:
            # The same section comes again with the next request of this connection.
            fields.notes = (self, self.make_lines(request))
        made: bytes = fields.notes[1]
        return made

    def make_lines(self, request: Request) -> bytes:
        """The same, made anew."""
        headers, received = request.requestHeaders, untouched_fields(request)
        if received is not None:
            pairs: Sequence[tuple[bytes, bytes]] = received.pairs
        else:
            pairs = [(name, value) for name, values in headers.getAllRawHeaders() for value in values]
        fields = _request.passed(pairs)
        via = headers.getRawHeaders(b"Via") or ()
        if any(self.via in value for value in via):
            raise HTTPError(508, "The request came round to this server again.")
        origin = self.origin(request)
        for make in self.forwarded:
            fields += make(origin)
        fields.append((b"Via", b", ".join([*via, self.via])))
        block = _request.lines(self.request_edits(request, fields))
        if SECTION.fullmatch(block) is None:
            raise HTTPError(400, "A field of the request is malformed.")
        return block

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
            headers = self.answer_edits(_answer.passed(head.fields.pairs))
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

    __slots__ = ("lines", "proxy", "rest", "upstream")

    upstream: Upstream

    def __init__(self, proxy: ProxyResource, request: Request) -> None:
        self.proxy = proxy
        self.rest = proxy.paths.rest(request)
        self.lines = proxy.lines(request)
        super().__init__(request, b"websocket" if proxy.websocket and wants_websocket(request) else b"")

    def choose(self, tried: Sequence[Pool]) -> Pool | None:
        proxy = self.proxy
        chosen = proxy.upstreams.choose(proxy.key(self.request) if proxy.keyed else b"", tried)
        if chosen is None:
            return None
        self.upstream = chosen
        return chosen.pool

    def head(self) -> bytes:
        target = self.upstream.target
        switch = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % self.switch if self.switch else b""
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b" % (
            self.method,
            join(target.base, target.tail, self.rest),
            self.proxy.host_for(self.request, self.upstream),
            self.lines,
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


def untouched_fields(request: Request) -> Fields | None:
    """The field section of a request as it was received, unless something has changed it since."""
    if request.head is None or getattr(request.requestHeaders, "_fields", None) is not request.head.fields:
        return None
    fields: Fields | None = request.head.fields
    return fields


def wants_websocket(request: Request) -> bool:
    """Whether a request asks for a WebSocket (RFC 6455, 4.1)."""
    upgrade = request.requestHeaders.getRawHeaders(b"Upgrade")
    if not upgrade or request.method != b"GET" or request.clientproto != b"HTTP/1.1":
        return False
    named = _request.named_tokens(request.requestHeaders.getRawHeaders(b"Connection") or ())
    return upgrade[0].strip().lower() == b"websocket" and b"upgrade" in named


def _one_less(request: Request) -> bool:
    """Count ``Max-Forwards`` down; whether the request may be passed on (RFC 9110, 7.6.2)."""
    left = request.getHeader(b"Max-Forwards") or b""
    if not left.isdigit() or len(left) > 9:
        raise HTTPError(400, "Max-Forwards is not a number.")
    request.requestHeaders.setRawHeaders(b"Max-Forwards", [b"%d" % max(0, int(left) - 1)])
    return int(left) > 0


def check_line(request: Request) -> None:
    """
    A method and target that no HTTP/1.1 parser has looked at must be such as that would let pass.

    :raises HTTPError: 400 when they are not.
    """
    found = LINE.fullmatch(b"%b %b HTTP/1.1\r\n" % (request.method, request.target))
    if found is None or not found[2]:
        raise HTTPError(400, "The request line is malformed.")
