"""What an import of a table knows while it runs: rows by key, nodes, claims, and the units on their way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Assert, Command, Declare, End, History, Ref, SourceSpec, Unit
from latewood.graph_schema.decisions import DecisionText, text_assert
from latewood.graph_schema.errors import InvalidError, LatewoodError
from latewood.graph_schema.model import DecisionStatus, NodeKind
from latewood.graph_schema.values import Json, normal_key
from latewood.ingestion.findings import Claims
from latewood.ingestion.rows import Reject, Row, instant_of, items_of, value_of
from latewood.ingestion.sink import Sink
from latewood.ingestion.tablemap import RelationColumn, TableMap, fill

__all__ = ["ROWS_A_READ", "TableImport", "TableReport"]

_BATCH_UNITS: Final = 256
_LISTED_MAX: Final = 1_000
ROWS_A_READ: Final = 500
"""Nodes whose facts are read at once."""


@dataclass(slots=True)
class TableReport:
    """What an import of a table found and wrote.

    Attributes:
        rows: how many were taken; *rejects* were not, with line, code and reason.
        supersessions: edges between decisions, each once; *one_sided* are those that only one row mentions.
        dangling: relations to nodes that neither the table nor the space has.
        cyclic: rings of decisions that supersede each other.
        duplicate_keys: keys of several rows; the later rows are rejected.
        superseded_without_successor: decisions of that status whose successor nobody names.
        clock_disagreements: rows recorded before their own date.
        unknown_status: words that the map does not have, read as proposed.
    """

    path: str
    space: str
    rows: int = 0
    decisions: int = 0
    supersessions: int = 0
    relations: int = 0
    one_sided: list[Json] = field(default_factory=list[Json])
    dangling: list[Json] = field(default_factory=list[Json])
    cyclic: list[Json] = field(default_factory=list[Json])
    duplicate_keys: list[str] = field(default_factory=list[str])
    superseded_without_successor: list[str] = field(default_factory=list[str])
    clock_disagreements: list[str] = field(default_factory=list[str])
    unknown_status: list[str] = field(default_factory=list[str])
    rejects: list[Reject] = field(default_factory=list[Reject])
    written: int = 0
    replayed: int = 0
    late: int = 0
    space_created: bool = False


class TableImport:
    """One import; made for it and thrown away."""

    def __init__(self, sink: Sink, table: TableMap, path: Path, report: TableReport) -> None:
        self.sink = sink
        self.map = table
        self.origin = path.name
        self.report = report
        self.nodes: dict[str, str] = {}
        self.claims = Claims()
        self.rows: dict[str, Row] = {}
        self.waiting: dict[str, list[tuple[str, RelationColumn, Micros | None, str | None]]] = {}
        self._units: list[Unit] = []
        self._alias: dict[str, str] = {}
        self.edge_ids: dict[tuple[str, str, str], str] = {}
        self.own: set[str] = set()

    def take(self, rows: Iterable[Row | Reject]) -> None:
        """Sort rows from rejects, and give each its key."""
        for row in rows:
            if isinstance(row, Reject):
                self.report.rejects.append(row)
                continue
            key = fill(self.map.key, row.columns)
            try:
                normal_key(key or "none")
            except LatewoodError as error:
                self.report.rejects.append(Reject(row.line, error.code, error.message))
                continue
            if key is None:
                reason = f"a column of the key {self.map.key!r} is missing"
                self.report.rejects.append(Reject(row.line, "import.malformed", reason))
            elif normal_key(key) in self.rows:
                self.report.duplicate_keys.append(key)
                self.report.rejects.append(Reject(row.line, "key.taken", f"the key {key!r} was met before"))
            else:
                self.rows[normal_key(key)] = row
        self.report.rows = len(self.rows)

    def status(self, word: object) -> tuple[DecisionStatus, str]:
        """Map a word of the source to a status; an unknown one is noted and read as proposed."""
        said = str(word)
        found = self.map.words.get(said.casefold())
        if found is None:
            if said not in self.report.unknown_status and len(self.report.unknown_status) < _LISTED_MAX:
                self.report.unknown_status.append(said)
            return DecisionStatus.PROPOSED, said
        return found, said

    def text(self, row: Row, name: str) -> DecisionText:
        """Read a decision's words."""
        said = {part: fill(template, row.columns) for part, template in self.map.text.items()}
        extra: dict[str, Json] = {
            column: row.columns[column] for column in self.map.extra if row.columns.get(column) not in (None, "", [])
        }  # type: ignore[misc]
        return DecisionText(
            name[:280], question=said.get("question"), choice=said.get("choice"), rationale=said.get("rationale"),
            consequences=said.get("consequences"), expected_outcome=said.get("expected_outcome"), extra=extra,
        )  # fmt: skip

    async def put(self, unit: Unit) -> None:
        """Hand a unit in, with its neighbours."""
        self._units.append(unit)
        if len(self._units) >= _BATCH_UNITS:
            await self.flush()

    async def flush(self) -> None:
        """Hand in what waits and count it."""
        units, self._units = self._units, []
        for unit, receipt in zip(units, await self.sink.submit_many(units) if units else (), strict=True):
            self.report.replayed += receipt.replayed
            self.report.written += not receipt.replayed
            self.report.late += receipt.late and not receipt.replayed
            mine = [command.id for command in unit.commands if isinstance(command, Assert | End)]
            self._alias.update({own: theirs for own, theirs in zip(mine, receipt.facts, strict=False) if own != theirs})

    def real(self, fact_id: str) -> str:
        """Return the id under which a fact is kept, of an earlier run too."""
        return self._alias.get(fact_id, fact_id)

    def unit(self, commands: Sequence[Command], key: str, op: str | None, history: History | None) -> Unit:
        """Make a unit in the name of the row's source."""
        return self.sink.unit(
            commands, ["table", op, key], source=SourceSpec(f"{self.origin}#{key}", "imported"), idempotency_key=op,
            history=history,
        )  # fmt: skip

    def reject(self, key: str, row: Row, error: LatewoodError) -> None:
        """Leave a row out, with all that would refer to it."""
        self.report.rejects.append(Reject(row.line, error.code, error.message))
        self.rows.pop(key, None)
        self.report.rows = len(self.rows)

    def declare(self, key: str, row: Row, start: Micros | None, *, known: bool, locator: str | None) -> list[Command]:
        """Bring a node with its words and its plain facts."""
        ids, name = self.sink.ids, fill(self.map.name, row.columns) or key
        node_id = ids.new()
        head = normal_key(key.partition(":")[0])
        node_type = "decision" if self.map.kind is NodeKind.DECISION else head
        attributes: dict[str, Json] = {"table": self.origin}
        found: list[Command] = [Declare(node_id, self.map.kind, node_type, key, name[:500], attributes)]
        if self.map.kind is NodeKind.DECISION:
            found.append(
                text_assert(ids, Ref(id=node_id), self.text(row, name), valid_from=start, known=known, locator=locator)
            )
        found += self.facts(Ref(id=node_id), row, start, known=known, locator=locator)
        # Only now: a row with a cell that cannot be read brings no node that others could point to.
        self.nodes[normal_key(key)] = node_id
        return found

    def facts(
        self, subject: Ref, row: Row, start: Micros | None, *, known: bool, locator: str | None
    ) -> list[Command]:  # fmt: skip
        """Assert the plain facts of a row."""
        end = instant_of(row.columns.get(self.map.valid_to), "valid_to") if self.map.valid_to else None
        if end is not None and start is not None and end <= start:
            raise InvalidError("the row's period ends not after its start", code="period.empty")
        return [
            Assert(
                self.sink.ids.new(), subject, column.predicate, value_of(row.columns[column.column], column),
                valid_from=start, valid_to=end, known=known, locator=locator,
            )
            for column in self.map.facts
            if row.columns.get(column.column) not in (None, "")
        ]  # fmt: skip

    def pairs(self, key: str, columns: Mapping[str, object]) -> list[tuple[RelationColumn, str, str]]:
        """Read a row's relations as (column, from key, to key)."""
        found: list[tuple[RelationColumn, str, str]] = []
        for column in self.map.relations:
            for item in items_of(columns.get(column.column), column.split):
                other = fill(column.target, {**columns, "value": item})
                if other is not None:
                    found.append((column, other, key) if column.inverse else (column, key, other))
        return found

    def edge(
        self, predicate: str, pair: tuple[str, str], start: Micros | None, locator: str | None, *, known: bool
    ) -> Assert:
        """Assert one relation between two nodes that are there."""
        made = Assert(
            self.sink.ids.new(), Ref(id=self.nodes[pair[0]]), predicate, object=Ref(id=self.nodes[pair[1]]),
            relation=True, valid_from=start, known=known, locator=locator,
        )  # fmt: skip
        self.edge_ids[predicate, pair[0], pair[1]] = made.id
        return made
