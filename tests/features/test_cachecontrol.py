"""
What caches may do with the answers.
"""

import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mixweb.feature import Stage
from mixweb.features.cachecontrol import FEATURE, CacheControl, CacheControlWrapper, build
from mixweb.testing import SiteAgent, make_context

NO_STORE = "no-cache, no-store, must-revalidate"


class Call(Resource):
    """Answers with what a function returns."""

    isLeaf = True

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def render_GET(self, request):
        return self.answer(request)

    def render_POST(self, request):
        return self.answer(request)


def whole(request):
    return b"x"


async def later(request):
    return b"x"


def written(request):
    request.write(b"x")
    request.finish()
    return NOT_DONE_YET


def get(settings, target="/", answer=whole, method="GET"):
    return SiteAgent(CacheControlWrapper(CacheControl(**settings), Call(answer))).request(method, target)


RULES = {"/assets/*": "max-age=31536000, immutable", "*.html": "no-cache", "/plain": "", "/plain/x": "max-age=1"}


@pytest.mark.parametrize("answer", [whole, later, written])
@pytest.mark.parametrize(
    ("settings", "target", "value"),
    [
        ({}, "/", None),
        ({"value": "max-age=60"}, "/any", "max-age=60"),
        ({"rules": RULES}, "/assets/a.html", "max-age=31536000, immutable"),
        ({"rules": RULES}, "//%61ssets/./x", "max-age=31536000, immutable"),
        ({"rules": RULES}, "/a/b.html", "no-cache"),
        ({"rules": RULES}, "/other", None),
        ({"rules": RULES, "value": "private"}, "/other", "private"),
        ({"rules": RULES, "value": "private"}, "/plain", None),
        ({"rules": RULES, "value": "private"}, "/plain/x", None),
        ({"no_store": ["/api"]}, "/api/x", NO_STORE),
        ({"no_store": ["/api"]}, "/apix", None),
        ({"no_store": ["*.json"], "rules": {"/api/*": "max-age=5"}}, "/api/x.json", NO_STORE),
        ({"no_store": ["*.json"], "rules": {"/api/*": "max-age=5"}}, "/api/x", "max-age=5"),
        ({"expires": 60}, "/", "max-age=60"),
        ({"expires": 60, "value": "public"}, "/", "public"),
    ],
)
def test_paths(settings, target, value, answer):
    """The first rule that matches the canonical path decides, else the default; what forbids comes before."""
    assert get(settings, target, answer)["Cache-Control"] == value


def test_no_store():
    """What no cache may keep says so to old caches too."""
    found = get({"no_store": ["/"]})
    assert (found["Cache-Control"], found["Pragma"], found["Expires"]) == (NO_STORE, "no-cache", "0")


def test_expires():
    """Expires is the time of the answer and the seconds; a path with a rule has none."""
    clock = Clock()
    clock.advance(784111777 - 60)
    settings = CacheControl(expires=60, rules={"/x": "max-age=5"})
    agent = SiteAgent(build(settings, Call(whole), make_context(clock)), clock=clock)
    assert agent.get("/")["Expires"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert agent.get("/x")["Expires"] is None


def status(code):
    def answer(request):
        request.setResponseCode(code)
        return b""

    return answer


@pytest.mark.parametrize(
    ("value", "code", "sent"),
    [
        ("max-age=60", 200, True),
        ("max-age=60", 206, True),
        ("max-age=60", 304, True),
        ("max-age=60", 301, False),
        ("max-age=60", 404, False),
        ("public", 500, False),
        ("S-MaxAge=5", 404, False),
        ("immutable", 404, False),
        ("no-store", 404, True),
        ("private", 301, True),
        ("no-cache", 500, True),
    ],
)
def test_status(value, code, sent):
    """What prolongs is said of successful answers and 304 only, what restricts of every answer."""
    assert get({"value": value}, answer=status(code))["Cache-Control"] == (value if sent else None)


@pytest.mark.parametrize("code", [200, 301, 404, 500])
def test_no_store_of_every_status(code):
    """What no cache may keep says so whatever its status."""
    assert get({"no_store": ["/"]}, answer=status(code))["Cache-Control"] == NO_STORE


def test_built_in_errors():
    """Error pages are not kept for longer, and keep what forbids."""
    assert get({"value": "max-age=60"}, answer=lambda request: request.error(404))["Cache-Control"] is None
    assert get({"no_store": ["/"]}, answer=lambda request: 1 / 0)["Cache-Control"] == NO_STORE


def test_other_methods():
    """An answer to POST is not kept for longer."""
    assert get({"value": "max-age=60"}, method="POST")["Cache-Control"] is None
    assert get({"value": "max-age=60"}, method="HEAD")["Cache-Control"] == "max-age=60"
    assert get({"no_store": ["/"]}, method="POST")["Cache-Control"] == NO_STORE


def cookie(request):
    request.addCookie(b"a", b"b")
    return b"x"


def test_cookies():
    """An answer that sets a cookie is one user's: it is not kept for longer unless that is forced."""
    assert get({"value": "max-age=60"}, answer=cookie)["Cache-Control"] is None
    assert get({"value": "private"}, answer=cookie)["Cache-Control"] == "private"
    assert get({"value": "max-age=60", "force": True}, answer=cookie)["Cache-Control"] == "max-age=60"


@pytest.mark.parametrize(
    ("name", "value"),
    [("Cache-Control", "no-store"), ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Pragma", "no-cache")],
)
@pytest.mark.parametrize("settings", [{"value": "max-age=60"}, {"expires": 60}, {"no_store": ["/"]}])
def test_own(name, value, settings):
    """A resource that speaks to caches itself is left alone, unless that is forced."""

    def answer(request):
        request.setHeader(name.encode(), value.encode())
        return b"x"

    fields = ("Cache-Control", "Expires", "Pragma")
    found = get(settings, answer=answer)
    assert [found[field] for field in fields] == [value if field == name else None for field in fields]
    forced = get({**settings, "force": True}, answer=answer)
    unforced = get(settings)
    assert [forced[field] for field in ("Cache-Control", "Pragma")] == [
        unforced[field] for field in ("Cache-Control", "Pragma")
    ]
    assert (forced["Expires"] is None) == (unforced["Expires"] is None)


def test_inside_the_cache():
    """The response cache hears what is said, because the feature stands inside it."""
    assert FEATURE.stage > Stage.CACHE


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"value": "a\r\nX: b"}, "value: "),
        ({"value": " x"}, "value: "),
        ({"rules": {"/x": "é"}}, "rules: /x: "),
        ({"expires": -1}, "expires must not be negative"),
    ],
)
def test_refused(settings, said):
    """A value that is no header value is an error that names the setting."""
    with pytest.raises(ValueError, match=f"^{said}"):
        CacheControl(**settings)
