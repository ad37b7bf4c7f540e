"""Text search: which nodes match, not in which order."""

from __future__ import annotations

from dataclasses import replace

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.model import NodeKind
from latewood.storage.conformance.scene import MakeStore, Scene, at, day, opened

__all__ = ["CHECKS"]


async def _found(scene: Scene, text: str, valid: int | None = None, known: int | None = None) -> set[str]:
    hits = await scene.store.search_text("default", text, at=at(valid, known), first=100)
    assert len({hit.node.id for hit in hits}) == len(hits), "a node came twice"
    return {hit.node.key or hit.node.id for hit in hits}


async def check_names_keys_and_values_are_found(make: MakeStore) -> None:
    """Any of the words finds a node by its key, its name, a text or a text inside a document."""
    async with opened(make) as scene:
        await scene.write(
            scene.say("carrier:falcon", "motto", "swift and quiet"),
            scene.say("thing:b", "note", {"deep": ["otter", {"k": "quiet"}]}),
            scene.say("thing:c", "rate", 12), scene.say("thing:c", "motto", "heavy"),
        )  # fmt: skip

        assert await _found(scene, "falcon") == {"carrier:falcon"}
        assert await _found(scene, "quiet") == {"carrier:falcon", "thing:b"}
        assert await _found(scene, "otter heavy") == {"thing:b", "thing:c"}
        assert await _found(scene, "OTTER") == {"thing:b"}
        assert await _found(scene, "zebra") == set()
        (hit,) = await scene.store.search_text("default", "otter")
        assert hit.fact is not None
        assert hit.fact.predicate == "note"
        (named,) = await scene.store.search_text("default", "falcon")
        assert named.fact is None
        assert named.node.key == "carrier:falcon"


async def check_what_a_workflow_does_is_found_by_its_run(make: MakeStore) -> None:
    """A workflow's steps and tries are not found by their names, what they say is; an imported step is."""
    async with opened(make) as scene:
        placed = scene.declare("step:r/0", NodeKind.STEP, "granite", {"place": "0"})
        other = scene.declare("step:s/1", NodeKind.STEP, "granite")
        await scene.write(
            scene.declare("run:granite", NodeKind.RUN), replace(placed, name="granite"), replace(other, name="granite"),
            scene.declare("attempt:granite", NodeKind.ATTEMPT), ledger="execution",
        )  # fmt: skip
        await scene.write(scene.say("step:r/0", "step.output", "quiet otter"), ledger="execution")

        assert await _found(scene, "granite") == {"run:granite", "step:s/1"}
        assert await _found(scene, "otter") == {"step:r/0"}
        assert (await scene.store.rebuild("default", repair=False)).found == ()


async def check_only_what_holds_is_found(make: MakeStore) -> None:
    """Words of facts that do not hold at the two clocks, and nodes not yet known, find nothing."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("thing:a", "motto", "granite", start=day(0), end=day(10)))
        wrong = await scene.write(scene.say("thing:b", "motto", "basalt", start=day(0)))
        taken = await scene.write(scene.retract(wrong.facts[0]))
        ended = await scene.write(scene.say("thing:c", "motto", "marble", start=day(0)))
        await scene.write(scene.end(ended.facts[0], day(5)))
        assert first.recorded_at is not None
        assert taken.recorded_at is not None

        assert await _found(scene, "granite", day(9)) == {"thing:a"}
        assert await _found(scene, "granite", day(10)) == set()
        assert await _found(scene, "basalt", day(1)) == set()
        assert await _found(scene, "basalt", day(1), to_micros(taken.recorded_at) - 1) == {"thing:b"}
        assert await _found(scene, "marble", day(4)) == {"thing:c"}
        assert await _found(scene, "marble", day(5)) == set()
        assert await _found(scene, "granite", day(1), to_micros(first.recorded_at) - 1) == set()


async def check_a_hidden_match_takes_no_ones_place(make: MakeStore) -> None:
    """However many facts with the word do not hold, those that do are found."""
    async with opened(make) as scene:
        for n in range(30):
            gone = await scene.write(scene.say(f"thing:{n}", "motto", "granite", start=day(0)))
            await scene.write(scene.retract(gone.facts[0]))
        await scene.write(scene.say("thing:last", "motto", "some granite among other stones", start=day(0)))
        hits = await scene.store.search_text("default", "granite", first=1)

        assert [hit.node.key for hit in hits] == ["thing:last"]


async def check_kinds_are_filtered(make: MakeStore) -> None:
    """Only the asked kinds are found; predicates and sources never are."""
    async with opened(make) as scene:
        await scene.commit(
            scene.unit(scene.say("carrier:willow", "willow", "willow"), by="agent:willow", origin="willow")
        )
        every = await scene.store.search_text("default", "willow", first=100)
        actors = await scene.store.search_text("default", "willow", kinds=[NodeKind.ACTOR])
        none = await scene.store.search_text("default", "willow", kinds=[])

        assert {hit.node.key for hit in every} == {"carrier:willow", "agent:willow"}
        assert {hit.node.key for hit in actors} == {"agent:willow"}
        assert none == ()


async def check_no_question_is_a_syntax_error(make: MakeStore) -> None:
    """Quotes, operators, nothing at all and very much: search answers."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "motto", "granite"))
        for text in (
            '"',
            "*",
            "AND OR NOT",
            "granite AND (",
            "NEAR(",
            "a:b",
            "",
            "   ",
            "'; drop table x",
            "☃",
            "x " * 5000,
        ):
            await scene.store.search_text("default", text)
        assert await _found(scene, '"granite" AND (') == {"thing:a"}


CHECKS = (
    check_names_keys_and_values_are_found,
    check_what_a_workflow_does_is_found_by_its_run,
    check_only_what_holds_is_found,
    check_a_hidden_match_takes_no_ones_place,
    check_kinds_are_filtered,
    check_no_question_is_a_syntax_error,
)
