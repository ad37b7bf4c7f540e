"""Merging over GraphQL: the mutations, what an entity says of it, and what looks alike."""

from __future__ import annotations

from typing import Any

A, B = "carrier:ACME Inc.", "carrier:acme"
NODE = "id key mergedInto { key } absorbed { key }"
MERGE = f"""mutation($input: MergeInput!) {{ answer: merge(input: $input) {{
  absorbed {{ {NODE} }} into {{ {NODE} }} factId moved meets left dryRun before receipts {{ id state seq }} }} }}"""
SPLIT = f"""mutation($input: SplitInput!) {{ answer: split(input: $input) {{
  node {{ {NODE} }} into {{ {NODE} }} moved stays staysCount dryRun receipts {{ state }} }} }}"""
ENTITY = f"query($key: String!, $asOf: AsOf) {{ entity(key: $key, asOf: $asOf) {{ {NODE} facts {{ predicate }} }} }}"


async def two_carriers(served: Any) -> None:
    await served.written("observe", "ObserveInput", subject=B, predicate="seat", value="Lyon")
    await served.written("observe", "ObserveInput", subject=A, predicate="rate", value=1)


async def test_a_merge_and_its_split_show_on_the_entities(served: Any) -> None:
    await two_carriers(served)
    given = {"absorbed": A, "into": B, "reason": "one company", "by": "human:ada"}
    trial = (await served.ask(MERGE, input={**given, "dryRun": True}))["answer"]
    assert (trial["moved"], trial["dryRun"], trial["factId"], trial["receipts"]) == (1, True, None, [])
    done = (await served.ask(MERGE, input=given))["answer"]
    assert (done["moved"], done["meets"], done["left"], done["before"]) == (1, [], [], False)
    assert [receipt["state"] for receipt in done["receipts"]] == ["stored"]
    assert done["absorbed"]["mergedInto"] == {"key": B}
    assert (done["into"]["mergedInto"], done["into"]["absorbed"]) == (None, [{"key": A}])
    found = (await served.ask(ENTITY, key=A))["entity"]
    assert (found["key"], found["absorbed"], len(found["facts"])) == (B, [{"key": A}], 2)

    undone = (await served.ask(SPLIT, input={"absorbed": A, "reason": "two", "by": "human:ada"}))["answer"]
    assert (undone["moved"], undone["stays"], undone["staysCount"]) == (1, [], 0)
    assert (undone["node"]["mergedInto"], undone["into"]["absorbed"]) == (None, [])
    assert (await served.ask(ENTITY, key=A))["entity"]["key"] == A


async def test_duplicates_are_shown(served: Any) -> None:
    await two_carriers(served)
    asked = '{ duplicates(signals: ["words"]) { total items { absorbed { key } into { key } signal score } } }'
    (pair,) = (await served.ask(asked))["duplicates"]["items"]

    assert pair == {"absorbed": {"key": A}, "into": {"key": B}, "signal": "words", "score": 1.0}
