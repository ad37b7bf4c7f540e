"""Erasing: the words go, everywhere and of the past too; what they closed stays closed, and the chain verifies."""

from __future__ import annotations

from dataclasses import replace

from latewood.graph_schema.commands import Erase, Ref, Unit
from latewood.graph_schema.errors import LatewoodError
from latewood.graph_schema.events import EventKind, LedgerEntry, Receipt
from latewood.graph_schema.ledger import erased_seqs, verify
from latewood.graph_schema.model import ERASED_NAME, NodeKind, Trust
from latewood.graph_schema.values import canonical_json
from latewood.storage.conformance.scene import MakeStore, Scene, at, day, opened, raised
from latewood.storage.port import FactQuery, NodeQuery, Point, Refusal

__all__ = ["CHECKS"]

_WORD = "quicksilver"


async def _erase(scene: Scene, target: str, **given: str) -> Receipt:
    """Erase as a person, a day later."""
    scene.clock.advance(days=1)
    return await scene.commit(_unit(scene, target, **given))


def _unit(
    scene: Scene, target: str, *, reason: str = "asked for", by: str = "human:ada", op: str | None = None
) -> Unit:
    command = Erase(scene.new_id(), target, reason)
    return scene.unit(command, by=by, trust=Trust.HUMAN, op=op, body=[target, reason])


async def _rows(scene: Scene) -> tuple[LedgerEntry, ...]:
    return await scene.store.feed("default", "knowledge", 0, 1000)


async def _everything(scene: Scene) -> str:
    """Write out whatever any read says of the space, as known now and before."""
    store = scene.store
    found: list[object] = [await _rows(scene), await store.predicates("default")]
    found += [await store.list_nodes("default", NodeQuery(kind=kind, first=1000)) for kind in (None, *NodeKind)]
    ids = [
        node.id for kind in NodeKind for node in (await store.list_nodes("default", NodeQuery(kind, first=1000))).items
    ]
    facts = [row.event.id for row in await _rows(scene)]
    for known_at in (None, day(2), day(9)):
        found += [
            await store.timeline("default", ids, known_at=known_at, first=1000),
            await store.facts("default", FactQuery(subjects=ids), at(None, known_at)),
            await store.facts("default", FactQuery(objects=[*ids, *facts]), at(None, known_at)),
            await store.facts_by_id("default", facts, known_at=known_at),
            await store.nodes("default", ids=ids, at=at(None, known_at)),
            await store.search_text("default", _WORD, at=at(None, known_at)),
        ]
    found.append(await store.changes("default", day(-99), day(99), first=1000))
    for unit in {row.unit for row in await _rows(scene)}:
        found.append(await store.receipt(unit))
    return repr(found)


async def check_the_words_of_a_fact_are_gone(make: MakeStore) -> None:
    """Value, quote, original word, place and reason go from every read, as known before too; the header stays."""
    async with opened(make) as scene:
        said = scene.say(
            "thing:a", "note", f"{_WORD} once", start=day(-3), as_written=_WORD, quote=_WORD, locator=_WORD
        )
        first = await scene.write(said, origin=f"{_WORD}.md")
        await scene.write(scene.retract(first.facts[0], f"not {_WORD}"))
        other = await scene.write(scene.say("thing:a", "rate", 3, start=day(-2)), origin="table.csv")
        before = (await _rows(scene))[first.seq - 1]
        assert _WORD in await _everything(scene)
        receipt = await _erase(scene, first.facts[0])

        assert _WORD not in await _everything(scene)
        assert await scene.store.search_text("default", _WORD) == ()
        fact = (await scene.store.facts_by_id("default", first.facts))[first.facts[0]]
        assert fact.erased
        assert (fact.value, fact.object_id, fact.as_written, fact.source) == (None, None, None, None)
        assert (fact.predicate, fact.retired_reason) == ("note", None)
        assert fact.retired_at is not None
        rows = await _rows(scene)
        left = rows[first.seq - 1]
        assert left.erased
        assert (left.salt, left.event.payload) == (None, {})
        assert left == replace(before, event=replace(before.event, payload={}), salt=None, erased=True)
        erasure = rows[receipt.seq - 1]
        assert (erasure.event.kind, erasure.event.target) == (EventKind.ERASED, fact.id)
        assert erasure.event.payload["reason"] == "asked for"
        assert sum(row.erased for row in rows) == receipt.erased["ledger"] == len(erased_seqs(erasure.event.payload))
        assert await scene.value("thing:a", "rate") == 3
        assert not (await scene.store.facts_by_id("default", other.facts))[other.facts[0]].erased


async def check_the_chain_still_verifies(make: MakeStore) -> None:
    """The ledger verifies after an erasure, its tombstones are counted, and a new write follows the chain."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("thing:a", "note", _WORD))
        await _erase(scene, first.facts[0])
        await scene.write(scene.say("thing:a", "note", "other"))
        verdict = await scene.store.verify("default", "knowledge")
        (space,) = await scene.store.spaces()
        rows = [(row, None if row.erased else canonical_json(row.event.payload).encode()) for row in await _rows(scene)]

        assert (verdict.ok, verdict.erased) == (True, sum(row.erased for row, _ in rows))
        assert verdict.erased > 0
        assert verify(space.id, "knowledge", rows) == verdict


async def check_what_it_closed_stays_closed(make: MakeStore) -> None:
    """An erased fact goes on holding: what came before it does not come back, and an absence goes on hiding."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 1, start=day(-9)))
        second = await scene.write(scene.say("thing:a", "rate", 2, start=day(-5)))
        third = await scene.write(scene.say("thing:b", "rate", 3, start=day(-9)))
        ended = await scene.write(scene.end(third.facts[0], day(-4), _WORD))
        held = await scene.store.held("default", [Point(second.facts[0], day(-6)), Point(second.facts[0], day(-1))])
        await _erase(scene, second.facts[0])
        await _erase(scene, ended.facts[0])

        (found,) = await scene.facts("thing:a", "rate")
        assert (found.id, found.value, found.erased, found.valid_from) == (
            second.facts[0], None, True, held[1].valid_from if held[1] else None
        )  # fmt: skip
        assert await scene.value("thing:a", "rate", day(-6)) == 1
        assert await scene.facts("thing:b", "rate") == ()
        (hidden,) = await scene.store.held("default", [Point(third.facts[0])])
        assert hidden is not None
        assert (hidden.absent, hidden.erased, hidden.id) == (True, True, ended.facts[0])
        taken = await scene.write(scene.retract(second.facts[0], "never so"))
        assert await scene.value("thing:a", "rate") == 1
        assert taken.erased == {}


async def check_a_relation_follows_an_erased_one(make: MakeStore) -> None:
    """What follows an erased relation closes it as it would have closed it before: one of the two holds."""
    async with opened(make) as scene:
        first = await scene.write(scene.link("thing:a", "mirror", "thing:b", start=day(-9)))
        await _erase(scene, first.facts[0])
        second = await scene.write(scene.link("thing:a", "mirror", "thing:b", start=day(-5)))

        (found,) = await scene.facts("thing:a", "mirror")
        assert found.id == second.facts[0]
        (before,) = await scene.facts("thing:a", "mirror", day(-6))
        assert (before.id, before.erased) == (first.facts[0], True)


async def check_a_node_goes_with_everything_about_it(make: MakeStore) -> None:
    """Name, key and attributes go, every fact about it and its retraction; the id stays, as a tombstone."""
    async with opened(make) as scene:
        declared = scene.declare(f"thing:{_WORD}", attributes={"nick": _WORD})
        await scene.write(declared)
        first = await scene.write(scene.say(f"Thing:{_WORD.upper()}", "note", _WORD))
        await scene.write(scene.retract(first.facts[0], _WORD))
        await scene.write(scene.link("thing:b", "knows", f"thing:{_WORD}"))
        keeps = await scene.write(scene.say("thing:b", "note", "kept"))
        receipt = await _erase(scene, declared.id)

        assert _WORD not in (await _everything(scene)).casefold()
        node = (await scene.store.nodes("default", ids=[declared.id]))[declared.id]
        assert (node.erased, node.key, node.name, node.kind) == (True, None, ERASED_NAME, NodeKind.ENTITY)
        assert node.attributes == {}
        assert await scene.store.nodes("default", keys=[f"thing:{_WORD}"]) == {}
        assert (await scene.store.facts_by_id("default", first.facts))[first.facts[0]].erased
        assert receipt.erased["nodes"] == 1
        assert receipt.erased["receipts"] >= 2
        assert [fact.value.data for fact in await scene.facts("thing:b", "note") if fact.value] == ["kept"]
        (link,) = await scene.facts("thing:b", "knows")
        assert (link.object_id, link.erased) == (declared.id, False)
        assert (await scene.store.receipt(keeps.id)).nodes == {"thing:b": await scene.node_id("thing:b")}


async def check_the_key_of_an_erased_node_is_free(make: MakeStore) -> None:
    """Its key names a new node from then on; of the old id nothing more is said."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "note", "old"))
        old = await scene.node_id("thing:a")
        await _erase(scene, old)
        refused = [
            await scene.refusal(scene.unit(scene.say(Ref(id=old), "note", "again"))),
            await scene.refusal(scene.unit(scene.link("thing:b", "knows", Ref(id=old)))),
        ]
        await scene.write(scene.say("thing:a", "note", "new"))

        assert [error.code for error in refused] == ["content.erased", "content.erased"]
        assert await scene.node_id("thing:a") != old
        assert await scene.value("thing:a", "note") == "new"


async def check_a_source_goes_when_it_said_nothing_else(make: MakeStore) -> None:
    """A path or URL goes with the last payload that named it, not before."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("thing:a", "note", 1), origin=f"{_WORD}.pdf")
        second = await scene.write(scene.say("thing:b", "note", 2), origin=f"{_WORD}.pdf")
        await _erase(scene, first.facts[0])
        (left,) = await scene.facts("thing:b", "note")
        assert left.source is not None
        assert left.source.origin == f"{_WORD}.pdf"
        receipt = await _erase(scene, second.facts[0])

        assert _WORD not in await _everything(scene)
        assert receipt.erased["nodes"] == 1
        again = await scene.write(scene.say("thing:b", "note", 3), origin=f"{_WORD}.pdf")
        (said,) = (await scene.store.facts_by_id("default", again.facts)).values()
        assert said.source is not None
        assert said.source.origin == f"{_WORD}.pdf"


async def check_an_actor_goes_from_what_it_said(make: MakeStore) -> None:
    """The key of an erased actor is gone from the sources of its facts too; what it said stays."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "note", "said"), by=f"human:{_WORD}", trust=Trust.HUMAN)
        actor = await scene.node_id(f"human:{_WORD}")
        own = await scene.refusal(_unit(scene, actor, by=f"human:{_WORD}"))
        await _erase(scene, actor)

        assert own.code == "query.invalid"
        assert _WORD not in await _everything(scene)
        (fact,) = await scene.facts("thing:a", "note")
        assert fact.value is not None
        assert fact.value.data == "said"
        assert fact.source is not None
        assert (fact.source.origin, fact.source.actor_id) == ("", "")


async def check_an_erased_value_challenges_nobody(make: MakeStore) -> None:
    """It neither challenges what holds nor is challenged."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 1, start=day(-9)), origin="one")
        other = await scene.write(
            scene.say("thing:a", "rate", 2, start=day(-9)), origin="two", by="agent:low", trust=Trust.UNTRUSTED
        )
        (disputed,) = await scene.facts("thing:a", "rate")
        await _erase(scene, other.facts[0])
        (alone,) = await scene.facts("thing:a", "rate")
        await _erase(scene, alone.id)
        (gone,) = await scene.facts("thing:a", "rate")

        assert disputed.conflict is not None
        assert disputed.conflict.challenger_id == other.facts[0]
        assert alone.conflict is None
        assert (gone.erased, gone.conflict) == (True, None)


async def check_refusals_lose_their_words(make: MakeStore) -> None:
    """A refusal may have repeated what is erased: of those of the space only the code stays."""
    async with opened(make) as scene:
        await scene.store.create_space("other")
        refusals = [
            Refusal(scene.new_id(), space, "value.invalid", f"human:{_WORD}", b"", f"about {_WORD}")
            for space in ("default", "other")
        ]
        for refusal in refusals:
            await scene.store.refuse(refusal)
        first = await scene.write(scene.say("thing:a", "note", _WORD))
        receipt = await _erase(scene, first.facts[0])
        own, other = [await scene.store.receipt(refusal.id) for refusal in refusals]

        assert receipt.erased["refusals"] == 1
        assert (own.state, own.code) == ("failed", "value.invalid")
        assert _WORD not in (own.message or "")
        assert _WORD in (other.message or "")


async def check_the_same_key_cannot_write_it_again(make: MakeStore) -> None:
    """The unit's idempotency key gives the old receipt, without the words, and writes nothing."""
    async with opened(make) as scene:
        unit = scene.unit(scene.say(f"thing:{_WORD}", "note", _WORD), op="op-1", body=1)
        await scene.commit(unit)
        await _erase(scene, await scene.node_id(f"thing:{_WORD}"))
        again = await scene.commit(replace(unit, id=scene.new_id(), commands=unit.commands))

        assert again.replayed
        assert _WORD not in repr(again)
        assert _WORD not in await _everything(scene)


async def check_erasing_twice_is_answered(make: MakeStore) -> None:
    """A second erasure is told so; the same idempotency key gives the first receipt; what was never there is not."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("thing:a", "note", _WORD))
        node = await scene.node_id("thing:a")
        done = await _erase(scene, first.facts[0], op="erase-1")
        again = await _erase(scene, first.facts[0], op="erase-1")
        twice = await scene.refusal(_unit(scene, first.facts[0]))
        await _erase(scene, node)
        third = await scene.refusal(_unit(scene, node))
        unknown = await scene.refusal(_unit(scene, scene.new_id()))
        word = await scene.refusal(_unit(scene, f"thing:{_WORD}"))

        assert (again.id, again.replayed, again.erased) == (done.id, True, done.erased)
        assert done.erased["ledger"] > 0
        assert (twice.code, third.code, unknown.code) == ("content.erased", "content.erased", "node.not_found")
        assert _WORD not in word.message


async def check_only_a_person_erases(make: MakeStore) -> None:
    """Below the trust of a human it is refused, and so are a predicate, an empty reason, and company."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("thing:a", "note", "x"))
        predicate = await scene.node_id("predicate:note")
        command = Erase(scene.new_id(), first.facts[0], "r")
        for trust in (Trust.AGENT, Trust.EXTRACTED, Trust.UNTRUSTED):
            error = await scene.refusal(scene.unit(command, trust=trust))
            assert error.code == "erase.forbidden"
        mixed = scene.unit(command, scene.say("thing:a", "note", "y"), by="human:ada", trust=Trust.HUMAN)
        codes = [
            (await scene.refusal(_unit(scene, predicate))).code,
            (await scene.refusal(_unit(scene, first.facts[0], reason=" "))).code,
            (await scene.refusal(mixed)).code,
        ]
        crowd = [_unit(scene, first.facts[0]), scene.unit(scene.say("thing:a", "note", "z"))]
        company = await raised(LatewoodError, scene.store.commit(crowd))

        assert codes == ["query.invalid", "value.invalid", "query.invalid"]
        assert company.code == "query.invalid"
        assert await scene.value("thing:a", "note") == "x"


async def check_a_group_before_and_after(make: MakeStore) -> None:
    """What was written just before is found by an erasure, and the next write knows that the key is free."""
    async with opened(make) as scene:
        unit = scene.unit(scene.say("thing:a", "note", _WORD))
        await scene.store.commit([unit, scene.unit(scene.say("thing:b", "note", 1))])
        await _erase(scene, await scene.node_id("thing:a"))
        (answer,) = await scene.store.commit([scene.unit(scene.say("thing:a", "note", 2))])

        assert isinstance(answer, Receipt)
        assert "thing:a" in answer.declared
        assert await scene.value("thing:a", "note") == 2


async def check_another_opening_sees_it_gone(make: MakeStore) -> None:
    """Whoever has the data open as well, and has read it before, does not see the words again."""
    async with opened(make) as scene:
        first = await scene.write(scene.say(f"thing:{_WORD}", "note", _WORD))
        other = await make.again(scene.store, clock=scene.clock, ids=scene.ids, words=scene.words)
        try:
            own = Scene(make, other, scene.clock, scene.ids, scene.words, scene.names)
            assert _WORD in await _everything(own)
            await own.write(own.say(f"thing:{_WORD}", "rate", 1))
            await _erase(scene, (await scene.store.facts_by_id("default", first.facts))[first.facts[0]].subject_id)

            assert _WORD not in await _everything(own)
            written = await own.write(own.say(f"thing:{_WORD}", "rate", 2))
            assert written.declared == (f"thing:{_WORD}",)
        finally:
            await other.close()


async def check_scrubbing_can_be_asked_for_at_any_time(make: MakeStore) -> None:
    """It answers in one of its words, before, after and again."""
    async with opened(make) as scene:
        states = [(await scene.store.scrub()).state]
        first = await scene.write(scene.say("thing:a", "note", _WORD))
        await _erase(scene, first.facts[0])
        states += [(await scene.store.scrub()).state for _ in range(2)]

        assert set(states) in ({"done"}, {"beyond"})


CHECKS = (
    check_the_words_of_a_fact_are_gone,
    check_the_chain_still_verifies,
    check_what_it_closed_stays_closed,
    check_a_relation_follows_an_erased_one,
    check_a_node_goes_with_everything_about_it,
    check_the_key_of_an_erased_node_is_free,
    check_a_source_goes_when_it_said_nothing_else,
    check_an_actor_goes_from_what_it_said,
    check_an_erased_value_challenges_nobody,
    check_refusals_lose_their_words,
    check_the_same_key_cannot_write_it_again,
    check_erasing_twice_is_answered,
    check_only_a_person_erases,
    check_a_group_before_and_after,
    check_another_opening_sees_it_gone,
    check_scrubbing_can_be_asked_for_at_any_time,
)
