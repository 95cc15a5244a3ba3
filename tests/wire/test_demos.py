"""
Two origins of the example hosts, in a real browser: what one of them can do to the other.
"""

import urllib.request
from urllib.parse import quote

import pytest

from tests.wire.conftest import ROOT

#: Methods, and the settings of CORS under which they read, of: the page's origin with and without credentials, any with and
#: without, none.
WITH_CREDENTIALS = ["read", "blocked", "blocked", "blocked", "blocked"]
NEVER = ["blocked"] * 5
VERDICTS = {
    "fetch GET": WITH_CREDENTIALS,
    "fetch POST": WITH_CREDENTIALS,
    "XMLHttpRequest GET": WITH_CREDENTIALS,
    "XMLHttpRequest POST": WITH_CREDENTIALS,
    "iframe": NEVER,
    "object": NEVER,
    "image on a canvas": WITH_CREDENTIALS,
    "image as a bitmap": WITH_CREDENTIALS,
}


@pytest.fixture
def lab(twistd, tmp_path):
    """The example hosts."""
    server = twistd("--vhosts", ROOT / "vhosts.example", "--port", "0", "--accesslog", tmp_path / "access.log")
    server.page = f"http://page.lab.localhost:{server.port}"
    server.target = f"http://target.lab.localhost:{server.port}"
    return server


def fetch(server, host, path):
    """What a host answers, without a browser."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, ""


def test_who_may_read(lab, browser):
    """Eight methods read what CORS lets the page's own origin read with credentials, and nothing else."""
    window = browser()
    window.open(f"{lab.page}/sop.html")
    assert window.wait("window.found", 60) == VERDICTS


def test_visitor_robbed(lab, browser):
    """What a visitor may read is kept under the name that the thief chose, if the target allows his origin."""
    window = browser()
    window.open(f"{lab.page}/csrf.html")
    trap, loot = window.wait(
        "document.getElementById('trap').href && [trap.href, document.getElementById('loot').href]"
    )
    path = loot.removeprefix(lab.page)
    assert fetch(lab, "page.lab.localhost", path)[0] == 404
    window.open(f"{lab.target}/share.html")
    window.wait("document.getElementById('form').dataset.ready")
    careful = trap.replace(quote("{ECHO}", safe=""), "").replace("%257BECHO%257D", "")
    window.open(careful)
    assert window.wait("document.getElementById('state').textContent != 'Loading ...' && state.textContent").startswith(
        "Noth"
    )
    assert fetch(lab, "page.lab.localhost", path)[0] == 404
    window.open(trap)
    window.wait("document.getElementById('state').textContent == 'Sent.'")
    assert fetch(lab, "page.lab.localhost", path) == (200, "The treasure is under the oak.\n")


def test_redirect_in_between(lab, browser, tmp_path):
    """What a page sends to its own cache by way of another origin arrives, and has passed there."""
    window = browser()
    window.open(f"{lab.target}/share.html")
    window.wait("document.getElementById('form').dataset.ready")
    trap = window.run("return document.getElementById('trap').href")
    window.open(trap)
    window.wait("document.getElementById('form').dataset.ready")
    window.run("document.querySelector('#form button').click()")
    saved = window.run("return saved.href")
    assert saved.startswith(f"{lab.page}/goto//cache/")
    window.wait(
        "(fetch('/cache/' + saved.href.split('/').pop()).then(answer => window.stored = answer.ok), window.stored)"
    )
    window.run("saved.click()")
    window.wait("location.pathname.startsWith('/cache/')")
    assert window.run("return [location.origin, document.body.textContent]") == [
        lab.target,
        "The treasure is under the oak.\n",
    ]
    lab.stop()
    lines = [line for line in (tmp_path / "access.log").read_text().splitlines() if "POST" in line]
    assert [("/goto//cache/" in line, " 307 " in line) for line in lines] == [(True, True), (False, False)]
