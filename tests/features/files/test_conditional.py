"""
Preconditions: RFC 9110, 13.
"""

import pytest

from mixweb.kit.conditional import Conditions, State, evaluate, parse_date, range_applies

NOW = b"Sun, 06 Nov 1994 08:49:37 GMT"
STAMP = 784111777
BEFORE = b"Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = b"Sun, 06 Nov 1994 08:49:38 GMT"
STRONG = State(b'"tag"', STAMP)
WEAK = State(b'W/"tag"', STAMP)
BARE = State(None, STAMP)
NOTHING = State(None, None)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (NOW, STAMP),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", STAMP),
        (b"Sun Nov  6 08:49:37 1994", STAMP),
        (b" " + NOW + b"\t", STAMP),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (b"Tue, 29 Feb 2000 00:00:00 GMT", 951782400),
        (b"Fri, 31 Dec 2060 23:59:59 GMT", 2871763199),
        (b"Sun, 29 Feb 1999 00:00:00 GMT", None),
        (b"Sun, 06 Nov 1994 24:00:00 GMT", None),
        (b"Sun, 06 Nov 1994 08:49:37 UTC", None),
        (b"Sun, 06 Nov 1994 08:49:37", None),
        (b"Sun, 6 Nov 1994 08:49:37 GMT", None),
        (b"Mon, 99 Foo 2030 00:00:00 GMT", None),
        (b"sun, 06 nov 1994 08:49:37 gmt", None),
        (b"9" * 40, None),
        (b"", None),
        (b"Sun, 06 Nov 0000 08:49:37 GMT", None),
    ],
)
def test_parse_date(value, seconds):
    """The three forms of a date are read, and nothing else."""
    assert parse_date(value) == seconds


def test_two_digits_are_never_far_ahead():
    """A two-digit year more than 50 years ahead is one of the past."""
    dates = [parse_date(b"Monday, 01-Jan-%02d 00:00:00 GMT" % year) for year in range(100)]
    assert max(dates) - min(dates) < 100 * 366 * 86400
    assert len(set(dates)) == 100


@pytest.mark.parametrize(
    ("state", "value", "status"),
    [
        (STRONG, b'"tag"', 200),
        (STRONG, b'"other", "tag"', 200),
        (STRONG, b"*", 200),
        (NOTHING, b" * ", 200),
        (STRONG, b'"other"', 412),
        (STRONG, b'W/"tag"', 412),
        (WEAK, b'W/"tag"', 412),
        (WEAK, b'"tag"', 412),
        (BARE, b'"tag"', 412),
        (STRONG, b"tag", 412),
        (STRONG, b"", 412),
    ],
)
def test_if_match(state, value, status):
    """If-Match compares strongly; what is no entity tag matches nothing."""
    assert evaluate(Conditions(if_match=value), state) == status


@pytest.mark.parametrize(
    ("state", "value", "status"),
    [
        (STRONG, b'"tag"', 304),
        (STRONG, b'W/"tag"', 304),
        (WEAK, b'"tag"', 304),
        (WEAK, b'W/"tag"', 304),
        (STRONG, b'"x, y", W/"tag" , "z"', 304),
        (STRONG, b'"a b","tag"', 304),
        (STRONG, b'"a","b"', 200),
        (STRONG, b"*", 304),
        (BARE, b"*", 304),
        (BARE, b'"tag"', 200),
        (STRONG, b"tag", 200),
        (STRONG, b'"TAG"', 200),
        (STRONG, b'"ta', 200),
    ],
)
def test_if_none_match(state, value, status):
    """If-None-Match compares weakly, over the whole list."""
    assert evaluate(Conditions(if_none_match=value), state) == status


@pytest.mark.parametrize(
    ("field", "value", "state", "status"),
    [
        ("if_modified_since", NOW, STRONG, 304),
        ("if_modified_since", AFTER, STRONG, 304),
        ("if_modified_since", BEFORE, STRONG, 200),
        ("if_modified_since", b"junk", STRONG, 200),
        ("if_modified_since", NOW, NOTHING, 200),
        ("if_unmodified_since", NOW, STRONG, 200),
        ("if_unmodified_since", AFTER, STRONG, 200),
        ("if_unmodified_since", BEFORE, STRONG, 412),
        ("if_unmodified_since", b"junk", STRONG, 200),
        ("if_unmodified_since", BEFORE, NOTHING, 200),
    ],
)
def test_dates(field, value, state, status):
    """Dates are compared by the second; one that cannot be read does not count."""
    assert evaluate(Conditions(**{field: value}), state) == status


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        (Conditions(), 200),
        (Conditions(if_match=b'"tag"', if_unmodified_since=BEFORE), 200),
        (Conditions(if_match=b'"no"', if_unmodified_since=AFTER), 412),
        (Conditions(if_none_match=b'"no"', if_modified_since=AFTER), 200),
        (Conditions(if_none_match=b'"tag"', if_modified_since=BEFORE), 304),
        (Conditions(if_match=b'"no"', if_none_match=b'"tag"'), 412),
        (Conditions(if_match=b'"tag"', if_none_match=b'"tag"'), 304),
        (Conditions(if_unmodified_since=BEFORE, if_none_match=b'"tag"'), 412),
        (Conditions(if_unmodified_since=AFTER, if_none_match=b'"tag"'), 304),
        (Conditions(if_unmodified_since=AFTER, if_modified_since=AFTER), 304),
        (Conditions(b'"tag"', b'"no"', AFTER, BEFORE), 200),
    ],
)
def test_precedence(conditions, status):
    """Entity tags come before dates, and what must hold before what must not (RFC 9110, 13.2.2)."""
    assert evaluate(conditions, STRONG) == status


@pytest.mark.parametrize(
    ("value", "state", "now", "applies"),
    [
        (None, NOTHING, STAMP, True),
        (b'"tag"', STRONG, STAMP, True),
        (b' "tag" ', STRONG, STAMP, True),
        (b'"nope"', STRONG, STAMP, False),
        (b'W/"tag"', STRONG, STAMP, False),
        (b'W/"tag"', WEAK, STAMP, False),
        (b'"tag"', WEAK, STAMP, False),
        (b'"tag", "other"', STRONG, STAMP, False),
        (b'"tag"', BARE, STAMP, False),
        (NOW, STRONG, STAMP + 1, True),
        (NOW, STRONG, STAMP, False),
        (AFTER, STRONG, STAMP + 9, False),
        (BEFORE, STRONG, STAMP + 9, False),
        (NOW, NOTHING, STAMP + 9, False),
        (b"junk", STRONG, STAMP + 9, False),
        (b"*", STRONG, STAMP + 9, False),
    ],
)
def test_if_range(value, state, now, applies):
    """If-Range wants the strong validator of this very state (RFC 9110, 13.1.5)."""
    assert range_applies(value, state, now) is applies
