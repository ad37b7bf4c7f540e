"""Durable steps a second: Latewood, DBOS and LangGraph on SQLite, beside bare commits of the same rows.

    uv run python bench/execution.py                                          # without the others
    uv run --group bench python bench/execution.py
    uv run python bench/execution.py --long                                   # 10, 1,000 and 10,000 steps in one run

Prints one JSON object as its last line. Ratios are within one run of the script: a disk is noisy and other engines share
it. Every engine here is asked to have each step on the disk before the next begins: Latewood with ``synchronous=FULL`` in
WAL, DBOS as it opens SQLite by itself, LangGraph with ``durability="sync"`` over sqlite3's defaults.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
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


async def long_runs(url: str) -> dict[str, Any]:
    """Milliseconds a step at the end of longer and longer runs, each beside short runs of the same time of day."""
    ms: dict[str, Any] = {}
    async with Memory.open(url, by="agent:bench", embedder="none") as memory, worker_of(memory, count) as worker:
        for steps in (10, 1_000, 10_000):
            began = time.perf_counter()
            run = await worker.run(count, steps)
            ms[str(steps)] = round((time.perf_counter() - began) / steps * 1_000, 3)
            if steps == 1_000:
                units = len((await runs_of(memory).show(run.id)).steps)
                assert units == steps
    ms["ratio"] = round(ms["10000"] / statistics.mean([ms["10"], ms["1000"]]), 2)
    return ms


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=int, default=20)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--neo4j", metavar="URL")
    parser.add_argument("--json", action="store_true", help="for symmetry: the last line is JSON anyway")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = asyncio.run(latewood(str(folder / "latewood.db"), given.flows))
        schema, units = same_rows(folder / "latewood.db")
        rows = [bare(folder, schema, units[:500]) for _ in range(2)]
        rows_together = bare(folder, schema, units, group=AT_ONCE)
        peers = {
            name: found
            for name, run in (("dbos", dbos), ("langgraph", langgraph))
            if (found := run(folder, given.flows))
        }
        report: dict[str, Any] = {
            "bare_steps_per_s": [round(one, 1) for one in rows], "bare_groups_of_8_per_s": round(rows_together, 1),
            "latewood": ours, **peers,
            "sequential_over_bare": round(ours["sequential"] / statistics.mean(rows), 2),
            "concurrent_over_bare": round(ours["concurrent"] / rows_together, 2),
        }  # fmt: skip
        for kind in ("sequential", "concurrent"):
            best = max((peer[kind] for peer in peers.values()), default=None)
            report[f"{kind}_over_best_peer"] = None if best is None else round(ours[kind] / best, 2)
        if given.long:
            report["ms_a_step"] = asyncio.run(long_runs(str(folder / "long.db")))
        if given.neo4j:
            report["neo4j"] = asyncio.run(latewood(given.neo4j, given.flows))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
