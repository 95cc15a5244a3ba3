"""
What canister's settings are here.
"""

from __future__ import annotations

from collections.abc import Callable

from mixweb._importing_lines import Item, Writer, value_of

_LEVELS = {"DISABLED": "disabled", "DEBUG": "info", "INFO": "info", "WARNING": "warning"}
_USERS = "users.txt"


def _log_path(item: Item, writer: Writer) -> None:
    writer.set("accesslog", path=item.text.rstrip("/") + "/log")


def _log_level(item: Item, writer: Writer) -> None:
    writer.set("accesslog", level=_LEVELS.get(item.text.upper(), "error"))


def _log_days(item: Item, writer: Writer) -> None:
    writer.set("accesslog", rotate="daily", log_days=int(item.text))


def _debug(item: Item, writer: Writer) -> None:
    if value_of(item.text) is True:
        writer.server["display_tracebacks"] = True
        writer.note(item, "tracebacks are shown to everybody; take display_tracebacks away where strangers come")


def _timeout(item: Item, writer: Writer) -> None:
    if item.key == "session_timout":
        writer.note(
            item, "canister reads session_timeout: this spelling of its documentation has never had an effect there"
        )
    writer.set("session", timeout=max(int(item.text), 0))


def _cors(item: Item, writer: Writer) -> None:
    if value_of(item.text) is not False:
        writer.set("cors", origins=[origin.strip() for origin in item.text.split(",")])


def _basic(item: Item, writer: Writer) -> None:
    writer.set("auth", users=_USERS)
    writer.add("auth", "schemes", "basic")
    if item.key == "auth_basic_username":
        writer.note(item, f"passwords are not kept here: mixweb passwd {_USERS} {item.text}")
        writer.note(item, "canister lets everybody in and tells who is known; auth.rules say who may see what")


def _bearer(item: Item, writer: Writer) -> None:
    writer.add("auth", "schemes", "bearer")
    names = {"auth_jwt_client_id": "audience", "auth_jwt_encoding": "secret_encoding", "auth_jwt_secret": "secret"}
    writer.set("auth", **{"token_algorithm": "HS256", names[item.key]: item.text})
    if item.key == "auth_jwt_secret":
        writer.note(item, "it has at least 32 bytes for HS256")
        writer.note(item, 'the secret stands in the file; secret = { file = "secret.txt" } keeps it elsewhere')


def _views(item: Item, writer: Writer) -> None:
    part = {"static_path": "static", "template_path": "templates"}.get(item.key)
    writer.note(item, f"give it to the application: Pages({part}={item.text!r})" if part else "is nothing here")


def _nothing(item: Item, writer: Writer) -> None:
    writer.note(item, "canister has never done anything with it, and there is nothing for it here")


#: By section and key; an empty key is any other of the section.
CANISTER: dict[tuple[str, str], Callable[[Item, Writer], None]] = {
    ("canister", "debug"): _debug,
    ("canister", "log_path"): _log_path,
    ("canister", "log_level"): _log_level,
    ("canister", "log_days"): _log_days,
    ("canister", "session_timout"): _timeout,
    ("canister", "session_timeout"): _timeout,
    ("canister", "cors"): _cors,
    ("canister", "auth_basic_username"): _basic,
    ("canister", "auth_basic_password"): _basic,
    ("canister", "auth_basic_encryption"): _basic,
    ("canister", "auth_jwt_client_id"): _bearer,
    ("canister", "auth_jwt_encoding"): _bearer,
    ("canister", "auth_jwt_secret"): _bearer,
    ("views", ""): _views,
    ("logs", ""): _nothing,
    ("sessions", ""): _nothing,
}
