"""A worker on the recording in a process of its own, which dies after so many kept steps."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from typing import Final

from latewood.execution import Endpoint
from latewood.graph_schema.clock import iso
from latewood.memory import Memory
from latewood.memory.examples.recording import pipeline
from latewood.memory.runs import worker_of
from latewood.storage.crashpoints import install

__all__ = ["die_after"]

_CONTEXT: Final = multiprocessing.get_context("spawn")
_END_S: Final = 60.0


async def _work(db: str, url: str) -> None:
    async with Memory.open(db, by="agent:scribe", embedder="none", sync="normal") as memory:
        flow = pipeline(memory, Endpoint(url), at_most=1)
        async with worker_of(memory, flow, poll_s=0.05) as worker:
            await worker.run(flow, "recording:visit-1", iso(await memory.now()))


def _child(db: str, url: str, steps: int) -> None:
    left = steps

    def hook(point: str) -> None:
        nonlocal left
        left -= point == "step.kept"
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    install(hook)
    asyncio.run(_work(db, url))


def die_after(steps: int, db: str, url: str) -> int:
    """Let a worker begin, and die when *steps* steps are kept; return how its process ended."""
    process = _CONTEXT.Process(target=_child, args=(db, url, steps))
    process.start()
    process.join(_END_S)
    assert process.exitcode is not None, "the worker hangs"
    return process.exitcode
