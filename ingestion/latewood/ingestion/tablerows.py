"""Rows that no history dates: what the space does not say of them already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import COMMANDS_MAX, Assert, Command, Ref
from latewood.graph_schema.decisions import status_assert, text_assert
from latewood.graph_schema.errors import LatewoodError
from latewood.graph_schema.model import Fact, NodeKind
from latewood.graph_schema.values import normal_key
from latewood.ingestion.importing import ROWS_A_READ, TableImport
from latewood.ingestion.rows import Reject, Row, instant_of
from latewood.ingestion.sink import Progress
from latewood.ingestion.tablemap import fill
from latewood.storage.port import FactQuery

__all__ = ["write_rows"]


async def write_rows(table: TableImport, progress: Progress | None) -> None:
    """Write rows that no history dates: only what the space does not say already."""
    keys = list(table.rows)
    done = 0
    for begin in range(0, len(keys), ROWS_A_READ):
        part = keys[begin : begin + ROWS_A_READ]
        held = await _held(table, [table.nodes[key] for key in part if key in table.nodes])
        for key in part:
            row = table.rows[key]
            try:
                commands = _row_commands(table, key, row, held)
            except LatewoodError as error:
                table.report.rejects.append(Reject(row.line, error.code, error.message))
                continue
            finally:
                done += 1
            shown = fill(table.map.key, row.columns) or key
            for first in range(0, len(commands), COMMANDS_MAX):
                await table.put(table.unit(commands[first : first + COMMANDS_MAX], shown, None, None))
        if progress is not None:
            progress(done, len(keys))
    await table.flush()
    await _relate_rows(table)


async def _held(table: TableImport, ids: Sequence[str]) -> dict[tuple[str, str], list[Fact]]:
    """Read what holds of nodes, by node and predicate."""
    found: dict[tuple[str, str], list[Fact]] = {}
    if ids:
        for fact in await table.sink.store.facts(table.sink.space, FactQuery(subjects=ids)):
            found.setdefault((fact.subject_id, fact.predicate), []).append(fact)
    return found


def _row_commands(
    table: TableImport, key: str, row: Row, held: Mapping[tuple[str, str], Sequence[Fact]]
) -> list[Command]:  # fmt: skip
    start = instant_of(row.columns.get(table.map.valid_from), "valid_from") if table.map.valid_from else None
    known = start is not None
    shown = fill(table.map.key, row.columns) or key
    if key not in table.nodes:
        commands = table.declare(shown, row, start, known=known, locator=f"line {row.line}")
        held = {}
    else:
        subject = Ref(id=table.nodes[key])
        commands = table.facts(subject, row, start, known=known, locator=f"line {row.line}")
        if table.map.kind is NodeKind.DECISION:
            text = table.text(row, fill(table.map.name, row.columns) or shown)
            commands.append(text_assert(table.sink.ids, subject, text, valid_from=start, known=known))
    word = row.columns.get(table.map.status) if table.map.status else None
    if word not in (None, ""):
        status, said = table.status(word)
        if table.map.kind is NodeKind.DECISION:
            subject = Ref(id=table.nodes[key])
            commands.append(
                status_assert(table.sink.ids, subject, status, as_written=said, valid_from=start, known=known)
            )
    return [one for one in commands if not _said_already(table.nodes[key], one, held)]


def _said_already(node_id: str, command: Command, held: Mapping[tuple[str, str], Sequence[Fact]]) -> bool:
    if not isinstance(command, Assert) or command.value is None:
        return False
    return any(
        fact.value is not None
        and fact.value.canonical() == command.value.canonical()
        and fact.as_written == command.as_written
        for fact in held.get((node_id, command.predicate), ())
    )


async def _relate_rows(table: TableImport) -> None:
    """Write the relations of rows that no history dates, each once, dated by the row that is the edge's beginning."""
    starts: dict[tuple[str, str, str], Micros | None] = {}
    for key, row in table.rows.items():
        shown = fill(table.map.key, row.columns) or key
        listed = [(c.predicate, normal_key(a), normal_key(b), c.inverse) for c, a, b in table.pairs(shown, row.columns)]
        begun, _ = table.claims.replace(key, listed)
        starts.update(dict.fromkeys(begun))
    for predicate, a, b in starts:
        source = table.rows.get(a)
        if source is not None and table.map.valid_from:
            starts[predicate, a, b] = instant_of(source.columns.get(table.map.valid_from), "valid_from")
    there = await _edges_there(table, sorted({predicate for predicate, _, _ in starts}))
    for (predicate, a, b), start in starts.items():
        ids = (table.nodes.get(a), table.nodes.get(b))
        if None not in ids and (predicate, *ids) not in there:
            made = table.edge(predicate, (a, b), start, None, known=start is not None)
            await table.put(table.unit([made], a, None, None))


async def _edges_there(table: TableImport, predicates: Sequence[str]) -> set[tuple[str, str | None, str | None]]:
    ids = list(table.nodes.values())
    found: set[tuple[str, str | None, str | None]] = set()
    for begin in range(0, len(ids), ROWS_A_READ):
        query = FactQuery(subjects=ids[begin : begin + ROWS_A_READ], predicates=predicates)
        for fact in await table.sink.store.facts(table.sink.space, query):
            found.add((fact.predicate, fact.subject_id, fact.object_id))
    return found
