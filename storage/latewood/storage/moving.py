"""What a merge or a split moves: the facts of a node that count, and the commands that say them of another.

Moved is every assertion that was not taken back, whatever its period and whether another holds in its place, and the
absences too: the other node is to be what it would have been, had all of it been said of it to begin with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from latewood.graph_schema.commands import COMMANDS_MAX, Carry
from latewood.graph_schema.errors import LimitError
from latewood.graph_schema.identity import MERGED_INTO, MERGES_DEEP_MAX
from latewood.graph_schema.ids import IdSource
from latewood.graph_schema.model import Cardinality, Fact
from latewood.storage.port import IDS_MAX, FactQuery, GraphStore

__all__ = ["CLAIMS_MAX", "MOVED_A_UNIT", "Claims", "carries_back", "carries_to", "claims_of"]

Place: TypeAlias = tuple[str, str | None]
CLAIMS_MAX: Final = 10_000
"""Most facts that one merge or split moves."""
MOVED_A_UNIT: Final = 900
"""Most facts that one unit of a merge or a split moves."""
_BESIDE: Final = 500
"""Of so many who point at a node, all that they say by the same predicates is read at once."""
_AGAIN_MAX: Final = COMMANDS_MAX - MOVED_A_UNIT - 10
"""Most facts that a unit says again where they are."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What counts of a node, as subject and as object, in the order in which it was recorded.

    Attributes:
        ended: of each absence among them, the fact that it ended.
        others: what counts of those who point at the node, by the same predicates.
        single: the predicates of which one value holds.
        left: what cannot be moved: erased, or an absence of which nobody can tell any more which value it ended.
    """

    facts: tuple[Fact, ...]
    ended: Mapping[str, Fact]
    others: tuple[Fact, ...]
    single: frozenset[str]
    left: tuple[str, ...]

    def object_of(self, fact: Fact) -> str | None:
        """Return what a fact points to; of an absence, what the fact that it ended pointed to."""
        said = self.ended.get(fact.id) if fact.absent else fact
        return None if said is None else said.object_id


def _parts(ids: Iterable[str], size: int = IDS_MAX) -> list[list[str]]:
    listed = list(dict.fromkeys(ids))
    return [listed[begin : begin + size] for begin in range(0, len(listed), size)]


async def _by_id(store: GraphStore, space: str, ids: Iterable[str]) -> dict[str, Fact]:
    found: dict[str, Fact] = {}
    for part in _parts(ids):
        found |= await store.facts_by_id(space, part)
    return found


async def claims_of(store: GraphStore, space: str, node: str) -> Claims:
    """Read what counts of *node*. Raises LimitError (``CLAIMS_MAX``)."""
    own = await store.facts(space, FactQuery(subjects=[node], standing=True))
    pointing = await store.facts(space, FactQuery(objects=[node], standing=True))
    others = [fact.subject_id for fact in pointing if fact.subject_id != node]
    # An absence has no object of its own: those of what points here are found among those of whoever points.
    beside = [
        fact
        for part in _parts(others, _BESIDE)
        for fact in await store.facts(
            space, FactQuery(subjects=part, predicates=sorted({one.predicate for one in pointing}), standing=True)
        )
    ]
    about = [fact for fact in beside if fact.absent]
    listed = {fact.id: fact for fact in (*own, *pointing, *about) if fact.predicate != MERGED_INTO}
    ends = {fact.id: fact.ends for fact in listed.values() if fact.ends is not None}
    said = await _by_id(store, space, ends.values())
    ended = {one: said[fact] for one, fact in ends.items() if fact in said and not said[fact].erased}
    theirs = {fact.id for fact in about if (of := ended.get(fact.id)) is None or of.object_id != node}
    rules = await store.predicates(space)
    facts: list[Fact] = []
    left: list[str] = []
    for one in sorted(listed.values(), key=lambda fact: fact.recorded_at):
        if one.id in theirs:
            continue
        many = rules[one.predicate].cardinality is Cardinality.MULTI
        if one.erased or (one.absent and many and one.id not in ended):
            left.append(one.id)
        else:
            facts.append(one)
    if len(facts) > CLAIMS_MAX:
        msg = f"{len(facts):,} facts would move, more than {CLAIMS_MAX:,} at once; merge the node with fewer into it"
        raise LimitError(msg, limit="CLAIMS_MAX", maximum=CLAIMS_MAX)
    single = frozenset(name for name, rule in rules.items() if rule.cardinality is Cardinality.SINGLE)
    return Claims(tuple(facts), ended, tuple(beside), single, tuple(left))


def carries_to(claims: Claims, node: str, into: str, ids: IdSource, most: int = CLAIMS_MAX) -> list[Carry]:
    """Return what says of *into* what is said of *node*: the first *most* facts, and what must be said again after."""

    def place(fact: Fact) -> Place:
        target = claims.object_of(fact)
        return into if fact.subject_id == node else fact.subject_id, into if target == node else target

    return _carries(claims, {fact.id: place(fact) for fact in claims.facts[:most]}, ids)


def _carries(claims: Claims, places: Mapping[str, Place], ids: IdSource) -> list[Carry]:
    """Return what says facts in their new *places* (subject, object), in the order in which they were recorded.

    Where two facts of one key start at one instant, the later recorded holds. A fact that only points elsewhere now
    would come after those that were said after it, so they are said again too, as they are.
    """
    moving = [fact for fact in claims.facts if fact.id in places]
    pointing = [one for one in moving if places[one.id][0] == one.subject_id and one.predicate in claims.single]
    first: dict[tuple[object, ...], datetime] = {}
    for one in pointing:
        first[_tie(one)] = min(one.recorded_at, first.get(_tie(one), one.recorded_at))
    pool = {one.id: one for one in (*claims.facts, *claims.others)}
    after = [
        one for one in pool.values()
        if one.id not in places and not one.erased and _tie(one) in first and one.recorded_at >= first[_tie(one)]
    ]  # fmt: skip
    if len(after) > _AGAIN_MAX and 1 < len(places) <= MOVED_A_UNIT:
        return _carries(claims, dict(list(places.items())[: len(places) // 2]), ids)
    again = {one.id: (one.subject_id, claims.object_of(one)) for one in after} | dict(places)
    order = {one.id: number for number, one in enumerate((*claims.facts, *claims.others))}
    # Facts of one key stand in both lists in the order of one unit; sorting keeps it.
    listed = sorted([*moving, *after], key=lambda fact: (fact.recorded_at, order.get(fact.id, -1)))
    return [Carry(ids.new(), one.id, *again[one.id], _ends(claims, one)) for one in listed]


def _tie(fact: Fact) -> tuple[object, ...]:
    return fact.subject_id, fact.predicate, fact.valid_from, fact.valid_from_known, fact.trust


def _ends(claims: Claims, fact: Fact) -> str | None:
    return fact.ends if fact.id in claims.ended else None


async def carries_back(
    store: GraphStore, space: str, node: str, claims: Claims, since: datetime, ids: IdSource, most: int = CLAIMS_MAX
) -> list[Carry]:
    """Return what says of *node* again what was moved away from it by the merge recorded at *since*, as `carries_to`.

    *claims* are those of what it was merged into. What was moved on from there, by a merge that came later, is theirs.
    """
    chain = {fact.id: fact for fact in claims.facts}
    fresh = set(chain)
    for _ in range(2 * MERGES_DEEP_MAX):
        wanted = {said for one in fresh if (said := chain[one].carried) is not None and said not in chain}
        if not wanted:
            break
        found = await _by_id(store, space, sorted(wanted))
        chain |= found
        fresh = set(found)
    ends = {fact.id: fact.ends for fact in chain.values() if fact.ends is not None}
    said = await _by_id(store, space, ends.values())
    ended = {one: said[of] for one, of in ends.items() if of in said}
    places: dict[str, Place] = {}
    for fact in claims.facts:
        before = _before(fact, node, chain, ended, since)
        if before is not None:
            now = claims.object_of(fact)
            subject = node if before[0] == node else fact.subject_id
            target = node if before[1] == node else now
            if (subject, target) != (fact.subject_id, now) and len(places) < most:
                places[fact.id] = subject, target
    return _carries(claims, places, ids)


def _before(
    fact: Fact, node: str, chain: Mapping[str, Fact], ended: Mapping[str, Fact], since: datetime
) -> Sequence[str | None] | None:
    """Return the subject and the object that *fact* had when it was of *node*, None when it never was."""
    later = fact
    for _ in range(2 * MERGES_DEEP_MAX):
        earlier = None if later.carried is None else chain.get(later.carried)
        if earlier is None or later.recorded_at < since:
            return None
        said = ended.get(earlier.id) if earlier.absent else earlier
        places = (earlier.subject_id, None if said is None else said.object_id)
        if node in places:
            return places
        later = earlier
    return None
