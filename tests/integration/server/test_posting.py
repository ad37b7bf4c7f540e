"""Messages over GraphQL: channels, what is published, received and settled, what nobody settled, and what is pushed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from integration.server.conftest import serving
from integration.server.test_subscriptions import following, subscribe

from latewood.memory import Memory
from latewood.memory.json import as_json
from latewood.memory.keys import Keys
from latewood.memory.messages import messages_of
from latewood.server.options import ServerOptions

ORDER = {"type": "object", "required": ["lane"], "properties": {"lane": {"type": "string"}}}
CHANNEL = "channel { id name schema version owner limits { pendingMax bytesMax } policy nodeVersion groups { id name reads waiting } }"
RECEIVED = "received { hold channel group until number key message { id data envelope } }"
SETTLED = "outcome receipt retryAt deadLetter"


async def wrong(served: Any, verb: str, kind: str, select: str, **given: Any) -> dict[str, Any]:
    query = f"mutation($input: {kind}!) {{ answer: {verb}(input: $input) {{ {select} }} }}"
    return await served.refused(query, input=given)


async def taken(served: Any, channel: str, **more: Any) -> Any:
    (one,) = (await served.written("receive", "ReceiveInput", RECEIVED, channel=channel, **more))["received"]
    return one


async def test_a_message_goes_from_hand_to_hand(served: Any) -> None:
    made = (await served.written("registerChannel", "RegisterChannelInput", CHANNEL, name="orders", schema=ORDER, owner="human:ada", pendingMax=2))["channel"]  # fmt: skip
    again = (await served.written("registerChannel", "RegisterChannelInput", CHANNEL, name="orders", bytesMax=10_000))["channel"]  # fmt: skip
    breaking = await wrong(served, "registerChannel", "RegisterChannelInput", CHANNEL, name="orders", schema={"type": "object"})  # fmt: skip
    group = (await served.written("subscribeGroup", "SubscribeGroupInput", "group { name reads waiting }", channel="orders", group="audit"))["group"]  # fmt: skip
    refused = await wrong(served, "publish", "PublishInput", "id", channel="orders", data={"lane": 3})
    order = {"channel": "orders", "data": {"lane": "Lyon"}, "subject": "lane:lyon", "idempotencyKey": "k1"}
    sent = await served.written("publish", "PublishInput", "id receipt duplicate", **order)
    same = await served.written("publish", "PublishInput", "id receipt duplicate", **order)
    await served.written("publish", "PublishInput", "id", channel="orders", data={"lane": "Nice"}, priority=3)
    full = await wrong(served, "publish", "PublishInput", "id", channel="orders", data={"lane": "Metz"})

    assert (made["version"], made["owner"], made["schema"], made["limits"]["pendingMax"]) == (1, "human:ada", ORDER, 2)
    assert again["limits"] == {"pendingMax": 2, "bytesMax": 10_000}
    assert [breaking[one] for one in ("code", "error")] == ["schema.breaking", "ConflictError"]
    assert group == {"name": "audit", "reads": 1, "waiting": 0}
    assert (refused["code"], refused["details"]["path"]) == ("message.refused", "$.lane")
    assert ((sent["duplicate"], same["duplicate"]), same["id"], same["receipt"]) == ((False, True), sent["id"], sent["receipt"])  # fmt: skip
    assert full["code"] == "channel.full"

    first = await taken(served, "orders")
    second = await taken(served, "orders", waitSeconds=1, consumer="p1", leaseSeconds=600)
    nothing = await served.written("receive", "ReceiveInput", RECEIVED, channel="orders")
    longer = await served.written("heartbeat", "HeartbeatInput", "until", hold=first["hold"], leaseSeconds=900)
    done = await served.written("ack", "AckInput", SETTLED, hold=second["hold"])
    told_twice = await served.written("ack", "AckInput", SETTLED, hold=second["hold"])
    back = await served.written("handBack", "HandBackInput", "handedBack", holds=[first["hold"]])
    late = await wrong(served, "ack", "AckInput", SETTLED, hold=first["hold"])

    assert (first["message"]["data"], second["message"]["id"]) == ({"lane": "Nice"}, sent["id"])
    assert second["message"]["envelope"]["subject"] == "lane:lyon"
    assert nothing == {"received": []}
    assert longer["until"] > first["until"]
    assert (done["outcome"], told_twice) == ("acked", done)
    assert back == {"handedBack": 1}
    assert late["code"] == "lease.lost"


async def test_what_nobody_settles_is_a_dead_letter_that_is_redriven(served: Any) -> None:
    rule = {"fault": "SCHEMA", "tries": 2, "firstSeconds": 0, "longestSeconds": 0}
    await served.written("registerChannel", "RegisterChannelInput", CHANNEL, name="orders", owner="human:ada", policy=[rule], policyVersion="quick")  # fmt: skip
    sent = await served.written("publish", "PublishInput", "id", channel="orders", data=[1, {"b": None}])
    first = await taken(served, "orders")
    trouble = {"fault": "SCHEMA", "message": "no lane", "trace": "line 7"}
    failed = await served.written("nack", "NackInput", SETTLED, hold=first["hold"], **trouble)
    second = await taken(served, "orders", waitSeconds=1)
    dead = await served.written("nack", "NackInput", SETTLED, hold=second["hold"], **trouble)
    letters = "edges { node { id channel group fault reason trace tries owner status recordedAt message { id } } }"
    open_ones = await served.ask(f"{{ deadLetters {{ {letters} }} }}")
    redriven = await served.written("redrive", "RedriveInput", "deadLetter { id status }", deadLetter=dead["deadLetter"])  # fmt: skip
    twice = await wrong(served, "redrive", "RedriveInput", "deadLetter { id }", deadLetter=dead["deadLetter"])
    third = await taken(served, "orders")
    await served.written("ack", "AckInput", SETTLED, hold=third["hold"])
    tries = await served.ask("query($id: String!) { deliveries(message: $id) { number outcome fault words consumer } }", id=sent["id"])  # fmt: skip
    left = await served.ask(f'{{ deadLetters {{ {letters} }} every: deadLetters(status: null, fault: "schema") {{ {letters} }} }}')  # fmt: skip
    replayed = await served.written("replay", "ReplayInput", "replayed", channel="orders", since="2020-01-01T00:00:00Z")
    once_more = await taken(served, "orders")

    assert (failed["outcome"], dead["outcome"], second["number"], second["key"] == first["key"]) == ("retried", "dead", 2, True)  # fmt: skip
    (letter,) = (edge["node"] for edge in open_ones["deadLetters"]["edges"])
    kept = as_json(await messages_of(served.memory).dead_letter(letter["id"]))
    assert isinstance(kept, dict)
    assert {**letter, "status": "redriven", "message": None} == {**kept, "message": None}
    assert (letter["status"], letter["trace"], letter["message"]) == ("open", "line 7", {"id": sent["id"]})
    assert redriven["deadLetter"] == {"id": letter["id"], "status": "redriven"}
    assert (twice["code"], third["number"]) == ("version.conflict", 1)
    assert [one["outcome"] for one in tries["deliveries"]] == ["failed", "dead", "redriven", "acked"]
    assert (len(left["deadLetters"]["edges"]), len(left["every"]["edges"])) == (0, 1)
    assert (replayed, once_more["message"]["id"]) == ({"replayed": 1}, sent["id"])


async def test_lists_are_paged_and_read_at_once(served: Any) -> None:
    messages = messages_of(served.memory)
    for name in ("a", "b", "c"):
        await messages.make_channel(name)
        await messages.publish(name, name, ordering_key="k", expires_s=60)
        await messages.publish(name, name * 2, ordering_key="k")
    served.calls.clear()
    page = await served.ask("{ channels(first: 2) { edges { node { name groups { name waiting } } cursor } pageInfo { hasNextPage endCursor } } }")  # fmt: skip
    assert served.calls["lanes"] == 1
    rest = await served.ask("query($after: String) { channels(first: 2, after: $after) { edges { node { name } } } }", after=page["channels"]["pageInfo"]["endCursor"])  # fmt: skip
    pending = await served.ask('{ pendingMessages(channel: "a", first: 1) { edges { node { state message { data orderingKey expiresAt } } } pageInfo { hasNextPage endCursor } } }')  # fmt: skip
    behind = await served.ask('query($after: String) { pendingMessages(channel: "a", after: $after) { edges { node { state message { data } } } } }', after=pending["pendingMessages"]["pageInfo"]["endCursor"])  # fmt: skip
    newest = await served.ask("{ messages(first: 4) { edges { node { id data version size } } } }")
    one = newest["messages"]["edges"][0]["node"]
    asked = 'query($id: String!) { message(id: $id) { id } none: message(id: "x") { id } channel(name: "x") { id } deadLetter(id: "x") { id } }'
    single = await served.ask(asked, id=one["id"])
    unknown = await served.refused('{ deliveries(message: "x") { id } }')
    dear = await served.refused('{ channels(first: 1000) { edges { node { id } } } pendingMessages(channel: "a", first: 100000) { edges { node { state } } } }')  # fmt: skip

    assert [edge["node"] for edge in page["channels"]["edges"]] == [
        {"name": name, "groups": [{"name": "default", "waiting": 2}]} for name in ("a", "b")
    ]
    assert [edge["node"]["name"] for edge in rest["channels"]["edges"]] == ["c"]
    (first,) = (edge["node"] for edge in pending["pendingMessages"]["edges"])
    assert (first["state"], first["message"]["data"], first["message"]["orderingKey"]) == ("ready", "a", "k")
    assert [edge["node"] for edge in behind["pendingMessages"]["edges"]] == [{"state": "blocked", "message": {"data": "aa"}}]  # fmt: skip
    assert [edge["node"]["data"] for edge in newest["messages"]["edges"]] == ["cc", "c", "bb", "b"]
    assert single == {"message": {"id": one["id"]}, "none": None, "channel": None, "deadLetter": None}
    assert (unknown["code"], dear["code"]) == ("message.unknown", "limit.exceeded")


async def test_a_channel_is_followed_and_taken_up_again(served: Any) -> None:
    messages = messages_of(served.memory)
    await messages.make_channel("orders")
    await messages.make_channel("others")
    await messages.publish("orders", 1)
    await messages.publish("others", 2)
    await messages.publish("orders", 3)
    query = "subscription($after: BigInt, $channel: String!) { messages(channel: $channel, after: $after) { seq message { id data } } }"  # fmt: skip

    async with served.socket() as connection:
        await subscribe(connection, "1", query, channel="orders")
        old = [one["payload"]["data"]["messages"] for one in await following(connection, 2)]
        sent = await messages.publish("orders", 4)
        (new,) = (one["payload"]["data"]["messages"] for one in await following(connection, 1))
        (received,) = await messages.receive("orders")
    async with served.socket() as connection:
        await subscribe(connection, "2", query, channel="orders", after=old[0]["seq"])
        again = [one["payload"]["data"]["messages"] for one in await following(connection, 2)]
        await subscribe(connection, "3", query, channel="nowhere")
        (refused,) = await following(connection, 1)

    assert [one["message"]["data"] for one in [*old, new]] == [1, 3, 4]
    assert new["message"]["id"] == sent.id
    assert received.message.data == 1
    assert again == [old[1], new]
    errors = refused["payload"] if refused["type"] == "error" else refused["payload"]["errors"]
    assert errors[0]["extensions"]["code"] == "channel.unknown"


async def test_work_is_handed_on_in_one_unit(served: Any) -> None:
    messages = messages_of(served.memory)
    await messages.make_channel("orders")
    await messages.make_channel("bookings", schema={"type": "string"})
    await messages.publish("orders", 1)
    held = await taken(served, "orders")
    refused = await wrong(served, "publish", "PublishInput", "id", channel="bookings", data=7, handingOn=held["hold"])
    waiting = await messages.waiting("orders")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    onward = {"channel": "bookings", "data": "x", "handingOn": held["hold"], "source": "urn:desk", "eventId": "e1", "time": at.isoformat()}  # fmt: skip
    sent = await served.written("publish", "PublishInput", "id receipt duplicate", **onward)
    receipts = await served.ask("query($id: ID!) { receipt(id: $id) { state } }", id=sent["receipt"])
    message = await messages.message(sent["id"])

    assert (refused["code"], waiting) == ("message.refused", {"default": 1})
    assert (await messages.waiting("orders"), receipts["receipt"]["state"]) == ({"default": 0}, "stored")
    assert (message.source, message.event_id, message.time) == ("urn:desk", "e1", "2026-01-01T00:00:00Z")


async def test_what_is_out_of_bounds_is_refused_with_a_code(served: Any) -> None:
    await messages_of(served.memory).make_channel("orders")
    (held,) = await _one(served)
    cases: list[tuple[str, str, str, dict[str, Any]]] = [
        ("receive", "ReceiveInput", RECEIVED, {"channel": "orders", "waitSeconds": 21}),
        ("receive", "ReceiveInput", RECEIVED, {"channel": "orders", "leaseSeconds": 0}),
        ("heartbeat", "HeartbeatInput", "until", {"hold": held, "leaseSeconds": 1e9}),
        ("nack", "NackInput", SETTLED, {"hold": held, "fault": "RATE_LIMIT", "message": "429", "retryAfterSeconds": 1e12}),
        ("ack", "AckInput", SETTLED, {"hold": "x"}),
        ("ack", "AckInput", SETTLED, {"hold": held, "ledTo": ["no id"]}),
        ("routeChannel", "RouteChannelInput", CHANNEL, {"channel": "orders", "rules": [{"name": "x"}]}),
        ("publish", "PublishInput", "id", {"channel": "orders", "data": 1, "extensions": [1]}),
        ("registerChannel", "RegisterChannelInput", CHANNEL, {"name": "p", "policy": [{"fault": "SCHEMA", "tries": 0}], "policyVersion": "v"}),
        ("registerChannel", "RegisterChannelInput", CHANNEL, {"name": "p", "policy": []}),
    ]  # fmt: skip
    codes = [(await wrong(served, *case[:3], **case[3]))["code"] for case in cases]
    many = await wrong(served, "handBack", "HandBackInput", "handedBack", holds=[held] * 1_001)

    followed = await wrong(served, "ack", "AckInput", SETTLED, hold=held, ledTo=[served.memory.ids.new()] * 51)

    assert followed["code"] == "limit.exceeded"
    assert set(codes) == {"query.invalid"}
    assert many["code"] == "limit.exceeded"


async def _one(served: Any) -> list[str]:
    await messages_of(served.memory).publish("orders", 1)
    return [(await taken(served, "orders"))["hold"]]


async def test_the_scope_run_sends_and_receives_and_read_looks_on(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "t.db"), by="human:root", sync="normal", embedder="none") as memory:
        keys = Keys(memory)
        reads = await keys.create("r", tenant="acme", actor="agent:look", scopes=("read", "write"), by="human:root")
        runs = await keys.create("x", tenant="acme", actor="agent:run", scopes=("run",), by="human:root")
        await messages_of(memory.within(tenant="acme")).make_channel("orders")
        await messages_of(memory.within(tenant="acme")).publish("orders", 1)
        async with serving(memory, Counter(), options=ServerOptions(auth=True)) as served:

            async def said(secret: str, query: str) -> str:
                headers = {"authorization": f"Bearer {secret}"}
                return (await served.client.post("/graphql", json={"query": query}, headers=headers)).text

            take = 'mutation { receive(input: {channel: "orders"}) { received { hold } } }'
            looked = await said(reads.secret, '{ pendingMessages(channel: "orders") { edges { node { state } } } }')
            refused = await said(reads.secret, take)
            blind = await said(runs.secret, take)

    assert '"state":"ready"' in looked.replace(" ", "")
    assert '"credential.scope"' in refused
    # What a message says is read: whoever only runs is not shown it.
    assert '"credential.scope"' in blind
