"""One space of the reference store: the events in order of writing, and the definition read off them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, cast

from latewood.graph_schema.clock import FOREVER, Clock, Micros, from_micros, parse_instant
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.errors import ConflictError
from latewood.graph_schema.events import Event, EventKind, LedgerEntry, NotHolding, Receipt
from latewood.graph_schema.ids import IdSource
from latewood.graph_schema.ledger import GENESIS, header_bytes, link_hash, op_hash, payload_digest
from latewood.graph_schema.model import LEDGERS, Conflict, Fact, LedgerName, Node, NodeKind, Predicate, Source, Trust
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.graph_schema.resolution import Claim, Voice, challengers, holder
from latewood.graph_schema.values import Json, Value, canonical_json, normal_key
from latewood.storage.erasing import erasure_of
from latewood.storage.fences import LeaseRow, check_lease
from latewood.storage.merging import pull_in
from latewood.storage.needing import needs_of
from latewood.storage.planning import plan
from latewood.storage.plans import Plan, last_recorded, predicate_of, receipt_of, recorded_time
from latewood.storage.queueing import Queued
from latewood.storage.reference_erasing import Taken, find, take
from latewood.storage.reference_waiting import Held, Place, check_unit_held, follow
from latewood.storage.replaying import ReplayedUnit
from latewood.storage.rows import FactRow, Known, Needs, NodeRow, SpaceRow

__all__ = ["NO_BOUND", "SpaceLog", "Vectors", "open_end"]

NO_BOUND: Final[Micros] = FOREVER - 1
"""The known_at of a read without one: after everything recorded, before `FOREVER`."""
_BEGINNING: Final[Micros] = -(2**63)
_TRUST: Final[Mapping[int, Trust]] = {trust.level: trust for trust in Trust}


def open_end(end: Micros) -> Micros | None:
    """Write `FOREVER` as None."""
    return None if end == FOREVER else end


def _value(payload: Mapping[str, Json]) -> Value | None:
    said = payload.get("value")
    if not isinstance(said, dict):
        return None
    return Value(cast("str", said["kind"]), said["data"], cast("str | None", said.get("unit")))


def _text(payload: Mapping[str, Json], key: str) -> str | None:
    return cast("str | None", payload.get(key))


@dataclass(slots=True)
class Vectors:
    """One generation of vectors, by fact."""

    model: str
    dimensions: int
    state: Literal["building", "current", "old"]
    by_fact: dict[str, bytes] = field(default_factory=dict[str, bytes])


class SpaceLog:
    """A space as the list of everything ever written to it.

    The mappings beside the list only say where in it a thing stands; what holds is asked of `holder` each time.
    """

    def __init__(self, row: SpaceRow) -> None:
        """Begin empty."""
        self.row = row
        self.log: list[LedgerEntry] = []
        self.ledgers: dict[LedgerName, list[LedgerEntry]] = {name: [] for name in LEDGERS}
        self.nodes: dict[str, NodeRow] = {}
        self.by_key: dict[str, str] = {}
        self.places: dict[str, int] = {}
        self.claims: dict[bytes, list[Claim]] = {}
        self.keys_of: dict[str, list[bytes]] = {}
        self.retractions: dict[str, LedgerEntry] = {}
        self.predicates: dict[str, Predicate] = {}
        self.names: dict[bytes, str] = {}
        self.leases: dict[str, LeaseRow] = {}
        self.taken: list[Taken] = []
        self.vectors: dict[str, Vectors] = {}
        self.queued: dict[Place, Queued] = {}
        self.held: dict[Place, Held] = {}
        self._ops: dict[bytes, tuple[bytes, Receipt]] = {}

    def head(self, ledger: LedgerName) -> Micros:
        """Return the recorded time of the ledger's last row."""
        entries = self.ledgers[ledger]
        return entries[-1].recorded_at if entries else _BEGINNING

    # Writing: plan, append, note where things stand.

    def write(
        self, unit: Unit, words: Vocabulary, clock: Clock, ids: IdSource, *, repeated: bool = False
    ) -> Receipt:  # fmt: skip
        """Keep *unit* whole, or raise RefusedError with nothing changed; *repeated* says that its id was used."""
        op = None if unit.op is None else op_hash(self.row.secret, unit.op)
        if op is not None and op in self._ops:
            body, first = self._ops[op]
            if body != unit.body:
                msg = f"the idempotency key {unit.op!r} was used before with another payload; use a new key"
                raise ConflictError(msg, code="idempotency.conflict", key=unit.op)
            return replace(first, replayed=True)
        if unit.guard is not None:
            row = self.leases.get(unit.guard.name, LeaseRow())
            check_lease(row, unit.guard.name, unit.guard.owner, unit.guard.fence, clock.now())
        check_unit_held(self.queued, self.held, unit, clock.now())
        planned = plan(unit, self._known(unit, clock, repeated=repeated), words, clock, ids)
        for event in planned.events:
            self._append(unit, planned, event, op)
        for node in planned.declared:
            self._declare(node)
        self.row = replace(self.row, state=planned.state, filling=planned.filling)
        receipt = receipt_of(unit, planned, len(self.ledgers[unit.ledger]), self._not_holding(planned))
        if op is not None:
            self._ops[op] = (unit.body, receipt)
        return receipt

    def replay(self, unit: ReplayedUnit) -> Receipt | None:
        """Keep the rows of a unit that was written elsewhere; return its receipt as it reads here."""
        for row in unit.rows:
            self._keep(row.entry)
        for node in unit.plan.declared:
            self._declare(node)
        if unit.receipt is None:
            return None
        receipt = replace(unit.receipt, space=self.row.name)
        if unit.op is not None:
            self._ops[unit.op] = (unit.body, receipt)
        return receipt

    def amend(self, receipts: Iterable[Receipt]) -> None:
        """Let *receipts* take the place of those kept for their idempotency keys."""
        by_id = {receipt.id: receipt for receipt in receipts}
        self._ops = {op: (body, by_id.get(first.id, first)) for op, (body, first) in self._ops.items()}

    def _known(self, unit: Unit, clock: Clock, *, repeated: bool) -> Known:
        needs = needs_of(unit)
        head = last_recorded(unit, self.row, {name: self.head(name) for name in LEDGERS})
        erasing = None
        if needs.erase is not None:
            rows = self.ledgers[unit.ledger]
            erasing = find(needs.erase, rows, self.log, self.nodes, self.places, self.names)
        by_key = {key: self.nodes[self.by_key[key]] for key in needs.keys if key in self.by_key}
        for name in self._predicates_of(needs):
            key = normal_key(f"predicate:{name}")
            if key in self.by_key:
                by_key[key] = self.nodes[self.by_key[key]]
        by_id = {one: self.nodes[one] for one in needs.ids if one in self.nodes}
        pull_in(by_key.values(), by_id, lambda ids: {one: self.nodes[one] for one in ids})
        return Known(
            space=self.row,
            head=head,
            by_key=by_key,
            by_id=by_id,
            facts={one: self._fact_row(one) for one in needs.facts | needs.ids if one in self.places},
            predicates=dict(self.predicates),
            holders={
                (fact, at): self.holder_id(
                    self.key_of(fact), recorded_time(unit, self.row, head, clock.now()) if at is None else at
                )
                for fact, at in needs.ends
                if fact in self.places
            },
            erasing=erasing,
            taken={one for one in needs.fresh if one in self.places or one in self.nodes}
            | ({unit.id} if repeated else set()),
        )

    def _predicates_of(self, needs: Needs) -> set[str]:
        facts = {self.names[self.key_of(one)] for one in needs.facts if one in self.places}
        return {*needs.predicates, *facts}

    def _append(self, unit: Unit, planned: Plan, event: Event, op: bytes | None) -> None:
        entries = self.ledgers[unit.ledger]
        salt, payload = os.urandom(16), canonical_json(event.payload)
        digest = payload_digest(salt, payload.encode())
        op_kept, body_kept = (op, unit.body) if event.ordinal == 0 else (None, None)
        header = header_bytes(
            self.row.id, unit.ledger, len(entries) + 1, unit.id, planned.recorded_at, planned.written_at, op_kept,
            body_kept, event, digest,
        )  # fmt: skip
        previous = entries[-1].hash if entries else GENESIS
        entry = LedgerEntry(
            unit.ledger, len(entries) + 1, unit.id, event, planned.recorded_at, planned.written_at, op_kept, body_kept,
            salt, digest, link_hash(previous, header),
        )  # fmt: skip
        self._keep(entry)

    def _keep(self, entry: LedgerEntry) -> None:
        event = entry.event
        self.ledgers[entry.ledger].append(entry)
        self.log.append(entry)
        if event.kind is EventKind.RETRACTED:
            self._retract(cast("str", event.target), entry)
        elif event.key is not None:
            self._claim(event.key, entry)
        elif event.kind is EventKind.ERASED:
            entries = self.ledgers[entry.ledger]
            self.taken.append(take(entry, entries, self.log, self.retractions, self.nodes, self.by_key))
            self.names.update(erasure_of(event).keys)
        if entry.ledger == "execution":
            follow(self.queued, self.held, entry, self.row.secret)
        if event.subject in self.nodes:
            self.nodes[event.subject] = replace(self.nodes[event.subject], version=entry.seq)

    def _claim(self, key: bytes, entry: LedgerEntry) -> None:
        event, place = entry.event, len(self.log) - 1
        self.places[event.id] = place
        if not entry.erased:
            self.names[key] = cast("str", event.payload["predicate"])
        if key not in self.claims:
            self.claims[key] = []
            self.keys_of.setdefault(event.subject, []).append(key)
        claim = Claim(
            place, cast("int", event.valid_from), FOREVER if event.valid_to is None else event.valid_to, event.tier,
            int(event.known), event.trust, entry.recorded_at, event.ordinal, event.kind is EventKind.ABSENT,
        )  # fmt: skip
        self.claims[key].append(claim)

    def _retract(self, fact: str, entry: LedgerEntry) -> None:
        self.retractions[fact] = entry
        place, claims = self.places[fact], self.claims[self.key_of(fact)]
        for index, claim in enumerate(claims):
            if claim.fact == place:
                claims[index] = claim._replace(retracted_at=entry.recorded_at)

    def _declare(self, node: NodeRow) -> None:
        """Keep a new node, or the new definition of one declared before; the last event about it is its version."""
        seq = next(one.seq for one in reversed(self.log) if one.event.subject == node.id)
        earlier = self.nodes.get(node.id)
        if earlier is not None:
            node = replace(earlier, type=node.type, name=node.name, attributes=node.attributes)
        self.nodes[node.id] = replace(node, version=seq)
        if node.key is not None:
            self.by_key[normal_key(node.key)] = node.id
        if node.kind is NodeKind.PREDICATE:
            self.predicates[node.name] = predicate_of(node.attributes)

    def _not_holding(self, planned: Plan) -> list[NotHolding]:
        """Walk each new assertion's period from bound to bound, and say where another holds."""
        found: list[NotHolding] = []
        for fact in planned.facts:
            claims, place = self.claims[self.key_of(fact)], self.places[fact]
            own = next(claim for claim in claims if claim.fact == place)
            ends = {end for claim in claims for end in (claim.valid_from, claim.valid_to)}
            bounds = sorted(end for end in ends if own.valid_from <= end <= own.valid_to)
            stretches: list[tuple[Micros, Micros, int]] = []
            joins = False
            for left, right in itertools.pairwise(bounds):
                best = holder(claims, left, planned.recorded_at)
                if best is None or best.fact == place:
                    joins = False
                elif joins:
                    stretches[-1] = (stretches[-1][0], right, stretches[-1][2])
                else:
                    stretches.append((left, right, best.fact))
                    joins = True
            found += [
                NotHolding(fact, from_micros(a), None if b == FOREVER else from_micros(b), self.log[by].event.id)
                for a, b, by in stretches
            ]
        return found

    # Reading: the definition.

    def key_of(self, fact: str) -> bytes:
        """Return the key that an assertion competes for."""
        return cast("bytes", self.log[self.places[fact]].event.key)

    def holder_id(self, key: bytes, valid_at: Micros, known_at: Micros = NO_BOUND) -> str | None:
        """Return the id of the assertion, absences included, that holds for *key*."""
        best = holder(self.claims[key], valid_at, known_at)
        return None if best is None else self.log[best.fact].event.id

    def holding(
        self, subjects: Iterable[str], valid_at: Micros, known_at: Micros, *, every: bool = False
    ) -> list[tuple[LedgerEntry, bytes]]:
        """Return the value and object assertions about *subjects* that hold, with their keys.

        With *every*, all that were made and not taken back, whether they hold or not, and absences too.
        """
        found: list[tuple[LedgerEntry, bytes]] = []
        for subject in dict.fromkeys(subjects):
            for key in self.keys_of.get(subject, ()):
                if every:
                    counted = (one for one in self.claims[key] if one.recorded_at <= known_at < one.retracted_at)
                    found += [(self.log[one.fact], key) for one in counted]
                    continue
                best = holder(self.claims[key], valid_at, known_at)
                if best is not None and not best.absent:
                    found.append((self.log[best.fact], key))
        return found

    def _fact_row(self, fact: str) -> FactRow:
        event = self.log[self.places[fact]].event
        retraction = self.retractions.get(fact)
        return FactRow(
            fact, event.subject, self.predicate(event), cast("bytes", event.key), event.tier,
            event.kind is EventKind.ABSENT, cast("int", event.valid_from),
            None if retraction is None else retraction.recorded_at, event.valid_to, event.trust, event.known,
            event.payload, self._source(event.payload).origin if event.payload else "",
        )  # fmt: skip

    def node(self, row: NodeRow) -> Node:
        """Show a node."""
        return Node(
            row.id, row.kind, row.type, row.key, row.name, row.attributes, from_micros(row.recorded_at), row.version,
            row.erased,
        )  # fmt: skip

    def predicate(self, event: Event) -> str:
        """Return the predicate of an assertion, of an erased one too."""
        return self.names[cast("bytes", event.key)]

    def _source(self, payload: Mapping[str, Json]) -> Source:
        row = self.nodes[cast("str", payload["source"])]
        said, time = row.attributes, _text(payload, "source_time")
        method = "" if row.erased else _text(said, "method") or "asserted"
        return Source(
            row.id, _text(said, "origin") or "", method, _text(said, "actor") or "",
            _text(said, "session"), _text(payload, "quote"), _text(said, "model"), _text(said, "prompt_version"),
            None if time is None else parse_instant(time), _text(payload, "locator"), _text(said, "on_behalf_of"),
        )  # fmt: skip

    def fact(self, entry: LedgerEntry, known_at: Micros) -> Fact:
        """Show an assertion as known at *known_at*."""
        event, payload = entry.event, entry.event.payload
        retraction = self.retractions.get(event.id)
        if retraction is not None and retraction.recorded_at > known_at:
            retraction = None
        return Fact(
            id=event.id,
            subject_id=event.subject,
            predicate=self.predicate(event),
            value=_value(payload),
            object_id=_text(payload, "object"),
            valid_from=from_micros(cast("int", event.valid_from)),
            valid_to=None if event.valid_to is None else from_micros(event.valid_to),
            valid_from_known=event.known,
            recorded_at=from_micros(entry.recorded_at),
            trust=_TRUST[event.trust],
            source=None if entry.erased else self._source(payload),
            absent=event.kind is EventKind.ABSENT,
            as_written=_text(payload, "as_written"),
            retired_at=None if retraction is None else from_micros(retraction.recorded_at),
            retired_reason=None if retraction is None else _text(retraction.event.payload, "reason"),
            replaces=_text(payload, "replaces"),
            carried=_text(payload, "carried"),
            ends=_text(payload, "ends"),
            erased=entry.erased,
        )

    def conflict(
        self, holding: Fact, key: bytes, words: Vocabulary, valid_at: Micros, known_at: Micros
    ) -> Conflict | None:
        """Find who disagrees with what holds: the strongest, and how many more."""
        covering = [claim for claim in self.claims[key] if claim.valid_from <= valid_at < claim.valid_to]
        facts = {claim.fact: self.fact(self.log[claim.fact], known_at) for claim in covering}
        spoken = [self._voice(claim, facts[claim.fact], words) for claim in covering]
        # What was erased says nothing, and of an erased source nobody can tell whether it is another.
        voices = [voice for voice in spoken if voice is not None]
        own = next((voice for voice in voices if voice.claim.fact == self.places[holding.id]), None)
        against = [] if own is None else challengers(own, voices, valid_at, known_at)
        if not against:
            return None
        strongest = facts[against[0].claim.fact]
        return Conflict(strongest.id, strongest.value, strongest.object_id, len(against) - 1)

    def _voice(self, claim: Claim, fact: Fact, words: Vocabulary) -> Voice | None:
        if fact.source is None or not fact.source.origin:
            return None
        said: str | None = None if claim.absent else f"@{fact.object_id}"
        if fact.value is not None:
            defined = words.predicates.get(fact.predicate) or self.predicates[fact.predicate]
            unit = fact.value.unit or defined.unit
            said = Value(fact.value.kind, fact.value.data, unit).canonical(words.units)
        return Voice(claim, fact.source.origin, said)
