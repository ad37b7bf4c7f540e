"""Which fact holds, at every boundary of both clocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from latewood.graph_schema.clock import Micros, from_micros, to_micros
from latewood.graph_schema.errors import ConflictError
from latewood.graph_schema.model import Trust
from latewood.graph_schema.packs.loader import load_pack, vocabulary
from latewood.graph_schema.values import Json
from latewood.storage.conformance.scene import MakeStore, Scene, day, opened
from latewood.storage.port import Point

__all__ = ["CHECKS"]


async def _expect(
    scene: Scene, expected: Sequence[tuple[Micros, Json]], until: Micros, known_at: Micros | None = None
) -> None:
    """Hold `rate` of thing:a to (start, value) pairs, a microsecond before and at each start."""
    ends = [*expected, (until, None)]
    for (start, value), (end, _) in pairwise(ends):
        for instant in (start, end - 1):
            found = await scene.value("thing:a", "rate", instant, known_at)
            assert found == value, f"{value} was expected at {instant} as known at {known_at}, not {found}"
    if expected:
        assert await scene.value("thing:a", "rate", expected[0][0] - 1, known_at) is None


async def check_facts_may_arrive_in_any_order(make: MakeStore) -> None:
    """A late fact about an earlier time fills its own stretch and no more."""
    async with opened(make) as scene:
        march = await scene.write(scene.say("thing:a", "rate", 12, start=day(60)))
        january = await scene.write(scene.say("thing:a", "rate", 10, start=day(0)))
        await scene.write(scene.say("thing:a", "rate", 11, start=day(30)))

        await _expect(scene, [(day(0), 10), (day(30), 11), (day(60), 12)], day(900))
        assert march.recorded_at is not None
        await _expect(scene, [(day(60), 12)], day(900), to_micros(march.recorded_at))
        assert january.recorded_at is not None
        await _expect(scene, [(day(0), 10), (day(60), 12)], day(900), to_micros(january.recorded_at))
        await _expect(scene, [(day(60), 12)], day(900), to_micros(january.recorded_at) - 1)


async def check_after_a_period_the_wider_one_holds_again(make: MakeStore) -> None:
    """Nested periods lie upon one another; where the inner ends, the outer one goes on."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 1, start=day(0)))
        await scene.write(scene.say("thing:a", "rate", 2, start=day(10), end=day(40)))
        await scene.write(scene.say("thing:a", "rate", 3, start=day(20), end=day(30)))

        await _expect(scene, [(day(0), 1), (day(10), 2), (day(20), 3), (day(30), 2), (day(40), 1)], day(900))


async def check_a_wide_late_period_goes_under_the_narrow_ones(make: MakeStore) -> None:
    """An earlier start holds only where no later start covers."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 2, start=day(10), end=day(20)))
        await scene.write(scene.say("thing:a", "rate", 3, start=day(30), end=day(40)))
        receipt = await scene.write(scene.say("thing:a", "rate", 1, start=day(0), end=day(50)))

        await _expect(
            scene, [(day(0), 1), (day(10), 2), (day(20), 1), (day(30), 3), (day(40), 1), (day(50), None)], day(60)
        )
        assert [(one.valid_from, one.valid_to) for one in receipt.not_holding] == [
            (from_micros(day(10)), from_micros(day(20))), (from_micros(day(30)), from_micros(day(40))),
        ]  # fmt: skip


async def check_a_retraction_brings_the_predecessor_back(make: MakeStore) -> None:
    """What was never true gives way to what it hid, and stays known for what it was."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 1, start=day(0)))
        wrong = (await scene.write(scene.say("thing:a", "rate", 2, start=day(10)))).facts[0]
        await scene.write(scene.say("thing:a", "rate", 3, start=day(20)))
        receipt = await scene.write(scene.retract(wrong))
        assert receipt.recorded_at is not None
        known = to_micros(receipt.recorded_at)

        await _expect(scene, [(day(0), 1), (day(20), 3)], day(900))
        await _expect(scene, [(day(0), 1), (day(20), 3)], day(900), known)
        await _expect(scene, [(day(0), 1), (day(10), 2), (day(20), 3)], day(900), known - 1)


async def check_an_end_leaves_nothing(make: MakeStore) -> None:
    """From its end on nothing holds, until someone asserts again; taking the end back revives what it hid."""
    async with opened(make) as scene:
        fact = (await scene.write(scene.say("thing:a", "rate", 1, start=day(0)))).facts[0]
        absence = (await scene.write(scene.end(fact, day(10), "closed"))).facts[0]
        await _expect(scene, [(day(0), 1), (day(10), None)], day(900))
        held, before = await scene.store.held("default", [Point(fact, day(10)), Point(fact, day(10) - 1)])
        assert held is not None
        assert (held.id, held.absent) == (absence, True)
        assert before is not None
        assert before.id == fact

        await scene.write(scene.say("thing:a", "rate", 2, start=day(20)))
        await _expect(scene, [(day(0), 1), (day(10), None), (day(20), 2)], day(900))
        receipt = await scene.write(scene.retract(absence))
        await _expect(scene, [(day(0), 1), (day(20), 2)], day(900))
        assert receipt.recorded_at is not None
        known = to_micros(receipt.recorded_at) - 1
        await _expect(scene, [(day(0), 1), (day(10), None), (day(20), 2)], day(900), known)


async def check_only_what_holds_can_end(make: MakeStore) -> None:
    """An end is refused where the fact does not hold, and the error names what does."""
    async with opened(make) as scene:
        first = (await scene.write(scene.say("thing:a", "rate", 1, start=day(0)))).facts[0]
        second = (await scene.write(scene.say("thing:a", "rate", 2, start=day(10)))).facts[0]
        hidden = await scene.refusal(scene.unit(scene.end(first, day(15))))
        early = await scene.refusal(scene.unit(scene.end(first, day(0) - 1)))
        absence = (await scene.write(scene.end(second, day(20)))).facts[0]
        twice = await scene.refusal(scene.unit(scene.end(second, day(25))))
        of_absence = await scene.refusal(scene.unit(scene.end(absence, day(25))))

        assert isinstance(hidden, ConflictError)
        assert {hidden.code, early.code, twice.code, of_absence.code} == {"fact.not_holding"}
        assert hidden.details["holding"] == second
        assert early.details["holding"] is None
        assert twice.details["holding"] == absence


async def check_ending_now_is_ending_at_the_recording(make: MakeStore) -> None:
    """An end without an instant means the instant of recording."""
    async with opened(make) as scene:
        fact = (await scene.write(scene.say("thing:a", "rate", 1, start=day(0)))).facts[0]
        receipt = await scene.write(scene.end(fact))
        assert receipt.recorded_at is not None
        when = to_micros(receipt.recorded_at)

        assert await scene.value("thing:a", "rate", when - 1) == 1
        assert await scene.value("thing:a", "rate", when) is None


async def check_untrusted_words_do_not_displace_what_people_said(make: MakeStore) -> None:
    """Below the authority a later start does not win; at it, trust decides only between equal starts."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 1, start=day(0)), trust=Trust.HUMAN)
        await scene.write(scene.say("thing:a", "rate", 9, start=day(5)), trust=Trust.UNTRUSTED, origin="web")
        await _expect(scene, [(day(0), 1)], day(900))
        await scene.write(scene.say("thing:a", "rate", 2, start=day(10)), trust=Trust.AGENT)
        await _expect(scene, [(day(0), 1), (day(10), 2)], day(900))
        await scene.write(scene.say("thing:a", "rate", 3, start=day(10)), trust=Trust.HUMAN)
        await scene.write(scene.say("thing:a", "rate", 4, start=day(10)), trust=Trust.AGENT)
        await _expect(scene, [(day(0), 1), (day(10), 3)], day(900))


async def check_untrusted_words_hold_where_nothing_else_does(make: MakeStore) -> None:
    """Tier zero fills what tier one leaves open, on both sides of it."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 9, start=day(0)), trust=Trust.EXTRACTED)
        await scene.write(scene.say("thing:a", "rate", 1, start=day(-9), end=day(10)), trust=Trust.AGENT)

        await _expect(scene, [(day(-9), 1), (day(10), 9)], day(900))


async def check_a_known_start_beats_an_unknown_one(make: MakeStore) -> None:
    """An undated assertion holds only where no dated one of its tier covers."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 1, start=day(0), end=day(20)))
        await scene.write(scene.say("thing:a", "rate", 9, start=day(10), known=False))

        await _expect(scene, [(day(0), 1), (day(20), 9)], day(900))
        (fact,) = await scene.facts("thing:a", "rate", day(30))
        assert not fact.valid_from_known


async def check_equal_starts_go_to_the_later_word(make: MakeStore) -> None:
    """Of two assertions with one start and trust the later recorded holds; within a unit, the later in it."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 1, start=day(0)))
        await scene.write(scene.say("thing:a", "rate", 2, start=day(0)))
        await _expect(scene, [(day(0), 2)], day(900))
        receipt = await scene.write(
            scene.say("thing:a", "rate", 3, start=day(0)), scene.say("thing:a", "rate", 4, start=day(0))
        )
        await _expect(scene, [(day(0), 4)], day(900))

        assert [(one.fact_id, one.held_by) for one in receipt.not_holding] == [(receipt.facts[0], receipt.facts[1])]


async def check_a_multi_valued_predicate_keeps_each_value(make: MakeStore) -> None:
    """Values of a multi-valued predicate do not displace one another; equal ones are one, however written."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("thing:a", "outcome", "late"), scene.say("thing:a", "mirror", 5))
        await scene.write(scene.say("thing:a", "outcome", "dear"), scene.say("thing:a", "mirror", 5.0))
        await scene.write(scene.link("thing:a", "uses", "thing:b"), scene.link("thing:a", "uses", "thing:c"))
        assert sorted(str(one.value and one.value.data) for one in await scene.facts("thing:a", "outcome")) == [
            "dear", "late",
        ]  # fmt: skip
        assert len(await scene.facts("thing:a", "mirror")) == 1
        assert len(await scene.facts("thing:a", "uses")) == 2

        await scene.write(scene.end(first.facts[0]))
        assert [one.value and one.value.data for one in await scene.facts("thing:a", "outcome")] == ["dear"]


async def check_many_periods_of_one_key(make: MakeStore) -> None:
    """Many short periods under one wide one, taken away again one by one, in an order of their own."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 0, start=day(0), end=day(100)))
        says = [scene.say("thing:a", "rate", n, start=day(4 * n), end=day(4 * n + 2)) for n in range(1, 24)]
        await scene.write(*says)
        left = dict(enumerate(says, 1))
        for n in (5, 23, 1, 12, 6, 7):
            await scene.write(scene.retract(left.pop(n).id))
        expected: list[tuple[Micros, Json]] = [(day(0), 0)]
        for n in left:
            expected += [(day(4 * n), n), (day(4 * n + 2), 0)]

        await _expect(scene, [*expected, (day(100), None)], day(200))


async def check_history_is_frozen(make: MakeStore) -> None:
    """What was known at an instant stays what was known at it, whatever is written later; `held` and `facts` agree."""
    async with opened(make) as scene:
        asked: dict[tuple[Micros, Micros], Json] = {}
        facts: list[str] = []
        for n in range(12):
            start = day((7 * n) % 10)
            commands = [scene.say("thing:a", "rate", n, start=start, end=day(15) if n % 3 == 0 else None)]
            receipt = await scene.write(*commands, trust=Trust.EXTRACTED if n % 4 == 1 else Trust.AGENT)
            facts += receipt.facts
            if n % 5 == 4:
                receipt = await scene.write(scene.retract(facts[n - 2]))
            assert receipt.recorded_at is not None
            known = to_micros(receipt.recorded_at)
            days = [day(one) for one in range(-1, 17)]
            held = await scene.store.held("default", [Point(facts[0], one, known) for one in days])
            for one, fact in zip(days, held, strict=True):
                asked[one, known] = fact.value.data if fact is not None and fact.value is not None else None

        for (valid_at, known_at), value in asked.items():
            assert await scene.value("thing:a", "rate", valid_at, known_at) == value


async def check_cardinality_changes_for_later_words_only(make: MakeStore) -> None:
    """A predicate that a pack later declares multi-valued keeps what was said while it was single-valued."""
    async with opened(make, words=vocabulary()) as scene:
        await scene.write(scene.say("thing:a", "tag", "one", start=day(0)))
        await scene.store.close()
        pack = load_pack('name = "p"\nversion = "1"\n[predicates.tag]\ncardinality = "multi"\n')
        scene.store = await make.again(scene.store, clock=scene.clock, ids=scene.ids, words=vocabulary([pack]))
        receipt = await scene.write(scene.say("thing:a", "tag", "two", start=day(0)))
        await scene.write(scene.say("thing:a", "tag", "three", start=day(0)))
        found = {str(one.value and one.value.data) for one in await scene.facts("thing:a", "tag")}

        assert found == {"one", "two", "three"}
        assert receipt.registered == ()
        assert (await scene.store.predicates("default"))["tag"].cardinality.value == "multi"


CHECKS = (
    check_facts_may_arrive_in_any_order,
    check_after_a_period_the_wider_one_holds_again,
    check_a_wide_late_period_goes_under_the_narrow_ones,
    check_a_retraction_brings_the_predecessor_back,
    check_an_end_leaves_nothing,
    check_only_what_holds_can_end,
    check_ending_now_is_ending_at_the_recording,
    check_untrusted_words_do_not_displace_what_people_said,
    check_untrusted_words_hold_where_nothing_else_does,
    check_a_known_start_beats_an_unknown_one,
    check_equal_starts_go_to_the_later_word,
    check_a_multi_valued_predicate_keeps_each_value,
    check_many_periods_of_one_key,
    check_history_is_frozen,
    check_cardinality_changes_for_later_words_only,
)
