"""After an erasure nobody finds the words in the raw files: table, text index, log, free pages."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from latewood.graph_schema.errors import LatewoodError, RefusedError
from latewood.memory import Memory

NAME = "zebulon"
WORDS = ("zebulon", "quixotic", "marzipan", "xylograph")
CRASHING = """
import asyncio, os, sys
from latewood.memory import Memory
from latewood.storage.crashpoints import install

async def main(path, target):
    memory = await Memory.open(path, by="human:ada")
    install(lambda point: os._exit(9) if point == "group.committed" else None)
    await memory.erase(target, reason="asked for")

asyncio.run(main(*sys.argv[1:]))
"""


def found(folder: Path, *words: str) -> list[tuple[str, str]]:
    """Return (file, word) for each of *words* that stands in a file of *folder*, in whatever case."""
    files = {file.name: file.read_bytes().lower() for file in folder.iterdir()}
    return [(name, word) for name, data in files.items() for word in words if word.encode() in data]


def marks(folder: Path) -> list[Path]:
    return list(folder.glob("*-scrub"))


def log_bytes(path: Path) -> int:
    log = path.with_name(path.name + "-wal")
    return log.stat().st_size if log.exists() else 0


def crash(path: Path, target: str) -> int:
    return subprocess.run([sys.executable, "-c", CRASHING, str(path), target], check=False).returncode


def doctor(path: Path) -> dict[str, Any]:
    given = ["-c", "from latewood.clients.cli import main; main()", "doctor", "--db", str(path), "--json"]
    return json.loads(subprocess.run([sys.executable, *given], capture_output=True, text=True, check=False).stdout)


async def tell(memory: Memory) -> str:
    """Write the words wherever they can be written, and return the node's key."""
    key = f"person:{NAME}"
    note = await memory.observe(
        key, "note", f"a quixotic {'long ' * 9_000}letter", quote="so quixotic", as_written="Quixotic", source="marzipan.pdf",
        idempotency_key="marzipan-1",
    )  # fmt: skip
    await memory.observe(key, "profile", {"hobby": ["xylograph", 3]}, session="s-1")
    await memory.retract(note.id, because="the quixotic letter was another's")
    await memory.relate("team:a", "has", key)
    with pytest.raises(RefusedError):
        await memory.observe(key, "no such predicate of zebulon", 1)
    await memory.observe("person:other", "note", "stays")
    return key


async def test_the_words_are_in_no_file(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        key = await tell(memory)
        assert {word for _, word in found(tmp_path, *WORDS)} == set(WORDS)
        report = await memory.erase(key, reason="asked for")

        assert found(tmp_path, *WORDS) == []
        assert report.scrub.state == "done"
        assert (report.verdict.ok, report.verdict.erased) == (True, report.places["ledger"])
        assert report.places["refusals"] == 1
        assert report.places["text"] == 3
        assert await memory.find("stays")
    assert found(tmp_path, *WORDS) == []
    async with Memory.open(str(path), by="human:ada") as memory:
        await memory.observe("person:other", "note", "more")
        assert (await memory.verify()).ok
    assert found(tmp_path, *WORDS) == []


async def test_pages_that_were_split_and_freed_hold_nothing(tmp_path: Path) -> None:
    rng = random.Random(7)
    words: dict[str, str] = {}
    async with Memory.open(str(tmp_path / "t.db"), by="human:ada", sync="normal") as memory:
        for number in range(400):
            word = f"zq{rng.getrandbits(64):016x}"
            filler = " ".join(f"plain{rng.randrange(90)}" for _ in range(rng.choice((1, 8, 60, 700))))
            written = await memory.observe(
                f"thing:{rng.randrange(30)}", f"p{number % 7}", f"{filler} {word} {filler}", quote=word
            )
            words[written.id] = word
        gone = rng.sample(sorted(words), 60)
        for fact in gone:
            await memory.erase(fact, reason="asked for")

        # The index keeps what a word has beyond its neighbour's beginning, so its end is looked for.
        assert found(tmp_path, *(words[fact][5:] for fact in gone)) == []
        assert len(found(tmp_path, *(word for fact, word in words.items() if fact not in gone))) >= 340
    assert found(tmp_path, *(words[fact][5:] for fact in gone)) == []


async def test_while_another_reads_it_is_pending_and_then_finished(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        key = await tell(memory)
        reader = apsw.Connection(str(path))
        reader.execute("begin")
        reader.execute("select count(*) from event").fetchall()
        report = await memory.erase(key, reason="asked for")
        assert report.scrub.state == "pending"
        assert "doctor" in report.scrub.detail
        assert found(tmp_path, *WORDS)
        with pytest.raises(LatewoodError):
            await memory.node(key)
        async with Memory.open(str(path)) as another:
            assert (await another.store.scrub()).state == "pending"

        reader.execute("commit")
        assert (await memory.store.scrub()).state == "done"
        assert found(tmp_path, *WORDS) == []
        assert (await memory.store.scrub()).state == "done"
        reader.close()


async def test_doctor_finishes_what_was_pending(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    reader = None
    async with Memory.open(str(path), by="human:ada") as memory:
        key = await tell(memory)
        reader = apsw.Connection(str(path))
        reader.execute("begin")
        reader.execute("select count(*) from event").fetchall()
        assert (await memory.erase(key, reason="asked for")).scrub.state == "pending"
    waiting = doctor(path)
    reader.execute("commit")
    finished = doctor(path)

    states = [one["state"] for health in (waiting, finished) for one in health["checks"] if one["name"] == "erasures"]
    assert states == ["warning", "ok"]
    assert found(tmp_path, *WORDS) == []
    reader.close()


async def test_a_crash_after_the_commit_leaves_nothing_once_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        key = await tell(memory)
        node = (await memory.node(key)).id
    assert crash(path, node) == 9
    assert found(tmp_path, *WORDS)
    assert log_bytes(path) > 0

    async with Memory.open(str(path), by="human:ada") as memory:
        assert found(tmp_path, *WORDS) == []
        assert log_bytes(path) == 0
        assert (await memory.node(node)).erased
        verdict = await memory.verify()
        assert verdict.ok
        assert verdict.erased > 0


async def test_a_refused_erasure_leaves_no_mark(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "t.db"), by="human:ada") as memory:
        await tell(memory)
        for target, by in (("person:zebulon", "agent:x"), ("human:ada", "human:ada")):
            with pytest.raises(RefusedError):
                await memory.erase(target, reason="r", by=by)

        assert not marks(tmp_path)


async def test_a_later_import_takes_the_words_of_an_earlier_one(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    async with (
        Memory.open(str(here / "t.db"), by="human:ada") as memory,
        Memory.open(str(there / "t.db"), by="human:ada") as copy,
    ):
        key = await tell(memory)
        image = await memory.store.image("default")
        await copy.store.restore(image)
        before = await memory.store.ledger_rows("default", "knowledge", 0)
        await copy.store.replay("default", before)
        assert {word for _, word in found(there, *WORDS)} == set(WORDS)
        await memory.erase(key, reason="asked for")
        await copy.store.replay("default", await memory.store.ledger_rows("default", "knowledge", 0))
        assert found(there, *WORDS) == []
        assert await copy.verify() == await memory.verify()

        assert await copy.store.replay("default", before) == 0
        assert found(there, *WORDS) == []


async def test_copies_made_for_an_upgrade_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        key = await tell(memory)
        (tmp_path / "t.db.schema-0.backup").write_bytes(b"as it was before")
        report = await memory.erase(key, reason="asked for")

        assert "t.db.schema-0.backup" in report.scrub.detail
