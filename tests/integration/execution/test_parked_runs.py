"""A run that waits for a message holds no worker: it is left, and woken by one message, its deadline or its cancellation."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from neo4j_server import NEO4J
from waiting import until

from latewood.execution import gather, step, workflow
from latewood.execution.messages.flows import receive
from latewood.execution.words import OPEN, RunStatus
from latewood.memory import Memory
from latewood.memory.messages import messages_of
from latewood.memory.runs import runs_of, worker_of

_CALLS: Counter[str] = Counter()


@step()
async def counted(name: str) -> str:
    _CALLS[name] += 1
    return name


@workflow(version="1")
async def waits(name: str) -> object:
    await counted(name)
    event = await receive("work", deadline_s=600)
    return None if event is None else event["data"]


@workflow(version="1")
async def waits_briefly() -> object:
    return await receive("work", deadline_s=0.2)


@workflow(version="1")
async def waits_for_both() -> object:
    events = await gather(receive("work"), receive("other"))
    return [event["data"] for event in events if event is not None]


@workflow(version="1")
async def works(name: str) -> str:
    return cast("str", await counted(name))


@pytest.fixture(params=["reference", "sqlite", pytest.param("neo4j", marks=pytest.mark.slow)])
async def memory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Memory]:
    url = {"reference": "reference:", "sqlite": str(tmp_path / "parked.db")}.get(request.param) or NEO4J.url()
    async with Memory.open(url, by="agent:worker", sync="normal", embedder="none") as opened:
        space = f"p{abs(hash(request.node.name)) % 10**12}"
        await opened.create_space(space)
        within = opened.within(space=space)
        await messages_of(within).make_channel("work")
        await messages_of(within).make_channel("other")
        yield within


async def in_status(memory: Memory, status: RunStatus) -> int:
    return len((await runs_of(memory).list(statuses=[status], first=100)).items)


async def test_runs_that_wait_hold_no_slot_and_each_message_wakes_one(memory: Memory) -> None:
    # The reference store reads all it has each time.
    count, runs, messages = (
        50 if type(memory.store).__name__ == "SqliteStore" else 5,
        runs_of(memory),
        messages_of(memory),
    )
    begun = [await runs.start(waits, f"parked-{number}") for number in range(count)]
    async with worker_of(memory, waits, works, at_once=4, poll_s=0.02) as worker:

        async def all_wait() -> bool:
            return await in_status(memory, RunStatus.WAITING) == count

        await until(all_wait)
        others = [await worker.run(works, f"other-{number}") for number in range(3)]
        woken: list[int] = []
        for number in range(3):
            await messages.publish("work", {"n": number})

            async def one_more(done: int = number + 1) -> bool:
                return await in_status(memory, RunStatus.DONE) == len(others) + done

            await until(one_more)
            woken.append(await in_status(memory, RunStatus.WAITING))
        for number in range(3, count):
            await messages.publish("work", {"n": number})

        async def all_done() -> bool:
            return await in_status(memory, RunStatus.DONE) == len(others) + count

        await until(all_done)
    ended = [await runs.run(run.id) for run in begun]

    assert [run.output for run in others] == ["other-0", "other-1", "other-2"]
    assert woken == [count - 1, count - 2, count - 3]
    assert sorted(cast("dict[str, int]", run.output)["n"] for run in ended) == list(range(count))
    assert {_CALLS.pop(f"parked-{number}") for number in range(count)} == {1}
    assert await messages.waiting("work") == {"default": 0}
    tries = [await messages.deliveries(one.id) for one in (await messages.messages(first=count)).items]
    assert {(len(of_one), of_one[0].outcome) for of_one in tries} == {(1, "acked")}


async def test_a_wait_ends_at_its_deadline_or_when_the_run_is_cancelled(memory: Memory) -> None:
    runs, messages = runs_of(memory), messages_of(memory)
    async with worker_of(memory, waits, waits_briefly, poll_s=0.02) as worker:
        late = await worker.run(waits_briefly)
        run = await worker.start(waits, "cancelled")

        async def parked() -> bool:
            return (await runs.run(run.id)).status is RunStatus.WAITING

        await until(parked)
        cancelled = await runs.cancel(run.id, "no longer needed")
        await messages.publish("work", {"n": 1})
        (received,) = await messages.receive("work", wait_s=30)
        await messages.ack(received)
        (first, second) = (await runs.show(run.id)).steps

    assert (late.status, late.output) == (RunStatus.DONE, None)
    assert (cancelled.status, cancelled.result["class"]) == (RunStatus.REFUSED, "cancelled")
    assert (first.name, second.name, second.output) == ("counted", "receive", None)


async def test_a_run_waits_for_two_groups_and_goes_on_with_each(memory: Memory) -> None:
    messages = messages_of(memory)
    # It looks by itself once, at its beginning: what comes is told to it.
    async with worker_of(memory, waits_for_both, poll_s=600) as worker:
        run = await worker.start(waits_for_both)

        async def awaits(most: int) -> bool:
            found = await runs_of(memory).run(run.id)
            return found.status is RunStatus.WAITING and len(found.awaits) == most

        await until(lambda: awaits(2))
        await messages.publish("other", {"n": "other"})
        await until(lambda: awaits(1))
        await messages.publish("work", {"n": "work"})
        ended = await asyncio.wait_for(worker.run(works, "then"), 30)

        async def over() -> bool:
            return (await runs_of(memory).run(run.id)).ended

        await until(over)
    output = (await runs_of(memory).run(run.id)).output

    assert ended.output == "then"
    assert output == [{"n": "work"}, {"n": "other"}]
    assert (await runs_of(memory).list(statuses=OPEN)).items == ()
