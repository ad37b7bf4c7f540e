"""How the graph is called in Neo4j, and how its address is read."""

import pytest

from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import NodeKind
from latewood.storage.neo4j.database import Address
from latewood.storage.neo4j.names import labels_of, relation_type, spaced
from latewood.storage.neo4j.pending import born, pair


@pytest.mark.parametrize(
    ("kind", "node_type", "labels"),
    [
        (NodeKind.ENTITY, "carrier", ("Node", "Entity", "Carrier")),
        (NodeKind.ENTITY, "purchase order", ("Node", "Entity", "PurchaseOrder")),
        (NodeKind.ENTITY, "decision", ("Node", "Entity", "DecisionEntity")),
        (NodeKind.ENTITY, "Space1", ("Node", "Entity")),
        (NodeKind.ENTITY, "3d-printer", ("Node", "Entity")),
        (NodeKind.ENTITY, "汽车", ("Node", "Entity")),
        (NodeKind.ACTOR, "human", ("Node", "Actor", "Human")),
        (NodeKind.DECISION, "adr", ("Node", "Decision")),
    ],
)
def test_labels_are_the_kind_and_the_type(kind: NodeKind, node_type: str, labels: tuple[str, ...]) -> None:
    assert labels_of(kind, node_type) == labels


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        ("about", "ABOUT"), ("depends_on", "DEPENDS_ON"), ("dependsOn", "DEPENDS_ON"), ("uses.v2", "USES_V2"),
        ("has-part", "HAS_PART"),
    ],
)  # fmt: skip
def test_relationship_types_are_verbs_in_capitals(predicate: str, expected: str) -> None:
    assert relation_type(predicate) == expected


def test_words_are_split_as_the_embedded_store_splits_them() -> None:
    assert spaced("carrier:falcon_9", "on-time (rate)") == "carrier falcon 9 on time rate"


def test_the_order_of_recording_survives_as_text() -> None:
    places = [(-5, 9), (-5, 10), (0, 1), (1_700_000_000_000_000, 2), (1_700_000_000_000_000, 11)]

    assert sorted(places) == sorted(places, key=lambda one: born(*one))


def test_instants_before_1970_keep_their_microseconds() -> None:
    assert pair(-1) == [-1, 999_999_000]
    assert pair(None) is None


def test_an_address_is_read_whole() -> None:
    address = Address.parse("neo4j+s://ada:p%40ss@db.example.org:7777/team")

    assert address == Address("neo4j+s://db.example.org:7777", "ada", "p@ss", "team")
    assert "p@ss" not in address.shown
    assert "p%40ss" not in address.shown
    assert Address.parse("neo4j://localhost") == Address("neo4j://localhost:7687", "neo4j", "", None, 60)
    assert Address.parse("bolt://localhost/team?timeout=2.5") == Address(
        "bolt://localhost:7687", "neo4j", "", "team", 2.5
    )


@pytest.mark.parametrize(
    "url",
    [
        "neo4j://",
        "http://host",
        "neo4j://host:port",
        "neo4j://h/a/b",
        "bolt://h?x=1",
        "bolt://h?timeout=2&x=1",
        "bolt://h?timeout=2&timeout=3",
        "bolt://h?timeout=",
        "bolt://h?timeout=0",
        "bolt://h?timeout=nan",
        "bolt://h?timeout=3601",
        "bolt://h?timeout=two",
        "bolt://h?timeout=-5",
    ],
)
def test_another_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidError) as refused:
        Address.parse(url)

    assert refused.value.code == "store.url_invalid"
