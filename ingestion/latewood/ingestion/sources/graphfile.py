"""The file of the MCP reference memory server: one entity with its observations, or one relation, a line.

The file has no times, ids or deletions: each observation and relation is told by what it says, and said once. What was
corrected or ended here since is not brought back by another import; what is gone from the file is reported and stays,
since nobody said that it stopped being true.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, cast

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.errors import LimitError, RefusedError
from latewood.graph_schema.values import Json, canonical_json, normal_key
from latewood.ingestion.sink import Progress, Sink
from latewood.ingestion.sources.fields import Fields, as_fields, fold, instant_at, predicate_named, shorten, text_at
from latewood.ingestion.sources.items import Entry, Item, Saying, Taken, fault_of, malformed, name_at, reject_of
from latewood.ingestion.sources.lines import Fault, Line, read_json_lines
from latewood.ingestion.sources.loading import Loader, RejectsFile, SourceReport, note, read_rejects
from latewood.storage.port import FactQuery

__all__ = ["ENTITIES_MAX", "ingest_memory_file"]

ENTITIES_MAX: Final = 1_000_000
_CHUNK: Final = 200
_NAME_CHARS_MAX: Final = 200
_OBSERVATION: Final = "observation"


def _type(given: str | None) -> str:
    return normal_key(given or "thing").replace(" ", "_").replace(":", "_")[:80]


class _Import:
    """One import; made for it and thrown away."""

    def __init__(self, sink: Sink, report: SourceReport, origin: str, by: str, *, there: bool) -> None:
        self._sink = sink
        self._say = Saying(sink.ids)
        self._report = report
        self._origin = origin
        self._by = by
        self._keys: dict[str, str] = {}
        self._owners: dict[str, str] = {}
        self._there = there
        self._listed: dict[tuple[str, str], None] = {}
        self._mentioned: set[tuple[str, str]] = set()

    def names(self, path: Path) -> None:
        """Learn every entity's type first: a relation names its ends only, and may stand above them."""
        for line in read_json_lines(path):
            if not isinstance(line, Line) or line.fields.get("type") != "entity":
                continue
            name = text_at(line.fields, "name")
            if name is None or len(name) > _NAME_CHARS_MAX or name in self._keys:
                continue
            if len(self._keys) >= ENTITIES_MAX:
                raise LimitError(f"{path} has more than {ENTITIES_MAX:,} entities", maximum=ENTITIES_MAX)
            key = f"{_type(text_at(line.fields, 'entityType'))}:{name.strip()}"
            self._keys[name] = key
            owner = self._owners.setdefault(fold(key), name)
            if owner != name:
                why = f"{name!r} and {owner!r} are one entity here: their names differ in case alone"
                note(self._report.problems, {"path": self._origin, "line": line.number, "why": why[:300]})

    def _ref(self, name: str, key: str) -> Ref:
        return Ref(key=key, type=key.partition(":")[0], name=name)

    async def entries(self, lines: Sequence[Line | Fault | int]) -> list[Entry]:
        """Return what becomes of some lines."""
        await self._find_held(lines)
        found: list[Entry] = []
        for line in lines:
            if isinstance(line, int):
                found.append(Taken(1, "empty", end=line))
            elif isinstance(line, Fault):
                found.append(fault_of(self._origin, line))
            else:
                try:
                    found.append(self._line(line))
                except RefusedError as error:
                    found.append(reject_of(self._origin, line.number, line.end, error))
        return found

    async def _find_held(self, lines: Sequence[Line | Fault | int]) -> None:
        """Learn which observations of an earlier import still hold, of the entities that *lines* list."""
        names = {text_at(line.fields, "name") for line in lines if isinstance(line, Line)}
        keys = [key for name in names if name is not None and (key := self._keys.get(name)) is not None]
        if not keys or not self._there:
            return
        nodes = await self._sink.store.nodes(self._sink.space, keys=keys)
        by_id = {node.id: fold(key) for key, node in nodes.items()}
        wanted = FactQuery(subjects=list(by_id), predicates=[_OBSERVATION])
        for fact in await self._sink.store.facts(self._sink.space, wanted):
            held = (by_id[fact.subject_id], "" if fact.value is None else fact.value.text())
            if fact.source is not None and fact.source.origin == self._origin and held not in self._mentioned:
                self._listed[held] = None

    def _line(self, line: Line) -> Taken:
        sort = line.fields.get("type")
        if sort == "entity":
            return self._entity(line)
        if sort == "relation":
            return self._relation(line)
        note(self._report.unknown, {"path": self._origin, "type": str(sort)[:40]})
        return Taken(line.number, f"unknown {str(sort)[:40]}", end=line.end)

    def _entity(self, line: Line) -> Taken:
        name = name_at(line.fields, "name")
        key = self._keys[name]
        ref, place = self._ref(name, key), f"line {line.number}"
        made = [self._say.fact(ref, "name", name, None, place)]
        for text, at in _observations(line.fields):
            held = (fold(key), text)
            self._mentioned.add(held)
            self._listed.pop(held, None)
            made.append(self._say.fact(ref, _OBSERVATION, text, at, place))
        items = tuple(self._item(key, one, None if one.value is None else one.value.data) for one in made)
        return Taken(line.number, "entity", items, end=line.end)

    def _relation(self, line: Line) -> Taken:
        names = [name_at(line.fields, side) for side in ("from", "to")]
        for name in names:
            if name not in self._keys:
                note(self._report.dangling, {"path": self._origin, "line": line.number, "entity": name})
                raise malformed(f"no entity of the file is called {name!r}")
        begin, end = (self._keys[name] for name in names)
        predicate = predicate_named(name_at(line.fields, "relationType"))
        edge = self._say.edge(
            self._ref(names[0], begin), predicate, self._ref(names[1], end), None, f"line {line.number}"
        )
        return Taken(line.number, "relation", (self._item(begin, edge, fold(end)),), end=line.end)

    def _item(self, key: str, made: Assert, said: Json) -> Item:
        digest = sha256(canonical_json([fold(key), made.predicate, said]).encode(errors="replace")).hexdigest()
        return Item(f"memory-file:{digest}", ["memory file", digest], (made,), self._by, self._origin)

    def conclude(self) -> None:
        """Report what an earlier import of this file found and the file has no longer."""
        for key, text in self._listed:
            note(self._report.gone, {"entity": key, _OBSERVATION: shorten(text)})


def _observations(fields: Fields) -> Iterator[tuple[str, Micros | None]]:
    """Yield each observation with its time, where the file has one."""
    listed = fields.get("observations")
    if not isinstance(listed, list):
        raise malformed("its observations are no list")
    seen: set[str] = set()
    for one in cast("list[object]", listed):
        text = one if isinstance(one, str) else text_at(as_fields(one), "content", "text", "observation")
        if not text or not text.strip():
            raise malformed("an observation is no text")
        if text not in seen:
            seen.add(text)
            yield text, None if isinstance(one, str) else instant_at(as_fields(one), "timestamp")


async def ingest_memory_file(
    sink: Sink, path: Path, *, by: str = "agent:mcp-memory", dry_run: bool = False, rejects: Path | None = None,
    retry: Path | None = None, progress: Progress | None = None,
) -> SourceReport:  # fmt: skip
    """Import a ``memory.jsonl``; a second run writes nothing, a run over a changed file what is new in it.

    Args:
        by: the actor who kept it.

    Raises:
        InvalidError: code ``file.unreadable``.
        LimitError: above `ENTITIES_MAX` entities.
    """
    report = SourceReport(str(path), sink.space, "memory")
    only = None if retry is None else read_rejects(retry)
    there = any(space.name == sink.space for space in await sink.store.spaces())
    work = _Import(sink, report, str(path), by, there=there)
    work.names(path)
    size = path.stat().st_size  # noqa: ASYNC240 - one look at a local file
    report.files = 1
    with RejectsFile(rejects) as file:
        loader = Loader(sink, report, rejects=file, dry_run=dry_run, only=only, progress=progress, bytes_all=size)
        chunk: list[Line | Fault | int] = []
        for line in read_json_lines(path):
            chunk.append(line)
            if len(chunk) >= _CHUNK:
                await loader.take_part(str(path), await work.entries(chunk))
                chunk.clear()
        await loader.take_part(str(path), await work.entries(chunk))
        await loader.flush()
    work.conclude()
    return report
