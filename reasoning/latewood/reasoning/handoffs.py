"""What lies before a decision across agents: the messages that it followed from, and what those followed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from latewood.graph_schema.clock import AsOf
from latewood.graph_schema.decisions import TRIGGERED_BY
from latewood.graph_schema.model import Node, NodeKind
from latewood.storage.port import FactQuery, GraphStore

__all__ = ["BEFORE_MAX", "CAUSED_BY", "causes"]

BEFORE_MAX: Final = 100
"""Most messages, runs, decisions and facts that are followed back from one decision."""
CAUSED_BY: Final = "caused_by"
"""The relation from what followed to the message, run, decision or fact that it followed from."""


async def causes(store: GraphStore, space: str, decision: str, at: AsOf) -> tuple[tuple[Node, ...], bool]:
    """Return what *decision* followed from, the nearest first, and whether there is more than `BEFORE_MAX`.

    From the decision itself only messages are followed: its other triggers it names itself. From there on everything.
    """
    seen, found = {decision}, list[Node]()
    wave: Sequence[str] = [decision]
    while wave:
        facts = await store.facts(space, FactQuery(subjects=wave, predicates=[CAUSED_BY, TRIGGERED_BY]), at)
        fresh = [one for one in dict.fromkeys(fact.object_id for fact in facts) if one is not None and one not in seen]
        seen.update(fresh)
        if len(found) + len(fresh) > BEFORE_MAX:
            return tuple(found), True
        nodes = await store.nodes(space, ids=fresh, at=at) if fresh else {}
        first = wave == [decision]
        step = [nodes[one] for one in fresh if one in nodes and (not first or nodes[one].kind is NodeKind.MESSAGE)]
        found += step
        wave = [node.id for node in step]
    return tuple(found), False
