"""
Headers that tell browsers to be careful.
"""

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mixweb.features.secureheaders import FEATURE, SecureHeaders, SecureHeadersWrapper
from mixweb.testing import SiteAgent

STANDARD = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}
ALL = (
    *STANDARD,
    "Content-Security-Policy",
    "Content-Security-Policy-Report-Only",
    "Cross-Origin-Embedder-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
    "Permissions-Policy",
    "Strict-Transport-Security",
    "X-XSS-Protection",
)


class Call(Resource):
    """Answers with what a function returns."""

    isLeaf = True

    def __init__(self, answer=lambda request: b"x"):
        super().__init__()
        self.answer = answer

    def render_GET(self, request):
        return self.answer(request)


def sent(settings, answer=lambda request: b"x", secure=False):
    found = SiteAgent(SecureHeadersWrapper(settings, Call(answer)), secure=secure).get("/")
    return {name: found[name] for name in ALL if found[name] is not None}


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({}, {}),
        ({"frame": "SAMEORIGIN"}, {"X-Frame-Options": "SAMEORIGIN"}),
        ({"frame": ""}, {"X-Frame-Options": None}),
        ({"nosniff": False}, {"X-Content-Type-Options": None}),
        ({"referrer": "no-referrer, same-origin"}, {"Referrer-Policy": "no-referrer, same-origin"}),
        ({"referrer": ""}, {"Referrer-Policy": None}),
        ({"permissions": "camera=()"}, {"Permissions-Policy": "camera=()"}),
        ({"csp": " \n", "permissions": " "}, {}),
        ({"csp": "default-src 'self'"}, {"Content-Security-Policy": "default-src 'self'"}),
        (
            {"csp": "default-src 'self';\n  img-src *\n"},
            {"Content-Security-Policy": "default-src 'self'; img-src *"},
        ),
        (
            {"csp_report_only": "default-src 'none'"},
            {"Content-Security-Policy-Report-Only": "default-src 'none'"},
        ),
        (
            {"frame_ancestors": ["'self'", "https://a.example"]},
            {"X-Frame-Options": None, "Content-Security-Policy": "frame-ancestors 'self' https://a.example"},
        ),
        (
            {"frame_ancestors": ["'none'"], "csp": "default-src 'self';"},
            {"X-Frame-Options": None, "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'"},
        ),
        ({"coop": "same-origin-allow-popups"}, {"Cross-Origin-Opener-Policy": "same-origin-allow-popups"}),
        (
            {"isolation": True},
            {
                "Cross-Origin-Opener-Policy": "same-origin",
                "Cross-Origin-Embedder-Policy": "require-corp",
                "Cross-Origin-Resource-Policy": "same-origin",
            },
        ),
        (
            {"isolation": True, "coep": "credentialless", "corp": "cross-origin"},
            {
                "Cross-Origin-Opener-Policy": "same-origin",
                "Cross-Origin-Embedder-Policy": "credentialless",
                "Cross-Origin-Resource-Policy": "cross-origin",
            },
        ),
        ({"hsts": 60}, {}),
    ],
)
def test_headers(settings, changes):
    """Each setting is one header; what is empty is not sent, and the isolation preset gives way to single settings."""
    expected = {name: value for name, value in (STANDARD | changes).items() if value is not None}
    assert sent(SecureHeaders(**settings)) == expected


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({}, None),
        ({"hsts": 60}, "max-age=60"),
        ({"hsts": 60, "hsts_subdomains": True}, "max-age=60; includeSubDomains"),
        (
            {"hsts": 31536000, "hsts_subdomains": True, "hsts_preload": True},
            "max-age=31536000; includeSubDomains; preload",
        ),
    ],
)
def test_hsts(settings, value):
    """Strict-Transport-Security is sent over TLS, and never without."""
    assert sent(SecureHeaders(**settings), secure=True).get("Strict-Transport-Security") == value
    assert "Strict-Transport-Security" not in sent(SecureHeaders(**settings))


def test_hsts_behind_a_proxy():
    """A request that a trusted proxy received over TLS counts as secure."""

    def answer(request):
        request.setHost(b"example.com", 443, ssl=True)
        return b"x"

    assert sent(SecureHeaders(hsts=5), answer)["Strict-Transport-Security"] == "max-age=5"


def own(request):
    request.setHeader(b"x-frame-options", b"SAMEORIGIN")
    request.setHeader(b"Referrer-Policy", b"origin")
    return b"x"


async def own_late(request):
    await succeed(None)
    return own(request)


def own_written(request):
    own(request)
    request.write(b"x")
    request.finish()
    return NOT_DONE_YET


def own_deferred(request):
    waiting = Deferred()
    waiting.addCallback(lambda _: own(request))
    waiting.callback(None)
    return waiting


@pytest.mark.parametrize("answer", [own, own_late, own_written, own_deferred])
def test_resource_decides(answer):
    """What the resource set itself stays, however it answers."""
    assert sent(SecureHeaders(), answer) == {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "origin",
    }


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("default-src 'none'", "default-src 'none', frame-ancestors 'self'"),
        ("frame-ancestors *", "frame-ancestors *"),
        ("default-src x; Frame-Ancestors *", "default-src x; Frame-Ancestors *"),
        ("default-src x-frame-ancestors", "default-src x-frame-ancestors, frame-ancestors 'self'"),
    ],
)
def test_own_policy(policy, expected):
    """A policy of the resource stays, and who may frame the page is said beside it unless it says so itself."""

    def answer(request):
        request.setHeader(b"Content-Security-Policy", policy.encode())
        return b"x"

    settings = SecureHeaders(csp="default-src y", frame_ancestors=["'self'"])
    assert sent(settings, answer)["Content-Security-Policy"] == expected


@pytest.mark.parametrize("answer", [lambda request: request.error(404), lambda request: 1 / 0, lambda request: b""])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "BREW"])
def test_every_answer(answer, method):
    """Errors, empty answers and answers to all methods have them too."""
    found = SiteAgent(SecureHeadersWrapper(SecureHeaders(), Call(answer))).request(method, "/")
    assert {name: found[name] for name in STANDARD} == STANDARD


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"frame": "ALLOW"}, "frame must be DENY or SAMEORIGIN, not 'ALLOW'"),
        ({"coop": "x"}, "coop must be unsafe-none, "),
        ({"coep": "same-origin"}, "coep must be"),
        ({"corp": "none"}, "corp must be"),
        ({"referrer": "none"}, "referrer: there is no policy 'none'"),
        ({"referrer": "origin,"}, "referrer: there is no policy ''"),
        ({"csp": "a\0b"}, "csp has characters"),
        ({"permissions": "é"}, "permissions has characters"),
        ({"frame_ancestors": ["a b"]}, "frame_ancestors: 'a b' is not an origin"),
        ({"frame_ancestors": ["a; script-src *"]}, "frame_ancestors: "),
        ({"frame_ancestors": ["a"], "csp": "frame-ancestors b"}, "frame_ancestors and the frame-ancestors of csp"),
        ({"hsts": -1}, "hsts must not be negative"),
        ({"hsts": 60, "hsts_preload": True}, "hsts_preload needs"),
    ],
)
def test_refused(settings, said):
    """A value that no browser would take is an error that names the setting."""
    with pytest.raises(ValueError, match=r"^(frame|coop|coep|corp|referrer|csp|permissions|hsts)") as caught:
        SecureHeaders(**settings)
    assert str(caught.value).startswith(said)


def test_on_by_default():
    """The feature is there unless taken away."""
    assert FEATURE.default
