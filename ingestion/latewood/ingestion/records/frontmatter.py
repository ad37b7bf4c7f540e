"""Frontmatter as flat text values. Every scalar stays the string it was written as; aliases are refused."""

from __future__ import annotations

import re
from typing import Final, cast

import yaml

from latewood.ingestion.records.markdown import one_line
from latewood.ingestion.records.model import Problem

__all__ = ["Entry", "read_frontmatter"]

FRONTMATTER_CHARS_MAX: Final = 16_384
ENTRIES_MAX: Final = 100
_VALUE_CHARS_MAX: Final = 2_000
_PLAIN: Final = re.compile(r"([A-Za-z][\w .-]{0,60}?)\s*:(?:\s+(.*))?$")

Entry = tuple[str, tuple[str, ...], int]
"""A key as written, its values (one for a scalar), its 1-based line."""


class _Loader(yaml.BaseLoader):
    """Reads no dates, numbers or truth values ("no" is a word), and no alias, which could unfold without end."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def _values(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(text for one in cast("list[object]", value) for text in _values(one))[:ENTRIES_MAX]
    if isinstance(value, dict):
        pairs = cast("dict[object, object]", value)
        return tuple(f"{key}: {', '.join(_values(inner))}" for key, inner in pairs.items())[:ENTRIES_MAX]
    text = one_line(str(value))[:_VALUE_CHARS_MAX] if value is not None else ""
    return (text,) if text else ()


def read_frontmatter(text: str) -> tuple[list[Entry], list[Problem]]:
    """Read the block that begins on line 2; a broken one is read line by line, with a problem."""
    if len(text) > FRONTMATTER_CHARS_MAX:
        message = f"{len(text)} characters, more than {FRONTMATTER_CHARS_MAX}"
        return [], [Problem("frontmatter.too_long", message, 1)]
    lines: dict[str, int] = {}
    for n, line in enumerate(text.split("\n")):
        found = _PLAIN.match(line)
        if found:
            lines.setdefault(found.group(1), n + 2)
    try:
        loaded: object = yaml.load(text, Loader=_Loader)  # noqa: S506 - a BaseLoader makes nothing but strings
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        said = one_line(str(getattr(error, "problem", None) or error))[:200]
        problem = Problem("frontmatter.broken", said, 2 + (mark.line if isinstance(mark, yaml.Mark) else 0))
        return _line_by_line(text), [problem]
    if loaded in (None, ""):
        return [], []
    if not isinstance(loaded, dict):
        return _line_by_line(text), [Problem("frontmatter.broken", "it is no list of `key: value` lines", 2)]
    pairs = cast("dict[object, object]", loaded)
    return [(str(key), _values(value), lines.get(str(key), 2)) for key, value in pairs.items()][:ENTRIES_MAX], []


def _line_by_line(text: str) -> list[Entry]:
    entries: list[Entry] = []
    for n, line in enumerate(text.split("\n")):
        found = _PLAIN.match(line)
        value = one_line((found.group(2) or "") if found else "").strip("\"'")[:_VALUE_CHARS_MAX]
        if found:
            entries.append((found.group(1), (value,) if value else (), n + 2))
    return entries[:ENTRIES_MAX]
