"""Very many facts of one series: the latest are looked at, it is said so, and the others go on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from packs import SITES

from latewood.graph_schema.clock import Micros, to_micros
from latewood.graph_schema.commands import Assert, Ref, Unit
from latewood.graph_schema.packs.loader import load_pack
from latewood.graph_schema.values import Value
from latewood.memory import Memory
from latewood.memory.patterns import detect, patterns
from latewood.reasoning.patterns import series
from latewood.reasoning.patterns.port import World
from latewood.reasoning.patterns.view import View, read_world

START = to_micros(datetime(2026, 1, 5, tzinfo=UTC))
MINUTE = 60_000_000
Said = tuple[str, str, float | str, Micros]


async def keep(memory: Memory, rows: Sequence[Said]) -> list[str]:
    units: list[Unit] = []
    ids: list[str] = []
    for start in range(0, len(rows), 900):
        commands = [
            Assert(memory.ids.new(), Ref(key=entity), predicate, Value.of(value), valid_from=time)
            for entity, predicate, value, time in rows[start : start + 900]
        ]
        ids += [one.id for one in commands]
        units.append(memory.unit(commands, ["much", start, commands[0].id]))
    await memory.submit_many(units)
    return ids


def seen(world: World) -> tuple[object, ...]:
    """Return what detectors are given, as something that can be compared."""
    return (
        [(one.subject, one.facts, one.times, one.values.tobytes()) for one in world.numbers],
        [(one.subject, one.facts, one.choices) for one in world.choices],
        [(one.predicate, dict(one.facts)) for one in world.occurrences],
        sorted(world.skipped, key=str),
    )


@pytest.mark.parametrize("store", ["reference", "neo4j"])
async def test_which_facts_are_the_latest_is_the_same_in_any_order_of_arrival(
    store: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    for name, size in (("SERIES_FACTS_MAX", 20), ("_HELD_MAX", 40), ("_HELD_AFTER", 30)):
        monkeypatch.setattr(series, name, size)
    rows: list[Said] = [("sensor:1", "rate", float(n % 7), START + n * MINUTE) for n in range(90)]
    rows += [("site:1", "incident", "ab"[n % 2], START + n * MINUTE) for n in range(60)]
    rows += [("site:2", "incident", "abc"[n % 3], START + n * 4 * MINUTE) for n in range(15)]
    rows += [("project:1", "vendor", "AB"[n % 2], START + n * MINUTE) for n in range(12)]
    mixed = [rows[int(place)] for place in np.random.default_rng(4).permutation(len(rows))]
    url = str(request.getfixturevalue("neo4j_url")) if store == "neo4j" else "reference:"
    async with Memory.open(url, by="human:ada", packs=[load_pack(SITES)], embedder="none") as memory:
        view = View(memory.store, memory.space)
        ids: list[str] = []
        for start in range(0, len(mixed), 37):
            ids += await keep(memory, mixed[start : start + 37])
            await view.refresh()
            assert seen(await view.world()) == seen(await read_world(memory.store, memory.space))
        world = await view.world()
        of = dict(zip(ids, mixed, strict=True))
        assert [of[fact] for one in world.numbers for fact in one.facts] == rows[70:90]
        assert [one.reason.partition(",")[0] for one in world.skipped] == [
            "more than 20 facts: only the latest are looked at"
        ] * 2
        # Where one site is cut, the other begins there too: else it would seem the busier one before.
        assert min(time for _, time, _ in world.occurrences[0].facts.values()) == START + 40 * MINUTE

        # So many are taken back that some that were let go are among the latest again.
        latest = sorted(ids, key=lambda fact: of[fact][3])
        for fact in [fact for fact in latest if of[fact][0] == "sensor:1"][-25:]:
            await memory.retract(fact, because="a broken sensor")
        await view.refresh()
        world = await view.world()
        assert seen(world) == seen(await read_world(memory.store, memory.space))
        assert [of[fact] for one in world.numbers for fact in one.facts] == rows[45:65]


@pytest.mark.slow
async def test_a_hundred_thousand_facts_on_one_entity_are_cut_and_the_others_go_on(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    rows: list[Said] = [("sensor:1", "rate", float(n * 7919 % 1009), START + n * MINUTE) for n in range(100_000)]
    weeks = timedelta(weeks=1) // timedelta(microseconds=1)
    fall = random.normal(size=40) - np.linspace(0, 9, 40)
    rows += [("carrier:1", "on_time", float(value), START + week * weeks) for week, value in enumerate(fall)]
    rows += [("project:1", "vendor", "AB"[n % 2], START + n * MINUTE) for n in range(30_000)]
    async with Memory.open(f"{tmp_path}/much.db", by="agent:sensors", embedder="none", sync="normal") as memory:
        await keep(memory, rows)
        report = await detect(memory)
        told = {one.key.split(":")[1]: one for one in (await patterns(memory)).items}
        again = await detect(memory)
        held = memory.views.of(memory.store, memory.space).view
    assert report.failed == ()
    assert [(one.predicate, one.reason) for one in report.skipped] == [
        ("rate", "more than 20,000 facts: only the latest are looked at, from 2026-03-01 on"),
        ("vendor", "more than 20,000 facts: only the latest are looked at, from 2026-01-11 on"),
    ]
    assert (told["trend"].predicate, told["trend"].support) == ("on_time", 40)
    assert (told["reversal"].predicate, told["reversal"].support) == ("vendor", 20_000)
    assert again.facts == 0
    assert held.facts <= 3 * 40_000
