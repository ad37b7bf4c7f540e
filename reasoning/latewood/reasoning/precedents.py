"""Precedents: decisions like the one at hand, those whose outcome is known first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from latewood.graph_schema.clock import AsOf
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import Decision, NodeKind
from latewood.reasoning.decisions import decisions_by_id
from latewood.reasoning.fusion import Clue
from latewood.reasoning.recall import LIMIT_MAX, Embed, Question, recall
from latewood.storage.port import GraphStore, Scope

__all__ = ["PRECEDENTS_MAX", "Precedent", "precedents"]

PRECEDENTS_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Precedent:
    """An earlier decision that resembles what is to be decided.

    Attributes:
        decision: with its status now: one that was superseded since teaches all the same.
        outcomes: what was observed to follow it; empty when nobody said.
        clues: why its best memory was found.
    """

    decision: Decision
    outcomes: tuple[str, ...]
    score: float
    clues: tuple[Clue, ...]


async def precedents(
    store: GraphStore, space: str, text: str, at: AsOf, embed: Embed | None = None, *, first: int = 5
) -> tuple[Precedent, ...]:
    """Return the *first* decisions most like *text*: those with an outcome before those without, each the best first.

    Raises:
        InvalidError: code ``query.invalid``, as `Question` does.
    """
    if not 1 <= first <= PRECEDENTS_MAX:
        raise InvalidError(f"1 to {PRECEDENTS_MAX} precedents can be asked for, not {first}", code="query.invalid")
    question = Question(text, Scope(kinds=(NodeKind.DECISION,)), limit=LIMIT_MAX, past=True)
    found = await recall(store, space, question, at, embed)
    best = {hit.subject.id: hit for hit in reversed(found.hits)}
    ranked = sorted(best.values(), key=lambda hit: (-hit.score, hit.subject.id))[:first]
    decisions = await decisions_by_id(store, space, [hit.subject.id for hit in ranked], at)
    kept = [
        Precedent(decisions[hit.subject.id], decisions[hit.subject.id].outcomes, hit.score, hit.clues)
        for hit in ranked
        if hit.subject.id in decisions
    ]
    return tuple(sorted(kept, key=lambda one: not one.outcomes))
