"""Ways out: decisions as a folder of MADR files that can be imported again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from latewood.graph_schema.clock import NOW, AsOf
from latewood.graph_schema.errors import ConflictError, InvalidError, UnavailableError
from latewood.graph_schema.model import Decision
from latewood.graph_schema.values import Json
from latewood.ingestion.records import ParsedOption, ParsedRecord, Section, madr_name, to_madr, with_both_sides
from latewood.ingestion.records.links import SupersessionEdge
from latewood.ingestion.state import DELETED, FILE
from latewood.memory.reader import Reader
from latewood.storage.port import PAGE_MAX

__all__ = ["ExportReport", "export_adr"]

_NUMBERED: Final = re.compile(r"\w+:(\d{1,6})(?:~.*)?")


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote: the folder, how many decisions and supersessions, and the files by decision key or id."""

    path: str
    space: str
    decisions: int
    supersessions: int
    files: Mapping[str, str]


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list) else ()


def _sections(value: Json) -> tuple[Section, ...]:
    listed = cast("list[Json]", value if isinstance(value, list) else [])
    return tuple(Section(str(one["title"]), str(one["text"])) for one in listed if isinstance(one, dict))


def _record(decision: Decision, path: str, number: int | None) -> ParsedRecord:
    extra = decision.extra
    metadata = extra.get("metadata")
    chosen = extra.get("chosen")
    options = [ParsedOption(chosen, chosen=True)] if isinstance(chosen, str) else []
    options += [ParsedOption(one.title, one.rejected_because) for one in decision.alternatives]
    return ParsedRecord(
        path, decision.title, number, decision.status, decision.source_status or decision.status.value.capitalize(),
        decision.decided_at.date(), decision.decided_at.date().isoformat(),
        tuple(node.name for node in decision.decided_by), _texts(extra.get("consulted")), _texts(extra.get("informed")),
        decision.question, decision.choice, decision.rationale, decision.consequences, tuple(options),
        metadata=tuple((key, str(value)) for key, value in metadata.items()) if isinstance(metadata, dict) else (),
        others=_sections(extra.get("sections")),
    )  # fmt: skip


async def _all(memory: Reader, at: AsOf) -> list[Decision]:
    found: list[Decision] = []
    after: str | None = None
    while True:
        page = await memory.decisions(first=PAGE_MAX, after=after, at=at)
        found += page.items
        if page.next is None:
            return found
        after = page.next


def _paths(decisions: Sequence[Decision]) -> dict[str, tuple[str, int | None]]:
    """Name each decision's file; a repeat gets a count, so that no file takes another's place."""
    taken: set[str] = set()
    named: dict[str, tuple[str, int | None]] = {}
    for decision in decisions:
        match = _NUMBERED.fullmatch(decision.key or "")
        number = int(match[1]) if match else None
        stem = madr_name(number, decision.title).removesuffix(".md")
        name, count = f"{stem}.md", 1
        while name in taken:
            count += 1
            name = f"{stem}-{count}.md"
        taken.add(name)
        named[decision.id] = (name, number)
    return named


def _write(folder: Path, texts: Mapping[str, str], *, force: bool) -> None:
    there = [name for name in texts if (folder / name).exists()]
    if there and not force:
        msg = f"{folder} has {len(there)} of these files already, {there[0]} among them; give --force to replace them"
        raise ConflictError(msg, code="file.unreadable", files=there[:20])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be written: {error}", code="file.unreadable") from error


async def export_adr(memory: Reader, folder: Path, *, force: bool = False, at: AsOf = NOW) -> ExportReport:
    """Write the space's decisions to *folder* as MADR, both sides of each supersession in both files.

    Raises:
        InvalidError: code ``record.malformed``; the space holds no decision, and an empty export is no success.
        ConflictError: code ``file.unreadable``; a file is there already and *force* is not given.
        UnavailableError: code ``file.unreadable``; the folder cannot be written.
    """
    decisions = await _all(memory, at)
    files = await memory.facts_of([one.id for one in decisions], [FILE], at) if decisions else ()
    gone = {fact.subject_id for fact in files if fact.value is not None and fact.value.data == DELETED}
    decisions = [one for one in decisions if one.id not in gone]
    if not decisions:
        msg = f"space {memory.space!r} holds no decisions to export; name another with --space"
        raise InvalidError(msg, code="record.malformed", space=memory.space)
    paths = _paths(decisions)
    records = [_record(decision, *paths[decision.id]) for decision in decisions]
    keys = {paths[decision.id][0]: decision.id for decision in decisions}
    edges = [
        SupersessionEdge(decision.id, older.id, ())
        for decision in decisions
        for older in decision.supersedes
        if older.id in paths
    ]
    texts = {record.path: to_madr(record) for record in with_both_sides(records, edges, keys)}
    await asyncio.to_thread(_write, folder, texts, force=force)
    named = {decision.key or decision.id: paths[decision.id][0] for decision in decisions}
    return ExportReport(str(folder), memory.space, len(decisions), len(edges), named)
