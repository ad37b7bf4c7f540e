"""Erasing in Neo4j: what is to go is found and taken in the transaction that writes the erasure.

No command reaches into the server's files: its store overwrites freed records as it needs them, and its transaction
logs keep what was written until they are pruned. `docs/guide/erase.md` says when that is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.identity import MERGED_INTO
from latewood.graph_schema.model import ERASED_NAME, LedgerName, NodeKind
from latewood.graph_schema.values import canonical_json
from latewood.storage.erasing import REFUSAL_ERASED, Erasure, receipt_without
from latewood.storage.merging import linked_facts
from latewood.storage.neo4j import statuses
from latewood.storage.neo4j.database import Query, Row
from latewood.storage.neo4j.names import space_label
from latewood.storage.port import Scrub
from latewood.storage.receipts import receipt_from_json, receipt_to_json
from latewood.storage.rows import Erasing

__all__ = ["BEYOND", "find", "take"]

BEYOND: Final = Scrub(
    "beyond",
    "a Neo4j server keeps what was erased in its transaction logs until they are pruned (db.tx_log.rotation."
    "retention_policy), and in freed records until they are used again; see docs/guide/erase.md",
)
_ODD: Final[Mapping[LedgerName, int]] = {"knowledge": 0, "execution": 1}


def find(query: Query, n: int, ledger: LedgerName, target: str) -> Erasing | None:
    """Return what an erasure of *target* would take, None when it is neither a node nor a fact."""
    found = query("erase_target", space=n, id=target)
    if not found:
        return None
    subject, kind, norm, listed = found[0]
    odd, names = _ODD[ledger], dict[str, NodeKind]()
    places = _places(listed)
    if kind is not None:
        names = _absorbed(query, n, target)
        for of, parity in _ODD.items():
            for one in (target, *names):
                again = query("declared_again", space=n, ledger=of, odd=parity, id=one)
                places |= {2 * row[0] + parity for row in again}
        for one in names:
            places |= _places(query("erase_target", space=n, id=one)[0][3])
    # A merge says in one ledger again what stands in the other: what belongs together is found in both.
    every = _with_linked(query, n, places)
    rows = [row for place, row in every.items() if place % 2 == odd]
    named = {source for row in every.values() if (source := _source(row)) is not None}
    orphans = _orphans(query, n, named, list(every))
    if kind == NodeKind.ACTOR.value and norm is not None:
        orphans |= {row[0] for row in query("sources_by", space=n, id=target) if _said(row[1], "origin") == norm}
    declared = {
        one: place // 2 for one, place in query("declared_at", space=n, ids=sorted(orphans))
        if place is not None and place % 2 == odd
    }  # fmt: skip
    left = {row[0] for row in query("erase_rows", space=n, ledger=ledger, seqs=sorted(declared.values()))}
    return Erasing(
        target, subject, None if kind is None else NodeKind(kind), tuple(row[0] for row in rows),
        {one: seq for one, seq in declared.items() if seq in left},
        {bytes(row[1]): row[2] for row in rows if row[1] is not None and row[2] is not None},
        names,
    )  # fmt: skip


def _places(listed: Iterable[int | None]) -> set[int]:
    return {place for place in listed if place is not None}


def _absorbed(query: Query, n: int, target: str) -> dict[str, NodeKind]:
    """Return the nodes that were merged into *target*, and those merged into them, with their kinds."""
    found: dict[str, NodeKind] = {}
    fresh = [target]
    while fresh:
        new = {
            row[0]: NodeKind(row[1]) for row in query("absorbed_by", space=n, ids=fresh)
            if _said(row[2], MERGED_INTO) in fresh
        }  # fmt: skip
        fresh = [one for one in new if one not in found]
        found |= new
    return found


def _with_linked(query: Query, n: int, places: set[int]) -> dict[int, Row]:
    """Return the rows at *places* with those about the facts that say the same, before and after merges and splits."""
    found: dict[int, Row] = {}
    fresh, seen = places, set[str]()
    while fresh:
        rows: list[Row] = []
        for ledger, odd in _ODD.items():
            seqs = sorted(place // 2 for place in fresh if place % 2 == odd)
            read = query("erase_rows", space=n, ledger=ledger, seqs=seqs) if seqs else []
            found |= {2 * row[0] + odd: row for row in read}
            rows += read
        ends = {row[4] for row in rows if row[4] is not None}
        facts = (ends | linked_facts(json.loads(row[3]) for row in rows)) - seen
        seen |= facts
        fresh = set[int]()
        for fact in sorted(facts):
            for row in query("erase_target", space=n, id=fact):
                fresh |= _places(row[3])
        fresh -= set(found)
    return {place: found[place] for place in sorted(found)}


def _said(attributes: str, name: str) -> object:
    found: dict[str, object] | None = json.loads(attributes)
    return None if found is None else found.get(name)


def _source(row: Row) -> str | None:
    found = json.loads(row[3]).get("source")
    return found if isinstance(found, str) else None


def _orphans(query: Query, n: int, named: set[str], places: Sequence[int]) -> set[str]:
    """Return the sources that no payload but those at *places* names: facts first, then the rest of the ledgers."""
    left = {row[0] for row in query("sources_unsaid", space=n, ids=sorted(named), places=list(places))}
    gone = set(places)
    if left:
        for seq, ledger, payload in query("other_payloads", space=n):
            if 2 * seq + _ODD[ledger] not in gone:
                left.discard(json.loads(payload).get("source"))
    return left


def take(
    query: Query, tenant: str, space: str, n: int, ledger: LedgerName, erasure: Erasure, recorded_at: Micros
) -> dict[str, int]:  # fmt: skip
    """Take the words of the rows that *erasure* names out of every node; return how many of each place."""
    odd, seqs = _ODD[ledger], list(erasure.seqs)
    places = [2 * seq + odd for seq in seqs]
    rows = query("take_payloads", space=n, ledger=ledger, seqs=seqs)[0][0]
    for key, predicate in erasure.keys.items():
        query("name_key", space=n, key=key.hex(), predicate=predicate)
    vectors = query("take_vectors", space=n, places=places)[0][0]
    edges = query("take_relations", space=n, places=places)[0][0]
    texts = query("take_facts", space=n, places=places, label=space_label(n), title=ERASED_NAME)[0][0]
    query("take_reasons", space=n, places=places)
    statuses.forget_erased(query, n, places, recorded_at)
    nodes = receipts = 0
    keys: dict[str, str | None] = {}
    for one, kind in erasure.nodes.items():
        for key, norm, labels, text in query("node_words", space=n, id=one):
            nodes += 1
            texts += text
            keys[one] = norm
            if kind is not NodeKind.SOURCE:
                receipts += _receipts(query, n, keys, one, key)
            kept = ("Node", kind.value.capitalize())
            query(
                "bury_node", space=n, id=one, kind=kind.value, name=ERASED_NAME, kept=list(kept),
                gone=[label for label in labels if label not in kept],
            )  # fmt: skip
    refusals = query("empty_refusals", tenant=tenant, space=space, message=REFUSAL_ERASED)[0][0]
    return {
        "ledger": rows, "nodes": nodes, "receipts": receipts, "refusals": refusals, "text": texts, "edges": edges,
        "vectors": vectors,
    }  # fmt: skip


def _receipts(query: Query, n: int, keys: Mapping[str, str | None], node: str, key: str | None) -> int:
    """Take a node's key out of the receipts that name it; receipts know it by its id or as it was written."""
    written = canonical_json(key) if key is not None else node
    changed: list[dict[str, str]] = []
    for one, text in query("receipts_naming", space=n, id=node, written=written):
        left = receipt_without(receipt_from_json(text), keys)
        if left is not None:
            changed.append({"id": one, "receipt": receipt_to_json(left)})
    if changed:
        query("set_receipts", space=n, rows=changed)
    return len(changed)
