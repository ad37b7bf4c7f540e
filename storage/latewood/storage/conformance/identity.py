"""Merging and splitting: what was said of two becomes what is said of one, and the past stays what it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.commands import Absorb, Carry, Command, Erase, Expect, Ref, Release
from latewood.graph_schema.errors import LatewoodError
from latewood.graph_schema.events import EventKind, Receipt
from latewood.graph_schema.identity import MERGED_INTO, MOVED_REASON
from latewood.graph_schema.model import LEDGERS, Fact, NodeKind, Trust
from latewood.storage.conformance.scene import MakeStore, Scene, at, day, opened
from latewood.storage.moving import carries_back, carries_to, claims_of
from latewood.storage.port import PAGE_MAX, FactQuery, NodeQuery
from latewood.storage.rebuilding import Drift

__all__ = ["CHECKS"]

_WORD = "quicksilver"
_BY = "human:ada"


async def _merge(scene: Scene, absorbed: str, into: str, *, by: str = _BY, trust: Trust = Trust.HUMAN) -> Receipt:
    """Merge as a person would, a day later: the fact, and all that counts of the one."""
    found = await scene.store.nodes("default", keys=[absorbed, into])
    one, other = found[absorbed].id, found[into].id
    moved = carries_to(await claims_of(scene.store, "default", one), one, other, scene.names)
    commands: list[Command] = [Absorb(scene.new_id(), Ref(id=one), Ref(id=other), "one and the same"), *moved]
    return await scene.write(*commands, by=by, trust=trust)


async def _split(scene: Scene, absorbed: str) -> Receipt:
    """Undo a merge, a day later."""
    one = await scene.node_id(absorbed)
    (fact,) = await scene.store.facts("default", FactQuery(subjects=[one], predicates=[MERGED_INTO]))
    assert fact.object_id is not None
    claims = await claims_of(scene.store, "default", fact.object_id)
    moved = await carries_back(scene.store, "default", one, claims, fact.recorded_at, scene.names)
    return await scene.write(Release(scene.new_id(), one, fact.id, "two after all"), *moved, by=_BY, trust=Trust.HUMAN)


async def _drift(scene: Scene) -> list[Drift]:
    """Return what a rebuild would mend."""
    found: list[Drift] = []
    after: str | None = None
    while True:
        step = await scene.store.rebuild("default", after=after, repair=False)
        found += step.found
        after = step.next
        if after is None:
            return found


async def _values(scene: Scene, key: str, valid: float = 40, known: float | None = None) -> dict[str, object]:
    """Return what holds of a key, by predicate; of many values all."""
    names = {node.id: node.key for node in (await scene.store.list_nodes("default", NodeQuery(first=PAGE_MAX))).items}
    found: dict[str, list[object]] = {}
    for fact in await scene.facts(key, None, day(valid), None if known is None else day(known)):
        said = names.get(fact.object_id or "") if fact.value is None else fact.value.data
        found.setdefault(fact.predicate, []).append(said)
    return {name: sorted(said, key=repr) for name, said in found.items()}


async def _answers(scene: Scene, known: Sequence[float | None], keys: Sequence[str]) -> list[object]:
    """Read what holds of *keys* and what points at them, at several instants, as known at *known*."""
    ids = [await scene.node_id(key) for key in keys]
    found: list[object] = []
    for one in known:
        for valid in (-8, -4, 0, 40):
            when = at(day(valid), None if one is None else day(one))
            queries = (FactQuery(subjects=ids), FactQuery(objects=ids), FactQuery(subjects=ids, standing=True))
            found += [await scene.store.facts("default", query, when) for query in queries]
        known_at = None if one is None else day(one)
        found.append(await scene.store.nodes("default", ids=ids, at=at(None, known_at)))
        page = await scene.store.timeline("default", ids, known_at=known_at, first=PAGE_MAX)
        found.append(page.items)
    return found


async def _story(scene: Scene) -> None:
    """Say things of two carriers that are one: values that compete, values that add up, relations both ways, ends."""
    await scene.write(scene.say("carrier:a", "rate", 1, start=day(-9)), origin="doc:one")
    await scene.write(scene.say("carrier:b", "rate", 2, start=day(-6)), origin="doc:two")
    await scene.write(scene.link("carrier:a", "mirror", "lane:x"), scene.link("carrier:b", "mirror", "lane:y"))
    linked = await scene.write(scene.link("lane:x", "served_by", "carrier:a", start=day(-9)))
    await scene.write(
        scene.link("lane:y", "served_by", "carrier:b", start=day(-9)), scene.say("carrier:a", "note", "n")
    )
    gone = await scene.write(scene.link("carrier:a", "mirror", "lane:z", start=day(-9)))
    await scene.write(scene.end(gone.facts[0], day(-2), "closed"))
    await scene.write(scene.end(linked.facts[0], day(20), "contract over"))
    slip = await scene.write(scene.say("carrier:a", "limit", 5, start=day(-9)), trust=Trust.HUMAN, by=_BY)
    await scene.write(scene.retract(slip.facts[0], "slip"), trust=Trust.HUMAN, by=_BY)


async def check_a_merge_says_of_one_what_was_said_of_two(make: MakeStore) -> None:
    """Single values compete as if said of one all along, many add up, relations lead in and out, ends stay ends."""
    async with opened(make) as scene:
        await _story(scene)
        before = await _answers(scene, [None], ["carrier:b"])
        receipt = await _merge(scene, "carrier:a", "carrier:b")

        assert await _values(scene, "carrier:a") == {MERGED_INTO: ["carrier:b"]}
        assert await _values(scene, "carrier:b") == {"rate": [2], "mirror": ["lane:x", "lane:y"], "note": ["n"]}
        assert (await _values(scene, "carrier:b", -8))["rate"] == [1]
        assert (await _values(scene, "carrier:b", -8))["mirror"] == ["lane:z"]
        assert (await _values(scene, "lane:x", 10))["served_by"] == ["carrier:b"]
        assert "served_by" not in await _values(scene, "lane:x", 40)
        assert await _answers(scene, [None], ["carrier:b"]) != before
        (fact,) = [one for one in await scene.facts("carrier:b", "rate", day(-8)) if one.value is not None]
        assert fact.source is not None
        assert (fact.source.origin, fact.trust, fact.valid_from_known) == ("doc:one", Trust.AGENT, True)
        (was,) = (await scene.store.facts_by_id("default", [fact.carried or ""])).values()
        assert (was.retired_reason, was.value) == (MOVED_REASON, fact.value)
        assert receipt.declared == ()
        assert (await scene.store.verify("default", "knowledge")).ok


async def check_two_sources_that_met_in_a_merge_disagree(make: MakeStore) -> None:
    """A conflict shows between what two origins said of what turned out to be one thing, and goes with the split."""
    async with opened(make) as scene:
        await scene.write(scene.say("carrier:a", "rate", 1, start=day(-5)), origin="doc:one")
        await scene.write(scene.say("carrier:b", "rate", 2, start=day(-5)), origin="doc:two")
        assert [one.conflict for one in await scene.facts("carrier:b", "rate")] == [None]
        await _merge(scene, "carrier:a", "carrier:b")

        (fact,) = await scene.facts("carrier:b", "rate")
        assert fact.conflict is not None
        assert fact.conflict.value is not None
        assert sorted([repr(fact.value and fact.value.data), repr(fact.conflict.value.data)]) == ["1", "2"]
        await _split(scene, "carrier:a")
        assert [one.conflict for one in await scene.facts("carrier:b", "rate")] == [None]
        assert await scene.value("carrier:a", "rate") == 1


async def check_sources_of_carried_facts_stay_apart(make: MakeStore) -> None:
    """Two origins whose claims came along in one unit disagree with each other, not with who merged them."""
    async with opened(make) as scene:
        await scene.write(scene.say("carrier:a", "rate", 1, start=day(-5)), origin="doc:one")
        await scene.write(scene.say("carrier:a", "rate", 2, start=day(-5)), origin="doc:two")
        await scene.write(scene.say("carrier:b", "note", "n"), by=_BY, trust=Trust.HUMAN)
        await _merge(scene, "carrier:a", "carrier:b")

        (fact,) = await scene.facts("carrier:b", "rate")
        assert fact.conflict is not None
        assert await _drift(scene) == []


async def check_the_past_is_as_it_was(make: MakeStore) -> None:
    """As known before the merge, while it stood and after the split, every answer stays what it was then."""
    async with opened(make) as scene:
        await _story(scene)
        keys = ["carrier:a", "carrier:b", "lane:x", "lane:y", "lane:z"]
        known = [float(n) + 0.5 for n in range(11)]
        before = await _answers(scene, known, keys)
        alone = await _values(scene, "carrier:a")
        await _merge(scene, "carrier:a", "carrier:b")
        merged = float((scene.clock.now() - day(0)) // 86_400_000_000) + 0.5
        assert await _answers(scene, known, keys) == before
        between = await _answers(scene, [merged], keys)
        together = await _values(scene, "carrier:b")
        await _split(scene, "carrier:a")

        assert await _answers(scene, known, keys) == before
        assert await _answers(scene, [merged], keys) == between
        assert await _values(scene, "carrier:a") == alone
        assert await _values(scene, "carrier:b", 40, merged) == together
        assert await _values(scene, "carrier:b") == {"rate": [2], "mirror": ["lane:y"]}
        await _merge(scene, "carrier:a", "carrier:b")
        assert await _values(scene, "carrier:b") == together


async def check_what_came_later_still_does(make: MakeStore) -> None:
    """Where a relation was restated from the same instant on, the later holds after a merge of the earlier as well."""
    async with opened(make) as scene:
        for _ in range(2):
            await scene.write(scene.say("lane:x", "note", "n"), scene.say("carrier:c", "rate", 1))
        first = scene.link("lane:x", "driver", "carrier:a", start=day(-9))
        later = scene.link("lane:x", "driver", "carrier:c", start=day(-9))
        await scene.write(replace(first, relation=False), scene.say("carrier:b", "rate", 2))
        await scene.write(replace(later, relation=False))
        assert (await _values(scene, "lane:x"))["driver"] == ["carrier:c"]
        await _merge(scene, "carrier:a", "carrier:b")
        assert (await _values(scene, "lane:x"))["driver"] == ["carrier:c"]
        await _split(scene, "carrier:a")
        assert (await _values(scene, "lane:x"))["driver"] == ["carrier:c"]

        told = (await scene.store.timeline("default", [await scene.node_id("lane:x")], ["driver"], first=99)).items
        assert len({fact.object_id for fact in told if fact.retired_at is None}) == 2


async def check_later_words_find_the_other(make: MakeStore) -> None:
    """What names the merged node by key or id, as subject or object, is written of the other one; also in one group."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("carrier:a", "rate", 1), scene.say("carrier:b", "note", "n"))
        one, other = first.nodes["carrier:a"], first.nodes["carrier:b"]
        moved = carries_to(await claims_of(scene.store, "default", one), one, other, scene.names)
        merge = scene.unit(
            Absorb(scene.new_id(), Ref(key="carrier:a"), Ref(key="carrier:b")), *moved, by=_BY, trust=Trust.HUMAN
        )
        after = scene.unit(
            scene.say("Carrier:A", "rate", 3), scene.say(Ref(id=one), "motto", "m"),
            scene.link("lane:x", "served_by", "carrier:a"),
        )  # fmt: skip
        scene.clock.advance(days=1)
        answers = await scene.store.commit([merge, after])
        assert [type(answer) for answer in answers] == [Receipt, Receipt]

        assert await _values(scene, "carrier:b") == {"rate": [3], "note": ["n"], "motto": ["m"]}
        assert await _values(scene, "lane:x") == {"served_by": ["carrier:b"]}
        assert isinstance(answers[1], Receipt)
        assert answers[1].nodes["Carrier:A"] == other
        version = (await scene.store.nodes("default", keys=["carrier:b"]))["carrier:b"].version
        expecting = scene.unit(
            scene.say("carrier:a", "rate", 4), expects=(Expect(Ref(key="carrier:a"), version),)
        )  # fmt: skip
        await scene.commit(expecting)
        assert await scene.value("carrier:b", "rate") == 4


async def check_merges_in_a_row(make: MakeStore) -> None:
    """What was merged into what was merged is found at the last, and each merge comes apart by itself."""
    async with opened(make) as scene:
        await scene.write(
            scene.say("carrier:a", "rate", 1), scene.say("carrier:b", "note", "n"), scene.say("carrier:c", "motto", "m")
        )
        await _merge(scene, "carrier:a", "carrier:b")
        await _merge(scene, "carrier:b", "carrier:c")
        await scene.write(scene.say("carrier:a", "level", 7))
        assert await _values(scene, "carrier:c") == {"rate": [1], "note": ["n"], "motto": ["m"], "level": [7]}
        error = await scene.refusal(
            scene.unit(Absorb(scene.new_id(), Ref(key="carrier:c"), Ref(key="carrier:a")), by=_BY, trust=Trust.HUMAN)
        )
        assert error.code == "merge.invalid"
        await _split(scene, "carrier:b")

        assert await _values(scene, "carrier:b") == {"rate": [1], "note": ["n"]}
        assert await _values(scene, "carrier:c") == {"motto": ["m"], "level": [7]}
        await scene.write(scene.say("carrier:a", "level", 8))
        assert await scene.value("carrier:b", "level") == 8
        await _split(scene, "carrier:a")
        assert await scene.value("carrier:a", "rate") == 1
        assert await _values(scene, "carrier:b") == {"note": ["n"], "level": [8]}


async def check_what_cannot_be_merged_is_refused(make: MakeStore) -> None:
    """Oneself, what is no entity, what was merged, by whom too little is believed: each by its code, nothing kept."""
    async with opened(make) as scene:
        for key in ("carrier:a", "carrier:b", "carrier:c"):
            await scene.write(scene.say(key, "rate", 1), scene.link(key, "mirror", "carrier:a"))
        await scene.write(scene.declare("adr:1", NodeKind.DECISION, "decision"))
        await _merge(scene, "carrier:a", "carrier:b")
        head = (await scene.store.spaces())[0].seq

        async def refused(command: Command, trust: Trust = Trust.HUMAN) -> LatewoodError:
            return await scene.refusal(scene.unit(command, by=_BY, trust=trust))

        def absorb(one: str, other: str) -> Absorb:
            return Absorb(scene.new_id(), Ref(key=one, create=False), Ref(key=other, create=False))

        one, other = await scene.node_id("carrier:a"), await scene.node_id("carrier:b")
        (merge,) = await scene.store.facts("default", FactQuery(subjects=[one], predicates=[MERGED_INTO]))
        (fact, *_) = await scene.facts("carrier:c", "rate")
        cases: list[tuple[Command, Trust, str]] = [
            (absorb("carrier:c", "carrier:c"), Trust.HUMAN, "merge.invalid"),
            (absorb("carrier:b", "carrier:a"), Trust.HUMAN, "merge.invalid"),
            (absorb("carrier:a", "carrier:c"), Trust.HUMAN, "merge.exists"),
            (absorb("adr:1", "carrier:c"), Trust.HUMAN, "merge.invalid"),
            (absorb("carrier:c", "adr:1"), Trust.HUMAN, "merge.invalid"),
            (absorb("carrier:c", "carrier:nobody"), Trust.HUMAN, "node.not_found"),
            (absorb("carrier:c", "carrier:b"), Trust.UNTRUSTED, "trust.too_low"),
            (Release(scene.new_id(), other, merge.id), Trust.HUMAN, "merge.invalid"),
            (Release(scene.new_id(), one, fact.id), Trust.HUMAN, "merge.invalid"),
            (Carry(scene.new_id(), fact.id, other, one), Trust.HUMAN, "merge.invalid"),
            (Carry(scene.new_id(), fact.id, other), Trust.UNTRUSTED, "trust.too_low"),
            (Carry(scene.new_id(), merge.id, other, other), Trust.HUMAN, "merge.invalid"),
            (scene.retract(merge.id), Trust.HUMAN, "merge.invalid"),
            (scene.end(merge.id), Trust.HUMAN, "merge.invalid"),
            (scene.link("carrier:c", MERGED_INTO, "carrier:b"), Trust.HUMAN, "merge.invalid"),
        ]  # fmt: skip
        for command, trust, code in cases:
            assert (await refused(command, trust)).code == code, command

        assert (await scene.store.spaces())[0].seq == head


async def check_erasing_takes_all_its_names(make: MakeStore) -> None:
    """Erasing what others were merged into takes them along; erasing a merged one takes what was said again."""
    for target, left in (("carrier:b", 0), ("carrier:a", 1)):
        async with opened(make) as scene:
            said = scene.say("carrier:a", "note", f"{_WORD} once", start=day(-3), quote=_WORD, as_written=_WORD)
            first = await scene.write(said, origin=f"{_WORD}.md")
            await scene.write(scene.link("carrier:a", "mirror", "lane:x"))
            ended = await scene.write(scene.say("carrier:a", "rate", 1, start=day(-9)))
            await scene.write(scene.end(ended.facts[0], day(-1), _WORD))
            await scene.write(scene.declare(f"carrier:{_WORD}"), scene.say("carrier:b", "motto", "stays"))
            await _merge(scene, f"carrier:{_WORD}", "carrier:a")
            await _merge(scene, "carrier:a", "carrier:b")
            ids = [await scene.node_id(key) for key in ("carrier:a", "carrier:b", f"carrier:{_WORD}")]
            command = Erase(scene.new_id(), await scene.node_id(target), "asked for")
            await scene.commit(scene.unit(command, by="human:bea", trust=Trust.HUMAN))

            rows = await scene.store.feed("default", "knowledge", 0, PAGE_MAX)
            everything: list[object] = [rows, await scene.store.timeline("default", ids, first=PAGE_MAX)]
            everything += [await scene.store.receipt(unit) for unit in {row.unit for row in rows}]
            everything += [
                await scene.store.nodes("default", ids=ids),
                await scene.store.facts_by_id("default", first.facts),
            ]
            everything.append(await scene.store.search_text("default", _WORD))
            assert _WORD not in repr(everything)
            assert len(await scene.facts("carrier:b", "motto") if left else ()) == left
            assert (await scene.store.verify("default", "knowledge")).ok
            assert await _drift(scene) == []


async def check_erasing_a_fact_takes_what_says_it_again(make: MakeStore) -> None:
    """The words of a fact go from before the merge when they are erased after it, and after it from before."""
    for place in (0, 1, 2):
        async with opened(make) as scene:
            first = await scene.write(scene.say("carrier:a", "note", _WORD, start=day(-9)))
            await scene.write(scene.end(first.facts[0], day(-1), _WORD), scene.say("carrier:b", "rate", 1))
            await _merge(scene, "carrier:a", "carrier:b")
            await _split(scene, "carrier:a")
            ids = [await scene.node_id(key) for key in ("carrier:a", "carrier:b")]
            said = (await scene.store.timeline("default", ids, ["note"], first=PAGE_MAX)).items
            facts: list[Fact] = [fact for fact in said if not fact.absent]
            assert len(facts) == 3
            command = Erase(scene.new_id(), facts[place].id, "asked for")
            await scene.commit(scene.unit(command, by="human:bea", trust=Trust.HUMAN))

            rows = await scene.store.feed("default", "knowledge", 0, PAGE_MAX)
            assert _WORD not in repr([rows, await scene.store.timeline("default", ids, first=PAGE_MAX)])
            assert await _drift(scene) == []


async def check_erasing_reaches_what_moved_between_the_ledgers(make: MakeStore) -> None:
    """A merge says in the knowledge ledger again what stands in that of executions: the words go from both, whichever
    fact or node is named.
    """
    for place in range(4):
        async with opened(make) as scene:
            said = scene.say("carrier:a", "note", _WORD, start=day(-9))
            first = await scene.write(said, origin=f"{_WORD}.md", ledger="execution")
            await scene.write(scene.say("carrier:b", "rate", 1), scene.say("carrier:a", "rate", 2), origin="doc:two")
            await _merge(scene, "carrier:a", "carrier:b")
            ids = [await scene.node_id(key) for key in ("carrier:a", "carrier:b")]
            (moved,) = await scene.store.facts("default", FactQuery(subjects=ids[1:], predicates=["note"]))
            assert moved.carried == first.facts[0]
            target = [first.facts[0], moved.id, *ids][place]
            for ledger in ("execution", "knowledge"):
                command = Erase(scene.new_id(), target, "asked for")
                await scene.commit(scene.unit(command, by="human:bea", trust=Trust.HUMAN, ledger=ledger))

            found: list[object] = [await scene.store.timeline("default", ids, first=PAGE_MAX)]
            found += [await scene.store.feed("default", ledger, 0, PAGE_MAX) for ledger in LEDGERS]
            found += [await scene.store.search_text("default", _WORD)]
            assert _WORD not in repr(found)
            assert [(await scene.store.verify("default", ledger)).ok for ledger in LEDGERS] == [True, True]
            assert await _drift(scene) == []


async def check_a_merged_space_comes_back_row_by_row(make: MakeStore) -> None:
    """A merge and a split leave a store and come into another with every answer, and a rebuild finds nothing."""
    async with opened(make) as scene:
        await _story(scene)
        await scene.write(Absorb(scene.new_id(), Ref(key="carrier:new name"), Ref(key="carrier:b")))
        await _merge(scene, "carrier:a", "carrier:b")
        await _split(scene, "carrier:a")
        await _merge(scene, "carrier:a", "carrier:b")
        keys = ["carrier:a", "carrier:b", "carrier:new name", "lane:x", "lane:y"]
        before = await _answers(scene, [None, 5.5, 11.5, 12.5, 13.5], keys)
        assert await _drift(scene) == []
        image = await scene.store.image("default")
        rows = {name: await scene.store.ledger_rows("default", name, 0, PAGE_MAX) for name in LEDGERS}
        await scene.store.close()
        scene.store = await make.fresh(clock=scene.clock, ids=scene.ids, words=scene.words)
        await scene.store.restore(image)
        for listed in rows.values():
            if listed:
                await scene.store.replay("default", listed)

        assert await _answers(scene, [None, 5.5, 11.5, 12.5, 13.5], keys) == before
        assert await _drift(scene) == []
        hits = await scene.store.search_text("default", "new")
        assert [hit.node.key for hit in hits] == ["carrier:new name"]
        await scene.write(scene.say("carrier:A", "level", 1))
        assert await scene.value("carrier:b", "level") == 1


async def check_standing_facts_are_all_that_count(make: MakeStore) -> None:
    """Facts asked for as standing: whatever their period, whether they hold or not, absences too, none taken back."""
    async with opened(make) as scene:
        old = await scene.write(scene.say("carrier:a", "rate", 1, start=day(-9), end=day(-8)))
        new = await scene.write(scene.say("carrier:a", "rate", 2, start=day(30)))
        gone = await scene.write(scene.say("carrier:a", "rate", 3, start=day(-7)))
        await scene.write(scene.retract(gone.facts[0]))
        ended = await scene.write(scene.end(new.facts[0], day(40)))
        link = await scene.write(scene.link("lane:x", "served_by", "carrier:a", start=day(50)))
        node = await scene.node_id("carrier:a")
        own = await scene.store.facts("default", FactQuery(subjects=[node], standing=True))
        pointing = await scene.store.facts("default", FactQuery(objects=[node], standing=True))
        then = await scene.store.facts(
            "default", FactQuery(subjects=[node], predicates=["rate"], standing=True), at(None, day(3.5))
        )
        none = await scene.store.facts("default", FactQuery(subjects=[node], predicates=["x"], standing=True))

        assert [one.id for one in own] == [old.facts[0], new.facts[0], ended.facts[0]]
        assert [one.ends for one in own] == [None, None, new.facts[0]]
        assert [one.id for one in pointing] == [link.facts[0]]
        assert [one.id for one in then] == [old.facts[0], gone.facts[0], new.facts[0]]
        assert none == ()
        assert all(to_micros(one.recorded_at) for one in own)
        kinds = {row.event.kind for row in await scene.store.feed("default", "knowledge", 0, PAGE_MAX)}
        assert EventKind.ABSENT in kinds


CHECKS = (
    check_a_merge_says_of_one_what_was_said_of_two,
    check_two_sources_that_met_in_a_merge_disagree,
    check_sources_of_carried_facts_stay_apart,
    check_the_past_is_as_it_was,
    check_what_came_later_still_does,
    check_later_words_find_the_other,
    check_merges_in_a_row,
    check_what_cannot_be_merged_is_refused,
    check_erasing_takes_all_its_names,
    check_erasing_a_fact_takes_what_says_it_again,
    check_erasing_reaches_what_moved_between_the_ledgers,
    check_a_merged_space_comes_back_row_by_row,
    check_standing_facts_are_all_that_count,
)
