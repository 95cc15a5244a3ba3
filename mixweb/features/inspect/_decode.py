"""
What is in a request besides its bytes: parameters, parts, cookies, tokens, and bodies without their coding.
"""

from __future__ import annotations

import json
import re
import zlib
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

Fields: TypeAlias = Sequence[tuple[bytes, bytes]]

#: How many parameters, cookies or parts are told of.
MOST = 200

#: How much of a part's content is told, in characters.
PART_TEXT = 2000

#: header.claims.signature, the first two of which begin with ``{"`` in base64url (RFC 7519).
_JWT = re.compile(rb"\beyJ[A-Za-z0-9_-]{2,8192}\.eyJ[A-Za-z0-9_-]{2,16384}\.[A-Za-z0-9_-]{0,2048}")


def text_of(value: bytes) -> str:
    """Bytes as text; what is not UTF-8 is written ``\\xNN``."""
    return value.decode("utf-8", "backslashreplace")


def value_of(fields: Fields, name: bytes) -> bytes:
    """
    The value of the first field of a name; empty without one.

    :param name: in lower case.
    """
    return next((value for own, value in fields if own.lower() == name), b"")


def pairs(query: bytes) -> list[tuple[str, str]]:
    """The parameters of a query or form, decoded, in their order."""
    found = []
    for pair in query.split(b"&")[:MOST]:
        if pair:
            name, _, value = pair.partition(b"=")
            found.append((_unquoted(name), _unquoted(value)))
    return found


def query_value(target: bytes, name: str) -> str:
    """The last value of a parameter in the query of a target; empty without one."""
    return dict(pairs(target.partition(b"?")[2])).get(name, "")


def _unquoted(value: bytes) -> str:
    return text_of(unquote_to_bytes(value.replace(b"+", b" ")))


def cookies(lines: Iterable[bytes]) -> list[tuple[str, str]]:
    """The cookies of ``Cookie`` lines, percent-decoded, in their order."""
    sent = [pair.strip() for line in lines for pair in line.split(b";")]
    found = [pair.partition(b"=") for pair in sent[:MOST] if pair]
    return [(text_of(name), text_of(unquote_to_bytes(value.strip(b'"')))) for name, _, value in found]


def tokens(values: Iterable[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """
    The JSON Web Tokens in some values, decoded and not verified.

    :param values: each with what tells where it stands.
    """
    found = []
    for where, value in values:
        for token in _JWT.findall(value)[:MOST]:
            header, claims, _ = token.split(b".")
            try:
                found.append({"where": where, "header": _json_part(header), "claims": _json_part(claims)})
            except (ValueError, RecursionError):
                continue
    return found


def _json_part(part: bytes) -> Any:
    return json.loads(urlsafe_b64decode(part + b"=" * (-len(part) % 4)))


def parts(declared: bytes, body: bytes) -> list[dict[str, Any]]:
    """
    The parts of a multipart body, as far as it is there and well-formed.

    :param declared: its ``Content-Type``.
    """
    kind, options = parse_options_header(declared.decode("latin-1"))
    if kind != "multipart/form-data" or not options.get("boundary"):
        return []
    found: list[dict[str, Any]] = []
    content = bytearray()
    parser = PushMultipartParser(options["boundary"], max_segment_count=MOST)
    try:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                found.append({"name": event.name, "filename": event.filename, "type": event.content_type})
                content = bytearray()
            elif event:
                content += event
            else:
                found[-1] |= _content(bytes(content))
    except MultipartError:
        pass
    if found and "size" not in found[-1]:
        found[-1] |= {**_content(bytes(content)), "truncated": True}
    return found


def _content(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "text": text_of(data)[:PART_TEXT] if is_text(data) else None}


def is_text(data: bytes) -> bool:
    """Whether a body is for people: UTF-8, but for a character that is cut off at its end, and no NUL."""
    if b"\0" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(data) - 3 and error.reason == "unexpected end of data"
    return True


def body_text(data: bytes, declared: bytes) -> str | None:
    """
    A body as text, or ``None`` when it is none.

    :param declared: its ``Content-Type``, whose charset is believed where it is known.
    """
    if is_text(data):
        return data.decode("utf-8", "ignore")
    found = re.search(rb'charset="?([A-Za-z0-9._-]{1,40})', declared, re.IGNORECASE)
    if found is not None:
        try:
            return data.decode(found[1].decode("ascii"), "backslashreplace")
        except (LookupError, UnicodeError):
            return None
    return None


def _inflate(data: bytes, most: int) -> bytes:
    return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(data, most)


def _brotli(data: bytes, most: int) -> bytes:
    import brotli

    return bytes(brotli.Decompressor().process(data, output_buffer_limit=most))[:most]


def _zstd(data: bytes, most: int) -> bytes:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from backports import zstd
    return bytes(zstd.ZstdDecompressor().decompress(data, most))


_CODINGS: dict[bytes, Callable[[bytes, int], bytes]] = {
    b"gzip": _inflate,
    b"x-gzip": _inflate,
    b"deflate": _inflate,
    b"br": _brotli,
    b"zstd": _zstd,
}


def decoded(data: bytes, coding: bytes, most: int) -> bytes | None:
    """
    The beginning of a body without its coding; ``None`` when that is not known, or the body is not what it says.

    :param coding: the value of ``Content-Encoding``.
    :param most: how much to make of it, in bytes.
    """
    decode = _CODINGS.get(coding.strip().lower())
    if decode is None:
        return None
    try:
        return decode(data, most)
    except Exception:  # each library has its own
        return None
