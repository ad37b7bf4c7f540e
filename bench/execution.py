"""Durable steps a second: Latewood, DBOS and LangGraph on SQLite, beside bare commits of the same rows.

    uv run --group bench python bench/execution.py --json
    uv run python bench/execution.py                        # without the others
    uv run python bench/execution.py --long                 # 10, 1,000 and 10,000 steps in one run
    uv run python bench/execution.py --db bolt://...        # Neo4j too

Prints one JSON object as its last line. Ratios are within one run of the script: a disk is noisy and other engines share
it. Every engine here is asked to have each step on the disk before the next begins: Latewood with ``synchronous=FULL`` in
WAL, DBOS as it opens SQLite by itself, LangGraph with ``durability="sync"`` over sqlite3's defaults; bare commits are
synced like Latewood's. A worker is killed by SIGKILL in the middle of a run: ``killed`` says how long it took until
another one did the next step, how many steps were lost, and how many were called twice (the one that was going on).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apsw

from latewood.execution import step, workflow
from latewood.memory import Memory
from latewood.memory.runs import runs_of, worker_of

STEPS = 10
AT_ONCE = 8
LEASE_S = 2.0
OUR_SYNC = "synchronous=FULL, WAL"


@step()
async def more(number: int) -> int:
    return number + 1


@workflow()
async def count(steps: int) -> int:
    number = 0
    for _ in range(steps):
        number = await more(number)
    return number


Statements = list[tuple[str, tuple[Any, ...]]]


def same_rows(path: Path) -> tuple[list[str], list[Statements]]:
    """Return the schema of a file, and the rows that each unit which finished a step wrote, as statements."""
    database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    made = (
        "select name, sql from sqlite_master where sql is not null and name not glob 'text_1_*' and name != 'reached'"
    )
    schema = [sql for name, sql in database.execute(made) if not name.startswith("sqlite_")]
    finished = "select unit from event e join node on node.id = e.id where node.kind = 'step' order by e"
    units: list[Statements] = []
    for (unit,) in database.execute(finished).fetchall():
        found: Statements = []
        for table, key, of_unit in (
            ("event", "e", "select e from event where unit = ?1"),
            ("node", "n", "select n from node where id in (select id from event where unit = ?1)"),
            ("key", "k", "select k from claim where e in (select e from event where unit = ?1)"),
            ("claim", "e", "select e from event where unit = ?1"),
            ("stretch", "e", "select e from event where unit = ?1"),
            ("memory", "e", "select e from event where unit = ?1"),
            ("receipt", "id", "select ?1"),
            ("text_1", "rowid", "select e from event where unit = ?1"),
            ("text_1", "rowid", "select -n from node where id in (select id from event where unit = ?1)"),
        ):
            what = "rowid, body" if table == "text_1" else "*"
            for row in database.execute(f"select {what} from {table} where {key} in ({of_unit})", (unit,)):
                columns = "(rowid, body)" if table == "text_1" else ""
                found.append((f"insert into {table}{columns} values({', '.join('?' * len(row))})", row))
        last = max(row for statement, row in found if statement.startswith("insert into event"))
        found.append(("insert or replace into head values(?, ?, ?, ?, ?)", (1, 1, last[3], last[21], last[6])))
        units.append(found)
    database.close()
    return schema, units


def bare(folder: Path, schema: list[str], units: list[Statements], *, group: int = 1) -> float:
    """Steps a second of bare apsw that writes the same rows, *group* steps a commit, each commit synced."""
    path = folder / f"bare-{time.monotonic_ns()}.db"
    connection = apsw.Connection(str(path))
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    for statement in schema:
        connection.execute(statement)
    began = time.perf_counter()
    for first in range(0, len(units), group):
        connection.execute("begin immediate")
        for unit in units[first : first + group]:
            for statement, row in unit:
                connection.execute(statement, row)
        connection.execute("commit")
    per_s = len(units) / (time.perf_counter() - began)
    connection.close()
    return per_s


async def latewood(url: str, flows: int) -> dict[str, float]:
    async with Memory.open(url, by="agent:bench", embedder="none") as memory, worker_of(memory, count) as worker:
        await worker.run(count, STEPS)
        began = time.perf_counter()
        for _ in range(flows):
            assert (await worker.run(count, STEPS)).output == STEPS
        sequential = flows * STEPS / (time.perf_counter() - began)
        slots = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with slots:
                assert (await worker.run(count, STEPS)).output == STEPS

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(4 * flows)))
        concurrent = 4 * flows * STEPS / (time.perf_counter() - began)
    return {"sequential": round(sequential, 1), "concurrent": round(concurrent, 1)}


@step()
async def slow(path: str, number: int) -> int:
    """Write down that it was called, outside of the store, and take a while."""
    with Path(path).open("ab", buffering=0) as file:  # noqa: ASYNC230 - one short line
        file.write(f"{number}\n".encode())
    await asyncio.sleep(0.02)
    return number


@workflow()
async def slowly(path: str, steps: int) -> int:
    for number in range(steps):
        await slow(path, number)
    return steps


async def until(done: Callable[[], bool]) -> None:
    """Look until *done*: what happens in another process sets no event here."""
    while not done():  # noqa: ASYNC110 - as said
        await asyncio.sleep(0.005)


async def takeover(url: str, effects: Path, steps: int = 60) -> dict[str, Any]:
    """Kill -9 a worker in the middle of a run; measure until another one does the next step, and count what was lost."""
    async with Memory.open(url, by="agent:bench", embedder="none") as memory:
        # Started by hand, so that the run is there however early the process dies.
        run = await runs_of(memory).start(slowly, str(effects), steps)
        child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--worker", url, stdout=subprocess.DEVNULL
        )

        def calls() -> list[str]:
            return effects.read_text().splitlines() if effects.exists() else []

        await until(lambda: len(calls()) >= steps // 3)
        async with worker_of(memory, slowly, lease_s=LEASE_S, poll_s=0.1):
            child.send_signal(signal.SIGKILL)
            killed = time.perf_counter()
            await child.wait()
            before = len(calls())
            await until(lambda: len(calls()) > before)
            took = time.perf_counter() - killed
            while not (done := await runs_of(memory).run(run.id)).ended:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
    numbers = calls()
    return {
        "lease_s": LEASE_S, "takeover_s": round(took, 2), "steps": steps, "status": str(done.status),
        "lost": steps - len(set(numbers)), "called_again": len(numbers) - len(set(numbers)),
    }  # fmt: skip


async def work(url: str) -> None:
    """Be a worker until somebody kills this process."""
    async with (
        Memory.open(url, by="agent:lost", embedder="none") as memory,
        worker_of(memory, slowly, lease_s=LEASE_S, poll_s=0.05),
    ):
        await asyncio.sleep(600)


async def long_runs(url: str) -> dict[str, Any]:
    """Milliseconds a step in longer and longer runs: by the clock, and of this process's CPU, which no neighbour takes."""
    wall: dict[str, float] = {}
    busy: dict[str, float] = {}
    async with Memory.open(url, by="agent:bench", embedder="none") as memory, worker_of(memory, count) as worker:
        await worker.run(count, 100)
        for steps, runs in ((10, 10), (1_000, 1), (10_000, 1)):
            began, cpu = time.perf_counter(), time.process_time()
            for _ in range(runs):
                run = await worker.run(count, steps)
                assert run.output == steps
            wall[str(steps)] = round((time.perf_counter() - began) / steps / runs * 1_000, 3)
            busy[str(steps)] = round((time.process_time() - cpu) / steps / runs * 1_000, 3)
    return {"ms": wall, "cpu_ms": busy, "ratio": _longest(wall), "cpu_ratio": _longest(busy)}


def _longest(ms: dict[str, float]) -> float:
    """Return the longest run's time a step over the mean of the shorter ones'."""
    return round(ms["10000"] / statistics.mean([ms["10"], ms["1000"]]), 2)


def measured(run: Callable[[], object], flows: int) -> dict[str, float]:
    run()
    began = time.perf_counter()
    for _ in range(flows):
        run()
    sequential = flows * STEPS / (time.perf_counter() - began)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        began = time.perf_counter()
        for done in [pool.submit(run) for _ in range(flows)]:
            done.result()
        concurrent = flows * STEPS / (time.perf_counter() - began)
    return {"sequential": round(sequential, 1), "concurrent": round(concurrent, 1)}


def dbos(folder: Path, flows: int) -> dict[str, Any] | None:
    try:
        from dbos import DBOS
    except ImportError:
        return None
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}", "log_level": "ERROR"})

    @DBOS.step()
    def one(number: int) -> int:
        return number + 1

    @DBOS.workflow()
    def flow() -> int:
        number = 0
        for _ in range(STEPS):
            number = one(number)
        return number

    DBOS.launch()
    try:
        return {**measured(flow, flows), "version": version("dbos"), "sync": "as it opens SQLite by itself"}
    finally:
        DBOS.destroy()


def langgraph(folder: Path, flows: int) -> dict[str, Any] | None:
    try:
        import sqlite3

        from langgraph.checkpoint.sqlite import SqliteSaver
        from langgraph.func import entrypoint, task
    except ImportError:
        return None
    connection = sqlite3.connect(folder / "langgraph.sqlite", check_same_thread=False)

    @task
    def one(number: int) -> int:
        return number + 1

    @entrypoint(checkpointer=SqliteSaver(connection))
    def flow(steps: int) -> int:
        number = 0
        for _ in range(steps):
            number = one(number).result()
        return number

    threads = iter(range(10**9))

    def run() -> None:
        config = {"configurable": {"thread_id": str(next(threads))}}
        assert flow.invoke(STEPS, config, durability="sync") == STEPS

    try:
        return {**measured(run, flows), "version": version("langgraph"), "sync": "durability=sync, sqlite3's defaults"}
    finally:
        connection.close()


def against_others(folder: Path, flows: int) -> dict[str, Any]:
    """Return what Latewood does on SQLite beside the other engines and beside bare commits of the same rows."""
    ours = asyncio.run(latewood(str(folder / "latewood.db"), flows))
    schema, units = same_rows(folder / "latewood.db")
    rows = [bare(folder, schema, units[:500]) for _ in range(2)]
    rows_together = bare(folder, schema, units, group=AT_ONCE)
    peers = {name: found for name, run in (("dbos", dbos), ("langgraph", langgraph)) if (found := run(folder, flows))}
    report: dict[str, Any] = {
        "latewood": {**ours, "version": version("latewood"), "sync": OUR_SYNC}, **peers,
        "bare": {
            "sequential": round(statistics.mean(rows), 1), "in_groups_of_8": round(rows_together, 1), "sync": OUR_SYNC
        },
        "sequential_over_bare": round(ours["sequential"] / statistics.mean(rows), 2),
        "concurrent_over_bare": round(ours["concurrent"] / rows_together, 2),
    }  # fmt: skip
    for kind in ("sequential", "concurrent"):
        best = max((peer[kind] for peer in peers.values()), default=None)
        report[f"{kind}_over_best_peer"] = None if best is None else round(ours[kind] / best, 2)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=int, default=20)
    parser.add_argument("--long", action="store_true", help="10, 1,000 and 10,000 steps in one run")
    parser.add_argument("--db", metavar="URL", help="a Neo4j to report too")
    parser.add_argument(
        "--json", action="store_true", help="one line of JSON and nothing else; the last line always is"
    )
    parser.add_argument("--worker", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        asyncio.run(work(given.worker))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = against_others(folder, given.flows)
        report["killed"] = asyncio.run(takeover(str(folder / "killed.db"), folder / "called"))
        if given.long:
            report["ms_a_step"] = asyncio.run(long_runs(str(folder / "long.db")))
        if given.db:
            killed = asyncio.run(takeover(given.db, folder / "called-neo4j"))
            report["neo4j"] = {**asyncio.run(latewood(given.db, given.flows)), "killed": killed}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
