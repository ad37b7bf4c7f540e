"""What is Neo4j's own: long keys, refusals of an address, a reply that was lost, and a graph that people can read."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import neo4j
import pytest
from conformance.stores import MakeNeo4j, empty_neo4j
from properties.histories import run_batch

from latewood.graph_schema.clock import FOREVER, AsOf
from latewood.graph_schema.commands import ActorSpec, Assert, Ref, Unit
from latewood.graph_schema.errors import ConflictError, LatewoodError, UnavailableError
from latewood.graph_schema.ids import RandomIds
from latewood.graph_schema.model import Alternative, Trust
from latewood.graph_schema.values import Value
from latewood.memory import Memory
from latewood.memory.imports import ingest_adr
from latewood.storage.neo4j import gathering, keys
from latewood.storage.neo4j.database import Address, Engine, LostReplyError, Query
from latewood.storage.neo4j.migrations import SCHEMA_VERSION
from latewood.storage.neo4j.store import Neo4jStore
from latewood.storage.port import FactQuery
from latewood.storage.settling import KeyState

ADRS = Path(__file__).parents[3] / "docs" / "adr"


@pytest.fixture
def url(neo4j_url: str) -> str:
    empty_neo4j(neo4j_url)
    return neo4j_url


def run(url: str, text: str) -> list[list[Any]]:
    engine = Engine(Address.parse(url))
    try:
        return [list(row) for row in engine.once(text)]
    finally:
        engine.shut()


@pytest.mark.parametrize(
    ("seed", "histories"), [(5, 3), *(pytest.param(seed, 12, marks=pytest.mark.slow) for seed in (5, 6))]
)
async def test_a_long_key_is_settled_window_by_window(
    seed: int, histories: int, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every key with more than three claims counts as long, so nearly all of them are read from the database.
    monkeypatch.setattr(keys, "IMAGE_CLAIMS_MAX", 3)
    monkeypatch.setattr(keys, "_PART", 2)

    await run_batch(seed, MakeNeo4j(tmp_path), histories=histories, rounds=8, whole=True)


async def test_a_long_key_is_read_no_further_than_it_is_asked_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_PART", 4)
    store, ids, read = await Neo4jStore.open(url), RandomIds(), list[int]()
    said = [Assert(ids.new(), Ref(key="item:1"), "level", Value("integer", n), valid_from=n) for n in range(30)]
    await store.commit([
        Unit(ids.new(), "default", ActorSpec("agent:a"), Trust.AGENT, b"", (one,)) for one in said
    ])  # fmt: skip
    await store.close()

    def work(query: Query) -> tuple[list[int], list[int]]:
        def counted(name: str, /, **parameters: object) -> list[Any]:
            rows = query(name, **parameters)
            read.append(len(rows))
            return rows

        ((space, key, subject),) = query("MATCH (k:Key) RETURN k.space, k.id, k.subject")
        image = keys.KeyImage(space, key, subject, "level", KeyState(0, b"", contested=False, top=0))
        rows = keys.WindowRows(counted, image)
        first = [claim.valid_from for claim in itertools.islice(rows.covering(10**9), 3)]
        return first, [claim.valid_from for claim in rows.starting((0, FOREVER), 0)]

    engine = Engine(Address.parse(url))
    first, starting = engine.run(work, write=False)
    engine.shut()

    assert first == [29, 28, 27]
    assert starting == list(range(1, 30))
    assert read == [4, 4, 16, 9]


async def test_a_cache_that_forgets_everything_changes_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "_CACHED_MAX", 0)

    await run_batch(8, MakeNeo4j(tmp_path), histories=20, rounds=5)


async def test_every_node_says_what_it_is(url: str) -> None:
    async with Memory.open(url, by="human:ada") as memory:
        await ingest_adr(memory.within(space="adr"), ADRS, history=False)
        fact = await memory.observe("carrier:A", "on_time_rate", 0.81)
        await memory.end(fact)
        lease = await memory.store.acquire("default", "nightly", "worker", 60)
        with pytest.raises(LatewoodError):
            await memory.observe("carrier:A", "on_time_rate", 0.9, expected_version=1)

    nameless = run(url, "MATCH (n) WHERE n.name IS NULL AND n.title IS NULL RETURN DISTINCT labels(n)")
    loose = run(url, "MATCH (n:Fact|Decision|Source) WHERE NOT (n)--() RETURN labels(n), n.title")

    assert lease is not None
    assert nameless == []
    assert loose == []


async def test_a_decision_reads_well_by_hand(url: str) -> None:
    async with Memory.open(url, by="human:ada", session="s-12") as memory:
        late = await memory.observe("carrier:A", "on_time_rate", 0.81, unit="1")
        await memory.decide(
            "Move the Lyon lane", because="A is late", about=["carrier:A"], evidence=[late],
            alternatives=[Alternative("stay", "penalties did not help")],
        )  # fmt: skip
    rows = run(
        url,
        "MATCH (d:Decision)-[:ABOUT]->(a:Entity:Carrier) MATCH (d)-[:BASED_ON]->(f:Fact)<-[:HAS_FACT]-(a) "
        "MATCH (d)-[:HAS_FACT]->(r:Fact {predicate: 'record'})-[:CONSIDERED]->(o:Alternative) "
        "MATCH (r)-[:SAID_BY]->(:Source)-[:BY]->(who:Actor:Human) "
        "RETURN a.name, f.value, r.title, r.rationale, o.title, who.name, r.valid_from",
    )

    (row,) = rows
    assert row[:6] == ["carrier:A", 0.81, "Move the Lyon lane", "A is late", "stay", "ada"]
    assert isinstance(row[6], neo4j.time.DateTime)


async def test_a_lost_reply_is_asked_after_and_never_doubles(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {"before": 1, "after": 1}
    real = Engine.run

    def run_and_lose(self: Engine, work: Callable[[Query], Any], *, write: bool) -> Any:
        if write and lost["before"]:
            lost["before"] -= 1
            raise LostReplyError("lost before it was kept", code="store.unavailable")
        answer = real(self, work, write=write)
        if write and lost["after"]:
            lost["after"] -= 1
            raise LostReplyError("lost after it was kept", code="store.unavailable")
        return answer

    async with Memory.open(url, by="agent:a") as memory:
        monkeypatch.setattr(Engine, "run", run_and_lose)
        first = await memory.observe("carrier:A", "on_time_rate", 0.81)
        monkeypatch.undo()
        found = await memory.timeline("carrier:A")
        again = await memory.receipt(first.receipt.id)

    assert lost == {"before": 0, "after": 0}
    assert [fact.id for fact in found.items] == [first.id]
    assert again.seq == first.receipt.seq


async def test_a_reader_sees_each_unit_whole_while_others_write(url: str) -> None:
    # Neo4j shows a commit piece by piece while it is applied; a read must not.
    keys_of = [f"item:{n}" for n in range(40)]
    writer, reader = await Neo4jStore.open(url), await Neo4jStore.open(url)
    ids = RandomIds()

    def unit(n: int) -> Unit:
        said = tuple(Assert(ids.new(), Ref(key=key), "level", Value("integer", n)) for key in keys_of)
        return Unit(ids.new(), "default", ActorSpec("agent:a"), Trust.AGENT, b"", said)

    await writer.commit([unit(0)])
    nodes = [node.id for node in (await writer.nodes("default", keys=keys_of)).values()]
    writing = asyncio.create_task(_write(writer, [unit(n) for n in range(1, 120)]))
    seen: set[tuple[AsOf, int, int]] = set()
    # As known later than anything is bounded by the head too, and not by what is already there.
    now, later = AsOf(), AsOf(known_at=datetime.now(UTC) + timedelta(days=1))
    try:
        while not writing.done():
            for store, at in itertools.product((writer, reader), (now, later)):
                facts = await store.facts("default", FactQuery(subjects=nodes), at)
                seen.add((at, len(facts), len({fact.value.text() for fact in facts if fact.value is not None})))
        await writing
        last = await reader.facts("default", FactQuery(subjects=nodes))
    finally:
        await writer.close()
        await reader.close()

    assert seen == {(now, 40, 1), (later, 40, 1)}
    assert {fact.value.text() for fact in last if fact.value is not None} == {"119"}


async def _write(store: Neo4jStore, units: list[Unit]) -> None:
    for unit in units:
        await store.commit([unit])


async def test_a_wrong_password_and_an_absent_server_are_told_apart(url: str) -> None:
    address = Address.parse(url)
    host = address.uri.partition("://")[2]
    with pytest.raises(UnavailableError) as refused:
        await Neo4jStore.open(f"bolt://neo4j:wrong-password@{host}")
    begun = time.monotonic()
    with pytest.raises(UnavailableError) as absent:
        await Neo4jStore.open("bolt://neo4j:x@127.0.0.1:9")

    assert refused.value.code == "store.login"
    assert "wrong-password" not in str(refused.value)
    assert absent.value.code == "store.unavailable"
    assert time.monotonic() - begun < 30


async def test_a_newer_schema_is_refused_by_its_number(url: str) -> None:
    await (await Neo4jStore.open(url)).close()
    run(url, "MATCH (c:Latewood) SET c.schema = 99")
    try:
        with pytest.raises(UnavailableError, match=rf"schema 99.*up to {SCHEMA_VERSION}") as refused:
            await Neo4jStore.open(url)
    finally:
        run(url, f"MATCH (c:Latewood) SET c.schema = {SCHEMA_VERSION}")

    assert refused.value.code == "schema.newer"


async def test_a_space_is_made_once_by_whoever_is_quicker(url: str) -> None:
    one, other = await Neo4jStore.open(url), await Neo4jStore.open(url)
    try:
        await one.create_space("ops")
        with pytest.raises(ConflictError) as refused:
            await other.create_space("ops")
    finally:
        await one.close()
        await other.close()

    assert refused.value.code == "space.exists"
