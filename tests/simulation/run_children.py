"""Workers in processes of their own, which die where a test says, on runs with every kind of step."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

from simulation.at_work import begin_at_work as started

from latewood.execution import (
    DEFAULT,
    Action,
    Fault,
    FaultClass,
    Rule,
    RunStatus,
    ask,
    child,
    gather,
    sleep,
    step,
    trying,
    workflow,
)
from latewood.graph_schema.clock import Micros, SystemClock
from latewood.graph_schema.errors import RefusedError
from latewood.memory import Memory
from latewood.memory.runs import runs_of, worker_of
from latewood.storage.crashpoints import install

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["latewood.memory.runs", "latewood.storage.sqlite.store", "simulation.run_children"])
# As many workers may be lost at one place here as the test kills.
_POLICY: Final = DEFAULT.changed(
    "killed-1",
    {
        FaultClass.TRANSIENT: Rule(20, Action.ESCALATE, first_s=0.001, longest_s=0.002),
        FaultClass.LOST_WORKER: Rule(10_000, Action.ESCALATE),
    },
)
_END_S_MAX: Final = 200.0
_LOOKS: Final = 2
_EFFECTS = Path(os.environ.get("LATEWOOD_TEST_EFFECTS", "/nonexistent"))


@dataclass(frozen=True, slots=True)
class Labour:
    """What a child does: work at *url*, its clock *ahead_s* of the machine's, and die at the *hit*th *point*."""

    url: str
    effects: str
    ahead_s: float
    point: str | None = None
    hit: int = 1
    begins: int = 0


class Ahead:
    """A clock that is ahead: for it the leases of the dead have run out."""

    def __init__(self, seconds: float) -> None:
        self._micros = round(seconds * 1_000_000)

    def now(self) -> Micros:
        return SystemClock().now() + self._micros


def note(what: str) -> None:
    """Keep a line that outlives the process, however it ends."""
    with _EFFECTS.open("ab", buffering=0) as file:
        file.write(f"{what}\n".encode())


def noted() -> list[str]:
    return _EFFECTS.read_text(encoding="utf-8").splitlines() if _EFFECTS.exists() else []


def _key() -> str:
    here = trying()
    assert here is not None
    return here.key


@step()
async def fetch(number: int) -> int:
    note(f"call {_key()}")
    return number


@step()
async def slice_of(number: int, part: int) -> int:
    note(f"call {_key()}")
    await asyncio.sleep(0)
    return number * part


@step()
async def flaky(number: int) -> int:
    here = trying()
    if here is not None and here.number == 1:
        raise Fault("transient", "the first time it always fails")
    return number


async def _paid(number: int) -> str | None:
    return "paid" if f"effect {_key()}" in noted() else None


@step(probe=_paid)
async def pay(number: int) -> str:
    note(f"effect {_key()}")
    return "paid"


@workflow(policy=_POLICY)
async def half(number: int) -> int:
    return await fetch(number) // 2


@workflow(owner="human:ada", policy=_POLICY)
async def errand(number: int) -> int:
    """Come to every kind of step."""
    got = await fetch(number)
    parts = await gather(*(slice_of(got, part) for part in (1, 2, 3)))
    await sleep(0.001)
    await pay(number)
    choice = await ask("go on?", choices=["yes", "no"])
    return sum(parts) + await child(half, 2 * number) + await flaky(number) + (1 if choice == "yes" else 0)


def expected(number: int) -> int:
    return 6 * number + number + number + 1


async def _answer_all(memory: Memory) -> bool:
    """Answer what is asked; whether all runs have ended."""
    runs = runs_of(memory.within(by="human:ada"))
    left = (await runs.list(statuses=[RunStatus.READY, RunStatus.RUNNING, RunStatus.WAITING], first=1_000)).items
    for run in left:
        if run.status is not RunStatus.WAITING:
            continue
        for one in (await runs.show(run.id)).steps:
            if one.asked is not None and one.answer is None:
                try:
                    await runs.answer(one.id, "yes")
                except RefusedError as error:
                    if error.code != "question.settled":
                        raise
    return not left


async def _work(labour: Labour, at_work: Event | None) -> None:
    memory = await Memory.open(labour.url, by="agent:w", clock=Ahead(labour.ahead_s), sync="normal", embedder="none")
    async with memory, worker_of(memory, errand, half, lease_s=30, poll_s=0.01) as worker:
        for number in range(labour.begins):
            await worker.start(errand, 100 + number)
        if at_work is not None:
            at_work.set()
        end, ended = time.monotonic() + _END_S_MAX, 0
        # Twice in a row: one look may pass over a run that changes its status meanwhile.
        while ended < _LOOKS:
            ended = ended + 1 if await _answer_all(memory) else 0
            assert time.monotonic() < end, "runs are still open"
            await asyncio.sleep(0.01 if not ended else 0.2)


def _child(labour: Labour, at_work: Event | None = None) -> None:
    global _EFFECTS  # noqa: PLW0603 - one process has one file
    _EFFECTS = Path(labour.effects)
    hits = 0

    def hook(point: str) -> None:
        nonlocal hits
        if point == labour.point:
            hits += 1
            if hits == labour.hit:
                note(f"died {point}")
                os.kill(os.getpid(), signal.SIGKILL)

    install(hook)
    asyncio.run(_work(labour, at_work))


def begin(labour: Labour) -> BaseProcess:
    """Start a worker."""
    process = _CONTEXT.Process(target=_child, args=(labour,))
    process.start()
    return process


def begin_at_work(labour: Labour) -> BaseProcess:
    """Start a worker, and return it once it has begun its runs."""
    return started(_CONTEXT, _child, labour)


def finish(process: BaseProcess) -> int:
    """Wait for a worker's end and return how it ended."""
    process.join(_END_S_MAX + 10)
    assert process.exitcode is not None, "a worker hangs"
    return process.exitcode
