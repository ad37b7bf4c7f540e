"""A memory of each kind of store, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from neo4j_server import NEO4J

from latewood.graph_schema.clock import ManualClock
from latewood.memory import Memory


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 3, 10, tzinfo=UTC))


@pytest.fixture(params=["reference", "sqlite", pytest.param("neo4j", marks=pytest.mark.slow)])
async def memory(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Memory]:
    url = {"reference": "reference:", "sqlite": str(tmp_path / "runs.db")}.get(request.param) or NEO4J.url()
    async with Memory.open(url, by="agent:worker", sync="normal", clock=clock) as opened:
        if request.param != "neo4j":
            yield opened
            return
        # One server for all tests: each has a space of its own, and its clock only goes forward.
        space = f"r{abs(hash(request.node.name)) % 10**12}"
        await opened.create_space(space)
        yield opened.within(space=space)


@pytest.fixture
async def near(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Memory]:
    """A memory in this process: for what no store could do otherwise than the others."""
    url = str(tmp_path / "near.db")
    async with Memory.open(url, by="agent:worker", sync="normal", clock=clock, embedder="none") as opened:
        yield opened
