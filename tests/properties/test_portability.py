"""A space that went through a file answers as before: equal fingerprints, equal answers at every probe, in any store."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conformance.stores import STORES
from properties.histories import Batch
from properties.stories import START, WORDS, Story

from latewood.graph_schema.clock import ManualClock, from_micros
from latewood.graph_schema.ids import SequentialIds
from latewood.memory import Memory
from latewood.memory.opening import Engine
from latewood.memory.portability import export_space, fingerprint, import_space
from latewood.storage.journal import Journal
from latewood.storage.port import GraphStore
from latewood.storage.reference import ReferenceStore

ROUTES = [
    ("reference", "sqlite"), ("sqlite", "reference"), ("sqlite", "sqlite"), ("sqlite", "neo4j"), ("neo4j", "sqlite"),
    ("neo4j", "reference"),
]  # fmt: skip


def memory_on(store: GraphStore, clock: ManualClock) -> Memory:
    return Memory(Engine(store, Journal(), clock, SequentialIds(7)), space="default", by=None, session=None, trust=None)


@pytest.mark.parametrize(("origin", "goal"), [one for one in ROUTES if set(one) <= set(STORES)])
async def test_a_backup_restored_elsewhere_answers_as_before(origin: str, goal: str, tmp_path: Path) -> None:
    rng = random.Random(f"{origin} {goal}")
    clocks = ManualClock(from_micros(START)), ManualClock(from_micros(START))
    reference = ReferenceStore(clock=clocks[0], ids=SequentialIds(1), words=WORDS)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = await STORES[origin](tmp_path / "a").fresh(clock=clocks[1], ids=SequentialIds(1), words=WORDS)
    stories = [Story(random.Random(rng.random()), f"{n}x", SequentialIds(100 + n)) for n in range(12)]
    told = Batch(0, reference, first, clocks, rng, stories)
    for _ in range(6):
        await told.round()
    file = tmp_path / "space.jsonl.gz"
    exported = await export_space(memory_on(first, clocks[1]), file)
    await first.close()

    # The one database of a Neo4j server is emptied here: what comes back comes from the file alone.
    second = await STORES[goal](tmp_path / "b").fresh(clock=clocks[1], ids=SequentialIds(1), words=WORDS)
    try:
        memory = memory_on(second, clocks[1])
        trial = await import_space(memory, file, dry_run=True)
        imported = await import_space(memory, file)
        again = await import_space(memory, file)
        await replace(told, store=second).compare(whole=True)
        verdicts = [await second.verify("default", name) for name in ("knowledge", "execution")]
    finally:
        await second.close()

    assert trial.rows == exported.rows == imported.rows == imported.written
    assert trial.written == again.written == 0
    assert imported.fingerprint == again.fingerprint == exported.fingerprint
    assert all(verdict.ok for verdict in verdicts)


async def test_a_fingerprint_sees_what_drifted(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "a.db"), by="human:ada") as memory:
        await memory.observe("carrier:A", "rate", 1)
        before = await fingerprint(memory.store, "default")
        same = await fingerprint(memory.store, "default")
    drift(tmp_path / "a.db")
    async with Memory.open(str(tmp_path / "a.db"), by="human:ada") as memory:
        drifted = await fingerprint(memory.store, "default")
        await memory.observe("carrier:A", "rate", 2)
        later = await fingerprint(memory.store, "default")

    assert before == same
    assert len({before, drifted, later}) == 3


def drift(file: Path) -> None:
    import apsw

    database: Any = apsw.Connection(str(file))
    database.execute("update stretch set retired_at = recorded_at")
    database.close()
