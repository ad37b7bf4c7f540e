"""SQLite equals the reference over seeded random histories; LATEWOOD_EXAMPLES scales how many."""

from pathlib import Path

import pytest
from properties.histories import BATCH, examples, run_batch, run_many


@pytest.mark.parametrize("seed", range(3))
async def test_sqlite_equals_the_reference(seed: int, tmp_path: Path) -> None:
    await run_batch(seed, tmp_path)


@pytest.mark.parametrize("seed", [11, 12])
async def test_sqlite_equals_the_reference_at_every_boundary(seed: int, tmp_path: Path) -> None:
    await run_batch(seed, tmp_path, histories=12, rounds=10, whole=True)


async def test_one_long_history(tmp_path: Path) -> None:
    await run_batch(77, tmp_path, histories=1, rounds=80, whole=True)


@pytest.mark.slow
@pytest.mark.timeout(7_200)
async def test_many_histories(tmp_path: Path) -> None:
    assert await run_many(examples(50 * BATCH), 1_000_000, tmp_path) == examples(50 * BATCH)
