"""
The page about pages: every block with a name is run.
"""

import re

import pytest
from twisted.internet.task import Clock

from mixweb import cli
from mixweb.assemble import Assembler
from mixweb.config import load
from mixweb.engine.site import Site
from mixweb.pages import TextTemplates
from mixweb.testing import SiteAgent
from tests.documents import Document

PAGE = Document("features/pages.md")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b", "Cookie": "theme=dark"}
UPLOAD = (
    b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\nA\r\n--b\r\nContent-Disposition: form-data; name="file"; '
    b'filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--\r\n'
)

#: Block, request line, headers, body, status, and what the answer begins with.
REQUESTS = [
    ("shop.py", "GET /hi?name=A&times=2", {}, b"", 200, "Hi A! Hi A!"),
    ("shop.py", "GET /hola?name=A", {}, b"", 200, "Hi A!"),
    ("shop.py", "PUT /people/3/age", {}, b"", 200, '{"person":3,"method":"PUT"}'),
    ("shop.py", "GET /person/3", {}, b"", 200, "<a href='/people/3/age'>3</a>"),
    ("shop.py", "POST /person/3", FORM, b"note=x", 303, ""),
    ("more.py", "GET /user/5", {}, b"", 200, "user 5"),
    ("more.py", "GET /counted", {}, b"", 200, "seen"),
    ("more.py", "GET /open", {}, b"", 200, "open"),
    ("arguments.py", "GET /search?q=a&tags=b&tags=c&since=2026-01-02", {}, b"", 200,
     '{"q":"a","page":1,"tags":["b","c"],"since":"2026-01-02"}'),
    ("arguments.py", "POST /order", JSON, b'{"title": "t", "parts": [{"name": "a", "count": 2}, {"name": "b"}]}', 200,
     '{"title":"t","count":3}'),
    ("arguments.py", "POST /parts?dry=yes", {**JSON, "User-Agent": "me"}, b'[{"name": "a"}]', 200,
     '{"parts":1,"dry":true,"agent":"me"}'),
    ("arguments.py", "POST /upload", MULTIPART, UPLOAD, 200, "A: a.txt, text/plain, 5 bytes, dark"),
    ("arguments.py", "GET /whoami", {}, b"", 200, "nobody from 127.0.0.1"),
    ("live.py", "GET /count?to=2", {}, b"", 200, "0\n1\n"),
    ("live.py", "POST /say", FORM, b"text=x", 204, ""),
    ("live.py", "GET /old", {}, b"", 303, "303 See Other\nThis is at /count"),
    ("live.py", "GET /gone", {}, b"", 410, "410 Gone\nIt was here once."),
    ("templated.py", "GET /?name=%3C", {}, b"", 200, '<link rel="stylesheet" href="/static/style.css?v='),
    ("templated.py", "GET /page", {}, b"", 200, '<link rel="stylesheet" href="/static/style.css?v='),
    ("tree.py", "GET /debug/x?verbose=1", {}, b"", 200, '{"args":"x","verbose":true}'),
    ("tree.py", "POST /debug/x?a=b", {}, b"", 200, '{"root":"debug","sub":"","args":"x","params":{"a":"b"}}'),
    ("tree.py", "GET /debug/sub/..//x", {}, b"", 200, '{"args":"..//x","verbose":false}'),
    ("tree.py", "GET /debug", {}, b"", 400, "400"),
    ("tree.py", "GET /debug/1/2", {}, b"", 404, "404"),
    ("tree.py", "PUT /debug/1", {}, b"", 405, "405"),
    ("tree.py", "GET /users/al/edit?email=e", {}, b"", 200, '{"root":"users","sub":"al/edit","args":"",'),
    ("tree.py", "GET /users/al/edit", {}, b"", 400, "400 Bad Request\nemail: missing."),
    ("tree.py", "GET /users", {}, b"", 404, "404"),
    ("strings.py", "GET /strings/", {}, b"", 200, "<a href='generate'>"),
    ("strings.py", "GET /strings/generar", {}, b"", 200, ""),
]  # fmt: skip


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Gives the application of a block."""
    PAGE.write(tmp_path)
    (tmp_path / "static").mkdir(exist_ok=True)
    (tmp_path / "static" / "style.css").write_text("p {}")
    monkeypatch.chdir(tmp_path)
    return lambda name: PAGE.module(tmp_path, name, monkeypatch).site


@pytest.mark.parametrize(("block", "request_line", "headers", "body", "status", "text"), REQUESTS)
def test_blocks(block, request_line, headers, body, status, text, site):
    """The applications of the page answer as it says."""
    method, target = request_line.split(" ")
    answer = SiteAgent(site(block)).request(method, target, headers, body)
    assert (answer.status, answer.text[: len(text)]) == (status, text)


def test_every_module_is_tried():
    """No module of the page is left out."""
    assert {block for block, *_ in REQUESTS} == {name for name in PAGE.blocks if name.endswith(".py")}


def test_events(site):
    """Ticks come as time goes by; what is said goes to all who listen."""
    clock = Clock()
    agent = SiteAgent(Site(site("live.py"), reactor=clock), clock=clock)
    ticks, news = agent.open("GET", "/ticks"), agent.open("GET", "/news")
    clock.pump([1, 1, 1])
    assert ticks.answer.text == ":\n\n" + "".join(f"event: tick\ndata: {number}\n\n" for number in range(3))
    agent.request("POST", "/say", FORM, b"text=hello")
    assert b'data: {"text": "hello"}\n\n' in news.received
    news.disconnect()


def test_texts(tmp_path, site):
    """The file of texts can be read."""
    page = TextTemplates.load(tmp_path / "texts.toml").page("refresh", interval="<5>")
    assert page == "<!DOCTYPE html><title>Example</title><h1>Again in &lt;5&gt; s</h1>"


def test_list_of_routes(site, tmp_path, capsys):
    """The list of routes is what the command prints."""
    site("shop.py")
    assert cli.routes(["shop:site"]) == 0
    shown = [re.sub(" +", " ", line) for line in PAGE.commands["mixweb routes shop:site"].splitlines()]
    assert [re.sub(" +", " ", line) for line in capsys.readouterr().out.splitlines()] == shown


def test_refusal(site):
    """What is missing and bad is said as the page says."""
    said = PAGE.commands["curl 'http://127.0.0.1:8080/search?page=x'"]
    assert SiteAgent(site("arguments.py")).get("/search?page=x").text == said


def test_surfaces(site, tmp_path):
    """The application is mounted from a file and from Python."""
    site("shop.py")
    (tmp_path / "site.toml").write_text(re.search(r"```toml\n(.*?)```", PAGE.text, re.DOTALL)[1])
    loaded = load(tmp_path / "site.toml", None, {})
    agent = SiteAgent(Assembler(Clock()).assemble(loaded.plan).root)
    assert agent.get("/shop/hi?name=A").text == "Hi A! "
    names = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE.text, re.DOTALL)[0], names)
    assert names["application"] is not None


def test_wrapped_by_features(site):
    """Wrappers of features can be put in front of one page."""
    from mixweb import Cors, stack
    from mixweb.pages import Pages, wrapped

    app = Pages()
    app.route("/")(wrapped(lambda page: stack(page, Cors(["*"]), reactor=Clock()))(lambda: "shared"))
    answer = SiteAgent(app).get("/", {"Origin": "https://other.example"})
    assert (answer.text, answer["Access-Control-Allow-Origin"]) == ("shared", "*")
