"""What a merge or a split moves: the facts of a node that count, and the commands that say them of another.

Moved is every assertion that was not taken back, whatever its period and whether another holds in its place, and the
absences too: the other node is to be what it would have been, had all of it been said of it to begin with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from latewood.graph_schema.commands import Carry
from latewood.graph_schema.errors import LimitError
from latewood.graph_schema.identity import MERGED_INTO, MERGES_DEEP_MAX
from latewood.graph_schema.ids import IdSource
from latewood.graph_schema.model import Cardinality, Fact
from latewood.storage.port import IDS_MAX, FactQuery, GraphStore

__all__ = ["CLAIMS_MAX", "Claims", "carries_back", "carries_to", "claims_of"]

CLAIMS_MAX: Final = 10_000
"""Most facts that one merge or split moves."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What counts of a node, as subject and as object, in the order in which it was recorded.

    Attributes:
        ended: of each absence among them, the fact that it ended.
        left: what cannot be moved: erased, or an absence of which nobody can tell any more which value it ended.
    """

    facts: tuple[Fact, ...]
    ended: Mapping[str, Fact]
    left: tuple[str, ...]

    def object_of(self, fact: Fact) -> str | None:
        """Return what a fact points to; of an absence, what the fact that it ended pointed to."""
        said = self.ended.get(fact.id) if fact.absent else fact
        return None if said is None else said.object_id


def _parts(ids: Iterable[str]) -> list[list[str]]:
    listed = list(dict.fromkeys(ids))
    return [listed[begin : begin + IDS_MAX] for begin in range(0, len(listed), IDS_MAX)]


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
    about = [
        fact
        for part in _parts(others)
        for fact in await store.facts(
            space, FactQuery(subjects=part, predicates=sorted({one.predicate for one in pointing}), standing=True)
        )
        if fact.absent
    ]
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
    return Claims(tuple(facts), ended, tuple(left))


def carries_to(claims: Claims, node: str, into: str, ids: IdSource) -> list[Carry]:
    """Return what says of *into* all that is said of *node*."""
    made: list[Carry] = []
    for fact in claims.facts:
        target = claims.object_of(fact)
        subject = into if fact.subject_id == node else fact.subject_id
        made.append(Carry(ids.new(), fact.id, subject, into if target == node else target, _ends(claims, fact)))
    return made


def _ends(claims: Claims, fact: Fact) -> str | None:
    return fact.ends if fact.id in claims.ended else None


async def carries_back(
    store: GraphStore, space: str, node: str, claims: Claims, since: datetime, ids: IdSource
) -> list[Carry]:
    """Return what says of *node* again what was moved away from it by the merge recorded at *since*.

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
    made: list[Carry] = []
    for fact in claims.facts:
        before = _before(fact, node, chain, ended, since)
        if before is not None:
            now = claims.object_of(fact)
            subject = node if before[0] == node else fact.subject_id
            target = node if before[1] == node else now
            if (subject, target) != (fact.subject_id, now):
                made.append(Carry(ids.new(), fact.id, subject, target, _ends(claims, fact)))
    return made


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
