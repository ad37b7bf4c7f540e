"""Measure a store: ratios within one run, one JSON object as the last line. `neo4j_store.py` says what --db measures.

    uv run python bench/store.py [--entities 100000] [--versions 1000000] [--folder DIR] [--json]

- ``asof_over_current``: 100 entities as of the past on both clocks, over the same entities now, at full size.
- ``large_over_small``: the same reads at full size, over a store of a tenth.
- ``hot_asof_p95_ms``: one entity of 50,000 versions, as of random instants.
- ``rows_per_change``: stored stretches per assertion, with 10 % corrections, and with 10 % late arrivals added.
- ``writes``: acknowledged writes a second by one writer and by 32 at once, over bare apsw that writes the same rows
  (same schema, same bytes, prepared) with the same sync setting, one transaction a write, and again on a disk whose sync
  takes 1 ms more; medians of rounds that measure both sides of each ratio in turn.
- ``histories``: random histories, each compared with the definition at every instant that could differ; one difference ends
  the run with its seed.
- ``crash``: a writer process killed at random points; every acknowledged write must be found, once and whole.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import apsw
from slow_disk import slow_disk

from latewood.graph_schema.clock import AsOf, ManualClock, from_micros
from latewood.graph_schema.commands import ActorSpec, Assert, Command, Ref, Retract, Unit
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import RandomIds
from latewood.graph_schema.model import Trust
from latewood.graph_schema.values import Value
from latewood.memory import Memory
from latewood.storage.port import FactQuery, GraphStore
from latewood.storage.sqlite.store import SqliteStore

DAY, START = 86_400_000_000, 1_600_000_000_000_000
NOTE = "a note about the change, some sixty characters long, as people write"
HOT_VERSIONS = 50_000


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def unit(ids: RandomIds, commands: list[Command]) -> Unit:
    return Unit(ids.new(), "default", ActorSpec("agent:bench"), Trust.AGENT, b"", tuple(commands))


def assertion(ids: RandomIds, entity: int, version: int, valid_from: int, valid_to: int | None = None) -> Assert:
    value = Value("json", {"level": version % 1000, "note": NOTE})
    return Assert(ids.new(), Ref(key=f"item:{entity}"), "state", value, valid_from=valid_from, valid_to=valid_to)


async def load(
    store: GraphStore,
    clock: ManualClock,
    entities: int,
    versions: int,
    *,
    corrections: float,
    late: float,
    seed: int = 1,
) -> float:
    """Load a history of changes through `commit`; return the seconds it took."""
    ids, rnd = RandomIds(), random.Random(seed)
    commands: list[Command] = []
    latest: dict[int, tuple[str, int]] = {}
    begun = time.perf_counter()
    for number in range(versions):
        at = START + number * (700 * DAY // max(versions, 1))
        entity = number if number < entities else rnd.randrange(entities)
        draw = rnd.random()
        if entity in latest and draw < corrections:
            fact, valid_from = latest[entity]
            commands.append(Retract(ids.new(), fact, "typo"))
        elif entity in latest and draw < corrections + late:
            valid_from = at - rnd.randrange(1, 90) * DAY
        else:
            valid_from = at - rnd.randrange(DAY)
        made = assertion(ids, entity, number, valid_from)
        commands.append(made)
        latest[entity] = (made.id, valid_from)
        # A correction needs its target kept already, so a unit ends before an entity comes twice.
        if len(commands) >= 500 or number == versions - 1:
            await flush(store, clock, ids, commands, at)
            commands = []
    return time.perf_counter() - begun


async def flush(store: GraphStore, clock: ManualClock, ids: RandomIds, commands: list[Command], at: int) -> None:
    clock.set(from_micros(at))
    units: list[Unit] = []
    group: list[Command] = []
    made: set[str] = set()
    for command in commands:
        if isinstance(command, Retract) and command.target in made:
            units.append(unit(ids, group))
            group, made = [], set()
        if isinstance(command, Assert):
            made.add(command.id)
        group.append(command)
    units.append(unit(ids, group))
    for answer in await store.commit(units):
        if not isinstance(answer, Receipt):
            raise answer


async def timed(work: Callable[[], Awaitable[object]], runs: int) -> list[float]:
    """Return milliseconds a call, sorted, the first few left out."""
    took: list[float] = []
    for _ in range(runs + 5):
        begun = time.perf_counter()
        await work()
        took.append((time.perf_counter() - begun) * 1e3)
    return sorted(took[5:])


def p(took: list[float], share: float) -> float:
    return took[min(len(took) - 1, int(len(took) * share))]


async def reads(store: GraphStore, entities: int, first: int, last: int, seed: int = 5) -> dict[str, float]:
    """Read 100 random entities now and as of the past, in turn, so that both meet the same machine."""
    rnd = random.Random(seed)
    ids = [
        node.id
        for node in (
            await store.nodes("default", keys=[f"item:{n}" for n in rnd.sample(range(entities), min(entities, 10_000))])
        ).values()
    ]
    now: list[float] = []
    past: list[float] = []
    for turn in range(330):
        chosen = rnd.sample(ids, 100)
        known = rnd.randrange(first + (last - first) // 2, last)
        at = AsOf(from_micros(rnd.randrange(first, known)), from_micros(known))
        for took, asked in ((now, AsOf()), (past, at)):
            begun = time.perf_counter()
            await store.facts("default", FactQuery(subjects=chosen), asked)
            if turn >= 30:
                took.append((time.perf_counter() - begun) * 1e3)
    now.sort()
    past.sort()
    return {
        "current_p50_ms": p(now, 0.5),
        "current_p95_ms": p(now, 0.95),
        "asof_p50_ms": p(past, 0.5),
        "asof_p95_ms": p(past, 0.95),
    }


async def scale(folder: Path, entities: int, versions: int) -> dict[str, object]:
    found: dict[str, object] = {}
    medians: dict[str, dict[str, float]] = {}
    for name, parts in (("small", 10), ("large", 1)):
        clock = ManualClock(from_micros(START))
        path = folder / f"{name}.db"
        store = await SqliteStore.open(path, clock=clock, sync="normal")
        say(f"{name}: {entities // parts:,} entities, {versions // parts:,} versions ...")
        seconds = await load(store, clock, entities // parts, versions // parts, corrections=0.05, late=0.05)
        medians[name] = await reads(store, entities // parts, START, START + 700 * DAY)
        found[f"{name}_load_per_s"] = round(versions / parts / seconds)
        found[f"{name}_bytes_per_version"] = round(path.stat().st_size / (versions / parts))
        found[name] = {key: round(value, 3) for key, value in medians[name].items()}
        await store.close()
    large, small = medians["large"], medians["small"]
    found["asof_over_current"] = round(large["asof_p50_ms"] / large["current_p50_ms"], 3)
    found["large_over_small_current"] = round(large["current_p50_ms"] / small["current_p50_ms"], 3)
    found["large_over_small_asof"] = round(large["asof_p50_ms"] / small["asof_p50_ms"], 3)
    return found


async def hot(folder: Path) -> dict[str, float]:
    clock, ids, rnd = ManualClock(from_micros(START)), RandomIds(), random.Random(3)
    store = await SqliteStore.open(folder / "hot.db", clock=clock, sync="normal")
    step = 60_000_000
    for begin in range(0, HOT_VERSIONS, 250):
        units = [
            unit(ids, [assertion(ids, 1, n, START + n * step - rnd.randrange(step))]) for n in range(begin, begin + 250)
        ]
        clock.set(from_micros(START + (begin + 250) * step))
        await store.commit(units)
    node = (await store.nodes("default", keys=["item:1"]))["item:1"]
    span = HOT_VERSIONS * step

    async def asof() -> object:
        known = START + rnd.randrange(span)
        at = AsOf(from_micros(START + rnd.randrange(max(1, known - START))), from_micros(known))
        return await store.facts("default", FactQuery(subjects=[node.id]), at)

    async def now() -> object:
        return await store.facts("default", FactQuery(subjects=[node.id]))

    past, current = await timed(asof, 400), await timed(now, 400)
    await store.close()
    return {
        "asof_p50_ms": round(p(past, 0.5), 3),
        "asof_p95_ms": round(p(past, 0.95), 3),
        "current_p50_ms": round(p(current, 0.5), 3),
    }


async def rows_per_change(folder: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, corrections, late in (("corrections_10", 0.10, 0.0), ("corrections_10_late_10", 0.10, 0.10)):
        clock = ManualClock(from_micros(START))
        path = folder / f"{name}.db"
        store = await SqliteStore.open(path, clock=clock, sync="normal")
        await load(store, clock, 2_000, 20_000, corrections=corrections, late=late)
        await store.close()
        database = apsw.Connection(str(path))
        rows = database.execute("select count(*) from stretch").get
        assertions = database.execute("select count(*) from claim").get
        found[name] = round(rows / assertions, 4)
        database.close()
    return found


def same_rows(source: Path, count: int) -> list[list[tuple[str, tuple[object, ...]]]]:
    """Return, for the last *count* units of a store, the rows that they wrote, as statements with bindings."""
    database = apsw.Connection(str(source))
    units: list[list[tuple[str, tuple[object, ...]]]] = []
    events = database.execute("select * from event order by e desc limit ?", (count,)).fetchall()
    for event in reversed(events):
        statements: list[tuple[str, tuple[object, ...]]] = []
        for table, rows in (
            ("event", [event]),
            ("claim", database.execute("select * from claim where e = ?", (event[0],)).fetchall()),
            ("stretch", database.execute("select * from stretch where e = ?", (event[0],)).fetchall()),
            ("receipt", database.execute("select * from receipt where id = ?", (event[4],)).fetchall()),
        ):
            statements += [(f"insert into {table} values({','.join('?' * len(row))})", row) for row in rows]
        stretch = next((row for table, row in statements if "stretch" in table), None)
        if stretch is not None:
            close = "update stretch set valid_to = ?, closed_at = ? where k = ? and valid_from = ? and recorded_at = ?"
            before = database.execute(
                "select valid_from, recorded_at from stretch where k = ? and closed_at = ?", (stretch[0], stretch[2])
            ).fetchone()
            if before is not None:
                statements.append((close, (stretch[1], stretch[2], stretch[0], *before)))
        statements.append(("update node set version = ? where n = ?", (event[3], 5)))
        statements.append(("insert or replace into head values(?, ?, ?, ?, ?)", (1, 0, event[3], event[21], event[6])))
        units.append(statements)
    database.close()
    return units


class Bare:
    """Bare apsw over the same schema with the same sync setting, for rows that the store wrote before."""

    def __init__(self, path: Path, sync: str) -> None:
        self._database = apsw.Connection(str(path))
        self._database.pragma("journal_mode", "wal")
        self._database.pragma("synchronous", sync)
        self._database.pragma("wal_autocheckpoint", 4_000)
        schema = Path(sys.modules[SqliteStore.__module__].__file__ or "").parent / "schema.sql"
        self._database.execute(schema.read_text(encoding="utf-8"))

    def write(self, units: list[list[tuple[str, tuple[object, ...]]]], *, group: int = 1) -> float:
        """Write the rows of *units*, *group* of them a transaction; return writes a second."""
        database = self._database
        begun = time.perf_counter()
        for begin in range(0, len(units), group):
            database.execute("begin immediate")
            for statements in units[begin : begin + group]:
                for statement, row in statements:
                    database.execute(statement, row)
            database.execute("commit")
        return len(units) / (time.perf_counter() - begun)

    def close(self) -> None:
        self._database.close()


ROUNDS = 9
"""Each measures both sides of every ratio within seconds, since disks change by the minute; the median is reported."""


async def write_rates(folder: Path, sync: str, count: int, disk: str = "") -> dict[str, object]:
    """Write *count* observations by one writer and by 32 at once, and the same rows with bare apsw, in rounds."""
    path = folder / f"writes-{sync}{disk}.db"
    alone, together = Bare(folder / f"bare-{sync}{disk}-1.db", sync), Bare(folder / f"bare-{sync}{disk}-32.db", sync)
    kept = {"embedder": "none"}
    async with Memory.open(str(path), by="agent:bench", sync="full" if sync == "full" else "normal", **kept) as memory:
        for n in range(200):
            await memory.observe(f"item:{n}", "level", n)
        writes = max(count // ROUNDS, 64)
        rounds = [await write_round(memory, path, alone, together, writes) for _ in range(ROUNDS)]
    alone.close()
    together.close()
    found = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    ratios = [one for one in rounds[0] if "_over_" in one]
    return {
        **{name: round(value, 3 if name in ratios else 0) for name, value in found.items()},
        "rounds": {name: [round(one[name], 2) for one in rounds] for name in ratios},
    }


async def write_round(memory: Memory, path: Path, alone: Bare, together: Bare, count: int) -> dict[str, float]:
    async def writer(first: int, writes: int) -> None:
        for n in range(writes):
            await memory.observe(f"item:{(first + 7 * n) % 200}", "level", n)

    begun = time.perf_counter()
    await writer(0, count // 2)
    one = (count // 2) / (time.perf_counter() - begun)
    rows = same_rows(path, count // 2)
    bare_alone = alone.write(rows)
    begun = time.perf_counter()
    await asyncio.gather(*(writer(j, count // 32) for j in range(32)))
    many = (count // 32 * 32) / (time.perf_counter() - begun)
    bare_together = together.write(rows, group=32)
    single, grouped = await group_rates(memory)
    return {
        "one_writer_per_s": one,
        "writers_32_per_s": many,
        "bare_per_s": bare_alone,
        "bare_group_32_per_s": bare_together,
        "one_writer_over_bare": one / bare_alone,
        "writers_32_over_bare": many / bare_alone,
        "writers_32_over_bare_group": many / bare_together,
        "group_20_over_single": grouped / single,
    }


async def group_rates(memory: Memory) -> tuple[float, float]:
    """Return the units a second of commits of one, and of commits of 20, on the store itself."""
    store, ids = memory.store, memory.ids
    units = [
        Unit(
            ids.new(),
            "default",
            ActorSpec("agent:bench"),
            Trust.AGENT,
            b"",
            (Assert(ids.new(), Ref(key=f"item:{n % 200}"), "level", Value("integer", n)),),
        )
        for n in range(480)
    ]
    begun = time.perf_counter()
    for one_unit in units[:80]:
        await store.commit([one_unit])
    single = 80 / (time.perf_counter() - begun)
    begun = time.perf_counter()
    for begin in range(80, 480, 20):
        await store.commit(units[begin : begin + 20])
    return single, 400 / (time.perf_counter() - begun)


async def histories(folder: Path, keys: int, stories: int, seed: int) -> dict[str, object]:
    """Compare with the definition: *keys* random histories of one key, and *stories* through both stores."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from conformance.stores import MakeSqlite
    from properties.histories import run_many
    from properties.single import check_keys

    begun = time.perf_counter()
    rows = await asyncio.to_thread(check_keys, keys, seed)
    single = time.perf_counter() - begun
    begun = time.perf_counter()
    told = await run_many(stories, seed, MakeSqlite(folder))
    return {
        "seed": seed,
        "single_key": keys,
        "single_key_differences": 0,
        "single_key_s": round(single, 1),
        "rows_per_claim": round(rows, 3),
        "through_stores": told,
        "through_stores_differences": 0,
        "through_stores_s": round(time.perf_counter() - begun, 1),
    }


CHILD = """
import asyncio, sys
from latewood.memory import Memory
async def main():
    async with Memory.open(sys.argv[1], by="agent:crash", embedder="none") as memory:
        n = int(sys.argv[2])
        while True:
            keys = [f"{n + i}" for i in range(8)]
            await asyncio.gather(*(one(memory, key) for key in keys))
            n += 8
async def one(memory, key):
    await memory.decide(f"Decision {key}", because="the crash test says so", about=[f"item:{key}"], key=f"d:{key}", idempotency_key=f"op-{key}")
    sys.stdout.write(key + "\\n"); sys.stdout.flush()
asyncio.run(main())
"""


async def crash(folder: Path, wanted: int, seed: int = 11) -> dict[str, object]:
    """Kill a writing process with SIGKILL at random points until *wanted* writes are acknowledged; then look."""
    path, rnd = folder / "crash.db", random.Random(seed)
    acknowledged: set[str] = set()
    kills = 0
    begun = 0
    while len(acknowledged) < wanted:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path), str(begun)], stdout=subprocess.PIPE, text=True
        )
        stop = len(acknowledged) + rnd.randrange(8, 60)
        for line in child.stdout or ():
            acknowledged.add(line.strip())
            if len(acknowledged) >= stop:
                time.sleep(rnd.random() * 0.004)
                child.send_signal(signal.SIGKILL)
                break
        rest = (child.stdout.read() if child.stdout else "").split("\n")
        # A line cut by the kill was printed after its acknowledgement, so it counts only when whole.
        acknowledged.update(line for line in rest[:-1] if line)
        child.wait()
        kills += 1
        begun = max(int(key) for key in acknowledged) + 100
    lost = partial = doubled = 0
    async with Memory.open(str(path), embedder="none") as memory:
        for key in sorted(acknowledged, key=int):
            found = await memory.decisions(about=f"item:{key}")
            lost += not found.items
            doubled += len(found.items) > 1
            partial += any(one.rationale is None or len(one.about) != 1 or not one.decided_by for one in found.items)
        everything = 0
        after: str | None = None
        while True:
            page = await memory.decisions(first=1000, after=after)
            everything += len(page.items)
            partial += sum(one.rationale is None or len(one.about) != 1 or not one.decided_by for one in page.items)
            after = page.next
            if after is None:
                break
        verdict = await memory.verify()
    return {
        "kills": kills,
        "acknowledged": len(acknowledged),
        "found": len(acknowledged) - lost,
        "lost": lost,
        "doubled": doubled,
        "partial": partial,
        "stored": everything,
        "ledger_ok": verdict.ok,
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--versions", type=int, default=1_000_000)
    parser.add_argument("--writes", type=int, default=4_000)
    parser.add_argument("--acknowledged", type=int, default=1_000)
    parser.add_argument("--histories", type=int, default=100_000, help="random histories of one key")
    parser.add_argument("--stories", type=int, default=1_200, help="random histories told to both stores")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--only", nargs="*", default=["rows", "hot", "writes", "crash", "histories", "scale"])
    parser.add_argument("--json", action="store_true", help="print nothing but the result")
    parser.add_argument("--db", default=None, help="neo4j://user:password@host:7687: measure, and empty, that database")
    args = parser.parse_args()
    if args.db is not None:
        import neo4j_store

        print(json.dumps(await neo4j_store.measure(args.db, args.entities, args.versions, args.writes)))
        return
    folder = Path(tempfile.mkdtemp(prefix="latewood-bench-", dir=args.folder))
    result: dict[str, object] = {}
    try:
        for name, work in steps(folder, args):
            if name in args.only:
                say(f"{name} ...")
                result[name] = await work()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(result))


def steps(folder: Path, args: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Awaitable[object]]]]:
    yield "rows", lambda: rows_per_change(folder)
    yield "hot", lambda: hot(folder)

    async def writes() -> object:
        rates = {sync: await write_rates(folder, sync, args.writes) for sync in ("full", "normal")}
        with slow_disk(0.001):
            return {**rates, "full_1_ms": await write_rates(folder, "full", args.writes, "-slow")}

    yield "writes", writes
    yield "crash", lambda: crash(folder, args.acknowledged)
    yield "histories", lambda: histories(folder, args.histories, args.stories, args.seed)
    yield "scale", lambda: scale(folder, args.entities, args.versions)


if __name__ == "__main__":
    asyncio.run(main())
