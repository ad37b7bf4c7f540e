"""A whole store shows no drift, whatever was written, ended, corrected and erased; an emptied one is whole again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import apsw
import pytest
from conformance.stores import STORES, MakeSqlite
from neo4j import GraphDatabase
from properties.stories import START, WORDS
from properties.test_replayed_rows import VIEWS, leave, take_in, tell, views

from latewood.graph_schema.clock import ManualClock, from_micros
from latewood.graph_schema.ids import SequentialIds
from latewood.memory.portability import fingerprint
from latewood.storage.neo4j.database import Address
from latewood.storage.port import PAGE_MAX, GraphStore
from latewood.storage.rebuilding import STEP_ROWS, Drift
from latewood.storage.sqlite.store import SqliteStore

TABLES: Final = ("claim", "stretch", "key", "node", "text_1", "memory")
SQLITE_VIEWS: Final = VIEWS | {
    "memory": "select event.id, key.id, n.id, m.predicate, s.id, a.id, m.trust, m.valid_from, m.recorded_at from memory m"
    " join event using (e) join key on key.k = m.k join node n on n.n = m.subject left join node s on s.n = m.session"
    " left join node a on a.n = m.actor",
}
NEO4J_VIEWS: Final[Mapping[str, str]] = {
    "nodes": "MATCH (n) WHERE n.space = 1 AND NOT n:Event AND NOT n:Ledger RETURN labels(n), properties(n)",
    "relationships": "MATCH (a)-[r]->(b) RETURN a.id, type(r), coalesce(b.id, b.title), properties(r)",
}


def graph(url: str, *statements: str) -> dict[str, list[str]]:
    """Run *statements* on a database, then return all that hangs on the ledgers."""
    address = Address.parse(url)
    with (
        GraphDatabase.driver(address.uri, auth=(address.user, address.password)) as driver,
        driver.session(database=address.database) as session,
    ):
        for statement in statements:
            session.run(statement).consume()
        return {
            name: sorted(repr([_sorted(value) for value in row.values()]) for row in session.run(query))
            for name, query in NEO4J_VIEWS.items()
        }


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        # When a status was stated is noted by the group that said it, and rebuilt by the row.
        return sorted((name, "once" if name == "stated_at" else repr(one)) for name, one in value.items())
    return sorted(map(str, value)) if isinstance(value, list) else value


async def rebuilt(store: GraphStore, *, repair: bool, limit: int = STEP_ROWS) -> list[Drift]:
    """Take every step; return what was found."""
    found: list[Drift] = []
    after: str | None = None
    while True:
        step = await store.rebuild("default", after=after, limit=limit, repair=repair)
        found += step.found
        if step.next is None:
            return found
        after = step.next


@pytest.mark.parametrize(
    ("store", "seed", "limit"),
    [
        pytest.param(store, seed, limit, marks=[pytest.mark.slow] if store == "neo4j" and seed == 2 else [])
        for store in STORES
        for seed, limit in ((0, 7), (1, STEP_ROWS), (2, 50))
    ],
)
async def test_random_histories_show_no_drift(store: str, seed: int, limit: int, tmp_path: Path) -> None:
    clock = ManualClock(from_micros(START))
    told = await STORES[store](tmp_path).fresh(clock=clock, ids=SequentialIds(1), words=WORDS)
    await tell(told, seed, clock, erased=3)

    found = await rebuilt(told, repair=False, limit=limit)
    await told.close()
    assert found == [], f"seed {seed}: a whole store drifts"


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("seed", range(2))
async def test_what_was_replayed_without_its_words_shows_no_drift(store: str, seed: int, tmp_path: Path) -> None:
    clock = ManualClock(from_micros(START))
    told = await SqliteStore.open(tmp_path / "told.db", clock=clock, ids=SequentialIds(1), words=WORDS)
    await tell(told, seed, clock, erased=3)
    image, rows = await leave(told)
    await told.close()
    back = await STORES[store](tmp_path).fresh(clock=clock, ids=SequentialIds(9), words=WORDS)
    await take_in(back, image, rows, PAGE_MAX)

    found = await rebuilt(back, repair=False)
    await back.close()
    assert found == [], f"seed {seed}: what was replayed drifts"


@pytest.mark.parametrize("limit", [40, STEP_ROWS])
@pytest.mark.parametrize("seed", range(2))
async def test_emptied_tables_come_back_row_by_row(seed: int, limit: int, tmp_path: Path) -> None:
    clock = ManualClock(from_micros(START))
    store = await MakeSqlite(tmp_path).fresh(clock=clock, ids=SequentialIds(1), words=WORDS)
    await tell(store, seed, clock, erased=0)
    await store.close()
    before = views(tmp_path / "0.db", SQLITE_VIEWS)
    database = apsw.Connection(str(tmp_path / "0.db"))
    for table in TABLES:
        database.execute(f"delete from {table}")
    database.close()

    store = await SqliteStore.open(tmp_path / "0.db", clock=clock, ids=SequentialIds(5), words=WORDS)
    first = await rebuilt(store, repair=True, limit=limit)
    second = await rebuilt(store, repair=False)
    await store.close()

    assert {"node", "key"} <= {one.view for one in first} <= {table.removesuffix("_1") for table in TABLES}
    assert second == []
    after = views(tmp_path / "0.db", SQLITE_VIEWS)
    for name in SQLITE_VIEWS:
        assert after[name] == before[name], f"seed {seed}: {name} differs"


@pytest.mark.parametrize("limit", [40, pytest.param(STEP_ROWS, marks=pytest.mark.slow)])
async def test_an_emptied_graph_comes_back_whole(limit: int, tmp_path: Path, neo4j_url: str) -> None:
    clock = ManualClock(from_micros(START))
    store = await STORES["neo4j"](tmp_path).fresh(clock=clock, ids=SequentialIds(1), words=WORDS)
    await tell(store, 3, clock, erased=0)
    expected = await fingerprint(store, "default")
    before = graph(neo4j_url)
    graph(neo4j_url, "MATCH (n:Node|Fact|Key|Alternative) DETACH DELETE n")

    first = await rebuilt(store, repair=True, limit=limit)
    second = await rebuilt(store, repair=False)
    after = graph(neo4j_url)

    assert {"Node", "Fact", "Key", "stretch"} <= {one.view for one in first}
    assert second == []
    assert after["nodes"] == before["nodes"]
    assert after["relationships"] == before["relationships"]
    assert await fingerprint(store, "default") == expected
    await store.close()
