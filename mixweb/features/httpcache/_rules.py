"""
What a shared cache may do (RFC 9111): what it stores, for how long that is fresh, and when it may be used.

Only values go in and out: no request, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from mixweb.features.httpcache._directives import Directives, field_names, seconds
from mixweb.kit.conditional import parse_date

Fields = Mapping[bytes, Sequence[bytes]]

#: Statuses whose meaning is known here, as ``must-understand`` wants it (RFC 9111, 5.2.2.3).
UNDERSTOOD = frozenset([200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 421, 451, 501])

#: Statuses of answers that may be stored though they do not say for how long (RFC 9110, 15.1).
HEURISTIC = frozenset([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])

#: What a stale answer may be sent in the place of (RFC 5861, 4).
ERRORS = frozenset([500, 502, 503, 504])

#: Reasons not to store an answer that are no reasons not to use the one that is stored.
OF_THE_REQUEST = frozenset(["no-store-asked", "authorization"])

#: Methods that change nothing (RFC 9110, 9.2.1).
SAFE = frozenset([b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PROPFIND", b"REPORT", b"SEARCH", b"QUERY"])

#: What is not stored with an answer (RFC 9111, 3.1).
NOT_STORED = frozenset(
    b"age cache-status connection content-length keep-alive proxy-authenticate proxy-authentication-info"
    b" proxy-authorization proxy-connection set-cookie te trailer transfer-encoding upgrade".split()
)

#: What an answer 304 does not change of the stored one (RFC 9111, 3.2).
NOT_UPDATED = NOT_STORED | {b"content-encoding", b"content-range", b"content-type"}

#: What an answer 304 says of the stored one (RFC 9110, 15.4.5).
NOT_MODIFIED = frozenset(b"cache-control content-location date etag expires last-modified vary".split())


@dataclass(frozen=True)
class Policy:
    """
    What is decided by settings.

    :ivar default_ttl: seconds for which answers are fresh that do not say so; with 0 they are not stored.
    :ivar stale_while_revalidate: seconds for which answers that do not say so may be used stale meanwhile.
    :ivar stale_if_error: seconds for which they may be used stale in the place of an error.
    :ivar strip_cookies: whether answers that set cookies are stored without them.
    :ivar obey_requests: whether requests may ask for fresher answers than others get.
    """

    default_ttl: int = 0
    stale_while_revalidate: int = 0
    stale_if_error: int = 0
    strip_cookies: bool = False
    obey_requests: bool = True


@dataclass(frozen=True)
class Stored:
    """
    What of a stored answer decides about its use.

    :ivar directives: of its ``Cache-Control``.
    :ivar lifetime: seconds for which it is fresh.
    :ivar initial_age: seconds that it was old when it came.
    :ivar response_time: when that was, in seconds since the epoch.
    """

    directives: Directives
    lifetime: float
    initial_age: float
    response_time: float

    def age(self, now: float) -> float:
        """How old it is, in seconds (RFC 9111, 4.2.3)."""
        return self.initial_age + max(0.0, now - self.response_time)


def _first(fields: Fields, name: bytes) -> bytes | None:
    values = fields.get(name)
    return values[0] if values else None


def has_validator(fields: Fields) -> bool:
    """Whether an answer can be asked for again on condition that it has changed."""
    return b"etag" in fields or b"last-modified" in fields


def lifetime(status: int, directives: Directives, fields: Fields, response_time: float, policy: Policy) -> float:
    """
    For how many seconds an answer is fresh (RFC 9111, 4.2.1 and 4.2.2).

    :param fields: by name in lower case.
    :param response_time: when it came, in seconds since the epoch.
    """
    for name in (b"s-maxage", b"max-age"):
        found = seconds(directives, name)
        if found is not None:
            return found
    expires = _first(fields, b"expires")
    if expires is not None:
        end, begin = parse_date(expires), parse_date(_first(fields, b"date") or b"")
        return 0 if end is None else max(0.0, end - (response_time if begin is None else begin))
    return policy.default_ttl if status in HEURISTIC else 0


def initial_age(fields: Fields, request_time: float, response_time: float) -> float:
    """How old an answer is when it comes (RFC 9111, 4.2.3)."""
    date = parse_date(_first(fields, b"date") or b"")
    apparent = 0.0 if date is None else max(0.0, response_time - date)
    told = (_first(fields, b"age") or b"").strip()
    value = int(told) if told.isdigit() and len(told) < 11 else 0
    return max(apparent, value + response_time - request_time)


def is_for_all(directives: Directives) -> bool:
    """Whether an answer to a request in somebody's name may be used for others (RFC 9111, 3.5)."""
    return not directives.keys().isdisjoint((b"must-revalidate", b"public", b"s-maxage"))


def why_not_stored(
    method: bytes,
    asked: Directives,
    authorized: bool,
    status: int,
    directives: Directives,
    fields: Fields,
    policy: Policy,
    fresh_for: float,
) -> str:
    """
    Why an answer may not be stored (RFC 9111, 3); empty when it may.

    :param asked: the directives of the request.
    :param authorized: whether the request was made in somebody's name.
    :param fresh_for: its :func:`lifetime`.
    """
    if method != b"GET" or status < 200 or status in (206, 304) or b"content-range" in fields:
        return "not-understood"
    if b"must-understand" in directives:
        if status not in UNDERSTOOD:
            return "not-understood"
    elif b"no-store" in directives:
        return "no-store"
    if b"no-store" in asked:
        return "no-store-asked"
    if b"private" in directives:
        return "private"
    if authorized and not is_for_all(directives):
        return "authorization"
    if b"set-cookie" in fields and not policy.strip_cookies:
        return "set-cookie"
    if field_names(fields.get(b"vary", ())) == (b"*",):
        return "vary"
    told = b"expires" in fields or not directives.keys().isdisjoint((b"public", b"max-age", b"s-maxage"))
    if not told and not (status in HEURISTIC and (policy.default_ttl or b"no-cache" in directives)):
        return "no-lifetime"
    # Without a lifetime it is of use only if it can be validated.
    return "" if fresh_for > 0 or has_validator(fields) else "no-lifetime"


class Use(Enum):
    """What becomes of a stored answer."""

    FRESH = "it is used"
    STALE = "it is used although it is stale"
    MEANWHILE = "it is used, and validated meanwhile"
    VALIDATE = "it is used when the server says that it still holds"


def is_strict(directives: Directives) -> bool:
    """Whether an answer must not be used stale, whatever happens (RFC 9111, 4.2.4)."""
    return not directives.keys().isdisjoint((b"must-revalidate", b"proxy-revalidate", b"no-cache"))


def use(stored: Stored, asked: Directives, now: float, policy: Policy) -> Use:
    """
    Whether a stored answer may be used (RFC 9111, 4 and 5.2.1).

    :param asked: the directives of the request.
    """
    if not policy.obey_requests:
        asked = {}
    age = stored.age(now)
    if b"no-cache" in stored.directives or b"no-cache" in asked:
        return Use.VALIDATE
    wanted = seconds(asked, b"max-age")
    if wanted is not None and age > wanted:
        return Use.VALIDATE
    if age + (seconds(asked, b"min-fresh") or 0) < stored.lifetime:
        return Use.FRESH
    staleness = age - stored.lifetime
    if staleness < 0 or is_strict(stored.directives):
        return Use.VALIDATE
    if _allows_stale(asked, staleness) and b"s-maxage" not in stored.directives:
        return Use.STALE
    allowed = _extension(stored, b"stale-while-revalidate", policy.stale_while_revalidate)
    return Use.MEANWHILE if allowed and staleness <= allowed else Use.VALIDATE


def _allows_stale(asked: Directives, staleness: float) -> bool:
    """Whether a request takes an answer that is so stale (RFC 9111, 5.2.1.2)."""
    if b"max-stale" not in asked:
        return False
    return asked[b"max-stale"] is None or staleness <= (seconds(asked, b"max-stale") or 0)


def _extension(stored: Stored, name: bytes, default: int) -> int:
    """
    The seconds of a directive of RFC 5861.

    What says it itself means it, though ``s-maxage`` alone would forbid stale use (RFC 9111, 5.2.2.10).
    """
    told = seconds(stored.directives, name)
    if told is not None:
        return told
    return 0 if b"s-maxage" in stored.directives else default


def use_on_error(stored: Stored, asked: Directives, now: float, policy: Policy) -> bool:
    """Whether a stored answer may be used in the place of an error (RFC 5861, 4)."""
    if is_strict(stored.directives):
        return False
    told = seconds(asked, b"stale-if-error") if policy.obey_requests else None
    allowed = max(told or 0, _extension(stored, b"stale-if-error", policy.stale_if_error))
    return stored.age(now) - stored.lifetime <= allowed if allowed else False


def normal(name: bytes, values: Sequence[bytes] | None) -> bytes | None:
    """
    The value of a request field, so that two that mean the same are the same (RFC 9111, 4.1).

    :param name: in lower case.
    """
    if values is None:
        return None
    members = [b" ".join(member.split()) for member in b",".join(values).split(b",")]
    if name.startswith(b"accept"):
        members = sorted(b"".join(member.lower().split()) for member in members if member)
    return b",".join(members)


def vary_key(names: Sequence[bytes], values: Callable[[bytes], Sequence[bytes] | None]) -> tuple[bytes | None, ...]:
    """
    What an answer varies by, of one request.

    :param names: of the fields, in lower case.
    :param values: gives the lines of a field of the request, or ``None``.
    """
    return tuple(normal(name, values(name)) for name in names)


def updated(
    fields: Sequence[tuple[bytes, Sequence[bytes]]], news: Sequence[tuple[bytes, Sequence[bytes]]]
) -> list[tuple[bytes, Sequence[bytes]]]:
    """
    The fields of a stored answer after an answer 304 (RFC 9111, 3.2).

    :param fields: of the stored one; ``news`` those of the other.
    """
    changed = {name.lower(): (name, values) for name, values in fields}
    for name, values in news:
        if name.lower() not in NOT_UPDATED:
            changed[name.lower()] = (name, values)
    return list(changed.values())


def same_validator(fields: Fields, news: Fields) -> bool:
    """Whether an answer 304 is about the stored answer (RFC 9111, 4.3.4): it names no other state of the page."""
    tag, new_tag = _first(fields, b"etag"), _first(news, b"etag")
    if tag is not None and new_tag is not None:
        return tag.removeprefix(b"W/") == new_tag.removeprefix(b"W/")
    return True


def shared_origin(origin: tuple[bool, bytes], location: bytes) -> bytes | None:
    """
    The target of a URL in an answer, if it is of the same origin as the request (RFC 9111, 4.4).

    :param origin: whether the request was secure, and its authority in lower case.
    """
    if location.startswith(b"/") and not location.startswith(b"//"):
        return location.partition(b"#")[0]
    scheme = b"https:" if origin[0] else b"http:"
    rest = location[len(scheme) :] if location[: len(scheme)].lower() == scheme else location
    if not rest.startswith(b"//"):
        return None
    authority, slash, path = rest[2:].partition(b"/")
    return (slash + path).partition(b"#")[0] if slash and authority.lower() == origin[1] else None
