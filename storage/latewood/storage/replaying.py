"""Ledger rows as they leave a store and come into another: verbatim, checked against the chain, unit by unit whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from latewood.graph_schema.errors import ConflictError, CorruptError, InvalidError
from latewood.graph_schema.events import Event, EventKind, LedgerEntry, Receipt
from latewood.graph_schema.identity import CARRIED
from latewood.graph_schema.ledger import header_bytes, link_hash, payload_digest
from latewood.graph_schema.model import LedgerName, NodeKind
from latewood.graph_schema.values import Json, canonical_json
from latewood.storage.erasing import tombstone
from latewood.storage.plans import Plan
from latewood.storage.receipts import receipt_to_json
from latewood.storage.rows import NodeRow, SpaceRow

__all__ = [
    "LedgerRow",
    "ReplayedUnit",
    "SpaceImage",
    "check_restored",
    "declared_node",
    "name_taken",
    "planned_unit",
    "rename_receipt",
    "units_of",
    "written_payload",
]


@dataclass(frozen=True, slots=True)
class SpaceImage:
    """What a space is beside its ledgers; with it, its rows verify and its keys are the same anywhere.

    Attributes:
        secret: 32 bytes under which keys and idempotency keys are hashed.
        heads: ledger to (seq, hash) of its last row; ledgers without rows are left out.
    """

    id: str
    name: str
    secret: bytes
    strict: bool
    state: str
    filling: str | None
    heads: Mapping[LedgerName, tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A row of a ledger with, beside the last row of a unit, the unit's receipt."""

    entry: LedgerEntry
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class ReplayedUnit:
    """The rows of one unit, and what they become."""

    id: str
    ledger: LedgerName
    rows: tuple[LedgerRow, ...]
    plan: Plan

    @property
    def receipt(self) -> Receipt | None:
        """The unit's receipt, None when it did not travel along."""
        return self.rows[-1].receipt

    @property
    def op(self) -> bytes | None:
        """The hash of its idempotency key."""
        return self.rows[0].entry.op

    @property
    def body(self) -> bytes:
        """The digest of what the caller asked for."""
        return self.rows[0].entry.body or b""

    @property
    def source(self) -> str | None:
        """The node id of the source that said it; None where the words were erased."""
        said = (row.entry.event.payload for row in self.rows)
        found = (one.get("source") for one in said if CARRIED not in one)
        return next((one for one in found if isinstance(one, str)), None)

    def origin(self, said_by: Callable[[str], str]) -> str:
        """Return the origin of what the unit says: that of its source, by its declaration in it or by *said_by*."""
        for node in self.plan.declared:
            if node.id == self.source:
                return str(node.attributes.get("origin", ""))
        return "" if self.source is None else said_by(self.source)

    @property
    def carried(self) -> Mapping[str, str]:
        """The node ids of the sources of facts that say again what others did, by the ids of the facts."""
        found = {row.entry.event.id: row.entry.event.payload for row in self.rows}
        return {one: str(said["source"]) for one, said in found.items() if CARRIED in said and "source" in said}


def written_payload(entry: LedgerEntry) -> str | None:
    """Return a row's payload as it is stored, None when it was erased."""
    return None if entry.erased else canonical_json(entry.event.payload)


def _bad(entry: LedgerEntry, what: str) -> InvalidError:
    msg = f"row {entry.seq} of the {entry.ledger} ledger {what}; nothing of its unit was taken"
    return InvalidError(msg, code="import.malformed", ledger=entry.ledger, seq=entry.seq)


def _check(space: str, previous: bytes, seq: int, entry: LedgerEntry) -> None:
    if entry.seq != seq:
        raise _bad(entry, f"comes where {seq} was due")
    header = header_bytes(
        space, entry.ledger, entry.seq, entry.unit, entry.recorded_at, entry.written_at, entry.op, entry.body,
        entry.event, entry.digest,
    )  # fmt: skip
    if link_hash(previous, header) != entry.hash:
        raise _bad(entry, "does not follow from the row before it")
    payload = written_payload(entry)
    if payload is None:
        return
    if entry.salt is None or payload_digest(entry.salt, payload.encode()) != entry.digest:
        raise _bad(entry, "has another payload than its digest says")


def declared_node(event: Event, recorded_at: int, *, erased: bool) -> NodeRow:
    """Read a declaration; the kind of an erased node comes with its erasure, further on."""
    payload = event.payload
    if erased:
        return tombstone(NodeRow(event.id, NodeKind.ENTITY, "", None, "", {}, recorded_at, 0))
    key, attributes = payload.get("key"), payload.get("attributes")
    return NodeRow(
        event.id, NodeKind(str(payload.get("kind", NodeKind.ENTITY.value))), str(payload.get("type", "thing")),
        key if isinstance(key, str) else None, str(payload.get("name", "")),
        attributes if isinstance(attributes, dict) else {}, recorded_at, 0,
    )  # fmt: skip


def planned_unit(rows: Sequence[LedgerRow], state: str, filling: str | None) -> Plan:
    """Return what the rows of a unit become, as its plan said when it was first written."""
    first = rows[0].entry
    plan = Plan(first.recorded_at, first.written_at, state, filling, late=False, origin="")
    for row in rows:
        event = row.entry.event
        plan.events.append(event)
        if event.kind is EventKind.DECLARED:
            plan.declared.append(declared_node(event, first.recorded_at, erased=row.entry.erased))
        elif event.kind in (EventKind.ASSERTED, EventKind.ABSENT):
            plan.facts.append(event.id)
    return plan


def units_of(
    image: SpaceImage, rows: Sequence[LedgerRow], head: tuple[int, bytes], stored: Mapping[int, bytes]
) -> list[ReplayedUnit]:
    """Return the units of *rows*, which are of one ledger, that come after its *head* (seq, hash).

    Rows at or before the head must be among *stored* (seq to hash) with the same hash, and are left out.

    Raises:
        InvalidError: code ``import.malformed``, with the first row that does not fit or belongs to a part of a unit.
        CorruptError: code ``ledger.corrupt`` when the space has another history than *rows*.
    """
    seq, previous = head
    fresh: list[LedgerRow] = []
    for row in rows:
        entry = row.entry
        if entry.seq <= head[0]:
            if stored.get(entry.seq) != entry.hash:
                msg = f"row {entry.seq} of the {entry.ledger} ledger is another one than the space has"
                raise CorruptError(msg, code="ledger.corrupt", seq=entry.seq)
            continue
        _check(image.id, previous, seq + 1, entry)
        seq, previous = entry.seq, entry.hash
        fresh.append(row)
    units: list[ReplayedUnit] = []
    begin = 0
    for place, row in enumerate(fresh):
        last = place + 1 == len(fresh) or fresh[place + 1].entry.unit != row.entry.unit
        if row.entry.event.ordinal != place - begin:
            raise _bad(row.entry, "is a part of a unit whose beginning is missing")
        if last:
            if row.receipt is None:
                raise _bad(row.entry, "ends no unit: its receipt, and perhaps more of the unit, is missing")
            part = tuple(fresh[begin : place + 1])
            units.append(
                ReplayedUnit(
                    part[0].entry.unit, part[0].entry.ledger, part, planned_unit(part, image.state, image.filling)
                )
            )
            begin = place + 1
    return units


def rename_receipt(receipt: Receipt, space: str) -> str:
    """Write a receipt for the name that its space has here."""
    document: dict[str, Json] = json.loads(receipt_to_json(receipt))
    return canonical_json({**document, "space": space})


def name_taken(name: str) -> ConflictError:
    """Say that another space, which has rows, has the name of an import."""
    msg = f"there is another space {name!r} with rows of its own; give the import another name"
    return ConflictError(msg, code="space.exists", space=name)


def check_restored(space: SpaceRow, wanted: SpaceImage) -> None:
    """Refuse to bring a space in twice. Raises ConflictError (``space.exists``)."""
    if space.id == wanted.id and space.name != wanted.name:
        msg = f"this space is here already, under the name {space.name!r}; import it there, or into another store"
        raise ConflictError(msg, code="space.exists", space=space.name)
