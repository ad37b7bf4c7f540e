"""A list by status costs what it returns, and says what the facts say, whatever was said of the status."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import apsw
import pytest
from conformance.stores import empty_neo4j
from neo4j import GraphDatabase

from latewood.graph_schema.clock import NOW, AsOf, ManualClock, Micros, SystemClock, from_micros
from latewood.graph_schema.commands import ActorSpec, Assert, Command, Declare, End, Erase, Ref, Retract, Unit
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import RandomIds
from latewood.graph_schema.model import NodeKind, Trust
from latewood.graph_schema.packs.loader import vocabulary
from latewood.graph_schema.values import Value
from latewood.storage.neo4j import listing as neo4j_listing
from latewood.storage.neo4j import reading as neo4j_reading
from latewood.storage.neo4j.database import Address, Engine, Row, as_sent
from latewood.storage.neo4j.store import Neo4jStore
from latewood.storage.port import PAGE_MAX, GraphStore, NodeQuery
from latewood.storage.queries import load_queries
from latewood.storage.rebuilding import Drift
from latewood.storage.sqlite import listing
from latewood.storage.sqlite.database import Database
from latewood.storage.sqlite.reading import Reading
from latewood.storage.sqlite.store import SqliteStore

_IDS = RandomIds()
_OPEN = ("pending", "running")
_STATUSES = (*_OPEN, "done")
_HOUR: Micros = 3_600_000_000


def _unit(*commands: Command) -> Unit:
    return Unit(_IDS.new(), "default", ActorSpec("human:a"), Trust.HUMAN, b"", commands, ledger="execution")


def _run(name: str, status: str, kind: NodeKind = NodeKind.RUN) -> tuple[Command, ...]:
    own = _IDS.new()
    return Declare(own, kind, "flow", f"{kind.value}:{name}", name), _says(Ref(id=own), status)


def _says(node: Ref, status: str | int, start: Micros | None = None, end: Micros | None = None) -> Assert:
    return Assert(_IDS.new(), node, "status", Value.of(status), valid_from=start, valid_to=end)


async def _write(store: GraphStore, groups: Sequence[tuple[Command, ...]]) -> list[Receipt]:
    answers: list[Receipt] = []
    for begin in range(0, len(groups), 500):
        for answer in await store.commit([_unit(*group) for group in groups[begin : begin + 500]]):
            assert isinstance(answer, Receipt), answer
            answers.append(answer)
    return answers


def _query(*statuses: str, newest: bool = True, first: int = PAGE_MAX) -> NodeQuery:
    return NodeQuery(NodeKind.RUN, where={"status": statuses}, newest=newest, first=first)


async def _names(store: GraphStore, query: NodeQuery, at: AsOf = NOW) -> list[str]:
    return [node.name for node in (await store.list_nodes("default", query, at)).items]


def _cost(path: Path, query: NodeQuery) -> tuple[int, int]:
    """Return how many runs a list has, and how many of SQLite's own instructions it took, in dozens."""
    opened, count = apsw.Connection(str(path)), 0
    connection = cast("Database", opened)
    listing.register_functions(connection)

    def tick() -> bool:
        nonlocal count
        count += 1
        return False

    queries = load_queries("latewood.storage.sqlite", "queries.sql")
    reading = Reading(connection, queries, "local", "default", SystemClock(), vocabulary())
    opened.set_progress_handler(tick, 12)
    page = listing.list_nodes(reading, query, *reading.instants(NOW), now=True)
    opened.close()
    return len(page.items), count


async def test_a_list_by_status_costs_what_it_returns(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = await SqliteStore.open(path, sync="normal")
    asked = (_query(*_OPEN), _query(*_OPEN, newest=False), _query(*_STATUSES, first=10), _query("nothing"))
    costs: list[list[tuple[int, int]]] = []
    try:
        await _write(store, [_run(f"first {n}", "running") for n in range(10)])
        for ended in (20, 500):
            runs = await _write(store, [_run(f"{ended} {n}", "running") for n in range(ended)])
            await _write(store, [(_says(Ref(id=one.subject), "done"),) for one in runs])
            costs.append([_cost(path, query) for query in asked])
    finally:
        await store.close()

    few, many = costs
    assert [count for count, _ in many] == [count for count, _ in few] == [10, 10, 10, 0]
    assert all(later <= 1.2 * before + 5 for (_, before), (_, later) in zip(few, many, strict=True))


def _hits(url: str, query: NodeQuery) -> tuple[int, int]:
    """Return how many runs a list has, and how many hits of the database it took."""
    address = Address.parse(url)
    engine, count = Engine(address), 0
    driver = GraphDatabase.driver(  # pyright: ignore[reportUnknownMemberType]
        address.uri, auth=(address.user, address.password)
    )
    with driver, driver.session(database=address.database) as session:  # pyright: ignore[reportUnknownMemberType]
        # A plan that was made for an almost empty database is kept for a while.
        session.run("CALL db.prepareForReplanning()").consume()

        def profiled(name: str, /, **parameters: object) -> list[Row]:
            nonlocal count
            text = name if " " in name else engine.composed(name)
            result = session.run("PROFILE " + as_sent(text), {"asked": parameters})
            rows: list[Row] = [record.values() for record in result]
            left: list[dict[str, Any]] = [cast("Any", result.consume()).profile]
            while left:
                operator = left.pop()
                count += operator.get("dbHits", 0)
                left += operator.get("children", [])
            return rows

        reading = neo4j_reading.Reading(profiled, engine, "local", "default", SystemClock(), vocabulary())
        page = neo4j_listing.list_nodes(reading, engine.composed, query, *reading.instants(NOW), now=True)
    engine.shut()
    return len(page.items), count


async def _cost_on_neo4j(url: str, ended: Sequence[int]) -> list[list[tuple[int, int]]]:
    store = await Neo4jStore.open(url)
    asked = (_query(*_OPEN), _query(*_STATUSES, newest=False, first=10))
    costs: list[list[tuple[int, int]]] = []
    try:
        await _write(store, [_run(f"first {n}", "running") for n in range(10)])
        for number in ended:
            runs = await _write(store, [_run(f"{number} {n}", "running") for n in range(number)])
            await _write(store, [(_says(Ref(id=one.subject), "done"),) for one in runs])
            costs.append([_hits(url, query) for query in asked])
    finally:
        await store.close()
    return costs


async def test_a_list_by_status_costs_what_it_returns_on_neo4j(neo4j_url: str) -> None:
    empty_neo4j(neo4j_url)
    few, many = await _cost_on_neo4j(neo4j_url, (10, 100))

    assert [count for count, _ in many] == [count for count, _ in few] == [10, 10]
    assert all(later <= 1.2 * before + 5 for (_, before), (_, later) in zip(few, many, strict=True))


async def _tell(store: GraphStore, clock: ManualClock, chance: random.Random, runs: Sequence[str]) -> Command:
    """Say something of the status of a run, or take back, end or erase something that was said."""
    timeline = await store.timeline("default", [chance.choice(runs)], ["status"], first=PAGE_MAX)
    facts = [fact for fact in timeline.items if fact.retired_at is None and fact.value is not None]
    what, now = chance.random(), clock.now()
    if what < 0.5 or not facts:
        start = chance.choice([None, None, now - 2 * _HOUR, now + 2 * _HOUR])
        end = chance.choice([None, None, now + chance.randint(3, 5) * _HOUR])
        return _says(Ref(id=chance.choice(runs)), chance.choice([*_STATUSES, 7]), start, end)
    target = chance.choice(facts).id
    if what < 0.7:
        return End(_IDS.new(), target, now + chance.choice([0, 2]) * _HOUR)
    return Retract(_IDS.new(), target) if what < 0.95 else Erase(_IDS.new(), target, "asked for")


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("neo4j", marks=pytest.mark.slow)])
async def test_a_list_by_status_says_what_the_facts_say(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    clock = ManualClock(from_micros(2 * 10**15))
    store: GraphStore
    if kind == "sqlite":
        store = await SqliteStore.open(tmp_path / "a.db", clock=clock, sync="normal")
    else:
        url: str = request.getfixturevalue("neo4j_url")
        empty_neo4j(url)
        store = await Neo4jStore.open(url, clock=clock)
    chance, seen = random.Random(8), set[tuple[str, ...]]()
    try:
        await _write(store, [_run(str(n), "pending") for n in range(6)])
        runs = [node.id for node in (await store.list_nodes("default", _query("pending"))).items]
        for _ in range(100):
            clock.advance(seconds=chance.choice([360, 360, 5_400]))
            await store.commit([_unit(await _tell(store, clock, chance, runs))])
            clock.advance(seconds=chance.choice([0, 0, 9_000]))
            for statuses in (_OPEN, ("done",), ("7", "running")):
                for newest in (True, False):
                    listed = await _names(store, _query(*statuses, newest=newest))
                    # As of an instant that is given the list goes through every run.
                    walked = await _names(store, _query(*statuses, newest=newest), AsOf(from_micros(clock.now())))
                    assert listed == walked
                    seen.add(tuple(listed))
        # An empty note is never wrong: it may outlive its reason, as time passes and nobody writes.
        assert await _rebuilt(store, repair=False) == []
    finally:
        await store.close()

    assert len(seen) > 20


async def _rebuilt(store: GraphStore, *, repair: bool) -> list[Drift]:
    found: list[Drift] = []
    after: str | None = None
    while True:
        step = await store.rebuild("default", after=after, repair=repair)
        found += step.found
        after = step.next
        if after is None:
            return found


async def test_statuses_that_an_older_latewood_wrote_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = await SqliteStore.open(path, sync="normal")
    try:
        await _write(store, [_run("1", "running"), _run("2", "done"), _run("1", "running", NodeKind.STEP)])
        database = cast("Database", apsw.Connection(str(path)))
        # It knows of no such view.
        database.execute("delete from status; update reached set e = 0 where view = 'status'")
        assert await _names(store, _query("running")) == ["1"]
        await _write(store, [_run("3", "running")])
        assert await _names(store, _query("running")) == ["3", "1"]
        assert database.execute("select count(*) from status").fetchall() == [(3,)]
        database.close()
    finally:
        await store.close()


async def test_a_status_that_is_noted_wrong_is_found_and_put_right(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = await SqliteStore.open(path, sync="normal")
    try:
        await _write(store, [_run(str(n), "running") for n in range(4)])
        database = cast("Database", apsw.Connection(str(path)))
        database.execute(
            "delete from status where n = (select min(n) from status);"
            "update status set status = 'done' where n = (select max(n) from status);"
            "insert into status select n, space, kind, 'running' from node where kind = 'predicate' limit 1"
        )
        database.close()
        drift = await _rebuilt(store, repair=True)
        assert sorted((one.view, one.what) for one in drift) == [
            ("status", "different"), ("status", "extra"), ("status", "missing"),
        ]  # fmt: skip
        assert await _names(store, _query("running")) == ["3", "2", "1", "0"]
        assert await _rebuilt(store, repair=False) == []
    finally:
        await store.close()


async def test_statuses_that_neo4j_does_not_know_of_are_listed_and_noted(neo4j_url: str) -> None:
    empty_neo4j(neo4j_url)
    store, engine = await Neo4jStore.open(neo4j_url), Engine(Address.parse(neo4j_url))
    said = "MATCH (n:Node) WHERE n.kind IN ['run', 'step'] RETURN n.name, n.status ORDER BY n.name, n.kind"
    long = "x" * 101
    try:
        await _write(store, [_run("1", "running"), _run("2", "done"), _run("1", "running", NodeKind.STEP)])
        # What an older Latewood writes.
        engine.once("MATCH (n:Node) REMOVE n.status, n.stated_at")
        engine.once("MATCH (l:Ledger) REMOVE l.listed")
        assert await _names(store, _query("running")) == ["1"]
        await _write(store, [_run("3", "running"), _run("4", long)])
        assert await _names(store, _query("running")) == ["3", "1"]
        await (await Neo4jStore.open(neo4j_url)).close()
        assert engine.once(said) == [["1", "running"], ["1", None], ["2", "done"], ["3", "running"], ["4", ""]]
        assert engine.once("MATCH (l:Ledger) RETURN collect(DISTINCT l.listed = l.seq)") == [[[True]]]
        engine.once("MATCH (n:Node {name: '1', kind: 'run'}) SET n.status = 'done'")
        engine.once("MATCH (n:Node {name: '3'}) REMOVE n.status")
        drift = await _rebuilt(store, repair=True)
        assert [(one.view, one.what, one.detail) for one in drift] == [("Node", "different", "status")] * 2
        assert await _names(store, _query("running")) == ["3", "1"]
        assert await _names(store, _query(long)) == ["4"]
        assert await _rebuilt(store, repair=False) == []
    finally:
        engine.shut()
        await store.close()
