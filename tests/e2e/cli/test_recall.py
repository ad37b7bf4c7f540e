"""`latewood recall` and `latewood precedents`, in words and as JSON."""

from __future__ import annotations

from typing import Any

import pytest

from latewood.graph_schema.clock import AsOf, parse_instant
from latewood.memory import BlockingMemory


@pytest.fixture
def told(cli: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LATEWOOD_EMBEDDER", "none")
    cli.ok("observe", "carrier:Sud", "note", "The gearbox hums like a fridge.", "--by", "human:bob")
    cli.ok("observe", "carrier:Nordwind", "note", "The gearbox howls on every slope.", "--by", "human:eve")
    stay = cli.json("decide", "Stay with Nordwind", "--because", "the gearbox is young", "--about", "carrier:Nordwind")
    move = cli.json(
        "decide", "Leave Nordwind", "--because", "the gearbox howls", "--about", "carrier:Nordwind",
        "--supersedes", stay["id"],
    )  # fmt: skip
    cli.ok("observe", move["id"], "outcome", "quiet nights since")
    return cli


def test_recall_shows_what_was_found_and_why(told: Any) -> None:
    printed = told.ok("recall", "why", "does", "the", "gearbox", "howl?")
    assert "The gearbox howls on every slope." in printed
    assert "words 1" in printed
    assert "by human:eve" in printed
    assert "1 that no longer hold" in printed
    assert "young" not in printed
    assert "the gearbox is young" in told.ok("recall", "gearbox", "--past")


def test_recall_gives_the_json_that_python_gives(told: Any) -> None:
    document = told.json("recall", "gearbox", "--limit", "2", "--kind", "decision")
    assert len(document["hits"]) == 1
    at = document["hits"][0]["fact"]["recordedAt"]
    document = told.json("recall", "gearbox", "--known-at", at, "--valid-at", at)
    instant = parse_instant(at)

    def ask(memory: BlockingMemory) -> object:
        return memory.recall("gearbox", at=AsOf(instant, instant))

    assert document == told.python(ask)
    assert told.json("recall", "gearbox", "--actor", "human:eve")["hits"][0]["actor"]["key"] == "human:eve"
    assert told.json("recall", "gearbox", "--trust-min", "system")["hits"] == []
    assert told.json("recall", "gearbox", "--until", "2020-01-01")["hits"] == []


def test_a_budget_is_kept_and_what_it_left_out_is_said(told: Any) -> None:
    assert told.json("recall", "gearbox", "--budget-tokens", "50")["tokens"] <= 50
    assert "left out by the budget" in told.ok("recall", "gearbox", "--budget-tokens", "50")


def test_precedents_show_what_followed(told: Any) -> None:
    printed = told.ok("precedents", "leave", "the", "carrier", "with", "the", "gearbox")
    assert printed.index("quiet nights since") < printed.index("superseded")
    document = told.json("precedents", "leave the carrier with the gearbox", "--first", "1")
    assert [one["outcomes"] for one in document] == [["quiet nights since"]]


def test_what_cannot_be_recalled_says_why(told: Any) -> None:
    assert told.refused("recall", "???")["code"] == "query.invalid"
    assert told.refused("recall", "gearbox", "--limit", "0")["code"] == "query.invalid"
    assert told.refused("recall", "gearbox", "--about", "carrier:Nordwand", exit_code=3)["code"] == "node.not_found"
