"""Patterns through the one door: found, kept once, known as of then, and withdrawn with their evidence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from latewood.graph_schema.clock import AsOf, to_micros
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.errors import ConflictError, InvalidError, NotFoundError
from latewood.graph_schema.patterns import PatternKind, PatternReview, PatternStatus
from latewood.graph_schema.values import Value
from latewood.memory import Memory
from latewood.memory.following import follow
from latewood.memory.looked import looked
from latewood.memory.patterns import (
    DetectReport,
    Pattern,
    detect,
    explain,
    patterns,
    review,
)
from latewood.reasoning.patterns.port import Detector, Finding, Skipped, World
from latewood.reasoning.patterns.worded import Reversals

STORES = ("sqlite", "reference", "neo4j")
START = datetime(2026, 1, 5, tzinfo=UTC)
WEEKS = 24
Said = tuple[str, str, float | str, int]


def told(weeks: int = WEEKS) -> list[Said]:
    """20 carriers, of which three drift and one steps, and a project that goes back and forth."""
    random = np.random.default_rng(2)
    rows: list[Said] = []
    for carrier in range(20):
        values = 80 + random.normal(size=weeks)
        if carrier < 3:
            values = values - np.linspace(0, 9, weeks)
        if carrier == 3:
            values = values + 7 * (np.arange(weeks) >= 12)
        rows += [(f"carrier:{carrier}", "on_time", float(value), week) for week, value in enumerate(values)]
    rows += [("project:1", "vendor", "AB"[week % 2], week) for week in range(6)]
    return rows


async def keep(memory: Memory, rows: Sequence[Said]) -> None:
    for start in range(0, len(rows), 500):
        commands = [
            Assert(
                memory.ids.new(), Ref(key=entity), predicate, Value.of(value),
                valid_from=to_micros(START + timedelta(weeks=week)),
            )
            for entity, predicate, value, week in rows[start : start + 500]
        ]  # fmt: skip
        await memory.write(commands, ["rows", start, len(commands)])


async def everything(memory: Memory, at: AsOf | None = None) -> dict[str, Pattern]:
    page = await patterns(memory, status=(), hidden=True, first=200, at=at or AsOf())
    return {one.key: one for one in page.items}


def address(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if store == "neo4j":
        return str(request.getfixturevalue("neo4j_url"))
    return "reference:" if store == "reference" else str(tmp_path / "patterns.db")


@pytest.fixture(params=STORES)
async def memory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Memory]:
    url = address(request.param, tmp_path, request)
    async with Memory.open(url, by="human:ada") as opened:
        if request.param == "neo4j":
            name = f"patterns-{tmp_path.name[-20:].strip('-').lower()}"
            await opened.create_space(name)
            opened = opened.within(space=name)  # noqa: PLW2901
        yield opened


def by_name(found: dict[str, Pattern], names: dict[str, str]) -> set[tuple[str, str, str]]:
    return {(one.kind.value, names[one.about[0]], one.status.value) for one in found.values()}


async def names_of(memory: Memory) -> dict[str, str]:
    return {node.id: node.key or "" for node in (await memory.nodes(first=200)).items}


EXPECTED = {
    ("trend", "carrier:0", "open"),
    ("trend", "carrier:1", "open"),
    ("trend", "carrier:2", "open"),
    ("shift", "carrier:3", "open"),
    ("reversal", "project:1", "open"),
}


@pytest.mark.timeout(300)
async def test_patterns_open_once_and_are_withdrawn_with_their_evidence(memory: Memory) -> None:
    await keep(memory, told())
    before = await memory.now()
    report = await detect(memory)
    assert report.failed == ()
    found = await everything(memory)
    names = await names_of(memory)
    assert by_name(found, names) >= EXPECTED
    assert len(found) <= len(EXPECTED) + 1
    assert (report.looked, len(report.opened)) == (21, len(found))

    # The same data again: nothing is written.
    again = await detect(memory)
    assert (again.facts, again.opened, len(again.kept)) == (0, (), len(found))
    assert await everything(memory) == found

    # What was known before the look is still what was known.
    assert await everything(memory, AsOf(known_at=before)) == {}

    trend = next(one for one in found.values() if names[one.about[0]] == "carrier:0")
    whole = await explain(memory, trend.id)
    assert whole.support == len(whole.evidence) == WEEKS
    assert whole.effect is not None
    assert whole.low is not None
    assert whole.high is not None
    assert whole.low < whole.effect < whole.high < 0
    assert whole.q is not None
    assert whole.q <= 0.06
    assert "carrier:0" in whole.statement
    facts = await memory.facts_by_id(whole.evidence)
    assert {fact.subject_id for fact in facts.values()} == set(whole.about)

    step = next(one for one in found.values() if names[one.about[0]] == "carrier:3")
    cuts = step.detail["cuts"]
    assert isinstance(cuts, list)
    assert len(cuts) == 1

    for fact in sorted(whole.evidence)[:20]:
        await memory.retract(fact, because="the sensor was broken")
    after = await detect(memory)
    assert after.withdrawn == (trend.key,)
    now = await explain(memory, trend.id)
    assert now.status is PatternStatus.WITHDRAWN
    assert len(now.evidence) == 4
    assert (await explain(memory, trend.id, at=AsOf(known_at=trend.recorded_at))).status is PatternStatus.OPEN


async def test_the_order_of_arrival_makes_no_difference(tmp_path: Path) -> None:
    rows = told()
    kept: list[set[tuple[object, ...]]] = []
    for order in (rows, rows[::-1]):
        async with Memory.open("reference:", by="human:ada") as memory:
            await keep(memory, order)
            await detect(memory)
            names = await names_of(memory)
            found = await everything(memory)
            kept.append(
                {(one.kind, names[one.about[0]], one.statement, one.p, one.q, one.effect) for one in found.values()}
            )
    assert kept[0] == kept[1]


async def test_one_more_week_strengthens_and_a_recovery_ends(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "one.db"), by="human:ada") as memory:
        choices = [("project:1", "vendor", "AB"[week % 2], week) for week in range(5)]
        await keep(memory, choices)
        first = await detect(memory)
        assert len(first.opened) == 1
        await keep(memory, [("project:1", "vendor", "B", 5)])
        second = await detect(memory)
        assert (len(second.changed), second.opened) == (1, ())
        one = next(iter((await everything(memory)).values()))
        assert (one.effect, len((await explain(memory, one.key)).evidence)) == (4.0, 6)
        fact = (await memory.timeline("project:1", predicates=["vendor"])).items[2]
        await memory.correct(fact, "C")
        third = await detect(memory)
        assert third.withdrawn == (one.key,)
        assert (await patterns(memory)).items == ()
        # It comes back as the same node when the correction is taken back.
        mended = (await memory.timeline("project:1", predicates=["vendor"])).items
        new = next(one for one in mended if one.value is not None and one.value.data == "C")
        await memory.correct(new, "A")
        assert len((await detect(memory)).opened) == 1
        assert [page.id for page in (await memory.patterns(kind=PatternKind.REVERSAL)).items] == [one.id]
        assert (await memory.patterns(status=[PatternStatus.ENDED])).items == ()


async def test_erased_evidence_withdraws(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "one.db"), by="human:ada") as memory:
        await keep(memory, [("project:1", "vendor", "AB"[week % 2], week) for week in range(5)])
        await detect(memory)
        one = (await patterns(memory)).items[0]
        await memory.erase((await memory.timeline("project:1", predicates=["vendor"])).items[2].id, reason="asked to")
        assert (await detect(memory)).withdrawn == (one.key,)
        assert len((await explain(memory, one.id)).evidence) == 4


def bytes_under(folder: Path) -> bytes:
    return b"".join(one.read_bytes() for one in folder.iterdir() if one.is_file())


async def test_no_word_of_a_pattern_outlives_the_erasure_of_what_it_tells(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        words = ("Nordwind", "Suedwind")
        await keep(memory, [("project:rosebud", "vendor", words[week % 2], week) for week in range(5)])
        await detect(memory)
        one = (await patterns(memory)).items[0]
        choice = await memory.decide("Stay", because="flipping costs a week each", evidence=[one.id])
        said = "vendor of project:rosebud went back and forth between 'Nordwind' and 'Suedwind'"
        assert said in one.statement
        assert one.detail["options"] == ["Nordwind", "Suedwind"]
        assert any(said in line.text for line in (await memory.why(choice)).lines)
        assert said in (await memory.brief()).text

        # What is erased is gone from the words at once, of the past too, before any look.
        rows = (await memory.timeline("project:rosebud", predicates=["vendor"])).items
        for row in rows:
            if row.value is not None and row.value.data == "Suedwind":
                await memory.erase(row.id, reason="asked to")
        for at in (AsOf(), AsOf(known_at=one.recorded_at)):
            then = await explain(memory, one.id, at=at)
            assert "between 'Nordwind' and '(erased)'" in then.statement
            assert then.detail["options"] == ["Nordwind", "(erased)"]
        await memory.erase("project:rosebud", reason="asked to")
        assert "vendor of (erased) went" in (await explain(memory, one.id)).statement
        report = await detect(memory)
        assert report.withdrawn == (one.key,)
        told = "\n".join(line.text for line in (await memory.why(choice)).lines)
        assert "vendor of (erased) went" in told
        assert "[since withdrawn]" in told
        # A decision that rests on it is stale.
        assert [one.decision.id for one in (await memory.stale()).items] == [choice.id]
        assert (await memory.stale()).items[0].moved[0].how == "withdrawn"
    kept = bytes_under(tmp_path)
    for word in (b"rosebud", b"Suedwind", b"Nordwind"):
        assert word not in kept


async def test_a_brief_tells_of_patterns_that_hold_and_nobody_muted(tmp_path: Path) -> None:
    async with Memory.open("reference:", by="human:ada") as memory:
        await keep(memory, [(f"project:{n}", "vendor", "AB"[week % 2], week) for n in (1, 2) for week in range(5)])
        await detect(memory)
        text = (await memory.brief("project:1")).text
        assert "## Patterns: what recurs or changes\n- vendor of project:1 went" in text
        assert "project:2" not in text
        first = next(one for one in (await patterns(memory)).items if "project:1" in one.statement)
        await review(memory, first.id, PatternReview.REJECTED, because="two teams write there")
        assert "project:1 went" not in (await memory.brief()).text
        assert "project:2 went" in (await memory.brief()).text


async def test_a_person_reviews_and_a_decision_rests_on_a_pattern(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "one.db"), by="human:ada") as memory:
        await keep(memory, [("project:1", "vendor", "AB"[week % 2], week) for week in range(5)])
        await detect(memory)
        one = (await patterns(memory)).items[0]
        choice = await memory.decide("Stay with A", because="the flipping costs a week each time", evidence=[one.id])
        piece = (await memory.why(choice)).decision.evidence[0]
        assert piece.node is not None
        assert piece.node.id == one.id
        assert any("went back and forth" in line.text for line in (await memory.why(choice)).lines)
        with pytest.raises(InvalidError):
            await review(memory, one.key, PatternReview.MUTED, because=" ")
        await review(memory, one.key, PatternReview.MUTED, because="known and planned")
        with pytest.raises(ConflictError):
            await review(memory, one.key, PatternReview.MUTED, because="known and planned")
        assert (await patterns(memory)).items == ()
        shown = (await patterns(memory, hidden=True)).items[0]
        assert (shown.review, shown.reason, shown.status) == (
            PatternReview.MUTED, "known and planned", PatternStatus.OPEN,
        )  # fmt: skip
        assert (await detect(memory)).facts == 0
        with pytest.raises(NotFoundError):
            await explain(memory, "project:1")


class Broken:
    """A detector that throws."""

    name = "broken"
    kinds = frozenset({PatternKind.TREND})

    def find(self, world: World, slack: float = 1.0) -> tuple[Sequence[Finding], Sequence[Skipped]]:
        raise ZeroDivisionError("no numbers today")


async def test_a_detector_that_throws_stops_no_other_and_ends_nothing(tmp_path: Path) -> None:
    async with Memory.open("reference:", by="human:ada") as memory:
        await keep(memory, told())
        await detect(memory)
        before = await everything(memory)
        broken: tuple[Detector, ...] = (Broken(), Reversals())
        report: DetectReport = await detect(memory, detectors=broken)
        assert [(one.detector, one.reason) for one in report.failed] == [
            ("broken", "ZeroDivisionError: no numbers today")
        ]
        after = await everything(memory)
        assert all(after[key] == one for key, one in before.items() if one.kind is PatternKind.TREND)
        assert any("back and forth" in one for one in report.kept)


async def test_what_cannot_be_looked_at_is_explained() -> None:
    async with Memory.open("reference:", by="human:ada") as memory:
        rows: list[Said] = [("a:1", "rate", 5.0, week) for week in range(20)]
        rows += [("a:2", "rate", float(week % 3), week) for week in range(4)]
        rows += [("a:3", "rate", "many" if week == 7 else 4.0 + week % 2, week) for week in range(20)]
        await keep(memory, rows)
        for week in range(20):
            await memory.observe(
                "a:4", "rate", 3.0 + week, unit="%" if week else "ms", valid_from=START + timedelta(weeks=week)
            )
        report = await detect(memory)
        names = await names_of(memory)
        assert {names[one.subject]: one.reason for one in report.skipped} == {
            "a:1": "constant: all 20 values are 5",
            "a:2": "too short: 4 of at least 16 points",
            "a:3": "numbers and words are mixed; correct what is no number",
            "a:4": "mixed units: % and ms; correct those that differ",
        }
        assert (await everything(memory)) == {}
        async with Memory.open("reference:", by="human:ada") as empty:
            assert (await detect(empty)).looked == 0


async def test_following_goes_on_from_where_any_look_had_got_to(tmp_path: Path) -> None:
    url = str(tmp_path / "one.db")
    async with Memory.open(url, by="human:ada") as memory:
        await keep(memory, [("project:1", "vendor", "AB"[week % 2], week) for week in range(5)])
        assert (await looked(memory)).seq == 0
        assert (await looked(memory)).news == 6
        looks = follow(memory, settle_s=0)
        assert len((await anext(looks)).opened) == 1
        before = await looked(memory)
        assert (before.news, before.seq > 0) == (0, True)
        # What was looked at needs no second look, and no second word in the ledger.
        await detect(memory)
        assert (await looked(memory)).seq == before.seq
    async with Memory.open(url, by="human:ada") as memory:
        assert (await looked(memory)).news == 0
        await detect(memory)
        assert (await looked(memory)).seq == before.seq
        await keep(memory, [("project:1", "vendor", "B", 5)])
        assert (await looked(memory)).news == 1
        looks = follow(memory, settle_s=0)
        assert len((await anext(looks)).changed) == 1
        assert (await looked(memory)).seq > before.seq
        waiting = asyncio.create_task(anext(looks))
        await keep(memory, [("project:1", "vendor", "A", 6)])
        assert len((await waiting).changed) == 1
        await looks.aclose()
