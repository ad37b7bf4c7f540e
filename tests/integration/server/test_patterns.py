"""Patterns over GraphQL and MCP, as the Python API tells them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from mcp.client import Client

from latewood.memory import Memory
from latewood.memory.json import as_json
from latewood.memory.patterns import explain, patterns

FIELDS = (
    "id key kind status predicate statement family judged p q effect low high unit since until support detail "
    "recordedAt version review reason about evidence"
)


async def tell(memory: Memory) -> None:
    for month in range(5):
        await memory.observe(
            "project:lyon", "vendor", "AB"[month % 2], by="human:ada",
            valid_from=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=30 * month),
        )  # fmt: skip


async def test_patterns_are_detected_read_and_reviewed_over_graphql(served: Any) -> None:
    await tell(served.memory)
    report = (await served.post("mutation { detectPatterns { opened looked facts failed { reason } } }"))["data"]
    assert report["detectPatterns"]["looked"] == 1
    assert len(report["detectPatterns"]["opened"]) == 1
    again = (await served.post("mutation { detectPatterns { opened kept facts } }"))["data"]["detectPatterns"]
    assert (again["opened"], len(again["kept"]), again["facts"]) == ([], 1, 0)

    listed = (await served.post(f"{{ patterns(kind: REVERSAL) {{ edges {{ node {{ {FIELDS} }} }} }} }}"))["data"]
    node = listed["patterns"]["edges"][0]["node"]
    expected: Any = as_json((await patterns(served.memory)).items[0])
    assert {**node, "kind": node["kind"].lower(), "status": node["status"].lower()} == expected

    one = (await served.post(f'{{ pattern(id: "{node["key"]}") {{ {FIELDS} }} }}'))["data"]["pattern"]
    whole: Any = as_json(await explain(served.memory, node["id"]))
    assert (one["evidence"], len(one["evidence"])) == (whole["evidence"], 5)
    assert (await served.post('{ pattern(id: "project:lyon") { id } }'))["data"] == {"pattern": None}

    review = (
        'mutation { reviewPattern(input: {pattern: "%s", verdict: MUTED, because: "%s"}) { id receipt { state } } }'
    )
    done = await served.post(review % (node["id"], "on purpose"))
    assert done["data"]["reviewPattern"]["receipt"]["state"] == "stored"
    assert (await served.post("{ patterns { edges { node { id } } } }"))["data"]["patterns"]["edges"] == []
    hidden = await served.post("{ patterns(hidden: true) { edges { node { review reason } } } }")
    assert hidden["data"]["patterns"]["edges"] == [{"node": {"review": "MUTED", "reason": "on purpose"}}]
    refused = await served.post(review % (node["id"], " "))
    assert refused["errors"][0]["extensions"]["code"] == "query.invalid"


async def test_a_model_lists_patterns_and_reads_one(served: Any) -> None:
    await tell(served.memory)
    await served.post("mutation { detectPatterns { facts } }")
    async with Client(f"http://127.0.0.1:{served.port}/mcp") as client:
        listed: Any = (await client.call_tool("patterns", {"kind": "reversal"})).structured_content
        assert [one["effect"] for one in listed["items"]] == [3.0]
        one: Any = (await client.call_tool("patterns", {"pattern": listed["items"][0]["key"]})).structured_content
        assert len(one["answer"]["evidence"]) == 5
        none: Any = (await client.call_tool("patterns", {"kind": "trend", "ended": True})).structured_content
        assert none.get("items", []) == []
        wrong = await client.call_tool("patterns", {"pattern": "project:lyon"})
        assert wrong.is_error
