"""Which node is meant, as of the two clocks: merges followed from a key or an id to the node that it goes on as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from latewood.graph_schema.clock import NOW, AsOf, Micros, to_micros
from latewood.graph_schema.errors import LimitError
from latewood.graph_schema.identity import MERGED_INTO, MERGES_DEEP_MAX, MOVED_REASON
from latewood.graph_schema.model import Fact, Node, NodeKind
from latewood.storage.port import PAGE_MAX, FactQuery, GraphStore

__all__ = ["absorbed_by", "carried_on", "merged_away", "standing"]


async def merged_away(store: GraphStore, space: str, nodes: Iterable[Node], at: AsOf = NOW) -> dict[str, str]:
    """Return which of *nodes* were merged into another, as of *at*, and into which, by their ids.

    What is so now stands on the node itself; what was so then is what the fact says.
    """
    entities = [node for node in nodes if node.kind is NodeKind.ENTITY and not node.erased]
    if at.known_at is None:
        pointers = {node.id: node.attributes.get(MERGED_INTO) for node in entities}
        return {one: into for one, into in pointers.items() if isinstance(into, str)}
    if not entities:
        return {}
    query = FactQuery(subjects=[node.id for node in entities], predicates=[MERGED_INTO])
    facts = await store.facts(space, query, at)
    return {fact.subject_id: fact.object_id for fact in facts if fact.object_id is not None}


async def carried_on(
    store: GraphStore, space: str, facts: Iterable[Fact], known_at: Micros | None = None
) -> dict[str, Fact]:  # fmt: skip
    """Return, by the ids of those of *facts* that merges and splits moved, the facts that say the same by *known_at*.

    The unit that took a fact back is the one that said it again.
    """
    current = {fact.id: fact for fact in facts if fact.retired_reason == MOVED_REASON}
    for _ in range(2 * MERGES_DEEP_MAX):
        moved = {fact.id: first for first, fact in current.items() if fact.retired_reason == MOVED_REASON}
        times = {current[first].retired_at for first in moved.values()}
        heirs: dict[str, str] = {}
        for time in sorted(to_micros(one) for one in times if one is not None):
            heirs |= await _said_again(store, space, time, set(moved))
        if not heirs:
            break
        kept = await store.facts_by_id(space, sorted(heirs.values()), known_at=known_at)
        current |= {moved[one]: kept[heir] for one, heir in heirs.items() if heir in kept}
    return current


async def _said_again(store: GraphStore, space: str, time: Micros, wanted: set[str]) -> dict[str, str]:
    """Return which facts recorded at *time* say again what those *wanted* did, by these."""
    found: dict[str, str] = {}
    after: str | None = None
    while True:
        page = await store.changes(space, time - 1, time, first=PAGE_MAX, after=after)
        found |= {one.fact.carried: one.fact.id for one in page.items if one.fact.carried in wanted}
        after = page.next
        if after is None:
            return found


async def standing(
    store: GraphStore, space: str, nodes: Sequence[Node], at: AsOf = NOW
) -> dict[str, Node]:  # fmt: skip
    """Return, by the id of each of *nodes*, the node that it goes on as: itself, or what it was merged into.

    Raises:
        LimitError: over `MERGES_DEEP_MAX` merges in a row.
    """
    found = {node.id: node for node in nodes}
    fresh = list(found.values())
    for _ in range(MERGES_DEEP_MAX):
        gone = await merged_away(store, space, fresh, at)
        if not gone:
            return found
        into = await store.nodes(space, ids=sorted(set(gone.values())), at=at)
        # What was erased since says nothing of what it went on as; the node is shown as it is.
        moved = {one: into[other] for one, other in gone.items() if other in into}
        found = {one: moved.get(node.id, node) for one, node in found.items()}
        fresh = list({node.id: node for node in moved.values()}.values())
    msg = f"a node was merged into another over {MERGES_DEEP_MAX} times in a row; split one of them"
    raise LimitError(msg, limit="MERGES_DEEP_MAX", maximum=MERGES_DEEP_MAX)


async def absorbed_by(
    store: GraphStore, space: str, ids: Sequence[str], at: AsOf = NOW
) -> Mapping[str, tuple[Node, ...]]:  # fmt: skip
    """Return the nodes that were merged into each of *ids*, directly or through one another, as of *at*."""
    merged: dict[str, list[str]] = {}
    fresh = list(dict.fromkeys(ids))
    for _ in range(MERGES_DEEP_MAX):
        if not fresh:
            break
        facts = await store.facts(space, FactQuery(objects=fresh, predicates=[MERGED_INTO]), at)
        merged |= {one: [fact.subject_id for fact in facts if fact.object_id == one] for one in fresh}
        fresh = [fact.subject_id for fact in facts if fact.subject_id not in merged]
    found = {one: _below(one, merged) for one in ids}
    nodes = await store.nodes(space, ids=sorted({one for listed in found.values() for one in listed}), at=at)
    return {one: tuple(nodes[of] for of in listed if of in nodes) for one, listed in found.items()}


def _below(one: str, merged: Mapping[str, Sequence[str]]) -> list[str]:
    """Return all that leads to *one*, nearest first."""
    found = list(merged.get(one, ()))
    for node in found:
        found += [other for other in merged.get(node, ()) if other not in found]
    return found
