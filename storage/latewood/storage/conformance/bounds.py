"""Named limits, each met."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from latewood.graph_schema.commands import Unit
from latewood.graph_schema.errors import LimitError, NotFoundError
from latewood.storage.checking import PLACE_BYTES_MAX, WORDS_BYTES_MAX
from latewood.storage.conformance.scene import MakeStore, opened, raised
from latewood.storage.port import FACTS_MAX, IDS_MAX, PAGE_MAX, FactQuery, NodeQuery, Point, Refusal

__all__ = ["CHECKS"]

_REFUSALS_MAX = 10_000


async def _is_refused(limit: str, call: Callable[[], Awaitable[object]]) -> None:
    error = await raised(LimitError, call())
    assert error.code == "limit.exceeded"
    assert error.details["limit"] == limit


async def check_pages_are_bounded(make: MakeStore) -> None:
    """A page has 1 to PAGE_MAX rows, in every list."""
    async with opened(make) as scene:
        store = scene.store
        for first in (0, -1, PAGE_MAX + 1):
            await _is_refused("PAGE_MAX", lambda f=first: store.list_nodes("default", NodeQuery(first=f)))
            await _is_refused("PAGE_MAX", lambda f=first: store.timeline("default", ["x"], first=f))
            await _is_refused("PAGE_MAX", lambda f=first: store.changes("default", 0, 1, first=f))
            await _is_refused("PAGE_MAX", lambda f=first: store.changes("default", 0, 1, axis="valid", first=f))
            await _is_refused("PAGE_MAX", lambda f=first: store.search_text("default", "x", first=f))
            await _is_refused("PAGE_MAX", lambda f=first: store.feed("default", "knowledge", 0, f))
        assert (await store.list_nodes("default", NodeQuery(first=PAGE_MAX))).items == ()


async def check_ids_are_bounded(make: MakeStore) -> None:
    """A read takes IDS_MAX ids and refuses one more."""
    async with opened(make) as scene:
        store = scene.store
        ids = [scene.new_id() for _ in range(IDS_MAX + 1)]
        await _is_refused("IDS_MAX", lambda: store.nodes("default", ids=ids[:-1], keys=["thing:a"]))
        await _is_refused("IDS_MAX", lambda: store.facts("default", FactQuery(subjects=ids)))
        await _is_refused("IDS_MAX", lambda: store.facts("default", FactQuery(objects=ids)))
        await _is_refused("IDS_MAX", lambda: store.facts_by_id("default", ids))
        await _is_refused("IDS_MAX", lambda: store.held("default", [Point(one) for one in ids]))
        await _is_refused("IDS_MAX", lambda: store.timeline("default", ids))
        await _is_refused("IDS_MAX", lambda: store.changes("default", 0, 1, subjects=ids))

        assert await store.nodes("default", ids=ids[:-1]) == {}
        assert await store.facts("default", FactQuery(subjects=ids[:-1])) == ()
        assert await store.held("default", [Point(one) for one in ids[:-1]]) == (None,) * IDS_MAX


async def check_facts_are_bounded(make: MakeStore) -> None:
    """A read answers with FACTS_MAX facts and refuses one more, counting each fact once."""
    async with opened(make) as scene:
        for batch in range(FACTS_MAX // 1000):
            says = [scene.say("thing:a", "mirror", batch * 1000 + n) for n in range(1000)]
            await scene.commit(scene.unit(*says))
        subject = await scene.node_id("thing:a")
        query = FactQuery(subjects=[subject, subject])
        assert len(await scene.store.facts("default", query)) == FACTS_MAX
        await scene.commit(scene.unit(scene.say("thing:a", "mirror", "one more")))
        await _is_refused("FACTS_MAX", lambda: scene.store.facts("default", query))


async def check_refusals_are_bounded(make: MakeStore) -> None:
    """The oldest refusals make room for the newest."""
    async with opened(make) as scene:
        ids = [scene.new_id() for _ in range(_REFUSALS_MAX + 3)]
        for one in ids:
            await scene.store.refuse(Refusal(one, "default", "value.invalid", "agent:a", b"x", "no"))

        assert (await scene.store.receipt(ids[3])).state == "failed"
        assert (await scene.store.receipt(ids[-1])).state == "failed"
        for gone in ids[:3]:
            await raised(NotFoundError, scene.store.receipt(gone))


async def check_words_are_bounded(make: MakeStore) -> None:
    """Every text of a unit has a bound; one byte more is refused with the text's name, and nothing is kept."""
    async with opened(make) as scene:
        fact = scene.say("thing:a", "rate", 0)
        await scene.commit(scene.unit(fact))
        cases: tuple[tuple[str, int, Callable[[str], Unit]], ...] = (
            ("quote", WORDS_BYTES_MAX, lambda text: scene.unit(scene.say("thing:a", "rate", 1, quote=text))),
            ("word", WORDS_BYTES_MAX, lambda text: scene.unit(scene.say("thing:a", "rate", 2, as_written=text))),
            ("locator", PLACE_BYTES_MAX, lambda text: scene.unit(scene.say("thing:a", "rate", 3, locator=text))),
            ("origin", PLACE_BYTES_MAX, lambda text: scene.unit(scene.say("thing:a", "rate", 4), origin=text)),
            ("reason", WORDS_BYTES_MAX, lambda text: scene.unit(scene.retract(fact.id, text))),
        )
        for name, most, make_unit in cases:
            before = await scene.store.spaces()
            error = await scene.refusal(make_unit("x" * (most + 1)))
            nul = await scene.refusal(make_unit("a\0b"))

            assert (error.code, error.details["maximum"]) == ("text.too_long", most)
            assert name in error.message
            assert (nul.code, name in nul.message) == ("value.invalid", True)
            assert await scene.store.spaces() == before
            await scene.commit(make_unit("x" * most))


CHECKS = (
    check_pages_are_bounded,
    check_ids_are_bounded,
    check_facts_are_bounded,
    check_words_are_bounded,
    check_refusals_are_bounded,
)
