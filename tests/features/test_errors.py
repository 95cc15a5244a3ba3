"""
Error pages of one's own.
"""

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.web.pages import forbidden
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mixweb.engine.site import Site
from mixweb.features.errors import Errors, ErrorsWrapper
from mixweb.testing import SiteAgent
from mixweb.wrapper import HTTPError


class Call(Resource):
    """Answers with what a function returns."""

    isLeaf = True

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def render_GET(self, request):
        return self.answer(request)


PAGES = {
    "404.html": "<p>not here</p>",
    "client.html": "<p>your fault</p>",
    "server.html": "<p>our fault</p>",
    "all.html": "<style>a{b:c}</style><p>{status} {reason}: {detail}</p>",
    "404.json": '{"error": 404}',
    "all.json": '{"status": {status}, "detail": "{detail}"}',
    "404.txt": "nothing",
    "plain": "plain é",
    "all.txt": "{status} {detail}",
    "404.png": "\x89PNG",
}


@pytest.fixture
def agent(tmp_path):
    """Makes a client of pages whose files are there."""
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    def make(answer, pages=(), template=""):
        settings = Errors(
            {status: tmp_path / name for status, name in dict(pages).items()},
            template=tmp_path / template if template else "",
        )
        return SiteAgent(ErrorsWrapper(settings, Call(answer)))

    return make


def error(status, detail="why <b>"):
    return lambda request: request.error(status, detail)


ALL = {"404": "404.html", "4xx": "client.html", "5xx": "server.html"}


@pytest.mark.parametrize(
    ("pages", "template", "status", "body"),
    [
        (ALL, "", 404, "<p>not here</p>"),
        (ALL, "", 403, "<p>your fault</p>"),
        (ALL, "", 503, "<p>our fault</p>"),
        ({"404": "404.html"}, "all.html", 404, "<p>not here</p>"),
        ({"404": "404.html"}, "all.html", 410, "<style>a{b:c}</style><p>410 Gone: why &lt;b&gt;</p>"),
        ({}, "all.html", 500, "<style>a{b:c}</style><p>500 Internal Server Error: why &lt;b&gt;</p>"),
        ({}, "all.html", 418, "<style>a{b:c}</style><p>418 I&#x27;m a teapot: why &lt;b&gt;</p>"),
        ({}, "all.html", 499, "<style>a{b:c}</style><p>499 Unknown Status: why &lt;b&gt;</p>"),
    ],
)
def test_pages(agent, pages, template, status, body):
    """The page of the status comes before that of its class, and that before the template, whose values are escaped."""
    found = agent(error(status), pages, template).get("/")
    assert (found.status, found.text, found["Content-Type"]) == (status, body, "text/html; charset=utf-8")


def test_no_page(agent):
    """A status without a page of its own has the built-in one."""
    assert agent(error(403), {"404": "404.html", "5xx": "server.html"}).get("/").text == "403 Forbidden\nwhy <b>\n"
    assert agent(error(403)).get("/").text == "403 Forbidden\nwhy <b>\n"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("404.html", "text/html; charset=utf-8"),
        ("404.json", "application/json"),
        ("404.txt", "text/plain; charset=utf-8"),
        ("plain", "text/plain; charset=utf-8"),
        ("404.png", "image/png"),
    ],
)
def test_types(agent, name, kind):
    """The extension of the file is its type; its bytes are sent as they are."""
    found = agent(error(404), {"404": name}).get("/", {"Accept": "*/*"})
    assert (found["Content-Type"], found.text) == (kind, PAGES[name])


@pytest.mark.parametrize(
    ("template", "body"),
    [
        ("all.json", '{"status": 404, "detail": "why \\u003cb\\u003e"}'),
        ("all.txt", "404 why <b>"),
    ],
)
def test_template_types(agent, template, body):
    """The values of a template are escaped as its type needs it."""
    assert agent(error(404), {}, template).get("/").text == body


@pytest.mark.parametrize(
    ("accept", "own"),
    [
        (None, True),
        ("*/*", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", True),
        ("text/*", True),
        ("image/png", True),
        ("application/json", False),
        ("application/json, */*;q=0.1", False),
        ("application/json, text/html", True),
        ("application/json, text/html;q=0.5", False),
        ("text/plain", False),
        ("text/plain, text/html;q=0.9", False),
    ],
)
def test_negotiation(agent, accept, own):
    """Who likes JSON or text better than the page gets that; who has no preference gets the page."""
    browser = agent(error(404), {"404": "404.html"})
    found = browser.get("/", {"Accept": accept} if accept else {})
    assert found.status == 404
    assert (found.text == PAGES["404.html"]) is own


def raises(request):
    raise KeyError("secret")


def refuses(request):
    raise HTTPError(429, "later", [(b"Retry-After", b"5")])


async def fails_late(request):
    await succeed(None)
    raise KeyError("secret")


def fails_deferred(request):
    waiting = Deferred()
    waiting.addCallback(raises)
    waiting.callback(request)
    return waiting


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (raises, 500, "<p>our fault</p>"),
        (fails_late, 500, "<p>our fault</p>"),
        (fails_deferred, 500, "<p>our fault</p>"),
        (refuses, 429, "<p>your fault</p>"),
        (lambda request: request.render(forbidden()) or NOT_DONE_YET, 403, "<p>your fault</p>"),
    ],
)
def test_every_kind_of_error(agent, answer, status, body):
    """Exceptions, failed Deferreds and Twisted's error pages have the page too, and keep their headers."""
    found = agent(answer, ALL).get("/")
    assert (found.status, found.text) == (status, body)
    assert found["Retry-After"] == ("5" if status == 429 else None)


@pytest.mark.parametrize(
    ("method", "status", "body"), [("POST", 405, "<p>your fault</p>"), ("BREW", 501, "<p>our fault</p>")]
)
def test_methods(agent, method, status, body):
    """Methods that are not allowed or not known have it, and still say what is allowed."""
    found = agent(error(404), ALL).request(method, "/")
    assert (found.status, found.text) == (status, body)
    assert found["Allow"] == ("GET, HEAD, OPTIONS" if status == 405 else None)


def test_head(agent):
    """HEAD has the headers of the page and no body."""
    found = agent(error(404), ALL).request("HEAD", "/")
    assert (found.status, found.body, found["Content-Length"]) == (404, b"", str(len(PAGES["404.html"])))


def test_answers_of_resources_stay(agent):
    """A resource that answers with an error body of its own keeps it, and so does what is no error."""

    def own(request):
        request.setResponseCode(404)
        return b"own"

    assert agent(own, ALL, "all.html").get("/").body == b"own"
    assert agent(lambda request: b"fine", ALL, "all.html").get("/").body == b"fine"


def test_tracebacks(tmp_path):
    """Where the site displays tracebacks, its page with the traceback is sent."""
    (tmp_path / "5.html").write_text("ours")
    site = Site(ErrorsWrapper(Errors({"5xx": tmp_path / "5.html"}), Call(raises)))
    site.displayTracebacks = True
    assert "KeyError" in SiteAgent(site).get("/").text


def test_nested(tmp_path):
    """Where the inner wrapper has no page, the outer one is asked."""
    for name in ("in", "out"):
        (tmp_path / name).write_text(name)
    inner = ErrorsWrapper(
        Errors({"404": tmp_path / "in"}), Call(lambda request: request.error(int(request.args[b"s"][0])))
    )
    agent = SiteAgent(ErrorsWrapper(Errors({"4xx": tmp_path / "out"}), inner))
    assert agent.get("/?s=404").text == "in"
    assert agent.get("/?s=403").text == "out"
    assert agent.get("/?s=500").text.startswith("500 Internal")


def test_files_are_read_once(tmp_path):
    """Files are read when the tree is built, not when something fails."""
    page = tmp_path / "404.html"
    page.write_text("first")
    agent = SiteAgent(ErrorsWrapper(Errors({"404": page}), Call(error(404))))
    page.write_text("second")
    assert agent.get("/").text == "first"


@pytest.mark.parametrize("key", ["200", "600", "40", "4x", "xxx", "", "404 "])
def test_refused_status(key):
    """A page for what is no error is refused."""
    with pytest.raises(ValueError, match=r"^pages: .* is not 400 to 599, 4xx or 5xx"):
        Errors({key: "x"})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pages": {"404": "404.htm"}}, r"'.*404.htm' does not exist \(nearest: '.*404.html'\)"),
        ({"template": "nothing-like-it"}, "'.*nothing-like-it' does not exist"),
        ({"pages": {"404": "."}}, "cannot read '.*': Is a directory"),
        ({"template": "bad.html"}, "template '.*bad.html': there is no placeholder {code}"),
        ({"template": "latin.html"}, "template '.*latin.html': 'utf-8' codec can't decode"),
    ],
)
def test_refused_files(tmp_path, settings, said):
    """A file that is missing, cannot be read or has an unknown placeholder is an error when the tree is built."""
    (tmp_path / "404.html").write_text("x")
    (tmp_path / "bad.html").write_text("{code}")
    (tmp_path / "latin.html").write_bytes(b"\xe9")
    pages = {status: tmp_path / name for status, name in settings.get("pages", {}).items()}
    template = tmp_path / settings["template"] if "template" in settings else ""
    with pytest.raises(ValueError, match=said):
        ErrorsWrapper(Errors(pages, template=template), Call(error(404)))
