"""A rebuild beside writers in other processes, and one that is killed: nothing is lost, and the next goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import apsw
import pytest
from conformance.stores import empty_neo4j
from neo4j import GraphDatabase

from latewood.graph_schema.errors import CorruptError
from latewood.memory import BlockingMemory
from latewood.storage.neo4j.database import Address
from latewood.storage.rebuilding import Place, write_place

WRITES: Final = 60
WRITER: Final = """
import sys
from latewood.memory import BlockingMemory
with BlockingMemory.open(sys.argv[1], by="agent:writer") as memory:
    print("ready", flush=True)
    for n in range(int(sys.argv[2])):
        # One key that everybody closes and opens again, and one of each write's own.
        written = memory.observe("carrier:A", "rate", n)
        memory.observe(f"carrier:{n}", "note", f"word{n} otter")
        print(written.id, flush=True)
"""
REBUILDER: Final = """
import asyncio, sys
from latewood.memory import Memory
from latewood.memory.rebuilding import rebuild
async def main():
    async with Memory.open(sys.argv[1]) as memory:
        def say(done, total, cursor):
            print(cursor, flush=True)
        await rebuild(memory.store, "default", step_rows=5, progress=say)
asyncio.run(main())
"""
LOSSES: Final = {
    "sqlite": ("delete from stretch where abs(random()) % 3 = 0", "delete from text_1 where abs(random()) % 3 = 0"),
    "neo4j": (
        "MATCH ()-[h:HAS_FACT]->() WHERE rand() < 0.3 DELETE h",
        "MATCH (k:Key) WHERE rand() < 0.3 SET k.tail = null, k.top = 0",
    ),
}


def child(script: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, *words], stdout=subprocess.PIPE, text=True)


def lose(kind: str, url: str) -> None:
    """Take rows from under the store."""
    if kind == "sqlite":
        database = apsw.Connection(url)
        database.set_busy_timeout(20_000)
        for statement in LOSSES[kind]:
            database.execute(statement)
        database.close()
        return
    address = Address.parse(url)
    with (
        GraphDatabase.driver(address.uri, auth=(address.user, address.password)) as driver,
        driver.session(database=address.database) as session,
    ):
        for statement in LOSSES[kind]:
            # Neo4j may end it to let the writer go on, where both wait for what the other has locked: then again.
            session.execute_write(lambda one, statement=statement: one.run(statement).consume())


@pytest.fixture(params=["sqlite", "neo4j"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """A kind of store, and the address of an empty one."""
    kind = str(request.param)
    if kind == "sqlite":
        return kind, str(tmp_path / "t.db")
    url = str(request.getfixturevalue("neo4j_url"))
    empty_neo4j(url)
    return kind, url


def test_writers_in_another_process_lose_nothing(store: tuple[str, str]) -> None:
    kind, url = store
    acknowledged: list[str] = []
    mended = 0
    with child(WRITER, url, str(WRITES)) as writer, BlockingMemory.open(url, by="human:ada") as memory:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        reader = threading.Thread(target=lambda: acknowledged.extend(line.strip() for line in writer.stdout or ()))
        reader.start()
        writing = True
        while writing:
            # Once more after the last write: a writer may be through before anything of its was lost.
            writing = reader.is_alive()
            lose(kind, url)
            mended += memory.rebuild().differences
            memory.observe("carrier:B", "rate", mended)
        reader.join()
        assert writer.wait() == 0
        # What was written on rows that were just gone is put right by the last one.
        memory.rebuild()
        left = memory.rebuild(dry_run=True)
        kept = memory.facts_by_id(acknowledged)
        last = memory.entity("carrier:A")
        found = memory.find("otter", first=50)

    assert mended > 0
    assert left.differences == 0
    assert len(acknowledged) == WRITES
    assert set(kept) == set(acknowledged)
    (held,) = [fact for fact in last.facts if fact.predicate == "rate"]
    assert held.id == acknowledged[-1]
    assert len(found) == 50


def test_a_killed_rebuild_goes_on_from_its_cursor(store: tuple[str, str]) -> None:
    kind, url = store
    with BlockingMemory.open(url, by="human:ada") as memory:
        for n in range(30):
            memory.observe(f"carrier:{n % 7}", "rate", n)
        before = [memory.entity(f"carrier:{n}") for n in range(7)]
    lose(kind, url)
    with child(REBUILDER, url) as running:
        assert running.stdout is not None
        cursors = [running.stdout.readline().strip() for _ in range(3)]
        running.kill()

    with BlockingMemory.open(url, by="human:ada") as memory:
        memory.rebuild(after=cursors[-1])
        left = memory.rebuild(dry_run=True)
        after = [memory.entity(f"carrier:{n}") for n in range(7)]
    assert left.differences == 0
    assert after == before


def test_a_ledger_that_does_not_verify_is_not_rebuilt_from(tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    with BlockingMemory.open(str(file), by="human:ada") as memory:
        memory.observe("carrier:A", "rate", 1)
        memory.observe("carrier:A", "rate", 2)
    database = apsw.Connection(str(file))
    database.execute("delete from stretch")
    database.execute("update event set trust = trust + 1 where ledger = 0 and seq = 4")
    with BlockingMemory.open(str(file), by="human:ada") as memory:
        for after in (None, write_place(Place("keys"))):
            with pytest.raises(CorruptError, match="row 4") as refused:
                memory.rebuild(after=after)
            assert refused.value.code == "ledger.corrupt"
            assert (refused.value.details["seq"], refused.value.details["ledger"]) == (4, "knowledge")
    rows = database.execute("select count(*) from stretch").fetchall()
    database.close()
    assert rows == [(0,)]
