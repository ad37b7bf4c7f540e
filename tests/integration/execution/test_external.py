"""Runs whose code is elsewhere: claimed, logged and finished call by call, under a fence."""

from __future__ import annotations

import asyncio

import pytest
from integration.execution.acting import ended

from latewood.execution import DEFAULT, Action, FaultClass, Rule, RunStatus, Step, StepStatus, Workflow, workflow
from latewood.execution.external import Agents
from latewood.execution.external_words import Claimed, Held, StepCall, call_of, done_of, trouble_of
from latewood.execution.overdue import Overdue
from latewood.execution.policies import declared_policy, policy_of
from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.errors import ConflictError, InvalidError, LimitError
from latewood.memory import Memory
from latewood.memory.runs import agents_of, book_of, runs_of, worker_of

EMBEDDED = pytest.mark.parametrize("memory", ["reference", "sqlite"], indirect=True)
"""What a round trip on the shared store adds nothing to."""


def held(claimed: Claimed, worker: str) -> Held:
    return Held(claimed.run.id, worker, claimed.fence)


def call(place: int, name: str = "fetch", **given: object) -> StepCall:
    return call_of((place,), name, given, None)


async def claimed(memory: Memory, **start: object) -> tuple[Agents, Held]:
    agents = agents_of(memory)
    run = await agents.start("ts.lanes", {"lane": "Lyon"}, owner="human:ada", **start)  # type: ignore[arg-type]
    return agents, held(await agents.claim(run.id, "one"), "one")


async def refused(work: object) -> ConflictError:
    with pytest.raises(ConflictError) as error:
        await work  # type: ignore[misc]
    return error.value


async def test_an_agent_runs_a_workflow_call_by_call_and_it_reads_like_any_other(memory: Memory) -> None:
    agents, mine = await claimed(memory)
    begun = await agents.begin(mine, call(1, lane="Lyon"))
    assert (begun.step.status, begun.attempt, begun.again, begun.retry_at) == (StepStatus.STARTED, 1, False, None)
    usage = {"input": 900, "output": 100}
    await agents.complete(mine, call(1, lane="Lyon"), done_of({"rate": 0.8}, seconds=1.5, usage=usage, model="m-1"))
    await agents.complete(mine, call(2, "book"), done_of("booked", degraded=True))
    ended = await agents.finish(mine, "fine")

    assert (ended.status, ended.output, ended.input) == (
        RunStatus.DEGRADED,
        "fine",
        {"args": [], "kwargs": {"lane": "Lyon"}},
    )
    shown = await runs_of(memory).show(ended.id)
    assert [(one.place, one.name, one.status, one.output, one.attempts) for one in shown.steps] == [
        ((1,), "fetch", StepStatus.COMPLETED, {"rate": 0.8}, 1), ((2,), "book", StepStatus.DEGRADED, "booked", 1),
    ]  # fmt: skip
    assert (shown.tokens, shown.next) == (1_000, None)
    assert [(one.stage, one.calls, one.tokens) for one in shown.stages] == [("fetch", 1, 1_000), ("book", 0, 0)]
    (first,) = shown.attempts[shown.steps[0].id]
    assert (first["seconds"], first["model"], first["policy"], first["outcome"]) == (
        1.5,
        "m-1",
        "default-1",
        "completed",
    )
    assert (await memory.store.verify(memory.space, "execution")).ok


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1_000, "cached_tokens": 800},
        {"input": 900, "output": 100, "total": 1_000, "reasoning": 60},
        {"total_tokens": 1_000},
    ],
)
async def test_tokens_are_counted_once_by_whatever_name_they_came(near: Memory, usage: dict[str, object]) -> None:
    agents, mine = await claimed(near)
    await agents.complete(mine, call(1), done_of(1, usage=usage, model="m-1"))

    assert (await runs_of(near).show(mine.run)).tokens == 1_000


@EMBEDDED
async def test_the_try_that_completed_a_step_did_not_fail_and_earlier_ones_are_kept_once(memory: Memory) -> None:
    agents, mine = await claimed(memory)
    await agents.fail(mine, call(1), 1, trouble_of("transient", "away"))
    await agents.complete(mine, call(1), done_of(7))
    assert (await agents.fail(mine, call(1), 1, trouble_of("transient", "away"))).step.output == 7
    for number in (2, 3):
        assert (await refused(agents.fail(mine, call(1), number, trouble_of("transient", "x")))).code == "step.settled"
    (step,) = (await runs_of(memory).show(mine.run)).steps

    assert (step.status, step.attempts, step.output) == (StepStatus.COMPLETED, 2, 7)


@EMBEDDED
async def test_calls_for_one_step_at_once_are_kept_as_one(memory: Memory) -> None:
    agents, mine = await claimed(memory)
    await asyncio.gather(*(agents.begin(mine, call(1)) for _ in range(3)))
    away = trouble_of("transient", "away")
    assert [one.attempt for one in await asyncio.gather(*(agents.fail(mine, call(1), 1, away) for _ in range(4)))] == [
        2
    ] * 4
    told = await asyncio.gather(
        *(agents.complete(mine, call(1), done_of(n)) for n in range(4)), agents.fail(mine, call(1), 2, away),
        return_exceptions=True,
    )  # fmt: skip
    (step,) = (await runs_of(memory).show(mine.run)).steps
    kept = [one for one in told if not isinstance(one, BaseException)]

    assert {one.code for one in told if isinstance(one, ConflictError)} == {"step.settled"}
    # A try that failed before another one completed counts as one; what completed does so once.
    assert (step.status, step.attempts) == (StepStatus.COMPLETED, 1 + len(kept))
    assert [one.output for one in kept if isinstance(one, Step)] == [step.output]


@EMBEDDED
async def test_every_call_may_be_made_again(memory: Memory) -> None:
    agents = agents_of(memory)
    run = await agents.start("ts.lanes", {"lane": 1}, once="k")
    assert (await agents.start("ts.lanes", {"lane": 1}, once="k")).id == run.id
    assert (await refused(agents.start("ts.lanes", {"lane": 2}, once="k"))).code == "idempotency.conflict"
    first, again = await agents.claim(run.id, "one"), await agents.claim(run.id, "one")
    assert first.fence == again.fence
    mine = held(again, "one")
    for _ in range(2):
        assert (await agents.begin(mine, call(1))).attempt == 1
    for _ in range(2):
        assert (await agents.fail(mine, call(1), 1, trouble_of("transient", "away"))).attempt == 2
    for _ in range(2):
        assert (await agents.complete(mine, call(1), done_of(7))).attempts == 2
    assert (await refused(agents.complete(mine, call(1), done_of(8)))).code == "step.settled"
    assert (await agents.begin(mine, call(1))).step.output == 7
    for _ in range(2):
        assert (await agents.ask(mine, (2,), "Go?", choices=["yes", "no"])).status is StepStatus.WAITING
    await runs_of(memory.within(by="human:ada")).answer(f"{run.id}/2", "yes")
    answered = await agents.ask(mine, (2,), "Go?", choices=["yes", "no"])
    assert answered.answer == {"choice": "yes", "by": "human:ada"}
    for _ in range(2):
        assert (await agents.finish(mine, "x")).status is RunStatus.DONE
    assert (await refused(agents.finish(mine, "y"))).code == "run.ended"
    assert len((await runs_of(memory).show(run.id)).steps) == 2


async def test_a_zombie_is_refused_by_its_fence_and_its_successor_goes_on(memory: Memory, clock: ManualClock) -> None:
    agents, zombie = await claimed(memory)
    await agents.complete(zombie, call(1), done_of("kept"))
    await agents.begin(zombie, call(2, "pay"))
    assert (await refused(agents.claim(zombie.run, "two"))).code == "run.claimed"
    clock.advance(seconds=61)
    taken = held(await agents.claim(zombie.run, "two"), "two")
    late = await refused(agents.complete(zombie, call(2, "pay"), done_of("paid")))
    assert late.code == "lease.lost"
    assert f"stale fence {zombie.fence} < {taken.fence}" in late.message
    assert (await refused(agents.heartbeat(zombie))).code == "lease.lost"
    assert (await refused(agents.finish(zombie, "mine"))).code == "lease.lost"

    assert (await agents.begin(taken, call(1))).step.output == "kept"
    unknown = await agents.begin(taken, call(2, "pay"))
    assert (unknown.again, unknown.step.status) == (True, StepStatus.AGAIN)
    await agents.complete(taken, call(2, "pay"), done_of("paid once"))
    done = await agents.finish(taken, "done")
    assert done.claim is not None
    assert (done.status, done.claim.lost, done.claim.steps) == (RunStatus.DONE, 1, 1)


@EMBEDDED
async def test_a_replay_that_differs_escalates_and_a_fork_goes_on_from_there(memory: Memory) -> None:
    agents, mine = await claimed(memory)
    await agents.complete(mine, call(1, lane="Lyon"), done_of("a"))
    wrong = await refused(agents.begin(mine, call(1, lane="Nice")))
    assert wrong.code == "run.nondeterministic"
    run = await runs_of(memory).run(mine.run)
    assert (run.status, run.result["class"]) == (RunStatus.ESCALATED, "nondeterministic")
    fork = await runs_of(memory).fork(run.id, "2")
    mine = held(await agents.claim(fork.id, "one"), "one")
    assert (await agents.begin(mine, call(1, lane="Lyon"))).step.output == "a"
    await agents.complete(mine, call(2, lane="Nice"), done_of("b"))
    assert (await agents.finish(mine, "ab")).status is RunStatus.DONE


@EMBEDDED
async def test_tries_follow_the_policy_of_their_class(memory: Memory, clock: ManualClock) -> None:
    agents, mine = await claimed(memory)
    limited = await agents.fail(mine, call(1), 1, trouble_of("rate-limit", "429", retry_after_s=40))
    assert limited.retry_at is not None
    assert limited.retry_at - clock.now() == 40_000_000
    once = await agents.fail(mine, call(2, "parse"), 1, trouble_of("schema", "not JSON"))
    assert (once.step.status, once.attempt) == (StepStatus.WAITING, 2)
    twice = await agents.fail(mine, call(2, "parse"), 2, trouble_of("schema", "not JSON either"))
    assert (twice.step.status, twice.step.error) == (
        StepStatus.FAILED, {"class": "schema", "message": "not JSON either"}
    )  # fmt: skip
    assert (await refused(agents.complete(mine, call(2, "parse"), done_of(1)))).code == "step.settled"
    ended = await agents.finish(mine, trouble=trouble_of("schema", "no JSON to be had", step="2"))
    assert (ended.status, ended.result["class"], ended.result["step"]) == (RunStatus.ESCALATED, "schema", "2")
    assert (await runs_of(memory).resume(ended.id)).status is RunStatus.READY
    mine = held(await agents.claim(mine.run, "one"), "one")
    assert (await agents.begin(mine, call(2, "parse"))).again
    refusal = await agents.finish(mine, trouble=trouble_of("permanent", "no such lane"))
    assert refusal.status is RunStatus.REFUSED


@EMBEDDED
async def test_a_run_goes_by_the_policy_that_it_was_started_with(memory: Memory, clock: ManualClock) -> None:
    agents = agents_of(memory)
    rules = {FaultClass.TRANSIENT: Rule(1, Action.REFUSE), FaultClass.LOST_WORKER: Rule(1, Action.ESCALATE)}
    own = declared_policy("strict-1", rules)
    run = await agents.start("ts.lanes", {"lane": "Lyon"}, owner="human:ada", policy=own, once="one")
    assert (run.policy, policy_of(run)) == ("strict-1", own)
    same = await agents.start("ts.lanes", {"lane": "Lyon"}, owner="human:ada", policy=own, once="one")
    assert same.id == run.id
    other = await refused(agents.start("ts.lanes", {"lane": "Lyon"}, owner="human:ada", once="one"))
    assert other.code == "idempotency.conflict"

    mine = held(await agents.claim(run.id, "one"), "one")
    assert (await agents.fail(mine, call(1), 1, trouble_of("transient", "away"))).step.status is StepStatus.FAILED
    (tried,) = next(iter((await runs_of(memory).show(run.id)).attempts.values()))
    assert tried["policy"] == "strict-1"
    assert (await agents.finish(mine, trouble=trouble_of("transient", "away"))).status is RunStatus.REFUSED

    await runs_of(memory).resume(run.id)
    await agents.claim(run.id, "two", lease_s=10)
    clock.advance(seconds=11)
    assert (await refused(agents.claim(run.id, "three"))).code == "run.ended"
    assert (await runs_of(memory).run(run.id)).result["class"] == "poison"


@pytest.mark.parametrize("rule", [Rule(0, Action.REFUSE), Rule(2, Action.REFUSE, 9, 3), Rule(2, Action.REFUSE, 1, 1e9)])
def test_a_rule_that_cannot_be_gone_by_is_refused(rule: Rule) -> None:
    for version in ("mine-1", "", DEFAULT.version):
        with pytest.raises(InvalidError, match="rule for transient" if version == "mine-1" else "policy of its own"):
            declared_policy(version, {FaultClass.TRANSIENT: rule})


@EMBEDDED
async def test_a_cancelled_run_takes_no_more_of_its_agent(memory: Memory) -> None:
    agents, mine = await claimed(memory)
    await runs_of(memory.within(by="human:ada")).cancel(mine.run, "enough")
    beat = await refused(agents.heartbeat(mine))
    assert (beat.code, "enough" in beat.message) == ("run.ended", True)
    assert (await refused(agents.complete(mine, call(1), done_of(1)))).code == "run.ended"


@EMBEDDED
async def test_nothing_runs_past_its_deadline_whoever_looks(memory: Memory, clock: ManualClock) -> None:
    async def told() -> None: ...

    agents, mine = await claimed(memory, deadline_s=100)
    ready = await runs_of(memory).start(Workflow(told, "nobody knows it", deadline_s=100))
    overdue = Overdue(book_of(memory))
    assert await overdue.look() == 0
    clock.advance(seconds=50)
    await agents.heartbeat(mine, lease_s=3_000)
    clock.advance(seconds=51)
    # A worker that knows neither ends both.
    async with worker_of(memory, lease_s=60, poll_s=60) as worker:
        await worker.look()
        for run_id in (mine.run, ready.id):
            run = await runs_of(memory).run(run_id)
            assert (run.status, run.result["class"]) == (RunStatus.ESCALATED, "deadline")
    assert (await refused(agents.complete(mine, call(1), done_of(1)))).code == "run.ended"
    assert await overdue.look() == 0


async def test_a_silent_agents_run_is_ready_again_and_the_third_loss_asks_its_owner(
    memory: Memory, clock: ManualClock
) -> None:
    agents, mine = await claimed(memory)
    overdue = Overdue(book_of(memory))
    for number in range(3):
        assert await overdue.look() == 0
        clock.advance(seconds=61)
        assert await overdue.look() == 1
        run = await runs_of(memory).run(mine.run)
        if number < 2:
            assert run.status is RunStatus.READY
            mine = held(await agents.claim(mine.run, f"w{number}"), f"w{number}")
    assert (run.status, run.result["class"]) == (RunStatus.ESCALATED, "poison")


@pytest.mark.parametrize(("on_timeout", "status"), [
    ("deny", RunStatus.REFUSED), ("escalate", RunStatus.ESCALATED), ("hold", RunStatus.WAITING),
])  # fmt: skip
@EMBEDDED
async def test_a_question_nobody_answers_does_what_it_said(
    memory: Memory, clock: ManualClock, on_timeout: str, status: RunStatus
) -> None:
    agents, mine = await claimed(memory)
    await agents.ask(mine, (1,), "Pay?", choices=["yes"], deadline_s=600, on_timeout=on_timeout)  # type: ignore[arg-type]
    clock.advance(seconds=601)
    await Overdue(book_of(memory)).look()
    assert (await runs_of(memory).run(mine.run)).status is status


@EMBEDDED
async def test_what_is_long_is_a_blob_and_comes_back_whole(memory: Memory) -> None:
    agents, mine = await claimed(memory)
    text = "x" * 50_000
    for place in (1, 2):
        await agents.complete(mine, call(place, "read", text=text), done_of({"text": text}))
    assert (await agents.begin(mine, call(2, "read", text=text))).step.output == {"text": text}
    first, second = (await runs_of(memory).show(mine.run)).steps
    assert first.reads == second.reads
    assert len(first.reads) == 1
    assert first.output == second.output == {"text": text}
    assert (await agents.complete(mine, call(3, "note", text="short"), done_of("short"))).input == {
        "args": [], "kwargs": {"text": "short"}
    }  # fmt: skip


@EMBEDDED
async def test_calls_at_once_are_all_kept(memory: Memory) -> None:
    agents, mine = await claimed(memory)
    steps = await asyncio.gather(*(agents.complete(mine, call(n), done_of(n)) for n in range(1, 7)))
    assert sorted(step.output for step in steps if isinstance(step, Step)) == [1, 2, 3, 4, 5, 6]  # type: ignore[type-var]
    assert len((await runs_of(memory).show(mine.run)).steps) == 6


@EMBEDDED
async def test_what_makes_no_sense_is_refused(memory: Memory) -> None:
    agents, mine = await claimed(memory)
    other = await runs_of(memory).start(Workflow(lambda: asyncio.sleep(0), "python's"))
    assert (await refused(agents.claim(other.id, "one"))).code == "run.runner"
    never = await agents.start("ts.lanes")
    assert (await refused(agents.heartbeat(Held(never.id, "one", 1)))).code == "lease.lost"
    for wrong in (
        lambda: call_of((1,), "", {}, None), lambda: call_of((1,), "x", {}, "a" * 64), lambda: call_of((1,), "x", None, "zz"),
        lambda: trouble_of("sad", "x"), lambda: done_of(1, usage={"input": -1}), lambda: done_of(1, seconds=float("nan")),
    ):  # fmt: skip
        with pytest.raises(InvalidError):
            wrong()
    run = await runs_of(memory).run(mine.run)
    assert run.claim is not None
    assert run.claim.worker == "one@agent:worker"
    assert (await agents.heartbeat(held(await agents.claim(mine.run, run.claim.worker), "one"))).fence == mine.fence
    for worker in ("", " ", "one@agent:other", "@agent:worker"):
        with pytest.raises(InvalidError):
            await agents.claim(mine.run, worker)
    other = agents_of(memory.within(by="agent:other"))
    assert (await refused(other.claim(mine.run, "one"))).code == "run.claimed"
    assert (await refused(other.heartbeat(mine))).code == "lease.lost"
    assert (await refused(other.complete(mine, call(1), done_of(1)))).code == "lease.lost"
    with pytest.raises(LimitError):
        await agents.begin(mine, call(10_001))
    with pytest.raises(LimitError):
        await agents.complete(mine, call(1), done_of("x" * 300_000))
    for lease_s in (0.5, 4_000):
        with pytest.raises(InvalidError):
            await agents.claim(mine.run, "one", lease_s=lease_s)
    with pytest.raises(InvalidError):
        await agents.start("", {})
    with pytest.raises(InvalidError):
        await agents.start("x", deadline_s=0)


async def test_a_run_that_was_begun_without_its_code_is_held_against_the_schema_of_its_input(near: Memory) -> None:
    called: list[str] = []

    @workflow(input_schema={"type": "object", "properties": {"lane": {"type": "string"}}, "required": ["lane"]})
    async def lanes(lane: str) -> str:
        called.append(lane)
        return lane

    started = [await agents_of(near).start("lanes", {"lane": lane}, runner="worker") for lane in (5, "Lyon")]
    async with worker_of(near, lanes, poll_s=0.02):
        wrong, right = [await ended(near, one.id) for one in started]

    assert (wrong.status, wrong.result["class"], called) == (RunStatus.REFUSED, "input", ["Lyon"])
    assert (await runs_of(near).show(wrong.id)).next == f"latewood run amend {wrong.id} INPUT"
    assert "lane" in str(wrong.result["message"])
    assert (right.status, right.output) == (RunStatus.DONE, "Lyon")
