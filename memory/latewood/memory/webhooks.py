"""Webhooks through the one door: over the handle's store, in its space, as its actor; and their delivery everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import httpx
import structlog

from latewood.execution.messages import Post
from latewood.execution.webhooks import Deliveries, Targets, Webhooks
from latewood.execution.webhooks.calling import client
from latewood.graph_schema.errors import LatewoodError
from latewood.memory.api import Memory
from latewood.memory.runs import book_of

__all__ = ["deliver", "webhooks_of"]

_SPACES_MAX: Final = 1_000
"""Most spaces of a tenant that are looked at for webhooks."""
_log = structlog.get_logger(__name__)


def webhooks_of(memory: Memory, targets: Targets | None = None) -> Webhooks:
    """Return the webhooks of the handle's space; a handle without an actor only looks.

    Args:
        targets: judges addresses; left out, none on a private network may be called.
    """
    return Webhooks(Post(book_of(memory)), targets or Targets())


async def deliver(handles: Callable[[], Iterable[Memory]], targets: Targets, *, look_s: float = 5.0) -> None:
    """Deliver what waits for webhooks in all spaces of *handles*, until cancelled; each has a tenant and an actor.

    Args:
        look_s: how often it is looked for spaces that got their first webhook.
    """
    busy: dict[tuple[str, str], asyncio.Task[None]] = {}
    calls: list[httpx.AsyncClient] = []

    def made(memory: Memory) -> Deliveries:
        # Made for the first webhook: it reads all certificates that this machine trusts, and most stores have none.
        if not calls:
            calls.append(client())
        return Deliveries(Post(book_of(memory)), targets, calls[0])

    try:
        while True:
            for handle in list(handles()):
                await _look(handle, busy, made)
            await asyncio.sleep(look_s)
    finally:
        for task in busy.values():
            task.cancel()
        await asyncio.gather(*busy.values(), return_exceptions=True)
        for http in calls:
            await http.aclose()


async def _look(
    memory: Memory, busy: dict[tuple[str, str], asyncio.Task[None]], made: Callable[[Memory], Deliveries]
) -> None:  # fmt: skip
    """Begin to deliver in each space that has webhooks and in which nobody here does."""
    try:
        for space in (await memory.spaces())[:_SPACES_MAX]:
            place = memory.store.tenant, space.name
            if not space.seq.get("execution", 0) or (place in busy and not busy[place].done()):
                continue
            handle = memory.within(space=space.name)
            if await webhooks_of(handle).webhooks():
                busy[place] = asyncio.create_task(made(handle).run(), name=f"latewood-webhooks {space.name}")
    except LatewoodError as error:
        _log.warning("webhooks_look_failed", code=error.code, message=error.message)
