"""What waits for somebody: dead letters, each with the owner whom it asks, and the messages of an inbox.

A channel that has an actor's key for its name is that actor's inbox: rules send there what a person should see.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from latewood.graph_schema.clock import AsOf
from latewood.graph_schema.model import Node, NodeKind
from latewood.storage.port import FactQuery, GraphStore, NodeQuery
from latewood.storage.queueing import queue_of

__all__ = ["INBOX_MAX", "UNSETTLED_MAX", "Unsettled", "Waiting", "by_cause", "inbox_of", "unsettled_of"]

UNSETTLED_MAX: Final = 500
"""Most dead letters that are looked at, the newest first."""
INBOX_MAX: Final = 20
"""Most messages of each inbox that are told of, those that came first."""
_OPEN: Final = "open"
_HAS_GROUP: Final = "has_group"
_NAMING: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|[0-9]+")
"""What tells apart two of one cause: the number or the id of what could not be settled."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A dead letter that nobody has redriven.

    Attributes:
        owner: whom it asks; None when its channel has none.
    """

    id: str
    channel: str
    fault: str
    reason: str
    tries: int
    owner: str | None
    recorded_at: datetime


async def unsettled_of(
    store: GraphStore, space: str, at: AsOf, *, owners: Collection[str] | None = None
) -> tuple[list[Unsettled], bool]:
    """Return the dead letters that wait, the newest first, and whether there are more than were looked at.

    Args:
        owners: only of these, by their keys; None: of everybody and nobody.
    """
    query = NodeQuery(NodeKind.DEADLETTER, where={"status": [_OPEN]}, first=UNSETTLED_MAX, newest=True)
    page = await store.list_nodes(space, query, at)
    found = [_unsettled(node) for node in page.items]
    return [one for one in found if owners is None or one.owner in owners], page.next is not None


def by_cause(unsettled: Iterable[Unsettled]) -> list[list[Unsettled]]:
    """Put together those of one channel, class and owner whose reasons differ in numbers and ids at most, in order."""
    found: dict[tuple[str, str, str | None, str], list[Unsettled]] = {}
    for one in unsettled:
        found.setdefault((one.channel, one.fault, one.owner, _NAMING.sub("#", one.reason)), []).append(one)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that nobody has taken from an inbox."""

    id: str
    channel: str
    title: str
    source: str
    recorded_at: datetime


async def inbox_of(store: GraphStore, space: str, owners: Collection[str], at: AsOf) -> tuple[list[Waiting], bool]:
    """Return what waits in the inboxes of *owners*, the oldest first, and whether there is more than is told of.

    What waited earlier nobody kept: as known before, there is none.
    """
    if at.known_at is not None or not owners:
        return [], False
    channels = await store.nodes(space, keys=[f"channel:{one}" for one in owners], at=at)
    ids = [node.id for node in channels.values() if node.kind is NodeKind.CHANNEL]
    edges = await store.facts(space, FactQuery(subjects=ids, predicates=[_HAS_GROUP]), at) if ids else ()
    listed: dict[str, None] = {}
    more = False
    for edge in edges:
        page = await queue_of(store).queued(space, str(edge.object_id), first=INBOX_MAX)
        listed |= dict.fromkeys(row.message for row in page.items)
        more = more or page.next is not None
    nodes = await store.nodes(space, ids=list(listed), at=at) if listed else {}
    return [_waiting(nodes[one]) for one in listed if one in nodes and "channel" in nodes[one].attributes], more


def _waiting(node: Node) -> Waiting:
    said = node.attributes
    return Waiting(node.id, str(said["channel"]), node.name, str(said.get("source", "")), node.recorded_at)


def _unsettled(node: Node) -> Unsettled:
    said = node.attributes
    tries, owner = said.get("tries"), said.get("owner")
    return Unsettled(
        node.id, str(said.get("channel", "")), str(said.get("class", node.type)), str(said.get("reason", "")),
        tries if isinstance(tries, int) else 1, owner if isinstance(owner, str) else None, node.recorded_at,
    )  # fmt: skip
