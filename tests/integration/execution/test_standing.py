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
    StepFailedError,
    ask,
    child,
    sleep,
    step,
    workflow,
)
from latewood.execution.logbook import due_of
from latewood.execution.messages.flows import receive
from latewood.execution.standing import last_trouble
from latewood.execution.words import StepStatus
from latewood.graph_schema.clock import ManualClock, from_micros, iso
from latewood.graph_schema.errors import ForbiddenError, NotFoundError
from latewood.graph_schema.values import Json
from latewood.memory import Memory
from latewood.memory.json import as_json
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


CLOSED: set[str] = set()


@step(policy=STRICT)
async def desk(what: str) -> str:
    if what in CLOSED:
        raise Fault("transient", "the desk is closed")
    return what


@workflow(name="standing.inner", owner="human:bob", policy=STRICT)
async def inner(what: str) -> object:
    return await part(what) if what in ("silent", "denied") else await desk(what)


@workflow(name="standing.middle", owner="human:ada")
async def middle(what: str) -> object:
    return await child(inner, what)


@workflow(name="standing.outer", owner="human:ada")
async def outer(what: str) -> object:
    if what != "caught":
        return await child(middle, what)
    try:
        await child(inner, what)
    except StepFailedError:
        await sleep(600)
    return "without it"


@workflow(name="standing.own", owner="human:ada")
async def own(kind: str) -> None:
    raise Fault(kind, "said by its own code")


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


async def test_a_run_that_failed_at_a_part_names_it_and_what_comes_first(memory: Memory, clock: ManualClock) -> None:
    CLOSED.add("lane")
    runs = runs_of(memory.within(by="human:ada"))
    ends = {"lane": RunStatus.REFUSED, "silent": RunStatus.ESCALATED, "denied": RunStatus.REFUSED}
    async with worker_of(memory, outer, poll_s=0.02) as worker:
        begun = {what: (await worker.start(outer, what)).id for what in ends}
        for what in ("silent", "denied"):
            await until(memory, begun[what], RunStatus.WAITING)
        clock.advance(seconds=6)
        for what, status in ends.items():
            await until(memory, begun[what], status)
        shown = {what: await runs.show(one) for what, one in begun.items()}
        failed = {what: one.failed_part for what, one in shown.items()}
        for what, one in failed.items():
            assert one is not None
            assert (one.workflow, one.owner, one.status) == ("standing.inner", "human:bob", ends[what])
            (step_of_whole,) = shown[what].steps
            assert (step_of_whole.status, step_of_whole.child) == (StepStatus.FAILED, one.parent)
            # Whoever looks at a part is told the same as whoever looks at the whole.
            for name in (one.id, str(one.parent)):
                assert (await runs.show(name)).next == shown[what].next
        lane, silent, denied = (begun[what] for what in ends)
        assert shown["lane"].next == f"latewood run resume {lane}"
        assert shown["denied"].next == f"latewood run fork {denied} 1"
        silent_part = failed["silent"]
        assert silent_part is not None
        assert shown["silent"].next == f"latewood run answer {silent_part.id}/1 CHOICE"

        await runs.answer(f"{silent_part.id}/1", "yes")
        assert (await runs.show(silent_part.id)).next == f"latewood run resume {silent}"
        CLOSED.clear()
        for one in (lane, silent):
            await runs.resume(one)
            done = await until(memory, one, RunStatus.DONE)
            assert done.output == ("lane" if one == lane else "yes")
            assert (await runs.show(one)).failed_part is None
        assert (await runs.show(silent_part.id)).next is None


async def test_a_part_that_failed_and_was_caught_is_not_waited_for(memory: Memory) -> None:
    CLOSED.add("caught")
    async with worker_of(memory, outer, poll_s=0.02) as worker:
        run = await worker.start(outer, "caught")
        await until(memory, run.id, RunStatus.WAITING)
        shown = await runs_of(memory).show(run.id)
    CLOSED.clear()
    (called, slept) = shown.steps
    assert (called.status, called.error) == (
        StepStatus.FAILED, {"class": "transient", "message": "step 1 (desk) failed, transient: the desk is closed"}
    )  # fmt: skip
    assert str(shown.waits).startswith("its instant, ")
    assert slept.status is StepStatus.WAITING
    # The run goes on without it: nothing is to be done about the part either.
    assert (await runs_of(memory).show(str(called.child))).next == f"latewood run show {run.id}"


async def test_what_a_workflows_own_code_says_is_told_by_its_class(memory: Memory) -> None:
    async with worker_of(memory, own, poll_s=0.02) as worker:
        ends = [await worker.run(own, kind) for kind in ("permanent", "ambiguous")]
    assert [(one.status, one.result["class"], one.result["message"]) for one in ends] == [
        (RunStatus.REFUSED, "permanent", "said by its own code"),
        (RunStatus.ESCALATED, "ambiguous", "said by its own code"),
    ]


async def test_every_instant_is_told_as_one(memory: Memory, clock: ManualClock) -> None:
    async with worker_of(memory, part, poll_s=0.02) as worker:
        limited, waits = await worker.start(part, "rate-limit"), await worker.start(part, "sleep")
        for run in (limited, waits):
            await until(memory, run.id, RunStatus.WAITING)
        shown = [await runs_of(memory).show(run.id) for run in (limited, waits)]
        due = shown[0].run.wake_at
        assert due is not None
        ((tried,),) = shown[0].attempts.values()
        assert (tried["retry_at"], due_of([tried])) == (iso(from_micros(due)), due)
        nodes = [await memory.node(name) for name in (limited.id, waits.id, shown[1].steps[0].id)]
        for said in (*map(as_json, shown), *map(as_json, nodes)):
            assert _large(said) == [], said
        clock.advance(seconds=601)
        await until(memory, waits.id, RunStatus.DONE)
    assert (await runs_of(memory).run(waits.id)).wake_at is None


def _large(document: Json) -> list[float]:
    """Return the numbers that could only be instants."""
    if isinstance(document, dict | list):
        return [one for part in (document.values() if isinstance(document, dict) else document) for one in _large(part)]
    return [document] if isinstance(document, int | float) and document > 10**12 else []


async def test_a_run_that_was_erased_is_said_to_be(memory: Memory) -> None:
    runs = runs_of(memory.within(by="human:ada"))
    run = await agents_of(memory).start("x")
    await runs.cancel(run.id)
    await runs.erase(run.id, "asked for")
    with pytest.raises(NotFoundError, match="was erased"):
        await runs.show(run.id)


async def test_what_a_workflow_does_not_take_is_refused_and_amended(memory: Memory) -> None:
    started = [await agents_of(memory).start("standing.own", given, runner="worker") for given in ({"sort": 1}, {})]
    async with worker_of(memory, own, poll_s=0.02):
        for one in started:
            run = await until(memory, one.id, RunStatus.REFUSED)
            assert run.result["class"] == "input"
            assert "standing.own is not called like this" in str(run.result["message"])
            assert (await runs_of(memory).show(one.id)).next == f"latewood run amend {one.id} INPUT"
        amended = await runs_of(memory).amend_by_name(started[0].id, {"kind": "ambiguous"})
        assert (await until(memory, amended.id, RunStatus.ESCALATED)).result["message"] == "said by its own code"


async def test_a_failure_within_parts_is_told_once_with_its_path(memory: Memory) -> None:
    CLOSED.add("deep")
    async with worker_of(memory, outer, poll_s=0.02) as worker:
        run = await worker.run(outer, "deep")
    CLOSED.clear()
    path = "step 1 (standing.middle) > 1 (standing.inner) > 1 (desk)"
    assert run.result["message"] == f"{path} failed, transient: the desk is closed"
