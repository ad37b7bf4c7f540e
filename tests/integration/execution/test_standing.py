"""What `run show` says of a run in each state: what it waits for, what went wrong, and what to do next."""

from __future__ import annotations

import pytest
from integration.execution.acting import until

from latewood.execution import (
    DEFAULT,
    Action,
    Fault,
    FaultClass,
    Rule,
    RunStatus,
    Shown,
    ask,
    child,
    sleep,
    step,
    workflow,
)
from latewood.execution.messages.flows import receive
from latewood.execution.standing import last_trouble
from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.errors import ForbiddenError
from latewood.memory import Memory
from latewood.memory.messages import messages_of
from latewood.memory.runs import agents_of, runs_of, worker_of

pytestmark = pytest.mark.parametrize("memory", ["sqlite"], indirect=True)


STRICT = DEFAULT.changed("strict-1", {FaultClass.TRANSIENT: Rule(1, Action.REFUSE)})
STRICTER = {"tries": 1, "then": "refuse", "first_s": 0.5, "longest_s": 60.0}


@step(fallback=lambda kind: 7)
async def portal(kind: str) -> int:
    raise Fault(kind, "it is closed", retry_after_s=600)


@workflow(name="standing.part", owner="human:ada")
async def part(what: str) -> object:
    if what == "silent":
        return await ask("Go?", choices=["yes"], deadline_s=5, on_timeout="escalate")
    if what == "denied":
        return await ask("Go?", deadline_s=5, on_timeout="deny")
    if what == "message":
        return await receive("inbox")
    if what == "sleep":
        return await sleep(600)
    if what == "asks":
        return await child(part, "silent")
    return await portal(what)


_WAITS = {
    "silent": ("the answer of human:ada, until ", "; then the run escalates (step 1)", "run answer {}/1 CHOICE"),
    "message": ("a message of inbox for default, until ", "(step 1)", None),
    "sleep": ("its instant, 20", "(step 1)", None),
    "asks": ("its part, run ", "(step 1)", "run show {child}"),
    "rate-limit": ("try 2 at 20", "after rate-limit: it is closed (step 1)", None),
}


async def test_a_run_that_waits_says_for_what(memory: Memory) -> None:
    await messages_of(memory).make_channel("inbox")
    shown: dict[str, Shown] = {}
    async with worker_of(memory, part, poll_s=0.02) as worker:
        for what in _WAITS:
            run = await worker.start(part, what)
            await until(memory, run.id, RunStatus.WAITING)
            shown[what] = await runs_of(memory).show(run.id)

    for what, (head, tail, then) in _WAITS.items():
        one = shown[what]
        assert one.waits is not None
        assert (one.waits.startswith(head), one.waits.endswith(tail)) == (True, True), one.waits
        told = None if then is None else f"latewood {then.format(one.run.id, child=one.steps[0].child)}"
        assert one.next == told


async def test_a_run_that_nobody_has_says_who_may_take_it(memory: Memory) -> None:
    for runner, words in (("worker", "a worker that knows x 1"), ("agent", "an agent that")):
        run = await agents_of(memory).start("x", runner="agent" if runner == "agent" else "worker")
        assert str((await runs_of(memory).show(run.id)).waits).startswith(words)


async def test_what_nobody_answered_in_time_says_what_helps(memory: Memory, clock: ManualClock) -> None:
    runs = runs_of(memory.within(by="human:ada"))
    ends = {"silent": RunStatus.ESCALATED, "denied": RunStatus.REFUSED}
    async with worker_of(memory, part, poll_s=0.02) as worker:
        begun = {what: (await worker.start(part, what)).id for what in ends}
        for run_id in begun.values():
            await until(memory, run_id, RunStatus.WAITING)
        clock.advance(seconds=6)
        for what, status in ends.items():
            await until(memory, begun[what], status)
    silent, denied = begun["silent"], begun["denied"]

    assert (await runs.show(silent)).next == f"latewood run answer {silent}/1 CHOICE"
    await runs.answer(f"{silent}/1", "yes")
    assert (await runs.show(silent)).next == f"latewood run resume {silent}"
    assert (await runs.show(denied)).next == f"latewood run fork {denied} 1"
    assert (await runs.fork(denied, "1")).status is RunStatus.READY


@workflow(name="standing.owned", owner="human:ada", policy=STRICT, deadline_s=3_600)
async def owned() -> object:
    return await ask("Go?")


async def test_a_run_has_the_terms_of_its_workflow_whoever_started_it(memory: Memory, clock: ManualClock) -> None:
    agents, runs = agents_of(memory), runs_of(memory)
    run = await agents.start("standing.owned", owner="agent:me", runner="worker")
    began = clock.now()
    async with worker_of(memory, owned, poll_s=0.02):
        told = await until(memory, run.id, RunStatus.WAITING)
    (asked,) = (await runs.show(run.id)).steps
    assert (told.owner, told.policy, told.rules["transient"]) == ("human:ada", "strict-1", STRICTER)
    assert told.deadline_at is not None
    assert told.deadline_at - began <= 3_601_000_000
    assert (asked.asked or {})["owner"] == "human:ada"
    with pytest.raises(ForbiddenError):
        await runs.answer(f"{run.id}/1", "yes")
    sooner = await agents.start("standing.owned", runner="worker", deadline_s=60)
    async with worker_of(memory, owned, poll_s=0.02):
        assert (await until(memory, sooner.id, RunStatus.WAITING)).deadline_at == sooner.deadline_at


async def test_a_degraded_step_says_why(memory: Memory) -> None:
    async with worker_of(memory, part, poll_s=0.02) as worker:
        run = await worker.run(part, "permanent")
    shown = await runs_of(memory).show(run.id)
    (one,) = shown.steps
    assert (run.status, one.output) == (RunStatus.DEGRADED, 7)
    assert last_trouble(one, shown.attempts[one.id]) == ("permanent", "it is closed")
