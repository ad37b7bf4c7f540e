"""Search by fact: which memories match, inside which scope, at which two clocks, and what stands beside in time."""

from __future__ import annotations

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.commands import Erase
from latewood.graph_schema.errors import LimitError
from latewood.graph_schema.model import NodeKind, Trust
from latewood.storage.conformance.scene import MakeStore, Scene, at, day, opened, raised
from latewood.storage.port import EVERYTHING, Matches, Scope

__all__ = ["CHECKS"]


async def _found(
    scene: Scene, text: str, scope: Scope = EVERYTHING, valid: int | None = None, known: int | None = None
) -> set[str]:
    """Return the values of the memories that match."""
    return await _said(scene, await scene.store.match_text("default", text, scope=scope, at=at(valid, known)))


async def _said(scene: Scene, matches: Matches) -> set[str]:
    facts = await scene.store.facts_by_id("default", [one.fact for one in matches.items])
    assert len(facts) == len(matches.items), "a memory came twice"
    for one in matches.items:
        assert facts[one.fact].subject_id == one.subject
        assert to_micros(facts[one.fact].valid_from) == one.valid_from
    return {str(fact.value.data) for fact in facts.values() if fact.value is not None}


async def check_each_fact_with_words_is_a_match_of_its_own(make: MakeStore) -> None:
    """Texts and the texts of documents match, each fact for itself; names, keys and numbers do not."""
    async with opened(make) as scene:
        await scene.write(
            scene.say("granite:falcon", "motto", "granite and moss"),
            scene.say("granite:falcon", "note", "red granite"),
            scene.say("thing:b", "said", {"speaker": "Ada", "text": "I like moss"}), scene.say("thing:b", "rate", 12),
            scene.say("thing:b", "blank", "..."),
        )  # fmt: skip

        assert await _found(scene, "granite") == {"granite and moss", "red granite"}
        assert await _found(scene, "MOSS") == {"granite and moss", "{'speaker': 'Ada', 'text': 'I like moss'}"}
        assert await _found(scene, "ada") == {"{'speaker': 'Ada', 'text': 'I like moss'}"}
        assert await _found(scene, "falcon 12 ...") == set()
        best = await scene.store.match_text("default", "red granite", first=1)
        assert await _said(scene, best) == {"red granite"}
        assert best.items[0].score > 0


async def check_what_does_not_hold_is_hidden_and_counted(make: MakeStore) -> None:
    """Retracted, ended, superseded and erased memories are no matches; those known then, but erased, are counted."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("thing:a", "motto", "granite one", start=day(0)))
        await scene.write(scene.say("thing:a", "motto", "granite two", start=day(10)))
        wrong = await scene.write(scene.say("thing:b", "motto", "granite three", start=day(0)))
        taken = await scene.write(scene.retract(wrong.facts[0]))
        gone = await scene.write(scene.say("thing:c", "motto", "granite four", start=day(0)))
        scene.clock.advance(days=1)
        command = Erase(scene.new_id(), gone.facts[0], "asked for")
        await scene.commit(scene.unit(command, by="human:ada", trust=Trust.HUMAN))
        assert taken.recorded_at is not None
        assert first.recorded_at is not None
        store = scene.store

        now = await store.match_text("default", "granite", at=at(day(11)))
        assert await _said(scene, now) == {"granite two"}
        assert now.hidden == 2
        assert await _found(scene, "granite", valid=day(9)) == {"granite one"}
        before = to_micros(taken.recorded_at) - 1
        assert await _found(scene, "granite", valid=day(9), known=before) == {"granite one", "granite three"}
        then = await store.match_text("default", "granite", at=at(day(11), to_micros(first.recorded_at)))
        assert await _said(scene, then) == {"granite one"}
        assert then.hidden == 0


async def check_scopes_hold(make: MakeStore) -> None:
    """Each filter of a scope leaves out what it does not name, and filters hold together."""
    async with opened(make) as scene:
        ada = scene.say("carrier:a", "note", "granite ada", start=day(0))
        await scene.commit(scene.unit(ada, by="human:ada", session="s-1", trust=Trust.HUMAN))
        bo = scene.say("lane:b", "remark", "granite bo", start=day(5))
        await scene.commit(scene.unit(bo, by="agent:bo"))
        about = scene.link("case:c", "about", "lane:b", start=day(6))
        await scene.commit(scene.unit(about, scene.say("case:c", "text", "granite case", start=day(6)), by="agent:bo"))
        carrier, lane = await scene.node_id("carrier:a"), await scene.node_id("lane:b")
        session, person = await scene.node_id("session:s-1"), await scene.node_id("human:ada")

        for scope, expected in (
            (Scope(), "ada bo case"), (Scope(types=["carrier", "lane"]), "ada bo"), (Scope(types=[]), ""),
            (Scope(kinds=[NodeKind.ACTOR]), ""), (Scope(kinds=[NodeKind.ENTITY], types=["case"]), "case"),
            (Scope(predicates=["note", "text"]), "ada case"), (Scope(predicates=[]), ""),
            (Scope(about=[carrier]), "ada"), (Scope(about=[lane]), "bo case"), (Scope(about=[]), ""),
            (Scope(about=[lane, carrier, "nobody"], predicates=["remark"]), "bo"),
            (Scope(sessions=[session]), "ada"), (Scope(sessions=[carrier]), ""), (Scope(actors=[person]), "ada"),
            (Scope(actors=[person], sessions=[session]), "ada"), (Scope(actors=[person], about=[lane]), ""),
            (Scope(trust_min=Trust.HUMAN), "ada"), (Scope(trust_min=Trust.AGENT), "ada bo case"),
            (Scope(since=day(0), until=day(5)), "ada"), (Scope(since=day(5)), "bo case"),
            (Scope(until=day(6), types=["lane"], trust_min=Trust.UNTRUSTED), "bo"),
        ):  # fmt: skip
            words = {f"granite {word}" for word in expected.split()}
            assert await _found(scene, "granite", scope, valid=day(7)) == words, scope
        # What points at it holds only from day 6 on.
        assert await _found(scene, "granite", Scope(about=[lane]), valid=day(5)) == {"granite bo"}


async def check_a_small_scope_beside_a_large_space_loses_nothing(make: MakeStore) -> None:
    """However much else matches better, and holds, what is in the scope is found whole."""
    async with opened(make) as scene:
        for part in range(3):
            await scene.write(*(scene.say(f"thing:{part}.{n}", "motto", "granite granite") for n in range(200)))
        await scene.commit(
            scene.unit(scene.say("thing:last", "motto", "some granite among many other stones"), session="quiet")
        )
        session = await scene.node_id("session:quiet")
        scope = Scope(sessions=[session])

        found = await scene.store.match_text("default", "granite", scope=scope, first=1)
        assert await _said(scene, found) == {"some granite among many other stones"}
        assert found.hidden == 0
        assert len((await scene.store.match_text("default", "granite", first=500)).items) == 500


async def check_neighbours_in_time(make: MakeStore) -> None:
    """Around a memory stand those of its subject and predicate that hold, nearest first, those before it first."""
    async with opened(make) as scene:
        ids: list[str] = []
        for n in (3, 1, 2, 5, 4):
            receipt = await scene.write(scene.say("session:s", "mirror", f"turn {n}", start=day(n)))
            ids.append(receipt.facts[0])
        third, first, second, fifth, fourth = ids
        other = await scene.write(
            scene.say("session:s", "note", "another predicate", start=day(3)),
            scene.say("session:t", "mirror", "another session", start=day(3)), scene.say("session:s", "mirror", 7),
        )  # fmt: skip
        await scene.write(scene.retract(fourth))

        around = await scene.store.around("default", [third, first, other.facts[0], other.facts[2], "x"], each_side=2)
        assert {one: [(m.fact, m.score) for m in near] for one, near in around.items()} == {
            third: [(second, 1.0), (first, 0.5), (fifth, 1.0)], first: [(second, 1.0), (third, 0.5)],
            other.facts[0]: [],
        }  # fmt: skip
        near = (await scene.store.around("default", [third], each_side=1))[third]
        assert [one.fact for one in near] == [second, fifth]
        assert {one.subject for one in near} == {await scene.node_id("session:s")}
        assert near[0].valid_from == day(2)
        early = await scene.store.around("default", [third], each_side=5, at=at(day(3)))
        assert [one.fact for one in early[third]] == [second, first]


async def check_memories_of_one_instant_have_an_order(make: MakeStore) -> None:
    """Turns of one time stand in the order in which they were written."""
    async with opened(make) as scene:
        receipt = await scene.write(*(scene.say("session:s", "mirror", f"turn {n}", start=day(1)) for n in range(4)))
        a, b, c, d = receipt.facts

        around = await scene.store.around("default", [b, d], each_side=9)
        assert [one.fact for one in around[b]] == [a, c, d]
        assert [one.fact for one in around[d]] == [c, b, a]


async def check_questions_are_bounded(make: MakeStore) -> None:
    """No question is a syntax error, and none asks for more than its bound."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "motto", "granite"))
        for text in ('"', "*", "AND OR NOT", "granite AND (", "NEAR(", "a:b", "", "   ", "'; drop", "☃", "x " * 5000):
            await scene.store.match_text("default", text)
            await scene.store.match_text("default", text, scope=Scope(types=["thing"], since=-(2**62), until=2**62))
        assert await _found(scene, '"granite" AND (') == {"granite"}
        many = Scope(about=["x"] * 2000)
        assert (await raised(LimitError, scene.store.match_text("default", "a", scope=many))).code == "limit.exceeded"
        await raised(LimitError, scene.store.match_text("default", "a", first=0))
        await raised(LimitError, scene.store.around("default", [], each_side=0))
        await raised(LimitError, scene.store.around("default", [], each_side=1000))


CHECKS = (
    check_each_fact_with_words_is_a_match_of_its_own,
    check_what_does_not_hold_is_hidden_and_counted,
    check_scopes_hold,
    check_a_small_scope_beside_a_large_space_loses_nothing,
    check_neighbours_in_time,
    check_memories_of_one_instant_have_an_order,
    check_questions_are_bounded,
)
