"""What is done and found when a process is killed while it makes a space, imports or erases."""

from __future__ import annotations

import json
from pathlib import Path

from simulation.children import MADE, SECRET, TAKEN, Death, Job, run
from simulation.ledgers import check_store, rows
from simulation.matrix import Crash
from simulation.stores import opened_later

from latewood.memory import Memory
from latewood.memory.opening import file_of
from latewood.memory.portability import export_space
from latewood.storage.port import GraphStore

__all__ = ["erase", "make", "take_in"]


async def make(url: str, crash: Crash, folder: Path) -> None:
    """Kill a process that makes a space: the space is there whole, or not at all."""
    dead = run(Job("make_space", url, str(folder / "dead"), death=Death(crash.point, crash.hit, after=1)))
    assert set(dead.acknowledged) == {"began"}

    async with opened_later(url) as store:
        found = [space.name for space in await store.spaces()]
        assert (MADE in found) == (crash.found == "everything")
        await check_store(store)

    again = run(Job("make_space", url, str(folder / "again")))
    assert (again.acknowledged["made"] == "space.exists") == (crash.found == "everything")
    async with Memory.open(url, space=MADE, by="agent:writer") as memory:
        await memory.observe("item:1", "note", "basalt 1")
        assert [hit.node.key for hit in await memory.store.search_text(MADE, "basalt")] == ["item:1"]
        await check_store(memory.store, MADE)
        assert sorted(space.name for space in await memory.store.spaces()) == ["default", MADE]


async def _exports(folder: Path) -> dict[str, int]:
    """Write two exports of one space, between them an erasure; return the rows of each."""
    folder.mkdir()  # noqa: ASYNC240 - nothing else runs
    async with Memory.open(str(folder / "source.db"), by="agent:writer") as memory:
        for number in range(8):
            await memory.observe(f"item:{number}", "note", f"basalt {number}")
        await memory.observe("person:jane", "note", SECRET)
        first = await export_space(memory, folder / "first.jsonl")
        await memory.erase("person:jane", reason="she asked", by="human:ada")
        second = await export_space(memory, folder / "second.jsonl")
    return {"first": first.rows, "second": second.rows}


async def take_in(url: str, crash: Crash, folder: Path) -> None:
    """Kill a process that imports: whole parts are there, and run again it goes on to the end."""
    exports = folder / "exports"
    counts = await _exports(exports)
    async with Memory.open(url) as memory:
        empty = await memory.create_space(TAKEN)
    erasing = crash.task == "import_erasure"
    death = Death(crash.point, crash.hit, after=1 if erasing else 0)
    dead = run(Job("import_exports", url, str(folder / "dead"), folder=str(exports), death=death))
    assert dead.acknowledged == ({"first": str(counts["first"])} if erasing else {})

    async with opened_later(url) as store:
        await check_store(store, "default", TAKEN)
        (space,) = [one for one in await store.spaces() if one.name == TAKEN]
        found = len(await rows(store, TAKEN))
        everything = crash.found == "everything"
        if erasing:
            assert found == counts["second" if everything else "first"]
            assert await _says(store, TAKEN) is not everything
        else:
            assert (0 < found < counts["first"]) if everything else found == 0
            assert (space.id == empty.id) == (crash.point == "restore.adopted")
    if erasing and everything:
        _check_files(url)

    again = run(Job("import_exports", url, str(folder / "again"), folder=str(exports)))
    assert again.acknowledged == {name: str(count) for name, count in counts.items()}
    async with opened_later(url) as store:
        await check_store(store, "default", TAKEN)
        assert len(await rows(store, TAKEN)) == counts["second"]
        assert not await _says(store, TAKEN)
    _check_files(url)


async def erase(url: str, crash: Crash, folder: Path) -> None:
    """Kill a process that erases: the words are there or gone, and asked for again they are gone with one proof."""
    run(Job("write_waves", url, str(folder / "others"), [1]))
    dead = run(Job("erase_words", url, str(folder / "dead"), death=Death(crash.point, crash.hit, after=1)))
    assert set(dead.acknowledged) == {"tell"}

    everything = crash.found == "everything"
    async with opened_later(url) as store:
        await check_store(store)
        assert await _says(store, "default") is not everything
    if everything:
        _check_files(url)

    again = run(Job("erase_words", url, str(folder / "again")))
    once_more = run(Job("erase_words", url, str(folder / "once more")))
    assert again.acknowledged == once_more.acknowledged, f"{again.acknowledged}\n{once_more.acknowledged}"
    assert dead.acknowledged.items() <= again.acknowledged.items()
    *_, scrubbed, verified, length = json.loads(again.acknowledged["forget"])
    assert (scrubbed, verified) == ("done" if file_of(url) else "beyond", True)
    async with opened_later(url) as store:
        await check_store(store)
        listed = await rows(store, "default")
        assert len(listed) == length
        assert [entry.event.kind.value for entry in listed].count("erased") == 1
        assert not await _says(store, "default")
    _check_files(url)


async def _says(store: GraphStore, space: str) -> bool:
    """Tell whether the secret is in the ledger; the text index must say the same."""
    said = any(SECRET in json.dumps(entry.event.payload) for entry in await rows(store, space))
    assert bool(await store.search_text(space, SECRET)) == said
    return said


def _check_files(url: str) -> None:
    """Look for the secret in every byte of a file and of what is beside it; a server's files are beyond reach."""
    file = file_of(url)
    for part in [] if file is None else file.parent.glob(f"{file.name}*"):
        assert SECRET.encode() not in part.read_bytes(), f"{part.name} has it still"
