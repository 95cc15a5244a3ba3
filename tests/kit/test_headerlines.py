"""
Header lines in settings.
"""

import pytest

from mixweb.kit.headerlines import check_name, header_lines


def test_lines():
    """Lines are names and values; blanks around them do not count, a value may be empty or have colons."""
    assert header_lines("add", ["X-A: b", "X-B:c: d ", "X-C:"]) == [(b"X-A", b"b"), (b"X-B", b"c: d"), (b"X-C", b"")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("X-A", "add: 'X-A' is not a header line; expected 'Name: value'"),
        (": x", "add: ': x' is not a header line"),
        ("X A: b", "add: 'X A: b' is not a header line"),
        ("X-A: b\r\nX-B: c", "add: the value of header 'X-A' has control characters"),
        ("Content-Length: 5", "add: Content-Length cannot be changed"),
        ("transfer-encoding: chunked", "add: transfer-encoding cannot be changed"),
        ("CONNECTION: close", "add: CONNECTION cannot be changed"),
    ],
)
def test_refused(line, said):
    """A malformed line, and one that frames the message, is an error that names the setting."""
    with pytest.raises(ValueError, match="add: ") as caught:
        header_lines("add", [line])
    assert str(caught.value).startswith(said)


def test_further_names():
    """Further names can be refused."""
    check_name("request_set", "Host")
    with pytest.raises(ValueError, match="Host"):
        check_name("request_set", "Host", [b"host"])
