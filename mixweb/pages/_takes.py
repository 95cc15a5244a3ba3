"""
Where the values of one parameter come from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass
from inspect import Parameter
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from mixweb.pages.bodies import ABSENT
from mixweb.pages.call import Call
from mixweb.pages.conversion import Conversion, Problems, conversion, type_name
from mixweb.pages.patterns import Kind
from mixweb.pages.sources import Source
from mixweb.pages.uploads import Upload

#: Gives one parameter its value; ``ValueError`` and the like when there is none.
Take = Callable[[Call], Any]

#: What a value that cannot be made of what is given raises.
BAD = (ValueError, TypeError, OverflowError, RecursionError)


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
        except BAD:
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
