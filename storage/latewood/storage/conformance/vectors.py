"""Vectors: generations side by side and never mixed, kept with their facts, found exactly, gone with an erasure."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import replace

from latewood.graph_schema.clock import from_micros, to_micros
from latewood.graph_schema.commands import Erase
from latewood.graph_schema.errors import ConflictError, InvalidError, LatewoodError, LimitError, NotFoundError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.model import Trust
from latewood.storage.conformance.scene import MakeStore, Scene, at, day, opened, raised
from latewood.storage.port import Generation, Matches, Scope

__all__ = ["CHECKS", "vector"]

_SLACK = 1e-5


def vector(*numbers: float) -> bytes:
    """Write numbers as a vector of length 1."""
    length = math.sqrt(sum(number * number for number in numbers))
    return struct.pack(f"<{len(numbers)}f", *(number / length for number in numbers))


def _turned(degrees: float) -> bytes:
    return vector(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), 0.0)


async def _begin(scene: Scene, name: str = "m1", dimensions: int = 3) -> Generation:
    return await scene.store.begin_generation("default", name, model="model", dimensions=dimensions)


async def _say(scene: Scene, degrees: float, *, subject: str = "thing:a", generation: str | None = "m1") -> str:
    """Write a memory a day after the last, with its vector at so many degrees, and return its id."""
    scene.clock.advance(days=1)
    command = scene.say(subject, "mirror", f"turned by {degrees}")
    unit = replace(scene.unit(command), vectors={command.id: _turned(degrees)}, generation=generation)
    await scene.commit(unit)
    return command.id


def _same(matches: Matches, expected: Sequence[tuple[str, float]]) -> None:
    assert [one.fact for one in matches.items] == [one for one, _ in expected]
    for match, (_, degrees) in zip(matches.items, expected, strict=True):
        assert abs(match.score - math.cos(math.radians(degrees))) < _SLACK


async def _states(scene: Scene) -> list[tuple[str, str, int, int]]:
    return [(one.name, one.state, one.filled, one.missing) for one in await scene.store.generations("default")]


async def check_the_nearest_come_first(make: MakeStore) -> None:
    """Vectors written with their facts are found at once, by their cosine."""
    async with opened(make) as scene:
        made = await _begin(scene)
        a, b, c = await _say(scene, 10), await _say(scene, 80), await _say(scene, -30, subject="other:b")
        ask = scene.store.match_vector

        assert (made.state, made.filled, made.missing) == ("current", 0, 0)
        _same(await ask("default", _turned(0), "m1"), [(a, 10), (c, 30), (b, 80)])
        _same(await ask("default", _turned(90), "m1", first=1), [(b, 10)])
        _same(await ask("default", _turned(0), "m1", scope=Scope(types=["other"])), [(c, 30)])
        assert await _states(scene) == [("m1", "current", 3, 0)]


async def check_what_holds_at_the_two_clocks_is_found(make: MakeStore) -> None:
    """A retracted memory's vector stays for reads of the past; of the present it is hidden and counted."""
    async with opened(make) as scene:
        await _begin(scene)
        a, b = await _say(scene, 10), await _say(scene, 20)
        taken = await scene.write(scene.retract(a))
        assert taken.recorded_at is not None
        before = to_micros(taken.recorded_at) - 1

        now = await scene.store.match_vector("default", _turned(0), "m1")
        then = await scene.store.match_vector("default", _turned(0), "m1", at=at(None, before))
        first = await scene.store.match_vector("default", _turned(0), "m1", at=at(None, day(1.5)))
        _same(now, [(b, 20)])
        assert now.hidden == 1
        _same(then, [(a, 10), (b, 20)])
        _same(first, [(a, 10)])
        assert first.hidden == 0
        assert (await scene.store.match_vector("default", _turned(20), "m1", first=1)).hidden == 0


async def check_filling_goes_on_where_it_stopped(make: MakeStore) -> None:
    """Memories without a vector are listed in order, each until it has one; keeping one twice keeps it once."""
    async with opened(make) as scene:
        ids = [await _say(scene, n, generation=None) for n in range(5)]
        await scene.write(scene.say("thing:b", "rate", 12), scene.link("thing:b", "near", "thing:c"))
        await _begin(scene)
        store = scene.store

        page = await store.unembedded("default", "m1", limit=2)
        assert page.items == ((ids[0], "turned by 0"), (ids[1], "turned by 1"))
        assert await store.keep_vectors("default", "m1", {one: _turned(5) for one, _ in page.items}) == 2
        rest = await store.unembedded("default", "m1", after=page.next)
        assert [one for one, _ in rest.items] == ids[2:]
        assert rest.next is None
        assert (
            await store.keep_vectors("default", "m1", {ids[1]: _turned(90), ids[2]: _turned(0), "x": _turned(0)}) == 1
        )
        assert [one for one, _ in (await store.unembedded("default", "m1")).items] == ids[3:]
        (best, *_) = (await store.match_vector("default", _turned(90), "m1")).items
        assert abs(best.score - math.cos(math.radians(85))) < _SLACK, "a vector that was there was written over"
        assert await _states(scene) == [("m1", "current", 3, 2)]


async def check_generations_never_mix(make: MakeStore) -> None:
    """A new generation is filled beside the old one and switched to at once; then the old one can go."""
    async with opened(make) as scene:
        await _begin(scene)
        a = await _say(scene, 10)
        building = await _begin(scene, "m2", 4)
        again = await _begin(scene, "m2", 4)
        store, across = scene.store, vector(0, 0, 0, 1)
        assert building == again == Generation("m2", "model", 4, "building", 0, 1)
        assert (await store.match_vector("default", across, "m2")).items == ()
        assert await store.keep_vectors("default", "m2", {a: across}) == 1
        b = await _say(scene, 20, generation="m2")
        c = await _say(scene, 30)
        current = await raised(ConflictError, store.drop_generation("default", "m1"))
        switched = await store.switch_generation("default", "m2")
        d = await _say(scene, 40, generation="m1")

        assert current.code == "generation.current"
        assert (switched.state, switched.filled, switched.missing) == ("current", 1, 2)
        assert {one.fact for one in (await store.match_vector("default", _turned(0), "m1")).items} == {a, c}
        assert {one.fact for one in (await store.match_vector("default", across, "m2")).items} == {a}
        assert await _states(scene) == [("m1", "old", 2, 2), ("m2", "current", 1, 3)]
        assert [one for one, _ in (await store.unembedded("default", "m2")).items] == [b, c, d]
        await store.drop_generation("default", "m1")
        gone = await raised(NotFoundError, store.match_vector("default", _turned(0), "m1"))
        assert gone.code == "generation.unknown"
        assert await _states(scene) == [("m2", "current", 1, 3)]
        await _begin(scene)
        assert (await store.match_vector("default", _turned(0), "m1")).items == ()


async def check_a_vector_that_cannot_be_is_refused(make: MakeStore) -> None:
    """One of another length, not of length 1, or of no memory of the unit: the unit is refused, with its code."""
    async with opened(make) as scene:
        await _begin(scene)
        store = scene.store
        for bad in (vector(1, 0), struct.pack("<3f", 1, 1, 1), struct.pack("<3f", math.nan, 0, 0), bytes(12), b""):
            command = scene.say("thing:a", "mirror", "words")
            unit = replace(scene.unit(command), vectors={command.id: bad}, generation="m1")
            assert (await scene.refusal(unit)).code == "vector.invalid"
            assert (await raised(InvalidError, store.match_vector("default", bad, "m1"))).code == "vector.invalid"
            kept = store.keep_vectors("default", "m1", {command.id: bad})
            assert (await raised(InvalidError, kept)).code == "vector.invalid"
        number = scene.say("thing:a", "rate", 12)
        for fact in (number.id, scene.new_id()):
            unit = replace(scene.unit(number), vectors={fact: _turned(0)}, generation="m1")
            assert (await scene.refusal(unit)).code == "vector.invalid"
        assert (await store.match_text("default", "words")).items == ()
        assert (await raised(ConflictError, _begin(scene, "m1", 4))).code == "generation.exists"
        assert (await raised(InvalidError, _begin(scene, "m 1"))).code == "query.invalid"
        assert (await raised(InvalidError, _begin(scene, "m9", 0))).code == "vector.invalid"
        for unknown in (
            store.switch_generation("default", "x"), store.drop_generation("default", "x"),
            store.unembedded("default", "x"), store.keep_vectors("default", "x", {}),
        ):  # fmt: skip
            assert (await raised(NotFoundError, unknown)).code == "generation.unknown"
        many = {scene.new_id(): _turned(0) for _ in range(1001)}
        await raised(LimitError, store.keep_vectors("default", "m1", many))
        for name in ("m2", "m3", "m4"):
            await _begin(scene, name)
        await raised(LimitError, _begin(scene, "m5"))


async def check_an_erased_vector_is_gone(make: MakeStore) -> None:
    """With the words goes the vector, of every generation; reads of the past do not find it, nor is it counted."""
    async with opened(make) as scene:
        await _begin(scene)
        await _begin(scene, "m2")
        a, b = await _say(scene, 10), await _say(scene, 20)
        await scene.store.keep_vectors("default", "m2", {a: _turned(10), b: _turned(20)})
        scene.clock.advance(days=1)
        await scene.store.match_vector("default", _turned(0), "m1")
        erased = scene.unit(Erase(scene.new_id(), a, "asked for"), by="human:ada", trust=Trust.HUMAN)
        await scene.commit(erased)

        for name in ("m1", "m2"):
            for known_at in (None, day(2.5)):
                found = await scene.store.match_vector("default", _turned(0), name, at=at(None, known_at))
                _same(found, [(b, 20)])
                assert found.hidden == 0
        assert await scene.store.keep_vectors("default", "m1", {a: _turned(10)}) == 0
        assert (await scene.store.unembedded("default", "m1")).items == ()
        assert await _states(scene) == [("m1", "current", 1, 0), ("m2", "building", 1, 0)]


async def check_another_process_sees_them(make: MakeStore) -> None:
    """What one opening of the data writes, switches and erases shows in the other, though it searched before."""
    async with opened(make) as scene:
        await _begin(scene)
        a = await _say(scene, 10)
        other = await make.again(scene.store, clock=scene.clock, ids=scene.ids, words=scene.words)
        try:
            _same(await other.match_vector("default", _turned(0), "m1"), [(a, 10)])
            b = await _say(scene, 20)
            _same(await other.match_vector("default", _turned(0), "m1"), [(a, 10), (b, 20)])
            await _begin(scene, "m2")
            await scene.store.switch_generation("default", "m2")
            command = scene.say("thing:a", "mirror", "by the other")
            scene.clock.advance(days=1)
            unit = replace(scene.unit(command), vectors={command.id: _turned(30)}, generation="m2")
            (answer,) = await other.commit([unit])
            assert isinstance(answer, Receipt)
            _same(await scene.store.match_vector("default", _turned(0), "m2"), [(command.id, 30)])
            scene.clock.advance(days=1)
            await scene.commit(
                scene.unit(Erase(scene.new_id(), a, "asked for"), by="human:ada", trust=Trust.HUMAN)
            )  # fmt: skip
            _same(await other.match_vector("default", _turned(0), "m1"), [(b, 20)])
        finally:
            await other.close()


async def check_vectors_are_no_part_of_what_is_written(make: MakeStore) -> None:
    """The same write without its vector, or with another, is the same write; a unit that is refused leaves none."""
    async with opened(make) as scene:
        await _begin(scene)
        command = scene.say("thing:a", "mirror", "once", start=day(0))
        unit = replace(scene.unit(command, op="op-1"), vectors={command.id: _turned(10)}, generation="m1")
        first = await scene.commit(unit)
        again = await scene.commit(replace(unit, id=scene.new_id(), vectors={}, generation=None))
        bare = replace(unit, id=scene.new_id(), vectors={command.id: _turned(50)})
        third = await scene.commit(bare)
        refused = scene.say("thing:b", "mirror", "never")
        error: LatewoodError = await scene.refusal(
            replace(
                scene.unit(refused, scene.retract(scene.new_id())), vectors={refused.id: _turned(0)}, generation="m1"
            )
        )

        assert (again.replayed, third.replayed, again.id) == (True, True, first.id)
        assert error.code == "node.not_found"
        found = await scene.store.match_vector("default", _turned(0), "m1")
        _same(found, [(command.id, 10)])
        assert found.items[0].valid_from == to_micros(from_micros(day(0)))
        assert await _states(scene) == [("m1", "current", 1, 0)]


async def check_spaces_and_tenants_have_their_own(make: MakeStore) -> None:
    """A generation is a space's own, and so are its vectors; another tenant's are not met."""
    async with opened(make) as scene:
        await _begin(scene)
        await _say(scene, 10)
        await scene.store.create_space("other")
        stranger = scene.store.for_tenant("stranger")

        assert await scene.store.generations("other") == ()
        assert await stranger.generations("default") == ()
        await scene.store.begin_generation("other", "m1", model="model", dimensions=3)
        assert (await scene.store.match_vector("other", _turned(0), "m1")).items == ()
        await raised(NotFoundError, stranger.match_vector("default", _turned(0), "m1"))
        assert (await stranger.match_text("default", "turned")).items == ()
        assert (await raised(NotFoundError, scene.store.generations("none"))).code == "space.unknown"


CHECKS = (
    check_the_nearest_come_first,
    check_what_holds_at_the_two_clocks_is_found,
    check_filling_goes_on_where_it_stopped,
    check_generations_never_mix,
    check_a_vector_that_cannot_be_is_refused,
    check_an_erased_vector_is_gone,
    check_another_process_sees_them,
    check_vectors_are_no_part_of_what_is_written,
    check_spaces_and_tenants_have_their_own,
)
