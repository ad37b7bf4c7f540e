"""A run of which a part was erased: what it did is not known any more, so nobody goes on and does it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable

import pytest
from integration.execution.acting import ended, until, worker_of

from latewood.execution import Fault, RunStatus, ask, child, step, workflow
from latewood.execution.external_words import Held, call_of, done_of
from latewood.graph_schema.errors import ConflictError
from latewood.memory import Memory
from latewood.memory.runs import agents_of, runs_of
from latewood.storage.port import FactQuery

CALLS: Counter[str] = Counter()
LONG = "receipt " * 2_000


@step(outside=True)
async def pay(what: str) -> str:
    CALLS[what] += 1
    if what == "heat":
        raise Fault("ambiguous", "the line was cut")
    return LONG


@workflow(name="erased.bills")
async def bills() -> list[object]:
    return [await pay("rent"), await pay("heat")]


@workflow(name="erased.asking")
async def asking() -> list[object]:
    return [await pay("rent"), await ask("And now?")]


@workflow(name="erased.whole")
async def whole() -> object:
    try:
        return await child(asking)
    except Exception:  # noqa: BLE001 - what a workflow's code does
        return "without it"


async def _refused(work: Awaitable[object]) -> str:
    with pytest.raises(ConflictError) as error:
        await work
    return error.value.code


@pytest.mark.parametrize("what", ["step", "blob"])
async def test_a_run_that_stopped_goes_on_in_no_way_once_a_step_of_it_was_erased(memory: Memory, what: str) -> None:
    CALLS.clear()
    ada = memory.within(by="human:ada")
    runs = runs_of(ada)
    async with worker_of(memory, bills, poll_s=0.02) as worker:
        run = await worker.run(bills)
        (paid, _) = (await runs.show(run.id)).steps
        (edge,) = await memory.store.facts(memory.space, FactQuery(subjects=[paid.id], predicates=["step.returned"]))
        await ada.erase(paid.id if what == "step" else str(edge.object_id), reason="asked for")
        codes = [
            await _refused(runs.resume(run.id)), await _refused(runs.vouch(f"{run.id}/2", "seen", "on the statement")),
            await _refused(runs.fork(run.id, "2")), await _refused(runs.amend(run.id, bills)),
        ]  # fmt: skip

    assert (codes, CALLS) == (["run.erased"] * 4, {"rent": 1, "heat": 1})


async def test_a_worker_that_comes_to_a_run_with_an_erased_step_does_it_not_again(memory: Memory) -> None:
    CALLS.clear()
    ada = memory.within(by="human:ada")
    async with worker_of(memory, asking, whole, poll_s=0.02) as worker:
        told: list[tuple[RunStatus, bool]] = []
        for flow in (asking, whole):
            run = await worker.start(flow)
            waits = await until(memory, run.id, RunStatus.WAITING)
            (first, *_) = (await runs_of(ada).show(run.id)).steps
            part = waits.id if first.child is None else first.child
            (paid, _) = (await runs_of(ada).show(part)).steps
            await ada.erase(paid.id, reason="asked for")
            await runs_of(ada).answer(f"{part}/2", "go on")
            stopped = await ended(memory, run.id)
            told.append((stopped.status, "was erased" in str(stopped.result["message"])))

    assert (told, CALLS) == ([(RunStatus.ESCALATED, True)] * 2, {"rent": 2})


async def test_an_agent_is_not_given_a_run_with_an_erased_step(memory: Memory) -> None:
    ada, agents = memory.within(by="human:ada"), agents_of(memory)
    run, call = await agents.start("ts.pay"), call_of((1,), "pay", {}, None)
    mine = Held(run.id, "p1", (await agents.claim(run.id, "p1")).fence)
    kept = await agents.complete(mine, call, done_of("paid"))
    await agents.hand_back(mine)
    await ada.erase(kept.id, reason="asked for")

    assert await _refused(agents.claim(run.id, "p2")) == "run.erased"
    assert (await runs_of(memory).run(run.id)).status is RunStatus.ESCALATED
