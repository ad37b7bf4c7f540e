"""Filling an empty space with a history's own recorded times."""

from __future__ import annotations

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.commands import History
from latewood.graph_schema.errors import ConflictError
from latewood.graph_schema.events import Receipt
from latewood.storage.conformance.scene import MakeStore, Scene, day, opened

__all__ = ["CHECKS"]


async def _state(scene: Scene) -> tuple[str, str | None]:
    (space,) = await scene.store.spaces()
    return space.state, space.filling


async def _fill(scene: Scene, n: int, when: float, origin: str = "git:one") -> Receipt:
    said = scene.say("thing:a", "rate", n, start=day(when))
    return await scene.commit(scene.unit(said, history=History(origin, day(when))))


def _recorded(receipt: Receipt) -> int:
    assert receipt.recorded_at is not None
    return to_micros(receipt.recorded_at)


async def check_an_empty_space_takes_a_historys_times(make: MakeStore) -> None:
    """The recorded times of the history count, the wall clock is kept beside them, and as-of reads go back."""
    async with opened(make) as scene:
        receipts = [await _fill(scene, n, -100 + 10 * n) for n in range(3)]
        rows = await scene.store.feed("default", "knowledge", 0)

        assert await _state(scene) == ("filling", "git:one")
        assert [_recorded(one) for one in receipts] == [day(-100), day(-90), day(-80)]
        assert {row.written_at for row in rows} == {day(0)}
        assert await scene.value("thing:a", "rate", day(-85), day(-85)) == 1
        assert await scene.value("thing:a", "rate") == 2
        assert not any(one.late for one in receipts)
        assert (await scene.store.verify("default", "knowledge")).ok


async def check_equal_history_times_stay_in_order(make: MakeStore) -> None:
    """Where a history's times do not grow, recorded times go on by a microsecond."""
    async with opened(make) as scene:
        receipts = [await _fill(scene, n, when) for n, when in enumerate((-10, -10, -20, -5))]

        assert [_recorded(one) for one in receipts] == [day(-10), day(-10) + 1, day(-10) + 2, day(-5)]


async def check_the_first_ordinary_write_makes_a_space_live(make: MakeStore) -> None:
    """After it a history's units are late: stamped now, with the source's time kept."""
    async with opened(make) as scene:
        await _fill(scene, 1, -10)
        await scene.write(scene.say("thing:b", "rate", 1))
        assert await _state(scene) == ("live", None)
        late = await _fill(scene, 2, -5)
        facts = await scene.store.facts_by_id("default", late.facts)

        assert late.late
        assert _recorded(late) > day(0)
        source = facts[late.facts[0]].source
        source_time = None if source is None else source.source_time
        assert source_time is not None
        assert to_micros(source_time) == day(-5)
        assert (await scene.store.receipt(late.id)).late


async def check_another_history_waits(make: MakeStore) -> None:
    """While one history fills the space another is refused: stamped now, it would push the rest out of its own time."""
    async with opened(make) as scene:
        await _fill(scene, 1, -10)
        code = None
        try:
            await _fill(scene, 2, -9, "git:two")
        except ConflictError as error:
            code = error.code
        again = await _fill(scene, 3, -8)

        assert code == "space.filling"
        assert not again.late
        assert _recorded(again) < day(0)
        assert await _state(scene) == ("filling", "git:one")


async def check_a_filling_ends(make: MakeStore) -> None:
    """Its own origin ends it; another's end, or a second one, does nothing."""
    async with opened(make) as scene:
        await scene.store.finish_fill("default", "git:one")
        assert await _state(scene) == ("empty", None)
        await _fill(scene, 1, -10)
        await scene.store.finish_fill("default", "git:two")
        assert await _state(scene) == ("filling", "git:one")
        await scene.store.finish_fill("default", "git:one")
        assert await _state(scene) == ("live", None)
        await scene.store.finish_fill("default", "git:one")
        assert await _state(scene) == ("live", None)
        assert (await _fill(scene, 2, -5)).late


async def check_an_interrupted_filling_goes_on(make: MakeStore) -> None:
    """A restart in the middle changes nothing."""
    async with opened(make) as scene:
        await _fill(scene, 1, -10)
        await scene.store.close()
        scene.store = await make.again(scene.store, clock=scene.clock, ids=scene.ids, words=scene.words)
        receipt = await _fill(scene, 2, -5)

        assert not receipt.late
        assert _recorded(receipt) == day(-5)


async def check_an_end_in_a_history_is_judged_by_its_time(make: MakeStore) -> None:
    """An end without an instant means the instant that the history recorded, not the wall clock's."""
    async with opened(make) as scene:
        said = scene.say("thing:a", "rate", 1, start=day(-20), end=day(-5))
        await scene.commit(scene.unit(said, history=History("git:one", day(-20))))
        await scene.commit(scene.unit(scene.end(said.id), history=History("git:one", day(-10))))

        assert await scene.value("thing:a", "rate", day(-10) - 1) == 1
        assert await scene.value("thing:a", "rate", day(-10)) is None


async def check_a_refused_unit_does_not_begin_a_filling(make: MakeStore) -> None:
    """Only what is kept changes the state of a space."""
    async with opened(make) as scene:
        unit = scene.unit(scene.retract(scene.new_id()), history=History("git:one", day(-9)))
        await scene.refusal(unit)
        assert await _state(scene) == ("empty", None)
        await scene.refusal(scene.unit(scene.retract(scene.new_id())))
        assert await _state(scene) == ("empty", None)


CHECKS = (
    check_an_empty_space_takes_a_historys_times,
    check_equal_history_times_stay_in_order,
    check_the_first_ordinary_write_makes_a_space_live,
    check_another_history_waits,
    check_a_filling_ends,
    check_an_interrupted_filling_goes_on,
    check_an_end_in_a_history_is_judged_by_its_time,
    check_a_refused_unit_does_not_begin_a_filling,
)
