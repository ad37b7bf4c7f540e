"""Runs as tasks of the Model Context Protocol, on the product's own tool `run`: as its wire has them, revision 2026-07-28."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from integration.server.conftest import Served, serving

from latewood.execution import Fault, ask, step, workflow
from latewood.memory import Memory
from latewood.memory.keys import Keys
from latewood.memory.runs import runs_of
from latewood.server.mcp.tasks import TASKS
from latewood.server.options import ServerOptions

LOOKS = 500


@step()
async def fail() -> None:
    raise Fault("permanent", "no such lane")


@workflow(owner="human:ada")
async def book(lane: str) -> dict[str, str]:
    if lane == "nowhere":
        await fail()
    return {"lane": lane, "booked": str(await ask(f"Book {lane}?", choices=["yes", "no"], context={"lane": lane}))}


async def send(
    served: Served, method: str, params: dict[str, Any], *, name: str | None, able: bool = True, **more: str
) -> dict[str, Any]:
    capabilities: dict[str, Any] = {"elicitation": {}, **({"extensions": {TASKS: {}}} if able else {})}
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": capabilities,
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "0"},
    }  # fmt: skip
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method,
        **more,
    }
    if name is not None:
        headers["mcp-name"] = name
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    return (await served.client.post("/mcp", json=body, headers=headers)).json()


async def start(served: Served, lane: str, *, able: bool = True, **more: str) -> dict[str, Any]:
    given = {"action": "start", "workflow": "book", "input": {"lane": lane}, "runner": "worker", "by": "agent:t"}
    if more.get("authorization"):
        del given["by"]
    return (await send(served, "tools/call", {"name": "run", "arguments": given}, name="run", able=able, **more))[
        "result"
    ]


async def until(served: Served, task: str, *statuses: str) -> dict[str, Any]:
    for _ in range(LOOKS):
        told = (await send(served, "tasks/get", {"taskId": task}, name=task))["result"]
        if told["status"] in statuses:
            return told
        await asyncio.sleep(0.02)
    raise AssertionError(told)


async def test_a_run_for_the_workers_is_a_task_that_asks_its_human_and_ends(tmp_path: Path) -> None:
    async with (
        Memory.open(str(tmp_path / "t.db"), sync="normal") as memory,
        serving(memory, Counter(), options=ServerOptions(workflows=(book,))) as served,
    ):
        begun, failing = await start(served, "Lyon"), await start(served, "nowhere")
        assert (begun["resultType"], begun["status"], begun["ttlMs"]) == ("task", "working", None)
        assert (await runs_of(memory).run(begun["taskId"])).workflow == "book"
        asked = await until(served, begun["taskId"], "input_required")
        ((key, request),) = asked["inputRequests"].items()
        assert request["params"]["requestedSchema"]["properties"]["answer"]["enum"] == ["yes", "no"]
        assert '{"lane": "Lyon"}' in request["params"]["message"]
        update = {"taskId": begun["taskId"], "inputResponses": {key: {"action": "decline"}}}
        assert set((await send(served, "tasks/update", update, name=begun["taskId"]))["result"]) == {
            "resultType",
            "_meta",
        }
        assert (await until(served, begun["taskId"], "input_required"))["inputRequests"].keys() == {key}
        wrong = {
            "taskId": begun["taskId"],
            "inputResponses": {key: {"action": "accept", "content": {"answer": "perhaps"}}},
        }
        refused = (await send(served, "tasks/update", wrong, name=begun["taskId"]))["error"]
        assert (refused["code"], refused["data"]["code"]) == (-32602, "question.choice")
        right = {
            "taskId": begun["taskId"],
            "inputResponses": {key: {"action": "accept", "content": {"answer": "yes"}}},
        }
        for _ in range(2):
            assert "result" in await send(served, "tasks/update", right, name=begun["taskId"])
        done = await until(served, begun["taskId"], "completed")
        assert done["result"]["structuredContent"]["output"] == {"lane": "Lyon", "booked": "yes"}
        (asked_step,) = (await runs_of(memory).show(begun["taskId"])).steps
        assert asked_step.answer == {"choice": "yes", "by": "human:ada"}
        failed = await until(served, failing["taskId"], "completed", "failed")
        assert (failed["status"], failed["result"]["isError"]) == ("completed", True)
        assert "no such lane" in failed["result"]["content"][0]["text"]
        plain = await start(served, "Nice", able=False)
        assert (plain["resultType"], plain["structuredContent"]["answer"]["status"]) == ("complete", "ready")
        cancelled = plain["structuredContent"]["answer"]["run"]
        for _ in range(2):
            assert "result" in await send(served, "tasks/cancel", {"taskId": cancelled}, name=cancelled)
        assert (await until(served, cancelled, "cancelled"))["status"] == "cancelled"


async def test_a_task_is_its_tenants_alone_and_goes_by_its_header(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "k.db"), by="human:root", sync="normal") as memory:
        keys = Keys(memory)
        made = {
            tenant: await keys.create(tenant, tenant=tenant, actor="agent:x", scopes=("read", "run"), by="human:root")
            for tenant in ("acme", "blue")
        }
        async with serving(memory, Counter(), options=ServerOptions(auth=True)) as served:
            mine, theirs = ({"authorization": f"Bearer {made[one].secret}"} for one in ("acme", "blue"))
            task = (await start(served, "Lyon", **mine))["taskId"]
            assert (await send(served, "tasks/get", {"taskId": task}, name=task, **mine))["result"][
                "status"
            ] == "working"
            for method in ("tasks/get", "tasks/update", "tasks/cancel"):
                for given, more in ((task, theirs), ("nobody", mine), (f"no-space/{task}", mine)):
                    unknown = await send(served, method, {"taskId": given}, name=given, **more)
                    assert unknown["error"]["code"] in (-32602, -32603), unknown
                    assert "Lyon" not in str(unknown)
                assert (await send(served, method, {"taskId": task}, name="other", **mine))["error"]["code"] == -32020
                assert (await send(served, method, {"taskId": task}, name=None, **mine))["error"]["code"] == -32020
                assert (await send(served, method, {"taskId": task}, name=task, able=False, **mine))["error"][
                    "code"
                ] == -32021
            assert (await runs_of(memory.within(tenant="acme")).run(task)).status == "ready"
