"""The stores that are crashed, and how each is opened again afterwards."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from latewood.graph_schema.clock import ManualClock
from latewood.memory.opening import open_engine
from latewood.storage.port import GraphStore

__all__ = ["STORES", "opened_later"]

STORES: Final = ("sqlite", "neo4j")


@asynccontextmanager
async def opened_later(url: str, seconds: float = 0) -> AsyncGenerator[GraphStore]:
    """Open the store at *url* with a clock that stands still, *seconds* from now."""
    clock = ManualClock(datetime.now(UTC) + timedelta(seconds=seconds))
    engine = await open_engine(url, clock=clock)
    try:
        yield engine.store
    finally:
        await engine.close()
