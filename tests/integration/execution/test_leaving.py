"""What a workflow's own code cannot make of its run: what it raises, catches or leaves behind, the run ends rightly."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from dataclasses import replace
from typing import Any, NoReturn

import pytest
from integration.execution.acting import ended, until, worker_of

from latewood.execution import Fault, RunStatus, Worker, Workflow, ask, gather, sleep, step, workflow
from latewood.execution.logbook import Keeper
from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.commands import Assert, Unit
from latewood.graph_schema.events import Receipt
from latewood.memory import Memory
from latewood.memory.runs import book_of, runs_of
from latewood.storage.port import GraphStore

CALLS: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    CALLS.clear()


class OddError(BaseException):
    """Nothing that `except Exception` catches."""


async def odd() -> NoReturn:
    raise OddError("odd")


async def leave() -> NoReturn:
    sys.exit(3)


def leave_in_a_thread() -> NoReturn:
    sys.exit(3)


async def cancel_what_it_awaits() -> None:
    awaited = asyncio.create_task(asyncio.sleep(60))
    awaited.cancel()
    await awaited


@step()
async def call(what: str) -> str:
    CALLS[what] += 1
    return what


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (odd, "OddError: odd"), (leave, "SystemExit: 3"), (leave_in_a_thread, "SystemExit: 3"),
        (cancel_what_it_awaits, "CancelledError: "),
    ],
)  # fmt: skip
async def test_whatever_code_raises_ends_its_run_once(memory: Memory, function: object, words: str) -> None:
    tried = step(name="tried")(function)  # pyright: ignore[reportArgumentType]

    @workflow()
    async def in_a_step() -> object:
        CALLS["in a step"] += 1
        return await tried()

    @workflow()
    async def by_itself() -> object:
        CALLS["by itself"] += 1
        return await asyncio.to_thread(function) if function is leave_in_a_thread else await function()  # type: ignore[operator]

    async with worker_of(memory, poll_s=0.02) as worker:
        stepped, own = await worker.run(in_a_step), await worker.run(by_itself)
        await asyncio.sleep(0.1)

    assert (stepped.status, stepped.result["class"]) == (RunStatus.REFUSED, "permanent")
    assert stepped.result["message"] == f"step 1 (tried) failed, permanent: RuntimeError: {words}"
    assert (own.status, own.result["class"]) == (RunStatus.ESCALATED, "workflow")
    assert own.result["message"] == f"the workflow's own code raised RuntimeError: {words}"
    assert CALLS == {"in a step": 1, "by itself": 1}


async def test_a_cleanup_waits_for_the_end_of_the_work(memory: Memory, clock: ManualClock) -> None:
    @workflow()
    async def tidy() -> str:
        try:
            await sleep(3_600)
            return await call("work")
        finally:
            await call("cleanup")

    async with worker_of(memory, tidy, poll_s=0.02):
        run = await runs_of(memory).start(tidy)
        await until(memory, run.id, RunStatus.WAITING)
        assert not CALLS
        clock.advance(seconds=7_200)
        run = await ended(memory, run.id)

    assert (run.status, run.output) == (RunStatus.DONE, "work")
    assert CALLS == {"work": 1, "cleanup": 1}


async def test_a_worker_that_is_closed_leaves_no_cleanup_behind(memory: Memory) -> None:
    began = asyncio.Event()

    @step()
    async def long() -> None:
        began.set()
        await asyncio.sleep(60)

    @workflow()
    async def tidy() -> None:
        try:
            await long()
        finally:
            await call("cleanup")

    async with worker_of(memory, tidy, poll_s=0.02):
        run = await runs_of(memory).start(tidy)
        await began.wait()

    assert (await runs_of(memory).run(run.id)).status is RunStatus.READY
    assert not CALLS


async def test_code_that_catches_everything_still_waits_for_its_answer(memory: Memory) -> None:
    @workflow(owner="human:ada")
    async def hasty() -> object:
        try:
            return await ask("May it be done?")
        except:  # noqa: E722 - what it is about
            return await call("done unasked")

    async with worker_of(memory, hasty, poll_s=0.02):
        run = await runs_of(memory).start(hasty)
        await until(memory, run.id, RunStatus.WAITING)
        await runs_of(memory.within(by="human:ada")).answer(f"{run.id}/1", "no")
        run = await ended(memory, run.id)

    assert (run.status, run.output) == (RunStatus.DONE, "no")
    assert not CALLS


async def test_code_that_will_not_stop_does_not_hold_its_run_nor_its_worker(memory: Memory) -> None:
    free = False

    async def stubborn() -> None:
        while not free:
            try:
                await call("again")
            except BaseException:  # noqa: BLE001 - what it is about
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)

    @workflow(deadline_s=0.2)
    async def late() -> None:
        await stubborn()

    @workflow()
    async def endless() -> None:
        await stubborn()

    async with asyncio.timeout(60):
        async with worker_of(memory, late, endless, poll_s=0.02) as worker:
            run, other = await worker.run(late), await runs_of(memory).start(endless)
            await until(memory, other.id, RunStatus.RUNNING)
            await runs_of(memory).cancel(other.id, "enough")
            other = await ended(memory, other.id)
            handed = await runs_of(memory).start(endless)
            await until(memory, handed.id, RunStatus.RUNNING)
        calls = CALLS["again"]
        await asyncio.sleep(0.1)
    free = True

    assert (run.status, run.result["class"]) == (RunStatus.ESCALATED, "deadline")
    assert (other.status, other.result["class"]) == (RunStatus.REFUSED, "cancelled")
    assert (await runs_of(memory).run(handed.id)).status is RunStatus.READY
    assert CALLS["again"] == calls


async def test_what_is_under_way_is_kept_before_a_run_is_left(memory: Memory, clock: ManualClock) -> None:
    @step()
    async def slow() -> str:
        CALLS["slow"] += 1
        await asyncio.sleep(0.1)
        return "slow"

    @workflow()
    async def beside() -> object:
        return await asyncio.gather(sleep(3_600), slow())

    @workflow()
    async def unawaited() -> str:
        asyncio.create_task(slow())  # noqa: RUF006 - what it is about
        return await call("quick")

    async with worker_of(memory, beside, poll_s=0.02) as worker:
        run = await runs_of(memory).start(beside)
        await until(memory, run.id, RunStatus.WAITING)
        clock.advance(seconds=7_200)
        run = await ended(memory, run.id)
        other = await worker.run(unawaited)

    assert (run.status, run.output) == (RunStatus.DONE, [None, "slow"])
    assert other.status is RunStatus.DONE
    assert [one.name for one in (await runs_of(memory).show(other.id)).steps] == ["slow", "call"]
    assert CALLS == {"slow": 2, "quick": 1}


async def test_troubles_with_odd_words_keep_their_class(memory: Memory) -> None:
    @step()
    async def broken() -> None:
        raise Fault("ambiguous", "half a \ud800 pair\0")

    @workflow()
    async def told() -> None:
        await broken()

    @workflow()
    async def untold() -> None:
        raise ValueError("half a \ud800 pair\0")

    async with worker_of(memory, poll_s=60) as worker:
        run, other = await worker.run(told), await worker.run(untold)

    assert (run.status, run.result["class"], run.result["step"]) == (RunStatus.ESCALATED, "ambiguous", "1")
    assert other.result["message"] == "the workflow's own code raised ValueError: half a ? pair"


async def test_arguments_may_have_any_name(memory: Memory) -> None:
    @step()
    async def told(function: str, self: str) -> str:
        return function + self

    @workflow()
    async def tell(flow: str) -> str:
        return await told(function=flow, self="b")

    async with worker_of(memory, poll_s=60) as worker:
        run = await worker.run(tell, flow="a")

    assert (run.status, run.output) == (RunStatus.DONE, "ab")


async def until_called(what: str, times: int) -> None:
    for _ in range(3_000):
        if CALLS[what] == times:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"{what} was called {CALLS[what]} times, not {times}")


async def _held(what: str) -> str:
    CALLS[what] += 1
    CALLS["held"] += 1
    await asyncio.Event().wait()
    return what


@pytest.mark.parametrize(("at_most", "beside"), [(2, 1), (8, 3)])
async def test_branches_that_were_stopped_are_not_begun_by_each_replay(
    memory: Memory, clock: ManualClock, at_most: int, beside: int
) -> None:
    held = step(name="held")(_held)

    @step()
    async def refused() -> None:
        CALLS["refused"] += 1
        await until_called("held", beside)
        raise Fault("permanent", "no such lane")

    async def left() -> str:
        return await call("before") + await held("left")

    async def inner() -> list[str]:
        return await gather(held("inner"), call("quick"))

    @workflow()
    async def caught() -> str:
        try:
            await gather(left(), refused(), held("right"), inner(), at_most=at_most)
        except Exception:  # noqa: BLE001 - as in anybody's workflow
            CALLS["caught"] = 1
        for _ in range(3):
            await sleep(3_600)
            await call("slept")
        return "went on"

    async with worker_of(memory, caught, poll_s=0.02):
        run = await runs_of(memory).start(caught)
        for number in range(1, 4):
            run = await until(memory, run.id, RunStatus.WAITING)
            assert CALLS["slept"] == number - 1
            clock.advance(seconds=7_200)
            await until_called("slept", number)
        run = await ended(memory, run.id)

    assert (run.status, run.output) == (RunStatus.DONE, "went on")
    assert (CALLS.pop("slept"), CALLS.pop("held")) == (3, beside)
    assert set(CALLS.values()) == {1}, CALLS


class Door:
    """Keeps units, and answers for those that say *word* only once it is opened."""

    def __init__(self, journal: Keeper, word: str) -> None:
        self._journal, self._word = journal, word
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def submit(self, store: GraphStore, unit: Unit) -> Receipt:
        receipt = await self._journal.submit(store, unit)
        if any(isinstance(one, Assert) and one.predicate == self._word for one in unit.commands):
            self.reached.set()
            await self.opened.wait()
        return receipt


def behind_a_door(memory: Memory, word: str, *flows: Workflow[..., Any]) -> tuple[Door, Worker]:
    book = book_of(memory)
    door = Door(book.journal, word)
    return door, Worker(replace(book, journal=door), *flows, poll_s=0.02)


async def test_a_run_that_is_being_claimed_when_its_worker_closes_is_handed_back(memory: Memory) -> None:
    @workflow()
    async def short() -> str:
        return await call("work")

    run = await runs_of(memory).start(short)
    door, worker = behind_a_door(memory, "run.claim", short)
    await worker.__aenter__()
    await door.reached.wait()
    assert (await runs_of(memory).run(run.id)).status is RunStatus.RUNNING
    closing = asyncio.create_task(worker.__aexit__(None, None, None))
    await asyncio.sleep(0.05)
    door.opened.set()
    await closing

    run = await runs_of(memory).run(run.id)
    assert (run.status, run.claim and run.claim.lost) == (RunStatus.READY, 0)
    assert not CALLS


async def test_a_run_whose_step_is_being_kept_when_its_worker_closes_is_handed_back(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workflow()
    async def twice() -> str:
        return await call("first") + await call("second")

    reached, opened, commit = asyncio.Event(), asyncio.Event(), type(memory.store).commit

    async def slowly(store: Any, units: Any) -> Any:
        if CALLS:
            reached.set()
            await opened.wait()
        return await commit(store, units)

    monkeypatch.setattr(type(memory.store), "commit", slowly)
    async with worker_of(memory, twice, poll_s=0.02) as worker:
        run = await worker.start(twice)
        await reached.wait()
        # Once the worker that closes has read the run, as it was before.
        asyncio.get_running_loop().call_later(0.3, opened.set)

    run = await runs_of(memory).run(run.id)
    assert (run.status, run.claim and run.claim.lost) == (RunStatus.READY, 0)


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_a_run_whose_end_is_being_kept_stays_as_it_ended(memory: Memory, how: str) -> None:
    @workflow()
    async def short() -> str:
        return await call("work")

    door, worker = behind_a_door(memory, "run.result", short)
    await worker.__aenter__()
    waiting = asyncio.create_task(worker.run(short))
    await door.reached.wait()
    leaving = asyncio.create_task(worker.__aexit__(None, None, None)) if how == "closed" else None
    [task] = [task for task in asyncio.all_tasks() if task.get_name().startswith("latewood-run-")]
    if leaving is None:
        # As a look does that has read the run before it ended.
        worker._cancelling[task.get_name().removeprefix("latewood-run-")] = "enough"  # pyright: ignore[reportPrivateUsage]
        task.cancel()
    await asyncio.sleep(0.05)
    door.opened.set()
    run = await waiting
    await (leaving or worker.__aexit__(None, None, None))

    kept = await runs_of(memory).run(run.id)
    assert (run.status, run.output) == (kept.status, kept.output) == (RunStatus.DONE, "work")
    assert CALLS == {"work": 1}
