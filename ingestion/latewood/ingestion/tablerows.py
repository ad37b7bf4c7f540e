"""Rows that no history dates: what the space does not say of them already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from latewood.graph_schema.clock import Micros, to_micros
from latewood.graph_schema.commands import COMMANDS_MAX, Assert, Command, Ref
from latewood.graph_schema.decisions import status_assert, text_assert
from latewood.graph_schema.errors import LatewoodError
from latewood.graph_schema.model import Fact, NodeKind
from latewood.graph_schema.values import normal_key
from latewood.ingestion.importing import ROWS_A_READ, TableImport
from latewood.ingestion.rows import Row, instant_of
from latewood.ingestion.sink import Progress
from latewood.ingestion.tablemap import fill
from latewood.storage.port import PAGE_MAX, FactQuery

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
                table.reject(key, row, error)
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
    """Read what the space says of nodes, by node and predicate: what holds, and where rows are dated what ever did."""
    found: dict[tuple[str, str], list[Fact]] = {}
    for fact in await said_of(table, ids, None):
        found.setdefault((fact.subject_id, fact.predicate), []).append(fact)
    return found


async def said_of(table: TableImport, ids: Sequence[str], predicates: Sequence[str] | None) -> list[Fact]:
    """Return the facts that a row may repeat: undated rows those that hold, dated ones all that were not taken back."""
    if not ids:
        return []
    store, space = table.sink.store, table.sink.space
    if table.map.valid_from is None:
        return list(await store.facts(space, FactQuery(subjects=ids, predicates=predicates)))
    found: list[Fact] = []
    after: str | None = None
    while True:
        page = await store.timeline(space, ids, predicates, first=PAGE_MAX, after=after)
        found += [fact for fact in page.items if fact.retired_at is None and not fact.absent]
        if page.next is None:
            return found
        after = page.next


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
        and command.valid_from in (None, to_micros(fact.valid_from))
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
        for fact in await said_of(table, ids[begin : begin + ROWS_A_READ], predicates):
            found.add((fact.predicate, fact.subject_id, fact.object_id))
    return found
