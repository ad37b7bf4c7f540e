"""Which lists a store answers from what it noted of statuses: one rule, whatever the note looks like."""

from __future__ import annotations

from typing import Final

from latewood.graph_schema.model import NodeKind
from latewood.storage.port import NodeQuery

__all__ = ["STATUS", "STATUSES_MAX", "UNLISTED", "asked_of"]

STATUS: Final = "status"
"""The predicate."""
STATUSES_MAX: Final = 20
"""Most statuses of a list that are looked for one by one."""
UNLISTED: Final = (NodeKind.STEP, NodeKind.ATTEMPT)
"""Kinds that nobody lists by status: nothing is noted of them."""


def asked_of(query: NodeQuery) -> list[str] | None:
    """Return the noted statuses of what *query* may list, the empty one first; None where notes do not serve.

    An empty note says to look at the facts. A status that is matched by the word it was written as is not noted.
    """
    texts = (query.where or {}).get(STATUS)
    if texts is None or query.kind is None or query.kind in UNLISTED or len(texts) > STATUSES_MAX:
        return None
    if any(text.startswith("=") for text in texts):
        return None
    return list(dict.fromkeys(["", *texts]))
