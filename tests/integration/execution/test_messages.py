"""Messages between agents: what is published is durable, handed out to one at a time, settled once, and never lost."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from latewood.execution.faults import DEFAULT, Action, Fault, FaultClass, Rule
from latewood.execution.messages import Limits, Messages, Received
from latewood.execution.messages.routing import Condition
from latewood.execution.messages.routing import Rule as ContentRule
from latewood.execution.messages.schemas import breaks
from latewood.graph_schema.clock import AsOf, Clock, ManualClock
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.errors import ConflictError, InvalidError, LatewoodError, LimitError, NotFoundError
from latewood.graph_schema.values import Json, Value
from latewood.memory import BriefSection, DecisionStatus, Memory
from latewood.memory.messages import messages_of
from latewood.storage.neo4j.database import Address

ORDER: Final[dict[str, Json]] = {
    "type": "object", "required": ["amount"],
    "properties": {"amount": {"type": "number", "minimum": 0}, "note": {"type": "string"}},
}  # fmt: skip
QUICK: Final = DEFAULT.changed("quick", {
    FaultClass.TRANSIENT: Rule(3, Action.ESCALATE, first_s=0.0, longest_s=0.0),
    FaultClass.LOST_WORKER: Rule(2, Action.ESCALATE),
})  # fmt: skip


@asynccontextmanager
async def memory_at(url: str, by: str = "agent:sender", clock: Clock | None = None) -> AsyncGenerator[Memory]:
    async with Memory.open(url, by=by, embedder="none", clock=clock) as memory:
        yield memory


@pytest.fixture(params=["reference:", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "reference:" if request.param == "reference:" else str(tmp_path / "queue.db")


async def one_of(messages: Messages, channel: str = "orders", **more: float) -> Received:
    (received,) = await messages.receive(channel, **more)  # pyright: ignore[reportArgumentType]
    return received


async def raised(kind: type[LatewoodError], call: Awaitable[object]) -> LatewoodError:
    with pytest.raises(kind) as caught:
        await call
    return caught.value


async def test_a_message_goes_from_hand_to_hand_once(url: str) -> None:
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        await messages.make_channel("orders", owner="human:ada")
        sent = await messages.publish("orders", {"amount": 3}, subject="order 7", type="order.placed")
        received = await one_of(messages)
        nothing = await messages.receive("orders")
        settled = await messages.ack(received)
        again = await messages.ack(received)
        message = await messages.message(sent.id)
        tries = await messages.deliveries(sent.id)
        rest = await messages.waiting("orders")

    assert (received.message.id, received.message.data, received.number) == (sent.id, {"amount": 3}, 1)
    assert nothing == ()
    assert (settled.outcome, again.outcome, again.receipt) == ("acked", "acked", settled.receipt)
    envelope = message.envelope()
    assert [envelope[name] for name in ("specversion", "type", "source")] == ["1.0", "order.placed", "agent:sender"]
    assert [(one.outcome, one.number) for one in tries] == [("acked", 1)]
    assert rest == {"default": 0}


async def test_what_does_not_fit_is_refused_with_its_path_and_not_enqueued(url: str) -> None:
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        await messages.make_channel("orders", schema=ORDER)
        missing = await raised(InvalidError, messages.publish("orders", {"note": "x"}))
        wrong = await raised(InvalidError, messages.publish("orders", {"amount": -1}))
        broken = await raised(InvalidError, messages.make_channel("broken", schema={"type": "nothing"}))
        remote = await raised(InvalidError, messages.make_channel("remote", schema={"$ref": "https://example.com/x"}))
        unknown = await raised(NotFoundError, messages.publish("nowhere", {}))
        waiting = await messages.waiting("orders")

    assert (missing.code, missing.details["path"]) == ("message.refused", "$.amount")
    assert "$.amount required" in missing.message
    assert (wrong.code, wrong.details["path"]) == ("message.refused", "$.amount")
    assert (broken.code, remote.code, unknown.code) == ("schema.invalid", "schema.invalid", "channel.unknown")
    assert waiting == {"default": 0}


async def test_a_breaking_version_is_refused_and_names_the_consumers(url: str) -> None:
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        await messages.make_channel("orders", schema=ORDER)
        await messages.subscribe("orders", "billing")
        dropped: dict[str, Json] = {"type": "object", "properties": {"note": {"type": "string"}}}
        refused = await raised(ConflictError, messages.make_channel("orders", schema=dropped))
        narrower: dict[str, Json] = {**ORDER, "required": ["amount", "note"]}
        newer = await messages.make_channel("orders", schema=narrower)
        same = await messages.make_channel("orders", schema=narrower)
        first = await raised(InvalidError, messages.publish("orders", {"amount": 1}))
        sent = await messages.publish("orders", {"amount": 1, "note": "n"})
        version = (await messages.message(sent.id)).version

    assert refused.code == "schema.breaking"
    assert refused.details["groups"] == ["billing", "default"]
    assert "billing" in refused.message
    assert "$.amount is not required any more" in refused.message
    assert (newer.version, same.version, first.code, version) == (2, 2, "message.refused", 2)


def test_only_what_is_surely_narrower_breaks_nobody() -> None:
    text: dict[str, Json] = {"type": "string"}
    number: dict[str, Json] = {"type": "number"}

    def of(**properties: Json) -> dict[str, Json]:
        return {"type": "object", "properties": properties}

    fine: list[tuple[dict[str, Json], dict[str, Json]]] = [
        (ORDER, ORDER), ({}, ORDER), (of(a=number), of(a={"type": "integer"})), (of(a=text), of(a=text, b=text)),
        (of(a={"enum": [1, 2]}), of(a={"const": 2})), (of(a=text), {**of(a=text), "required": ["a"]}),
        (of(a={"maxLength": 9}), of(a={"maxLength": 5})), ({"items": number}, {"items": {"type": "integer"}}),
        (of(a=text), {**of(), "additionalProperties": False}),
    ]  # fmt: skip
    broken: list[tuple[dict[str, Json], dict[str, Json]]] = [
        (ORDER, {}), (of(a={"type": "integer"}), of(a=number)), (of(a={"enum": [1]}), of(a={"enum": [1, 2]})),
        (of(a={"maxLength": 5}), of(a={"maxLength": 9})), (of(a=text), of()), ({"items": text}, {}),
        ({**of(a=text), "additionalProperties": False}, of(a=text, b=text)),
        ({"anyOf": [text, number]}, {"anyOf": [text]}), ({"pattern": "^a"}, {"pattern": "^b"}),
    ]  # fmt: skip

    assert [breaks(old, new) for old, new in fine] == [[] for _ in fine]
    assert all(breaks(old, new) for old, new in broken)


async def test_the_same_key_is_kept_once_across_restarts(tmp_path: Path) -> None:
    url = str(tmp_path / "queue.db")
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        await messages.make_channel("orders")
        first = await messages.publish("orders", {"amount": 1}, idempotency_key="order-7")
        event = {"specversion": "1.0", "id": "e1", "source": "shop", "type": "order", "data": {"n": 1}, "tenantid": "t"}
        told = await messages.publish_event("orders", event)
    async with memory_at(url, by="agent:other") as memory:
        messages = messages_of(memory)
        again = await messages.publish("orders", {"amount": 1}, idempotency_key="order-7", source="agent:sender")
        other = await raised(ConflictError, messages.publish("orders", {"amount": 2}, idempotency_key="order-7"))
        repeated = await messages.publish_event("orders", event)
        waiting = await messages.waiting("orders")
        envelope = (await messages.message(told.id)).envelope()

    assert (again.id, again.duplicate, other.code) == (first.id, True, "idempotency.conflict")
    assert (repeated.id, repeated.duplicate) == (told.id, True)
    assert waiting == {"default": 2}
    assert {**event, "time": envelope["time"], "datacontenttype": "application/json"} == envelope


async def test_five_deliveries_have_one_effect_and_four_lines_of_audit(url: str) -> None:
    """At least once, counted once: who comes late is told, and nothing of its effect is kept."""
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        await messages.make_channel(
            "orders", policy=DEFAULT.changed("p", {FaultClass.LOST_WORKER: Rule(9, Action.REFUSE)})
        )
        sent = await messages.publish("orders", {"amount": 1})
        hands = [await one_of(messages, lease_s=0.01)]
        for _ in range(4):
            hands.append(await one_of(messages, wait_s=5.0, lease_s=0.05 if len(hands) < 4 else 60.0))
        ids = memory.unit([], "x").id[:-4]

        def effect(number: int) -> Assert:
            said = Value.of(number, where="the effect")
            return Assert(f"{ids}{number:04d}", Ref(key="order:7"), "booked", said)

        last = await messages.ack(hands[-1], also=[effect(4)])
        others = [await messages.ack(hand, also=[effect(n)]) for n, hand in enumerate(hands[:-1])]
        tries = await messages.deliveries(sent.id)
        booked = await memory.timeline("order:7", predicates=["booked"])

    assert last.outcome == "acked"
    assert [one.outcome for one in others] == ["duplicate"] * 4
    assert sorted(one.outcome for one in tries) == ["acked", *["duplicate"] * 4]
    assert [fact.value.data for fact in booked.items if fact.value is not None] == [4]


async def test_a_poison_message_becomes_a_dead_letter_and_comes_back(url: str) -> None:
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        await messages.make_channel("orders", owner="human:ada", policy=QUICK, schema=ORDER)
        sent = await messages.publish("orders", {"amount": 1})
        outcomes: list[str] = []
        for _ in range(3):
            received = await one_of(messages, wait_s=5.0)
            settled = await messages.nack(
                received, Fault("transient", "503 \0 from the carrier"), trace="line 1\nline 2"
            )
            outcomes.append(settled.outcome)
        (letter,) = (await messages.dead_letters()).items
        gone = await messages.receive("orders")
        back = await messages.redrive(letter.id)
        twice = await raised(ConflictError, messages.redrive(letter.id))
        again = await one_of(messages)
        await messages.ack(again)
        left = (await messages.dead_letters()).items
        kept = (await messages.dead_letters(status=None)).items
        tries = await messages.deliveries(sent.id)

    assert outcomes == ["retried", "retried", "dead"]
    assert (letter.fault, letter.tries, letter.owner, letter.status) == ("transient", 3, "human:ada", "open")
    assert (letter.reason, letter.trace) == ("503  from the carrier", "line 1\nline 2")
    assert letter.message is not None
    assert letter.message.data == {"amount": 1}
    assert (gone, back.status, twice.code) == ((), "redriven", "version.conflict")
    assert (again.message.id, again.number) == (sent.id, 1)
    assert (left, [one.id for one in kept]) == ((), [letter.id])
    assert [one.outcome for one in tries] == ["failed", "failed", "dead", "redriven", "acked"]


async def test_a_dead_letter_reaches_its_owner(url: str) -> None:
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        for channel, owner in (("orders", "human:ada"), ("claims", "human:zoe"), ("notes", None)):
            await messages.make_channel(channel, owner=owner)
            await messages.publish(channel, {"amount": 1})
            await messages.nack(await one_of(messages, channel), Fault("permanent", f"no such {channel}"))
        before = await memory.now()
        whole, hers = await memory.brief(), await memory.brief("human:ada")
        (letter, *_) = (await messages.dead_letters()).items[::-1]
        await messages.redrive(letter.id)
        after, past = await memory.brief("human:ada"), await memory.brief("human:ada", at=AsOf(known_at=before))

    told = [line for line in whole.lines if line.section is BriefSection.UNSETTLED]
    assert [line.text.partition(" ")[2] for line in told] == [
        "notes: permanent after 1 try; nobody owns it: no such notes",
        "claims: permanent after 1 try; it waits for human:zoe: no such claims",
        "orders: permanent after 1 try; it waits for human:ada: no such orders",
    ]
    assert [line.ref for line in hers.lines] == [letter.id]
    assert "## Unsettled" in hers.text
    assert (after.lines, [line.ref for line in past.lines]) == ((), [letter.id])


async def test_a_brief_begins_with_what_waits_for_its_reader(url: str) -> None:
    async with memory_at(url) as memory:
        messages, ada = messages_of(memory), memory.within(by="human:ada")
        await memory.decide("Change the carrier?", because="nobody has said yet", status=DecisionStatus.PROPOSED)
        for channel, owner in (("orders", "human:ada"), ("claims", "human:zoe"), ("human:ada", None)):
            await messages.make_channel(channel, owner=owner)
            await messages.publish(channel, {"amount": 1}, subject=f"a message to {channel}")
        for channel in ("orders", "claims"):
            await messages.nack(await one_of(messages, channel), Fault("permanent", f"no such {channel}"))
        before, hers, others = await memory.now(), await ada.brief(), await memory.within(by="human:eve").brief()
        await messages.ack(await one_of(messages, "human:ada"))
        after, past = await ada.brief(), await ada.brief(at=AsOf(known_at=before))

    told = [(line.section.value, line.text.partition(" ")[2]) for line in hers.lines]
    assert told == [
        ("yours", "orders: permanent after 1 try; it waits for human:ada: no such orders"),
        ("yours", f"human:ada: a message to human:ada, from {memory.default_actor()}"),
        ("open", "Change the carrier? [proposed] (because nobody has said yet)"),
        ("unsettled", "claims: permanent after 1 try; it waits for human:zoe: no such claims"),
    ]
    assert hers.text.index("## Yours") < hers.text.index("## Open")
    assert [line.section.value for line in others.lines] == ["open", "unsettled", "unsettled"]
    # What waited in an inbox then nobody kept, and no answer about the past may change.
    assert [line.ref for line in after.lines] == [line.ref for line in past.lines]
    assert [line.ref for line in after.lines if line.section.value == "yours"] == [hers.lines[0].ref]


async def test_who_waits_is_told_of_what_the_same_process_publishes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # By itself it would not look again before the test is over.
    monkeypatch.setattr("latewood.execution.messages.receiving._POLL_FIRST_S", 59.0)
    monkeypatch.setattr("latewood.execution.messages.receiving._POLL_S_MAX", 59.0)
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        await messages.make_channel("orders")
        await messages.make_channel("others")
        looking = asyncio.create_task(messages.receive("orders", wait_s=60.0))
        await asyncio.sleep(0.05)
        await messages.publish("others", {"amount": 1})
        sent = await messages.publish("orders", {"amount": 2})
        (received,) = await asyncio.wait_for(looking, 20)

    assert received.message.id == sent.id


async def test_who_was_lost_and_what_expired_ends_as_a_dead_letter(url: str) -> None:
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        await messages.make_channel("orders", policy=QUICK)
        await messages.publish("orders", {"n": 1})
        for _ in range(2):
            held = await messages.receive("orders", wait_s=5.0, lease_s=0.05)
            assert held
        await messages.publish("orders", {"n": 2}, expires_s=0.2)
        await asyncio.sleep(0.3)
        nothing = await messages.receive("orders", most=5)
        letters = {one.fault: one for one in (await messages.dead_letters()).items}
        past = await raised(InvalidError, messages.publish("orders", {}, delay_s=9, expires_s=3))

    assert nothing == ()
    assert set(letters) == {"poison", "expired"}
    assert "2 consumers were lost" in letters["poison"].reason
    assert past.code == "message.expired"


async def test_order_delay_priority_and_heartbeat(url: str) -> None:
    clock = ManualClock()
    async with memory_at(url, clock=clock) as memory:
        messages = messages_of(memory)
        await messages.make_channel("orders", policy=QUICK)
        for number, key in enumerate(["A", "A", "B"]):
            await messages.publish("orders", {"n": number}, ordering_key=key)
        await messages.publish("orders", {"n": 9}, priority=9)
        await messages.publish("orders", {"n": 5}, delay_s=0.4)
        first = await messages.receive("orders", most=10, lease_s=0.2)
        states = [state for _, state in (await messages.pending("orders")).items]
        kept = [await messages.heartbeat(one, 30) for one in first]
        # Past the leases, had they not been prolonged; and the delayed one is not due yet.
        clock.advance(seconds=0.3)
        early = await messages.receive("orders")
        looking = asyncio.create_task(messages.receive("orders", wait_s=60.0))
        await asyncio.sleep(0.05)
        clock.advance(seconds=0.1)
        (delayed,) = await asyncio.wait_for(looking, 30)
        await messages.nack(kept[1], Fault("transient", "again"))
        (again,) = await messages.receive("orders")
        await messages.ack(again)
        (second,) = await messages.receive("orders")
        handed_back = await messages.hand_back(second)

    assert [one.message.data for one in first] == [{"n": 9}, {"n": 0}, {"n": 2}]
    assert states == ["leased", "blocked", "leased", "leased", "later"]
    assert delayed.message.data == {"n": 5}
    assert early == ()
    assert (again.message.data, again.number) == ({"n": 0}, 2)
    assert (second.message.data, handed_back) == ({"n": 1}, 1)


async def test_groups_get_each_message_once_and_the_past_on_request(url: str) -> None:
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        await messages.make_channel("orders")
        early = await messages.publish("orders", {"n": 1}, ordering_key="k")
        since = (await messages.message(early.id)).recorded_at
        other = messages_of(memory)
        await other.subscribe("orders", "audit")
        late = await messages.publish("orders", {"n": 2})
        audited = await messages.receive("orders", group="audit", most=5)
        worked = await messages.receive("orders", most=5)
        for one in (*audited, *worked):
            await messages.ack(one)
        count = await messages.replay("orders", since=since, group="audit")
        replayed = await messages.receive("orders", group="audit", most=5)
        unknown = await raised(NotFoundError, messages.receive("orders", group="nobody"))
        same = await messages.subscribe("orders", "audit")
        listed = (await messages.messages()).items

    assert [one.message.id for one in audited] == [late.id]
    assert [one.message.id for one in worked] == [early.id, late.id]
    assert (count, [one.message.id for one in replayed]) == (2, [early.id, late.id])
    assert (unknown.code, same.name) == ("channel.unknown", "audit")
    assert [one.id for one in listed] == [late.id, early.id]


async def test_a_full_channel_says_so_and_takes_more_later(url: str) -> None:
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        await messages.make_channel("orders", limits=Limits(pending_max=3))
        answers = await asyncio.gather(
            *(messages.publish("orders", {"n": n}) for n in range(5)), return_exceptions=True
        )
        refused = [one for one in answers if isinstance(one, LimitError)]
        await messages.ack(await one_of(messages))
        await messages.publish("orders", {"n": 9})
        waiting = await messages.waiting("orders")

    assert [(one.code, one.details["limit"]) for one in refused] == [("channel.full", "pending_max")] * 2
    assert waiting == {"default": 3}


async def test_five_hundred_wait_in_order_after_a_restart(tmp_path: Path) -> None:
    url = str(tmp_path / "queue.db")
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        await messages.make_channel("orders")
        await asyncio.gather(*(messages.publish("orders", n, ordering_key=f"k{n % 5}") for n in range(500)))
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        waiting = await messages.waiting("orders")
        got: dict[int, list[int]] = {}
        while batch := await messages.receive("orders", most=100):
            for one in batch:
                assert isinstance(one.message.data, int)
                got.setdefault(one.message.data % 5, []).append(one.message.data)
            await asyncio.gather(*(messages.ack(one) for one in batch))

    assert waiting == {"default": 500}
    assert got == {key: list(range(key, 500, 5)) for key in range(5)}


async def test_a_rebuild_finds_and_mends_what_was_lost_of_the_queue(tmp_path: Path) -> None:
    url = str(tmp_path / "queue.db")
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        await messages.make_channel("orders", policy=QUICK)
        for number in range(4):
            await messages.publish("orders", number, ordering_key="k" if number < 2 else None)
        await messages.ack((await messages.receive("orders", most=2))[1])
    damaged = sqlite3.connect(url)
    damaged.execute("delete from queued where seq in (select min(seq) from queued)")
    damaged.execute("update queued set priority = 7 where seq in (select max(seq) from queued)")
    damaged.execute("update lane set pending = 40")
    damaged.commit()
    damaged.close()
    async with memory_at(url) as memory:
        before = await memory.rebuild(dry_run=True)
        await memory.rebuild()
        after = await memory.rebuild(dry_run=True)
        messages = messages_of(memory)
        waiting = await messages.waiting("orders")
        order = [one.message.data for one in await messages.receive("orders", most=5)]

    assert {one.view for one in before.found} == {"queued", "lane"}
    assert after.found == ()
    assert waiting == {"default": 3}
    assert order == [0, 3]


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_neo4j_mends_what_was_lost_of_the_queue() -> None:
    from neo4j import GraphDatabase
    from neo4j_server import NEO4J

    address = Address.parse(NEO4J.url())
    async with Memory.open(NEO4J.url(), by="agent:sender", embedder="none") as opened:
        space = f"mended-{time.monotonic_ns()}"
        await opened.create_space(space)
        memory = opened.within(space=space)
        messages = messages_of(memory)
        channel = await messages.make_channel("orders", policy=QUICK)
        for number in range(4):
            await messages.publish("orders", number, ordering_key="k" if number < 2 else None)
        await messages.ack((await messages.receive("orders", most=2))[1])
        group = channel.groups[0].id
        auth = (address.user, address.password)
        with GraphDatabase.driver(address.uri, auth=auth) as driver:  # pyright: ignore[reportUnknownMemberType]
            found = "MATCH (q:SpaceQueued {group: $group}) WITH q ORDER BY q.seq WITH collect(q) AS rows "
            for damage in ("DETACH DELETE q", "SET q.priority = 7, q.rank = 'x'"):
                which = "rows[0]" if damage.startswith("DETACH") else "rows[-1]"
                text = f"{found} WITH {which} AS q {damage}"
                driver.execute_query(text, group=group, database_=address.database)
            driver.execute_query("MATCH (l:SpaceLane {group: $group}) SET l.pending = 40", group=group)
        before = await memory.rebuild(dry_run=True)
        await memory.rebuild()
        after = await memory.rebuild(dry_run=True)
        waiting = await messages.waiting("orders")
        order = [one.message.data for one in await messages.receive("orders", most=5)]

    assert {one.view for one in before.found} == {"queued", "lane"}
    assert after.found == ()
    assert waiting == {"default": 3}
    assert order == [0, 3]


async def test_what_a_message_says_decides_where_it_goes(url: str) -> None:
    low = Condition("$.confidence", "<", 0.7)
    async with memory_at(url) as memory:
        messages = messages_of(memory)
        await messages.make_channel("claims")
        await messages.make_channel("review", owner="human:ada")
        await messages.make_channel("night")
        first = await messages.route("claims", [ContentRule("unsure", (low,), "review")])
        unsure = await messages.publish("claims", {"confidence": 0.62})
        sure = await messages.publish("claims", {"confidence": 0.93}, idempotency_key="k")
        changed = await messages.route("claims", [ContentRule("late", (Condition("$.hour", ">", 20),), "night"),
                                                  ContentRule("unsure", (Condition("$.confidence", "<", 0.95),), "review")])  # fmt: skip
        after = await messages.publish("claims", {"confidence": 0.93})
        again = await messages.publish("claims", {"confidence": 0.93}, idempotency_key="k")
        late = await messages.publish("claims", {"confidence": 1, "hour": 23})
        kept = [await messages.message(one.id) for one in (unsure, sure, after, late)]
        missing = await raised(NotFoundError, messages.route("claims", [ContentRule("x", (low,), "nowhere")]))
        wrong = await raised(
            InvalidError, messages.route("claims", [ContentRule("x", (Condition("a", "~"),), "night")])
        )
        inbox = [one.message.id for one in await messages.receive("review", most=5)]

    assert (first.routes and first.routes.version, changed.routes and changed.routes.version) == (1, 2)
    assert [(one.channel, one.rule) for one in kept] == [
        ("review", "claims@1/unsure"), ("claims", "claims@1"), ("review", "claims@2/unsure"),
        ("night", "claims@2/late"),
    ]  # fmt: skip
    assert (again.id, again.duplicate) == (sure.id, True)
    assert (missing.code, wrong.code) == ("channel.unknown", "query.invalid")
    assert inbox == [unsure.id, after.id]


def test_conditions_ask_what_is_there_and_of_its_kind() -> None:
    data: Json = {"n": 0.62, "who": {"name": "ada"}, "lines": [{"sum": 5}], "ok": True, "t": "b"}
    holds: list[tuple[str, str, Json]] = [
        ("$.n", "<", 0.7), ("$.n", ">=", 0.62), ("$.who.name", "==", "ada"), ("$.lines[0].sum", "in", [4, 5]),
        ("$.ok", "==", True), ("$.gone", "exists", False), ("$.n", "exists", True), ("$.gone", "!=", 1),
        ("$.t", ">", "a"),
    ]  # fmt: skip
    fails: list[tuple[str, str, Json]] = [
        ("$.n", ">", 0.7), ("$.ok", "==", 1), ("$.ok", "<", 2), ("$.t", "<", 2), ("$.gone", "<", 2),
        ("$.lines[1].sum", "==", 5), ("$.who", "in", ["ada"]), ("$.n", "!=", 0.62),
    ]  # fmt: skip

    assert [one for one in holds if not Condition(*one).holds(data)] == []
    assert [one for one in fails if Condition(*one).holds(data)] == []
