"""
Configurations of canister and CherryPy (INI files) become tables of TOML.
"""

from __future__ import annotations

import re
from typing import Any

from mixweb._importing_canister import CANISTER
from mixweb._importing_cherrypy import take_global, take_tools
from mixweb._importing_lines import Item, Writer, items, value_of

_TOOL = re.compile(r"tools\.(\w+)\.(\w+)\Z")
_ERROR_PAGE = re.compile(r"error_page\.(\d{3}|default)\Z")


def import_ini(text: str) -> Writer:
    """
    What an INI file says, as tables, with notes about what a person has to know.

    :raises ValueError: naming a line that says nothing.
    """
    writer = Writer()
    paths: dict[str, list[Item]] = {}
    address: dict[str, Any] = {}
    for item in items(text):
        section = item.section.lower()
        take = CANISTER.get((section, item.key.lower())) or CANISTER.get((section, ""))
        if take is not None:
            take(item, writer)
        elif item.key in ("server.socket_host", "server.socket_port"):
            address[item.key.rpartition("_")[2]] = value_of(item.text)
        elif item.section.startswith("/"):
            paths.setdefault(item.section, []).append(item)
        elif not take_global(item, writer):
            writer.note(item, "is nothing here")
    _listen(address, writer)
    shared = _tools(paths.get("/", []))
    for path, found in paths.items():
        _take_path(path, found, shared, writer)
    return writer


def _listen(address: dict[str, Any], writer: Writer) -> None:
    if not address:
        return
    port, host = address.get("port", 8080), str(address.get("host", "127.0.0.1"))
    if "certificate" in writer.server:
        writer.server["https"] = port
        writer.server["public"] = not host.startswith("127.")
    else:
        writer.server["listen"] = [f"tcp:{port}:interface={host.replace(':', chr(92) + ':')}"]


def _tools(found: list[Item]) -> dict[str, dict[str, Any]]:
    """The options of each tool."""
    tools: dict[str, dict[str, Any]] = {}
    for item in found:
        if tool := _TOOL.match(item.key):
            tools.setdefault(tool[1], {})[tool[2]] = value_of(item.text)
    return tools


def _take_path(path: str, found: list[Item], shared: dict[str, dict[str, Any]], writer: Writer) -> None:
    """
    Take what holds for a path: its tools, and what else is said of it.

    :param shared: the options of tools at the root, which hold below it too.
    """
    first: dict[str, Item] = {}
    for item in found:
        if tool := _TOOL.match(item.key):
            first.setdefault(tool[1], item)
        elif page := _ERROR_PAGE.match(item.key):
            for status in ("4xx", "5xx") if page[1] == "default" else (page[1],):
                writer.put("errors", "pages", status, str(value_of(item.text)))
        elif not take_global(item, writer):
            writer.note(item, "is nothing here")
    tools = {name: {**shared.get(name, {}), **options} for name, options in _tools(found).items()}
    take_tools(path, tools, first, writer)
