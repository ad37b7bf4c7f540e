"""A whole store shows no drift, whatever was written, ended, corrected and erased in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from conformance.stores import MakeSqlite
from properties.stories import START, WORDS
from properties.test_replayed_rows import VIEWS, leave, take_in, tell, views

from latewood.graph_schema.clock import ManualClock, from_micros
from latewood.graph_schema.ids import SequentialIds
from latewood.storage.port import PAGE_MAX, GraphStore
from latewood.storage.rebuilding import STEP_ROWS, Drift
from latewood.storage.sqlite.store import SqliteStore


async def rebuilt(store: GraphStore, *, repair: bool, limit: int = STEP_ROWS) -> list[Drift]:
    found: list[Drift] = []
    after: str | None = None
    while True:
        step = await store.rebuild("default", after=after, limit=limit, repair=repair)
        found += step.found
        if step.next is None:
            return found
        after = step.next


@pytest.mark.parametrize("limit", [7, STEP_ROWS])
@pytest.mark.parametrize("seed", range(3))
async def test_random_histories_show_no_drift(seed: int, limit: int, tmp_path: Path) -> None:
    clock = ManualClock(from_micros(START))
    store = await MakeSqlite(tmp_path).fresh(clock=clock, ids=SequentialIds(1), words=WORDS)
    await tell(store, seed, clock, erased=3)

    found = await rebuilt(store, repair=False, limit=limit)
    image, rows = await leave(store)
    await store.close()
    assert found == [], f"seed {seed}: a whole store drifts"
    back = await SqliteStore.open(tmp_path / "back.db", clock=clock, ids=SequentialIds(9), words=WORDS)
    await take_in(back, image, rows, PAGE_MAX)
    found = await rebuilt(back, repair=False, limit=limit)
    await back.close()
    assert found == [], f"seed {seed}: what was replayed drifts"


@pytest.mark.parametrize("seed", range(3))
async def test_views_that_were_emptied_come_back_row_by_row(seed: int, tmp_path: Path) -> None:
    clock = ManualClock(from_micros(START))
    store = await MakeSqlite(tmp_path).fresh(clock=clock, ids=SequentialIds(1), words=WORDS)
    await tell(store, seed, clock, erased=0)
    await store.close()
    file = next(tmp_path.glob("*.db"))
    before = views(file, VIEWS)
    import apsw

    database = apsw.Connection(str(file))
    for table in ("claim", "stretch", "key", "node", "text_1"):
        database.execute(f"delete from {table}")
    database.close()

    store = await SqliteStore.open(file, clock=clock, ids=SequentialIds(5), words=WORDS)
    await rebuilt(store, repair=True, limit=300)
    second = await rebuilt(store, repair=False)
    await store.close()

    assert second == []
    after = views(file, VIEWS)
    for name in VIEWS:
        assert after[name] == before[name], f"seed {seed}: {name} differs"
