"""Patterns of what is not in numbers: stale decisions, sources that disagree, decisions that keep ending badly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from packs import SITES

from latewood.graph_schema.clock import NOW, AsOf
from latewood.graph_schema.model import DecisionStatus, Fact, Trust
from latewood.graph_schema.packs.loader import load_pack
from latewood.graph_schema.patterns import PatternKind, PatternStatus
from latewood.memory import Memory
from latewood.memory.patterns import Pattern, detect, explain, patterns
from latewood.reasoning.patterns import series
from latewood.reasoning.patterns.view import View, read_world
from latewood.storage.port import FactQuery

START = datetime(2026, 1, 5, tzinfo=UTC)


async def of_kind(memory: Memory, kind: PatternKind) -> list[Pattern]:
    return list((await patterns(memory, kind=kind)).items)


@pytest.mark.parametrize("store", ["sqlite", "reference"])
async def test_a_decision_is_stale_until_it_is_settled(store: str, tmp_path: Path) -> None:
    url = "reference:" if store == "reference" else str(tmp_path / "one.db")
    async with Memory.open(url, by="human:ada", embedder="none") as memory:
        rate = await memory.observe("carrier:A", "on_time", 0.81, valid_from=START)
        choice = await memory.decide("Leave A", because="late too often", evidence=[rate], about=["carrier:A"])
        assert (await detect(memory)).opened == ()
        await memory.correct(rate, 0.95)
        assert len((await detect(memory)).opened) == 1
        (one,) = await of_kind(memory, PatternKind.STALENESS)
        assert one.statement.endswith(" stands, and a piece of its evidence was corrected")
        assert rate.id in (await explain(memory, one.id)).evidence
        assert (await detect(memory)).facts == 0
        await memory.decide("Stay with A", because="it was a typing error", supersedes=[choice])
        report = await detect(memory)
        assert report.ended == (one.key,)
        assert (await explain(memory, one.id)).status is PatternStatus.ENDED


async def test_sources_that_disagree_are_told_until_one_is_taken_back(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "one.db"), by="human:ada", embedder="none") as memory:
        await memory.observe("invoice:7", "total", 120, valid_from=START, source="erp")
        assert (await detect(memory)).opened == ()
        other = await memory.observe("invoice:7", "total", 125, valid_from=START, source="mail")
        report = await detect(memory)
        assert report.opened == ("total of invoice:7 is 125 by one source and 120 by another; nobody has settled it",)
        (one,) = await of_kind(memory, PatternKind.CONTRADICTION)
        assert (one.q, one.effect, len((await explain(memory, one.id)).evidence)) == (None, 1.0, 2)
        await memory.retract(other, because="the mail was about another invoice")
        assert (await detect(memory)).ended == (one.key,)
        assert await of_kind(memory, PatternKind.CONTRADICTION) == []


async def test_where_sources_disagree_is_looked_up_without_reading_all_that_was_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Memory.open("reference:", by="human:ada", packs=[load_pack(SITES)], embedder="none") as memory:
        for source in ("erp", "mail"):
            for number in range(40):
                await memory.observe("site:1", "incident", f"{source} {number}", valid_from=START, source=source)
            await memory.observe("site:1", "head", f"told by {source}", valid_from=START, source=source)
            await memory.observe("site:2", "name", f"named by {source}", valid_from=START, source=source)
        read, given = memory.store.facts, list[str]()

        async def counted(space: str, query: FactQuery, at: AsOf = NOW) -> tuple[Fact, ...]:
            found = await read(space, query, at)
            given.extend(fact.predicate for fact in found if query.subjects is not None)
            return found

        monkeypatch.setattr(memory.store, "facts", counted)
        view = View(memory.store, memory.space)
        await view.refresh()
        told = (await view.world()).disputes
    assert [one.predicate for one in told] == ["head", "name"]
    assert sorted(given) == ["head", "name"]


async def test_a_value_among_many_is_disputed_by_who_ended_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Memory.open("reference:", by="human:ada", packs=[load_pack(SITES)], embedder="none") as memory:
        fire = await memory.observe("site:1", "incident", "fire", valid_from=START, source="erp")
        await memory.observe("site:1", "incident", "flood", valid_from=START, source="mail")
        await memory.within(trust=Trust.UNTRUSTED).end(fire, at=START + timedelta(days=1), because="so they say")
        (one,) = (await read_world(memory.store, memory.space)).disputes
        assert (one.fact, one.predicate) == (fire.id, "incident")
        monkeypatch.setattr(series, "SERIES_FACTS_MAX", 1)
        assert (await read_world(memory.store, memory.space)).disputes == ()


async def test_decisions_that_keep_ending_badly_are_told_and_chance_is_not(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "one.db"), by="human:ada", embedder="none") as memory:

        async def take(about: str, number: int, *, bad: bool) -> None:
            await memory.decide(
                f"Try {number}", because="a reason", about=[about], decided_at=START + timedelta(days=number),
                status=DecisionStatus.REVERSED if bad else DecisionStatus.ACCEPTED,
            )  # fmt: skip

        for number in range(40):
            # One in ten of the others ends badly, and of the last site's all but one.
            about = f"site:{number % 4}"
            await take(about, number, bad=number % 10 == 0 or (about == "site:3" and number != 3))
        report = await detect(memory)
        assert report.failed == ()
        (one,) = await of_kind(memory, PatternKind.OUTCOME)
        assert one.statement.startswith(
            "9 of 10 decisions of site:3 were reversed, withdrawn or turned out badly, 90% (95 % "
        )
        assert one.q is not None
        assert one.q < 0.01
        assert len((await explain(memory, one.id)).evidence) == one.support == 9


@pytest.mark.parametrize("store", ["sqlite", "reference"])
async def test_an_outcome_that_is_said_to_be_bad_counts_until_it_is_said_to_be_good(store: str, tmp_path: Path) -> None:
    url = "reference:" if store == "reference" else str(tmp_path / "one.db")
    async with Memory.open(url, by="human:ada", embedder="none") as memory:
        failed: list[str] = []
        for number in range(24):
            about = f"supplier:{number % 4}"
            day = START + timedelta(days=number)
            taken = await memory.decide(f"Order {number}", because="a reason", about=[about], decided_at=day)
            # Words alone are no verdict.
            await memory.observe(taken, "outcome", f"delivered {number} days late", valid_from=START)
            bad = about == "supplier:3"
            said = await memory.observe(taken, "outcome", not bad, valid_from=day)
            failed += [said.id] if bad else []
        await detect(memory)
        (one,) = await of_kind(memory, PatternKind.OUTCOME)
        assert one.statement.startswith(
            "6 of 6 decisions of supplier:3 were reversed, withdrawn or turned out badly, 100%"
        )
        assert sorted((await explain(memory, one.id)).evidence) == sorted(failed)
        assert (await detect(memory)).facts == 0

        for said in (await memory.facts_by_id(failed[:4])).values():
            await memory.observe(said.subject_id, "outcome", True, valid_from=START + timedelta(days=99))
        await detect(memory)
        assert await of_kind(memory, PatternKind.OUTCOME) == []
