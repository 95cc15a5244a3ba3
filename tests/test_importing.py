"""
INI files of others as TOML.
"""

import tomllib

import pytest

from mixweb import cli
from mixweb.config import load
from mixweb.importing import import_ini
from mixweb.registry import registry

CANISTER = """
[canister]
# ...due to limitations of bottle's plugin mechanism,
debug=False
# Logs
log_path = ./logs/
log_level = INFO
log_days = 30
# how long the session data will still be available after the last access, in seconds
session_timout = 3600
# applies CORS to responses, write * to allow AJAX requests from anywhere
#CORS = *
# Basic auth
auth_basic_username = alice
auth_basic_encryption = clear
auth_basic_password = my-secret
# Auth using JWT (for OAuth2)
auth_jwt_client_id = ABC
auth_jwt_encoding = base64url
auth_jwt_secret = my-secret
"""

CHERRYPY = """
[global]
server.socket_host = "0.0.0.0"
server.socket_port = 8080
server.thread_pool = 10
log.access_file = 'access.log'
log.screen = True
engine.autoreload.on = True
request.show_tracebacks = False

[/]
tools.secureheaders.on = True
tools.sessions.on = True
# increase security on sessions
tools.sessions.secure = True
tools.sessions.httponly = True
tools.sessions.timeout = 60
tools.gzip.on = True
tools.staticdir.root = '/srv/site'
tools.response_headers.on = True
tools.response_headers.headers = [('X-A', 'b'),
    ('X-C', 'd')]
error_page.404 = '/srv/404.html'
tools.own.on = True

[/static]
tools.staticdir.on = True
tools.staticdir.dir = 'static'
tools.staticdir.index = 'start.html'
tools.expires.on = True
tools.expires.secs = 3600

[/admin]
tools.auth_basic.on = True
tools.auth_basic.realm = 'Staff'
tools.caching.on = False
tools.redirect.on: True
tools.redirect.url: '/x'
"""


def tables(text):
    """The tables of an INI file, and what is said of it."""
    found = import_ini(text)
    return tomllib.loads(found.text()), found.notes


def test_canister():
    """canister's own example becomes tables; the typo of its documentation is told of, and passwords stay out."""
    found, notes = tables(CANISTER)
    assert found == {
        "accesslog": {"path": "./logs/log", "level": "info", "rotate": "daily", "log_days": 30},
        "session": {"timeout": 3600},
        "auth": {
            "users": "users.txt", "schemes": ["basic", "bearer"], "token_algorithm": "HS256",
            "audience": "ABC", "secret_encoding": "base64url",
            "secret": "my-secret",
        },
    }  # fmt: skip
    assert [(line, note.partition(":")[0]) for line, note in notes] == [
        (10, "session_timout"), (14, "auth_basic_username"), (14, "auth_basic_username"),
        (20, "auth_jwt_secret"), (20, "auth_jwt_secret")
    ]  # fmt: skip
    assert "has never had an effect" in notes[0][1]
    assert "mixweb passwd users.txt alice" in notes[1][1]


def test_cherrypy():
    """CherryPy's settings and tools become tables; a tool that is none here is told of."""
    found, notes = tables(CHERRYPY)
    assert found == {
        "listen": ["tcp:8080:interface=0.0.0.0"],
        "reload": True,
        "display_tracebacks": False,
        "accesslog": {"path": "access.log"},
        "session": {"timeout": 3600},
        "encode": {},
        "headers": {"set": ["X-A: b", "X-C: d"]},
        "errors": {"pages": {"404": "/srv/404.html"}},
        "cachecontrol": {"rules": {"/static/*": "max-age=3600"}},
        "auth": {"users": "users.txt", "realm": "Staff", "schemes": ["basic"], "secrets": ["/admin"]},
        "redirect": {"rules": {"/admin": "/x"}},
        "files": [{"path": "/srv/site/static", "at": "/static", "index": ["start.html"]}],
    }
    assert [note.partition(":")[0] for _, note in notes] == ["server.thread_pool", "tools.own.on"]


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("[canister]\nCORS = *", {"cors": {"origins": ["*"]}}),
        ("[canister]\nCORS = https://a.example, https://b.example", {"cors": {"origins": ["https://a.example", "https://b.example"]}}),
        ("[canister]\nCORS = false", {}),
        ("[canister]\nlog_level = CRITICAL", {"accesslog": {"level": "error"}}),
        ("[canister]\nlog_level = disabled", {"accesslog": {"level": "disabled"}}),
        ("[canister]\nsession_timeout = -1", {"session": {"timeout": 0}}),
        ("[canister]\ndebug = True", {"display_tracebacks": True}),
        ("[views]\nstatic_path = ./static", {}),
        ("[sessions]\nexpiration = 30d", {}),
        ("[global]\nserver.socket_port = 443\nserver.ssl_certificate = 'c.pem'\nserver.ssl_private_key = 'k.pem'",
         {"https": 443, "public": False, "certificate": "c.pem", "privkey": "k.pem"}),
        ("[global]\nserver.socket_file = '/run/x'", {"listen": ["unix:/run/x"]}),
        ("[global]\nserver.socket_host = '::'", {"listen": [r"tcp:8080:interface=\:\:"]}),
        ("[/]\nerror_page.default = 'e.html'", {"errors": {"pages": {"4xx": "e.html", "5xx": "e.html"}}}),
        ("[/]\ntools.session_auth.on = True", {"auth": {"users": "users.txt", "schemes": ["form"], "secrets": ["/"]}}),
        ("[/f]\ntools.staticfile.on = True\ntools.staticfile.filename = '/f.ico'", {"files": [{"path": "/f.ico", "at": "/f"}]}),
        ("; nothing\n\n", {}),
    ],
)  # fmt: skip
def test_single_settings(line, result):
    """Each setting becomes what has its meaning here."""
    assert tables(line)[0] == result


@pytest.mark.parametrize("text", [CANISTER, CHERRYPY])
def test_features_take_it(text, tmp_path, monkeypatch):
    """What comes out names features, and fields that they have."""
    found, _ = tables(text)
    for name, value in found.items():
        feature = registry().features.get(name)
        if isinstance(value, (dict, list)) and name != "listen" and feature is not None:
            for table in value if isinstance(value, list) else [value]:
                assert set(table) <= set(feature.settings.__dataclass_fields__)
    known = "\n".join(f"{name} = {str(value).lower()}" for name, value in found.items() if isinstance(value, bool))
    (tmp_path / "site.toml").write_text(known)
    assert load(tmp_path / "site.toml", None, {}).plan


def test_command(tmp_path, capfd):
    """The command prints the tables, and on standard error what is to be known, each with file and line."""
    path = tmp_path / "canister.ini"
    path.write_text("[canister]\nsession_timout = 60\nunknown = 1\n")
    assert cli.import_ini([str(path)]) == 0
    said = capfd.readouterr()
    assert said.out == "# From canister.ini.\n\n[session]\ntimeout = 60\n"
    assert said.err.splitlines() == [
        f"{path}:2: session_timout: canister reads session_timeout: this spelling of its documentation has never had an effect"
        " there",
        f"{path}:3: unknown: is nothing here",
    ]
    path.write_text("nothing")
    assert cli.import_ini([str(path)]) == cli.import_ini([str(tmp_path / "none")]) == 2
    said = capfd.readouterr().err
    assert "line 1 is neither a section nor 'key = value': 'nothing'" in said
    assert "No such file or directory" in said
