"""Nodes, lists and facts as of two clocks."""

from __future__ import annotations

from latewood.graph_schema.clock import from_micros, to_micros
from latewood.graph_schema.commands import Ref
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.graph_schema.model import NodeKind
from latewood.storage.conformance.scene import MakeStore, Scene, at, day, opened, raised
from latewood.storage.port import FactQuery, NodeQuery, Point

__all__ = ["CHECKS"]


async def check_nodes_by_id_and_key(make: MakeStore) -> None:
    """Nodes come back under the id or key as asked; what is not there is left out."""
    async with opened(make) as scene:
        receipt = await scene.write(scene.say("Carrier:A", "rate", 1), scene.declare("svc:1", attributes={"a": [1]}))
        node_id = receipt.nodes["Carrier:A"]
        found = await scene.store.nodes(
            "default", ids=[node_id, scene.new_id(), "nonsense"], keys=["carrier:a", "CARRIER:A", "svc:1", "absent:1"]
        )
        node = found[node_id]

        assert set(found) == {node_id, "carrier:a", "CARRIER:A", "svc:1"}
        assert found["carrier:a"] == found["CARRIER:A"] == node
        assert (node.key, node.name, node.type, node.kind) == ("Carrier:A", "Carrier:A", "carrier", NodeKind.ENTITY)
        assert node.recorded_at == receipt.recorded_at
        assert found["svc:1"].attributes == {"a": [1]}


async def check_a_node_exists_from_its_declaration(make: MakeStore) -> None:
    """Before it was first named, a node was not known."""
    async with opened(make) as scene:
        receipt = await scene.write(scene.say("thing:a", "rate", 1, start=day(-9)))
        assert receipt.recorded_at is not None
        known = to_micros(receipt.recorded_at)
        asked = {"keys": ["thing:a"], "ids": [receipt.nodes["thing:a"]]}

        assert len(await scene.store.nodes("default", **asked, at=at(None, known))) == 2
        assert await scene.store.nodes("default", **asked, at=at(None, known - 1)) == {}
        listed = await scene.store.list_nodes("default", NodeQuery(type="thing"), at(None, known - 1))
        assert listed.items == ()


async def check_facts_of_many_subjects_are_ordered(make: MakeStore) -> None:
    """Facts come by subject, predicate and start; subjects that are not there have none."""
    async with opened(make) as scene:
        await scene.write(
            scene.say("thing:a", "outcome", "second"), scene.say("thing:a", "outcome", "first", start=day(0)),
            scene.link("thing:a", "uses", "thing:b"), scene.say("thing:b", "z", 1), scene.say("thing:b", "a", 2),
        )  # fmt: skip
        ids = [await scene.node_id("thing:a"), await scene.node_id("thing:b")]
        found = await scene.store.facts("default", FactQuery(subjects=[*reversed(ids), ids[0], scene.new_id(), "x"]))
        said = [(fact.subject_id, fact.predicate, fact.value and fact.value.data) for fact in found]
        some = await scene.store.facts("default", FactQuery(subjects=ids, predicates=["z", "uses", "unheard"]))

        assert said == [
            (ids[0], "outcome", "first"), (ids[0], "outcome", "second"), (ids[0], "uses", None), (ids[1], "a", 2),
            (ids[1], "z", 1),
        ]  # fmt: skip
        assert [fact.predicate for fact in some] == ["uses", "z"]
        assert await scene.store.facts("default", FactQuery(subjects=[])) == ()
        assert await scene.store.facts("default", FactQuery(subjects=ids, predicates=[])) == ()


async def check_facts_that_point_at_something(make: MakeStore) -> None:
    """Relations are found from their object, as of both clocks, of nodes and of facts."""
    async with opened(make) as scene:
        receipt = await scene.write(
            scene.link("thing:a", "uses", "thing:c", start=day(0), end=day(10)),
            scene.link("thing:b", "uses", "thing:c", start=day(5)),
            scene.link("thing:b", "owns", "thing:c", start=day(8)),
        )  # fmt: skip
        target = receipt.nodes["thing:c"]
        await scene.write(scene.link("thing:d", "based_on", Ref(id=receipt.facts[0])))

        async def pointing(valid: int, *predicates: str) -> list[str]:
            query = FactQuery(objects=[target], predicates=predicates or None)
            return [fact.id for fact in await scene.store.facts("default", query, at(day(valid)))]

        assert await pointing(2) == [receipt.facts[0]]
        assert await pointing(7, "uses") == list(receipt.facts[:2])
        assert set(await pointing(11)) == set(receipt.facts[1:])
        of_fact = await scene.store.facts("default", FactQuery(objects=[receipt.facts[0]]))
        assert [fact.predicate for fact in of_fact] == ["based_on"]
        await scene.write(scene.retract(receipt.facts[1]))
        assert await pointing(7, "uses") == [receipt.facts[0]]


async def check_a_single_valued_relation_follows_its_object(make: MakeStore) -> None:
    """When a single-valued relation moves, it is found from the new object and no longer from the old one."""
    async with opened(make) as scene:
        receipt = await scene.write(scene.link("thing:a", "in_session", "thing:b", start=day(0)))
        moved = await scene.write(scene.link("thing:a", "in_session", "thing:c", start=day(5)))
        old, new = receipt.nodes["thing:b"], moved.nodes["thing:c"]

        assert await scene.store.facts("default", FactQuery(objects=[old]), at(day(6))) == ()
        assert len(await scene.store.facts("default", FactQuery(objects=[new]), at(day(6)))) == 1
        assert len(await scene.store.facts("default", FactQuery(objects=[old, new]), at(day(4)))) == 1


async def check_facts_by_id_show_what_was_known(make: MakeStore) -> None:
    """Assertions of every kind are found by id once recorded; their retraction shows once it was recorded."""
    async with opened(make) as scene:
        first = await scene.write(scene.say("thing:a", "rate", 1, start=day(0)))
        fact = first.facts[0]
        ended = await scene.write(scene.end(fact, day(5), "closed"))
        taken = await scene.write(scene.retract(fact, "a slip"))
        assert first.recorded_at is not None
        assert taken.recorded_at is not None
        ids = [fact, ended.facts[0], scene.new_id(), "nonsense", first.nodes["thing:a"]]
        now = await scene.store.facts_by_id("default", ids)
        then = await scene.store.facts_by_id("default", ids, known_at=to_micros(taken.recorded_at) - 1)

        assert set(now) == {fact, ended.facts[0]}
        assert (now[fact].retired_at, now[fact].retired_reason) == (taken.recorded_at, "a slip")
        assert (now[ended.facts[0]].absent, now[ended.facts[0]].value) == (True, None)
        assert (then[fact].retired_at, then[fact].retired_reason) == (None, None)
        assert (now[fact].valid_from, now[fact].valid_to) == (then[fact].valid_from, None)
        before = await scene.store.facts_by_id("default", ids, known_at=to_micros(first.recorded_at) - 1)
        assert before == {}


async def check_many_points_at_once(make: MakeStore) -> None:
    """Each point gets its own answer, in order, each with its own two clocks."""
    async with opened(make) as scene:
        first = (await scene.write(scene.say("thing:a", "rate", 1, start=day(0)))).facts[0]
        second = await scene.write(scene.say("thing:a", "rate", 2, start=day(10)))
        other = (await scene.write(scene.say("thing:b", "rate", 3, start=day(0)))).facts[0]
        assert second.recorded_at is not None
        known = to_micros(second.recorded_at)
        points = [
            Point(first, day(20)), Point(first, day(20), known - 1), Point(first, day(20), known),
            Point(second.facts[0], day(0)), Point(first, day(0) - 1), Point(other), Point(scene.new_id()), Point("x"),
            Point(first, day(10)), Point(first, day(10) - 1),
        ]  # fmt: skip
        found = await scene.store.held("default", points)

        assert [one and one.id for one in found] == [
            second.facts[0], first, second.facts[0], first, None, other, None, None, second.facts[0], first,
        ]  # fmt: skip
        assert await scene.store.held("default", []) == ()


async def check_a_correction_shows_from_its_recording_on(make: MakeStore) -> None:
    """As known before it, the old word holds; as known from it on, the new one, in the same valid time."""
    async with opened(make) as scene:
        old = (await scene.write(scene.say("thing:a", "rate", 1, start=day(0)))).facts[0]
        new = scene.say("thing:a", "rate", 2, start=day(0), replaces=old)
        receipt = await scene.write(scene.retract(old, "slip"), new)
        assert receipt.recorded_at is not None
        known = to_micros(receipt.recorded_at)

        assert await scene.value("thing:a", "rate", day(1), known - 1) == 1
        assert await scene.value("thing:a", "rate", day(1), known) == 2
        assert await scene.value("thing:a", "rate", day(1)) == 2


async def check_a_time_to_come(make: MakeStore) -> None:
    """A fact of the future does not hold now, and holds when asked for then."""
    async with opened(make) as scene:
        await scene.write(scene.say("thing:a", "rate", 1), scene.say("thing:a", "rate", 2, start=day(400)))

        assert await scene.value("thing:a", "rate") == 1
        assert await scene.value("thing:a", "rate", day(400)) == 2
        scene.clock.advance(days=500)
        assert await scene.value("thing:a", "rate") == 2


async def _keys(scene: Scene, query: NodeQuery, valid: float | None = None, known: float | None = None) -> list[str]:
    asked = at(None if valid is None else day(valid), None if known is None else day(known))
    page = await scene.store.list_nodes("default", query, asked)
    return [node.key or node.id for node in page.items]


async def check_nodes_are_listed_in_order_of_recording(make: MakeStore) -> None:
    """Lists run by first declaration, page by page, without sources and predicates unless asked for."""
    async with opened(make) as scene:
        for n in (3, 1, 2):
            await scene.write(scene.say(f"thing:{n}", "rate", n))
        await scene.write(scene.say("other:1", "rate", 1), scene.say("thing:1", "rate", 2))
        listed = await _keys(scene, NodeQuery())
        found: list[str] = []
        after: str | None = None
        while True:
            page = await scene.store.list_nodes("default", NodeQuery(kind=NodeKind.ENTITY, first=2, after=after))
            found += [str(node.key) for node in page.items]
            after = page.next
            if after is None:
                break
            await scene.write(scene.say(f"extra:{len(found)}", "rate", 1))

        assert listed == ["agent:writer", "thing:3", "thing:1", "thing:2", "other:1"]
        page = await scene.store.list_nodes("default", NodeQuery(type="thing", first=2, newest=True))
        assert [node.key for node in page.items] == ["thing:2", "thing:1"]
        await scene.write(scene.say("thing:9", "rate", 1))
        rest = await scene.store.list_nodes("default", NodeQuery(type="thing", after=page.next, newest=True))
        assert [node.key for node in rest.items] == ["thing:3"]
        assert rest.next is None
        await raised(InvalidError, scene.store.list_nodes("default", NodeQuery(after=page.next)))
        assert found[:4] == ["thing:3", "thing:1", "thing:2", "other:1"]
        assert len(found) == len(set(found))
        assert await _keys(scene, NodeQuery(type="other")) == ["other:1"]
        assert await _keys(scene, NodeQuery(kind=NodeKind.PREDICATE)) == ["predicate:rate"]
        assert len(await _keys(scene, NodeQuery(kind=NodeKind.SOURCE))) == 1
        assert await _keys(scene, NodeQuery(kind=NodeKind.DECISION)) == []


async def check_nodes_are_found_by_what_holds_of_them(make: MakeStore) -> None:
    """A condition asks for the holding value, or with '=' for the source's own word, as of both clocks."""
    async with opened(make) as scene:
        receipt = await scene.write(
            scene.say("d:1", "status", "accepted", as_written="Final", start=day(0)),
            scene.say("d:2", "status", "accepted", start=day(0)), scene.say("d:3", "status", "proposed", start=day(0)),
            scene.say("d:1", "level", 5, unit="m", start=day(0)),
        )  # fmt: skip
        await scene.write(scene.say("d:2", "status", "rejected", start=day(10)))
        assert receipt.recorded_at is not None

        def where(*texts: str, **more: tuple[str, ...]) -> NodeQuery:
            return NodeQuery(where={"status": texts, **more})

        assert await _keys(scene, where("accepted"), 5) == ["d:1", "d:2"]
        assert await _keys(scene, where("accepted"), 11) == ["d:1"]
        assert await _keys(scene, where("accepted"), 11, 1) == ["d:1", "d:2"]
        assert await _keys(scene, where("=Final"), 5) == ["d:1"]
        assert await _keys(scene, where("=Final", "proposed"), 5) == ["d:1", "d:3"]
        assert await _keys(scene, where("Final"), 5) == []
        assert await _keys(scene, where("accepted", level=("5 m",)), 5) == ["d:1"]
        assert await _keys(scene, where(), 5) == []
        assert await _keys(scene, NodeQuery(where={}, type="d"), 5) == ["d:1", "d:2", "d:3"]


async def check_nodes_are_found_by_what_they_are_about(make: MakeStore) -> None:
    """`about` follows the edge of that name, while it holds."""
    async with opened(make) as scene:
        receipt = await scene.write(
            scene.link("d:1", "about", "thing:a", start=day(0)), scene.link("d:2", "about", "thing:b", start=day(0)),
            scene.link("d:3", "uses", "thing:a", start=day(0)),
        )  # fmt: skip
        target = receipt.nodes["thing:a"]
        await scene.write(scene.end(receipt.facts[0], day(5)))

        assert await _keys(scene, NodeQuery(about=target), 4) == ["d:1"]
        assert await _keys(scene, NodeQuery(about=target), 5) == []
        assert await _keys(scene, NodeQuery(about=scene.new_id()), 4) == []
        assert await _keys(scene, NodeQuery(about="nonsense"), 4) == []


async def check_foreign_cursors_are_refused(make: MakeStore) -> None:
    """A cursor that this list did not make is an input error."""
    async with opened(make) as scene:
        await scene.write(*(scene.say(f"thing:{n}", "rate", n) for n in range(4)))
        subject = await scene.node_id("thing:1")
        page = await scene.store.list_nodes("default", NodeQuery(first=1))
        assert page.next is not None
        for cursor in ("", "x", "&&&", "bm9uc2Vuc2U", "W10", page.next + "A", "é"):
            error = await raised(InvalidError, scene.store.list_nodes("default", NodeQuery(after=cursor)))
            assert error.code == "cursor.invalid"
        error = await raised(InvalidError, scene.store.timeline("default", [subject], after=page.next))
        assert error.code == "cursor.invalid"


async def check_near_keys_are_suggested(make: MakeStore) -> None:
    """A key's repeats come first, then what is spelled like it."""
    async with opened(make) as scene:
        await scene.write(
            *(scene.say(key, "rate", 1) for key in ("adr:12~b", "carrier:Alpha", "adr:12~a", "adr:120", "zzz:unlike"))
        )

        assert (await scene.store.near_keys("default", "ADR:12"))[:2] == ("adr:12~a", "adr:12~b")
        assert "carrier:Alpha" in await scene.store.near_keys("default", "carrier:alphax")
        assert await scene.store.near_keys("default", "qqqqqqqq") == ()
        assert len(await scene.store.near_keys("default", "adr:12", limit=1)) == 1


async def check_now_is_never_before_the_head(make: MakeStore) -> None:
    """Now is the clock, or the head where the clock went back behind it; a read without an instant takes it."""
    async with opened(make) as scene:
        scene.clock.set(from_micros(day(9)))
        assert await scene.store.now("default") == day(9)
        receipt = await scene.commit(scene.unit(scene.say("thing:a", "rate", 1)))
        assert receipt.recorded_at is not None
        scene.clock.set(from_micros(day(2)))
        assert await scene.store.now("default") == to_micros(receipt.recorded_at)
        assert await scene.value("thing:a", "rate") == 1
        await raised(NotFoundError, scene.store.now("nowhere"))


CHECKS = (
    check_nodes_by_id_and_key,
    check_a_node_exists_from_its_declaration,
    check_facts_of_many_subjects_are_ordered,
    check_facts_that_point_at_something,
    check_a_single_valued_relation_follows_its_object,
    check_facts_by_id_show_what_was_known,
    check_many_points_at_once,
    check_a_correction_shows_from_its_recording_on,
    check_a_time_to_come,
    check_nodes_are_listed_in_order_of_recording,
    check_nodes_are_found_by_what_holds_of_them,
    check_nodes_are_found_by_what_they_are_about,
    check_foreign_cursors_are_refused,
    check_near_keys_are_suggested,
    check_now_is_never_before_the_head,
)
