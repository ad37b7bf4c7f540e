"""`latewood erase`: it asks, it proves, and it is distinct from retract and end."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_it_erases_and_prints_the_proof(cli: Any) -> None:
    note = cli.json("observe", "person:jane", "note", "plays quixotic chess", "--source", "hr.pdf")
    report = cli.json("erase", "person:jane", "--reason", "ticket 481", "--yes")

    assert (report["kind"], report["reason"], report["scrub"]["state"]) == ("entity", "ticket 481", "done")
    assert report["verdict"]["badSeq"] is None
    assert report["verdict"]["erased"] == report["places"]["ledger"] == len(report["rows"])
    assert report["receipt"] == cli.json("receipt", report["receipt"]["id"])
    fact = cli.python(lambda memory: memory.fact(note["id"]))
    assert (fact["erased"], fact["value"], fact["source"]) == (True, None, None)
    assert "(erased)" in cli.ok("entity", report["target"])
    assert "(erased)" in cli.ok("timeline", report["target"])
    assert not [one for one in cli.db.parent.iterdir() if b"quixotic" in one.read_bytes()]
    assert cli.refused("entity", "person:jane", exit_code=3)["code"] == "node.not_found"
    spoken = cli.ok("erase", cli.json("observe", "a:1", "note", "x")["id"], "--reason", "r", "--yes")
    assert "files: done" in spoken
    assert "rows verify" in spoken


def test_without_yes_nobody_is_asked_and_nothing_goes(cli: Any) -> None:
    note = cli.json("observe", "a:1", "note", "x")
    error = cli.refused("erase", note["id"], "--reason", "r")

    assert error["code"] == "query.invalid"
    assert "--yes" in error["message"]
    assert cli.python(lambda memory: memory.fact(note["id"]))["erased"] is False


def test_it_is_refused_with_its_codes(cli: Any) -> None:
    note = cli.json("observe", "a:1", "note", "x")
    codes = [
        cli.refused("erase", note["id"], "--reason", "r", "--yes", "--by", "agent:x")["code"],
        cli.refused("erase", note["id"], "--reason", " ", "--yes")["code"],
        cli.refused("erase", "a:2", "--reason", "r", "--yes", exit_code=3)["code"],
    ]
    cli.ok("erase", note["id"], "--reason", "r", "--yes")
    codes.append(cli.refused("erase", note["id"], "--reason", "r", "--yes")["code"])

    assert codes == ["erase.forbidden", "value.invalid", "node.not_found", "content.erased"]


def test_an_export_made_afterwards_does_not_have_it(cli: Any, tmp_path: Path) -> None:
    note = cli.json("observe", "a:1", "note", "quixotic")
    cli.ok("observe", "a:1", "rate", "3")
    before, after = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    cli.ok("export", "space", str(before))
    cli.ok("erase", note["id"], "--reason", "r", "--yes")
    cli.ok("export", "space", str(after))
    moved = str(tmp_path / "moved.db")
    assert cli.run("import", str(after), db=moved).exit_code == 0

    assert "quixotic" in before.read_text()
    assert "quixotic" not in after.read_text()
    assert cli.run("ledger", "verify", db=moved).exit_code == 0
    again = cli.run("import", str(before))
    assert b"quixotic" not in cli.db.read_bytes(), again.stdout + again.stderr
    assert cli.python(lambda memory: memory.fact(note["id"]))["erased"] is True
