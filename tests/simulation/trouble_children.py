"""Workers in processes of their own that die once trouble of any class is kept, or by the step that they call."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from simulation.run_children import Ahead

from latewood.execution import DEFAULT, Action, Fault, FaultClass, Rule, RunStatus, step, trying, workflow
from latewood.execution.words import OPEN
from latewood.memory import Memory
from latewood.memory.runs import runs_of, worker_of
from latewood.storage.crashpoints import install

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["latewood.memory.runs", "simulation.trouble_children"])
_END_S_MAX: Final = 100.0
RETRY_AFTER_S: Final = 50.0
POLICY: Final = DEFAULT.changed(
    "troubles-1",
    {
        FaultClass.TRANSIENT: Rule(3, Action.ESCALATE, first_s=0.001, longest_s=0.002),
        FaultClass.RATE_LIMIT: Rule(3, Action.ESCALATE, first_s=0.001, longest_s=0.002),
        FaultClass.LOST_WORKER: Rule(10_000, Action.ESCALATE),
    },
)
DEADLY: Final = POLICY.changed("deadly-1", {FaultClass.LOST_WORKER: Rule(2, Action.ESCALATE)})
MEETINGS: Final = {
    ("transient", 2): (RunStatus.DONE, 3),
    ("transient", 9): (RunStatus.ESCALATED, 3),
    ("rate-limit", 2): (RunStatus.DONE, 3),
    ("permanent", 9): (RunStatus.REFUSED, 1),
    ("invalid-tool-call", 1): (RunStatus.DONE, 2),
    ("schema", 9): (RunStatus.ESCALATED, 2),
    ("ambiguous", 9): (RunStatus.ESCALATED, 1),
    ("fallback", 9): (RunStatus.DEGRADED, 1),
}
"""Which trouble a run meets in how many of its first tries, how it ends, and how often its step is called."""
_CALLS = Path(os.environ.get("LATEWOOD_TEST_EFFECTS", "/nonexistent"))


@dataclass(frozen=True, slots=True)
class Labour:
    """What a child does: work at *url*, *ahead_s* of the machine's clock; *dies* when a failed try is kept."""

    url: str
    calls: str
    ahead_s: float
    dies: bool


def _called(what: str) -> int:
    """Note a call where it outlives the process."""
    with _CALLS.open("ab", buffering=0) as file:
        file.write(f"{what}\n".encode())
    here = trying()
    assert here is not None
    return here.number


@step()
async def meet(kind: str, fails: int) -> str:
    if _called(f"{kind} {fails}") <= fails:
        raise Fault(kind, "as arranged", retry_after_s=RETRY_AFTER_S if kind == "rate-limit" else None)
    return "through"


@step(fallback=lambda: "by telephone")
async def meet_and_fall_back() -> str:
    _called("fallback 9")
    raise Fault("permanent", "as arranged")


@workflow(policy=POLICY)
async def meeting(kind: str, fails: int) -> str:
    return await (meet_and_fall_back() if kind == "fallback" else meet(kind, fails))


@step()
async def die() -> None:
    _called("deadly")
    os.kill(os.getpid(), signal.SIGKILL)


@workflow(policy=DEADLY)
async def deadly() -> None:
    await die()


async def _work(labour: Labour) -> None:
    memory = await Memory.open(labour.url, by="agent:w", clock=Ahead(labour.ahead_s), embedder="none")
    # One run at once: a call of another one must not be cut off by the end of this process.
    async with memory, worker_of(memory, meeting, deadly, lease_s=30, poll_s=0.01, at_once=1):
        end = time.monotonic() + _END_S_MAX
        while (await runs_of(memory).list(statuses=OPEN, first=1)).items:
            assert time.monotonic() < end, "runs are still open"
            await asyncio.sleep(0.02)


def _child(labour: Labour) -> None:
    global _CALLS  # noqa: PLW0603 - one process has one file
    _CALLS = Path(labour.calls)
    if labour.dies:
        install(lambda point: os.kill(os.getpid(), signal.SIGKILL) if point == "step.failed" else None)
    asyncio.run(_work(labour))


def work(labour: Labour) -> int:
    """Let a worker work until it ends or dies, and return its exit code."""
    process: BaseProcess = _CONTEXT.Process(target=_child, args=(labour,))
    process.start()
    process.join(_END_S_MAX + 10)
    assert process.exitcode is not None, "a worker hangs"
    return process.exitcode
