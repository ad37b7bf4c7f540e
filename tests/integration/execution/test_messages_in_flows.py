"""Workflows that hand over to each other: a message and the step that sent or took it are one unit; why crosses agents."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from latewood.execution import gather, step, workflow
from latewood.execution.messages.flows import receive, send
from latewood.execution.words import RunStatus
from latewood.graph_schema.errors import InvalidError
from latewood.memory import Memory
from latewood.memory.messages import messages_of
from latewood.memory.runs import runs_of, worker_of


@step()
async def doubled(number: int) -> int:
    return 2 * number


@workflow(version="1")
async def asks(number: int) -> str:
    twice = cast("int", await doubled(number))
    return await send("questions", {"n": twice}, subject="how much")


@workflow(version="1")
async def answers() -> object:
    event = await receive("questions", deadline_s=600)
    assert event is not None
    return event["data"]


@workflow(version="1")
async def waits_in_vain() -> object:
    return await receive("questions", deadline_s=0)


@pytest.fixture(params=["reference:", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "reference:" if request.param == "reference:" else str(tmp_path / "flows.db")


async def test_one_workflow_hands_over_to_another(url: str) -> None:
    async with Memory.open(url, by="agent:planner", embedder="none") as memory:
        messages = messages_of(memory)
        await messages.make_channel("questions")
        async with worker_of(memory, asks, answers, waits_in_vain) as worker:
            waiting = asyncio.create_task(worker.run(answers))
            asked = await worker.run(asks, 21)
            answered = await waiting
            again = await worker.run(waits_in_vain)
        left = await messages.waiting("questions")
        (message,) = (await messages.messages()).items
        steps = (await runs_of(memory).show(asked.id)).steps

    assert (asked.status, answered.status) == (RunStatus.DONE, RunStatus.DONE)
    assert (asked.output, answered.output, again.output) == (message.id, {"n": 42}, None)
    assert left == {"default": 0}
    assert [(one.name, one.sort) for one in steps] == [("doubled", "step"), ("send", "message")]


@workflow(version="1")
async def keeps_asking(times: int) -> None:
    await gather(*(send("questions", {"n": number}) for number in range(times)))
    for _ in range(times):
        await receive("questions", deadline_s=0)


async def test_a_go_at_a_run_looks_a_channel_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Memory.open("reference:", by="agent:planner", embedder="none") as memory:
        await messages_of(memory).make_channel("questions")
        looked, store = [0], type(memory.store)
        nodes = store.nodes

        async def counted(self: Any, space: str, **given: Any) -> Any:
            looked[0] += "channel:questions" in given.get("keys", ())
            return await nodes(self, space, **given)

        monkeypatch.setattr(store, "nodes", counted)
        async with worker_of(memory, keeps_asking) as worker:
            counts: list[int] = []
            for times in (1, 6):
                before = looked[0]
                assert (await worker.run(keeps_asking, times)).status is RunStatus.DONE
                counts.append(looked[0] - before)

    # The branches of the fan-out may all begin to look before the first has found it.
    assert counts[0] == 1
    assert counts[1] <= 6


async def test_why_walks_back_from_hand_to_hand(url: str) -> None:
    async with Memory.open(url, by="agent:research", embedder="none") as memory:
        messages = messages_of(memory)
        await messages.make_channel("findings")
        first = await memory.decide("Look at carrier A first", because="it was late most often")
        sent = await messages.publish("findings", {"late": 9}, subject="A was late nine times", caused_by=[first.id])
        other = memory.within(by="agent:synthesis")
        hands = messages_of(other)
        (received,) = await hands.receive("findings")
        second = await other.decide(
            "Leave carrier A", because="nine times is enough", trigger=[received.message.id],
            idempotency_key=received.key,
        )  # fmt: skip
        repeated = await other.decide(
            "Leave carrier A", because="nine times is enough", trigger=[received.message.id],
            idempotency_key=received.key,
        )  # fmt: skip
        settled = await hands.ack(received, led_to=[second.id])
        why = await memory.why(second.id)

    assert (settled.outcome, repeated.id) == ("acked", second.id)
    before = [(line.text, line.ref) for line in why.lines if line.role == "before"]
    assert before == [("decision Look at carrier A first", first.id), ("message A was late nine times", sent.id)]


async def test_sending_outside_of_a_workflow_is_refused() -> None:
    with pytest.raises(InvalidError) as caught:
        await send("questions", {})

    assert caught.value.code == "run.outside"
