"""A reader of server-sent events that leaves: nothing goes on for them, and nothing is logged as a fault."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from structlog.testing import capture_logs

CHANGES = "subscription($after: BigInt) { changes(after: $after) { seq event { id } } }"


async def read(served: Any, rows: int, after: int = 0) -> None:
    """Read so many rows, then hang up in the middle."""
    body = {"query": CHANGES, "variables": {"after": after}}
    headers = {"accept": "text/event-stream"}
    async with served.client.stream("POST", "/graphql", json=body, headers=headers) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            rows -= line.startswith("data:") and "changes" in line
            if rows <= 0:
                return


@pytest.mark.parametrize("rows", [0, 3, 60], ids=["at once", "while rows come", "when nothing is left"])
async def test_a_reader_that_leaves_costs_nothing_more(served: Any, rows: int) -> None:
    for number in range(50):
        await served.memory.observe("a:1", "p", number)
    last = (await served.memory.spaces())[0].seq["knowledge"]
    with capture_logs() as logs:
        for _ in range(3):
            await read(served, rows, after=last - 60)
        # A busy server takes a while to notice; one that never does fails here.
        for number in range(20):
            served.calls.clear()
            await served.memory.observe("a:1", "p", -number)
            await asyncio.sleep(0.5)
            if served.calls["feed"] == 0:
                break
        gc.collect()
        await asyncio.sleep(0.1)

    assert served.calls["feed"] == 0
    assert [one for one in logs if one["log_level"] == "error"] == []
