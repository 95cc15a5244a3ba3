"""
Pages, their arguments: by name, from the query, the form, or both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING
from typing import Any, TypeVar, overload

from mixweb.engine.errors import HTTPError
from mixweb.pages._page_cookies import PageCookies
from mixweb.pages.bodies import ABSENT, Fields
from mixweb.pages.conversion import Problems, conversion
from mixweb.pages.uploads import Upload

T = TypeVar("T")

#: What text may not have in it when it is asked for with ``type=str``, unless it is told what it may not.
FORBIDDEN = "`#'\"<>"


class ArgumentGetter:
    """
    Gives the last value of an argument: ``get_argument(name, default, strip, type, forbid)``.

    :param fields: where it is looked for.
    :param decode: makes text of the bytes of a value.
    """

    def __init__(self, fields: Fields, decode: Callable[[bytes, str], str]) -> None:
        self._fields = fields
        self._decode = decode

    @overload
    def __call__(
        self, name: str, default: str = ..., strip: bool = True, *, forbid: str = "", danger_set: str | None = None
    ) -> str: ...
    @overload
    def __call__(
        self, name: str, default: None, strip: bool = True, *, forbid: str = "", danger_set: str | None = None
    ) -> str | None: ...
    @overload
    def __call__(
        self,
        name: str,
        default: None,
        strip: bool = True,
        type: type[T] = ...,
        forbid: str = "",
        danger_set: str | None = None,
    ) -> T | None: ...
    @overload
    def __call__(
        self,
        name: str,
        default: T = ...,
        strip: bool = True,
        type: type[T] = ...,
        forbid: str = "",
        danger_set: str | None = None,
    ) -> T: ...
    def __call__(
        self,
        name: str,
        default: Any = MISSING,
        strip: bool = True,
        type: Any = None,
        forbid: str = "",
        danger_set: str | None = None,
    ) -> Any:
        """
        The value.

        :param default: what it is when there is none.
        :param strip: take blanks at its ends away.
        :param type: what it is made: any annotation that an argument may have.
        :param forbid: characters that text may not have in it.
        :param danger_set: the same.
        :raises HTTPError: 400 when there is none and no default, or a bad one.
        """
        found = self.all(name, strip)
        if not found:
            if default is MISSING:
                raise HTTPError(400, f"{name}: missing.")
            return default
        refused = forbid or danger_set or (FORBIDDEN if type is str and danger_set is None else "")
        if not set(refused).isdisjoint(found[-1]):
            raise HTTPError(400, f"{name}: may have none of {' '.join(refused)} in it.")
        if type is None:
            return found[-1]
        try:
            return conversion(type).text(found[-1])
        except Problems as reason:
            raise HTTPError(400, f"{name}: {reason}.") from None

    def all(self, name: str, strip: bool = True) -> list[str]:
        """All values, in order."""
        raw = [value.encode("utf-8", "surrogateescape") for value in self._fields.get(name, ())]
        texts = [self._decode(value, name) for value in raw]
        return [text.strip() for text in texts] if strip else texts


class PageArguments(PageCookies):
    """What of a page reads arguments."""

    @property
    def get_argument(self) -> ArgumentGetter:
        """The last value of an argument in query or form, the form's before the query's."""
        return ArgumentGetter(self.call.fields, self.decode_argument)

    @property
    def get_query_argument(self) -> ArgumentGetter:
        """The last value of an argument in the query."""
        return ArgumentGetter(self.call.query, self.decode_argument)

    @property
    def get_body_argument(self) -> ArgumentGetter:
        """The last value of an argument in the form."""
        return ArgumentGetter(self.call.content.form, self.decode_argument)

    def get_arguments(self, name: str, strip: bool = True) -> list[str]:
        """All values of an argument in query and form."""
        return self.get_argument.all(name, strip)

    def get_query_arguments(self, name: str, strip: bool = True) -> list[str]:
        """All values of an argument in the query."""
        return self.get_query_argument.all(name, strip)

    def get_body_arguments(self, name: str, strip: bool = True) -> list[str]:
        """All values of an argument in the form."""
        return self.get_body_argument.all(name, strip)

    @property
    def files(self) -> dict[str, list[Upload]]:
        """The files of the form."""
        return self.call.content.uploads

    @property
    def json(self) -> Any:
        """
        The JSON document in the body.

        :raises HTTPError: 400 when there is none.
        """
        if self.call.content.json is ABSENT:
            raise HTTPError(400, "The request brings no JSON document.")
        return self.call.content.json

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """
        Make text of the bytes of an argument, or of a variable of the path; override for another encoding.

        :raises HTTPError: 400 when it is not UTF-8.
        """
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise HTTPError(400, f"{name or 'an argument'}: expected text in UTF-8.") from None
