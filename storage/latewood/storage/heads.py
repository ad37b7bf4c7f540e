"""How far a ledger has come, asked of every store in the same way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from latewood.graph_schema.clock import Micros

__all__ = ["seq_at", "wait_past"]


def seq_at(head: int, recorded: Callable[[int], Micros], at: Micros) -> int:
    """Return the seq that a ledger whose last one is *head* had reached at an instant, 0 for none.

    Found by bisection, as the recorded time of a row, which *recorded* tells by its seq, grows with it.
    """
    low, high = 0, head
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if recorded(middle) <= at else (low, middle - 1)
    return low


async def wait_past(head: Callable[[], Awaitable[int]], after_seq: int, seconds_max: float, *, poll_s: float) -> bool:
    """Return True as soon as a ledger's head is behind *after_seq*, False after *seconds_max*; look at least once."""
    end = time.monotonic() + seconds_max
    while True:
        if await head() > after_seq:
            return True
        left = end - time.monotonic()
        if left <= 0:
            return False
        await asyncio.sleep(min(poll_s, left))
