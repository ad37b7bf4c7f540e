"""Erasing in the reference store: found by scans, taken by replacing what stands in the lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.events import EventKind, LedgerEntry, Receipt
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.values import normal_key
from latewood.storage.erasing import REFUSAL_ERASED, erasure_of, receipt_without, tombstone
from latewood.storage.merging import linked_facts, merged_into
from latewood.storage.port import Refusal
from latewood.storage.rows import Erasing, NodeRow

__all__ = ["Taken", "find", "forget", "take", "without_payload"]


@dataclass(frozen=True, slots=True)
class Taken:
    """What an erasure took from a space's lists: rows by place, and the normal keys that its nodes had."""

    counts: Mapping[str, int]
    keys: Mapping[str, str | None]


def _about(entry: LedgerEntry, target: str, *, node: bool) -> bool:
    event = entry.event
    if entry.erased or event.kind is EventKind.ERASED:
        return False
    return event.subject == target if node else target in (event.id, event.target)


def _absorbed(target: str, nodes: Mapping[str, NodeRow]) -> set[str]:
    """Return the nodes that were merged into *target*, and those that were merged into them."""
    found: set[str] = set()
    fresh = {target}
    while fresh:
        fresh = {one.id for one in nodes.values() if merged_into(one) in fresh} - found
        found |= fresh
    return found


def _taken(target: str, rows: Iterable[LedgerEntry], *, names: set[str], node: bool) -> list[LedgerEntry]:
    """Return the rows that go: those about *target* and its other names, and about facts that say the same."""
    listed, seen = list(rows), {target, *names}
    taken = [entry for entry in listed if any(_about(entry, one, node=node) for one in seen)]
    while fresh := _linked(taken) - seen:
        seen |= fresh
        gone = {id(entry) for entry in taken}
        taken += [
            entry for entry in listed
            if id(entry) not in gone and any(_about(entry, one, node=False) for one in fresh)
        ]  # fmt: skip
    return sorted(taken, key=lambda entry: entry.seq)


def _linked(taken: Iterable[LedgerEntry]) -> set[str]:
    rows = list(taken)
    ends = {entry.event.id for entry in rows if entry.event.kind is EventKind.ABSENT}
    return ends | linked_facts(entry.event.payload for entry in rows)


def _sources(rows: Iterable[LedgerEntry]) -> set[str]:
    return {str(row.event.payload["source"]) for row in rows if "source" in row.event.payload}


def find(
    target: str, ledger: Iterable[LedgerEntry], log: Iterable[LedgerEntry], nodes: Mapping[str, NodeRow],
    places: Mapping[str, int], names: Mapping[bytes, str],
) -> Erasing | None:  # fmt: skip
    """Return what an erasure of *target* would take of *ledger*; *log* is both ledgers."""
    node = nodes.get(target)
    if node is None and target not in places:
        return None
    rows, both = list(ledger), list(log)
    others = _absorbed(target, nodes) if node is not None else set[str]()
    # A merge says in one ledger again what stands in the other: what belongs together is found in both.
    every = _taken(target, both, names=others, node=node is not None)
    own = {(entry.ledger, entry.seq) for entry in rows}
    taken = [entry for entry in every if (entry.ledger, entry.seq) in own]
    gone = {id(entry) for entry in every}
    named = _sources(every) - _sources(entry for entry in both if id(entry) not in gone)
    if node is not None and node.kind is NodeKind.ACTOR and node.key is not None:
        own = {"actor": target, "origin": normal_key(node.key)}
        named |= {
            one.id for one in nodes.values() if one.kind is NodeKind.SOURCE and own.items() <= one.attributes.items()
        }
    declared = {
        entry.event.id: entry.seq for entry in rows if entry.event.kind is EventKind.DECLARED and not entry.erased
    }
    subject = target if node is not None else next(one.event.subject for one in both if one.event.id == target)
    return Erasing(
        target, subject, None if node is None else node.kind, tuple(entry.seq for entry in taken),
        {one: declared[one] for one in named if one in declared},
        {key: names[key] for key in (one.event.key for one in taken) if key is not None},
        {one: nodes[one].kind for one in others},
    )  # fmt: skip


def without_payload(entry: LedgerEntry) -> LedgerEntry:
    """Return a row as it is left."""
    return replace(entry, event=replace(entry.event, payload={}), salt=None, erased=True)


def take(
    erasure: LedgerEntry, entries: list[LedgerEntry], log: list[LedgerEntry],
    retractions: MutableMapping[str, LedgerEntry], nodes: MutableMapping[str, NodeRow],
    by_key: MutableMapping[str, str],
) -> Taken:  # fmt: skip
    """Take the payloads that *erasure* names out of its ledger's *entries*, wherever they stand."""
    said = erasure_of(erasure.event)
    seqs = {seq for seq in said.seqs if not entries[seq - 1].erased}
    for rows in (entries, log):
        for place, entry in enumerate(rows):
            if entry.ledger == erasure.ledger and entry.seq in seqs:
                rows[place] = without_payload(entry)
    for fact, entry in retractions.items():
        if entry.ledger == erasure.ledger and entry.seq in seqs:
            retractions[fact] = without_payload(entry)
    keys: dict[str, str | None] = {}
    for one, kind in said.nodes.items():
        keys[one] = None if nodes[one].key is None else normal_key(nodes[one].key or "")
        by_key.pop(keys[one] or "", None)
        nodes[one] = replace(tombstone(nodes[one]), kind=kind)
    return Taken({"ledger": len(seqs), "nodes": len(keys)}, keys)


def forget(
    taken: Taken, space: str, tenant: str, receipts: MutableMapping[tuple[str, str], Receipt],
    refusals: MutableMapping[str, tuple[str, Refusal, Micros]],
) -> dict[str, int]:  # fmt: skip
    """Take the words out of receipts and refusals; return how many of each, beside what was *taken*."""
    changed = 0
    for place, receipt in receipts.items():
        left = receipt_without(receipt, taken.keys) if (place[0], receipt.space) == (tenant, space) else None
        if left is not None:
            receipts[place] = left
            changed += 1
    said = 0
    for one, (owner, refusal, at) in refusals.items():
        if (owner, refusal.space) == (tenant, space) and refusal.message != REFUSAL_ERASED:
            refusals[one] = (owner, replace(refusal, message=REFUSAL_ERASED, actor=""), at)
            said += 1
    return {**taken.counts, "receipts": changed, "refusals": said}
