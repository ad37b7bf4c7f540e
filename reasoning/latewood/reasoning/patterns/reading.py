"""Read the series out of a store, through the port: what was asserted and not taken back, by when it was true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from latewood.graph_schema.clock import AsOf, Micros, from_micros, to_micros
from latewood.graph_schema.errors import LimitError
from latewood.graph_schema.model import Cardinality, Fact, Node, NodeKind
from latewood.graph_schema.packs.loader import core_pack
from latewood.reasoning.patterns.port import PEERS, Choices, Numbers, Occurrences, Skipped, World
from latewood.reasoning.patterns.rates import Floats
from latewood.storage.port import PAGE_MAX, GraphStore, NodeQuery

__all__ = ["FACTS_READ_MAX", "read_world"]

FACTS_READ_MAX: Final = 2_000_000
"""Most facts of one look."""
_SUBJECTS_MAX: Final = 200_000
_IDS_A_READ: Final = 2_000
_OWN_TYPES: Final = frozenset({"proposal"})
_PEERS_MIN: Final = 5
_PEER_TIMES_MIN: Final = 16
_COMMON_SHARE: Final = 0.15
"""How much of the movement of all must be common before each is told against the others."""
_NUMBER_KINDS: Final = frozenset({"integer", "float", "decimal"})


async def read_world(store: GraphStore, space: str, *, known_at: Micros | None = None) -> World:
    """Gather everything that entities were said to be over time.

    Raises:
        LimitError: code ``limit.exceeded`` above `FACTS_READ_MAX` facts.
    """
    nodes = await _entities(store, space, known_at)
    rules = await store.predicates(space)
    own = core_pack().predicates
    multi = {name for name, rule in rules.items() if rule.cardinality is Cardinality.MULTI}
    wanted = sorted(name for name in rules if name not in own)
    told: dict[tuple[str, str], list[Fact]] = {}
    count = 0
    ids = sorted(nodes)
    for start in range(0, len(ids), _IDS_A_READ) if wanted else ():
        after: str | None = None
        while True:
            page = await store.timeline(
                space, ids[start : start + _IDS_A_READ], wanted, known_at=known_at, first=PAGE_MAX, after=after
            )
            for fact in page.items:
                if _counts(fact):
                    told.setdefault((fact.subject_id, fact.predicate), []).append(fact)
            count += len(page.items)
            if count > FACTS_READ_MAX:
                msg = f"a look takes at most {FACTS_READ_MAX:,} facts, and the space {space!r} has more; split it"
                raise LimitError(msg, code="limit.exceeded", maximum=FACTS_READ_MAX)
            after = page.next
            if after is None:
                break
    return _world(told, multi, {key: node.key or node.name for key, node in nodes.items()})


async def _entities(store: GraphStore, space: str, known_at: Micros | None) -> dict[str, Node]:
    at = AsOf(known_at=None if known_at is None else from_micros(known_at))
    found: dict[str, Node] = {}
    after: str | None = None
    while True:
        page = await store.list_nodes(space, NodeQuery(NodeKind.ENTITY, first=PAGE_MAX, after=after), at)
        found.update({node.id: node for node in page.items if node.type not in _OWN_TYPES and not node.erased})
        if len(found) > _SUBJECTS_MAX:
            msg = f"a look takes at most {_SUBJECTS_MAX:,} entities, and the space {space!r} has more; split it"
            raise LimitError(msg, code="limit.exceeded", maximum=_SUBJECTS_MAX)
        after = page.next
        if after is None:
            return found


def _counts(fact: Fact) -> bool:
    return (
        fact.retired_at is None
        and not fact.absent
        and not fact.erased
        and fact.valid_from_known
        and (fact.value is not None or fact.object_id is not None)
    )


def _world(told: Mapping[tuple[str, str], list[Fact]], multi: set[str], names: Mapping[str, str]) -> World:
    numbers: list[Numbers] = []
    choices: list[Choices] = []
    skipped: list[Skipped] = []
    happened: dict[str, dict[str, tuple[str, Micros, str]]] = {}
    for (subject, predicate), facts in sorted(told.items()):
        values = [fact.value for fact in facts if fact.value is not None]
        if predicate in multi:
            for fact in facts:
                kind = fact.object_id or (fact.value.text() if fact.value is not None else "")
                happened.setdefault(predicate, {})[fact.id] = (subject, to_micros(fact.valid_from), kind)
            continue
        if len(values) != len(facts):
            continue
        kinds = {value.kind for value in values}
        rows = _one_a_time(facts)
        times = tuple(to_micros(fact.valid_from) for fact in rows)
        ids = tuple(fact.id for fact in rows)
        if kinds <= _NUMBER_KINDS:
            units = {value.unit for value in values}
            if len(units) > 1:
                named = " and ".join(sorted(unit or "no unit" for unit in units))
                skipped.append(Skipped(subject, predicate, f"mixed units: {named}; correct those that differ"))
                continue
            numbers.append(Numbers(subject, predicate, units.pop(), ids, times, _floats(rows)))
        elif kinds == {"text"}:
            texts = tuple(fact.value.text() for fact in rows if fact.value is not None)
            choices.append(Choices(subject, predicate, ids, times, texts))
        elif kinds & _NUMBER_KINDS:
            skipped.append(Skipped(subject, predicate, "numbers and words are mixed; correct what is no number"))
    numbers += _against_peers(numbers)
    occurrences = tuple(Occurrences(predicate, facts) for predicate, facts in sorted(happened.items()))
    return World(tuple(numbers), tuple(choices), occurrences, tuple(skipped), names)


def _one_a_time(facts: Iterable[Fact]) -> list[Fact]:
    """Return one fact for each instant, in order: of several the most trusted, of these the last recorded."""
    best: dict[Micros, Fact] = {}
    for fact in facts:
        start = to_micros(fact.valid_from)
        held = best.get(start)
        if held is None or (fact.trust.level, fact.recorded_at) >= (held.trust.level, held.recorded_at):
            best[start] = fact
    return [best[start] for start in sorted(best)]


def _floats(facts: Sequence[Fact]) -> Floats:
    return np.asarray([float(str(fact.value.data)) for fact in facts if fact.value is not None], dtype=np.float64)


def _against_peers(numbers: Sequence[Numbers]) -> list[Numbers]:
    """Tell each series against all others of its predicate at the same time, where they move together.

    A bad winter for all is no one's decline. Where they do not move together, their mean would only add noise.
    """
    found: list[Numbers] = []
    groups: dict[tuple[str, str | None], list[Numbers]] = {}
    for one in numbers:
        groups.setdefault((one.predicate, one.unit), []).append(one)
    for members in groups.values():
        shared = set(members[0].times)
        for one in members[1:]:
            shared &= set(one.times)
        times = sorted(shared)
        if len(members) < _PEERS_MIN or len(times) < _PEER_TIMES_MIN:
            continue
        rows = np.vstack([_at(one, times) for one in members])
        moves = rows[:, 1:] - rows[:, :-1]
        spread = np.std(moves, axis=1, keepdims=True)
        if not bool(np.all(spread > 0)):
            continue
        common = float(np.var(np.mean(moves / spread, axis=0)))
        if common < _COMMON_SHARE + 1.0 / len(members):
            continue
        mean = np.mean(rows, axis=0)
        found += [
            Numbers(one.subject, one.predicate, one.unit, _facts_at(one, times), tuple(times), row - mean, PEERS)
            for one, row in zip(members, rows, strict=True)
        ]
    return found


def _at(one: Numbers, times: Sequence[Micros]) -> Floats:
    return one.values[np.searchsorted(np.asarray(one.times, dtype=np.int64), np.asarray(times, dtype=np.int64))]


def _facts_at(one: Numbers, times: Sequence[Micros]) -> tuple[str, ...]:
    places = dict(zip(one.times, one.facts, strict=True))
    return tuple(places[time] for time in times)
