"""
Bodies while they arrive: who gets them, when a client is told to go on, and what happens to those nobody wants.
"""

import re
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.engine.body import IBodyReceiver
from mixweb.engine.errors import HTTPError
from mixweb.engine.http1 import Parser
from mixweb.engine.site import Site
from mixweb.wrapper import Leaf, Wrapper
from tests.engine.wires import GET, POST, Client, Http2Client, get

CUTS = pytest.mark.parametrize("size", [1, 7, 1 << 30], ids=["by 1", "by 7", "whole"])
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECT = b"Expect: 100-continue\r\n"
PIECE = bytes(10_000)


def post(path=b"/", length=None, fields=b""):
    """The head of a request with a body, chunked without a length."""
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%b%b\r\n\r\n" % (path, fields, framing)


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST = b"0\r\n\r\n"


@implementer(IBodyReceiver)
class Upload(Resource):
    """Notes what it gets of a body, and answers with how much that was."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.requests = []
        self.pieces = []
        self.ends = []

    def render(self, request):
        self.requests.append(request)
        request.notifyFinish().addCallbacks(lambda _: self.ends.append("finished"), lambda _: self.ends.append("lost"))
        self.take(request)
        return NOT_DONE_YET

    def take(self, request):
        request.receive_body(self.pieces.append, lambda: self.complete(request))

    def complete(self, request):
        request.complete(b"%d" % len(self.body))

    @property
    def body(self):
        return b"".join(self.pieces)


class Keep(Resource):
    """Answers with the whole body."""

    isLeaf = True

    def render_GET(self, request):
        return b"got"

    def render_POST(self, request):
        return request.content.read()


class Gate(Wrapper):
    """Lets only those through who have a ticket."""

    def handle(self, request):
        if request.getHeader(b"Ticket"):
            self.forward(request)
        else:
            request.error(401, "No ticket.")


class SlowGate(Wrapper):
    """Lets somebody through when the test says so."""

    def __init__(self, inner):
        super().__init__(inner)
        self.decision = Deferred()

    def handle(self, request):
        self.spawn(request, self.decide(request))

    async def decide(self, request):
        await self.decision
        self.forward(request)


# Who gets it


@CUTS
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_receiver(framing, wrapped, size):
    """A receiver gets the body while it arrives, however it is cut; the request behind it is answered after it."""
    upload = Upload()
    client = Client(Wrapper(upload) if wrapped else upload)
    data = (
        post(length=25_000) + bytes(25_000) if framing == "length" else post() + chunk(PIECE) * 2 + chunk(b"x") + LAST
    )
    client.send(data + get(b"/after"), size)
    assert client.bodies == [b"25000" if framing == "length" else b"20001"] * 2
    assert (upload.ends, client.wire.open) == (["finished"] * 2, True)


def test_receiver_is_rendered_before_the_body():
    """A receiver is rendered when the head is there, and gets each piece as it comes."""
    upload = Upload()
    client = Client(Wrapper(upload))
    client.send(post(length=20_001))
    (request,) = upload.requests
    assert request.body_complete is False
    for count in (1, 2):
        client.send(PIECE)
        assert len(upload.pieces) == count
    assert client.statuses == []
    client.send(b"x")
    assert (client.bodies, request.body_complete) == ([b"20001"], True)


@CUTS
def test_others_wait_for_the_body(size):
    """What is no receiver is rendered when the body is complete, behind wrappers, as a root with children, and as a leaf."""

    class Echo(Leaf):
        def handle(self, request):
            assert request.body_complete
            request.complete(request.content.read())

    tree = Resource()
    tree.putChild(b"a", Keep())
    for root in (Keep(), Wrapper(Keep()), tree, Wrapper(tree), Wrapper(Echo()), Echo()):
        client = Client(root)
        client.send(post(b"/a") + chunk(b"hello ") + chunk(b"world") + LAST + GET, size)
        assert client.bodies[0] == b"hello world"
        assert len(client.bodies) == 2


def test_receiver_without_a_body():
    """Without a body there is nothing to receive: a receiver is told of the end at once."""
    upload = Upload()
    client = Client(upload)
    client.send(GET)
    assert (client.bodies, upload.pieces) == ([b"0"], [])


class WhenBody(Wrapper):
    """Waits for the body before it lets others have it."""

    def handle(self, request):
        self.early = dict(request.args)
        request.when_body(self.look)

    def look(self, request):
        self.seen = request.content.read()
        request.content.seek(0)
        self.args = dict(request.args)
        self.forward(request)


@CUTS
@pytest.mark.parametrize("kind", [Keep, Upload])
def test_wrapper_that_needs_the_body(kind, size):
    """A wrapper may wait for the body; who is behind it has it too. The arguments of a form come with it."""
    inner = kind()
    wrapper = WhenBody(inner)
    client = Client(wrapper)
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    client.send(post(b"/?q=1", 7, form) + b"a=1&b=2", size)
    assert (wrapper.seen, wrapper.args) == (b"a=1&b=2", {b"q": [b"1"], b"a": [b"1"], b"b": [b"2"]})
    assert wrapper.early == ({b"q": [b"1"]} if size < 100 else wrapper.args)
    assert client.bodies == [b"a=1&b=2" if kind is Keep else b"7"]


def test_arguments_of_half_a_form():
    """The arguments of a form are there when all of it is; to ask for them before does no harm to it."""

    class Show(Keep):
        def render_POST(self, request):
            return repr(sorted(request.args)).encode() + request.content.read()

    class Peek(Wrapper):
        def handle(self, request):
            seen.append(request)
            self.forward(request)

    seen = []
    client = Client(Peek(Show()))
    client.send(post(b"/?q=1", 7, b"Content-Type: application/x-www-form-urlencoded\r\n") + b"a=1")
    assert seen[0].args == {b"q": [b"1"]}
    client.send(b"&b=2")
    assert client.bodies == [b"[b'a', b'b', b'q']a=1&b=2"]


def test_wrapper_without_a_body():
    """A wrapper that waits for the body of a request without one goes on at once."""
    client = Client(WhenBody(Keep()))
    client.send(GET)
    assert client.bodies == [b"got"]


def test_wrapper_that_looks_along():
    """A wrapper may ask for the whole body and forward at once: a receiver gets it when it is complete."""

    class Along(Wrapper):
        def handle(self, request):
            request.when_body(lambda request: seen.append(request.content.read()))
            self.forward(request)

    seen, upload = [], Upload()
    client = Client(Along(upload))
    client.send(post(length=4) + b"ab")
    assert (len(upload.requests), upload.pieces) == (1, [])
    client.send(b"cd")
    assert (seen, upload.pieces, client.bodies) == ([b"abcd"], [b"abcd"], [b"4"])


def test_receiver_below_a_stock_tree():
    """A receiver among children of Twisted's resources gets the body when it is complete, in pieces, in turns."""
    upload, tree = Upload(), Resource()
    tree.putChild(b"a", upload)
    client = Client(tree)
    client.send(post(b"/a", 2_000_000))
    for _ in range(200):
        client.send(PIECE)
    assert [len(piece) for piece in upload.pieces] == [65536] * 16
    client.clock.advance(0)
    assert client.bodies == [b"2000000"]


def test_receiver_of_a_kept_body_pauses():
    """A receiver that gets a body that was kept may pause it, too."""

    class Sipping(Upload):
        def take(self, request):
            def data(piece):
                self.pieces.append(piece)
                request.pause_body()

            request.receive_body(data, lambda: self.complete(request))

    upload, tree = Sipping(), Resource()
    tree.putChild(b"a", upload)
    client = Client(tree)
    client.send(post(b"/a", 150_000) + bytes(150_000))
    for count in (1, 2, 3):
        assert (len(upload.pieces), client.statuses) == (count, [])
        upload.requests[0].resume_body()
    assert client.bodies == [b"150000"]
    client.clock.advance(1)
    assert len(client.statuses) == 1


def test_large_bodies_are_kept_in_files():
    """What is kept of a large body is not kept in memory, announced or not."""
    for head, piece, end in ((post(length=500_000), PIECE, b""), (post(), chunk(PIECE), LAST)):
        kept = []

        class Look(Keep):
            def render_POST(self, request):
                kept.append(request.content._rolled)  # noqa: B023
                return b"%d" % len(request.content.read())

        client = Client(Look())
        client.send(head)
        for _ in range(50):
            client.send(piece)
        client.send(end)
        assert (kept, client.bodies) == ([True], [b"500000"])


# When a client is told to go on


@pytest.mark.parametrize(
    ("resource", "fields", "before", "status"),
    [
        (Keep, b"", CONTINUE, 200),
        (Upload, b"", CONTINUE, 200),
        (lambda: Gate(Keep()), b"", b"", 401),
        (lambda: Gate(Upload()), b"", b"", 401),
        (lambda: Gate(Keep()), b"Ticket: 1\r\n", CONTINUE, 200),
        (lambda: WhenBody(Keep()), b"", CONTINUE, 200),
    ],
)
def test_continue(resource, fields, before, status):
    """A client is told to go on, once, when somebody wants the body, and not when it is answered without it."""
    client = Client(resource())
    client.send(post(length=4, fields=EXPECT + fields))
    assert client.received.startswith(before)
    assert client.received.count(CONTINUE) == bool(before)
    if status == 200:
        client.send(b"ab")
        client.send(b"cd" + get(b"/", b"Ticket: 1\r\n"))
        assert client.statuses == [100, 200, 200]
    else:
        assert client.statuses == [status]
        assert b"\r\nConnection: close\r\n" in client.received
        assert client.wire.half_closed


def test_continue_when_it_is_decided():
    """While a wrapper decides, the client is not told to go on, nothing is read ahead without end, and nobody is late."""
    gate = SlowGate(Upload())
    client = Client(gate)
    client.send(post(length=40_000, fields=EXPECT))
    client.wait(1000)
    assert client.received == b""
    client.send(bytes(20_000))
    assert client.wire.producerState == "paused"
    gate.decision.callback(None)
    assert (client.received, client.wire.producerState) == (CONTINUE, "producing")
    client.send(bytes(20_000))
    assert client.statuses == [100, 200]


@pytest.mark.parametrize("length", [1 << 30, None])
def test_refused_before_the_body(length):
    """An answer that does not wait for a long body says that it is the last one, and nothing of the body is kept."""
    inner = Upload()
    client = Client(Gate(inner))
    client.send(post(length=length) + b"1")
    assert (client.statuses, inner.requests) == ([401], [])
    assert b"\r\nConnection: close\r\n" in client.received
    for _ in range(1000):
        client.send(PIECE)
    assert client.channel._parser.buffered == 0
    assert (client.wire.half_closed, client.wire.aborted, client.statuses) == (True, False, [401])


@CUTS
def test_answered_before_a_short_body(size):
    """The rest of a short body that nobody wants is read away: the connection stays, for the requests behind it."""
    client = Client(Gate(Keep()))
    client.send(post(length=5) + b"GET /" + get(b"/b", b"Ticket: 1\r\n"), size)
    assert client.bodies[1:] == [b"got"]
    assert (client.statuses, client.wire.open) == ([401, 200], True)
    assert b"Connection: close" not in client.received


@pytest.mark.parametrize("fields", [b"Connection: close\r\n", EXPECT])
def test_answered_before_a_short_body_and_closed(fields):
    """A short body is not waited for where no request can follow, or the client may not send it."""
    client = Client(Gate(Keep()))
    client.send(post(length=5, fields=fields))
    assert (client.statuses, client.wire.half_closed) == ([401], True)
    assert b"\r\nConnection: close\r\n" in client.received


def test_rest_of_a_short_body_is_slow():
    """A client that does not send the rest of a body that was answered is closed, without a second answer."""
    client = Client(Gate(Keep()))
    client.send(post(length=5) + b"G")
    client.wait(40)
    assert (client.statuses, client.wire.disconnecting) == ([401], True)


def test_rest_of_a_short_body_is_cut_off():
    """A client that stops sending within the rest of a body that was answered is closed."""
    client = Client(Gate(Keep()))
    client.send(post(length=5) + b"G")
    client.channel.readConnectionLost()
    assert (client.statuses, client.wire.disconnecting) == ([401], True)


# How fast, and how much


class Slow(Upload):
    """Pauses after each piece."""

    def take(self, request):
        request.receive_body(lambda piece: self.sip(request, piece), lambda: self.complete(request))

    def sip(self, request, piece):
        self.pieces.append(piece)
        request.pause_body()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_receiver_pauses(framing):
    """A body that is paused stays with the client: a bounded part of it has been read, and nobody is late."""
    upload = Slow()
    client = Client(Wrapper(upload))
    piece = PIECE if framing == "length" else chunk(PIECE)
    client.send(post(length=1_000_000 if framing == "length" else None))
    sent = 0
    while client.wire.producerState == "producing":
        client.send(piece)
        sent += 1
    assert (sent, len(upload.pieces)) == (3, 1)
    client.wait(1000)
    assert client.wire.open
    for _ in range(100):
        upload.requests[0].resume_body()
        while client.wire.producerState == "producing" and sent < 100:
            client.send(piece)
            sent += 1
            assert client.channel._parser.buffered < 40_000
        if sent == 100 and framing == "chunked":
            client.send(LAST)
            sent += 1
    upload.requests[0].resume_body()
    assert client.bodies == [b"1000000"]


def test_answer_while_the_body_arrives():
    """A receiver may answer while the body arrives; when the client takes nothing, nothing more is read of the body."""

    class Echo(Upload):
        def take(self, request):
            request.receive_body(request.write, request.finish)

    client = Client(Echo())
    client.send(post(length=40_000) + PIECE)
    assert client.received.endswith(b"2710\r\n" + PIECE + b"\r\n")
    assert b"Connection: close" not in client.received
    client.channel.pauseProducing()
    client.send(PIECE * 2)
    assert client.wire.producerState == "paused"
    client.channel.resumeProducing()
    client.send(PIECE + get(b"/after"))
    assert (client.statuses, client.wire.open) == ([200, 200], True)


def test_answer_that_ends_while_the_body_arrives():
    """A receiver that has begun to answer and ends before the body does closes the connection."""

    class Half(Upload):
        def take(self, request):
            request.write(b"begun")
            request.receive_body(lambda piece: request.finish(), lambda: None)

    client = Client(Half())
    client.send(post(length=1_000_000) + PIECE)
    assert client.received.endswith(b"5\r\nbegun\r\n0\r\n\r\n")
    assert client.wire.half_closed


@pytest.mark.parametrize("length", [2000, None])
@pytest.mark.parametrize("size", [100, 1 << 30])
def test_too_long(length, size):
    """A body over the limit is 413: at once when it is announced, and else when the limit is passed; nobody goes on."""
    upload = Upload()
    client = Client(Wrapper(upload), max_body_bytes=1000)
    client.send(post(length=length, fields=EXPECT))
    if length is None:
        for _ in range(3):
            client.send(chunk(bytes(500)) + b"", size)
    assert client.statuses == ([413] if length else [100, 413])
    assert len(upload.body) == (0 if length else 1000)
    assert (upload.ends, client.wire.half_closed) == (["finished"], True)
    assert client.logged == [(b"POST", b"/", 413)]


def test_too_long_after_the_answer_has_begun():
    """When a body turns out to be too long after the answer has begun, the connection is dropped."""

    class Echo(Upload):
        def take(self, request):
            request.receive_body(request.write, request.finish)

    client = Client(Echo(), max_body_bytes=1000)
    client.send(post() + chunk(bytes(500)))
    client.send(chunk(bytes(501)))
    assert client.wire.aborted


def test_coroutine_of_a_refused_body(failures):
    """What waits for a body that is refused is cancelled."""
    events = []

    class Waiting(Upload):
        async def wait(self, request):
            whole = Deferred()
            request.receive_body(self.pieces.append, lambda: whole.callback(None))
            try:
                await whole
            finally:
                events.append("ended")

        def render(self, request):
            return self.wait(request)

    client = Client(Waiting(), max_body_bytes=1000)
    client.send(post() + chunk(bytes(1001)))
    assert (client.statuses, events, failures) == ([413], ["ended"], [])


def test_slow_body_of_a_receiver():
    """A client that sends a body to a receiver too slowly is told so."""
    upload = Upload()
    client = Client(upload)
    client.send(post(length=1_000_000))
    client.wait(30)
    assert (client.statuses, upload.ends, client.wire.half_closed) == ([408], ["finished"], True)


@pytest.mark.parametrize("broken", [b"zz\r\n", b"5\r\nabcdefg"])
def test_malformed_body_of_a_receiver(broken):
    """A body that turns out to be malformed is 400; the receiver is not told that it is complete."""
    upload = Upload()
    client = Client(upload)
    client.send(post() + chunk(b"ab"))
    client.send(broken)
    assert (client.statuses, upload.ends, upload.body) == ([400], ["finished"], b"ab")


@pytest.mark.parametrize("paused", [False, True])
def test_client_leaves_within_the_body(paused):
    """When the client leaves within its body the receiver is told, and not called any more."""
    upload = Slow() if paused else Upload()
    client = Client(Wrapper(upload))
    client.send(post(length=100_000) + PIECE)
    client.leave()
    assert (len(upload.pieces), upload.ends, client.statuses) == (1, ["lost"], [])
    upload.requests[0].resume_body()
    upload.requests[0].receive_body(pytest.fail, pytest.fail)
    upload.requests[0].when_body(pytest.fail)
    assert upload.requests[0].body_complete is False


def test_half_closed_client_whose_body_is_held():
    """A client that sends no more waits as long as the server holds its body."""
    gate = SlowGate(Keep())
    client = Client(gate)
    client.send(post() + chunk(b"hi") + LAST)
    client.channel.readConnectionLost()
    client.wait(100)
    gate.decision.callback(None)
    assert client.bodies == [b"hi"]
    assert client.wire.disconnecting


def test_half_closed_within_the_body():
    """A client that stops sending within its body is not answered; the receiver is told that it has left."""
    upload = Upload()
    client = Client(upload)
    client.send(post(length=10) + b"hi")
    client.channel.readConnectionLost()
    assert client.wire.disconnecting
    client.leave()
    assert (upload.ends, client.received) == (["lost"], b"")


# What goes wrong


def fail(*_):
    raise KeyError("x")


@pytest.mark.parametrize("where", ["data", "complete", "when", "refuse"])
def test_receiver_that_fails(where, failures):
    """What fails while a body arrives is the status it stands for, or a 500, and the connection closes where it must."""

    def refuse(_):
        raise HTTPError(415, "Not this.")

    class Failing(Upload):
        def take(self, request):
            if where == "when":
                request.when_body(fail)
            elif where == "refuse":
                request.receive_body(refuse, fail)
            else:
                request.receive_body(fail if where == "data" else lambda piece: None, fail)

    client = Client(Failing())
    client.send(post(length=200_000) + PIECE)
    if where in ("complete", "when"):
        assert client.statuses == []
        for _ in range(19):
            client.send(PIECE)
    assert client.statuses == [415 if where == "refuse" else 500]
    assert client.wire.half_closed is (where in ("data", "refuse"))
    assert len(failures) == (where != "refuse")


def test_one_receiver(failures):
    """A body is received once, and not kept for others then."""
    said = []

    class Twice(Upload):
        def take(self, request):
            super().take(request)
            for ask in (lambda: super(Twice, self).take(request), lambda: request.when_body(fail)):
                with pytest.raises(RuntimeError) as caught:
                    ask()
                said.append(str(caught.value))

    client = Client(Twice())
    client.send(post(length=4) + b"ab")
    client.send(b"cd")
    assert client.bodies == [b"4"]
    assert said == [
        "the body of this request is received by somebody else",
        "the body of this request is not kept: somebody receives it",
    ]


# How long a body may be on its way to a resource


class Limited(Wrapper):
    """Sets another limit."""

    def __init__(self, inner, limit):
        super().__init__(inner)
        self.limit = limit

    def handle(self, request):
        request.max_body_bytes = self.limit
        self.forward(request)


@CUTS
@pytest.mark.parametrize("kind", [Keep, Upload])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("limits", "status"), [([1000], 200), ([10], 413), ([10, 1000], 200), ([1000, 10], 413), ([], 413), ([199], 413)]
)
def test_own_limit(limits, status, chunked, kind, size):
    """A wrapper may set another limit, lower or higher; the innermost one holds, for kept and for received bodies."""
    resource = Wrapper(kind())
    for limit in reversed(limits):
        resource = Limited(resource, limit)
    client = Client(resource, max_body_bytes=100)
    client.send((post() + chunk(bytes(200)) + LAST) if chunked else post(length=200) + bytes(200), size)
    assert client.statuses == [status]


def test_body_left():
    """A parser knows how much of a body is still to come, where anybody can."""
    parser = Parser()
    assert parser.body_left == 0
    parser.receive(POST + b"Content-Length: 5\r\n\r\nab")
    parser.next_event()
    assert parser.body_left == 5
    parser.next_event()
    assert parser.body_left == 3
    parser.receive(b"cde")
    parser.next_event()
    assert parser.body_left == 0
    parser = Parser()
    parser.receive(post())
    parser.next_event()
    assert parser.body_left is None


def test_http2():
    """Over HTTP/2 a receiver gets the body, too, and the limit holds."""
    upload = Upload()
    client = Http2Client(Site(Wrapper(upload), reactor=Clock(), max_body_bytes=100_000))
    client.begin(1, "POST", end=False)
    for number in range(3):
        client.send(1, PIECE, end=number == 2)
    assert (client.statuses, len(upload.body)) == ({1: 200}, 30_000)
    client.begin(3, "POST", end=False)
    for _ in range(11):
        client.send(3, PIECE)
    assert client.statuses == {1: 200, 3: 413}


def test_page_about_features():
    """The examples of the page about features of one's own do what it says."""
    page = (Path(__file__).parent.parent.parent / "docs" / "howto" / "own-feature.md").read_text()
    found = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1:3]:
        exec(block, found)
    for body, status in ((b"seal it", 200), (b"open it", 422)):
        client = Client(found["Sealed"](found["Count"]()))
        client.send(post(length=7))
        client.send(body)
        assert client.statuses == [status]
    client = Client(found["Count"]())
    client.send(post() + chunk(PIECE) + chunk(PIECE) + LAST)
    assert client.bodies == [b"20000"]
