"""Transcripts, traces, notes, commits and another memory's file, through the command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from latewood.memory import Memory
from latewood.memory.runs import agents_of


def turn(n: int, sort: str, text: str) -> str:
    message: dict[str, Any] = {"role": sort, "content": [{"type": "text", "text": text}]}
    return json.dumps({
        "type": sort, "uuid": f"u{n}", "parentUuid": None, "sessionId": "s1", "timestamp": f"2026-03-01T10:00:0{n}Z",
        "message": message,
    })  # fmt: skip


@pytest.fixture
def session(tmp_path: Path) -> Path:
    path = tmp_path / "s1.jsonl"
    lines = [turn(1, "user", "Who drives to Lyon?"), turn(2, "assistant", "Carrier B since May."), "{broken"]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_transcript_comes_in_once_and_is_recalled(cli: Any, session: Path) -> None:
    words = ("ingest", "transcript", str(session), "--human", "human:ada", "--space", "talks")
    report = cli.json(*words)

    assert (report["files"], report["lines"], report["rejected"], report["space_created"]) == (1, 3, 1, True)
    assert report["what"] == {"turn": 2}
    assert report["rejects"][0]["line"] == 3
    assert cli.json(*words)["written"] == 0
    hits = cli.json("recall", "who drives to Lyon", "--space", "talks")["hits"]
    assert {"Who drives to Lyon?", "Carrier B since May."} <= {
        hit["fact"]["value"]["data"]["text"] for hit in hits if hit["fact"]["predicate"] == "said"
    }
    spoken = cli.ok(*words)
    assert "nothing was written" in spoken
    assert "rejects: 1" in spoken


def test_a_dry_run_tells_what_is_there_and_writes_nothing(cli: Any, session: Path) -> None:
    cli.ok("observe", "a:1", "p", "1")
    assert "a dry run: nothing was written" in cli.ok("ingest", "transcript", str(session), "--dry-run")
    report = cli.json("ingest", "transcript", str(session), "--space", "talks", "--dry-run")

    assert (report["items"], report["written"], report["dry_run"], report["space_created"]) == (4, 0, True, False)
    assert [space["name"] for space in cli.json("spaces", "list")] == ["default"]


@pytest.mark.parametrize("words", [("ingest", "transcript", "s1.jsonl"), ("merge", "a:1", "a:2", "--reason", "one")])
def test_a_dry_run_makes_no_file(cli: Any, session: Path, words: tuple[str, ...]) -> None:
    done = cli.run(*words, "--dry-run", "--json")

    assert (done.exit_code, session.exists(), cli.db.exists()) == (0 if words[0] == "ingest" else 3, True, False)


def test_rejects_are_written_down_mended_and_taken(cli: Any, session: Path, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    cli.ok("ingest", "transcript", str(session), "--rejects", str(rejects))
    (one,) = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert (one["path"], one["line"], one["kind"]) == (str(session), 3, "malformed")
    session.write_text(session.read_text().replace("{broken", turn(3, "user", "And to Metz?")))
    report = cli.json("ingest", "transcript", "--retry", str(rejects), "--rejects", str(rejects))

    assert (report["written"], report["rejected"], rejects.exists()) == (1, 0, False)
    strict = cli.run("ingest", "transcript", str(session), "--strict")
    assert strict.exit_code == 0


def test_what_cannot_be_read_is_refused_with_its_code(cli: Any, session: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"a": 1}\n')
    for words, code, exit_code in (
        (("transcript",), "query.invalid", 2),
        (("transcript", str(session), "--format", "word"), "query.invalid", 2),
        (("transcript", str(other)), "import.malformed", 2),
        (("transcript", str(tmp_path / "none")), "file.unreadable", 3),
        (("transcript", "--retry", str(other)), "import.malformed", 2),
        (("transcript", str(session), "--rejects", str(tmp_path / "no" / "r")), "file.unreadable", 2),
        (("trace", str(other)), "import.malformed", 2),
        (("notes", str(tmp_path / "none")), "file.unreadable", 3),
        (("git", str(tmp_path)), "file.unreadable", 2),
        (("memory", str(tmp_path)), "file.unreadable", 2),
    ):
        assert cli.refused("ingest", *words, exit_code=exit_code)["code"] == code, words


def test_a_strict_run_fails_on_a_finding(cli: Any, session: Path) -> None:
    assert cli.run("ingest", "transcript", str(session), "--strict").exit_code == 2
    assert cli.json("ingest", "transcript", str(session))["written"] == 0


def test_traces_notes_commits_and_a_memory_come_in(cli: Any, tmp_path: Path) -> None:
    trace, notes, memory, repository = (tmp_path / name for name in ("t.json", "notes", "memory.jsonl", "repository"))
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, "gen_ai.completion": "Carrier B."}
    trace.write_text(json.dumps({"spans": [{
        "name": "chat", "context": {"trace_id": 10, "span_id": 11}, "attributes": attributes,
        "start_time": 1772359200000000000, "end_time": 1772359201000000000,
    }]}))  # fmt: skip
    notes.mkdir()
    (notes / "lanes.md").write_text("# Lanes\n\n## Lyon\n\nCarrier B.\n")
    memory.write_text('{"type":"entity","name":"Lyon","entityType":"lane","observations":["is long"]}\n')
    repository.mkdir()
    for words in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "Begin\n\nIt was time.")):
        subprocess.run(
            ["git", "-c", "user.name=Ada", "-c", "user.email=a@x.example", *words], cwd=repository, check=True
        )
    for words, what in (
        (("trace", str(trace)), {"model call": 1}),
        (("notes", str(notes), "--author", "human:ada"), {"new note": 1}),
        (("memory", str(memory)), {"entity": 1}),
        (("git", str(repository), "--space", "commits"), {"commit": 1}),
    ):
        report = cli.json("ingest", *words)
        assert (report["what"], report["rejected"], report["written"] > 0) == (what, 0, True)
        assert cli.json("ingest", *words)["written"] == 0

    assert cli.json("entity", "lane:Lyon")["node"]["key"] == "lane:Lyon"
    assert cli.json("entity", "note:lanes.md#lyon")["node"]["type"] == "note_section"
    usage = [one for one in cli.json("entity", f"step:{10:x}/{11:x}")["facts"] if one["predicate"] == "usage"]
    assert usage[0]["value"]["data"] == {"input_tokens": 5}

    async def begin() -> str:
        async with Memory.open(str(cli.db), by="agent:ts", embedder="none") as opened:
            return (await agents_of(opened).start("ts.lanes")).id

    assert "`latewood entities --kind run`" in cli.ok("runs")
    assert "taken from a trace" in cli.refused("run", "show", "run:trace:a", exit_code=3)["message"]
    run = asyncio.run(begin())
    assert [one["id"] for one in cli.json("runs")["items"]] == [run]
    assert "`latewood entities --kind run`" in cli.run("runs").stderr
