"""Every source against every store, and against death in its middle: what is there afterwards is the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from latewood.graph_schema.model import LEDGERS, NodeKind
from latewood.memory import Memory
from latewood.memory.imports import (
    ingest_git,
    ingest_memory_file,
    ingest_notes,
    ingest_traces,
    ingest_transcripts,
)
from latewood.storage.port import PAGE_MAX, FactQuery, NodeQuery

STAMP = "2026-03-01T10:{:02}:{:02}Z"


def turn(n: int) -> dict[str, object]:
    """A line of a session in which every third turn calls a tool and every third is its result."""
    sort, content = [
        ("user", [{"type": "tool_result", "tool_use_id": f"call_{n - 1}", "content": "x"}] if n > 2 else "begin"),
        ("assistant", [{"type": "text", "text": f"step {n} of the move to carrier {n % 7}"}]),
        ("assistant", [{"type": "tool_use", "id": f"call_{n}", "name": "Bash", "input": {"command": f"make {n}"}}]),
    ][n % 3]
    message: dict[str, object] = {"role": sort, "content": content, "id": f"msg_{n}", "model": "m"}
    if sort == "assistant":
        message["usage"] = {"input_tokens": n, "output_tokens": 2 * n}
    return {"type": sort, "uuid": f"u{n}", "parentUuid": f"u{n - 1}" if n else None, "sessionId": "long",
            "timestamp": STAMP.format(n // 60 % 60, n % 60), "message": message}  # fmt: skip


def span(n: int) -> dict[str, object]:
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.conversation.id": f"c{n % 3}", "gen_ai.usage.input_tokens": n,
                  "gen_ai.output.messages": [{"role": "assistant", "content": f"answer {n}"}]}  # fmt: skip
    return {"context": {"trace_id": 7, "span_id": n + 1}, "parent": {"span_id": 1} if n else None, "name": f"chat {n}",
            "start_time": 1772359200000000000 + n, "end_time": 1772359201000000000 + n, "attributes": attributes}  # fmt: skip


@pytest.fixture
def material(tmp_path: Path) -> Path:
    folder = tmp_path / "material"
    (folder / "notes").mkdir(parents=True)
    (folder / "long.jsonl").write_text("".join(json.dumps(turn(n)) + "\n" for n in range(450)))
    (folder / "trace.json").write_text(json.dumps({"spans": [span(n) for n in range(20)]}))
    for n in range(6):
        (folder / "notes" / f"n{n}.md").write_text(
            f"---\nowner: Ada\n---\n# Note {n}\n\n## A\n\nSee [n](n{n - 1}.md).\n"
        )
    lines = [{"type": "entity", "name": f"E{n}", "entityType": "thing", "observations": [f"is {n}"]} for n in range(9)]
    lines += [{"type": "relation", "from": "E1", "to": f"E{n}", "relationType": "near"} for n in range(2, 9)]
    (folder / "memory.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    commit_many(folder / "repository", 20)
    return folder


def commit_many(repository: Path, count: int) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main", str(repository)], check=True)
    stream = "".join(
        f"commit refs/heads/main\ncommitter Ada <a@x.example> {1772359200 + n} +0000\ndata <<END\nChange {n}\nEND\n"
        + (f"M 644 inline f{n}\ndata 1\nx\n" if n % 10 == 0 else "")
        for n in range(count)
    )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repository, input=stream.encode(), check=True)


async def told(memory: Memory) -> list[tuple[object, ...]]:
    """Return all that a space says, by keys, without what a store chooses itself."""
    found: list[tuple[object, ...]] = []
    for kind in (NodeKind.ENTITY, NodeKind.SESSION, NodeKind.RUN, NodeKind.STEP, NodeKind.ACTOR):
        after = None
        while True:
            page = await memory.store.list_nodes(memory.space, NodeQuery(kind, first=PAGE_MAX, after=after))
            nodes = {node.id: node for node in page.items}
            facts = await memory.store.facts(memory.space, FactQuery(subjects=list(nodes))) if nodes else ()
            ends = sorted({one.object_id for one in facts if one.object_id is not None})
            targets = {**nodes, **(await memory.store.nodes(memory.space, ids=ends) if ends else {})}
            found += [(kind, node.key, node.type, node.name) for node in page.items]
            found += [
                (
                    nodes[one.subject_id].key, one.predicate, one.trust,
                    targets[one.object_id].key if one.object_id is not None else None,
                    None if one.value is None else json.dumps(one.value.data, sort_keys=True),
                    one.valid_from if one.valid_from_known else None, one.source and one.source.locator,
                )
                for one in facts
            ]  # fmt: skip
            after = page.next
            if after is None:
                break
    return sorted(found, key=str)


async def ingest_all(memory: Memory, material: Path) -> list[int]:
    """Import everything; return how many items each import wrote."""
    reports = [
        await ingest_git(memory.within(space="commits"), material / "repository"),
        await ingest_transcripts(memory, [material / "long.jsonl"], human="human:ada"),
        await ingest_traces(memory, [material / "trace.json"]),
        await ingest_notes(memory, material / "notes"),
        await ingest_memory_file(memory, material / "memory.jsonl"),
    ]
    assert [(one.rejected, one.refused) for one in reports] == [(0, 0)] * 5
    return [one.written for one in reports]


async def everything(memory: Memory) -> list[list[tuple[object, ...]]]:
    return [await told(memory), await told(memory.within(space="commits"))]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", ["sqlite", "neo4j"])
async def test_every_store_says_the_same(
    store: str, material: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:  # fmt: skip
    url = str(tmp_path / "t.db") if store == "sqlite" else request.getfixturevalue("neo4j_url")
    (material / "long.jsonl").write_text("".join(json.dumps(turn(n)) + "\n" for n in range(60)))
    async with (
        Memory.open("reference:", by="human:importer") as reference,
        Memory.open(url, by="human:importer", tenant=f"t-{uuid.uuid4()}", sync="normal") as memory,
    ):
        written = await ingest_all(memory, material)
        assert written == await ingest_all(reference, material)
        assert all(written)
        assert await everything(memory) == await everything(reference)
        assert await ingest_all(memory, material) == [0] * 5
        for space in ("default", "commits"):
            assert [(await memory.store.verify(space, ledger)).ok for ledger in LEDGERS] == [True, True]


CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from latewood.memory import Memory
from latewood.memory.imports import ingest_git, ingest_transcripts
from latewood.storage.crashpoints import install

point, left, what, url, material = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]

def die(name):
    global left
    left -= name == point
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with Memory.open(url, by="human:importer", sync="normal") as memory:
        install(die)
        if what == "git":
            await ingest_git(memory.within(space="commits"), Path(material) / "long")
        else:
            await ingest_transcripts(memory, [Path(material) / "long.jsonl"], human="human:ada")

asyncio.run(main())
"""
DEATHS = [("unit.written", 300), ("group.committed", 1), ("journal.answered", 2)]


def run(words: Sequence[str]) -> int:
    return subprocess.run([sys.executable, "-c", CHILD, *words], check=False).returncode


@pytest.mark.timeout(300)
async def test_an_import_that_is_killed_goes_on_to_the_same_space(material: Path, tmp_path: Path) -> None:
    clean, crashed = str(tmp_path / "clean.db"), str(tmp_path / "crashed.db")
    commit_many(material / "long", 300)
    for point, count in DEATHS:
        assert run([point, str(count), "transcript", crashed, str(material)]) == -signal.SIGKILL
    # The space that git's history fills stays in filling, and only its own history goes on with it.
    assert run(["group.committed", "1", "git", crashed, str(material)]) == -signal.SIGKILL
    async with Memory.open(crashed, by="human:importer") as memory:
        states = {space.name: space.state for space in await memory.spaces()}
        assert states["commits"] == "filling"
    for what in ("transcript", "git"):
        for url in (clean, crashed):
            assert run(["never", "1", what, url, str(material)]) == 0
    async with Memory.open(clean, by="human:x") as expected, Memory.open(crashed, by="human:x") as memory:
        assert await everything(memory) == await everything(expected)
        assert len((await everything(memory))[0]) > 1_000
        spaces, others = await memory.spaces(), await expected.spaces()
        assert {one.name: (one.state, one.seq) for one in spaces} == {one.name: (one.state, one.seq) for one in others}
        for space in ("default", "commits"):
            assert [(await memory.store.verify(space, ledger)).ok for ledger in LEDGERS] == [True, True]
