"""Recurrences that a pack declares: so many periods running beyond a threshold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from latewood.graph_schema.clock import AsOf, to_micros
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.packs.loader import declared_runs, load_pack
from latewood.graph_schema.patterns import DeclaredRun, PatternStatus
from latewood.graph_schema.values import Value
from latewood.memory import Memory
from latewood.memory.patterns import Pattern, detect, explain, patterns

PACK = """
name = "budgets"
version = "1"
title = "Budgets"
description = "Deviations from a plan."
[predicates.deviation]
cardinality = "single"
description = "By how much a quarter went over its budget, in %."
[patterns.over_three_quarters]
predicate = "deviation"
above = 5
periods = 3
description = "Three quarters running more than 5 % over."
[patterns.under]
predicate = "deviation"
below = -20.0
periods = 2
"""


async def keep(memory: Memory, key: str, values: dict[int, float]) -> None:
    """Keep *values* by quarter, counted from 2024 on."""
    commands = [
        Assert(
            memory.ids.new(), Ref(key=key), "deviation", Value.of(value),
            valid_from=to_micros(datetime(2024 + quarter // 4, 1 + quarter % 4 * 3, 1, tzinfo=UTC)),
        )
        for quarter, value in values.items()
    ]  # fmt: skip
    await memory.write(commands, [key, len(values)])


async def found(memory: Memory) -> dict[str, Pattern]:
    return {one.statement.split(" ")[2]: one for one in (await patterns(memory, status=())).items}


async def test_a_run_is_found_goes_on_and_is_over(tmp_path: Path) -> None:
    async with Memory.open(
        str(tmp_path / "one.db"), by="human:ada", packs=[load_pack(PACK)], embedder="none"
    ) as memory:
        await keep(memory, "dept:1", dict(enumerate([1.0, 6.0, 7.0, 8.0])))
        await keep(memory, "dept:2", dict(enumerate([6.0, 7.0, 4.0, 8.0])))
        # A quarter is missing in between: it is not known that the run went on.
        await keep(memory, "dept:3", {0: 1.0, 1: 2.0, 2: 6.0, 3: 7.0, 5: 8.0, 6: 1.0})
        await keep(memory, "dept:4", dict(enumerate([-30.0, -25.0, 0.0, 1.0])))
        await keep(memory, "dept:5", dict(enumerate([6.0, 7.0])))
        report = await detect(memory)
        assert report.failed == ()
        assert {one.reason for one in report.skipped if "over_three" in one.reason} == {
            "too short: 2 of at least 3 periods of over_three_quarters"
        }
        first = await found(memory)
        assert set(first) == {"dept:1", "dept:4"}
        one = await explain(memory, first["dept:1"].id)
        assert one.statement == (
            "deviation of dept:1 has been above 5 3 periods running, 2024-04-01 to 2024-10-01, +7 on average "
            "(over_three_quarters: at least 3)"
        )
        assert (one.q, one.effect, len(one.evidence), one.family) == (None, 3.0, 3, "declarations")
        assert "was below -20 2 periods running" in first["dept:4"].statement
        assert [first[dept].status for dept in ("dept:1", "dept:4")] == [PatternStatus.OPEN, PatternStatus.ENDED]
        assert [two.id for two in (await patterns(memory)).items] == [one.id]

        # One more quarter is told, one that is not over it ends the run, and a correction unmakes it.
        await keep(memory, "dept:1", {4: 9.0})
        assert len((await detect(memory)).changed) == 1
        assert (await found(memory))["dept:1"].effect == 4.0
        await keep(memory, "dept:1", {5: 0.0})
        assert (await detect(memory)).ended == (one.key,)
        over = (await found(memory))["dept:1"]
        assert ("was above 5 4 periods" in over.statement, over.status) == (True, PatternStatus.ENDED)
        then = AsOf(known_at=over.recorded_at - timedelta(microseconds=1))
        assert (await explain(memory, one.id, at=then)).status is PatternStatus.OPEN
        assert (await detect(memory)).facts == 0
        # Another one begins, and is over.
        await keep(memory, "dept:4", {4: -30.0, 5: -31.0})
        assert [two.split(" ")[2] for two in (await detect(memory)).opened] == ["dept:4"]
        await keep(memory, "dept:4", {6: 0.0})
        assert (await detect(memory)).ended == (first["dept:4"].key,)
        rows = (await memory.timeline("dept:1", predicates=["deviation"])).items
        await memory.correct(rows[2].id, 4.0)
        assert (await detect(memory)).withdrawn == (one.key,)
        assert (await explain(memory, one.id)).status is PatternStatus.WITHDRAWN


async def test_packs_of_the_settings_are_those_of_every_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = tmp_path / "budgets.toml"
    pack.write_text(PACK, encoding="utf-8")
    monkeypatch.setenv("LATEWOOD_PACKS", str(pack))
    async with Memory.open("reference:", by="human:ada") as memory:
        await keep(memory, "dept:1", dict(enumerate([6.0, 7.0, 8.0])))
        assert len((await detect(memory)).opened) == 1
    monkeypatch.setenv("LATEWOOD_PACKS", str(tmp_path / "none.toml"))
    with pytest.raises(InvalidError, match="cannot be read") as refused:
        await Memory.open("reference:")
    assert refused.value.code == "setting.invalid"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("above = 5", "above = 5\nbelow = 3"), "must have one of above and below"),
        (("above = 5", ""), "must have one of above and below"),
        (("above = 5", "above = nan"), "above: must be a finite number"),
        (("above = 5", "above = true"), "above: must be a finite number"),
        (("periods = 3", "periods = 1"), "whole number from 2 to 1,000"),
        (("periods = 3", "period = 3"), "unknown keys"),
        (('predicate = "deviation"\nabove', "above"), "predicate: must be a text"),
    ],
)
def test_what_declares_nothing_is_refused_with_its_place(changed: tuple[str, str], message: str) -> None:
    with pytest.raises(InvalidError, match=message) as refused:
        load_pack(PACK.replace(*changed))
    assert refused.value.code == "pack.invalid"
    assert "patterns.over_three_quarters" in str(refused.value)


def test_two_packs_declare_one_name_alike() -> None:
    pack = load_pack(PACK)
    assert declared_runs([pack, pack])[1] == DeclaredRun(
        "under", "deviation", -20.0, above=False, periods=2, description="under"
    )
    other = load_pack(PACK.replace("above = 5", "above = 6"))
    with pytest.raises(InvalidError, match="declared otherwise"):
        declared_runs([pack, other])
