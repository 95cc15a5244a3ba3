"""
Arguments by signature: each parameter of a handler has its value from the path, then query and form, then the JSON object of
the body, by name and annotation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from inspect import Parameter
from typing import Any

from mixweb.engine.errors import HTTPError
from mixweb.pages._takes import BAD, Take, Wanted, take_from, take_path, take_upload, wanted
from mixweb.pages.call import Call
from mixweb.pages.conversion import Problems, check_fields, conversion
from mixweb.pages.dependencies import Provider, provider
from mixweb.pages.patterns import KINDS, Kind
from mixweb.pages.sources import Source
from mixweb.pages.uploads import Upload

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_TEXT = KINDS["str"]


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
        except BAD:
            raise self._refusal(call) from None

    def bind_all(self, call: Call) -> tuple[list[Any], dict[str, Any]]:
        """
        The arguments, positional and by name.

        :raises HTTPError: 400 naming every parameter that has none, or a bad one.
        """
        positional = self.bind(call)
        try:
            named = {name: take(call) for name, take in self._keyword}
        except BAD:
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
