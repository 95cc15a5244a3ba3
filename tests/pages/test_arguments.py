"""
What a handler's parameters get.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import pytest
from twisted.web.iweb import IRequest
from twisted.web.server import Request as TwistedRequest
from zope.interface import implementer

from mixweb.engine.request import Request as EngineRequest
from mixweb.interfaces import ISession, IUser
from mixweb.pages import (
    Body,
    Cookie,
    Form,
    Header,
    Json,
    Logger,
    Pages,
    Query,
    Request,
    RouteError,
    Session,
    User,
)
from mixweb.pages.bodies import parse_pairs
from mixweb.testing import SiteAgent
from mixweb.wrapper import Wrapper

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


class Colour(Enum):
    RED = "red"


@dataclass
class Part:
    name: str
    count: int = 1


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"", {}),
        (b"a=1&b=2&a=3", {"a": ["1", "3"], "b": ["2"]}),
        (b"a=b=c", {"a": ["b=c"]}),
        (b"a&b=", {"a": [""], "b": [""]}),
        (b"&&a=1&", {"a": ["1"]}),
        (b"a=b+c%20d%2B", {"a": ["b c d+"]}),
        (b"%61%26=%C3%A9%26%3D", {"a&": ["é&="]}),
        (b"a=%FF", {"a": ["\udcff"]}),
        ("a=é".encode(), {"a": ["é"]}),
        (b"a=\xff", {"a": ["\udcff"]}),
        (b"a=%zz%4", {"a": ["%zz%4"]}),
        (b"a;b=1", {"a;b": ["1"]}),
    ],
)
def test_pairs(data, fields):
    """A query or form is split first and decoded then."""
    assert parse_pairs(data) == fields


def call(handler, target="/", headers=(), body=b"", method="", path="/", wrapper=None, **route):
    """What a handler answers; what it returns is shown as Python writes it."""
    site = Pages()

    def shown(*args, **kwargs):
        return repr(handler(*args, **kwargs))

    shown.__wrapped__ = handler
    method = method or ("POST" if body else "GET")
    site.route(path, methods=[method], **route)(shown)
    site.ready()
    answer = SiteAgent(wrapper(site) if wrapper else site).request(method, target, headers, body)
    if answer.status == 200:
        return answer.text
    is_json = answer["Content-Type"] == "application/json"
    return (
        f"{answer.status} {json.loads(answer.body)['detail'] if is_json else answer.text.partition(chr(10))[2].strip()}"
    )


def simple(name: str, times: int = 1, *, loud: bool = False):
    return name, times, loud


@pytest.mark.parametrize(
    ("target", "headers", "body", "result"),
    [
        ("/?name=x", (), b"", "('x', 1, False)"),
        ("/?name=x&times=3&loud=on", (), b"", "('x', 3, True)"),
        ("/?name=a&name=b", (), b"", "('b', 1, False)"),
        ("/", FORM, b"name=x&times=2", "('x', 2, False)"),
        ("/?name=a&times=5", FORM, b"name=b", "('b', 5, False)"),
        ("/", JSON, b'{"name": "x", "times": 2, "loud": true}', "('x', 2, True)"),
        ("/?name=q", JSON, b'{"name": "x", "times": 2}', "('q', 2, False)"),
        ("/?name=x", JSON, b"[1]", "('x', 1, False)"),
        ("/?name=x", JSON, b"", "('x', 1, False)"),
        ("/?name=x", {"Content-Type": "application/vnd.x+json; charset=utf-8"}, b'{"times": 4}', "('x', 4, False)"),
        ("/?name=x", {"Content-Type": "text/plain"}, b"name=y", "('x', 1, False)"),
        ("/", (), b"", "400 name: missing."),
        ("/?times=x&loud=2", (), b"", "400 name: missing; times: expected an integer, got 'x'; loud: expected tr"),
        ("/?name=%FF", (), b"", "400 name: expected text in UTF-8, got '\\udcff'."),
        ("/", JSON, b'{"times": "2", "name": null}', "400 name: expected text in UTF-8, got null; times: expected an int"),
        ("/", JSON, b"{", "400 The body is no JSON document: Expecting property name"),
        ("/", JSON, b"\xff", "400 The body is no JSON document: "),
        ("/", JSON, b"[" * 100000, "400 The body is no JSON document: "),
        ("/", JSON, b"9" * 5000, "400 The body is no JSON document: "),
        ("/", {"Content-Type": "multipart/form-data"}, b"x", "400 The Content-Type names no boundary."),
    ],
)  # fmt: skip
def test_sources(target, headers, body, result):
    """A parameter has its value from the query, the form or the JSON object, the form's before the query's; else its default."""
    found = call(simple, target, headers, body)
    assert found.startswith(result) if result.startswith("400") else found == result


def path_and_query(person: int, name: str, q: Query[str] = "-"):
    return person, name, q


@pytest.mark.parametrize(
    ("path", "target", "result"),
    [
        ("/<int:person>/<name>", "/3/x", "(3, 'x', '-')"),
        ("/<int:person>/<name>", "/3/x?person=4&name=y&q=z", "(3, 'x', 'z')"),
        ("/<person>/<name>", "/x/y", "400 person: expected an integer, got 'x'."),
        ("/<int:person>", "/3?name=x", "(3, 'x', '-')"),
        (re.compile(r"/(?P<name>\w+)/(?P<person>\d+)"), "/x/3", "(3, 'x', '-')"),
        (re.compile(r"/(\d+)/(\w+)"), "/3/x", "(3, 'x', '-')"),
        (re.compile(r"/(\d+)"), "/3?name=x", "(3, 'x', '-')"),
    ],
)
def test_path(path, target, result):
    """Variables of the path come before everything else, by name or, of a group without one, in order."""
    assert call(path_and_query, target, path=path) == result


def types(
    a: float,
    b: date,
    c: UUID,
    d: Colour,
    e: Literal["x", "y"],
    f: list[int],
    g: int | None = None,
    h=8,
    *,
    i: Any = "i",
):
    return a, b.year, c.hex[:2], d, e, f, g, h, i


def test_types():
    """Annotations say what values become; without one they are text."""
    good = "/?a=1.5&b=2026-01-02&c=12345678-1234-5678-1234-567812345678&d=red&e=y&f=1&f=2&g=&h=9&i=j"
    assert call(types, good) == "(1.5, 2026, '12', <Colour.RED: 'red'>, 'y', [1, 2], None, '9', 'j')"
    bad = call(types, "/?a=x&b=x&c=x&d=x&e=z&f=1&f=x&g=x")
    assert bad.startswith("400 a: expected a number, got 'x'; b: expected a date")
    assert [name for name in "abcdefg" if f"{name}: expected" in bad] == list("abcdefg")
    assert "f: missing" in call(types, "/")


def narrowed(
    q: Query[str],
    f: Form[int],
    x_trace_id: Header[str],
    sid: Cookie[str],
    missing: Header[str | None] = None,
    accept: Header[list[str]] | None = None,
):
    return q, f, x_trace_id, sid, missing, accept


def test_narrowed():
    """An annotation may name the only source that a value is taken from."""
    headers = [*FORM.items(), ("X-Trace-Id", "t"), ("Cookie", "a=b; sid=s"), ("Accept", "a/b"), ("Accept", "c/d")]
    assert call(narrowed, "/?q=1", headers, b"f=2") == "('1', 2, 't', 's', None, ['a/b', 'c/d'])"
    refused = call(narrowed, "/?f=1&x_trace_id=1&sid=1", FORM, b"q=2")
    assert refused == "400 q: missing; f: missing; x-trace-id: missing; sid: missing."


def documents(part: Part, parts: Json[list[Part]], whole: Body[dict[str, Any]], n: Json[int] = 5):
    return part, len(parts), sorted(whole), n


def test_documents():
    """A dataclass is a member of the JSON object with its name; ``Body`` is the whole document."""
    body = {"part": {"name": "x"}, "parts": [{"name": "y", "count": 2}], "more": 1}
    assert call(documents, "/?n=7", JSON, json.dumps(body).encode()) == (
        "(Part(name='x', count=1), 1, ['more', 'part', 'parts'], 5)"
    )
    body = {"part": {"count": "x"}, "parts": [{}]}
    assert call(documents, "/", JSON, json.dumps(body).encode()) == (
        "400 part.name: missing; part.count: expected an integer, got 'x'; parts.0.name: missing."
    )
    assert call(documents, "/", FORM, b"part=x").startswith(
        "400 part: expected an object, got 'x'; parts: missing; whole: mis"
    )


def whole_list(parts: Body[list[Part]]):
    return [part.name for part in parts]


def test_whole_list():
    """The whole document may be a list."""
    assert call(whole_list, "/", JSON, b'[{"name": "a"}, {"name": "b"}]') == "['a', 'b']"
    assert call(whole_list, "/", JSON, b'[{"name": 1}]') == "400 parts.0.name: expected text in UTF-8, got 1."


def test_open_ended():
    """``*rest`` has what the path has besides, ``**others`` what query, form and JSON have."""
    assert call(lambda a, *rest, **others: (a, rest, others), "/x/y/z?b=1&b=2&a=3", path="/<a>/<path:rest>") == (
        "('x', ('y', 'z'), {'b': '2'})"
    )
    assert call(lambda a, *rest: (a, rest), "/x/y/z", path=re.compile("/(.)/(.)/(.)")) == "('x', ('y', 'z'))"
    assert call(lambda **others: others, "/x?b=1", JSON, b'{"c": 2}', path="/<a>") == "{'c': 2, 'b': '1', 'a': 'x'}"
    assert call(lambda *rest: rest, "/", path="/<path:rest>") == "()"


def test_groups_that_took_no_part():
    """A group of an expression that took no part gives the parameter its default."""
    pattern = re.compile(r"/page(?:/(\d+))?")
    assert call(lambda number="1": number, "/page", path=pattern) == "'1'"
    assert call(lambda number="1": number, "/page/7", path=pattern) == "'7'"
    assert call(lambda number: number, "/page", path=pattern) == "400 number: missing."


@implementer(ISession)
class FakeSession(dict):
    new = True

    def rotate(self):
        pass

    def end(self):
        pass


@implementer(IUser)
class FakeUser:
    name, roles, scheme = "alice", frozenset(), "basic"


class Known(Wrapper):
    """Has a session and a user for requests."""

    def handle(self, request):
        request.setComponent(ISession, FakeSession(n=1))
        request.setComponent(IUser, FakeUser())
        self.forward(request)


def by_type(request: Request, session: Session, user: User, log: Logger, same: IRequest, also: TwistedRequest):
    return request is same is also, type(request) is EngineRequest, session["n"], user.name, log.namespace


def perhaps(session: Session | None, user: User | None = None):
    return session and session["n"], user and user.name


def test_by_type():
    """The request, the session, the user and a log are asked for by type; with ``| None`` there need not be one."""
    assert call(by_type, wrapper=Known) == "(True, True, 1, 'alice', 'mixweb.request')"
    assert call(perhaps, wrapper=Known) == "(1, 'alice')"
    assert call(perhaps) == "(None, None)"


def test_nobody_is_logged_in(failures):
    """Who is nobody is told so, or sent to log in where a page is only read; a session that is not there is our fault."""

    def mine(user: User):
        return user.name

    assert call(mine) == "403 Log in first."
    site = Pages(login_url="/login")
    site.route("/mine", methods=["GET", "POST"])(mine)
    answer = SiteAgent(site).get("/mine?a=b%20c&d")
    assert (answer.status, answer["Location"]) == (303, "/login?next=%2Fmine%3Fa%3Db%2520c%26d")
    assert SiteAgent(site).request("POST", "/mine").status == 403
    assert failures == []
    assert call(lambda session: session, "/?session=x") == "'x'"

    def needy(session: Session):
        return session

    assert call(needy).startswith("500")
    assert "add --session" in failures[0].getErrorMessage()


def test_other_types_of_ones_own():
    """An application's own types may be asked for, too."""
    from mixweb.pages.dependencies import provide

    class Database:
        pass

    provide(Database, lambda call: "the database")
    site = Pages()

    def ask(db):
        return db

    ask.__annotations__["db"] = Database
    site.route("/")(ask)
    assert SiteAgent(site).get("/").text == "the database"


def line_of(text):
    """The line of this file that has a text in it."""
    with open(__file__) as file:
        return next(number for number, line in enumerate(file, 1) if text in line and "line_of" not in line)


def test_wrong_annotations():
    """What no request can give is an error before the first one, with file and line; all of them at once."""
    site = Pages()

    @site.route("/a")  # the first wrong one
    def a(value: complex):
        pass

    @site.route("/b")
    def b(value: Nonesuch):  # noqa: F821
        pass

    @site.route("/c/<int:value>")
    def c(value: str):
        pass

    @site.route("/d/<value>")
    def d(other: str):
        pass

    @site.route(re.compile(r"/e/(\d+)"))
    def e(request: Request):
        pass

    @site.route("/f")
    class F:
        pass

    site.route("/g")(dict)
    with pytest.raises(RouteError) as caught:
        site.ready()
    said = [
        "a: parameter 'value': complex cannot be made of what a request brings",
        "b: parameter 'value': the annotation Nonesuch cannot be resolved: name 'Nonesuch' is not defined",
        "c: parameter 'value': <int:value> of its path is int, not str",
        "d: <value> of its path is no parameter of it",
        "e: a group of its path is no parameter of it",
        "F: a class that is routed to derives from mixweb.pages.Page",
        "dict: a class that is routed to derives",
    ]
    assert caught.value.problems[0].startswith(f"{__file__}:{line_of('# the first wrong one')}: ")
    assert all(text in problem for text, problem in zip(said, caught.value.problems, strict=True))


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"Accept": "application/json"}, "application/json"),
        ({"Accept": "text/html"}, "text/html; charset=utf-8"),
        ({}, "text/plain; charset=utf-8"),
        ({"Content-Type": "application/json"}, "application/json"),
        ({"Content-Type": "application/json", "Accept": "*/*"}, "application/json"),
        ({"Content-Type": "application/json", "Accept": "text/html"}, "text/html; charset=utf-8"),
    ],
)
def test_refusals_are_for_the_client(headers, kind):
    """What is wrong is said as the client reads it: JSON to one that sends JSON and does not say what it wants."""
    site = Pages()
    site.route("/", methods=["POST"])(simple)
    answer = SiteAgent(site).request("POST", "/?times=%3Cx%3E", headers, b'{"loud": 1}')
    assert (answer.status, answer["Content-Type"]) == (400, kind)
    if kind == "application/json":
        detail = "name: missing; times: expected an integer, got '<x>'"
        assert json.loads(answer.body)["detail"].startswith(detail)
    assert "<x>" not in answer.text or "html" not in kind


def test_body_of_a_get_means_nothing():
    """The body of a GET gives no arguments."""
    assert call(simple, "/?name=x", JSON, b'{"times": 3}', method="GET") == "('x', 1, False)"


def test_content_is_left_to_those_who_ask_for_nothing_else():
    """A handler that asks for the request alone reads the body itself."""
    assert call(lambda request: request, "/?request=x") == "'x'"

    def read(request: Request):
        return request.content.read()

    assert call(read, body=b"x" * 200_000) == repr(b"x" * 200_000)
