"""An effect elsewhere with an unknown outcome: whoever looked there vouches for it, and it is not made again."""

from __future__ import annotations

from collections import Counter

import pytest
from integration.execution.acting import ended, worker_of

from latewood.execution import Fault, RunStatus, StepFailedError, child, gather, step, workflow
from latewood.execution.external_words import Held, call_of, done_of, trouble_of
from latewood.execution.words import StepStatus
from latewood.graph_schema.errors import ConflictError, ForbiddenError, InvalidError, LatewoodError
from latewood.memory import Memory
from latewood.memory.runs import agents_of, runs_of

CALLS: Counter[str] = Counter()
WHY = "it is on the statement of the 10th"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    CALLS.clear()


@step(outside=True)
async def pay(what: str) -> str:
    CALLS[what] += 1
    if CALLS[what] == 1:
        raise Fault("ambiguous", "the line was cut")
    return f"{what} paid again"


@step()
async def note(said: object) -> object:
    CALLS["note"] += 1
    return said


@workflow(name="vouching.one", owner="human:ada")
async def one() -> object:
    return await note(await pay("rent"))


@workflow(name="vouching.two")
async def two() -> object:
    return await gather(pay("rent"), pay("heat"))


@workflow(name="vouching.whole", owner="human:ada")
async def whole() -> object:
    return await child(one)


@workflow(name="vouching.careful")
async def careful() -> object:
    try:
        return await pay("rent")
    except StepFailedError:
        raise ValueError(await note("without it")) from None


async def _code(memory: Memory, name: str, output: object = 1, reason: str = WHY) -> str:
    with pytest.raises(LatewoodError) as refused:
        await runs_of(memory).vouch(name, output, reason)
    return refused.value.code


async def test_an_effect_that_its_owner_vouches_for_is_not_made_again(memory: Memory) -> None:
    ada = memory.within(by="human:ada")
    paid = {"receipt": "7" * 5_000}
    async with worker_of(memory, one, poll_s=0.02) as worker:
        run = await worker.run(one)
        stopped = await runs_of(memory).show(run.id)
        with pytest.raises(ForbiddenError):
            await runs_of(memory).vouch(f"{run.id}/1", paid, WHY)
        assert await _code(ada, f"{run.id}/1", reason=" ") == "query.invalid"
        assert await _code(ada, f"{run.id}/1", output={1, 2}) == "value.invalid"
        assert await _code(ada, f"{run.id}/1", output="x" * 300_000) == "text.too_long"
        assert await _code(ada, f"{run.id}/2") == "node.not_found"
        assert (await runs_of(memory).run(run.id)).status is RunStatus.ESCALATED
        began = await runs_of(ada).vouch(f"{run.id}/1", paid, WHY)
        # The same word again, as after a lost acknowledgement.
        await runs_of(ada).vouch(f"{run.id}/1", paid, WHY)
        run = await ended(memory, run.id)
        shown = await runs_of(memory).show(run.id)

    first = f"latewood run vouch {run.id}/1 OUTPUT --reason WHY if it happened, else latewood run resume {run.id}"
    assert (stopped.run.status, stopped.next) == (RunStatus.ESCALATED, first)
    assert began.status is RunStatus.READY
    assert (run.status, run.output, CALLS) == (RunStatus.DONE, paid, {"rent": 1, "note": 1})
    (vouched, noted) = shown.steps
    assert (vouched.status, vouched.output, vouched.error) == (StepStatus.COMPLETED, paid, None)
    word = dict(vouched.vouched or {})
    assert str(word.pop("at")).startswith("20")
    assert (word, noted.vouched) == ({"by": "human:ada", "reason": WHY}, None)
    # What is known, or has ended well, is nobody's to vouch for; nor is it said twice in two ways.
    assert [await _code(ada, f"{run.id}/{place}") for place in (1, 2)] == ["step.known", "step.known"]


async def test_vouching_for_one_effect_makes_no_other_again(memory: Memory) -> None:
    runs = runs_of(memory)
    async with worker_of(memory, two, poll_s=0.02) as worker:
        run = await worker.run(two)
        for _ in range(2):
            assert (run.status, run.result["class"]) == (RunStatus.ESCALATED, "ambiguous")
            place = str(run.result["step"])
            assert f"vouch {run.id}/{place} " in str((await runs.show(run.id)).next)
            await runs.vouch(f"{run.id}/{place}", f"seen at {place}", WHY)
            run = await ended(memory, run.id)

    assert (run.status, run.output) == (RunStatus.DONE, ["seen at 1", "seen at 2"])
    assert CALLS == {"rent": 1, "heat": 1}


async def test_the_whole_goes_on_when_a_step_of_its_part_is_vouched_for(memory: Memory) -> None:
    ada = runs_of(memory.within(by="human:ada"))
    async with worker_of(memory, whole, one, poll_s=0.02) as worker:
        run = await worker.run(whole)
        stopped = await ada.show(run.id)
        assert stopped.failed_part is not None
        at = f"{stopped.failed_part.id}/1"
        assert await _code(memory.within(by="human:ada"), f"{run.id}/1") == "step.known"
        told = await ada.vouch(at, "seen", WHY)
        run = await ended(memory, run.id)

    assert (
        stopped.next == f"latewood run vouch {at} OUTPUT --reason WHY if it happened, else latewood run resume {run.id}"
    )
    assert (told.id, run.status, run.output, CALLS["rent"]) == (run.id, RunStatus.DONE, "seen", 1)


async def test_an_effect_that_is_made_again_or_gone_on_from_is_vouched_for_no_more(memory: Memory) -> None:
    runs = runs_of(memory)
    async with worker_of(memory, one, careful, poll_s=0.02) as worker:
        caught = await worker.run(careful)
        CALLS.clear()
        run = await worker.run(one)
        await runs.resume(run.id)
        run = await ended(memory, run.id)

    assert caught.result["class"] == "workflow"
    assert (await _code(memory, f"{caught.id}/1"), run.output, CALLS["rent"]) == ("step.known", "rent paid again", 2)
    assert await _code(memory, f"{run.id}/1") == "step.known"


async def test_an_agent_finds_what_was_vouched_for_completed(memory: Memory) -> None:
    agents, ada = agents_of(memory), runs_of(memory.within(by="human:ada"))
    run, call = await agents.start("ts.pay"), call_of((1,), "pay", {"what": "rent"}, None)
    mine = Held(run.id, "p1", (await agents.claim(run.id, "p1")).fence)
    await agents.begin(mine, call)
    await agents.fail(mine, call, 1, trouble_of("ambiguous", "the line was cut"))
    with pytest.raises(ConflictError) as going:
        await ada.vouch(f"{run.id}/1", 7, WHY)
    await agents.finish(mine, trouble=trouble_of("ambiguous", "the line was cut", step="1"))
    await ada.vouch(f"{run.id}/1", 7, WHY)
    mine = Held(run.id, "p2", (await agents.claim(run.id, "p2")).fence)
    begun = await agents.begin(mine, call)
    with pytest.raises(ConflictError):
        await agents.complete(mine, call, done_of(8))
    done = await agents.finish(mine, begun.step.output)

    assert going.value.code == "run.ended"
    assert (begun.step.completed, begun.step.output, done.status) == (True, 7, RunStatus.DONE)


async def test_no_reason_no_word(memory: Memory) -> None:
    with pytest.raises(InvalidError):
        await runs_of(memory).vouch("x/1", 1, "")
