"""
Steps that make another path of a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TypeAlias

from mixweb.kit.placeholders import Template
from mixweb.kit.rules import capture_names, captures, clean_url, compile_pattern, path_text, quote_path, quote_text
from mixweb.paths import canonical

#: What one rule makes of the text of a path: another one and a query to put before the request's.
Step: TypeAlias = Callable[[str], tuple[str, str]]


def rule_step(pattern: str, replacement: str, setting: str = "rules") -> Step:
    """
    What a pattern matches becomes the replacement: a path, not percent-encoded, with ``{path}`` and the captures in it.
    After a ``?`` it is a query, in which values are percent-encoded.

    :param setting: the name of the setting, for errors.
    :raises ValueError: naming the rule that is malformed.
    """
    path, _, query = replacement.partition("?")
    try:
        matcher = compile_pattern(pattern)
        if not path.startswith(("/", "{path}")):
            raise ValueError(f"{replacement!r} is not a path: begin it with / or {{path}}")
        names = ["path", *capture_names(matcher)]
        path_template: Template[Mapping[str, str]] = Template(path, {name: itemgetter(name) for name in names})
        query_template: Template[Mapping[str, str]] = Template(
            clean_url(query).replace("#", "%23"), {name: itemgetter(name) for name in names}
        )
    except ValueError as reason:
        raise ValueError(f"{setting}: {pattern}: {reason}") from None

    def step(text: str) -> tuple[str, str]:
        found = matcher.match(text)
        if found is None:
            return text, ""
        values = {**captures(found), "path": text}
        return path_template.render(values), query_template.render(values, quote_text)

    return step


def rewritten(segments: Sequence[bytes], chain: Iterable[Step]) -> tuple[tuple[bytes, ...], str] | None:
    """
    The segments after all steps, canonical again after each, and the queries they add; ``None`` where none applies.

    :param segments: decoded.
    """
    text = path_text(segments)
    before, queries = text, []
    for step in chain:
        changed, query = step(text)
        queries.append(query)
        if changed != text:
            text = path_text(canonical(quote_path(changed).encode("ascii")).segments)
    added = "&".join(filter(None, queries))
    if text == before and not added:
        return None
    return canonical(quote_path(text).encode("ascii")).segments, added
