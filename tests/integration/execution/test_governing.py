"""Which models may be asked, and for how much: what people said holds, before anything is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from chat_server import ChatServer, chat_server
from integration.execution.acting import ended, worker_of
from model_answers import USAGE, busy, in_turn, says

from latewood.execution import (
    DEFAULT,
    Action,
    Endpoint,
    FaultClass,
    Model,
    ModelPolicy,
    Price,
    Prices,
    Rule,
    RunStatus,
    gather,
    model_step,
    step,
    workflow,
)
from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.errors import ForbiddenError, InvalidError, LimitError
from latewood.memory import Memory
from latewood.memory.runs import runs_of

PRICES = Prices("2026-11", "USD", {"small": Price(Decimal(1000), Decimal(1000))})
ONCE = DEFAULT.changed("once-1", {FaultClass.TRANSIENT: Rule(1, Action.ESCALATE)})
MINE: dict[str, Any] = {"version": "1", "models": [{"data": "phi", "models": ["small"]}]}


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as opened:
        opened.reply = in_turn([says("fine")])
        yield opened


async def _says(memory: Memory, document: dict[str, Any], **more: Any) -> None:
    people = runs_of(memory.within(by="human:ada"))
    await people.set_policy(ModelPolicy.of(document), **more)


def _flow(server: ChatServer, calls: int = 1, *, model: str = "small", data: str = "phi", at_once: bool = False) -> Any:
    asking = model_step(
        "summarise", Model(model, Endpoint(server.url), output_tokens_max=50), data=data, prices=PRICES
    )  # fmt: skip

    @workflow(name="summaries", policy=ONCE, owner="human:ada")
    async def summaries() -> int:
        questions = [[{"role": "user", "content": f"part {n}"}] for n in range(calls)]
        if at_once:
            return len(await gather(*(asking(one) for one in questions)))
        return len([await asking(one) for one in questions])

    return summaries


async def test_a_model_that_is_not_allowed_is_never_asked_and_the_try_names_the_policy(
    near: Memory, server: ChatServer
) -> None:
    await _says(near, MINE)
    flow, swapped = _flow(server), _flow(server, model="cheaper")

    async with worker_of(near, flow, poll_s=60) as worker:
        good = await worker.run(flow)
    async with worker_of(near, swapped, poll_s=60) as worker:
        bad = await worker.run(swapped)

    assert (good.status, bad.status, bad.result["class"]) == (RunStatus.DONE, RunStatus.REFUSED, "permanent")
    assert "policy 1 does not allow model 'cheaper' at stage 'summarise' for data 'phi'" in str(bad.result["message"])
    assert [one["model"] for one in server.asked] == ["small"]
    ((attempt,),) = (await runs_of(near).show(bad.id)).attempts.values()
    assert (attempt["model_policy"], attempt["model"], attempt["data"]) == ("1", "cheaper", "phi")
    assert attempt["usage"] == {"input_tokens": 0, "output_tokens": 0}


async def test_the_policy_of_a_day_can_be_asked_later(near: Memory, server: ChatServer, clock: ManualClock) -> None:
    await _says(near, MINE)
    clock.advance(days=1)
    told_at = datetime.fromtimestamp(clock.now() / 1e6, UTC)
    clock.advance(days=9)
    wider = {"version": "2", "models": [*MINE["models"], {"stage": "summarise", "data": "phi", "models": ["cheaper"]}]}
    await _says(near, wider, valid_from=datetime(2026, 3, 12, tzinfo=UTC))
    flow = _flow(server, model="cheaper")
    async with worker_of(near, flow, poll_s=60) as worker:
        run = await worker.run(flow)

    runs = runs_of(near)
    versions = [
        policy.version if policy else None
        for policy in (
            await runs.policy(),
            await runs.policy(valid_at=datetime(2026, 3, 11, 12, tzinfo=UTC)),
            await runs.policy(valid_at=datetime(2026, 3, 13, tzinfo=UTC)),
            await runs.policy(valid_at=datetime(2026, 3, 13, tzinfo=UTC), known_at=told_at),
            await runs.policy(valid_at=datetime(2026, 3, 1, tzinfo=UTC)),
        )
    ]
    assert versions == ["2", "1", "2", "1", None]
    assert run.status is RunStatus.DONE


async def test_only_a_person_says_what_may_be_asked(near: Memory, server: ChatServer) -> None:
    with pytest.raises(ForbiddenError, match="for a person to say"):
        await runs_of(near).set_policy(ModelPolicy.of(MINE))
    await _says(near, MINE)
    free = {"version": "9", "models": [{"models": ["*"]}]}
    await near.observe("policy:models", "policy.models", free)
    flow = _flow(server, model="cheaper")
    async with worker_of(near, flow, poll_s=60) as worker:
        run = await worker.run(flow)

    assert (run.status, len(server.asked)) == (RunStatus.REFUSED, 0)
    held = await runs_of(near).policy()
    assert held is not None
    assert held.version == "1"


async def test_without_a_policy_only_open_data_goes_to_a_model(near: Memory, server: ChatServer) -> None:
    free, closed = _flow(server, data="open"), _flow(server)
    async with worker_of(near, free, poll_s=60) as worker:
        one = await worker.run(free)
    async with worker_of(near, closed, poll_s=60) as worker:
        two = await worker.run(closed)

    assert (one.status, two.status) == (RunStatus.DONE, RunStatus.REFUSED)
    assert "no policy" in str(two.result["message"])
    assert len(server.asked) == 1


def _limited(scope: str, **most: object) -> dict[str, Any]:
    return {**MINE, "budgets": [{"scope": scope, **most}]}


# A call is taken to need 50 tokens out and some 20 in at most; it uses 120.
@pytest.mark.parametrize(
    ("scope", "most", "named"),
    [
        ("run", {"tokens": 400}, "budget:run/"),
        ("stage", {"tokens": 400, "stage": "summarise"}, "/summarise is 400 tokens"),
        ("space", {"tokens": 400}, "budget:space is 400 tokens"),
        ("tenant", {"tokens": 400, "every": "day"}, "budget:tenant/2026-03-10 is 400 tokens"),
        ("run", {"cost": "0.40"}, "is 0.40, of which 0.04"),
    ],
)
async def test_a_budget_stops_before_the_call_that_would_exceed_it_and_nothing_is_lost(
    scope: str, most: dict[str, Any], named: str, near: Memory, server: ChatServer
) -> None:
    await _says(near, _limited(scope, **most))
    flow = _flow(server, 5)
    async with worker_of(near, flow, poll_s=0.01) as worker:
        run = await worker.run(flow)
        before = len(server.asked)
        await _says(near, {**MINE, "version": "2"})
        await runs_of(near).resume(run.id)
        over = await ended(near, run.id)

    (stage,) = (await runs_of(near).show(run.id)).stages
    assert (stage.calls, stage.tokens) == (6, 5 * 120), "the call that was not sent used nothing"
    assert stage.cost is not None
    assert (run.status, run.result["class"]) == (RunStatus.ESCALATED, "permanent")
    assert named in str(run.result["message"])
    assert "Raise it in the policy, then resume" in str(run.result["message"])
    assert (before, over.status, over.output, len(server.asked)) == (3, RunStatus.DONE, 5, 5)


@pytest.mark.parametrize(
    "rows",
    [
        [{"scope": "run", "tokens": 400}, {"scope": "run", "cost": "1000"}],
        [{"scope": "stage", "stage": "summarise", "tokens": 400}, {"scope": "stage", "tokens": 100_000}],
        [{"scope": "tenant", "tokens": 400}, {"scope": "tenant", "tokens": 100_000}, {"scope": "run", "cost": "1000"}],
    ],
)
async def test_each_of_several_budgets_for_the_same_holds(
    rows: list[dict[str, Any]], near: Memory, server: ChatServer
) -> None:
    await _says(near, {**MINE, "budgets": rows})
    flow = _flow(server, 5)
    async with worker_of(near, flow, poll_s=60) as worker:
        run = await worker.run(flow)

    assert (run.status, len(server.asked)) == (RunStatus.ESCALATED, 3)
    assert "is 400 tokens" in str(run.result["message"])


async def test_a_stage_without_a_budget_goes_on(near: Memory, server: ChatServer) -> None:
    await _says(near, _limited("stage", tokens=1, stage="report"))
    flow = _flow(server, 2)
    async with worker_of(near, flow, poll_s=60) as worker:
        run = await worker.run(flow)

    assert run.status is RunStatus.DONE


async def test_branches_at_once_do_not_exceed_a_budget_together(memory: Memory, server: ChatServer) -> None:
    # Each holds some 75 tokens and uses 120: by what they hold, five would fit at first.
    await _says(memory, _limited("space", tokens=300))
    flow = _flow(server, 8, at_once=True)
    async with worker_of(memory, flow, poll_s=60) as worker:
        runs = await asyncio.gather(worker.run(flow), worker.run(flow))

    assert {run.status for run in runs} == {RunStatus.ESCALATED}
    assert 1 <= len(server.asked) <= 4


async def test_a_call_that_was_turned_away_uses_nothing_and_one_of_unknown_use_all_that_it_held(
    near: Memory, server: ChatServer
) -> None:
    await _says(near, _limited("space", tokens=400))
    flow = _flow(server)
    async with worker_of(near, flow, poll_s=60) as worker:
        server.reply = in_turn([busy(503)])
        for _ in range(10):
            turned = await worker.run(flow)
            assert turned.result["class"] == "transient"
        server.reply = in_turn([says("fine", usage=None)])
        unknown = [(await worker.run(flow)).status for _ in range(8)]

    done = unknown.count(RunStatus.DONE)
    assert 4 <= done <= 7
    assert unknown[done:] == [RunStatus.ESCALATED] * (8 - done)


async def test_a_budget_of_a_day_begins_anew(near: Memory, server: ChatServer, clock: ManualClock) -> None:
    await _says(near, _limited("space", tokens=150, every="day"))
    flow = _flow(server)
    async with worker_of(near, flow, poll_s=60) as worker:
        first, second = await worker.run(flow), await worker.run(flow)
    clock.advance(days=1)
    async with worker_of(near, flow, poll_s=60) as worker:
        third = await worker.run(flow)

    assert [one.status for one in (first, second, third)] == [RunStatus.DONE, RunStatus.ESCALATED, RunStatus.DONE]


async def test_a_cost_that_cannot_be_told_stops_where_cost_is_limited(near: Memory, server: ChatServer) -> None:
    await _says(near, {**_limited("run", cost="1"), "models": [{"models": ["*"]}]})
    flow = _flow(server, model="unpriced")
    async with worker_of(near, flow, poll_s=60) as worker:
        run = await worker.run(flow)

    assert (run.status, len(server.asked)) == (RunStatus.ESCALATED, 0)
    assert "no price for the model" in str(run.result["message"])


async def test_tokens_stand_by_stage_and_try(near: Memory, server: ChatServer) -> None:
    server.reply = in_turn(
        [busy(503), says("a"), says("b", usage={**USAGE, "completion_tokens": 30}), says("c", usage=None)]
    )
    model = Model("small", Endpoint(server.url), output_tokens_max=50)
    twice = DEFAULT.changed("twice-1", {FaultClass.TRANSIENT: Rule(2, Action.ESCALATE, first_s=0.001)})
    summarise = model_step("summary of", model, stage="summarise", prices=PRICES)
    report = model_step("report", model, prices=PRICES)

    @step(name="cut")
    async def cut() -> int:
        return 2

    @workflow(policy=twice)
    async def pipeline() -> str:
        await cut()
        question = [{"role": "user", "content": "?"}]
        return f"{(await summarise(question))['content']}{(await report(question))['content']}"

    async with worker_of(near, pipeline, poll_s=60) as worker:
        run = await worker.run(pipeline)
        other = await worker.run(pipeline)

    shown = await runs_of(near).show(run.id)
    assert [(one.stage, one.number, one.outcome, one.tokens, str(one.cost)) for one in shown.calls] == [
        ("summarise", 1, "failed", 0, "0.000000"), ("summarise", 2, "completed", 120, "0.120000"),
        ("report", 1, "completed", 130, "0.130000"),
    ]  # fmt: skip
    stages = {one.stage: one for one in shown.stages}
    assert [one.stage for one in shown.stages] == ["report", "summarise", "cut"]
    assert (stages["summarise"].calls, stages["summarise"].tokens, stages["cut"].calls) == (2, 120, 0)
    assert (shown.saved.words(), shown.saved.unknown) == ("0.250000 USD", 0)
    assert (await runs_of(near).show(other.id)).saved.words() == "2 calls of unknown cost"
    unknown = (await runs_of(near).show(other.id)).stages
    assert {(one.stage, one.tokens, one.cost) for one in unknown if one.calls} == {
        ("summarise", None, None), ("report", None, None)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "it has a version"),
        ({"version": "1", "model": []}, "and no model"),
        ({"version": "1", "models": {}}, "models is a list"),
        ({"version": "1", "models": [{"models": []}]}, "row 1 of models"),
        ({"version": "1", "models": [{"models": [7]}]}, "the model of row 1"),
        ({"version": "1", "budgets": [{"scope": "all", "tokens": 1}]}, "has a scope"),
        ({"version": "1", "budgets": [{"scope": "run"}]}, "limits nothing"),
        ({"version": "1", "budgets": [{"scope": "run", "tokens": -1}]}, "no whole number"),
        ({"version": "1", "budgets": [{"scope": "run", "cost": "much"}]}, "no number"),
        ({"version": "1", "budgets": [{"scope": "run", "cost": "-1"}]}, "no amount"),
        ({"version": "1", "budgets": [{"scope": "run", "tokens": 1, "every": "day"}]}, "of a space or a tenant"),
    ],
)
def test_a_policy_that_is_none_is_named(document: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        ModelPolicy.of(document)


def test_a_policy_has_a_bound() -> None:
    with pytest.raises(LimitError):
        ModelPolicy.of({"version": "1", "models": [{"models": ["a"]}] * 201})
