"""What nobody would end otherwise: runs of workers that are gone, and children whose parents ended without them."""

from __future__ import annotations

import pytest
from integration.execution.acting import until

from latewood.execution import Action, Fault, FaultClass, Rule, RunStatus, child, gather, sleep, step, workflow
from latewood.execution.overdue import Overdue
from latewood.execution.policies import declared_policy
from latewood.execution.words import Claim
from latewood.execution.writing import Writing
from latewood.graph_schema.clock import ManualClock
from latewood.memory import Memory
from latewood.memory.runs import agents_of, book_of, runs_of, worker_of

pytestmark = pytest.mark.parametrize("memory", ["reference", "sqlite"], indirect=True)


@step()
async def fails() -> None:
    raise Fault("permanent", "no")


@workflow(deadline_s=600)
async def long() -> None:
    await sleep(86_400)


@workflow()
async def parent() -> None:
    await gather(child(long), fails())


@workflow()
async def waits() -> None:
    await child(long)


async def test_a_child_whose_parent_ended_ends_too(memory: Memory) -> None:
    async with worker_of(memory, parent, long, poll_s=60) as worker:
        run = await worker.run(parent)
    assert run.status is RunStatus.REFUSED
    (inner,) = [one for one in (await runs_of(memory).list()).items if one.parent == run.id]
    assert not inner.ended
    await Overdue(book_of(memory)).look()
    inner = await runs_of(memory).run(inner.id)
    assert (inner.status, inner.result["class"]) == (RunStatus.ESCALATED, "parent")


async def test_a_child_past_its_deadline_wakes_the_parent_that_waits_for_it(memory: Memory, clock: ManualClock) -> None:
    async with worker_of(memory, waits, long, poll_s=0.05) as worker:
        run = await worker.start(waits)
        await until(memory, run.id, RunStatus.WAITING)
    clock.advance(seconds=601)
    await Overdue(book_of(memory)).look()
    async with worker_of(memory, waits, long, poll_s=0.05):
        ended = await until(memory, run.id, RunStatus.ESCALATED)
    assert "did not end within its deadline" in str(ended.result["message"])


async def test_an_agent_that_fell_silent_is_counted_by_its_runs_own_policy(memory: Memory, clock: ManualClock) -> None:
    for most, status in ((1, RunStatus.ESCALATED), (5, RunStatus.READY)):
        own = declared_policy(f"lost-{most}", {FaultClass.LOST_WORKER: Rule(most, Action.ESCALATE)})
        run = await agents_of(memory).start("silent", policy=own)
        for _ in range(4):
            if (await runs_of(memory).run(run.id)).status is RunStatus.READY:
                await agents_of(memory).claim(run.id, "one", lease_s=10)
            clock.advance(seconds=11)
            await Overdue(book_of(memory)).look()
        assert (await runs_of(memory).run(run.id)).status is status


async def test_a_lost_workers_run_ends_at_its_deadline_and_a_live_ones_is_left_to_it(
    memory: Memory, clock: ManualClock
) -> None:
    book, write = book_of(memory), Writing(book_of(memory).ids)
    for worker, status in (("gone", RunStatus.ESCALATED), ("alive", RunStatus.RUNNING)):
        run = await agents_of(memory).start(f"flow of {worker}", runner="worker", deadline_s=60)
        lease = await memory.store.acquire(memory.space, f"worker:{worker}", worker, 30)
        assert lease is not None
        await book.keep(write.claim(run.id, Claim(worker, lease.fence)), body=["claim"])
        clock.advance(seconds=61)
        if worker == "alive":
            await memory.store.acquire(memory.space, f"worker:{worker}", worker, 30)
        await Overdue(book).look()
        assert (await runs_of(memory).run(run.id)).status is status
