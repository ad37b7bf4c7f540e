"""Messages a second end to end, beside bare rows in the same run; and what a million that wait cost.

    uv run python bench/messages.py --json                                     # SQLite
    uv run python bench/messages.py --json --neo4j neo4j://neo4j:password@localhost:7687
    uv run python bench/messages.py --json --pending 1000000                   # and the deep queue, SQLite (10 minutes)

Prints one JSON object as its last line. End to end is: published and durable, received under a lease, acknowledged and
durable. Bare rows do the same with one small table and one commit each: insert, mark as taken, delete; in SQLite under
the same settings (``synchronous=FULL`` in WAL, taking under ``NORMAL`` as Latewood does), in Neo4j one transaction each.
Eight consumers are eight tasks with Latewood, and with bare rows eight connections in eight threads.
Redelivery: another process takes a message and is killed (SIGKILL) with it in its hands; how long until it comes again,
counted from the kill and from the end of its lease.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from latewood.execution.messages import Limits, Messages, Post
from latewood.graph_schema.commands import Command
from latewood.graph_schema.values import Json
from latewood.memory import Memory
from latewood.memory.messages import messages_of
from latewood.memory.runs import book_of

DATA: dict[str, Json] = {"carrier": "A", "lane": "Lyon", "delay_min": 42, "note": "late again"}
MANY = 450
LEASE_S = 2.0
DEEP_LIMITS = Limits(pending_max=10_000_000, bytes_max=10**12)


async def _one(messages: Messages, channel: str, count: int) -> None:
    for _ in range(count):
        await messages.publish(channel, DATA)
        (received,) = await messages.receive(channel, wait_s=30)
        await messages.ack(received)


async def latewood(url: str, count: int, hands: int) -> float:
    """Messages a second through one channel, by *hands* tasks that each publish, receive and acknowledge."""
    async with Memory.open(url, by="agent:bench", embedder="none") as memory:
        messages = messages_of(memory)
        channel = f"bench-{time.monotonic_ns()}"
        await messages.make_channel(channel)
        await _one(messages, channel, 5)
        began = time.perf_counter()
        await asyncio.gather(*(_one(messages, channel, count // hands) for _ in range(hands)))
        return count // hands * hands / (time.perf_counter() - began)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    return connection


def _bare_sqlite(path: Path, count: int) -> None:
    connection = _connect(path)
    for _ in range(count):
        connection.execute("insert into message(data, owner) values(?, null)", (json.dumps(DATA),))
        connection.execute("pragma synchronous = normal")
        connection.execute("begin immediate")
        (one,) = connection.execute("select id from message where owner is null order by id limit 1").fetchone()
        connection.execute("update message set owner = 'me' where id = ?", (one,))
        connection.execute("commit")
        connection.execute("pragma synchronous = full")
        connection.execute("delete from message where id = ?", (one,))
    connection.close()


def bare_sqlite(folder: Path, count: int, hands: int) -> float:
    """The same with bare rows of SQLite."""
    path = folder / f"bare-{time.monotonic_ns()}.db"
    made = _connect(path)
    made.execute("create table message(id integer primary key, data text, owner text)")
    made.execute("create index free on message(id) where owner is null")
    made.close()
    began = time.perf_counter()
    with ThreadPoolExecutor(hands) as threads:
        list(threads.map(lambda _: _bare_sqlite(path, count // hands), range(hands)))
    return count // hands * hands / (time.perf_counter() - began)


def bare_neo4j(url: str, count: int, hands: int) -> float:
    """The same with bare nodes of Neo4j."""
    from neo4j import GraphDatabase

    from latewood.storage.neo4j.database import Address

    address = Address.parse(url)
    with GraphDatabase.driver(address.uri, auth=(address.user, address.password)) as driver:
        label = f"Bare{time.monotonic_ns()}"
        driver.execute_query(f"CREATE INDEX {label.lower()} FOR (m:{label}) ON (m.id)", database_=address.database)  # type: ignore[arg-type]

        def one(hand: int) -> None:
            with driver.session(database=address.database) as session:
                for number in range(count // hands):
                    own = f"{hand}-{number}"
                    session.run(f"CREATE (:{label} {{id: $id, data: $data}})", id=own, data=json.dumps(DATA)).consume()  # type: ignore[arg-type]
                    session.run(f"MATCH (m:{label} {{id: $id}}) SET m.owner = 'me'", id=own).consume()  # type: ignore[arg-type]
                    session.run(f"MATCH (m:{label} {{id: $id}}) DELETE m", id=own).consume()  # type: ignore[arg-type]

        began = time.perf_counter()
        with ThreadPoolExecutor(hands) as threads:
            list(threads.map(one, range(hands)))
        return count // hands * hands / (time.perf_counter() - began)


async def fill(memory: Memory, pending: int) -> None:
    """Publish many at once: what is measured afterwards is not how they came."""
    post = Post(book_of(memory))
    channel = await post.channel("deep")
    groups: list[Json] = [group.id for group in channel.groups]
    for first in range(0, pending, MANY):
        commands: list[Command] = []
        for _ in range(min(MANY, pending - first)):
            message = memory.ids.new()
            queue: dict[str, Json] = {"groups": groups, "size": 70, "ready_at": 0}
            spec: dict[str, Json] = {"id": message, "type": "deep", "channel": "deep", "data": DATA, "queue": queue}
            commands += post.write.message(message, channel.id, spec, ())
        await post.submit(post.unit(commands, body=first))


class Deep:
    """A file with *pending* messages that wait, filled in bulk, and what one more then costs, timed singly."""

    def __init__(self, memory: Memory, pending: int) -> None:
        self.memory, self.messages, self.pending = memory, messages_of(memory), pending
        self.filled_s = 0.0
        self.took: dict[str, list[float]] = {"publish": [], "receive": [], "ack": []}

    async def fill(self) -> None:
        await self.messages.make_channel("deep", limits=DEEP_LIMITS)
        began = time.perf_counter()
        await fill(self.memory, self.pending)
        self.filled_s = time.perf_counter() - began

    async def one(self) -> None:
        begins = [time.perf_counter()]
        await self.messages.publish("deep", DATA)
        begins.append(time.perf_counter())
        (received,) = await self.messages.receive("deep")
        begins.append(time.perf_counter())
        await self.messages.ack(received)
        begins.append(time.perf_counter())
        for place, name in enumerate(self.took):
            self.took[name].append((begins[place + 1] - begins[place]) * 1e6)

    async def told(self) -> dict[str, Any]:
        assert (await self.messages.waiting("deep"))["default"] == self.pending
        median = {name: round(statistics.median(values), 1) for name, values in self.took.items()}
        return {
            "pending": self.pending, "fill_per_s": round(self.pending / self.filled_s), "median_us": median,
            "sum_us": round(sum(median.values()), 1),
        }  # fmt: skip


async def deep(folder: Path, pendings: list[int], count: int) -> list[dict[str, Any]]:
    """What receiving, acknowledging and publishing cost with each of *pendings* that wait, in turns: one load for all."""
    async with contextlib.AsyncExitStack() as opened:
        files: list[Deep] = []
        for pending in pendings:
            opening = Memory.open(str(folder / f"deep-{pending}.db"), by="agent:bench", embedder="none")
            files.append(Deep(await opened.enter_async_context(opening), pending))
            await files[-1].fill()
        for _ in range(count):
            for one in files:
                await one.one()
        return [await one.told() for one in files]


async def hold_for_good(url: str) -> None:
    """Take a message of the channel ``held``, say so, and do nothing more."""
    async with Memory.open(url, by="agent:lost", embedder="none") as memory:
        (received,) = await messages_of(memory).receive("held", wait_s=30, lease_s=LEASE_S)
        print(received.message.id, received.until.timestamp(), flush=True)
        await asyncio.Event().wait()


async def redelivered(url: str, kills: int) -> dict[str, Any]:
    """How long a message whose consumer is killed takes to come to another, in seconds."""
    from_kill: list[float] = []
    from_lease: list[float] = []
    async with Memory.open(url, by="agent:bench", embedder="none") as memory:
        messages = messages_of(memory)
        await messages.make_channel("held")
        for _ in range(kills):
            sent = await messages.publish("held", DATA)
            child = await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--hold", url, stdout=subprocess.PIPE
            )  # fmt: skip
            assert child.stdout is not None
            message, until = (await child.stdout.readline()).decode().split()
            os.kill(child.pid, signal.SIGKILL)
            killed_at = time.time()
            (received,) = await messages.receive("held", wait_s=30)
            came_at = time.time()
            assert received.message.id == message == sent.id
            await messages.ack(received)
            await child.wait()
            from_kill.append(came_at - killed_at)
            from_lease.append(came_at - float(until))
        assert (await messages.waiting("held"))["default"] == 0
    return {
        "kills": kills, "lease_s": LEASE_S, "from_kill_s_max": round(max(from_kill), 3),
        "after_lease_s_max": round(max(from_lease), 3), "after_lease_s_min": round(min(from_lease), 3),
    }  # fmt: skip


def beside(ours: list[float], bare: list[float]) -> dict[str, float]:
    """Put the medians of both beside each other."""
    own, rows = statistics.median(ours), statistics.median(bare)
    return {"per_s": round(own, 1), "bare_per_s": round(rows, 1), "ratio": round(own / rows, 3)}


async def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for hands in (1, 8):
        ours: list[float] = []
        bare: list[float] = []
        for _ in range(args.rounds):
            ours.append(await latewood(str(folder / f"own-{time.monotonic_ns()}.db"), args.count, hands))
            bare.append(await asyncio.to_thread(bare_sqlite, folder, args.count, hands))
        found[f"sqlite_{hands}"] = beside(ours, bare)
        if args.neo4j:
            ours, bare = [], []
            for _ in range(args.rounds):
                ours.append(await latewood(args.neo4j, args.count, hands))
                bare.append(await asyncio.to_thread(bare_neo4j, args.neo4j, args.count, hands))
            found[f"neo4j_{hands}"] = beside(ours, bare)
        print(json.dumps(found), flush=True)
    found["redelivered"] = {"sqlite": await redelivered(str(folder / "held.db"), args.kills)}
    if args.neo4j:
        found["redelivered"]["neo4j"] = await redelivered(args.neo4j, args.kills)
    shallow, *further = await deep(folder, [1_000, *([args.pending] if args.pending > 1_000 else [])], args.count)
    found["deep"] = {"shallow": shallow}
    for full in further:
        found["deep"] |= {"deep": full, "ratio": round(full["sum_us"] / shallow["sum_us"], 2)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the last line is JSON in any case")
    parser.add_argument("--neo4j", default="", help="the address of a Neo4j to measure too")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pending", type=int, default=0, help="how many wait in the deep queue; 0: no deep queue")
    parser.add_argument("--kills", type=int, default=5, help="how many consumers are killed with a message")
    parser.add_argument("--hold", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.hold:
        asyncio.run(hold_for_good(args.hold))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(measure(args, Path(folder)))))


if __name__ == "__main__":
    main()
