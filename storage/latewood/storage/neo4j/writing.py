"""The write path: a group of units in one transaction, in a handful of round trips however many they are.

The heads of the ledgers are locked first, in order of space and ledger, so that several processes on one database take
turns and never wait for each other in a ring. Then everything that planning needs is read at once; units are planned
and settled in memory, each whole or refused; and one statement writes what they became.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from latewood.graph_schema.clock import FOREVER, Clock, Micros, from_micros
from latewood.graph_schema.commands import Assert, Unit
from latewood.graph_schema.errors import ConflictError, CorruptError, RefusedError
from latewood.graph_schema.events import Event, EventKind, NotHolding, Receipt
from latewood.graph_schema.ids import IdSource, is_id, normal_id
from latewood.graph_schema.ledger import header_bytes, link_hash, op_hash, payload_digest
from latewood.graph_schema.model import LEDGERS, LedgerName, NodeKind, Predicate
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.graph_schema.resolution import Claim
from latewood.graph_schema.values import Json, canonical_json, normal_key
from latewood.storage.names import competes_for, predicate_key, unknown_space
from latewood.storage.neo4j.database import Query, Row
from latewood.storage.neo4j.keys import FactRef, ImageRows, KeyImage, WindowRows, claim_of, load_images, tail_row
from latewood.storage.neo4j.pending import Pending
from latewood.storage.planning import Plan, needs_of, plan, predicate_of, receipt_of, recorded_time
from latewood.storage.port import Committed
from latewood.storage.receipts import receipt_from_json, receipt_to_json
from latewood.storage.rows import FactRow, Known, Needs, NodeRow, SpaceRow
from latewood.storage.settling import (
    KeyChange,
    KeyRows,
    KeyState,
    claim_class,
    not_held,
    open_end,
    origin_hash,
    settle_key,
)

__all__ = ["Cache", "GroupWriter", "node_row", "space_row"]

LEDGER_NUMBER: Final[Mapping[LedgerName, int]] = {name: number for number, name in enumerate(LEDGERS)}
_CACHED_MAX: Final = 50_000


def space_row(row: Row) -> tuple[int, SpaceRow]:
    """Read the space columns of a row."""
    number, space_id, name, secret, strict, state, filling = row[:7]
    return number, SpaceRow(space_id, name, bytes(secret), strict, state, filling)


def node_row(row: Row) -> NodeRow:
    """Read the `node` columns of a row."""
    node_id, kind, node_type, key, name, attributes, recorded_at, version, _ = row[:9]
    read: dict[str, Json] = json.loads(attributes) if attributes != "{}" else {}
    return NodeRow(node_id, NodeKind(kind), node_type, key, name, read, recorded_at, version)


@dataclass(slots=True)
class Cache:
    """What the writer knows of the database without looking: of a space, as long as nobody else moved its heads.

    Attributes:
        heads: (space, ledger) to the seq after this process's last group.
    """

    heads: dict[tuple[int, str], int] = field(default_factory=dict[tuple[int, str], int])
    nodes: dict[tuple[int, str], NodeRow] = field(default_factory=dict[tuple[int, str], NodeRow])
    keys: dict[tuple[int, str], KeyImage] = field(default_factory=dict[tuple[int, str], KeyImage])

    def clear(self) -> None:
        """Forget everything."""
        self.heads.clear()
        self.nodes.clear()
        self.keys.clear()

    def check(self, heads: Mapping[tuple[int, str], int]) -> None:
        """Forget everything when a head moved under it, or when it has grown too large."""
        moved = any(self.heads.get(one, seq) != seq for one, seq in heads.items())
        unknown = any(one not in self.heads for one in heads)
        if moved or unknown or len(self.nodes) > _CACHED_MAX or len(self.keys) > _CACHED_MAX:
            self.clear()
        self.heads.update(heads)


@dataclass(slots=True)
class _Ledger:
    """The head of a ledger while a group is written."""

    name: LedgerName
    seq: int
    hash: bytes
    recorded_at: Micros
    moved: bool = False

    def place(self, seq: int) -> int:
        """Return the number under which the row *seq* is known in its space."""
        return 2 * seq + LEDGER_NUMBER[self.name]


@dataclass(slots=True)
class _Space:
    number: int
    row: SpaceRow
    ledgers: dict[LedgerName, _Ledger] = field(default_factory=dict[LedgerName, _Ledger])


class GroupWriter:
    """Writes one group; made for one transaction and thrown away."""

    def __init__(
        self, query: Query, cache: Cache, tenant: str, clock: Clock, ids: IdSource, words: Vocabulary, *,
        resumed: bool = False,
    ) -> None:  # fmt: skip
        """Write through *query*. *resumed*: an earlier try may have been kept without our hearing of it."""
        self._query = query
        self._cache = cache
        self._tenant = tenant
        self._clock = clock
        self._ids = ids
        self._words = words
        self._resumed = resumed
        self._spaces: dict[str, _Space] = {}
        self._by_id: dict[tuple[int, str], NodeRow] = {}
        self._fresh: dict[tuple[int, str], NodeRow] = {}
        self._versions: dict[tuple[int, str], int] = {}
        self._facts: dict[tuple[int, str], tuple[FactRow, FactRef, int]] = {}
        self._ops: dict[tuple[int, str], tuple[bytes, str]] = {}
        self._units: dict[tuple[int, str], tuple[bytes, str]] = {}
        self._pending = Pending()
        self._dirty: list[KeyImage] = []

    def commit(self, units: Sequence[Unit]) -> tuple[Committed, ...]:
        """Write *units* in order."""
        self._lock(units)
        self._look_up(units)
        answers: list[Committed] = []
        for unit in units:
            try:
                answers.append(self._unit(unit))
            except RefusedError as error:
                answers.append(error)
        self._flush()
        return tuple(answers)

    def _lock(self, units: Sequence[Unit]) -> None:
        """Lock the heads that the group moves, and read them."""
        named = sorted({(unit.space, LEDGER_NUMBER[unit.ledger]) for unit in units})
        heads = [[space, LEDGERS[number]] for space, number in named]
        for row in self._query("lock_heads", tenant=self._tenant, heads=heads, lock=self._clock.now()):
            number, space = space_row(row)
            found = self._spaces.setdefault(space.name, _Space(number, space))
            ledger, seq, digest, recorded_at = row[7:]
            found.ledgers[ledger] = _Ledger(ledger, seq, bytes(digest), recorded_at)
        self._cache.check({
            (space.number, ledger.name): ledger.seq for space in self._spaces.values()
            for ledger in space.ledgers.values()
        })  # fmt: skip

    def _space(self, name: str) -> _Space:
        found = self._spaces.get(name)
        if found is None:
            raise unknown_space(name, [row[2] for row in self._query("spaces", tenant=self._tenant)])
        return found

    def _look_up(self, units: Sequence[Unit]) -> None:
        """Read what planning the group needs, all at once."""
        wanted: dict[str, set[tuple[int, str]]] = {"ops": set(), "units": set(), "keys": set(), "ids": set()}
        needs: list[tuple[_Space, Unit, Needs]] = []
        for unit in units:
            space = self._spaces.get(unit.space)
            if space is None:
                continue
            try:
                n, need = space.number, needs_of(unit)
                op = None if unit.op is None else op_hash(space.row.secret, unit.op).hex()
            except RefusedError:
                # Its own turn will say so.
                continue
            needs.append((space, unit, need))
            wanted["units"].add((n, unit.id))
            if op is not None:
                wanted["ops"].add((n, op))
            keys = {*need.keys, *(normal_key(predicate_key(name)) for name in need.predicates)}
            fresh = bool(unit.expects)
            wanted["keys"] |= {(n, key) for key in keys if fresh or (n, key) not in self._cache.nodes}
            wanted["ids"] |= {(n, normal_id(one)) for one in need.ids | need.facts if is_id(one)}
        listed = {name: [list(one) for one in sorted(some)] for name, some in wanted.items()}
        if any(listed.values()):
            self._read(self._query("look_up", **listed)[0])
        predicates = {(n, normal_key(predicate_key(row.predicate))) for (n, _), (row, _, _) in self._facts.items()}
        missing = sorted(one for one in predicates if one not in self._cache.nodes)
        if missing:
            found = self._query("look_up", ops=[], units=[], keys=[list(one) for one in missing], ids=[])
            self._read(found[0])
        self._images(needs)

    def _read(self, found: Row) -> None:
        replays, kept, by_key, by_id, facts = found
        for space, op, body, receipt in replays:
            self._ops[space, op] = (bytes(body), receipt)
        for space, unit, body, receipt in kept:
            self._units[space, unit] = (bytes(body), receipt)
        for space, *row in by_key:
            self._cache.nodes[space, row[8]] = self._fresh[space, row[8]] = node_row(row)
        for space, *row in by_id:
            node = node_row(row)
            self._by_id[space, node.id] = node
        for space, fact_id, subject, predicate, key, tier, absent, valid_from, retracted_at, place, target in facts:
            row = FactRow(fact_id, subject, predicate, bytes.fromhex(key), tier, absent, valid_from, retracted_at)
            self._facts[space, fact_id] = (row, FactRef(fact_id, target), place)

    def _images(self, needs: Iterable[tuple[_Space, Unit, Needs]]) -> None:
        """Read the keys that the group will most likely touch."""
        wanted: set[tuple[int, str]] = set()
        loaded: set[tuple[int, str]] = set()
        for space, unit, need in needs:
            for command in unit.commands:
                if isinstance(command, Assert):
                    key = self._key_of(space, command)
                    if key is not None:
                        wanted.add((space.number, key))
            for fact_id in need.facts:
                found = self._facts.get((space.number, normal_id(fact_id))) if is_id(fact_id) else None
                if found is not None:
                    loaded.add((space.number, found[0].key.hex()))
        self._load_states(wanted | loaded)
        images = [self._cache.keys[one] for one in sorted(loaded) if one in self._cache.keys]
        load_images(self._query, [image for image in images if image.claims is None and not image.long])

    def _key_of(self, space: _Space, command: Assert) -> str | None:
        """Return the key that an assertion will compete for when all it names is there already, else None."""
        n, nodes = space.number, self._cache.nodes
        ids: list[str] = []
        for ref in (command.subject, command.object):
            if ref is None:
                continue
            if ref.id is not None:
                ids.append(ref.id)
                continue
            node = None if ref.key is None else nodes.get((n, normal_key(ref.key)))
            if node is None:
                return None
            ids.append(node.id)
        predicate = self._words.predicates.get(command.predicate)
        if predicate is None:
            node = nodes.get((n, normal_key(predicate_key(command.predicate))))
            if node is None:
                return None
            predicate = predicate_of(node.attributes)
        target = ids[1] if len(ids) > 1 else None
        return competes_for(space.row.secret, self._words, ids[0], predicate, command.value, target).hex()

    def _load_states(self, keys: Iterable[tuple[int, str]]) -> None:
        missing = sorted(one for one in keys if one not in self._cache.keys)
        if not missing:
            return
        rows = self._query("key_states", keys=[list(one) for one in missing])
        for space, key, subject, predicate, origin, contested, top, numbers, ids in rows:
            image = KeyImage(space, key, subject, predicate, KeyState(0, bytes(origin), contested, top))
            tail = tail_row(numbers, ids)
            if tail is not None:
                claim, row, ref = tail
                image.state.tail = (claim, row)
                image.facts[claim.fact] = ref
            self._cache.keys[space, key] = image

    def _unit(self, unit: Unit) -> Receipt:
        space = self._space(unit.space)
        n = space.number
        op = None if unit.op is None else op_hash(space.row.secret, unit.op)
        earlier = self._units.get((n, unit.id))
        if earlier is not None and self._resumed and earlier[0] == unit.body:
            return receipt_from_json(earlier[1])
        if op is not None and (n, op.hex()) in self._ops:
            body, receipt = self._ops[n, op.hex()]
            if body != unit.body:
                msg = f"the idempotency key {unit.op!r} was used before with another payload; use a new key"
                raise ConflictError(msg, code="idempotency.conflict", key=unit.op)
            return receipt_from_json(receipt, replayed=True)
        if earlier is not None:
            raise ConflictError(f"the id {unit.id} belongs to another unit", code="key.taken", id=unit.id)
        ledger = space.ledgers[unit.ledger]
        planned = plan(unit, self._known(space, ledger, unit), self._words, self._clock, self._ids)
        changes, not_holding = self._settle(space, ledger, planned)
        # Nothing refuses from here on.
        base_seq = ledger.seq
        self._append(space, ledger, unit, planned, op)
        self._nodes(space, ledger, planned, base_seq)
        self._apply(space, ledger, planned, changes, base_seq)
        receipt = receipt_of(unit, planned, ledger.seq, not_holding)
        text = receipt_to_json(receipt)
        self._units[n, unit.id] = (unit.body, text)
        if op is not None:
            self._ops[n, op.hex()] = (unit.body, text)
        self._pending.receipts.append({
            "space": n, "id": unit.id, "op": None if op is None else op.hex(), "body": unit.body, "receipt": text,
            "name": f"receipt {ledger.seq}",
        })  # fmt: skip
        if (planned.state, planned.filling) != (space.row.state, space.row.filling):
            space.row = replace(space.row, state=planned.state, filling=planned.filling)
            self._pending.states.append({"space": n, "state": planned.state, "filling": planned.filling})
        return receipt

    def _known(self, space: _Space, ledger: _Ledger, unit: Unit) -> Known:
        n, needs = space.number, needs_of(unit)
        facts: dict[str, FactRow] = {}
        holders: dict[tuple[str, Micros | None], str | None] = {}
        for asked in needs.facts | needs.ids:
            found = self._facts.get((n, normal_id(asked))) if is_id(asked) else None
            if found is not None:
                facts[asked] = found[0]
        for fact_id, at in needs.ends:
            if fact_id in facts:
                instant = recorded_time(unit, space.row, ledger.recorded_at, self._clock.now()) if at is None else at
                holders[fact_id, at] = self._holder(n, facts[fact_id].key.hex(), instant)
        names = {*needs.predicates, *(facts[one].predicate for one in needs.facts if one in facts)}
        keys = [*needs.keys, *(normal_key(predicate_key(name)) for name in names)]
        by_key = {key: node for key in keys if (node := self._node(n, key, fresh=bool(unit.expects))) is not None}
        by_id = {
            asked: self._versioned(n, self._by_id[n, normal_id(asked)])
            for asked in needs.ids if is_id(asked) and (n, normal_id(asked)) in self._by_id
        }  # fmt: skip
        predicates: dict[str, Predicate] = {}
        for node in by_key.values():
            if node.kind is NodeKind.PREDICATE:
                one = predicate_of(node.attributes)
                predicates[one.name] = one
        return Known(space.row, ledger.recorded_at, by_key, by_id, facts, predicates, holders)

    def _node(self, n: int, key: str, *, fresh: bool) -> NodeRow | None:
        # Only a node that a unit names can be expected at a version; the group read those afresh.
        node = (self._fresh.get((n, key)) if fresh else None) or self._cache.nodes.get((n, key))
        return None if node is None else self._versioned(n, node)

    def _versioned(self, n: int, node: NodeRow) -> NodeRow:
        version = self._versions.get((n, node.id))
        return node if version is None else replace(node, version=version)

    def rows(self, image: KeyImage) -> KeyRows:
        """Return what is stored of a key, loading it when it was not."""
        if image.claims is None and image.dirty:
            self._flush()
        if image.claims is None and not image.long:
            load_images(self._query, [image])
        if image.claims is not None:
            return ImageRows(image)
        return WindowRows(self._query, image)

    def _holder(self, n: int, key: str, instant: Micros) -> str | None:
        self._load_states([(n, key)])
        image = self._cache.keys[n, key]
        tail = image.state.tail
        if tail is not None and tail[0].valid_from <= instant:
            return image.facts[tail[0].fact].id
        best = max(self.rows(image).covering(instant), key=lambda claim: claim.rank, default=None)
        return None if best is None else image.facts[best.fact].id

    def _append(self, space: _Space, ledger: _Ledger, unit: Unit, planned: Plan, op: bytes | None) -> None:
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
            self._pending.events.append({
                "space": space.number, "ledger": unit.ledger, "seq": seq, "unit": unit.id, "ordinal": event.ordinal,
                "recorded_at": planned.recorded_at, "written_at": planned.written_at, "kind": event.kind.value,
                "id": event.id, "subject": event.subject, "key": event.key, "target": event.target, "tier": event.tier,
                "trust": event.trust, "known": event.known, "valid_from": event.valid_from,
                "valid_to": event.valid_to, "op": op_kept, "body": body_kept, "digest": digest, "hash": previous,
                "salt": salt, "payload": payload, "name": f"{seq} {event.kind.value}",
            })  # fmt: skip
        ledger.seq, ledger.hash, ledger.recorded_at, ledger.moved = seq, previous, planned.recorded_at, True

    def _nodes(self, space: _Space, ledger: _Ledger, planned: Plan, base_seq: int) -> None:
        """Keep the declared nodes, and note the last event about each node."""
        n = space.number
        places = {
            event.id: base_seq + event.ordinal + 1 for event in planned.events if event.kind is EventKind.DECLARED
        }
        for node in planned.declared:
            self._pending.node(n, node, ledger.place(places[node.id]))
            self._by_id[n, node.id] = node
            if node.key is not None:
                norm = normal_key(node.key)
                self._cache.nodes[n, norm] = self._fresh[n, norm] = node
        for event in planned.events:
            self._versions[n, event.subject] = base_seq + event.ordinal + 1

    def _settle(
        self, space: _Space, ledger: _Ledger, planned: Plan
    ) -> tuple[list[tuple[KeyImage, KeyChange, list[Event]]], list[NotHolding]]:
        """Find what the unit does to every key it touches, and where its facts do not hold; change nothing."""
        origin = origin_hash(planned.origin)
        touched: dict[str, tuple[KeyImage, KeyChange, list[Event]]] = {}
        refs: dict[int, str] = {}
        keyed = [event for event in planned.events if event.key is not None]
        self._load_states((space.number, cast("bytes", event.key).hex()) for event in keyed)
        for event in keyed:
            key = cast("bytes", event.key).hex()
            if key not in touched:
                image = self._image(space, key, event, origin)
                state = image.state
                copied = KeyState(0, state.origin, state.contested, state.top, stored=state.stored, tail=state.tail)
                touched[key] = (image, KeyChange(copied), [])
            image, change, events = touched[key]
            events.append(event)
            if event.kind is EventKind.RETRACTED:
                change.removed.append(self._claim(image, cast("str", event.target)))
                continue
            claim = _claim_from(event, ledger.place(ledger.seq + event.ordinal + 1), planned.recorded_at)
            refs[claim.fact] = event.id
            change.added.append(claim)
            change.state.contested = change.state.contested or change.state.origin != origin
            change.state.top = max(change.state.top, claim_class(event.tier, int(event.known)))
        found: list[NotHolding] = []
        for key in sorted(touched):
            image, change, _ = touched[key]
            settle_key(_Lazy(self, image), change, planned.recorded_at)
            for claim in change.added:
                found += self._not_holding(image, change, claim, refs)
        order = {fact_id: place for place, fact_id in enumerate(planned.facts)}
        found.sort(key=lambda one: (order[one.fact_id], one.valid_from))
        return [touched[key] for key in sorted(touched)], found

    def _image(self, space: _Space, key: str, event: Event, origin: bytes) -> KeyImage:
        found = self._cache.keys.get((space.number, key))
        if found is not None:
            return found
        state = KeyState(0, origin, contested=False, top=claim_class(event.tier, int(event.known)), stored=False)
        return KeyImage(space.number, key, event.subject, str(event.payload["predicate"]), state, claims=[])

    def _claim(self, image: KeyImage, fact_id: str) -> Claim:
        place = self._facts[image.space, normal_id(fact_id)][2]
        self.rows(image)
        for claim in image.claims or ():
            if claim.fact == place:
                return claim
        if image.dirty:
            self._flush()
        rows = self._query("claim_of_fact", space=image.space, id=normal_id(fact_id))
        if not rows:
            raise CorruptError(f"the fact {fact_id} is not in the view; run `latewood doctor`")
        claim, ref = claim_of(rows[0][0])
        image.facts[claim.fact] = ref
        return claim

    def _not_holding(
        self, image: KeyImage, change: KeyChange, claim: Claim, refs: Mapping[int, str]
    ) -> list[NotHolding]:
        """Say where a new claim does not hold, and what holds at the start of each such stretch."""
        found: list[NotHolding] = []
        for start, end in not_held(claim, change.layout):
            inside = (one.claim for one in change.layout if one.valid_from <= start < one.valid_to)
            holding = next(inside, None)
            if holding is None:
                covering = self.rows(image).covering(start)
                holding = max(covering, key=lambda one: one.rank, default=None)
            if holding is not None:
                last = open_end(end)
                held_by = refs.get(holding.fact) or image.facts[holding.fact].id
                until = None if last is None else from_micros(last)
                found.append(NotHolding(refs[claim.fact], from_micros(start), until, held_by))
        return found

    def _apply(
        self, space: _Space, ledger: _Ledger, planned: Plan,
        changes: Sequence[tuple[KeyImage, KeyChange, list[Event]]], base_seq: int,
    ) -> None:  # fmt: skip
        """Keep the unit's claims and retractions, and the repair of every key they touch."""
        n, at = space.number, planned.recorded_at
        for image, change, events in changes:
            for event in events:
                place = ledger.place(base_seq + event.ordinal + 1)
                if event.kind is EventKind.RETRACTED:
                    self._pending.retraction(n, event, place, at)
                    target = normal_id(cast("str", event.target))
                    row, ref, target_place = self._facts[n, target]
                    self._facts[n, target] = (replace(row, retracted_at=at), ref, target_place)
                    continue
                self._pending.fact(n, event, place, at)
                target = event.payload.get("object")
                ref = FactRef(event.id, target if isinstance(target, str) else None)
                image.facts[place] = ref
                row = FactRow(
                    event.id, event.subject, image.predicate, cast("bytes", event.key), event.tier,
                    event.kind is EventKind.ABSENT, cast("int", event.valid_from), None,
                )  # fmt: skip
                self._facts[n, event.id] = (row, ref, place)
            image.state = change.state
            image.state.stored = True
            if not image.dirty:
                image.dirty = True
                self._dirty.append(image)
            self._pending.repair(image, change.repair, at)
            image.apply(change.added, change.removed, change.repair, at)
            self._cache.keys[n, image.id] = image

    def _flush(self) -> None:
        """Write what waits."""
        pending = self._pending
        for image in self._dirty:
            pending.key(image)
            image.dirty = False
        self._dirty = []
        for (space, node_id), version in self._versions.items():
            pending.versions.append({"space": space, "id": node_id, "version": version})
        for space in self._spaces.values():
            for ledger in space.ledgers.values():
                if ledger.moved:
                    pending.heads.append({
                        "space": space.number, "ledger": ledger.name, "seq": ledger.seq, "hash": ledger.hash,
                        "recorded_at": ledger.recorded_at,
                    })  # fmt: skip
                    ledger.moved = False
                    self._cache.heads[space.number, ledger.name] = ledger.seq
        if pending.events:
            self._query("keep", **cast("dict[str, Any]", pending.parameters()))
        self._pending = Pending()


class _Lazy:
    """The rows of a key, loaded only when settling asks: a change that follows the tail never does."""

    def __init__(self, writer: GroupWriter, image: KeyImage) -> None:
        self._writer = writer
        self._image = image

    def covering(self, instant: Micros) -> Iterable[Claim]:
        return self._writer.rows(self._image).covering(instant)

    def starting(self, window: tuple[Micros, Micros], least: int) -> Iterable[Claim]:
        return self._writer.rows(self._image).starting(window, least)

    def live(self, window: tuple[Micros, Micros]) -> Iterable[Any]:
        return self._writer.rows(self._image).live(window)


def _claim_from(event: Event, place: int, recorded_at: Micros) -> Claim:
    return Claim(
        place, cast("int", event.valid_from), FOREVER if event.valid_to is None else event.valid_to, event.tier,
        int(event.known), event.trust, recorded_at, event.ordinal, event.kind is EventKind.ABSENT,
    )  # fmt: skip
