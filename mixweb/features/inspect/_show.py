"""
Records as plain values, with what is secret hidden.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from itertools import zip_longest
from time import monotonic
from typing import Any

from mixweb.feature import Asked
from mixweb.features.inspect._decode import (
    Fields,
    body_text,
    cookies,
    decoded,
    pairs,
    parts,
    text_of,
    tokens,
    value_of,
)
from mixweb.features.inspect._record import Body, Record
from mixweb.kit.rules import path_text, quote_path
from mixweb.kit.secrets import HIDDEN, Secrets
from mixweb.route import Fields as HeadFields
from mixweb.route import Step, TableStation

#: How much is made of a body that comes with a coding, in bytes.
DECODED_BYTES = 256 * 1024

Json = dict[str, Any]

_FORM = b"application/x-www-form-urlencoded"
_HIDDEN = HIDDEN.decode("ascii")


def milliseconds(seconds: float | None) -> float | None:
    """A duration in milliseconds, with three digits."""
    return None if seconds is None else round(seconds * 1000, 3)


def summary(record: Record, secrets: Secrets) -> Json:
    """A record in one line."""
    return {
        "id": record.id,
        "process": os.getpid(),
        "version": record.version,
        "time": round(record.time, 3),
        "method": text_of(record.method),
        "host": text_of(record.host),
        "target": text_of(secrets.target(record.target)),
        "status": record.status if record.state != "open" or record.first is not None else None,
        "state": record.state,
        "received": record.body.size,
        "sent": record.answer_body.size,
        "ms": milliseconds(record.seconds),
        "client": record.client,
        "session": record.session,
        "user": record.user,
        "vhost": record.vhost,
        "module": record.decided,
        "type": text_of(value_of(record.answer, b"content-type")),
        "secure": record.secure,
        "pinned": record.pinned,
        "note": record.note,
        "replay_of": record.replay_of,
    }


def detail(record: Record, secrets: Secrets) -> Json:
    """All of a record but what its bodies hold beyond the text of their beginning."""
    return {
        **summary(record, secrets),
        "request": request(record, secrets),
        "route": route(record, secrets),
        "response": response(record, secrets),
        "timing": timing(record),
        "masked": secrets.hides,
    }


def request_line(record: Record, secrets: Secrets) -> str:
    """The request line as it came."""
    if not record.target:
        return ""
    return text_of(b"%b %b %b" % (record.method, secrets.target(record.target), record.wire))


def lines(fields: Fields, secrets: Secrets) -> list[tuple[str, str]]:
    """Header lines, in their order and case."""
    return [(text_of(name), text_of(secrets.field(name, value))) for name, value in fields]


def request(record: Record, secrets: Secrets) -> Json:
    """What came."""
    fields = record.fields
    declared = value_of(fields, b"content-type")
    sent_cookies = [value for name, value in fields if name.lower() == b"cookie"]
    query = record.target.partition(b"?")[2]
    return {
        "line": request_line(record, secrets),
        "lines": lines(fields, secrets),
        "exact": record.exact,
        "unread": text_of(record.unread) if record.unread else None,
        "canonical": canonical(record),
        "raw": None if record.path is None or record.path.raw is None else text_of(secrets.target(record.path.raw)),
        "version": text_of(record.wire),
        "tls": None if record.tls is None else asdict(record.tls),
        "peer": record.address,
        "query": _shown_pairs(query, secrets),
        "cookies": [(name, _HIDDEN if secrets.hides else value) for name, value in cookies(sent_cookies)],
        "tokens": tokens(
            [*((text_of(name), value) for name, value in fields), ("the target", record.target)],
        ),
        **_form(record, declared, secrets),
        "body": body(record.body, fields, secrets),
    }


def canonical(record: Record) -> str | None:
    """The canonical path that was answered, percent-encoded where it has what may not stand in a URL."""
    if record.path is None:
        return None
    return quote_path(path_text(record.path.segments))


def _form(record: Record, declared: bytes, secrets: Secrets) -> Json:
    kind = declared.partition(b";")[0].strip().lower()
    form = _shown_pairs(record.body.data, secrets) if kind == _FORM else []
    found = parts(declared, record.body.data) if kind.startswith(b"multipart/") else []
    for part in found:
        if secrets.is_secret(str(part["name"]).encode()):
            part["text"] = _HIDDEN
    return {"form": form, "parts": found}


def _shown_pairs(query: bytes, secrets: Secrets) -> list[tuple[str, str]]:
    return [(name, _HIDDEN if secrets.is_secret(name.encode()) else value) for name, value in pairs(query)]


def body(found: Body, fields: Fields, secrets: Secrets) -> Json:
    """A body: its sizes, and the beginning of it as text where it is text."""
    declared = value_of(fields, b"content-type")
    coding = value_of(fields, b"content-encoding")
    plain = plain_body(found, fields, secrets)
    coded = coding not in (b"", b"identity")
    return {
        "size": found.size,
        "kept": found.kept,
        "type": text_of(declared),
        "coding": text_of(coding),
        "decoded": len(plain) if coded else None,
        "text": body_text(plain, declared),
    }


def plain_body(found: Body, fields: Fields, secrets: Secrets) -> bytes:
    """What is kept of a body, without its coding where that is known, and without secrets."""
    coding = value_of(fields, b"content-encoding")
    plain = decoded(found.data, coding, DECODED_BYTES) if coding else None
    return secrets.body(value_of(fields, b"content-type"), found.data if plain is None else plain)


def response(record: Record, secrets: Secrets) -> Json:
    """What was answered."""
    authors = _authors(record.steps)
    return {
        "line": f"{text_of(record.wire)} {record.status} {text_of(record.reason)}"
        if record.first or record.answer
        else "",
        "lines": [
            (text_of(name), text_of(secrets.field(name, value)), authors.get(name, "server"))
            for name, value in record.answer
        ],
        "body": body(record.answer_body, record.answer, secrets),
    }


def timing(record: Record) -> Json:
    """When what was done, in milliseconds from the beginning."""
    seconds = monotonic() - record.began if record.seconds is None else record.seconds
    return {
        "routed": milliseconds(record.steps[0].entered - record.began) if record.steps else None,
        "first": milliseconds(record.first),
        "total": milliseconds(seconds),
    }


def route(record: Record, secrets: Secrets) -> list[Json]:
    """What each part did, in the words of ``mixweb show`` as far as those came true."""
    authority, steps = record.authority, record.steps
    rows, table = [], None
    for step, after in zip_longest(steps, steps[1:]):
        row = step.station.row(Asked(record.method, step.target, step.path, authority, record.secure))
        end = step.passed if after is None else after.entered
        target = None if after is None or after.target == step.target else after.target
        told = {
            **asdict(row),
            "verdict": _verdict(row.verdict, step, target is not None, is_last=after is None),
            "target": None if target is None else text_of(secrets.target(target)),
            "ms": None if end is None else milliseconds(max(0.0, end - step.entered)),
        }
        if isinstance(step.station, TableStation):
            table = told
        else:
            rows.append(told)
    return rows if table is None or record.decided or not record.status else [*rows, table]


def _verdict(expected: str, step: Step, moved: bool, is_last: bool) -> str:
    if step.declined:
        return "declines"
    if moved:
        return "rewrites"
    if is_last and step.station.answers and expected != "skips":
        return "answers"
    return "passes" if expected in ("answers", "rewrites") else expected


def _authors(steps: Sequence[Step]) -> dict[bytes, str]:
    """Which part set each header line last."""
    found: dict[bytes, str] = {}
    for index, step in enumerate(steps):
        after = steps[index + 1].before if index + 1 < len(steps) else step.after
        found |= _changed(step, step.before, after)
    for index in range(len(steps) - 2, -1, -1):
        found |= _changed(steps[index], steps[index + 1].after, steps[index].after)
    return found


def _changed(step: Step, before: HeadFields | None, after: HeadFields | None) -> dict[bytes, str]:
    if before is None or after is None:
        return {}
    return {name: str(step.station.name) for name, values in after.items() if before.get(name) != values}
