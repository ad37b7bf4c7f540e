"""A process killed at each named place of its write path: what it acknowledged is found, once and whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import apsw
import pytest
from simulation.children import FILLED, ORIGIN, RECORDS, WAVE, Death, Job, Log, run
from simulation.crashed import erase, make, take_in
from simulation.ledgers import check_store
from simulation.matrix import CRASHES, Crash
from simulation.stores import opened_later

from latewood.graph_schema.errors import NotFoundError
from latewood.memory import Memory
from latewood.storage.crashpoints import POINTS
from latewood.storage.port import GraphStore

CASES: Final = [(store, crash) for crash in CRASHES for store in crash.stores if crash.task != "upgrade_file"]
_QUICK: Final = {
    ("write_waves", "group.written"), ("write_waves", "group.committed"), ("fill_space", "fill.ended"),
    ("import_records", "group.written"), ("make_space", "space.written"), ("import_exports", "replay.written"),
    ("import_erasure", "replay.committed"), ("erase_words", "group.committed"), ("take_lease", "lease.taken"),
}  # fmt: skip
"""A place of each task, before and behind what keeps it. Only these are core tests on Neo4j, where each takes seconds."""
_RECORDS: Final = 8


def _records(folder: Path) -> Path:
    """Write a folder of decision records, each superseding the one before."""
    folder.mkdir(exist_ok=True)
    for number in range(1, _RECORDS + 1):
        status = f"Superseded by [ADR {number + 1}]({number + 1:04}-next.md)" if number < _RECORDS else "Accepted"
        (folder / f"{number:04}-{'first' if number == 1 else 'next'}.md").write_text(
            f"# {number}. Decision {number}\n\nDate: 2026-01-{number:02}\n\n## Status\n\n{status}\n\n"
            f"## Context\n\nItem {number}.\n\n## Decision\n\nWe use basalt {number}.\n\n## Consequences\n\nNone.\n"
        )
    return folder


async def _notes(store: GraphStore, space: str) -> Counter[str]:
    """Count the facts that say ``basalt N`` by N."""
    found: Counter[str] = Counter()
    after = 0
    while page := await store.feed(space, "knowledge", after, 500):
        after = page[-1].seq
        for entry in page:
            value = entry.event.payload.get("value")
            if entry.event.payload.get("predicate") == "note" and isinstance(value, dict):
                found[str(value["data"]).removeprefix("basalt ")] += 1
    return found


async def _acknowledged(store: GraphStore, log: Log, units: dict[str, int]) -> None:
    for op, receipt_id in log.acknowledged.items():
        assert receipt_id in units, f"{op} was acknowledged and is not in the ledger"
        assert (await store.receipt(receipt_id)).state == "stored"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("url", "crash"),
    [
        pytest.param(
            store, one, id=f"{store}-{one.task}-{one.point}",
            marks=pytest.mark.slow if store == "neo4j" and (one.task, one.point) not in _QUICK else [],
        )
        for store, one in CASES
    ],
    indirect=["url"],
)  # fmt: skip
async def test_a_process_killed_there_loses_nothing_and_leaves_no_half(url: str, crash: Crash, tmp_path: Path) -> None:
    await {
        "write_waves": _waves, "fill_space": _fill, "import_records": _import, "take_lease": _lease,
        "make_space": make, "import_exports": take_in, "import_erasure": take_in, "erase_words": erase,
    }[crash.task](url, crash, tmp_path)  # fmt: skip


async def _waves(url: str, crash: Crash, folder: Path) -> None:
    dead = run(Job("write_waves", url, str(folder / "dead"), [1, 2, 3], death=Death(crash.point, crash.hit, WAVE)))
    assert len(dead.acknowledged) == WAVE, "the first group was not acknowledged, or more than it"

    async with opened_later(url) as store:
        units = await check_store(store)
        await _acknowledged(store, dead, units)
        notes = await _notes(store, "default")
        assert notes["1"] == WAVE
        assert notes["2"] == (WAVE if crash.found == "everything" else 0)
        assert notes["3"] == 0

    again = run(Job("write_waves", url, str(folder / "again"), [1, 2, 3]))
    async with opened_later(url) as store:
        await _acknowledged(store, again, await check_store(store))
        assert await _notes(store, "default") == {"1": WAVE, "2": WAVE, "3": WAVE}
    assert dead.acknowledged.items() <= again.acknowledged.items(), "an operation was given a second receipt"


async def _fill(url: str, crash: Crash, folder: Path) -> None:
    async with Memory.open(url) as memory:
        await memory.create_space(FILLED)
    numbers = list(range(1, 2 * WAVE + 1))
    dead = run(Job("fill_space", url, str(folder / "dead"), numbers, death=Death(crash.point, crash.hit, WAVE)))

    ended = crash.point in ("fill.ended", "fill.committed")
    first = 2 * WAVE if ended or crash.found == "everything" else WAVE
    async with opened_later(url) as store:
        units = await check_store(store, FILLED)
        await _acknowledged(store, dead, units)
        (space,) = [one for one in await store.spaces() if one.name == FILLED]
        assert await _notes(store, FILLED) == {str(n): 1 for n in numbers[:first]}
        live = crash.point == "fill.committed"
        assert (space.state, space.filling) == (("live", None) if live else ("filling", ORIGIN))

    again = run(Job("fill_space", url, str(folder / "again"), numbers))
    async with opened_later(url) as store:
        await check_store(store, FILLED)
        (space,) = [one for one in await store.spaces() if one.name == FILLED]
        assert (space.state, space.filling) == ("live", None)
        assert await _notes(store, FILLED) == {str(n): 1 for n in numbers}
        entries = await store.feed(FILLED, "knowledge", 0, 500)
        recorded = [one.recorded_at for one in entries]
        assert recorded == sorted(recorded)
        assert recorded[-1] == numbers[-1] * 1_000_000, "the history did not keep its own recorded time"
    assert dead.acknowledged.items() <= again.acknowledged.items()


async def _import(url: str, crash: Crash, folder: Path) -> None:
    records = _records(folder / "records")
    job = Job("import_records", url, str(folder / "dead"), folder=str(records))
    dead = run(Job(job.task, url, job.log, folder=job.folder, death=Death(crash.point, crash.hit)))
    assert dead.acknowledged == {}

    async with opened_later(url) as store:
        units = await check_store(store, RECORDS)
        assert bool(units) == (crash.found == "everything")

    again = run(Job(job.task, url, str(folder / "again"), folder=job.folder))
    assert again.acknowledged == {"imported": str(_RECORDS)}
    async with opened_later(url) as store:
        await check_store(store, RECORDS)
    async with Memory.open(url, space=RECORDS) as memory:
        decisions = (await memory.decisions(first=100)).items
        told = {one.key: (one.status.value, [older.key for older in one.supersedes]) for one in decisions}
    newest = _RECORDS
    assert told == {
        f"adr:{n}": ("accepted" if n == newest else "superseded", [f"adr:{n - 1}"] if n > 1 else [])
        for n in range(1, _RECORDS + 1)
    }


async def _lease(url: str, crash: Crash, folder: Path) -> None:
    dead = run(Job("take_lease", url, str(folder / "dead"), death=Death(crash.point, crash.hit)))
    assert dead.acknowledged == ({} if crash.point == "lease.taken" else {"taken": "1"})

    async with opened_later(url) as store:
        early = await store.acquire("default", "job", "the living", 60)
    if crash.point == "lease.taken":
        assert early is not None, "a lease that nobody was told of keeps others out"
        assert early.fence == 1
    else:
        assert early is None, "a running lease was given to another"
        # Only the time that was acknowledged counts, not the longer one that the crash cut off.
        async with opened_later(url, seconds=61) as store:
            late = await store.acquire("default", "job", "the living", 60)
        assert late is not None
        assert late.fence == 2


def test_every_point_is_crashed_in_every_store_that_has_it() -> None:
    crashed = {crash.point for crash in CRASHES}

    assert crashed == set(POINTS)


async def test_a_receipt_that_was_never_given_is_not_found(tmp_path: Path) -> None:
    """What the others rest on: a unit that was not kept is seen to be missing."""
    path = str(tmp_path / "empty.db")
    async with opened_later(path) as store:
        with pytest.raises(NotFoundError):
            await store.receipt("019a0000-0000-7000-8000-000000000000")
        with pytest.raises(AssertionError, match="not in the ledger"):
            await _acknowledged(store, Log(acknowledged={"op": "gone"}), await check_store(store))


@pytest.mark.parametrize(
    "harm",
    [
        "delete from stretch where k = (select min(k) from stretch)",
        "update stretch set valid_to = valid_from + 1, closed_at = recorded_at + 1",
        "update node set version = version + 1 where kind = 'entity'",
        "update claim set retracted_at = 5",
        "delete from text_1 where rowid < 0",
        "delete from receipt",
    ],
)
async def test_a_view_that_differs_from_the_ledger_is_seen(harm: str, tmp_path: Path) -> None:
    path = str(tmp_path / "harmed.db")
    run(Job("write_waves", path, str(tmp_path / "log"), [1, 2]))
    async with opened_later(path) as store:
        await check_store(store)
    database = apsw.Connection(path)
    database.execute(harm)
    database.close()

    with pytest.raises((AssertionError, NotFoundError)):
        async with opened_later(path) as store:
            await check_store(store)
