"""Messages through the remote client: the same answers as in Python, and calls made again in safety."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from integration.clients.test_remote import SOON, Server, running

from latewood.clients.remote import BlockingRemoteMemory, RemoteMemory, messages
from latewood.clients.remote.messages import PolicyRule
from latewood.execution.messages import words
from latewood.graph_schema.errors import ConflictError, InvalidError, LatewoodError, NotFoundError, UnavailableError
from latewood.graph_schema.values import Json
from latewood.memory import Memory
from latewood.memory.json import as_json
from latewood.memory.messages import messages_of

ORDER: Final[dict[str, Json]] = {
    "type": "object", "required": ["lane_name"], "properties": {"lane_name": {"type": "string"}}
}  # fmt: skip
EARLY: Final = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with Memory.open(str(tmp_path / "t.db"), by="agent:server", sync="normal") as memory, running(memory) as up:
        yield up


@pytest.fixture
async def remote(server: Server) -> AsyncIterator[RemoteMemory]:
    async with RemoteMemory.open(server.url, by="agent:planner", session="s-1", patience=SOON) as opened:
        yield opened


async def test_a_message_from_afar_is_the_one_that_python_shows(server: Server, remote: RemoteMemory) -> None:
    own, far = messages_of(server.memory), remote.messages
    quick = [PolicyRule("rate-limit", 2, first_seconds=0.0, longest_seconds=0.0)]
    made = await far.make_channel("orders", schema=ORDER, owner="human:ada", pending_max=50, policy=quick, policy_version="q")  # fmt: skip
    assert as_json(made) == as_json(await own.channel("orders")) == as_json(await far.channel("orders"))
    assert (await own.channel("orders")).policy.version == "q"
    await far.make_channel("review")
    unsure: dict[str, Json] = {
        "name": "unsure",
        "when": [{"path": "$.confidence", "op": "<", "value": 0.7}],
        "to": "review",
    }
    routed = await far.route("orders", [unsure])
    assert as_json(routed) == as_json(await own.channel("orders"))
    assert routed.routes == {"version": 1, "rules": [unsure]}
    assert (
        await far.message((await far.publish("orders", {"lane_name": "x", "confidence": 0.5})).id)
    ).channel == "review"
    assert as_json(await far.subscribe("orders", "audit")) == as_json((await own.channel("orders")).group("audit"))
    data: Json = {"lane_name": "Lyon", "snake_case": {"kept_so": None}}
    sent = await far.publish("orders", data, subject="lane:lyon", extensions={"trace_x": 1}, time=EARLY, expires_s=60, ordering_key="k")  # fmt: skip
    (first,) = await far.receive("orders", consumer="p1")
    until = await far.heartbeat(first, 600)
    failed = await far.nack(first, "rate-limit", "429", trace="line 7")
    (second,) = await far.receive("orders", wait_s=2)
    dead = await far.nack(second.hold, "rate-limit", "429 again")
    (waiting,) = (await far.pending("orders", group="audit")).items

    assert as_json(first.message) == as_json(await own.message(sent.id)) == as_json(await far.message(sent.id))
    assert (first.message.data, first.message.extensions, first.message.time) == (data, {"trace_x": 1}, "2020-01-01T00:00:00Z")  # fmt: skip
    assert until > first.until
    assert (failed.outcome, dead.outcome, (first.number, second.number), first.key == second.key) == ("retried", "dead", (1, 2), True)  # fmt: skip
    assert (waiting.state, waiting.message) == ("ready", first.message)
    assert as_json(await far.deliveries(sent)) == as_json(await own.deliveries(sent.id))
    assert as_json(await far.dead_letters()) == as_json(await own.dead_letters())
    letter = await far.redrive(str(dead.dead_letter))
    assert (letter.status, as_json(letter)) == ("redriven", as_json(await own.dead_letter(letter.id)))
    assert as_json(await far.dead_letter(letter.id)) == as_json(letter)
    assert (await far.dead_letters(status=None)).items == (letter,)
    assert as_json(await far.channels()) == as_json(await own.channels())
    assert as_json(await far.messages()) == as_json(await own.messages())


async def test_errors_are_those_that_python_raises(remote: RemoteMemory) -> None:
    far = remote.messages
    await far.make_channel("orders", schema=ORDER)
    await far.publish("orders", {"lane_name": "x"}, idempotency_key="k")
    calls: list[tuple[type[LatewoodError], str, Any]] = [
        (NotFoundError, "channel.unknown", lambda: far.channel("nowhere")),
        (NotFoundError, "channel.unknown", lambda: far.receive("nowhere")),
        (NotFoundError, "channel.unknown", lambda: anext(far.watch("nowhere"))),
        (NotFoundError, "message.unknown", lambda: far.message("x")),
        (NotFoundError, "message.unknown", lambda: far.dead_letter("x")),
        (InvalidError, "message.refused", lambda: far.publish("orders", 3)),
        (InvalidError, "query.invalid", lambda: far.ack("x")),
        (InvalidError, "cursor.invalid", lambda: anext(far.watch("orders", -1))),
        (ConflictError, "schema.breaking", lambda: far.make_channel("orders", schema={"type": "object"})),
        (ConflictError, "idempotency.conflict", lambda: far.publish("orders", {"lane_name": "y"}, idempotency_key="k")),
    ]
    for kind, code, work in calls:
        with pytest.raises(LatewoodError) as raised:
            await work()
        assert (type(raised.value), raised.value.code) == (kind, code), raised.value


async def test_a_call_whose_answer_was_lost_is_made_again_and_counts_once(server: Server, remote: RemoteMemory) -> None:
    own, far = messages_of(server.memory), remote.messages
    await far.make_channel("orders")
    await far.make_channel("bookings")
    for told in ({}, {"event_id": "e1", "source": "urn:desk"}):
        server.lossy.loses = 2
        await far.publish("orders", 1, **told)  # pyright: ignore[reportArgumentType]
    same = await far.publish("orders", 1, event_id="e1", source="urn:desk")
    first, second = await far.receive("orders", most=5)
    server.lossy.loses = 1
    done = await far.ack(first)
    server.lossy.loses = 1
    handed = await far.publish("bookings", 2, handing_on=second)
    again = await far.publish("bookings", 2, handing_on=second.hold)
    await far.publish("orders", 3)
    server.lossy.loses = 1
    with pytest.raises(UnavailableError):
        await far.receive("orders", lease_s=0.2)
    (late,) = await far.receive("orders", wait_s=5)
    back = await far.hand_back(late)
    replayed = [
        await far.replay("orders", since=EARLY, until=late.message.recorded_at, idempotency_key="r") for _ in range(2)
    ]

    assert same.duplicate
    assert done.outcome == "acked"
    assert (again.id, again.duplicate) == (handed.id, True)
    assert await own.waiting("bookings") == {"default": 1}
    assert (late.message.data, back) == (3, 1)
    assert replayed == [3, 3]


async def test_a_channel_is_followed_though_the_connection_drops(server: Server, remote: RemoteMemory) -> None:
    far = remote.messages
    await far.make_channel("orders")
    await far.make_channel("others")
    for number in range(3):
        await far.publish("orders", number)
        await far.publish("others", -1)
    server.lossy.loses = 0
    async with aclosing(far.watch("orders")) as rows:
        old = [await anext(rows) for _ in range(3)]
        await far.publish("orders", 3)
        new = await asyncio.wait_for(anext(rows), 10)
    async with aclosing(far.watch("orders", old[0].seq)) as rows:
        behind = [await anext(rows) for _ in range(3)]

    assert [row.message.data for row in [*old, new]] == [0, 1, 2, 3]
    assert behind == [*old[1:], new]


async def test_programs_that_do_not_await_have_the_same_verbs(server: Server) -> None:
    def work() -> list[object]:
        with BlockingRemoteMemory.open(server.url, by="agent:planner", patience=SOON) as memory:
            far = memory.messages
            far.make_channel("orders")
            far.publish("orders", "x")
            (received,) = far.receive("orders")
            rows = far.watch("orders")
            followed = next(rows)
            rows.close()  # pyright: ignore[reportAttributeAccessIssue]
            return [received.message.data, followed.message == received.message, far.ack(received).outcome]

    assert await asyncio.to_thread(work) == ["x", True, "acked"]


def test_every_verb_blocks_too_and_every_answer_has_the_fields_of_python() -> None:
    from latewood.clients.remote import BlockingRemoteMessages, RemoteMessages
    from latewood.clients.remote.calling import RemoteCaller

    verbs = {name for name in vars(RemoteMessages) if not name.startswith("_")}
    assert verbs <= set(vars(BlockingRemoteMessages))
    assert "space" in vars(RemoteCaller)
    for name in ("Channel", "Group", "Message", "Published", "Settled", "Delivery", "DeadLetter"):
        far, own = getattr(messages, name), getattr(words, name)
        assert [one.name for one in fields(far)] == [one.name for one in fields(own)], name
