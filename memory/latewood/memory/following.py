"""Following: looks that follow the change feed, one for each burst of news, and readers that follow the patterns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final

from latewood.graph_schema.decisions import STATUS
from latewood.graph_schema.errors import ConflictError
from latewood.memory.api import Memory
from latewood.memory.looked import looked
from latewood.memory.patterns import DetectReport, Pattern, detect, read_patterns
from latewood.memory.reader import Reader
from latewood.reasoning.patterns.told import PATTERN, REVIEW
from latewood.storage.port import PAGE_MAX

__all__ = ["PatternChange", "follow", "watch_patterns"]

_WAIT_S: Final = 5.0
_TRIES: Final = 3
_TELLING: Final = frozenset({PATTERN, STATUS, REVIEW})


@dataclass(frozen=True, slots=True)
class PatternChange:
    """A pattern that opened, changed, faded, ended, was withdrawn or reviewed.

    Attributes:
        seq: the ledger's row that says so; go on behind it.
        pattern: as it is now, without its evidence.
    """

    seq: int
    pattern: Pattern


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


async def watch_patterns(memory: Reader, after_seq: int = 0) -> AsyncGenerator[PatternChange]:
    """Yield the patterns that changed behind the ledger's row *after_seq*, and then each that does, for ever.

    What changed several times before it is read comes once, as it is now.
    """
    while True:
        page = await memory.store.feed(memory.space, "knowledge", after_seq, PAGE_MAX)
        if not page:
            await memory.store.wait(memory.space, "knowledge", after_seq, _WAIT_S)
            continue
        latest = {one.event.subject: one.seq for one in page if str(one.event.payload.get("predicate", "")) in _TELLING}
        told = await read_patterns(memory, sorted(latest))
        for seq, pattern in sorted(((latest[one.id], one) for one in told), key=lambda change: change[0]):
            yield PatternChange(seq, pattern)
        after_seq = page[-1].seq
