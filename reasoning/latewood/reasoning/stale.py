"""Stale decisions: those that stand while what they rested on was corrected, retracted, ended or superseded since.

A pattern that no longer holds, or that a person rejected, is moved evidence too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from latewood.graph_schema.clock import NOW, AsOf, to_micros
from latewood.graph_schema.decisions import STATUS
from latewood.graph_schema.model import Decision, DecisionStatus, Evidence, Fact, NodeKind
from latewood.graph_schema.patterns import PatternReview
from latewood.reasoning.decisions import decisions_by_id
from latewood.reasoning.identity import carried_on
from latewood.reasoning.patterns.told import HOLDING, told_patterns
from latewood.storage.port import GraphStore, NodeQuery, Page, Point

__all__ = ["GONE", "STANDING", "Moved", "Stale", "stale_among", "stale_decisions"]

STANDING: Final = (DecisionStatus.ACCEPTED, DecisionStatus.PROPOSED, DecisionStatus.DEFERRED)
"""The statuses of decisions that somebody may still rely on."""
GONE: Final = frozenset(DecisionStatus) - frozenset(STANDING)
"""The statuses of decisions that nobody should rely on any more."""
_LOOKED_MAX: Final = 5_000


@dataclass(frozen=True, slots=True)
class Moved:
    """A piece of evidence that is not what it was.

    Attributes:
        evidence: as it was known when the decision was taken.
        how: corrected, retracted, ended or superseded; of a decision or a pattern where it
            stands now.
        now: what holds in its place; None when nothing does, or when the evidence is no fact.
        reason: as given with the correction or the retraction.
    """

    evidence: Evidence
    how: str
    now: Fact | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Stale:
    """A decision that stands, and what moved under it."""

    decision: Decision
    moved: tuple[Moved, ...]


async def stale_among(store: GraphStore, space: str, decisions: Sequence[Decision], at: AsOf = NOW) -> list[Stale]:
    """Return those of *decisions* that stand on evidence which moved, in their order, in few reads."""
    standing = [one for one in decisions if one.status in STANDING]
    facts = list(dict.fromkeys(piece.id for one in standing for piece in one.evidence if piece.moved is not None))
    nodes = _of_kind(standing, NodeKind.DECISION)
    patterns = await told_patterns(store, space, _of_kind(standing, NodeKind.PATTERN), at)
    known_at = None if at.known_at is None else to_micros(at.known_at)
    valid_at = None if at.valid_at is None else to_micros(at.valid_at)
    told = await store.facts_by_id(space, facts, known_at=known_at) if facts else {}
    # What a merge or a split moved is judged where it went.
    told |= await carried_on(store, space, told.values(), known_at)
    points = [Point(told[one].id if one in told else one, valid_at, known_at) for one in facts]
    held = await store.held(space, points) if facts else ()
    holding = dict(zip(facts, held, strict=True))
    others = await decisions_by_id(store, space, nodes, at)

    def moved(piece: Evidence) -> Moved | None:
        if piece.moved is not None:
            now = holding[piece.id]
            reason = told[piece.id].retired_reason if piece.id in told else None
            return Moved(piece, piece.moved, None if now is None or now.absent else now, reason)
        pattern = patterns.get(piece.id)
        if pattern is not None and (pattern.status not in HOLDING or pattern.review is PatternReview.REJECTED):
            return Moved(piece, pattern.status.value if pattern.status not in HOLDING else "rejected", None, None)
        other = others.get(piece.id)
        return Moved(piece, other.status.value, None, None) if other is not None and other.status in GONE else None

    found: list[Stale] = []
    for one in standing:
        pieces = tuple(piece for piece in map(moved, one.evidence) if piece is not None)
        if pieces:
            found.append(Stale(one, pieces))
    return found


def _of_kind(decisions: Sequence[Decision], kind: NodeKind) -> list[str]:
    """Return the ids of the evidence that is a node of this kind, each once."""
    pieces = (piece for one in decisions for piece in one.evidence)
    return list(
        dict.fromkeys(
            piece.id for piece in pieces if piece.fact is None and piece.node is not None and piece.node.kind is kind
        )
    )


async def stale_decisions(
    store: GraphStore, space: str, *, first: int = 50, after: str | None = None, at: AsOf = NOW
) -> Page[Stale]:
    """List stale decisions, the latest recorded first.

    A page may hold fewer than *first* while `next` goes on: at most `_LOOKED_MAX` decisions are looked at for one.
    Raises as `GraphStore.list_nodes` does.
    """
    where = {STATUS: [status.value for status in STANDING]}
    looked = 0
    while True:
        query = NodeQuery(NodeKind.DECISION, where=where, first=first, after=after, newest=True)
        page = await store.list_nodes(space, query, at)
        read = await decisions_by_id(store, space, [node.id for node in page.items], at)
        found = await stale_among(store, space, [read[node.id] for node in page.items if node.id in read], at)
        looked += len(page.items)
        after = page.next
        if found or after is None or looked >= _LOOKED_MAX:
            return Page(tuple(found), after)
