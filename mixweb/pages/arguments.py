"""
Arguments by signature: each parameter of a handler has its value from the path, then query and form, then the JSON object of
the body, by name and annotation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from inspect import Parameter
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from mixweb.engine.errors import HTTPError
from mixweb.pages.bodies import ABSENT
from mixweb.pages.call import Call
from mixweb.pages.conversion import Conversion, Problems, check_fields, conversion, type_name
from mixweb.pages.dependencies import Provider, provider
from mixweb.pages.patterns import KINDS, Kind
from mixweb.pages.sources import Source
from mixweb.pages.uploads import Upload

#: Gives one parameter its value; ``ValueError`` and the like when there is none.
Take = Callable[[Call], Any]

_BAD = (ValueError, TypeError, OverflowError, RecursionError)
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_TEXT = KINDS["str"]


@dataclass(frozen=True)
class Wanted:
    """
    What a parameter wants.

    :ivar name: as a client knows it.
    :ivar kind: the annotation, without what narrows it and without None.
    :ivar annotation: with None.
    :ivar source: the only one it has a value from, if it is narrowed.
    :ivar default: ``MISSING`` where there is none.
    :ivar optional: whether it may be None.
    """

    name: str
    kind: Any
    annotation: Any
    source: Source | None
    default: Any
    optional: bool


def wanted(parameter: Parameter, annotation: Any) -> Wanted:
    """What a parameter wants, by its resolved annotation."""
    annotation, source = _narrowed(Any if annotation is Parameter.empty else annotation)
    choices = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    kind = annotation
    if len(choices) == 2 and NoneType in choices:
        kind, inner = _narrowed(next(choice for choice in choices if choice is not NoneType))
        annotation, source = kind | None, source or inner
    default = MISSING if parameter.default is Parameter.empty else parameter.default
    name = parameter.name.replace("_", "-") if source is Source.HEADER else parameter.name
    return Wanted(name, kind, annotation, source, default, NoneType in choices)


def _narrowed(annotation: Any) -> tuple[Any, Source | None]:
    """An annotation without what narrows it, and that."""
    if get_origin(annotation) is not Annotated:
        return annotation, None
    inner, *notes = get_args(annotation)
    return inner, next((note for note in notes if isinstance(note, Source)), None)


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """
    The annotations of a function's parameters, resolved.

    :raises TypeError: naming one that cannot be resolved.
    """
    inner = inspect.unwrap(function)
    found = dict(inspect.get_annotations(inner))
    found.pop("return", None)
    for name, annotation in found.items():
        if isinstance(annotation, str):
            try:
                found[name] = eval(annotation, inner.__globals__)  # noqa: S307 - the program's own annotation
            except Exception as reason:
                raise TypeError(
                    f"parameter {name!r}: the annotation {annotation} cannot be resolved: {reason}"
                ) from None
    return found


class Binder:
    """
    Calls a function with arguments from requests.

    :param function: what is called.
    :param names: of the variables in the path; empty for one without a name.
    :param kinds: of those that have one.
    :param bound: how many parameters at the beginning are given by somebody else, as ``self`` is.
    :param all_variables: whether each variable of the path must be a parameter.
    :ivar reads_body: whether a form, a JSON document or files may be asked for.
    :ivar features: that have to be mounted for what it asks for.
    :raises TypeError: naming the parameter that can have no value.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        names: tuple[str, ...] = (),
        kinds: Mapping[str, Kind] | None = None,
        bound: int = 0,
        *,
        all_variables: bool = True,
    ) -> None:
        self.reads_body = False
        self.features: set[str] = set()
        self._positional: list[tuple[str, Take]] = []
        self._keyword: list[tuple[str, Take]] = []
        self._named: set[str] = set()
        self._rest: Take | None = None
        self._others: Take | None = None
        self._kinds = kinds or {}
        self._places = {name: index for index, name in enumerate(names) if name}
        self._unnamed = [index for index, name in enumerate(names) if not name]
        parameters = list(inspect.signature(function).parameters.values())[bound:]
        resolved = annotations_of(function)
        for parameter in parameters:
            self._add(parameter, resolved.get(parameter.name, Parameter.empty))
        if all_variables:
            self._check_path({parameter.name for parameter in parameters})
        self._takes = [take for _, take in self._positional]
        self.simple = not (self._keyword or self._rest or self._others)

    def _add(self, parameter: Parameter, annotation: Any) -> None:
        if parameter.kind is Parameter.VAR_POSITIONAL:
            self._rest = self._take_rest(parameter.name)
            self._named.add(parameter.name)
        elif parameter.kind is Parameter.VAR_KEYWORD:
            self._others = self._take_others()
        else:
            try:
                want = wanted(parameter, annotation)
                taken = (want.name, self._take(want, parameter.kind in _POSITIONAL))
            except TypeError as reason:
                raise TypeError(f"parameter {parameter.name!r}: {reason}") from None
            self._named.add(parameter.name)
            (self._positional if parameter.kind in _POSITIONAL else self._keyword).append(taken)

    def _check_path(self, parameters: set[str]) -> None:
        lost = [name for name in self._places if name not in parameters] if self._others is None else []
        if lost or (self._unnamed and self._rest is None):
            named = f"<{lost[0]}>" if lost else "a group"
            raise TypeError(f"{named} of its path is no parameter of it")

    def _take(self, want: Wanted, positional: bool) -> Take:
        given = provider(want.kind)
        if given is not None:
            return self._take_provided(want, given)
        if want.name in self._places and want.source is None:
            return take_path(want, self._places[want.name], self._kinds.get(want.name, _TEXT))
        if want.kind is Upload or want.kind == list[Upload]:
            self.reads_body = True
            return take_upload(want)
        made = conversion(want.annotation)
        check_fields(want.annotation)
        if self._unnamed and positional and want.source is None:
            return take_path(want, self._unnamed.pop(0), _TEXT)
        self.reads_body |= want.source not in (Source.QUERY, Source.HEADER, Source.COOKIE)
        return take_from(want, made)

    def _take_provided(self, want: Wanted, given: Provider) -> Take:
        if given.need is None or want.optional or want.default is not MISSING:
            return given.find
        if given.feature:
            self.features.add(given.feature)
        return given.need

    def _take_rest(self, name: str) -> Take:
        """``*rest``: the segments of ``<path:rest>``, or the variables that no parameter is called like."""
        if name in self._places:
            place = self._places[name]
            return lambda call: call.values[place].split("/") if call.values[place] else []
        left, self._unnamed = self._unnamed, []
        return lambda call: [call.values[index] for index in left]

    def _take_others(self) -> Take:
        """``**others``: all arguments that no parameter is called like."""
        self.reads_body = True
        names = self._named
        places = {name: place for name, place in self._places.items() if name not in names}

        def take(call: Call) -> dict[str, Any]:
            found = {**call.document, **{name: values[-1] for name, values in call.fields.items()}}
            found |= {name: call.values[place] for name, place in places.items()}
            return {name: value for name, value in found.items() if name not in names}

        return take

    def bind(self, call: Call) -> list[Any]:
        """
        The arguments, where all are positional.

        :raises HTTPError: 400 naming every parameter that has none, or a bad one.
        """
        try:
            return [take(call) for take in self._takes]
        except _BAD:
            raise self._refusal(call) from None

    def bind_all(self, call: Call) -> tuple[list[Any], dict[str, Any]]:
        """
        The arguments, positional and by name.

        :raises HTTPError: 400 naming every parameter that has none, or a bad one.
        """
        positional = self.bind(call)
        try:
            named = {name: take(call) for name, take in self._keyword}
        except _BAD:
            raise self._refusal(call) from None
        if self._rest is not None:
            positional += self._rest(call)
        if self._others is not None:
            named |= self._others(call)
        return positional, named

    def _refusal(self, call: Call) -> Exception:
        problems: list[tuple[str, str]] = []
        for name, take in (*self._positional, *self._keyword):
            try:
                take(call)
            except Problems as reason:
                problems += reason.inside(name)
        return HTTPError(400, "; ".join(f"{name}: {what}" for name, what in problems) + ".")


def take_path(want: Wanted, place: int, kind: Kind) -> Take:
    """
    From a variable of the path.

    :raises TypeError: when the variable is of another kind than the parameter.
    """
    if kind.type is not str:
        if want.kind not in (kind.type, Any, object) and (kind.type, want.kind) != (int, float):
            raise TypeError(
                f"<{kind.name}:{want.name}> of its path is {kind.type.__name__}, not {type_name(want.kind)}"
            )
        return lambda call: call.values[place]
    made = conversion(want.annotation)

    def take(call: Call) -> Any:
        value = call.values[place]
        return made.text(value) if value is not None else _default(want)

    return take


def _default(want: Wanted) -> Any:
    if want.default is MISSING:
        raise Problems(("", "missing"))
    return want.default


def take_upload(want: Wanted) -> Take:
    """From the files of a form."""
    many = want.kind is not Upload

    def take(call: Call) -> Any:
        found = call.content.uploads.get(want.name)
        if found is None:
            return _default(want)
        return found if many else found[-1]

    return take


def take_from(want: Wanted, made: Conversion) -> Take:
    """From the arguments of a request."""
    if want.source is Source.BODY:
        return lambda call: _default(want) if call.content.json is ABSENT else made.json(call.content.json)
    texts = _TEXTS.get(want.source)
    name, default, item = want.name, want.default, made.item

    def take(call: Call) -> Any:
        values = texts(call, name) if texts is not None else None
        if values:
            return made.text(values[-1]) if item is None else _items(item, values)
        if want.source in (None, Source.JSON) and name in (document := call.document):
            return made.json(document[name])
        if default is MISSING:
            raise Problems(("", "missing"))
        return default

    if want.source is not None or item is not None:
        return take
    from_text = made.from_text

    def take_text(call: Call) -> Any:
        """The same for what comes most often; what is wrong with it is asked of the other one."""
        values = call.fields.get(name)
        try:
            return from_text(values[-1]) if values else take(call)
        except _BAD:
            return take(call)

    return take_text


def _items(item: Conversion, values: list[str]) -> list[Any]:
    return [item.text(value) for value in values]


def _headers(call: Call, name: str) -> list[str]:
    lines = call.request.requestHeaders.getRawHeaders(name.encode()) or []
    return [bytes(line).decode("utf-8", "surrogateescape") for line in lines]


def _cookies(call: Call, name: str) -> list[str]:
    found = call.request.received_cookies.get(name.encode())
    return [] if found is None else [found.decode("utf-8", "surrogateescape")]


#: The values of a name in each source of text.
_TEXTS: dict[Source | None, Callable[[Call, str], list[str] | None]] = {
    None: lambda call, name: call.fields.get(name),
    Source.QUERY: lambda call, name: call.query.get(name),
    Source.FORM: lambda call, name: call.content.form.get(name),
    Source.HEADER: _headers,
    Source.COOKIE: _cookies,
}
