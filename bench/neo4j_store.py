"""Measure the Neo4j store; run it as ``bench/store.py --db neo4j://user:password@host:7687``. It empties the database.

- ``asof_over_current``: 100 entities as of the past on both clocks, over the same entities now.
- ``changes_per_s``: changes committed a second, 1,000 a transaction.
- ``writers_32_over_raw``: acknowledged writes a second by 32 at once through Memory, over 32 threads that write the same
  rows with the bare driver, one transaction a write, without looking anything up and without a ledger's head to wait for.
- ``two_hop_hits_asof_over_current``: database hits of reading an entity's relations and those of their objects.
- ``processes``: four processes with 8 writers each on one space: lost writes, and transactions that had to be repeated.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from typing import Any

import neo4j
from store import DAY, START, load, p, reads, say, timed, unit

from latewood.graph_schema.clock import AsOf, ManualClock, from_micros
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.ids import RandomIds
from latewood.graph_schema.values import Value
from latewood.memory import Memory
from latewood.storage.neo4j.database import Address, Engine, as_sent
from latewood.storage.neo4j.store import Neo4jStore
from latewood.storage.port import FactQuery, GraphStore

WRITER = """
import asyncio, sys
from latewood.memory import Memory

async def main(url, name, writes):
    async with Memory.open(url, by=f"agent:{name}", embedder="none") as memory:
        async def one(j):
            for n in range(writes):
                await memory.observe(f"item:{(7 * n + j) % 50}", "level", n)
        await asyncio.gather(*(one(j) for j in range(8)))
        info = await memory.info()
        print(info.details["retries"])

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def empty(url: str) -> neo4j.Driver:
    address = Address.parse(url)
    driver = neo4j.GraphDatabase.driver(address.uri, auth=(address.user, address.password))
    with driver.session(database=address.database) as session:
        while session.run("MATCH (n) WITH n LIMIT 20000 DETACH DELETE n").consume().counters.nodes_deleted:
            pass
    return driver


async def measure(url: str, entities: int, versions: int, writes: int) -> dict[str, object]:
    found: dict[str, object] = {}
    with empty(url) as driver:
        clock = ManualClock(from_micros(START))
        store = await Neo4jStore.open(url, clock=clock)
        say(f"{entities:,} entities, {versions:,} versions ...")
        seconds = await load(store, clock, entities, versions, corrections=0.05, late=0.05)
        found["load_per_s"] = round(versions / seconds)
        scale = await reads(store, entities, START, START + 700 * DAY)
        found["scale"] = {key: round(value, 2) for key, value in scale.items()}
        found["asof_over_current"] = round(scale["asof_p50_ms"] / scale["current_p50_ms"], 3)
        say("changes ...")
        found["changes_per_s"] = await changes(store, entities)
        say("two hops ...")
        found |= await two_hops(url, store, clock, driver)
        found["retries"] = (await store.info()).details["retries"]
        await store.close()
    say(json.dumps(found))
    with empty(url) as driver:
        say("writers ...")
        found |= await writers(url, driver, writes)
    with empty(url):
        say("processes ...")
        found["processes"] = await processes(url, writes)
    return found


async def changes(store: GraphStore, entities: int) -> int:
    """Commit 1,000 changes a transaction, ten times; return the median rate."""
    ids, rates = RandomIds(), list[float]()
    for turn in range(10):
        commands = [
            Assert(ids.new(), Ref(key=f"item:{n}"), "state", None, object=Ref(key=f"kind:{turn}"), relation=True)
            if n % 10 == 9
            else unit_assert(ids, n, turn)
            for n in random.sample(range(entities), 1_000)
        ]
        units = [unit(ids, list(commands[begin : begin + 100])) for begin in range(0, 1_000, 100)]
        begun = time.perf_counter()
        await store.commit(units)
        rates.append(1_000 / (time.perf_counter() - begun))
    return round(sorted(rates)[5])


def unit_assert(ids: RandomIds, entity: int, turn: int) -> Assert:
    return Assert(ids.new(), Ref(key=f"item:{entity}"), "state", Value("integer", turn))


async def two_hops(url: str, store: Neo4jStore, clock: ManualClock, driver: neo4j.Driver) -> dict[str, object]:
    """Relate 2,000 services anew each day, three to each, then read what one uses and what those use."""
    ids, rnd = RandomIds(), random.Random(9)
    for _ in range(3):
        clock.advance(days=1)
        today, tomorrow = clock.now(), clock.now() + DAY
        for begin in range(0, 6_000, 500):
            commands = [
                Assert(
                    ids.new(), Ref(key=f"service:{n % 2_000}"), "uses", None,
                    object=Ref(key=f"service:{rnd.randrange(2_000)}"), relation=True, valid_from=today,
                    valid_to=tomorrow,
                )
                for n in range(begin, begin + 500)
            ]  # fmt: skip
            await store.commit([unit(ids, list(commands))])
    node = (await store.nodes("default", keys=["service:7"]))["service:7"]
    # A day earlier as many held as hold now.
    before = AsOf(from_micros(clock.now() - DAY + 3_600_000_000), from_micros(clock.now() - 3_600_000_000))
    hits: dict[str, int] = {}
    engine = Engine(Address.parse(url))
    for name, at in (("current", AsOf(from_micros(clock.now()))), ("asof", before)):
        hits[name] = profiled(engine, driver, node.id, at)

    await engine.close()

    async def read(at: AsOf) -> None:
        first = await store.facts("default", FactQuery(subjects=[node.id]), at)
        await store.facts("default", FactQuery(subjects=[f.object_id for f in first if f.object_id]), at)

    now = p(await timed(lambda: read(AsOf()), 100), 0.5)
    past = p(await timed(lambda: read(before), 100), 0.5)
    return {
        "two_hop_hits": hits,
        "two_hop_hits_asof_over_current": round(hits["asof"] / hits["current"], 3),
        "two_hop_asof_over_current": round(past / now, 3),
    }


def profiled(engine: Engine, driver: neo4j.Driver, node: str, at: AsOf) -> int:
    """Return the database hits of reading two hops."""
    found, ids = 0, [node]
    space = engine.run(lambda query: query("space", tenant="local", name="default")[0][0], write=False)
    latest = from_micros(253_402_300_799_999_999)
    for _ in range(2):
        asked = {
            "space": space, "ids": ids, "t": at.valid_at or latest, "r": at.known_at or latest, "predicates": None,
            "most": 50_001,
        }  # fmt: skip
        with driver.session() as session:
            result = session.run("PROFILE " + as_sent(engine.composed("holding_of_subjects")), {"asked": asked})
            rows = [record.values() for record in result]
            found += hits_of(result.consume().profile or {})
        ids = list({one for one in (object_of(row) for row in rows) if one})
    return found


def object_of(row: list[Any]) -> str | None:
    return json.loads(row[9]).get("object") if row[9] else None


def hits_of(plan: Mapping[str, Any]) -> int:
    return int(plan.get("dbHits", 0)) + sum(hits_of(child) for child in plan.get("children", []))


RAW = """
MATCH (s:RawNode {id: $subject})
CREATE (e:RawEvent) SET e = $event
CREATE (f:RawFact) SET f = $fact
CREATE (s)-[h:HAS_FACT]->(f) SET h = $stamps
CREATE (r:RawReceipt) SET r = $receipt
MERGE (k:RawKey {id: $key}) SET k += $state
SET s.version = $version
"""


async def writers(url: str, driver: neo4j.Driver, writes: int) -> dict[str, object]:
    """Write by 32 at once through Memory, then rows of the same size with the bare driver."""
    async with Memory.open(url, by="agent:bench", embedder="none") as memory:
        for n in range(200):
            await memory.observe(f"item:{n}", "level", n)

        async def writer(first: int) -> None:
            for n in range(writes // 32):
                await memory.observe(f"item:{(first + 7 * n) % 200}", "level", n)

        begun = time.perf_counter()
        await asyncio.gather(*(writer(j) for j in range(32)))
        ours = (writes // 32 * 32) / (time.perf_counter() - begun)
        begun = time.perf_counter()
        for n in range(100):
            await memory.observe(f"item:{n}", "level", -n)
        one = 100 / (time.perf_counter() - begun)
    rows = same_rows(driver)
    with driver.session() as session:
        for label in ("RawNode", "RawFact", "RawReceipt", "RawKey"):
            session.run(f"CREATE CONSTRAINT raw_{label} IF NOT EXISTS FOR (n:{label}) REQUIRE n.id IS UNIQUE").consume()
        session.run("UNWIND $ids AS id MERGE (:RawNode {id: id})", ids=list({row["subject"] for row in rows})).consume()

    def part(first: int) -> None:
        with driver.session() as session:
            for n in range(writes // 32):
                row = dict(rows[(first * 31 + n) % len(rows)])
                for name in ("fact", "receipt"):
                    row[name] = {**row[name], "id": str(uuid.uuid4())}
                row["key"] = f"{first}-{n % 7}"
                session.execute_write(lambda tx, row=row: tx.run(RAW, row).consume())

    begun = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        list(pool.map(part, range(32)))
    raw = (writes // 32 * 32) / (time.perf_counter() - begun)
    return {
        "one_writer_per_s": round(one),
        "writers_32_per_s": round(ours),
        "raw_32_per_s": round(raw),
        "writers_32_over_raw": round(ours / raw, 3),
    }


def same_rows(driver: neo4j.Driver) -> list[dict[str, Any]]:
    """Return what some hundred of the kept writes wrote, as the properties of each node and relationship."""
    text = """
    MATCH (s:Node)-[h:HAS_FACT]->(f:Fact)
    MATCH (e:Event {space: f.space, ledger: 'knowledge', seq: f.place / 2})
    MATCH (r:Receipt {space: f.space, id: e.unit}) MATCH (k:Key {space: f.space, id: f.key_id})
    RETURN s.id, properties(h), properties(f), properties(e), properties(r), properties(k) LIMIT 400
    """
    with driver.session() as session:
        rows = session.run(text).values()
    return [
        {
            "subject": subject, "stamps": plain(stamps), "fact": plain(fact), "event": event, "receipt": receipt,
            "state": {key: value for key, value in state.items() if key != "id"}, "version": event["seq"],
        }
        for subject, stamps, fact, event, receipt, state in rows
    ]  # fmt: skip


def plain(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Write instants as numbers, so that the bare driver does not pay for packing them."""
    return {
        key: int(value.to_native().timestamp() * 1e6) if isinstance(value, neo4j.time.DateTime) else value
        for key, value in properties.items()
    }


async def processes(url: str, writes: int) -> dict[str, object]:
    each = max(1, writes // 32)
    begun = time.perf_counter()
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, f"w{n}", str(each)], stdout=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    retries = [int(one.communicate()[0]) for one in running]
    took = time.perf_counter() - begun
    async with Memory.open(url, embedder="none") as memory:
        (space,) = [one for one in await memory.spaces() if one.name == "default"]
        verdict = await memory.store.verify("default", "knowledge")
        kept = 0
        after: str | None = None
        nodes = await memory.store.nodes("default", keys=[f"item:{n}" for n in range(50)])
        while True:
            page = await memory.store.timeline(
                "default", [node.id for node in nodes.values()], ["level"], first=1_000, after=after
            )
            kept += len(page.items)
            after = page.next
            if after is None:
                break
    expected = 4 * 8 * each
    return {
        "acknowledged": expected, "lost": expected - kept, "per_s": round(expected / took), "retries": sum(retries),
        "rows": space.seq["knowledge"], "ledger_ok": verdict.ok,
    }  # fmt: skip
