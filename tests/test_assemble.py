"""
Settings become a tree: hosts, mounts, wrappers at their stages.
"""

import pytest
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mixweb.assemble import Assembler, BuildError, Mounts, layers, stack
from mixweb.engine.body import IBodyReceiver
from mixweb.feature import Mount, MountSettings
from mixweb.features.echo import Echo as RealEcho
from mixweb.plan import Host, Plan, Server
from mixweb.registry import Registry
from mixweb.testing import SiteAgent
from mixweb.vhost import VirtualHosts, host_key
from mixweb.wrapper import Declined, Wrapper
from tests.samples import SAMPLES, Echo, Files, Goto, Log, Show, Tag, refuse


def agent_of(*settings, hosts=(), defaults=(), without=()):
    """A client of an assembled plan."""
    plan = Plan(default=Host(*settings, without=without), defaults=defaults, hosts=hosts)
    return SiteAgent(Assembler(None, found=SAMPLES).assemble(plan).root)


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/", "files . [] [b''] None"),
        ("/a/b", "files . [] [b'a', b'b'] None"),
        ("/echo", "echo [b'echo'] [] None"),
        ("/echo/x", "echo [b'echo'] [b'x'] None"),
        ("//echo/./x/../", "echo [b'echo'] [b''] None"),
        ("/echo/declined", None),
        ("/echox", "files . [] [b'echox'] None"),
        ("/a%2Fecho", "files . [] [b'a/echo'] None"),
        ("/goto///foo.baz/../..//cache?x", "goto [b'goto'] [] b'//foo.baz/../..//cache?x'"),
        ("/x/../goto/%2e", "goto [b'goto'] [] b'%2e'"),
    ],
)
def test_mounts(target, body):
    """The longest mount owns a path; one that declines leaves it to the next shorter one, down to 404."""
    found = agent_of(Files(), Echo(), Goto()).get(target)
    assert (found.text if found.status == 200 else None) == body
    if body is None:
        assert found.status == 404


def test_decline_falls_through():
    """What the longer mount declines, the shorter one answers; mounts at one path are asked in order."""
    agent = agent_of(Files("deep", at="/a"), Files("one"), Files("two"))
    assert agent.get("/a/x").text.startswith("files deep")
    assert agent.get("/x").text.startswith("files one")
    assert agent.get("/a/declined").status == 404


@pytest.mark.parametrize(
    "target", ["/admin", "/admin/", "//admin/x", "/./admin", "/%61dmin", "/x/../admin", "/%2e/admin"]
)
@pytest.mark.parametrize("mount", [Files(), Echo(at="/admin"), Goto(at="/admin"), Echo(at="/")])
def test_wrappers_meet_every_spelling(target, mount):
    """A wrapper for a path meets every spelling of it, in front of every mount."""
    agent = agent_of(mount, Tag("s", paths=["/admin/"]), without=["nothing"])
    found = agent.get(target)
    assert "s" in (found["X-Tags"] or "")
    assert "s" not in (agent.get("/administrator")["X-Tags"] or "")


@pytest.mark.parametrize(
    ("compat", "own", "status"), [("", "", 405), ("mixnmatchttp", "", 501), ("", "mixnmatchttp", 501)]
)
def test_compat(compat, own, status):
    """The server's compat is that of every feature that has none of its own."""
    plan = Plan(Server(compat=compat), Host(RealEcho(compat=own)))
    agent = SiteAgent(Assembler(Clock()).assemble(plan).root)
    assert agent.request("PUT", "/echo").status == status


def test_stages():
    """Wrappers stand at their stages; what belongs to the server sees every host and every answer."""
    host = Host("b.example", Echo())
    agent = agent_of(Log("x"), Tag("d"), Files(), hosts=[host])
    assert agent.get("/")["X-Tags"] == "d, L"
    assert agent.get("/nothing", {"Host": "b.example"})["X-Tags"] == "t, L"


@pytest.mark.parametrize(
    ("own", "defaults", "without", "letters"),
    [
        ([], [], [], ["t"]),
        ([], [], ["tag"], []),
        ([Tag("o")], [], [], ["o"]),
        ([], [Tag("d")], [], ["d"]),
        ([Tag("o")], [Tag("d")], [], ["o"]),
        ([Tag("o"), Tag("p")], [Tag("d")], [], ["o", "p"]),
        ([], [Tag("d")], ["tag"], []),
    ],
)
def test_inheritance(own, defaults, without, letters):
    """A host's own wrapper takes the place of the one for every host, that of the one on by default."""
    assert [layer.settings.letter for layer in layers(own, defaults, without, SAMPLES)] == letters


def test_build_errors():
    """All features that cannot be built say so at once, each with its settings."""

    class Bad(MountSettings):
        pass

    found = Registry([Mount("bad", Bad, refuse)])
    with pytest.raises(BuildError, match="cannot be built") as caught:
        Assembler(None, found=found).assemble(Plan(default=Host(Bad(), Bad(at="/b"))))
    assert [(type(settings), reason) for settings, reason in caught.value.refused] == [(Bad, "cannot be built")] * 2


def test_registry_refuses_doubles():
    """Two features of one name are an error."""
    with pytest.raises(ValueError, match="two features are called 'files'"):
        Registry([SAMPLES.features["files"], SAMPLES.features["files"]])


def test_stack():
    """Any resource can be wrapped, with nothing but what is asked for."""
    pytest.importorskip("mixweb.features.headers")
    from mixweb import Headers

    agent = SiteAgent(stack(Show(None, "x"), [Headers(set=["X-A: 1"])], None))
    assert agent.get("/")["X-A"] == "1"
    assert agent.get("/")["X-Frame-Options"] is None


NAMES = [
    ("localhost", "default"),
    ("shop.example", "shop"),
    ("SHOP.Example", "shop"),
    ("shop.example.", "shop"),
    ("shop.example:8080", "shop"),
    ("shop.example:99", "port"),
    ("a.shop.example", "wild"),
    ("a.b.shop.example", "wild"),
    ("b.wild.shop.example", "nearer"),
    ("xshop.example", "default"),
    ("[::1]:8080", "six"),
    ("[0:0::1]", "six"),
    ("[::2]", "default"),
    ("127.0.0.1", "four"),
    ("xn--bcher-kva.example", "idna"),
    ("xn--BCHER-kva.example", "idna"),
]


@pytest.mark.parametrize(("name", "answer"), NAMES)
def test_hosts(name, answer):
    """A host is found by name whatever its case, port and final dot; by wildcard, IPv6 literal and international name."""
    hosts = VirtualHosts(Show(None, "default"))
    for key, text in {
        "shop.example": "shop",
        b"shop.example:99": "port",
        "*.shop.example": "wild",
        "*.wild.shop.example.": "nearer",
        "[::1]": "six",
        "127.0.0.1": "four",
        "Bücher.example": "idna",
    }.items():
        hosts.addHost(key, Show(None, text))
    assert SiteAgent(hosts).get("/", {"Host": name}).text.split()[0] == answer


def test_unknown_host():
    """Without a default an unknown host is 404, and its name is not echoed."""
    hosts = VirtualHosts()
    hosts.addHost("a", Show(None, "a"))
    found = SiteAgent(hosts).get("/", {"Host": "unknown.example", "Accept": "text/html"})
    assert found.status == 404
    assert "unknown.example" not in found.text
    hosts.removeHost("A.")
    assert hosts.hosts == {}


@pytest.mark.parametrize("name", ["a b", "", "a/b", "*", "a.*.b", "*a.b", "[::1", "a:b", "a:99999", "<b>"])
def test_bad_names(name):
    """What is no host name is refused when it is added."""
    with pytest.raises(ValueError, match="is not a host name"):
        host_key(name)


def test_bare_ipv6_name():
    """An IPv6 address may be written without brackets in a configuration."""
    assert host_key("::1") == (b"::1", None)


class Maybe(Resource):
    """Answers with a letter and the body, or declines, at once or when it has waited."""

    isLeaf = True

    def __init__(self, letter, asked, declines):
        super().__init__()
        self.letter = letter
        self.asked = asked
        self.declines = declines

    def render(self, request):
        self.asked.append((self.letter, request.body_complete, request.prepath))
        if self.declines:
            raise Declined
        return self.letter.encode() + request.content.read()


@implementer(IBodyReceiver)
class Eager(Maybe):
    """Looks before the body is there."""

    def render(self, request):
        self.asked.append((self.letter, request.body_complete, request.prepath))
        if self.declines:
            raise Declined
        request.receive_body(request.write, request.finish)
        return NOT_DONE_YET


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("mounts", "body", "asked"),
    [
        ([("a", Maybe, False)], b"abody", "a1"),
        ([("a", Maybe, True), ("b", Maybe, False)], b"bbody", "a1b1"),
        ([("a", Eager, True), ("b", Maybe, False)], b"bbody", "a0b1"),
        ([("a", Eager, True), ("b", Eager, False)], b"body", "a0b0"),
        ([("a", Maybe, True), ("b", Eager, False)], b"body", "a1b1"),
        ([("a", Maybe, True), ("b", Eager, True), ("c", Maybe, False)], b"cbody", "a1b1c1"),
        ([("a", Maybe, True), ("b", Maybe, True)], None, "a1b1"),
        ([("a", Eager, True)], None, "a0"),
        ([], None, ""),
    ],
)
def test_bodies_and_mounts(mounts, body, asked, whole):
    """A mount is asked when the body is there, a receiver at once; what it declines the next one answers, with the body."""
    seen = []
    root = Mounts((f"/x{'/y' * (len(mounts) - n)}", kind(letter, seen, declines)) for n, (letter, kind, declines) in
                  enumerate(mounts))  # fmt: skip
    exchange = SiteAgent(Wrapper(root)).open("POST", "/x" + "/y" * len(mounts), {"Content-Length": "4"}, b"bo" * whole)
    exchange.send(b"dy" if whole else b"body")
    assert exchange.answer.status == (404 if body is None else 200)
    assert body is None or exchange.answer.body == body
    assert "".join(f"{letter}{complete:d}" for letter, complete, _ in seen) == asked
    assert [len(prepath) for _, _, prepath in seen] == [len(mounts) - n + 1 for n in range(len(seen))]


def test_mounts_that_decline_late(failures):
    """A mount may wait before it declines; one that has begun to answer cannot decline any more."""

    class Late(Maybe):
        async def wait(self, request):
            self.asked.append(self.letter)
            await succeed(None)
            if self.declines == "begun":
                request.write(b"begun")
            if self.declines:
                raise Declined
            return self.letter.encode()

        def render(self, request):
            return self.wait(request)

    for declines, answer, letters in (
        ([True, False], b"b", "ab"),
        ([False, False], b"a", "a"),
        ([True, True], None, "ab"),
        (["begun", False], None, "a"),
    ):
        asked = []
        mounts = [("/x/y", Late("a", asked, declines[0])), ("/x", Late("b", asked, declines[1]))]
        exchange = SiteAgent(Mounts(mounts)).open("GET", "/x/y")
        assert "".join(asked) == letters
        if declines[0] == "begun":
            assert exchange.transport.aborted
        else:
            assert exchange.answer.status == (200 if answer else 404)
            assert answer is None or exchange.answer.body == answer
    assert failures == []


def test_mount_that_fails_after_another_declined(failures):
    """What fails in the mount that is asked next, after the body, is a 500."""

    class Failing(Maybe):
        def render(self, request):
            raise KeyError("x")

    root = Mounts([("/x/y", Maybe("a", [], True)), ("/x", Failing("b", [], True))])
    exchange = SiteAgent(root).open("POST", "/x/y", {"Content-Length": "4"}, b"bo")
    exchange.send(b"dy")
    assert exchange.answer.status == 500
    assert len(failures) == 1
