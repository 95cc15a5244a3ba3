"""
A to-do list: a login, forms, a JSON API, files, live updates, a table of SQLite.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from twisted.enterprise.adbapi import ConnectionPool

from mixweb.pages import Events, Feed, HTTPError, Limits, Pages, Redirect, Request, Upload, User

TABLE = """CREATE TABLE IF NOT EXISTS todo (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, title TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, name TEXT, content BLOB)"""
ADD = "INSERT INTO todo (owner, title, name, content) VALUES (?, ?, ?, ?)"
SET = "UPDATE todo SET done = ? WHERE id = ? AND owner = ?"
ACTS = {
    "done": "UPDATE todo SET done = 1 - done WHERE id = ? AND owner = ?",
    "delete": "DELETE FROM todo WHERE id = ? AND owner = ?",
}

site = Pages(templates="templates", static="static", limits=Limits(upload_bytes=1_000_000))
changes = Feed()
database = ConnectionPool(
    "sqlite3", Path(__file__).with_name("todo.db"), check_same_thread=False, cp_min=1, cp_max=1,
    cp_openfun=lambda connection: connection.execute(TABLE),
)  # fmt: skip


@dataclass
class Todo:
    id: int
    title: str
    done: bool
    name: str | None


async def change(user: User, statement: str, *values: Any) -> None:
    """Run a statement about one of a user's things, and tell who looks at the list; 404 when there is no such thing."""

    def run(transaction: Any) -> int:
        transaction.execute(statement, values)
        return int(transaction.rowcount)

    if not await database.runInteraction(run):
        raise HTTPError(404, "There is no such thing to do.")
    changes.send(user.name)


@site.route("/api/todos")
async def todos(user: User) -> dict[str, list[Todo]]:
    rows = await database.runQuery("SELECT id, title, done, name FROM todo WHERE owner = ? ORDER BY id", (user.name,))
    return {"todos": [Todo(number, title, bool(done), name) for number, title, done, name in rows]}


@site.route("/api/todos", methods=["POST"])
async def add(user: User, title: str, file: Upload | None = None) -> None:
    if not title.strip():
        raise HTTPError(400, "title: may not be empty.")
    await change(user, ADD, user.name, title.strip(), file and file.name, file and file.read())


@site.route("/api/todos/<int:number>", methods=["PATCH"])
async def set_done(user: User, number: int, done: bool) -> None:
    await change(user, SET, done, number, user.name)


@site.route("/api/todos/<int:number>", methods=["DELETE"])
async def delete(user: User, number: int) -> None:
    await change(user, ACTS["delete"], number, user.name)


@site.route("/", name="list")
async def index(user: User) -> str:
    return site.template("list.html", user=user, **await todos(user))


@site.route("/", methods=["POST"])
async def create(user: User, title: str, file: Upload | None = None) -> Redirect:
    await add(user, title, file)
    return Redirect(site.reverse_url("list"))


@site.route("/<int:number>/<act>", methods=["POST"])
async def act(user: User, number: int, act: Literal["done", "delete"]) -> Redirect:
    await change(user, ACTS[act], number, user.name)
    return Redirect(site.reverse_url("list"))


@site.route("/<int:number>/file", name="file")
async def download(user: User, number: int, request: Request) -> bytes:
    rows = await database.runQuery("SELECT content FROM todo WHERE id = ? AND owner = ?", (number, user.name))
    if not rows or rows[0][0] is None:
        raise HTTPError(404, "There is no such file.")
    request.setHeader("Content-Type", "application/octet-stream")
    request.setHeader("Content-Disposition", "attachment")
    return bytes(rows[0][0])


@site.route("/changes", name="changes")
async def live(user: User) -> Events:
    async def mine() -> AsyncGenerator[str, None]:
        async for owner in changes:
            if owner == user.name:
                yield "changed"

    return Events(mine())
