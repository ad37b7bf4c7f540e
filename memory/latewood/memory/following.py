"""Looks that follow the change feed: one for each burst of news, from where the latest look had got to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

from latewood.graph_schema.errors import ConflictError
from latewood.memory.api import Memory
from latewood.memory.looked import looked
from latewood.memory.patterns import DetectReport, detect

__all__ = ["follow"]

_WAIT_S: Final = 5.0
_TRIES: Final = 3


async def follow(
    memory: Memory, *, settle_s: float = 2.0, progress: Callable[[int, int], None] | None = None
) -> AsyncGenerator[DetectReport]:
    """Look whenever something came that was not looked at yet, for ever; yield what each look came to.

    It goes on where the latest look of any process had got to, so that nothing is missed while none runs.

    Args:
        settle_s: how long to wait after news before the look, so that a burst is looked at once.

    Raises:
        RefusedError: looks of others got in the way several times running (``version.conflict``).
    """
    after: int | None = None
    while True:
        seen = await looked(memory, after=after)
        if seen.news == 0:
            after = seen.through
            await memory.store.wait(memory.space, "knowledge", after, _WAIT_S)
            continue
        await asyncio.sleep(settle_s)
        yield await _look(memory, progress)
        after = None


async def _look(memory: Memory, progress: Callable[[int, int], None] | None) -> DetectReport:
    for _ in range(_TRIES - 1):
        try:
            return await detect(memory, progress=progress)
        except ConflictError:
            # Someone else looked at the same time; what they found is there to be read now.
            continue
    return await detect(memory, progress=progress)
