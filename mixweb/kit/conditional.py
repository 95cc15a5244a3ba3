"""
Preconditions of RFC 9110, 13: which answer a request that knows an earlier state of a page gets.
"""

from __future__ import annotations

import re
from calendar import timegm
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from mixweb.kit.etags import tag_matches

_MONTHS = b"Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_DAYS = b"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAYS = b"(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_TIME = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"

#: The three forms of HTTP-date (RFC 9110, 5.6.7): IMF-fixdate, RFC 850, asctime.
_DATES = tuple(
    re.compile(form)
    for form in (
        _DAYS + rb", (?P<day>\d\d) (?P<month>" + _MONTHS + rb") (?P<year>\d{4}) " + _TIME + rb" GMT\Z",
        _LONG_DAYS + rb", (?P<day>\d\d)-(?P<month>" + _MONTHS + rb")-(?P<year>\d\d) " + _TIME + rb" GMT\Z",
        _DAYS + rb" (?P<month>" + _MONTHS + rb") (?P<day>[ \d]\d) " + _TIME + rb" (?P<year>\d{4})\Z",
    )
)
_LONGEST_DATE = len("Wednesday, 00-Jan-00 00:00:00 GMT")


@dataclass(frozen=True, slots=True)
class State:
    """
    What a file is now.

    :ivar etag: its entity tag as sent, quotes and weakness included; ``None`` for none.
    :ivar modified: seconds since the epoch; ``None`` when it is not told.
    """

    etag: bytes | None
    modified: int | None


@dataclass(frozen=True, slots=True)
class Conditions:
    """The values of the precondition fields of a request; ``None`` for those it has not."""

    if_match: bytes | None = None
    if_none_match: bytes | None = None
    if_modified_since: bytes | None = None
    if_unmodified_since: bytes | None = None


def evaluate(conditions: Conditions, state: State) -> int:
    """
    The status of the answer to a GET or HEAD with these preconditions: 200, 304 or 412.

    They count in the order of RFC 9110, 13.2.2: dates are not looked at where there are entity tags.
    """
    if conditions.if_match is not None:
        if not tag_matches(conditions.if_match, state.etag, strong=True):
            return 412
    elif conditions.if_unmodified_since is not None and _is_newer(state, conditions.if_unmodified_since) is True:
        return 412
    if conditions.if_none_match is not None:
        return 304 if tag_matches(conditions.if_none_match, state.etag) else 200
    if conditions.if_modified_since is not None and _is_newer(state, conditions.if_modified_since) is False:
        return 304
    return 200


def range_applies(if_range: bytes | None, state: State, now: float) -> bool:
    """
    Whether a Range is to be obeyed (RFC 9110, 13.1.5): without ``If-Range``, or when that is the file's very state.

    :param now: seconds since the epoch; a date is a strong validator only once its second is over.
    """
    if if_range is None:
        return True
    if b'"' in if_range:
        return state.etag is not None and if_range.strip() == state.etag and not state.etag.startswith(b"W/")
    date = parse_date(if_range)
    return date is not None and date == state.modified and now >= date + 1


def parse_date(value: bytes) -> int | None:
    """Seconds since the epoch of an HTTP-date in any of its three forms; ``None`` when it is none."""
    value = value.strip(b" \t")
    return _parse_date(value) if len(value) <= _LONGEST_DATE else None


@lru_cache(maxsize=256)
def _parse_date(value: bytes) -> int | None:
    found = next((match for match in (form.match(value) for form in _DATES) if match), None)
    if found is None:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        year = _full_year(year, datetime.now().year)
    month = _MONTHS.split(b"|").index(found["month"]) + 1
    try:
        moment = datetime(
            year, month, int(found["day"]), int(found["hour"]), int(found["minute"]), int(found["second"])
        )
    except ValueError:
        return None
    return timegm(moment.timetuple())


def _full_year(year: int, current: int) -> int:
    """A two-digit year that would be more than 50 years ahead is in the past (RFC 9110, 5.6.7)."""
    full = current - current % 100 + year
    return full - 100 if full > current + 50 else full


def _is_newer(state: State, date: bytes) -> bool | None:
    """Whether the file changed after a date; ``None`` when either is not known."""
    since = parse_date(date)
    return None if since is None or state.modified is None else state.modified > since
