"""What a worker that is lost leaves behind, and what the next one makes of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from integration.execution.acting import sleep_a_little, until
from structlog.testing import capture_logs

from latewood.execution import DEFAULT, Action, Fault, FaultClass, Logbook, Rule, Run, RunStatus, step, workflow
from latewood.execution.words import StepStatus
from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.events import Receipt
from latewood.memory import Memory
from latewood.memory.runs import runs_of, worker_of
from latewood.storage.port import Page

QUICK = DEFAULT.changed("quick-1", {FaultClass.TRANSIENT: Rule(3, Action.ESCALATE, first_s=0.001)})


async def test_a_worker_that_is_lost_in_a_fallback_has_made_the_tries_before_it(memory: Memory) -> None:
    falls, calls = asyncio.Event(), Counter[str]()

    async def estimate(kind: str) -> str:
        calls["fallback"] += 1
        if not falls.is_set():
            falls.set()
            await asyncio.sleep(60)
        return "estimate"

    @step(policy=QUICK, fallback=estimate, outside=True, probe=lambda kind: None)
    async def exact(kind: str) -> str:
        calls[kind] += 1
        raise Fault(kind, "the source is down")

    @workflow()
    async def report(kind: str) -> str:
        return await exact(kind)

    for kind, tries in (("transient", 3), ("permanent", 1)):
        falls.clear()
        async with worker_of(memory, poll_s=60) as worker:
            begun = await worker.start(report, kind)
            await asyncio.wait_for(falls.wait(), 20)
            # Of a worker that is killed, too, nothing is kept but this.
            (waits,) = (await runs_of(memory).show(begun.id)).steps
            assert (waits.status, waits.attempts) == (StepStatus.WAITING, tries)
        async with worker_of(memory, report, poll_s=0.05):
            run = await until(memory, begun.id, RunStatus.DEGRADED)
        shown = await runs_of(memory).show(run.id)
        assert (run.output, calls[kind]) == ("estimate", tries)
        assert [one["outcome"] for one in shown.attempts[shown.steps[0].id]] == ["failed"] * tries
    assert calls["fallback"] == 4


async def test_a_look_goes_on_under_the_next_lease(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    @workflow()
    async def short() -> str:
        return "done"

    listed = Logbook.runs

    async with worker_of(memory, short, poll_s=60) as worker:
        await worker.look()

        async def lost_meanwhile(self: Logbook, **how: Any) -> Page[Run]:
            found = await listed(self, **how)
            monkeypatch.setattr(Logbook, "runs", listed)
            worker._let_go()  # pyright: ignore[reportPrivateUsage]
            return found

        run = await runs_of(memory).start(short)
        monkeypatch.setattr(Logbook, "runs", lost_meanwhile)
        await worker.look()
        done = await until(memory, run.id, RunStatus.DONE)

    assert done.output == "done"


async def test_two_looks_of_a_worker_at_once_count_a_loss_once(
    memory: Memory, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, claimed, go_on, keep = Counter[str](), asyncio.Event(), asyncio.Event(), Logbook.keep

    @step()
    async def hangs() -> None:
        calls["hangs"] += 1
        await asyncio.sleep(3_600)

    @workflow(name="lost.hanging")
    async def hanging() -> None:
        await hangs()

    async def slowly(book: Logbook, commands: Any, *, body: Any, **more: Any) -> Receipt:
        receipt = await keep(book, commands, body=body, **more)
        if body[0] == "claim":
            claimed.set()
            await go_on.wait()
        return receipt

    async with worker_of(memory, poll_s=600) as lost:
        run = await lost.start(hanging)
        while not calls:
            await sleep_a_little()
        clock.advance(seconds=16)
        monkeypatch.setattr(Logbook, "keep", slowly)
        async with worker_of(memory, hanging, poll_s=600) as worker:
            await claimed.wait()
            # The first look has claimed it, and was not told so yet.
            looking = asyncio.create_task(worker.look())
            await asyncio.wait([looking], timeout=20)
            go_on.set()
            await looking
            claim = (await runs_of(memory).run(run.id)).claim
            assert claim is not None
            assert (claim.worker, claim.lost) == (worker.name, 1)


async def test_a_worker_that_lost_its_lease_says_so_and_goes_on_under_a_new_name(
    memory: Memory, clock: ManualClock
) -> None:
    holds, calls = asyncio.Event(), Counter[str]()

    @step()
    async def slow() -> str:
        calls["slow"] += 1
        await holds.wait()
        return "kept"

    @workflow(name="lost.slow")
    async def slowly() -> str:
        return await slow()

    with capture_logs() as lines:
        # By this machine's clock it renews once a second.
        async with worker_of(memory, slowly, lease_s=3, poll_s=0.02) as worker:
            first, run = worker.name, await worker.start(slowly)
            while not calls:
                await sleep_a_little()
            # Its lease runs out before it is renewed, and somebody is faster.
            clock.advance(seconds=4)
            assert await memory.store.acquire(memory.space, f"worker:{first}", "somebody", 1) is not None
            while not any(line["event"] == "lease_lost" for line in lines):
                await sleep_a_little()
            holds.set()
            for _ in range(1_000):
                # As time goes by: each lease that is taken meanwhile runs out if nobody renews it.
                clock.advance(seconds=0.03)
                await sleep_a_little()
                if (done := await runs_of(memory).run(run.id)).ended:
                    break

    (lost,) = [line for line in lines if line["event"] == "lease_lost" and line["worker"] == first]
    assert (lost["runs"], "was not renewed in time" in lost["message"]) == (1, True)
    assert (done.output, calls["slow"], done.claim is not None and done.claim.worker == first) == ("kept", 2, False)
