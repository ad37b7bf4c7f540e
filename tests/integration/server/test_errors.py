"""Whatever goes wrong has a code, says the way out, and shows nothing of what lies beneath."""

from __future__ import annotations

import json
from typing import Any

import httpx

from latewood.graph_schema.errors import CODES
from latewood.memory import Memory
from latewood.server.graphql.context import OBJECTS_MAX
from latewood.server.graphql.limits import ALIASES_MAX, DEPTH_MAX, TOKENS_MAX
from latewood.server.guard import BODY_BYTES_MAX

OBSERVE = "mutation($input: ObserveInput!) { observe(input: $input) { id } }"
P = {"subject": "a:1", "predicate": "p", "value": 1}
ABSENT = "00000000-0000-7000-8000-000000000000"


BAD_INPUT: list[tuple[str, dict[str, Any], str | None]] = [
        ("{ decision { id } }", {}, "query.invalid"),
        ('{ decision(id: "a", key: "b") { id } }', {}, "query.invalid"),
        ("{ why { truncated } }", {}, "query.invalid"),
        ('{ why(id: "adr:404") { truncated } }', {}, "node.not_found"),
        ('{ timeline(key: "a:404") { edges { cursor } } }', {}, "node.not_found"),
        ('{ timeline(key: "a:1", asOf: {validAt: "2026-01-01"}) { edges { cursor } } }', {}, "query.invalid"),
        ('{ decisions(about: "a:404") { edges { cursor } } }', {}, "node.not_found"),
        ('{ decisions(space: "elsewhere") { edges { cursor } } }', {}, "space.unknown"),
        ('{ decision(key: "x", space: "elsewhere") { id } }', {}, "space.unknown"),
        ('{ entity(key: "") { id } }', {}, "value.invalid"),
        ('{ decisions(after: "nonsense") { edges { cursor } } }', {}, "cursor.invalid"),
        ('{ decisions(after: "~nonsense") { edges { cursor } } }', {}, "cursor.invalid"),
        ('{ decisions(after: "~WzEsMiwzXQ") { edges { cursor } } }', {}, "cursor.invalid"),
        ("{ decisions(first: 0) { edges { cursor } } }", {}, "limit.exceeded"),
        ("{ decisions(first: 1001) { edges { cursor } } }", {}, "limit.exceeded"),
        ("{ decisions(first: -1) { edges { cursor } } }", {}, "limit.exceeded"),
        ('{ find(text: "x", first: 100000) { score } }', {}, "limit.exceeded"),
        ('{ diff(since: "2026-01-02", until: "2026-01-01") { edges { cursor } } }', {}, "period.empty"),
        ('{ diff(since: "2026-01-01T00:00:00", until: "2027-01-01") { edges { cursor } } }', {}, "time.naive"),
        ('{ diff(since: "soon", until: "2027-01-01") { edges { cursor } } }', {}, "time.unreadable"),
        ("{ diff(since: 5, until: 6) { edges { cursor } } }", {}, None),
        ('{ entity(key: "a", asOf: {knownAt: "2026-01-01T00:00:00"}) { id } }', {}, "time.naive"),
        ('query($at: AsOf) { entity(key: "a", asOf: $at) { id } }', {"at": {"knownAt": "2026-01-01T00:00"}}, "time.naive"),
        ('query($at: AsOf) { entity(key: "a", asOf: $at) { id } }', {"at": {"validAt": True}}, "time.unreadable"),
        ('query($at: AsOf) { entity(key: "a", asOf: $at) { id } }', {"at": {"validAt": "0001-01-01T00:00+14:00"}}, "time.out_of_range"),
        ("query($id: ID!) { node(id: $id) { id } }", {}, "query.invalid"),
        ('{ decisions(status: ["accepted"]) { edges { cursor } } }', {}, "query.invalid"),
        ("{ nothing }", {}, "query.invalid"),
        ("{ decisions { edges { cursor } }", {}, "query.invalid"),
        ("", {}, "query.invalid"),
        ("mutation { observe(input: {}) { id } }", {}, None),
        (OBSERVE, {"input": {**P, "value": None}}, "query.invalid"),
        (OBSERVE, {"input": {**P, "validFrom": "2026-03-01", "validTo": "2026-01-01"}}, "period.empty"),
        (OBSERVE, {"input": {**P, "validFrom": "2026-03-01T00:00:00"}}, "time.naive"),
        (OBSERVE, {"input": {**P, "value": "x", "valueKind": "DECIMAL"}}, "value.invalid"),
        (OBSERVE, {"input": {**P, "value": True, "valueKind": "DECIMAL"}}, "value.invalid"),
        (OBSERVE, {"input": {**P, "value": "2026-03-01T00:00:00", "valueKind": "INSTANT"}}, "time.naive"),
        (OBSERVE, {"input": {**P, "value": "x" * 1_000_001}}, "text.too_long"),
        (OBSERVE, {"input": {**P, "value": "\0"}}, "value.invalid"),
        (OBSERVE, {"input": {**P, "value": "\ud800"}}, "value.invalid"),
        (OBSERVE, {"input": {**P, "subject": ABSENT}}, "node.not_found"),
        (OBSERVE, {"input": {**P, "expectedVersion": 7}}, "version.conflict"),
        (OBSERVE, {"input": {**P, "expectedVersion": 2**60}}, "query.invalid"),
        (OBSERVE, {"input": {**P, "expectedVersion": "7"}}, "query.invalid"),
        (OBSERVE, {"input": {**P, "predicate": ""}}, None),
        (OBSERVE, {"input": {**P, "surprise": 1}}, "query.invalid"),
        ('mutation { decide(input: {choice: ""}) { id } }', {}, "query.invalid"),
        ('mutation { decide(input: {choice: "c", confidence: 2}) { id } }', {}, "query.invalid"),
        (f'mutation {{ decide(input: {{choice: "c", evidence: ["{ABSENT}"]}}) {{ id }} }}', {}, "node.not_found"),
        ('mutation { decide(input: {choice: "c", supersedes: ["adr:404"]}) { id } }', {}, "node.not_found"),
        (f'mutation {{ correct(input: {{fact: "{ABSENT}", value: 1}}) {{ id }} }}', {}, "node.not_found"),
        (f'mutation {{ end(input: {{fact: "{ABSENT}"}}) {{ id }} }}', {}, "node.not_found"),
        (f'mutation {{ retract(input: {{fact: "{ABSENT}"}}) {{ id }} }}', {}, "node.not_found"),
        ('mutation { retract(input: {fact: "nonsense"}) { id } }', {}, None),
        ('mutation { end(input: {fact: "nonsense"}) { id } }', {}, None),
        ('mutation { supersede(input: {old: "adr:1", new: "adr:2"}) { id } }', {}, "node.not_found"),
        ('mutation { createSpace(input: {name: "No Such Name"}) { space { id } } }', {}, "space.name_invalid"),
        ('mutation { createSpace(input: {name: "default"}) { space { id } } }', {}, "space.exists"),
        ("subscription { changes { seq } }", {}, None),
    ]  # fmt: skip
"""An operation, its variables, and the code of its first error where it is not left to the core."""


async def test_bad_input_has_a_code(served: Any) -> None:
    for query, variables, code in BAD_INPUT:
        answer = await served.post(query, variables)
        for error in answer["errors"]:
            found = error["extensions"]
            assert found["code"] in CODES, (query, error)
            assert found["code"] != "internal", (query, error)
            assert found["branch"] == "refused", (query, error)
            assert error["message"]
            assert "Traceback" not in error["message"]
        if code is not None:
            assert answer["errors"][0]["extensions"]["code"] == code, (query, answer)


async def test_an_ambiguous_key_names_the_full_keys(served: Any) -> None:
    for key in ("adr:12~one", "adr:12~two"):
        await served.memory.decide("c", because="b", key=key)
    error = await served.refused('{ decision(key: "adr:12") { id } }')

    assert error["code"] == "key.ambiguous"
    assert sorted(error["details"]["keys"]) == ["adr:12~one", "adr:12~two"]


async def test_an_unknown_space_suggests_near_ones(served: Any) -> None:
    await served.memory.create_space("logistics")
    error = await served.refused('{ decisions(space: "logistic") { edges { cursor } } }')

    assert error["code"] == "space.unknown"
    assert "logistics" in error["details"]["suggestions"]


async def test_a_refused_write_keeps_a_receipt(served: Any) -> None:
    error = await served.refused(OBSERVE, input={**P, "expectedVersion": 7})
    receipt = await served.ask(
        "query($id: ID!) { receipt(id: $id) { state code seq recordedAt } }", id=error["details"]["receipt"]
    )

    assert receipt["receipt"]["state"] == "failed"
    assert receipt["receipt"]["code"] == "version.conflict"


async def test_a_write_needs_an_actor(tmp_path: Any, serve: Any) -> None:
    async with Memory.open(str(tmp_path / "t.db")) as memory, serve(memory) as served:
        error = await served.refused(OBSERVE, input=P)
        written = await served.written("observe", "ObserveInput", **P, by="human:ada")

    assert error["code"] == "actor.missing"
    assert written["receipt"]["state"] == "stored"


async def test_what_nobody_foresaw_is_masked_and_named(served: Any, monkeypatch: Any, capsys: Any) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        words = "secret of the store"
        raise RuntimeError(words)

    monkeypatch.setattr(served.memory._store._store, "spaces", fail)
    error = await served.refused("{ spaces { name } }")
    health = await served.client.get("/health")

    assert error["code"] == "internal"
    assert error["branch"] == "internal"
    assert error["details"]["id"] in error["message"]
    assert "secret" not in json.dumps(error) + health.text
    assert health.status_code == 500
    assert error["details"]["id"] in "".join(capsys.readouterr()), "the log has the id, whichever stream it goes to"


async def test_a_lost_store_says_unavailable(served: Any) -> None:
    await served.memory.close()
    error = await served.refused("{ spaces { name } }")

    assert (error["code"], error["branch"]) == ("store.closed", "unavailable")


def nested(depth: int) -> str:
    inner = "key"
    for _ in range(depth - 4):
        inner = f"supersedes {{ {inner} }}"
    return f"{{ decisions {{ edges {{ node {{ {inner} }} }} }} }}"


async def test_depth_aliases_and_tokens_are_bounded(served: Any) -> None:
    await served.ask(nested(DEPTH_MAX))
    deep = await served.refused(nested(DEPTH_MAX + 1))
    aliases = " ".join(f"a{number}: spaces {{ name }}" for number in range(ALIASES_MAX + 1))
    many = await served.refused(f"{{ {aliases} }}")
    long = await served.refused("{ " + "spaces { name } " * (TOKENS_MAX // 4 + 1) + "}")

    assert [one["code"] for one in (deep, many, long)] == ["limit.exceeded"] * 3
    assert [one["details"]["limit"] for one in (deep, many, long)] == ["DEPTH_MAX", "ALIASES_MAX", "TOKENS_MAX"]


async def test_deep_documents_and_values_are_refused_before_they_are_followed(served: Any) -> None:
    literal = 'mutation { observe(input: {subject: "a:1", predicate: "p", value: %s}) { id } }'
    for query in ("{ a" * 1600 + " }" * 1600, literal % ("[" * 2_000 + "]" * 2_000)):
        assert (await served.refused(query))["code"] == "query.invalid"
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    assert (await served.refused(OBSERVE, input={**P, "value": deep}))["code"] == "value.invalid"


async def test_fragments_that_double_cost_nothing(served: Any) -> None:
    fragments = " ".join(
        f"fragment f{number} on Decision {{ ...f{number + 1} ...f{number + 1} }}" for number in range(60)
    )
    query = "{ decisions { edges { node { ...f0 } } } } " + fragments + " fragment f60 on Decision { key }"

    assert (await served.ask(query))["decisions"]["edges"] == []


async def test_fragments_count_into_the_depth_and_circles_are_refused(served: Any) -> None:
    chain = " ".join(
        f"fragment f{number} on Decision {{ supersedes {{ ...f{number + 1} }} }}" for number in range(DEPTH_MAX)
    )
    query = "{ decisions { edges { node { ...f0 } } } } " + chain + f" fragment f{DEPTH_MAX} on Decision {{ key }}"
    assert (await served.refused(query))["code"] == "limit.exceeded"
    circle = await served.post(
        "{ decisions { edges { node { ...f } } } } fragment f on Decision { supersedes { ...f } }"
    )
    assert circle["errors"][0]["extensions"]["code"] == "query.invalid"


async def test_an_answer_is_bounded_even_where_decisions_cross(served: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("latewood.server.graphql.context.OBJECTS_MAX", 100)
    old = [await served.memory.decide(f"old {number}", because="b") for number in range(6)]
    for number in range(6):
        await served.memory.decide(f"new {number}", because="b", supersedes=old)
    error = await served.post(
        "{ decisions { edges { node { supersedes { supersededBy { supersedes { supersededBy { id } } } } } } } }"
    )

    assert error["data"] is None
    assert {one["extensions"]["code"] for one in error["errors"]} == {"limit.exceeded"}
    assert OBJECTS_MAX > 100


BROKEN_BODIES = [b"", b"{", b"[]", b"5", b"null", b'"query"', b"[1]", b'{"query": 5}', b'{"query": "{ spaces { name } }", "variables": 5}',
     b'{"query": "{ spaces { name } }", "operationName": 5}', b'{"query": null}', b"{}", b"\xff\xfe", b'{"query": "\\ud800"}',
     b'[{"query": "{ spaces { name } }"}]', b'{"query": "{ spaces { name } }", "variables": {"a": NaN}}',
     b'{"variables": {"a": ' + b"1" * 5_000 + b'}, "query": "{ spaces { name } }"}', b"[" * 100_000]  # fmt: skip


async def test_a_broken_body_is_refused_in_json(served: Any) -> None:
    for body in BROKEN_BODIES:
        response = await served.client.post("/graphql", content=body, headers={"content-type": "application/json"})
        (error,) = response.json()["errors"]
        assert response.status_code in (200, 400), body[:80]
        assert error["extensions"]["code"] == "query.invalid", body[:80]


async def test_only_json_is_read_and_mutations_only_by_post(served: Any) -> None:
    text = await served.client.post("/graphql", content=b"{}", headers={"content-type": "text/plain"})
    form = await served.client.post("/graphql", data={"query": "{ spaces { name } }"})
    got = await served.client.get(
        "/graphql", params={"query": 'mutation { createSpace(input: {name: "x"}) { space { id } } }'}
    )
    read = await served.client.get("/graphql", params={"query": "{ spaces { name } }"})

    assert [one.status_code for one in (text, form, got, read)] == [400, 400, 400, 200]
    assert all(one.json()["errors"][0]["extensions"]["code"] == "query.invalid" for one in (text, form, got))
    assert read.json() == {"data": {"spaces": [{"name": "default"}]}}


async def test_a_body_is_bounded_announced_or_not(served: Any) -> None:
    async def stream() -> Any:
        for _ in range(BODY_BYTES_MAX // 100_000 + 1):
            yield b" " * 100_000

    headers = {"content-type": "application/json"}
    announced = await served.client.post("/graphql", content=b" " * (BODY_BYTES_MAX + 1), headers=headers)
    streamed = await served.client.post("/graphql", content=stream(), headers=headers)

    for response in (announced, streamed):
        assert response.status_code == 413
        assert response.json()["errors"][0]["extensions"]["code"] == "limit.exceeded"


async def test_the_response_media_type_of_the_specification_is_spoken(served: Any) -> None:
    accept = {"accept": "application/graphql-response+json", "content-type": "application/json"}

    async def send(query: str) -> httpx.Response:
        return await served.client.post("/graphql", content=json.dumps({"query": query}), headers=accept)

    good, unparsed, failed = (
        await send("{ spaces { name } }"),
        await send("{"),
        await send('{ why(id: "x") { truncated } }'),
    )
    assert [one.status_code for one in (good, unparsed, failed)] == [200, 400, 200]
    assert all(one.headers["content-type"] == "application/graphql-response+json" for one in (good, unparsed, failed))
    assert "data" not in unparsed.json()
    assert failed.json()["data"] is None
