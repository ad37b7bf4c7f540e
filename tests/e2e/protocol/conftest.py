"""The product's own application on a free port, with the tools of the conformance suite beside its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from mcp.server import MCPServer

from latewood.execution import Workflow
from latewood.memory import Memory
from latewood.server.app import create_app
from latewood.server.mcp.service import make_mcp
from latewood.server.options import ServerOptions
from latewood.server.serve import bind

_START_S = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended."""

    code: int
    out: str
    err: str


@asynccontextmanager
async def _serving(
    memory: Memory, add: Callable[[MCPServer[Any]], None] | None, workflows: Sequence[Workflow[..., Any]]
) -> AsyncIterator[str]:
    mcp = make_mcp(memory)
    if add is not None:
        add(mcp)
    options = ServerOptions(workflows=tuple(workflows))
    listener = bind("127.0.0.1", 0)
    config = uvicorn.Config(
        create_app(memory, mcp=mcp, options=options),
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve(sockets=[listener]))
    async with asyncio.timeout(_START_S):
        while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await running
        listener.close()


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    """A memory in a fresh file."""
    async with Memory.open(str(tmp_path / "t.db"), by="agent:test", sync="normal") as opened:
        yield opened


@pytest.fixture
def speaking(memory: Memory) -> Callable[..., AbstractAsyncContextManager[str]]:
    """Serve the memory's MCP, with what a test adds to it, and give its address."""
    return lambda add=None, workflows=(): _serving(memory, add, workflows)


@pytest.fixture
def run() -> Callable[..., Any]:
    """Run a program to its end while the server goes on answering."""

    async def go(words: Sequence[str], *, cwd: Path | None = None, seconds: float = 300) -> Outcome:
        program = await asyncio.create_subprocess_exec(
            *words, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(seconds):
                out, err = await program.communicate()
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()
        return Outcome(program.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))

    return go
