"""Every query finds its way by an index: a scan over a label would only show when a database has grown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
from conformance.stores import empty_neo4j
from neo4j import GraphDatabase

from latewood.storage.neo4j.database import Address, Engine, as_sent
from latewood.storage.neo4j.store import Neo4jStore
from latewood.storage.queries import load_queries

NAMES = sorted(
    name
    for file in ("queries.cypher", "searching.cypher", "statuses.cypher")
    for name in load_queries("latewood.storage.neo4j", file)
)
SCANS = ("AllNodesScan", "NodeByLabelScan", "UnionNodeByLabelsScan", "AllRelationshipsScan", "RelationshipTypeScan")
SMALL = ("Space", "Latewood", "Refusals")
"""Labels with a few nodes each, whatever the database holds."""
GENERATION = "SpaceVector1"
"""The label of one generation's vectors: a query that is about all of them may go through all of them."""
SOURCES = {
    "list_nodes": ["MATCH (n:Node)"],
    "count_inside": [
        f"MATCH (w:{GENERATION}) MATCH (f:Fact {{space: $space, id: w.fact}}) WHERE f.space = $space",
        "UNWIND $subjects AS subject MATCH (f:Fact {space: $space, subject: subject}) WHERE f.valid_from IS NOT NULL",
        "UNWIND $sources AS source MATCH (o:Node {space: $space, id: source})<-[:SAID_BY]-(f:Fact) WHERE f.space = $space",
        "MATCH (f:Fact) WHERE f.space = $space AND f.valid_from IS NOT NULL",
    ],
}
SOURCES["match_inside"] = SOURCES["count_inside"]
FILTERS = (
    "f.text IS NOT NULL AND f.recorded_at <= $r AND f.valid_from >= $since AND f.source IN $sources AND EXISTS { "
    "MATCH (s:Node {space: $space, id: f.subject}) WHERE s.kind IN $kinds AND s.type IN $types }"
)
ASKED = [(name, source) for name in NAMES for source in SOURCES.get(name, [""])]


def operators(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield str(plan["operatorType"]), str(plan.get("args", {}).get("Details", ""))
    for child in plan.get("children", []):
        yield from operators(child)


@pytest.fixture
async def prepared(neo4j_url: str) -> str:
    empty_neo4j(neo4j_url)
    await (await Neo4jStore.open(neo4j_url)).close()
    return neo4j_url


def planned(url: str, text: str) -> list[tuple[str, str]]:
    address = Address.parse(url)
    driver = GraphDatabase.driver(  # pyright: ignore[reportUnknownMemberType]
        address.uri, auth=(address.user, address.password)
    )
    with driver, driver.session(database=address.database) as session:  # pyright: ignore[reportUnknownMemberType]
        plan = cast("Any", session.run("EXPLAIN " + as_sent(text)).consume()).plan
    return [(operator.split("@")[0], details) for operator, details in operators(plan)]


@pytest.mark.parametrize("order", ["ASC", "DESC"])
async def test_a_list_walks_its_index_no_farther_than_it_goes(order: str, prepared: str) -> None:
    engine = Engine(Address.parse(prepared))
    conditions = "n.kind = $kind AND EXISTS { MATCH (n)-[h:HAS_FACT]->(f) WHERE h.predicate = $p0 AND {visible:h} }"
    parts = {"source": "MATCH (n:Node)", "beyond": ">" if order == "ASC" else "<", "order": order}
    listed = planned(prepared, engine.composed("list_nodes", conditions=conditions, **parts))
    near = planned(prepared, engine.composed("near_keys"))
    await engine.close()

    assert [operator for operator, _ in (*listed, *near) if operator in ("Sort", "Top", "PartialTop")] == []


@pytest.mark.parametrize(("name", "source"), ASKED)
async def test_a_query_uses_an_index(name: str, source: str, prepared: str) -> None:
    address = Address.parse(prepared)
    engine = Engine(address)
    text = engine.composed(
        name, source=source, beyond=">", order="ASC", conditions="n.kind = 'entity'", label=GENERATION, filters=FILTERS
    )  # fmt: skip
    await engine.close()

    scans = [
        (operator, details) for operator, details in planned(prepared, text)
        if operator in SCANS and not any(f":{label}" in details for label in (*SMALL, GENERATION))
    ]  # fmt: skip
    assert scans == []
