"""
Who may do what: rules over methods and paths, the first that matches decides.

A rule reads ``[METHOD,...] PATH WHO ...``. ``PATH`` is a path and all below it, a glob, or ``^`` and a regular expression
over the whole canonical path. ``WHO`` is any of ``name``, ``!name``, ``#role``, ``!#role`` and ``*`` (every known user),
or ``anyone``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mixweb.paths import CanonicalPath, PathMatcher, split_path

_METHODS = re.compile(r"[A-Z][A-Z-]*(?:,[A-Z][A-Z-]*)*\Z")
_WILDCARD = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class Who:
    """
    Whom a rule admits.

    :ivar anyone: everybody, known or not.
    :ivar known: every known user who is not named otherwise.
    """

    anyone: bool = False
    known: bool = False
    names: frozenset[str] = frozenset()
    not_names: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    not_roles: frozenset[str] = frozenset()

    def admits(self, user: Any) -> bool:
        """Whether a user may: what is said of the name counts more than what is said of roles, a no more than a yes."""
        if self.anyone:
            return True
        if user.name in self.names or user.name in self.not_names:
            return user.name in self.names
        if self.not_roles and not self.not_roles.isdisjoint(user.roles):
            return False
        return self.known or not self.roles.isdisjoint(user.roles)


KNOWN = Who(known=True)


@dataclass(frozen=True, slots=True)
class Everyone:
    """Admits those whom each of several admits."""

    all: tuple[Who, ...]

    @property
    def anyone(self) -> bool:
        """Whether that is everybody."""
        return all(who.anyone for who in self.all)

    def admits(self, user: Any) -> bool:
        """Whether a user may."""
        return all(who.admits(user) for who in self.all)


def parse_who(words: Iterable[str]) -> Who:
    """
    Whom words admit.

    :raises ValueError: when they contradict each other, or there are none.
    """
    given = list(words)
    if not given:
        raise ValueError("say who: names, !name, #role, !#role, * or anyone")
    if "anyone" in given:
        if len(given) > 1:
            raise ValueError("'anyone' stands alone: it admits all that the others refuse")
        return Who(anyone=True)
    sorts: dict[str, set[str]] = {"": set(), "!": set(), "#": set(), "!#": set()}
    for word in given:
        name = word.lstrip("!#")
        mark = word[: len(word) - len(name)]
        if word != "*" and (mark not in sorts or not name or name == "*"):
            raise ValueError(f"{word!r} is neither name, !name, #role, !#role, * nor anyone")
        sorts[mark].add(name)
    names, not_names, roles, not_roles = map(frozenset, sorts.values())
    both = [*(names & not_names), *(f"#{role}" for role in roles & not_roles)]
    if both:
        raise ValueError(f"{both[0]} is both admitted and refused")
    return Who(False, "*" in names, names - {"*"}, not_names, roles, not_roles)


class Pattern:
    """
    The path of a rule.

    :raises ValueError: when it is malformed.
    """

    def __init__(self, text: str) -> None:
        try:
            self.regex = re.compile(text) if text.startswith("^") else None
        except re.error as reason:
            raise ValueError(f"{text!r} is not a regular expression: {reason}") from None
        self.matcher = PathMatcher([text])
        # The segments that every path of it begins with.
        plain = "" if self.regex is not None else _WILDCARD.split(text, maxsplit=1)[0]
        self.literal = split_path(plain if plain == text else plain.rpartition("/")[0])

    def match(self, path: CanonicalPath) -> bool:
        """Whether a path is meant."""
        if self.regex is not None:
            return self.regex.match(path.text.decode("utf-8", "surrogateescape")) is not None
        return self.matcher.match(path)

    def may_match(self, path: CanonicalPath) -> bool:
        """Whether a path may be meant that ends at a raw mount: what is below is that mount's affair, not known here."""
        length = min(len(self.literal), len(path.segments))
        return path.raw is not None and self.literal[:length] == path.segments[:length]


class Secret(Pattern):
    """A path from the root, or segments that may stand anywhere in a path, and all below them."""

    def __init__(self, text: str) -> None:
        self.anchored = text.startswith("/")
        self.literal = split_path(text)
        if not self.literal:
            raise ValueError(f"{text!r} names no path")

    def match(self, path: CanonicalPath) -> bool:
        length, segments = len(self.literal), path.segments
        starts = [0] if self.anchored else range(len(segments) - length + 1)
        return any(segments[start : start + length] == self.literal for start in starts)

    def may_match(self, path: CanonicalPath) -> bool:
        return path.raw is not None if not self.anchored else super().may_match(path)


@dataclass(frozen=True, slots=True)
class Rule:
    """
    Who may use some methods at some paths.

    :ivar text: as it was written.
    :ivar methods: ``None`` for all.
    """

    text: str
    methods: frozenset[bytes] | None
    pattern: Pattern
    who: Who


def parse_rule(text: str) -> Rule:
    """
    The rule that a line of the settings means.

    :raises ValueError: when it is malformed.
    """
    words = text.split()
    methods = None
    try:
        if words and _METHODS.match(words[0]):
            names = words.pop(0).split(",")
            # Who may not GET may not HEAD: it is answered from the same page.
            methods = frozenset(name.encode() for name in [*names, *(["HEAD"] if "GET" in names else [])])
        if not words or not words[0].startswith(("/", "^", "*")):
            raise ValueError("expected [METHOD,...] /path WHO ...")
        return Rule(text, methods, Pattern(words[0]), parse_who(words[1:]))
    except ValueError as reason:
        raise ValueError(f"{text!r}: {reason}") from None


def _parsed(setting: str, parse: Callable[[str], Rule], texts: Iterable[str]) -> list[Rule]:
    try:
        return [parse(text) for text in texts]
    except ValueError as reason:
        raise ValueError(f"{setting}: {reason}") from None


class Policy:
    """
    Decides who may have a request answered.

    :param rules: the lines of the settings, in order.
    :param secrets: paths that every known user may use; they come after the rules.
    :param paths: patterns of what is guarded; nothing for everything.
    :param except_paths: patterns of what is not.
    :raises ValueError: naming the setting, and the rule in it that is malformed.
    """

    def __init__(
        self,
        rules: Sequence[str] = (),
        secrets: Sequence[str] = (),
        paths: Sequence[str] = (),
        except_paths: Sequence[str] = (),
    ) -> None:
        self.rules = _parsed("rules", parse_rule, rules)
        self.rules += _parsed("secrets", lambda text: Rule(text, None, Secret(text), KNOWN), secrets)
        self.guarded = [Pattern(text) for text in paths or ["/"]]
        self.matcher = PathMatcher(paths, except_paths)
        self.kept = PathMatcher((), except_paths)
        # Where rules say what is guarded, the rest is open; where paths do, the rest of them is for known users.
        self.otherwise = None if self.rules and not paths else KNOWN
        self._remembered = lru_cache(maxsize=1024)(self._decide)

    def decide(self, method: bytes, path: CanonicalPath) -> Who | Everyone | None:
        """
        Who may; ``None`` where nobody asks.

        :param path: where it ends at a raw mount, every rule that may be meant below it has to admit.
        """
        if path.raw is not None:
            return self._decide_raw(method, path)
        return self._remembered(method, path)

    def _decide(self, method: bytes, path: CanonicalPath) -> Who | Everyone | None:
        if not self.matcher.match(path):
            return None
        rule = self._first(method, path)
        return self.otherwise if rule is None else rule.who

    def reason(self, method: bytes, path: CanonicalPath) -> str:
        """Which rule decides, in words."""
        rule = self._first(method, path)
        if path.raw is None and rule is not None:
            return f"the rule {rule.text!r}"
        who = self.decide(method, path)
        return (
            "nobody is asked" if who is None else "known users" if path.raw is None else "all rules that may be meant"
        )

    def _first(self, method: bytes, path: CanonicalPath) -> Rule | None:
        for rule in self.rules:
            if (rule.methods is None or method in rule.methods) and rule.pattern.match(path):
                return rule
        return None

    def _decide_raw(self, method: bytes, path: CanonicalPath) -> Who | Everyone | None:
        if not self.kept.match(path) or not any(item.match(path) or item.may_match(path) for item in self.guarded):
            return None
        found: list[Who | None] = []
        for rule in self.rules:
            if rule.methods is None or method in rule.methods:
                if rule.pattern.match(path):
                    found.append(rule.who)
                    break
                if rule.pattern.may_match(path):
                    found.append(rule.who)
        else:
            found.append(self.otherwise)
        asked = tuple(who for who in found if who is not None)
        return Everyone(asked) if asked else None
