"""The write path: a group of units in one transaction, in a handful of round trips however many they are.

The heads of the ledgers are locked first, in order of space and ledger, so that several processes on one database take
turns and never wait for each other in a ring. Then everything that planning needs is read at once; units are planned
and settled in memory, each whole or refused; and one statement writes what they became.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from latewood.graph_schema.clock import FOREVER, Clock, Micros, from_micros
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.errors import ConflictError, RefusedError
from latewood.graph_schema.events import Event, EventKind, LedgerEntry, NotHolding, Receipt
from latewood.graph_schema.ids import IdSource, normal_id
from latewood.graph_schema.ledger import header_bytes, link_hash, op_hash, payload_digest
from latewood.graph_schema.model import LedgerName
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.graph_schema.resolution import Claim
from latewood.graph_schema.values import canonical_json, normal_key
from latewood.storage.crashpoints import reach
from latewood.storage.erasing import erasure_of
from latewood.storage.fences import LeaseRow, check_lease
from latewood.storage.neo4j.database import Engine, Head, Query
from latewood.storage.neo4j.erasing import take
from latewood.storage.neo4j.gathering import Cache, Group, LazyRows, LedgerHead, SpaceHeads
from latewood.storage.neo4j.keys import FactRef, KeyImage
from latewood.storage.neo4j.vectors import current_number
from latewood.storage.neo4j.waiting import QueueWriter
from latewood.storage.planning import plan
from latewood.storage.plans import Plan, receipt_of
from latewood.storage.port import Committed
from latewood.storage.receipts import receipt_from_json, receipt_to_json
from latewood.storage.replaying import written_payload
from latewood.storage.rows import FactRow
from latewood.storage.searching import unit_vectors
from latewood.storage.settling import (
    KeyChange,
    KeyState,
    claim_class,
    not_held,
    open_end,
    origin_hash,
    settle_key,
)

__all__ = ["GroupWriter", "event_row"]


class GroupWriter:
    """Writes one group; made for one transaction and thrown away."""

    def __init__(
        self, query: Query, engine: Engine, cache: Cache, tenant: str, clock: Clock, ids: IdSource, words: Vocabulary,
        *, resumed: bool = False,
    ) -> None:  # fmt: skip
        """Write through *query*. *resumed*: an earlier try may have been kept without our hearing of it."""
        self._engine = engine
        self._group = Group(query, engine, cache, tenant, clock, words)
        self._queue = QueueWriter(query)
        self._tenant = tenant
        self._clock = clock
        self._ids = ids
        self._words = words
        self._resumed = resumed
        self._generations: dict[int, tuple[int, str, int] | None] = {}

    def commit(self, units: Sequence[Unit]) -> tuple[Committed, ...]:
        """Write *units* in order."""
        self._group.open(units)
        spaces = self._group.spaces
        self._queue.look_up((spaces[unit.space].number, unit) for unit in units if unit.space in spaces)
        reach("group.heads_read")
        answers: list[Committed] = []
        for unit in units:
            try:
                answers.append(self._unit(unit))
            except RefusedError as error:
                answers.append(error)
        self._group.flush()
        self._queue.flush()
        reach("group.written")
        return tuple(answers)

    def heads(self) -> list[tuple[int, LedgerName, Head]]:
        """Return the heads after the group: (space, ledger, head)."""
        return [
            (space.number, ledger.name, Head(ledger.seq, ledger.recorded_at, ledger.hash, self._engine.id))
            for space in self._group.spaces.values() for ledger in space.ledgers.values()
        ]  # fmt: skip

    def _unit(self, unit: Unit) -> Receipt:
        space = self._group.space(unit.space)
        n = space.number
        current = self._generation(n) if unit.vectors else None
        vectors = unit_vectors(unit, None if current is None else current[1:])
        op = None if unit.op is None else op_hash(space.row.secret, unit.op)
        earlier = self._group.units.get((n, unit.id))
        if earlier is not None and self._resumed and earlier[0] == unit.body:
            return receipt_from_json(earlier[1])
        if op is not None and (n, op.hex()) in self._group.ops:
            body, receipt = self._group.ops[n, op.hex()]
            if body != unit.body:
                msg = f"the idempotency key {unit.op!r} was used before with another payload; use a new key"
                raise ConflictError(msg, code="idempotency.conflict", key=unit.op)
            return receipt_from_json(receipt, replayed=True)
        if earlier is not None:
            raise ConflictError(f"the id {unit.id} belongs to another unit", code="key.taken", id=unit.id)
        if unit.guard is not None:
            # One that is not there was never its writer's.
            row = self._group.leases.get((n, unit.guard.name), LeaseRow())
            check_lease(row, unit.guard.name, unit.guard.owner, unit.guard.fence, self._clock.now())
        self._queue.check(n, unit, self._clock.now())
        ledger = space.ledgers[unit.ledger]
        planned = plan(unit, self._group.known(space, ledger, unit), self._words, self._clock, self._ids)
        changes, not_holding = self._settle(space, ledger, planned)
        # Nothing refuses from here on.
        base_seq = ledger.seq
        self._append(space, ledger, unit, planned, op)
        self._nodes(space, ledger, planned, base_seq)
        self._apply(space, ledger, planned, changes, base_seq)
        if unit.ledger == "execution":
            self._queue.follow(n, space.row.secret, planned.events, base_seq)
        if current is not None:
            self._group.pending.keep_vectors(n, current[0], vectors)
        receipt = receipt_of(unit, planned, ledger.seq, not_holding, self._erase(space, unit.ledger, planned.events))
        text = receipt_to_json(receipt)
        self._group.units[n, unit.id] = (unit.body, text)
        if op is not None:
            self._group.ops[n, op.hex()] = (unit.body, text)
        self._group.pending.receipts.append({
            "space": n, "id": unit.id, "op": None if op is None else op.hex(), "body": unit.body, "receipt": text,
            "name": f"receipt {ledger.seq}",
        })  # fmt: skip
        if (planned.state, planned.filling) != (space.row.state, space.row.filling):
            space.row = replace(space.row, state=planned.state, filling=planned.filling)
            self._group.pending.states.append({"space": n, "state": planned.state, "filling": planned.filling})
        reach("unit.written")
        return receipt

    def _generation(self, n: int) -> tuple[int, str, int] | None:
        """Return the number, name and length of the vectors that a space is written with."""
        if n not in self._generations:
            self._generations[n] = current_number(self._group.query, n)
        return self._generations[n]

    def _append(self, space: SpaceHeads, ledger: LedgerHead, unit: Unit, planned: Plan, op: bytes | None) -> None:
        """Chain the unit's events to the ledger."""
        seq, previous = ledger.seq, ledger.hash
        salts = os.urandom(16 * len(planned.events))
        for event in planned.events:
            seq += 1
            salt = salts[16 * event.ordinal : 16 * event.ordinal + 16]
            payload = canonical_json(event.payload)
            digest = payload_digest(salt, payload.encode())
            op_kept, body_kept = (op, unit.body) if event.ordinal == 0 else (None, None)
            header = header_bytes(
                space.row.id, unit.ledger, seq, unit.id, planned.recorded_at, planned.written_at, op_kept, body_kept,
                event, digest,
            )  # fmt: skip
            previous = link_hash(previous, header)
            entry = LedgerEntry(
                unit.ledger, seq, unit.id, event, planned.recorded_at, planned.written_at, op_kept, body_kept, salt,
                digest, previous,
            )  # fmt: skip
            self._group.pending.events.append(event_row(space.number, entry, payload))
        ledger.seq, ledger.hash, ledger.recorded_at, ledger.moved = seq, previous, planned.recorded_at, True

    def _erase(self, space: SpaceHeads, ledger: LedgerName, events: Iterable[Event]) -> Mapping[str, int]:
        """Take the words that the events of a unit erase; return how many of each place."""
        counts: Mapping[str, int] = {}
        for event in events:
            if event.kind is EventKind.ERASED:
                self._group.flush()
                counts = take(
                    self._group.query, self._tenant, space.row.name, space.number, ledger, erasure_of(event),
                    space.ledgers[ledger].recorded_at,
                )  # fmt: skip
                # What is remembered of the space has the words still.
                self._group.forget()
                reach("erase.taken")
        return counts

    def _nodes(self, space: SpaceHeads, ledger: LedgerHead, planned: Plan, base_seq: int) -> None:
        """Keep the declared nodes, and note the last event about each node."""
        n = space.number
        # A merge declares the node again that it may have named first: what counts is where it was named.
        places = {
            event.id: base_seq + event.ordinal + 1
            for event in reversed(planned.events) if event.kind is EventKind.DECLARED
        }  # fmt: skip
        for node in planned.declared:
            self._group.pending.node(n, node, ledger.place(places[node.id]))
            self._group.by_id[n, node.id] = node
            if node.key is not None:
                norm = normal_key(node.key)
                self._group.cache.nodes[n, norm] = self._group.fresh[n, norm] = node
        for event in planned.events:
            self._group.touched[n, event.subject] = ledger.place(base_seq + event.ordinal + 1)

    def _settle(
        self, space: SpaceHeads, ledger: LedgerHead, planned: Plan
    ) -> tuple[list[tuple[KeyImage, KeyChange, list[Event]]], list[NotHolding]]:
        """Find what the unit does to every key it touches, and where its facts do not hold; change nothing."""
        touched: dict[str, tuple[KeyImage, KeyChange, list[Event]]] = {}
        refs: dict[int, str] = {}
        keyed = [event for event in planned.events if event.key is not None]
        said = (cast("bytes", event.key) for event in keyed if event.key not in planned.unsaid)
        self._group.load_states((space.number, key.hex()) for key in said)
        for event in keyed:
            key = cast("bytes", event.key).hex()
            origin = origin_hash(space.row.secret, planned.origin_of(event))
            if key not in touched:
                image = self._image(space, key, event, origin)
                state = image.state
                copied = KeyState(0, state.origin, state.contested, state.top, stored=state.stored, tail=state.tail)
                touched[key] = (image, KeyChange(copied), [])
            image, change, events = touched[key]
            # The first rows of a key may have lost their words before they were replayed.
            image.predicate = image.predicate or str(event.payload.get("predicate", ""))
            events.append(event)
            if event.kind is EventKind.RETRACTED:
                change.removed.append(self._group.claim(image, cast("str", event.target)))
                continue
            claim = _claim_from(event, ledger.place(ledger.seq + event.ordinal + 1), planned.recorded_at)
            refs[claim.fact] = event.id
            change.added.append(claim)
            change.state.contested = change.state.contested or change.state.origin != origin
            change.state.top = max(change.state.top, claim_class(event.tier, int(event.known)))
        found: list[NotHolding] = []
        for key in sorted(touched):
            image, change, _ = touched[key]
            settle_key(LazyRows(self._group, image), change, planned.recorded_at)
            for claim in change.added:
                found += self._not_holding(image, change, claim, refs)
        order = {fact_id: place for place, fact_id in enumerate(planned.facts)}
        found.sort(key=lambda one: (order[one.fact_id], one.valid_from))
        return [touched[key] for key in sorted(touched)], found

    def _image(self, space: SpaceHeads, key: str, event: Event, origin: bytes) -> KeyImage:
        found = self._group.cache.keys.get((space.number, key))
        if found is not None:
            return found
        state = KeyState(0, origin, contested=False, top=claim_class(event.tier, int(event.known)), stored=False)
        return KeyImage(space.number, key, event.subject, str(event.payload.get("predicate", "")), state, claims=[])

    def _not_holding(
        self, image: KeyImage, change: KeyChange, claim: Claim, refs: Mapping[int, str]
    ) -> list[NotHolding]:
        """Say where a new claim does not hold, and what holds at the start of each such stretch."""
        found: list[NotHolding] = []
        for start, end in not_held(claim, change.layout):
            inside = (one.claim for one in change.layout if one.valid_from <= start < one.valid_to)
            holding = next(inside, None)
            if holding is None:
                covering = self._group.rows(image).covering(start)
                holding = max(covering, key=lambda one: one.rank, default=None)
            if holding is not None:
                last = open_end(end)
                held_by = refs.get(holding.fact) or image.facts[holding.fact].id
                until = None if last is None else from_micros(last)
                found.append(NotHolding(refs[claim.fact], from_micros(start), until, held_by))
        return found

    def _apply(
        self, space: SpaceHeads, ledger: LedgerHead, planned: Plan,
        changes: Sequence[tuple[KeyImage, KeyChange, list[Event]]], base_seq: int,
    ) -> None:  # fmt: skip
        """Keep the unit's claims and retractions, and the repair of every key they touch."""
        n, at = space.number, planned.recorded_at
        for image, change, events in changes:
            for event in events:
                place = ledger.place(base_seq + event.ordinal + 1)
                if event.kind is EventKind.RETRACTED:
                    self._group.pending.retraction(n, event, place, at)
                    target = normal_id(cast("str", event.target))
                    row, ref, target_place = self._group.facts[n, target]
                    self._group.facts[n, target] = (replace(row, retracted_at=at), ref, target_place)
                    continue
                self._group.pending.fact(n, event, place, at)
                target = event.payload.get("object")
                ref = FactRef(event.id, target if isinstance(target, str) else None)
                image.facts[place] = ref
                row = FactRow(
                    event.id, event.subject, image.predicate, cast("bytes", event.key), event.tier,
                    event.kind is EventKind.ABSENT, cast("int", event.valid_from), None, event.valid_to, event.trust,
                    event.known, event.payload, planned.origin_of(event),
                )  # fmt: skip
                self._group.facts[n, event.id] = (row, ref, place)
            image.state = change.state
            image.state.stored = True
            told = {ledger.place(base_seq + one.ordinal + 1): one for one in events}
            self._group.note_status(image, told, at)
            if not image.dirty:
                image.dirty = True
                self._group.dirty.append(image)
            self._group.pending.repair(image, change.repair, at)
            image.apply(change.added, change.removed, change.repair, at)
            self._group.cache.keys[n, image.id] = image


def event_row(space: int, entry: LedgerEntry, payload: str | None = None) -> dict[str, Any]:
    """Write a ledger row as the properties of its node; *payload* when it is at hand as text."""
    event = entry.event
    return {
        "space": space, "ledger": entry.ledger, "seq": entry.seq, "unit": entry.unit, "ordinal": event.ordinal,
        "recorded_at": entry.recorded_at, "written_at": entry.written_at, "kind": event.kind.value, "id": event.id,
        "subject": event.subject, "key": event.key, "target": event.target, "tier": event.tier, "trust": event.trust,
        "known": event.known, "valid_from": event.valid_from, "valid_to": event.valid_to, "op": entry.op,
        "body": entry.body, "digest": entry.digest, "hash": entry.hash, "salt": entry.salt,
        "payload": payload if payload is not None else written_payload(entry),
        "name": f"{entry.seq} {event.kind.value}",
    }  # fmt: skip


def _claim_from(event: Event, place: int, recorded_at: Micros) -> Claim:
    return Claim(
        place, cast("int", event.valid_from), FOREVER if event.valid_to is None else event.valid_to, event.tier,
        int(event.known), event.trust, recorded_at, event.ordinal, event.kind is EventKind.ABSENT,
    )  # fmt: skip
