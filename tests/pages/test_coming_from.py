"""
The pages for those who come from elsewhere: every block with a name is run, and every name of Tornado's has its row.
"""

import re
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from mixweb import cli
from mixweb.assemble import Assembler
from mixweb.config import load
from mixweb.importing import import_ini
from mixweb.interfaces import ISession, IUser
from mixweb.testing import SiteAgent
from mixweb.wrapper import Wrapper
from tests.documents import Document

CHERRYPY, CANISTER, TORNADO, MIXNMATCH = (
    Document(f"howto/coming-from-{name}.md") for name in ("cherrypy", "canister", "tornado", "mixnmatchttp")
)

#: What jacinle-web-app.txt lists.
LISTED = """
get_app make_app route
__call__ __init__ __new__ add_handlers add_transform find_handler get_handler_delegate get_session listen log_request on_close
reverse_url start_request
add_header check_etag_header check_xsrf_cookie clear clear_all_cookies clear_cookie clear_header compute_etag
create_signed_value create_template_loader data_received decode_argument delete detach finish flush get get_argument
get_arguments get_body_argument get_body_arguments get_browser_locale get_cookie get_current_user get_login_url
get_query_argument get_query_arguments get_secure_cookie get_secure_cookie_key_version get_signed_cookie
get_signed_cookie_key_version get_status get_template_namespace get_template_path get_user_locale head initialize
log_exception on_body_finish on_connection_close on_finish options patch post prepare put redirect render render_embed_css
render_embed_js render_linked_css render_linked_js render_string require_setting save_session send_error
set_cookie set_default_headers set_etag_header set_header set_secure_cookie set_signed_cookie set_status static_url write
write_error xsrf_form_html SUPPORTED_METHODS cookies current_user locale path_args path_kwargs settings xsrf_token
"""


@implementer(ISession)
class Kept(dict):
    new = True


@implementer(IUser)
class Alice:
    name, roles, scheme = "alice", frozenset(), "basic"


class Known(Wrapper):
    """Keeps one session, and knows one user."""

    def __init__(self, inner):
        super().__init__(inner)
        self.session = Kept()

    def handle(self, request):
        request.setComponent(ISession, self.session)
        if request.getUser() == b"alice":
            request.setComponent(IUser, Alice())
        self.forward(request)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Gives a block of a page as a module."""
    monkeypatch.chdir(tmp_path)
    return lambda document, name: document.module(tmp_path, name, monkeypatch)


def test_every_module_is_tried():
    """No module of the pages is left out of the tests below."""
    tests = Path(__file__).read_text()
    for document in (CHERRYPY, CANISTER, TORNADO, MIXNMATCH):
        for name in document.blocks:
            assert f'"{name}"' in tests, name


# CherryPy


def test_aliases(module):
    """A page answers under its name, its aliases, and with its parameter in the path."""
    agent = SiteAgent(module(CHERRYPY, "generator.py").site)
    for path, length in [("/generate", 8), ("/generer?length=4", 4), ("/generar/5", 5)]:
        assert len(agent.get(path).text) == length
    assert agent.get("/generate?length=x").status == 400


@pytest.mark.parametrize("secure", [False, True])
def test_secure_headers(module, tmp_path, secure):
    """The headers are there on every answer; HSTS over TLS only."""
    module(CHERRYPY, "generator.py")
    assert "secure.toml" in CHERRYPY.blocks
    loaded = load(tmp_path / "secure.toml", None, {})
    answer = SiteAgent(Assembler(Clock()).assemble(loaded.plan).root, secure=secure).get("/generate")
    assert (answer["X-Frame-Options"], answer["Content-Security-Policy"]) == ("DENY", "default-src 'self'")
    assert (answer["Strict-Transport-Security"] is not None) == secure


def test_tools(module):
    """A tool of one's own stands in front of one page, or of everything."""
    tool = module(CHERRYPY, "tool.py")
    for resource, path in [(tool.site, "/"), (tool.resource, "/"), (tool.resource, "/none")]:
        assert SiteAgent(resource).get(path)["X-Frame-Options"] == "DENY"


# canister


def test_counter(module):
    """The session counts, the user is known, and what a client sends is escaped."""
    found = module(CANISTER, "counter.py")
    assert "templates/index.html" in CANISTER.blocks
    from mixweb.pages import Pages

    site = Pages(templates=str(Path(found.__file__).parent / "templates"))
    found.site = site
    site.route("/")(found.index)
    agent = SiteAgent(Known(site))
    first = agent.get("/?foo=%3Cscript%3E", {"Authorization": "Basic YWxpY2U6eA=="}).text
    assert "Session user: alice" in first
    assert "{&#39;counter&#39;: 0}" in first
    assert "&lt;script&gt;" in first
    second = agent.get("/").text
    assert "Session user: None" in second
    assert "{&#39;counter&#39;: 1}" in second


def test_log(module):
    """A line of a handler is tagged with its client."""
    seen = []
    globalLogPublisher.addObserver(seen.append)
    try:
        assert SiteAgent(module(CANISTER, "logged.py").site, peer="192.0.2.1").get("/").text == "Ho!"
    finally:
        globalLogPublisher.removeObserver(seen.append)
    assert [(event["log_system"], event["log_format"]) for event in seen if event.get("log_format")] == [
        ("192.0.2.1-...", "Hey!")
    ]


@pytest.mark.parametrize(
    ("target", "body", "status", "text"),
    [
        ("/hi?foo=John&bar=Smith", b"", 200, "Hi John and Smith!"),
        ("/hi?foo=John", b"", 200, "Hi John!"),
        ("/hi", b"foo=John&bar=Smith", 200, "Hi John and Smith!"),
        ("/hi", b"", 400, "400 Bad Request\nfoo: missing.\n"),
    ],
)
def test_parameters(module, target, body, status, text):
    """Parameters of URL and form are unpacked; one that is missing is named."""
    agent = SiteAgent(module(CANISTER, "hi.py").site)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = agent.request("POST" if body else "GET", target, form if body else {}, body)
    assert (answer.status, answer.text) == (status, text)


def test_cors(module, tmp_path):
    """Every answer is shared with other origins, also an error."""
    module(CANISTER, "hi.py")
    assert "cors.toml" in CANISTER.blocks
    agent = SiteAgent(Assembler(Clock()).assemble(load(tmp_path / "cors.toml", None, {}).plan).root)
    for target in ("/hi?foo=x", "/hi", "/none"):
        assert agent.get(target, {"Origin": "https://other.example"})["Access-Control-Allow-Origin"] == "*"


def test_import(tmp_path, monkeypatch, capfd):
    """The command prints what the page shows."""
    monkeypatch.chdir(tmp_path)
    Path("canister.ini").write_text("[canister]\nsession_timout = 3600\nCORS = *\n")
    cli.import_ini(["canister.ini"])
    said = capfd.readouterr()
    assert said.err + said.out == CANISTER.commands["mixweb import canister.ini"]


def test_every_ini_block_is_taken():
    """All settings in the INI blocks of the pages are known."""
    for document in (CHERRYPY, CANISTER):
        for block in re.findall(r"```ini\n(.*?)```", document.text, re.DOTALL):
            assert "is nothing here" not in str(import_ini(block).notes)


# Jacinle, Tornado


@pytest.fixture
def web(module, tmp_path, monkeypatch):
    """A client of the application of the page."""
    for name in ("handlers.py", "users.py"):
        module(TORNADO, name)
    assert "templates/user.html" in TORNADO.blocks
    return SiteAgent(module(TORNADO, "web.py").site)


def test_application(web):
    """Modules make an application; a handler of a regular expression gets its groups."""
    assert web.get("/user/5").text == "<p>User 5, at /user/5</p>"
    assert web.get("/user/x").status == 404
    assert web.get("/app").text == '{"name":"mine"}'


def test_users(web):
    """A user is found by a cookie, in get_current_user or in prepare; strangers are sent to log in."""
    answer = web.get("/cookie")
    assert (answer.status, answer["Location"]) == (302, "/login?next=%2Fcookie")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    cookie = web.request("POST", "/cookie", form, b"name=bob")["Set-Cookie"].partition(";")[0]
    assert web.get("/cookie", {"Cookie": cookie}).text == '{"user":"bob"}'
    assert web.get("/prepared").text == '{"user":null}'
    cookie = web.request("POST", "/prepared")["Set-Cookie"].partition(";")[0]
    assert web.get("/prepared", {"Cookie": cookie}).text == '{"user":"user 5"}'


def test_early_etag(web):
    """An early look at the entity tag spares the work."""
    tag = web.get("/tagged")["ETag"]
    assert (tag, web.get("/tagged", {"If-None-Match": tag}).status) == ('"of a version"', 304)


def rows():
    """The rows of the table: names, and the tests they name."""
    table = TORNADO.text.partition("## Every name")[2]
    for line in table.splitlines():
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        if len(cells) == 3 and cells[0].strip() not in ("name", "---"):
            yield re.findall(r"`(\w+)", cells[0]), cells[2].strip(" `")


def test_every_name_has_a_row():
    """Whatever Jacinle's page lists has a row with what it is here."""
    found = {name for names, _ in rows() for name in names}
    assert [name for name in LISTED.split() if name not in found] == []


def test_rows_name_tests():
    """The tests that the rows name exist."""
    tests = "".join(path.read_text() for path in (Path(__file__).parent.parent).rglob("test_*.py"))
    missing = [test for _, test in rows() if f"def {test}(" not in tests]
    assert missing == []


def test_names_that_stay_are_there():
    """A name whose row says that it is the same is one of a page, an application, or the module."""
    import mixweb.pages
    from mixweb.pages import Page, Pages

    table = TORNADO.text.partition("## Every name")[2]
    for line in re.findall(r"^\| (.*?) \| the same", table, re.MULTILINE):
        for name in re.findall(r"`(\w+)", line):
            methods = {"get", "head", "post", "put", "patch", "delete", "options", "settings"}
            known = any(hasattr(owner, name) for owner in (Page, Pages, mixweb.pages)) or name in methods
            assert known or name in ("path_args", "path_kwargs", "danger_set", "min_version"), name


# mixnmatchttp


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/debug/sub/..//foo/../bar/./baz", 200, "You called endpoint /debug/sub..//foo/../bar/./baz"),
        ("GET", "/debug/foo/../bar", 200, "You called endpoint /debug/bar"),
        ("GET", "/debug/../bar", 200, "file bar"),
        ("POST", "/default", 405, None),
        ("GET", "/debug/../default", 200, ""),
        ("GET", "/debug/foo/bar", 404, None),
        ("GET", "/debug", 400, None),
        ("GET", "/refreshme", 200, 'content="30"'),
        ("GET", "/refreshme/5", 200, "will refresh every 5s"),
        ("GET", "/refreshme/%22%3E%3Cscript%3E", 200, "&quot;&gt;&lt;script&gt;"),
        ("GET", "/forbidden/x", 403, "Access denied"),
        ("GET", "/script.js", 200, "file script.js"),
    ],
)
def test_endpoints(module, tmp_path, method, path, status, text):
    """The endpoints of the page answer as its table says, the files of the folder behind them."""
    from mixweb import Files, Host, PagesMount
    from mixweb.plan import Plan

    mine = module(MIXNMATCH, "mine.py")
    for name in ("bar", "script.js"):
        (tmp_path / name).write_text(f"file {name}")
    plan = Plan(default=Host(PagesMount(mine.site), Files(tmp_path)))
    answer = SiteAgent(Assembler(Clock()).assemble(plan).root).request(method, path)
    assert answer.status == status
    assert text is None or text in answer.text
    if status == 200:
        assert answer["X-Foo"] == "Foobar"
        assert (answer["Cache-Control"] is None or "no-store" not in answer["Cache-Control"]) == path.endswith(".js")
    assert SiteAgent(mine.resource).get("/default").status == 200
