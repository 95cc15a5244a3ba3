"""
What a new password must be like, and who may make users.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mixweb.features.auth._hashes import MAX_PASSWORD_BYTES
from mixweb.features.auth._rules import Who, parse_who

#: Who makes a user of this role makes one without any.
PLAIN = "user"

_KINDS = (
    ("small letters", re.compile("[a-z]")),
    ("capitals", re.compile("[A-Z]")),
    ("digits", re.compile("[0-9]")),
    ("others", re.compile("[^a-zA-Z0-9]")),
)


@dataclass(frozen=True)
class PasswordPolicy:
    """
    What a new password must be like.

    :ivar length: characters that it has at least.
    :ivar kinds: of small letters, capitals, digits and others it has so many kinds at least.
    """

    length: int = 10
    kinds: int = 3

    def problem(self, password: str, name: str) -> str:
        """What is wrong with a password for a user; empty when nothing is."""
        if len(password) < self.length:
            return f"A password has at least {self.length} characters."
        if len(password) > MAX_PASSWORD_BYTES:
            return f"A password has at most {MAX_PASSWORD_BYTES} characters."
        if sum(bool(kind.search(password)) for _, kind in _KINDS) < self.kinds:
            return f"A password has at least {self.kinds} of these: {', '.join(name for name, _ in _KINDS)}."
        if name.lower() in password.lower():
            return "A password does not have the user's name in it."
        return ""


class Creators:
    """
    Who may make users.

    :param setting: by role, whom a rule would admit; :data:`PLAIN` is for users without roles.
    :raises ValueError: naming what is malformed.
    """

    def __init__(self, setting: Mapping[str, str]) -> None:
        self.rules: dict[str, Who] = {}
        for role, words in setting.items():
            try:
                self.rules[role] = parse_who(words.replace(",", " ").split())
            except ValueError as reason:
                raise ValueError(f"register: {role}: {reason}") from None

    def __bool__(self) -> bool:
        return bool(self.rules)

    def may(self, user: Any | None, roles: frozenset[str]) -> bool:
        """
        Whether somebody may make a user of these roles.

        :param user: ``None`` for a stranger.
        """
        rules = [self.rules.get(role) for role in roles or {PLAIN}]
        return all(rule is not None and (rule.anyone or (user is not None and rule.admits(user))) for rule in rules)
