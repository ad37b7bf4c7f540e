"""Erasing through the one door: the write, then the proof that it did what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from latewood.graph_schema.events import EventKind, LedgerEntry, Receipt
from latewood.graph_schema.ledger import Verdict
from latewood.graph_schema.model import LedgerName
from latewood.storage.erasing import erasure_of
from latewood.storage.port import PAGE_MAX, GraphStore, Scrub

__all__ = ["REPORT_ROWS_MAX", "ErasedRow", "ErasureReport", "Reading", "report_of"]

REPORT_ROWS_MAX: Final = 1_000
"""Most rows that a report lists; `places` counts them all."""


@dataclass(frozen=True, slots=True)
class ErasedRow:
    """A row of the ledger whose payload is gone.

    Attributes:
        digest: of its salt and payload, in hex, as the chain has had it from the start: with the salt gone it confirms
            no guess, and whoever has both from before can show that it was this row.
    """

    seq: int
    kind: EventKind
    digest: str


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """The proof of an erasure: what went from where, whether the files are clean, and that the chain verifies.

    Attributes:
        target: the id of the fact or node.
        kind: ``fact``, or the kind of the node.
        rows: the first `REPORT_ROWS_MAX` rows that lost their payload.
        places: how many rows lost their words, by the place where they stood.
        scrub: whether the files under the store still have them, and until when.
        verdict: the check of the whole ledger afterwards; its tombstones are counted.
    """

    target: str
    kind: str
    reason: str
    receipt: Receipt
    rows: tuple[ErasedRow, ...]
    places: Mapping[str, int]
    scrub: Scrub
    verdict: Verdict


class Reading(Protocol):
    """What a report is read from: a handle on a space."""

    @property
    def store(self) -> GraphStore:
        """The store."""
        ...

    @property
    def space(self) -> str:
        """The space."""
        ...


async def report_of(handle: Reading, receipt: Receipt) -> ErasureReport:
    """Scrub the store's files and report on the erasure of *receipt*, from what the store says now."""
    store, space = handle.store, handle.space
    scrub = await store.scrub()
    (entry,) = await store.feed(space, receipt.ledger, receipt.seq - 1, 1)
    said = erasure_of(entry.event)
    kind = said.nodes.get(said.target)
    rows = await _rows(store, space, receipt.ledger, said.seqs[:REPORT_ROWS_MAX])
    return ErasureReport(
        said.target, "fact" if kind is None else kind.value, str(entry.event.payload.get("reason", "")), receipt,
        tuple(ErasedRow(one.seq, one.event.kind, one.digest.hex()) for one in rows), receipt.erased, scrub,
        await store.verify(space, receipt.ledger),
    )  # fmt: skip


async def _rows(store: GraphStore, space: str, ledger: LedgerName, seqs: tuple[int, ...]) -> list[LedgerEntry]:
    """Read rows by their seqs, which grow: neighbours in one page."""
    wanted, found = set(seqs), list[LedgerEntry]()
    for seq in seqs:
        if found and found[-1].seq >= seq:
            continue
        last = seq
        while last + 1 in wanted and last - seq + 2 <= PAGE_MAX:
            last += 1
        found += await store.feed(space, ledger, seq - 1, last - seq + 1)
    return found
