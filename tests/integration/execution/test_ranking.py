"""Where runs lose money and time: a slow stage that talks much comes first, in both orders."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from latewood.execution import Fault, FaultClass, ask, gather, sleep, step, trying, workflow
from latewood.execution.external_words import Held, call_of, done_of
from latewood.execution.faults import DEFAULT, Action, Rule
from latewood.execution.ranking import rank_stages
from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.errors import LimitError
from latewood.memory import Memory
from latewood.memory.runs import agents_of, book_of, runs_of, worker_of

EMBEDDED = pytest.mark.parametrize("memory", ["reference", "sqlite"], indirect=True)
QUICK = DEFAULT.changed("quick-1", {FaultClass.TRANSIENT: Rule(3, Action.ESCALATE, first_s=0.001)})
SLOW_S = 0.2
"""Longer than a busy machine holds up a step that does nothing."""


def used(**usage: int) -> None:
    now = trying()
    assert now is not None
    now.usage, now.model = dict(usage), "m-1"


@step()
async def fetch(number: int) -> int:
    return number


@step()
async def summarise(number: int) -> str:
    used(input=5_000, output=1_000)
    await asyncio.sleep(SLOW_S)
    now = trying()
    if number == 1 and now is not None and now.number == 1:
        raise Fault("transient", "busy")
    return "long"


@step()
async def title(number: int) -> str:
    used(input=10, output=2)
    return "short"


@workflow(policy=QUICK)
async def digest(count: int) -> int:
    for number in range(count):
        await gather(fetch(number), summarise(number), title(number))
    return count


@workflow(owner="human:ada")
async def asks() -> None:
    await sleep(0.001)
    await ask("Go on?")


@EMBEDDED
async def test_a_slow_stage_that_talks_much_leads_both_lists(memory: Memory) -> None:
    async with worker_of(memory, digest, poll_s=60) as worker:
        for _ in range(2):
            await worker.run(digest, 3)

    found = await rank_stages(book_of(memory))
    assert (found.runs, found.more) == (2, False)
    assert [one.stage for one in found.by_cost] == ["summarise", "title", "fetch"]
    assert found.by_wait[0].stage == "summarise"
    first = found.by_cost[0]
    assert (first.steps, first.tries, first.failed, first.tokens) == (6, 8, 2, 48_000)
    assert first.p95_s >= first.p50_s >= SLOW_S
    assert first.seconds >= 6 * SLOW_S
    assert (first.cost, first.waiting, first.uncounted) == (None, 0, 0)
    only = await rank_stages(book_of(memory), runs=1)
    assert (only.runs, only.more, only.by_cost[0].steps) == (1, True, 3)
    assert (await rank_stages(book_of(memory), workflow="nobody's")).by_cost == ()
    for runs in (0, 1_001):
        with pytest.raises(LimitError):
            await rank_stages(book_of(memory), runs=runs)


@EMBEDDED
async def test_what_is_waited_for_counts_until_now_and_a_fork_pays_for_nothing_twice(
    memory: Memory, clock: ManualClock
) -> None:
    agents = agents_of(memory)
    run = await agents.start("ts.lanes", owner="human:ada")
    mine = Held(run.id, "one", (await agents.claim(run.id, "one", lease_s=3_600)).fence)
    called = call_of((1,), "fetch", {}, None)
    await agents.begin(mine, called)
    clock.advance(seconds=10)
    await agents.complete(mine, called, done_of("x", usage={"input": 70, "output": 30}, seconds=4))
    await agents.ask(mine, (2,), "Go on?")
    await runs_of(memory).fork(run.id, "2")
    clock.advance(seconds=500)

    found = await rank_stages(book_of(memory))
    asked, fetched = found.by_wait
    assert (asked.stage, asked.p95_s, asked.waiting) == ("ask", pytest.approx(500, abs=0.01), 1)
    assert (fetched.stage, fetched.steps, fetched.tokens, fetched.p95_s) == (
        "fetch",
        1,
        100,
        pytest.approx(10, abs=0.01),
    )
    await runs_of(memory.within(by="human:ada")).answer(f"{run.id}/2", "yes")
    clock.advance(seconds=500)
    asked = (await rank_stages(book_of(memory))).by_wait[0]
    assert (asked.p95_s, asked.waiting) == (pytest.approx(500, abs=0.01), 0)


@EMBEDDED
async def test_prices_rank_before_tokens_and_two_currencies_have_no_sum(memory: Memory) -> None:
    from latewood.execution.ranking import _Sum

    dear, mixed = _Sum(tokens=1), _Sum(tokens=9)
    dear.costs["USD"] = Decimal("0.21")
    mixed.costs |= {"USD": Decimal(1), "EUR": Decimal(1)}
    assert (dear.ranked("w", "a").cost, dear.ranked("w", "a").currency) == (Decimal("0.21"), "USD")
    assert (mixed.ranked("w", "b").cost, mixed.ranked("w", "b").currency) == (None, None)
