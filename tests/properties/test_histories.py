"""Every store equals the reference over seeded random histories; LATEWOOD_EXAMPLES scales how many."""

from pathlib import Path

import pytest
from conformance.stores import STORES, MakeNeo4j, MakeSqlite
from properties.histories import BATCH, examples, run_batch, run_many

KEPT_NEO4J_LATER = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "neo4j" else []) for name in STORES][1:]
)
"""Neo4j takes half a minute where SQLite takes one second."""


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        pytest.param(name, seed, marks=[pytest.mark.slow] if name == "neo4j" and seed else [])
        for name in STORES
        for seed in range(3)
        if name != "reference"
    ],
)
async def test_a_store_equals_the_reference(name: str, seed: int, tmp_path: Path) -> None:
    await run_batch(seed, STORES[name](tmp_path))


@KEPT_NEO4J_LATER
@pytest.mark.parametrize("seed", [11, 12])
async def test_a_store_equals_the_reference_at_every_boundary(name: str, seed: int, tmp_path: Path) -> None:
    await run_batch(seed, STORES[name](tmp_path), histories=12, rounds=10, whole=True)


@KEPT_NEO4J_LATER
async def test_one_long_history(name: str, tmp_path: Path) -> None:
    await run_batch(77, STORES[name](tmp_path), histories=1, rounds=80, whole=True)


@pytest.mark.slow
@pytest.mark.timeout(7_200)
async def test_many_histories_in_sqlite(tmp_path: Path) -> None:
    assert await run_many(examples(50 * BATCH), 1_000_000, MakeSqlite(tmp_path)) == examples(50 * BATCH)


@pytest.mark.slow
@pytest.mark.timeout(7_200)
async def test_many_histories_in_neo4j(tmp_path: Path) -> None:
    assert await run_many(2_000, 3_000_000, MakeNeo4j(tmp_path)) == 2_000
