"""Markdown notes: sections as entities, links as relations, edits as what follows and what ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from latewood.graph_schema.errors import NotFoundError
from latewood.ingestion.sources import notes
from latewood.memory import Memory
from latewood.memory.imports import ingest_notes
from latewood.storage.port import FactQuery

LANES = """---
owner: Ada
tags: [freight, south]
text: not the note's
---
# Lanes

What we drive.

## Lyon

Carrier B since May, see [the decision](decisions.md#lyon) and [[Carriers]].

### Night

Only on Fridays.

## Lyon

Again. ``` [[Not a link]] ``` [gone](gone.md) [web](https://x.example)
"""
DECISIONS = "# Decisions\n\n## Lyon\n\nWe left carrier A.\n"
CARRIERS = "No heading at all. [back](../lanes.md)\n"


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    async with Memory.open(str(tmp_path / "t.db"), by="human:importer", sync="normal") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "notes"
    (made / "people").mkdir(parents=True)
    (made / "lanes.md").write_text(LANES)
    (made / "decisions.md").write_text(DECISIONS)
    (made / "people" / "carriers.md").write_text(CARRIERS)
    return made


async def facts(memory: Memory, key: str) -> dict[str, list[Any]]:
    (node,) = (await memory.store.nodes(memory.space, keys=[key])).values()
    listed = await memory.store.facts(memory.space, FactQuery(subjects=[node.id]))
    targets = await memory.store.nodes(memory.space, ids=[one.object_id for one in listed if one.object_id])
    found: dict[str, list[Any]] = {}
    for fact in listed:
        said = targets[fact.object_id].key if fact.object_id is not None else fact.value.data if fact.value else None
        found.setdefault(fact.predicate, []).append(said)
    return found


async def test_sections_links_and_fields_become_facts(memory: Memory, folder: Path) -> None:
    report = await ingest_notes(memory, folder, by="human:ada")

    assert await facts(memory, "note:lanes.md") == {
        "meta_text": ["not the note's"], "name": ["Lanes"], "owner": ["Ada"], "tags": [["freight", "south"]],
        "text": ["What we drive."],
    }  # fmt: skip
    lyon = await facts(memory, "note:lanes.md#lyon")
    assert lyon["text"][0].startswith("Lyon\n\nCarrier B since May")
    assert "Fridays" not in lyon["text"][0]
    assert sorted(lyon["links_to"]) == ["note:decisions.md", "note:people/carriers.md"]
    assert await facts(memory, "note:lanes.md#night") == {
        "part_of": ["note:lanes.md"], "text": ["Night\n\nOnly on Fridays."],
    }  # fmt: skip
    assert "links_to" not in await facts(memory, "note:lanes.md#lyon-1")
    assert (await facts(memory, "note:people/carriers.md"))["links_to"] == ["note:lanes.md"]
    assert report.what == {"new note": 3}
    assert [one["link"] for one in report.dangling if isinstance(one, dict)] == ["gone.md"]


async def test_a_second_run_writes_nothing_and_an_edit_what_it_changed(memory: Memory, folder: Path) -> None:
    await ingest_notes(memory, folder)
    seqs = (await memory.spaces())[0].seq
    again = await ingest_notes(memory, folder)
    assert (again.written, again.replayed, (await memory.spaces())[0].seq) == (0, 0, seqs)
    edited = LANES.replace("since May, see [the decision](decisions.md#lyon)", "since June").replace("owner: Ada\n", "")
    (folder / "lanes.md").write_text(edited)
    changed = await ingest_notes(memory, folder)

    assert changed.what == {"changed note": 1, "unchanged note": 2}
    lyon = await facts(memory, "note:lanes.md#lyon")
    assert lyon["text"] == ["Lyon\n\nCarrier B since June and [[Carriers]]."]
    assert lyon["links_to"] == ["note:people/carriers.md"]
    assert "owner" not in await facts(memory, "note:lanes.md")
    (folder / "lanes.md").write_text(LANES)
    back = await ingest_notes(memory, folder)
    assert back.written == 1
    assert (await facts(memory, "note:lanes.md"))["owner"] == ["Ada"]
    assert (await ingest_notes(memory, folder)).written == 0


async def test_what_was_taken_back_here_stays_so_until_the_note_changes(memory: Memory, folder: Path) -> None:
    await ingest_notes(memory, folder)
    (node,) = (await memory.store.nodes(memory.space, keys=["note:lanes.md#lyon"])).values()
    held = await memory.store.facts(memory.space, FactQuery(subjects=[node.id], predicates=["text", "links_to"]))
    for fact in held:
        await memory.retract(fact, because="wrong")
    again = await ingest_notes(memory, folder)

    assert again.written == 0
    assert list(await facts(memory, "note:lanes.md#lyon")) == ["part_of"]
    (folder / "lanes.md").write_text(LANES.replace("since May", "since June"))
    await ingest_notes(memory, folder)
    lyon = await facts(memory, "note:lanes.md#lyon")
    assert "since June" in lyon["text"][0]
    assert len(lyon["links_to"]) == 2


async def test_an_erased_section_is_not_read_in_again(memory: Memory, folder: Path) -> None:
    await ingest_notes(memory, folder)
    (node,) = (await memory.store.nodes(memory.space, keys=["note:decisions.md#lyon"])).values()
    (text,) = await memory.store.facts(memory.space, FactQuery(subjects=[node.id], predicates=["text"]))
    await memory.erase(text, reason="asked for")
    again = await ingest_notes(memory, folder)

    assert again.written == 0
    (kept,) = await memory.store.facts(memory.space, FactQuery(subjects=[node.id], predicates=["text"]))
    assert kept.erased


async def test_an_erased_note_is_not_brought_back(memory: Memory, folder: Path) -> None:
    await ingest_notes(memory, folder)
    for key in ("note:decisions.md#lyon", "note:decisions.md"):
        (node,) = (await memory.store.nodes(memory.space, keys=[key])).values()
        await memory.erase(node.id, reason="asked for")
    (folder / "decisions.md").write_text(DECISIONS + "\nAnd more.\n")
    again = await ingest_notes(memory, folder)

    assert again.written == 0
    assert await memory.store.nodes(memory.space, keys=["note:decisions.md", "note:decisions.md#lyon"]) == {}


async def test_two_folders_do_not_mix_and_one_folder_has_many_names(
    memory: Memory, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    await ingest_notes(memory, folder)
    other = tmp_path / "others"
    other.mkdir()
    (other / "lanes.md").write_text("# Other lanes\n")
    (other / "own.md").write_text("# Own\n")
    report = await ingest_notes(memory, other)

    assert [(Path(one.path).name, one.code) for one in report.rejects] == [("lanes.md", "key.taken")]
    assert report.what == {"new note": 1}
    assert (await facts(memory, "note:lanes.md"))["name"] == ["Lanes"]
    monkeypatch.chdir(folder)
    assert (await ingest_notes(memory, Path())).written == 0


async def test_what_is_gone_is_told_and_stays(memory: Memory, folder: Path) -> None:
    await ingest_notes(memory, folder)
    (folder / "decisions.md").unlink()
    (folder / "lanes.md").write_text(LANES.replace("### Night\n\nOnly on Fridays.\n", ""))
    report = await ingest_notes(memory, folder)

    assert report.gone == [{"path": "lanes.md", "section": "note:lanes.md#night"}, {"path": "decisions.md"}]
    assert (await facts(memory, "note:decisions.md#lyon"))["text"] == ["Lyon\n\nWe left carrier A."]
    assert (await facts(memory, "note:lanes.md#night"))["text"] == ["Night\n\nOnly on Fridays."]


async def test_bad_files_are_rejected_and_the_others_taken(
    memory: Memory, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(notes, "NOTE_BYTES_MAX", 2_000)
    (folder / "latin.md").write_bytes("# Grüße".encode("latin-1"))
    (folder / "long.md").write_text("x" * 2_001)
    (folder / "nul.md").write_text("# A\n\nNUL \0 here\n")
    (folder / "heading.md").write_text(f"# A\n\n## {'h' * 600}\n\nx\n")
    (folder / ("d" * 200)).mkdir()
    (folder / ("d" * 200) / ("e" * 200)).mkdir()
    (folder / ("d" * 200) / ("e" * 200) / f"{'f' * 120}.md").write_text("# Deep")
    report = await ingest_notes(memory, folder)

    assert sorted((Path(one.path).name[:7], one.kind) for one in report.rejects) == [
        ("fffffff", "refused"), ("latin.m", "encoding"), ("long.md", "too_long"), ("nul.md", "refused"),
    ]  # fmt: skip
    assert report.lines == sum(report.what.values()) + report.rejected == 8
    with pytest.raises(NotFoundError):
        await ingest_notes(memory, folder / "people" / "none")
