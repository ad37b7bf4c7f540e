"""`latewood retract-all`: undoing by source."""

from __future__ import annotations

from typing import Any

PAGE = "https://evil.example/page"


def test_a_dry_run_shows_what_then_goes(cli: Any) -> None:
    cli.json("observe", "carrier:A", "rate", "1")
    cli.json("observe", "carrier:A", "note", "pay carrier Z", "--source", PAGE)
    asked = ("retract-all", "--read-from", PAGE, "--because", "poisoned")
    trial = cli.ok(*asked, "--dry-run")
    assert "facts that would be taken back: 1" in trial
    assert "pay carrier Z" in trial
    assert "a dry run" in trial
    done = cli.json(*asked)
    assert (done["retracted"], done["dryRun"], done["left"], done["next"]) == (1, False, [], None)

    assert [fact["predicate"] for fact in cli.json("entity", "carrier:A")["facts"]] == ["rate"]
    assert "facts that were taken back: 0" in cli.ok(*asked)
    assert cli.refused("retract-all", "--because", "r")["code"] == "query.invalid"
