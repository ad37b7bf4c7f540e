"""Records and tables in, MADR out, through the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

OLD = """# 1. Use a queue

Date: 2026-01-05

## Status

Superseded by [2. Use a log](0002-use-a-log.md)

## Context

Work piles up.

## Decision

We use a queue.
"""
NEW = """# 2. Use a log

Date: 2026-02-05

## Status

Accepted

## Context

The queue lost its order.

## Decision

We use a log.
"""
MAP = """[node]
kind = "decision"
key = "pep:{pep}"
name = "{title}"

[dates]
valid_from = "created"

[status]
column = "status"

[status.words]
"Final" = "accepted"
"Superseded" = "superseded"

[[relations]]
column = "superseded_by"
predicate = "supersedes"
target = "pep:{value}"
inverse = true
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    records = tmp_path / "repository" / "adr"
    records.mkdir(parents=True)
    (records / "0001-use-a-queue.md").write_text(OLD)
    (records / "0002-use-a-log.md").write_text(NEW)
    return records


def commit(folder: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=Ada", "-c", "user.email=ada@x.example", *words],
            cwd=folder.parent, check=True, capture_output=True,
            env={"PATH": "/usr/bin:/bin", "GIT_AUTHOR_DATE": "2026-03-01T10:00:00Z",
                 "GIT_COMMITTER_DATE": "2026-03-01T10:00:00Z", "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"},
        )  # fmt: skip

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "records")


def test_records_come_in_once_and_the_report_says_what_to_look_at(cli: Any, folder: Path) -> None:
    report = cli.json("ingest", "adr", str(folder), "--space", "adrs")

    assert (report["decisions"], report["supersessions"], report["space_created"]) == (2, 1, True)
    assert len(report["one_sided"]) == 1
    for name in ("dangling", "cyclic", "duplicate_numbers", "dead_links"):
        assert report[name] == []
    again = cli.json("ingest", "adr", str(folder), "--space", "adrs")
    assert (again["written"], again["space_created"]) == (0, False)
    assert [node["key"] for node in cli.json("decision", "adr:1", "--space", "adrs")["supersededBy"]] == ["adr:2"]
    spoken = cli.ok("ingest", "adr", str(folder), "--space", "more")
    assert "into space more, which is new" in spoken
    assert "one sided: 1" in spoken
    assert "nothing was written" in cli.ok("ingest", "adr", str(folder), "--space", "adrs")


def test_a_git_history_dates_what_was_known(cli: Any, folder: Path) -> None:
    commit(folder)
    report = cli.json("ingest", "adr", str(folder))

    assert (report["history"], report["commits"]) == (True, 1)
    assert cli.json("decision", "adr:2")["recordedAt"].startswith("2026-03-01T10:00:00")
    assert cli.json("decisions", "--known-at", "2026-02-28")["items"] == []
    assert cli.refused("decision", "adr:2", "--known-at", "2026-02-28", exit_code=3)["code"] == "node.not_found"
    assert cli.json("ingest", "adr", str(folder), "--space", "files", "--no-history")["history"] is False


def test_a_finding_fails_a_strict_import_of_records(cli: Any, folder: Path) -> None:
    (folder / "template.md").write_text("# Title\n")
    done = cli.run("ingest", "adr", str(folder), "--strict", "--json")

    assert (done.exit_code, len(json.loads(done.stdout)["one_sided"])) == (2, 1)
    assert cli.json("decision", "adr:2")["key"] == "adr:2"
    said = "Accepted\n\nSupersedes [1. Use a queue](0001-use-a-queue.md)"
    (folder / "0002-use-a-log.md").write_text(NEW.replace("Accepted", said))
    report = cli.json("ingest", "adr", str(folder), "--strict", "--space", "other")
    assert [one["path"] for one in report["skipped"]] == ["template.md"]


def test_a_folder_without_records_is_an_error(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert cli.refused("ingest", "adr", str(tmp_path / "empty"))["code"] == "record.malformed"
    assert cli.run("ingest", "adr", str(tmp_path / "nowhere")).exit_code in (2, 3)


def test_a_table_comes_in_by_its_map(cli: Any, tmp_path: Path) -> None:
    rows = [
        {"pep": 1, "title": "One", "status": "Superseded", "superseded_by": [2], "created": "2001-01-01"},
        {"pep": 2, "title": "Two", "status": "Final", "created": "2002-01-01"},
    ]
    table = tmp_path / "peps.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    table_map = tmp_path / "map.toml"
    table_map.write_text(MAP)
    report = cli.json("ingest", "table", str(table), "--map", str(table_map), "--space", "peps")

    assert (report["rows"], report["decisions"], report["supersessions"]) == (2, 2, 1)
    assert [reject["line"] for reject in report["rejects"]] == [3]
    assert cli.json("decision", "pep:1", "--space", "peps")["status"] == "superseded"
    assert cli.json("ingest", "table", str(table), "--map", str(table_map), "--space", "peps")["written"] == 0
    assert cli.refused("ingest", "table", str(table), "--map", "nomap", exit_code=3)["code"] == "file.unreadable"
    strict = cli.run("ingest", "table", str(table), "--map", str(table_map), "--space", "peps", "--strict")
    assert (strict.exit_code, "rejects: 1" in strict.stdout) == (2, True)
    clean = tmp_path / "clean.jsonl"
    clean.write_text(json.dumps(rows[1]) + "\n")
    assert cli.json("ingest", "table", str(clean), "--map", str(table_map), "--space", "new", "--strict")["rows"] == 1
    assert "rejects: 1" in cli.ok("ingest", "table", str(table), "--map", str(table_map), "--space", "peps")


def test_what_is_exported_comes_in_again(cli: Any, folder: Path, tmp_path: Path) -> None:
    cli.ok("ingest", "adr", str(folder))
    report = cli.json("export", "adr", str(tmp_path / "out"))
    again = cli.json("ingest", "adr", str(tmp_path / "out"), "--space", "again")

    assert (report["decisions"], report["supersessions"]) == (2, 1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(report["files"].values())
    assert (again["decisions"], again["supersessions"], again["one_sided"]) == (2, 1, [])
    ours, theirs = (cli.json("decision", "adr:1", "--space", space) for space in ("default", "again"))
    assert (ours["status"], ours["choice"]) == (theirs["status"], theirs["choice"])
    assert "--force" in cli.refused("export", "adr", str(tmp_path / "out"))["message"]
    assert "wrote 2 decisions" in cli.ok("export", "adr", str(tmp_path / "out"), "--force")


def test_an_empty_space_is_not_exported(cli: Any, tmp_path: Path) -> None:
    cli.ok("spaces", "create", "team")

    assert cli.refused("export", "adr", str(tmp_path / "out"), "--space", "team")["code"] == "record.malformed"
    assert not (tmp_path / "out").exists()
