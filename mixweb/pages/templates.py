"""
Templates of a folder: Jinja2's, escaped by default, and those of ``twisted.web.template`` (``.xml``, ``.xhtml``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted.python.filepath import FilePath
from twisted.web.iweb import IRenderable
from twisted.web.template import Element, Flattenable, Tag, XMLFile, XMLString, tags

from mixweb.pages.markup import Html

_NAMESPACE = "http://twistedmatrix.com/ns/twisted.web.template/0.1"


class Templates:
    """
    The templates of a folder.

    :param folder: absolute.
    :raises ValueError: when the folder is not there, or Jinja2 is not.
    """

    def __init__(self, folder: str) -> None:
        if not os.path.isdir(folder):
            raise ValueError(f"there is no folder of templates at '{folder}'")
        try:
            import jinja2
        except ImportError:
            raise ValueError("templates need Jinja2: pip install 'mixweb[templates]'") from None
        self.folder = folder
        self.environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
        )

    def render(self, name: str, names: Mapping[str, Any]) -> str:
        """
        The text of a template of Jinja2.

        :param names: what stands for what in it.
        """
        return self.environment.get_template(name).render(names)

    def element(self, name: str, names: Mapping[str, Any]) -> TemplateElement:
        """A template of ``twisted.web.template``: ``t:render="x"`` and ``<t:slot name="x"/>`` stand for the value ``x``."""
        return TemplateElement(os.path.join(self.folder, name), names)


class TemplateElement(Element):
    """
    A file of ``twisted.web.template`` and what stands for what in it.

    :param path: of the file.
    :param names: text, elements, lists of them, or functions without arguments that make one.
    """

    def __init__(self, path: str, names: Mapping[str, Any]) -> None:
        super().__init__(XMLFile(FilePath(path)))
        self.names = names

    def render(self, request: Any) -> Flattenable:
        slots = {name: _flattenable(value) for name, value in self.names.items() if not callable(value)}
        loaded: Tag = tags.transparent(super().render(request))
        return loaded.fillSlots(**slots)

    def lookupRenderMethod(self, name: str) -> Any:
        value = self.names[name]
        return lambda request, tag: tag(_flattenable(value() if callable(value) else value))


def _flattenable(value: Any) -> Any:
    if isinstance(value, Html):
        return XMLString(f'<t:transparent xmlns:t="{_NAMESPACE}">{value}</t:transparent>').load()
    return value if IRenderable.providedBy(value) or isinstance(value, (Tag, list)) else str(value)
