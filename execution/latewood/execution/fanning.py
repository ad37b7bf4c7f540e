"""How a run that fans out is replayed: each branch comes as far as what is kept takes it, before anything new begins.

When a branch fails the others are stopped, and what they had under way is lost. A workflow that goes on after that
comes here again in each replay; without a gate the stopped branches would call their steps again each time, to be
stopped once more.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

__all__ = ["Branches", "Gate"]

_WAITS: Final = 20
_WAIT_S: Final = 0.05
"""Longest, as often as `_WAITS`, that a branch waits for those that neither end nor come to something new: they may
wait for this one. A machine that stood still uses up one wait, and not all.
"""


class Gate:
    """Opens when nothing of a run gets further by what is kept; then it stays open."""

    def __init__(self) -> None:
        """Begin shut, before the one strand with which a run begins."""
        self._going = 1
        self._open = asyncio.Event()

    def more(self, strands: int) -> None:
        """Count so many more strands that are going."""
        self._going += strands

    def less(self) -> None:
        """Count one less: it has ended, or has come to something new."""
        self._going -= 1
        if self._going <= 0:
            self._open.set()

    async def passed(self) -> None:
        """Return when something new may begin."""
        if self._open.is_set():
            return
        self.less()
        for _ in range(_WAITS):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WAIT_S):
                    await self._open.wait()
                    return
        self._open.set()


class Branches:
    """The branches of one fan-out: how many go at once, and how many the gate counts."""

    def __init__(self, number: int, at_most: int, gate: Gate | None) -> None:
        """Begin with none of *number* begun; *gate* is that of a replay."""
        self._gate = gate
        self._slots = asyncio.Semaphore(at_most)
        self._unbegun = max(0, number - at_most)
        self._unended = number
        if gate is not None and number:
            # One is counted already, as the strand that waits for them all.
            gate.more(number - self._unbegun - 1)

    async def turn(self) -> None:
        """Return when the next branch may begin."""
        await self._slots.acquire()

    def ended(self) -> None:
        """Give the turn of a branch that has ended, or waits, to the next; one that failed keeps it, so none begins."""
        self._slots.release()
        self._unended -= 1
        if self._unbegun:
            self._unbegun -= 1
        elif self._unended and self._gate is not None:
            # The last one's count is that of the strand that waited for them.
            self._gate.less()
