"""Rows replayed from a ledger are the rows that the first write made, not merely rows that answer alike."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import apsw
import pytest
from conformance.stores import MakeSqlite
from properties.histories import Batch
from properties.stories import HOUR, START, WORDS, Story

from latewood.graph_schema.clock import ManualClock, from_micros
from latewood.graph_schema.commands import ActorSpec, Erase, Unit
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.model import LEDGERS, Trust
from latewood.memory.portability import fingerprint
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

# Who said what was erased is not in the ledger any more: a replay cannot know the first origin of such a key, nor
# that another one spoke. Where words of several origins are left, the mark must be there, or a conflict goes unseen.
VIEWS_ERASED: Final = VIEWS | {
    "key": "select key.id, node.id, predicate, top from key join node on node.n = key.subject"
}
SEVERAL: Final = (
    "select key.id from claim join key using (k) join event f using (e)"
    " join node on hex(node.id) = upper(replace(json_extract(f.payload, '$.source'), '-', ''))"
    " where json_extract(node.attributes, '$.origin') <> ''"
    " group by key.id having count(distinct json_extract(node.attributes, '$.origin')) > 1"
)


def views(file: Path, wanted: Mapping[str, str]) -> dict[str, list[tuple[Any, ...]]]:
    database = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {name: sorted(database.execute(sql), key=repr) for name, sql in wanted.items()}
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


async def erase(store: GraphStore, target: str, names: SequentialIds) -> bool:
    command = Erase(names.new(), target, "asked for")
    unit = Unit(names.new(), "default", ActorSpec("human:ada"), Trust.HUMAN, body_digest(target), (command,))
    (answer,) = await store.commit([unit])
    return isinstance(answer, Receipt)


async def tell(store: GraphStore, seed: int, clock: ManualClock, *, erased: int) -> None:
    """Tell random stories, and erase facts and a node of them in between."""
    rng, names, done = random.Random(seed), SequentialIds(500), 0
    other = ManualClock(from_micros(START))
    reference = ReferenceStore(clock=other, ids=SequentialIds(1), words=WORDS)
    stories = [Story(random.Random(rng.random()), f"{n}x", SequentialIds(100 + n)) for n in range(10)]
    told = Batch(seed, reference, store, (other, clock), rng, stories)
    for number in range(8):
        if not erased or number < 4:
            await told.round()
            continue
        units = [story.unit({}) for story in stories]
        clock.advance(micros=HOUR)
        await store.commit(units)
        facts = [fact for story in stories for fact in story.facts]
        for target in (*rng.sample(facts, erased), *rng.sample(told.subjects, number % 2)):
            done += await erase(store, target, names)
    assert done >= erased, f"seed {seed}: {done} erasures were taken"


def marks(file: Path) -> tuple[dict[bytes, bool], set[bytes]]:
    """Return which keys are marked contested, and those of which words of several origins can still be read."""
    database = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        marked = {row[0]: bool(row[1]) for row in database.execute("select id, contested from key")}
        return marked, {row[0] for row in database.execute(SEVERAL)}
    finally:
        database.close()


async def moved(folder: Path, seed: int, size: int, *, erased: int) -> tuple[Path, Path]:
    """Tell stories to one file, replay its ledgers into another, and return both."""
    clock = ManualClock(from_micros(START))
    (folder / "told").mkdir()
    first = await MakeSqlite(folder / "told").fresh(clock=clock, ids=SequentialIds(1), words=WORDS)
    await tell(first, seed, clock, erased=erased)
    image, rows = await leave(first)
    expected = await fingerprint(first, "default")
    await first.close()
    back = await SqliteStore.open(folder / "back.db", clock=clock, ids=SequentialIds(9), words=WORDS)
    try:
        await take_in(back, image, rows, size)
        assert await fingerprint(back, "default") == expected
    finally:
        await back.close()
    return next((folder / "told").glob("*.db")), folder / "back.db"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [1, 37, PAGE_MAX])
async def test_replayed_rows_are_those_of_the_first_write(size: int, seed: int, tmp_path: Path) -> None:
    told, back = await moved(tmp_path, seed, size, erased=0)

    expected, found = views(told, VIEWS), views(back, VIEWS)
    assert all(expected.values()), "the histories leave a view empty, so it is not compared"
    for name in VIEWS:
        assert found[name] == expected[name], f"seed {seed}, {size} rows at a time: {name} differs"


@pytest.mark.parametrize("seed", range(4))
async def test_what_was_erased_is_replayed_as_it_was_left(seed: int, tmp_path: Path) -> None:
    told, back = await moved(tmp_path, seed, 37, erased=3)

    expected, found = views(told, VIEWS_ERASED), views(back, VIEWS_ERASED)
    for name in VIEWS_ERASED:
        assert found[name] == expected[name], f"seed {seed}: {name} differs"
    marked, several = marks(back)
    assert marked.keys() == marks(told)[0].keys()
    assert several, "no key has words of several origins, so no mark is tested"
    assert all(marked[key] for key in several)
