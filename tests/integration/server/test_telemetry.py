"""Spans sent to `/v1/traces`: in JSON and protobuf, packed or not, in pieces, twice, broken, and by whom."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.ingestion.test_traces import PROTOBUF, document, pairs, said, span
from integration.server.conftest import Served, serving
from integration.server.test_identity import Guarded, guarded

from latewood.memory import Memory, Trust
from latewood.server.telemetry import UNPACKED_BYTES_MAX
from latewood.storage.port import FactQuery

TRUSTS = {trust.level: trust.value for trust in Trust}
GENAI = {"gen_ai.operation.name": "chat", "gen_ai.agent.name": "planner", "gen_ai.request.model": "m-1", "gen_ai.conversation.id": "conv"}  # fmt: skip


def call(own: int, parent: int | None, **more: Any) -> dict[str, Any]:
    attributes = {
        **GENAI,
        "gen_ai.input.messages": json.dumps([said("user", f"question {own}")]),
        "gen_ai.usage.input_tokens": 12,
        **more,
    }
    return span(own, parent, attributes=attributes)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with (
        Memory.open(str(tmp_path / "t.db"), sync="normal", embedder="none") as memory,
        serving(memory, Counter()) as running,
    ):
        yield running


async def send(served: Served, body: object, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await served.client.post("/v1/traces", content=content, headers={"content-type": "application/json", **named})  # fmt: skip


async def kept(served: Served, response: httpx.Response, name: str = "receipt") -> str:
    query = "query($id: ID!) { receipt(id: $id) { state } }"
    return (await served.ask(query, id=response.headers[f"latewood-{name}"]))["receipt"]["state"]


async def held(memory: Memory, key: str, predicate: str) -> list[Any]:
    node = await memory.node(key)
    facts = await memory.store.facts("default", FactQuery(subjects=[node.id], predicates=[predicate]))
    return [fact.value.data if fact.value is not None else fact.object_id for fact in facts]


async def test_spans_become_sessions_runs_and_steps_once(server: Served) -> None:
    batch = document(call(2, 1), span(1, attributes={**GENAI, "gen_ai.operation.name": "invoke_agent"}))
    first, again = await send(server, batch), await send(server, gzip.compress(json.dumps(batch).encode()), content_encoding="gzip")  # fmt: skip

    assert (first.status_code, first.json()) == (again.status_code, again.json()) == (200, {})
    assert int(first.headers["latewood-written"]) > 5
    assert again.headers["latewood-written"] == "0"
    assert [await kept(server, one) for one in (first, again)] == ["stored", "stored"]
    assert "latewood-refusal" not in first.headers
    (trace,) = {one["traceId"] for one in batch["resourceSpans"][0]["scopeSpans"][0]["spans"]}  # type: ignore[index]
    assert await held(server.memory, f"step:{trace}/{2:016x}", "usage") == [{"input_tokens": 12}]
    assert await held(server.memory, "session:conv", "said") == [{"speaker": "unknown", "text": "question 2"}]


async def test_a_span_that_comes_before_what_it_is_in_is_linked_when_that_comes(server: Served) -> None:
    plain = span(5, 1, attributes={"http.method": "GET"})
    for piece in (document(call(6, 5)), document(plain), document(span(1, attributes={**GENAI, "gen_ai.operation.name": "invoke_agent"}))):  # fmt: skip
        assert (await send(server, piece)).status_code == 200
    (trace,) = {plain["traceId"]}
    (above,) = await held(server.memory, f"step:{trace}/{6:016x}", "part_of")

    assert above == (await server.memory.node(f"step:{trace}/{1:016x}")).id


async def test_protobuf_is_taken_and_answered_in_kind(server: Served) -> None:
    response = await send(server, PROTOBUF, content_type="application/x-protobuf")
    again = await send(server, PROTOBUF, content_type="application/x-protobuf; charset=x")

    assert (response.status_code, response.content, response.headers["content-type"]) == (200, b"", "application/x-protobuf")  # fmt: skip
    assert int(response.headers["latewood-written"]) > 0
    assert again.headers["latewood-written"] == "0"


async def test_what_is_wrong_in_a_batch_is_counted_and_the_rest_kept(server: Served) -> None:
    broken = {**call(3, 1), "traceId": ""}
    response = await send(server, document(call(2, 1), broken))

    assert response.status_code == 200
    partial = response.json()["partialSuccess"]
    assert partial["rejectedSpans"] == "1"
    assert "trace id" in partial["errorMessage"]
    assert [await kept(server, response), await kept(server, response, "refusal")] == ["stored", "failed"]
    assert int(response.headers["latewood-written"]) > 0


@pytest.mark.parametrize("body", [{}, {"resourceSpans": []}, b""])
async def test_an_empty_export_is_well_formed(server: Served, body: object) -> None:
    response = await send(server, body)
    assert (response.status_code, response.json()) == (200, {})


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [(b"{", {}, 400), (b"[" * 10_000, {}, 400), (b"\xff\xfe", {}, 400), (b"nothing", {"content_type": "text/plain"}, 415),
     (b"x", {"content_encoding": "gzip"}, 400), (b"x", {"content_encoding": "br"}, 400),
     (gzip.compress(b" " * (UNPACKED_BYTES_MAX + 1)), {"content_encoding": "gzip"}, 400),
     (b"\x0a\xff\xff\xff\xff\x0f", {"content_type": "application/x-protobuf"}, 400)],
)  # fmt: skip
async def test_a_broken_batch_is_refused_and_the_server_stays_up(
    server: Served, body: bytes, headers: dict[str, str], status: int
) -> None:
    response = await send(server, body, **headers)

    assert response.status_code == status, response.text
    assert response.content
    assert "latewood-refusal" not in response.headers or await kept(server, response, "refusal") == "failed"
    assert (await send(server, document(call(2, 1)))).status_code == 200


async def test_a_space_that_is_not_there_is_not_made(server: Served) -> None:
    response = await server.client.post("/v1/traces?space=runs", json=document(call(2, 1)))
    assert response.status_code == 404
    assert "runs" in response.json()["message"]


async def test_recording_takes_the_scope_run_and_stays_in_the_tenant(tmp_path: Path) -> None:
    async with guarded(tmp_path) as asked:
        batch = document(call(2, 1))

        async def status(key: str) -> int:
            return (await send(asked.served, batch, authorization=f"Bearer {key}")).status_code

        assert await status(await asked.key("read", "write")) == 403
        assert await status(await asked.key("run", tenant="blue")) == 200
        assert await trusts(asked, "blue") == {"agent"}
        assert (await asked.served.memory.within(tenant="acme").nodes()).items == ()
        human = document(call(9, None, **{"gen_ai.agent.name": "x", "gen_ai.conversation.id": "c2"}))
        key = await asked.key("run", tenant="green", trust=Trust.UNTRUSTED)
        assert (await send(asked.served, human, authorization=f"Bearer {key}")).status_code == 200
        assert await trusts(asked, "green") == {"untrusted"}


async def trusts(asked: Guarded, tenant: str) -> set[str]:
    memory = asked.served.memory.within(tenant=tenant)
    found: set[str] = set()
    for ledger in ("knowledge", "execution"):
        rows = await memory.store.feed("default", ledger, 0, 1_000)  # type: ignore[arg-type]
        found |= {TRUSTS[row.event.trust] for row in rows if row.event.kind.value == "asserted"}
    return found


def test_attributes_are_written_as_otlp_writes_them() -> None:
    assert pairs({"a": 1}) == [{"key": "a", "value": {"intValue": "1"}}]
