"""Processes that publish, receive and settle messages, and die where a test says."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from typing import Final

from simulation.at_work import begin_at_work as started
from simulation.run_children import Ahead

from latewood.execution import DEFAULT, Action, Fault, FaultClass, Rule, step, workflow
from latewood.execution.messages.flows import receive
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.errors import ConflictError
from latewood.memory import Memory
from latewood.memory.messages import messages_of
from latewood.memory.runs import runs_of, worker_of
from latewood.storage.crashpoints import install

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["latewood.memory.messages", "latewood.storage.sqlite.store"])
POLICY: Final = DEFAULT.changed("killed", {
    FaultClass.TRANSIENT: Rule(2, Action.ESCALATE, first_s=0.0, longest_s=0.0),
    # As many consumers may be lost with one message as the test kills.
    FaultClass.LOST_WORKER: Rule(10_000, Action.ESCALATE),
})  # fmt: skip
LEASE_S: Final = 0.4


@dataclass(frozen=True, slots=True)
class Labour:
    """What a child does: publish *count* messages under keys, then settle what waits; die at the *hit*th *point*.

    Every third message fails for good, and becomes a dead letter.
    """

    url: str
    count: int
    point: str | None = None
    hit: int = 1


@dataclass(frozen=True, slots=True)
class Shift:
    """What a child does: run what is there of `awaits` until nothing is open; die when it first comes to *point*.

    Its clock is *ahead_s* of the machine's: for it the leases of the dead have run out.
    """

    url: str
    point: str | None = None
    ahead_s: float = 0.0


@step()
async def known(number: int) -> int:
    return number


@workflow(version="1", policy=POLICY)
async def awaits(number: int) -> object:
    """Wait for any message of the channel."""
    await known(number)
    # Longer than any machine takes from the message to its step: another run that gets it meanwhile is not at issue.
    event = await receive("work", lease_s=60)
    return None if event is None else event["data"]


def _die_at(point: str, hit: int) -> None:
    left = hit

    def hook(reached: str) -> None:
        nonlocal left
        if reached == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    install(hook)


async def _work(labour: Labour, at_work: Event | None) -> None:
    async with Memory.open(labour.url, by="agent:child", embedder="none") as memory:
        messages = messages_of(memory)
        if at_work is not None:
            at_work.set()
        if labour.point is not None:
            _die_at(labour.point, labour.hit)
        for number in range(labour.count):
            await messages.publish("work", {"n": number}, idempotency_key=f"n-{number}", ordering_key=f"k{number % 2}")
        while (await messages.waiting("work"))["default"]:
            for received in await messages.receive("work", wait_s=1.0, lease_s=LEASE_S):
                data = received.message.data
                assert isinstance(data, dict)
                number = data["n"]
                assert isinstance(number, int)
                try:
                    if number % 3 == 2:
                        await messages.nack(received, Fault("transient", "always"))
                        continue
                    tally = Assert(
                        memory.ids.new(), Ref(key="tally"), "tallied", object=Ref(id=received.message.id), relation=True
                    )
                    await messages.ack(received, also=[tally])
                except ConflictError:
                    # Its time was over: another has it, or this one gets it again.
                    continue


async def _run_all(shift: Shift) -> None:
    async with Memory.open(shift.url, by="agent:child", clock=Ahead(shift.ahead_s), embedder="none") as memory:
        if shift.point is not None:
            _die_at(shift.point, 1)
        # Less room than there are runs: each that waits makes room for the next.
        async with worker_of(memory, awaits, lease_s=60, at_once=2, poll_s=0.02):
            while not all(run.ended for run in (await runs_of(memory).list()).items):  # noqa: ASYNC110 - across processes
                await asyncio.sleep(0.05)


def _run(labour: Labour | Shift, at_work: Event | None = None) -> None:
    asyncio.run(_run_all(labour) if isinstance(labour, Shift) else _work(labour, at_work))


def begin(labour: Labour | Shift) -> BaseProcess:
    """Start a child."""
    child = _CONTEXT.Process(target=_run, args=(labour,), daemon=True)
    child.start()
    return child


def begin_at_work(labour: Labour) -> BaseProcess:
    """Start a child, and return it once it has opened the store."""
    return started(_CONTEXT, _run, labour)
