"""`latewood rebuild`, and `latewood doctor` as its dry run."""

from __future__ import annotations

import json
from typing import Any

import apsw


def harm(cli: Any, statement: str) -> None:
    """Change rows behind the store's back."""
    connection = apsw.Connection(str(cli.db))
    connection.execute(statement)
    assert connection.changes() > 0
    connection.close()


def test_a_whole_store_is_left_as_it_is(seeded: Any) -> None:
    dry, done = seeded.json("rebuild", "--dry-run"), seeded.json("rebuild")

    assert (dry["differences"], dry["found"], dry["next"], dry["dryRun"]) == (0, [], None, True)
    assert {**dry, "dryRun": False} == done
    assert done["rows"] > 0
    assert done["compared"] > 0
    assert "nothing differs" in seeded.ok("rebuild")


def test_what_is_lost_is_found_named_and_mended(seeded: Any) -> None:
    before = seeded.json("entity", "carrier:A")
    harm(seeded, "delete from stretch")
    dry = seeded.run("rebuild", "--dry-run", "--json")
    spoken = seeded.run("rebuild", "--dry-run")
    health = seeded.run("doctor", "--json", "--port", "0")
    mended = seeded.json("rebuild")

    assert dry.exit_code == spoken.exit_code == health.exit_code == 5
    found = json.loads(dry.stdout)
    assert {(one["view"], one["what"], one["repaired"]) for one in found["found"]} == {("stretch", "missing", False)}
    assert found["differences"] == len(found["found"])
    one = found["found"][0]
    assert f"stretch {one['id']} is missing" in " ".join(spoken.stdout.split())
    assert f"row {one['seq']} of the knowledge ledger" in " ".join(spoken.stdout.split())
    views = next(check for check in json.loads(health.stdout)["checks"] if check["name"] == "views default")
    assert views["state"] == "failed"
    assert "latewood rebuild --space default" in views["fix"]
    assert mended["differences"] == found["differences"]
    assert all(one["repaired"] for one in mended["found"])
    assert seeded.json("rebuild", "--dry-run")["differences"] == 0
    assert seeded.json("entity", "carrier:A") == before
    assert seeded.json("doctor", "--port", "0")["ok"] is True


def test_a_cursor_goes_on_and_a_wrong_one_is_refused(seeded: Any) -> None:
    whole = seeded.json("rebuild", "--dry-run")
    found = seeded.refused("rebuild", "--after", "nonsense")
    assert found["code"] == "cursor.invalid"
    # The receipts alone: the cursor is that of their first step.
    part = seeded.json("rebuild", "--dry-run", "--after", "WyJyZWJ1aWxkIiwicmVjZWlwdHMiLCIiXQ")
    assert part["next"] is None
    assert 0 < part["read"] < whole["read"]


def test_a_ledger_that_does_not_verify_ends_with_5(seeded: Any) -> None:
    harm(seeded, "update event set trust = trust + 1 where ledger = 0 and seq = 3")
    found = seeded.refused("rebuild", exit_code=5)
    assert found["code"] == "ledger.corrupt"
    assert found["details"]["seq"] == 3


def test_no_file_is_made(cli: Any) -> None:
    found = cli.refused("rebuild", exit_code=3)
    assert found["code"] == "file.unreadable"
    assert not cli.db.exists()
