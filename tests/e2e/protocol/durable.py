"""The conformance suite's tools that become tasks: each starts a run of a workflow, which the server's workers run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from e2e.protocol.fixtures import text
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)

from latewood.execution import Fault, Run, ask, gather, sleep, step, workflow
from latewood.memory import Memory
from latewood.memory.runs import agents_of, runs_of
from latewood.server.mcp.tasks import TASKS, answer_with_task

__all__ = ["FLOWS", "add_durable"]

_Asked = Context[Any, Any]
_LOOK_S: Final = 0.05
_LOOKS: Final = 400


@workflow(name="slow_compute")
async def slow(seconds: float, label: str) -> str:
    await sleep(seconds)
    return f"{label} after {seconds:g} s"


@step()
async def impossible() -> None:
    raise Fault("permanent", "this job always fails")


@workflow(name="failing_job")
async def failing() -> None:
    await impossible()


@workflow(name="protocol_error_job")
async def broken() -> None:
    msg = "the job's own code is broken"
    raise RuntimeError(msg)


@workflow(name="confirm_delete", owner="agent:test")
async def confirmed(filename: str) -> str:
    return f"{filename}: {await ask(f'Delete {filename}?')}"


@workflow(name="multi_input", owner="agent:test")
async def several() -> str:
    first, second = await gather(ask("What is the first?"), ask("What is the second?"))
    return f"{first}, {second}"


@workflow(name="greeting")
async def greeted(name: str) -> str:
    await sleep(0.1)
    return f"Hello, {name}!"


FLOWS: Final = (slow, failing, broken, confirmed, several, greeted)


def _takes(ctx: _Asked) -> bool:
    have = ctx.client_capabilities
    return have is not None and TASKS in (have.extensions or {})


def _require(ctx: _Asked) -> None:
    if not _takes(ctx):
        needed = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "this tool is a task, or nothing", needed)


def add_durable(server: MCPServer[Any], memory: Memory) -> None:
    """Give *server* the tools, whose runs are kept in *memory*."""

    async def begin(workflow: str, given: Mapping[str, object]) -> Run:
        run = await agents_of(memory).start(workflow, given, runner="worker")
        answer_with_task(run.id)
        return run

    async def ended(run: Run) -> CallToolResult:
        """Wait, for a client that takes no tasks."""
        for _ in range(_LOOKS):
            if (run := await runs_of(memory).run(run.id)).ended:
                break
            await asyncio.sleep(_LOOK_S)
        return text(str(run.output))

    @server.tool()
    async def greet(name: str = "World") -> CallToolResult:
        """Greet, at once."""
        return text(f"Hello, {name}!")

    @server.tool()
    async def slow_compute(ctx: _Asked, seconds: float = 1, label: str = "it") -> CallToolResult:
        """Take some time."""
        run = await begin("slow_compute", {"seconds": seconds, "label": label})
        return text(run.id) if _takes(ctx) else await ended(run)

    @server.tool()
    async def failing_job(ctx: _Asked) -> CallToolResult:
        """Fail."""
        _require(ctx)
        return text((await begin("failing_job", {})).id)

    @server.tool()
    async def protocol_error_job(ctx: _Asked) -> CallToolResult:
        """Break."""
        _require(ctx)
        return text((await begin("protocol_error_job", {})).id)

    @server.tool()
    async def confirm_delete(ctx: _Asked, filename: str = "it") -> CallToolResult:
        """Ask once, then go on."""
        _require(ctx)
        return text((await begin("confirm_delete", {"filename": filename})).id)

    @server.tool()
    async def multi_input(ctx: _Asked) -> CallToolResult:
        """Ask two things at once."""
        _require(ctx)
        return text((await begin("multi_input", {})).id)

    @server.tool()
    async def test_tool_with_task(ctx: _Asked) -> CallToolResult | InputRequiredResult:
        """Ask for a name, then become a task."""
        _require(ctx)
        answer = (ctx.input_responses or {}).get("user_name")
        if isinstance(answer, ElicitResult) and isinstance(name := (answer.content or {}).get("name"), str):
            return text((await begin("greeting", {"name": name})).id)
        schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
        form = ElicitRequest(params=ElicitRequestFormParams(message="What is your name?", requested_schema=schema))
        return InputRequiredResult(input_requests={"user_name": form})
