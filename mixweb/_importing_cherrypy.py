"""
What CherryPy's settings are here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mixweb._importing_lines import Item, Writer, value_of

Take = Callable[[Item, Any, Writer], None]

_MINUTE = 60


def _server(name: str) -> Take:
    def take(item: Item, value: Any, writer: Writer) -> None:
        writer.server[name] = value

    return take


def _log(item: Item, value: Any, writer: Writer) -> None:
    if value:
        writer.set("accesslog", path=value)


def _said(text: str) -> Take:
    """What only a person can do something about."""
    return lambda item, value, writer: writer.note(item, text)


def _nothing(item: Item, value: Any, writer: Writer) -> None:
    """It is so by itself."""


#: Settings of the whole server.
SERVER: dict[str, Take] = {
    "server.socket_file": lambda item, value, writer: writer.server.update(listen=[f"unix:{value}"]),
    "server.ssl_certificate": _server("certificate"),
    "server.ssl_private_key": _server("privkey"),
    "server.max_request_body_size": _server("max_body_bytes"),
    "server.socket_timeout": _server("idle_timeout"),
    "server.thread_pool": _said("there are no threads to count: one answers all, --workers are processes"),
    "engine.autoreload.on": _server("reload"),
    "engine.autoreload_on": _server("reload"),
    "request.show_tracebacks": _server("display_tracebacks"),
    "log.access_file": _log,
    "log.error_file": _said("the server's own log is twistd's: twistd --logfile FILE"),
    "log.screen": _nothing,
    "environment": _said("there are no environments: what is safe is the default"),
}


def _files(path: str, options: dict[str, Any], writer: Writer) -> None:
    root = str(options.get("root", ""))
    folder = str(options.get("dir") or options.get("filename") or ".")
    index = {"index": [options["index"]]} if options.get("index") else {}
    joined = f"{root.rstrip('/')}/{folder}" if root and not folder.startswith("/") else folder
    writer.lists.setdefault("files", []).append({"path": joined, "at": path, **index})


def _sessions(path: str, options: dict[str, Any], writer: Writer) -> None:
    timeout = {"timeout": int(float(options["timeout"]) * _MINUTE)} if "timeout" in options else {}
    writer.set("session", **timeout)


def _headers(path: str, options: dict[str, Any], writer: Writer) -> None:
    writer.add("headers", "set", *(f"{name}: {value}" for name, value in options.get("headers", ())))


def _expires(path: str, options: dict[str, Any], writer: Writer) -> None:
    seconds = int(options.get("secs", 0))
    writer.put("cachecontrol", "rules", f"{path.rstrip('/')}/*", f"max-age={seconds}" if seconds else "no-cache")


def _auth(scheme: str) -> Callable[[str, dict[str, Any], Writer], None]:
    def take(path: str, options: dict[str, Any], writer: Writer) -> None:
        writer.set("auth", users="users.txt", **({"realm": options["realm"]} if "realm" in options else {}))
        writer.add("auth", "schemes", scheme)
        writer.add("auth", "secrets", path)

    return take


def _feature(name: str) -> Callable[[str, dict[str, Any], Writer], None]:
    return lambda path, options, writer: writer.set(name)


def _redirect(path: str, options: dict[str, Any], writer: Writer) -> None:
    writer.put("redirect", "rules", path, str(options.get("url", "/")))


#: Tools that are on at a path, with their options.
TOOLS: dict[str, Callable[[str, dict[str, Any], Writer], None]] = {
    "staticdir": _files,
    "staticfile": _files,
    "sessions": _sessions,
    "response_headers": _headers,
    "expires": _expires,
    "auth_basic": _auth("basic"),
    "auth_digest": _auth("digest"),
    "session_auth": _auth("form"),
    "gzip": _feature("encode"),
    "caching": _feature("httpcache"),
    "proxy": _feature("forwarded"),
    "secureheaders": lambda path, options, writer: None,
    "trailing_slash": lambda path, options, writer: writer.set("redirect", slash="add"),
    "redirect": _redirect,
    "encode": lambda path, options, writer: None,
    "decode": lambda path, options, writer: None,
    "etags": lambda path, options, writer: None,
    "log_tracebacks": lambda path, options, writer: None,
}


def take_global(item: Item, writer: Writer) -> bool:
    """Take a setting of the whole server; whether it is one that is known."""
    if item.key not in SERVER:
        return False
    SERVER[item.key](item, value_of(item.text), writer)
    return True


def take_tools(path: str, tools: dict[str, dict[str, Any]], first: dict[str, Item], writer: Writer) -> None:
    """
    Take the tools of a path.

    :param tools: the options of each.
    :param first: the line that each begins with.
    """
    for name, options in tools.items():
        if options.get("on") is False or (name in ("staticdir", "staticfile") and not options.get("on")):
            continue
        if name in TOOLS:
            TOOLS[name](path, options, writer)
        else:
            writer.note(first[name], "there is no feature for it; a page of one's own has @wrapped(...)")
