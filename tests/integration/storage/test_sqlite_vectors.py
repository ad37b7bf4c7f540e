"""What search by fact keeps in a file: gone with an erasure, made up for after an older Latewood, right after an upgrade."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import cast

import apsw
import numpy as np
import pytest

from latewood.graph_schema.clock import ManualClock, from_micros
from latewood.graph_schema.commands import Erase
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.model import Trust
from latewood.storage.conformance.scene import WORDS, Scene, day
from latewood.storage.conformance.vectors import vector
from latewood.storage.sqlite import vectors
from latewood.storage.sqlite.store import SqliteStore
from latewood.storage.sqlite.vectors import StoredGeneration, VectorCache, ranked

RELEASED = Path(__file__).parents[2] / "data" / "released" / "0.1.0.db"
DIMENSIONS = 32


class _Make:
    """One file, opened as often as asked."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def fresh(self, **given: object) -> SqliteStore:
        return await SqliteStore.open(self.path, **given)  # pyright: ignore[reportArgumentType]

    async def again(self, store: object, **given: object) -> SqliteStore:
        return await self.fresh(**given)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncGenerator[Scene]:
    clock, ids = ManualClock(from_micros(day(0))), SequentialIds(salt=1)
    make = _Make(tmp_path / "a.db")
    store = await make.fresh(clock=clock, ids=ids, words=WORDS)
    await store.begin_generation("default", "m1", model="model", dimensions=DIMENSIONS)
    yield Scene(make, store, clock, ids, WORDS)
    await store.close()


def _random(seed: int) -> bytes:
    rng = random.Random(seed)
    return vector(*(rng.gauss(0, 1) for _ in range(DIMENSIONS)))


async def _say(scene: Scene, text: str, own: bytes) -> str:
    command = scene.say("thing:a", "mirror", text)
    await scene.commit(replace(scene.unit(command), vectors={command.id: own}, generation="m1"))
    return command.id


async def _erase(scene: Scene, target: str) -> None:
    await scene.commit(scene.unit(Erase(scene.new_id(), target, "asked for"), by="human:ada", trust=Trust.HUMAN))


def _holds(folder: Path, own: bytes) -> bool:
    return any(own in file.read_bytes() for file in folder.iterdir())


def _rows(path: Path, query: str) -> list[tuple[object, ...]]:
    database = apsw.Connection(str(path))
    try:
        return [tuple(row) for row in database.execute(query)]
    finally:
        database.close()


async def test_an_erased_vector_stands_in_no_file(scene: Scene, tmp_path: Path) -> None:
    kept, gone = _random(1), _random(2)
    await _say(scene, "kept", kept)
    target = await _say(scene, "gone", gone)
    assert _holds(tmp_path, gone)
    await _erase(scene, target)
    scrubbed = await scene.store.scrub()

    assert scrubbed.state == "done"
    assert not _holds(tmp_path, gone)
    assert _holds(tmp_path, kept)


async def test_a_dropped_generation_stands_in_no_file(scene: Scene, tmp_path: Path) -> None:
    own = _random(3)
    await _say(scene, "words", own)
    await scene.store.begin_generation("default", "m2", model="model", dimensions=4)
    await scene.store.switch_generation("default", "m2")
    await scene.store.drop_generation("default", "m1")
    await scene.store.close()

    assert not _holds(tmp_path, own)
    assert _rows(tmp_path / "a.db", "select name from sqlite_schema where name like 'vector%'") == [("vector_2",)]


async def test_what_an_older_latewood_wrote_and_erased_is_made_up_for(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await _say(scene, "first", _random(1))
    before = _rows(path, "select * from reached")
    target = await _say(scene, "second", _random(2))
    third = await _say(scene, "third", _random(3))
    memories = _rows(path, "select * from memory order by e")
    kept = _rows(path, "select * from vector_1 order by i")
    await _erase(scene, target)
    # As if the second, the third and the erasure had been written by a Latewood that does not know these tables.
    database = apsw.Connection(str(path))
    database.execute("delete from memory where e > (select e from reached)")
    database.execute("insert or replace into reached values(?, ?)", before[0])
    database.execute("delete from memory where e > ?", (before[0][1],))
    lost = memories[1]
    database.execute(f"insert into memory values({','.join('?' * len(lost))})", lost)
    database.execute("insert into vector_1 values(99, ?, ?)", kept[1][1:])
    database.close()
    assert len((await scene.store.match_text("default", "first second third")).items) == 1
    fourth = await _say(scene, "fourth", _random(4))

    found = await scene.store.match_text("default", "second third fourth")
    assert {one.fact for one in found.items} == {third, fourth}
    assert found.hidden == 0
    assert len(_rows(path, "select * from memory")) == 3
    assert kept[1][2] not in [row[2] for row in _rows(path, "select * from vector_1")]


async def test_an_upgraded_file_has_the_memories_of_its_ledger(tmp_path: Path) -> None:
    path = tmp_path / "released.db"
    shutil.copy(RELEASED, path)
    store = await SqliteStore.open(path)
    written = (
        "select e from event where kind = 'asserted' and json_extract(payload, '$.value.kind') in ('text', 'json')"
    )
    found = await store.match_text("default", "lane carrier late")
    facts = await store.facts_by_id("default", [one.fact for one in found.items])
    await store.begin_generation("default", "m1", model="model", dimensions=4)
    (generation,) = await store.generations("default")
    await store.close()

    assert found.items
    assert all(fact.value is not None for fact in facts.values())
    assert generation.missing > 0
    assert _rows(path, "select e from memory order by e") == _rows(path, f"{written} order by e")
    assert _rows(path, "select e from reached where view = 'memory'") == _rows(path, "select max(e) from event")


async def test_a_large_generation_is_read_in_blocks_and_a_small_one_once(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Slabs and blocks of a few rows, so that these end inside and at the end of one.
    monkeypatch.setattr(vectors, "_SLAB", 8)
    monkeypatch.setattr(vectors, "_BLOCK", 5)
    for n in range(20):
        await _say(scene, f"turn {n}", _random(n))
    database = apsw.Connection(str(tmp_path / "a.db"))
    row = next(iter(database.execute("select n, name, model, dimensions, state, changes from generation")))
    generation = StoredGeneration(*cast("tuple[int, str, str, int, str, int]", row))
    held, unheld, late = VectorCache(), VectorCache(bytes_max=1_000), VectorCache()
    late.scores(database, generation, _random(7), None)
    for n in range(20, 28):
        await _say(scene, f"turn {n}", _random(n))
    for allowed in (None, [], [2, 3, 4_000], list(range(200))):
        answers = [cache.scores(database, generation, _random(7), allowed) for cache in (held, unheld, late)]
        expected = dict(zip(*(part.tolist() for part in answers[0]), strict=True))
        for rows, scores in answers[1:]:
            assert rows.tolist() == list(expected)
            assert scores.tolist() == pytest.approx(list(expected.values()))
        if allowed is None:
            assert len(expected) == 28
    database.close()

    assert held.bytes == 28 * (4 * DIMENSIONS + 8)
    assert unheld.bytes == 0


def test_the_best_come_first_however_many_there_are() -> None:
    rng = np.random.default_rng(5)
    for count in (1, 10, 5_000):
        rows = np.arange(count, dtype=np.int64)
        # Few values, so that many rows score alike.
        scores = rng.integers(0, 50, count).astype(np.float32) / 50
        expected = sorted(zip(rows.tolist(), scores.tolist(), strict=True), key=lambda one: (-one[1], one[0]))

        assert list(ranked(rows, scores, 3)) == expected
