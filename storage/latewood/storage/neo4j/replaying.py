"""Export and import of a space in Neo4j: its image, its ledger rows, and rows of elsewhere replayed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from latewood.graph_schema.events import Event, EventKind
from latewood.graph_schema.ids import normal_id
from latewood.graph_schema.model import LedgerName
from latewood.storage.crashpoints import reach
from latewood.storage.cursors import check_first
from latewood.storage.neo4j import listing
from latewood.storage.neo4j.database import Query
from latewood.storage.neo4j.gathering import locked_heads, space_row
from latewood.storage.neo4j.reading import Reading
from latewood.storage.neo4j.writing import GroupWriter, event_row
from latewood.storage.receipts import receipt_from_json
from latewood.storage.replaying import (
    LedgerRow,
    ReplayedUnit,
    SpaceImage,
    check_restored,
    name_taken,
    rename_receipt,
    units_of,
)

__all__ = ["Replayer", "adopt", "image", "ledger_rows"]


def image(reading: Reading) -> SpaceImage:
    """Return what the space is beside its ledgers."""
    space = reading.space
    heads: dict[LedgerName, tuple[int, bytes]] = {
        ledger: (head.seq, head.hash) for ledger, head in reading.heads.items() if head.seq
    }
    return SpaceImage(space.id, space.name, space.secret, space.strict, space.state, space.filling, heads)


def ledger_rows(reading: Reading, ledger: LedgerName, after_seq: int, limit: int) -> tuple[LedgerRow, ...]:
    """Return ledger rows with the receipts of their units."""
    entries = listing.feed(reading, ledger, after_seq, check_first(limit))
    units = list(dict.fromkeys(entry.unit for entry in entries))
    receipts = {
        row[0]: receipt_from_json(row[1]) for row in reading.query("receipts_of_units", space=reading.n, ids=units)
    }
    return tuple(
        LedgerRow(entry, found if (found := receipts.get(entry.unit)) is not None and found.seq == entry.seq else None)
        for entry in entries
    )


def adopt(query: Query, tenant: str, wanted: SpaceImage) -> bool:
    """Tell whether the space of an image is there; an empty one of its name becomes it.

    Raises:
        ConflictError: code ``space.exists`` when another space has the name, or it is here under another name.
    """
    # Whether it is empty must stay so until this is committed.
    locked_heads(query, tenant, wanted.name)
    for row in query("spaces", tenant=tenant):
        number, space = space_row(row)
        if space.id == wanted.id and space.name == wanted.name and space.secret == wanted.secret:
            return True
        check_restored(space, wanted)
        if space.name == wanted.name:
            if any(seq for _, seq in row[8]):
                raise name_taken(space.name)
            query(
                "adopt", space=number, id=wanted.id, secret=wanted.secret, strict=wanted.strict, state=wanted.state,
                filling=wanted.filling,
            )  # fmt: skip
            reach("restore.adopted")
            return True
    return False


class Replayer(GroupWriter):
    """Writes units that were written elsewhere; the group's own checks were made there."""

    def replay(self, name: str, rows: Sequence[LedgerRow]) -> int:
        """Append *rows* to their ledger of the space *name*; return how many were new."""
        group, ledger_name = self._group, rows[0].entry.ledger
        group.lock(name)
        space = group.space(name)
        ledger = space.ledgers[ledger_name]
        stored = {
            row[0]: bytes(row[1])
            for row in group.query(
                "hashes", space=space.number, ledger=ledger_name, first=rows[0].entry.seq, last=rows[-1].entry.seq
            )
        }
        own = space.row
        current = SpaceImage(own.id, own.name, own.secret, own.strict, own.state, own.filling, {})
        units = units_of(current, rows, (ledger.seq, ledger.hash), stored)
        events = [row.entry.event for unit in units for row in unit.rows]
        self._prepare(space.number, events)
        for place, unit in enumerate(units):
            self._replay_unit(name, unit)
            if any(event.kind is EventKind.ERASED for event in unit.plan.events):
                # An erasure makes the group forget what it had read.
                self._prepare(space.number, [row.entry.event for one in units[place + 1 :] for row in one.rows])
            reach("replay.unit")
        group.flush()
        self._queue.flush()
        reach("replay.written")
        return len(events)

    def _prepare(self, n: int, events: Sequence[Event]) -> None:
        """Read the facts that are taken back, the sources, and the keys that the rows touch."""
        group = self._group
        ids = {normal_id(one.target) for one in events if one.kind is EventKind.RETRACTED and one.target is not None}
        ids |= {normal_id(said) for one in events if isinstance(said := one.payload.get("source"), str)}
        group.read_ids((n, one) for one in ids)
        group.load_states((n, one.key.hex()) for one in events if one.key is not None)

    def _replay_unit(self, name: str, unit: ReplayedUnit) -> None:
        group = self._group
        space = group.space(name)
        n, ledger = space.number, space.ledgers[unit.ledger]
        unit.plan.origin = unit.origin(partial(self._said_by, n))
        unit.plan.origins = {fact: self._said_by(n, source) for fact, source in unit.carried.items()}
        changes, _ = self._settle(space, ledger, unit.plan)
        base_seq = ledger.seq
        for row in unit.rows:
            group.pending.events.append(event_row(n, row.entry))
        last = unit.rows[-1].entry
        ledger.seq, ledger.hash, ledger.recorded_at, ledger.moved = last.seq, last.hash, last.recorded_at, True
        self._nodes(space, ledger, unit.plan, base_seq)
        self._apply(space, ledger, unit.plan, changes, base_seq)
        if unit.ledger == "execution":
            self._queue.follow(n, space.row.secret, unit.plan.events, base_seq)
        self._erase(space, unit.ledger, unit.plan.events)
        if unit.receipt is None:
            return
        receipt: dict[str, Any] = {
            "space": n, "id": unit.id, "op": None if unit.op is None else unit.op.hex(), "body": unit.body,
            "receipt": rename_receipt(unit.receipt, name), "name": f"receipt {last.seq}",
        }  # fmt: skip
        group.pending.receipts.append(receipt)

    def _said_by(self, n: int, source: str) -> str:
        """Return the origin of a source by its node id."""
        known = self._group.by_id.get((n, normal_id(source)))
        return "" if known is None else str(known.attributes.get("origin", ""))
