"""`latewood merge`, `split`, `aliases` and `duplicates`: which is absorbed into which cannot be mistaken."""

from __future__ import annotations

from typing import Any

A, B = "carrier:ACME Inc.", "carrier:acme"


def two_carriers(cli: Any) -> None:
    cli.json("observe", B, "seat", "Lyon")
    cli.json("observe", A, "rate", "1")
    cli.json("relate", "lane:12", "served_by", A)


def test_a_merge_shows_what_it_will_do_does_it_and_is_undone(cli: Any) -> None:
    two_carriers(cli)
    trial = cli.ok("merge", A, B, "--reason", "one company", "--dry-run")
    assert f"{A} would be absorbed: from then on its key and its id would mean {B}" in trial
    assert cli.json("entity", A)["node"]["key"] == A
    spoken = cli.ok("merge", A, B, "--reason", "one company")
    assert f"{A} was absorbed: its key and its id mean {B} from now on" in spoken
    assert "2 moved" in spoken
    found = cli.json("entity", A)
    assert (found["node"]["key"], len(found["facts"])) == (B, 2)
    assert "before" in cli.ok("merge", A, B, "--reason", "one company")
    again = cli.json("merge", A, B, "--reason", "one company")
    assert (again["before"], again["moved"], again["receipts"]) == (True, 0, [])
    assert [node["key"] for node in cli.json("aliases", "list", B)] == [A]
    later = cli.json("observe", A, "fleet", "40")

    undone = cli.json("split", A, "--reason", "two companies")
    assert (undone["moved"], undone["stays"], undone["into"]["key"]) == (2, [later["id"]], B)
    assert cli.json("entity", A)["node"]["key"] == A
    assert cli.refused("split", A, "--reason", "again")["code"] == "merge.invalid"


def test_refusals_come_with_their_codes(cli: Any) -> None:
    two_carriers(cli)
    assert cli.refused("merge", A, A, "--reason", "r")["code"] == "merge.invalid"
    assert cli.refused("merge", A, "carrier:nobody", "--reason", "r", exit_code=3)["code"] == "node.not_found"
    assert cli.refused("relate", A, "merged_into", B)["code"] == "merge.invalid"
    cli.ok("merge", A, B, "--reason", "r")
    assert cli.refused("merge", A, "lane:12", "--reason", "r")["code"] == "merge.exists"


def test_aliases_come_and_go(cli: Any) -> None:
    two_carriers(cli)
    cli.ok("aliases", "add", B, "the acme people")
    cli.json("observe", "The ACME  people", "rate", "7")
    assert [fact["value"] for fact in cli.json("entity", B)["facts"] if fact["predicate"] == "rate"] != []
    assert "the acme people" in cli.ok("aliases", "list", B)
    assert "one of its own" in cli.ok("aliases", "remove", "the acme people")
    assert cli.json("aliases", "list", B) == []


def test_duplicates_are_listed_proposed_and_accepted_by_rule(cli: Any) -> None:
    two_carriers(cli)
    listed = cli.json("duplicates", "--signal", "words")
    assert [(one["absorbed"]["key"], one["into"]["key"]) for one in listed["duplicates"]["items"]] == [(A, B)]
    assert listed["proposed"] == []
    assert A in (spoken := cli.run("duplicates")).stdout
    assert "1 pair among 3 entities;" in spoken.stderr
    assert cli.json("entity", A)["node"]["key"] == A
    made = cli.json("duplicates", "--signal", "words", "--propose")
    assert len(made["proposed"]) == 1
    assert f"{A} merged_into {B}" in cli.ok("proposals", "list")
    assert cli.json("proposals", "accept-all", "--rule", "dedupe", "--kind", "merge", "--signal", "name") == []
    taken = cli.json("proposals", "accept-all", "--rule", "dedupe", "--kind", "merge", "--signal", "words")
    assert [one["key"] for one in taken] == made["proposed"]
    assert cli.json("entity", A)["node"]["key"] == B
    assert cli.json("duplicates")["duplicates"]["items"] == []
