"""A step that asks a model: what it books, what it checks before anything is done, and what each trouble leads to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, chat_server
from integration.execution.acting import ended, until, worker_of
from model_answers import asks_for, busy, in_turn, says

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
    conversation,
    model_step,
    step,
    tool,
    trying,
    workflow,
)
from latewood.execution.tools import Schema
from latewood.graph_schema.clock import ManualClock, parse_instant
from latewood.graph_schema.errors import InvalidError
from latewood.memory import Memory
from latewood.memory.runs import runs_of
from latewood.storage.port import FactQuery

EFFECTS: list[str] = []
QUICK = DEFAULT.changed(
    "quick-1",
    {
        FaultClass.TRANSIENT: Rule(3, Action.ESCALATE, first_s=0.001),
        FaultClass.RATE_LIMIT: Rule(3, Action.ESCALATE, first_s=0.001),
    },
)
PRICES = Prices("2026-11", "USD", {"small": Price(Decimal(1), Decimal(10), Decimal("0.5"))})
ORDER = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"], "additionalProperties": False}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    EFFECTS.clear()


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as opened:
        yield opened


@tool("Look an order up.", ORDER)
async def look_up(id: int) -> dict[str, object]:  # noqa: A002 - the schema's word
    EFFECTS.append(f"look_up {id}")
    return {"id": id, "carrier": "A"}


TOOLS = Tools(look_up)


def _model(server: ChatServer, name: str = "small", timeout_s: float = 20.0) -> Model:
    return Model(name, Endpoint(server.url, timeout_s=timeout_s), output_tokens_max=50)


async def _run(memory: Memory, asking: Any, *, policy: Any = QUICK) -> Any:
    """Run a workflow that asks once, and return it as it is shown."""

    @workflow(name="once", owner="human:ada", policy=policy)
    async def once(question: str) -> Any:
        return (await asking([{"role": "user", "content": question}]))["content"]

    async with worker_of(memory, once, poll_s=60) as worker:
        run = await worker.run(once, "which carrier?")
    return await runs_of(memory).show(run.id)


def _tries(shown: Any) -> list[tuple[object, ...]]:
    return [(one["outcome"], one.get("class")) for tried in shown.attempts.values() for one in tried]


async def test_a_call_books_its_tokens_its_cost_and_its_model(near: Memory, server: ChatServer) -> None:
    server.reply = in_turn([says("A")])

    shown = await _run(near, model_step("choose", _model(server), stage="plan", prices=PRICES))

    assert (shown.run.status, shown.run.output) == (RunStatus.DONE, "A")
    ((attempt,),) = shown.attempts.values()
    assert attempt["usage"] == {
        "input_tokens": 100, "output_tokens": 20, "cache_read_tokens": 40, "reasoning_tokens": 5,
    }  # fmt: skip
    # 60 fresh at 1, 40 cached at 0.5 and 20 out at 10 a million.
    assert (attempt["model"], attempt["stage"], attempt["cost"]) == ("small", "plan", "0.000280")
    assert (attempt["prices"], attempt["currency"], attempt["policy"]) == ("2026-11", "USD", "quick-1")
    (asked,) = server.asked
    assert asked["messages"] == [{"role": "user", "content": "which carrier?"}]
    assert (asked["model"], asked["max_tokens"]) == ("small", 50)
    assert shown.tokens == 120


async def test_what_nobody_counted_stays_unknown(near: Memory, server: ChatServer) -> None:
    server.reply = in_turn([says("A", usage=None)])

    shown = await _run(near, model_step("choose", _model(server), prices=PRICES))

    ((attempt,),) = shown.attempts.values()
    assert attempt["usage"] == {}
    assert "cost" not in attempt


def _contradicts(content: object) -> None:
    if content != "A":
        raise Fault("ambiguous", f"carrier {content} is not the one of the order")


def _full() -> None:
    with Path("/dev/full").open("wb", buffering=0) as disk:
        disk.write(b"words")


FULL = step(name="keep")(lambda said: _full())
SCHEMA = {"type": "object", "properties": {"carrier": {"enum": ["A", "B"]}}, "required": ["carrier"]}
FAULTS: list[Any] = [
    # what is injected, how the step asks, tries, class, status of the run
    ("429", [busy(429, Retry_After="0")], {}, 3, "rate-limit", RunStatus.ESCALATED),
    ("503", [busy(503)], {}, 3, "transient", RunStatus.ESCALATED),
    ("timeout", [], {}, 3, "transient", RunStatus.ESCALATED),
    ("bad JSON", [says("carrier A")], {"schema": SCHEMA}, 2, "schema", RunStatus.ESCALATED),
    ("unknown tool", [asks_for(("delete_all", {}))], {"tools": TOOLS}, 2, "invalid-tool-call", "escalated"),
    ("wrong args", [asks_for(("look_up", {"id": "7"}))], {"tools": TOOLS}, 2, "invalid-tool-call", "escalated"),
    ("refusal", [says("", refusal="I will not")], {}, 1, "permanent", RunStatus.REFUSED),
    ("contradiction", [says("C")], {"check": _contradicts}, 1, "ambiguous", RunStatus.ESCALATED),
    ("disk full", [], {}, 3, "transient", RunStatus.ESCALATED),
]


@pytest.mark.parametrize(("what", "answers", "asks", "tries", "kind", "status"), FAULTS, ids=[one[0] for one in FAULTS])
async def test_each_trouble_has_its_class_and_its_action(
    what: str, answers: Any, asks: dict[str, Any], tries: int, kind: str, status: str, near: Memory, server: ChatServer
) -> None:
    given_up = threading.Event()
    server.reply = in_turn(answers) if answers else lambda asked: given_up.wait(60) and says("late")
    model = _model(server, timeout_s=0.1 if what == "timeout" else 20.0)
    asking: Any = FULL if what == "disk full" else model_step("choose", model, **asks)

    shown = await _run(near, asking)
    given_up.set()

    assert _tries(shown) == [("failed", kind)] * tries
    assert (shown.run.status, shown.run.result["class"]) == (status, kind)
    assert EFFECTS == []
    assert shown.next == f"latewood run resume {shown.run.id}"


async def test_a_place_at_which_workers_die_is_poison(near: Memory, clock: ManualClock) -> None:
    began = asyncio.Event()

    @step()
    async def hang() -> None:
        began.set()
        await asyncio.sleep(3_600)

    once = DEFAULT.changed("once-1", {FaultClass.LOST_WORKER: Rule(1, Action.ESCALATE)})

    @workflow(policy=once)
    async def hanging() -> None:
        await hang()

    first = worker_of(near, hanging, poll_s=60)
    await first.__aenter__()
    going = asyncio.create_task(first.run(hanging))
    await began.wait()
    run = (await runs_of(near).list()).items[0]
    clock.advance(seconds=3_600)
    async with worker_of(near, hanging, poll_s=0.02):
        over = await ended(near, run.id)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    await first.__aexit__(None, None, None)

    assert (over.status, over.result["class"]) == (RunStatus.ESCALATED, "poison")


async def test_a_rate_limit_is_waited_out_as_long_as_it_asks(near: Memory, server: ChatServer) -> None:
    server.reply = in_turn([busy(429, Retry_After="120"), says("A")])

    asking = model_step("choose", _model(server))

    @workflow(name="once", policy=QUICK)
    async def once() -> Any:
        return (await asking([{"role": "user", "content": "?"}]))["content"]

    async with worker_of(near, once, poll_s=60) as worker:
        waits = await worker.start(once)
        await until(near, waits.id, RunStatus.WAITING)
        shown = await runs_of(near).show(waits.id)

    ((attempt,),) = shown.attempts.values()
    assert parse_instant(str(attempt["retry_at"])) - shown.run.started_at >= timedelta(seconds=120)
    assert attempt["usage"] == {"input_tokens": 0, "output_tokens": 0}


async def test_a_mended_answer_is_told_what_was_wrong_and_both_tries_are_booked(
    near: Memory, server: ChatServer
) -> None:
    server.reply = in_turn([says({"carrier": "C"}), says('```json\n{"carrier": "B"}\n```')])

    shown = await _run(near, model_step("choose", _model(server), schema=SCHEMA, prices=PRICES))

    assert (shown.run.status, shown.run.output) == (RunStatus.DONE, {"carrier": "B"})
    assert _tries(shown) == [("failed", "schema"), ("completed", None)]
    ((first, second),) = shown.attempts.values()
    assert first["usage"] == second["usage"]
    assert first["cost"] == second["cost"] == "0.000280"
    assert "$.carrier does not fit enum: ['A', 'B']" in server.asked[1]["messages"][-1]["content"]
    assert server.asked[0]["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.slow
async def test_an_answer_outside_of_the_declared_choices_is_refused_and_a_replay_goes_the_same_way(
    near: Memory, server: ChatServer
) -> None:
    choices = {"enum": ["ask for approval", "stop"]}
    server.reply = in_turn([says('"skip approval"')])
    refused = await _run(near, model_step("decide", _model(server), schema=choices))
    server.reply = in_turn([says('"stop"')])

    deciding = model_step("decide", _model(server), schema=choices)

    @workflow(name="deciding", policy=QUICK)
    async def deciding_flow() -> str:
        said = await deciding([{"role": "user", "content": "and now?"}])
        return "asked" if said["content"] == "ask for approval" else "stopped"

    async with worker_of(near, deciding_flow, poll_s=0.01) as worker:
        run = await worker.run(deciding_flow)
        asked = len(server.asked)
        server.reply = in_turn([says('"ask for approval"')])
        forks = [await runs_of(near).fork(run.id, "2") for _ in range(100)]
        again = [await ended(near, fork.id) for fork in forks]

    assert (refused.run.status, refused.run.result["class"]) == (RunStatus.ESCALATED, "schema")
    assert {(one.status, one.output) for one in again} == {(RunStatus.DONE, "stopped")}
    assert len(server.asked) == asked


async def test_a_model_that_is_down_is_replaced_and_the_answer_says_so(near: Memory, server: ChatServer) -> None:
    def reply(asked: dict[str, Any]) -> Any:
        return busy(503) if asked["model"] == "small" else says("A")

    server.reply = reply
    asking = model_step("choose", _model(server), fallback=_model(server, "other"), prices=PRICES)

    @workflow(policy=QUICK)
    async def report() -> dict[str, Any]:
        said = await asking([{"role": "user", "content": "which?"}])
        head = f"degraded: model {said['model']}" if said.get("degraded") else "complete"
        return {"head": head, "text": said["content"]}

    async with worker_of(near, report, poll_s=60) as worker:
        run = await worker.run(report)

    assert (run.status, run.output) == (RunStatus.DEGRADED, {"head": "degraded: model other", "text": "A"})
    shown = await runs_of(near).show(run.id)
    ((*failed, last),) = shown.attempts.values()
    assert [(one["model"], one["outcome"]) for one in failed] == [("small", "failed")] * 3
    assert (last["model"], last["outcome"], last["number"]) == ("other", "completed", 4)
    assert shown.steps[0].usage == last["usage"]


async def test_an_agent_makes_only_the_calls_that_are_not_kept(memory: Memory, server: ChatServer) -> None:
    calls = [asks_for(("look_up", {"id": n})) for n in range(1, 6)]
    server.reply = in_turn([*calls, says("A")])
    thinking = model_step("think", _model(server), tools=TOOLS, prices=PRICES)
    broken = [True]

    @step()
    async def work(question: str) -> str:
        said = conversation({"role": "user", "content": question})
        done = await agent(thinking, said, TOOLS)
        return str(done.item["content"]) if isinstance(done.item, dict) else ""

    @tool("Fails the first time.", ORDER, name="look_up")
    async def breaking(id: int) -> dict[str, object]:  # noqa: A002 - as above
        if id == 4 and broken:
            raise Fault("permanent", "the worker is about to die")
        EFFECTS.append(f"look_up {id}")
        return {"id": id}

    flaky = Tools(breaking)

    @step(name="work")
    async def work_badly(question: str) -> str:
        done = await agent(thinking, conversation({"role": "user", "content": question}), flaky)
        return str(done.item["content"]) if isinstance(done.item, dict) else ""

    @workflow(name="helping", policy=QUICK)
    async def helping() -> str:
        return await work_badly("which carrier do the orders have?")

    async with worker_of(memory, helping, poll_s=0.02) as worker:
        # On a slow machine its lease may run out meanwhile; then it goes on by itself.
        run = await ended(memory, (await worker.run(helping)).id)
        # Four answers of the model and three of the tool are kept: of eleven calls four are left.
        before = (len(server.asked), list(EFFECTS))
        broken.clear()
        await runs_of(memory).resume(run.id)
        over = await ended(memory, run.id)

    assert work.name == work_badly.name
    assert before == (4, ["look_up 1", "look_up 2", "look_up 3"])
    assert (over.status, over.output) == (RunStatus.DONE, "A")
    assert len(server.asked) == 6
    assert [f"look_up {n}" for n in range(1, 6)] == EFFECTS
    sent = server.asked[-1]["messages"]
    assert [one["role"] for one in sent] == ["user", *["assistant", "tool"] * 5]
    assert sent[1]["tool_calls"][0]["function"] == {"name": "look_up", "arguments": '{"id":1}'}
    assert sent[2] == {"role": "tool", "tool_call_id": "c1", "content": '{"id":1}'}


async def test_one_bad_call_among_several_leaves_all_of_them_undone(near: Memory, server: ChatServer) -> None:
    server.reply = in_turn([asks_for(("look_up", {"id": 1}), ("delete_all", {})), says("A")])
    thinking = model_step("think", _model(server), tools=TOOLS)

    @workflow(policy=QUICK)
    async def helping() -> Any:
        return (await agent(thinking, conversation({"role": "user", "content": "?"}), TOOLS)).item

    async with worker_of(near, helping, poll_s=60) as worker:
        run = await worker.run(helping)

    assert (run.status, EFFECTS) == (RunStatus.DONE, [])
    assert "there is no tool 'delete_all'; there are look_up" in server.asked[1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((200, b"<html>"), "schema", "not JSON"),
        ((200, b"[]"), "schema", "no object"),
        ((200, b'{"choices": []}'), "schema", "no message"),
        ((200, b"x" * 100_000), "permanent", "more than 50,000 bytes"),
        (says("A", reason="length"), "permanent", "did not end within 50 tokens"),
        (says(""), "schema", "neither words nor a call"),
        (asks_for(("look_up", "{")), "invalid-tool-call", "not JSON"),
        (asks_for(("look_up", "7")), "invalid-tool-call", "no JSON object"),
        (asks_for(*[("look_up", {"id": 1})] * 65), "invalid-tool-call", "65 calls at once"),
        (busy(401), "permanent", "answered 401"),
    ],
)
async def test_an_answer_of_another_kind_is_named(answer: Any, kind: str, words: str, server: ChatServer) -> None:
    server.reply = in_turn([answer])
    model = Model("small", Endpoint(server.url, answer_bytes_max=50_000), output_tokens_max=50)

    with pytest.raises(Fault, match=words) as caught:
        await model_step("choose", model, tools=TOOLS)([{"role": "user", "content": "?"}])
    assert caught.value.kind == kind


async def test_a_server_that_is_not_there_and_an_address_that_is_none() -> None:
    gone = Model("small", Endpoint("http://127.0.0.1:9/v1", key="secret"))
    wrong = Model("small", Endpoint("nowhere"))

    with pytest.raises(Fault) as lost:
        await model_step("choose", gone)([{"content": "?"}])
    with pytest.raises(Fault) as none:
        await model_step("choose", wrong)([{"content": "?"}])
    assert (lost.value.kind, none.value.kind) == ("transient", "permanent")
    assert "secret" not in f"{gone!r}{lost.value}"


def test_a_schema_that_is_none_and_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidError, match="none of JSON Schema 2020-12"):
        Schema({"type": "nothing"})
    with pytest.raises(InvalidError, match="same name"):
        Tools(look_up, look_up)


def test_a_price_table_is_read_back_and_a_wrong_one_is_named() -> None:
    assert Prices.of(PRICES.document()) == PRICES
    assert PRICES.cost("other", {"input_tokens": 1, "output_tokens": 1}) is None
    with pytest.raises(InvalidError, match="'small' has no price for output"):
        Prices.of({"version": "1", "models": {"small": {"input": "1"}}})
    with pytest.raises(InvalidError, match="below 0"):
        Prices.of({"version": "1", "models": {"small": {"input": "-1", "output": "1"}}})
    with pytest.raises(InvalidError, match="has a version and models"):
        Prices.of({"models": {}})


async def test_what_a_step_used_and_wrote_is_named_by_ids_and_bounded(near: Memory) -> None:
    @step()
    async def naming(ids: list[str]) -> int:
        here = trying()
        assert here is not None
        here.used(*ids)
        here.used(*ids)
        return len(here.links)

    @workflow(policy=QUICK)
    async def once(ids: list[str]) -> int:
        return await naming(ids)

    fact = await near.observe("carrier:A", "rating", 4)
    async with worker_of(near, once, poll_s=60) as worker:
        good = await worker.run(once, [fact.id])
        wrong = await worker.run(once, ["carrier:A"])
        many = await worker.run(once, [fact.id] * 101)

    assert (good.status, good.output) == (RunStatus.DONE, 2)
    (made,) = (await runs_of(near).show(good.id)).steps
    edges = await near.store.facts(near.space, FactQuery(subjects=[made.id], predicates=["step.used"]))
    assert [edge.object_id for edge in edges] == [fact.id]
    assert "is not an id" in str(wrong.result["message"])
    assert "at most 200 things" in str(many.result["message"])


async def test_an_edited_policy_holds_for_the_next_tries_and_both_are_shown(near: Memory) -> None:
    tries: list[int] = []

    @step()
    async def busy_step() -> None:
        tries.append(1)
        raise Fault("transient", "busy")

    async def function() -> None:
        await busy_step()

    patient = QUICK.changed("patient-2", {FaultClass.TRANSIENT: Rule(5, Action.REFUSE, first_s=0.001)})
    first, second = (workflow(name="busy", policy=policy)(function) for policy in (QUICK, patient))
    async with worker_of(near, first, poll_s=60) as worker:
        run = await worker.run(first)
    async with worker_of(near, second, poll_s=0.02) as worker:
        await runs_of(near).resume(run.id)
        over = await ended(near, run.id)
        anew = await worker.run(second)

    assert (run.status, over.status, len(tries)) == (RunStatus.ESCALATED, RunStatus.REFUSED, 3 + 5 + 5)
    ((one, *_, last),) = (await runs_of(near).show(run.id)).attempts.values()
    assert (one["policy"], last["policy"]) == ("quick-1", "patient-2")
    assert (run.policy, over.policy, anew.policy) == ("quick-1", "patient-2", "patient-2")
    assert (await runs_of(near).run(anew.id)).rules["transient"] == {
        "tries": 5, "then": "refuse", "first_s": 0.001, "longest_s": 60.0,
    }  # fmt: skip
