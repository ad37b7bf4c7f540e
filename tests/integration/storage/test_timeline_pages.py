"""A page of a timeline costs what it returns, however much comes after it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import apsw
import pytest

from latewood.graph_schema.clock import Micros, SystemClock
from latewood.graph_schema.commands import ActorSpec, Assert, Declare, Ref, Unit
from latewood.graph_schema.ids import RandomIds
from latewood.graph_schema.model import NodeKind, Trust
from latewood.graph_schema.packs.loader import vocabulary
from latewood.graph_schema.values import Value
from latewood.storage.port import GraphStore
from latewood.storage.queries import load_queries
from latewood.storage.sqlite import listing
from latewood.storage.sqlite.database import Database
from latewood.storage.sqlite.reading import NO_BOUND, Reading
from latewood.storage.sqlite.store import SqliteStore

_IDS = RandomIds()
_START: Micros = 10**15


async def _say(store: GraphStore, node: str, points: range) -> None:
    """Say so many values of one predicate, two at each instant, and every tenth of another."""
    said = [
        Assert(_IDS.new(), Ref(id=node), name, Value.of(n), valid_from=_START + n // 2)
        for n in points
        for name in (("rate", "load") if n % 10 == 0 else ("rate",))
    ]
    for begin in range(0, len(said), 500):
        part = tuple(said[begin : begin + 500])
        await store.commit([Unit(_IDS.new(), "default", ActorSpec("human:a"), Trust.HUMAN, b"", part)])


def _cost(path: Path, node: str) -> int:
    """Return how many of SQLite's own instructions the first page takes, in dozens."""
    opened, count = apsw.Connection(str(path)), 0

    def tick() -> bool:
        nonlocal count
        count += 1
        return False

    queries = load_queries("latewood.storage.sqlite", "queries.sql")
    reading = Reading(cast("Database", opened), queries, "local", "default", SystemClock(), vocabulary())
    opened.set_progress_handler(tick, 12)
    page = listing.timeline(reading, [node], None, NO_BOUND, 20, None)
    opened.close()
    assert len(page.items) == 20
    assert page.next is not None
    return count


async def _paged(store: GraphStore, node: str) -> list[str]:
    found: list[str] = []
    after: str | None = None
    while True:
        page = await store.timeline("default", [node], first=70, after=after)
        found += [fact.id for fact in page.items]
        after = page.next
        if after is None:
            return found


async def test_a_page_of_a_timeline_costs_what_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, node = tmp_path / "a.db", _IDS.new()
    store = await SqliteStore.open(path, sync="normal")
    try:
        one = Declare(node, NodeKind.ENTITY, "sensor", "sensor:1", "one")
        await store.commit([Unit(_IDS.new(), "default", ActorSpec("human:a"), Trust.HUMAN, b"", (one,))])
        await _say(store, node, range(200))
        few = _cost(path, node)
        await _say(store, node, range(200, 1_400))
        assert _cost(path, node) <= 1.2 * few
        found = await _paged(store, node)
        assert len(found) == len(set(found)) == 1_540
        # Of very many keys all are sorted, and say the same.
        monkeypatch.setattr(listing, "_KEYS_FEW", 1)
        assert await _paged(store, node) == found
        assert _cost(path, node) > 2 * few
    finally:
        await store.close()
