"""Every verb on the command line: it does what the Python verb does, and its JSON is the Python verb's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from latewood.memory import AsOf, DecisionStatus, NodeKind


def test_observe_writes_what_python_reads(cli: Any) -> None:
    written = cli.json(
        "observe", "carrier:A", "rate", "0.81", "--unit", "%", "--valid-from", "2026-01-01", "--valid-to", "2026-02-01",
        "--quote", "81 of 100", "--source", "https://x.example", "--by", "agent:planner", "--session", "s-1",
    )  # fmt: skip

    fact = cli.python(lambda memory: memory.fact(written["id"]))
    assert written["receipt"]["state"] == "stored"
    assert fact["value"] == {"kind": "float", "data": 0.81, "unit": "%"}
    assert (fact["validFrom"], fact["validTo"]) == ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
    assert (fact["source"]["origin"], fact["source"]["quote"]) == ("https://x.example", "81 of 100")
    assert fact["trust"] == "agent"


@pytest.mark.parametrize(
    ("word", "kind", "read_as", "data"),
    [
        ("5", "auto", "integer", 5),
        ("0.5", "auto", "float", 0.5),
        ("true", "auto", "boolean", True),
        ("007", "auto", "text", "007"),
        ("NaN", "auto", "text", "NaN"),
        ("null", "auto", "text", "null"),
        ('"5"', "auto", "text", "5"),
        ('{"a": [1]}', "auto", "json", {"a": [1]}),
        ("5", "text", "text", "5"),
        ("5.10", "decimal", "decimal", "5.10"),
        ("2026-03-01", "instant", "instant", "2026-03-01T00:00:00Z"),
        ("True", "boolean", "boolean", True),
    ],
)
def test_the_word_of_a_value_is_read_by_its_type(cli: Any, word: str, kind: str, read_as: str, data: object) -> None:
    written = cli.json("observe", "a:1", "p", word, "--type", kind)

    value = cli.python(lambda memory: memory.fact(written["id"]))["value"]
    assert (value["kind"], value["data"]) == (read_as, data)


@pytest.mark.parametrize(("word", "kind"), [("x", "integer"), ("x", "decimal"), ("maybe", "boolean"), ("5", "json")])
def test_a_value_of_another_type_is_refused(cli: Any, word: str, kind: str) -> None:
    assert cli.refused("observe", "a:1", "p", word, "--type", kind)["code"] == "value.invalid"


def test_decide_keeps_all_that_was_said(seeded: Any) -> None:
    decision = seeded.json("decision", "lane:d2")

    assert decision == seeded.python(lambda memory: memory.decision("lane:d2"))
    assert decision["rationale"] == "A is late"
    assert decision["alternatives"] == [{"title": "keep A", "rejectedBecause": "penalties did not help"}]
    assert [node["key"] for node in decision["about"]] == ["carrier:A", "carrier:B"]
    assert [node["key"] for node in decision["supersedes"]] == ["lane:d1"]
    assert decision["confidence"] == 0.8
    (evidence,) = decision["evidence"]
    assert (evidence["fact"]["value"]["data"], evidence["moved"]) == (0.81, "corrected")


def test_relate_end_and_retract(cli: Any) -> None:
    edge = cli.json("relate", "carrier:B", "serves", "lane:lyon", "--valid-from", "2026-01-01")
    cli.ok("end", edge["id"], "--at", "2026-02-01", "--because", "contract ran out")
    before = cli.json("entity", "carrier:B", "--valid-at", "2026-01-15")
    after = cli.json("entity", "carrier:B", "--valid-at", "2026-02-15")
    cli.ok("retract", edge["id"], "--because", "wrong carrier")

    assert [fact["id"] for fact in before["facts"]] == [edge["id"]]
    assert after["facts"] == []
    assert cli.json("entity", "carrier:B", "--valid-at", "2026-01-15")["facts"] == []


def test_supersede_moves_the_old_one(cli: Any) -> None:
    cli.ok("decide", "one", "--because", "x", "--key", "d:1")
    cli.ok("decide", "two", "--because", "y", "--key", "d:2")
    cli.ok("supersede", "d:1", "d:2")

    assert cli.json("decision", "d:1")["status"] == "superseded"
    assert [one["key"] for one in cli.json("decisions", "--status", "superseded")["items"]] == ["d:1"]
    assert cli.refused("supersede", "d:2", "d:1")["code"] == "decision.cyclic"


def test_an_idempotency_key_writes_once(cli: Any) -> None:
    words = ("observe", "a:1", "p", "1", "--idempotency-key", "k-1")
    first, again = cli.json(*words), cli.json(*words)

    assert again["id"] == first["id"]
    assert (first["receipt"]["replayed"], again["receipt"]["replayed"]) == (False, True)
    assert "nothing new written" in cli.ok(*words)
    assert cli.refused("observe", "a:1", "p", "2", "--idempotency-key", "k-1")["code"] == "idempotency.conflict"


def test_each_read_gives_the_json_of_its_python_verb(seeded: Any) -> None:
    since, until = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    receipt = seeded.json("observe", "a:1", "p", "1")["receipt"]
    reads = {
        ("why", "lane:d2"): lambda m: m.why("lane:d2"),
        ("why", "--about", "carrier:A"): lambda m: m.why_about("carrier:A"),
        ("decisions", "--about", "carrier:B"): lambda m: m.decisions(about="carrier:B"),
        ("decisions", "--status", "superseded"): lambda m: m.decisions(status=[DecisionStatus.SUPERSEDED]),
        ("decisions", "--first", "1"): lambda m: m.decisions(first=1),
        ("entity", "carrier:A"): lambda m: m.entity("carrier:A"),
        ("entity", "carrier:A", "--predicate", "serves"): lambda m: m.entity("carrier:A", ["serves"]),
        ("entities", "--kind", "actor"): lambda m: m.nodes(kind=NodeKind.ACTOR),
        ("entities", "--type", "lane"): lambda m: m.nodes(type_="lane"),
        ("timeline", "carrier:A"): lambda m: m.timeline("carrier:A"),
        ("diff", "2020-01-01", "2100-01-01"): lambda m: m.diff(since, until),
        ("find", "lyon"): lambda m: m.find("lyon"),
        ("brief", "--since", "2020-01-01"): lambda m: m.brief(since=since),
        ("decisions", "--newest"): lambda m: m.decisions(newest=True),
        ("find", "late", "--kind", "decision"): lambda m: m.find("late", kinds=[NodeKind.DECISION]),
        ("receipt", receipt["id"]): lambda m: m.receipt(receipt["id"]),
        ("spaces", "list"): lambda m: m.spaces(),
        ("ledger", "verify"): lambda m: m.verify(),
    }

    for words, ask in reads.items():
        document = seeded.json(*words)
        assert document == seeded.python(ask), words
        assert document not in ([], {}, {"items": [], "next": None}), words


def test_reads_are_as_of_both_clocks(seeded: Any) -> None:
    rows = seeded.json("timeline", "carrier:A", "--predicate", "on_time_rate")["items"]
    (wrong,) = (row for row in rows if row["retiredReason"] == "two trucks were counted twice")
    then = wrong["recordedAt"]
    known_then = seeded.json("entity", "carrier:A", "--known-at", then, "--valid-at", "2026-03-02")

    asked = AsOf(datetime(2026, 3, 2, tzinfo=UTC), datetime.fromisoformat(then))
    assert known_then == seeded.python(lambda memory: memory.entity("carrier:A", None, asked))
    assert [fact["value"]["data"] for fact in known_then["facts"]] == [0.81]
    early = seeded.json("timeline", "carrier:A", "--known-at", then)["items"]
    assert [row["id"] for row in early] == [wrong["id"]]
    assert early[0]["retiredAt"] is None


def test_pages_go_on_where_they_ended(seeded: Any) -> None:
    first = seeded.json("decisions", "--first", "1")
    second = seeded.json("decisions", "--first", "1", "--after", first["next"])

    assert [page["items"][0]["key"] for page in (first, second)] == ["lane:d1", "lane:d2"]
    assert f"--after {first['next']}" in seeded.run("decisions", "--first", "1").stderr


def test_words_for_people_name_what_matters(seeded: Any) -> None:
    assert "rejected: keep A: penalties did not help" in seeded.ok("decision", "lane:d2")
    why = seeded.ok("why", "lane:d2")
    assert "[since corrected]" in why
    assert "in force now: lane:d2 Move to carrier B" in why
    assert "1 say otherwise" in seeded.ok("entity", "carrier:A", "--valid-at", "2026-03-02")
    assert "two trucks were counted twice" in seeded.ok("timeline", "carrier:A")
    assert "lane:lyon" in seeded.ok("diff", "2020-01-01", "2100-01-01")
    assert "superseded" in seeded.ok("decisions")
    assert "`latewood recall` finds by meaning" in seeded.ok("find", "zzz")
    assert "nothing was decided about that" in seeded.ok("why", "--about", "zzz")


def test_what_is_new_is_said(cli: Any) -> None:
    words = cli.ok("observe", "carrier:Z", "colour", "green")

    assert "new here: human:" in words
    assert ", carrier:Z\n" in words
    assert "new predicates: colour" in words


def test_control_characters_of_stored_text_do_not_reach_the_terminal(cli: Any) -> None:
    cli.ok("decide", "safe\x1b[2Jtitle", "--because", "a\x07b", "--key", "d:1")

    for words in (("decision", "d:1"), ("decisions",), ("why", "d:1"), ("find", "safe"), ("entity", "d:1")):
        printed = cli.ok(*words)
        assert "title" in printed, words
        assert not {"\x1b", "\x07"} & set(printed), words


def test_markup_of_stored_text_is_text(cli: Any) -> None:
    cli.ok("decide", "use [red]brackets[/red] :smile:", "--because", "x", "--key", "d:1")

    assert "use [red]brackets[/red] :smile:" in cli.ok("decisions")


def test_watch_prints_one_document_a_line(seeded: Any) -> None:
    lines = seeded.ok("watch", "--count", "3", "--json").splitlines()

    rows = [json.loads(line) for line in lines]
    assert [row["seq"] for row in rows] == [1, 2, 3]
    tail = seeded.json("ledger", "tail", "--last", "1000")
    assert rows == tail[:3]
    assert [row["seq"] for row in seeded.json("ledger", "tail", "--last", "2")] == [row["seq"] for row in tail[-2:]]
    assert "asserted" in seeded.ok("watch", "--count", "2", "--after", str(len(tail) - 2))


def test_an_empty_list_says_what_to_do_and_which_other_spaces_have_something(cli: Any) -> None:
    cli.ok("spaces", "create", "lanes")
    cli.ok("observe", "carrier:Z", "colour", "green", "--space", "lanes")

    done = cli.run("decisions")
    assert "`latewood decide` records one" in done.stdout
    assert "in space default; there are also: lanes" in done.stderr
    assert "there are also" not in cli.run("decisions", "--space", "lanes").stderr
