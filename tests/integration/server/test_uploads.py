"""Sources sent as text over GraphQL: kept once, told of as the command line tells, believed no further than who sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from integration.ingestion.test_traces import document, said, span
from integration.server.test_identity import guarded

from latewood.graph_schema.model import Trust
from latewood.graph_schema.plain import plain
from latewood.memory import Memory
from latewood.memory.imports import ingest_transcripts
from latewood.memory.uploads import UPLOAD_BYTES_MAX
from latewood.server.graphql.uploads import IngestReport

FIELDS = """path space source dryRun files lines items written replayed late rejected refused openCalls what leftOut
  rejects { path line kind code reason } clockDisagreements dangling cyclic unknown gone problems receipt refusal"""
INGEST = f"mutation($input: IngestInput!, $space: String) {{ ingest(input: $input, space: $space) {{ {FIELDS} }} }}"


def turn(n: int, sort: str, text: str) -> str:
    message: dict[str, Any] = {"role": sort, "content": [{"type": "text", "text": text}]}
    return json.dumps({
        "type": sort, "uuid": f"u{n}", "parentUuid": None, "sessionId": "s1", "timestamp": f"2026-03-01T10:00:0{n}Z",
        "message": message,
    })  # fmt: skip


TALK = "\n".join([turn(1, "user", "Who drives to Lyon?"), turn(2, "assistant", "Carrier B."), "{broken"]) + "\n"


def upload(source: str, file: str, text: str, **more: Any) -> dict[str, Any]:
    return {"source": source, "files": [{"name": file, "text": text}], **more}


async def test_a_transcript_is_kept_once_and_told_as_on_the_command_line(served: Any, tmp_path: Path) -> None:
    given = upload("TRANSCRIPT", "s1.jsonl", TALK, human="human:ada")
    dry = (await served.ask(INGEST, input={**given, "dryRun": True}))["ingest"]
    first, again = [(await served.ask(INGEST, input=given))["ingest"] for _ in range(2)]
    path = tmp_path / "s1.jsonl"
    path.write_text(TALK)
    async with Memory.open("reference:", by="human:ada", embedder="none") as other:
        beside = await ingest_transcripts(other, [path], human="human:ada")

    assert (dry["items"], dry["written"], dry["dryRun"], dry["receipt"]) == (first["items"], 0, True, None)
    assert (first["written"], first["replayed"], again["written"], again["replayed"]) == (4, 0, 0, 4)
    assert (first["rejected"], first["rejects"][0]["line"]) == (1, 3)
    assert str(tmp_path) not in json.dumps(first)
    assert first["path"] == "upload:upload/s1.jsonl" == first["rejects"][0]["path"]
    counts = {name: value for name, value in plain(beside).items() if isinstance(value, int)}  # type: ignore[union-attr]
    told = {name: first[name] for name in ("files", "lines", "items", "written", "rejected", "refused", "late")}
    assert told == {name: counts[name] for name in told}
    assert first["what"] == beside.what
    hits = (await served.memory.recall("who drives to Lyon")).hits
    sources = {hit.fact.source.origin for hit in hits if hit.fact is not None and hit.fact.predicate == "said"}
    assert sources == {"upload:upload/s1.jsonl"}


async def test_traces_notes_and_a_memory_are_taken(served: Any) -> None:
    genai = {"gen_ai.operation.name": "chat", "gen_ai.agent.name": "planner", "gen_ai.input.messages": json.dumps([said("user", "hi")])}  # fmt: skip
    trace = await served.ask(INGEST, input=upload("TRACE", "t.json", json.dumps(document(span(1, attributes=genai)))))
    notes = "# Carriers\n\nB drives to Lyon.\n"
    first = await served.ask(INGEST, input=upload("NOTES", "2026/a.md", notes, name="mine"))
    edited = await served.ask(INGEST, input=upload("NOTES", "2026/a.md", notes.replace("B", "C"), name="mine"))
    entity = json.dumps({"type": "entity", "name": "Lyon", "entityType": "city", "observations": ["has a depot"]})
    memory = await served.ask(INGEST, input=upload("MEMORY", "memory.jsonl", entity, author="agent:old"))

    assert trace["ingest"]["written"] > 2
    assert (first["ingest"]["written"] > 0, edited["ingest"]["written"] > 0) == (True, True)
    assert memory["ingest"]["written"] > 0
    hits = [hit.fact.value.data for hit in (await served.memory.recall("drives to Lyon", limit=20)).hits if hit.fact]
    assert "C drives to Lyon." in hits


@pytest.mark.parametrize(
    ("change", "code"),
    [({"files": []}, "upload.malformed"), ({"files": [{"name": "../x.jsonl", "text": TALK}]}, "upload.malformed"),
     ({"files": [{"name": "/etc/passwd", "text": TALK}]}, "upload.malformed"), ({"files": [{"name": "a\0b", "text": TALK}]}, "upload.malformed"),
     ({"files": [{"name": "a", "text": TALK}, {"name": "a/b", "text": TALK}]}, "upload.malformed"),
     ({"files": [{"name": "a", "text": ""}, {"name": "a", "text": ""}]}, "upload.malformed"), ({"name": "a/b"}, "upload.malformed"),
     ({"files": [{"name": "x.jsonl", "text": "nothing"}]}, "import.malformed"), ({"source": "MEMORY", "files": [{"name": "a", "text": ""}, {"name": "b", "text": ""}]}, "upload.malformed"),
     ({"files": [{"name": str(n), "text": ""} for n in range(201)]}, "limit.exceeded"), ({"files": [{"name": "x", "text": "x" * (UPLOAD_BYTES_MAX + 1)}]}, "limit.exceeded")],
)  # fmt: skip
async def test_what_is_no_upload_is_refused(served: Any, change: dict[str, Any], code: str) -> None:
    error = await served.refused(INGEST, input={**upload("TRANSCRIPT", "s1.jsonl", TALK), **change})

    assert error["code"] == code, error
    assert "tmp" not in json.dumps(error)
    assert (await served.ask("query($id: ID!) { receipt(id: $id) { code } }", id=error["details"]["receipt"]))["receipt"] == {"code": code}  # fmt: skip
    assert (await served.memory.nodes()).items == ()


async def test_it_takes_write_and_run_and_is_believed_as_the_key_is(tmp_path: Path) -> None:
    async with guarded(tmp_path) as asked:
        given = upload("TRANSCRIPT", "s1.jsonl", TALK, human="human:ada")
        for scopes in (("read", "write"), ("read", "run")):
            assert await asked.code(await asked.key(*scopes), INGEST, input=given) == "credential.scope"
        key = await asked.key("read", "write", "run", actor="agent:loader")
        assert await asked.code(key, INGEST, input=given, space="other") == "space.unknown"
        assert (await asked.post(key, INGEST, input=given)).json()["data"]["ingest"]["written"] == 4
        rows = await asked.served.memory.within(tenant="acme").store.feed("default", "knowledge", 0, 100)

    trusts = {row.event.trust for row in rows if row.event.kind.value == "asserted"}
    assert trusts == {Trust.AGENT.level}


def test_the_report_tells_all_that_the_source_reports() -> None:
    shown = {one.python_name for one in IngestReport.__strawberry_definition__.fields}  # type: ignore[attr-defined]
    from latewood.ingestion.sources.loading import SourceReport

    assert shown == set(SourceReport.__slots__) - {"space_created"}  # type: ignore[attr-defined]
