"""The command line run in this process, over a fresh file, with the Python API beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from latewood.clients.cli import app
from latewood.memory import BlockingMemory
from latewood.memory.json import as_json


@dataclass
class Cli:
    """`latewood` over one database."""

    db: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, db: str | None = None, **env: str) -> Any:
        """Run a command and return its result: exit_code, stdout, stderr."""
        given = [*words, "--db", db or str(self.db)]
        return CliRunner(env={**self.env, **env}).invoke(app, given, catch_exceptions=False)

    def ok(self, *words: str) -> str:
        """Run a command that must succeed, and return what it printed."""
        done = self.run(*words)
        assert done.exit_code == 0, done.stdout + done.stderr
        return done.stdout

    def json(self, *words: str) -> Any:
        """Run a command that must succeed with --json, and return its one document."""
        return json.loads(self.ok(*words, "--json"))

    def refused(self, *words: str, exit_code: int = 2, db: str | None = None) -> dict[str, Any]:
        """Run a command that must fail, in words and with --json, and return the error of the latter."""
        spoken = self.run(*words, db=db)
        assert spoken.exit_code == exit_code, spoken.stdout + spoken.stderr
        done = self.run(*words, "--json", db=db)
        assert done.exit_code == exit_code
        assert done.stderr == ""
        document = json.loads(done.stdout)
        assert list(document) == ["error"]
        assert set(document["error"]) == {"code", "message", "branch", "details"}
        assert f"error [{document['error']['code']}]" in spoken.stderr
        assert spoken.stdout == ""
        return document["error"]

    def python(self, ask: Callable[[BlockingMemory], object]) -> Any:
        """Ask the same of the Python API, and return its JSON."""
        with BlockingMemory.open(str(self.db)) as memory:
            return as_json(ask(memory))


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    for name in ("LATEWOOD_DB", "LATEWOOD_SPACE", "LATEWOOD_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LATEWOOD_SYNC", "normal")
    return Cli(tmp_path / "t.db", {"COLUMNS": "200"})


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a little of everything, written by the command line itself, for tests to copy."""
    cli = Cli(tmp_path_factory.mktemp("seed") / "t.db", {"COLUMNS": "200", "LATEWOOD_SYNC": "normal"})
    late = cli.json("observe", "carrier:A", "on_time_rate", "0.81", "--valid-from", "2026-03-01", "--by", "agent:tms")
    cli.ok(
        "observe", "carrier:A", "on_time_rate", "0.95", "--valid-from", "2026-03-01", "--source", "https://a.example"
    )
    cli.ok("relate", "carrier:A", "serves", "lane:lyon")
    first = cli.json("decide", "Keep carrier A", "--because", "it is cheap", "--about", "carrier:A", "--key", "lane:d1")
    cli.ok(
        "decide", "Move to carrier B", "--because", "A is late", "--about", "carrier:A", "--about", "carrier:B",
        "--evidence", late["id"], "--alternative", "keep A | penalties did not help", "--key", "lane:d2",
        "--supersedes", first["id"], "--session", "s-1", "--confidence", "0.8", "--question", "Who drives to Lyon?",
    )  # fmt: skip
    cli.ok("correct", late["id"], "0.91", "--because", "two trucks were counted twice")
    return cli.db


@pytest.fixture
def seeded(cli: Cli, seed: Path) -> Cli:
    """`latewood` over a database of its own with a little of everything in it."""
    shutil.copy(seed, cli.db)
    return cli
