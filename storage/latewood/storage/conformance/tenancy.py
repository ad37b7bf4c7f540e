"""Spaces and tenants: nothing leaks, and unknown names are helped along."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from latewood.graph_schema.errors import ConflictError, InvalidError, NotFoundError
from latewood.graph_schema.events import Receipt
from latewood.storage.conformance.scene import MakeStore, opened, raised
from latewood.storage.port import FactQuery, GraphStore, Lease, NodeQuery, Point, Refusal

__all__ = ["CHECKS"]


async def check_every_tenant_has_a_default_space(make: MakeStore) -> None:
    """The space `default` is there from the start, whatever is asked of it first."""
    async with opened(make) as scene:
        first_words: list[Callable[[GraphStore], Awaitable[object]]] = [
            lambda store: store.nodes("default", keys=["thing:a"]),
            lambda store: store.acquire("default", "job", "a", 5),
            lambda store: store.finish_fill("default", "x"),
            lambda store: store.verify("default", "knowledge"),
            lambda store: store.wait("default", "knowledge", 0, 0),
            lambda store: store.commit([scene.unit(scene.say("thing:a", "rate", 1))]),
        ]
        for number, ask in enumerate(first_words):
            store = scene.store.for_tenant(f"guest-{number}")
            await ask(store)
            assert [space.name for space in await store.spaces()] == ["default"]
        (space,) = await scene.store.spaces()

        assert (space.name, space.state, space.strict, space.nodes) == ("default", "empty", False, 0)
        assert dict(space.seq) == {"knowledge": 0, "execution": 0}


async def check_spaces_are_made_on_purpose(make: MakeStore) -> None:
    """A space is made once, under a proper name, and listed by name with its state."""
    async with opened(make) as scene:
        made = await scene.store.create_space("zoo.1-a_b", strict=True)
        await scene.store.create_space("alpha")
        receipt = await scene.write(scene.say("thing:a", "rate", 1), space="alpha")
        listed = await scene.store.spaces()

        assert (made.name, made.strict, made.state) == ("zoo.1-a_b", True, "empty")
        assert [space.name for space in listed] == ["alpha", "default", "zoo.1-a_b"]
        assert (listed[0].state, listed[0].seq["knowledge"]) == ("live", receipt.seq)
        assert listed[0].nodes == 4
        for name in ("", "A", "-a", "a b", "ä", "a" * 65, "a/b", "default\n"):
            error = await raised(InvalidError, scene.store.create_space(name))
            assert error.code == "space.name_invalid"
        error = await raised(ConflictError, scene.store.create_space("alpha"))
        assert error.code == "space.exists"


async def check_an_unknown_space_is_an_error_with_suggestions(make: MakeStore) -> None:
    """Every method that names a space refuses an unknown one, and names near ones."""
    async with opened(make) as scene:
        await scene.store.create_space("logistics")
        store, name = scene.store, "logistic"
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.nodes(name, keys=["thing:a"]),
            lambda: store.near_keys(name, "thing:a"),
            lambda: store.list_nodes(name, NodeQuery()),
            lambda: store.predicates(name),
            lambda: store.facts(name, FactQuery(subjects=["x"])),
            lambda: store.facts_by_id(name, ["x"]),
            lambda: store.held(name, [Point("x")]),
            lambda: store.timeline(name, ["x"]),
            lambda: store.changes(name, 0, 1),
            lambda: store.search_text(name, "x"),
            lambda: store.feed(name, "knowledge", 0),
            lambda: store.wait(name, "knowledge", 0, 0),
            lambda: store.verify(name, "knowledge"),
            lambda: store.finish_fill(name, "x"),
            lambda: store.acquire(name, "job", "a", 1),
            lambda: store.renew(Lease(name, "job", "a", 1, 1), 1),
            lambda: store.release(Lease(name, "job", "a", 1, 1)),
        ]
        for call in calls:
            error = await raised(NotFoundError, call())
            assert error.code == "space.unknown"
            assert error.details["suggestions"] == ["logistics"]
            assert "logistics" in error.message
        refused = await scene.refusal(scene.unit(scene.say("thing:a", "rate", 1), space=name))
        assert refused.details["suggestions"] == ["logistics"]


async def check_no_tenant_sees_another(make: MakeStore) -> None:
    """Neither by id nor by key, search, list, feed or receipt does one tenant reach another's data."""
    async with opened(make) as scene:
        receipt = await scene.write(scene.say("thing:a", "motto", "granite"), scene.link("thing:a", "uses", "thing:b"))
        refusal = Refusal(scene.new_id(), "default", "value.invalid", "agent:a", b"x", "no")
        await scene.store.refuse(refusal)
        await scene.store.create_space("private")
        node, fact = receipt.nodes["thing:a"], receipt.facts[0]
        guest = scene.store.for_tenant("guest")

        assert guest.tenant == "guest"
        assert await guest.nodes("default", ids=[node], keys=["thing:a"]) == {}
        assert await guest.facts("default", FactQuery(subjects=[node])) == ()
        assert await guest.facts("default", FactQuery(objects=[receipt.nodes["thing:b"]])) == ()
        assert await guest.facts_by_id("default", [fact]) == {}
        assert await guest.held("default", [Point(fact)]) == (None,)
        assert (await guest.timeline("default", [node])).items == ()
        assert (await guest.changes("default", -(2**62), 2**62)).items == ()
        assert (await guest.changes("default", -(2**62), 2**62, axis="valid", subjects=[node])).items == ()
        assert (await guest.list_nodes("default", NodeQuery())).items == ()
        assert await guest.search_text("default", "granite") == ()
        assert await guest.feed("default", "knowledge", 0) == ()
        assert await guest.near_keys("default", "thing:a") == ()
        assert await guest.predicates("default") == {}
        assert [space.name for space in await guest.spaces()] == ["default"]
        for hidden in (receipt.id, refusal.id):
            await raised(NotFoundError, guest.receipt(hidden))
        for command in (scene.retract(fact), scene.end(fact)):
            (answer,) = await guest.commit([scene.unit(command)])
            assert isinstance(answer, NotFoundError)
        assert await scene.value("thing:a", "motto") == "granite"


async def check_spaces_of_a_tenant_are_apart(make: MakeStore) -> None:
    """The same key in two spaces is two nodes, and ids of one are unknown in the other."""
    async with opened(make) as scene:
        await scene.store.create_space("other")
        here = await scene.write(scene.say("thing:a", "rate", 1))
        there = await scene.write(scene.say("thing:a", "rate", 2), space="other")
        ids = [here.nodes["thing:a"], there.nodes["thing:a"]]

        assert ids[0] != ids[1]
        assert set(await scene.store.nodes("other", ids=ids)) == {ids[1]}
        (fact,) = await scene.store.facts("other", FactQuery(subjects=ids))
        assert fact.id == there.facts[0]
        assert await scene.store.held("other", [Point(here.facts[0])]) == (None,)
        error = await scene.refusal(scene.unit(scene.retract(here.facts[0]), space="other"))
        assert error.code == "node.not_found"


async def check_interleaving_changes_nothing(make: MakeStore) -> None:
    """Units of two tenants and two spaces, taken in turns, leave each as if it were alone."""
    async with opened(make) as scene:
        guest = scene.store.for_tenant("guest")
        for store in (scene.store, guest):
            await store.create_space("other")
        for n in range(6):
            scene.clock.advance(days=1)
            for store in (scene.store, guest):
                answers = await store.commit(
                    [scene.unit(scene.say("thing:a", "rate", n), space=name) for name in ("default", "other")]
                )
                assert all(isinstance(answer, Receipt) for answer in answers)
        seqs = [
            (space.name, space.seq["knowledge"], space.nodes)
            for store in (scene.store, guest)
            for space in await store.spaces()
        ]

        assert seqs[:2] == seqs[2:]
        for store in (scene.store, guest):
            for name in ("default", "other"):
                verdict = await store.verify(name, "knowledge")
                assert verdict.ok
                node = (await store.nodes(name, keys=["thing:a"]))["thing:a"]
                (fact,) = await store.facts(name, FactQuery(subjects=[node.id]))
                assert fact.value is not None
                assert fact.value.data == 5
                assert len((await store.timeline(name, [node.id])).items) == 6


CHECKS = (
    check_every_tenant_has_a_default_space,
    check_spaces_are_made_on_purpose,
    check_an_unknown_space_is_an_error_with_suggestions,
    check_no_tenant_sees_another,
    check_spaces_of_a_tenant_are_apart,
    check_interleaving_changes_nothing,
)
