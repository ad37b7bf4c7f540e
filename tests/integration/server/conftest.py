"""A server as users run it: uvicorn on a free loopback port, over SQLite, spoken to by HTTP and WebSocket."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import websockets

from latewood.memory import Memory
from latewood.server.app import create_app
from latewood.server.guard import BODY_BYTES_MAX
from latewood.server.serve import bind

_RUN_S = 20
_TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing is encrypted here, and each client would read the system's certificates, which takes longer than most tests."""


class CountingStore:
    """A store that counts the calls it passes on."""

    def __init__(self, store: Any, calls: Counter[str]) -> None:
        self._store = store
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found) or name == "for_tenant":
            return found

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._calls[name] += 1
            return found(*args, **kwargs)

        return counted


@dataclass
class Served:
    """A running server with a client."""

    memory: Memory
    client: httpx.AsyncClient
    port: int
    calls: Counter[str]

    async def post(self, query: str, variables: dict[str, Any] | None = None, **headers: str) -> dict[str, Any]:
        """Send an operation and return the whole answer."""
        body = json.dumps({"query": query, "variables": variables or {}})
        headers = {"content-type": "application/json", **headers}
        response = await self.client.post("/graphql", content=body, headers=headers)
        return response.json()

    async def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Send an operation that must succeed, and return its data."""
        answer = await self.post(query, variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    async def refused(self, query: str, **variables: Any) -> dict[str, Any]:
        """Send an operation that must fail with one error, and return that error's extensions and message."""
        answer = await self.post(query, variables)
        (error,) = answer["errors"]
        return {**error["extensions"], "message": error["message"]}

    async def written(self, verb: str, kind: str, select: str = "id receipt { id state facts }", **given: Any) -> Any:
        """Run a mutation with its input as variables."""
        query = f"mutation($input: {kind}!) {{ answer: {verb}(input: $input) {{ {select} }} }}"
        return (await self.ask(query, input=given))["answer"]

    @asynccontextmanager
    async def socket(self, **headers: str) -> AsyncIterator[Any]:
        """Open a graphql-transport-ws connection, greeted."""
        address = f"ws://127.0.0.1:{self.port}/graphql"
        async with websockets.connect(
            address, subprotocols=["graphql-transport-ws"], additional_headers=headers
        ) as connection:
            await connection.send(json.dumps({"type": "connection_init"}))
            assert json.loads(await connection.recv())["type"] == "connection_ack"
            yield connection


@asynccontextmanager
async def serving(memory: Memory, calls: Counter[str], **how: Any) -> AsyncIterator[Served]:
    """Serve *memory* until the block ends."""
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        create_app(memory, **how), log_level="critical", access_log=False, ws="websockets-sansio", ws_max_size=BODY_BYTES_MAX,
        timeout_graceful_shutdown=2,
        # A slow client meets no connection that is just being closed, because it was not used for five seconds.
        timeout_keep_alive=600,
    )  # fmt: skip
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve(sockets=[listener]))
    for _ in range(_RUN_S * 100):
        if server.started:
            break
        await asyncio.sleep(0.01)
    try:
        address = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=address, timeout=_RUN_S, verify=_TRUSTS_NOBODY) as client:
            yield Served(memory, client, port, calls)
    finally:
        server.should_exit = True
        await running
        listener.close()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A server over a fresh SQLite file, whose store calls are counted."""
    calls: Counter[str] = Counter()
    async with Memory.open(str(tmp_path / "t.db"), by="agent:test", sync="normal") as opened:
        memory = Memory(
            opened._engine, space="default", by="agent:test", session=None, trust=None,
            store=CountingStore(opened.store, calls),
        )  # fmt: skip
        async with serving(memory, calls) as running:
            yield running


@pytest.fixture
def serve() -> Callable[..., Any]:
    """Serve a memory of the test's own."""
    return lambda memory: serving(memory, Counter())
