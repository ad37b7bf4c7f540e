"""What a run does on every store: it keeps its steps, and goes on where it stopped."""

from __future__ import annotations

from collections import Counter

import pytest
from integration.execution.acting import ended, sleep_a_little, until, worker_of

from latewood.execution import (
    DEFAULT,
    Action,
    Fault,
    FaultClass,
    Rule,
    RunStatus,
    StepFailedError,
    StepStatus,
    ask,
    child,
    gather,
    sleep,
    step,
    trying,
    workflow,
)
from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.errors import ConflictError, ForbiddenError, InvalidError
from latewood.memory import Memory, NodeKind
from latewood.memory.credentials import BoundMemory, Credential, Scope
from latewood.memory.runs import runs_of

CALLS: Counter[str] = Counter()
BROKEN: dict[str, Exception] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    CALLS.clear()
    BROKEN.clear()


QUICK = DEFAULT.changed("quick-1", {FaultClass.TRANSIENT: Rule(3, Action.ESCALATE, first_s=0.001)})


@step()
async def double(number: int) -> int:
    CALLS[f"double {number}"] += 1
    if f"double {number}" in BROKEN:
        raise BROKEN[f"double {number}"]
    return 2 * number


@workflow(owner="human:ada", policy=QUICK)
async def chain(count: int) -> int:
    number = 1
    for _ in range(count):
        number = await double(number)
    return number


async def test_steps_and_their_tries_are_nodes_of_the_execution_ledger(memory: Memory) -> None:
    async with worker_of(memory, poll_s=60) as worker:
        run = await worker.run(chain, 3)

    shown = await runs_of(memory).show(run.id)
    assert (run.status, run.output) == (RunStatus.DONE, 8)
    assert shown.run.output == 8
    assert [(one.place, one.name, one.output, one.attempts) for one in shown.steps] == [
        ((1,), "double", 2, 1), ((2,), "double", 4, 1), ((3,), "double", 8, 1),
    ]  # fmt: skip
    assert [one["outcome"] for tried in shown.attempts.values() for one in tried] == ["completed"] * 3
    nodes = await memory.store.nodes(memory.space, ids=[run.id, shown.steps[0].id])
    assert {node.kind for node in nodes.values()} == {NodeKind.RUN, NodeKind.STEP}
    assert (await memory.store.verify(memory.space, "execution")).ok


async def test_a_run_costs_one_unit_a_step_and_two_more(memory: Memory) -> None:
    async with worker_of(memory, poll_s=60) as worker:
        await worker.run(chain, 5)

    rows = await memory.store.feed(memory.space, "execution", 0, 1_000)
    assert len({row.unit for row in rows}) == 5 + 2
    # What is written at its end alone says there how it ended: a node, its try, and an edge to each.
    of_units = Counter(row.unit for row in rows)
    steps = {row.unit for row in rows if row.event.payload.get("predicate") == "has_step"}
    assert sorted(of_units[unit] for unit in steps)[:4] == [4] * 4


async def test_a_resumed_run_pays_for_no_completed_step_again(memory: Memory) -> None:
    BROKEN["double 8"] = Fault("transient", "down")
    async with worker_of(memory, poll_s=0.05) as worker:
        run = await worker.run(chain, 5)
        assert (run.status, run.result["class"], run.result["step"]) == (RunStatus.ESCALATED, "transient", "4")
        BROKEN.clear()
        await runs_of(memory).resume(run.id)
        again = await ended(memory, run.id)

    assert (again.status, again.output) == (RunStatus.DONE, 32)
    assert [CALLS[f"double {2**n}"] for n in range(5)] == [1, 1, 1, 4, 1]
    assert again.result["replayed"] == 3
    tried = (await runs_of(memory).show(run.id)).attempts
    assert sorted(len(of_step) for of_step in tried.values()) == [1, 1, 1, 1, 4]


async def test_a_permanent_trouble_refuses_the_run_and_a_caught_one_does_not(memory: Memory) -> None:
    @workflow(policy=QUICK)
    async def careful() -> str:
        try:
            await double(1)
        except StepFailedError as error:
            return f"without: {error.fault.kind}"
        return "with"

    BROKEN["double 1"] = ValueError("never")
    async with worker_of(memory, poll_s=60) as worker:
        plain, caught = await worker.run(chain, 1), await worker.run(careful)

    assert (plain.status, plain.result["class"]) == (RunStatus.REFUSED, "permanent")
    assert (caught.status, caught.output) == (RunStatus.DONE, "without: permanent")
    assert CALLS["double 1"] == 2


async def test_a_fallback_degrades_the_step_and_the_run(memory: Memory) -> None:
    @step(policy=QUICK, fallback=lambda: "estimate")
    async def exact() -> str:
        raise Fault("transient", "the source is down")

    @workflow()
    async def report() -> str:
        return await exact()

    async with worker_of(memory, poll_s=60) as worker:
        run = await worker.run(report)

    shown = await runs_of(memory).show(run.id)
    assert (run.status, run.output) == (RunStatus.DEGRADED, "estimate")
    assert [one.status for one in shown.steps] == [StepStatus.DEGRADED]
    assert [one["outcome"] for one in shown.attempts[shown.steps[0].id]] == ["failed"] * 3


async def test_a_wrong_answer_is_repaired_once_and_the_second_try_knows_what_was_wrong(memory: Memory) -> None:
    told: list[str | None] = []

    @step()
    async def extract() -> dict[str, int]:
        here = trying()
        assert here is not None
        told.append(None if here.last is None else here.last.message)
        if here.last is None:
            raise Fault("schema", "total is missing")
        return {"total": 3}

    @workflow()
    async def reading() -> dict[str, int]:
        return await extract()

    async with worker_of(memory, poll_s=60) as worker:
        run = await worker.run(reading)

    assert (run.status, run.output, told) == (RunStatus.DONE, {"total": 3}, [None, "total is missing"])


async def test_a_rate_limit_is_honoured_without_a_process_that_waits(memory: Memory, clock: ManualClock) -> None:
    BROKEN["double 1"] = Fault("rate-limit", "429", retry_after_s=60)
    async with worker_of(memory, poll_s=0.05) as worker:
        run = await worker.start(chain, 1)
        waiting = await until(memory, run.id, RunStatus.WAITING)
        assert waiting.wake_at is not None
        assert waiting.wake_at >= clock.now() + 59_000_000
        clock.advance(seconds=30)
        await worker.look()
        assert CALLS["double 1"] == 1
        BROKEN.clear()
        clock.advance(seconds=31)
        done = await ended(memory, run.id)

    assert (done.status, CALLS["double 1"]) == (RunStatus.DONE, 2)


async def test_branches_run_at_once_and_each_keeps_its_own_places(memory: Memory) -> None:
    @workflow(policy=QUICK)
    async def fan(count: int) -> list[int]:
        return await gather(*(branch(number) for number in range(1, count + 1)), at_most=3)

    async def branch(number: int) -> int:
        return await double(await double(number))

    BROKEN["double 6"] = Fault("permanent", "no")
    async with worker_of(memory, poll_s=0.05) as worker:
        run = await worker.run(fan, 4)
        assert (run.status, run.result["step"]) == (RunStatus.REFUSED, "1.3.2")
        BROKEN.clear()
        await runs_of(memory).resume(run.id)
        done = await ended(memory, run.id)

    assert (done.status, done.output) == (RunStatus.DONE, [4, 8, 12, 16])
    assert CALLS["double 1"] == 1
    assert CALLS["double 6"] == 2
    places = [one.place for one in (await runs_of(memory).show(run.id)).steps]
    assert places == [(1, branch, number) for branch in (1, 2, 3, 4) for number in (1, 2)]


async def test_a_run_sleeps_for_weeks_without_a_process(memory: Memory, clock: ManualClock) -> None:
    @workflow()
    async def slow() -> int:
        first = await double(1)
        await sleep(30 * 86_400)
        return await double(first)

    async with worker_of(memory, slow, poll_s=60) as worker:
        run = await worker.start(slow)
        await until(memory, run.id, RunStatus.WAITING)
        # What is written shows a moment before the worker has let go of it.
        for _ in range(1_000):
            if not worker.going:
                break
            await sleep_a_little()
        assert worker.going == 0
    clock.advance(days=29)
    async with worker_of(memory, slow, poll_s=0.05):
        assert (await runs_of(memory).run(run.id)).status is RunStatus.WAITING
        clock.advance(days=1.01)
        done = await ended(memory, run.id)

    assert (done.status, done.output, CALLS["double 1"]) == (RunStatus.DONE, 4, 1)


async def test_a_question_waits_for_its_owner_and_its_answer_goes_in_once(memory: Memory) -> None:
    @workflow(owner="human:ada")
    async def match() -> str:
        choice = await ask("Which invoice is it?", choices=["17", "18"], context={"paid": 120})
        return f"matched {choice}"

    person = runs_of(memory.within(by="human:ada"))
    async with worker_of(memory, match, poll_s=0.05) as worker:
        run = await worker.start(match)
        await until(memory, run.id, RunStatus.WAITING)
        (asked,) = (await person.show(run.id)).steps
        assert asked.asked is not None
        assert (asked.asked["owner"], asked.asked["choices"]) == ("human:ada", ["17", "18"])
        with pytest.raises(ForbiddenError):
            await runs_of(memory).answer(asked.id, "17")
        with pytest.raises(InvalidError) as none_of_them:
            await person.answer(asked.id, "19")
        for _ in range(2):
            await person.answer(f"{run.id}/1", "18")
        with pytest.raises(ConflictError) as settled:
            await person.answer(asked.id, "17")
        done = await ended(memory, run.id)

    assert (none_of_them.value.code, settled.value.code) == ("question.choice", "question.settled")
    assert (done.status, done.output) == (RunStatus.DONE, "matched 18")


@pytest.mark.parametrize(("on_timeout", "status"), [
    ("deny", RunStatus.REFUSED), ("escalate", RunStatus.ESCALATED), ("hold", RunStatus.WAITING),
])  # fmt: skip
async def test_silence_is_never_consent(memory: Memory, clock: ManualClock, on_timeout: str, status: RunStatus) -> None:
    @workflow(owner="human:ada")
    async def pay() -> str:
        await ask("Pay 9,000?", choices=["yes", "no"], deadline_s=86_400, on_timeout=on_timeout)
        CALLS["paid"] += 1
        return "paid"

    person = runs_of(memory.within(by="human:ada"))
    async with worker_of(memory, pay, poll_s=0.05) as worker:
        run = await worker.start(pay)
        await until(memory, run.id, RunStatus.WAITING)
        clock.advance(days=1.1)
        await worker.look()
        found = await until(memory, run.id, status)
        assert CALLS["paid"] == 0
        if on_timeout == "deny":
            with pytest.raises(ConflictError):
                await person.answer(f"{run.id}/1", "yes")
            return
        await person.answer(f"{run.id}/1", "yes")
        if found.ended:
            await person.resume(run.id)
        done = await ended(memory, run.id)

    assert (done.status, CALLS["paid"]) == (RunStatus.DONE, 1)


async def test_a_replay_that_comes_to_another_step_stops(memory: Memory) -> None:
    first = ["a"]

    @step()
    async def note(text: str) -> str:
        return text

    @workflow()
    async def wavering() -> str:
        await note(first[0])
        return await double(21) and "end"

    BROKEN["double 21"] = Fault("ambiguous", "two of them")
    async with worker_of(memory, poll_s=0.05) as worker:
        run = await worker.run(wavering)
        assert (run.status, run.result["class"]) == (RunStatus.ESCALATED, "ambiguous")
        BROKEN.clear()
        first[0] = "b"
        await runs_of(memory).resume(run.id)
        stopped = await until(memory, run.id, RunStatus.ESCALATED)
        for _ in range(100):
            if (stopped := await runs_of(memory).run(run.id)).result["class"] == "nondeterministic":
                break
            await sleep_a_little()
        assert stopped.result["class"] == "nondeterministic"
        assert CALLS["double 21"] == 1
        first[0] = "a"
        await runs_of(memory).resume(run.id)
        done = await until(memory, run.id, RunStatus.DONE)

    assert done.output == "end"


async def test_a_run_goes_on_with_the_version_that_began_it(memory: Memory) -> None:
    @workflow(name="plan", version="1")
    async def old() -> int:
        return await double(1)

    @workflow(name="plan", version="2")
    async def new() -> int:
        return await double(1) + 40

    run = await runs_of(memory).start(old)
    async with worker_of(memory, new, poll_s=60) as worker:
        await worker.look()
        assert (await runs_of(memory).run(run.id)).status is RunStatus.READY
    async with worker_of(memory, new, old, poll_s=0.05):
        done = await ended(memory, run.id)

    assert (done.version, done.output) == ("1", 2)


async def test_a_cancelled_run_is_refused_while_it_works_and_while_it_waits(memory: Memory) -> None:
    @workflow()
    async def endless() -> None:
        while True:
            await double(1)
            await sleep(0.01)

    @workflow()
    async def waiting() -> None:
        await ask("?")

    runs = runs_of(memory)
    async with worker_of(memory, poll_s=0.05) as worker:
        one, other = await worker.start(endless), await worker.start(waiting)
        await until(memory, other.id, RunStatus.WAITING)
        await runs.cancel(one.id, "enough")
        await runs.cancel(other.id)
        both = [await ended(memory, run.id) for run in (one, other)]
        with pytest.raises(ConflictError) as late:
            await runs.cancel(one.id)

    assert [(run.status, run.result["class"]) for run in both] == [(RunStatus.REFUSED, "cancelled")] * 2
    assert "enough" in str(both[0].result["message"])
    assert late.value.code == "run.ended"


async def test_a_fork_has_what_came_before_it_and_leaves_the_first_run_alone(memory: Memory) -> None:
    async with worker_of(memory, chain, poll_s=0.05) as worker:
        run = await worker.run(chain, 4)
        fork = await runs_of(memory).fork(run.id, "3")
        done = await ended(memory, fork.id)
        with pytest.raises(InvalidError):
            await runs_of(memory).fork(run.id, "9")

    assert (done.output, done.forked_from) == (16, run.id)
    assert [CALLS[f"double {2**n}"] for n in range(4)] == [1, 1, 2, 2]
    ours, theirs = [(await runs_of(memory).show(one)).steps for one in (run.id, fork.id)]
    assert [one.id == other.id for one, other in zip(ours, theirs, strict=True)] == [True, True, False, False]


async def test_a_child_is_a_run_of_its_own_and_resumes_with_its_parent(memory: Memory) -> None:
    @workflow()
    async def parent() -> int:
        return await double(await child(chain, 3))

    BROKEN["double 2"] = Fault("ambiguous", "which?")
    async with worker_of(memory, parent, poll_s=0.05) as worker:
        run = await worker.run(parent)
        assert (run.status, run.result["class"]) == (RunStatus.ESCALATED, "ambiguous")
        BROKEN.clear()
        await runs_of(memory).resume(run.id)
        done = await until(memory, run.id, RunStatus.DONE)

    (called, _) = (await runs_of(memory).show(run.id)).steps
    assert called.child is not None
    inner = await runs_of(memory).run(called.child)
    assert (done.output, inner.output, inner.parent, inner.status) == (16, 8, run.id, RunStatus.DONE)
    assert (CALLS["double 1"], CALLS["double 2"]) == (1, 2)


async def test_a_call_within_a_step_is_kept_by_itself(memory: Memory) -> None:
    @step()
    async def calls() -> int:
        return sum([await double(number) for number in range(10)])

    @workflow(policy=QUICK)
    async def outer() -> int:
        return await calls()

    BROKEN["double 6"] = ValueError("killed after six")
    async with worker_of(memory, poll_s=0.05) as worker:
        run = await worker.run(outer)
        assert run.status is RunStatus.REFUSED
        BROKEN.clear()
        await runs_of(memory).resume(run.id)
        done = await until(memory, run.id, RunStatus.DONE)

    assert (done.output, [CALLS[f"double {n}"] for n in range(10)]) == (90, [1] * 6 + [2] + [1] * 3)


async def test_what_cannot_be_kept_is_refused(memory: Memory) -> None:
    @step()
    async def thing(size: int) -> object:
        return object() if size == 0 else "x" * size

    @workflow()
    async def returns(size: int) -> object:
        return await thing(size)

    async with worker_of(memory, poll_s=60) as worker:
        odd, large = await worker.run(returns, 0), await worker.run(returns, 300_000)
        with pytest.raises(InvalidError):
            await worker.start(returns, object())  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidError) as outside:
        await sleep(1)

    assert (odd.status, large.status) == (RunStatus.REFUSED, RunStatus.REFUSED)
    assert "256,000" in str(large.result["message"])
    assert outside.value.code == "run.outside"


async def test_a_run_ends_at_its_deadline_wherever_it_is(memory: Memory, clock: ManualClock) -> None:
    @workflow(deadline_s=3_600)
    async def waits() -> None:
        await sleep(90_000)

    async with worker_of(memory, poll_s=0.05) as worker:
        run = await worker.start(waits)
        await until(memory, run.id, RunStatus.WAITING)
        clock.advance(seconds=3_601)
        done = await ended(memory, run.id)

    assert (done.status, done.result["class"]) == (RunStatus.ESCALATED, "deadline")


async def test_a_credential_does_with_runs_what_its_scopes_allow(memory: Memory) -> None:
    run = await runs_of(memory).start(chain, 1)

    def bound(*scopes: Scope) -> BoundMemory:
        credential = Credential("key:x", "local", "human:ada", frozenset(scopes))
        return BoundMemory(memory, credential, space=memory.space)

    with pytest.raises(ForbiddenError) as looks:
        await runs_of(bound(Scope.RUN)).run(run.id)
    with pytest.raises(ForbiddenError) as writes:
        await runs_of(bound(Scope.READ, Scope.WRITE)).cancel(run.id)
    ended = await runs_of(bound(Scope.READ, Scope.RUN)).cancel(run.id)

    assert (looks.value.code, writes.value.code) == ("credential.scope", "credential.scope")
    assert ended.status is RunStatus.REFUSED
    assert "cancelled by human:ada" in str(ended.result["message"])
