"""The embedded store against a hostile file system: each failure has a code, and nothing is half-written."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import apsw
import pytest

from latewood.graph_schema.errors import CorruptError, InvalidError, LatewoodError, UnavailableError
from latewood.memory import Memory
from latewood.storage.sqlite.migrations import SCHEMA_VERSION
from latewood.storage.sqlite.store import SqliteStore


async def test_a_file_that_is_not_a_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_text("Dear database, " * 1000)

    with pytest.raises(InvalidError) as caught:
        await SqliteStore.open(path)

    assert caught.value.code == "file.not_a_store"
    assert path.read_text().startswith("Dear database")


async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("create table recipe(name text)")
    other.close()
    before = path.read_bytes()

    with pytest.raises(InvalidError) as caught:
        await SqliteStore.open(path)

    assert caught.value.code == "file.not_a_store"
    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    await (await SqliteStore.open(path)).close()
    database = apsw.Connection(str(path))
    database.pragma("user_version", SCHEMA_VERSION + 1)
    database.close()

    with pytest.raises(UnavailableError, match=f"schema {SCHEMA_VERSION + 1}") as caught:
        await SqliteStore.open(path)

    assert caught.value.code == "schema.newer"


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="nowhere") as caught:
        await SqliteStore.open(tmp_path / "nowhere" / "latewood.db")

    assert caught.value.code == "file.unreadable"


async def test_a_read_only_file_can_be_read_and_a_write_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "archive.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        await memory.observe("carrier:A", "state", "late")
    # The superuser may write anything, so the right is taken away where the store asks for it.
    monkeypatch.setattr("latewood.storage.sqlite.engine.os.access", lambda *_: False)

    async with Memory.open(str(path), by="human:ada") as memory:
        entity = await memory.entity("carrier:A")
        with pytest.raises(UnavailableError) as caught:
            await memory.observe("carrier:A", "state", "on time")

        assert [fact.value.data for fact in entity.facts if fact.value] == ["late"]
        assert caught.value.code == "store.read_only"


async def test_a_full_disk_keeps_nothing_of_the_write_and_all_before_it(tmp_path: Path) -> None:
    path = tmp_path / "small.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        await memory.observe("carrier:A", "note", "fits")
        engine = memory.store._engine  # type: ignore[attr-defined]
        pages = await engine.read(lambda db: db.execute("pragma page_count").fetchone()[0])
        await engine.write(lambda db: db.execute(f"pragma max_page_count = {pages + 20}").fetchall(), begin=False)

        with pytest.raises(UnavailableError) as caught:
            await memory.observe("carrier:A", "note", "x" * 500_000, idempotency_key="big")
        assert caught.value.code == "disk.full"
        assert (await memory.verify()).ok
        assert [fact.value.data for fact in (await memory.entity("carrier:A")).facts if fact.value] == ["fits"]

        await engine.write(lambda db: db.execute("pragma max_page_count = 1000000").fetchall(), begin=False)
        again = await memory.observe("carrier:A", "note", "x" * 500_000, idempotency_key="big")
        assert not again.receipt.replayed
        assert (await memory.verify()).ok


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("payload", "replace(payload, 'late', 'lost')"),
        ("trust", "trust + 1"),
        ("valid_from", "valid_from + 1"),
        ("recorded_at", "recorded_at + 1"),
        ("hash", "zeroblob(32)"),
        ("salt", "zeroblob(16)"),
    ],
)
async def test_one_changed_byte_is_found_and_its_row_named(tmp_path: Path, column: str, change: str) -> None:
    path = tmp_path / "audit.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        for number in range(5):
            await memory.observe("carrier:A", "state", f"late {number}")
    database = apsw.Connection(str(path))
    database.execute(f"update event set {column} = {change} where seq = 6")
    database.close()

    async with Memory.open(str(path)) as memory:
        verdict = await memory.verify()

        assert (verdict.ok, verdict.bad_seq) == (False, 6)
        assert verdict.reason


async def test_a_removed_last_row_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        await memory.observe("carrier:A", "state", "late")
    database = apsw.Connection(str(path))
    database.execute("delete from event where seq = (select max(seq) from event)")
    database.close()

    async with Memory.open(str(path)) as memory:
        assert not (await memory.verify()).ok


async def test_a_damaged_page_is_corrupt_and_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    async with Memory.open(str(path), by="human:ada") as memory:
        for number in range(200):
            await memory.observe(f"carrier:{number}", "state", "late " * 50)
    raw = bytearray(path.read_bytes())
    for page in range(3, len(raw) // 4096, 2):
        raw[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(bytes(raw))

    with pytest.raises(LatewoodError) as caught:
        async with Memory.open(str(path), by="human:ada") as memory:
            await memory.verify()
            await memory.timeline("carrier:7")
            await memory.observe("carrier:7", "state", "on time")

    assert isinstance(caught.value, CorruptError)


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    memory = await Memory.open(str(tmp_path / "a.db"), by="human:ada")
    await memory.close()

    with pytest.raises(UnavailableError) as wrote:
        await memory.observe("carrier:A", "state", "late")
    with pytest.raises(UnavailableError) as read:
        await memory.spaces()

    assert (wrote.value.code, read.value.code) == ("store.closed", "store.closed")


@pytest.mark.parametrize("url", ["", "postgres://x", "sqlite:/x.db", "sqlite:///", "reference", "a\0b"])
async def test_an_address_that_names_no_store_is_refused_with_the_forms(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if url == "reference":
        async with Memory.open(url):
            assert (tmp_path / "reference").exists()
        return
    with pytest.raises(InvalidError) as caught:
        async with Memory.open(url):
            pass

    assert caught.value.code == "store.url_invalid"
