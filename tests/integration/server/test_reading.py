"""Reads as of two clocks, pages, and the ways to name a thing."""

from __future__ import annotations

from typing import Any

import pytest

DECISIONS = """query($first: Int, $after: String, $status: [DecisionStatus!], $about: String) {
  decisions(first: $first, after: $after, status: $status, about: $about) {
    edges { cursor node { key } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""


async def numbered(served: Any, count: int, **given: Any) -> None:
    for number in range(count):
        await served.memory.decide(f"choice {number}", because="so", key=f"adr:{number}", **given)


def keys(answer: dict[str, Any]) -> list[str]:
    return [edge["node"]["key"] for edge in answer["decisions"]["edges"]]


async def test_every_read_takes_both_clocks(served: Any) -> None:
    first = await served.written(
        "observe",
        "ObserveInput",
        "id fact { recordedAt }",
        subject="a:1",
        predicate="p",
        value=1,
        validFrom="2026-01-01",
    )
    then = first["fact"]["recordedAt"]
    await served.written("correct", "CorrectInput", fact=first["id"], value=2)
    one = await served.written("decide", "DecideInput", choice="c", because="b", key="adr:1", about=["a:1"])
    late = {"validAt": "2025-06-01T00:00:00Z"}
    known = {"knownAt": then}
    query = """query($at: AsOf) {
      entity(key: "a:1", asOf: $at) { facts { value { data } } timeline { edges { node { value { data } } } } }
      decision(key: "adr:1", asOf: $at) { id } decisions(asOf: $at) { edges { node { id } } }
      find(text: "adr", asOf: $at) { node { key } } why(about: "a:1", asOf: $at) { decision { id } } }"""

    now = await served.ask(query, at=None)
    assert now["entity"]["facts"] == [{"value": {"data": 2}}]
    assert len(now["entity"]["timeline"]["edges"]) == 2
    assert now["decision"] == {"id": one["id"]}
    assert now["why"] == [{"decision": {"id": one["id"]}}]
    before = await served.ask(query, at=known)
    assert before["entity"]["facts"] == [{"value": {"data": 1}}]
    assert len(before["entity"]["timeline"]["edges"]) == 1
    assert before["decision"] is None
    assert before["decisions"]["edges"] == before["find"] == before["why"] == []
    early = await served.ask(query, at=late)
    assert early["entity"]["facts"] == []


async def test_one_operation_may_read_two_instants(served: Any) -> None:
    first = await served.written(
        "observe", "ObserveInput", "fact { recordedAt }", subject="a:1", predicate="p", value=1, validFrom="2026-01-01"
    )
    await served.written("observe", "ObserveInput", subject="a:1", predicate="p", value=2, validFrom="2026-02-01")
    answer = await served.ask(
        """query($at: AsOf) { now: entity(key: "a:1") { facts { value { data } } }
           then: entity(key: "a:1", asOf: $at) { facts { value { data } } } }""",
        at={"knownAt": first["fact"]["recordedAt"]},
    )

    assert answer == {"now": {"facts": [{"value": {"data": 2}}]}, "then": {"facts": [{"value": {"data": 1}}]}}


@pytest.mark.parametrize("size", [1, 3, 7, 10, 1000])
async def test_pages_join_to_the_whole_list(served: Any, size: int) -> None:
    await numbered(served, 10)
    found: list[str] = []
    after, more = None, True
    while more:
        answer = await served.ask(DECISIONS, first=size, after=after)
        found += keys(answer)
        place = answer["decisions"]["pageInfo"]
        assert place["hasPreviousPage"] is (after is not None)
        assert place["endCursor"] == answer["decisions"]["edges"][-1]["cursor"]
        after, more = place["endCursor"], place["hasNextPage"]

    assert found == [f"adr:{number}" for number in range(10)]


async def test_any_edge_can_be_gone_on_from(served: Any) -> None:
    await numbered(served, 9)
    edges = (await served.ask(DECISIONS, first=4))["decisions"]["edges"]
    for place, edge in enumerate(edges):
        answer = await served.ask(DECISIONS, first=3, after=edge["cursor"])
        assert keys(answer) == [f"adr:{place + 1 + number}" for number in range(3)]
        inner = answer["decisions"]["edges"][1]["cursor"]
        assert keys(await served.ask(DECISIONS, first=1, after=inner)) == [f"adr:{place + 3}"]


async def test_the_last_cursor_waits_for_what_comes(served: Any) -> None:
    await numbered(served, 2)
    end = (await served.ask(DECISIONS, first=5))["decisions"]["pageInfo"]["endCursor"]
    assert keys(await served.ask(DECISIONS, first=5, after=end)) == []
    await served.memory.decide("later", because="so", key="adr:9")

    assert keys(await served.ask(DECISIONS, first=5, after=end)) == ["adr:9"]


async def test_a_page_goes_on_behind_an_item_that_left_the_list(served: Any) -> None:
    await numbered(served, 6)
    edges = (await served.ask(DECISIONS, first=4, status=["ACCEPTED"]))["decisions"]["edges"]
    await served.memory.supersede("adr:1", "adr:5")

    answer = await served.ask(DECISIONS, first=9, after=edges[1]["cursor"], status=["ACCEPTED"])
    assert keys(answer) == ["adr:2", "adr:3", "adr:4", "adr:5"]


@pytest.mark.parametrize("left", [2, 4, 10])
async def test_what_left_the_list_hides_nothing_that_came(served: Any, left: int) -> None:
    await numbered(served, left)
    end = (await served.ask(DECISIONS, first=20, status=["ACCEPTED"]))["decisions"]["pageInfo"]["endCursor"]
    for number in range(left):
        await served.memory.decide("later", because="so", key=f"new:{number}", supersedes=[f"adr:{number}"])

    answer = await served.ask(DECISIONS, first=20, after=end, status=["ACCEPTED"])
    assert keys(answer) == [f"new:{number}" for number in range(left)]


async def test_more_left_than_a_cursor_tells_of_and_nothing_is_passed_over(served: Any) -> None:
    await numbered(served, 12)
    edges = (await served.ask(DECISIONS, first=12, status=["ACCEPTED"]))["decisions"]["edges"]
    for number in range(2, 11):
        await served.memory.supersede(f"adr:{number}", "adr:11")

    answer = await served.ask(DECISIONS, first=20, after=edges[10]["cursor"], status=["ACCEPTED"])
    assert keys(answer) == ["adr:0", "adr:1", "adr:11"]


async def test_an_entity_timeline_pages_on_its_own(served: Any) -> None:
    for day in range(1, 8):
        await served.written(
            "observe", "ObserveInput", subject="a:1", predicate="p", value=day, validFrom=f"2026-01-0{day}"
        )
    await served.written("observe", "ObserveInput", subject="a:2", predicate="p", value=0)
    query = """query($after: String) { entities(type: "a") { edges { node { key timeline(first: 3, after: $after) {
      edges { node { value { data } } } pageInfo { hasNextPage endCursor } } } } } }"""

    edges = (await served.ask(query))["entities"]["edges"]
    assert [edge["node"]["key"] for edge in edges] == ["a:1", "a:2"]
    first, other = edges[0]["node"]["timeline"], edges[1]["node"]["timeline"]
    assert [edge["node"]["value"]["data"] for edge in first["edges"]] == [1, 2, 3]
    assert first["pageInfo"]["hasNextPage"] is True
    assert other["pageInfo"]["hasNextPage"] is False
    alone = """query($after: String) { entity(key: "a:1") { timeline(first: 9, after: $after) {
      edges { node { value { data } } } } } }"""
    rest = await served.ask(alone, after=first["pageInfo"]["endCursor"])
    assert [edge["node"]["value"]["data"] for edge in rest["entity"]["timeline"]["edges"]] == [4, 5, 6, 7]


async def test_decisions_are_listed_by_status_and_subject(served: Any) -> None:
    await numbered(served, 2, about=["lane:Lyon"])
    await served.memory.decide("other", because="so", key="adr:7", about=["lane:Metz"])
    await served.memory.supersede("adr:0", "adr:1")

    assert keys(await served.ask(DECISIONS, status=["SUPERSEDED"])) == ["adr:0"]
    assert keys(await served.ask(DECISIONS, status=["ACCEPTED"], about="lane:Lyon")) == ["adr:1"]
    assert keys(await served.ask(DECISIONS, status=["SUPERSEDED", "ACCEPTED"])) == ["adr:0", "adr:1", "adr:7"]


async def test_node_finds_whatever_has_an_id(served: Any) -> None:
    fact = await served.memory.observe("a:1", "p", 1)
    decision = await served.memory.decide("c", because="b")
    entity = await served.memory.node("a:1")
    query = "query($id: ID!) { node(id: $id) { __typename id ... on Fact { predicate } ... on Decision { title } ... on Entity { key } } }"

    assert (await served.ask(query, id=fact.id))["node"] == {"__typename": "Fact", "id": fact.id, "predicate": "p"}
    assert (await served.ask(query, id=decision.id))["node"] == {
        "__typename": "Decision",
        "id": decision.id,
        "title": "c",
    }
    assert (await served.ask(query, id=entity.id))["node"] == {"__typename": "Entity", "id": entity.id, "key": "a:1"}
    assert (await served.ask(query, id="00000000-0000-7000-8000-000000000000"))["node"] is None


async def test_what_is_not_there_is_null(served: Any) -> None:
    answer = await served.ask(
        """{ a: decision(key: "adr:1") { id } b: decision(id: "nonsense") { id } c: entity(key: "a:1") { id }
           d: receipt(id: "nonsense") { id } e: receipt(id: "00000000-0000-7000-8000-000000000000") { id }
           f: fact(id: "x") { id } g: node(id: "x") { id } }"""
    )

    assert set(answer.values()) == {None}


async def test_why_follows_the_chain(served: Any) -> None:
    await numbered(served, 3)
    await served.memory.supersede("adr:0", "adr:1")
    await served.memory.supersede("adr:1", "adr:2")
    query = """{ why(id: "adr:1") { decision { key } predecessors { key } successors { key } inForce { key } truncated
      lines { role text } } }"""

    (why,) = (await served.ask(query))["why"]
    assert [why["decision"], why["predecessors"], why["successors"], why["inForce"]] == [
        {"key": "adr:1"}, [{"key": "adr:0"}], [{"key": "adr:2"}], [{"key": "adr:2"}],
    ]  # fmt: skip
    assert {"role": "rationale", "text": "so"} in why["lines"]


async def test_diff_runs_along_either_clock(served: Any) -> None:
    await served.written("observe", "ObserveInput", subject="a:1", predicate="p", value=1, validFrom="2024-01-01")
    await served.written("observe", "ObserveInput", subject="a:1", predicate="p", value=2, validFrom="2024-03-01")
    query = """query($since: DateTime!, $until: DateTime!, $axis: Axis) {
      diff(since: $since, until: $until, axis: $axis, about: "a:1") {
        edges { node { kind predicate subject { key } before { value { data } } after { value { data } } } } } }"""

    valid = await served.ask(query, since="2024-02-01", until="2024-04-01", axis="VALID")
    assert [edge["node"] for edge in valid["diff"]["edges"]] == [
        {
            "kind": "CHANGED", "predicate": "p", "subject": {"key": "a:1"},
            "before": {"value": {"data": 1}}, "after": {"value": {"data": 2}},
        }
    ]  # fmt: skip
    known = await served.ask(query, since="2024-02-01", until="2024-04-01")
    assert known["diff"]["edges"] == []


async def test_health_says_how_the_store_is(served: Any) -> None:
    await served.memory.observe("a:1", "p", 1)
    response = await served.client.get("/health")
    found = response.json()

    assert response.status_code == 200
    assert found["status"] == "ok"
    assert found["store"]["engine"] == "sqlite"
    assert found["store"]["schemaVersion"] >= 1
    assert found["spaces"][0]["name"] == "default"
    assert found["spaces"][0]["seq"]["knowledge"] > 0
    assert found["queue"]["waiting"] == 0


async def test_health_says_when_the_store_is_gone(served: Any) -> None:
    await served.memory.close()
    response = await served.client.get("/health")

    assert response.status_code == 503
    assert response.json()["status"] == "degraded"
    assert response.json()["code"] == "store.closed"


async def test_browsers_get_an_editor_that_survives_without_the_net(served: Any) -> None:
    response = await served.client.get("/graphql", headers={"accept": "text/html"})

    assert response.headers["content-type"].startswith("text/html")
    assert "graphiql.min.js" in response.text
    assert response.text.index("plain editor") < response.text.index("</body>")
