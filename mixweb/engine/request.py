"""
The request: Twisted's interface, with everything made when first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.http_headers import Headers
from twisted.web.resource import EncodingResourceWrapper, IResource, Resource
from twisted.web.server import NOT_DONE_YET

from mixweb.engine._forms import MAX_FORM_BYTES, cookies, form_arguments, query_arguments
from mixweb.engine._headers import RequestFields
from mixweb.engine._lazy import Lazy
from mixweb.engine._passed import state_of
from mixweb.engine._receiving import ReceivingRequest
from mixweb.engine._rendered import EncoderFilter, answer, answer_unsupported
from mixweb.engine._sending import BodyFilter
from mixweb.engine.authority import Authority, parse_authority
from mixweb.engine.body import IBodyReceiver
from mixweb.engine.errors import TWISTED_PAGES, error_of
from mixweb.engine.requestlog import RequestLog
from mixweb.paths import NO_RAW, CanonicalPath, RawPrefixes, canonical, canonical_path

__all__ = ["MAX_FORM_BYTES", "BodyFilter", "Request"]

#: Resources of Twisted's that this request answers, or helps to answer, itself.
_SPECIAL = (*TWISTED_PAGES, EncodingResourceWrapper)

#: What most resources are rendered with; all it does is to find the method below.
_STOCK_RENDER = Resource.render
_RENDER_NAMES = {
    method: f"render_{method.decode()}" for method in (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH")
}


class Request(ReceivingRequest):
    """
    A request of a :class:`mixweb.Site`.

    :ivar uri: the target as received, undecoded.
    :ivar target: the target that is answered: as received, or as it was rewritten.
    :ivar raw_path: the path as received, undecoded, without the query.
    :ivar canonical_path: the path as all rules and mounts see it.
    :ivar head: what the channel read, when it has checked the host already; ``None`` elsewhere.
    :ivar log: for what is said on behalf of it: lines are tagged with client and session.
    :ivar background: whether it is of no interest to somebody who watches the terminal.
    """

    head: Any = None
    target: bytes
    raw_path: bytes
    canonical_path: CanonicalPath
    raw_prefixes: RawPrefixes = NO_RAW
    prepath: list[bytes]
    postpath: list[bytes]

    background = False

    args = Lazy[dict[bytes, list[bytes]]](lambda self: self._parse_args())
    client = Lazy[Any](lambda self: (self.channel or self._left_channel).getPeer())
    log = Lazy[RequestLog](lambda self: RequestLog(self))
    host = Lazy[Any](lambda self: (self.channel or self._left_channel).getHost())
    sitepath = Lazy[list[bytes]](lambda self: [])
    received_cookies = Lazy[dict[bytes, bytes]](
        lambda self: cookies(self.requestHeaders.getRawHeaders(b"Cookie") or ())
    )
    requestHeaders = Lazy[Headers](lambda self: Headers() if self.head is None else RequestFields(self.head.fields))
    _adapterCache = Lazy[dict[object, object]](lambda self: {})

    if TYPE_CHECKING:  # Twisted declares no types for these

        def setHeader(self, name: str | bytes, value: str | bytes) -> None: ...
        def isSecure(self) -> bool: ...
        def addCookie(
            self,
            k: str | bytes,
            v: str | bytes,
            expires: str | bytes | None = None,
            domain: str | bytes | None = None,
            path: str | bytes | None = None,
            max_age: str | bytes | None = None,
            comment: str | bytes | None = None,
            secure: bool | None = None,
            httpOnly: bool = False,
            sameSite: str | bytes | None = None,
        ) -> None: ...

    # What the channel tells

    def headReceived(self) -> None:
        """The request is to be processed now, and takes its body while it arrives; the line and the length are known."""
        self._settled = True
        self.process()

    def parseCookies(self) -> None:
        """Nothing: cookies are read when asked for."""

    def requestReceived(self, command: bytes, path: bytes | None, version: bytes) -> None:
        """
        The request is complete.

        :param path: the target; ``None`` for a CONNECT of HTTP/2.
        """
        if self._body is not None and not self.is_over:
            self._body.end(self)
        if self._settled:
            return
        if path is None:
            self.begin(command, b"*", version)
            self.refuse(501, "This server opens no tunnels.")
            return
        self.begin(command, path, version)
        self.process()

    def begin(self, method: bytes, target: bytes, version: bytes) -> None:
        """Note the request line; a channel that knows it before the body does so before ``gotLength``."""
        self.method = method
        self.uri = self.target = target
        self.clientproto = version
        self.path = self.raw_path = target.partition(b"?")[0]
        self._is_head = method == b"HEAD"

    def process(self) -> None:
        """Find the resource and render it."""
        self.site = self.channel.site
        try:
            if self.head is None and not self._host_is_valid():
                self.refuse(400, "The request names no valid host.")
            elif self.uri == b"*":
                self._answer_star()
            else:
                self.canonical_path = found = canonical_path(self.path)
                self.prepath = []
                self.postpath = [*found.segments]
                if self.body_complete or self.site.resource.isLeaf:
                    self.render(self.site.getResourceFor(self))
                else:
                    self.when_body(lambda request: request.render(request.site.getResourceFor(request)))
        except Exception:
            self.processingFailed(Failure())

    def set_target(self, target: bytes) -> None:
        """
        Take another target from here on: path, query and arguments follow it.

        :param target: in origin form, undecoded.
        """
        if target is not self.target:
            self.target = target
            self.path = target.partition(b"?")[0]
            self.__dict__.pop("args", None)
        self.canonical_path = found = canonical(target, self.raw_prefixes)
        self.prepath = [] if found.raw is None else list(found.segments)
        self.postpath = list(found.segments) if found.raw is None else []

    @property
    def body_size(self) -> int:
        """How much of the body has been received, in bytes."""
        return self._received_bytes

    @property
    def authority(self) -> Authority | None:
        """The host that is asked for, as ``Host`` or ``:authority`` names it; ``None`` for HTTP/1.0 without one."""
        value = self.requestHeaders.getRawHeaders(b"Host")
        return parse_authority(value[0]) if value else None

    def getRequestHostname(self) -> bytes:
        """The host without its port; the address of the listener when none was named."""
        authority = self.authority
        return getattr(self.getHost(), "host", "").encode("ascii") if authority is None else authority.host

    def _host_is_valid(self) -> bool:
        values = self.requestHeaders.getRawHeaders(b"Host")
        if not values:
            return self.clientproto == b"HTTP/1.0"
        try:
            parse_authority(values[0])
        except ValueError:
            return False
        return len(values) == 1

    def _answer_star(self) -> None:
        if self.method == b"OPTIONS":
            self.setResponseCode(204)
            self.complete(b"")
        else:
            self.error(400, "The target * is for OPTIONS only.")

    def _parse_args(self) -> dict[bytes, list[bytes]]:
        found = query_arguments(self.target)
        if self.method == b"POST" and self.body_complete and 0 < self._received_bytes <= MAX_FORM_BYTES:
            found.update(form_arguments(self.getHeader(b"Content-Type") or b"", self.content))
        return found

    # The answer

    def render(self, resource: IResource) -> None:
        """
        Answer with what a resource renders: bytes, text (sent as UTF-8), a Deferred, a coroutine, an async generator of
        bytes or text, or ``NOT_DONE_YET``.

        It is rendered when the body is complete, unless it is an :class:`mixweb.engine.body.IBodyReceiver`.
        """
        if not self.body_complete and self._waits_for_body(resource):
            return
        if isinstance(resource, _SPECIAL):
            if not isinstance(resource, EncodingResourceWrapper):
                self.error(*error_of(resource))
                return
            self._encode(resource)
        render = resource.render
        if getattr(render, "__func__", None) is _STOCK_RENDER:
            render = getattr(resource, _RENDER_NAMES.get(self.method, "render"), render)
        try:
            body = render(self)
        except UnsupportedMethod as unsupported:
            answer_unsupported(self, resource, set(unsupported.allowedMethods))
            return
        if type(body) is bytes:
            self.complete(body)
        elif body is not NOT_DONE_YET:
            answer(self, body, resource)

    def _waits_for_body(self, resource: IResource) -> bool:
        """Render it later, unless it is to be rendered now."""
        if isinstance(resource, TWISTED_PAGES) or IBodyReceiver.providedBy(resource):
            return False
        self.when_body(lambda request: request.render(resource))
        return True

    def _encode(self, resource: EncodingResourceWrapper) -> None:
        """Send the body through the encoder that the wrapper chooses, if it chooses one."""
        encoder = resource.getEncoder(self)
        if encoder is not None:
            self.filter_body(EncoderFilter(encoder))

    def upgrade(self, protocol: IProtocol, name: bytes, fields: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """
        Hand the connection over to another protocol: 101 over HTTP/1.1, 200 on the stream of an extended CONNECT (RFC 8441).

        :param name: for ``Upgrade``.
        :param fields: of the answer, besides.
        """
        headers = self.responseHeaders
        self.setResponseCode(200 if self.method == b"CONNECT" else 101)
        if self.code == 101:
            headers.put(b"Upgrade", name)
            headers.put(b"Connection", b"Upgrade")
        for field, value in fields:
            headers.addRawHeader(field, value)
        self.defaultContentType = None
        self._begin_body()
        self.channel._protocolUpgradeForWebsockets(protocol)

    # Twisted's sessions and shared servers

    #: Tells the session in the place of Twisted's own.
    find_session: Callable[[Request], Any] | None = None

    def getSession(self, sessionInterface: Any = None, forceNotSecure: bool = False) -> Any:
        """Twisted's session, its cookie out of reach of scripts and other sites."""
        if self.find_session is not None:
            found = self.find_session(self)
            return found.getComponent(sessionInterface) if sessionInterface else found
        before = len(self.cookies)
        session = super().getSession(sessionInterface, forceNotSecure)
        for index in range(before, len(self.cookies)):
            self.cookies[index] += b"; HttpOnly; SameSite=Lax"
        return session

    def getTypeToCopyFor(self, perspective: object = None) -> bytes:
        """The name under which a shared server knows this class."""
        return b"twisted.web.server.Request"

    def getStateToCopyFor(self, perspective: Any, with_body: bool = True) -> dict[str, Any]:
        """
        What a shared server is told of this request, as :mod:`twisted.web.distrib` reads it.

        :param perspective: of the connection to that server; it may answer through the state's ``remote``.
        :param with_body: whether the body is told, and the arguments that it may have.
        """
        return state_of(self, perspective, with_body)
