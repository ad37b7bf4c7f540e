"""CloudEvents in: binary, structured and in batches, once, and refused for themselves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.server.test_identity import guarded

from latewood.graph_schema.clock import AsOf

BINARY = {
    "content-type": "application/json; charset=utf-8", "ce-specversion": "1.0", "ce-id": "1", "ce-source": "https://erp.example",
    "ce-type": "carrier.changed", "ce-subject": "carrier:A", "ce-time": "2026-03-01T09:00:00Z",
}  # fmt: skip
EVENT: dict[str, Any] = {
    "specversion": "1.0", "id": "1", "source": "https://erp.example", "type": "carrier.changed", "subject": "carrier:A",
    "time": "2026-03-01T09:00:00Z", "data": {"rate": 0.81, "status": "probation"},
}  # fmt: skip
RECEIPT = "query($id: ID!) { receipt(id: $id) { state code } }"
ONE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"


async def held(served: Any, key: str) -> dict[str, Any]:
    entity = await served.memory.entity(key)
    return {fact.predicate: fact.value.data for fact in entity.facts if fact.value is not None}


async def structured(served: Any, body: object, kind: str = ONE) -> httpx.Response:
    return await served.client.post("/events", json=body, headers={"content-type": kind})


async def test_an_event_is_kept_once_whichever_way_it_comes(served: Any) -> None:
    first = await served.client.post("/events", json=EVENT["data"], headers=BINARY)
    again = await structured(served, EVENT)

    assert (first.status_code, again.status_code) == (200, 200), first.text
    assert first.json()["id"] == again.json()["id"]
    assert (first.json()["replayed"], again.json()["replayed"]) == (False, True)
    assert await held(served, "carrier:A") == EVENT["data"]
    (fact, _) = (await served.memory.entity("carrier:A")).facts
    assert fact.valid_from == datetime(2026, 3, 1, 9, tzinfo=UTC)
    assert fact.source.origin == "https://erp.example"
    assert (await served.ask("query($id: ID!) { receipt(id: $id) { state } }", id=first.json()["id"]))["receipt"]["state"] == "stored"  # fmt: skip


async def test_the_same_id_for_something_else_is_refused_and_of_another_source_is_not(served: Any) -> None:
    await structured(served, EVENT)
    other = await structured(served, {**EVENT, "data": {"rate": 0.5}})
    elsewhere = await structured(served, {**EVENT, "source": "https://crm.example", "time": "2026-04-01T00:00:00Z", "data": {"rate": 0.5}})  # fmt: skip

    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency.conflict")
    assert "of 'https://erp.example' came before with other data" in other.json()["error"]["message"]
    assert elsewhere.status_code == 200
    assert (await held(served, "carrier:A"))["rate"] == 0.5


async def test_each_event_of_a_batch_is_kept_or_refused_for_itself(served: Any) -> None:
    batch: list[Any] = [
        {**EVENT, "id": "1"},
        {**EVENT, "id": "2", "data": []},
        {**EVENT, "id": "3", "subject": "carrier:B"},
        5,
    ]
    answers = (await structured(served, batch, BATCH)).json()

    assert ["receipt" in one for one in answers] == [True, False, True, False]
    assert answers[1]["error"]["code"] == "event.malformed"
    (refusal,) = {answers[place]["error"]["details"]["receipt"] for place in (1, 3)}
    assert (await served.ask(RECEIPT, id=refusal))["receipt"] == {"state": "failed", "code": "event.malformed"}
    assert await held(served, "carrier:B") == EVENT["data"]


async def test_a_null_ends_what_holds_then(served: Any) -> None:
    await structured(served, EVENT)
    gone = {**EVENT, "id": "2", "time": "2026-05-01T00:00:00Z", "data": {"rate": None, "status": "on hold"}}
    first, again = [(await structured(served, gone)).json() for _ in range(2)]

    assert (first["id"], first["replayed"], again["replayed"]) == (again["id"], False, True)
    assert await held(served, "carrier:A") == {"status": "on hold"}
    before = await served.memory.entity("carrier:A", ["rate"], AsOf(valid_at=datetime(2026, 4, 1, tzinfo=UTC)))
    assert [fact.value.data for fact in before.facts] == [0.81]


async def test_a_null_where_nothing_holds_is_kept_and_ends_nothing(served: Any) -> None:
    never = {**EVENT, "data": {"rate": None}}
    first, again = [(await structured(served, never)).json() for _ in range(2)]
    await structured(served, {**EVENT, "id": "2", "time": "2026-06-01T00:00:00Z"})
    early = await structured(served, {**never, "id": "3", "time": "2026-02-01T00:00:00Z"})

    assert (first["facts"], first["id"], again["replayed"]) == ([], again["id"], True)
    assert early.json()["facts"] == []
    assert await held(served, "carrier:A") == EVENT["data"]


@pytest.mark.parametrize(
    "change",
    [{"specversion": "0.3"}, {"id": ""}, {"source": None}, {"type": 5}, {"subject": "x" * 1_001}, {"data": {}}, {"data": "x"}, {"data": None},
     {"time": "yesterday"}, {"time": "2026-03-01T09:00:00"}, {"data_base64": "YQ=="}, {"datacontenttype": "text/xml"},
     {"data": {f"p{number}": 1 for number in range(101)}}, {"data": {"": 1}}],
)  # fmt: skip
async def test_a_malformed_event_is_refused_with_the_reason(served: Any, change: dict[str, Any]) -> None:
    response = await structured(served, {**EVENT, **change})

    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] != "internal"
    assert response.json()["error"]["branch"] == "refused"
    receipt = (await served.ask(RECEIPT, id=response.json()["error"]["details"]["receipt"]))["receipt"]
    assert receipt == {"state": "failed", "code": response.json()["error"]["code"]}


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b'{"data": NaN}'])
async def test_a_body_that_is_no_json_is_refused(served: Any, body: bytes) -> None:
    for kind in (ONE, BATCH, "application/json", "text/plain"):
        response = await served.client.post("/events", content=body, headers={"content-type": kind})
        assert (response.status_code, response.json()["error"]["code"]) == (400, "event.malformed")


async def test_an_event_takes_the_scope_write(tmp_path: Path) -> None:
    async with guarded(tmp_path) as asked:

        async def send(key: str) -> httpx.Response:
            headers = {"content-type": ONE, "authorization": f"Bearer {key}"}
            return await asked.served.client.post("/events", json=EVENT, headers=headers)

        reader = await send(await asked.key("read"))
        assert (reader.status_code, reader.json()["error"]["code"]) == (403, "credential.scope")
        assert (await send(await asked.key("write", tenant="blue"))).status_code == 200
        assert (await asked.served.memory.within(tenant="acme").nodes()).items == ()


async def test_many_at_once_are_each_kept_once(served: Any) -> None:
    events = [{**EVENT, "id": str(number % 20), "subject": f"carrier:{number % 20}"} for number in range(100)]
    answers = await asyncio.gather(*(structured(served, event) for event in events))

    assert {one.status_code for one in answers} == {200}
    assert len({one.json()["id"] for one in answers}) == 20
