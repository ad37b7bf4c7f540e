"""Following the ledger over graphql-transport-ws and server-sent events."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import websockets
from waiting import until

from latewood.graph_schema.patterns import PatternReview
from latewood.memory import Memory
from latewood.memory.json import as_json
from latewood.memory.patterns import detect, review

CHANGES = """subscription($after: BigInt, $space: String) {
  changes(after: $after, space: $space) { seq ledger unit recordedAt writtenAt hash erased
    event { kind id subject payload validFrom validTo known target trust } } }"""


async def subscribe(connection: Any, number: str, query: str = CHANGES, **variables: Any) -> None:
    await connection.send(
        json.dumps({"id": number, "type": "subscribe", "payload": {"query": query, "variables": variables}})
    )


async def following(connection: Any, count: int) -> list[dict[str, Any]]:
    """Return the next *count* messages."""
    return [json.loads(await asyncio.wait_for(connection.recv(), 10)) for _ in range(count)]


async def test_what_was_and_what_comes_arrives_once_and_in_order(served: Any) -> None:
    written = await served.memory.observe("a:1", "p", 1)
    async with served.socket() as connection:
        await subscribe(connection, "1", after=0)
        rows = [one["payload"]["data"]["changes"] for one in await following(connection, written.receipt.seq)]
        assert [row["seq"] for row in rows] == list(range(1, written.receipt.seq + 1))
        last = rows[-1]
        assert last["event"]["kind"] == "ASSERTED"
        assert last["event"]["id"] == written.id
        assert last["event"]["payload"]["predicate"] == "p"
        assert last["event"]["validTo"] is None
        assert (last["ledger"], last["unit"], last["erased"]) == ("KNOWLEDGE", written.receipt.id, False)
        later = await served.memory.retract(written)
        (message,) = await following(connection, 1)
        row = message["payload"]["data"]["changes"]
        assert row["seq"] == later.receipt.seq
        assert row["event"]["kind"] == "RETRACTED"
        assert row["event"]["target"] == written.id
        await connection.send(json.dumps({"id": "1", "type": "complete"}))


async def test_a_row_has_the_times_that_python_writes(served: Any) -> None:
    written = await served.memory.observe("a:1", "p", 1, valid_from=datetime(2026, 1, 1, tzinfo=UTC))
    seq = written.receipt.seq
    (entry,) = await served.memory.store.feed("default", "knowledge", seq - 1, 1)
    async with served.socket() as connection:
        await subscribe(connection, "1", after=seq - 1)
        (message,) = await following(connection, 1)
    row, expected = message["payload"]["data"]["changes"], cast("dict[str, Any]", as_json(entry))

    for name in ("recordedAt", "writtenAt", "hash", "seq", "unit", "erased", "ledger"):
        assert str(row[name]).lower() == str(expected[name]).lower()
    assert row["event"]["validFrom"] == expected["event"]["validFrom"] == "2026-01-01T00:00:00Z"
    assert row["event"]["validTo"] is expected["event"]["validTo"] is None


async def test_a_feed_goes_on_behind_the_row_it_has(served: Any) -> None:
    first = await served.memory.observe("a:1", "p", 1)
    async with served.socket() as connection:
        await subscribe(connection, "1", after=first.receipt.seq)
        await asyncio.sleep(0.1)
        second = await served.memory.observe("a:1", "p", 2)
        (message,) = await following(connection, 1)

    assert message["payload"]["data"]["changes"]["event"]["id"] == second.id


async def test_a_client_that_was_away_gets_each_change_once_and_hears_that_it_missed_them(
    tmp_path: Any, serve: Any
) -> None:
    query = "subscription($after: BigInt) { changes(after: $after) { seq missed event { id } } }"
    seen: list[dict[str, Any]] = []
    written: list[str] = []
    for visit in range(3):
        async with Memory.open(str(tmp_path / "t.db"), by="agent:test", sync="normal", embedder="none") as memory:
            if visit:
                written += [(await memory.observe("a:1", "p", 10 * visit + number)).id for number in range(5)]
            async with serve(memory) as served, served.socket() as connection:
                behind = seen[-1]["seq"] if seen else 0
                await subscribe(connection, "1", query, after=behind)
                (space,) = await memory.spaces()
                gap = space.seq["knowledge"] - behind
                assert gap >= 5 * bool(visit)
                missed = [one["payload"]["data"]["changes"] for one in await following(connection, gap)]
                assert all(row["missed"] for row in missed)
                await asyncio.sleep(0.1)
                if not visit:
                    continue
                last = await memory.observe("a:1", "p", 10 * visit + 9)
                written.append(last.id)
                (message,) = await following(connection, 1)
                assert message["payload"]["data"]["changes"]["missed"] is False
                seen += [*missed, message["payload"]["data"]["changes"]]

    assert [row["event"]["id"] for row in seen if row["event"]["id"] in written] == written
    assert [row["seq"] for row in seen] == list(range(1, len(seen) + 1))


async def test_operations_on_one_socket_do_not_mix(served: Any) -> None:
    await served.memory.create_space("ops")
    await served.memory.observe("a:1", "p", "here")
    await served.memory.within(space="ops").observe("a:1", "p", "there")
    query = 'query($space: String) { entity(key: "a:1", space: $space) { facts { value { data } subject { id } } } }'
    async with served.socket() as connection:
        for number in range(10):
            await subscribe(connection, str(number), query, space="ops" if number % 2 else "default")
        found: dict[str, str] = {}
        while len(found) < 10:
            (message,) = await following(connection, 1)
            if message["type"] == "next":
                found[message["id"]] = message["payload"]["data"]["entity"]["facts"][0]["value"]["data"]

    assert found == {str(number): "there" if number % 2 else "here" for number in range(10)}


async def test_a_socket_with_too_many_operations_says_what_helps(served: Any) -> None:
    async with served.socket() as connection:
        for number in range(21):
            await subscribe(connection, str(number))
        (refused,) = await following(connection, 1)
        await connection.send(json.dumps({"id": "0", "type": "complete"}))
        await subscribe(connection, "again")
        await served.memory.observe("a:1", "p", 1)
        seen: set[str] = set()
        for _ in range(500):
            (message,) = await following(connection, 1)
            seen.add(message["id"])
            if "again" in seen:
                break

    (error,) = refused["payload"]
    assert (refused["id"], refused["type"], error["extensions"]["code"]) == ("20", "error", "limit.exceeded")
    assert error["message"] == "a socket has at most 20 operations at a time; complete one, or open another socket"
    assert "again" in seen
    assert "20" not in seen


async def test_a_socket_reads_afresh_each_time(served: Any) -> None:
    query = '{ entity(key: "a:1") { facts { value { data } } } }'
    async with served.socket() as connection:
        for value in (1, 2):
            await served.memory.observe("a:1", "p", value)
            await subscribe(connection, str(value), query)
            message, complete = await following(connection, 2)
            assert message["payload"]["data"]["entity"]["facts"] == [{"value": {"data": value}}]
            assert complete["type"] == "complete"


async def test_errors_over_a_socket_are_typed_too(served: Any) -> None:
    async with served.socket() as connection:
        await subscribe(connection, "1", space="elsewhere")
        (message,) = await following(connection, 1)
        errors = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
        assert errors[0]["extensions"]["code"] == "space.unknown"

    async with served.socket() as connection:
        await subscribe(connection, "2", after=-1)
        (message,) = await following(connection, 1)
        errors = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
        assert errors[0]["extensions"]["code"] == "cursor.invalid"

    async with served.socket() as connection:
        await subscribe(connection, "3", "subscription { nothing }")
        (message,) = await following(connection, 1)
        assert message["type"] == "error"
        assert message["payload"][0]["extensions"]["code"] == "query.invalid"


@pytest.mark.parametrize(
    "message", ["nonsense", "[]", "5", "[" * 100_000, '{"type": "subscribe"}', '{"type": "surprise"}',
                '{"type": "subscribe", "id": "1", "payload": {"query": 5}}',
                '{"type": "subscribe", "id": "1", "payload": {"query": "{ spaces { name } }", "variables": 5}}',
                '{"type": "subscribe", "id": "1", "payload": {"query": "{ spaces { name } }", "variables": {"a": NaN}}}'],
)  # fmt: skip
async def test_a_broken_message_closes_its_socket_only(served: Any, message: str) -> None:
    async with served.socket() as connection:
        await connection.send(message)
        with pytest.raises(websockets.ConnectionClosedError) as caught:
            await following(connection, 1)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4400
    assert (await served.client.get("/health")).status_code == 200


async def test_server_sent_events_carry_the_same_rows(served: Any) -> None:
    written = await served.memory.observe("a:1", "p", 1)
    body = {"query": CHANGES, "variables": {"after": written.receipt.seq - 1}}
    headers = {"accept": "text/event-stream"}
    async with served.client.stream("POST", "/graphql", json=body, headers=headers) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("data:") and "changes" in line:
                row = json.loads(line.removeprefix("data:"))["data"]["changes"]
                break

    assert row["event"]["id"] == written.id


async def test_a_reader_that_leaves_stops_costing(served: Any) -> None:
    async with served.socket() as connection:
        await subscribe(connection, "1", after=0)

        async def waits() -> int:
            return served.calls["wait"]

        await until(waits)
    # A busy server takes a while to notice; one that never does fails here.
    for number in range(20):
        served.calls.clear()
        await served.memory.observe("a:1", "p", number)
        await asyncio.sleep(0.5)
        if served.calls["feed"] == 0:
            break

    assert served.calls["feed"] == 0


async def test_patterns_arrive_as_they_change(served: Any) -> None:
    query = """subscription($after: BigInt) { patternChanges(after: $after) {
        seq pattern { key status statement review } } }"""
    memory = served.memory
    for month in range(1, 6):
        await memory.observe("a:1", "vendor", "AB"[month % 2], valid_from=datetime(2026, month, 1, tzinfo=UTC))
    async with served.socket() as connection:
        await subscribe(connection, "1", query, after=0)
        await detect(memory)
        (message,) = await following(connection, 1)
        first = message["payload"]["data"]["patternChanges"]
        assert first["pattern"]["status"] == "OPEN"
        assert "went back and forth" in first["pattern"]["statement"]
        await review(memory, first["pattern"]["key"], PatternReview.MUTED, because="on purpose")
        (message,) = await following(connection, 1)
        second = message["payload"]["data"]["patternChanges"]
        assert second["pattern"]["review"] == "MUTED"
        assert second["seq"] > first["seq"]
    async with served.socket() as connection:
        # Who comes later has each as it is now, once.
        await subscribe(connection, "1", query, after=0)
        (message,) = await following(connection, 1)
        assert message["payload"]["data"]["patternChanges"] == second
        await subscribe(connection, "2", query, after=-1)
        (message,) = await following(connection, 1)
        errors = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
        assert errors[0]["extensions"]["code"] == "cursor.invalid"
