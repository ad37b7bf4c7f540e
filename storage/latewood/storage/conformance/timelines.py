"""Timelines and diffs: everything that was said, and what changed."""

from __future__ import annotations

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.events import EventKind
from latewood.graph_schema.model import Fact
from latewood.storage.conformance.scene import MakeStore, Scene, day, opened
from latewood.storage.port import Axis, Change

__all__ = ["CHECKS"]


async def _timeline(scene: Scene, subjects: list[str], first: int, known_at: int | None = None) -> list[Fact]:
    found: list[Fact] = []
    after: str | None = None
    for _ in range(100):
        page = await scene.store.timeline("default", subjects, known_at=known_at, first=first, after=after)
        found += page.items
        if page.next is None:
            return found
        assert len(page.items) == first
        after = page.next
    raise AssertionError("the timeline does not end")


async def _changes(
    scene: Scene, since: int, until: int, first: int, axis: Axis = "known", subjects: list[str] | None = None
) -> list[Change]:
    found: list[Change] = []
    after: str | None = None
    for _ in range(100):
        page = await scene.store.changes(
            "default", since, until, axis=axis, subjects=subjects, first=first, after=after
        )
        found += page.items
        if page.next is None:
            return found
        assert len(page.items) == first
        after = page.next
    raise AssertionError("the changes do not end")


async def check_a_timeline_has_every_assertion_in_valid_order(make: MakeStore) -> None:
    """Assertions, ends and retracted ones, by asserted start, whole or in pages."""
    async with opened(make) as scene:
        late = await scene.write(scene.say("thing:a", "rate", 2, start=day(10)))
        early = await scene.write(
            scene.say("thing:a", "rate", 1, start=day(0)), scene.say("thing:a", "z", 1, start=day(0))
        )
        ended = await scene.write(scene.end(late.facts[0], day(20)))
        other = await scene.write(scene.link("thing:b", "uses", "thing:a", start=day(5)))
        taken = await scene.write(scene.retract(late.facts[0], "slip"))
        subject = await scene.node_id("thing:a")
        both = [subject, await scene.node_id("thing:b")]
        assert late.recorded_at is not None
        assert taken.recorded_at is not None

        whole = await _timeline(scene, [subject], 100)
        assert [fact.id for fact in whole] == [*early.facts, late.facts[0], ended.facts[0]]
        assert whole[2].retired_reason == "slip"
        for first in (1, 2, 3, 4):
            assert await _timeline(scene, [subject], first) == whole
            assert [fact.id for fact in await _timeline(scene, [*both, "x"], first)] == [
                *early.facts, other.facts[0], late.facts[0], ended.facts[0],
            ]  # fmt: skip
        known = to_micros(taken.recorded_at) - 1
        assert all(fact.retired_at is None for fact in await _timeline(scene, [subject], 2, known))
        assert [fact.id for fact in await _timeline(scene, [subject], 2, to_micros(late.recorded_at))] == [
            late.facts[0]
        ]
        page = await scene.store.timeline("default", both, ["uses", "z"])
        assert [fact.predicate for fact in page.items] == ["z", "uses"]
        assert (await scene.store.timeline("default", [])).items == ()


async def check_a_timeline_of_both_ledgers_skips_nothing(make: MakeStore) -> None:
    """Two ledgers may record in the same microsecond; pages of one still show every assertion once."""
    async with opened(make) as scene:
        await scene.commit(scene.unit(scene.say("thing:a", "rate", 0), scene.say("thing:a", "speed", 0)))
        scene.clock.advance(days=1)
        await scene.commit(scene.unit(scene.say("thing:a", "rate", 1)))
        await scene.commit(scene.unit(scene.say("thing:a", "speed", 1), ledger="execution"))
        subject = await scene.node_id("thing:a")
        whole = await _timeline(scene, [subject], 100)

        assert {fact.predicate for fact in whole} == {"rate", "speed"}
        assert sorted(fact.id for fact in await _timeline(scene, [subject], 1)) == sorted(fact.id for fact in whole)


async def check_changes_list_what_was_recorded(make: MakeStore) -> None:
    """In (since, until] of recorded time: asserted, ended, retracted, in order, with reasons and successors."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("thing:a", "rate", 1, start=day(-50)))
        new = scene.say("thing:a", "rate", 2, start=day(-50), replaces=first.facts[0])
        corrected = await scene.write(scene.retract(first.facts[0], "slip"), new)
        ended = await scene.write(scene.end(new.id, None, "closed"))
        await scene.write(scene.say("thing:b", "rate", 3))
        subject = await scene.node_id("thing:a")

        whole = await _changes(scene, day(0), day(9), 100)
        assert [(one.kind, one.fact.id) for one in whole[:4]] == [
            (EventKind.ASSERTED, first.facts[0]), (EventKind.RETRACTED, first.facts[0]), (EventKind.ASSERTED, new.id),
            (EventKind.ABSENT, ended.facts[0]),
        ]  # fmt: skip
        assert [one.reason for one in whole] == [None, "slip", None, "closed", None]
        assert [one.replaced_by for one in whole] == [None, new.id, None, None, None]
        assert whole[1].fact.retired_at == corrected.recorded_at
        assert [one.seq for one in whole] == sorted({one.seq for one in whole})
        for size in (1, 2, 5):
            assert await _changes(scene, day(0), day(9), size) == whole
            assert await _changes(scene, day(0), day(9), size, subjects=[subject, "x"]) == whole[:4]
        assert [one.seq for one in await _changes(scene, day(1), day(3), 2)] == [one.seq for one in whole[1:4]]
        assert [one.seq for one in await _changes(scene, day(1) - 1, day(1), 2)] == [whole[0].seq]
        assert await _changes(scene, day(9), day(0), 2) == []
        assert await _changes(scene, day(0), day(9), 2, subjects=[]) == []


async def check_changes_of_the_past_are_frozen(make: MakeStore) -> None:
    """A diff up to an instant shows what was known then; a later retraction does not reach into it."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("thing:a", "rate", 1, start=day(-50)))
        asked = await _changes(scene, day(0), day(1), 10)
        subject = await scene.node_id("thing:a")
        await scene.write(scene.retract(first.facts[0], "slip"))

        assert await _changes(scene, day(0), day(1), 10) == asked
        assert await _changes(scene, day(0), day(1), 10, subjects=[subject]) == asked
        assert asked[0].fact.retired_at is None


async def check_changes_of_valid_time(make: MakeStore) -> None:
    """On the axis of valid time: what begins in (since, until] and still stands, by its start."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 2, start=day(-10)))
        early = await scene.write(
            scene.say("thing:a", "rate", 1, start=day(-20)), scene.say("thing:b", "z", 1, start=day(-20))
        )
        wrong = await scene.write(scene.say("thing:a", "rate", 9, start=day(-15)))
        await scene.write(scene.retract(wrong.facts[0]))
        ended = await scene.write(scene.end(early.facts[1], day(-5)))
        subject = await scene.node_id("thing:a")

        whole = await _changes(scene, day(-99), day(-1), 100, "valid")
        starts = [to_micros(one.fact.valid_from) for one in whole]
        assert starts == [day(-20), day(-20), day(-10), day(-5)]
        assert [one.fact.id for one in whole[:2]] == list(early.facts)
        assert (whole[3].kind, whole[3].fact.id) == (EventKind.ABSENT, ended.facts[0])
        for size in (1, 2, 3):
            assert await _changes(scene, day(-99), day(-1), size, "valid") == whole
        assert await _changes(scene, day(-99), day(-1), 1, "valid", [subject]) == [whole[0], whole[2]]
        assert await _changes(scene, day(-20), day(-10), 1, "valid") == [whole[2]]


CHECKS = (
    check_a_timeline_has_every_assertion_in_valid_order,
    check_a_timeline_of_both_ledgers_skips_nothing,
    check_changes_list_what_was_recorded,
    check_changes_of_the_past_are_frozen,
    check_changes_of_valid_time,
)
