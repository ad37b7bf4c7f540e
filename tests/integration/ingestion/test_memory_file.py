"""The file of the MCP reference memory server: entities, observations, relations, and what later runs find changed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from latewood.graph_schema.errors import InvalidError
from latewood.ingestion.sources import graphfile
from latewood.memory import Memory
from latewood.memory.imports import ingest_memory_file
from latewood.storage.port import FactQuery

Lines = list[dict[str, Any]]


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    async with Memory.open(str(tmp_path / "t.db"), by="human:importer", sync="normal") as opened:
        yield opened


def entity(name: str, sort: str, *observations: Any) -> dict[str, Any]:
    return {"type": "entity", "name": name, "entityType": sort, "observations": list(observations)}


def relation(begin: str, sort: str, end: str) -> dict[str, Any]:
    return {"type": "relation", "from": begin, "to": end, "relationType": sort}


KNOWN: Lines = [
    entity("Carrier B", "Company", "drives to Lyon", "is late on Mondays"),
    entity("Ada", "Person", {"content": "plans lanes", "timestamp": "2026-03-01T10:00:00Z"}),
    relation("Ada", "works with", "Carrier B"),
]


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(one if isinstance(one, str) else json.dumps(one) + "\n" for one in lines))
    return path


async def facts(memory: Memory, key: str) -> dict[str, list[Any]]:
    (node,) = (await memory.store.nodes(memory.space, keys=[key])).values()
    listed = await memory.store.facts(memory.space, FactQuery(subjects=[node.id]))
    targets = await memory.store.nodes(memory.space, ids=[one.object_id for one in listed if one.object_id])
    found: dict[str, list[Any]] = {}
    for fact in listed:
        said = targets[fact.object_id].key if fact.object_id is not None else fact.value.data if fact.value else None
        found.setdefault(fact.predicate, []).append(said)
    return found


async def test_entities_observations_and_relations_come_in(memory: Memory, tmp_path: Path) -> None:
    report = await ingest_memory_file(memory, write(tmp_path / "memory.jsonl", KNOWN))
    carrier, ada = await facts(memory, "company:Carrier B"), await facts(memory, "person:Ada")
    (node,) = (await memory.store.nodes(memory.space, keys=["person:Ada"])).values()

    assert sorted(carrier["observation"]) == ["drives to Lyon", "is late on Mondays"]
    assert ada == {"name": ["Ada"], "observation": ["plans lanes"], "works_with": ["company:Carrier B"]}
    assert (node.type, node.name) == ("person", "Ada")
    assert report.what == {"entity": 2, "relation": 1}
    said = await memory.store.facts(memory.space, FactQuery(subjects=[node.id], predicates=["observation"]))
    assert [(one.valid_from.day, one.valid_from_known) for one in said] == [(1, True)]


async def test_a_second_run_writes_nothing_and_a_changed_file_its_changes(memory: Memory, tmp_path: Path) -> None:
    path = write(tmp_path / "memory.jsonl", KNOWN)
    await ingest_memory_file(memory, path)
    seqs = (await memory.spaces())[0].seq
    again = await ingest_memory_file(memory, path)
    assert (again.written, (await memory.spaces())[0].seq) == (0, seqs)
    write(path, [entity("Carrier B", "Company", "drives to Lyon", "has new trucks"), *KNOWN[1:]])
    changed = await ingest_memory_file(memory, path)

    assert changed.written == 1
    assert changed.gone == [{"entity": "company:carrier b", "observation": "is late on Mondays"}]
    assert sorted((await facts(memory, "company:Carrier B"))["observation"]) == [
        "drives to Lyon", "has new trucks", "is late on Mondays",
    ]  # fmt: skip


async def test_what_was_taken_back_here_is_not_brought_back(memory: Memory, tmp_path: Path) -> None:
    path = write(tmp_path / "memory.jsonl", KNOWN)
    await ingest_memory_file(memory, path)
    (node,) = (await memory.store.nodes(memory.space, keys=["company:Carrier B"])).values()
    said = await memory.store.facts(memory.space, FactQuery(subjects=[node.id], predicates=["observation"]))
    await memory.retract(said[0], because="slip")
    await memory.end(said[1], because="sold")
    await memory.retract(next(iter(await memory.store.facts(memory.space, FactQuery(
        objects=[node.id], predicates=["works_with"])))))  # fmt: skip
    again = await ingest_memory_file(memory, path)

    assert again.written == 0
    assert "observation" not in await facts(memory, "company:Carrier B")
    assert "works_with" not in await facts(memory, "person:Ada")


async def test_relations_may_stand_first_and_lines_may_repeat_over_chunks(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(graphfile, "_CHUNK", 2)
    path = write(
        tmp_path / "memory.jsonl", [KNOWN[2], *KNOWN, KNOWN[0], entity("carrier b", "company", "twin"), KNOWN[2]]
    )
    report = await ingest_memory_file(memory, path)
    seqs = (await memory.spaces())[0].seq
    again = await ingest_memory_file(memory, path)

    assert (await facts(memory, "person:Ada"))["works_with"] == ["company:Carrier B"]
    assert len(report.problems) == 1
    assert "one entity" in str(report.problems)
    assert again.gone == []
    assert (again.lines, again.written, (await memory.spaces())[0].seq) == (7, 0, seqs)
    assert report.written + report.replayed == report.items


async def test_bad_lines_are_rejected(memory: Memory, tmp_path: Path) -> None:
    lines = [
        KNOWN[0], relation("Ada", "knows", "Nobody"), {"type": "entity", "entityType": "x", "observations": []},
        {"type": "entity", "name": "A", "observations": "text"}, entity("C", "x", 7), entity("D", "x", "NUL \0"),
        entity("n" * 201, "x"), {"type": "other"}, "{\n", entity("E", "", " "), entity("F", "", "sound"), relation("F", "¿?", "F"),
    ]  # fmt: skip
    report = await ingest_memory_file(memory, write(tmp_path / "memory.jsonl", lines))

    assert [(one.line, one.kind) for one in report.rejects] == [
        (2, "malformed"), (3, "malformed"), (4, "malformed"), (5, "malformed"), (6, "refused"), (7, "malformed"),
        (9, "malformed"), (10, "malformed"),
    ]  # fmt: skip
    assert report.lines == sum(report.what.values()) + report.rejected == 12
    assert (await facts(memory, "thing:F"))["observation"] == ["sound"]
    with pytest.raises(InvalidError):
        await ingest_memory_file(memory, tmp_path)
