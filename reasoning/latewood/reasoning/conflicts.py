"""Where sources disagree: entities whose facts are challenged by others that cannot hold beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from latewood.graph_schema.clock import NOW, AsOf
from latewood.graph_schema.model import Fact, Node, NodeKind
from latewood.storage.port import FactQuery, GraphStore, NodeQuery, Page

__all__ = ["Disputed", "conflicts"]

_LOOKED_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Disputed:
    """An entity, and its facts that hold while another source says otherwise (see their `conflict`)."""

    entity: Node
    facts: tuple[Fact, ...]


async def conflicts(
    store: GraphStore, space: str, *, first: int = 50, after: str | None = None, at: AsOf = NOW
) -> Page[Disputed]:
    """List the entities of which sources disagree, the latest recorded first.

    A page may hold fewer than *first* while `next` goes on: at most `_LOOKED_MAX` entities are looked at for one.
    Raises as `GraphStore.list_nodes` does.
    """
    looked = 0
    while True:
        page = await store.list_nodes(space, NodeQuery(NodeKind.ENTITY, first=first, after=after, newest=True), at)
        disputed: dict[str, list[Fact]] = {}
        if page.items:
            for fact in await store.facts(space, FactQuery(subjects=[node.id for node in page.items]), at):
                if fact.conflict is not None:
                    disputed.setdefault(fact.subject_id, []).append(fact)
        looked += len(page.items)
        after = page.next
        if disputed or after is None or looked >= _LOOKED_MAX:
            found = (Disputed(node, tuple(disputed[node.id])) for node in page.items if node.id in disputed)
            return Page(tuple(found), after)
