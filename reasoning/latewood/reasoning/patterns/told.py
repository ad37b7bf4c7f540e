"""Patterns as they are kept, for answers that rest on them: what each says, and where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from latewood.graph_schema.clock import NOW, AsOf
from latewood.graph_schema.decisions import ABOUT, STATUS
from latewood.graph_schema.model import Fact, Node, NodeKind
from latewood.graph_schema.patterns import PatternReview, PatternStatus
from latewood.reasoning.patterns.wording import fill, filled, slots_in
from latewood.storage.port import FactQuery, GraphStore, NodeQuery

__all__ = ["HOLDING", "PATTERN", "REASON", "REVIEW", "ToldPattern", "holding_patterns", "told_patterns"]

PATTERN: Final = "pattern"
REVIEW: Final = "review"
REASON: Final = "reason"
HOLDING: Final = (PatternStatus.OPEN, PatternStatus.FADING)
"""Where a pattern stands that somebody may rely on."""
_HIDDEN: Final = (PatternReview.MUTED, PatternReview.REJECTED)
_PATTERNS_MAX: Final = 200
"""Most patterns that an answer looks at."""


@dataclass(frozen=True, slots=True)
class ToldPattern:
    """What a pattern says.

    Attributes:
        recorded_at: when it came to say so.
    """

    id: str
    status: PatternStatus
    statement: str
    review: PatternReview | None
    recorded_at: datetime


async def told_patterns(store: GraphStore, space: str, ids: Sequence[str], at: AsOf = NOW) -> dict[str, ToldPattern]:
    """Read those of *ids* that are patterns, in a few reads."""
    if not ids:
        return {}
    single: dict[str, dict[str, Fact]] = {}
    for fact in await store.facts(space, FactQuery(subjects=ids, predicates=[PATTERN, STATUS, REVIEW]), at):
        single.setdefault(fact.subject_id, {})[fact.predicate] = fact
    statements: dict[str, str] = {}
    for one, facts in single.items():
        value = facts[PATTERN].value if PATTERN in facts and STATUS in facts else None
        if value is not None and isinstance(value.data, dict):
            statements[one] = str(value.data.get("statement", ""))
    words = await fill(store, space, (slot for told in statements.values() for slot in slots_in(told)), at)
    return {
        one: ToldPattern(
            one, PatternStatus(_text(single[one][STATUS])), str(filled(statement, words)),
            PatternReview(_text(single[one][REVIEW])) if REVIEW in single[one] else None,
            single[one][PATTERN].recorded_at,
        )
        for one, statement in statements.items()
    }  # fmt: skip


async def holding_patterns(
    store: GraphStore, space: str, nodes: Sequence[Node] | None, at: AsOf = NOW
) -> tuple[list[ToldPattern], bool]:
    """Return the patterns that hold of *nodes* (None: of the space) and that nobody muted or rejected, and whether
    there were more than are looked at.
    """
    if nodes is None:
        where = {STATUS: [status.value for status in HOLDING]}
        query = NodeQuery(NodeKind.PATTERN, where=where, first=_PATTERNS_MAX, newest=True)
        page = await store.list_nodes(space, query, at)
        ids, more = [node.id for node in page.items], page.next is not None
    else:
        edges = await store.facts(space, FactQuery(objects=[node.id for node in nodes], predicates=[ABOUT]), at)
        pointing = list(dict.fromkeys(edge.subject_id for edge in edges))
        kinds = await store.nodes(space, ids=pointing, at=at)
        listed = [one for one in pointing if one in kinds and kinds[one].kind is NodeKind.PATTERN]
        ids, more = listed[-_PATTERNS_MAX:], len(listed) > _PATTERNS_MAX
    told = await told_patterns(store, space, ids, at)
    return [one for one in told.values() if one.status in HOLDING and one.review not in _HIDDEN], more


def _text(fact: Fact) -> str:
    return "" if fact.value is None else str(fact.value.data)
