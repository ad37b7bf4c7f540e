"""Rebuilding views from the ledgers: a whole store shows no drift, and a rebuild of it changes nothing.

How to damage a store is the store's own matter, so what a rebuild mends is tested beside each.
"""

from __future__ import annotations

from latewood.graph_schema.commands import Erase, Ref
from latewood.graph_schema.errors import InvalidError, LimitError, NotFoundError
from latewood.graph_schema.model import LEDGERS, NodeKind, Trust
from latewood.storage.conformance.scene import MakeStore, Scene, day, opened, raised
from latewood.storage.port import PAGE_MAX
from latewood.storage.rebuilding import STEP_ROWS, STEP_ROWS_MAX, Place, RebuildStep, write_place

__all__ = ["CHECKS"]

_KEYS = ("thing:a", "thing:b", "thing:c", "run:1")


async def _tell(scene: Scene) -> None:
    """Write what meets every view: late and short periods, ends, corrections, erasures, both ledgers, two origins."""
    first = await scene.write(scene.say("thing:a", "rate", 1, start=day(-9), quote="as said"), origin="doc:one")
    await scene.write(scene.say("thing:a", "rate", 2, start=day(-20)), origin="doc:two")
    during = await scene.write(scene.say("thing:a", "rate", 3, start=day(-5), end=day(-3)))
    await scene.write(scene.retract(during.facts[0], "slip"), scene.say("thing:a", "rate", 4, replaces=during.facts[0]))
    await scene.write(scene.say("thing:a", "limit", 10, start=day(-9)), trust=Trust.HUMAN, by="human:ada")
    await scene.write(scene.say("thing:a", "limit", 99, start=day(-1)), trust=Trust.UNTRUSTED)
    linked = await scene.write(scene.link("thing:a", "mirror", "thing:b"), scene.say("thing:b", "motto", "quiet otter"))
    await scene.write(scene.link("thing:c", "mirror", Ref(id=linked.facts[1])))
    await scene.write(scene.end(first.facts[0], day(-7), "closed"))
    listed = {"title": "kept", "alternatives": [{"title": "sold", "rejected_because": "no buyer"}]}
    note = await scene.write(scene.say("thing:c", "choice", listed), scene.say("thing:c", "note", "for nobody's eyes"))
    await scene.write(scene.say("run:1", "rate", 5), ledger="execution")
    await scene.write(scene.declare("thing:alone", NodeKind.ENTITY))
    for target in (note.facts[1], linked.facts[0]):
        unit = scene.unit(Erase(scene.new_id(), target, "asked for"), by="human:ada", trust=Trust.HUMAN)
        await scene.commit(unit)
    await scene.write(scene.link("thing:a", "mirror", "thing:b"))
    op = scene.unit(scene.say("thing:b", "rate", 6), op="op-1", body=1)
    await scene.commit(op)


async def _rebuild(scene: Scene, *, repair: bool, limit: int = STEP_ROWS) -> list[RebuildStep]:
    steps: list[RebuildStep] = []
    after: str | None = None
    while True:
        steps.append(await scene.store.rebuild("default", after=after, limit=limit, repair=repair))
        after = steps[-1].next
        if after is None:
            return steps


async def _answers(scene: Scene) -> list[object]:
    """Read what the space holds, along both clocks, and its ledgers."""
    nodes = await scene.store.nodes("default", keys=_KEYS)
    ids = sorted(node.id for node in nodes.values())
    found: list[object] = [nodes, await scene.store.timeline("default", ids, first=PAGE_MAX)]
    found += [await scene.store.ledger_rows("default", name, 0) for name in LEDGERS]
    for known in (None, *(day(n) + 1 for n in range(12))):
        found += [await scene.facts(key, None, day(valid), known) for key in nodes for valid in (-15, -8, -4, 0, 40)]
    return [*found, {hit.node.id for hit in await scene.store.search_text("default", "otter")}]


async def check_a_whole_store_shows_no_drift(make: MakeStore) -> None:
    """Nothing differs, dry or not, whatever was said, ended, corrected and erased; and something was compared."""
    async with opened(make) as scene:
        await _tell(scene)
        for repair in (False, True):
            steps = await _rebuild(scene, repair=repair)
            assert [one for step in steps for one in step.found] == []
            assert sum(step.compared for step in steps) > 0
            assert sum(step.rows for step in steps) == steps[0].passes * sum(
                [len(await scene.store.ledger_rows("default", name, 0)) for name in LEDGERS]
            )


async def check_a_rebuild_changes_no_answer(make: MakeStore) -> None:
    """Every answer, past and present, and every ledger row is that of before."""
    async with opened(make) as scene:
        await _tell(scene)
        before = await _answers(scene)
        await _rebuild(scene, repair=True)
        assert await _answers(scene) == before


async def check_short_steps_go_on_by_cursor(make: MakeStore) -> None:
    """Steps of a few rows come to the end, and see no more than one long one."""
    async with opened(make) as scene:
        await _tell(scene)
        long = await _rebuild(scene, repair=False)
        short = await _rebuild(scene, repair=False, limit=7)
        assert [one for step in short for one in step.found] == []
        assert sum(step.rows for step in short) == sum(step.rows for step in long)
        assert sum(step.compared for step in short) == sum(step.compared for step in long)


async def check_writes_between_steps_are_kept(make: MakeStore) -> None:
    """What is written while a rebuild runs is neither lost nor taken for drift."""
    async with opened(make) as scene:
        await _tell(scene)
        after: str | None = None
        written = 0
        while True:
            step = await scene.store.rebuild("default", after=after, limit=20, repair=True)
            assert step.found == ()
            written += 1
            await scene.write(scene.say("thing:a", "rate", 100 + written), scene.say(f"thing:{written}", "note", "new"))
            after = step.next
            if after is None:
                break
        assert await scene.value("thing:a", "rate") == 100 + written
        assert [one for step in await _rebuild(scene, repair=False) for one in step.found] == []


async def check_what_cannot_be_asked_is_refused(make: MakeStore) -> None:
    """A cursor of nothing, a limit out of bounds and an unknown space have their codes."""
    async with opened(make) as scene:
        places = [Place("nodes", "no id"), Place("receipts", "knowledge:x"), Place("elsewhere"), Place("strays", "x")]
        for cursor in ("nonsense", "W10", *map(write_place, places)):
            error = await raised(InvalidError, scene.store.rebuild("default", after=cursor))
            assert error.code == "cursor.invalid", cursor
        for limit in (0, STEP_ROWS_MAX + 1):
            found = await raised(LimitError, scene.store.rebuild("default", limit=limit))
            assert found.code == "limit.exceeded"
        missing = await raised(NotFoundError, scene.store.rebuild("nowhere"))
        assert missing.code == "space.unknown"


async def check_an_empty_space_has_nothing_to_rebuild(make: MakeStore) -> None:
    """No rows, no findings, an end."""
    async with opened(make) as scene:
        steps = await _rebuild(scene, repair=True)
        assert [step.found for step in steps if step.found] == []
        assert sum(step.rows for step in steps) == 0


CHECKS = (
    check_a_whole_store_shows_no_drift,
    check_a_rebuild_changes_no_answer,
    check_short_steps_go_on_by_cursor,
    check_writes_between_steps_are_kept,
    check_what_cannot_be_asked_is_refused,
    check_an_empty_space_has_nothing_to_rebuild,
)
