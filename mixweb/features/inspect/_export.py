"""
Requests written out: as a command, a program, a HAR document, or as they came.
"""

from __future__ import annotations

import json
import shlex
from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TypeAlias

from mixweb import __version__
from mixweb.features.inspect._decode import Fields, body_text, cookies, is_text, pairs, text_of, value_of
from mixweb.features.inspect._record import Body, Record
from mixweb.features.inspect._show import lines, milliseconds, plain_body, request_line
from mixweb.kit.secrets import Secrets

Export: TypeAlias = Callable[[Record, Secrets], str]

#: Headers that every client makes itself.
_FRAMING = frozenset(["connection", "content-length", "host", "keep-alive", "transfer-encoding"])

#: Headers that curl and HTTPie add unless they are told not to.
_CURL_ADDS = ("User-Agent", "Accept")
_HTTPIE_ADDS = ("User-Agent", "Accept", "Accept-Encoding")


def url(record: Record, secrets: Secrets) -> str:
    """The URL that was asked for."""
    target = text_of(secrets.target(record.target))
    if not target.startswith("/"):
        return target
    return f"{'https' if record.secure else 'http'}://{text_of(record.host) or _local(record)}{target}"


def _local(record: Record) -> str:
    host = str(getattr(record.local, "host", "localhost"))
    return f"{f'[{host}]' if ':' in host else host}:{getattr(record.local, 'port', 80)}"


def _headers(record: Record, secrets: Secrets) -> list[tuple[str, str]]:
    return [(name, value) for name, value in lines(record.fields, secrets) if name.lower() not in _FRAMING]


def _missing(names: Iterable[str], headers: list[tuple[str, str]]) -> list[str]:
    there = {name.lower() for name, _ in headers}
    return [name for name in names if name.lower() not in there]


def _body(record: Record, secrets: Secrets) -> bytes:
    return secrets.body(value_of(record.fields, b"content-type"), record.body.data)


def _quoted(text: str) -> str:
    """A word of a POSIX shell; with a control character in it, of bash."""
    if text.isprintable() or all(character.isprintable() or character == "\n" for character in text):
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(c if c.isprintable() else _bash_escape(c) for c in escaped) + "'"


def _bash_escape(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _piped(body: bytes) -> str:
    """The beginning of a pipe that a body comes out of, byte for byte."""
    return f"printf %s {b64encode(body).decode('ascii')} | base64 -d | "


def curl(record: Record, secrets: Secrets) -> str:
    """A command line of curl."""
    headers, body = _headers(record, secrets), _body(record, secrets)
    words = ["curl", "--globoff", "--path-as-is"]
    method = text_of(record.method)
    if method == "HEAD":
        words.append("--head")
    elif method != ("POST" if body else "GET"):
        words += ["--request", method]
    words += ["--http1.0"] if record.wire == b"HTTP/1.0" else []
    words += _connect_to(record)
    for name, value in headers:
        words += ["--header", f"{name}: {value}" if value else f"{name};"]
    unwanted = [*_CURL_ADDS, *(["Content-Type"] if body else [])]
    for name in _missing(unwanted, headers):
        words += ["--header", f"{name}:"]
    before = ""
    if body and is_text(body) and body.isascii():
        words += ["--data-raw", body.decode("ascii")]
    elif body:
        before = _piped(body)
        words += ["--data-binary", "@-"]
    return before + " ".join(map(_quoted, [*words, url(record, secrets)])) + "\n"


def _connect_to(record: Record) -> list[str]:
    """What has a name lead here that may not be known elsewhere."""
    authority = record.authority
    if authority is None or authority.host in (b"localhost", b"127.0.0.1", b"::1"):
        return []
    return ["--connect-to", f"::{_local(record)}"] if hasattr(record.local, "port") else []


def httpie(record: Record, secrets: Secrets) -> str:
    """A command line of HTTPie."""
    headers, body = _headers(record, secrets), _body(record, secrets)
    words = ["http", "--path-as-is", *(() if body else ("--ignore-stdin",)), text_of(record.method)]
    words.append(url(record, secrets))
    words += [f"{name}:{value}" if value else f"{name};" for name, value in headers]
    words += [f"{name}:" for name in _missing(_HTTPIE_ADDS, headers)]
    return (_piped(body) if body else "") + " ".join(map(_quoted, words)) + "\n"


_PROGRAM = """\
from http.client import {connection}

connection = {connection}({host!r})
connection.putrequest({method!r}, {target!r}, skip_host=True, skip_accept_encoding=True)
{headers}connection.endheaders({body})
answer = connection.getresponse()
print(answer.status, answer.reason)
print(answer.headers)
print(answer.read())
"""


def python(record: Record, secrets: Secrets) -> str:
    """A program of Python's standard library."""
    body = _body(record, secrets)
    kept = [(name, value) for name, value in lines(record.fields, secrets) if name.lower() != "transfer-encoding"]
    if body and "content-length" not in {name.lower() for name, _ in kept}:
        kept.append(("Content-Length", str(len(body))))
    named = any(name.lower() == "host" for name, _ in kept)
    return _PROGRAM.format(
        connection="HTTPSConnection" if record.secure else "HTTPConnection",
        host=_local(record) if hasattr(record.local, "port") else text_of(record.host),
        method=text_of(record.method),
        target=text_of(secrets.target(record.target)),
        headers="".join(
            f"connection.putheader({name!r}, {value!r})\n"
            for name, value in [*(() if named else [("Host", text_of(record.host))]), *kept]
        ),
        body=repr(body) if body else "",
    )


def raw(record: Record, secrets: Secrets) -> str:
    """The request as it came, but for what is hidden; bytes that are no text are written ``\\xNN``."""
    head = [request_line(record, secrets), *(f"{name}: {value}" for name, value in lines(record.fields, secrets))]
    return "\r\n".join([*head, "", text_of(_body(record, secrets))]) if record.target else text_of(record.unread)


def har(records: Iterable[Record], secrets: Secrets) -> str:
    """A HAR 1.2 document of requests and their answers."""
    log = {
        "version": "1.2",
        "creator": {"name": "mixweb", "version": __version__.public()},
        "entries": [_entry(record, secrets) for record in records if record.target and record.seconds is not None],
    }
    return json.dumps({"log": log}, indent=1)


def _entry(record: Record, secrets: Secrets) -> dict[str, Any]:
    total, first = milliseconds(record.seconds) or 0, milliseconds(record.first or record.seconds) or 0
    return {
        "startedDateTime": datetime.fromtimestamp(record.time, UTC).isoformat(timespec="milliseconds"),
        "time": total,
        "request": _har_request(record, secrets),
        "response": _har_response(record, secrets),
        "cache": {},
        "timings": {"send": 0, "wait": min(first, total), "receive": max(0, total - first)},
        "serverIPAddress": str(getattr(record.local, "host", "")),
        "comment": record.note,
    }


def _har_request(record: Record, secrets: Secrets) -> dict[str, Any]:
    sent = [value for name, value in record.fields if name.lower() == b"cookie"]
    shown = cookies([secrets.field(b"cookie", line) for line in sent])
    found = {
        "method": text_of(record.method),
        "url": url(record, secrets),
        "httpVersion": text_of(record.wire),
        "cookies": _named(shown),
        "headers": _named(lines(record.fields, secrets)),
        "queryString": _named(pairs(secrets.target(record.target).partition(b"?")[2])),
        "headersSize": -1,
        "bodySize": record.body.size,
    }
    body = _body(record, secrets)
    if body:
        kind = value_of(record.fields, b"content-type")
        found["postData"] = {"mimeType": text_of(kind), "text": body_text(body, kind) or text_of(body)}
    return found


def _har_response(record: Record, secrets: Secrets) -> dict[str, Any]:
    return {
        "status": record.status if record.state != "left" else 0,
        "statusText": text_of(record.reason),
        "httpVersion": text_of(record.wire),
        "cookies": [],
        "headers": _named(lines(record.answer, secrets)),
        "content": _content(record.answer_body, record.answer, secrets),
        "redirectURL": text_of(secrets.target(value_of(record.answer, b"location"))),
        "headersSize": -1,
        "bodySize": record.answer_body.size,
    }


def _content(body: Body, fields: Fields, secrets: Secrets) -> dict[str, Any]:
    kind, plain = value_of(fields, b"content-type"), plain_body(body, fields, secrets)
    found: dict[str, Any] = {"size": body.size, "mimeType": text_of(kind)}
    text = body_text(plain, kind)
    if text is None:
        return found | {"text": b64encode(plain).decode("ascii"), "encoding": "base64"}
    return found | {"text": text}


def _named(fields: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in fields]


EXPORTS: dict[str, Export] = {
    "curl": curl,
    "httpie": httpie,
    "har": lambda record, secrets: har([record], secrets),
    "python": python,
    "raw": raw,
}
