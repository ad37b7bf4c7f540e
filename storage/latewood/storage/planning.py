"""From commands to events: what every store does the same way, with no I/O.

An adapter asks `needs_of` what a unit wants to know, looks it up inside its transaction, and hands `plan` the answer
(`Known`). The plan has the events with their place in the unit and the stamps; the adapter adds hashes and rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from latewood.graph_schema.clock import Clock, Micros, from_micros, iso
from latewood.graph_schema.commands import (
    Absorb,
    Assert,
    Carry,
    Declare,
    End,
    Erase,
    Ref,
    Release,
    Retract,
    Unit,
)
from latewood.graph_schema.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from latewood.graph_schema.events import Event, EventKind
from latewood.graph_schema.identity import ALWAYS, MERGED_INTO, MOVED_REASON
from latewood.graph_schema.ids import IdSource, is_id, normal_id
from latewood.graph_schema.model import EXECUTED, Cardinality, NodeKind, Predicate
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.graph_schema.values import Json, Value, check_text, normal_key
from latewood.storage.building import value_of
from latewood.storage.checking import check_new, check_unit
from latewood.storage.erasing import check_stands, erased_event
from latewood.storage.merging import (
    carried_payload,
    check_mergeable,
    check_own_predicate,
    check_trust,
    merged_into,
    standing,
)
from latewood.storage.names import check_free, competes_for, predicate_key, session_key, source_key
from latewood.storage.plans import Plan, fills, predicate_attributes, recorded_time
from latewood.storage.rows import FactRow, Known, NodeRow

__all__ = ["plan"]

_NAME_BYTES_MAX: Final = 2_000
_PREDICATE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,127}")


class _Planner:
    """Plans one unit; made for it and thrown away."""

    def __init__(self, unit: Unit, known: Known, words: Vocabulary, clock: Clock, ids: IdSource) -> None:
        self._unit = unit
        self._known = known
        self._words = words
        self._ids = ids
        self._by_key: dict[str, NodeRow] = {}
        self._by_id: dict[str, NodeRow] = {}
        self._predicates: dict[str, Predicate] = {}
        self._source_id = ""
        self._fresh: set[str] = set()
        self._retracted: set[str] = set()
        self._carried: dict[str, str] = {}
        written_at = clock.now()
        self.plan = self._stamp(written_at)

    def _stamp(self, written_at: Micros) -> Plan:
        """Set the recorded time, and what state the unit leaves the space in."""
        unit, space = self._unit, self._known.space
        origin = unit.source.origin or normal_key(unit.actor.key)
        recorded_at = recorded_time(unit, space, self._known.head, written_at)
        if unit.history is not None and fills(unit.history, space):
            return Plan(recorded_at, written_at, "filling", unit.history.origin, late=False, origin=origin)
        late = unit.history is not None
        if late and space.state == "filling":
            raise ConflictError(
                f"{space.name!r} is being filled by {space.filling}; end that first", code="space.filling"
            )
        return Plan(recorded_at, written_at, "live", None, late=late, origin=origin)

    def _emit(self, event: Event) -> None:
        self.plan.events.append(event)

    def _declare(self, node: NodeRow) -> NodeRow:
        payload: dict[str, Json] = {"kind": node.kind.value, "type": node.type, "name": node.name}
        if node.key is not None:
            payload["key"] = node.key
            self._by_key[normal_key(node.key)] = node
        if node.attributes:
            payload["attributes"] = dict(node.attributes)
        self._by_id[node.id] = node
        self.plan.declared.append(node)
        self._emit(Event(EventKind.DECLARED, node.id, node.id, len(self.plan.events), payload))
        return node

    def _new_node(
        self, kind: NodeKind, node_type: str, key: str | None, name: str,
        attributes: Mapping[str, Json] | None = None, node_id: str | None = None,
    ) -> NodeRow:  # fmt: skip
        check_text(name, f"the name of {key or 'a node'}", bytes_max=_NAME_BYTES_MAX)
        row = NodeRow(
            node_id or self._ids.new(), kind, node_type, key, name, attributes or {}, self.plan.recorded_at, 0
        )
        if kind is not NodeKind.PREDICATE:
            self._fresh.add(row.id)
        return self._declare(row)

    def _find(self, normal: str) -> NodeRow | None:
        """Return the node that a key means: the one of that key, or what it was merged into."""
        found = self._by_key.get(normal) or self._known.by_key.get(normal)
        return None if found is None else standing(found, self._look)

    def _look(self, node_id: str) -> NodeRow | None:
        return self._by_id.get(node_id) or self._known.by_id.get(node_id)

    def _keyed(self, ref: Ref, key: str) -> NodeRow:
        normal = normal_key(key)
        found = self._find(normal)
        if found is None:
            check_free(normal)
            if not ref.create:
                raise NotFoundError(f"nothing in space {self._unit.space!r} has the key {key!r}", key=key)
            head, colon, _ = key.partition(":")
            node_type = ref.type or (normal_key(head) if colon and head.strip() else "thing")
            found = self._new_node(ref.kind, node_type, key.strip(), ref.name or key.strip())
        self.plan.nodes[key] = found.id
        return found

    def _node(self, ref: Ref, *, or_fact: bool) -> str:
        """Return the id of the node, or where it may be one the fact, that *ref* means."""
        if ref.id is None:
            if ref.key is None:
                raise InvalidError("a reference has neither an id nor a key", code="query.invalid")
            keyed = self._keyed(ref, ref.key)
            if not or_fact:
                self._check_ledger(keyed)
            return keyed.id
        known, found = self._known, self._look(ref.id)
        if found is not None:
            found = standing(found, self._look)
            check_stands(found)
            if not or_fact:
                self._check_ledger(found)
            # What was asked for is one id, in whatever case it came.
            return ref.id if ref.id == found.id or normal_id(ref.id) == found.id else found.id
        if ref.id in known.facts or ref.id in self.plan.facts:
            if or_fact:
                return ref.id
            msg = f"{ref.id} is a fact, and only nodes have facts; name its subject, or point at it with a relation"
            raise NotFoundError(msg, id=ref.id)
        raise NotFoundError(f"nothing in space {self._unit.space!r} has the id {ref.id!r}", id=ref.id)

    def _check_ledger(self, subject: NodeRow) -> None:
        """Keep how runs and messages stand to who runs and sends. Raises ForbiddenError (``ledger.execution``)."""
        if self._unit.ledger == "knowledge" and subject.kind in EXECUTED:
            msg = (
                f"how the {subject.kind} {subject.id} stands is kept by what runs or sends it; act on it by the verbs "
                "of runs and messages, and say what you know of it of a thing of your own"
            )
            raise ForbiddenError(msg, code="ledger.execution", id=subject.id)

    def _actor(self, key: str) -> NodeRow:
        found = self._find(normal_key(key))
        if found is not None:
            return found
        head, colon, name = key.partition(":")
        kind = normal_key(head) if colon and head.strip() else "agent"
        return self._new_node(NodeKind.ACTOR, kind, key.strip(), name.strip() or key.strip())

    def sources(self) -> None:
        """Find or declare the actor, the session and the source."""
        unit, spec = self._unit, self._unit.source
        key_of_source = source_key(spec, unit.actor, unit.session)
        found = self._known.by_key.get(key_of_source)
        if found is not None:
            self._source_id = found.id
            return
        actor = self._actor(unit.actor.key)
        session: NodeRow | None = None
        if unit.session is not None:
            key = session_key(unit.session)
            session = self._find(normal_key(key)) or self._new_node(NodeKind.SESSION, "session", key, unit.session)
        attributes: dict[str, Json] = {"origin": self.plan.origin, "method": spec.method, "actor": actor.id}
        if unit.actor.on_behalf_of is not None:
            attributes["on_behalf_of"] = self._actor(unit.actor.on_behalf_of).id
        if session is not None:
            attributes["session"] = session.id
        if spec.model is not None:
            attributes["model"] = spec.model
        if spec.prompt_version is not None:
            attributes["prompt_version"] = spec.prompt_version
        name = self.plan.origin[:200]
        self._source_id = self._new_node(NodeKind.SOURCE, spec.method, key_of_source, name, attributes).id

    def predicate(self, name: str, *, relation: bool) -> Predicate:
        """Return the rules of a predicate, registering it at its first use.

        A pack's definition that differs from the space's is declared anew and counts from here on.
        """
        done = self._predicates.get(name)
        if done is not None:
            return done
        known, packed = self._known.predicates.get(name), self._words.predicates.get(name)
        twin = self._find(normal_key(predicate_key(name)))
        if known is None and twin is not None and twin.attributes.get("name") != name:
            msg = f"the predicate {name!r} differs only in its case from {twin.name!r}; use that"
            raise InvalidError(msg, predicate=name, known=twin.name)
        wanted = packed or known
        if wanted is None:
            if self._known.space.strict:
                msg = f"space {self._unit.space!r} is strict and no pack declares the predicate {name!r}"
                raise NotFoundError(msg, code="predicate.unknown", predicate=name)
            if _PREDICATE_NAME.fullmatch(name) is None:
                msg = f"{name[:80]!r} cannot name a predicate: a letter, then up to 127 letters, digits, '_', '.', '-'"
                raise InvalidError(msg, predicate=name[:80])
            wanted = Predicate(name, Cardinality.MULTI if relation else Cardinality.SINGLE, relation=relation)
            self.plan.registered.append(name)
        if wanted != known:
            key = predicate_key(name)
            earlier = self._find(normal_key(key))
            self._new_node(
                NodeKind.PREDICATE,
                "predicate",
                key,
                name,
                predicate_attributes(wanted),
                earlier.id if earlier else None,
            )
        self._predicates[name] = wanted
        return wanted

    def _tier(self, predicate: Predicate) -> int:
        return int(self._unit.trust.level >= predicate.authority.level)

    def _payload(self, predicate: Predicate, **given: Json) -> dict[str, Json]:
        payload: dict[str, Json] = {"predicate": predicate.name, "source": self._source_id}
        payload.update({key: value for key, value in given.items() if value is not None})
        if self.plan.late and self._unit.history is not None:
            payload["source_time"] = iso(from_micros(self._unit.history.time))
        return payload

    def _key(self, subject: str, predicate: Predicate, value: Value | None, target: str | None) -> bytes:
        return competes_for(self._known.space.secret, self._words, subject, predicate, value, target)

    def say(self, command: Assert) -> None:
        """Plan an assertion of a value or an object."""
        if (command.value is None) == (command.object is None):
            raise InvalidError(f"{command.predicate!r} needs a value or an object, and not both", code="query.invalid")
        check_own_predicate(command.predicate)
        predicate = self.predicate(command.predicate, relation=command.relation)
        subject = self._node(command.subject, or_fact=False)
        target = self._node(command.object, or_fact=True) if command.object is not None else None
        value: Json = None
        if command.value is not None:
            value = {"kind": command.value.kind, "data": command.value.data}
            if command.value.unit is not None:
                value["unit"] = command.value.unit
        valid_from = self.plan.recorded_at if command.valid_from is None else command.valid_from
        if command.valid_to is not None and command.valid_to <= valid_from:
            start, end = iso(from_micros(valid_from)), iso(from_micros(command.valid_to))
            msg = f"the period of {command.predicate!r} ends {end}, not after its start {start}; leave the end out"
            raise InvalidError(msg, code="period.empty", start=start, end=end)
        payload = self._payload(
            predicate, value=value, object=target, as_written=command.as_written, quote=command.quote,
            locator=command.locator, replaces=command.replaces,
        )  # fmt: skip
        key = self._key(subject, predicate, command.value, target)
        if subject in self._fresh or (target in self._fresh and predicate.cardinality is Cardinality.MULTI):
            self.plan.unsaid.add(key)
        self.plan.facts.append(command.id)
        self._emit(
            Event(
                EventKind.ASSERTED, command.id, subject, len(self.plan.events), payload,
                key=key, tier=self._tier(predicate),
                trust=self._unit.trust.level, known=command.known, valid_from=valid_from, valid_to=command.valid_to,
            )
        )  # fmt: skip

    def _target(self, fact_id: str) -> FactRow:
        row = self._known.facts.get(fact_id)
        if row is None:
            msg = f"nothing in space {self._unit.space!r} has the fact id {fact_id!r}; `timeline` lists them"
            raise NotFoundError(msg, id=fact_id)
        if row.retracted_at is not None or fact_id in self._retracted:
            when = iso(from_micros(row.retracted_at or self.plan.recorded_at))
            msg = f"the fact {fact_id} was retracted at {when}; assert it again if it is true after all"
            raise ConflictError(msg, code="fact.retracted", id=fact_id)
        return row

    def end(self, command: End) -> None:
        """Plan the absence that ends a fact."""
        row = self._target(command.target)
        check_own_predicate(row.predicate)
        predicate = self.predicate(row.predicate, relation=False)
        at = self.plan.recorded_at if command.at is None else command.at
        holding = self._known.holders.get((command.target, command.at))
        if holding != row.id or row.absent:
            what = "nothing does" if holding is None else f"{holding} does"
            msg = f"the fact {row.id} does not hold at {iso(from_micros(at))}; {what}"
            raise ConflictError(msg, code="fact.not_holding", id=row.id, holding=holding)
        payload = self._payload(predicate, reason=command.reason, ends=row.id)
        self.plan.facts.append(command.id)
        self._emit(
            Event(
                EventKind.ABSENT, command.id, row.subject, len(self.plan.events), payload, key=row.key, target=row.id,
                tier=self._tier(predicate), trust=self._unit.trust.level, valid_from=at,
            )
        )  # fmt: skip

    def retract(self, command: Retract, replaced_by: str | None) -> None:
        """Plan a retraction."""
        row = self._target(command.target)
        check_own_predicate(row.predicate)
        self._take_back(row, command.id, reason=command.reason, replaced_by=replaced_by)

    def _take_back(self, row: FactRow, event_id: str, **given: Json) -> None:
        predicate = self.predicate(row.predicate, relation=False)
        if row.tier > self._tier(predicate):
            msg = (
                f"the fact {row.id} is of a higher tier than {self._unit.trust.value!r} may undo; "
                "assert what you hold true instead, and it will show as a challenger"
            )
            raise ForbiddenError(msg, id=row.id)
        self._retracted.add(row.id)
        self._emit(
            Event(
                EventKind.RETRACTED, event_id, row.subject, len(self.plan.events), self._payload(predicate, **given),
                key=row.key, target=row.id, tier=self._tier(predicate), trust=self._unit.trust.level,
            )
        )  # fmt: skip

    def absorb(self, command: Absorb) -> None:
        """Plan a merge: the fact that says so, and the pointer by which later writes find the other node."""
        check_trust(self._unit)
        into = self._by_ref(command.into)
        node = self._by_ref(command.node)
        goes_on_as = standing(node, self._look)
        check_stands(node)
        check_stands(into)
        check_mergeable(node, standing(into, self._look), goes_on_as)
        into = standing(into, self._look)
        predicate = self.predicate(MERGED_INTO, relation=True)
        payload = self._payload(predicate, object=into.id, reason=command.reason)
        self.plan.facts.append(command.id)
        self._emit(
            Event(
                EventKind.ASSERTED, command.id, node.id, len(self.plan.events), payload,
                key=self._key(node.id, predicate, None, into.id), tier=self._tier(predicate),
                trust=self._unit.trust.level, known=False, valid_from=ALWAYS,
            )
        )  # fmt: skip
        self._declare(replace(node, attributes={**node.attributes, MERGED_INTO: into.id}))

    def _by_ref(self, ref: Ref) -> NodeRow:
        """Return the very node that *ref* names, merged or not."""
        if ref.id is not None:
            found = self._look(ref.id)
            if found is None:
                raise NotFoundError(f"nothing in space {self._unit.space!r} has the id {ref.id!r}", id=ref.id)
            return found
        normal = normal_key(ref.key or "")
        own = self._by_key.get(normal) or self._known.by_key.get(normal)
        return own if own is not None else self._keyed(ref, ref.key or "")

    def release(self, command: Release) -> None:
        """Plan the end of a merge: its fact is taken back, and the node stands for itself again."""
        check_trust(self._unit)
        row, node = self._target(command.target), self._look(command.node)
        if node is None or row.predicate != MERGED_INTO or row.subject != node.id or merged_into(node) is None:
            msg = f"the fact {row.id} does not say that {command.node} was merged; `merged_into` of the node tells"
            raise InvalidError(msg, code="merge.invalid", id=command.node, fact=row.id)
        self._take_back(row, command.id, reason=command.reason)
        self._declare(replace(node, attributes={**node.attributes, MERGED_INTO: None}))

    def carry(self, command: Carry) -> None:
        """Plan that a fact is said of another node, as its source said it, and no longer of the one before."""
        row = self._target(command.target)
        check_own_predicate(row.predicate)
        predicate = self.predicate(row.predicate, relation=False)
        subject = self._node(Ref(id=command.subject), or_fact=False)
        target = None if command.object is None else self._node(Ref(id=command.object), or_fact=True)
        ends = None if command.ends is None else self._carried.get(command.ends)
        said = row if command.ends is None else self._known.facts.get(command.ends, row)
        value = value_of(said.payload)
        if row.absent and predicate.cardinality is Cardinality.MULTI and value is None and target is None:
            msg = f"which {row.predicate!r} the absence {row.id} ended cannot be told any more; it stays where it is"
            raise ConflictError(msg, code="content.erased", id=row.id)
        payload = carried_payload(replace(command, object=target), row, ends or command.ends)
        self._carried[row.id] = command.id
        self.plan.facts.append(command.id)
        self.plan.origins[command.id] = row.origin
        self._emit(
            Event(
                EventKind.ABSENT if row.absent else EventKind.ASSERTED, command.id, subject, len(self.plan.events),
                payload, key=self._key(subject, predicate, value, target), target=ends, tier=row.tier,
                trust=row.trust, known=row.known, valid_from=row.valid_from, valid_to=row.valid_to,
            )
        )  # fmt: skip
        self._take_back(row, self._ids.new(), reason=MOVED_REASON, moved_to=command.id)

    def erase(self, command: Erase) -> None:
        """Plan an erasure; the store takes the payloads that its event names."""
        self._emit(erased_event(command, self._unit, self._known, self._source_id, len(self.plan.events)))

    def declare(self, command: Declare) -> None:
        """Plan a node under the caller's id."""
        if not is_id(command.id):
            raise InvalidError(f"{command.id!r:.80} is not an id", code="query.invalid")
        if command.id in self._known.by_id or command.id in self._known.facts:
            raise ConflictError(f"the id {command.id} is taken", code="key.taken", id=command.id)
        if command.key is not None:
            check_free(normal_key(command.key))
            taken = self._find(normal_key(command.key))
            if taken is not None:
                msg = f"the key {command.key!r} belongs to {taken.kind.value} {taken.id} already"
                raise ConflictError(msg, code="key.taken", key=command.key, id=taken.id)
        node = self._new_node(command.kind, command.type, command.key, command.name, command.attributes, command.id)
        if command.key is not None:
            self.plan.nodes[command.key] = node.id

    def expectations(self) -> None:
        """Refuse the unit when a node moved."""
        for expect in self._unit.expects:
            ref = expect.node
            row = self._known.by_id.get(ref.id) if ref.id else self._known.by_key.get(normal_key(ref.key or ""))
            row = None if row is None else standing(row, self._look)
            version = row.version if row is not None else 0
            if version != expect.version:
                msg = (
                    f"{ref.id or ref.key} is at version {version}, not {expect.version}; read it again and decide anew"
                )
                raise ConflictError(msg, node=ref.id or ref.key, version=version, expected=expect.version)


def plan(unit: Unit, known: Known, words: Vocabulary, clock: Clock, ids: IdSource) -> Plan:
    """Turn *unit* into events, given what the space holds.

    Raises:
        RefusedError: when it cannot be kept; nothing was changed.
    """
    check_unit(unit)
    check_new(unit, known)
    planner = _Planner(unit, known, words, clock, ids)
    planner.expectations()
    planner.sources()
    replaced = {c.replaces: c.id for c in unit.commands if isinstance(c, Assert) and c.replaces is not None}
    for command in unit.commands:
        if isinstance(command, Assert):
            planner.say(command)
        elif isinstance(command, Declare):
            planner.declare(command)
        elif isinstance(command, End):
            planner.end(command)
        elif isinstance(command, Erase):
            planner.erase(command)
        elif isinstance(command, Absorb):
            planner.absorb(command)
        elif isinstance(command, Release):
            planner.release(command)
        elif isinstance(command, Carry):
            planner.carry(command)
        else:
            planner.retract(command, replaced.get(command.target))
    return planner.plan
