"""Any table of entity states and relations into the graph, by a map.

Rows without a history are written as they are now; what the space says of them already is not written again. Rows with
histories become one line of events, sorted by time: into an empty space these times are the recorded ones, and a second
run finds every event known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from latewood.graph_schema.clock import Micros, from_micros, iso
from latewood.graph_schema.commands import COMMANDS_MAX, Assert, Command, Declare, End, History, Ref
from latewood.graph_schema.decisions import SUPERSEDES, status_assert
from latewood.graph_schema.errors import InvalidError, LatewoodError
from latewood.graph_schema.model import DecisionStatus, NodeKind
from latewood.graph_schema.values import Json, Value, normal_key
from latewood.ingestion.findings import find_cycles
from latewood.ingestion.importing import ROWS_A_READ, TableImport, TableReport
from latewood.ingestion.rows import Reject, Row, instant_of, items_of, read_rows
from latewood.ingestion.sink import Progress, Sink
from latewood.ingestion.tablemap import HistoryColumn, RelationColumn, TableMap, fill
from latewood.ingestion.tablerows import write_rows

__all__ = ["ingest_table"]


@dataclass(frozen=True, slots=True)
class _Item:
    """One dated thing that a row says; *first* is its first, which brings the node and its words."""

    time: Micros
    place: int
    key: str
    row: Row
    first: bool
    valid_from: Micros
    locator: str | None = None
    status: str | None = None
    relations: Mapping[str, object] | None = None


def _items(table: TableImport) -> list[_Item]:
    """Lay the rows' histories into one line."""
    found: list[_Item] = []
    for place, (key, row) in enumerate(table.rows.items()):
        try:
            found += _items_of_row(table, place, key, row)
        except (LatewoodError, TypeError) as error:
            code = error.code if isinstance(error, LatewoodError) else "import.malformed"
            table.report.rejects.append(Reject(row.line, code, str(error)))
    return sorted(found, key=lambda item: (item.time, item.place))


def _items_of_row(table: TableImport, place: int, key: str, row: Row) -> list[_Item]:
    dated: list[tuple[Micros, HistoryColumn, Mapping[str, object]]] = []
    for column in table.map.history:
        for item in items_of(row.columns.get(column.column), None):
            if not isinstance(item, dict):
                raise InvalidError(f"column {column.column} holds {item!r:.60}, not a list of objects")
            said = cast("dict[str, object]", item)
            at = instant_of(said.get(column.at), f"{column.column}.{column.at}")
            if at is None:
                raise InvalidError(f"an item of {column.column} has no time {column.at!r}", code="time.unreadable")
            dated.append((at, column, said))
    dated.sort(key=lambda one: one[0])
    own = instant_of(row.columns.get(table.map.valid_from), "valid_from") if table.map.valid_from else None
    if not dated:
        raise InvalidError("the row has no history, though the map names one")
    if own is not None and own > dated[0][0]:
        table.report.clock_disagreements.append(fill(table.map.key, row.columns) or key)
    found: list[_Item] = []
    for number, (at, column, item) in enumerate(dated):
        start = own if number == 0 and own is not None and own <= at else at
        locator = fill(column.locator, item) if column.locator else None
        status = None if column.status is None else item.get(column.status)
        relations = dict(item) if column.relations else None
        said = None if status is None else str(status)
        found.append(_Item(at, place, key, row, number == 0, start, locator, said, relations))
    return found


async def ingest_table(sink: Sink, path: Path, table_map: TableMap, *, progress: Progress | None = None) -> TableReport:
    """Import the rows of *path*; a second run writes nothing.

    Raises:
        InvalidError: the file cannot be read, or holds no row that can be taken (code ``import.malformed``).
        RefusedError: a unit cannot be kept; what came before it is.
    """
    report = TableReport(str(path), sink.space)
    table = TableImport(sink, table_map, path, report)
    table.take(read_rows(path))
    if not table.rows:
        msg = f"{path} holds no row that could be taken; {len(report.rejects)} were rejected"
        raise InvalidError(msg, code="import.malformed", rejects=len(report.rejects))
    await _find_nodes(table)
    if table_map.history:
        await _write_history(table, _items(table), progress)
    else:
        await write_rows(table, progress)
    await table.flush()
    _conclude(table)
    return report


async def _find_nodes(table: TableImport) -> None:
    """Learn which of the rows' nodes, and of those that they point to, the space has already."""
    wanted = dict.fromkeys(table.rows)
    for key, row in list(table.rows.items()):
        shown = fill(table.map.key, row.columns) or key
        try:
            for _, a, b in table.pairs(shown, row.columns):
                wanted |= dict.fromkeys((normal_key(a), normal_key(b)))
        except LatewoodError as error:
            table.reject(key, row, error)
    keys = list(wanted)
    for begin in range(0, len(keys), ROWS_A_READ):
        found = await table.sink.store.nodes(table.sink.space, keys=keys[begin : begin + ROWS_A_READ])
        table.nodes.update({key: node.id for key, node in found.items()})
        table.own |= {key for key, node in found.items() if node.attributes.get("table") == table.origin}


async def _write_history(table: TableImport, items: Sequence[_Item], progress: Progress | None) -> None:
    origin = f"table:{table.origin}:{table.map.key}"
    known = {key: table.nodes.pop(key) for key in list(table.nodes) if key in table.rows}
    for number, item in enumerate(items):
        key = fill(table.map.key, item.row.columns) or item.key
        op = f"{origin}:{key}:{iso(from_micros(item.time))}:{item.locator}:{item.status}"
        if item.key not in table.rows:
            continue
        try:
            commands = _commands(table, key, item)
        except LatewoodError as error:
            table.reject(item.key, item.row, error)
            continue
        if item.first and item.key in known:
            commands = _adopt(table, item.key, known[item.key], commands)
        for begin in range(0, len(commands), COMMANDS_MAX):
            part = commands[begin : begin + COMMANDS_MAX]
            await table.put(table.unit(part, key, f"{op}:{begin}", History(origin, item.time)))
        if item.relations is not None or (item.first and not any(column.relations for column in table.map.history)):
            await _relate(table, key, item, op, origin)
        await _arrived(table, item, origin)
        if progress is not None:
            progress(number + 1, len(items))
    await table.flush()
    await table.sink.store.finish_fill(table.sink.space, origin)


def _adopt(table: TableImport, key: str, node_id: str, commands: list[Command]) -> list[Command]:
    """Go on with a node that the space has: this table's own is replayed, another's is not declared again."""
    fresh, table.nodes[key] = table.nodes[key], node_id
    if key in table.own:
        return commands
    kept = [one for one in commands if not isinstance(one, Declare)]
    return [
        replace(one, subject=Ref(id=node_id)) if isinstance(one, Assert) and one.subject.id == fresh else one
        for one in kept
    ]


def _commands(table: TableImport, key: str, item: _Item) -> list[Command]:
    commands: list[Command] = []
    if item.first:
        commands += table.declare(key, item.row, item.valid_from, known=True, locator=item.locator)
    if item.status is not None:
        status, said = table.status(item.status)
        subject = Ref(id=table.nodes[item.key])
        if table.map.kind is NodeKind.DECISION:
            commands.append(
                status_assert(
                    table.sink.ids, subject, status, as_written=said, valid_from=item.valid_from, locator=item.locator
                )
            )
        else:
            value = Value("text", said)
            commands.append(
                Assert(table.sink.ids.new(), subject, "status", value, valid_from=item.valid_from, locator=item.locator)
            )
    return commands


async def _relate(table: TableImport, key: str, item: _Item, op: str, origin: str) -> None:
    """Bring the row's relations to what this item says: new ones begin, those that nobody claims any more end."""
    columns = item.row.columns if item.relations is None else item.relations
    begun, ended = table.claims.replace(
        item.key,
        [
            (column.predicate, normal_key(a), normal_key(b), column.inverse)
            for column, a, b in table.pairs(key, columns)
        ],
    )
    for predicate, a, b in begun:
        missing = [one for one in (a, b) if one not in table.nodes]
        if missing:
            column = RelationColumn("", predicate, "")
            table.waiting.setdefault(missing[0], []).append((f"{a}\0{b}", column, item.valid_from, item.locator))
            continue
        made = table.edge(predicate, (a, b), item.valid_from, item.locator, known=True)
        await table.put(table.unit([made], key, f"{op}:{predicate}:{a}>{b}", History(origin, item.time)))
    if ended:
        await table.flush()
    for predicate, a, b in ended:
        fact_id = table.edge_ids.pop((predicate, a, b), None)
        if fact_id is not None:
            command = End(table.sink.ids.new(), table.real(fact_id), item.valid_from, "no longer claimed")
            await table.put(table.unit([command], key, f"{op}:{predicate}:{a}>{b}:end", History(origin, item.time)))


async def _arrived(table: TableImport, item: _Item, origin: str) -> None:
    """Write the relations that waited for this node."""
    if not item.first:
        return
    for pair, column, start, locator in table.waiting.pop(item.key, []):
        a, b = pair.split("\0")
        missing = next((one for one in (a, b) if one not in table.nodes), None)
        if missing is not None:
            table.waiting.setdefault(missing, []).append((pair, column, start, locator))
            continue
        if not table.claims.holds(column.predicate, a, b):
            continue
        made = table.edge(column.predicate, (a, b), start, locator, known=True)
        op = f"{origin}:waited:{column.predicate}:{a}>{b}:{start}"
        await table.put(table.unit([made], item.key, op, History(origin, item.time)))


def _conclude(table: TableImport) -> None:
    """Say what the relations look like at the end."""
    report = table.report
    for key, row in table.rows.items():
        shown = fill(table.map.key, row.columns) or key
        if not any(column.relations for column in table.map.history):
            continue
        listed = [(c.predicate, normal_key(a), normal_key(b), c.inverse) for c, a, b in table.pairs(shown, row.columns)]
        table.claims.replace(key, listed)
    edges = table.claims.edges()
    report.relations = len(edges)
    superseding = [(a, b) for predicate, a, b in edges if predicate == SUPERSEDES]
    present = set(table.nodes)
    report.supersessions = sum(a in present and b in present for a, b in superseding)
    both = {column.predicate for column in table.map.relations if column.inverse} & {
        column.predicate for column in table.map.relations if not column.inverse
    }
    for (predicate, a, b), sides in sorted(edges.items()):
        if a not in present or b not in present:
            report.dangling.append({"predicate": predicate, "from": a, "to": b})
        elif predicate in both and len(sides) == 1:
            claimed_by = "predecessor" if True in sides else "successor"
            report.one_sided.append({"predicate": predicate, "from": a, "to": b, "claimed_by": claimed_by})
    report.cyclic = [list[Json](ring) for ring in find_cycles(superseding)]
    if table.map.kind is NodeKind.DECISION:
        report.decisions = len(table.rows)
        _find_unsucceeded(table, {b for _, b in superseding})


def _find_unsucceeded(table: TableImport, replaced: set[str]) -> None:
    if table.map.status is None:
        return
    for key, row in table.rows.items():
        word = row.columns.get(table.map.status)
        if word is not None and table.map.words.get(str(word).casefold()) is DecisionStatus.SUPERSEDED:
            # Only the record's own word counts: that another claims to replace it does not name its successor.
            own = [one for one, _, _ in table.pairs(key, row.columns) if one.predicate == SUPERSEDES and one.inverse]
            if not own and key not in replaced:
                table.report.superseded_without_successor.append(fill(table.map.key, row.columns) or key)
