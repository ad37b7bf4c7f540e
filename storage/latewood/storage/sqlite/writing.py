"""The write path: a group of units in one transaction, each kept whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, cast

from latewood.graph_schema.clock import FOREVER, Clock, Micros, from_micros
from latewood.graph_schema.commands import Declare, Unit
from latewood.graph_schema.errors import ConflictError, CorruptError, RefusedError
from latewood.graph_schema.events import Event, EventKind, NotHolding, Receipt
from latewood.graph_schema.ids import IdSource, id_bytes, id_text, is_id
from latewood.graph_schema.ledger import GENESIS, header_bytes, link_hash, payload_digest
from latewood.graph_schema.model import LEDGERS, LedgerName, NodeKind
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.graph_schema.resolution import Claim
from latewood.graph_schema.values import canonical_json, normal_key
from latewood.storage.crashpoints import reach
from latewood.storage.erasing import erasure_of
from latewood.storage.merging import is_redeclared, pull_in
from latewood.storage.names import predicate_key
from latewood.storage.needing import needs_of
from latewood.storage.planning import plan
from latewood.storage.plans import Plan, last_recorded, predicate_of, receipt_of, recorded_time
from latewood.storage.port import Committed
from latewood.storage.receipts import receipt_from_json, receipt_to_json
from latewood.storage.rows import FactRow, Known, NodeRow, has_words
from latewood.storage.searching import texts_in, unit_vectors
from latewood.storage.settling import KeyChange, KeyState, claim_class, not_held, open_end, origin_hash, settle_key
from latewood.storage.sqlite import erasing, memories
from latewood.storage.sqlite.batch import Batch
from latewood.storage.sqlite.cache import Cache, CachedLedger, CachedSpace
from latewood.storage.sqlite.database import Database
from latewood.storage.sqlite.looking import Lookup
from latewood.storage.sqlite.records import ERASED, LEDGER_NUMBER, find_space
from latewood.storage.sqlite.stretches import SqliteRows, apply_repair, holder_of_key
from latewood.storage.sqlite.views import Views
from latewood.storage.sqlite.waiting import QueueWriter

__all__ = ["GroupWriter"]


class _Touched(NamedTuple):
    """A key that a unit touches, what it does to it, and by which events."""

    id: bytes
    change: KeyChange
    events: list[Event]


_BATCHED: Final = (
    "insert_event", "insert_node", "touch_node", "insert_key", "mark_key", "insert_claim", "retract_claim",
    "insert_row", "close_row", "retire_row", "insert_receipt",
)  # fmt: skip
"""Statements whose rows wait until they are read, or for the end of the group; they are run in this order."""


class GroupWriter:
    """Writes one group; made for one transaction and thrown away.

    Each unit is planned and settled with reads alone before its first row is written, so a refusal leaves no trace.
    """

    def __init__(
        self,
        connection: Database,
        sql: Mapping[str, str],
        cache: Cache,
        tenant: str,
        clock: Clock,
        ids: IdSource,
        words: Vocabulary,
    ) -> None:
        """Write through *connection*, which is inside a transaction."""
        self._raw = connection
        self._db = Batch(connection, sql, _BATCHED)
        self._sql = sql
        self._cache = cache
        self._tenant = tenant
        self._clock = clock
        self._ids = ids
        self._words = words
        self._vectors: dict[int, list[tuple[int, bytes]]] = {}
        # The batch holds nothing back of what hands out messages.
        self._queue = QueueWriter(connection)
        cache.refresh(connection)
        self._look = Lookup(connection, self._db, sql, cache)
        self._views = Views(cache)

    def commit(self, units: Sequence[Unit]) -> tuple[Committed, ...]:
        """Write *units* in order."""
        answers: list[Committed] = []
        self._look.ahead(units, self._spaces(units))
        touched: dict[tuple[str, LedgerName], CachedSpace] = {}
        for unit in units:
            try:
                answers.append(self._unit(unit))
                touched[unit.space, unit.ledger] = self._space(unit.space)
            except RefusedError as error:
                answers.append(error)
        for (_, name), space in touched.items():
            ledger = self._ledger(space, name)
            head = (space.n, ledger.number, ledger.seq, ledger.hash, ledger.recorded_at)
            if ledger.seq:
                self._db.execute(self._sql["set_head"], head)
        self._finish()
        reach("group.written")
        return tuple(answers)

    def _finish(self) -> None:
        """Write what waits, the memories among it and their vectors, and who is to get which message."""
        self._db.flush()
        self._queue.flush()
        self._views.finish(self._db)
        for generation, vectors in self._vectors.items():
            memories.put_vectors(self._db, generation, vectors)

    def _spaces(self, units: Sequence[Unit]) -> dict[str, CachedSpace]:
        """Return the spaces of *units*, but those that are not there: a unit hears of that when its turn comes."""
        found: dict[str, CachedSpace] = {}
        for name in {unit.space for unit in units}:
            with contextlib.suppress(RefusedError):
                found[name] = self._space(name)
        return found

    def _space(self, name: str) -> CachedSpace:
        found = self._cache.spaces.get((self._tenant, name))
        if found is None:
            n, row = find_space(self._db, self._sql, self._tenant, name)
            current = memories.current_generation(self._db, n)
            found = self._cache.spaces[self._tenant, name] = CachedSpace(n, row, generation=current)
        return found

    def _ledger(self, space: CachedSpace, name: LedgerName) -> CachedLedger:
        found = space.ledgers.get(name)
        if found is None:
            place = LEDGER_NUMBER[name]
            row = self._db.execute(self._sql["head"], (space.n, place)).fetchone()
            seq, digest, recorded_at = (
                cast("tuple[int, bytes, int]", row) if row is not None else (0, GENESIS, -(2**63))
            )
            found = space.ledgers[name] = CachedLedger(place, seq, digest, recorded_at)
        return found

    def _unit(self, unit: Unit) -> Receipt:
        space = self._space(unit.space)
        current = space.generation
        vectors = unit_vectors(unit, None if current is None else (current.name, current.dimensions))
        op = self._look.op_of(unit, space)
        if op is not None and (earlier := self._look.replayed(space.n, op)) is not None:
            return self._replay(unit, *earlier)
        if unit.guard is not None:
            self._look.check_guard(space.n, unit.guard, self._clock.now())
        if unit.holds or unit.rooms:
            self._queue.check(space.n, unit, self._clock.now())
        ledger = self._ledger(space, unit.ledger)
        last = last_recorded(unit, space.row, {name: self._ledger(space, name).recorded_at for name in LEDGERS})
        planned = plan(unit, self._known(space, unit, last), self._words, self._clock, self._ids)
        keys, not_holding = self._settle(space, planned)
        reach("group.heads_read")
        # Nothing refuses from here on.
        last_hash = self._append(space, ledger, unit, planned, op)
        last_seq = ledger.seq + len(planned.events)
        self._nodes(space, planned, ledger.seq)
        self._claims(space, planned, keys)
        self._views.see(planned.events)
        if unit.ledger == "execution":
            self._queue.follow(space.n, space.row.secret, planned.events, ledger.seq)
        receipt = receipt_of(unit, planned, last_seq, not_holding, self._erase(space, unit.ledger, planned.events))
        written = receipt_to_json(receipt)
        self._db.later(self._sql["insert_receipt"], (id_bytes(unit.id), space.n, op, unit.body, written))
        if (planned.state, planned.filling) != (space.row.state, space.row.filling):
            self._db.execute(
                "update space set state = ?, filling = ? where n = ?", (planned.state, planned.filling, space.n)
            )
            space.row = replace(space.row, state=planned.state, filling=planned.filling)
        if vectors and current is not None:
            numbers = {event.id: self._cache.next_e + event.ordinal for event in planned.events}
            self._vectors.setdefault(current.n, []).extend((numbers[one], v) for one, v in vectors.items())
        ledger.seq, ledger.recorded_at, ledger.hash = last_seq, planned.recorded_at, last_hash
        self._cache.next_e += len(planned.events)
        self._look.kept(space.n, unit, written)
        self._look.take(space.n, planned.facts)
        self._look.take(space.n, (node.id for node in planned.declared))
        reach("unit.written")
        return receipt

    def _replay(self, unit: Unit, body: bytes, receipt: str) -> Receipt:
        if body != unit.body:
            msg = f"the idempotency key {unit.op!r} was used before with another payload; use a new key"
            raise ConflictError(msg, code="idempotency.conflict", key=unit.op)
        return receipt_from_json(receipt, replayed=True)

    def _known(self, space: CachedSpace, unit: Unit, head: Micros) -> Known:
        """Look up what planning the unit needs."""
        look, needs = self._look, needs_of(unit)
        keys = [*needs.keys, *(normal_key(predicate_key(name)) for name in needs.predicates)]
        facts: dict[str, FactRow] = {}
        holders: dict[tuple[str, Micros | None], str | None] = {}
        # An id that the unit gives to a node, and that nothing has, need not be looked for.
        new = {one.id for one in unit.commands if isinstance(one, Declare) and not look.is_taken(space.n, one.id)}
        versions = bool(unit.expects)
        by_id = look.by_id(space.n, needs.ids - new, versions=versions)
        if fact_ids := [one for one in needs.facts | ((needs.ids - new) - by_id.keys()) if is_id(one)]:
            rows_of = look.facts(space.n, fact_ids, facts)
            keys += [normal_key(predicate_key(facts[one].predicate)) for one in needs.facts if one in facts]
            for fact_id, at in needs.ends:
                if fact_id in rows_of:
                    instant = recorded_time(unit, space.row, head, self._clock.now()) if at is None else at
                    holders[fact_id, at] = self._holder(rows_of[fact_id], instant)
        by_key = look.by_key(space.n, keys, versions=versions)
        pull_in(by_key.values(), by_id, lambda ids: look.by_id(space.n, ids, versions=versions))
        predicates = {
            one.name: one
            for one in (predicate_of(node.attributes) for node in by_key.values() if node.kind is NodeKind.PREDICATE)
        }
        found = None
        if needs.erase is not None:
            place = (self._tenant, space.n, space.row.name, LEDGER_NUMBER[unit.ledger])
            found = erasing.find(self._db, place, needs.erase)
        taken = {one for one in needs.fresh if look.is_taken(space.n, one)}
        if look.is_taken(0, unit.id):
            taken.add(unit.id)
        return Known(space.row, head, by_key, by_id, facts, predicates, holders, found, taken)

    def _holder(self, k: int, valid_at: Micros) -> str | None:
        e = holder_of_key(self._db, self._sql, k, valid_at, FOREVER - 1)
        return None if e is None else self._id_of(e)

    def _id_of(self, e: int) -> str:
        return id_text(cast("bytes", self._db.execute("select id from event where e = ?", (e,)).fetchall()[0][0]))

    def _append(self, space: CachedSpace, ledger: CachedLedger, unit: Unit, planned: Plan, op: bytes | None) -> bytes:
        """Chain the unit's events to the ledger; return the last hash."""
        previous, seq, e = ledger.hash, ledger.seq, self._cache.next_e
        insert = self._sql["insert_event"]
        salts = os.urandom(16 * len(planned.events))
        unit_raw = id_bytes(unit.id)
        for event in planned.events:
            seq += 1
            place = 16 * event.ordinal
            salt = salts[place : place + 16]
            payload = canonical_json(event.payload)
            digest = payload_digest(salt, payload.encode())
            op_kept, body_kept = (op, unit.body) if event.ordinal == 0 else (None, None)
            header = header_bytes(
                space.row.id, unit.ledger, seq, unit.id, planned.recorded_at, planned.written_at, op_kept, body_kept,
                event, digest,
            )  # fmt: skip
            previous = link_hash(previous, header)
            row = (
                e + event.ordinal, space.n, ledger.number, seq, unit_raw, event.ordinal, planned.recorded_at,
                planned.written_at, event.kind.value, id_bytes(event.id), id_bytes(event.subject), event.key,
                id_bytes(event.target) if event.target else None, event.tier, event.trust, int(event.known),
                event.valid_from, event.valid_to, op_kept, body_kept, digest, previous, salt, payload,
            )  # fmt: skip
            self._db.later(insert, row)
        return previous

    def _nodes(self, space: CachedSpace, planned: Plan, base_seq: int) -> None:
        """Keep the declared nodes and their words, and note the last event about each node."""
        last = {event.subject: base_seq + event.ordinal + 1 for event in planned.events}
        for node in planned.declared:
            again, number = self._is_declared(space, node), self._cache.next_n
            norm = None if node.key is None else normal_key(node.key)
            row = (
                number, space.n, id_bytes(node.id), node.kind.value, node.type, node.key, norm, node.name,
                ERASED if node.erased else canonical_json(node.attributes), node.recorded_at,
                0 if again else last.pop(node.id),
            )  # fmt: skip
            self._db.later(self._sql["insert_node"], row)
            # One that is declared again keeps the row that it has.
            self._look.declared(space.n, self._look.number(space.n, node.id) if again else number, node)
            if has_words(node) and not node.erased and not is_redeclared(node):
                words = node.name if node.key is None or node.key == node.name else f"{node.key} {node.name}"
                self._text(space, -number, words)
            self._cache.next_n += 1
        for subject, version in last.items():
            self._db.later(self._sql["touch_node"], (version, space.n, id_bytes(subject)))

    def _is_declared(self, space: CachedSpace, node: NodeRow) -> bool:
        """Tell whether a declaration is one of a node that is there: of a predicate, or by a merge or a split."""
        if node.kind is NodeKind.PREDICATE:
            return bool(self._look.by_id(space.n, (node.id,)))
        return is_redeclared(node)

    def _text(self, space: CachedSpace, rowid: int, words: str) -> None:
        self._db.later(f"insert into text_{space.n}(rowid, body) values(?, ?)", (rowid, words))

    def _erase(self, space: CachedSpace, ledger: LedgerName, events: Iterable[Event]) -> Mapping[str, int]:
        """Take the words that the events of a unit erase; return how many rows of each place."""
        counts: Mapping[str, int] = {}
        for event in events:
            if event.kind is EventKind.ERASED:
                place = (self._tenant, space.n, space.row.name, LEDGER_NUMBER[ledger])
                counts = erasing.take(self._db, place, erasure_of(event))
                self._cache.forget_nodes()
                reach("erase.taken")
        return counts

    def _settle(self, space: CachedSpace, planned: Plan) -> tuple[list[_Touched], list[NotHolding]]:
        """Find what the unit does to every key it touches, in order of key, and where its facts do not hold."""
        keys: dict[bytes, _Touched] = {}
        fact_ids: dict[int, str] = {}
        for event in planned.events:
            if event.key is None:
                continue
            origin = origin_hash(space.row.secret, planned.origin_of(event))
            touched = keys.get(event.key)
            if touched is None:
                change = KeyChange(self._key(space, event, origin, new=event.key in planned.unsaid))
                touched = keys[event.key] = _Touched(event.key, change, [])
            touched.events.append(event)
            change = touched.change
            if event.kind is EventKind.RETRACTED:
                change.removed.append(self._claim_of(space, cast("str", event.target)))
            else:
                e = self._cache.next_e + event.ordinal
                fact_ids[e] = event.id
                change.added.append(_claim_from(event, e, planned.recorded_at))
                change.state = _spoken(change.state, event, origin)
        found: list[NotHolding] = []
        ordered = [keys[key_id] for key_id in sorted(keys)]
        for touched in ordered:
            change = touched.change
            settle_key(SqliteRows(self._db, self._sql, change.state.k), change, planned.recorded_at)
            for claim in change.added:
                found += self._not_holding(change, claim, fact_ids)
        if len(found) > 1:
            order = {fact_id: place for place, fact_id in enumerate(planned.facts)}
            found.sort(key=lambda one: (order[one.fact_id], one.valid_from))
        return ordered, found

    def _key(self, space: CachedSpace, event: Event, origin: bytes, *, new: bool) -> KeyState:
        """Return what is known of the event's key; a copy, so that a refusal changes nothing."""
        found = None if new else self._cache.keys.get((space.n, cast("bytes", event.key)))
        if found is None:
            # The keys of the group itself are all remembered, so none waits in the batch.
            row = None if new else self._raw.execute(self._sql["key"], (space.n, event.key)).fetchone()
            if row is None:
                return KeyState(0, origin, contested=False, top=claim_class(event.tier, int(event.known)), stored=False)
            k, first_origin, contested, top = cast("tuple[int, bytes, int, int]", row)
            found = KeyState(k, first_origin, bool(contested), top)
        return KeyState(found.k, found.origin, found.contested, found.top, stored=True, tail=found.tail)

    def _claim_of(self, space: CachedSpace, fact_id: str) -> Claim:
        row = self._db.execute(self._sql["claim_of_fact"], (space.n, id_bytes(fact_id))).fetchone()
        if row is None:
            raise CorruptError(f"the fact {fact_id} is not in the view; run `latewood doctor`")
        e, valid_from, valid_to, tier, known, trust, recorded, ordinal, absent, _ = cast("tuple[int, ...]", row)
        return Claim(e, valid_from, valid_to, tier, known, trust, recorded, ordinal, bool(absent))

    def _not_holding(self, change: KeyChange, claim: Claim, fact_ids: Mapping[int, str]) -> list[NotHolding]:
        """Say where a new claim does not hold, and what holds at the start of each such stretch."""
        found: list[NotHolding] = []
        for start, end in not_held(claim, change.layout):
            inside = (one.claim for one in change.layout if one.valid_from <= start < one.valid_to)
            holding = next(inside, None)
            e = (
                holding.fact
                if holding is not None
                else holder_of_key(self._db, self._sql, change.state.k, start, FOREVER - 1)
            )
            if e is not None:
                last = open_end(end)
                until = None if last is None else from_micros(last)
                held_by = fact_ids.get(e) or self._id_of(e)
                found.append(NotHolding(fact_ids[claim.fact], from_micros(start), until, held_by))
        return found

    def _claims(self, space: CachedSpace, planned: Plan, keys: Iterable[_Touched]) -> None:
        """Keep the unit's claims and retractions and repair every key they touch."""
        for key_id, change, events in keys:
            state = change.state
            if not state.stored:
                self._insert_key(space, key_id, events[0], state)
            else:
                before = self._cache.keys.get((space.n, key_id))
                if before is None or (before.contested, before.top) != (state.contested, state.top):
                    self._db.later(self._sql["mark_key"], (int(state.contested), state.top, state.k))
            added, removed = iter(change.added), iter(change.removed)
            for event in events:
                if event.kind is EventKind.RETRACTED:
                    claim = next(removed)
                    e = self._cache.next_e + event.ordinal
                    bindings = (planned.recorded_at, e, state.k, claim.valid_from, claim.fact)
                    self._db.later(self._sql["retract_claim"], bindings)
                else:
                    self._insert_claim(space, state.k, next(added), event)
            apply_repair(self._db, self._sql, change, planned.recorded_at)
            self._cache.keys[space.n, key_id] = state

    def _insert_key(self, space: CachedSpace, key_id: bytes, event: Event, state: KeyState) -> None:
        number = self._look.number(space.n, event.subject)
        state.k, state.stored = self._cache.next_k, True
        self._cache.next_k += 1
        # Of an erased row that is replayed the predicate comes later, with its erasure.
        predicate = cast("str", event.payload.get("predicate", ""))
        bindings = (state.k, space.n, key_id, number, predicate, state.origin, int(state.contested), state.top)
        self._db.later(self._sql["insert_key"], bindings)

    def _insert_claim(self, space: CachedSpace, k: int, claim: Claim, event: Event) -> None:
        target = event.payload.get("object")
        bindings = (
            k, claim.valid_from, claim.fact, claim.valid_to, claim.tier, claim.known, claim.trust, claim.recorded_at,
            claim.ordinal, int(claim.absent), id_bytes(target) if isinstance(target, str) else None,
        )  # fmt: skip
        self._db.later(self._sql["insert_claim"], bindings)
        value = event.payload.get("value")
        if isinstance(value, dict) and value["kind"] in ("text", "json"):
            words = "\n".join(texts_in(value["data"]))
            if words:
                self._text(space, claim.fact, words)


def _claim_from(event: Event, e: int, recorded_at: Micros) -> Claim:
    return Claim(
        e, cast("int", event.valid_from), FOREVER if event.valid_to is None else event.valid_to, event.tier,
        int(event.known), event.trust, recorded_at, event.ordinal, event.kind is EventKind.ABSENT,
    )  # fmt: skip


def _spoken(state: KeyState, event: Event, origin: bytes) -> KeyState:
    """Note another origin or a higher class; both are only ever raised."""
    state.contested = state.contested or state.origin != origin
    state.top = max(state.top, claim_class(event.tier, int(event.known)))
    return state
