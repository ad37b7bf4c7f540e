"""Measure how fast a transcript is taken in, with vectors and without, beside the least that anyone would have to do.

    uv run python bench/ingest_speed.py [--turns 20000] [--vectors 2000] [--folder DIR] [--json]

The transcript is written as an agent's program writes it: a JSON line a turn, of words drawn like those of a language (few
often, many seldom). Bare reads the same lines, and inserts each turn into a table and a full-text index of SQLite, in
transactions of a thousand rows with the same sync setting; with vectors it asks the same embedder for the same texts, in
batches of 64, and inserts what it gets. Both sides run in turn in one process, the embedder is loaded before. Memory is the
peak (Linux only) of a process of its own that takes in one file, and of another for one of five times as many turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw

from latewood.ingestion.embedding.choice import Choice
from latewood.ingestion.embedding.port import Embedder
from latewood.memory import Memory
from latewood.memory.imports import ingest_transcripts

WORDS_A_TURN = 30
ROWS_A_TRANSACTION = 1_000
TEXTS_A_BATCH = 64
START = datetime(2026, 1, 1, tzinfo=UTC)
FLAT = 5
"""The larger file's process is compared with one of so many times fewer turns."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def write_transcript(path: Path, turns: int) -> None:
    """Write a session of *turns* turns as Claude Code does."""
    # Not above: the processes whose memory is measured write none, and need no numpy.
    from recall_speed import sentence

    chance = random.Random(turns)
    with path.open("w", encoding="utf-8") as file:
        for n in range(turns):
            text = sentence(chance, WORDS_A_TURN)
            role = "user" if n % 2 == 0 else "assistant"
            line = {
                "type": role, "sessionId": "bench", "uuid": f"turn-{n}", "parentUuid": f"turn-{n - 1}" if n else None,
                "timestamp": (START + timedelta(seconds=n)).isoformat().replace("+00:00", "Z"),
                "message": {"role": role, "content": [{"type": "text", "text": text}]},
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")


def texts_of(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            read: dict[str, Any] = json.loads(line)
            yield read["timestamp"], read["message"]["content"][0]["text"]


def insert_bare(path: Path, db: Path, embedder: Embedder | None) -> int:
    """Insert the turns of *path* with nothing around them; return how many they were."""
    connection: Any = apsw.Connection(str(db))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.execute("create table turn(id integer primary key, at text, body text, vector blob)")
    connection.execute("create virtual table words using fts5(body, tokenize='porter unicode61 remove_diacritics 2')")
    count = 0
    rows: list[tuple[int, str, str, bytes | None]] = []

    def write() -> None:
        with connection:
            connection.executemany("insert into turn values(?, ?, ?, ?)", rows)
            connection.executemany("insert into words(rowid, body) values(?, ?)", ((row[0], row[2]) for row in rows))
        rows.clear()

    def embedded(batch: list[tuple[int, str, str]]) -> None:
        vectors = [None] * len(batch) if embedder is None else embedder.embed([row[2] for row in batch])
        rows.extend((*row, vector) for row, vector in zip(batch, vectors, strict=True))
        batch.clear()

    batch: list[tuple[int, str, str]] = []
    for at, text in texts_of(path):
        count += 1
        batch.append((count, at, text))
        if len(batch) == TEXTS_A_BATCH:
            embedded(batch)
        if len(rows) >= ROWS_A_TRANSACTION:
            write()
    embedded(batch)
    write()
    connection.close()
    return count


async def ingest(path: Path, db: Path, embedder: str) -> int:
    """Take the turns of *path* in as the command line does; return how many memories there are."""
    async with Memory.open(str(db), by="system:bench", embedder=embedder) as memory:
        report = await ingest_transcripts(memory, [path], human="human:ada")
        if embedder != "none":
            (generation,) = await memory.store.generations(memory.space)
            if generation.missing:
                raise RuntimeError(f"{generation.missing} memories have no vector")
    if report.problems or report.rejects:
        raise RuntimeError(f"not all was taken: {report}")
    return report.written


async def measure(folder: Path, turns: int, embedder: Embedder | None) -> dict[str, Any]:
    path = folder / f"{turns}.jsonl"
    write_transcript(path, turns)
    name = "none" if embedder is None else "light"
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(2):
        began = time.perf_counter()
        written = await ingest(path, folder / f"ours-{name}-{turn}.db", name)
        between = time.perf_counter()
        count = insert_bare(path, folder / f"bare-{name}-{turn}.db", embedder)
        ended = time.perf_counter()
        if count != turns or written < turns:
            raise RuntimeError(f"{turns} turns were written, {written} taken in, {count} inserted")
        ours.append(between - began)
        theirs.append(ended - between)
    return {
        "turns": turns, "ours_per_s": round(turns / min(ours)), "bare_per_s": round(turns / min(theirs)),
        "ratio": round(min(theirs) / min(ours), 3),
    }  # fmt: skip


def peak_of(folder: Path, turns: int) -> int:
    """Return the most memory, in MB, that a process took for a file of *turns* turns."""
    path = folder / f"memory-{turns}.jsonl"
    write_transcript(path, turns)
    asked = [sys.executable, __file__, "--peak", str(path), "--folder", str(folder)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20_000, metavar="N", help="turns without vectors")
    parser.add_argument("--vectors", type=int, default=2_000, metavar="N", help="turns with vectors")
    parser.add_argument("--folder", metavar="DIR", help="a folder for the files; one of its own when left out")
    parser.add_argument("--json", action="store_true", help="print nothing but the result, which is JSON in any case")
    parser.add_argument("--peak", metavar="FILE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        if given.peak:
            asyncio.run(ingest(Path(given.peak), folder / "peak.db", "none"))
            # Not getrusage: it counts from before the fork, when this was its parent.
            (peak,) = (line for line in Path("/proc/self/status").read_text("ascii").splitlines() if "VmHWM" in line)
            print(int(peak.split()[1]) // 1024)
            return
        result: dict[str, Any] = {"cpus": os.cpu_count()}
        say("without vectors …")
        result["plain"] = asyncio.run(measure(folder, given.turns, None))
        say("with vectors …")
        embedder = Choice.read("light").open()
        embedder.embed(["warm"])
        result["vectors"] = asyncio.run(measure(folder, given.vectors, embedder))
        say("memory …")
        small, large = peak_of(folder, given.turns // FLAT), peak_of(folder, given.turns)
        result["memory"] = {
            "turns": [given.turns // FLAT, given.turns], "peak_mb": [small, large], "ratio": round(large / small, 2),
        }  # fmt: skip
    print(json.dumps(result, indent=None if given.json else 2))


if __name__ == "__main__":
    main()
