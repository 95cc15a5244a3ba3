"""
Trees of endpoints with argument rules, as mixnmatchttp declares them.

.. code-block:: python

    {"debug": {"$allowed_methods": {"GET", "POST"}, "$args": 1,
               "sub": {"$args": "*", "$raw_args": True},
               "*": {"$name": "who"}}}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from twisted.web.error import UnsupportedMethod
from zope.interface import implementer

from mixweb.engine.body import IBodyReceiver
from mixweb.engine.errors import Declined, HTTPError
from mixweb.engine.request import Request
from mixweb.kit.compat import Compat, check_compat, extra_arguments, missing_argument
from mixweb.pages._endpoint_nodes import Node, parse
from mixweb.pages.answers import answer
from mixweb.pages.arguments import Binder
from mixweb.pages.call import Call, run
from mixweb.pages.handlers import with_content
from mixweb.pages.routes import Place, RouteError
from mixweb.pages.table import HostTables
from mixweb.paths import split_path
from mixweb.wrapper import Leaf

if TYPE_CHECKING:
    from mixweb.pages.application import Pages

_NO_CACHE = (
    (b"Cache-Control", b"no-cache, no-store, must-revalidate"),
    (b"Pragma", b"no-cache"),
    (b"Expires", b"0"),
)


class Endpoint:
    """
    Which endpoint was called, and how.

    :ivar root: the first name of its path.
    :ivar sub: the names behind it, joined by slashes; empty for none.
    :ivar args: what follows its path, decoded.
    :ivar argslen: how many parts that has.
    :ivar raw_args: what follows its path as it was sent; ``None`` unless it takes raw arguments.
    :ivar variables: the values of variable segments by name.
    :ivar request: the request.
    """

    def __init__(self, call: Call, names: tuple[str, ...], args: list[str], raw: bytes | None) -> None:
        self._call = call
        self.request: Request = call.request
        self.root = names[0] if names else ""
        self.sub = "/".join(names[1:])
        self.raw_args = raw
        self.args = "/".join(args) if raw is None else unquote(raw, errors="surrogateescape")
        self.arguments = tuple(args) if raw is None else tuple(part for part in self.args.split("/") if part)
        self.argslen = len(self.arguments)
        self.variables: dict[str, str] = {}

    @property
    def method(self) -> str:
        """The method of the request."""
        return self.request.method.decode("ascii")

    @property
    def params(self) -> dict[str, Any]:
        """The arguments in query, form or JSON object, the last value of each, and the variable segments."""
        texts = {name: values[-1] for name, values in self._call.fields.items()}
        return {**self._call.document, **texts, **self.variables}


@implementer(IBodyReceiver)
class EndpointTree(Leaf):
    """
    Answers below its path what its endpoints are for, and declines everything else.

    :param app: the application it is part of.
    :param path: where it stands in it.
    :param tree: what there is: names, and attributes that begin with ``$``.
    :param handler: has ``do_GET_debug_sub``, ``do_debug_sub``, ``do_GET_debug``, ``do_debug`` ... ``do_default``: the most
        specific one is called with an :class:`Endpoint`, and with further arguments by name. It may have ``denied(path)``,
        ``no_cache(path)`` and ``send_custom_headers(request)``, which hold for everything below the path.
    :param ignore_case: whether names match whatever their case.
    :param ignore_case_of_variables: whether the values of variable segments are made lower case.
    :param compat: whose status codes to answer with: ``mixnmatchttp``, or empty for those of HTTP.
    :raises RouteError: when something is wrong with it.
    """

    def __init__(
        self,
        app: Pages,
        path: str,
        tree: Mapping[str, Any],
        handler: object,
        place: Place,
        *,
        ignore_case: bool = False,
        ignore_case_of_variables: bool = False,
        compat: Compat = "",
    ) -> None:
        self.app = app
        self.path = path
        self.place = place
        self.handler = handler
        self.compat: Compat = compat
        self._fold = str.lower if ignore_case else str
        self._fold_variable = str.lower if ignore_case_of_variables else str
        try:
            check_compat(compat)
            self.root = parse(tree, self._fold)
            if ignore_case and any(node.raw_args for node in self.nodes()):
                raise ValueError("an endpoint with $raw_args is found by its exact name: ignore_case must be false")
            for node in self.nodes():
                self._find_handlers(node)
        except (ValueError, TypeError) as reason:
            raise RouteError(f"{place}: endpoints at {path}: {reason}") from None
        self._denied = getattr(handler, "denied", None)
        self._no_cache = getattr(handler, "no_cache", None)
        self._headers = getattr(handler, "send_custom_headers", None)

    def nodes(self) -> Iterable[Node]:
        """The endpoints that are not disabled."""
        return [node for node in self.root.below() if not node.disabled]

    @property
    def raw_prefixes(self) -> list[tuple[bytes | None, ...]]:
        """Where targets are to stay undecoded."""
        base = split_path(self.path)
        return [
            (*base, *(None if name == "*" else name.encode() for name in node.names))
            for node in self.nodes()
            if node.raw_args
        ]

    # Handlers

    def _find_handlers(self, node: Node) -> None:
        variables = tuple(node.variables)
        for method in node.methods - {"OPTIONS"}:
            found = self._handler_of(node, method)
            node.handled[found.__name__] = None
            binder = Binder(found, variables, bound=1, all_variables=False)
            node.actions[method.encode()] = with_content(self._action(node, found, binder), reads_body=True)

    def _handler_of(self, node: Node, method: str) -> Callable[..., Any]:
        names = node.handler_names(method)
        if method == "HEAD":
            names = [name for pair in zip(names, node.handler_names("GET"), strict=True) for name in pair]
        for name in names:
            found = getattr(self.handler, name, None)
            if found is not None:
                return found  # type: ignore[no-any-return]
        raise ValueError(
            f"nothing handles {method} /{'/'.join(node.names)}: {type(self.handler).__name__} has no {names[0]}"
        )

    def _action(self, node: Node, function: Callable[..., Any], binder: Binder) -> Callable[[Call], None]:
        def act(call: Call) -> None:
            missing = [name for name in node.required if name not in call.endpoint.params]
            if missing:
                raise HTTPError(400, "; ".join(f"{name}: missing" for name in missing) + ".")
            positional, named = binder.bind_all(call)
            answer(call, function(call.endpoint, *positional, **named))

        return act

    # Requests

    def handle(self, request: Request) -> None:
        self._ask_hooks(request)
        segments = [segment for segment in request.postpath if segment]
        node, values, args = self._find(segments)
        if node is None:
            raise Declined
        if request.method not in node.actions:
            raise UnsupportedMethod([method.encode() for method in node.methods])
        call = Call(self.app, request, request.prepath, tuple(values))
        raw = (request.canonical_path.raw or b"").partition(b"?")[0] if node.raw_args else None
        names = segments[: len(node.names)]
        call.endpoint = Endpoint(call, tuple(_text(name) for name in names), [_text(arg) for arg in args], raw)
        call.endpoint.variables = dict(zip(node.variables, values, strict=True))
        self._check_args(node, call.endpoint, args)
        run(call, node.actions[request.method])

    def _ask_hooks(self, request: Request) -> None:
        path = request.canonical_path.text.decode("utf-8", "replace")
        refusal = self._denied(path) if self._denied else None
        if refusal:
            code, message, *explain = refusal
            raise HTTPError(code, (explain[0] if explain else "") or message or "")
        if self._no_cache and self._no_cache(path):
            request.before_headers(_forbid_caching)
        if self._headers:
            request.before_headers(self._headers)

    def _find(self, segments: list[bytes]) -> tuple[Node | None, list[str], list[bytes]]:
        """The longest endpoint of a path, the values of its variable segments, and what is left."""
        node: Node | None = self.root
        found: tuple[Node | None, list[str], list[bytes]] = (None if self.root.disabled else self.root, [], segments)
        values: list[str] = []
        for index, segment in enumerate(segments, 1):
            name = segment.decode("utf-8", "surrogateescape")
            assert node is not None
            node, value = node.child(self._fold(name), self._fold_variable(name))
            if node is None:
                break
            values = [*values, *value]
            if not node.disabled:
                found = (node, values, segments[index:])
        return found

    def _check_args(self, node: Node, endpoint: Endpoint, args: list[bytes]) -> None:
        if endpoint.argslen < node.least:
            raise missing_argument(self.compat or self.app.compat, "an argument")
        if node.most is not None and endpoint.argslen > node.most:
            raise extra_arguments(args[node.most :])

    # What there is

    def conflicts(self, tables: HostTables) -> list[str]:
        """Problems where routes stand at the path of an endpoint."""
        problems = []
        for node in self.nodes():
            actions, values = tables.common.find([*split_path(self.path), *(name.encode() for name in node.names)]) or (
                {},
                (),
            )
            for method in sorted(node.actions.keys() & actions.keys() if not values else ()):
                route = actions[method]
                problems.append(
                    f"{self.place}: {method.decode()} {route.pattern.text} is an endpoint here, and {route.title} at"
                    f" {route.place}"
                )
        return problems

    def rows(self) -> list[tuple[str, str, str, Place]]:
        """Methods, path, handler and place of the endpoints."""
        base = self.path.rstrip("/")
        return [
            (
                ", ".join(sorted(node.methods - {"HEAD", "OPTIONS"})),
                f"{base}/{'/'.join(node.names)}{node.args_shown}",
                f"{type(self.handler).__module__}.{type(self.handler).__qualname__}.{', '.join(node.handled)}",
                self.place,
            )
            for node in self.nodes()
        ]


def _text(segment: bytes) -> str:
    try:
        return segment.decode()
    except UnicodeDecodeError:
        raise HTTPError(400, "The path is not UTF-8.") from None


def _forbid_caching(request: Request) -> None:
    for name, value in _NO_CACHE:
        request.responseHeaders.setRawHeaders(name, [value])
