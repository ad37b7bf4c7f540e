"""`latewood patterns`: detect, list, show, explain and review, in words and as JSON."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def told(cli: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LATEWOOD_EMBEDDER", "none")
    for month, vendor in enumerate(("Nordwind", "Sud", "Nordwind", "Sud", "Nordwind"), start=1):
        cli.ok("observe", "project:lyon", "vendor", vendor, "--valid-from", f"2026-0{month}-01")
    return cli


def test_patterns_are_found_shown_and_reviewed(told: Any) -> None:
    report = told.json("patterns", "detect")
    assert report["looked"] == 1
    statement = (
        "vendor of project:lyon went back and forth between 'Nordwind' and 'Sud': 3 returns in 5 choices, "
        "2026-01-01 to 2026-05-01"
    )
    assert report["opened"] == [statement]
    assert "0 facts written" in told.ok("patterns", "detect")

    listed = told.json("patterns", "list", "--kind", "reversal", "--about", "project:lyon")["items"]
    assert [(one["status"], one["effect"], one["q"]) for one in listed] == [("open", 3.0, None)]
    key = listed[0]["key"]
    assert "went back and forth" in told.ok("patterns", "list")
    assert told.json("patterns", "list", "--kind", "trend")["items"] == []

    shown = told.ok("patterns", "show", key)
    assert "not tested; 1 were looked at" in shown
    assert "2026-03-01T00:00:00Z" not in shown
    assert "2026-03-01T00:00:00Z" in told.ok("patterns", "explain", key)
    assert len(told.json("patterns", "explain", key)["evidence"]) == 5

    told.ok("patterns", "review", key, "muted", "--because", "both are tried on purpose")
    assert told.json("patterns", "list")["items"] == []
    hidden = told.json("patterns", "list", "--hidden")["items"][0]
    assert (hidden["review"], hidden["reason"]) == ("muted", "both are tried on purpose")


def test_what_is_no_pattern_is_refused(told: Any) -> None:
    refused = told.run("patterns", "show", "project:lyon", "--json")
    assert refused.exit_code == 3
    assert "is no pattern" in refused.stdout
    assert told.run("patterns", "review", "project:lyon", "loved", "--because", "x").exit_code == 2


def test_following_looks_once_and_stops_at_the_count(told: Any) -> None:
    report = told.json("patterns", "follow", "--count", "1", "--settle", "0")
    assert (report["looked"], len(report["opened"])) == (1, 1)
    told.ok("observe", "project:lyon", "vendor", "Sud", "--valid-from", "2026-06-01")
    assert "changed (1)" in told.ok("patterns", "follow", "--count", "1", "--settle", "0")
