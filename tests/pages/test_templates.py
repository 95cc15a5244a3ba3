"""
Templates: of Jinja2, of twisted.web.template, and texts with names in them.
"""

import json
import sys
from functools import partial

import pytest

from mixweb.pages import Html, Page, Pages, RouteError, TextTemplates, get_app
from mixweb.pages.demo import site as demo
from mixweb.testing import SiteAgent

NAMES = """{
"request": {{ request.method.decode() | tojson }}, "url": {{ url("/a b") | tojson }}, "url_root": {{ url_root | tojson }},
"is_localhost": {{ is_localhost | tojson }}, "static_url": {{ static_url("a.css") | tojson }},
"reverse_url": {{ reverse_url("hi") | tojson }}, "xsrf_form_html": {{ xsrf_form_html() | tojson }},
"current_user": {{ current_user | tojson }}, "locale": {{ locale.code | tojson }}, "translated": {{ _("hello") | tojson }}}"""


XML = """\
<p xmlns:t="http://twistedmatrix.com/ns/twisted.web.template/0.1"><t:attr name="title"><t:slot name="name" /></t:attr>\
<b t:render="url_root" /><form t:render="raw" /><i t:render="xsrf_form_html" /></p>"""


@pytest.fixture
def folder(tmp_path):
    """A folder of templates, and one of static files."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.css").write_text("body {}")
    for name, text in {
        "hi.html": "<p title=\"{{ name }}\">{{ name }} {{ raw }}</p>{% include 'part.html' %}",
        "part.html": "<i>{{ name }}</i>",
        "names.json": NAMES,
        "page.xml": XML,
    }.items():
        (tmp_path / "templates" / name).write_text(text)
    return tmp_path


def site_of(folder, get, **options):
    """A site with templates and one page at ``/hi``."""
    site = Pages(templates=str(folder / "templates"), static=str(folder / "static"), **options)
    site.route("/hi", name="hi")(get)
    return site


def test_jinja(folder):
    """Values are escaped, unless they are HTML already."""
    escaped = '<p title="&lt;b&gt;&#34;">&lt;b&gt;&#34; <hr></p><i>&lt;b&gt;&#34;</i>'

    class Hi(Page):
        def get(self):
            self.render("hi.html", name='<b>"', raw=Html("<hr>"))

    answer = SiteAgent(site_of(folder, Hi)).get("/hi")
    assert (answer.text, answer["Content-Type"]) == (escaped, "text/html; charset=utf-8")
    site = site_of(folder, lambda: site.template("hi.html", name='<b>"', raw=Html("<hr>")))
    assert SiteAgent(site).get("/hi").text == escaped


@pytest.mark.parametrize("peer", ["127.0.0.1", "192.0.2.1"])
def test_template_names(folder, peer):
    """Templates of pages and of functions know the same names."""

    class Hi(Page):
        def get(self):
            assert self.render_string("names.json").decode() == self.application.template("names.json")
            self.render("names.json")

        def get_template_namespace(self):
            return {**super().get_template_namespace(), "more": 1}

    answer = SiteAgent(site_of(folder, Hi), peer=peer).get("/hi")
    found = json.loads(answer.text)
    assert found.pop("static_url").startswith("/static/a.css?v=")
    assert found == {
        "request": "GET", "url": "/a b", "url_root": "/", "is_localhost": peer == "127.0.0.1", "reverse_url": "/hi",
        "xsrf_form_html": "", "current_user": None, "locale": "en", "translated": "hello",
    }  # fmt: skip


def test_xml(folder):
    """A template of twisted.web.template has the same names, as slots and as renderers."""
    site = site_of(folder, lambda: site.element("page.xml", name='<b>"', raw=Html("<hr />")))
    assert SiteAgent(site).get("/hi").text == (
        '<!DOCTYPE html>\n<p title="&lt;b&gt;&quot;"><b>/</b><form><hr /></form><i></i></p>'
    )


def render(name, values):
    """Render a template of the application at hand."""
    return get_app().template(name, **values)


def test_missing(folder, failures):
    """A name that nobody has said, or a template that is not there, is an error; so is a folder, before the first request."""
    for name, values in [("hi.html", {"name": 1}), ("none.html", {})]:
        site = site_of(folder, partial(render, name, values))
        assert SiteAgent(site).get("/hi").status == 500
    assert [failure.type.__name__ for failure in failures] == ["UndefinedError", "TemplateNotFound"]
    with pytest.raises(RouteError, match="there is no folder of templates at"):
        Pages(templates="none").ready()
    with pytest.raises(ValueError, match="there is no folder of static files at"):
        Pages(static="none")


def test_without_jinja(folder, monkeypatch):
    """Without Jinja2 it is said how to get it; likewise for signed cookies."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setitem(sys.modules, "itsdangerous", None)
    with pytest.raises(RouteError, match=r"pip install 'mixweb\[templates\]'"):
        site_of(folder, lambda: "x").ready()
    with pytest.raises(RouteError, match=r"pip install 'mixweb\[signing\]'"):
        Pages(cookie_secret="0123456789abcdef").ready()


def test_folders_count_from_the_file_that_makes_the_site(folder, monkeypatch):
    """A relative folder is one beside the file that makes the application, wherever the server runs."""
    (folder / "beside.py").write_text(
        "from mixweb.pages import Pages\nsite = Pages(templates='templates', static='static')\nsite.ready()\n"
    )
    monkeypatch.syspath_prepend(folder)
    import beside

    assert beside.site.templates_in("").folder == str(folder / "templates")
    monkeypatch.delitem(sys.modules, "beside")


def test_another_folder(folder):
    """A page may have its templates elsewhere."""
    (folder / "other").mkdir()
    (folder / "other" / "x.html").write_text("other")

    class Other(Page):
        def get_template_path(self):
            return str(folder / "other")

        def get(self):
            self.render("x.html")

    assert SiteAgent(site_of(folder, Other)).get("/hi").text == "other"


def test_translations(folder):
    """Messages are translated by catalogues as gettext has them."""
    import struct

    catalogue = {
        b"": b"Content-Type: text/plain; charset=UTF-8\n",
        b"hello": "grüß dich".encode(),
        b"one\0many": b"eins\0viele",
    }
    target = folder / "locale" / "de" / "LC_MESSAGES"
    target.mkdir(parents=True)
    keys, values = [*catalogue], [*catalogue.values()]
    start = 28 + 16 * len(keys)
    tables, data = b"", b""
    for texts in (keys, values):
        for text in texts:
            tables += struct.pack("<II", len(text), start + len(data))
            data += text + b"\0"
    header = struct.pack("<7I", 0x950412DE, 0, len(keys), 28, 28 + 8 * len(keys), 0, 0)
    (target / "messages.mo").write_bytes(header + tables + data)

    class Hi(Page):
        def get(self):
            translate = self.locale.translate
            return (
                f"{translate('hello')} {translate('one', 'many', 1)} {translate('one', 'many', 5)} {translate('none')}"
            )

    site = site_of(folder, Hi, locales=["en"], translations=str(folder / "locale"))
    assert SiteAgent(site).get("/hi", {"Accept-Language": "de-CH"}).text == "grüß dich eins viele none"
    assert SiteAgent(site).get("/hi").text == "hello one many none"


# Static files


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/static/a.css", 200, "text/css; charset=utf-8"),
        ("HEAD", "/static/a.css", 200, "text/css; charset=utf-8"),
        ("POST", "/static/a.css", 405, None),
        ("OPTIONS", "/static/a.css", 204, None),
        ("GET", "/static/in/b.js", 200, "text/javascript; charset=utf-8"),
        ("GET", "/static/in/big.bin", 200, "application/octet-stream"),
        ("GET", "/static/in/page", 200, "application/octet-stream"),
        ("GET", "/static/in", 404, None),
        ("GET", "/static/in/", 404, None),
        ("GET", "/static/", 404, None),
        ("GET", "/static/.secret", 404, None),
        ("GET", "/static/.git/config", 404, None),
        ("GET", "/static/out", 404, None),
        ("GET", "/static/..%2ftemplates%2fhi.html", 404, None),
        ("GET", "/static/%00", 404, None),
        ("GET", "/static/%FF", 404, None),
    ],
)
def test_static_files(folder, method, path, status, kind):
    """Static files are whole files of the folder, with their type; what is hidden or elsewhere does not exist."""
    (folder / "static" / "in").mkdir()
    for name, content in {
        ".secret": "x", "in/b.js": "x", "in/page": "<script>", "in/big.bin": "x" * 300_000,
    }.items():  # fmt: skip
        (folder / "static" / name).write_text(content)
    (folder / "static" / ".git").mkdir()
    (folder / "static" / ".git" / "config").write_text("x")
    (folder / "static" / "out").symlink_to(folder / "templates" / "hi.html")
    agent = SiteAgent(site_of(folder, lambda: "x"))
    exchange = agent.open(method, path)
    agent.clock.pump([0] * 10)
    answer = exchange.answer
    assert answer.status == status
    if status == 200:
        assert answer["Content-Type"] == kind
        assert agent.open(method, path, {"If-None-Match": answer["ETag"]}).answer.status == 304
        assert len(answer.body) == (0 if method == "HEAD" else int(answer["Content-Length"]))


def test_static_files_that_change(folder):
    """Another content has another version."""
    site = site_of(folder, lambda: site.static_url("a.css"))
    agent = SiteAgent(site)
    first = agent.get("/hi").text
    assert agent.get(first).text == "body {}"
    (folder / "static" / "a.css").write_text("body { color: red }")
    second = agent.get("/hi").text
    assert first != second
    assert agent.get(second).text == "body { color: red }"
    assert agent.get(first)["Cache-Control"] is None


# Texts


def test_texts():
    """A template fills a page, a request the template; values are escaped, and what has no value is nothing."""
    texts = TextTemplates(
        {
            "a": {"fields": {"HEAD": "<x ${one}>", "BODY": "$two $5 $$three $none."}},
            "plain": {"fields": {"C": "$one"}, "page": "txt"},
            "js": {"fields": {"C": 'x = "$one"'}, "page": "script"},
            "lost": {"page": "nonesuch"},
        },
        {"txt": {"data": "$C $D", "type": "text/plain"}, "script": {"data": "$C", "type": "text/javascript"}},
    )
    page = texts.page("a", one='"<', two="$one $5 &")
    assert "<x &quot;&lt;>" in page
    assert "$one $5 &amp; $5 $three ." in page
    assert page.type == "text/html; charset=utf-8"
    assert "<b>" in texts.page("a", two=Html("<b>"))
    assert (texts.page("plain", one="<"), texts.page("plain").type) == ("< ", "text/plain; charset=utf-8")
    assert texts.page("js", one='"</script>') == r'x = "\"\u003c/script\u003e"'
    assert texts.page("plain", one=Html("<b>")) == "<b> "
    assert "<body>\n\n</body>" in texts.page("lost")
    with pytest.raises(KeyError):
        texts.page("none")


def test_texts_from_toml(tmp_path):
    """Templates and pages may stand in a file."""
    path = tmp_path / "texts.toml"
    path.write_text(
        '[pages.simple]\ndata = "<p>$CONTENT</p>"\n[templates.hi]\npage = "simple"\nfields.CONTENT = "Hi $name"\n'
    )
    assert TextTemplates.load(path).page("hi", name="<you>") == "<p>Hi &lt;you&gt;</p>"
    for text, said in [("[page.x]", r"there are \[pages.NAME\]"), ("[templates.x]\nfield = {}", "unexpected keyword")]:
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            TextTemplates.load(path)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/default", ""),
        ("/refreshme", '<meta http-equiv="refresh" content="30">'),
        ("/refreshme/5", "<h1>Example page, will refresh every 5s.</h1>"),
        ("/refreshme/%22%3E%3Cscript%3E", 'content="&quot;&gt;&lt;script&gt;"'),
        ("/debug/x", "You called endpoint /debug/x"),
        ("/debug/sub/../x", "You called endpoint /debug/sub../x"),
        ("/debug/%3Cscript%3E", "&lt;script&gt;"),
    ],
)
def test_demo(target, text):
    """The examples of mixnmatchttp's page are there to be tried, and reflect nothing unescaped."""
    answer = SiteAgent(demo).get(target)
    assert answer.status == 200
    assert text in answer.text
