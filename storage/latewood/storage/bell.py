"""A bell for those of this process who wait for messages: what the journal keeps for a consumer group is told at once.

Nobody relies on it. What another process publishes, what comes due by itself, and what is handed back rings no bell, so
whoever waits looks by itself too, only less often.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Container, Generator
from dataclasses import dataclass, field

__all__ = ["Bell", "Ear"]


@dataclass(slots=True, eq=False)
class Ear:
    """Who waits for messages of *groups*; what is in them may change while it listens."""

    groups: Container[str]
    _rung: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Let who waits look now."""
        self._rung.set()

    async def wait(self, most_s: float) -> None:
        """Wait until it was rung since the last wait, *most_s* at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._rung.wait()
        self._rung.clear()


class Bell:
    """Tells those who listen that messages have come. Belongs to one journal, and to its loop."""

    def __init__(self) -> None:
        """Begin with nobody who listens."""
        self._ears: dict[Ear, None] = {}

    @contextlib.contextmanager
    def listen(self, groups: Container[str]) -> Generator[Ear]:
        """Listen for messages of *groups*."""
        ear = Ear(groups)
        self._ears[ear] = None
        try:
            yield ear
        finally:
            del self._ears[ear]

    def ring(self, groups: Collection[str]) -> None:
        """Say that messages have come for *groups*."""
        for ear in self._ears:
            if any(group in ear.groups for group in groups):
                ear.wake()
