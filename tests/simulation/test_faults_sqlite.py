"""The embedded store on a disk that fails: nothing is accepted, and it goes on by itself when the fault is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw
import pytest
from simulation.children import Job, Log, begin, finish, run
from simulation.faulty_files import Disk, faulty_disk
from simulation.ledgers import check_store
from simulation.stores import opened_later

from latewood.graph_schema.errors import UnavailableError
from latewood.memory import Memory
from latewood.storage.sqlite import engine

_OPERATIONS_MAX: Final = 400
_LONG: Final = "basalt " * 3_000


@pytest.fixture
def disk() -> Iterator[Disk]:
    with faulty_disk() as disk:
        yield disk


async def _rows(memory: Memory) -> int:
    return (await memory.spaces())[0].seq["knowledge"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("error", "code"), [(apsw.FullError, "disk.full"), (apsw.IOError, "store.unavailable")])
async def test_a_write_that_fails_at_any_operation_is_not_accepted_and_the_next_one_is(
    error: type[Exception], code: str, disk: Disk, tmp_path: Path
) -> None:
    path, failed = str(tmp_path / "failing.db"), 0
    async with Memory.open(path, by="human:ada") as memory:
        await memory.observe("item:0", "note", "fits")
        for number in range(1, _OPERATIONS_MAX):
            before = await _rows(memory)
            disk.arm(number, error, "write", "sync", "truncate")
            try:
                kept = await memory.observe(f"item:{number}", "note", _LONG, idempotency_key=f"op-{number}")
            except UnavailableError as unavailable:
                _is_told(unavailable, disk, code)
                assert await _rows(memory) == before, "something of a refused write was kept"
                kept = await memory.observe(f"item:{number}", "note", _LONG, idempotency_key=f"op-{number}")
                assert not kept.receipt.replayed
                failed += 1
            else:
                assert not disk.mend(), "a write was acknowledged although the disk failed"
                break
            assert (await memory.receipt(kept.receipt.id)).state == "stored"
            assert (await memory.verify()).ok
        else:
            raise AssertionError("the write never came through")
    assert failed >= 10, "the write has more operations than that"

    async with opened_later(path) as store:
        await check_store(store)


def _is_told(error: UnavailableError, disk: Disk, *codes: str) -> None:
    assert disk.mend()
    assert error.code in codes


@pytest.mark.timeout(180)
@pytest.mark.parametrize("error", [apsw.FullError, apsw.IOError])
async def test_a_checkpoint_that_fails_at_any_operation_is_made_up_for_later(
    error: type[apsw.Error], disk: Disk, tmp_path: Path
) -> None:
    path, failed = str(tmp_path / "failing.db"), 0
    async with Memory.open(path, by="human:ada") as memory:
        engine = memory.store._engine  # type: ignore[attr-defined]
        for number in range(1, _OPERATIONS_MAX):
            await memory.observe(f"item:{number}", "note", _LONG)
            disk.arm(number, error, "write", "sync", "truncate")
            with contextlib.suppress(UnavailableError):
                await engine.write(lambda db: db.execute("pragma wal_checkpoint(truncate)").fetchall(), begin=False)
            if not disk.mend():
                break
            failed += 1
            assert (await memory.verify()).ok
    assert failed >= 10
    async with opened_later(path) as store:
        assert len(await check_store(store)) == failed + 1


@pytest.mark.timeout(180)
async def test_a_read_that_fails_at_any_operation_says_so_and_the_next_one_does_not(disk: Disk, tmp_path: Path) -> None:
    path, failed = str(tmp_path / "failing.db"), 0
    async with Memory.open(path, by="human:ada") as memory:
        for number in range(20):
            await memory.observe(f"item:{number}", "note", _LONG)
    for number in range(1, _OPERATIONS_MAX):
        disk.arm(number, apsw.IOError, "read")
        try:
            async with Memory.open(path) as memory:
                await memory.entity("item:7")
        except UnavailableError as unavailable:
            _is_told(unavailable, disk, "store.unavailable", "file.unreadable")
            failed += 1
        else:
            assert not disk.mend(), "a read gave an answer although the disk failed"
            break
    assert failed >= 10
    async with opened_later(path) as store:
        await check_store(store)


async def test_a_file_that_may_grow_no_further_keeps_what_it_has(tmp_path: Path) -> None:
    """The system's own limit, not one of SQLite's: a real error of a real write, EFBIG."""
    path = tmp_path / "limited.db"
    log = run(Job("write_to_the_limit", str(path), str(tmp_path / "log")))

    assert log.acknowledged["met"] == "store.unavailable"
    kept = [op for op in log.acknowledged if op.startswith("fits-")]
    async with opened_later(str(path)) as store:
        units = await check_store(store)
        assert {log.acknowledged[op] for op in [*kept, "after"]} == set(units)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user can reach, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="latewood-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("open_elsewhere", [False, True], ids=["alone", "while another process writes"])
async def test_a_file_of_another_user_can_be_read_and_a_write_says_so(
    open_elsewhere: bool, open_folder: Path, tmp_path: Path
) -> None:
    path = open_folder / "archive.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        await memory.observe("item:1", "note", "basalt 1")
        if open_elsewhere:
            log = await asyncio.to_thread(_read_as_another, path, tmp_path)
    if not open_elsewhere:
        log = await asyncio.to_thread(_read_as_another, path, tmp_path)

    assert log.acknowledged == {"read": "basalt 1", "write": "store.read_only"}


def _read_as_another(path: Path, folder: Path) -> Log:
    kept = list(path.parent.iterdir())
    modes = {one: one.stat().st_mode for one in [path.parent, *kept]}
    # The superuser becomes another user; anyone else takes the right to write away from themselves.
    if os.geteuid() != 0:
        for one in kept:
            one.chmod(0o444)
        path.parent.chmod(0o555)
    try:
        return run(Job("read_as_another", str(path), str(folder / "log")))
    finally:
        for one in [path.parent, *kept]:
            one.chmod(modes[one])


def _move(path: Path, to: Path) -> None:
    for part in ("", "-wal", "-shm"):
        path.with_name(path.name + part).rename(to.with_name(to.name + part))


def _names(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


async def test_a_file_taken_away_is_missed_at_once_and_welcome_back(tmp_path: Path) -> None:
    path, aside = tmp_path / "here.db", tmp_path / "aside.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        await memory.observe("item:1", "note", "before", idempotency_key="one")
        _move(path, aside)
        with pytest.raises(UnavailableError, match="removed or renamed") as wrote:
            await memory.observe("item:1", "note", "nowhere", idempotency_key="two")
        with pytest.raises(UnavailableError) as read:
            await memory.entity("item:1")
        assert _names(tmp_path) == {"aside.db", "aside.db-wal", "aside.db-shm"}
        _move(aside, path)
        again = await memory.observe("item:1", "note", "after", idempotency_key="two")

        assert (wrote.value.code, read.value.code) == ("store.unavailable", "store.unavailable")
        assert not again.receipt.replayed
    async with opened_later(str(path)) as store:
        assert len(await check_store(store)) == 2


async def test_a_file_put_in_its_place_is_not_written_unawares_and_then_is(tmp_path: Path) -> None:
    path, copy = tmp_path / "here.db", tmp_path / "copy.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        await memory.observe("item:1", "note", "in both")
    shutil.copy(path, copy)
    async with Memory.open(str(path), by="human:ada") as memory:
        await memory.observe("item:2", "note", "in the first alone")
        path.unlink()
        shutil.copy(copy, path)
        before = copy.read_bytes()
        with pytest.raises(UnavailableError, match=r"log of the old one.*here\.db-wal") as caught:
            await memory.observe("item:3", "note", "asked of the first")
        assert path.read_bytes() == before, "the old file's log was written into the new file"
        for part in ("-wal", "-shm"):
            path.with_name(path.name + part).unlink()
        with pytest.raises(UnavailableError, match="another file was put"):
            await memory.observe("item:3", "note", "asked of the first")
        written = await memory.observe("item:3", "note", "asked of the second")
        keys = [key for key in ("item:1", "item:2", "item:3") if await memory.store.nodes("default", keys=[key])]

        assert caught.value.code == "store.unavailable"
        assert keys == ["item:1", "item:3"]
        assert (await memory.receipt(written.receipt.id)).state == "stored"
        assert (await memory.verify()).ok
    async with opened_later(str(path)) as store:
        await check_store(store)


async def test_a_file_that_is_no_store_put_in_its_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "here.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        await memory.observe("item:1", "note", "before")
        path.unlink()
        other = apsw.Connection(str(path))
        other.execute("create table recipe(name text); insert into recipe values('soup')")
        for _ in range(2):
            with pytest.raises(Exception, match="another program") as caught:
                await memory.observe("item:1", "note", "into the soup")
            assert getattr(caught.value, "code", "") == "file.not_a_store"
        assert list(other.execute("select name from sqlite_schema")) == [("recipe",)]
        other.close()


async def test_a_write_lock_held_too_long_is_busy_and_then_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_MS", 100)
    path = tmp_path / "locked.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        await memory.observe("item:1", "note", "before")
        other = apsw.Connection(str(path))
        other.execute("begin immediate")
        with pytest.raises(UnavailableError) as caught:
            await memory.observe("item:1", "note", "meanwhile", idempotency_key="one")
        # Readers are not kept out by a writer.
        assert [fact.value.data for fact in (await memory.entity("item:1")).facts if fact.value] == ["before"]
        other.execute("rollback")
        other.close()
        after = await memory.observe("item:1", "note", "meanwhile", idempotency_key="one")

        assert caught.value.code == "store.busy"
        assert not after.receipt.replayed
        assert (await memory.verify()).ok


async def test_the_process_that_held_the_lock_is_killed_and_the_next_write_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        await memory.observe("item:1", "note", "before")
        child = begin(Job("hold_the_lock", str(path), str(tmp_path / "log")))
        while not (log := Log.read(tmp_path / "log")).opened:
            assert log.failed is None
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(memory.observe("item:1", "note", "after"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        child.kill()
        await waiting
        finish(child)
    async with opened_later(str(path)) as store:
        assert len(await check_store(store)) == 2


async def test_a_file_that_may_only_be_read_is_never_read_by_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "archive.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        await memory.observe("item:1", "note", "before")
    # The superuser may write anything, so the right is taken away where the store asks for it.
    monkeypatch.setattr(engine.os, "access", lambda *_: False)
    async with Memory.open(str(path)) as reader:
        assert await _said(reader) == ["before"]
        monkeypatch.undo()
        async with Memory.open(str(path), by="human:ada") as memory:
            await memory.observe("item:1", "note", "after")
        monkeypatch.setattr(engine.os, "access", lambda *_: False)
        with pytest.raises(UnavailableError, match="changed while it was read") as caught:
            await reader.entity("item:1")

        assert caught.value.code == "store.unavailable"
        assert await _said(reader) == ["after"]


async def _said(memory: Memory) -> list[object]:
    return [fact.value.data for fact in (await memory.entity("item:1")).facts if fact.value]
