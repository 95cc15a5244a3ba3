"""
The filter: words that a request must have, or must not have.

``status:4xx`` ``path:/api`` ``has:cookie`` ``-method:GET`` ``"two words"``: all of them must hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import translate
from operator import eq, ge, gt, le, lt
from typing import TypeAlias

from mixweb.features.inspect._decode import text_of, value_of
from mixweb.features.inspect._record import Record
from mixweb.features.inspect._show import lines, request_line
from mixweb.kit.secrets import Secrets

#: Whether a record is wanted.
Filter: TypeAlias = Callable[[Record], bool]

_WORD = re.compile(r'(-?)(?:([a-z]+):)?(?:"([^"]*)"|(\S+))')
_NUMBER = re.compile(r"(>=|<=|>|<|=|)([0-9]+(?:\.[0-9]+)?)\Z")
_STATUS = re.compile(r"[1-9x]{3}\Z")

_TEXTS: dict[str, Callable[[Record], str]] = {
    "host": lambda record: text_of(record.host),
    "method": lambda record: text_of(record.method),
    "client": lambda record: record.client,
    "session": lambda record: record.session,
    "user": lambda record: record.user,
    "module": lambda record: record.decided,
    "vhost": lambda record: record.vhost,
    "note": lambda record: record.note,
    "type": lambda record: text_of(value_of(record.answer, b"content-type")),
    "state": lambda record: record.state,
    "version": lambda record: text_of(record.wire),
}

_NUMBERS: dict[str, Callable[[Record], float | None]] = {
    "id": lambda record: record.id,
    "ms": lambda record: None if record.seconds is None else record.seconds * 1000,
    "size": lambda record: record.answer_body.size,
    "sent": lambda record: record.answer_body.size,
    "received": lambda record: record.body.size,
}

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {">=": ge, "<=": le, ">": gt, "<": lt, "=": eq, "": eq}

_OTHERS = ("body", "has", "header", "is", "path", "status")


def _has_field(name: bytes) -> Filter:
    return lambda record: any(own.lower() == name for own, _ in record.fields)


_THINGS: dict[str, Filter] = {
    "auth": _has_field(b"authorization"),
    "body": lambda record: record.body.size > 0,
    "cookie": _has_field(b"cookie"),
    "note": lambda record: bool(record.note),
    "origin": _has_field(b"origin"),
    "query": lambda record: b"?" in record.target,
    "referer": _has_field(b"referer"),
    "session": lambda record: bool(record.session),
    "tls": lambda record: record.secure,
    "user": lambda record: bool(record.user),
}

_STATES: dict[str, Filter] = {
    "pinned": lambda record: record.pinned,
    "replay": lambda record: record.replay_of is not None,
    "slow": lambda record: (record.seconds or 0) > 1,
    **{state: lambda record, state=state: record.state == state for state in ("open", "done", "left", "refused")},  # type: ignore[misc]
}


def compiled(text: str, secrets: Secrets) -> Filter:
    """
    What a filter stands for.

    :param secrets: what is hidden is not searched either.
    :raises ValueError: naming the word that makes no sense.
    """
    conditions = [_negated(_condition(found, secrets), bool(found[1])) for found in _WORD.finditer(text)]
    return lambda record: all(condition(record) for condition in conditions)


def _negated(condition: Filter, negated: bool) -> Filter:
    return (lambda record: not condition(record)) if negated else condition


def _condition(found: re.Match[str], secrets: Secrets) -> Filter:
    key, value = found[2], found[3] if found[3] is not None else found[4]
    if key == "path":
        return _path(value)
    if key == "status":
        return _status(value)
    if key == "header":
        return _header(value, secrets)
    if key == "body":
        needle = value.encode()
        return lambda record: needle in secrets.body(value_of(record.fields, b"content-type"), record.body.data)
    if key in ("has", "is"):
        return _one_of(key, value, _THINGS if key == "has" else _STATES)
    if key in _NUMBERS:
        return _number(key, value)
    if key in _TEXTS:
        return _text(_TEXTS[key], value)
    whole = _text_with_colon(found) if key else value
    return lambda record: whole.lower() in _searched(record, secrets).lower()


def _text_with_colon(found: re.Match[str]) -> str:
    """A word that only looks like ``key:value``, unless it is a key misspelt."""
    near = get_close_matches(found[2], [*_TEXTS, *_NUMBERS, *_OTHERS], 1, 0.75)
    if near:
        raise ValueError(f"there is no {found[2]}: here; did you mean {near[0]}:?")
    return found[0].removeprefix("-").replace('"', "")


def _one_of(key: str, value: str, known: dict[str, Filter]) -> Filter:
    if value not in known:
        raise ValueError(f"{key}:{value} is not known; there is {key}:{f', {key}:'.join(sorted(known))}")
    return known[value]


def _text(read: Callable[[Record], str], value: str) -> Filter:
    if not re.search(r"[*?\[]", value):
        return lambda record: value.lower() in read(record).lower()
    glob = re.compile(translate(value), re.IGNORECASE)
    return lambda record: glob.match(read(record)) is not None


def _path(value: str) -> Filter:
    def path(record: Record) -> str:
        return text_of(record.target.partition(b"?")[0])

    if re.search(r"[*?\[]", value):
        return _text(path, value)
    if value.startswith("/"):
        return lambda record: path(record).startswith(value)
    return lambda record: value in path(record)


def _status(value: str) -> Filter:
    if _STATUS.match(value):
        pattern = re.compile(value.replace("x", "[0-9]"))
        return lambda record: pattern.match(str(record.status)) is not None
    compare = _comparison(value)
    if compare is None:
        raise ValueError(f"status:{value} is no status; say status:404, status:4xx or status:>=500")
    return lambda record: record.status > 0 and compare(record.status)


def _number(key: str, value: str) -> Filter:
    compare, read = _comparison(value), _NUMBERS[key]
    if compare is None:
        raise ValueError(f"{key}:{value} is no number; say {key}:>100")

    def condition(record: Record) -> bool:
        number = read(record)
        return number is not None and compare(number)

    return condition


def _comparison(value: str) -> Callable[[float], bool] | None:
    found = _NUMBER.match(value)
    if found is None:
        return None
    compare, limit = _COMPARISONS[found[1]], float(found[2])
    return lambda number: compare(number, limit)


def _header(value: str, secrets: Secrets) -> Filter:
    name, _, wanted = value.partition("=")

    def condition(record: Record) -> bool:
        return any(
            own.lower() == name.lower() and wanted.lower() in shown.lower()
            for own, shown in (*lines(record.fields, secrets), *lines(record.answer, secrets))
        )

    return condition


def _searched(record: Record, secrets: Secrets) -> str:
    shown = [f"{name}: {value}" for name, value in lines(record.fields, secrets)]
    return "\n".join([request_line(record, secrets), *shown, record.note, str(record.status or ""), record.decided])
