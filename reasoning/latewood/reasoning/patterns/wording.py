"""The words of patterns, with a slot wherever they would repeat what was said: a name, a choice, a kind of occurrence.

What is kept has the slots; they are filled each time that it is read, from what is there then. So no erasure has to
reach into the words of a pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, cast

from latewood.graph_schema.clock import NOW, AsOf, to_micros
from latewood.graph_schema.model import ERASED_NAME, Fact, Node
from latewood.graph_schema.values import Json
from latewood.storage.port import GraphStore

__all__ = ["fill", "filled", "slot", "slots_in"]

_SLOT: Final = re.compile(r"<<([0-9a-f]{8}-[0-9a-f-]{27})>>")
_UNKNOWN: Final = "(unknown)"
_IDS_A_READ: Final = 2_000
_TEXT_CHARS: Final = 80


def slot(thing: str) -> str:
    """Write a slot for what a node is called, or for what a fact says, by its id."""
    return f"<<{thing}>>"


def slots_in(told: Json) -> frozenset[str]:
    """Return the ids of all slots in a text or document."""
    if isinstance(told, str):
        return frozenset(_SLOT.findall(told))
    if isinstance(told, list):
        return frozenset[str]().union(*(slots_in(one) for one in told))
    if isinstance(told, dict):
        return frozenset[str]().union(*(slots_in(one) for one in told.values()))
    return frozenset()


def filled(told: Json, words: Mapping[str, str]) -> Json:
    """Fill the slots of a text or document; what has no words is unknown."""
    if isinstance(told, str):
        return _SLOT.sub(lambda found: words.get(found[1], _UNKNOWN), told)
    if isinstance(told, list):
        return [filled(one, words) for one in told]
    if isinstance(told, dict):
        return {name: filled(one, words) for name, one in told.items()}
    return told


async def fill(store: GraphStore, space: str, told: Iterable[str], at: AsOf = NOW) -> Mapping[str, str]:
    """Read the words for the slots of these ids, as known then: of nodes their keys or names, of facts their values."""
    ids = sorted(set(told))
    known_at = None if at.known_at is None else to_micros(at.known_at)
    words: dict[str, str] = {}
    for start in range(0, len(ids), _IDS_A_READ):
        part = ids[start : start + _IDS_A_READ]
        nodes = await store.nodes(space, ids=part, at=at)
        words |= {one: _name(node) for one, node in nodes.items()}
        facts = await store.facts_by_id(space, [one for one in part if one not in nodes], known_at=known_at)
        objects = await store.nodes(space, ids=sorted({fact.object_id for fact in facts.values() if fact.object_id}))
        words |= {one: _said(fact, objects) for one, fact in facts.items()}
    return words


def _name(node: Node) -> str:
    return ERASED_NAME if node.erased else node.key or node.name


def _said(fact: Fact, objects: Mapping[str, Node]) -> str:
    if fact.erased:
        return ERASED_NAME
    value = fact.value
    if value is None:
        node = objects.get(fact.object_id or "")
        return _UNKNOWN if node is None else _name(node)
    if value.kind == "float":
        return f"{cast('float', value.data):.4g}{' ' + value.unit if value.unit else ''}"
    text = value.text()
    return text if len(text) <= _TEXT_CHARS else text[: _TEXT_CHARS - 1] + "…"
