"""The rows of the queue view in Neo4j: kept with the events, and held against the ledger.

A row is a node of its own, found by texts that sort as messages are handed out: `ready` of one that is ready, `later`
of one that is put off, handed out, or not due yet, `line` of one with an ordering key. An index leaves out what has
none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.events import Event
from latewood.graph_schema.ids import normal_id
from latewood.storage.deriving import Row
from latewood.storage.neo4j.database import Query, expanded
from latewood.storage.queries import load_queries
from latewood.storage.queue_drift import STRAYS_MAX, by_message, drift
from latewood.storage.queueing import (
    PRIORITY_MAX,
    Lane,
    QueueChange,
    Queued,
    changes_of,
    check_hold,
    check_room,
)
from latewood.storage.rebuilding import Findings
from latewood.storage.rows import SpaceRow

__all__ = [
    "QueueWriter",
    "compare",
    "compare_strays",
    "later_text",
    "place_text",
    "queries",
    "queue_row",
    "rank_text",
    "rows_at",
]

_Place = tuple[str, str]


@cache
def queries() -> Mapping[str, str]:
    """Return the queries of the queue view."""
    return {name: expanded(text) for name, text in load_queries("latewood.storage.neo4j", "queueing.cypher").items()}


def _lane(n: int, group: str) -> str:
    return f"{n}/{group}/"


def place_text(n: int, group: str, seq: int | None = None) -> str:
    """Write where a row stands among all of its group; without *seq*, how all of them begin."""
    return _lane(n, group) + ("" if seq is None else f"{seq:019d}")


def rank_text(n: int, group: str, priority: int, seq: int) -> str:
    """Write when a row's turn is: those of a higher priority first, then the oldest."""
    return f"{_lane(n, group)}{PRIORITY_MAX - priority}/{seq:019d}"


def later_text(n: int, group: str, at: Micros | None = None) -> str:
    """Write from when on a row is ready; without *at*, how all of a group begin."""
    return _lane(n, group) + ("" if at is None else f"{at + 2**62:020d}")


def _line(n: int, group: str, ordering: bytes) -> str:
    return f"{_lane(n, group)}{ordering.hex()}/"


def queue_row(found: Mapping[str, Any]) -> Queued:
    """Read the properties of a row."""
    owner: str | None = found.get("owner")
    ordering: str | None = found.get("ordering")
    state = "blocked" if found.get("blocked") else "ready" if found.get("ready") else "leased" if owner else "later"
    return Queued(
        found["group"], found["message"], found["seq"], found["priority"],
        None if ordering is None else bytes.fromhex(ordering), found["size"], found["ready_at"], found["failures"],
        state, owner, found["fence"], found["until"] if state == "leased" else 0, found["taken"],
    )  # fmt: skip


def _stated(n: int, row: Queued) -> dict[str, Any]:
    """Return the properties of a row that the ledger knows."""
    group, ordering = row.group, row.ordering
    return {
        "space": n, "name": "queued", "group": group, "message": normal_id(row.message), "seq": row.seq,
        "priority": row.priority, "ordering": None if ordering is None else ordering.hex(), "size": row.size,
        "ready_at": row.ready_at, "failures": row.failures, "rank": rank_text(n, group, row.priority, row.seq),
        "place": place_text(n, group, row.seq),
        "line": None if ordering is None else f"{_line(n, group, ordering)}{row.seq:019d}",
    }  # fmt: skip


class QueueWriter:
    """Moves the queue view along with a group of units, in its transaction."""

    def __init__(self, query: Query) -> None:
        """Write through *query*."""
        self._query = query
        self._changes: dict[int, tuple[bytes, QueueChange]] = {}
        self._held: dict[tuple[int, str, str], Queued] = {}
        self._lanes: dict[tuple[int, str], Lane] = {}

    def look_up(self, units: Iterable[tuple[int, Unit]]) -> None:
        """Read what the units' holds and rooms name, all at once."""
        places: dict[int, dict[_Place, None]] = {}
        groups: dict[int, dict[str, None]] = {}
        for n, unit in units:
            for hold in unit.holds:
                places.setdefault(n, {})[hold.group, hold.message] = None
            for room in unit.rooms:
                groups.setdefault(n, {})[room.group] = None
        for n, named in places.items():
            for row in rows_at(self._query, n, named):
                self._held[n, row.group, row.message] = row
        for n, wanted in groups.items():
            for group, pending, size in self._query(queries()["lanes"], space=n, groups=list(wanted)):
                self._lanes[n, group] = Lane(group, pending, size)

    def check(self, n: int, unit: Unit, now: Micros) -> None:
        """Judge a unit's holds and rooms. Raises ConflictError (``lease.lost``), LimitError (``channel.full``)."""
        change = self._changes[n][1] if n in self._changes else QueueChange()
        for hold in unit.holds:
            row = self._held.get((n, hold.group, hold.message))
            check_hold(hold, row, now, settled=change.settled(hold.group, hold.message))
        for room in unit.rooms:
            lane = self._lanes.get((n, room.group), Lane(room.group))
            check_room(room, lane, change.added(room.group))

    def follow(self, n: int, secret: bytes, events: Iterable[Event], base_seq: int) -> None:
        """Take in the events of a unit of the execution ledger, the first at the row after *base_seq*."""
        for event in events:
            steps = changes_of(event, base_seq + event.ordinal + 1, secret)
            if steps:
                self._changes.setdefault(n, (secret, QueueChange()))[1].follow(steps)

    def flush(self) -> None:
        """Write what changed."""
        for n, (secret, change) in self._changes.items():
            blind = list(dict.fromkeys(message for message, _ in change.blind))
            stored = _rows_of(self._query, n, blind)
            change.resolve(secret, lambda message, stored=stored: [r.group for r in stored if r.message == message])
            _apply(self._query, n, change)
        self._changes.clear()


def rows_at(query: Query, n: int, places: Iterable[_Place]) -> list[Queued]:
    """Return the rows of messages before groups."""
    listed = [list(place) for place in places]
    return [queue_row(row[0]) for row in query(queries()["held"], space=n, places=listed)] if listed else []


def _rows_of(query: Query, n: int, messages: Sequence[str]) -> list[Queued]:
    if not messages:
        return []
    return [queue_row(row[0]) for row in query(queries()["rows_of_messages"], space=n, messages=list(messages))]


def _first_of(query: Query, lines: Iterable[str]) -> dict[str, Queued]:
    listed = list(lines)
    return {line: queue_row(row) for line, row in query(queries()["first_of_line"], lines=listed)} if listed else {}


def _open(query: Query, n: int, lines: Iterable[str]) -> None:
    """Let the first of each ordering key go, when it was blocked."""
    rows = [
        {"group": row.group, "message": row.message, "later": later_text(n, row.group, row.ready_at)}
        for row in _first_of(query, lines).values() if row.state == "blocked"
    ]  # fmt: skip
    if rows:
        query(queries()["open"], space=n, rows=rows)


def _apply(query: Query, n: int, change: QueueChange) -> None:
    lines: dict[str, None] = {}
    drops = {**change.drops, **dict.fromkeys(change.puts)}
    drops |= {(row.group, row.message): None for row in _rows_of(query, n, list(change.gone))}
    # A new message was never there: where units only publish nothing is looked for.
    looked_for = [list(place) for place in drops if change.again or place in change.drops or place[1] in change.gone]
    if looked_for:
        for (line,) in query(queries()["drop"], space=n, places=looked_for):
            if line is not None:
                lines[line[: line.rindex("/") + 1]] = None
    if change.laters:
        rows = [
            {"group": one.group, "message": one.message, "later": later_text(n, one.group, one.ready_at),
             "ready_at": one.ready_at, "failures": one.failures}
            for one in change.laters.values()
        ]  # fmt: skip
        query(queries()["put_off"], space=n, rows=rows)
    _open(query, n, lines)
    if change.puts:
        _put(query, n, change)


def _put(query: Query, n: int, change: QueueChange) -> None:
    lines = dict.fromkeys(
        _line(n, row.group, row.ordering) for row in change.puts.values() if row.ordering is not None
    )  # fmt: skip
    busy = set(_first_of(query, lines))
    rows: list[dict[str, Any]] = []
    for row in change.puts.values():
        stated = _stated(n, row)
        line = None if row.ordering is None else _line(n, row.group, row.ordering)
        blocked = line in busy
        if line is not None:
            busy.add(line)
        rows.append({
            **stated, "fence": 0, "taken": 0, "until": 0, "blocked": blocked,
            "ready": None if blocked or row.ready_at else stated["rank"],
            "later": later_text(n, row.group, row.ready_at) if row.ready_at and not blocked else None,
        })  # fmt: skip
    query(queries()["put"], space=n, rows=rows)


# Rebuilding.


def compare(
    query: Query, n: int, space: SpaceRow, found: Findings, rows: Iterable[Row], *, repair: bool
) -> None:  # fmt: skip
    """Hold the rows of the messages that *rows* are about against what the ledger says, and repair what differs."""
    about, change = by_message(rows), QueueChange(again=True)
    otherwise = drift(space.secret, about, _rows_of(query, n, list(about)), found, change)
    for row in otherwise if repair else ():
        query(queries()["restate"], space=n, row=_stated(n, row))
    if repair and change.any:
        _apply(query, n, change)
        # One that is back may be the first of its key: those behind it are blocked, and so it came as one of them.
        keyed = [row for row in change.puts.values() if row.ordering is not None]
        _open(query, n, [_line(n, row.group, row.ordering) for row in keyed if row.ordering is not None])


def compare_strays(query: Query, n: int, found: Findings, *, repair: bool) -> None:
    """Find rows of messages that are no node, and groups that are counted wrong, and repair them."""
    change = QueueChange()
    for group, message in query(queries()["strays"], space=n, most=STRAYS_MAX):
        found.add("queued", "extra", message, message)
        change.drops[group, message] = None
    if repair and change.any:
        _apply(query, n, change)
    for group, pending, size, noted, noted_size in query(queries()["counted"], space=n):
        found.compared += 1
        if (pending, size) != (noted, noted_size):
            found.add("lane", "different", group, group)
            if repair:
                query(queries()["count_exactly"], space=n, group=group, pending=pending, bytes=size)
