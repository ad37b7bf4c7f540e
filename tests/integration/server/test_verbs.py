"""Every verb over HTTP, and the same JSON as from Python."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_named_type,
)

from latewood.memory import Alternative, Axis
from latewood.memory.json import as_json


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema((files("latewood.server.graphql") / "schema.graphql").read_text("utf-8"))


def selection(kind: Any, sample: Any) -> str:
    """Select what *sample*, the JSON that Python gives, has."""
    named = get_named_type(kind)
    if not isinstance(named, GraphQLObjectType):
        return ""
    samples = [one for one in (sample if isinstance(sample, list) else [sample]) if one is not None]
    keys = {key: [one[key] for one in samples] for one in samples for key in one}
    if not keys:
        return "{ __typename }"
    parts = []
    for key, values in keys.items():
        flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
        parts.append(f"{key} {selection(named.fields[key].type, flat)}")
    return "{ " + " ".join(parts) + " }"


def said(kind: Any, answer: Any) -> Any:
    """Write *answer* as the other surfaces do: the members of enums in lower case."""
    named = get_named_type(kind)
    if isinstance(answer, list):
        return [said(kind, one) for one in answer]
    if isinstance(named, GraphQLEnumType) and isinstance(answer, str):
        return answer.lower()
    if isinstance(named, GraphQLObjectType) and isinstance(answer, dict):
        return {key: said(named.fields[key].type, value) for key, value in answer.items() if key != "__typename"}
    return answer


async def check_same(served: Any, schema: GraphQLSchema, kind: str, field: str, python: object) -> None:
    """Ask *field* for all that *python* has, and compare."""
    expected = json.loads(json.dumps(as_json(python)))
    answer = await served.ask("{ answer: " + field + selection(schema.type_map[kind], expected) + " }")
    assert said(schema.type_map[kind], answer["answer"]) == expected


@pytest.fixture
async def story(served: Any) -> dict[str, str]:
    """A small history: a value that changed and was corrected, a relation, two decisions, one in place of the other."""
    memory = served.memory
    rate = await memory.observe(
        "carrier:A", "on_time_rate", 0.91, unit="%", quote="91 %", source="https://a.example/q1"
    )
    late = await memory.correct(rate, 0.81, because="misread")
    await memory.relate("carrier:A", "serves", "lane:Lyon")
    first = await memory.decide(
        "Stay with carrier A", because="cheap", about=["carrier:A"], evidence=[late], session="s-1", key="adr:1",
        alternatives=[Alternative("carrier B", rejected_because="dear")], confidence=0.5, expected="no complaints",
    )  # fmt: skip
    second = await memory.decide(
        "Move the Lyon lane to carrier B", because="A is late", about=["carrier:A", "lane:Lyon"],
        evidence=[late, first], supersedes=[first], key="adr:2", decided_by=["human:ada"],
    )  # fmt: skip
    return {"rate": rate.id, "late": late.id, "first": first.id, "second": second.id, "receipt": second.receipt.id}


async def test_reads_give_the_json_that_python_gives(served: Any, schema: GraphQLSchema, story: dict[str, str]) -> None:
    memory = served.memory
    for key in ("adr:1", "adr:2"):
        await check_same(served, schema, "Decision", f'decision(key: "{key}")', await memory.decision(key))
    await check_same(served, schema, "Why", 'why(id: "adr:1")', [await memory.why("adr:1")])
    await check_same(served, schema, "Why", 'why(about: "carrier:A")', await memory.why_about("carrier:A"))
    await check_same(served, schema, "Entity", 'entity(key: "carrier:A")', await memory.entity("carrier:A"))
    await check_same(served, schema, "Fact", f'fact(id: "{story["rate"]}")', await memory.fact(story["rate"]))
    await check_same(served, schema, "Hit", 'find(text: "Lyon")', await memory.find("Lyon"))
    await check_same(
        served, schema, "Receipt", f'receipt(id: "{story["receipt"]}")', await memory.receipt(story["receipt"])
    )
    await check_same(served, schema, "Space", "spaces", await memory.spaces())
    await check_same(served, schema, "Verdict", "verifyLedger", await memory.verify())


async def test_pages_hold_the_items_that_python_gives(
    served: Any, schema: GraphQLSchema, story: dict[str, str]
) -> None:
    memory = served.memory
    decided = await memory.decision("adr:2")
    since = "2020-01-01T00:00:00Z"
    pages = [
        ("Decision", "decisions", await memory.decisions()),
        ("Entity", "entities", await memory.nodes()),
        ("Fact", 'timeline(key: "carrier:A")', await memory.timeline("carrier:A")),
        (
            "Difference", f'diff(since: "{since}", until: "2100-01-01T00:00:00Z", axis: KNOWN)',
            await memory.diff(decided.decided_at.replace(year=2020), decided.decided_at.replace(year=2100), axis=Axis.KNOWN),
        ),
    ]  # fmt: skip
    for kind, field, page in pages:
        expected = json.loads(json.dumps(as_json(page)))["items"]
        assert expected
        select = selection(schema.type_map[kind], expected)
        answer = await served.ask("{ answer: " + field + " { edges { node " + select + " } } }")
        found = [said(schema.type_map[kind], edge["node"]) for edge in answer["answer"]["edges"]]
        assert found == expected


async def test_decide_records_all_it_is_given(served: Any) -> None:
    fact = await served.written("observe", "ObserveInput", subject="carrier:A", predicate="rate", value=0.81)
    old = await served.written(
        "decide", "DecideInput", choice="Stay with A", because="cheap", key="adr:1", decidedAt="2026-01-01"
    )
    answer = await served.written(
        "decide", "DecideInput",
        """id receipt { state subject declared seq recordedAt } decision {
          id key title status question choice rationale consequences confidence expectedOutcome decidedAt
          alternatives { title rejectedBecause } about { key kind type name } decidedBy { key kind } session { name kind }
          evidence { id fact { value { kind data unit } } moved } triggeredBy { node { id } } supersedes { key name status }
          source { origin method model promptVersion } }""",
        choice="Move to B", title="Lyon lane", question="Who drives to Lyon?", because="A is late", consequences="dearer",
        about=["carrier:A", "carrier:B"], evidence=[fact["id"]], trigger=[old["id"]], supersedes=["adr:1"], confidence=0.75,
        alternatives=[{"title": "a penalty", "rejectedBecause": "did not help"}], expected="on time", status="ACCEPTED",
        key="adr:2", decidedAt="2026-03-01T10:00:00+01:00", decidedBy=["human:ada"], by="agent:planner", session="s-12",
        source="https://b.example/thread", method="extracted", model="m-1", promptVersion="7", idempotencyKey="k1",
    )  # fmt: skip

    decision = answer["decision"]
    assert answer["receipt"]["subject"] == answer["id"] == decision["id"]
    assert decision == {
        "id": answer["id"], "key": "adr:2", "title": "Lyon lane", "status": "ACCEPTED", "question": "Who drives to Lyon?",
        "choice": "Move to B", "rationale": "A is late", "consequences": "dearer", "confidence": 0.75,
        "expectedOutcome": "on time", "decidedAt": "2026-03-01T09:00:00Z",
        "alternatives": [{"title": "a penalty", "rejectedBecause": "did not help"}],
        "about": [
            {"key": "carrier:A", "kind": "ENTITY", "type": "carrier", "name": "carrier:A"},
            {"key": "carrier:B", "kind": "ENTITY", "type": "carrier", "name": "carrier:B"},
        ],
        "decidedBy": [{"key": "human:ada", "kind": "ACTOR"}], "session": {"name": "s-12", "kind": "SESSION"},
        "evidence": [{"id": fact["id"], "fact": {"value": {"kind": "float", "data": 0.81, "unit": None}}, "moved": None}],
        "triggeredBy": [{"node": {"id": old["id"]}}],
        "supersedes": [{"key": "adr:1", "name": "Stay with A", "status": "SUPERSEDED"}],
        "source": {
            "origin": "https://b.example/thread", "method": "extracted", "model": "m-1", "promptVersion": "7",
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "kind", "data"),
    [
        ({"value": "text"}, "text", "text"),
        ({"value": 12}, "integer", 12),
        ({"value": 2**60}, "integer", 2**60),
        ({"value": 0.5, "unit": "%"}, "float", 0.5),
        ({"value": False}, "boolean", False),
        ({"value": {"a": [1, None]}}, "json", {"a": [1, None]}),
        ({"value": [1, 2]}, "json", [1, 2]),
        ({"value": "0.10", "valueKind": "DECIMAL"}, "decimal", "0.10"),
        ({"value": "2026-03-01T10:00:00+01:00", "valueKind": "INSTANT"}, "instant", "2026-03-01T09:00:00Z"),
    ],
)
async def test_a_value_keeps_its_kind(served: Any, given: dict[str, Any], kind: str, data: object) -> None:
    answer = await served.written(
        "observe", "ObserveInput", "fact { value { kind data unit } }", subject="thing:1", predicate="p", **given
    )

    assert answer["fact"]["value"] == {"kind": kind, "data": data, "unit": given.get("unit")}


async def test_the_amending_verbs_show_what_became_of_the_fact(served: Any) -> None:
    select = "id receipt { state facts notHolding { factId heldBy } } fact { id value { data } retiredAt absent replaces validTo }"
    given = {
        "subject": "carrier:A",
        "predicate": "rate",
        "validFrom": "2026-01-01",
        "asWritten": "ninety",
        "quote": "q",
    }
    first = await served.written("observe", "ObserveInput", select, value=0.9, trust="EXTRACTED", **given)
    corrected = await served.written("correct", "CorrectInput", select, fact=first["id"], value=0.8, because="misread")
    assert corrected["fact"]["value"] == {"data": 0.8}
    assert corrected["fact"]["replaces"] == first["id"]

    ended = await served.written("end", "EndInput", select, fact=corrected["id"], at="2026-06-01T00:00:00Z")
    assert ended["fact"]["absent"] is True
    facts = '{ entity(key: "carrier:A") { facts(predicate: "rate") { value { data } } } }'
    assert (await served.ask(facts))["entity"]["facts"] == []

    retracted = await served.written("retract", "RetractInput", select, fact=ended["id"], because="it runs again")
    assert retracted["id"] == ended["id"]
    assert retracted["fact"]["retiredAt"] is not None
    assert (await served.ask(facts))["entity"]["facts"] == [{"value": {"data": 0.8}}]

    related = await served.written(
        "relate", "RelateInput", "fact { subject { key } object { key } predicate validTo }", subject="carrier:A",
        predicate="serves", target="lane:Lyon", validFrom="2026-01-01", validTo="2027-01-01", quote="signed",
    )  # fmt: skip
    assert related["fact"] == {
        "subject": {"key": "carrier:A"}, "object": {"key": "lane:Lyon"}, "predicate": "serves",
        "validTo": "2027-01-01T00:00:00Z",
    }  # fmt: skip


async def test_supersede_shows_both_decisions(served: Any) -> None:
    for key in ("adr:1", "adr:2"):
        await served.written("decide", "DecideInput", choice=key, because="so", key=key)
    answer = await served.written(
        "supersede", "SupersedeInput", "receipt { state } old { key status supersededBy { key } } new { key supersedes { key } }",
        old="adr:1", new="adr:2",
    )  # fmt: skip

    assert answer == {
        "receipt": {"state": "stored"},
        "old": {"key": "adr:1", "status": "SUPERSEDED", "supersededBy": [{"key": "adr:2"}]},
        "new": {"key": "adr:2", "supersedes": [{"key": "adr:1"}]},
    }


async def test_an_idempotency_key_writes_once(served: Any) -> None:
    given = {"subject": "a:1", "predicate": "p", "value": 1, "idempotencyKey": "k"}
    select = "id receipt { id replayed }"
    first = await served.written("observe", "ObserveInput", select, **given)
    again = await served.written("observe", "ObserveInput", select, **given)
    error = await served.refused(
        "mutation($input: ObserveInput!) { observe(input: $input) { id } }", input={**given, "value": 2}
    )

    assert again["receipt"] == {"id": first["receipt"]["id"], "replayed": True}
    assert again["id"] == first["id"]
    assert error["code"] == "idempotency.conflict"


async def test_a_later_mutation_of_one_operation_sees_the_earlier(served: Any) -> None:
    written = 'observe(input: {subject: "a:1", predicate: "p", value: %d}) { fact { value { data } subject { facts { value { data } } } } }'
    answer = await served.ask("mutation { one: " + written % 1 + " two: " + written % 2 + " }")

    assert [answer[key]["fact"]["subject"]["facts"] for key in ("one", "two")] == [
        [{"value": {"data": 1}}], [{"value": {"data": 2}}],
    ]  # fmt: skip


async def test_spaces_keep_apart(served: Any) -> None:
    made = await served.ask(
        'mutation { createSpace(input: {name: "ops"}) { space { name state strict nodes seq { knowledge } } } }'
    )
    await served.ask('mutation { observe(space: "ops", input: {subject: "a:1", predicate: "p", value: 1}) { id } }')
    found = await served.ask(
        '{ here: entity(key: "a:1") { id } there: entity(key: "a:1", space: "ops") { facts { value { data } } } }'
    )

    assert made["createSpace"]["space"] == {
        "name": "ops",
        "state": "empty",
        "strict": False,
        "nodes": 0,
        "seq": {"knowledge": 0},
    }
    assert found == {"here": None, "there": {"facts": [{"value": {"data": 1}}]}}
