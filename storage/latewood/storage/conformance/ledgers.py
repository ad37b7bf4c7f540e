"""The ledger: the feed of its rows, waiting for more, and the chain."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.events import EventKind, LedgerEntry
from latewood.graph_schema.ledger import verify
from latewood.graph_schema.model import LEDGERS
from latewood.graph_schema.values import canonical_json
from latewood.storage.conformance.scene import MakeStore, Scene, day, opened

__all__ = ["CHECKS"]

_SOON_S: Final = 15.0
"""Less than the wait that must not be waited out; a busy machine takes seconds for what it does at once."""


async def _rows(scene: Scene, limit: int) -> list[LedgerEntry]:
    found: list[LedgerEntry] = []
    while page := await scene.store.feed("default", "knowledge", len(found), limit):
        assert len(page) <= limit
        found += page
    return found


async def check_the_feed_has_every_row_in_order(make: MakeStore) -> None:
    """Rows come in order of seq without a gap, and say what was written."""
    async with opened(make) as scene:
        first = await scene.commit(scene.unit(scene.say("thing:a", "rate", 1, start=day(-1)), op="op", body=1))
        ended = await scene.write(scene.end(first.facts[0], day(5), "closed"))
        taken = await scene.write(scene.retract(first.facts[0], "slip"))
        rows = await _rows(scene, 100)

        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        assert rows[-1].seq == taken.seq
        assert await _rows(scene, 1) == rows
        kinds = [row.event.kind for row in rows]
        assert kinds.count(EventKind.DECLARED) == 4
        assert kinds[-3:] == [EventKind.ASSERTED, EventKind.ABSENT, EventKind.RETRACTED]
        said, absent, retracted = rows[-3:]
        assert (said.event.id, said.event.valid_from) == (first.facts[0], day(-1))
        assert (absent.event.id, absent.event.target) == (ended.facts[0], first.facts[0])
        assert retracted.event.target == first.facts[0]
        assert retracted.event.payload["reason"] == "slip"
        assert said.event.key == absent.event.key == retracted.event.key
        assert taken.recorded_at is not None
        assert (retracted.unit, retracted.recorded_at) == (taken.id, to_micros(taken.recorded_at))
        assert [row.op is not None for row in rows] == [True] + [False] * (len(rows) - 1)
        assert [row.event.ordinal for row in rows if row.unit == first.id] == list(range(first.seq))
        assert await scene.store.feed("default", "execution", 0) == ()
        assert await scene.store.feed("default", "knowledge", 10_000) == ()


async def check_the_chain_verifies(make: MakeStore) -> None:
    """The store's own check passes, and so does the definition of the chain over the rows of the feed."""
    async with opened(make) as scene:
        assert (await scene.store.verify("default", "knowledge")).ok
        for n in range(5):
            await scene.write(scene.say("thing:a", "rate", n))
            await scene.refusal(scene.unit(scene.retract(scene.new_id())))
        rows = await _rows(scene, 100)
        (space,) = await scene.store.spaces()
        verdict = await scene.store.verify("default", "knowledge")
        own = verify(space.id, "knowledge", [(row, canonical_json(row.event.payload).encode()) for row in rows])

        assert verdict.ok
        assert verdict == own
        assert verdict.rows == len(rows)
        assert [(await scene.store.verify("default", ledger)).ok for ledger in LEDGERS] == [True, True]


async def check_no_words_stand_in_a_header(make: MakeStore) -> None:
    """Headers hold ids, numbers and digests; idempotency keys and bodies are kept hashed."""
    async with opened(make) as scene:
        unit = scene.unit(
            scene.say("thing:secret", "secret", "secret", quote="secret"),
            op="secret",
            session="secret",
            origin="secret",
        )
        await scene.commit(unit)
        for row in await _rows(scene, 100):
            event = row.event
            header = f"{row.unit} {event.kind} {event.id} {event.subject} {event.target} {row.op!r} {row.body!r}"
            assert "secret" not in header


async def check_a_waiting_reader_is_woken(make: MakeStore) -> None:
    """Waiting ends as soon as there is something, at once when there already is, and at its time limit."""
    async with opened(make) as scene:
        assert not await scene.store.wait("default", "knowledge", 0, 0)
        start = time.monotonic()
        assert not await scene.store.wait("default", "knowledge", 0, 0.05)
        assert time.monotonic() - start < _SOON_S
        waiting = asyncio.create_task(scene.store.wait("default", "knowledge", 0, 20))
        await asyncio.sleep(0.02)
        receipt = await scene.write(scene.say("thing:a", "rate", 1))

        start = time.monotonic()
        assert await waiting
        assert time.monotonic() - start < _SOON_S
        assert await scene.store.wait("default", "knowledge", receipt.seq - 1, 0)
        assert not await scene.store.wait("default", "knowledge", receipt.seq, 0)
        assert not await scene.store.wait("default", "execution", 0, 0)


async def check_each_ledger_points_at_nodes_of_the_other(make: MakeStore) -> None:
    """A node belongs to the ledger that met it first; the other one names it without declaring it again."""
    async with opened(make) as scene:
        await scene.write(scene.say("session:s", "said", "it moves"))
        step = await scene.write(
            scene.link("step:1", "in_session", "session:s"), scene.say("step:1", "status", "started"),
            ledger="execution",
        )  # fmt: skip
        await scene.write(scene.say("step:1", "status", "completed"), ledger="execution")
        await scene.write(scene.link("thing:a", "led_to_by", "step:1"))
        session = await scene.node_id("session:s")
        (ended,) = await scene.facts("step:1", "status")
        (held,) = await scene.facts("step:1", "in_session")
        (cause,) = await scene.facts("thing:a", "led_to_by")

        assert step.ledger == "execution"
        assert "session:s" not in step.declared
        assert ended.value is not None
        assert ended.value.data == "completed"
        assert held.object_id == session
        assert cause.object_id == await scene.node_id("step:1")
        rows = await scene.store.feed("default", "execution", 0)
        declared = {str(row.event.payload.get("key")) for row in rows if row.event.kind is EventKind.DECLARED}
        assert "step:1" in declared
        assert "session:s" not in declared
        assert [(await scene.store.verify("default", ledger)).ok for ledger in LEDGERS] == [True, True]


async def check_now_is_behind_neither_head(make: MakeStore) -> None:
    """What either ledger acknowledged is in the current answer of a reader whose clock is slow."""
    async with opened(make) as scene:
        for ledger in LEDGERS:
            receipt = await scene.write(scene.say(f"thing:{ledger}", "rate", 7), ledger=ledger)
            scene.clock.advance(days=-1)
            (held,) = await scene.facts(f"thing:{ledger}", "rate")

            assert held.id == receipt.facts[0]
            assert receipt.recorded_at is not None
            assert await scene.store.now("default") >= to_micros(receipt.recorded_at)
            scene.clock.advance(days=2)


CHECKS = (
    check_the_feed_has_every_row_in_order,
    check_the_chain_verifies,
    check_no_words_stand_in_a_header,
    check_each_ledger_points_at_nodes_of_the_other,
    check_a_waiting_reader_is_woken,
    check_now_is_behind_neither_head,
)
