"""
Twisted's own suites with the engine's parts in the place of Twisted's: what fails is listed here, with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SUITES = (
    "test_http",
    "test_web",
    "test_static",
    "test_vhost",
    "test_httpauth",
    "test_wsgi",
    "test_cgi",
    "test_distrib",
)

_EVERY_VERSION = ("HTTP0_9Tests", "HTTP1_0Tests", "HTTP1_1Tests", "HTTP1_1_close_Tests")


def _each(test: str, *classes: str, suite: str = "test_http") -> list[str]:
    return [f"{suite}.{name}.{test}" for name in classes]


def _of(name: str, *tests: str) -> list[str]:
    return [f"{name}.{test}" for test in tests]


#: Why a test fails, and which ones do so.
EXPECTED = {
    "an answer names the version of the server, also to HTTP/1.0 (RFC 9110, 6.2)": [
        *_of("test_http.HTTP1_0Tests", "test_buffer", "test_noPipelining", "test_noPipeliningApi"),
        "test_http.Expect100ContinueServerTests.test_HTTP10",
        "test_http.HTTPLoopbackTests.testLoopback",
        *_of(
            "test_http.ParsingTests",
            "test_multipartEmptyHeaderProcessingFailure",
            "test_multipartFilesData",
            "test_multipartFormData",
        ),
    ],
    "HTTP/1.2 is served as HTTP/1.1 (RFC 9110, 2.5)": ["test_http.ParsingTests.test_invalidVersion"],
    "HTTP/1.0 has no transfer codings (RFC 9112, 6.1)": [
        "test_http.ChunkingTests.test_multipartFormData",
        "test_http.ParsingTests.test_chunkedEncoding",
    ],
    "identity is no transfer coding (RFC 9112, 7)": ["test_http.ParsingTests.test_transferEncodingIdentity"],
    "a folded field line is refused (RFC 9112, 5.2)": ["test_http.ParsingTests.test_headersMultiline"],
    "controls in a field value are refused (RFC 9110, 5.5)": ["test_http.ParsingTests.test_headerStripWhitespace"],
    "too many fields are 431 (RFC 6585, 5), not 400": ["test_http.ParsingTests.test_tooManyHeaders"],
    "the limits are those of the site; totalHeadersSize of the channel is not asked": _of(
        "test_http.ParsingTests", "test_headersTooBigInitialCommand", "test_headersTooBigOtherHeaders"
    ),
    "the site keeps the time for all its connections; a channel has no timer, and a slow body is cut off earlier": [
        *_each("test_connectionLostAfterForceClose", *_EVERY_VERSION),
        *_each("test_requestBodyDefaultTimeout", *_EVERY_VERSION),
        *_each("test_transportForciblyClosed", *_EVERY_VERSION),
        *_each("test_transportNotAbortedAfterConnectionLost", *_EVERY_VERSION),
        *_each("test_transportNotAbortedWithZeroAbortTimeout", *_EVERY_VERSION),
        "test_http.ChannelProductionTests.test_HTTPChannelUnregistersSelfWhenTimingOut",
        "test_http.GenericHTTPChannelTests.test_h2CancelsH11Timeout",
        "test_http.RequestTests.test_requestBodyTimeoutFromFactory",
    ],
    "a client that takes nothing is not stopped from sending until max_pipelined_bytes are read ahead; "
    "none of it becomes a request": _of(
        "test_http.ChannelProductionTests",
        "test_HTTPChannelPropagatesProducingFromTransportToTransport",
        "test_HTTPChannelToleratesDataWhenTransportPaused",
    ),
    "an answer that is known whole has a Content-Length (RFC 9110, 8.6)": [
        *_of(
            "test_web.GzipEncoderTests",
            "test_alreadyEncoded",
            "test_encoding",
            "test_multipleAccept",
            "test_multipleEncodingLines",
            "test_whitespaceInAcceptEncoding",
        ),
        *_of(
            "test_wsgi.StartResponseTests",
            "test_applicationProvidedContentType",
            "test_applicationProvidedServerAndDate",
            "test_headers",
        ),
    ],
    "100 is no status of a final answer, so it has no body (RFC 9110, 15.2)": [
        "test_wsgi.StartResponseTests.test_write"
    ],
    "OPTIONS is answered, and so it is allowed (RFC 9110, 10.2.1)": [
        "test_web.AllowedMethodsTests.test_notAllowed",
        "test_web.NewRenderTests.test_notAllowedMethod",
    ],
    "OPTIONS * is 204; the target * with another method is no request (RFC 9112, 3.2.4)": _of(
        "test_web.RequestTests", "test_OPTIONSStar", "test_rejectNonOPTIONSStar"
    ),
    "CONNECT is a method that is known: 405 (RFC 9110, 15.5.6)": ["test_web.NewRenderTests.testBadMethods"],
    "that GET answers HEAD is no news for the log": _of(
        "test_web.NewRenderTests", "testImplicitHead", "test_unsupportedHeadReturn", "test_unsupportedHeadWrite"
    ),
    "error pages are text where the client asks for nothing, so nothing is quoted; and they say nothing of the inside": [
        "test_web.AllowedMethodsTests.test_notAllowedQuoting",
        "test_web.AllowedMethodsTests.test_notImplementedQuoting",
        "test_web.NewRenderTests.test_noBytesResult",
        *_of(
            "test_web.RequestTests",
            "test_processingFailedDisplayTracebackHandlesUnicode",
            "test_processingFailedNoTraceback",
            "test_processingFailedNoTracebackByDefault",
        ),
    ],
    "a request that is over has no channel to be secure": _of(
        "test_web.RequestTests",
        "testPrePathURLHTTPPortAndSSL",
        "testPrePathURLSSLNonDefault",
        "testPrePathURLSSLPortAndSSL",
    ),
    "forms are read when somebody asks for args, never before; and there are none before there is a request": _of(
        "test_web.RequestTests", "test_interface", "test_parsePOSTFormSubmissionSetFromSite"
    ),
    "a body is kept when it comes, in memory up to 100 kB and then in a file; the site is not asked for one": _of(
        "test_web.RequestTests",
        "test_defaultLargerContentFile",
        "test_defaultUnknownSizeContentFile",
        "test_siteSuppliedContentFile",
    ),
}

#: What fails besides when http.Request is the engine's request, too.
EXPECTED_OF_REQUEST = {
    "an answer without a body says so by its length (RFC 9110, 8.6)": _of(
        "test_http.ParsingTests", "test_headerLimitPerRequest", "test_headersTooBigPerRequest"
    ),
    "a body that cannot be read as a form is still a body": ["test_http.ParsingTests.test_multipartProcessingFailure"],
    "the head was answered already, with 404": _each("test_requestBodyTimeout", *_EVERY_VERSION),
    "there is no content before a part of the body has come": ["test_http.RequestTests.test_connectionLost"],
    "the answer had been given already": ["test_http.RequestTests.test_finishCleansConnection"],
    "an IPv6 address is written in one way (RFC 5952)": ["test_http.RequestTests.test_getRequestHostname"],
    "the Last-Modified of the resource is taken without a warning": [
        "test_http.RequestTests.test_lastModifiedAlreadyWritten"
    ],
    "a cookie's value has no space (RFC 6265, 4.1.1)": ["test_http.RequestTests.test_parseCookiesRetainRightSpace"],
    "a producer that is left is an error in the log, without a made-up traceback": [
        "test_http.RequestTests.test_finishProducerStillRegistered"
    ],
    "requests are told to the observers of a site, not to http.HTTPFactory": [
        "test_http.RequestTests.test_finishProducesLog"
    ],
}

#: What fails with Twisted's own parts, too.
OF_ROOT = ["test_static.StaticFileTests.test_forbiddenResource"] if os.geteuid() == 0 else []


def _names(*tables: dict[str, list[str]]) -> set[str]:
    return {name for table in tables for names in table.values() for name in names}


@pytest.mark.parametrize(
    ("suites", "least", "expected"),
    [
        (SUITES, 600, {*_names(EXPECTED), *OF_ROOT}),
        (
            ("test_http+request",),
            240,
            {name for name in _names(EXPECTED, EXPECTED_OF_REQUEST) if name.startswith("test_http.")},
        ),
    ],
    ids=["all", "request"],
)
def test_suites(tmp_path: Path, suites: tuple[str, ...], least: int, expected: set[str]) -> None:
    """Twisted's own suites pass with the engine's parts, but for what is listed; all that is listed fails."""
    if find_spec("hamcrest") is None:
        (pytest.fail if os.environ.get("MIXWEB_REQUIRE_ALL") else pytest.skip)("PyHamcrest is missing")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.engine.twisted_suites", *suites],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    failed = outcome["failed"]
    assert {name: reason for name, reason in failed.items() if name not in expected} == {}
    assert expected - failed.keys() == set()
    assert outcome["run"] > least


def test_documented() -> None:
    """Every reason stands in the documentation, word for word."""
    page = (ROOT / "docs/why/twisted-suites.md").read_text()
    assert [reason for reason in (*EXPECTED, *EXPECTED_OF_REQUEST) if f"\n- {reason}\n" not in page] == []
