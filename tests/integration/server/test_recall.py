"""Recall and precedents over HTTP: the JSON of Python, filters and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from latewood.memory import Alternative, Trust
from latewood.memory.json import as_json

FIELDS = """query text tokens ranked hidden leftOut notes hits {
  text cut score subject { key kind } actor { key } fact { id predicate trust validFrom source { origin method locator } }
  clues { signal share rank score via } }"""


@pytest.fixture(autouse=True)
def _by_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATEWOOD_EMBEDDER", "none")


@pytest.fixture
async def told(served: Any) -> dict[str, str]:
    memory = served.memory
    note = await memory.observe("carrier:Nordwind", "note", "The gearbox howls on every slope.", source="log.txt")
    stay = await memory.decide("Stay with Nordwind", because="the gearbox is young", about=["carrier:Nordwind"])
    move = await memory.decide(
        "Leave Nordwind", because="the gearbox howls", about=["carrier:Nordwind"], evidence=[note], supersedes=[stay],
        alternatives=[Alternative("repair the gearbox", rejected_because="no parts")],
    )  # fmt: skip
    await memory.observe(move.id, "outcome", "quiet nights since")
    return {"note": note.id, "stay": stay.id, "move": move.id}


async def test_recall_gives_the_json_that_python_gives(served: Any, told: dict[str, str]) -> None:
    answer = (await served.ask('{ recall(query: "why does the gearbox howl?", limit: 5) { ' + FIELDS + " } }"))[
        "recall"
    ]
    python: Any = as_json(await served.memory.recall("why does the gearbox howl?", limit=5))
    assert answer["hits"]
    for ours, theirs in zip(answer["hits"], python["hits"], strict=True):
        assert ours["fact"]["id"] == theirs["fact"]["id"]
        assert ours["text"] == theirs["text"]
        assert ours["score"] == theirs["score"]
        assert [{**clue, "signal": clue["signal"].lower()} for clue in ours["clues"]] == theirs["clues"]
    rest = {key: value for key, value in python.items() if key != "hits"}
    assert {key: value for key, value in answer.items() if key != "hits"} == rest
    assert answer["hits"][0]["subject"] == {"key": "carrier:Nordwind", "kind": "ENTITY"}
    assert answer["hits"][0]["fact"]["source"] == {"origin": "log.txt", "method": "asserted", "locator": None}
    # The decision that was replaced is counted, not shown.
    assert answer["hidden"] == 1
    assert told["stay"] not in json.dumps(answer)


async def test_filters_and_budget_reach_recall(served: Any, told: dict[str, str]) -> None:
    query = """query($filter: RecallFilter, $budget: Int, $at: AsOf) {
      recall(query: "gearbox", filter: $filter, budgetTokens: $budget, asOf: $at) { tokens leftOut hits { subject { id } fact { id } } } }"""
    only = await served.ask(query, filter={"kinds": ["ENTITY"], "about": ["carrier:Nordwind"]})
    assert [hit["fact"]["id"] for hit in only["recall"]["hits"]] == [told["note"]]
    past = await served.ask(query, filter={"past": True, "kinds": ["DECISION"]})
    assert {hit["subject"]["id"] for hit in past["recall"]["hits"]} == {told["stay"], told["move"]}
    trusted = await served.ask(query, filter={"trustMin": Trust.SYSTEM.name})
    assert trusted["recall"]["hits"] == []
    small = await served.ask(query, budget=60)
    assert small["recall"]["tokens"] <= 60
    assert small["recall"]["leftOut"] > 0
    before = await served.ask(query, at={"knownAt": "2020-01-01T00:00:00Z"})
    assert before["recall"]["hits"] == []


async def test_precedents_come_with_their_outcome(served: Any, told: dict[str, str]) -> None:
    answer = await served.ask(
        '{ precedents(text: "leave the carrier whose gearbox howls", first: 2) { outcomes score decision { id status } } }'
    )
    first, second = answer["precedents"]
    assert first["decision"] == {"id": told["move"], "status": "ACCEPTED"}
    assert first["outcomes"] == ["quiet nights since"]
    assert second["decision"] == {"id": told["stay"], "status": "SUPERSEDED"}


async def test_what_cannot_be_recalled_is_a_typed_error(served: Any, told: dict[str, str]) -> None:
    assert told
    assert (await served.refused('{ recall(query: "?") { tokens } }'))["code"] == "query.invalid"
    assert (await served.refused('{ recall(query: "x", limit: 1000) { tokens } }'))["code"] == "query.invalid"
    assert (await served.refused('{ precedents(text: "x", first: 1000) { score } }'))["code"] == "query.invalid"
    unknown = await served.refused('{ recall(query: "x", filter: {about: ["carrier:Nordwand"]}) { tokens } }')
    assert unknown["code"] == "node.not_found"
    assert "carrier:Nordwind" in unknown["message"]
