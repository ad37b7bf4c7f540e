"""Rows replayed from a ledger are the rows that the first write made, not merely rows that answer alike."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

import apsw
import pytest
from conformance.stores import MakeSqlite
from properties.histories import Batch
from properties.stories import START, WORDS, Story

from latewood.graph_schema.clock import ManualClock, from_micros
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.model import LEDGERS
from latewood.storage.port import PAGE_MAX, GraphStore
from latewood.storage.reference import ReferenceStore
from latewood.storage.replaying import LedgerRow
from latewood.storage.sqlite.store import SqliteStore

# Rows are named by what they say: the numbers k, e and n depend on what a store refused in between.
VIEWS: Final = {
    "head": "select ledger, seq, hash, recorded_at from head",
    "event": "select ledger, seq, unit, ordinal, recorded_at, written_at, kind, id, subject, key, target, tier, trust,"
    " known, valid_from, valid_to, op, body, digest, hash, salt, payload from event",
    "node": "select id, kind, type, key, norm, name, attributes, recorded_at, version from node",
    "key": "select key.id, node.id, predicate, origin, contested, top from key join node on node.n = key.subject",
    "claim": "select key.id, event.id, c.valid_from, c.valid_to, c.tier, c.known, c.trust, c.recorded_at, c.ordinal,"
    " c.absent, c.retracted_at, (select id from event r where r.e = c.retraction), c.object"
    " from claim c join key using (k) join event using (e)",
    "stretch": "select key.id, event.id, s.valid_from, s.valid_to, s.recorded_at, s.closed_at, s.retired_at"
    " from stretch s join key using (k) join event using (e)",
    "receipt": "select id, op, body, receipt from receipt",
    # A negative row is a node's.
    "text": "select coalesce(event.id, node.id), text.body from text_1 text left join event on event.e = text.rowid"
    " left join node on node.n = -text.rowid",
}


def views(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    database = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {name: sorted(database.execute(sql), key=repr) for name, sql in VIEWS.items()}
    finally:
        database.close()


async def take_in(store: GraphStore, image: Any, rows: dict[Any, list[LedgerRow]], size: int) -> None:
    """Replay whole units, *size* rows or a little more at a time."""
    await store.restore(image)
    for own in rows.values():
        part: list[LedgerRow] = []
        for row in own:
            if len(part) >= size and part[-1].entry.unit != row.entry.unit:
                await store.replay(image.name, part)
                part = []
            part.append(row)
        await store.replay(image.name, part)


async def leave(store: GraphStore) -> tuple[Any, dict[Any, list[LedgerRow]]]:
    rows: dict[Any, list[LedgerRow]] = {}
    for name in LEDGERS:
        own: list[LedgerRow] = []
        while page := await store.ledger_rows("default", name, len(own), PAGE_MAX):
            own += page
        if own:
            rows[name] = own
    return await store.image("default"), rows


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [1, 37, PAGE_MAX])
async def test_replayed_rows_are_those_of_the_first_write(seed: int, size: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    clocks = ManualClock(from_micros(START)), ManualClock(from_micros(START))
    reference = ReferenceStore(clock=clocks[0], ids=SequentialIds(1), words=WORDS)
    (tmp_path / "told").mkdir()
    first = await MakeSqlite(tmp_path / "told").fresh(clock=clocks[1], ids=SequentialIds(1), words=WORDS)
    stories = [Story(random.Random(rng.random()), f"{n}x", SequentialIds(100 + n)) for n in range(10)]
    told = Batch(seed, reference, first, clocks, rng, stories)
    for _ in range(8):
        await told.round()
    image, rows = await leave(first)
    await first.close()

    back = await SqliteStore.open(tmp_path / "back.db", clock=clocks[1], ids=SequentialIds(9), words=WORDS)
    try:
        await take_in(back, image, rows, size)
    finally:
        await back.close()

    expected, found = views(next((tmp_path / "told").glob("*.db"))), views(tmp_path / "back.db")
    assert all(expected[name] for name in VIEWS), "the histories leave a view empty, so it is not compared"
    for name in VIEWS:
        assert found[name] == expected[name], f"seed {seed}, {size} rows at a time: {name} differs"
