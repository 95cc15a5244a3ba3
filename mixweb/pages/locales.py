"""
The language of a page: what the client prefers of what there is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from gettext import NullTranslations, translation

from mixweb.engine.fields import weights

#: What a catalogue of translations is called: ``FOLDER/de/LC_MESSAGES/messages.mo``.
_DOMAIN = "messages"


class Locale:
    """
    A language, and the translations into it.

    :ivar code: as in ``Accept-Language``: ``en``, ``pt-BR``.
    """

    def __init__(self, code: str, translations: NullTranslations | None = None) -> None:
        self.code = code
        self._translations = translations or NullTranslations()

    def translate(self, message: str, plural_message: str = "", count: int | None = None) -> str:
        """A message in this language, or as it is; ``plural_message`` is taken where the count asks for it."""
        if count is None:
            return self._translations.gettext(message)
        return self._translations.ngettext(message, plural_message or message, count)

    __call__ = translate

    def __str__(self) -> str:
        return self.code


class Locales:
    """
    The languages of an application.

    :param codes: the first one is for those who prefer none of them.
    :param folder: of catalogues as gettext has them; none when it is empty.
    """

    def __init__(self, codes: Iterable[str], folder: str = "") -> None:
        found = [*codes, *(_catalogues(folder) if folder else ())]
        self._locales = {_key(code): Locale(code, _translations(folder, code)) for code in dict.fromkeys(found)}
        self.default = next(iter(self._locales.values()), Locale("en"))

    def get(self, code: str) -> Locale | None:
        """The locale with this code, or of its language."""
        key = _key(code)
        return self._locales.get(key) or self._locales.get(key.partition("-")[0])

    def best(self, accept: Sequence[bytes]) -> Locale | None:
        """What a client likes best (RFC 4647, 3.4); ``None`` where it says nothing, or likes none."""
        liked = weights(accept)
        for code in sorted(liked, key=lambda code: -liked[code]):
            found = self.get(code.decode("latin-1")) if liked[code] > 0 else None
            if found is not None:
                return found
        return None


def _key(code: str) -> str:
    return code.replace("_", "-").lower()


def _catalogues(folder: str) -> list[str]:
    names = sorted(os.listdir(folder))
    return [name for name in names if os.path.exists(os.path.join(folder, name, "LC_MESSAGES", f"{_DOMAIN}.mo"))]


def _translations(folder: str, code: str) -> NullTranslations:
    names = [code.replace("-", "_"), code]
    return translation(_DOMAIN, folder, names, fallback=True) if folder else NullTranslations()
