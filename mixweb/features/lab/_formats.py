"""
Answers of fixed content: documents of several types, images, content codings.
"""

from __future__ import annotations

import gzip
import struct
import sys
import zlib
from collections.abc import Callable
from functools import cache

import brotli

from mixweb.engine.errors import HTTPError
from mixweb.engine.fields import preferred_type
from mixweb.features.lab._call import Call, Endpoint, json_text
from mixweb.features.lab._inspect import described

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_HTML = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>A page</title></head>
<body>
<h1>The lamplighter</h1>
<p>Every evening he walked the length of the quay with his pole, and every evening the harbour came to light behind him,
one lamp after the other, until the last one stood against the open sea. He looked back then, never long, and walked home
in the dark between them.</p>
</body>
</html>
"""

_SLIDES = {
    "slideshow": {
        "title": "Sample slide show",
        "author": "A. N. Author",
        "date": "today",
        "slides": [
            {"type": "all", "title": "What a slide may have"},
            {"type": "all", "title": "Overview", "items": ["A <em>title</em>", "Items, or none"]},
        ],
    }
}

_XML = """\
<?xml version="1.0" encoding="utf-8"?>
<slideshow title="Sample slide show" author="A. N. Author" date="today">
  <slide type="all"><title>What a slide may have</title></slide>
  <slide type="all"><title>Overview</title><item>A <em>title</em></item><item>Items, or none</item></slide>
</slideshow>
"""

_UTF8 = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>UTF-8</title></head>
<body>
<h1>Text in UTF-8</h1>
<p>Deutsch: Zwölf Boxkämpfer jagen Eva quer über den Sylter Deich. Ελληνικά: καλημέρα κόσμε. Русский: доброе утро.
עברית: שלום. العربية: السلام عليكم. हिन्दी: नमस्ते. 中文：你好，世界。 日本語：こんにちは。 한국어: 안녕하세요. ภาษาไทย: สวัสดี</p>
<p>∀x ∈ ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β = ¬(¬α ∨ β), 2H₂ + O₂ ⇌ 2H₂O, √2 ≈ 1.414, €, ₿, “quotes”, ‚single‘, «guillemets», 🛰️ 👩‍🚀 🏳️‍🌈</p>
<p>Combined: é é, Å Å, ḍ̇ ḍ̇; zero width: a​b; outside the BMP: 𝒳 𐍈 𠜎</p>
</body>
</html>
"""

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" viewBox="0 0 64 64">
<rect width="64" height="64" fill="#1d3557"/><circle cx="32" cy="32" r="20" fill="#f1faee"/></svg>
"""

_FORM = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>A form</title></head>
<body>
<form method="post" action="{base}/post" enctype="{type}">
<p><label>Name <input name="name"></label>
<p><label>Mail <input type="email" name="mail"></label>
<p><label>Time <input type="time" name="time"></label>
<p><label><input type="checkbox" name="extra" value="one"> One</label>
<label><input type="checkbox" name="extra" value="two"> Two</label>
<p><label>Text <textarea name="text"></textarea></label>
<p><label>File <input type="file" name="file"></label>
<p><button>Send</button>
</form>
</body>
</html>
"""


def _fixed(media_type: bytes, body: bytes) -> Callable[[Call], bytes]:
    def answer(call: Call) -> bytes:
        call.kind(media_type)
        return body

    return answer


@cache
def png(side: int = 64) -> bytes:
    """An image in PNG (RFC 2083): two colours that run into each other."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"".join(bytes((4 * x % 256, 4 * y % 256, 128)) for x in range(side)) for y in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def image_png(call: Call) -> bytes:
    call.kind(b"image/png")
    return png()


def image_svg(call: Call) -> bytes:
    call.kind(b"image/svg+xml")
    return _SVG.encode()


def image(call: Call) -> bytes:
    accept = call.request.requestHeaders.getRawHeaders(b"Accept")
    call.request.responseHeaders.addRawHeader(b"Vary", b"Accept")
    chosen = preferred_type(accept, (b"image/png", b"image/svg+xml"))
    return image_svg(call) if chosen == b"image/svg+xml" else image_png(call)


def form(call: Call) -> bytes:
    kinds = {"": "application/x-www-form-urlencoded", "multipart": "multipart/form-data"}
    if call.value("type") not in kinds:
        raise HTTPError(400, "type must be multipart, or nothing.")
    call.kind(b"text/html; charset=utf-8")
    return _FORM.format(base=call.base, type=kinds[call.value("type")]).encode()


def _coded(name: str, coding: bytes, compress: Callable[[bytes], bytes]) -> Callable[[Call], bytes]:
    def answer(call: Call) -> bytes:
        call.kind(b"application/json")
        call.request.setHeader(b"Content-Encoding", coding)
        return compress(json_text({name: True} | described(call, "headers", "method", "origin")))

    return answer


ENDPOINTS = [
    Endpoint("/html", _fixed(b"text/html; charset=utf-8", _HTML.encode()), "a page"),
    Endpoint("/json", _fixed(b"application/json", json_text(_SLIDES)), "a JSON document"),
    Endpoint("/xml", _fixed(b"application/xml", _XML.encode()), "an XML document"),
    Endpoint("/encoding/utf8", _fixed(b"text/html; charset=utf-8", _UTF8.encode()), "a page with many scripts"),
    Endpoint("/forms/post", form, "a form that is sent to /post; ?type=multipart"),
    Endpoint("/robots.txt", _fixed(b"text/plain", b"User-agent: *\nDisallow: /deny\n"), "rules for robots"),
    Endpoint("/deny", _fixed(b"text/plain", b"Robots were told not to come here.\n"), "what they forbid"),
    Endpoint("/image", image, "an image of a type that is accepted"),
    Endpoint("/image/png", image_png, "an image in PNG"),
    Endpoint("/image/svg", image_svg, "an image in SVG"),
    Endpoint("/gzip", _coded("gzipped", b"gzip", gzip.compress), "the request, in gzip"),
    Endpoint("/deflate", _coded("deflated", b"deflate", zlib.compress), "the same in deflate"),
    Endpoint("/brotli", _coded("brotli", b"br", brotli.compress), "the same in brotli"),
    Endpoint("/zstd", _coded("zstd", b"zstd", zstd.compress), "the same in zstd"),
]
