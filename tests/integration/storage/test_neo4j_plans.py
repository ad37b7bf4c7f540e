"""Every query finds its way by an index, and by the same one whatever Neo4j happens to have counted.

Its planner goes by what it counted, and by when: of a young or an emptied database it may know nothing, and keep a
plan that walks a whole space for as long as that seems to cost the same. So the plans are looked at in several states.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString, cast

import pytest
from conformance.stores import empty_neo4j
from neo4j import GraphDatabase, Session

from latewood.graph_schema.ids import RandomIds
from latewood.graph_schema.model import NodeKind
from latewood.storage.conformance.vectors import vector
from latewood.storage.neo4j.database import Address, Engine, as_sent, expanded
from latewood.storage.neo4j.store import Neo4jStore
from latewood.storage.port import NodeQuery
from latewood.storage.queries import load_queries
from latewood.storage.searching import Scope

FILES: Final = ("queries", "searching", "statuses", "queueing", "rebuilding")
EMPTY, YOUNG, COUNTED = "counted when empty", "young, and not counted yet", "counted"
COUNT: Final = 300
"""Nodes of each label in a database that has some."""
COARSE: Final = ("space", "kind", "status")
"""Properties with a few values each; every other one is told apart by its value."""
SMALL: Final = re.compile(r":(Space|Latewood|Refusals|SpaceVector\d+)\b|:Ledger\(")
"""Labels with a few nodes each, whatever the database holds; and one generation's vectors, for what is about them all."""
WHOLE: Final = frozenset({
    "queries:other_payloads", "queries:receipts_naming", "queries:empty_refusals", "queries:take_relations",
    *(f"queueing:{name}" for name in ("strays", "counted")),
    *(f"rebuilding:{name}" for name in ("subjects", "rows_in_range", "rows_of_subjects", "erasures", "drop_stretch")),
    *(f"rebuilding:stray_{name}" for name in ("node", "fact", "key", "receipt", "alternative", "stretch")),
})  # fmt: skip
"""Queries of erasures and rebuilds that go through all of a space, or more, and are meant to; relationships they walk
only while there are hardly any."""


def _operators(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    details = str(plan.get("args", {}).get("Details", ""))
    yield str(plan["operatorType"]).split("@")[0], details.replace("`", "").replace("$asked.", "$")
    for child in plan.get("children", []):
        yield from _operators(child)


@contextmanager
def _session(url: str) -> Iterator[Session]:
    address = Address.parse(url)
    driver = GraphDatabase.driver(  # pyright: ignore[reportUnknownMemberType]
        address.uri, auth=(address.user, address.password)
    )
    with driver, driver.session(database=address.database) as session:  # pyright: ignore[reportUnknownMemberType]
        yield session


def _run(session: Session, text: str, **parameters: object) -> list[list[Any]]:
    return [record.values() for record in session.run(cast("LiteralString", text), parameters)]


async def _asked(url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return every query by its file and name, those that are put together as the store does it."""
    texts, composed = dict[str, str](), Engine.composed

    def noted(self: Engine, name: str, **parts: str) -> str:
        text = composed(self, name, **parts)
        file = next(one for one in FILES if name in load_queries("latewood.storage.neo4j", f"{one}.cypher"))
        if text not in texts.values():
            texts[f"{file}:{name} {len(texts)}"] = text
        return text

    monkeypatch.setattr(Engine, "composed", noted)
    store, one = await Neo4jStore.open(url), [RandomIds().new()]
    try:
        for newest in (False, True):
            for query in (
                NodeQuery(newest=newest), NodeQuery(NodeKind.RUN, newest=newest),
                NodeQuery(NodeKind.RUN, about=one[0], newest=newest),
                NodeQuery(NodeKind.RUN, where={"status": ["ready"]}, newest=newest),
                NodeQuery(NodeKind.RUN, where={"rate": ["1"]}, newest=newest),
            ):  # fmt: skip
                await store.list_nodes("default", query)
        await store.begin_generation("default", "light", model="m", dimensions=2)
        kinds = [NodeKind.ENTITY]
        for scope in (
            Scope(), Scope(kinds, since=1), Scope(kinds, about=one, since=1), Scope(kinds, sessions=one, since=1),
            Scope(kinds, actors=one, since=1), Scope(predicates=["p"]),
        ):  # fmt: skip
            await store.match_vector("default", vector(1, 2), "light", scope=scope)
            await store.match_text("default", "words", scope=scope)
        filters = next(text for name, text in texts.items() if ":match_words_inside" in name)
    finally:
        await store.close()
    filters = filters.partition("f:Fact AND ")[2].partition("\n")[0]
    noticed = {name.partition(" ")[0] for name in texts}
    for file in FILES:
        for name, text in load_queries("latewood.storage.neo4j", f"{file}.cypher").items():
            if f"{file}:{name}" not in noticed:
                texts[f"{file}:{name}"] = expanded(
                    text.replace("{filters}", filters).replace("{label}", "SpaceVector1")
                )
    return texts


def _fill(session: Session) -> None:
    """Write nodes of each label that has an index, with all that its indexes are about, and relationships."""
    known = defaultdict[str, set[str]](set)
    for (label,), names in _run(session, "SHOW RANGE INDEXES YIELD labelsOrTypes, properties"):
        known[label].update(names)
    for label, names in known.items():
        values = ", ".join(
            f"`{name}`: "
            + (
                "i % 3"
                if name in COARSE and label != "Space"
                else "datetime()"
                if name == "stated_at"
                else "toString(i)"
            )
            for name in sorted(names)
        )
        _run(session, f"UNWIND range(1, $count) AS i CREATE (:{label} {{{values}, no: i}})", count=COUNT)
    _run(session, "MATCH (v:SpaceVector) SET v:SpaceVector1")
    _run(session, "MATCH (n:Node) MATCH (f:Fact {no: n.no}) "
                  "CREATE (n)-[:HAS_FACT]->(f) CREATE (f)-[:SAID_BY]->(n) CREATE (n)-[:BY]->(n) SET n:Source")  # fmt: skip


def _brought(url: str, session: Session, states: Sequence[str]) -> Iterator[str]:
    """Bring the database from one state to the next; what Neo4j counts by itself meanwhile only mixes them."""
    empty_neo4j(url)
    _run(session, "CALL db.prepareForReplanning()")
    if EMPTY in states:
        yield EMPTY
    _fill(session)
    if YOUNG in states:
        yield YOUNG
    _run(session, "CALL db.prepareForReplanning()")
    if COUNTED in states:
        yield COUNTED


def _faults(plan: list[tuple[str, str]]) -> list[str]:
    """Name what goes through all there is: scans, and seeks by the first column of an index alone."""
    found: list[str] = []
    for operator, details in plan:
        scans = operator.endswith("Scan")
        by_space = "IndexSeek" in operator and re.search(r"WHERE \w+ = \S+ AND \w+ IS NOT NULL", details)
        if (scans or by_space) and not SMALL.search(details):
            found.append(f"{operator} {details}")
    return found


def _ways(plan: list[tuple[str, str]]) -> list[str]:
    """Name the indexes that a plan goes by, but for those of which it takes one node at most."""
    ways = [re.match(r"RANGE INDEX \w+(:\w+\([^)]*\))", details) for operator, details in plan if "Index" in operator]
    return sorted({way[1] for way in ways if way is not None})


@pytest.mark.parametrize("states", [
    pytest.param((YOUNG,), id="young"),
    # Each state takes half a minute, and only all three tell whether an index is kept to.
    pytest.param((EMPTY, YOUNG, COUNTED), id="all", marks=pytest.mark.slow),
])  # fmt: skip
async def test_every_query_goes_by_the_same_indexes_whatever_was_counted(
    states: Sequence[str], neo4j_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_neo4j(neo4j_url)
    asked = await _asked(neo4j_url, monkeypatch)
    faults, sorts = dict[str, list[str]](), dict[str, list[str]]()
    ways: dict[str, dict[str, list[str]]] = {name: {} for name in asked}
    with _session(neo4j_url) as session:
        for state in _brought(neo4j_url, session, states):
            _run(session, "CALL db.clearQueryCaches()")
            for name, text in asked.items():
                explained = session.run(cast("LiteralString", "EXPLAIN " + as_sent(text))).consume().plan
                plan = list(_operators(cast("Mapping[str, Any]", explained)))
                ways[name][state] = _ways(plan)
                if name not in WHOLE and (wrong := _faults(plan)):
                    faults[f"{name}, {state}"] = wrong
                sorted_by = [operator for operator, _ in plan if operator in ("Sort", "Top", "PartialTop")]
                about = "[a]" in text
                if sorted_by and not about and name.startswith(("queries:list_nodes", "queries:near_keys")):
                    sorts[f"{name}, {state}"] = sorted_by

    hanging = {
        name: one for name, one in ways.items() if name not in WHOLE and len(set(map(tuple, one.values()))) > 1
    }  # fmt: skip
    assert len(asked) > 150
    assert faults == {}
    # A list walks its index no farther than it goes.
    assert sorts == {}
    assert hanging == {}
