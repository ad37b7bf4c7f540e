"""Exports and imports that go wrong, go on, or meet something else on the way."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from latewood.graph_schema.errors import ConflictError, CorruptError, InvalidError, NotFoundError
from latewood.memory import Memory
from latewood.memory.portability import backup, export_space, import_space, restore


async def exported(folder: Path, *, observations: int = 12, name: str = "space.jsonl") -> Path:
    async with Memory.open(str(folder / "from.db"), by="human:ada", session="s-1") as memory:
        for n in range(observations):
            await memory.observe(f"carrier:{n % 3}", "rate", n, idempotency_key=f"key-{n}")
        await memory.decide("Move", because="late", about=["carrier:1"])
        await export_space(memory, folder / name)
    return folder / name


async def test_an_idempotency_key_still_answers_after_the_import(tmp_path: Path) -> None:
    file = await exported(tmp_path)
    async with Memory.open(str(tmp_path / "from.db"), by="human:ada", session="s-1") as memory:
        first = await memory.observe("carrier:1", "rate", 1, idempotency_key="key-1")
    async with Memory.open(str(tmp_path / "to.db"), by="human:ada", session="s-1") as memory:
        await import_space(memory, file)
        again = await memory.observe("carrier:1", "rate", 1, idempotency_key="key-1")
        more = await memory.observe("carrier:1", "rate", 100)
        receipt = await memory.receipt(first.receipt.id)

    assert again.receipt == first.receipt
    assert again.receipt.replayed
    assert receipt.seq == first.receipt.seq
    assert more.receipt.seq > first.receipt.seq


async def test_an_empty_space_is_no_export(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "a.db")) as memory:
        with pytest.raises(NotFoundError) as refused:
            await export_space(memory, tmp_path / "a.jsonl")

    assert refused.value.code == "export.empty"
    assert not (tmp_path / "a.jsonl").exists()


async def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    file = await exported(tmp_path)
    before = file.read_bytes()
    async with Memory.open(str(tmp_path / "from.db")) as memory:
        with pytest.raises(ConflictError) as refused:
            await export_space(memory, file)

    assert refused.value.code == "file.exists"
    assert file.read_bytes() == before


@pytest.mark.parametrize("cut", [1, 2, 9, -1])
async def test_a_file_cut_short_says_so_and_the_whole_one_goes_on(tmp_path: Path, cut: int) -> None:
    file = await exported(tmp_path)
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    part = tmp_path / "part.jsonl"
    part.write_text("".join(lines[:cut]), encoding="utf-8")
    async with Memory.open(str(tmp_path / "to.db")) as memory:
        with pytest.raises(InvalidError) as refused:
            await import_space(memory, part)
        done = await import_space(memory, file)

    assert refused.value.code == "import.malformed"
    assert done.rows == len(lines) - 2


@pytest.mark.parametrize("where", ["payload", "recorded_at", "hash", "trust", "receipt", "json", "order"])
async def test_a_changed_row_is_named_and_nothing_after_it_is_taken(tmp_path: Path, where: str) -> None:
    file = await exported(tmp_path)
    lines = file.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[8])
    if where == "payload":
        row["payload"]["value"] = {"kind": "integer", "data": 999}
    elif where == "recorded_at":
        row["recorded_at"] = "2020-01-01T00:00:00Z"
    elif where == "hash":
        row["hash"] = "00" * 32
    elif where == "trust":
        row["trust"] = 4
    elif where == "receipt":
        row["receipt"] = 7
    lines[8] = "{" if where == "json" else json.dumps(row)
    if where == "order":
        lines[8], lines[9] = lines[9], lines[8]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    async with Memory.open(str(tmp_path / "to.db")) as memory:
        for dry_run in (True, False):
            with pytest.raises(InvalidError) as refused:
                await import_space(memory, file, dry_run=dry_run)
            assert refused.value.code == "import.malformed"
        verdict = await memory.verify()

    assert verdict.ok
    assert verdict.rows < 8


async def test_another_space_of_the_name_and_another_history_are_refused(tmp_path: Path) -> None:
    file = await exported(tmp_path)
    async with Memory.open(str(tmp_path / "to.db"), by="human:bob") as memory:
        await memory.observe("thing:mine", "rate", 1)
        with pytest.raises(ConflictError) as taken:
            await import_space(memory, file)
        await import_space(memory, file, name="team")
        await memory.within(space="team").observe("thing:mine", "rate", 1)
        gone_on = await import_space(memory, file, name="team")
        with pytest.raises(ConflictError) as twice:
            await import_space(memory, file, name="other")
    async with Memory.open(str(tmp_path / "from.db"), by="human:ada") as memory:
        await memory.observe("thing:else", "rate", 1)
        await export_space(memory, tmp_path / "later.jsonl")
    async with Memory.open(str(tmp_path / "to.db"), by="human:bob") as memory:
        with pytest.raises(CorruptError) as split:
            await import_space(memory, tmp_path / "later.jsonl", name="team")

    assert taken.value.code == "space.exists"
    assert twice.value.code == "space.exists"
    assert gone_on.written == 0
    assert split.value.code == "ledger.corrupt"


async def test_a_backup_brings_every_space_back(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "from.db"), by="human:ada") as memory:
        for name in ("ops", "team"):
            await memory.create_space(name)
            await memory.within(space=name).observe("carrier:A", "rate", 1)
        await memory.create_space("nothing")
        kept = await backup(memory, tmp_path / "backup")
        with pytest.raises(ConflictError):
            await backup(memory, tmp_path / "backup")
    async with Memory.open(str(tmp_path / "to.db")) as memory:
        back = await restore(memory, tmp_path / "backup")
        found = await memory.within(space="ops").timeline("carrier:A")

    assert [one.space for one in kept.spaces] == ["ops", "team"]
    assert [(one.space, one.fingerprint) for one in back] == [(one.space, one.fingerprint) for one in kept.spaces]
    assert len(found.items) == 1


async def test_equal_content_gives_an_equal_file(tmp_path: Path) -> None:
    file = await exported(tmp_path, name="a.jsonl.gz")
    async with Memory.open(str(tmp_path / "from.db")) as memory:
        await export_space(memory, tmp_path / "b.jsonl.gz")

    assert file.read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress(file.read_bytes()).endswith(b"}\n")


async def test_a_unit_cut_in_two_is_refused_and_the_whole_one_taken(tmp_path: Path) -> None:
    await exported(tmp_path)
    async with Memory.open(str(tmp_path / "from.db")) as memory, Memory.open(str(tmp_path / "to.db")) as other:
        rows = await memory.store.ledger_rows("default", "knowledge", 0)
        cut = next(place for place, row in enumerate(rows) if row.receipt is None) + 1
        await other.store.restore(await memory.store.image("default"))
        with pytest.raises(InvalidError) as refused:
            await other.store.replay("default", rows[:cut])
        taken = await other.store.replay("default", rows)

    assert refused.value.code == "import.malformed"
    assert taken == len(rows)
