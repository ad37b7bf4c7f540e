"""Checking a chain in Neo4j page by page, each in a transaction of its own: one for all could last too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from latewood.graph_schema.ledger import Verdict, Verifier
from latewood.graph_schema.model import LedgerName
from latewood.storage.neo4j import listing
from latewood.storage.neo4j.database import Row
from latewood.storage.neo4j.reading import Reading
from latewood.storage.port import PAGE_MAX

__all__ = ["verify"]

_TRIES: Final = 4

T = TypeVar("T")


class Read(Protocol):
    """Reads one space, in a transaction."""

    async def __call__(self, work: Callable[[Reading], T], /) -> T:
        """Run *work*."""
        ...


async def verify(read: Read, ledger: LedgerName) -> Verdict:
    """Check the chain from its first row to its head."""
    tries = 0
    while True:
        tries += 1
        verdict, head = await _verify(read, ledger)
        # Each page is read as it is by then: an erasure meanwhile looks like rows that somebody emptied.
        if verdict.ok or tries == _TRIES or await read(lambda one: one.seq(ledger)) == head:
            return verdict


async def _verify(read: Read, ledger: LedgerName) -> tuple[Verdict, int]:
    """Check the chain as far as it goes now; return what was found, and the seq of the head."""
    space, head = await read(lambda one: (one.space.id, one.heads[ledger]))
    verifier, after = Verifier(space, ledger), 0

    def page(reading: Reading) -> list[Row]:
        return listing.stored_rows(reading, ledger, after, head.seq, PAGE_MAX)

    while after < head.seq:
        rows = await read(page)
        # Away from the read: it may be repeated, and a row must be taken once.
        if not rows or not await asyncio.to_thread(listing.verify_rows, verifier, ledger, rows):
            break
        after = rows[-1][0]
    return verifier.verdict(head.seq, head.hash if head.seq else None), head.seq
