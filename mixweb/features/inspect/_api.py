"""
What programs, and the page, are told and may do, as JSON.
"""

from __future__ import annotations

import os
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from twisted.web.error import UnsupportedMethod
from twisted.web.server import NOT_DONE_YET

from mixweb.engine.errors import HTTPError
from mixweb.engine.request import Request
from mixweb.feature import Context
from mixweb.features.inspect._asked import (
    answer_json,
    answer_late,
    answer_text,
    argument_of,
    check_type,
    document_of,
    number_of,
    text_in,
)
from mixweb.features.inspect._decode import Fields, text_of, value_of
from mixweb.features.inspect._events import Stream
from mixweb.features.inspect._export import EXPORTS, har
from mixweb.features.inspect._filter import Filter, compiled
from mixweb.features.inspect._inspector import Inspector
from mixweb.features.inspect._lab import Lab
from mixweb.features.inspect._page import FRAME_POLICY
from mixweb.features.inspect._record import Body, Record
from mixweb.features.inspect._replay import Line, message_of, send
from mixweb.features.inspect._show import Json, detail, lines, plain_body, request_line
from mixweb.kit.rules import path_text, quote_path
from mixweb.kit.secrets import Secrets

_MAX_NOTE = 2000

#: Types that a browser shows in a frame as what they are.
_SHOWN = ("text/html", "application/xhtml+xml", "image/")

Action: TypeAlias = Callable[[Request], Any]
Actions: TypeAlias = dict[bytes, Action]


class Api:
    """
    Answers below ``api``.

    :param secrets: what is not shown.
    """

    def __init__(self, secrets: Secrets, inspector: Inspector, context: Context) -> None:
        self.secrets = secrets
        self.inspector = inspector
        self.recorder = inspector.recorder
        self.about = context.about
        self.lab = Lab(context.mounts, context.offers)

    def answer(self, request: Request, segments: Sequence[bytes]) -> Any:
        """
        Do what is asked for.

        :raises HTTPError: when that is not possible.
        """
        process = number_of(request, "process")
        if process not in (0, os.getpid()):
            return self._pass_on(request, process, segments)
        actions = self._actions(tuple(segments))
        method = b"GET" if request.method == b"HEAD" else request.method
        if method not in actions:
            raise UnsupportedMethod(sorted(actions))
        if method != b"GET":
            check_type(request)
        return actions[method](request)

    def _pass_on(self, request: Request, process: int, segments: Sequence[bytes]) -> int:
        """Have another process that serves with this one do it."""
        workers = self.inspector.workers
        if workers is None:
            raise HTTPError(404, "There is no such process, or not any more.")
        query = request.target.partition(b"?")[2]
        workers.pass_on(request, process, quote_path(path_text(segments)).encode("ascii") + b"?" + query)
        return NOT_DONE_YET

    def processes(self, request: Request) -> bytes:
        """The processes that serve together; each keeps what it has answered itself."""
        workers = self.inspector.workers
        own = os.getpid()
        return answer_json(request, {"own": own, "processes": [own] if workers is None else workers.processes})

    def _actions(self, segments: tuple[bytes, ...]) -> Actions:
        match segments:
            case (b"requests",):
                return {b"GET": self.list_requests, b"DELETE": self.delete_requests}
            case (b"requests", number):
                return self._of_one(number)
            case (b"requests", number, what):
                return self._more_of_one(number, what)
            case (b"events",):
                return {b"GET": self.stream}
            case (b"har",):
                return {b"GET": self.export_all}
            case (b"send",):
                return {b"POST": lambda request: self.send(request, None)}
            case (b"processes",):
                return {b"GET": self.processes}
            case (b"status",):
                return {b"GET": self.status}
            case (b"lab", *rest):
                return self._of_lab(rest)
        raise HTTPError(404, "Nothing is here.")

    def _of_one(self, number: bytes) -> Actions:
        record = self._record(number)
        return {
            b"GET": lambda request: answer_json(request, detail(record, self.secrets)),
            b"PATCH": lambda request: self.change(request, record),
            b"DELETE": lambda request: self._delete(request, [record]),
        }

    def _more_of_one(self, number: bytes, what: bytes) -> Actions:
        record = self._record(number)
        if what == b"body":
            return {b"GET": lambda request: self._bytes(request, record.body, record.fields)}
        if what == b"answer":
            return {b"GET": lambda request: self._bytes(request, record.answer_body, record.answer)}
        if what == b"export":
            return {b"GET": lambda request: self.export(request, record)}
        if what == b"replay":
            return {
                b"GET": lambda request: self.editable(request, record),
                b"POST": lambda request: self.send(request, record),
            }
        raise HTTPError(404, "Nothing is here.")

    def _of_lab(self, rest: list[bytes]) -> Actions:
        match rest:
            case []:
                return {b"GET": lambda request: answer_late(request, self.lab.told())}
            case [b"pages", cache]:
                return {b"DELETE": lambda request: answer_late(request, self.lab.clear(cache, None))}
            case [b"pages", cache, name]:
                return {
                    b"GET": lambda request: self._page(request, cache, name),
                    b"PUT": lambda request: self._save(request, cache, name),
                    b"PATCH": lambda request: answer_late(request, self.lab.retype(cache, name, document_of(request))),
                    b"DELETE": lambda request: answer_late(request, self.lab.clear(cache, name)),
                }
        raise HTTPError(404, "Nothing is here.")

    def _record(self, number: bytes) -> Record:
        record = self.recorder.get(int(number)) if number.isdigit() and len(number) < 16 else None
        if record is None:
            raise HTTPError(404, "This request is not kept, or not any more.")
        return record

    def _filter(self, request: Request) -> Filter:
        try:
            return compiled(argument_of(request, "filter"), self.secrets)
        except ValueError as reason:
            raise HTTPError(400, f"{reason}.") from None

    # Requests

    def list_requests(self, request: Request) -> bytes:
        """What has changed since a version; everything since 0."""
        return answer_json(
            request, self.inspector.changes(number_of(request, "since"), self._filter(request), self.secrets)
        )

    def stream(self, request: Request) -> int:
        """The same as events, as it happens."""
        if self.inspector.feed.is_full:
            raise HTTPError(503, "Too many are looking on already.", [(b"Retry-After", b"5")])
        wanted = self._filter(request)
        last = request.getHeader(b"Last-Event-ID") or b""
        version = int(last) if last.isdigit() and len(last) < 16 else number_of(request, "since")
        self.inspector.feed.add(
            Stream(request, lambda known: self.inspector.changes(known, wanted, self.secrets), version)
        )
        return NOT_DONE_YET

    def delete_requests(self, request: Request) -> bytes:
        """Forget those that a filter wants and that are not pinned."""
        wanted = self._filter(request)
        return self._delete(request, [record for record in self.recorder if not record.pinned and wanted(record)])

    def _delete(self, request: Request, records: Sequence[Record]) -> bytes:
        self.recorder.delete(records)
        return answer_json(request, {"deleted": len(records)})

    def change(self, request: Request, record: Record) -> bytes:
        """Pin or unpin it, write a note to it."""
        asked = document_of(request)
        note, pinned = asked.get("note", record.note), asked.get("pinned", record.pinned)
        if not isinstance(note, str) or not isinstance(pinned, bool):
            raise HTTPError(400, "note is text, pinned is true or false.")
        try:
            self.recorder.pin(record, pinned)
        except ValueError as reason:
            raise HTTPError(409, f"{reason}.") from None
        record.note = note[:_MAX_NOTE]
        self.recorder.changed(record)
        return answer_json(request, detail(record, self.secrets))

    def _bytes(self, request: Request, body: Body, fields: Fields) -> bytes:
        """What is kept of a body: in a frame as what it is, else as bytes."""
        plain = plain_body(body, fields, self.secrets)
        kind = text_of(value_of(fields, b"content-type")).partition(";")[0].strip().lower()
        request.setHeader(b"Content-Security-Policy", FRAME_POLICY)
        request.setHeader(b"X-Frame-Options", b"SAMEORIGIN")
        if argument_of(request, "frame"):
            as_it_is = value_of(fields, b"content-type") if kind.startswith(_SHOWN) else b"text/plain; charset=utf-8"
            request.setHeader(b"Content-Type", as_it_is)
        else:
            request.setHeader(b"Content-Type", b"application/octet-stream")
            request.setHeader(b"Content-Disposition", b'attachment; filename="body"')
        return plain

    def export(self, request: Request, record: Record) -> bytes:
        """The request written out."""
        kind = argument_of(request, "as") or "curl"
        if kind not in EXPORTS:
            raise HTTPError(400, f"There is no export as {kind}; there is {', '.join(EXPORTS)}.")
        return answer_text(request, EXPORTS[kind](record, self.secrets))

    def export_all(self, request: Request) -> bytes:
        """Those that a filter wants, with their answers, as HAR."""
        wanted = self._filter(request)
        request.setHeader(b"Content-Disposition", b'attachment; filename="mixweb.har"')
        return answer_text(request, har(filter(wanted, self.recorder), self.secrets), b"application/json")

    def editable(self, request: Request, record: Record) -> bytes:
        """A request as it can be changed and sent again."""
        head = [request_line(record, self.secrets), *(f"{n}: {v}" for n, v in lines(record.fields, self.secrets))]
        plain = self.secrets.body(value_of(record.fields, b"content-type"), record.body.data)
        try:
            body, binary = plain.decode(), False
        except UnicodeDecodeError:
            body, binary = "", True
        document = {"head": "\n".join(head), "body": body, "binary": binary, "complete": record.body.complete}
        return answer_json(request, document)

    async def send(self, request: Request, record: Record | None) -> bytes:
        """
        Send a request to this server, and wait for its answer.

        :param record: the one that it was made from.
        """
        asked = document_of(request)
        body = self._body_to_send(asked, record)
        message = message_of(text_in(asked, "head"), body, record, self.secrets, asked.get("frame") is not False)
        secure = request.isSecure() if record is None else record.secure
        line = Line(request.getClientAddress(), request.getHost(), secure, 0 if record is None else record.id)
        try:
            sent = await send(self.recorder, request.site, line, message)
        except ValueError as reason:
            raise HTTPError(400, f"{reason}.") from None
        return answer_json(request, detail(sent, self.secrets))

    def _body_to_send(self, asked: Json, record: Record | None) -> bytes:
        """
        The body that was written, or the original's where that is asked for or stands as it was shown.

        :raises HTTPError: when there is none to send.
        """
        if "body_base64" in asked:
            try:
                return b64decode(text_in(asked, "body_base64"), validate=True)
            except Base64Error:
                raise HTTPError(400, "body_base64 is not Base64.") from None
        if record is None:
            return text_in(asked, "body").encode()
        declared = value_of(record.fields, b"content-type")
        shown = self.secrets.body(declared, record.body.data)
        written = shown if asked.get("body") is None else text_in(asked, "body").encode()
        if written != shown:
            return written
        if not record.body.complete:
            raise HTTPError(
                409,
                f"Only {record.body.kept} of the {record.body.size} bytes of the body were kept: write another one.",
            )
        return record.body.data

    # The server

    async def status(self, request: Request) -> bytes:
        """How the server is."""
        return answer_json(request, await self.inspector.status(self.about, self.secrets))

    async def _save(self, request: Request, cache: bytes, name: bytes) -> bytes:
        """Keep a text, or the body of a request or of its answer, as a page."""
        asked = document_of(request)
        if "request" not in asked:
            page = self.lab.page_of(text_in(asked, "text").encode(), text_in(asked, "type"))
        else:
            record = self._record(str(asked["request"]).encode("ascii", "replace"))
            answered = asked.get("body") == "answer"
            body, fields = (record.answer_body, record.answer) if answered else (record.body, record.fields)
            kind = text_of(value_of(fields, b"content-type"))
            page = self.lab.page_of(plain_body(body, fields, self.secrets), kind)
        await self.lab.save(cache, name, page)
        return answer_json(request, {"type": page.type, "size": len(page.data)})

    async def _page(self, request: Request, cache: bytes, name: bytes) -> bytes:
        page = await self.lab.page(cache, name)
        fields = [(b"content-type", page.type.encode())]
        body = Body()
        body.add(page.data, len(page.data))
        return self._bytes(request, body, fields)
