"""The tools as a model's client meets them: the official client, over real HTTP and over stdio."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from mcp import Client, StdioServerParameters

from latewood.graph_schema.errors import NotFoundError
from latewood.memory import Memory
from latewood.memory.json import as_json
from latewood.reasoning.tokens import tokens_of
from latewood.server.mcp.answers import NOTICE, pruned

TOOLS = [
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
]
MODES = ["auto", "legacy"]


@asynccontextmanager
async def connected(served: Any, mode: str = "auto") -> AsyncGenerator[Client]:
    async with Client(f"http://127.0.0.1:{served.port}/mcp", mode=mode) as client:
        yield client


async def call(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    content: Any = result.structured_content
    assert isinstance(content, dict)
    return cast("dict[str, Any]", content)


async def refused(client: Client, name: str, **arguments: Any) -> str:
    result = await client.call_tool(name, arguments)
    assert result.is_error
    return result.content[0].text.removeprefix(f"Error executing tool {name}: ")  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", MODES)
async def test_the_tools_are_few_described_and_strict(served: Any, mode: str) -> None:
    async with connected(served, mode) as client:
        listed = (await client.list_tools()).tools
        again = (await client.list_tools()).tools

    assert [one.name for one in listed] == TOOLS == [one.name for one in again]
    for one in listed:
        assert one.description
        assert "  " not in one.description
        assert one.input_schema["additionalProperties"] is False, one.name
        assert all("description" in part for part in one.input_schema["properties"].values()), one.name
        assert one.output_schema is not None
        assert one.annotations is not None
        assert one.annotations.read_only_hint is (
            one.name not in ("decide", "record", "amend", "run", "send", "receive")
        )
        assert one.annotations.destructive_hint is False
    assert tokens_of(json.dumps([one.model_dump(mode="json", by_alias=True) for one in listed])) < 12_000


@pytest.mark.parametrize("mode", MODES)
async def test_a_session_from_brief_to_why(served: Any, mode: str) -> None:
    async with connected(served, mode) as client:
        assert "Nothing is open" in (await call(client, "brief"))["text"]
        rate = await call(
            client, "record", subject="carrier:A", predicate="on_time_rate", value=0.81, source="ledger.csv"
        )
        await call(client, "record", subject="carrier:A", predicate="serves", target="lane:lyon")
        chosen = await call(
            client, "decide", choice="Move the Lyon lane to carrier B", because="A has been late three weeks running",
            about=["carrier:A"], evidence=[rate["id"]], alternatives=[{"title": "stay", "rejected_because": "penalties did not help"}],
            by="agent:planner", session="s-12",
        )  # fmt: skip
        await call(client, "amend", action="correct", target=rate["id"], value=0.91, because="counted twice")
        why = await call(client, "why", decision=chosen["id"])
        about = await call(client, "why", about="carrier:A")
        found = await call(client, "recall", query="why did we leave carrier A?")
        stale = await call(client, "review", what="stale")
        brief = await call(client, "brief", about="carrier:A")
        got = await call(client, "get", thing="carrier:A", budget_tokens=3_000)
        line = await call(client, "timeline", thing="carrier:A", predicates=["on_time_rate"])

    chain = why["answer"][0]["chain"]
    assert "rationale: A has been late three weeks running" in chain
    assert "alternative: stay: penalties did not help" in chain
    assert any(
        one.startswith("evidence: carrier:A on_time_rate = 0.81") and one.endswith(f"[since corrected] [{rate['id']}]")
        for one in chain
    )
    assert about["answer"] == why["answer"]
    assert found["notice"] == NOTICE
    assert "Move the Lyon lane" in found["text"]
    assert [one["decision"]["id"] for one in stale["items"]] == [chosen["id"]]
    assert "was corrected, now 0.91 (counted twice)" in brief["text"]
    assert got["answer"] == pruned(as_json(await served.memory.entity("carrier:A")))
    assert [one["value"]["data"] for one in line["items"]] == [0.81, 0.91]
    assert (await served.memory.decision(chosen["id"])).decided_by[0].key == "agent:planner"


async def test_errors_say_what_was_wrong_and_how_to_mend_it(served: Any) -> None:
    await served.memory.observe("lane:1", "note", "quiet")
    async with connected(served) as client:
        unknown = json.loads(await refused(client, "get", thing="carrier:nobody"))
        naive = await refused(client, "timeline", thing="agent:test", known_at="2026-01-01T00:00:00")
        misspelt = json.loads(await refused(client, "recall", query="x", budget=5))
        seconds = json.loads(await refused(client, "diff", since=1_767_225_600, until="2026-02-01"))
        both = json.loads(await refused(client, "record", subject="a:1", predicate="p", value=1, target="b:2"))
        small = await refused(client, "brief", budget_tokens=5)
        stranger = json.loads(await refused(client, "get", thing="x:1", space="nowhere"))

    assert unknown["code"] == "node.not_found"
    assert "time.naive" in naive
    assert (misspelt["code"], misspelt["details"]["arguments"]) == ("query.invalid", ["budget"])
    assert "pydantic" not in misspelt["message"]
    assert (seconds["code"], seconds["details"]["argument"]) == ("time.unreadable", "since")
    assert both["code"] == "query.invalid"
    assert "200" in small
    assert stranger["code"] == "space.unknown"


async def test_a_date_alone_is_its_first_instant_as_everywhere(served: Any) -> None:
    begun = datetime(2026, 3, 1, tzinfo=UTC)
    await served.memory.observe("lane:1", "note", "before", valid_from=begun - timedelta(seconds=1))
    await served.memory.observe("lane:1", "note", "quiet", valid_from=begun)
    async with connected(served) as client:
        found = await call(client, "get", thing="lane:1", valid_at="2026-03-01")

    assert [one["value"]["data"] for one in found["answer"]["facts"]] == ["quiet"]


async def test_a_budget_holds_and_cursors_go_on_to_the_end(served: Any) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(60):
        await served.memory.observe(
            "carrier:A", "note", f"note {number} " + "of some length " * 5, valid_from=start + timedelta(days=number)
        )
        await served.memory.observe(f"lane:{number}", "note", f"note {number} " + "of some length " * 5)
    await served.memory.observe("carrier:B", "note", "x" * 30_000)

    async with connected(served) as client:
        seen: list[str] = []
        cursor: str | None = None
        calls = 0
        while True:
            page = await call(
                client, "timeline", thing="carrier:A", budget_tokens=900, **({"cursor": cursor} if cursor else {})
            )
            calls += 1
            assert tokens_of(json.dumps(page, ensure_ascii=False)) <= 900
            seen += [one["id"] for one in page["items"]]
            cursor = page.get("cursor")
            if cursor is None:
                break
        long = await call(client, "get", thing="carrier:B", budget_tokens=600)
        line = await call(client, "timeline", thing="carrier:B", budget_tokens=600)
        recalled = await call(client, "recall", query="note of some length", budget_tokens=400, limit=50)

    whole = await served.memory.timeline("carrier:A", first=100)
    assert seen == [fact.id for fact in whole.items]
    assert calls > 5
    assert long["cut"] is True
    for answer, budget in ((long, 600), (line, 600), (recalled, 400)):
        assert tokens_of(json.dumps(answer, ensure_ascii=False)) <= budget
    assert recalled["left_out"] > 0


async def test_resources_and_prompts(served: Any) -> None:
    chosen = await served.memory.decide("Go", because="so", key="adr:1", session="s-1")
    async with connected(served) as client:
        templates = [one.uri_template for one in (await client.list_resource_templates()).resource_templates]
        read = await client.read_resource("latewood://decision/adr:1")
        brief = await client.read_resource("latewood://brief")
        prompts = [one.name for one in (await client.list_prompts()).prompts]
        asked = await client.get_prompt("brief_me", {"about": "carrier:A"})
        with pytest.raises(Exception, match="carrier:nobody"):
            await client.read_resource("latewood://entity/carrier:nobody")

    assert templates == ["latewood://decision/{key}", "latewood://entity/{key}", "latewood://session/{name}"]
    assert json.loads(read.contents[0].text)["answer"]["id"] == chosen.id  # type: ignore[union-attr]
    assert "In force" in brief.contents[0].text  # type: ignore[union-attr]
    assert prompts == ["brief_me", "record_the_decision", "review_what_went_stale"]
    assert "carrier:A" in asked.messages[0].content.text  # type: ignore[union-attr]


async def test_a_foreign_page_is_refused(served: Any) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    origin = await served.client.post("/mcp", json=body, headers={**headers, "origin": "https://evil.example"})
    host = await served.client.post("/mcp", json=body, headers={**headers, "host": "evil.example"})

    assert (origin.status_code, host.status_code) == (403, 403)


async def test_over_stdio_it_writes_what_the_next_reader_sees(tmp_path: Path) -> None:
    path = tmp_path / "desk.db"
    words = ["-c", "from latewood.clients.cli import main; main()", "mcp", "--db", str(path), "--by", "agent:desk"]
    async with Client(StdioServerParameters(command=sys.executable, args=words)) as client:
        assert [one.name for one in (await client.list_tools()).tools] == TOOLS
        chosen = await call(client, "decide", choice="Use stdio", because="the client starts us")

    async with Memory.open(str(path)) as memory:
        assert (await memory.decision(chosen["id"])).decided_by[0].key == "agent:desk"


async def test_servers_of_one_process_each_speak_for_their_own_memory(serve: Any) -> None:
    async with (
        Memory.open("reference:", by="agent:one") as one, Memory.open("reference:", by="agent:two") as other,
        serve(one) as first, serve(other) as second, connected(first) as here, connected(second) as there,
    ):  # fmt: skip
        for client, key in ((here, "carrier:A"), (there, "carrier:B")):
            await call(client, "record", subject=key, predicate="on_time_rate", value=0.81)
            await call(client, "decide", choice=f"Keep {key}", because="it is cheap", about=[key])

        for memory, key, absent in ((one, "carrier:A", "carrier:B"), (other, "carrier:B", "carrier:A")):
            assert [fact.predicate for fact in (await memory.entity(key)).facts] == ["on_time_rate"]
            assert [decision.title for decision in (await memory.decisions()).items] == [f"Keep {key}"]
            with pytest.raises(NotFoundError):
                await memory.entity(absent)
