"""The clients that people use, each in an environment of its own, and the inspector, against the product's own server."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e.protocol.installed import command_line, node, npm, python
from mcp.server import MCPServer

from latewood.memory import Memory
from latewood.server.mcp.answers import NOTICE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SCRIPTS = Path(__file__).with_name("clients")
PYTHON = {
    "latest": "mcp==2.3.0",
    "earlier": "mcp==1.30.0",
    "langchain": "langchain-mcp-adapters==0.3.2",
    "openai_agents": "openai-agents==0.24.0",
    "pydantic_agent": "pydantic-ai-slim[mcp]==2.62.0",
}
TYPESCRIPT = "@modelcontextprotocol/client@2.4.0"
INSPECTOR = "@modelcontextprotocol/inspector"
TOOLS = {
    "recall",
    "brief",
    "get",
    "why",
    "timeline",
    "diff",
    "review",
    "patterns",
    "decide",
    "record",
    "amend",
    "status",
    "run",
    "send",
    "receive",
}


async def _agrees(memory: Memory, done: Any) -> None:
    """What a client wrote is in the store, and what it read stands under the notice."""
    assert done.code == 0, done.out[-2_000:] + done.err[-4_000:]
    told = json.loads(done.out.strip().splitlines()[-1])
    assert set(told["tools"]) == TOOLS
    decision = await memory.decision(told["id"])
    assert decision.title.startswith("Use ")
    assert NOTICE in told["text"]
    assert decision.title in told["text"]


@pytest.mark.parametrize("client", PYTHON)
async def test_a_python_client_lists_writes_and_reads(
    client: str, memory: Memory, speaking: Callable[..., Any], run: Callable[..., Any], tmp_path: Path
) -> None:
    interpreter = await asyncio.to_thread(python, f"client-{client}", PYTHON[client])

    async with speaking() as url:
        done = await run([str(interpreter), str(SCRIPTS / f"{client}.py"), url], cwd=tmp_path)

        await _agrees(memory, done)


async def test_the_typescript_client_lists_writes_and_reads(
    memory: Memory, speaking: Callable[..., Any], run: Callable[..., Any], tmp_path: Path
) -> None:
    package = await asyncio.to_thread(npm, "client-typescript", TYPESCRIPT)
    # Node looks for packages beside the script.
    script = tmp_path / "typescript.mjs"
    script.write_text((SCRIPTS / script.name).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "node_modules").symlink_to(package / "node_modules")

    async with speaking() as url:
        done = await run([str(node()), str(script), url])

        await _agrees(memory, done)


async def test_a_client_starts_the_server_itself(run: Callable[..., Any], tmp_path: Path) -> None:
    interpreter = await asyncio.to_thread(python, "client-openai_agents", PYTHON["openai_agents"])
    db = str(tmp_path / "stdio.db")
    ours = [sys.executable, "-c", "from latewood.clients.cli import main; main()", "mcp", "--db", db]

    done = await run([str(interpreter), str(SCRIPTS / "openai_agents.py"), *ours], cwd=tmp_path)

    async with Memory.open(db) as memory:
        await _agrees(memory, done)


def _sloppy(server: MCPServer[Any]) -> None:
    @server.tool()
    def sloppy() -> str:
        """Take what no client can check."""
        return ""

    tool = server._tool_manager.get_tool("sloppy")
    assert tool is not None
    tool.parameters = {"type": "object", "properties": {"it": True}}


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_the_inspector_finds_the_schemas_portable(
    era: str, speaking: Callable[..., Any], run: Callable[..., Any]
) -> None:
    package = await asyncio.to_thread(npm, "inspector", f"{INSPECTOR}@2.12.0")
    words = command_line(package, f"{INSPECTOR}/clients/launcher/build/index.js")

    async with speaking() as url:
        asked = ["--cli", url, "--transport", "http", "--method", "tools/list", "--strict", "--protocol-era", era]
        done = await run([*words, *asked])
    assert done.code == 0, done.out + done.err
    assert "warning" not in done.err
    assert {tool["name"] for tool in json.loads(done.out)["tools"]} == TOOLS


async def test_the_inspector_would_say_so(speaking: Callable[..., Any], run: Callable[..., Any]) -> None:
    package = await asyncio.to_thread(npm, "inspector", f"{INSPECTOR}@2.12.0")
    words = command_line(package, f"{INSPECTOR}/clients/launcher/build/index.js")

    async with speaking(_sloppy) as url:
        done = await run([*words, "--cli", url, "--transport", "http", "--method", "tools/list", "--strict"])
    assert done.code == 6
    assert "sloppy" in done.out + done.err
