"""Every query finds its way by an index: a scan over a label would only show when a database has grown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, LiteralString, cast

import pytest
from conformance.stores import empty_neo4j
from neo4j import GraphDatabase

from latewood.storage.neo4j.database import Address, Engine
from latewood.storage.neo4j.store import Neo4jStore
from latewood.storage.queries import load_queries

NAMES = sorted(load_queries("latewood.storage.neo4j", "queries.cypher"))
SCANS = ("AllNodesScan", "NodeByLabelScan", "UnionNodeByLabelsScan", "AllRelationshipsScan", "RelationshipTypeScan")
SMALL = ("Space", "Latewood", "Refusals")
"""Labels with a few nodes each, whatever the database holds."""


def operators(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield str(plan["operatorType"]), str(plan.get("args", {}).get("Details", ""))
    for child in plan.get("children", []):
        yield from operators(child)


@pytest.fixture
async def prepared(neo4j_url: str) -> str:
    empty_neo4j(neo4j_url)
    await (await Neo4jStore.open(neo4j_url)).close()
    return neo4j_url


@pytest.mark.parametrize("name", NAMES)
async def test_a_query_uses_an_index(name: str, prepared: str) -> None:
    address = Address.parse(prepared)
    engine = Engine(address)
    text = engine.composed(name, source="MATCH (n:Node)", conditions="n.kind = 'entity'")
    await engine.close()
    driver = GraphDatabase.driver(  # pyright: ignore[reportUnknownMemberType]
        address.uri, auth=(address.user, address.password)
    )
    with driver, driver.session(database=address.database) as session:  # pyright: ignore[reportUnknownMemberType]
        plan = session.run(cast("LiteralString", "EXPLAIN " + text)).consume().plan

    assert plan is not None
    scans = [
        (operator, details) for operator, details in operators(plan)
        if operator.split("@")[0] in SCANS and not any(f":{label}" in details for label in SMALL)
    ]  # fmt: skip
    assert scans == []
