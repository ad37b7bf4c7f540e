"""What went stale under standing decisions, and the brief that says it, on every store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conformance.stores import empty_neo4j

from latewood.execution import Fault
from latewood.graph_schema.clock import AsOf, ManualClock
from latewood.memory import BriefSection, DecisionStatus, Memory
from latewood.memory.messages import messages_of

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture(params=["reference", "sqlite", "neo4j"])
def clock_and_url(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ManualClock, str]:
    if request.param == "neo4j":
        url: str = request.getfixturevalue("neo4j_url")
        empty_neo4j(url)
    else:
        url = "reference:" if request.param == "reference" else str(tmp_path / "brief.db")
    return ManualClock(START), url


@pytest.fixture
async def memory(clock_and_url: tuple[ManualClock, str]) -> AsyncIterator[Memory]:
    clock, url = clock_and_url
    async with Memory.open(url, by="human:ada", session="s-1", clock=clock) as opened:
        yield opened


async def tell(memory: Memory, clock: ManualClock) -> dict[str, str]:
    """A decision for each way in which evidence moves, a day each."""
    ids: dict[str, str] = {}

    def day(number: int) -> None:
        clock.set(START + timedelta(days=number))

    rates = {
        how: await memory.observe(f"carrier:{how}", "on_time_rate", 0.8, valid_from=START, source=f"{how}.csv")
        for how in ("corrected", "retracted", "ended", "superseded", "steady")
    }
    first = await memory.decide("Ship by lane one", because="it is short", key="d:first")
    for number, (how, rate) in enumerate(rates.items()):
        day(1 + number)
        ids[how] = (
            await memory.decide(
                f"Trust {how}", because="the rate", key=f"d:{how}", about=[f"carrier:{how}"], evidence=[rate]
            )
        ).id
    day(7)
    ids["on first"] = (
        await memory.decide("Rent by lane one", because="we ship there", evidence=[first], key="d:on")
    ).id
    await memory.decide("Ask carrier C", because="B may fill up", key="d:open", status=DecisionStatus.PROPOSED)
    day(8)
    await memory.correct(rates["corrected"], 0.9, because="two trips were counted twice", source="corrected.csv")
    await memory.retract(rates["retracted"], because="another carrier's figure")
    await memory.end(rates["ended"])
    await memory.observe("carrier:superseded", "on_time_rate", 0.5, source="superseded.csv")
    await memory.observe(
        "carrier:steady", "on_time_rate", 0.1, valid_from=START, source="rumour.txt", by="agent:reader"
    )
    await memory.decide("Ship by lane two", because="lane one floods", key="d:second", supersedes=["d:first"])
    return ids


async def test_each_way_of_moving_is_named_with_what_holds_now(
    memory: Memory, clock_and_url: tuple[ManualClock, str]
) -> None:
    ids = await tell(memory, clock_and_url[0])

    page = await memory.stale()
    found = {one.decision.id: one.moved for one in page.items}
    before = await memory.stale(at=AsOf(START + timedelta(days=7, hours=1), START + timedelta(days=7, hours=1)))

    assert page.next is None
    assert set(found) == {ids[how] for how in ("corrected", "retracted", "ended", "superseded", "on first")}
    hows = {how: found[ids[how]][0] for how in ("corrected", "retracted", "ended", "superseded")}
    assert {how: piece.how for how, piece in hows.items()} == {how: how for how in hows}
    now = {how: piece.now.value.data if piece.now and piece.now.value else None for how, piece in hows.items()}
    assert now == {"corrected": 0.9, "retracted": None, "ended": None, "superseded": 0.5}
    assert hows["corrected"].reason == "two trips were counted twice"
    assert found[ids["on first"]][0].how == "superseded"
    assert before.items == ()


async def test_evidence_that_was_corrected_again_was_corrected(memory: Memory) -> None:
    rates = [await memory.observe(f"carrier:{n}", "on_time_rate", 0.8, valid_from=START) for n in range(2)]
    made = await memory.decide("Trust both", because="the rates", evidence=rates)
    for n, rate in enumerate(rates):
        fact = rate
        for value in (0.7, 0.6, 0.5):
            fact = await memory.correct(fact, value, because=f"make it {value}")
        if n == 1:
            # What holds now is not what took its place.
            await memory.retract(fact, because="another carrier's")
            await memory.observe("carrier:1", "on_time_rate", 0.4)

    (stale,) = (await memory.stale()).items

    assert stale.decision.id == made.id
    assert [one.how for one in stale.moved] == ["corrected", "retracted"]
    assert {one.reason for one in stale.moved} == {"make it 0.7"}
    (line,) = [one.text for one in (await memory.brief()).lines if one.section is BriefSection.STALE]
    assert "was corrected, now 0.5 (make it 0.7)" in line


async def test_pages_of_stale_decisions_go_on(memory: Memory, clock_and_url: tuple[ManualClock, str]) -> None:
    await tell(memory, clock_and_url[0])
    whole = await memory.stale()

    found: list[str] = []
    after: str | None = None
    while True:
        page = await memory.stale(first=2, after=after)
        assert len(page.items) <= 2
        found += [one.decision.id for one in page.items]
        after = page.next
        if after is None:
            break

    assert found == [one.decision.id for one in whole.items]
    assert whole.items[0].decision.key == "d:on"


async def test_a_brief_tells_all_of_it_and_only_what_was_known(
    memory: Memory, clock_and_url: tuple[ManualClock, str]
) -> None:
    clock = clock_and_url[0]
    await tell(memory, clock)
    await memory.observe("d:steady", "outcome", "late twice")
    clock.set(START + timedelta(days=9))

    found = await memory.brief(budget_tokens=4_000)
    by_section = {section: [one.text for one in found.lines if one.section is section] for section in BriefSection}
    later = await memory.brief(since=START + timedelta(days=8, hours=12), budget_tokens=4_000)
    past = await memory.brief(at=AsOf(START + timedelta(days=3), START + timedelta(days=3)), budget_tokens=4_000)

    assert [text for text in by_section[BriefSection.OPEN] if "Ask carrier C" in text]
    assert ["another source says 0.1" in text for text in by_section[BriefSection.CONFLICTS]] == [True]
    assert len(by_section[BriefSection.STALE]) == 5
    assert any(
        "0.8 was corrected, now 0.9 (two trips were counted twice)" in one for one in by_section[BriefSection.STALE]
    )
    assert any(one.startswith("late twice followed") for one in by_section[BriefSection.PRECEDENTS])
    assert by_section[BriefSection.SUPERSEDED] == ["d:first Ship by lane one is superseded by d:second"]
    assert len(by_section[BriefSection.IN_FORCE]) == 7
    assert found.left_out == {}
    assert not [one for one in later.lines if one.section is BriefSection.SUPERSEDED]
    assert not [one for one in past.lines if one.section is BriefSection.STALE]
    assert (await memory.brief(budget_tokens=4_000)).text == found.text


async def test_a_brief_of_one_thing_leaves_the_rest_out(memory: Memory, clock_and_url: tuple[ManualClock, str]) -> None:
    await tell(memory, clock_and_url[0])

    found = await memory.brief("carrier:corrected", budget_tokens=300)

    assert {one.section for one in found.lines} == {BriefSection.STALE, BriefSection.IN_FORCE}
    assert all("Trust corrected" in one.text for one in found.lines)
    assert found.text.startswith("# Brief: carrier:corrected, since ")


async def test_dead_letters_of_one_cause_are_one_line() -> None:
    clock = ManualClock(START)
    async with Memory.open("reference:", by="agent:books", clock=clock, embedder="none") as memory:
        messages = messages_of(memory)
        for channel, whose in (("orders", "human:ada"), ("claims", None)):
            await messages.make_channel(channel, owner=whose)
        for number in range(12):
            clock.set(START + timedelta(days=number))
            await messages.publish("orders", {"order": number})
            (taken,) = await messages.receive("orders")
            await messages.nack(taken, Fault("permanent", f"no order {number} of {taken.message.id}"))
        for reason in ("no such claim", "no such clerk"):
            await messages.publish("claims", {})
            (taken,) = await messages.receive("claims")
            await messages.nack(taken, Fault("permanent", reason))
        letters = (await messages.dead_letters()).items
        whole, hers = await memory.brief(), await memory.within(by="human:ada").brief()

    told = [one.text for one in whole.lines]
    assert told[:2] == [
        f"2026-03-13 claims: permanent after 1 try; nobody owns it: no such {one}" for one in ("clerk", "claim")
    ]
    all_of_them = "2026-03-13 orders: 12 dead letters since 2026-03-02, permanent; they wait for human:ada, "
    assert told[2:] == [f"{all_of_them}`dead_letters` lists them; the latest: {letters[2].reason}"]
    assert [one.ref for one in hers.lines if one.section is BriefSection.YOURS] == [letters[2].id]
