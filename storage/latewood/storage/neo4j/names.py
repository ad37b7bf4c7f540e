"""How the graph is called in Neo4j: labels, relationship types, and the words under which people see things."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from latewood.graph_schema.model import NodeKind

__all__ = [
    "index_name", "labels_of", "relation_type", "space_label", "spaced", "vector_index_name", "vector_label",
]  # fmt: skip

_WORD: Final = re.compile(r"[^\W_]+")
_PART: Final = re.compile(r"[^0-9A-Za-z]+")
_RESERVED: Final = frozenset({
    "Node", "Fact", "Event", "Key", "Space", "Ledger", "Receipt", "Refusal", "Lease", "Latewood", "Alternative",
    *(kind.value.capitalize() for kind in NodeKind),
})  # fmt: skip
_TYPE_CHARS_MAX: Final = 60


def space_label(space: int) -> str:
    """Return the label of everything with words in a space: what its full-text index covers."""
    return f"Space{space}"


def index_name(space: int) -> str:
    """Return the name of a space's full-text index."""
    return f"latewood_words_{space}"


def vector_label(generation: int) -> str:
    """Return the label of the vectors of a generation; no type of a thing gets a label that begins so."""
    return f"SpaceVector{int(generation)}"


def vector_index_name(generation: int) -> str:
    """Return the name of a generation's vector index."""
    return f"latewood_vectors_{int(generation)}"


def spaced(*texts: str) -> str:
    """Write the words of texts with single spaces between, so that every analyzer splits them where we do."""
    return " ".join(word for text in texts for word in _WORD.findall(text))


@lru_cache(maxsize=4096)
def labels_of(kind: NodeKind, node_type: str) -> tuple[str, ...]:
    """Return a node's labels: its kind, and for an entity or an actor its type as people would write a label."""
    labels = ("Node", kind.value.capitalize())
    if kind not in (NodeKind.ENTITY, NodeKind.ACTOR):
        return labels
    own = "".join(part[:1].upper() + part[1:] for part in _PART.split(node_type) if part)[:_TYPE_CHARS_MAX]
    if not own or own[0].isdigit() or own.startswith("Space"):
        return labels
    return (*labels, f"{own}Entity" if own in _RESERVED else own)


@lru_cache(maxsize=4096)
def relation_type(predicate: str) -> str:
    """Return the relationship type of a relation: ``depends_on`` is DEPENDS_ON, ``dependsOn`` too."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", predicate)
    return re.sub(r"[^0-9A-Z]+", "_", spaced.upper()).strip("_")[:_TYPE_CHARS_MAX] or "RELATES_TO"
