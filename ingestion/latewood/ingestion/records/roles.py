"""What the headings and header words of the known layouts mean: Nygard, MADR 2 to 4, and their common variants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from latewood.ingestion.records.markdown import plain

__all__ = ["SECTION_NAMES", "header_role", "section_role"]

_SECTIONS: Final[Mapping[str, str]] = {
    "status": "status|state|decision status|current status",
    "date": "date|decision date|date of decision",
    "deciders": "deciders|decision makers|decision-makers|authors|author|decider|approvers",
    "context": "context|context and problem statement|context and problem|problem|problem statement|background|"
    "motivation|problem description|issue|the problem|question|description|context & problem statement",
    "decision": "decision|decisions|decision outcome|the decision|outcome|resolution|chosen option|decision made",
    "proposal": "proposal|what's proposed|the existing decision|proposed decision|proposed solution|solution",
    "rationale": "rationale|reasoning|justification|reasons|why|decision rationale|reasoning for decision|argument",
    "consequences": "consequences|implications|consequence|impact|resulting context",
    "considered": "considered options|options considered|options|considered alternatives|options we considered",
    "pros": "pros and cons of the options|pros and cons|pros & cons|comparison of options",
    "alternatives": "alternatives|alternatives considered|alternative|alternative options|other options considered",
    "rejected": "rejected|rejected alternatives|rejected options|alternatives rejected|not chosen",
    "relations": "links|related decisions|related|related adrs|related records|more information|references|see also",
}
_ROLE: Final = {name: role for role, names in _SECTIONS.items() for name in names.split("|")}

SECTION_NAMES: Final = frozenset(_ROLE)
"""Headings that are never a record's title."""

_HEADER: Final[Mapping[str, str]] = {
    "status": "status|state",
    "date": "date|decided|decided on|decision date",
    "deciders": "deciders|decision-makers|decision makers|decided by|authors|author|approvers|owner",
    "consulted": "consulted",
    "informed": "informed",
    "title": "title|name",
    "number": "number|id|adr|adr number|adr-number",
}
_HEADER_ROLE: Final = {name: role for role, names in _HEADER.items() for name in names.split("|")}


def section_role(title: str) -> str | None:
    """Return what a heading means (one of the roles above), or None for one of the author's own."""
    words = plain(title).replace("\u2019", "'").strip().rstrip(":").casefold()
    words = re.sub(r"^\d{1,2}(?:\.\d{1,2})*[.)]?\s+", "", words)
    if words in _ROLE:
        return _ROLE[words]
    if re.match(r"(?:positive|negative|neutral) consequences\b", words):
        return "consequences"
    return "alternatives" if re.match(r"alternative(?:s| ways| approaches| solutions)\b", words) else None


def header_role(key: str) -> str | None:
    """Return what a frontmatter key or a header line's word means, or None."""
    return _HEADER_ROLE.get(plain(key).replace("_", "-").strip().casefold())
