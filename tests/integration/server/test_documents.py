"""What an operation may cost, and servers that run trusted documents only."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from integration.server.conftest import Served, serving

from latewood.graph_schema.errors import InvalidError
from latewood.memory import Memory
from latewood.server.graphql.documents import TrustedDocuments
from latewood.server.options import ServerOptions

TIMELINES = """query Q($many: Int = 2, $each: Int) {
  decisions(first: $many) { edges { node { about { timeline(first: $each) { edges { node { id } } } } } } }
}"""
SPACES = "query Spaces { spaces { name } }"
CHANGES = "subscription Feed { changes { seq } }"


async def test_lists_in_lists_are_counted_before_they_are_read(served: Any) -> None:
    before = sum(served.calls.values())
    error = await served.refused(TIMELINES, many=1000, each=1000)

    assert (error["code"], error["details"]) == ("limit.exceeded", {"limit": "COST_MAX", "maximum": 250_000})
    assert sum(served.calls.values()) == before


async def test_a_variable_its_default_and_a_fragment_count_as_what_they_stand_for(served: Any) -> None:
    assert (await served.ask(TIMELINES, each=1000))["decisions"]["edges"] == []
    spread = "query($n: Int!) { decisions(first: $n) { edges { node { ...f } } } } fragment f on Decision { about { timeline(first: $n) { edges { node { id } } } } }"
    assert (await served.ask(spread, n=50))["decisions"]["edges"] == []
    assert (await served.refused(spread, n=1000))["details"]["limit"] == "COST_MAX"


async def test_the_same_document_is_judged_with_each_calls_variables(served: Any) -> None:
    for each, refused in ((10, False), (1000, True), (10, False)):
        answer = await served.post(TIMELINES, {"many": 1000, "each": each})
        assert ("errors" in answer) is refused


@pytest.fixture
async def trusting(tmp_path: Path) -> AsyncIterator[Served]:
    file = tmp_path / "documents.json"
    file.write_text(json.dumps({"spaces": SPACES, "feed": CHANGES}), encoding="utf-8")
    async with (
        Memory.open(str(tmp_path / "t.db"), by="agent:test", sync="normal") as memory,
        serving(memory, Counter(), options=ServerOptions(trusted=TrustedDocuments.read(file))) as running,
    ):
        yield running


async def test_what_is_on_the_list_runs_by_id_by_digest_and_by_text(trusting: Served) -> None:
    digest = "sha256:" + hashlib.sha256(SPACES.encode()).hexdigest()
    for request in ({"documentId": "spaces"}, {"documentId": digest}, {"query": SPACES}):
        posted = await trusting.client.post("/graphql", json=request)
        got = await trusting.client.get("/graphql", params=request)
        assert posted.json() == got.json() == {"data": {"spaces": [{"name": "default"}]}}


@pytest.mark.parametrize(
    "request_", [{"query": "{ spaces { name } }"}, {"query": "{ __schema { types { name } } }"}, {"documentId": "no"}]
)
async def test_what_is_on_no_list_is_refused(trusting: Served, request_: dict[str, str]) -> None:
    (error,) = (await trusting.client.post("/graphql", json=request_)).json()["errors"]

    assert error["extensions"]["code"] == "document.unknown"


async def test_sockets_and_streams_are_held_to_the_list_too(trusting: Served) -> None:
    await trusting.memory.observe("a:1", "p", 1)
    async with trusting.socket() as socket:
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"documentId": "feed"}}))
        assert json.loads(await socket.recv())["payload"]["data"]["changes"]["seq"] == 1
        await socket.send(json.dumps({"id": "2", "type": "subscribe", "payload": {"query": "subscription Other { changes { seq } }"}}))  # fmt: skip
        while (answer := json.loads(await socket.recv())).get("id") != "2":
            pass
    assert (answer["type"], answer["payload"][0]["extensions"]["code"]) == ("error", "document.unknown")
    headers = {"accept": "text/event-stream"}
    streamed = await trusting.client.post("/graphql", json={"query": "subscription Other { changes { seq } }"}, headers=headers)  # fmt: skip
    assert "document.unknown" in streamed.text


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"a": 5}', '{"a": "{"}', '{"a": "{ nothing }"}', "[" * 100_000],
)  # fmt: skip
def test_a_list_that_cannot_be_honoured_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "d.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidError) as caught:
        TrustedDocuments.read(file)
    assert caught.value.code == "setting.invalid"
    with pytest.raises(InvalidError):
        TrustedDocuments.read(tmp_path / "none.json")
