"""Who disagrees with what holds."""

from __future__ import annotations

from decimal import Decimal

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.model import Conflict, Trust
from latewood.storage.conformance.scene import MakeStore, Scene, day, opened
from latewood.storage.port import FactQuery

__all__ = ["CHECKS"]


async def _conflict(scene: Scene, valid: float, known: int | None = None, predicate: str = "rate") -> Conflict | None:
    (fact,) = await scene.facts("thing:a", predicate, day(valid), known)
    return fact.conflict


async def check_another_origin_with_another_value_challenges(make: MakeStore) -> None:
    """The strongest challenger is named and the rest counted; settled by retracting."""
    async with opened(make) as scene:
        holds = scene.say("thing:a", "rate", 1, start=day(0))
        await scene.write(holds, trust=Trust.HUMAN, origin="one")
        weak = await scene.write(scene.say("thing:a", "rate", 9, start=day(0)), origin="two")
        strong = await scene.write(scene.say("thing:a", "rate", 8, start=day(0)), origin="three")
        conflict = await _conflict(scene, 1)
        assert conflict is not None
        assert (conflict.challenger_id, conflict.others) == (strong.facts[0], 1)
        assert conflict.value is not None
        assert conflict.value.data == 8

        taken = await scene.write(scene.retract(strong.facts[0]))
        conflict = await _conflict(scene, 1)
        assert conflict is not None
        assert (conflict.challenger_id, conflict.others) == (weak.facts[0], 0)
        await scene.write(scene.retract(weak.facts[0]))
        assert await _conflict(scene, 1) is None
        assert taken.recorded_at is not None
        before = await _conflict(scene, 1, to_micros(taken.recorded_at) - 1)
        assert before is not None
        assert before.others == 1


async def check_the_same_origin_restates(make: MakeStore) -> None:
    """An origin that says otherwise later has changed its word, it does not contradict itself."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 1, start=day(0)), origin="one")
        await scene.write(scene.say("thing:a", "rate", 2, start=day(0)), origin="one", by="agent:other")

        assert await scene.value("thing:a", "rate", day(1)) == 2
        assert await _conflict(scene, 1) is None


async def check_equal_values_agree(make: MakeStore) -> None:
    """Values that are canonically equal, in whatever type or unit, do not conflict."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "delay", 60, start=day(0)), origin="one")
        await scene.write(scene.say("thing:a", "delay", 1.0, unit="h", start=day(0)), origin="two")
        await scene.write(scene.say("thing:a", "delay", Decimal(3600), unit="s", start=day(0)), origin="three")
        assert await _conflict(scene, 1, predicate="delay") is None

        await scene.write(scene.say("thing:a", "delay", 61, start=day(0)), origin="four")
        conflict = await _conflict(scene, 1, predicate="delay")
        assert conflict is not None
        assert conflict.others == 2


async def check_an_earlier_start_is_history_not_a_challenge(make: MakeStore) -> None:
    """Who spoke of an earlier time is superseded; who spoke of the same time or later challenges."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 1, start=day(0)), origin="one")
        await scene.write(scene.say("thing:a", "rate", 2, start=day(5)), origin="two")
        assert await _conflict(scene, 6) is None
        late = await scene.write(scene.say("thing:a", "rate", 3, start=day(7)), origin="three", trust=Trust.UNTRUSTED)
        assert await _conflict(scene, 6) is None
        conflict = await _conflict(scene, 8)
        assert conflict is not None
        assert conflict.challenger_id == late.facts[0]


async def check_an_absence_challenges(make: MakeStore) -> None:
    """Someone of another origin who says that nothing holds is a challenger without a value."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("thing:a", "rate", 1, start=day(0)), origin="one")
        gone = await scene.write(scene.end(first.facts[0], day(5)), origin="two")
        await scene.write(scene.say("thing:a", "rate", 1, start=day(5)), origin="one", trust=Trust.HUMAN)
        conflict = await _conflict(scene, 6)

        assert conflict == Conflict(gone.facts[0], None, None, 0)


async def check_relations_challenge_too(make: MakeStore) -> None:
    """A single-valued relation to another object is a conflict; many values side by side are none."""
    async with opened(make) as scene:
        await scene.write(scene.link("thing:a", "in_session", "s:1", start=day(0)), origin="one")
        second = await scene.write(scene.link("thing:a", "in_session", "s:2", start=day(0)), origin="two")
        await scene.write(scene.say("thing:a", "outcome", "x", start=day(0)), origin="one")
        await scene.write(scene.say("thing:a", "outcome", "y", start=day(0)), origin="two")
        (fact,) = await scene.facts("thing:a", "in_session")

        assert fact.id == second.facts[0]
        assert fact.conflict is not None
        assert fact.conflict.object_id is not None
        assert [one.conflict for one in await scene.facts("thing:a", "outcome")] == [None, None]
        pointing = await scene.store.facts("default", FactQuery(objects=[fact.object_id or ""]))
        assert [one.conflict for one in pointing] == [fact.conflict]


CHECKS = (
    check_another_origin_with_another_value_challenges,
    check_the_same_origin_restates,
    check_equal_values_agree,
    check_an_earlier_start_is_history_not_a_challenge,
    check_an_absence_challenges,
    check_relations_challenge_too,
)
