"""A span for each go at a run, each try and each agent, one within the other, with names, ids and counts and no word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from typing import Any

import pytest
from chat_server import ChatServer, chat_server
from integration.execution.acting import worker_of
from integration.memory.test_spans import Kept
from model_answers import asks_for, in_turn, says

from latewood.execution import (
    DEFAULT,
    Action,
    Endpoint,
    Fault,
    FaultClass,
    Model,
    Price,
    Prices,
    Rule,
    RunStatus,
    Tools,
    agent,
    child,
    conversation,
    model_step,
    step,
    tool,
    tracing,
    trying,
    workflow,
)
from latewood.memory import Memory
from latewood.memory.runs import runs_of

QUICK = DEFAULT.changed("quick-1", {FaultClass.TRANSIENT: Rule(2, Action.ESCALATE, first_s=0.001)})
ORDER = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
HERE: ContextVar[Traced | None] = ContextVar("here", default=None)


class Traced(Kept):
    def __init__(self, name: str, kind: str, attributes: dict[str, Any]) -> None:
        super().__init__(name, attributes)
        self.kind, self.above = kind, HERE.get()

    def update_name(self, name: str) -> None:
        self.name = name


class Tracer:
    def __init__(self) -> None:
        self.spans: list[Traced] = []

    @contextmanager
    def start_as_current_span(
        self, name: str, *, kind: Any, attributes: dict[str, Any], **how: Any
    ) -> Iterator[Traced]:
        assert (how["record_exception"], how["set_status_on_exception"]) == (False, False)
        self.spans.append(Traced(name, kind.name, attributes))
        before = HERE.set(self.spans[-1])
        try:
            yield self.spans[-1]
        finally:
            HERE.reset(before)


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> Tracer:
    made = Tracer()
    monkeypatch.setattr(tracing, "TRACER", made)
    return made


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as opened:
        yield opened


@tool("Look an order up.", ORDER)
async def look_up(id: int) -> dict[str, object]:  # noqa: A002 - the schema's word
    return {"id": id, "carrier": "zeppelin"}


TOOLS = Tools(look_up)


async def test_runs_agents_models_and_tools_are_spans_within_each_other(
    near: Memory, server: ChatServer, tracer: Tracer
) -> None:
    server.reply = in_turn([asks_for(("look_up", {"id": 7})), says("a zeppelin")])
    prices = Prices("p-1", "EUR", {"small": Price(Decimal(1), Decimal(10))})
    think = model_step("think", Model("small", Endpoint(server.url)), prices=prices, tools=TOOLS)

    @workflow()
    async def orders(question: str) -> str:
        said = await agent(think, conversation({"role": "user", "content": question}), TOOLS)
        return str(said.item)

    @workflow()
    async def office(question: str) -> str:
        return await child(orders, question)

    async with worker_of(near, office, orders, poll_s=60) as worker:
        run = await worker.run(office, "where is my zeppelin?")

    told = [(one.name, one.kind, None if one.above is None else one.above.name) for one in tracer.spans]
    assert told == [
        ("invoke_workflow office", "INTERNAL", None),
        ("invoke_workflow orders", "INTERNAL", "invoke_workflow office"),
        ("invoke_agent think", "INTERNAL", "invoke_workflow orders"),
        ("chat small", "CLIENT", "invoke_agent think"),
        ("execute_tool look_up", "INTERNAL", "invoke_agent think"),
        ("chat small", "CLIENT", "invoke_agent think"),
    ]
    whole, chat = tracer.spans[0].attributes, tracer.spans[3].attributes
    assert (whole["latewood.run.id"], whole["latewood.run.status"]) == (run.id, "done")
    assert (chat["gen_ai.operation.name"], chat["gen_ai.request.model"]) == ("chat", "small")
    (shown,) = (await runs_of(near).list(workflow="orders")).items
    calls = (await runs_of(near).show(shown.id)).calls
    booked = [
        (one.attributes["gen_ai.usage.input_tokens"], one.attributes["gen_ai.usage.output_tokens"],
         one.attributes["latewood.cost"])
        for one in tracer.spans if one.kind == "CLIENT"
    ]  # fmt: skip
    assert booked == [(one.input, one.output, str(one.cost)) for one in calls]
    assert not any(one.failed for one in tracer.spans)
    assert "zeppelin" not in repr([(one.name, one.attributes) for one in tracer.spans])


async def test_a_failed_try_says_its_class_and_a_replay_tells_of_no_step_again(near: Memory, tracer: Tracer) -> None:
    broken = [True]

    @step(name="first")
    async def first() -> int:
        return 1

    @step(name="flaky")
    async def flaky() -> int:
        assert trying() is not None
        if broken:
            raise Fault("transient", "the zeppelin is down")
        return 2

    @workflow(policy=QUICK)
    async def flow() -> int:
        return await first() + await flaky()

    async with worker_of(near, flow, poll_s=60) as worker:
        run = await worker.run(flow)
        assert run.status is RunStatus.ESCALATED
        broken.clear()
        await runs_of(near).resume(run.id)
        await worker.look()
        for task in list(worker._going.values()):
            await task

    told = [(one.name, one.failed, one.attributes.get("error.type")) for one in tracer.spans]
    assert told == [
        ("invoke_workflow flow", True, "transient"), ("step first", False, None), ("step flaky", True, "transient"),
        ("step flaky", True, "transient"), ("invoke_workflow flow", False, None), ("step flaky", False, None),
    ]  # fmt: skip
    assert [one.attributes["latewood.step.attempt"] for one in tracer.spans if one.name == "step flaky"] == [1, 2, 3]
    assert "zeppelin" not in repr([one.attributes for one in tracer.spans])
