"""Workers in the server's own process, its watch over what is overdue and what has no vector, and its webhooks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import structlog

from latewood.execution import Workflow
from latewood.execution.overdue import Overdue
from latewood.execution.webhooks import Targets
from latewood.graph_schema.errors import LatewoodError
from latewood.memory import Memory
from latewood.memory.filling import Filler
from latewood.memory.leading import follow_in_turns
from latewood.memory.runs import book_of, worker_of
from latewood.memory.webhooks import deliver

__all__ = ["SETTLE_S", "WORKER", "working"]

SETTLE_S: Final = 5.0
"""How long a server waits after news before it looks for patterns."""

WORKER: Final = "agent:server"
"""Who works, and ends what is overdue, when the server was given no actor."""
_LOOK_S: Final = 5.0
_LOOK_SHARE: Final = 10
_LOOK_S_MAX: Final = 60.0
_FILL_S: Final = 30.0
"""Between two looks for vectors that are missing."""
_AGAIN_S: Final = 5.0
"""How long something that failed rests before it begins again."""
_SPACES_MAX: Final = 1_000
"""Most spaces that one look goes through."""
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def working(
    memory: Memory, workflows: Sequence[Workflow[..., Any]], tenants: Callable[[], Iterable[str]], *,
    look_s: float = _LOOK_S, fill_s: float = _FILL_S, targets: Targets | None = None,
    settle_s: float | None = None, again_s: float = _AGAIN_S,
) -> AsyncGenerator[None]:  # fmt: skip
    """Run *workflows* in the memory's space; end what is overdue, make vectors that are missing, and post what waits
    for webhooks, in all spaces of its tenant and of *tenants*.

    At the end the runs and the messages in hand are handed back, and the leases with them.

    Args:
        settle_s: how long after news to look for patterns in the memory's space; None: do not look.
        again_s: how long each of them rests after a fault, before it begins again.
    """
    own = memory if memory.names_actor else memory.within(by=WORKER)
    async with AsyncExitStack() as stack:
        if workflows:
            worker = await stack.enter_async_context(worker_of(own, *workflows))
            _log.info("workers_ready", worker=worker.name, workflows=sorted({one.name for one in workflows}))
        works: dict[str, Callable[[], Awaitable[None]]] = {
            "overdue": lambda: _watch(own, tenants, look_s),
            "webhooks": lambda: deliver(lambda: _handles(own, tenants), targets or Targets(), look_s=look_s),
            "vectors": lambda: _fill(memory, tenants, fill_s),
        }
        if settle_s is not None:
            works["patterns"] = lambda: follow_in_turns(own, settle_s=settle_s)
        tasks = [
            asyncio.create_task(_again(name, work, again_s), name=f"latewood-{name}") for name, work in works.items()
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _again(name: str, work: Callable[[], Awaitable[None]], again_s: float) -> None:
    """Do *work*, and after a fault again: a task that nobody awaits would end without a word, for as long as we run."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - whatever it is, it must not end the work of a process
            _log.exception("work_failed", work=name, again_s=again_s)
        else:
            return
        await asyncio.sleep(again_s)


def _handles(memory: Memory, tenants: Callable[[], Iterable[str]]) -> list[Memory]:
    return [memory, *(memory.within(tenant=one, by=WORKER) for one in sorted(set(tenants())))]


async def _watch(memory: Memory, tenants: Callable[[], Iterable[str]], look_s: float) -> None:
    while True:
        began = time.monotonic()
        for handle in _handles(memory, tenants):
            await _look(handle)
        took = time.monotonic() - began
        await asyncio.sleep(max(look_s, min(took * _LOOK_SHARE, _LOOK_S_MAX)))


async def _fill(memory: Memory, tenants: Callable[[], Iterable[str]], fill_s: float) -> None:
    filler = Filler(memory)
    while True:
        await asyncio.sleep(fill_s)
        try:
            await filler.look(tenants())
        except Exception:  # noqa: BLE001 - runtimes of models raise whatever they like, and it must not end the looks
            _log.warning("vectors_not_filled", code="embedder.failed", exc_info=True)


async def _look(memory: Memory) -> None:
    """End what is overdue in each space that has runs at all."""
    try:
        for space in (await memory.spaces())[:_SPACES_MAX]:
            if space.seq.get("execution", 0):
                await Overdue(book_of(memory.within(space=space.name))).look()
    except LatewoodError as error:
        # The store may be gone for a moment, or read-only; the next look tries again.
        _log.warning("overdue_look_failed", code=error.code, message=error.message)
