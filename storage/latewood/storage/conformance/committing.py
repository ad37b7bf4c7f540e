"""Units: whole or not at all, in order, each with its own recorded time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.commands import Expect, Ref
from latewood.graph_schema.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    LatewoodError,
    LimitError,
    NotFoundError,
)
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.model import LEDGERS, NodeKind, Trust
from latewood.graph_schema.values import Value
from latewood.storage.conformance.scene import MakeStore, at, day, opened
from latewood.storage.port import FactQuery, NodeQuery

__all__ = ["CHECKS"]


async def check_a_kept_unit_is_read_at_once(make: MakeStore) -> None:
    """What is acknowledged is in the current answer, with everything that was said of it."""
    async with opened(make) as scene:
        said = scene.say("carrier:A", "rate", 0.81, start=day(-3), end=day(9), unit="1", as_written="81 %", quote="q",
                         locator="line 4")  # fmt: skip
        unit = scene.unit(said, by="agent:planner", session="s-12", origin="report.md", on_behalf_of="human:ada")
        receipt = await scene.commit(unit)
        (fact,) = await scene.facts("carrier:A")

        assert fact.id == said.id
        assert receipt.facts == (said.id,)
        assert fact.value == Value("float", 0.81, "1")
        assert (to_micros(fact.valid_from), fact.valid_to is not None) == (day(-3), True)
        assert fact.recorded_at == receipt.recorded_at
        assert fact.source is not None
        assert (fact.as_written, fact.source.quote, fact.source.locator) == ("81 %", "q", "line 4")
        assert (fact.source.origin, fact.source.method) == ("report.md", "asserted")
        nodes = await scene.store.nodes("default", keys=["agent:planner", "human:ada", "session:s-12"])
        assert fact.source.actor_id == nodes["agent:planner"].id
        assert fact.source.on_behalf_of == nodes["human:ada"].id
        assert fact.source.session_id == nodes["session:s-12"].id
        assert nodes["agent:planner"].kind is NodeKind.ACTOR


async def check_values_come_back_as_they_were_given(make: MakeStore) -> None:
    """Every kind of value survives, with its unit."""
    async with opened(make) as scene:
        given = [
            Value.of("naïve ☃ \U0001f680"), Value.of(10**30), Value.of(True), Value.of(-0.25, "ms"),
            Value.of({"a": [1, None, {"b": "ü"}], "z": 1.5}), Value.of([]), Value.of(""), Value.of(0),
        ]  # fmt: skip
        says = [replace(scene.say("thing:a", f"p{place}", 0), value=one) for place, one in enumerate(given)]
        await scene.write(*says)
        found = {fact.predicate: fact.value for fact in await scene.facts("thing:a")}

        assert found == {f"p{place}": one for place, one in enumerate(given)}
        assert type(found["p2"].data if found["p2"] else None) is bool


async def check_a_refused_unit_leaves_no_trace(make: MakeStore) -> None:
    """Neither nodes nor facts nor ledger rows of a unit remain when its last command is refused."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 1))
        before = await scene.store.spaces()
        unit = scene.unit(scene.say("thing:new", "fresh", 1), scene.retract(scene.new_id()), op="once")
        error = await scene.refusal(unit)

        assert isinstance(error, NotFoundError)
        assert error.code == "node.not_found"
        assert await scene.store.spaces() == before
        assert await scene.store.nodes("default", keys=["thing:new"]) == {}
        assert "fresh" not in await scene.store.predicates("default")
        again = await scene.commit(scene.unit(scene.say("thing:new", "fresh", 2), op="once"))
        assert not again.replayed


async def check_neighbours_of_a_refused_unit_are_kept(make: MakeStore) -> None:
    """A group answers in order; what is refused does not fail the others, and later ones see earlier ones."""
    async with opened(make) as scene:
        good, late = scene.say("thing:a", "rate", 1), scene.say("thing:b", "rate", 2)
        units = [
            scene.unit(good),
            scene.unit(scene.end(scene.new_id())),
            scene.unit(late),
            scene.unit(scene.retract(good.id)),
            scene.unit(scene.say("thing:c", "rate", 1), space="nowhere"),
        ]
        answers = await scene.store.commit(units)

        assert [isinstance(answer, Receipt) for answer in answers] == [True, False, True, True, False]
        assert [answer.id for answer in answers if isinstance(answer, Receipt)] == [
            units[0].id, units[2].id, units[3].id,
        ]  # fmt: skip
        assert isinstance(answers[4], LatewoodError)
        assert answers[4].code == "space.unknown"
        assert await scene.value("thing:a", "rate") is None
        assert await scene.value("thing:b", "rate") == 2
        assert await scene.store.commit([]) == ()


async def check_recorded_time_only_grows(make: MakeStore) -> None:
    """Each unit has its own recorded time, after the one before it, though the clock stands still or goes back."""
    async with opened(make) as scene:
        answers = list(await scene.store.commit([scene.unit(scene.say("thing:a", "rate", n)) for n in range(3)]))
        scene.clock.advance(days=-5)
        answers += await scene.store.commit([scene.unit(scene.say("thing:a", "rate", 3))])
        scene.clock.advance(days=9)
        answers += await scene.store.commit([scene.unit(scene.say("thing:a", "rate", 4))])
        receipts = [answer for answer in answers if isinstance(answer, Receipt) and answer.recorded_at is not None]
        times = [to_micros(one.recorded_at) for one in receipts if one.recorded_at is not None]

        assert times == [day(0), day(0) + 1, day(0) + 2, day(0) + 3, day(4)]
        assert await scene.value("thing:a", "rate") == 4
        assert await scene.value("thing:a", "rate", known_at=times[1], valid_at=times[1]) == 1


async def check_times_of_both_ledgers_are_one_order(make: MakeStore) -> None:
    """A unit of one ledger is recorded after what the other had already: what was known then stays what it was."""
    async with opened(make) as scene:
        scene.clock.advance(days=1)
        ahead = await scene.commit(scene.unit(scene.say("run:1", "state", "begun"), ledger="execution"))
        scene.clock.advance(days=-1)
        await scene.commit(scene.unit(scene.say("thing:a", "rate", 1)))
        answers = await scene.store.commit([
            scene.unit(scene.say("thing:a", "rate", 2)),
            scene.unit(scene.say("run:1", "state", "done"), ledger="execution"),
        ])  # fmt: skip
        times = [to_micros(one.recorded_at) for one in answers if isinstance(one, Receipt) and one.recorded_at]

        assert ahead.recorded_at is not None
        assert times == [day(1) + 2, day(1) + 3]
        assert await scene.value("thing:a", "rate", known_at=to_micros(ahead.recorded_at)) is None
        assert (await scene.value("thing:a", "rate"), await scene.value("run:1", "state")) == (2, "done")


async def check_acknowledged_is_current_when_the_clock_goes_back(make: MakeStore) -> None:
    """Now is the later of the clock and the head, so a write is in the current answer whatever the clock says."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 1))
        scene.clock.advance(days=-100)
        receipt = await scene.commit(scene.unit(scene.say("thing:a", "rate", 2)))

        assert await scene.value("thing:a", "rate") == 2
        assert receipt.not_holding == ()


async def check_an_unchanged_node_is_required(make: MakeStore) -> None:
    """An expected version lets a unit through only while the node has not moved."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("thing:a", "rate", 1))
        node = (await scene.store.nodes("default", keys=["thing:a"]))["thing:a"]
        assert node.version == first.seq
        expects = (Expect(Ref(key="thing:a"), node.version),)
        await scene.commit(scene.unit(scene.say("thing:a", "rate", 2), expects=expects))
        error = await scene.refusal(scene.unit(scene.say("thing:a", "rate", 3), expects=expects))
        by_id = await scene.refusal(
            scene.unit(scene.say("thing:a", "rate", 3), expects=(Expect(Ref(id=node.id), node.version),))
        )
        new = scene.unit(scene.say("thing:n", "rate", 1), expects=(Expect(Ref(key="thing:n"), 0),))
        await scene.commit(new)
        taken = await scene.refusal(
            scene.unit(scene.say("thing:n", "rate", 1), expects=(Expect(Ref(key="thing:n"), 0),))
        )

        assert isinstance(error, ConflictError)
        assert {error.code, by_id.code, taken.code} == {"version.conflict"}
        assert await scene.value("thing:a", "rate") == 2


async def check_expected_versions_let_one_of_two_writers_through(make: MakeStore) -> None:
    """Of units that expect the same version, in one group or at once, exactly one is kept."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("thing:a", "count", 0))
        version = first.seq
        units = [
            scene.unit(scene.say("thing:a", "count", n), expects=(Expect(Ref(key="thing:a"), version),))
            for n in range(1, 9)
        ]
        answers = await asyncio.gather(*(scene.store.commit(units[n : n + 2]) for n in range(0, 8, 2)))
        kept = [one for answer in answers for one in answer if isinstance(one, Receipt)]

        assert len(kept) == 1


async def check_a_relation_touches_only_its_subject(make: MakeStore) -> None:
    """A node's version is the seq of the last event about it; being pointed at does not move it."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:b", "rate", 1))
        before = (await scene.store.nodes("default", keys=["thing:b"]))["thing:b"].version
        receipt = await scene.write(scene.link("thing:a", "uses", "thing:b"))
        nodes = await scene.store.nodes("default", keys=["thing:a", "thing:b"])
        fact = receipt.facts[0]
        ended = await scene.write(scene.end(fact))
        retracted = await scene.write(scene.retract(ended.facts[0]))

        assert nodes["thing:b"].version == before
        assert nodes["thing:a"].version == receipt.seq
        assert (await scene.store.nodes("default", keys=["thing:a"]))["thing:a"].version == retracted.seq


async def check_malformed_commands_are_refused_by_name(make: MakeStore) -> None:
    """Each malformed unit is refused with its code, as its caller's fault."""
    async with opened(make) as scene:
        receipt = await scene.write(scene.say("thing:a", "rate", 1), scene.declare("thing:d"))
        fact, taken = receipt.facts[0], receipt.nodes["thing:d"]
        await scene.write(scene.retract(fact))
        both = replace(scene.say("thing:a", "rate", 1), object=Ref(key="thing:b"))
        neither = replace(scene.say("thing:a", "rate", 1), value=None)
        cases = {
            "query.invalid": [scene.unit(both), scene.unit(neither), scene.unit(scene.say(Ref(), "rate", 1)),
                              scene.unit(replace(scene.declare("thing:e"), id="not an id")),
                              scene.unit(scene.say("thing:a", "rate", 1), op="")],
            "period.empty": [scene.unit(scene.say("thing:a", "rate", 1, start=day(5), end=day(5))),
                             scene.unit(scene.say("thing:a", "rate", 1, end=day(-1)))],
            "node.not_found": [scene.unit(scene.say(Ref(id=scene.new_id()), "rate", 1)),
                               scene.unit(scene.say(Ref(id="nonsense"), "rate", 1)),
                               scene.unit(scene.say(Ref(key="thing:absent", create=False), "rate", 1)),
                               scene.unit(scene.link("thing:a", "uses", Ref(id=scene.new_id()))),
                               scene.unit(scene.end("nonsense")), scene.unit(scene.retract(scene.new_id()))],
            "fact.retracted": [scene.unit(scene.retract(fact)), scene.unit(scene.end(fact))],
            "key.taken": [scene.unit(scene.declare("thing:D")),
                          scene.unit(replace(scene.declare("thing:e"), id=taken))],
            "value.invalid": [scene.unit(scene.say("thing:a", "not a predicate", 1)),
                              scene.unit(scene.say("  ", "rate", 1))],
            "text.too_long": [scene.unit(scene.say("k" * 600, "rate", 1))],
        }  # fmt: skip
        for code, units in cases.items():
            for unit in units:
                error = await scene.refusal(unit)
                assert error.code == code, f"{unit.commands} gave {error.code}, not {code}: {error}"
                assert error.branch == "refused"


async def check_a_fact_cannot_be_a_subject(make: MakeStore) -> None:
    """Only nodes have facts; a fact may be pointed at."""
    async with opened(make) as scene:
        receipt = await scene.write(scene.say("thing:a", "rate", 1))
        fact = receipt.facts[0]
        error = await scene.refusal(scene.unit(scene.say(Ref(id=fact), "rate", 1)))
        link = scene.link("thing:b", "based_on", Ref(id=fact))
        await scene.write(link)
        pointing = await scene.store.facts("default", FactQuery(objects=[fact]))

        assert isinstance(error, NotFoundError)
        assert [(one.id, one.object_id) for one in pointing] == [(link.id, fact)]


async def check_a_strict_space_takes_only_known_predicates(make: MakeStore) -> None:
    """A strict space refuses what no pack declares; a free one registers it and says so."""
    async with opened(make) as scene:
        await scene.store.create_space("strict", strict=True)
        error = await scene.refusal(scene.unit(scene.say("thing:a", "unheard", 1), space="strict"))
        packed = await scene.commit(scene.unit(scene.say("thing:a", "limit", 1, start=day(0)), space="strict"))
        free = await scene.commit(
            scene.unit(scene.say("thing:a", "unheard", 1), scene.link("thing:a", "unheard_link", "thing:b"))
        )
        repeated = await scene.commit(scene.unit(scene.say("thing:a", "unheard", 2)))
        in_use = await scene.store.predicates("default")

        assert error.code == "predicate.unknown"
        assert packed.registered == ()
        assert free.registered == ("unheard", "unheard_link")
        assert repeated.registered == ()
        assert [in_use["unheard"].cardinality.value, in_use["unheard_link"].cardinality.value] == ["single", "multi"]
        assert in_use["unheard_link"].relation


async def check_one_thing_twice_in_a_unit_is_one_node(make: MakeStore) -> None:
    """Keys are the same after normalisation, within a unit and across units."""
    async with opened(make) as scene:
        receipt = await scene.write(
            scene.say("Carrier:A", "rate", 1),
            scene.say("carrier:a ", "size", 2),
            scene.link("x:1", "uses", "CARRIER:A"),
        )
        later = await scene.write(scene.say("carrier:\uff21", "rate", 3))
        listed = await scene.store.list_nodes("default", NodeQuery(kind=NodeKind.ENTITY))

        assert [node.key for node in listed.items] == ["Carrier:A", "x:1"]
        assert len(set(receipt.nodes.values())) == 2
        assert set(later.nodes.values()) == {receipt.nodes["Carrier:A"]}
        assert receipt.declared == ("agent:writer", "Carrier:A", "x:1")
        assert later.declared == ()


async def check_a_unit_is_bounded(make: MakeStore) -> None:
    """A thousand commands fit into a unit, one more does not."""
    async with opened(make) as scene:
        says = [scene.say(f"thing:{n}", "rate", n) for n in range(1001)]
        error = await scene.refusal(scene.unit(*says))
        receipt = await scene.commit(scene.unit(*says[:1000]))

        assert isinstance(error, LimitError)
        assert error.details["limit"] == "COMMANDS_MAX"
        assert len(receipt.facts) == 1000


async def check_a_correction_is_one_unit(make: MakeStore) -> None:
    """A correction retracts and asserts in the same instant, and each names the other."""
    async with opened(make) as scene:
        first = (await scene.write(scene.say("thing:a", "rate", 1, start=day(0)))).facts[0]
        new = scene.say("thing:a", "rate", 2, start=day(0), replaces=first)
        receipt = await scene.write(scene.retract(first, "typing error"), new)
        known = await scene.store.facts_by_id("default", [first, new.id])

        assert known[new.id].replaces == first
        assert known[first].retired_at == known[new.id].recorded_at == receipt.recorded_at
        assert known[first].retired_reason == "typing error"
        assert await scene.value("thing:a", "rate") == 2


async def check_higher_tiers_are_not_undone(make: MakeStore) -> None:
    """What was said at or above a predicate's authority cannot be taken back from below it; a challenger may speak."""
    async with opened(make) as scene:
        said = scene.say("thing:a", "limit", 10, start=day(0))
        await scene.write(said, by="human:ada", trust=Trust.HUMAN)
        error = await scene.refusal(scene.unit(scene.retract(said.id), trust=Trust.AGENT))
        receipt = await scene.write(scene.say("thing:a", "limit", 99, start=day(1)), trust=Trust.AGENT)
        (fact,) = await scene.facts("thing:a", "limit")

        assert isinstance(error, ForbiddenError)
        assert error.code == "trust.too_low"
        assert fact.id == said.id
        assert fact.conflict is not None
        assert fact.conflict.challenger_id == receipt.facts[0]
        assert [(one.held_by, one.valid_to) for one in receipt.not_holding] == [(said.id, None)]
        await scene.write(scene.retract(said.id), trust=Trust.HUMAN)
        assert await scene.value("thing:a", "limit") == 99


async def check_both_ledgers_have_their_own_count_and_chain(make: MakeStore) -> None:
    """Units of the two ledgers count for themselves; both are read together, and a diff is of knowledge alone."""
    async with opened(make) as scene:
        scene.clock.advance(days=1)
        await scene.commit(scene.unit(scene.say("thing:a", "rate", 1), scene.say("thing:a", "size", 1)))
        run = await scene.commit(scene.unit(scene.say("run:1", "state", "done"), ledger="execution"))
        (space,) = await scene.store.spaces()
        verdicts = [await scene.store.verify("default", ledger) for ledger in LEDGERS]
        changed = await scene.store.changes("default", day(0), day(9))
        begun = await scene.store.changes("default", day(0), day(9), axis="valid")

        assert run.ledger == "execution"
        assert space.seq["execution"] == run.seq
        assert space.seq["knowledge"] > 0
        assert all(verdict.ok for verdict in verdicts)
        assert [verdict.rows for verdict in verdicts] == [space.seq["knowledge"], space.seq["execution"]]
        assert await scene.value("run:1", "state") == "done"
        assert {one.fact.predicate for one in changed.items} == {"rate", "size"}
        assert {one.fact.predicate for one in begun.items} == {"rate", "size"}
        known = at(day(1) + 1, day(1) + 1)
        (fact,) = await scene.store.facts("default", FactQuery(subjects=[run.nodes["run:1"]]), known)
        assert isinstance(fact.value, Value)


async def check_an_id_is_used_once(make: MakeStore) -> None:
    """An id that stands for a fact, a node or a unit is refused for another, in a group as across groups."""
    async with opened(make) as scene:
        said = scene.say("thing:a", "rate", 1)
        node = scene.declare("thing:b")
        first = scene.unit(said, node)
        await scene.commit(first)
        seqs = [space.seq for space in await scene.store.spaces()]
        again = [
            scene.unit(replace(scene.say("thing:a", "rate", 2), id=said.id)),
            scene.unit(replace(scene.say("thing:a", "rate", 2), id=node.id)),
            scene.unit(replace(scene.end(said.id), id=said.id)),
            scene.unit(replace(scene.declare("thing:c"), id=said.id)),
            replace(scene.unit(scene.say("thing:a", "rate", 2)), id=first.id),
        ]
        answers = [*await scene.store.commit(again), *[await scene.refusal(one) for one in again]]
        fresh = scene.unit(scene.say("thing:a", "size", 1))
        kept, *others = await scene.store.commit([
            fresh, replace(fresh, commands=(scene.say("thing:a", "size", 2),)),
            scene.unit(replace(scene.say("thing:a", "size", 3), id=fresh.commands[0].id)),
        ])  # fmt: skip

        for answer in (*answers, *others):
            assert isinstance(answer, ConflictError), answer
            assert answer.code == "key.taken"
        assert isinstance(kept, Receipt)
        assert [space.seq["knowledge"] - seq["knowledge"] for space, seq in
                zip(await scene.store.spaces(), seqs, strict=True)] == [2]  # fmt: skip
        assert (await scene.value("thing:a", "rate"), await scene.value("thing:a", "size")) == (1, 1)
        assert (await scene.store.receipt(first.id)).facts == (said.id,)


async def check_a_bad_period_is_an_input_error(make: MakeStore) -> None:
    """The message of an empty period names both ends."""
    async with opened(make) as scene:
        error = await scene.refusal(scene.unit(scene.say("thing:a", "rate", 1, start=day(2), end=day(1))))

        assert isinstance(error, InvalidError)
        assert "2026-01-03" in error.message
        assert "2026-01-02" in error.message


CHECKS = (
    check_a_kept_unit_is_read_at_once,
    check_values_come_back_as_they_were_given,
    check_a_refused_unit_leaves_no_trace,
    check_neighbours_of_a_refused_unit_are_kept,
    check_recorded_time_only_grows,
    check_times_of_both_ledgers_are_one_order,
    check_acknowledged_is_current_when_the_clock_goes_back,
    check_an_unchanged_node_is_required,
    check_expected_versions_let_one_of_two_writers_through,
    check_a_relation_touches_only_its_subject,
    check_malformed_commands_are_refused_by_name,
    check_a_fact_cannot_be_a_subject,
    check_a_strict_space_takes_only_known_predicates,
    check_one_thing_twice_in_a_unit_is_one_node,
    check_a_unit_is_bounded,
    check_a_correction_is_one_unit,
    check_higher_tiers_are_not_undone,
    check_both_ledgers_have_their_own_count_and_chain,
    check_an_id_is_used_once,
    check_a_bad_period_is_an_input_error,
)
