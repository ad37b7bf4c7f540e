"""Write a record as MADR 4. What `parse.parse_record` reads from it is what was written, both sides' links included."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

import yaml

from latewood.graph_schema.model import DecisionStatus
from latewood.ingestion.records.links import SupersessionEdge
from latewood.ingestion.records.markdown import contain, deepen, one_line, plain
from latewood.ingestion.records.model import LinkKind, ParsedOption, ParsedRecord, RecordLink
from latewood.ingestion.records.options import choose
from latewood.ingestion.records.parse import split_number
from latewood.ingestion.records.relations import file_number, relations, settle_links
from latewood.ingestion.records.statuses import read_status

__all__ = ["madr_name", "to_madr", "with_both_sides"]

_PHRASES: Final[Mapping[LinkKind, str]] = {
    LinkKind.SUPERSEDES: "Supersedes",
    LinkKind.SUPERSEDED_BY: "Superseded by",
    LinkKind.AMENDS: "Amends",
    LinkKind.AMENDED_BY: "Amended by",
    LinkKind.RELATED: "Relates to",
}
_SLUG_CHARS_MAX: Final = 60


def madr_name(number: int | None, title: str) -> str:
    """Return the file name of a record: ``0012-use-postgres.md``, or ``use-postgres.md`` without a number."""
    slug = re.sub(r"[^a-z0-9]+", "-", plain(title).lower()).strip("-")[:_SLUG_CHARS_MAX].rstrip("-") or "record"
    return f"{slug}.md" if number is None else f"{number:04d}-{slug}.md"


def with_both_sides(
    records: Sequence[ParsedRecord], edges: Iterable[SupersessionEdge], keys: Mapping[str, str]
) -> list[ParsedRecord]:
    """Give each record the links that the other side of an edge claims, so that both files say the same.

    Args:
        records: of one folder.
        edges: its supersessions, by key.
        keys: path of each record to its key (`links.record_keys`).
    """
    paths = {key: path for path, key in keys.items()}
    by_path = {record.path: record for record in records}
    added: dict[str, list[RecordLink]] = {}
    for edge in edges:
        successor, predecessor = by_path[paths[edge.successor]], by_path[paths[edge.predecessor]]
        for record, other, kind in (
            (successor, predecessor, LinkKind.SUPERSEDES),
            (predecessor, successor, LinkKind.SUPERSEDED_BY),
        ):
            added.setdefault(record.path, []).append(_exact(record, other, kind))
    return [_with_links(record, added.get(record.path, [])) for record in records]


def _exact(record: ParsedRecord, other: ParsedRecord, kind: LinkKind) -> RecordLink:
    """Write the link from one record's file to the other's."""
    file = posixpath.relpath(other.path, posixpath.dirname(record.path) or ".")
    words = plain(other.title) if other.number is None else f"ADR {other.number}"
    return RecordLink(kind, other.number, file, words)


def _with_links(record: ParsedRecord, added: Sequence[RecordLink]) -> ParsedRecord:
    """Put exact links in the place of the claims they stand for, dead file names among them."""
    exact = {(link.kind, link.number) for link in added if link.number is not None}
    kept = [link for link in record.links if (link.kind, link.number) not in exact]
    links = settle_links([*kept, *added])[0]
    status = record.status_raw
    successors = [_target(link) for link in links if link.kind is LinkKind.SUPERSEDED_BY]
    if record.status is DecisionStatus.SUPERSEDED and any(link.kind is LinkKind.SUPERSEDED_BY for link in added):
        status = f"Superseded by {' and '.join(successors)}"
    return replace(record, links=links, status_raw=status)


def to_madr(record: ParsedRecord) -> str:
    """Write *record*. Texts that would break out of their section are contained, never dropped.

    The status is written as it was (`status_raw`) where that still says `status`, else as the word alone.
    """
    blocks = [_front(record), f"# {_title(record)}"]
    blocks += [contain(section.text) for section in record.others if not section.title]
    if record.context:
        blocks.append(f"## Context and Problem Statement\n\n{contain(record.context)}")
    blocks += _options(record)
    blocks += _decision(record)
    blocks += _weighing(record)
    if record.links:
        lines = [f"* {_PHRASES[link.kind]} {_target(link)}" for link in record.links]
        blocks.append("## Related Decisions\n\n" + "\n".join(lines))
    blocks += [f"## {one_line(section.title)}\n\n{contain(section.text)}" for section in record.others if section.title]
    if record.definitions:
        blocks.append("\n".join(f"[{label}]: {_href(target)}" for label, target in record.definitions))
    return "\n\n".join(block.rstrip() for block in blocks if block.strip()) + "\n"


def _front(record: ParsedRecord) -> str:
    entries: dict[str, str | list[str]] = {}
    if record.status_raw and read_status(record.status_raw).status == record.status:
        entries["status"] = record.status_raw
    elif record.status is not None:
        entries["status"] = record.status.value
    day = record.date.isoformat() if record.date else record.date_raw
    if day:
        entries["date"] = day
    for key, people in (
        ("decision-makers", record.deciders), ("consulted", record.consulted), ("informed", record.informed)
    ):  # fmt: skip
        if people:
            entries[key] = list(people)
    if record.number is not None and file_number(record.path) is None:
        entries["id"] = str(record.number)
    entries |= {key: value for key, value in record.metadata if key not in entries}
    if not entries:
        return ""
    return f"---\n{yaml.safe_dump(entries, allow_unicode=True, sort_keys=False, width=1_000_000)}---"


def _title(record: ParsedRecord) -> str:
    """Write the title, with its number where it would be misread without ("3 ways to ..." as record 3)."""
    title = one_line(record.title)
    number = record.number
    if split_number(title, number) == (None, title) and not re.match(r"\d", title):
        return title
    return title if number is None else f"ADR-{number:04d}: {title}"


def _options(record: ParsedRecord) -> list[str]:
    if not record.options or _as_alternatives(record):
        return []
    return ["## Considered Options\n\n" + "\n".join(f"* {one_line(option.title)}" for option in record.options)]


def _chosen(record: ParsedRecord) -> ParsedOption | None:
    return next((option for option in record.options if option.chosen), None)


def _as_alternatives(record: ParsedRecord) -> bool:
    """Whether the options must stand under "Alternatives", where none can be taken for the chosen one."""
    return _chosen(record) is None and choose(record.options, None, record.choice or "") != record.options


def _decision(record: ParsedRecord) -> list[str]:
    chosen = _chosen(record)
    choice = contain(record.choice or "")
    rationale = contain(record.rationale or "")
    inline = chosen is not None and bool(rationale) and "\n" not in rationale
    words: list[str] = []
    if chosen is not None:
        title = one_line(chosen.title).replace('"', "'")
        words.append(f'Chosen option: "{title}"' + (f", because {rationale}" if inline else ""))
        choice = "" if choice == title else choice
    words.append(choice)
    if rationale and not inline:
        words.append(f"### Rationale\n\n{deepen(rationale)}")
    if record.consequences:
        words.append(f"### Consequences\n\n{deepen(contain(record.consequences))}")
    body = "\n\n".join(one for one in words if one)
    return [f"## Decision Outcome\n\n{body}"] if body else []


def _weighing(record: ParsedRecord) -> list[str]:
    alternatives = _as_alternatives(record)
    parts: list[str] = []
    for option in record.options:
        reason = f"* Bad, because {one_line(option.rejected_because)}" if option.rejected_because else ""
        body = "\n\n".join(one for one in (deepen(contain(option.description or "")), reason) if one)
        if body or alternatives or re.search(r"[:*]|\s[\u2013\u2014-]{1,2}\s", option.title):
            parts.append(f"### {one_line(option.title)}\n\n{body}".rstrip())
    if not parts:
        return []
    return [f"## {'Alternatives' if alternatives else 'Pros and Cons of the Options'}\n\n" + "\n\n".join(parts)]


def _target(link: RecordLink) -> str:
    """Write the target so that it reads back as itself: a link where there is a file, else words with the number."""
    words = re.sub(r"[\[\]]", "", one_line(link.text))
    if link.file is not None:
        return f"[{words or link.file}]({_href(link.file)})"
    back = relations(f"* Supersedes {words}", {})
    return words if len(back) == 1 and back[0].number == link.number and back[0].text == words else f"ADR {link.number}"


def _href(target: str) -> str:
    return target if "://" in target else quote(target, safe="/#?=&.,;:+~@!$'*-_")
