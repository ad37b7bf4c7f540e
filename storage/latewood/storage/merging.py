"""Two nodes that are one: following a merged node to the one that it goes on as, and what may be merged.

A merged node is declared again with the id of the other among its attributes. That pointer is the head's truth, read
under the writers' lock, so whatever names the merged node later is written of the other; what a read of the past
follows is the fact `merged_into`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping

from latewood.graph_schema.commands import Carry, Unit
from latewood.graph_schema.errors import ConflictError, ForbiddenError, InvalidError, LimitError
from latewood.graph_schema.identity import CARRIED, MERGED_INTO, MERGES_DEEP_MAX
from latewood.graph_schema.model import NodeKind, Trust
from latewood.graph_schema.values import Json
from latewood.storage.rows import FactRow, NodeRow

__all__ = [
    "carried_payload",
    "check_mergeable",
    "check_own_predicate",
    "check_trust",
    "is_redeclared",
    "linked_facts",
    "merged_into",
    "pull_in",
    "standing",
]


def merged_into(row: NodeRow) -> str | None:
    """Return the id of the node that *row* was merged into, None when it is one of its own."""
    into = row.attributes.get(MERGED_INTO) if row.kind is NodeKind.ENTITY else None
    return into if isinstance(into, str) else None


def is_redeclared(row: NodeRow) -> bool:
    """Tell whether a declaration is one of a node that was there before, by a merge or a split."""
    return row.kind is NodeKind.ENTITY and MERGED_INTO in row.attributes


def pull_in(
    rows: Iterable[NodeRow], by_id: MutableMapping[str, NodeRow], load: Callable[[set[str]], Mapping[str, NodeRow]]
) -> None:
    """Add to *by_id* the nodes that *rows* and those in it were merged into, to the last."""
    fresh = [row for row in (*rows, *by_id.values()) if MERGED_INTO in row.attributes]
    for _ in range(MERGES_DEEP_MAX):
        wanted = {into for row in fresh if (into := merged_into(row)) is not None and into not in by_id}
        if not wanted:
            return
        found = load(wanted)
        by_id.update(found)
        fresh = list(found.values())


def standing(row: NodeRow, look: Callable[[str], NodeRow | None]) -> NodeRow:
    """Return the node that *row* goes on as: itself, or what it was merged into. Raises LimitError."""
    if MERGED_INTO not in row.attributes:
        return row
    for _ in range(MERGES_DEEP_MAX):
        into = merged_into(row)
        found = None if into is None else look(into)
        if found is None:
            break
        row = found
    if merged_into(row) is not None:
        msg = f"{row.id} was merged into another that was merged in turn, over {MERGES_DEEP_MAX} times; split one"
        raise LimitError(msg, limit="MERGES_DEEP_MAX", maximum=MERGES_DEEP_MAX)
    return row


def _called(row: NodeRow) -> str:
    return row.key or row.id


def check_trust(unit: Unit) -> None:
    """Refuse to merge or split for whom is less than an agent. Raises ForbiddenError (``trust.too_low``)."""
    if unit.trust.level < Trust.AGENT.level:
        msg = f"{unit.trust.value!r} may not say which keys mean one thing; an agent or a person does"
        raise ForbiddenError(msg, trust=unit.trust.value)


def check_mergeable(node: NodeRow, into: NodeRow, goes_on_as: NodeRow) -> None:
    """Refuse to merge *node* into *into*, when nodes are not two, or not things that people name.

    Raises:
        ConflictError: code ``merge.exists`` when *node* was merged already; *goes_on_as* is what it is now.
        InvalidError: code ``merge.invalid``.
    """
    for one in (node, into):
        if one.kind is not NodeKind.ENTITY:
            msg = f"{_called(one)} is of kind {one.kind.value}; only entities are merged"
            raise InvalidError(msg, code="merge.invalid", id=one.id, kind=one.kind.value)
    if goes_on_as.id != node.id:
        msg = f"{_called(node)} was merged into {_called(goes_on_as)} already; split it first, or merge that one"
        raise ConflictError(msg, code="merge.exists", id=node.id, into=goes_on_as.id)
    if node.id == into.id:
        msg = f"{_called(node)} and what it is to be merged into are one and the same; name two"
        raise InvalidError(msg, code="merge.invalid", id=node.id)


def check_own_predicate(predicate: str) -> None:
    """Keep `merged_into` to merges and splits. Raises InvalidError (``merge.invalid``)."""
    if predicate == MERGED_INTO:
        msg = f"{MERGED_INTO!r} is written by `merge` and taken back by `split`, which move what was said along"
        raise InvalidError(msg, code="merge.invalid", predicate=predicate)


def carried_payload(command: Carry, row: FactRow, ends: str | None) -> dict[str, Json]:
    """Return what the copy of *row* says. Raises InvalidError (``merge.invalid``), ConflictError."""
    if not row.payload:
        msg = f"the fact {row.id} was erased; it has no words that another node could have"
        raise ConflictError(msg, code="content.erased", id=row.id)
    target = row.payload.get("object")
    if not row.absent and (target is None) != (command.object is None):
        msg = f"the fact {row.id} has {'no' if target is None else 'an'} object, and it is carried otherwise"
        raise InvalidError(msg, code="merge.invalid", id=row.id)
    payload: dict[str, Json] = {**row.payload, CARRIED: row.id}
    if not row.absent and command.object is not None:
        payload["object"] = command.object
    if row.absent and ends is not None:
        payload["ends"] = ends
    return payload


def linked_facts(payloads: Iterable[Mapping[str, Json]]) -> set[str]:
    """Return the facts that say the same as those of *payloads*, of the nodes before and after merges and splits."""
    said = ((payload.get(CARRIED), payload.get("moved_to")) for payload in payloads)
    return {one for pair in said for one in pair if isinstance(one, str)}
