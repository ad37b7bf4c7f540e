"""What a read of Neo4j returns while a unit is committed beside it: one state, a node's version with its facts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest
from conformance.stores import empty_neo4j

from latewood.graph_schema.clock import NOW, AsOf, ManualClock, from_micros
from latewood.graph_schema.commands import Absorb, ActorSpec, Assert, Command, Ref, Unit
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import RandomIds
from latewood.graph_schema.model import LEDGERS, LedgerName, NodeKind, Trust
from latewood.graph_schema.packs.loader import vocabulary
from latewood.graph_schema.values import Value
from latewood.storage.neo4j.database import Address, Engine, Head, Query
from latewood.storage.neo4j.reading import Reading
from latewood.storage.neo4j.store import Neo4jStore
from latewood.storage.port import FactQuery, NodeQuery

_IDS = RandomIds()
_KEYS = ("item:1", "item:2")
_WAIT_S = 60.0


def _unit(*commands: Command, ledger: LedgerName = "knowledge") -> Unit:
    return Unit(_IDS.new(), "default", ActorSpec("human:a"), Trust.HUMAN, b"", commands, ledger=ledger)


def _says(level: int, keys: Sequence[str] = _KEYS) -> tuple[Command, ...]:
    return tuple(Assert(_IDS.new(), Ref(key=key), "level", Value("integer", level)) for key in keys)


async def _kept(store: Neo4jStore, unit: Unit) -> Receipt:
    (answer,) = await store.commit([unit])
    assert isinstance(answer, Receipt), answer
    return answer


@asynccontextmanager
async def _between(store: Neo4jStore, unit: Unit, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[None]:
    """Keep *unit*, and stand still where the server shows it and its writer does not know yet that all of it is there."""
    shown, go_on, whole = threading.Event(), threading.Event(), Engine.whole
    main = threading.current_thread()

    def wait(engine: Engine, space: int, ledger: LedgerName, head: Head) -> None:
        if head.writer == engine.id and threading.current_thread() is not main and not go_on.is_set():
            known = engine.bounds(space, {ledger: head})[ledger]
            if known.seq < head.seq:
                shown.set()
                go_on.wait(_WAIT_S)
        whole(engine, space, ledger, head)

    monkeypatch.setattr(Engine, "whole", wait)
    writing = asyncio.create_task(_kept(store, unit))
    try:
        assert await asyncio.to_thread(shown.wait, _WAIT_S)
        yield
    finally:
        go_on.set()
        monkeypatch.undo()
        await writing


async def _seen(store: Neo4jStore) -> list[tuple[int, int, bool]]:
    """Return of each item its version, what is said of it, and whether it was merged: by key, by id and from a list."""
    by_key = await store.nodes("default", keys=_KEYS)
    ids = [by_key[key].id for key in _KEYS]
    by_id = await store.nodes("default", ids=ids)
    listed = {node.key: node for node in (await store.list_nodes("default", NodeQuery(type="item"))).items}
    assert [by_key[key] for key in _KEYS] == [by_id[one] for one in ids] == [listed[key] for key in _KEYS]
    facts = await store.facts("default", FactQuery(subjects=ids, predicates=["level"]))
    said = {fact.subject_id: int(fact.value.text()) for fact in facts if fact.value is not None}
    return [(node.version, said.get(node.id, -1), "merged_into" in node.attributes) for node in by_id.values()]


async def test_a_node_is_read_as_it_was_at_the_head(neo4j_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    empty_neo4j(neo4j_url)
    store = await Neo4jStore.open(neo4j_url)
    try:
        # The other ledger is ahead: whose row a version is cannot be told by its number.
        await _kept(store, _unit(*_says(0, [f"other:{n}" for n in range(9)])))
        for level in (1, 2):
            await _kept(store, _unit(*_says(level), ledger="execution"))
        before = await _seen(store)
        for level in (3, 4):
            async with _between(store, _unit(*_says(level), ledger="execution"), monkeypatch):
                assert await _seen(store) == before
            after = await _seen(store)
            assert [one[1] for one in after] == [level, level]
            assert all(new[0] > old[0] for new, old in zip(after, before, strict=True))
            before = after
        async with _between(
            store, _unit(Absorb(_IDS.new(), Ref(key="item:1"), Ref(key="item:2"), "one thing")), monkeypatch
        ):
            assert await _seen(store) == before
        assert [one[2] for one in await _seen(store)] == [True, False]
    finally:
        await store.close()


async def test_a_list_by_status_is_of_the_head(neo4j_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node is noted with is not bounded by a head: one that ends meanwhile is listed as what it was."""
    empty_neo4j(neo4j_url)
    store = await Neo4jStore.open(neo4j_url)

    def status(text: str) -> Unit:
        return _unit(Assert(_IDS.new(), Ref(key="item:1"), "status", Value("text", text)), ledger="execution")

    async def listed() -> list[int]:
        queries = [NodeQuery(NodeKind.ENTITY, where={"status": [text]}) for text in ("running", "done")]
        return [len((await store.list_nodes("default", query)).items) for query in queries]

    try:
        await _kept(store, status("running"))
        async with _between(store, status("done"), monkeypatch):
            assert await listed() == [1, 0]
        assert await listed() == [0, 1]
    finally:
        await store.close()


async def test_a_node_of_an_earlier_latewood_has_its_version(neo4j_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    empty_neo4j(neo4j_url)
    store = await Neo4jStore.open(neo4j_url)
    engine = Engine(Address.parse(neo4j_url))
    try:
        for level in (1, 2):
            await _kept(store, _unit(*_says(level)))
        before = await _seen(store)
        # It had no such property; the ledger that is behind must not make its nodes look younger than they are.
        engine.once("MATCH (n:Node) REMOVE n.touched")
        assert await _seen(store) == before
        async with _between(store, _unit(*_says(3)), monkeypatch):
            assert await _seen(store) == before
            engine.once("MATCH (n:Node) REMOVE n.touched")
            assert await _seen(store) == before
    finally:
        engine.shut()
        await store.close()


@pytest.mark.parametrize("ledger", LEDGERS)
async def test_two_processes_whose_clocks_differ_write_to_the_two_ledgers(neo4j_url: str, ledger: LedgerName) -> None:
    """A read shows nothing of a unit that came after its heads, to whichever ledger, and all of what was kept before."""
    empty_neo4j(neo4j_url)
    late, early = ManualClock(from_micros(2 * 10**15)), ManualClock(from_micros(2 * 10**15))
    early.advance(seconds=60)
    store = await Neo4jStore.open(neo4j_url, clock=late)
    ahead = await Neo4jStore.open(neo4j_url, clock=early)
    engine, loop = Engine(Address.parse(neo4j_url)), asyncio.get_running_loop()
    (other,) = set(LEDGERS) - {ledger}
    ids: list[str] = []

    def values(reading: Reading, at: AsOf = NOW) -> list[str]:
        facts = reading.facts(FactQuery(subjects=ids, predicates=["level"]), at)
        return [fact.value.text() for fact in facts if fact.value is not None]

    def read(unit: Unit) -> tuple[list[str], list[str]]:
        """Look before and after *unit* is kept by another process, in one read."""

        def work(query: Query) -> tuple[list[str], list[str]]:
            reading = Reading(query, engine, "local", "default", late, vocabulary())
            before = values(reading)
            asyncio.run_coroutine_threadsafe(_kept(store, unit), loop).result(_WAIT_S)
            return before, values(reading)

        return engine.run(work, write=False)

    try:
        first = await _kept(store, _unit(*_says(1), ledger=ledger))
        ids += [first.nodes[key] for key in _KEYS]
        ticked = await _kept(ahead, _unit(*_says(0, ["other:1"]), ledger=other))
        late.advance(seconds=1)
        before, after = await asyncio.to_thread(read, _unit(*_says(2), ledger=ledger))
        assert before == after == ["1", "1"]
        for each in (store, ahead):
            facts = await each.facts("default", FactQuery(subjects=ids, predicates=["level"]))
            assert [fact.value.text() for fact in facts if fact.value is not None] == ["2", "2"]
        # What was known when the other process wrote does not change by what is written after it.
        then = AsOf(known_at=ticked.recorded_at)
        facts = await store.facts("default", FactQuery(subjects=ids, predicates=["level"]), then)
        assert [fact.value.text() for fact in facts if fact.value is not None] == ["1", "1"]
    finally:
        engine.shut()
        await ahead.close()
        await store.close()
