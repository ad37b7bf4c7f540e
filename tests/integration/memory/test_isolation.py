"""One caller's fault is not its neighbours'; the past stays as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.errors import InvalidError, LatewoodError, UnavailableError
from latewood.memory import AsOf, DecisionStatus, Memory, Trust


@pytest.fixture(params=["sqlite", "reference"])
async def memory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Memory]:
    url = "reference:" if request.param == "reference" else str(tmp_path / "latewood.db")
    async with Memory.open(url, by="agent:planner", clock=ManualClock()) as memory:
        yield memory


@pytest.mark.parametrize(
    "odd",
    [
        {"idempotency_key": "\ud800"},
        {"source": "\ud800"},
        {"quote": "\ud800"},
        {"as_written": "\ud800"},
        {"session": "\ud800"},
    ],
    ids=lambda odd: next(iter(odd)),
)
async def test_half_a_character_fails_alone_and_with_a_code(memory: Memory, odd: dict[str, str]) -> None:
    answers = await asyncio.gather(
        memory.observe("carrier:A", "state", "late"),
        memory.observe("carrier:B", "state", "late", **odd),
        memory.observe("carrier:C", "state", "late"),
        return_exceptions=True,
    )

    assert not isinstance(answers[0], BaseException)
    assert not isinstance(answers[2], BaseException)
    assert isinstance(answers[1], LatewoodError)
    assert answers[1].code == "value.invalid"


async def test_giving_up_on_the_end_does_not_stop_the_writes(tmp_path: Path) -> None:
    memory = await Memory.open(str(tmp_path / "a.db"), by="agent:planner")
    writes = [asyncio.create_task(memory.observe(f"item:{n}", "level", n)) for n in range(500)]
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(memory.close(), 0.001)
    answers = await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 30)
    await memory.close()

    assert all(not isinstance(one, BaseException) or isinstance(one, UnavailableError) for one in answers)
    kept = sum(not isinstance(one, BaseException) for one in answers)
    async with Memory.open(str(tmp_path / "a.db")) as again:
        assert len((await again.nodes(type_="item", first=1000)).items) == kept


async def test_a_read_of_the_past_stays_equal_whatever_comes_later(memory: Memory) -> None:
    seen = await memory.observe("carrier:A", "rate", 0.8)
    choice = await memory.decide("Leave A", because="late", about=["carrier:A"], evidence=[seen])
    moment = choice.receipt.recorded_at
    assert moment is not None
    at = AsOf(moment, moment)
    before = await memory.why(choice, at)
    await memory.retract(seen)
    await memory.observe("carrier:A", "rate", 0.9)

    assert await memory.why(choice, at) == before
    assert (await memory.decision(choice)).evidence[0].moved == "retracted"
    assert (await memory.node("carrier:A", at)).version == 0


async def test_a_predicate_that_differs_only_in_case_is_refused(memory: Memory) -> None:
    await memory.observe("person:a", "likes", "tea")

    with pytest.raises(InvalidError, match="likes"):
        await memory.relate("person:a", "Likes", "thing:b")
    with pytest.raises(InvalidError, match="own"):
        await memory.observe("predicate:foo", "x", 1)


async def test_an_id_in_another_spelling_is_the_same_id(memory: Memory) -> None:
    await memory.observe("carrier:A", "state", "late")
    node = await memory.node("carrier:A")

    assert (await memory.node(node.id.upper())).id == node.id
    await memory.observe(node.id.replace("-", ""), "state", "later")
    assert len((await memory.nodes(type_="carrier")).items) == 1


async def test_a_proposal_takes_nobodys_place_yet(memory: Memory) -> None:
    old = await memory.decide("Use Harbor", because="self-hosted")
    await memory.decide("Use ECR", because="less work", supersedes=[old], status=DecisionStatus.PROPOSED)

    assert (await memory.decision(old)).status is DecisionStatus.ACCEPTED


async def test_a_flood_of_untrusted_claims_does_not_lock_the_owner_out(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("latewood.graph_schema.resolution", "latewood.storage.settling"):
        monkeypatch.setattr(f"{module}.STRETCHES_MAX", 20)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    price = await memory.observe("part:p", "price", 10, by="human:ada", valid_from=start)
    for number in range(30):
        at = start + timedelta(days=30 - number)
        await memory.observe("part:p", "price", 99 + number, trust=Trust.UNTRUSTED, valid_from=at)

    await memory.correct(price, 11, by="human:ada")
    (fact,) = (await memory.entity("part:p", ["price"])).facts
    assert fact.value is not None
    assert fact.value.python == 11
