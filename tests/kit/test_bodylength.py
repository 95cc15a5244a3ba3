"""
Answers held to the length they declare.
"""

import pytest
from twisted.web.resource import Resource

from mixweb.kit.bodylength import BodyLength, declared_length
from mixweb.testing import SiteAgent


@pytest.mark.parametrize(("values", "length"), [(None, None), ([], None), ([b"0"], 0), ([b"12"], 12), ([b"007"], 7)])
def test_declared(values, length):
    """A length is one number, or none is declared."""
    assert declared_length(values) == length


@pytest.mark.parametrize("values", [[b""], [b"-1"], [b"+1"], [b"1_0"], [b"\xb2"], [b"1", b"1"], [b"1" * 19], [b"1, 1"]])
def test_wrong(values):
    """Anything else is an error."""
    with pytest.raises(ValueError, match="must be one number"):
        declared_length(values)


@pytest.mark.parametrize(
    ("method", "code", "declared", "pieces", "kept", "left"),
    [
        ("GET", 200, b"5", [b"abc", b"def"], b"abcde", 0),
        ("GET", 200, b"5", [b"abc"], b"abc", 2),
        ("GET", 200, b"0", [b"abc"], b"", 0),
        ("GET", 200, None, [b"abc", b"def"], b"abcdef", None),
        ("HEAD", 200, b"5", [], b"", None),
        ("GET", 304, b"5", [], b"", None),
    ],
)
def test_cut(method, code, declared, pieces, kept, left):
    """What is longer is cut off, what is missing is known; an answer that has no body is not counted."""
    found = []

    class Page(Resource):
        isLeaf = True

        def render(self, request):
            request.setResponseCode(code)
            if declared is not None:
                request.setHeader(b"Content-Length", declared)
            body = BodyLength(request)
            found.append((b"".join([body.cut(piece) for piece in pieces]), body.left))
            request.responseHeaders.removeHeader(b"Content-Length")
            return b""

    SiteAgent(Page()).request(method, "/")
    assert found == [(kept, left)]
