"""What waits for somebody: dead letters, messages that nobody could settle, each with the owner whom it asks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from latewood.graph_schema.clock import AsOf
from latewood.graph_schema.model import Node, NodeKind
from latewood.storage.port import GraphStore, NodeQuery

__all__ = ["UNSETTLED_MAX", "Unsettled", "unsettled_of"]

UNSETTLED_MAX: Final = 500
"""Most dead letters that are looked at, the newest first."""
_OPEN: Final = "open"


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


def _unsettled(node: Node) -> Unsettled:
    said = node.attributes
    tries, owner = said.get("tries"), said.get("owner")
    return Unsettled(
        node.id, str(said.get("channel", "")), str(said.get("class", node.type)), str(said.get("reason", "")),
        tries if isinstance(tries, int) else 1, owner if isinstance(owner, str) else None, node.recorded_at,
    )  # fmt: skip
