"""Waiting for runs, with an end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from latewood.execution import Run, RunStatus, Worker, Workflow
from latewood.memory import Memory
from latewood.memory.runs import runs_of
from latewood.memory.runs import worker_of as _worker_of

__all__ = ["ended", "sleep_a_little", "until", "worker_of"]

_LOOKS = 1_600
_LOOK_S = 0.03


async def sleep_a_little() -> None:
    """Let a worker look."""
    await asyncio.sleep(_LOOK_S)


async def ended(memory: Memory, run_id: str) -> Run:
    """Return a run once it has ended."""
    run = await runs_of(memory).run(run_id)
    for _ in range(_LOOKS):
        if run.ended:
            return run
        await sleep_a_little()
        run = await runs_of(memory).run(run_id)
    pytest.fail(f"run {run_id} is still {run.status}")


async def until(memory: Memory, run_id: str, status: RunStatus) -> Run:
    """Return a run once it stands at *status*."""
    run = await runs_of(memory).run(run_id)
    for _ in range(_LOOKS):
        if run.status is status:
            return run
        await sleep_a_little()
        run = await runs_of(memory).run(run_id)
    pytest.fail(f"run {run_id} is {run.status}, not {status}: {run.result}")


def worker_of(memory: Memory, *workflows: Workflow[..., Any], poll_s: float) -> Worker:
    """Return a worker that notices soon when the test's clock has gone past its lease."""
    return _worker_of(memory, *workflows, lease_s=0.3, poll_s=poll_s)
