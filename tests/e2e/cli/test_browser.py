"""`latewood neo4j browser` writes what the Browser takes in, and says how."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from latewood.clients.cli import app
from latewood.clients.cli.call import EXIT_UNAVAILABLE
from latewood.storage.neo4j.browser import saved_queries


def test_the_files_are_written_and_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["neo4j", "browser", "--out", str(tmp_path / "out"), "--json"])
    told = json.loads(done.stdout)

    assert done.exit_code == 0
    assert Path(told["style"]).read_text().startswith("node {")
    assert Path(told["archive"]).stat().st_size > 0
    assert [one["title"] for one in told["queries"]] == [one.title for one in saved_queries()]
    assert all(Path(one["file"]).is_file() for one in told["queries"])


def test_people_are_told_how_to_load_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = CliRunner().invoke(app, ["neo4j", "browser", "--out", str(out)])
    (out / "latewood.grass").write_text("old")
    again = CliRunner().invoke(app, ["neo4j", "browser", "--out", str(out)])
    words = " ".join(first.output.split())

    assert first.exit_code == again.exit_code == 0
    assert "latewood.grass" in words
    assert "00 Set the parameters" in words
    assert ":config autoComplete: false" in words
    assert (out / "latewood.grass").read_text() != "old"


def test_a_place_that_cannot_be_written_is_an_error_with_a_code(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    done = CliRunner().invoke(app, ["neo4j", "browser", "--out", str(tmp_path / "out"), "--json"])

    assert done.exit_code == EXIT_UNAVAILABLE
    assert json.loads(done.stdout)["error"]["code"] == "file.unreadable"
