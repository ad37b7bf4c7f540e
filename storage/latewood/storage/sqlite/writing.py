"""The write path: a group of units in one transaction, each kept whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from latewood.graph_schema.clock import FOREVER, Clock, Micros, from_micros
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.errors import ConflictError, CorruptError, RefusedError
from latewood.graph_schema.events import Event, EventKind, NotHolding, Receipt
from latewood.graph_schema.ids import IdSource, id_bytes, id_text, is_id
from latewood.graph_schema.ledger import GENESIS, header_bytes, link_hash, op_hash, payload_digest
from latewood.graph_schema.model import LEDGERS, LedgerName, NodeKind
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.graph_schema.resolution import Claim, Held
from latewood.graph_schema.values import Json, canonical_json, normal_key
from latewood.storage.planning import Plan, needs_of, plan, predicate_key, predicate_of, receipt_of, unknown_space
from latewood.storage.port import Committed
from latewood.storage.receipts import receipt_from_json, receipt_to_json
from latewood.storage.rows import FactRow, Known, NodeRow, SpaceRow
from latewood.storage.sqlite.database import Database, number
from latewood.storage.sqlite.stretches import claim_class, holder_of_key, not_held, open_end, repair_key

__all__ = ["LEDGER_NUMBER", "GroupWriter", "find_space", "node_row", "space_row", "texts_of"]

LEDGER_NUMBER: Final[Mapping[LedgerName, int]] = {name: place for place, name in enumerate(LEDGERS)}


def space_row(row: Sequence[object]) -> tuple[int, SpaceRow]:
    """Read a row of the query `space`."""
    n, raw_id, name, secret, strict, state, filling = row
    return cast("int", n), SpaceRow(
        id_text(cast("bytes", raw_id)), cast("str", name), cast("bytes", secret), bool(strict), cast("str", state),
        cast("str | None", filling),
    )  # fmt: skip


def find_space(connection: Database, sql: Mapping[str, str], tenant: str, name: str) -> tuple[int, SpaceRow]:
    """Return a space's row number and the space. Raises NotFoundError (``space.unknown``) with near names."""
    row = connection.execute(sql["space"], (tenant, name)).fetchone()
    if row is None:
        names = [cast("str", one[2]) for one in connection.execute(sql["spaces"], (tenant,))]
        raise unknown_space(name, names)
    return space_row(row)


def node_row(row: Sequence[object]) -> NodeRow:
    """Read a row of the queries over `node`."""
    _, raw_id, kind, node_type, key, name, attributes, recorded_at, version, _ = row
    return NodeRow(
        id_text(cast("bytes", raw_id)), NodeKind(cast("str", kind)), cast("str", node_type), cast("str | None", key),
        cast("str", name), json.loads(cast("str", attributes)), cast("int", recorded_at), cast("int", version),
    )  # fmt: skip


def texts_of(document: Json) -> Iterable[str]:
    """Return every text inside a JSON document, in order."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, list):
        for item in document:
            yield from texts_of(item)
    elif isinstance(document, dict):
        for item in document.values():
            yield from texts_of(item)


def _origin_hash(origin: str) -> bytes:
    return hashlib.sha256(origin.encode()).digest()[:8]


@dataclass(slots=True)
class _Ledger:
    """The head of a ledger while a group is written."""

    number: int
    seq: int
    hash: bytes
    recorded_at: Micros


@dataclass(slots=True)
class _Space:
    n: int
    row: SpaceRow
    ledgers: dict[LedgerName, _Ledger] = field(default_factory=dict[LedgerName, _Ledger])


@dataclass(slots=True)
class _Key:
    k: int
    origin: bytes
    contested: bool
    top: int
    changed: list[Claim] = field(default_factory=list[Claim])
    new: list[tuple[Claim, str]] = field(default_factory=list[tuple[Claim, str]])


class GroupWriter:
    """Writes one group; made for one transaction and thrown away."""

    def __init__(
        self, connection: Database, sql: Mapping[str, str], tenant: str, clock: Clock, ids: IdSource, words: Vocabulary
    ) -> None:
        """Write through *connection*, which is inside a transaction."""
        self._db = connection
        self._sql = sql
        self._tenant = tenant
        self._clock = clock
        self._ids = ids
        self._words = words
        self._spaces: dict[str, _Space] = {}
        self._next_e = number(connection.execute("select coalesce(max(e), 0) + 1 from event"))
        self._next_n = number(connection.execute("select coalesce(max(n), 0) + 1 from node"))

    def commit(self, units: Sequence[Unit]) -> tuple[Committed, ...]:
        """Write *units* in order."""
        answers: list[Committed] = []
        for unit in units:
            counters = (self._next_e, self._next_n)
            self._db.execute("savepoint unit")
            try:
                answers.append(self._unit(unit))
            except RefusedError as error:
                self._db.execute("rollback to unit")
                self._next_e, self._next_n = counters
                answers.append(error)
            finally:
                if self._db.in_transaction:
                    self._db.execute("release unit")
        for space in self._spaces.values():
            for ledger in space.ledgers.values():
                head = (space.n, ledger.number, ledger.seq, ledger.hash, ledger.recorded_at)
                self._db.execute(self._sql["set_head"], head)
        return tuple(answers)

    def _space(self, name: str) -> _Space:
        found = self._spaces.get(name)
        if found is None:
            n, row = find_space(self._db, self._sql, self._tenant, name)
            found = self._spaces[name] = _Space(n, row)
        return found

    def _ledger(self, space: _Space, name: LedgerName) -> _Ledger:
        found = space.ledgers.get(name)
        if found is None:
            number = LEDGER_NUMBER[name]
            row = self._db.execute(self._sql["head"], (space.n, number)).fetchone()
            seq, digest, recorded_at = (
                cast("tuple[int, bytes, int]", row) if row is not None else (0, GENESIS, -(2**63))
            )
            found = space.ledgers[name] = _Ledger(number, seq, digest, recorded_at)
        return found

    def _unit(self, unit: Unit) -> Receipt:
        space = self._space(unit.space)
        op = None if unit.op is None else op_hash(space.row.secret, unit.op)
        if op is not None:
            earlier = self._db.execute(self._sql["replayed"], (space.n, op)).fetchone()
            if earlier is not None:
                return self._replay(unit, cast("bytes", earlier[0]), cast("str", earlier[1]))
        ledger = self._ledger(space, unit.ledger)
        planned = plan(unit, self._known(space, unit, ledger.recorded_at), self._words, self._clock, self._ids)
        numbers, last_hash = self._append(space, ledger, unit, planned, op)
        last_seq = ledger.seq + len(planned.events)
        self._nodes(space, planned)
        self._touch(space, planned, ledger.seq)
        not_holding = self._claims(space, planned, numbers)
        receipt = receipt_of(unit, planned, last_seq, not_holding)
        self._db.execute(
            self._sql["insert_receipt"], (id_bytes(unit.id), space.n, op, unit.body, receipt_to_json(receipt))
        )
        if (planned.state, planned.filling) != (space.row.state, space.row.filling):
            self._db.execute(
                "update space set state = ?, filling = ? where n = ?", (planned.state, planned.filling, space.n)
            )
            row = space.row
            space.row = SpaceRow(row.id, row.name, row.secret, row.strict, planned.state, planned.filling)
        # Only now: a refusal above must leave the head where the rolled-back rows would have begun.
        ledger.seq, ledger.recorded_at, ledger.hash = last_seq, planned.recorded_at, last_hash
        return receipt

    def _replay(self, unit: Unit, body: bytes, receipt: str) -> Receipt:
        if body != unit.body:
            msg = f"the idempotency key {unit.op!r} was used before with another payload; use a new key"
            raise ConflictError(msg, code="idempotency.conflict", key=unit.op)
        return receipt_from_json(receipt, replayed=True)

    def _known(self, space: _Space, unit: Unit, head: Micros) -> Known:
        """Look up what planning the unit needs."""
        needs = needs_of(unit)
        keys = [*needs.keys, *(normal_key(predicate_key(name)) for name in needs.predicates)]
        facts: dict[str, FactRow] = {}
        holders: dict[tuple[str, Micros | None], str | None] = {}
        fact_ids = [one for one in (needs.facts | needs.ids) if is_id(one)]
        if fact_ids:
            rows_of = self._facts(space, fact_ids, facts)
            keys += [normal_key(predicate_key(facts[one].predicate)) for one in needs.facts if one in facts]
            for fact_id, at in needs.ends:
                if fact_id in rows_of:
                    instant = max(self._clock.now(), head + 1) if at is None else at
                    holders[fact_id, at] = self._holder(rows_of[fact_id], instant)
        by_key: dict[str, NodeRow] = {}
        for row in self._db.execute(self._sql["nodes_by_key"], (space.n, json.dumps(keys))):
            by_key[cast("str", row[9])] = node_row(row)
        by_id: dict[str, NodeRow] = {}
        node_ids = [one.replace("-", "") for one in needs.ids if is_id(one)]
        if node_ids:
            for row in self._db.execute(self._sql["nodes_by_id"], (space.n, json.dumps(node_ids))):
                found = node_row(row)
                by_id[found.id] = found
        predicates = {
            one.name: one
            for one in (predicate_of(node.attributes) for node in by_key.values() if node.kind is NodeKind.PREDICATE)
        }
        return Known(space.row, head, by_key, by_id, facts, predicates, holders)

    def _facts(self, space: _Space, ids: Sequence[str], into: dict[str, FactRow]) -> dict[str, int]:
        keys: dict[str, int] = {}
        listed = json.dumps([one.replace("-", "") for one in ids])
        for row in self._db.execute(self._sql["facts_for_plan"], (space.n, listed)):
            raw_id, subject, predicate, key, tier, absent, valid_from, retracted_at, _, k = row
            fact_id = id_text(cast("bytes", raw_id))
            into[fact_id] = FactRow(
                fact_id, id_text(cast("bytes", subject)), cast("str", predicate), cast("bytes", key), cast("int", tier),
                bool(absent), cast("int", valid_from), open_end(cast("int", retracted_at)),
            )  # fmt: skip
            keys[fact_id] = cast("int", k)
        return keys

    def _holder(self, k: int, valid_at: Micros) -> str | None:
        e = holder_of_key(self._db, self._sql, k, valid_at, FOREVER - 1)
        return None if e is None else self._id_of(e)

    def _id_of(self, e: int) -> str:
        return id_text(cast("bytes", self._db.execute("select id from event where e = ?", (e,)).fetchall()[0][0]))

    def _append(
        self, space: _Space, ledger: _Ledger, unit: Unit, planned: Plan, op: bytes | None
    ) -> tuple[list[int], bytes]:
        """Chain the unit's events to the ledger; return their row numbers and the last hash."""
        previous, seq = ledger.hash, ledger.seq
        rows: list[tuple[object, ...]] = []
        numbers: list[int] = []
        salts = os.urandom(16 * len(planned.events))
        unit_raw = id_bytes(unit.id)
        for event in planned.events:
            seq += 1
            place = 16 * event.ordinal
            salt = salts[place : place + 16]
            payload = canonical_json(event.payload)
            digest = payload_digest(salt, payload.encode())
            first = event.ordinal == 0
            op_kept, body_kept = (op, unit.body) if first else (None, None)
            header = header_bytes(
                space.row.id, unit.ledger, seq, unit.id, planned.recorded_at, planned.written_at, op_kept, body_kept,
                event, digest,
            )  # fmt: skip
            previous = link_hash(previous, header)
            rows.append((
                self._next_e, space.n, ledger.number, seq, unit_raw, event.ordinal, planned.recorded_at,
                planned.written_at, event.kind.value, id_bytes(event.id), id_bytes(event.subject), event.key,
                id_bytes(event.target) if event.target else None, event.tier, event.trust, int(event.known),
                event.valid_from, event.valid_to, op_kept, body_kept, digest, previous, salt, payload,
            ))  # fmt: skip
            numbers.append(self._next_e)
            self._next_e += 1
        self._db.executemany(self._sql["insert_event"], rows)
        return numbers, previous

    def _nodes(self, space: _Space, planned: Plan) -> None:
        """Keep the declared nodes and their words."""
        for node in planned.declared:
            norm = None if node.key is None else normal_key(node.key)
            self._db.execute(
                self._sql["insert_node"],
                (
                    self._next_n, space.n, id_bytes(node.id), node.kind.value, node.type, node.key, norm, node.name,
                    canonical_json(node.attributes), node.recorded_at,
                ),
            )  # fmt: skip
            if node.kind not in (NodeKind.PREDICATE, NodeKind.SOURCE):
                words = node.name if node.key is None or node.key == node.name else f"{node.key} {node.name}"
                self._text(space, -self._next_n, words)
            self._next_n += 1

    def _touch(self, space: _Space, planned: Plan, base_seq: int) -> None:
        """Note the last event about each node."""
        last = {event.subject: base_seq + event.ordinal + 1 for event in planned.events}
        rows = [(seq, space.n, id_bytes(subject)) for subject, seq in last.items()]
        self._db.executemany(self._sql["touch_node"], rows)

    def _text(self, space: _Space, rowid: int, words: str) -> None:
        self._db.execute(f"insert into text_{space.n}(rowid, body) values(?, ?)", (rowid, words))

    def _claims(self, space: _Space, planned: Plan, numbers: Sequence[int]) -> list[NotHolding]:
        """Keep the unit's claims and retractions, then repair every key they touch, in order of key."""
        keys: dict[bytes, _Key] = {}
        origin = _origin_hash(planned.origin)
        for event, e in zip(planned.events, numbers, strict=True):
            if event.key is None:
                continue
            if event.kind is EventKind.RETRACTED:
                self._retract(space, keys, event, e, planned.recorded_at)
            else:
                self._claim(space, keys, event, e, planned.recorded_at, origin)
        found: list[NotHolding] = []
        for key_id in sorted(keys):
            key = keys[key_id]
            layout = repair_key(self._db, self._sql, key.k, key.top, key.changed, planned.recorded_at)
            for claim, fact_id in key.new:
                found += self._not_holding(key, claim, fact_id, layout)
        order = {fact_id: place for place, fact_id in enumerate(planned.facts)}
        return sorted(found, key=lambda one: (order[one.fact_id], one.valid_from))

    def _key(self, space: _Space, keys: dict[bytes, _Key], event: Event, origin: bytes) -> _Key:
        """Find the row of the event's key, or register it."""
        key_id = cast("bytes", event.key)
        key = keys.get(key_id)
        if key is not None:
            return key
        row = self._db.execute(self._sql["key"], (space.n, key_id)).fetchone()
        if row is not None:
            k, first_origin, contested, top = row
            key = _Key(cast("int", k), cast("bytes", first_origin), bool(contested), cast("int", top))
        else:
            subject = self._db.execute(self._sql["node_number"], (space.n, id_bytes(event.subject))).fetchone()
            if subject is None:
                raise CorruptError(f"the node {event.subject} of a fact is not in the view; run `latewood rebuild`")
            top = claim_class(event.tier, int(event.known))
            predicate = cast("str", event.payload["predicate"])
            self._db.execute(self._sql["insert_key"], (None, space.n, key_id, subject[0], predicate, origin, top))
            key = _Key(self._db.last_insert_rowid(), origin, contested=False, top=top)
        keys[key_id] = key
        return key

    def _claim(
        self, space: _Space, keys: dict[bytes, _Key], event: Event, e: int, recorded_at: Micros, origin: bytes
    ) -> None:
        key = self._key(space, keys, event, origin)
        absent = event.kind is EventKind.ABSENT
        top = max(key.top, claim_class(event.tier, int(event.known)))
        contested = key.contested or key.origin != origin
        if (contested, top) != (key.contested, key.top):
            key.contested, key.top = contested, top
            self._db.execute(self._sql["mark_key"], (int(contested), top, key.k))
        claim = Claim(
            e, cast("int", event.valid_from), FOREVER if event.valid_to is None else event.valid_to, event.tier,
            int(event.known), event.trust, recorded_at, event.ordinal, absent,
        )  # fmt: skip
        target = event.payload.get("object")
        self._db.execute(
            self._sql["insert_claim"],
            (
                key.k, claim.valid_from, e, claim.valid_to, claim.tier, claim.known, claim.trust, recorded_at,
                claim.ordinal, int(absent), id_bytes(target) if isinstance(target, str) else None,
            ),
        )  # fmt: skip
        key.changed.append(claim)
        key.new.append((claim, event.id))
        value = event.payload.get("value")
        if isinstance(value, dict) and value["kind"] in ("text", "json"):
            words = "\n".join(texts_of(value["data"]))
            if words:
                self._text(space, e, words)

    def _retract(self, space: _Space, keys: dict[bytes, _Key], event: Event, e: int, recorded_at: Micros) -> None:
        row = self._db.execute(self._sql["claim_of_fact"], (space.n, id_bytes(cast("str", event.target)))).fetchone()
        if row is None:
            raise CorruptError(f"the fact {event.target} is not in the view; run `latewood rebuild`")
        claim_e, valid_from, valid_to, tier, known, trust, recorded, ordinal, absent, k = cast("tuple[int, ...]", row)
        self._db.execute(self._sql["retract_claim"], (recorded_at, e, k, valid_from, claim_e))
        key = self._key(space, keys, event, b"")
        key.changed.append(Claim(claim_e, valid_from, valid_to, tier, known, trust, recorded, ordinal, bool(absent)))

    def _not_holding(self, key: _Key, claim: Claim, fact_id: str, layout: Sequence[Held]) -> list[NotHolding]:
        """Say where a new claim does not hold, and what holds at the start of each such stretch."""
        found: list[NotHolding] = []
        for start, end in not_held(claim, layout):
            inside = (one.claim for one in layout if one.valid_from <= start < one.valid_to)
            holding = next(inside, None)
            e = holding.fact if holding is not None else holder_of_key(self._db, self._sql, key.k, start, FOREVER - 1)
            if e is not None:
                last = open_end(end)
                until = None if last is None else from_micros(last)
                found.append(NotHolding(fact_id, from_micros(start), until, self._id_of(e)))
        return found
