"""
The request shown back.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

from multipart import MultipartError, MultipartParser, parse_options_header

from mixweb.engine.errors import HTTPError
from mixweb.features.lab._call import ANY, MAX_FIELDS, Call, Endpoint, header_text
from mixweb.interfaces import IClientAddress

#: What is shown of a request that has no body.
BODILESS = ("args", "headers", "origin", "url")

#: What is shown of one that has.
WITH_BODY = (*BODILESS, "data", "files", "form", "json")


def described(call: Call, *names: str) -> dict[str, Any]:
    """
    What a request is.

    :param names: the keys to tell.
    """
    request = call.request
    found: dict[str, Any] = {
        "args": flattened((name, value) for name, values in call.query.items() for value in values),
        "headers": headers(call),
        "method": request.method.decode("ascii"),
        "origin": origin(call),
        "url": url(call),
    }
    if "form" in names:
        found |= body_parts(call.header(b"Content-Type"), body(call))
    return {name: found[name] for name in names}


def headers(call: Call) -> dict[str, str]:
    """The headers of the request; several of one name are joined."""
    return {
        name.decode("ascii"): ",".join(map(header_text, values))
        for name, values in call.request.requestHeaders.getAllRawHeaders()
    }


def origin(call: Call) -> str:
    """The address of the client."""
    known = IClientAddress(call.request, None)
    return str(known.host if known is not None else getattr(call.request.client, "host", ""))


def url(call: Call) -> str:
    """The whole address that was asked for."""
    return site(call) + call.request.target.decode("ascii", "replace")


def site(call: Call) -> str:
    """The scheme and host that were asked for."""
    host = call.header(b"Host") or call.request.getRequestHostname()
    return f"{'https' if call.request.isSecure() else 'http'}://{host.decode('ascii', 'replace')}"


def body(call: Call) -> bytes:
    """
    The body of the request.

    :raises HTTPError: 413 when it is longer than is shown.
    """
    content, most = call.request.content, call.settings.max_body_bytes
    content.seek(0)
    found = content.read(most + 1)
    if len(found) > most:
        raise HTTPError(413, f"The body is longer than {most} bytes, the setting max_body_bytes.")
    return found


def body_parts(content_type: bytes, data: bytes) -> dict[str, Any]:
    """What is in a body: ``data``, ``files``, ``form`` and ``json``."""
    kind, options = parse_options_header(header_text(content_type))
    if kind == "application/x-www-form-urlencoded":
        return {"data": "", "files": {}, "form": urlencoded(data), "json": None}
    if kind == "multipart/form-data":
        form, files = multipart(data, options.get("boundary", ""))
        return {"data": "", "files": files, "form": form, "json": None}
    return {"data": shown(data), "files": {}, "form": {}, "json": parsed(data)}


def urlencoded(data: bytes) -> dict[str, Any]:
    """The fields of a form."""
    try:
        text = data.decode("utf-8", "replace")
        return flattened(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace"))
    except ValueError:
        raise HTTPError(400, f"The form has more than {MAX_FIELDS} fields.") from None


def multipart(data: bytes, boundary: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields and the files of a multipart form."""
    form: list[tuple[str, str]] = []
    files: list[tuple[str, str]] = []
    most = len(data) + 1
    try:
        parser = MultipartParser(
            BytesIO(data), boundary, len(data), part_limit=MAX_FIELDS, spool_limit=most, memory_limit=most
        )
        for part in parser:
            if part.filename is None:
                form.append((part.name, part.raw.decode("utf-8", "replace")))
            else:
                files.append((part.name, shown(part.raw, part.content_type)))
    except MultipartError as reason:
        raise HTTPError(400, f"The multipart body is malformed: {reason}.") from None
    return flattened(form), flattened(files)


def shown(data: bytes, media_type: str = "application/octet-stream") -> str:
    """Bytes as text; as a data URL where they are not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"data:{media_type};base64,{b64encode(data).decode('ascii')}"


def parsed(data: bytes) -> Any:
    """What a JSON body means; ``None`` when it is none."""
    try:
        found = json.loads(data, parse_constant=_refuse)
        json.dumps([[[[[found]]]]], allow_nan=False)  # infinities, and what would be too deep inside the answer
    except (ValueError, RecursionError):
        return None
    return found


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def flattened(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The value of each name; a list where it comes several times."""
    table: dict[str, list[str]] = {}
    for name, value in pairs:
        table.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in table.items()}


def bodiless(call: Call) -> bytes:
    return call.json(described(call, *BODILESS))


def with_body(call: Call) -> bytes:
    return call.json(described(call, *WITH_BODY))


def anything(call: Call) -> bytes:
    return call.json(described(call, *WITH_BODY, "method"))


def only_headers(call: Call) -> bytes:
    return call.json({"headers": headers(call)})


def address(call: Call) -> bytes:
    return call.json({"origin": origin(call)})


def user_agent(call: Call) -> bytes:
    return call.json({"user-agent": header_text(call.header(b"User-Agent")) or None})


ENDPOINTS = [
    Endpoint("/get", bodiless, "the request: arguments, headers, address"),
    Endpoint("/post", with_body, "the request with its body: data, form, files, json", (b"POST",)),
    Endpoint("/put", with_body, "the same", (b"PUT",)),
    Endpoint("/patch", with_body, "the same", (b"PATCH",)),
    Endpoint("/delete", with_body, "the same", (b"DELETE",)),
    Endpoint("/anything", anything, "the same with the method, for all of them", ANY),
    Endpoint("/anything/{path...}", anything, "the same, below any path", ANY),
    Endpoint("/headers", only_headers, "the headers of the request"),
    Endpoint("/ip", address, "the address of the client"),
    Endpoint("/user-agent", user_agent, "the User-Agent of the request"),
]
