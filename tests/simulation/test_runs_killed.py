"""Nothing of a run is lost and nothing doubled, wherever its worker dies; and a worker that comes back late is refused."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from simulation.deaths import DEATHS_OF_RUNS, Death
from simulation.run_children import Ahead, Labour, begin, begin_at_work, errand, expected, finish
from waiting import until

from latewood.execution import DEFAULT, Action, FaultClass, Rule, RunStatus, step, workflow
from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.errors import UnavailableError
from latewood.memory import Memory
from latewood.memory.runs import runs_of, worker_of
from latewood.storage.port import PAGE_MAX, Lease

_AGO_S = 3_600.0


@pytest.fixture(params=["sqlite", pytest.param("neo4j", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "runs.db")
    from conformance.stores import empty_neo4j
    from neo4j_server import NEO4J

    empty_neo4j(NEO4J.url())
    return NEO4J.url()


async def _begin_runs(url: str, numbers: range) -> None:
    async with Memory.open(url, by="agent:caller", clock=Ahead(-_AGO_S), embedder="none") as memory:
        for number in numbers:
            await runs_of(memory).start(errand, number)


async def check(url: str, effects: Path, least: int, deaths: int) -> None:
    """Hold what the store says of all runs against what was seen outside of it."""
    async with Memory.open(url, by="human:ada", clock=Ahead(10**8), embedder="none") as memory:
        runs = (await runs_of(memory).list(first=PAGE_MAX)).items
        tops = [run for run in runs if run.parent is None]
        assert len(tops) >= least, "a run is lost"
        assert {run.id: run.status for run in runs if run.status is not RunStatus.DONE} == {}
        for run in tops:
            (number,) = run.input["args"]
            assert run.output == expected(number)
            shown = await runs_of(memory).show(run.id)
            assert len({one.place for one in shown.steps}) == len(shown.steps) == 9
            assert all(one.completed for one in shown.steps)
            outcomes = [[tried["outcome"] for tried in of_step] for of_step in shown.attempts.values()]
            assert all(of_step.count("completed") == 1 for of_step in outcomes)
        assert (await memory.store.verify("default", "execution")).ok
    seen = Counter(effects.read_text(encoding="utf-8").splitlines())  # noqa: ASYNC240 - nothing else runs
    paid = [count for line, count in seen.items() if line.startswith("effect ")]
    assert paid == [1] * len(tops), "an effect is lost or doubled"
    # A call whose result was not kept yet is made again, once for each worker that died, and no other is.
    again = sum(count - 1 for line, count in seen.items() if line.startswith("call "))
    assert again <= 8 * deaths


def _die_and_finish(url: str, effects: Path, point: str, hit: int) -> bool:
    first = finish(begin(Labour(url, str(effects), 0.0, point, hit, begins=1)))
    if first == -signal.SIGKILL:
        assert finish(begin(Labour(url, str(effects), 100.0))) == 0
        return True
    assert first == 0
    return False


@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.parametrize(
    "death", [one for one in DEATHS_OF_RUNS if one.point != "worker.over"], ids=lambda one: one.point
)
def test_a_worker_dies_at_every_point_and_another_ends_its_runs(url: str, tmp_path: Path, death: Death) -> None:
    effects = tmp_path / "effects"
    asyncio.run(_begin_runs(url, range(1, 3)))
    died = _die_and_finish(url, effects, death.point, 1)

    assert died == (("neo4j" if url.startswith("neo4j") else "sqlite") in death.stores)
    asyncio.run(check(url, effects, 2, 1))


def test_a_worker_dies_after_a_call_and_another_ends_its_runs(url: str, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    asyncio.run(_begin_runs(url, range(1, 3)))
    assert _die_and_finish(url, effects, "step.called", 5)

    asyncio.run(check(url, effects, 3, 1))


@pytest.mark.slow
def test_a_worker_dies_while_it_takes_over(url: str, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    asyncio.run(_begin_runs(url, range(1, 3)))
    assert finish(begin(Labour(url, str(effects), 0.0, "step.kept", 4))) == -signal.SIGKILL
    assert finish(begin(Labour(url, str(effects), 100.0, "worker.over", 1))) == -signal.SIGKILL
    assert finish(begin(Labour(url, str(effects), 200.0))) == 0

    asyncio.run(check(url, effects, 2, 2))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_kills_lose_nothing_and_double_nothing(url: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("LATEWOOD_KILL_SEED", "0")) or random.SystemRandom().randrange(10**9)
    rng, effects = random.Random(seed), tmp_path / "effects"
    kills = int(os.environ.get("LATEWOOD_KILLS", "20"))
    asyncio.run(_begin_runs(url, range(1, 9)))
    number, struck = 0, 0
    # Some more, where a fast machine has ended all runs before a child is struck.
    while number < kills or (struck < kills // 2 and number < 3 * kills):
        labour = Labour(url, str(effects), number * 100.0, begins=1)
        # One in five dies wherever it is on its way in, the others at work.
        child = begin_at_work(labour) if number % 5 else begin(labour)
        time.sleep(rng.random() * 0.4)
        child.kill()
        # One that ended all runs in that time has gone by itself.
        struck += finish(child) == -signal.SIGKILL and bool(number % 5)
        number += 1
    assert finish(begin(Labour(url, str(effects), number * 100.0))) == 0

    asyncio.run(check(url, effects, 8, number))
    assert struck >= kills // 2, "too few died at work for this to say anything"


async def test_a_late_write_of_a_lost_worker_is_refused(tmp_path: Path) -> None:
    clock, gate, calls = ManualClock(), asyncio.Event(), Counter[str]()

    @step()
    async def slow() -> str:
        calls["slow"] += 1
        if calls["slow"] == 1:
            await gate.wait()
            return "late"
        return "in time"

    @workflow()
    async def flow() -> str:
        return await slow()

    path = str(tmp_path / "runs.db")
    async with Memory.open(path, by="agent:w", clock=clock) as one, Memory.open(path, by="agent:w", clock=clock) as two:
        # It does not renew its lease in time to notice.
        zombie = worker_of(one, flow, lease_s=600, poll_s=600)

        async def called() -> bool:
            return calls["slow"] == 1

        async def over() -> bool:
            return (await runs_of(two).run(run.id)).ended

        async def let_go() -> bool:
            return zombie.going == 0

        async with zombie:
            run = await zombie.start(flow)
            await until(called)
            clock.advance(seconds=601)
            async with worker_of(two, flow, lease_s=600, poll_s=600) as other:
                await other.look()
                await until(over)
                gate.set()
                await until(let_go)
            shown = await runs_of(two).show(run.id)

    assert (shown.run.status, shown.run.output, calls["slow"]) == (RunStatus.DONE, "in time", 2)
    assert [(one.output, one.attempts) for one in shown.steps] == [("in time", 1)]


async def test_who_waits_for_a_run_waits_on_when_its_worker_loses_its_lease(tmp_path: Path) -> None:
    clock, calls, gate = ManualClock(), Counter[str](), asyncio.Event()

    @step()
    async def held() -> str:
        calls["held"] += 1
        if calls["held"] == 1:
            await gate.wait()
        return f"call {calls['held']}"

    @workflow()
    async def flow() -> str:
        return await held()

    path = str(tmp_path / "runs.db")

    async def called() -> bool:
        return calls["held"] == 1

    async with (
        Memory.open(path, by="agent:w", clock=clock) as one,
        Memory.open(path, by="agent:w", clock=clock) as two,
        # By the clock of the wall it renews ten times a second; by the store's its lease has run out.
        worker_of(one, flow, lease_s=0.3, poll_s=0.02) as first,
    ):
        waiting = asyncio.create_task(first.run(flow))
        await until(called)
        clock.advance(seconds=1)
        async with worker_of(two, flow, lease_s=600, poll_s=0.02):
            run = await asyncio.wait_for(waiting, 20)

    assert (run.status, run.output, calls["held"]) == (RunStatus.DONE, "call 2", 2)


async def test_a_run_begins_while_its_worker_takes_a_lease_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    clock, asked, gate = ManualClock(), asyncio.Event(), asyncio.Event()

    @workflow()
    async def flow() -> str:
        return "done"

    async with (
        Memory.open(str(tmp_path / "runs.db"), by="agent:w", clock=clock) as memory,
        worker_of(memory, flow, lease_s=0.3) as worker,
    ):
        acquire = memory.store.acquire

        async def slowly(space: str, name: str, owner: str, ttl_s: float) -> Lease | None:
            asked.set()
            await gate.wait()
            return await acquire(space, name, owner, ttl_s)

        monkeypatch.setattr(memory.store, "acquire", slowly)
        clock.advance(seconds=1)
        await asked.wait()
        running = asyncio.create_task(worker.run(flow))
        await asyncio.sleep(0)
        gate.set()
        run = await running

    assert (run.status, run.output) == (RunStatus.DONE, "done")


async def test_who_waits_for_a_run_of_a_worker_that_is_closed_is_told(tmp_path: Path) -> None:
    calls = asyncio.Event()

    @step()
    async def held() -> None:
        calls.set()
        await asyncio.sleep(3_600)

    @workflow()
    async def flow() -> None:
        await held()

    async with Memory.open(str(tmp_path / "runs.db"), by="agent:w") as memory:
        async with worker_of(memory, flow) as worker:
            waiting = asyncio.create_task(worker.run(flow))
            await calls.wait()
        with pytest.raises(UnavailableError) as caught:
            await waiting
        (left,) = (await runs_of(memory).list()).items

    assert (caught.value.code, left.status) == ("worker.closed", RunStatus.READY)


async def test_a_run_that_loses_worker_after_worker_at_one_place_is_poison(tmp_path: Path) -> None:
    clock, calls = ManualClock(), Counter[str]()

    @step()
    async def deadly() -> None:
        calls["deadly"] += 1
        await asyncio.sleep(3_600)

    @workflow(policy=DEFAULT.changed("two", {FaultClass.LOST_WORKER: Rule(2, Action.ESCALATE)}))
    async def flow() -> None:
        await deadly()

    async with Memory.open(str(tmp_path / "runs.db"), by="agent:w", clock=clock) as memory:
        run = await runs_of(memory).start(flow)

        async def over() -> bool:
            return (await runs_of(memory).run(run.id)).ended

        async with AsyncExitStack() as workers:
            for number in range(1, 4):

                async def called(times: int = number) -> bool:
                    return calls["deadly"] == times or await over()

                worker = await workers.enter_async_context(worker_of(memory, flow, lease_s=600, poll_s=600))
                await worker.look()
                await until(called)
                clock.advance(seconds=601)
            found = await runs_of(memory).run(run.id)

    assert (found.status, found.result["class"], calls["deadly"]) == (RunStatus.ESCALATED, "poison", 2)
