"""`latewood migrate`: what it says before and after it brings a database forward, and what keeps it from doing so."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import apsw
import pytest
from simulation.synthetic import REWRITING

from latewood.storage.sqlite import migrations
from latewood.storage.sqlite.migrations import SCHEMA_VERSION

RELEASED = Path(__file__).parents[2] / "data" / "released" / "0.1.0.db"


@pytest.fixture
def old(cli: Any) -> Any:
    """A database that an earlier release wrote."""
    shutil.copy(RELEASED, cli.db)
    return cli


def test_a_database_of_this_schema_has_nothing_to_do(cli: Any) -> None:
    cli.json("observe", "carrier:A", "capacity", "12")
    done = cli.json("migrate")

    assert (done["found"], done["schema"]) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert (done["steps"], done["applied"]) == ([], False)
    assert "nothing to do" in cli.ok("migrate")
    assert list(cli.db.parent.glob("*.backup")) == []


def test_what_the_first_release_wrote_is_brought_forward_once(old: Any) -> None:
    done = old.json("migrate")

    assert (done["found"], done["schema"], done["applied"]) == (1, SCHEMA_VERSION, True)
    assert len(done["steps"]) == SCHEMA_VERSION - 1
    assert "nothing to do" in old.ok("migrate")
    assert old.json("entity", "carrier:A")["node"]["key"] == "carrier:A"


def test_a_trial_run_says_the_steps_and_the_run_takes_them(old: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "CURRENT", REWRITING)
    refused = old.refused("entity", "carrier:A", exit_code=4)
    tried = old.json("migrate", "--dry-run")
    spoken = old.ok("migrate", "--dry-run")
    done = old.json("migrate")

    assert refused["code"] == "schema.older"
    assert f"latewood migrate --db {old.db}" in refused["message"]
    assert tried["backup"] is None
    assert (tried["applied"], done["applied"]) == (False, True)
    assert tried["steps"] == done["steps"] != []
    assert all(step in spoken for step in done["steps"])
    assert Path(done["backup"]).exists()
    assert old.json("entity", "carrier:A")["node"]["key"] == "carrier:A"
    assert "nothing to do" in old.ok("migrate")


def test_what_cannot_be_upgraded_is_named(old: Any, tmp_path: Path) -> None:
    newer = apsw.Connection(str(old.db))
    newer.pragma("user_version", SCHEMA_VERSION + 1)
    newer.close()
    foreign = tmp_path / "recipes.db"
    other = apsw.Connection(str(foreign))
    other.execute("create table recipe(name text)")
    other.close()

    assert old.refused("migrate", exit_code=4)["code"] == "schema.newer"
    assert old.refused("migrate", db=str(foreign))["code"] == "file.not_a_store"
    assert old.refused("migrate", db=str(tmp_path / "nowhere.db"), exit_code=3)["code"] == "file.unreadable"
    assert not (tmp_path / "nowhere.db").exists()
