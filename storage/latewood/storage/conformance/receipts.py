"""Receipts: what became of a write, for as long as it is kept."""

from __future__ import annotations

from latewood.graph_schema.clock import from_micros
from latewood.graph_schema.errors import NotFoundError
from latewood.graph_schema.model import Trust
from latewood.storage.conformance.scene import MakeStore, day, opened, raised
from latewood.storage.port import Refusal

__all__ = ["CHECKS"]


async def check_a_receipt_says_what_became_of_a_unit(make: MakeStore) -> None:
    """Its facts, nodes, new keys and predicates, its place in the ledger; asked again, it is the same."""
    async with opened(make) as scene:
        said, linked = scene.say("Thing:A", "rate", 1), scene.link("Thing:A", "feeds", "thing:b")
        unit = scene.unit(scene.declare("thing:c"), said, linked, session="s-1")
        receipt = await scene.commit(unit)
        nodes = await scene.store.nodes("default", keys=["thing:a", "thing:b", "thing:c"])
        rows = await scene.store.feed("default", "knowledge", 0)

        assert receipt.id == unit.id
        assert (receipt.space, receipt.state, receipt.ledger) == ("default", "stored", "knowledge")
        assert receipt.seq == rows[-1].seq
        assert receipt.recorded_at == from_micros(day(0))
        assert receipt.subject == nodes["thing:a"].id
        assert receipt.facts == (said.id, linked.id)
        assert dict(receipt.nodes) == {
            "Thing:A": nodes["thing:a"].id, "thing:b": nodes["thing:b"].id, "thing:c": nodes["thing:c"].id,
        }  # fmt: skip
        assert receipt.declared == ("agent:writer", "session:s-1", "thing:c", "Thing:A", "thing:b")
        assert receipt.registered == ("rate", "feeds")
        assert (receipt.not_holding, receipt.replayed, receipt.late) == ((), False, False)
        assert (receipt.code, receipt.message) == (None, None)
        assert await scene.store.receipt(receipt.id) == receipt


async def check_a_receipt_lists_where_a_fact_does_not_hold(make: MakeStore) -> None:
    """Each whole stretch of its period where others hold, with the one that holds at its start."""
    async with opened(make) as scene:
        one = await scene.write(scene.say("thing:a", "rate", 1, start=day(10), end=day(20)))
        two = await scene.write(scene.say("thing:a", "rate", 2, start=day(20), end=day(30)))
        three = await scene.write(scene.say("thing:a", "rate", 3, start=day(40)))
        receipt = await scene.write(scene.say("thing:a", "rate", 0, start=day(0)))
        ended = await scene.write(scene.end(receipt.facts[0], day(5)))
        bare = await scene.write(scene.say("thing:z", "rate", 0, start=day(0)))

        assert [(n.fact_id, n.valid_from, n.valid_to, n.held_by) for n in receipt.not_holding] == [
            (receipt.facts[0], from_micros(day(10)), from_micros(day(30)), one.facts[0]),
            (receipt.facts[0], from_micros(day(40)), None, three.facts[0]),
        ]
        assert [(n.fact_id, n.valid_from, n.held_by) for n in ended.not_holding] == [
            (ended.facts[0], from_micros(day(10)), one.facts[0]),
            (ended.facts[0], from_micros(day(40)), three.facts[0]),
        ]  # fmt: skip
        assert two.not_holding == bare.not_holding == ()
        assert await scene.store.receipt(receipt.id) == receipt


async def check_a_receipt_lists_twenty_stretches_at_most(make: MakeStore) -> None:
    """The list is bounded."""
    async with opened(make) as scene:
        await scene.write(*(scene.say("thing:a", "rate", n, start=day(2 * n), end=day(2 * n + 1)) for n in range(30)))
        receipt = await scene.write(scene.say("thing:a", "rate", 99, start=day(-1)), trust=Trust.EXTRACTED)

        assert len(receipt.not_holding) == 20
        assert [n.valid_from for n in receipt.not_holding] == [from_micros(day(2 * n)) for n in range(20)]


async def check_refused_writes_have_receipts_too(make: MakeStore) -> None:
    """A refusal that was kept is found under its id, with class and message; unknown ids are not found."""
    async with opened(make) as scene:
        unit = scene.unit(scene.retract(scene.new_id()))
        error = await scene.refusal(unit)
        scene.clock.advance(days=2)
        refusal = Refusal(unit.id, "default", error.code, "agent:writer", unit.body, error.message)
        await scene.store.refuse(refusal)
        await scene.store.refuse(refusal)
        found = await scene.store.receipt(unit.id)

        assert (found.id, found.space, found.state) == (unit.id, "default", "failed")
        assert (found.code, found.message) == (error.code, error.message)
        assert found.recorded_at == from_micros(day(2))
        for unknown in (scene.new_id(), "nonsense", ""):
            missing = await raised(NotFoundError, scene.store.receipt(unknown))
            assert missing.code == "node.not_found"


async def check_receipts_of_every_space_are_found(make: MakeStore) -> None:
    """A receipt needs no space to be asked for, and outlives a restart."""
    async with opened(make) as scene:
        await scene.store.create_space("other")
        receipts = [await scene.write(scene.say("thing:a", "rate", 1), space=name) for name in ("default", "other")]
        await scene.store.close()
        scene.store = await make.again(scene.store, clock=scene.clock, ids=scene.ids, words=scene.words)

        assert [await scene.store.receipt(one.id) for one in receipts] == receipts


CHECKS = (
    check_a_receipt_says_what_became_of_a_unit,
    check_a_receipt_lists_where_a_fact_does_not_hold,
    check_a_receipt_lists_twenty_stretches_at_most,
    check_refused_writes_have_receipts_too,
    check_receipts_of_every_space_are_found,
)
