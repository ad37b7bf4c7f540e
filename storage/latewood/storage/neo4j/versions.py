"""Nodes as they were at the heads that a read is bounded by.

Facts carry when they were recorded, and a read leaves out what came after its heads. A node is one record that is
written over: its version, and whether it is merged, may be those of a unit whose facts the read does not show. Whoever
hands such a version back as expected overwrites what it has not seen. So a node also says by which row of which ledger
it was last touched; where that row is beyond the heads, what the node was before is worked out from its facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from latewood.graph_schema.identity import MERGED_INTO
from latewood.graph_schema.model import LEDGERS, LedgerName, NodeKind
from latewood.storage.deriving import DerivedNode
from latewood.storage.neo4j.database import Head, Query, Row
from latewood.storage.neo4j.gathering import LEDGER_NUMBER, node_row
from latewood.storage.rows import NodeRow

__all__ = ["last_touch", "nodes_at"]

_VERSION = 7
_TOUCHED = 9


def nodes_at(query: Query, space: int, heads: Mapping[LedgerName, Head], rows: Sequence[Row]) -> list[NodeRow]:
    """Make nodes of rows that begin with the `node` columns, none of them touched by a unit beyond *heads*."""
    nodes = [node_row(row) for row in rows]
    seqs = [heads[name].seq for name in LEDGERS]
    odd = {row[0]: row[_TOUCHED] for row in rows if not _within(row[_VERSION], row[_TOUCHED], seqs)}
    if odd:
        # A node that this Latewood never wrote names no ledger; the row of its version does.
        unsaid = [[node.id, node.version] for node in nodes if node.id in odd and odd[node.id] is None]
        rests = query("versions_said", space=space, asked=unsaid, heads=seqs) if unsaid else []
        for row in rests:
            odd.pop(row[0], None)
    if not odd:
        return nodes
    before = {row[0]: row[1:] for row in query("nodes_before", space=space, ids=list(odd), heads=seqs)}
    return [_as_before(node, *before[node.id]) if node.id in before else node for node in nodes]


def _within(version: int, touched: int | None, seqs: Sequence[int]) -> bool:
    """Tell whether a node's version is one that the heads know of; its two properties may appear one by one."""
    if touched is None:
        return version <= min(seqs)
    return touched // 2 == version and version <= seqs[touched % 2]


def _as_before(node: NodeRow, place: int, into: str | None) -> NodeRow:
    attributes = dict(node.attributes)
    if node.kind is NodeKind.ENTITY:
        attributes.pop(MERGED_INTO, None)
        if into is not None:
            attributes[MERGED_INTO] = into
    return replace(node, version=place // 2, attributes=attributes)


def last_touch(node: DerivedNode, stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a node's `version` and `touched` as they should be, as *stored* where that may stand."""
    places = [2 * seq + LEDGER_NUMBER[ledger] for ledger, seq in node.last.items()]
    version, touched = node.row.version, None
    if stored is not None and stored.get("version") in node.last.values():
        version, touched = stored["version"], stored.get("touched")
        # Not there where an older Latewood wrote last; of a row about another node it would be wrong.
        if "touched" not in stored or (touched in places and touched // 2 == version):
            return {"version": version, "touched": touched}
    return {"version": version, "touched": next(place for place in places if place // 2 == version)}
