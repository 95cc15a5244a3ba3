"""A module of handlers, as somebody would write it."""

import re
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, Literal
from uuid import UUID

from mixweb.pages import (
    Body,
    Cookie,
    Endpoint,
    Event,
    Events,
    Feed,
    Form,
    Header,
    HTTPError,
    Json,
    Limits,
    Logger,
    Page,
    Pages,
    Query,
    Redirect,
    Request,
    Session,
    TextTemplates,
    TypedText,
    Upload,
    User,
    authenticated,
    expose,
    get_app,
    make_app,
    route,
    wrapped,
)
from mixweb.wrapper import Wrapper

site = Pages(templates="t", static="s", cookie_secret=["a", "b"], login_url="/login", limits=Limits(fields=5))
feed = Feed()


class Colour(Enum):
    RED = "red"


@dataclass
class Part:
    name: str
    count: int = 1


@site.route("/hi/<int:n>", aliases=["/x/<int:n>"], methods=["GET", "POST"], name="hi", host="*.example")
def hi(n: int, name: str, colour: Colour = Colour.RED, when: date | None = None, kind: Literal["a", "b"] = "a") -> str:
    return f"{name} {n} {colour.value} {when} {kind} {site.reverse_url('hi', n)} {site.url('/')} {site.static_url('a.css')}"


@site.route(re.compile(r"/u/(\d+)"))
async def narrowed(
    n: int,
    q: Query[str],
    f: Form[int],
    j: Json[Part],
    b: Body[dict[str, Any]],
    agent: Header[str],
    s: Cookie[str | None] = None,
) -> dict[str, object]:
    return {"q": q.upper(), "f": f + 1, "j": j.name, "b": list(b), "agent": agent.lower(), "sid": s, "n": n}


@site.route("/deps")
def deps(request: Request, session: Session, user: User, log: Logger) -> str:
    session["n"] = session.get("n", 0) + 1
    session.rotate()
    log.info("hello {name}", name=user.name)
    request.log.warn("again")
    request.setHeader("X-A", "b")
    request.setResponseCode(201)
    request.addCookie("a", "b")
    if "admin" in user.roles:
        raise HTTPError(403, "No.")
    if request.method == b"GET" and request.getHeader("X-B"):
        raise Redirect("/there", 308)
    return f"{request.canonical_path.text!r} {request.isSecure()}"


@site.route("/upload", methods=["POST"])
async def upload(file: Upload, more: list[Upload], id: UUID) -> str:
    await file.save("/tmp/x")
    return f"{file.name} {file.size} {len(file.read())} {len(more)} {id.hex}"


@site.route("/numbers")
def numbers() -> Generator[str, None, None]:
    yield "1"


@site.route("/events")
def events() -> Events:
    async def source() -> AsyncGenerator[Event, None]:
        yield Event({"a": 1}, name="n")

    feed.send("x")
    return Events(source())


class Counter(Wrapper):
    def handle(self, request: Request) -> None:
        request.before_headers(lambda request: request.setHeader("X", "y"))
        self.forward(request)


@site.route("/person/<int:person>")
@wrapped(Counter)
class Person(Page):
    async def prepare(self) -> None:
        self.current_user = self.get_signed_cookie("user")

    @authenticated
    async def get(self, person: int) -> None:
        name: str = self.get_argument("name", "x", strip=False)
        age: int = self.get_argument("age", 5, type=int)
        maybe: str | None = self.get_query_argument("maybe", None)
        size: int | None = self.get_body_argument("size", None, type=int)
        self.set_header("X-Person", str(person))
        self.write({"name": name, "age": age, "maybe": maybe, "size": size, "all": self.get_arguments("a")})
        await self.flush()
        self.finish()

    async def post(self, person: int, note: str = "") -> None:
        self.set_signed_cookie("user", note)
        self.log.info("posted")
        self.redirect(self.reverse_url("hi", person), status=303)

    def put(self) -> str:
        self.render("x.html", title=self.locale.translate("x"))
        return self.static_url("a") + self.xsrf_form_html()

    async def data_received(self, chunk: bytes) -> None:
        self.set_status(len(chunk))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.write(f"{status_code}")


class Strings:
    @expose(["generer", "generar"])
    def generate(self, length: int = 8) -> str:
        return "x" * length

    @expose
    def index(self) -> str:
        return "index"


site.publish("/strings", Strings())


class Debug:
    def do_debug(self, ep: Endpoint, verbose: bool = False) -> TypedText:
        return TextTemplates({"a": {"fields": {"BODY": "$x"}}}).page("a", x=ep.args + str(verbose))


site.endpoints("/", {"debug": {"$args": 1}}, handler=Debug())


@route("/declared")
def declared() -> dict[str, int]:
    return {"routes": len(get_app().routes)}


app = make_app(["x"], {"a": 1})
reveal: str = hi(1, "x")
