"""The rows of the queue view in SQLite: kept with the events, held against the ledger, and made with the schema."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Final, cast

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.events import Event
from latewood.graph_schema.ids import id_bytes, id_text, is_id
from latewood.storage.deriving import Row
from latewood.storage.queries import load_queries
from latewood.storage.queue_drift import STRAYS_MAX, by_message, drift
from latewood.storage.queueing import (
    Lane,
    QueueChange,
    Queued,
    changes_of,
    check_hold,
    check_room,
)
from latewood.storage.rebuilding import Findings
from latewood.storage.rows import SpaceRow
from latewood.storage.sqlite.database import Cell, Database, Statements

__all__ = ["QueueWriter", "add_queue", "compare", "compare_strays", "held_row", "lane_of", "queue_row", "raw_id", "sql"]

_READY: Final = 0
_LATER: Final = 1
_BLOCKED: Final = 2


@cache
def sql() -> Mapping[str, str]:
    """Return the queries of the queue view."""
    return load_queries("latewood.storage.sqlite", "queueing.sql")


def add_queue(connection: Database) -> None:
    """Add what schema 3 has. No ledger of an older schema has messages, so the view begins empty."""
    connection.execute(resources.files("latewood.storage.sqlite").joinpath("schema_3.sql").read_text(encoding="utf-8"))


def raw_id(one: str) -> bytes:
    """Return an id as it is stored; what is no id matches nothing."""
    return id_bytes(one) if is_id(one) else b""


def queue_row(cells: Sequence[Cell]) -> Queued:
    """Read a row of the queries over `queued`."""
    grp, message, seq, priority, ordering, size, ready_at, failures, state, at, owner, fence, taken = cells
    until = cast("int", at) if owner is not None and state == _LATER else 0
    words = {_READY: "ready", _LATER: "leased" if owner is not None else "later", _BLOCKED: "blocked"}
    return Queued(
        id_text(cast("bytes", grp)), id_text(cast("bytes", message)), cast("int", seq), cast("int", priority),
        cast("bytes | None", ordering), cast("int", size), cast("int", ready_at), cast("int", failures),
        words[cast("int", state)], cast("str | None", owner), cast("int", fence), until, cast("int", taken),
    )  # fmt: skip


def held_row(db: Statements, n: int, group: str, message: str) -> Queued | None:
    """Return the row of a message before a group."""
    found = db.execute(sql()["held"], (n, raw_id(group), raw_id(message))).fetchone()
    return None if found is None else queue_row(found)


def lane_of(db: Statements, n: int, group: str) -> Lane:
    """Return how much waits for a group."""
    found = db.execute(sql()["lane"], (n, raw_id(group))).fetchone()
    pending, size = (0, 0) if found is None else cast("tuple[int, int]", found)
    return Lane(group, pending, size)


class QueueWriter:
    """Moves the queue view along with a group of units, in its transaction."""

    def __init__(self, db: Statements) -> None:
        """Write through *db*."""
        self._db = db
        self._changes: dict[int, tuple[bytes, QueueChange]] = {}

    def check(self, n: int, unit: Unit, now: Micros) -> None:
        """Judge a unit's holds and rooms. Raises ConflictError (``lease.lost``), LimitError (``channel.full``)."""
        change = self._changes[n][1] if n in self._changes else QueueChange()
        for hold in unit.holds:
            row = held_row(self._db, n, hold.group, hold.message)
            check_hold(hold, row, now, settled=change.settled(hold.group, hold.message))
        for room in unit.rooms:
            check_room(room, lane_of(self._db, n, room.group), change.added(room.group))

    def follow(self, n: int, secret: bytes, events: Iterable[Event], base_seq: int) -> None:
        """Take in the events of a unit of the execution ledger, the first at the row after *base_seq*."""
        for event in events:
            steps = changes_of(event, base_seq + event.ordinal + 1, secret)
            if steps:
                self._changes.setdefault(n, (secret, QueueChange()))[1].follow(steps)

    def flush(self) -> None:
        """Write what changed."""
        for n, (secret, change) in self._changes.items():
            change.resolve(secret, lambda message, n=n: [row.group for row in _rows_of(self._db, n, message)])
            _apply(self._db, n, change)
        self._changes.clear()


def _rows_of(db: Statements, n: int, message: str) -> list[Queued]:
    return [queue_row(cells) for cells in db.execute(sql()["rows_of_message"], (n, raw_id(message))).fetchall()]


def _apply(db: Statements, n: int, change: QueueChange) -> None:
    counts: dict[str, list[int]] = {}
    keys: dict[tuple[str, bytes], None] = {}
    # A message that was never there is not looked for.
    drops = {**change.drops, **(dict.fromkeys(change.puts) if change.again else {})}
    for message in change.gone:
        drops |= dict.fromkeys((row.group, message) for row in _rows_of(db, n, message))
    for group, message in drops:
        for ordering, size in db.execute(sql()["drop"], (n, raw_id(group), raw_id(message))).fetchall():
            count = counts.setdefault(group, [0, 0])
            count[0] -= 1
            count[1] -= cast("int", size)
            if ordering is not None:
                keys[group, cast("bytes", ordering)] = None
    for later in change.laters.values():
        db.execute(sql()["put_off"], (n, raw_id(later.group), raw_id(later.message), later.ready_at, later.failures))
    # Before the new ones come: they are behind whoever is opened now.
    for group, ordering in keys:
        db.execute(sql()["open_first"], (n, raw_id(group), ordering))
    for row in change.puts.values():
        count = counts.setdefault(row.group, [0, 0])
        count[0] += 1
        count[1] += row.size
        _put(db, n, row)
    for group, (pending, size) in counts.items():
        db.execute(sql()["count"], (n, raw_id(group), pending, size))


def _put(db: Statements, n: int, row: Queued) -> None:
    group, state = raw_id(row.group), _LATER if row.ready_at else _READY
    if row.ordering is not None and db.execute(sql()["is_behind"], (n, group, row.ordering)).fetchone() is not None:
        state = _BLOCKED
    at = row.ready_at if state == _LATER else 0
    bindings = (
        n, group, raw_id(row.message), row.seq, row.priority, row.ordering, row.size, row.ready_at, row.failures, state,
        at,
    )  # fmt: skip
    db.execute(sql()["put"], bindings)


def compare(db: Statements, n: int, space: SpaceRow, found: Findings, rows: Iterable[Row], ids: Iterable[str],
            *, repair: bool) -> None:  # fmt: skip
    """Hold the rows of the messages *ids* against what the ledger's *rows* say of them, and repair what differs."""
    listed, change = json.dumps([one.replace("-", "") for one in ids]), QueueChange()
    stored = [queue_row(cells) for cells in db.execute(sql()["rows_of_messages"], (n, listed)).fetchall()]
    for row in drift(space.secret, by_message(rows), stored, found, change):
        if repair:
            said = (row.seq, row.priority, row.ordering, row.size, row.ready_at, row.failures)
            db.execute(sql()["restate"], (n, raw_id(row.group), raw_id(row.message), *said))
    if repair and change.any:
        _apply(db, n, change)
        for row in change.puts.values():
            # It may have been the first of its key: those behind it are blocked, and so it came as one of them.
            db.execute(sql()["open_first"], (n, raw_id(row.group), row.ordering))


def compare_strays(db: Statements, n: int, found: Findings, *, repair: bool) -> None:
    """Find rows of messages that are no node, and groups that are counted wrong, and repair them."""
    strays = db.execute(sql()["strays"], (n, STRAYS_MAX)).fetchall()
    change = QueueChange()
    for grp, message in strays:
        one = id_text(cast("bytes", message))
        found.add("queued", "extra", one, one)
        change.drops[id_text(cast("bytes", grp)), one] = None
    if repair and change.any:
        _apply(db, n, change)
    for grp, pending, size, noted, noted_size in db.execute(sql()["counted"], (n,)).fetchall():
        found.compared += 1
        if (pending, size) != (noted, noted_size):
            one = id_text(cast("bytes", grp))
            found.add("lane", "different", one, one)
            if repair:
                db.execute(sql()["count_exactly"], (n, grp, pending, size))
