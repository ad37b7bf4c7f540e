"""What a resumed run does anew and what not; how a run's parts are cancelled, bounded and resumed with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from integration.execution.acting import ended, until, worker_of

from latewood.execution import (
    DEFAULT,
    Action,
    Fault,
    FaultClass,
    Logbook,
    Rule,
    Runs,
    RunStatus,
    StepFailedError,
    Workflow,
    ask,
    child,
    sleep,
    step,
    workflow,
)
from latewood.execution.external_words import Held
from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.errors import ConflictError
from latewood.graph_schema.events import Receipt
from latewood.memory import Memory
from latewood.memory.runs import agents_of, book_of, runs_of
from latewood.storage.port import GraphStore

CALLS: Counter[str] = Counter()
BROKEN: dict[str, Exception] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    CALLS.clear()
    BROKEN.clear()


@step()
async def call(what: str) -> str:
    CALLS[what] += 1
    if what in BROKEN:
        raise BROKEN[what]
    return what


async def test_a_failure_that_was_caught_stays_caught_in_a_resumed_run(memory: Memory) -> None:
    @workflow()
    async def careful() -> str:
        try:
            found = await call("first")
        except StepFailedError:
            found = await call("other")
        return found + await call("last")

    BROKEN.update(first=ValueError("no"), last=ValueError("no"))
    async with worker_of(memory, careful, poll_s=0.02) as worker:
        run = await worker.run(careful)
        BROKEN.clear()
        await runs_of(memory).resume(run.id)
        run = await ended(memory, run.id)

    assert (run.status, run.output) == (RunStatus.DONE, "otherlast")
    assert CALLS == {"first": 1, "other": 1, "last": 2}


async def test_a_part_that_was_late_has_its_time_again_when_its_run_is_resumed(
    memory: Memory, clock: ManualClock
) -> None:
    @workflow(deadline_s=3_600)
    async def part() -> object:
        await sleep(60)
        return await call("work")

    @workflow()
    async def whole() -> object:
        return await child(part)

    async with worker_of(memory, whole, part, poll_s=0.02):
        run = await runs_of(memory).start(whole)
        await until(memory, run.id, RunStatus.WAITING)
        clock.advance(seconds=7_200)
        late = await ended(memory, run.id)
        await runs_of(memory).resume(run.id)
        run = await ended(memory, run.id)

    assert late.status is RunStatus.ESCALATED
    assert (run.status, run.output) == (RunStatus.DONE, "work")


async def test_a_run_that_is_resumed_again_has_as_much_time_as_the_first_time(near: Memory, clock: ManualClock) -> None:
    BROKEN["work"] = Fault("permanent", "no")

    @workflow(deadline_s=3_600)
    async def short() -> object:
        return await call("work")

    given: list[int] = []
    run = await runs_of(near).start(short)
    for _ in range(3):
        async with worker_of(near, short, poll_s=0.02):
            run = await ended(near, run.id)
        clock.advance(days=1)
        run = await runs_of(near).resume(run.id)
        assert run.deadline_at is not None
        given.append(round((run.deadline_at - clock.now()) / 1e6))
    async with worker_of(near, short, poll_s=0.02):
        await ended(near, run.id)
    fork = await runs_of(near).fork(run.id, "1")

    assert fork.deadline_at is not None
    assert [*given, round((fork.deadline_at - clock.now()) / 1e6)] == [3_600] * 4


async def test_a_step_that_is_tried_anew_has_all_its_tries(memory: Memory, clock: ManualClock) -> None:
    policy = DEFAULT.changed("three", {FaultClass.TRANSIENT: Rule(3, Action.ESCALATE, first_s=0.001)})

    @step(policy=policy)
    async def away() -> None:
        CALLS["away"] += 1
        # Long enough to let the run be left, so that another go counts the tries of before.
        raise Fault("transient", "away", retry_after_s=60 if CALLS["away"] == 4 else None)

    @workflow()
    async def seek() -> None:
        await away()

    async with worker_of(memory, seek, poll_s=0.02) as worker:
        run = await worker.run(seek)
        assert CALLS["away"] == 3
        await runs_of(memory).resume(run.id)
        await until(memory, run.id, RunStatus.WAITING)
        clock.advance(seconds=61)
        run = await ended(memory, run.id)

    assert run.status is RunStatus.ESCALATED
    assert CALLS["away"] == 6


async def test_what_a_failure_asked_for_is_the_same_in_a_replay(memory: Memory, clock: ManualClock) -> None:
    @step()
    async def over() -> None:
        raise Fault("permanent", "over the budget", then=Action.ESCALATE)

    @workflow()
    async def later() -> None:
        try:
            await over()
        except StepFailedError as error:
            await sleep(60)
            raise error from None

    async with worker_of(memory, later, poll_s=0.02):
        run = await runs_of(memory).start(later)
        await until(memory, run.id, RunStatus.WAITING)
        clock.advance(seconds=61)
        run = await ended(memory, run.id)

    assert (run.status, run.result["class"]) == (RunStatus.ESCALATED, "permanent")


async def test_a_part_is_cancelled_with_its_run_alone(memory: Memory) -> None:
    @workflow(owner="human:ada")
    async def part() -> object:
        return await ask("Well?")

    @workflow()
    async def whole() -> object:
        return await child(part)

    runs = runs_of(memory)
    async with worker_of(memory, whole, part, poll_s=0.02):
        run = await runs.start(whole)
        await until(memory, run.id, RunStatus.WAITING)
        of_it = (await runs.show(run.id)).steps[0].child
        assert of_it is not None
        with pytest.raises(ConflictError, match=f"part of run {run.id}") as refusal:
            await runs.cancel(of_it)
        assert (await runs.run(of_it)).status is RunStatus.WAITING
        await runs.cancel(run.id)

    assert refusal.value.code == "run.ended"
    assert (await runs.run(run.id)).status is RunStatus.REFUSED


async def test_a_part_goes_on_in_the_version_that_began_it_until_its_run_is_resumed(memory: Memory) -> None:
    def flows(version: str) -> tuple[Workflow[[], object], Workflow[[], object]]:
        @workflow(name="part", version=version)
        async def part() -> object:
            await ask("Go on?")
            return await call(f"by {version}")

        @workflow(name="whole", version="1")
        async def whole() -> object:
            return await child(part)

        return whole, part

    (whole, part), (renewed, newer) = flows("1"), flows("2")
    people = runs_of(memory.within(by="human:ada"))
    kept: list[tuple[str, str]] = []
    for _ in range(2):
        async with worker_of(memory, whole, poll_s=0.02) as worker:
            run = await worker.start(whole)
            await until(memory, run.id, RunStatus.WAITING)
        (waiting,) = (await people.show(run.id)).steps
        kept.append((run.id, str(waiting.child)))
    for _, of_it in kept:
        await people.answer(f"{of_it}/1", "yes")
    (first, _), (second, moved) = kept
    async with worker_of(memory, renewed, newer, poll_s=0.02):
        stopped = [await ended(memory, one) for one in (first, second)]
        assert (await people.run(moved)).version == "1"
        await people.resume(second)
        other = await ended(memory, second)
    await people.resume(first)
    async with worker_of(memory, renewed, part, poll_s=0.02):
        done = await ended(memory, first)

    assert {one.result["class"] for one in stopped} == {"nondeterministic"}
    assert "knows version '2'" in str(stopped[0].result["message"])
    assert (done.output, other.output, (await people.run(moved)).version) == ("by 1", "by 2", "2")


async def test_parts_of_parts_have_an_end(memory: Memory) -> None:
    @workflow()
    async def deeper(levels: int) -> object:
        CALLS["deeper"] += 1
        return await child(deeper, levels - 1) if levels else await ask("Well?", owner="human:ada")

    runs = runs_of(memory)
    async with worker_of(memory, deeper, poll_s=0.02) as worker:
        endless = await worker.run(deeper, -1)
        assert CALLS["deeper"] == 16
        run = await runs.start(deeper, 15)
        await until(memory, run.id, RunStatus.WAITING)
        here = run.id
        while (found := (await runs.show(here)).steps[0]).child is not None:
            here = found.child
        # The deepest question that there can be wakes the run at the top.
        answered = await runs_of(memory.within(by="human:ada")).answer(found.id, "yes")
        run = await ended(memory, run.id)

    assert endless.status is RunStatus.ESCALATED
    assert (answered.id, run.status, run.output) == (run.id, RunStatus.DONE, "yes")


class _After:
    """Keeps units once something else has happened."""

    def __init__(self, book: Logbook, first: Callable[[], Awaitable[object]]) -> None:
        self._book, self._first = book, [first]

    async def submit(self, store: GraphStore, unit: Unit) -> Receipt:
        while self._first:
            await self._first.pop()()
        return await self._book.journal.submit(store, unit)


async def test_a_run_that_its_agent_finished_is_not_cancelled_after_that(memory: Memory) -> None:
    agents, book = agents_of(memory), book_of(memory)
    run = await agents.start("ts.lanes", {})
    held = Held(run.id, "one", (await agents.claim(run.id, "one")).fence)

    with pytest.raises(ConflictError, match="has ended, done") as refusal:
        finish = partial(agents.finish, held, "fine")
        await Runs(replace(book, journal=_After(book, finish))).cancel(run.id, "too late")
    assert refusal.value.code == "run.ended"
    assert (await runs_of(memory).run(run.id)).output == "fine"


async def test_an_answer_does_not_bring_back_what_ended_meanwhile(memory: Memory) -> None:
    agents, book = agents_of(memory), book_of(memory.within(by="human:ada"))
    run = await agents.start("ts.lanes", {})
    held = Held(run.id, "one", (await agents.claim(run.id, "one")).fence)
    await agents.ask(held, (1,), "Go on?", owner="human:ada")

    cancel = partial(runs_of(memory).cancel, run.id, "no more")
    answered = await Runs(replace(book, journal=_After(book, cancel))).answer(f"{run.id}/1", "yes")

    assert (answered.status, answered.result["class"]) == (RunStatus.REFUSED, "cancelled")


async def test_an_answer_counts_at_once_however_far_ahead_the_clock_is_where_it_was_given(
    tmp_path: Path, clock: ManualClock
) -> None:
    ahead = ManualClock(datetime(2026, 3, 10, 0, 5, tzinfo=UTC))

    @workflow()
    async def asking() -> object:
        return await ask("Go on?")

    def opened(at: ManualClock, by: str) -> Memory:
        return Memory.open(str(tmp_path / "skewed.db"), by=by, sync="normal", clock=at, embedder="none")

    async with (
        opened(clock, "agent:worker") as here,
        opened(ahead, "human:ada") as there,
        worker_of(here, asking, poll_s=0.02) as worker,
    ):
        run = await worker.start(asking)
        await until(here, run.id, RunStatus.WAITING)
        await runs_of(there).answer(f"{run.id}/1", "yes")
        run = await ended(here, run.id)

    assert (run.status, run.output) == (RunStatus.DONE, "yes")


async def test_a_run_is_resumed_with_time_after_its_stores_clock_was_put_right(
    near: Memory, clock: ManualClock
) -> None:
    @workflow(deadline_s=3_600)
    async def short() -> object:
        return await call("work")

    BROKEN["work"] = Fault("permanent", "no")
    clock.advance(days=365)
    await near.observe("carrier:A", "rating", 1)
    await runs_of(near).start(short)
    clock.advance(days=-365)
    async with worker_of(near, short, poll_s=0.02):
        run = await ended(near, (await runs_of(near).start(short)).id)
        BROKEN.clear()
        await runs_of(near).resume(run.id)
        run = await ended(near, run.id)

    assert (run.status, run.output) == (RunStatus.DONE, "work")


async def test_a_question_that_its_run_did_without_takes_no_answer(memory: Memory) -> None:
    agents, people = agents_of(memory), runs_of(memory.within(by="human:ada"))
    run = await agents.start("ts.lanes", {})
    held = Held(run.id, "one", (await agents.claim(run.id, "one")).fence)
    await agents.ask(held, (1,), "Go on?", owner="human:ada")
    await agents.finish(held, "without it")

    with pytest.raises(ConflictError, match="nobody waits for the answer") as refusal:
        await people.answer(f"{run.id}/1", "yes")
    assert refusal.value.code == "run.ended"
