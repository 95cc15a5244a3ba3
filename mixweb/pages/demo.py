"""
Endpoints to try: ``mixweb --pages mixweb.pages.demo:site``.

``/default`` is an empty page, ``/refreshme/5`` one that loads itself again after five seconds, ``/debug/x`` and
``/debug/sub/...`` say how they were called.
"""

from __future__ import annotations

from typing import Any

from mixweb.pages import Endpoint, Pages, TextTemplates, TypedText

TEMPLATES = TextTemplates(
    {
        "refresh": {
            "fields": {
                "HEAD": '<meta http-equiv="refresh" content="${interval}">',
                "TITLE": "Example",
                "BODY": "<h1>Example page, will refresh every ${interval}s.</h1>",
            },
            "page": "simplehtml",
        },
        "debug": {"fields": {"CONTENT": "You called endpoint /$root/$sub$args"}, "page": "simpletxt"},
    },
    {
        "simpletxt": {"data": "$CONTENT", "type": "text/html"},
        "simplehtml": {
            "data": '<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n$HEAD\n<title>$TITLE</title>\n</head>\n'
            "<body>\n$BODY\n</body>\n</html>\n",
            "type": "text/html",
        },
    },
)

TREE: dict[str, Any] = {
    "default": {},
    "refreshme": {"$args": "?"},
    "debug": {"$allowed_methods": {"GET", "POST"}, "$args": 1, "sub": {"$args": "*", "$raw_args": True}},
}


class Demo:
    """What the endpoints do."""

    def do_default(self, ep: Endpoint) -> str:
        """Answer with nothing."""
        return ""

    def do_refreshme(self, ep: Endpoint) -> TypedText:
        """Answer with a page that loads itself again."""
        return TEMPLATES.page("refresh", interval=ep.args or "30")

    def do_debug(self, ep: Endpoint) -> TypedText:
        """Say what was called."""
        return TEMPLATES.page("debug", root=ep.root, sub=ep.sub, args=ep.args)


site = Pages()
site.endpoints("/", TREE, Demo())
