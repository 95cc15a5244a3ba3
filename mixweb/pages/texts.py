"""
Pages of text with ``$NAMES`` in it, as mixnmatchttp has them: a template fills the fields of a page, a request those of the
template.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixweb.kit.placeholders import escape_for
from mixweb.pages.markup import TypedText

_NAME = re.compile(r"\$(?:(?P<dollar>\$)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\})")


@dataclass(frozen=True)
class TextPage:
    """
    What several templates share.

    :ivar data: text with the fields that templates fill.
    :ivar type: its media type.
    """

    data: str = (
        '<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n$HEAD\n</head>\n<body>\n$BODY\n</body>\n</html>\n'
    )
    type: str = "text/html"


@dataclass(frozen=True)
class TextTemplate:
    """
    What fills a page.

    :ivar fields: text for each field of the page, with names that requests give values to.
    :ivar page: the name of the page; ``default`` where there is none of this name.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    page: str = "default"


class TextTemplates:
    """
    Templates by name.

    ``$NAME`` and ``${NAME}`` stand for a value, which is escaped as the page's type asks unless it is
    :class:`~mixweb.pages.markup.Html`; for nothing, when no value is given; ``$$`` is a dollar sign.

    :param templates: ``{name: {"fields": {FIELD: text}, "page": name}}``.
    :param pages: ``{name: {"data": text, "type": media type}}``.
    """

    def __init__(
        self, templates: Mapping[str, Mapping[str, Any]], pages: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        made = {"default": TextPage(), **{name: TextPage(**page) for name, page in (pages or {}).items()}}
        self._templates: dict[str, tuple[str, str]] = {}
        for name, given in templates.items():
            template = TextTemplate(**given)
            page = made.get(template.page, made["default"])
            self._templates[name] = (_filled(page.data, template.fields), page.type)

    @classmethod
    def load(cls, path: str | Path) -> TextTemplates:
        """
        The templates of a TOML file with tables ``[pages.NAME]`` and ``[templates.NAME]``.

        :raises ValueError: when it is malformed.
        """
        with open(path, "rb") as file:
            tables = tomllib.load(file)
        unknown = set(tables) - {"pages", "templates"}
        if unknown:
            raise ValueError(f"{path}: there are [pages.NAME] and [templates.NAME], not [{min(unknown)}]")
        try:
            return cls(tables.get("templates", {}), tables.get("pages", {}))
        except TypeError as reason:
            raise ValueError(f"{path}: {reason}") from None

    def page(self, template: str, /, **values: Any) -> TypedText:
        """
        The page of a template, ready to be returned by a handler.

        :raises KeyError: when there is no such template.
        """
        text, kind = self._templates[template]
        escape = escape_for(kind)

        def value(name: str) -> str:
            given = values.get(name, "")
            return given.__html__() if hasattr(given, "__html__") and kind == "text/html" else escape(str(given))

        return TypedText(_substituted(text, value), f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)


def _filled(page: str, fields: Mapping[str, str]) -> str:
    """A page with its fields filled; what they leave is for requests."""

    def fill(found: re.Match[str]) -> str:
        name = found["name"] or found["braced"]
        return fields.get(name, "") if name else found[0]

    return _NAME.sub(fill, page)


def _substituted(text: str, value: Callable[[str], str]) -> str:
    return _NAME.sub(lambda found: "$" if found["dollar"] else value(found["name"] or found["braced"]), text)
