"""Erasing through the one door: the write, then the proof that it did what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from latewood.graph_schema.clock import NOW, AsOf
from latewood.graph_schema.commands import Command, Erase, SourceSpec, Unit
from latewood.graph_schema.errors import ConflictError, NotFoundError, RefusedError
from latewood.graph_schema.events import EventKind, LedgerEntry, Receipt
from latewood.graph_schema.ids import IdSource, is_id
from latewood.graph_schema.ledger import Verdict
from latewood.graph_schema.model import LedgerName, Node
from latewood.memory.reader import Identified, said
from latewood.storage.erasing import erasure_of
from latewood.storage.port import PAGE_MAX, GraphStore, Scrub

__all__ = ["REPORT_ROWS_MAX", "ErasedRow", "Eraser", "ErasureReport", "LedgerErasure", "erase"]

REPORT_ROWS_MAX: Final = 1_000
"""Most rows that a report lists; `places` counts them all."""
_NOTHING_THERE: Final = ("content.erased", "node.not_found")
"""Refusals of a ledger that has nothing of what is to go."""


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
class LedgerErasure:
    """What an erasure took out of one of the two ledgers.

    Attributes:
        rows: the first `REPORT_ROWS_MAX` rows that lost their payload.
        verdict: the check of the whole ledger afterwards; its tombstones are counted.
    """

    receipt: Receipt
    rows: tuple[ErasedRow, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """The proof of an erasure: what went from where, whether the files are clean, and that the chain verifies.

    Attributes:
        target: the id of the fact or node.
        kind: ``fact``, or the kind of the node.
        rows: the first `REPORT_ROWS_MAX` rows that lost their payload, of the ledger of *receipt*.
        places: how many rows lost their words, by the place where they stood, in both ledgers.
        scrub: whether the files under the store still have them, and until when.
        verdict: the check of the whole ledger afterwards; its tombstones are counted.
        also: the same of the execution ledger, when words were taken from both.
    """

    target: str
    kind: str
    reason: str
    receipt: Receipt
    rows: tuple[ErasedRow, ...]
    places: Mapping[str, int]
    scrub: Scrub
    verdict: Verdict
    also: LedgerErasure | None = None


class Eraser(Protocol):
    """A handle that may write: what erasing needs of `Memory`."""

    @property
    def store(self) -> GraphStore:
        """The store."""
        ...

    @property
    def space(self) -> str:
        """The space."""
        ...

    @property
    def ids(self) -> IdSource:
        """Where new ids come from."""
        ...

    async def node_itself(self, thing: Identified, at: AsOf = NOW) -> Node:
        """Return the very node of a key or an id."""
        ...

    def unit(
        self, commands: Sequence[Command], body: object, *, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, idempotency_key: str | None = None,
    ) -> Unit:  # fmt: skip
        """Make a unit."""
        ...

    async def submit(self, unit: Unit) -> Receipt:
        """Keep a unit."""
        ...


async def erase(
    self: Eraser, target: Identified, *, reason: str, by: str | None = None, session: str | None = None,
    source: str | SourceSpec | None = None, idempotency_key: str | None = None,
) -> ErasureReport:  # fmt: skip
    """Let the words of *target*, a fact or a node with everything about it, be gone for good.

    What it closed stays closed, the ledgers still verify, and no read returns the words again, as known before
    neither. For what was wrong use `retract` or `correct`, for what stopped being true `end`: those keep the past.
    Words in the execution ledger go first, in a unit of their own; who is stopped in between calls again, by the id.

    Args:
        reason: kept in the ledger for good: it must not repeat what goes.

    Raises:
        ForbiddenError: code ``erase.forbidden``; only a person erases.
        ConflictError: code ``content.erased``; nothing is left of it.
    """
    name = said(target)
    try:
        known = name if is_id(name) else (await self.node_itself(name)).id
    except NotFoundError:
        # Of a repeated call the key is free by now; its idempotency key still finds the first.
        if idempotency_key is None:
            raise
        known = name

    async def write(ledger: LedgerName, of: str, key: str | None) -> Receipt | RefusedError:
        unit = self.unit(
            [Erase(self.ids.new(), of, reason)], ["erase", name, reason], by=by, session=session, source=source,
            idempotency_key=key,
        )  # fmt: skip
        try:
            return await self.submit(replace(unit, ledger=ledger))
        except (ConflictError, NotFoundError) as error:
            if error.code not in _NOTHING_THERE:
                raise
            return error

    other: Receipt | RefusedError | None = None
    if await self.store.feed(self.space, "execution", 0, 1):
        key = None if idempotency_key is None else f"{idempotency_key}\0execution"
        other = await write("execution", known, key)
        if isinstance(other, Receipt):
            known = await _target(self, other)
    first = await write("knowledge", known, idempotency_key)
    receipts = [one for one in (first, other) if isinstance(one, Receipt)]
    if isinstance(first, RefusedError) and not receipts:
        raise first
    return await _report(self, receipts)


async def _target(handle: Eraser, receipt: Receipt) -> str:
    (entry,) = await handle.store.feed(handle.space, receipt.ledger, receipt.seq - 1, 1)
    return erasure_of(entry.event).target


async def _report(handle: Eraser, receipts: Sequence[Receipt]) -> ErasureReport:
    """Scrub the store's files and report on the erasures of *receipts*, from what the store says now."""
    store, space = handle.store, handle.space
    scrub = await store.scrub()
    (entry,) = await store.feed(space, receipts[0].ledger, receipts[0].seq - 1, 1)
    said_so = erasure_of(entry.event)
    kind = said_so.nodes.get(said_so.target)
    taken = [await _taken(handle, receipt) for receipt in receipts]
    places = Counter[str]()
    for receipt in receipts:
        places.update(receipt.erased)
    return ErasureReport(
        said_so.target, "fact" if kind is None else kind.value, str(entry.event.payload.get("reason", "")),
        taken[0].receipt, taken[0].rows, dict(places), scrub, taken[0].verdict, *taken[1:],
    )  # fmt: skip


async def _taken(handle: Eraser, receipt: Receipt) -> LedgerErasure:
    (entry,) = await handle.store.feed(handle.space, receipt.ledger, receipt.seq - 1, 1)
    seqs = erasure_of(entry.event).seqs[:REPORT_ROWS_MAX]
    rows = await _rows(handle.store, handle.space, receipt.ledger, seqs)
    return LedgerErasure(
        receipt, tuple(ErasedRow(one.seq, one.event.kind, one.digest.hex()) for one in rows),
        await handle.store.verify(handle.space, receipt.ledger),
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
