"""Checking what is stored: `ledger verify` and `doctor` on sound and on damaged files."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import apsw
import pytest


def flip(db: Path, statement: str, *bindings: object) -> None:
    """Change stored bytes behind the store's back."""
    connection = apsw.Connection(str(db))
    connection.execute(statement, bindings)
    assert connection.changes() == 1
    connection.close()


def flip_payload_byte(db: Path, seq: int) -> None:
    connection = apsw.Connection(str(db))
    (payload,) = next(connection.execute("select payload from event where ledger = 0 and seq = ?", (seq,)))
    place = payload.index("0.81")
    changed = payload[:place] + "0.82" + payload[place + 4 :]
    connection.execute("update event set payload = ? where ledger = 0 and seq = ?", (changed, seq))
    connection.close()


def checks(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in document["checks"]}


def row_with(cli: Any, text: str) -> int:
    return next(row["seq"] for row in cli.json("ledger", "tail", "--last", "1000") if text in json.dumps(row["event"]))


def test_a_sound_ledger_verifies(seeded: Any) -> None:
    verdict = seeded.json("ledger", "verify")
    both = seeded.json("ledger", "verify", "--all")

    assert (verdict["badSeq"], verdict["rows"]) == (None, seeded.json("spaces", "list")[0]["seq"]["knowledge"])
    assert [(one["space"], one["verdict"]["ledger"]) for one in both] == [
        ("default", "knowledge"),
        ("default", "execution"),
    ]
    assert "verify" in seeded.ok("ledger", "verify", "--all")


def test_one_changed_byte_names_the_first_bad_row(seeded: Any) -> None:
    seq = row_with(seeded, "0.81")
    flip_payload_byte(seeded.db, seq)

    done = seeded.run("ledger", "verify", "--json")
    assert done.exit_code == 5
    verdict = json.loads(done.stdout)
    assert (verdict["badSeq"], verdict["rows"]) == (seq, seq - 1)
    spoken = seeded.run("ledger", "verify")
    assert spoken.exit_code == 5
    assert f"row {seq} " in spoken.stderr
    assert seeded.run("ledger", "verify", "--all").exit_code == 5


@pytest.mark.parametrize("column", ["recorded_at", "tier", "trust", "valid_from"])
def test_a_changed_number_names_its_row(seeded: Any, column: str) -> None:
    seq = row_with(seeded, "0.81")
    flip(seeded.db, f"update event set {column} = {column} + 1 where ledger = 0 and seq = ?", seq)

    done = seeded.run("ledger", "verify", "--json")
    assert done.exit_code == 5
    assert json.loads(done.stdout)["badSeq"] == seq


def test_doctor_finds_nothing_wrong_with_a_sound_store(seeded: Any) -> None:
    document = seeded.json("doctor", "--port", "0")
    spoken = seeded.ok("doctor", "--port", "0")

    assert document["ok"] is True
    assert {check["state"] for check in document["checks"]} == {"ok"}
    assert {"python", "settings", "store", "writable", "disk", "port", "space default", "views default"} <= set(
        checks(document)
    )
    assert "all is well" in spoken
    assert all(check["found"] in spoken for check in document["checks"] if "free" not in check["found"])


def test_doctor_names_the_bad_row_and_ends_with_5(seeded: Any) -> None:
    seq = row_with(seeded, "0.81")
    flip_payload_byte(seeded.db, seq)

    done = seeded.run("doctor", "--json", "--port", "0")
    found = checks(json.loads(done.stdout))
    assert done.exit_code == 5
    assert found["ledger default/knowledge"]["state"] == "failed"
    assert f"row {seq}:" in found["ledger default/knowledge"]["found"]
    assert found["ledger default/knowledge"]["fix"]
    assert found["views default"]["state"] == "skipped"
    assert "fix: " in seeded.run("doctor", "--port", "0").stdout


def test_doctor_sees_a_view_that_differs_from_the_ledger(seeded: Any) -> None:
    fact = seeded.json("entity", "carrier:A", "--predicate", "serves")["facts"][0]
    raw = bytes.fromhex(fact["id"].replace("-", ""))
    for table in ("stretch", "claim"):
        flip(seeded.db, f"delete from {table} where e = (select e from event where id = ? and ledger = 0)", raw)

    done = seeded.run("doctor", "--json", "--port", "0")
    found = checks(json.loads(done.stdout))
    assert done.exit_code == 5
    assert found["ledger default/knowledge"]["state"] == "ok"
    assert found["views default"]["state"] == "failed"
    assert fact["id"] in found["views default"]["found"]


def test_doctor_makes_no_file(cli: Any) -> None:
    found = checks(cli.json("doctor", "--port", "0"))

    assert found["store"]["state"] == "warning"
    assert not cli.db.exists()


def test_doctor_goes_on_after_a_check_that_failed(cli: Any) -> None:
    cli.db.write_text("dear diary " * 500)
    done = cli.run("doctor", "--json", "--port", "0", LATEWOOD_COLOUR="red")
    found = checks(json.loads(done.stdout))

    assert done.exit_code == 2
    assert (found["settings"]["state"], found["settings"]["code"]) == ("failed", "setting.invalid")
    assert (found["store"]["state"], found["store"]["code"]) == ("failed", "file.not_a_store")
    assert found["port"]["state"] == "ok"


def test_doctor_says_that_a_port_is_taken(cli: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = checks(cli.json("doctor", "--port", str(taken.getsockname()[1])))

    assert found["port"]["state"] == "warning"
    assert "--port" in found["port"]["fix"]


def test_doctor_misses_an_unknown_space(seeded: Any) -> None:
    done = seeded.run("doctor", "--json", "--port", "0", "--space", "nowhere")

    assert done.exit_code == 2
    assert checks(json.loads(done.stdout))["space"]["state"] == "failed"


def test_spaces_are_made_on_purpose_and_kept_apart(cli: Any) -> None:
    made = cli.json("spaces", "create", "team", "--strict")
    cli.ok("observe", "a:1", "p", "1")

    assert (made["name"], made["strict"], made["state"]) == ("team", True, "empty")
    assert [space["name"] for space in cli.json("spaces", "list")] == ["default", "team"]
    assert cli.refused("entity", "a:1", "--space", "team", exit_code=3)["code"] == "node.not_found"
    assert cli.refused("observe", "a:1", "p", "1", "--space", "team", exit_code=3)["code"] == "predicate.unknown"
    assert "strict" in cli.ok("spaces", "list")
