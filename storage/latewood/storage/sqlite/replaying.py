"""Export and import of a space in SQLite: its image, its ledger rows, and rows of elsewhere replayed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from latewood.graph_schema.ids import id_bytes, id_text
from latewood.graph_schema.model import LEDGERS, LedgerName
from latewood.storage.crashpoints import reach
from latewood.storage.cursors import check_first
from latewood.storage.receipts import receipt_from_json
from latewood.storage.replaying import (
    LedgerRow,
    ReplayedUnit,
    SpaceImage,
    check_restored,
    name_taken,
    rename_receipt,
    units_of,
    written_payload,
)
from latewood.storage.rows import NodeRow
from latewood.storage.sqlite import ledgers
from latewood.storage.sqlite.cache import CachedSpace
from latewood.storage.sqlite.database import Database, number
from latewood.storage.sqlite.reading import Reading
from latewood.storage.sqlite.records import LEDGER_NUMBER, node_row, space_row
from latewood.storage.sqlite.writing import GroupWriter

__all__ = ["Replayer", "adopt", "image", "ledger_rows"]


def image(reading: Reading) -> SpaceImage:
    """Return what the space is beside its ledgers."""
    space = reading.space
    heads: dict[LedgerName, tuple[int, bytes]] = {}
    for name in LEDGERS:
        row = reading.db.execute(reading.sql["head"], (reading.n, LEDGER_NUMBER[name])).fetchone()
        if row is not None:
            heads[name] = (cast("int", row[0]), cast("bytes", row[1]))
    return SpaceImage(space.id, space.name, space.secret, space.strict, space.state, space.filling, heads)


def ledger_rows(reading: Reading, ledger: LedgerName, after_seq: int, limit: int) -> tuple[LedgerRow, ...]:
    """Return ledger rows with the receipts of their units."""
    entries = ledgers.feed(reading, ledger, after_seq, check_first(limit))
    last = {entry.unit: entry.seq for entry in entries}
    listed = json.dumps([one.replace("-", "") for one in last])
    receipts = {
        id_text(cast("bytes", row[0])): receipt_from_json(cast("str", row[1]))
        for row in reading.db.execute(reading.sql["receipts_of_units"], (reading.n, listed))
    }
    # A receipt travels beside the last row of its unit, which it names.
    return tuple(
        LedgerRow(entry, found if (found := receipts.get(entry.unit)) is not None and found.seq == entry.seq else None)
        for entry in entries
    )


def adopt(connection: Database, sql: Mapping[str, str], tenant: str, wanted: SpaceImage) -> bool:
    """Tell whether the space of an image is there; an empty one of its name becomes it.

    Raises:
        ConflictError: code ``space.exists`` when another space has the name, or it is here under another name.
    """
    for row in connection.execute(sql["spaces"], (tenant,)).fetchall():
        n, space = space_row(row)
        if space.id == wanted.id and space.name == wanted.name and space.secret == wanted.secret:
            return True
        check_restored(space, wanted)
        if space.name == wanted.name:
            if number(connection.execute("select count(*) from head where space = ?", (n,))):
                raise name_taken(space.name)
            connection.execute(
                "update space set id = ?, secret = ?, strict = ?, state = ?, filling = ? where n = ?",
                (id_bytes(wanted.id), wanted.secret, int(wanted.strict), wanted.state, wanted.filling, n),
            )
            reach("restore.adopted")
            return True
    return False


class Replayer(GroupWriter):
    """Writes units that were written elsewhere; the group's own checks were made there."""

    def replay(self, name: str, ledger_name: LedgerName, rows: Sequence[LedgerRow]) -> int:
        """Append *rows* to a ledger of the space *name*; return how many were new."""
        space = self._space(name)
        ledger = self._ledger(space, ledger_name)
        first = rows[0].entry.seq if rows else 0
        stored = {
            cast("int", row[0]): cast("bytes", row[1])
            for row in self._db.execute(self._sql["hashes"], (space.n, ledger.number, first, len(rows)))
        }
        row = space.row
        image = SpaceImage(row.id, row.name, row.secret, row.strict, row.state, row.filling, {})
        units = units_of(image, rows, (ledger.seq, ledger.hash), stored)
        for unit in units:
            self._replay_unit(name, unit)
            reach("replay.unit")
        head = (space.n, ledger.number, ledger.seq, ledger.hash, ledger.recorded_at)
        self._db.execute(self._sql["set_head"], head)
        self._finish()
        reach("replay.written")
        return sum(len(unit.rows) for unit in units)

    def _replay_unit(self, name: str, unit: ReplayedUnit) -> None:
        space = self._space(name)
        ledger = self._ledger(space, unit.ledger)
        unit.plan.origin = unit.origin(partial(self._said_by, space.n))
        unit.plan.origins = {fact: self._said_by(space.n, source) for fact, source in unit.carried.items()}
        keys, _ = self._settle(space, unit.plan)
        base_seq, first_e, unit_raw = ledger.seq, self._cache.next_e, id_bytes(unit.id)
        insert = self._sql["insert_event"]
        for row in unit.rows:
            entry, event = row.entry, row.entry.event
            written = (
                first_e + event.ordinal, space.n, ledger.number, entry.seq, unit_raw, event.ordinal, entry.recorded_at,
                entry.written_at, event.kind.value, id_bytes(event.id), id_bytes(event.subject), event.key,
                id_bytes(event.target) if event.target else None, event.tier, event.trust, int(event.known),
                event.valid_from, event.valid_to, entry.op, entry.body, entry.digest, entry.hash, entry.salt,
                written_payload(entry),
            )  # fmt: skip
            self._db.later(insert, written)
        self._nodes(space, unit.plan, base_seq)
        self._claims(space, unit.plan, keys)
        if unit.ledger == "execution":
            self._queue.follow(space.n, space.row.secret, unit.plan.events, base_seq)
        self._erase(space, unit.ledger, unit.plan.events)
        self._views.unsure()
        if unit.receipt is not None:
            text = rename_receipt(unit.receipt, name)
            self._db.later(self._sql["insert_receipt"], (unit_raw, space.n, unit.op, unit.body, text))
        last = unit.rows[-1].entry
        ledger.seq, ledger.hash, ledger.recorded_at = last.seq, last.hash, last.recorded_at
        self._cache.next_e = first_e + len(unit.rows)

    def _is_declared(self, space: CachedSpace, node: NodeRow) -> bool:
        """Tell whether a node is there; a declaration that lost its words does not say whether it is the first."""
        return bool(self._look.by_id(space.n, (node.id,)))

    def _said_by(self, n: int, source: str) -> str:
        """Return the origin of a source by its node id."""
        listed = json.dumps([source.replace("-", "")])
        row = self._db.execute(self._sql["nodes_by_id"], (n, listed)).fetchone()
        return "" if row is None else str(node_row(row).attributes.get("origin", ""))
