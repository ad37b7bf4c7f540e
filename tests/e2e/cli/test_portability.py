"""`export space`, `import`, `backup` and `restore` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def ask(cli: Any, db: Path, *words: str) -> Any:
    done = cli.run(*words, "--json", db=str(db))
    assert done.exit_code == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_space_leaves_one_file_and_comes_into_another(seeded: Any, tmp_path: Path) -> None:
    file, other = tmp_path / "space.jsonl.gz", tmp_path / "other.db"
    wrote = seeded.json("export", "space", str(file))
    trial = ask(seeded, other, "import", str(file), "--dry-run")
    took = ask(seeded, other, "import", str(file), "--name", "team")
    again = ask(seeded, other, "import", str(file), "--name", "team")
    verdict = ask(seeded, other, "ledger", "verify", "--space", "team")

    assert wrote["rows"] == trial["rows"] == took["written"]
    assert trial["dryRun"] is True
    assert took["fingerprint"] == wrote["fingerprint"] == again["fingerprint"]
    assert again["written"] == 0
    assert verdict["badSeq"] is None


def test_an_export_that_is_there_is_not_replaced_unasked(seeded: Any, tmp_path: Path) -> None:
    file = tmp_path / "space.jsonl"
    seeded.json("export", "space", str(file))
    refused = seeded.run("export", "space", str(file), "--json")
    replaced = seeded.run("export", "space", str(file), "--force", "--json")

    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["error"]["code"] == "file.exists"
    assert replaced.exit_code == 0


def test_a_backup_is_restored(seeded: Any, tmp_path: Path) -> None:
    folder, other = tmp_path / "backup", tmp_path / "restored.db"
    kept = seeded.json("backup", str(folder))
    back = ask(seeded, other, "restore", str(folder))
    said = seeded.run("restore", str(folder), db=str(other))

    assert [one["fingerprint"] for one in back] == [one["fingerprint"] for one in kept["spaces"]]
    assert "were there already" in said.stdout


def test_the_standard_output_takes_one_thing(seeded: Any) -> None:
    whole = seeded.run("export", "space", "-")
    both = seeded.run("export", "space", "-", "--json")
    lines = whole.stdout.splitlines()

    assert json.loads(lines[0])["format"] == "latewood-export/1"
    assert json.loads(lines[-1])["rows"] == len(lines) - 2
    assert both.exit_code == 2
