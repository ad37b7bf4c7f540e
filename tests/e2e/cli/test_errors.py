"""What goes wrong: a code, the way out, an exit code, and nothing half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from typer.main import get_command

from latewood.clients.cli import app, main
from latewood.clients.cli.call import COMMANDS
from latewood.graph_schema.errors import CODES
from latewood.memory import Memory

MISSING = "01900000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("entity", "carrier:Aa"), "node.not_found", 3),
        (("entity", MISSING), "node.not_found", 3),
        (("decision", "carrier:A"), "node.not_found", 3),
        (("receipt", MISSING), "node.not_found", 3),
        (("retract", MISSING), "node.not_found", 3),
        (("decisions", "--space", "default1"), "space.unknown", 3),
        (("observe", "a:1", "p", "1", "--space", "nowhere"), "space.unknown", 3),
        (("ledger", "tail", "--space", "nowhere"), "space.unknown", 3),
        (("why",), "query.invalid", 2),
        (("why", "lane:d1", "--about", "carrier:A"), "query.invalid", 2),
        (("entity", "carrier:A", "--known-at", "2026-01-01T00:00:00"), "time.naive", 2),
        (("entity", "carrier:A", "--valid-at", "yesterday"), "time.unreadable", 2),
        (("observe", "a:1", "p", "1", "--valid-from", "2026-01-01T00:00:00"), "time.naive", 2),
        (("observe", "a:1", "p", "1", "--valid-from", "2026-02-01", "--valid-to", "2026-01-01"), "period.empty", 2),
        (("observe", "", "p", "1"), "value.invalid", 2),
        (("observe", "carrier:A", "p", "1", "--expected-version", "1"), "version.conflict", 2),
        (("diff", "2026-02-01", "2026-01-01"), "period.empty", 2),
        (("decisions", "--first", "0"), "limit.exceeded", 2),
        (("decisions", "--after", "nonsense"), "cursor.invalid", 2),
        (("runs", "--status", "nonsense"), "query.invalid", 2),
        (("ledger", "verify", "--ledger", "gossip"), "query.invalid", 2),
        (("spaces", "create", "Bad Name"), "space.name_invalid", 2),
        (("spaces", "create", "default"), "space.exists", 2),
        (("decide", "x", "--because", "y", "--confidence", "7"), None, 2),
        (("serve", "--host", "0.0.0.0"), "setting.invalid", 2),  # noqa: S104 - it is refused
    ],
)
def test_bad_input_is_refused_by_name(seeded: Any, words: tuple[str, ...], code: str | None, exit_code: int) -> None:
    rows = seeded.json("spaces", "list")[0]["seq"]
    error = seeded.refused(*words, exit_code=exit_code)

    assert error["code"] in CODES
    assert error["code"] == (code or error["code"])
    assert error["branch"] == "refused"
    assert seeded.json("spaces", "list")[0]["seq"] == rows


def test_near_names_are_suggested(seeded: Any) -> None:
    assert "carrier:A" in seeded.refused("entity", "carrier:AA", exit_code=3)["details"]["suggestions"]
    assert "default" in seeded.refused("decisions", "--space", "default1", exit_code=3)["message"]


def test_messages_name_verbs_and_the_command_line_says_what_they_are_called_here(seeded: Any) -> None:
    assert "latewood" not in seeded.refused("messages", "pending", "nowhere", exit_code=3)["message"]
    assert "here: `latewood messages channels`" in seeded.run("messages", "pending", "nowhere").stderr
    for code, words in COMMANDS.items():
        assert code in CODES
        assert seeded.run(*words.split(), "--help").exit_code == 0


def test_a_refused_write_has_a_receipt(seeded: Any) -> None:
    error = seeded.refused("observe", "carrier:A", "p", "1", "--expected-version", "1")

    receipt = seeded.json("receipt", error["details"]["receipt"])
    assert (receipt["state"], receipt["code"]) == ("failed", "version.conflict")
    spoken = seeded.run("observe", "carrier:A", "p", "1", "--expected-version", "1")
    assert "latewood receipt" in spoken.stderr


def test_a_read_makes_no_database(cli: Any) -> None:
    error = cli.refused("decisions", exit_code=3)

    assert error["code"] == "file.unreadable"
    assert "--db" in error["message"]
    assert cli.refused("duplicates", exit_code=3)["code"] == "file.unreadable"
    assert not cli.db.exists()


def test_a_file_that_is_no_database_is_left_alone(cli: Any) -> None:
    cli.db.write_text("dear diary " * 500)

    assert cli.refused("decisions")["code"] == "file.not_a_store"
    assert cli.refused("observe", "a:1", "p", "1")["code"] == "file.not_a_store"
    assert cli.db.read_text() == "dear diary " * 500


def test_a_newer_database_is_refused(seeded: Any) -> None:
    connection = apsw.Connection(str(seeded.db))
    connection.pragma("user_version", 99)
    connection.close()

    assert seeded.refused("decisions", exit_code=4)["code"] == "schema.newer"


def test_a_read_only_file_is_read_and_not_written(seeded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded.db.chmod(0o444)
    # To root every file is writable; let it be judged by its mode alone.
    monkeypatch.setattr(os, "access", lambda path, _mode: bool(Path(path).stat().st_mode & 0o200))

    assert seeded.refused("observe", "a:1", "p", "1", exit_code=4)["code"] == "store.read_only"
    assert len(seeded.json("decisions")["items"]) == 2
    checks = {check["name"]: check for check in seeded.json("doctor", "--port", "0")["checks"]}
    assert checks["writable"]["state"] == "warning"
    assert checks["writable"]["fix"]


def test_an_address_of_no_store_is_refused(cli: Any) -> None:
    assert cli.refused("decisions", db="mysql://x")["code"] == "store.url_invalid"


def test_settings_come_from_the_environment_and_unknown_ones_are_errors(cli: Any, tmp_path: Path) -> None:
    cli.env |= {"LATEWOOD_DB": str(tmp_path / "other.db"), "LATEWOOD_ACTOR": "agent:env", "LATEWOOD_SPACE": "team"}
    cli.db = tmp_path / "other.db"
    cli.ok("spaces", "create", "team")
    written = cli.json("observe", "a:1", "p", "1")
    assert written["receipt"]["space"] == "team"
    assert "agent:env" in written["receipt"]["declared"]

    done = cli.run("decisions", "--json", LATEWOOD_COLOUR="red")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"]["code"] == "setting.invalid"


@pytest.mark.parametrize(
    "words", [["observe", "a:1", "--json"], ["frobnicate", "--json"], ["decisions", "--json", "-q"]]
)
def test_wrong_usage_is_json_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)

    printed = capsys.readouterr()
    assert left.value.code == 2
    assert json.loads(printed.out)["error"]["code"] == "query.invalid"
    assert printed.err == ""


def test_wrong_usage_in_words_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["observe", "a:1"])

    printed = capsys.readouterr()
    assert left.value.code == 2
    assert printed.out == ""
    assert "PREDICATE" in printed.err


def test_an_error_ends_main_with_its_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["decisions", "--json", "--db", str(tmp_path / "none.db")])

    assert left.value.code == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "file.unreadable"


def test_a_fault_of_ours_is_one_document_too(seeded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def boom(_self: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(Memory, "spaces", boom)

    done = seeded.run("spaces", "list", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["error"]["code"] == "internal"
    assert json.loads(done.stdout)["error"]["branch"] == "internal"
    assert "Traceback" in done.stderr
    assert seeded.run("spaces", "list").exit_code == 1


def leaves(command: Any, path: str = "latewood") -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name, child in children.items():
        yield from leaves(child, f"{path} {name}")


def test_every_command_helps_with_an_example_and_has_the_common_options() -> None:
    commands = dict(leaves(get_command(app)))

    assert len(commands) > 25
    for path, command in commands.items():
        assert f"`{path}" in command.help, path
        options = {name for parameter in command.params for name in parameter.opts}
        assert {"--db", "--space", "--by", "--json"} <= options, path
        assert all(getattr(parameter, "help", None) for parameter in command.params), path


@pytest.mark.parametrize("words", [["--help"], ["ingest", "--help"], ["observe", "-h"], ["--version"]])
def test_help_and_version_end_well(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)

    assert left.value.code == 0
    assert "latewood" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("frobnicate",), "There are: why, brief, recall,"),
        (("spaces", "frobnicate"), "There are: list, create."),
        (("spaces", "lst"), "Did you mean 'list'?"),
    ],
)
def test_a_word_that_is_no_command_is_answered_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--json"])

    assert ended.value.code == 2
    assert said in json.loads(capsys.readouterr().out)["error"]["message"]
