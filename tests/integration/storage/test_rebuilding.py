"""What is damaged by hand is found by a dry run, mended by a rebuild, and gone in the next: real rows, both stores."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw
import pytest
from conformance.stores import STORES
from neo4j import GraphDatabase
from properties.stories import HOUR, START, WORDS

from latewood.graph_schema.clock import AsOf, ManualClock, from_micros
from latewood.graph_schema.commands import ActorSpec, Assert, End, Erase, Ref, Retract, SourceSpec, Unit
from latewood.graph_schema.errors import LatewoodError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.model import LEDGERS, Trust
from latewood.graph_schema.values import Scalar, Value
from latewood.memory.portability import fingerprint
from latewood.storage.neo4j.database import Address
from latewood.storage.port import PAGE_MAX, FactQuery, GraphStore
from latewood.storage.rebuilding import Drift

KEYS: Final = ("thing:a", "thing:b", "person:c")


class Told:
    """A store with a small history of every kind of row, and the damage that its files can take."""

    def __init__(self, store: GraphStore, clock: ManualClock, file: Path | None, url: str | None) -> None:
        self.store = store
        self.clock = clock
        self._ids = SequentialIds(7)
        self._file = file
        self._url = url
        self.facts: list[str] = []
        self.units: list[str] = []

    async def write(
        self, *commands: Assert | End | Retract | Erase, trust: Trust = Trust.HUMAN, origin: str = "doc:one"
    ) -> Receipt:
        self.clock.advance(micros=HOUR)
        unit = Unit(
            self._ids.new(), "default", ActorSpec("human:ada"), trust, body_digest(None), commands,
            op=f"op-{len(self.units)}", source=SourceSpec(origin),
        )  # fmt: skip
        (answer,) = await self.store.commit([unit])
        assert not isinstance(answer, LatewoodError), answer
        self.units.append(unit.id)
        self.facts += answer.facts
        return answer

    def say(self, key: str, predicate: str, value: Scalar, start: int, end: int | None = None) -> Assert:
        until = None if end is None else START + end * HOUR
        return Assert(
            self._ids.new(), Ref(key=key), predicate, Value.of(value), valid_from=START + start * HOUR, valid_to=until
        )

    def link(self, key: str, predicate: str, target: str) -> Assert:
        return Assert(self._ids.new(), Ref(key=key), predicate, object=Ref(key=target), relation=True, valid_from=START)

    async def tell(self) -> None:
        first = await self.write(self.say("thing:a", "rate", 1, 0))
        await self.write(self.say("thing:a", "rate", 2, 5), origin="doc:two")
        await self.write(self.say("thing:a", "rate", 3, -4, 3))
        await self.write(self.say("thing:b", "motto", "quiet otter", 0), self.link("thing:b", "feeds", "thing:a"))
        slip = await self.write(self.say("thing:b", "rate", 9, 0))
        await self.write(Retract(self._ids.new(), slip.facts[0], "a slip"))
        listed = {"title": "stay", "alternatives": [{"title": "move", "rejected_because": "dear"}]}
        await self.write(self.say("person:c", "choice", listed, 0), self.say("person:c", "note", "a secret", 0))
        await self.write(End(self._ids.new(), first.facts[0], START + 4 * HOUR, "closed"))
        await self.write(Erase(self._ids.new(), self.facts[-2], "asked for"))

    async def answers(self) -> list[object]:
        """Everything that reads say, along both clocks."""
        nodes = await self.store.nodes("default", keys=KEYS)
        ids = sorted(node.id for node in nodes.values())
        found: list[object] = [nodes, await self.store.timeline("default", ids, first=PAGE_MAX)]
        found += [await self.store.ledger_rows("default", name, 0) for name in LEDGERS]
        found += [await self.store.receipt(unit) for unit in self.units]
        for valid in range(-5, 12, 2):
            for known in (None, *range(1, 11)):
                at = AsOf(
                    from_micros(START + valid * HOUR), None if known is None else from_micros(START + known * HOUR)
                )
                found.append(await self.store.facts("default", FactQuery(subjects=ids), at))
        found.append({hit.node.id for hit in await self.store.search_text("default", "otter")})
        return [*found, await fingerprint(self.store, "default")]

    async def rebuilt(self, *, repair: bool) -> list[Drift]:
        found: list[Drift] = []
        after: str | None = None
        while True:
            step = await self.store.rebuild("default", after=after, limit=11, repair=repair)
            found += step.found
            if step.next is None:
                return found
            after = step.next

    def harm(self, *statements: str) -> None:
        """Run statements on the database itself, beside the store."""
        if self._file is not None:
            database = apsw.Connection(str(self._file))
            for statement in statements:
                database.execute(statement)
            database.close()
            return
        assert self._url is not None
        address = Address.parse(self._url)
        with (
            GraphDatabase.driver(address.uri, auth=(address.user, address.password)) as driver,
            driver.session(database=address.database) as session,
        ):
            for statement in statements:
                counters = session.run(statement).consume().counters
                assert counters.contains_updates, f"{statement} changed nothing"


async def told(kind: str, folder: Path, url: str | None) -> Told:
    clock = ManualClock(from_micros(START))
    store = await STORES[kind](folder).fresh(clock=clock, ids=SequentialIds(1), words=WORDS)
    found = Told(store, clock, folder / "0.db" if kind == "sqlite" else None, url)
    await found.tell()
    return found


_RATE: Final = "(select k from key where predicate = 'rate' limit 1)"
_BOGUS_NODE: Final = (
    "insert into node(n, space, id, kind, type, norm, name, attributes, recorded_at, version) "
    "values(900, 1, x'0123456789abcdef0123456789abcdef', 'entity', 'thing', 'thing:zz', 'zz', '{}', 5, 1)"
)
SQLITE: Final[dict[str, tuple[str, set[tuple[str, str]]]]] = {
    "stretches are gone": (f"delete from stretch where k = {_RATE}", {("stretch", "missing")}),
    "a stamp is another": (
        f"update stretch set closed_at = closed_at - 1 where k = {_RATE} and closed_at < 9223372036854775807",
        {("stretch", "different")},
    ),
    "a stretch came back": (
        "update stretch set retired_at = 9223372036854775807 where retired_at < 9223372036854775807",
        {("stretch", "different")},
    ),
    "a stretch too many": (
        (
            f"insert into stretch select k, valid_from + 7, recorded_at, e, valid_to, closed_at, retired_at from stretch "
            f"where k = {_RATE} limit 1"
        ),
        {("stretch", "extra")},
    ),
    "a claim is gone": (f"delete from claim where k = {_RATE}", {("claim", "missing")}),
    "a retraction is forgotten": (
        "update claim set retracted_at = 9223372036854775807, retraction = null where retraction is not null",
        {("claim", "different")},
    ),
    "a key is gone": (f"delete from key where k = {_RATE}", {("key", "missing"), ("claim", "missing")}),
    "a key is not marked contested": ("update key set contested = 0 where contested = 1", {("key", "different")}),
    "the nodes of things are gone": ("delete from node where norm like 'thing:%'", {("node", "missing")}),
    "a node has another name": ("update node set name = 'other' where norm = 'thing:a'", {("node", "different")}),
    "a node too many": (_BOGUS_NODE, {("node", "extra")}),
    "the words of a fact are gone": ("delete from text_1 where body like '%otter%'", {("text", "missing")}),
    "words that were erased came back": (
        "insert into text_1(rowid, body) select e, 'a secret' from event where payload is null limit 1",
        {("text", "extra")},
    ),
    "memories are gone": ("delete from memory", {("memory", "missing")}),
    "a memory is of another": ("update memory set k = k + 1000", {("memory", "different")}),
    "a memory that was erased came back": (
        (
            "insert into memory select e, 1, 1, 1, 'note', null, null, 3, valid_from, recorded_at from event "
            "where payload is null and kind = 'asserted'"
        ),
        {("memory", "extra")},
    ),
    "the index of the words does not fit": (
        "update text_1_content set c0 = 'another otter' where c0 like '%otter%'",
        {("text", "different")},
    ),
    "receipts have another key": ("update receipt set op = null", {("receipt", "different")}),
    "a receipt names another row": (
        "update receipt set receipt = json_set(receipt, '$.seq', 1) where op is not null",
        {("receipt", "different")},
    ),
    "a receipt too many": (
        "insert into receipt select x'00', space, null, body, json_set(receipt, '$.seq', 999) from receipt limit 1",
        {("receipt", "extra")},
    ),
    "a head has another time": ("update head set recorded_at = recorded_at + 9", {("head", "different")}),
}
NEO4J: Final[dict[str, tuple[str, set[tuple[str, str]]]]] = {
    "stretches are gone": ("MATCH ()-[h:HAS_FACT]->(:Fact {predicate: 'rate'}) DELETE h", {("stretch", "missing")}),
    "a relation is gone": ("MATCH ()-[h:FEEDS]->() DELETE h", {("stretch", "missing")}),
    "a stamp is another": (
        "MATCH ()-[h:HAS_FACT]->() WHERE h.closed_at IS NOT NULL SET h.closed_at = datetime()",
        {("stretch", "different")},
    ),
    "a stretch came back": (
        "MATCH ()-[h]->() WHERE h.retired_at IS NOT NULL SET h.retired_at = null",
        {("stretch", "different")},
    ),
    "a stretch too many": (
        "MATCH (s)-[h:HAS_FACT]->(f) WITH s, h, f LIMIT 1 CREATE (s)-[g:HAS_FACT]->(f) SET g = properties(h)",
        {("stretch", "extra")},
    ),
    "a fact is gone": ("MATCH (f:Fact {title: 'motto: quiet otter'}) DETACH DELETE f", {("Fact", "missing")}),
    "a retraction is forgotten": (
        "MATCH (f:Fact) WHERE f.retraction IS NOT NULL SET f.retraction = null, f.retracted_at = null",
        {("Fact", "different")},
    ),
    "a fact lost its source": ("MATCH (:Fact)-[r:SAID_BY]->() WITH r LIMIT 1 DELETE r", {("Fact", "different")}),
    "words that were erased came back": (
        "MATCH (f:Fact) WHERE f.payload IS NULL SET f.value = 'a secret', f.text = 'a secret'",
        {("Fact", "different")},
    ),
    "the words of a fact are not searched": (
        "MATCH (f:Fact:Space1) WHERE f.text IS NOT NULL REMOVE f:Space1",
        {("Fact", "different")},
    ),
    "an alternative is gone": ("MATCH (a:Alternative) DETACH DELETE a", {("Fact", "different")}),
    "a key is gone": ("MATCH (k:Key {predicate: 'rate'}) DETACH DELETE k", {("Key", "missing")}),
    "a key is not marked contested": (
        "MATCH (k:Key) WHERE k.contested SET k.contested = false",
        {("Key", "different")},
    ),
    "the nodes of things are gone": (
        "MATCH (n:Node) WHERE n.key STARTS WITH 'thing:' DETACH DELETE n",
        {("Node", "missing")},
    ),
    "a node has another name": ("MATCH (n:Node {key: 'thing:a'}) SET n.name = 'other'", {("Node", "different")}),
    "a source is not linked": ("MATCH (:Source)-[r:BY]->() DELETE r", {("Source", "different")}),
    "a node too many": (
        (
            "CREATE (:Node:Entity {space: 1, id: 'x', kind: 'entity', type: '', name: 'x', born: '1.1', "
            "attributes: '{}', recorded_at: datetime(), version: 1})"
        ),
        {("Node", "extra")},
    ),
    "a fact too many": (
        (
            "MATCH (s:Node {key: 'thing:a'}) CREATE (s)-[:HAS_FACT {fact_id: 'y', predicate: 'rate', valid_from: "
            "datetime('2026-01-01T00:00:00Z'), recorded_at: datetime('2026-01-01T00:00:00Z')}]->"
            "(f:Fact {space: 1, id: 'y', subject: s.id, predicate: 'rate', place: 9999})"
        ),
        {("Fact", "extra"), ("stretch", "extra")},
    ),
    "receipts are gone": ("MATCH (r:Receipt) SET r.op = null", {("Receipt", "different")}),
    "a head has another time": (
        "MATCH (l:Ledger {ledger: 'knowledge'}) SET l.recorded_at = l.recorded_at + 9",
        {("Ledger", "different")},
    ),
}


async def mends(one: Told, damage: str, expected: set[tuple[str, str]]) -> None:
    before = await one.answers()
    one.harm(damage)
    dry = await one.rebuilt(repair=False)
    first = await one.rebuilt(repair=True)
    second = await one.rebuilt(repair=False)
    after = await one.answers()
    # What was remembered of damaged rows is forgotten: what follows is written on mended ones.
    await one.write(one.say("thing:a", "rate", 50, 20), one.say("thing:b", "motto", "loud otter", 20))
    third = await one.rebuilt(repair=False)
    await one.store.close()

    found = {(drift.view, drift.what) for drift in dry}
    assert expected <= found, dry
    assert expected <= {(drift.view, drift.what) for drift in first}
    assert all(drift.repaired for drift in first)
    assert not any(drift.repaired for drift in dry)
    assert second == []
    assert after == before
    assert third == []


@pytest.mark.parametrize("damage", SQLITE)
async def test_sqlite_is_mended(damage: str, tmp_path: Path) -> None:
    one = await told("sqlite", tmp_path, None)
    await mends(one, *SQLITE[damage])


@pytest.mark.parametrize("damage", NEO4J)
async def test_neo4j_is_mended(damage: str, tmp_path: Path, neo4j_url: str) -> None:
    one = await told("neo4j", tmp_path, neo4j_url)
    await mends(one, *NEO4J[damage])
