"""Looks of several processes in turns: one of them follows the feed at a time, and another goes on when it is gone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from latewood.graph_schema.errors import LatewoodError
from latewood.memory.api import Memory
from latewood.memory.following import follow
from latewood.storage.port import Lease

__all__ = ["TURN_S", "follow_in_turns"]

TURN_S: Final = 30.0
"""For how long a process that follows has the turn, unless it says so again; after it another may take it."""
_TURN: Final = "patterns"
_AFTER_TROUBLE_S_MAX: Final = 600.0
_log = structlog.get_logger(__name__)


async def follow_in_turns(memory: Memory, *, settle_s: float, turn_s: float = TURN_S) -> None:
    """Look for patterns in the handle's space whenever something new was said, until cancelled.

    Every process that serves the space may call it: what two would find twice, one finds.

    Args:
        settle_s: how long to wait after news before the look, so that a burst is looked at once.
    """
    owner, wait_s = memory.ids.new(), turn_s / 3
    while True:
        try:
            lease = await memory.store.acquire(memory.space, _TURN, owner, turn_s)
            if lease is not None:
                await _have_turn(memory, lease, settle_s, turn_s)
            wait_s = turn_s / 3
        except LatewoodError as error:
            # The space may be too large for a look, or the store gone for a while: less and less often, but for ever.
            wait_s = min(2 * wait_s, _AFTER_TROUBLE_S_MAX)
            _log.warning("patterns_not_followed", code=error.code, message=error.message)
        await asyncio.sleep(wait_s)


async def _have_turn(memory: Memory, lease: Lease, settle_s: float, turn_s: float) -> None:
    """Look until the looks fail or the turn is lost; raises what either says."""
    looks = asyncio.create_task(_look(memory, settle_s), name="latewood-looks")
    try:
        while not (await asyncio.wait([looks], timeout=turn_s / 3))[0]:
            lease = await memory.store.renew(lease, turn_s)
        await looks
    finally:
        looks.cancel()
        await asyncio.gather(looks, return_exceptions=True)
        with suppress(LatewoodError):
            await memory.store.release(lease)


async def _look(memory: Memory, settle_s: float) -> None:
    async for report in follow(memory, settle_s=settle_s):
        if report.opened or report.ended:
            _log.info("patterns_found", opened=len(report.opened), ended=len(report.ended))
