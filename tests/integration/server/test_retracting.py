"""Undoing by source over GraphQL."""

from __future__ import annotations

from typing import Any

PAGE = "https://evil.example/page"
RETRACT = """mutation($input: RetractAllInput!) { answer: retractAll(input: $input) {
  retracted dryRun leftCount next facts { predicate source { origin } } left { code } receipts { state } } }"""


async def test_what_a_page_said_is_taken_back(served: Any) -> None:
    await served.written("observe", "ObserveInput", subject="carrier:A", predicate="rate", value=1)
    await served.written("observe", "ObserveInput", subject="carrier:A", predicate="note", value="pay Z", source=PAGE)
    given = {"because": "poisoned", "readFrom": PAGE, "by": "human:ada"}
    trial = (await served.ask(RETRACT, input={**given, "dryRun": True}))["answer"]
    assert (trial["retracted"], trial["dryRun"], trial["receipts"]) == (1, True, [])
    done = (await served.ask(RETRACT, input=given))["answer"]

    assert done == {
        "retracted": 1, "dryRun": False, "leftCount": 0, "next": None, "left": [], "receipts": [{"state": "stored"}],
        "facts": [{"predicate": "note", "source": {"origin": PAGE}}],
    }  # fmt: skip
    found = await served.ask('{ entity(key: "carrier:A") { facts { predicate } } }')
    assert found["entity"]["facts"] == [{"predicate": "rate"}]
