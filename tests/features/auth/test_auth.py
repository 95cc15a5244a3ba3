"""
Who is let in.
"""

import hashlib
import json
import re
from base64 import b64encode
from pathlib import Path

import pytest
from twisted.internet.defer import fail
from twisted.internet.task import Clock

from mixweb import Host
from mixweb.config import load
from mixweb.feature import Asked
from mixweb.features.auth import FEATURE, Auth
from mixweb.features.csrf import Csrf
from mixweb.stores import StoreUnavailable, open_store
from mixweb.testing import SiteAgent
from tests.features.auth.conftest import ALICE, BOB, BROWSER, FORM, JSON, Who, basic

ALICE_ROLES = ["admin", "staff"]


def sample(tmp_path, **changes):
    """Settings that let everybody in: for what holds for every wrapper."""
    (tmp_path / "users").write_text(f"alice:{ALICE}:admin,staff\n")
    return Auth(tmp_path / "users", **{"rules": ["/ anyone"], **changes})


def challenges(answer):
    """The schemes that an answer asks for."""
    return [line.split(" ")[0] for line in answer.headers.getRawHeaders("WWW-Authenticate", [])]


# The guard


def test_known_users_and_nobody_else(guarded, settings):
    """With users and paths, and no rules, every known user is let in to the paths, and nobody else."""
    client = guarded(settings(paths=["/admin/"])).client()
    assert client.get("/").status == 200
    assert client.get("/admin/x").status == 401
    assert client.get("/admin/x", basic("alice", BOB)).status == 401
    assert client.get("/admin/x", basic("mallory", ALICE)).status == 401
    assert client.who("/admin/x", basic("alice", ALICE)) == ["alice", ALICE_ROLES, "basic"]
    assert client.who("/admin/x", basic("bob", BOB)) == ["bob", [], "basic"]


def test_rules(guarded, settings):
    """The first rule that matches decides: 401 for who is not known, 403 for who is and may not."""
    rules = ["/open/ anyone", "POST /notes/ #admin", "/notes/ *", "/ alice"]
    client = guarded(settings(rules=rules)).client()
    table = [
        ("GET", "/open/", None, 200),
        ("GET", "/notes/", None, 401),
        ("GET", "/notes/", "bob", 200),
        ("POST", "/notes/", "bob", 403),
        ("POST", "/notes/", "alice", 200),
        ("GET", "/", "bob", 403),
        ("GET", "/", "alice", 200),
        ("HEAD", "/", "bob", 403),
        ("OPTIONS", "/", None, 401),
        ("BREW", "/", None, 401),
    ]
    for method, path, name, status in table:
        headers = {} if name is None else basic(name, {"alice": ALICE, "bob": BOB}[name])
        assert client.request(method, path, headers).status == status, (method, path, name)
    assert "WWW-Authenticate" not in str(client.get("/", basic("bob", BOB)).headers)


def test_nothing_runs_for_a_stranger(guarded, settings):
    """Endpoints are where they are for everybody; all else that is guarded is not asked for a stranger."""
    client = guarded(settings()).client()
    assert client.get("/login").status == 200
    assert client.get("/login/").status == 200
    assert client.get("//x/../login").status == 200
    for path in ("/login/x", "/loginx", "/x/login", "/login%2f", "/logout/../x", "/nothing"):
        assert client.get(path).status == 401


def test_credentials_where_nobody_asks(guarded, settings):
    """Where nothing is guarded credentials are not looked at; where anyone may, wrong ones are still wrong."""
    client = guarded(settings(rules=["/maybe/ anyone", "/admin/ #admin"])).client()
    assert client.who("/", basic("alice", ALICE)) is None
    assert client.who("/", basic("alice", "wrong")) is None
    assert client.who("/", {"Authorization": "Basic !!!"}) is None
    assert client.who("/maybe/") is None
    assert client.who("/maybe/", basic("alice", ALICE)) == ["alice", ALICE_ROLES, "basic"]
    assert client.get("/maybe/", basic("alice", "wrong")).status == 401


@pytest.mark.parametrize(
    ("sent", "status", "asked"),
    [
        ({}, 401, ["Basic"]),
        ({"Accept": "*/*"}, 401, ["Basic"]),
        ({"Accept": "application/json"}, 401, ["Basic"]),
        ({"Accept": "text/html;q=0"}, 401, ["Basic"]),
        ({"Accept": "text/html"}, 303, []),
        ({"Accept": "text/html, */*;q=0.1"}, 303, []),
        ({"Accept": "*/*", "Sec-Fetch-Mode": "navigate"}, 303, []),
        ({"Accept": "text/html", "Sec-Fetch-Mode": "no-cors"}, 401, ["Cookie"]),
        ({"Accept": "*/*", "Sec-Fetch-Mode": "cors"}, 401, ["Cookie"]),
        ({"Accept": "*/*", "X-Requested-With": "XMLHttpRequest"}, 401, ["Cookie"]),
    ],
)
def test_the_right_challenge(sent, status, asked, guarded, settings):
    """A person is shown the login page, a program is told how to say who it is, a script's browser asks nobody."""
    answer = guarded(settings()).client().get("/x?y=z", sent)
    assert answer.status == status
    assert challenges(answer) == asked
    assert answer["Location"] == ("/login?goto=/x%3Fy%3Dz" if status == 303 else None)
    assert answer["Cache-Control"] == "no-store"


def test_challenges_by_settings(guarded, settings, tmp_path):
    """What is asked for is what the users and tokens allow, or what the settings say."""
    digest = tmp_path / "users.htdigest"
    digest.write_text(f"alice:The realm:{hashlib.md5(f'alice:The realm:{ALICE}'.encode()).hexdigest()}\n")
    table = [
        ({}, ["Basic"]),
        ({"schemes": ["form"]}, ["Cookie"]),
        ({"schemes": ["digest"]}, ["Digest", "Digest"]),
        ({"token_algorithm": "HS256"}, ["Bearer", "Basic"]),
        ({"users": digest}, ["Digest", "Basic"]),
        ({"users": "", "token_algorithm": "HS256"}, ["Bearer"]),
        ({"users": "memory:alice:x"}, ["Basic"]),
        ({"users": "store:"}, ["Basic"]),
    ]
    for changes, asked in table:
        answer = guarded(settings(**changes)).client().get("/")
        assert (answer.status, challenges(answer)) == (401, asked), changes
    assert 'realm="The realm"' in guarded(settings(users=digest)).client().get("/")["WWW-Authenticate"]


def test_what_a_user_sees_is_not_kept_for_others(guarded, settings):
    """An answer for known users is private unless the resource says something else."""
    client = guarded(settings(rules=["/open/ anyone", "/ *"])).client()
    assert client.get("/", basic("bob", BOB))["Cache-Control"] == "private, no-cache"
    assert client.get("/open/")["Cache-Control"] is None


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Basic !!!"], 400),
        (["Basic YWxpY2U="], 400),
        (["Digest x"], 401),
        (["Bearer"], 401),
        (["Basic " + b64encode(b"alice:\xff\xfe").decode()], 401),
        (["Basic " + b64encode(b"\xff\xfe:x").decode()], 401),
        (["Basic " + b64encode(b"alice:" + b"x" * 5000).decode()], 401),
        (["Negotiate x"], 401),
        (["Basic " + b64encode(f"alice:{ALICE}".encode()).decode(), "Bearer x"], 400),
        (["Basic " + "x" * 15_000], 400),
    ],
)
def test_bad_credentials(lines, status, guarded, settings):
    """Credentials that mean nothing are 400 or 401, whatever is in them."""
    client = guarded(settings()).client()
    answer = client.agent.request("GET", "/", [("Authorization", line) for line in lines])
    assert answer.status == status


def test_oversized_cookies(guarded, settings):
    """A long cookie, many cookies and cookies of odd bytes are no session."""
    client = guarded(settings()).client()
    many = "; ".join(f"c{number}=x" for number in range(1500))
    for value in ("SESSION=" + "x" * 14_000, many, "SESSION=\x80\xff; SESSION", "SESSION==;;"):
        assert client.agent.request("GET", "/", {"Cookie": value}).status == 401


# The form


def test_login_by_form(guarded, settings):
    """A person logs in by the form, under a new session, is led to where it wanted, and out again."""
    site = guarded(settings())
    client = site.client()
    page = client.browse("/login?goto=/admin/%3Fx%3D1")
    assert page.status == 200
    assert '<input type="hidden" name="goto" value="/admin/?x=1">' in page.text
    assert page["Cache-Control"] == "no-store"
    assert page["X-Frame-Options"] == "DENY"
    answer = client.submit("/login", username="alice", password=ALICE, goto="/admin/?x=1")
    assert (answer.status, answer["Location"]) == (303, "/admin/?x=1")
    assert client.who("/admin/") == ["alice", ALICE_ROLES, "session"]
    assert site.client().get("/admin/").status == 401
    shown = client.browse("/login")
    assert "Your name here is alice." in shown.text
    assert 'action="/logout"' in shown.text
    before = dict(client.cookies)
    answer = client.submit("/logout")
    assert (answer.status, answer["Location"]) == (303, "/login")
    assert client.cookies == {}
    client.cookies = before
    assert client.get("/admin/").status == 401


def test_wrong_password_by_form(guarded, settings):
    """With a wrong password the form is there again, with the name and no password; nobody is told whether the name exists."""
    client = guarded(settings()).client()
    pages = []
    for name in ("alice", "mallor"):
        answer = client.submit("/login", username=name, password="wrong", goto="/admin/")
        assert answer.status == 401
        assert 'role="alert"' in answer.text
        assert f'value="{name}"' in answer.text
        assert "wrong" not in answer.text
        assert challenges(answer) == ["Cookie"]
        pages.append(answer.text.replace(name, ""))
    assert pages[0] == pages[1]
    assert client.cookies == {}


def test_forms_are_escaped(guarded, settings):
    """What comes back in a form is escaped."""
    client = guarded(settings()).client()
    evil = '"><script>alert(1)</script>'
    for answer in (
        client.submit("/login", username=evil, password="x"),
        client.browse(f"/login?goto=/{evil.replace(' ', '')}"),
    ):
        assert "<script>" not in answer.text
    assert "<script>" not in client.browse("/login?goto=/%22%3E%3Cscript%3E").text


@pytest.mark.parametrize(
    "goto",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/\t/evil.example"],
)
def test_goto_stays_here(goto, guarded, settings):
    """A login leads to this site only, unless it is said that it may lead anywhere; that is told at start."""
    site = guarded(settings())
    client = site.client()
    assert "evil" not in client.browse("/login?goto=" + goto.replace("\t", "%09")).text
    answer = client.submit("/login", username="alice", password=ALICE, goto=goto)
    assert (answer.status, answer["Location"]) == (303, "/login")
    assert "evil" not in client.submit("/logout", goto=goto)["Location"]
    assert site.warnings[:-1] == []
    other = guarded(settings(goto_any=True))
    assert "auth: a login may lead to any other site (goto_any)" in other.warnings
    answer = other.client().submit("/login", username="alice", password=ALICE, goto="https://evil.example/")
    assert answer["Location"] == "https://evil.example/"


def test_session_fixation(guarded, settings):
    """A login goes on under another session id; nothing is left of an earlier user, nobody's invented id is adopted."""
    client = guarded(settings()).client()
    client.submit("/login", username="bob", password=BOB)
    planted = dict(client.cookies)
    client.submit("/login", username="alice", password=ALICE)
    assert client.cookies != planted
    assert client.who() == ["alice", ALICE_ROLES, "session"]
    victim = client.other()
    victim.cookies = planted
    assert victim.get("/").status == 401
    invented = client.other()
    invented.cookies = {name: "a" * len(value) for name, value in planted.items()}
    before = dict(invented.cookies)
    invented.submit("/login", username="alice", password=ALICE)
    assert invented.cookies != before


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 303),
        ({"Origin": "http://localhost"}, 303),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:8081"}, 403),
        ({"Origin": "https://localhost"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/login", "/logout", "/changepwd", "/register"])
def test_forms_of_other_sites(path, sent, status, guarded, settings):
    """Nobody is logged in or out, made or changed, by the form of another site."""
    client = guarded(settings(register={"user": "anyone"})).client()
    fields = f"username=alice&password={ALICE}&new_password=Down-rabbit3"
    if path == "/register":
        fields = "username=carol&password=Down-rabbit3"
    answer = client.request("POST", path, BROWSER | FORM | sent, fields.encode())
    assert answer.status == status


def test_an_origin_with_a_port(guarded, settings):
    """The origin of this site is as the browser calls it, with its port and scheme."""
    site = guarded(settings())
    fields = f"username=alice&password={ALICE}".encode()
    for secure, host, origin, status in [
        (False, "localhost:8080", "http://localhost:8080", 303),
        (False, "localhost:8080", "http://localhost", 403),
        (True, "example.org", "https://example.org", 303),
        (True, "Example.ORG:443", "https://example.org", 303),
        (False, "[::1]:8080", "http://[::1]:8080", 303),
    ]:
        client = site.client(secure=secure)
        headers = BROWSER | FORM | {"Host": host, "Origin": origin}
        assert client.request("POST", "/login", headers, fields).status == status, (host, origin)


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (FORM, b"", 400),
        (FORM, b"username=alice", 400),
        (FORM, b"username=&password=x", 400),
        (FORM, b"username=alice&password=%ff", 400),
        (FORM, b"username=\xff&password=x", 400),
        (FORM, b"&".join(b"a%d=b" % number for number in range(200)), 400),
        (FORM, b"username=a%00&password=x", 400),
        (FORM, b"username=" + b"x" * 200 + b"&password=x", 400),
        (FORM, b"x" * 70_000, 413),
        (JSON, b"", 400),
        (JSON, b"[]", 400),
        (JSON, b"{", 400),
        (JSON, b"[" * 60_000, 400),
        (JSON, b'{"username": 1, "password": "x"}', 400),
        (JSON, b'{"username": "\\ud800", "password": "x"}', 400),
        (JSON, b'{"username": ["alice"], "password": {"$ne": ""}}', 400),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--", 415),
        ({"Content-Type": "text/plain"}, b"username=alice", 415),
    ],
)
def test_bad_bodies(headers, body, status, guarded, settings, failures):
    """What is sent to log in and means nothing is refused with its status, and nothing fails."""
    client = guarded(settings()).client()
    exchange = client.agent.open("POST", "/login", headers, body)
    assert exchange.answers()[0].status == status
    assert failures == []


def test_passwords_are_not_taken_from_the_address(guarded, settings):
    """A password in the query is not looked at: it would be in logs and histories."""
    client = guarded(settings()).client()
    assert client.request("POST", f"/login?username=alice&password={ALICE}").status == 400
    assert client.cookies == {}


def test_logging_out_is_asked_for(guarded, settings):
    """Who only looks at /logout stays logged in, and sees a button."""
    client = guarded(settings()).client()
    client.submit("/login", username="alice", password=ALICE)
    assert client.browse("/logout").status == 200
    assert client.who() == ["alice", ALICE_ROLES, "session"]


def test_programs_log_in_by_json(guarded, settings):
    """A program gets JSON for what it sends, and a session."""
    client = guarded(settings()).client()
    answer = client.post("/login", username="alice", password=ALICE)
    assert (answer.status, json.loads(answer.text)) == (200, {"user": "alice", "roles": ALICE_ROLES})
    assert client.who() == ["alice", ALICE_ROLES, "session"]
    answer = client.post("/login", username="alice", password="wrong")
    assert (answer.status, json.loads(answer.text)["status"]) == (401, 401)
    assert client.who() == ["alice", ALICE_ROLES, "session"]
    assert json.loads(client.post("/logout").text) == {"user": None}
    assert client.get("/").status == 401


def test_methods(guarded, settings):
    """Other methods are told what there is."""
    client = guarded(settings(token_algorithm="HS256")).client()
    assert client.request("PUT", "/login")["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert client.request("GET", "/authtoken")["Allow"] == "OPTIONS, POST"
    assert client.request("OPTIONS", "/login").status == 204
    assert client.request("HEAD", "/login").status == 200


def test_another_prefix(guarded, settings):
    """The endpoints are below a prefix, where one is set."""
    client = guarded(settings(prefix="/my/auth/")).client()
    assert client.browse("/x")["Location"] == "/my/auth/login?goto=/x"
    assert client.submit("/my/auth/login", username="alice", password=ALICE)["Location"] == "/my/auth/login"
    assert client.get("/login").status == 200
    assert client.other().get("/login").status == 401


# Users that change


def test_changed_users(guarded, settings, users):
    """A session ends when the user is gone, or has another password; roles are those of the moment."""
    site = guarded(settings())
    client = site.client()
    client.submit("/login", username="alice", password=ALICE)
    users.write_text(f"alice:{ALICE}:editor\nbob:{BOB}\n")
    site.clock.advance(1)
    assert client.who() == ["alice", ["editor"], "session"]
    users.write_text(f"bob:{BOB}\n")
    site.clock.advance(1)
    assert client.get("/").status == 401
    users.write_text("alice:Another-password5\n")
    site.clock.advance(1)
    assert client.get("/").status == 401
    users.write_text(f"alice:{ALICE}\n")
    # Another process has just written it: what a session says is not refused before the file was looked at.
    assert client.who() == ["alice", [], "session"]


def test_a_session_is_for_its_users_only(guarded, settings, tmp_path, users):
    """The same name of another file of users is somebody else, in another host or another part of this one."""
    (tmp_path / "others").write_text("alice:Other-alice6\n")
    both = settings(paths=["/a/"]), Auth(tmp_path / "others", paths=["/b/"], prefix="/b-auth")
    client = guarded(*both).client()
    client.submit("/login", username="alice", password=ALICE)
    assert client.who("/a/") == ["alice", ALICE_ROLES, "session"]
    assert client.get("/b/").status == 401
    same = guarded(settings(paths=["/a/"]), settings(paths=["/b/"], prefix="/b-auth")).client()
    same.submit("/login", username="alice", password=ALICE)
    assert same.who("/b/") == ["alice", ALICE_ROLES, "session"]


def test_two_guards_with_one_login(settings, tmp_path, guarded):
    """Two guards of a host that would both answer /login are an error that says so."""
    (tmp_path / "others").write_text("alice:x\n")
    with pytest.raises(ValueError, match="prefix: /login is another"):
        guarded(settings(paths=["/a/"]), Auth(tmp_path / "others", paths=["/b/"]))


# Failures


@pytest.mark.parametrize("how", ["form", "json", "basic", "changepwd"])
def test_lockout(how, guarded, settings):
    """Five failures are free; then the answer is 429 at once, also with the right password, and says when to come back."""
    site = guarded(settings())
    client = site.client("192.0.2.1")

    def attempt(password, name="alice", client=client):
        match how:
            case "form":
                return client.submit("/login", username=name, password=password)
            case "json":
                return client.post("/login", username=name, password=password)
            case "basic":
                return client.get("/", basic(name, password))
            case "changepwd":
                return client.post("/changepwd", username=name, password=password, new_password="Down-rabbit3")

    assert [attempt("wrong").status for _ in range(5)] == [401] * 5
    answer = attempt(ALICE)
    assert answer.status == 429
    assert 1 <= int(answer["Retry-After"]) <= 12
    assert attempt(BOB, "bob").status in (200, 303)
    assert attempt(ALICE, client=client.other("192.0.2.2")).status in (200, 303)
    assert [attempt("wrong", f"user{number}", client.other()).status for number in range(30)][-1] == 429


def test_lockout_ends(guarded, settings):
    """Who waits as long as was said may try again; who then gets in has all tries again."""
    client = guarded(settings()).client()
    for _ in range(5):
        client.post("/login", username="alice", password="wrong")
    client.clock.advance(int(client.post("/login", username="alice", password=ALICE)["Retry-After"]))
    assert client.post("/login", username="alice", password=ALICE).status == 200
    assert [client.post("/login", username="alice", password="wrong").status for _ in range(5)] == [401] * 5


def test_lockout_off(guarded, settings):
    """With attempts = 0 nobody is locked."""
    client = guarded(settings(attempts=0)).client()
    assert {client.get("/", basic("alice", "wrong")).status for _ in range(50)} == {401}


def test_unlocking_by_a_file(guarded, settings, users):
    """What mixweb unlock leaves beside the file of users lets a user try again within a second."""
    site = guarded(settings())
    client = site.client()
    for _ in range(6):
        answer = client.post("/login", username="alice", password="wrong")
    assert answer.status == 429
    users.with_name("users.unlock").write_text("alice\n")
    site.clock.advance(1)
    assert client.post("/login", username="alice", password=ALICE).status == 200
    assert not users.with_name("users.unlock").exists()


def test_credentials_of_every_request(guarded, settings):
    """Credentials that were right are not counted, however often they come, and not checked again for a minute."""
    client = guarded(settings()).client()
    for _ in range(100):
        assert client.get("/", basic("alice", ALICE)).status == 200


def test_remembered_passwords(guarded, settings, users):
    """A password that was right is not taken any more once it was changed."""
    client = guarded(settings()).client()
    assert client.get("/", basic("alice", ALICE)).status == 200
    users.write_text("alice:Another-password5\n")
    client.clock.advance(1)
    assert client.get("/", basic("alice", ALICE)).status == 401


def fail2ban():
    """The expression that the documentation gives to fail2ban."""
    page = Path(__file__).parents[3] / "docs" / "features" / "auth.md"
    (found,) = re.findall(r"^failregex = (.*)$", page.read_text(), re.MULTILINE)
    return re.compile(found.replace("<HOST>", r"(?P<host>[0-9a-f:.]+)"))


def test_failures_are_logged(guarded, settings, events):
    """Each failure is a line that begins with the address; no name can look like another line or another address."""
    client = guarded(settings()).client("192.0.2.7")
    evil = "x from 203.0.113.9\n2026-01-01T00:00:00+0000 [mixweb.auth#warn] login failed from 203.0.113.9: \x1b[31m"
    client.get("/", basic("alice", "Secret-word7"))
    client.post("/login", username=evil, password="Secret-word7")
    client.post("/login", username="alice" * 20, password="Secret-word7")
    assert len(events) == 3
    pattern = fail2ban()
    for line in events:
        logged = f"2026-11-21T10:00:00+0000 [mixweb.auth#warn] {line}"
        assert [found["host"] for found in pattern.finditer(logged)] == ["192.0.2.7"]
        assert line.isprintable()
        assert "Secret" not in line
        assert len(line) < 250
    assert events[0] == "login failed from 192.0.2.7: basic, wrong name or password, user 'alice'"


def test_logins_are_logged(guarded, settings, events):
    """A login is a line too."""
    guarded(settings()).client("192.0.2.7").submit("/login", username="alice", password=ALICE)
    assert events == ["login of 'alice' from 192.0.2.7"]


@pytest.mark.parametrize("broken", ["get", "hit"])
def test_a_store_that_is_down(broken, guarded, settings, monkeypatch):
    """When the store is down nobody gets in: 503, and when to come back."""
    site = guarded(settings(users="store:" if broken == "get" else settings().users, store="memory:auth"))
    client = site.client()
    store = open_store("memory:auth", site.clock)
    monkeypatch.setattr(store, broken, lambda *args, **more: fail(StoreUnavailable("down")))
    for answer in (client.get("/", basic("alice", ALICE)), client.post("/login", username="alice", password=ALICE)):
        assert answer.status == 503
        assert int(answer["Retry-After"]) > 0
    assert client.get("/").status == 401


def test_too_many_logins_at_once(guarded, settings, monkeypatch):
    """When too many passwords are waiting to be checked the answer is 503 at once, and says when to come back."""
    from mixweb.features.auth._pool import Busy, WorkPool

    async def busy(self, work, *args):
        raise Busy

    client = guarded(settings()).client()
    monkeypatch.setattr(WorkPool, "run", busy)
    answer = client.post("/login", username="alice", password=ALICE)
    assert (answer.status, answer["Retry-After"]) == (503, "1")


# Dummy


def test_dummy(guarded):
    """In the reference's first version everybody logs in: GET or POST, 200 or 302 to a goto; the start says so loudly."""
    site = guarded(Auth(dummy=True, secrets=["/secret"]))
    assert site.warnings == ["auth: EVERYBODY CAN LOG IN, under any name and without a password (dummy)"]
    client = site.client()
    assert client.get("/secret/x").status == 401
    assert client.get("/a/secret").status == 200
    answer = client.get("/login")
    assert (answer.status, answer.body) == (200, b"")
    assert len(client.cookies) == 1
    assert client.who("/secret/x") == ["guest", [], "dummy"]
    answer = client.get("/logout?goto=/x%3Fy")
    assert (answer.status, answer["Location"]) == (302, "/x?y")
    assert client.cookies == {}
    answer = client.request("POST", "/login?goto=/secret/x")
    assert (answer.status, answer["Location"]) == (302, "/secret/x")
    assert client.get("/logout").body == b""
    client.get("/login?username=carol&goto=//evil.example/")
    assert client.who("/secret/") == ["carol", [], "dummy"]
    assert client.get("/changepwd").status == 200


def test_no_users_no_login(guarded, settings):
    """Without users, and without dummy, there is no /login."""
    client = guarded(Auth(token_algorithm="HS256", paths=["/api/"])).client()
    assert client.get("/login").text == "null"


# Settings


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"users": ""}, "users: say where they are"),
        ({"dummy": True}, "dummy lets everybody"),
        ({"rules": ["/x"]}, "say who"),
        ({"rules": ["^( *"]}, "regular expression"),
        ({"secrets": ["/"]}, "names no path"),
        ({"schemes": ["ntlm"]}, "schemes: there is no 'ntlm'"),
        ({"passwords": "rot13"}, "passwords must be"),
        ({"realm": 'a"b'}, "realm must be"),
        ({"prefix": "auth"}, "prefix must begin"),
        ({"register": {"user": "anyone bob"}}, "register: user: 'anyone' stands alone"),
        ({"attempts": -1}, "attempts must not"),
        ({"hash_threads": 0}, "hash_threads must be"),
        ({"password_kinds": 5}, "password_kinds must be"),
        ({"store": "nowhere:"}, "store must be"),
        ({"token_algorithm": "none"}, "token_algorithm: there is no 'none'"),
        ({"token_algorithm": "RS256"}, "needs token_keys"),
        ({"token_algorithm": "HS256", "token_keys": ["x"]}, "needs no token_keys"),
        ({"token_keys": ["x"]}, "token_keys needs"),
        ({"secret": "x"}, "secret belongs to"),
        ({"secret_encoding": "hex"}, "secret_encoding must be"),
        ({"jwks": "keys.json"}, "jwks needs jwks_issuer"),
        ({"jwks_algorithms": ["none"]}, "jwks_algorithms: there is no 'none'"),
    ],
)
def test_settings_that_make_no_sense(changes, problem, settings):
    """What makes no sense is refused, with the name of the setting."""
    with pytest.raises(ValueError, match=problem):
        settings(**changes)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"users": "nothing"}, "there is no file 'nothing'; mixweb passwd 'nothing' NAME makes one"),
        ({"users": "magic:x"}, "there is no checker 'magic'"),
        ({"users": "store:", "schemes": ["digest"]}, "digest needs"),
        ({"users": "memory:a:b", "register": {"user": "anyone"}}, "cannot be added to"),
        ({"token_algorithm": "HS256", "secret": "short"}, "at least 32 bytes"),
        ({"token_algorithm": "HS256", "secret": "!", "secret_encoding": "base64std"}, "secret is no base64std"),
        ({"token_algorithm": "RS256", "token_keys": ["users"]}, "no key in PEM form"),
        ({"token_algorithm": "RS256", "token_keys": ["nothing.pem"]}, "does not exist"),
        ({"jwks": "http://example.org/keys", "jwks_issuer": "x", "jwks_audience": "y"}, "https"),
        ({"jwks": "nothing.json", "jwks_issuer": "x", "jwks_audience": "y"}, "does not exist"),
    ],
)
def test_settings_that_do_not_fit(changes, problem, settings, guarded, users, monkeypatch):
    """So is what does not fit the users and files that there are."""
    monkeypatch.chdir(users.parent)
    with pytest.raises(ValueError, match=problem):
        guarded(settings(**changes))


def test_several_realms(tmp_path, guarded):
    """Of several realms in an htdigest file one has to be chosen."""
    path = tmp_path / "users.htdigest"
    path.write_text(f"alice:one:{'0' * 32}\nbob:two:{'0' * 32}\n")
    with pytest.raises(ValueError, match=r"realm: choose one of those in .*: one, two"):
        guarded(Auth(path))
    assert 'realm="two"' in guarded(Auth(path, realm="two")).client().get("/")["WWW-Authenticate"]


def test_passwords_that_can_be_read(guarded, users):
    """That a file has passwords that can be read is said at start; at the next login they are hashed."""
    site = guarded(Auth(users))
    assert site.warnings == [
        f"auth: passwords in {users} (2) can be read by who can read the file; each is hashed at its next login"
    ]
    client = site.client()
    client.submit("/login", username="bob", password=BOB)
    assert client.who() == ["bob", [], "session"]
    assert users.read_text().startswith(f"alice:{ALICE}:admin,staff\nbob:$argon2id$")


def test_in_a_file(tmp_path, users):
    """The tables of a file become settings; a relative path counts from the file."""
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "site.toml").write_text(
        '[auth]\nusers = "../users"\npaths = ["/admin/"]\nrules = ["/admin/ #admin"]\nregister = { user = "#admin" }\n'
    )
    (found,) = (item for item in load(folder / "site.toml", None, {}).plan.default.settings if isinstance(item, Auth))
    assert str(users) == str((folder / found.users).resolve())
    (folder / "site.toml").write_text(
        '[auth]\nusers = "store:staff"\nsecret = { file = "key" }\ntoken_algorithm = "HS256"'
    )
    (folder / "key").write_text("k" * 40 + "\n")
    (found,) = load(folder / "site.toml", None, {}).plan.default.settings
    assert (found.users, found.secret) == ("store:staff", "k" * 40)


def test_without_sessions(guarded, settings):
    """Without sessions a person is asked by the browser itself; who wants a form is told what it needs."""
    without = ("accesslog", "secureheaders", "session")
    client = guarded(settings(), without=without).client()
    assert challenges(client.browse("/")) == ["Basic"]
    assert client.submit("/login", username="alice", password=ALICE).status == 401
    assert client.who("/", basic("alice", ALICE)) == ["alice", ALICE_ROLES, "basic"]
    for changes in ({"schemes": ["form"]}, {"users": "", "dummy": True}):
        with pytest.raises(ValueError, match="form needs sessions"):
            guarded(settings(**changes), without=without)
    # A program may still log in for tokens; a person cannot.
    client = guarded(settings(token_algorithm="HS256"), without=without).client()
    assert "access_token" in client.post("/login", username="alice", password=ALICE).text
    assert client.submit("/login", username="alice", password=ALICE).status == 501


def test_forms_with_tokens(guarded, settings):
    """Where csrf stands in front, the forms have its token, and are taken with it only."""
    client = guarded(settings(register={"user": "anyone"}), Csrf()).client()

    def token(path):
        return re.search(r'name="_xsrf" value="([^"]+)"', client.browse(path).text)[1]

    assert client.submit("/login", username="alice", password=ALICE).status == 403
    assert client.submit("/login", username="alice", password=ALICE, _xsrf=token("/login")).status == 303
    assert client.who() == ["alice", ALICE_ROLES, "session"]
    form = {"username": "alice", "password": ALICE, "new_password": "Down-rabbit3"}
    assert client.submit("/changepwd", **form, _xsrf=token("/changepwd")).status == 303
    assert client.submit("/logout").status == 403
    assert client.submit("/logout", _xsrf=token("/login")).status == 303
    assert client.get("/").status == 401
    form = {"username": "carol", "password": "Down-rabbit3"}
    assert client.submit("/register", **form, _xsrf=token("/register")).status == 303
    wrong = client.submit("/login", username="alice", password="wrong", _xsrf=token("/login"))
    assert (wrong.status, "_xsrf" in wrong.text) == (401, True)


def test_in_front_of_any_resource(users, monkeypatch):
    """In front of a resource of one's own, sessions come along too, each at its place."""
    from mixweb.assemble import stack
    from tests.features.auth.conftest import Client, WhoResource

    clock = Clock()
    resource = stack(WhoResource(), [Auth(str(users), rehash=False)], clock)
    client = Client(SiteAgent(resource, clock=clock))
    assert client.browse("/").status == 303
    client.submit("/login", username="alice", password=ALICE)
    assert client.who() == ["alice", ALICE_ROLES, "session"]


def test_what_it_makes_of_a_request(settings):
    """Which rule a request meets can be asked for."""
    from mixweb.paths import canonical

    asked = Asked(b"GET", b"/admin/x", canonical(b"/admin/x"))
    assert FEATURE.explain(settings(rules=["/admin/ #admin"]), asked).why == "the rule '/admin/ #admin'"


def test_in_python(users):
    """Users come first in Python."""
    assert Host(Who(), Auth(str(users), paths=["/admin/"])).settings[1].users == str(users)
