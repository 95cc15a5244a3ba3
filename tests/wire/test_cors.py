"""
What a real browser lets pages of other origins do.
"""

import json

import pytest

CONFIG = """\
[[files]]
path = "site"

[[lab]]
at = "/named"

[[lab]]
at = "/star"

[[lab]]
at = "/own"

[[cors]]
origins = ["http://page.localhost:*"]
credentials = true
expose = ["X-Shown"]
paths = ["/named/"]

[[cors]]
origins = ["*"]
paths = ["/star/"]

[[cors]]
override = true
paths = ["/own/"]
"""

#: Fetches an address and says what it may know of the answer.
FETCH = """\
const [url, options] = arguments;
return fetch(url, options).then(async answer => ({
  status: answer.status, type: answer.type, shown: answer.headers.get("x-shown"), hidden: answer.headers.get("x-hidden"),
  body: await answer.text(),
})).catch(error => ({error: error.name}));
"""

JSON = {
    "method": "POST",
    "headers": {"Content-Type": "application/json", "Authorization": "Bearer x"},
    "body": '{"a": 1}',
}
COOKIES = {"credentials": "include"}


#: Page, path, options of the request, and the status that the page sees; ``None`` where it sees nothing.
CASES = [
    ("page", "/named/get", {}, 200),
    ("page", "/named/get", COOKIES, 200),
    ("page", "/named/anything", JSON, 200),
    ("page", "/named/anything", {**JSON, **COOKIES, "method": "PUT"}, 200),
    ("page", "/named/anything", {"method": "DELETE"}, 200),
    ("page", "/named/anything", {"headers": {"X-Evil": "1"}}, None),
    ("page", "/named/anything", {"method": "PROPFIND"}, None),
    ("page", "/named/status/500", {}, 500),
    ("page", "/named/none", {}, 404),
    ("page", "/named/basic-auth/u/p", {}, 401),
    ("page", "/named/redirect/2", {}, 200),
    ("page", "/named/redirect-to?url=/star/get", {}, 200),
    ("page", "/named/redirect-to?url=/named/anything&status_code=307", JSON, 200),
    ("evil", "/named/get", {}, None),
    ("evil", "/named/get", COOKIES, None),
    ("evil", "/named/anything", JSON, None),
    ("evil", "/star/get", {}, 200),
    ("evil", "/star/anything", JSON, 200),
    ("evil", "/star/get", COOKIES, None),
    ("evil", "/own/get", {}, None),
    ("evil", "/own/get?origin={ECHO}&creds=1", COOKIES, 200),
    ("evil", "/own/get?origin={ECHO}", COOKIES, None),
    ("evil", "/own/get?origin=*", {}, 200),
    ("evil", "/own/get?origin=*&creds=1", COOKIES, None),
    ("evil", "/own/get?origin=", {}, None),
    ("evil", "/own/get?origin=http://other.example", {}, None),
    ("evil", "/own/anything?origin={ECHO}", JSON, 200),
    ("page", "/index.html", {}, None),
    ("page", "/index.html", {"mode": "no-cors"}, 0),
]


@pytest.fixture
def server(twistd, tmp_path):
    """A server that pages of several origins come from, and that they ask."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<!DOCTYPE html><title>Page</title>")
    (tmp_path / "site.toml").write_text(CONFIG)
    return twistd("--config", "site.toml", "--port", "0")


def test_pages(server, browser):
    """Pages of the origins that are allowed read answers, errors too; all others read nothing."""
    window, seen = browser(), []
    ordered = sorted(CASES, key=lambda case: case[0])
    for page, path, options, _ in ordered:
        address = f"http://{page}.localhost:{server.port}/"
        if window.run("return location.href") != address:
            window.open(address)
        seen.append(window.run(FETCH, f"http://127.0.0.1:{server.port}{path}", options))
    assert [(case, answer.get("status")) for case, answer in zip(ordered, seen, strict=True)] == [
        (case, case[3]) for case in ordered
    ]
    for (_, path, options, _), answer in zip(ordered, seen, strict=True):
        if options is JSON and answer.get("status") == 200:
            assert json.loads(json.loads(answer["body"])["data"]) == {"a": 1}, path


def test_exposed(server, browser):
    """Of the headers of an answer a page reads those that the settings name."""
    window = browser()
    window.open(f"http://page.localhost:{server.port}/")
    answer = window.run(FETCH, f"http://127.0.0.1:{server.port}/named/response-headers?X-Shown=1&X-Hidden=2", {})
    assert (answer["shown"], answer["hidden"]) == ("1", None)
