"""Several processes on one database: each has a store of its own here, with what it remembers and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conformance.stores import empty_neo4j
from simulation.ledgers import check_store

from latewood.graph_schema.commands import ActorSpec, Assert, Ref, Unit
from latewood.graph_schema.errors import ConflictError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import RandomIds
from latewood.graph_schema.model import LedgerName, Trust
from latewood.graph_schema.values import Value
from latewood.memory import Memory
from latewood.storage.neo4j import listing, verifying
from latewood.storage.neo4j.database import Address, Engine, Row
from latewood.storage.neo4j.migrations import SCHEMA_VERSION
from latewood.storage.neo4j.store import Neo4jStore
from latewood.storage.port import FactQuery

_IDS = RandomIds()


@pytest.fixture
async def pair(neo4j_url: str) -> AsyncIterator[tuple[Neo4jStore, Neo4jStore]]:
    empty_neo4j(neo4j_url)
    one, other = await Neo4jStore.open(neo4j_url), await Neo4jStore.open(neo4j_url)
    try:
        yield one, other
    finally:
        await one.close()
        await other.close()


def _says(key: str, value: int, ledger: LedgerName = "knowledge") -> Unit:
    said = (Assert(_IDS.new(), Ref(key=key), "level", Value("integer", value)),)
    return Unit(_IDS.new(), "default", ActorSpec("agent:a"), Trust.AGENT, b"", said, ledger=ledger)


async def _write(store: Neo4jStore, unit: Unit) -> None:
    (answer,) = await store.commit([unit])
    assert isinstance(answer, Receipt), answer


async def _levels(store: Neo4jStore, key: str) -> list[str]:
    (node,) = (await store.nodes("default", keys=[key])).values()
    facts = await store.facts("default", FactQuery(subjects=[node.id], predicates=["level"]))
    return [fact.value.text() for fact in facts if fact.value is not None]


async def test_what_another_wrote_to_the_other_ledger_is_not_overlooked(pair: tuple[Neo4jStore, Neo4jStore]) -> None:
    one, other = pair
    await _write(one, _says("run:1", 1))
    await _write(other, _says("run:1", 2, "execution"))
    await _write(one, _says("run:1", 3))

    assert await _levels(one, "run:1") == ["3"]
    await check_store(other)


async def test_two_ledgers_of_a_space_are_written_at_once_by_several(pair: tuple[Neo4jStore, Neo4jStore]) -> None:
    async def writer(store: Neo4jStore, ledger: LedgerName) -> None:
        for number in range(25):
            await _write(store, _says(f"run:{number % 3}", number, ledger))

    one, other = pair
    await asyncio.gather(writer(one, "knowledge"), writer(other, "execution"))

    await check_store(one)
    for number in range(3):
        assert len(await _levels(one, f"run:{number}")) == 1


async def test_a_space_that_another_made_first_leaves_no_index_behind(
    pair: tuple[Neo4jStore, Neo4jStore], neo4j_url: str
) -> None:
    engine = Engine(Address.parse(neo4j_url))
    for (name,) in engine.once("SHOW FULLTEXT INDEXES YIELD name RETURN name"):
        # An emptied database has those of spaces before.
        engine.once(f"DROP INDEX {name}")
    await pair[0].create_space("lab")
    made = await asyncio.gather(*(store.create_space("ops") for store in pair * 3), return_exceptions=True)
    refused = [one for one in made if isinstance(one, BaseException)]
    indexes = engine.once("SHOW FULLTEXT INDEXES YIELD name WHERE name STARTS WITH 'latewood_words_' RETURN name")
    engine.shut()

    assert [type(one) for one in refused] == [ConflictError] * (len(made) - 1)
    assert len(indexes) == 2


async def test_an_erasure_while_the_ledger_is_verified_is_no_fault(
    pair: tuple[Neo4jStore, Neo4jStore], neo4j_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, loop, pages = listing.stored_rows, asyncio.get_running_loop(), 0
    async with Memory.open(neo4j_url, by="human:ada") as memory:
        for number in range(4):
            await memory.observe(f"item:{number}", "note", f"basalt {number}")

        def stored_rows(*asked: Any) -> list[Row]:
            nonlocal pages
            pages += 1
            rows = real(*asked)
            if pages == 1:
                # It takes rows of the last page, and its own row comes after the head that was read.
                erasing = memory.erase("item:3", reason="asked")
                asyncio.run_coroutine_threadsafe(erasing, loop).result(60)
            return rows

        monkeypatch.setattr(listing, "stored_rows", stored_rows)
        monkeypatch.setattr(verifying, "PAGE_MAX", 4)
        verdict = await pair[0].verify("default", "knowledge")

    assert verdict.ok, verdict
    assert verdict.erased
    assert pages > verdict.rows / 4 + 1


def _wipe(url: str) -> None:
    """Take the schema away too, as before the first opening ever."""
    empty_neo4j(url)
    engine = Engine(Address.parse(url))
    for (name,) in engine.once("SHOW CONSTRAINTS YIELD name RETURN name"):
        engine.once(f"DROP CONSTRAINT {name}")
    for (name,) in engine.once("SHOW INDEXES YIELD name, type WHERE type <> 'LOOKUP' RETURN name"):
        engine.once(f"DROP INDEX {name}")
    engine.once("MATCH (c:Latewood) DELETE c")
    # What an opening of before left that met another: two counters of spaces.
    engine.once("CREATE (:Latewood {name: 'Latewood', spaces: 1}), (:Latewood {name: 'Latewood', spaces: 2})")
    engine.shut()


async def test_a_new_database_is_opened_by_several_at_once(neo4j_url: str) -> None:
    await asyncio.to_thread(_wipe, neo4j_url)
    stores = await asyncio.gather(*(Neo4jStore.open(neo4j_url) for _ in range(5)))
    try:
        made = [
            one for name in ("ops", "lab")
            for one in await asyncio.gather(*(store.create_space(name) for store in stores), return_exceptions=True)
        ]  # fmt: skip
        engine = Engine(Address.parse(neo4j_url))
        kept = engine.once("MATCH (c:Latewood) RETURN c.schema, c.spaces")
        spaces = engine.once("MATCH (s:Space) RETURN s.space, s.name")
        engine.shut()
    finally:
        for store in stores:
            await store.close()

    assert len([one for one in made if not isinstance(one, BaseException)]) == 2
    assert {type(one) for one in made if isinstance(one, BaseException)} == {ConflictError}
    ((schema, counted),) = kept
    assert schema == SCHEMA_VERSION
    assert sorted(name for _, name in spaces) == ["default", "lab", "ops"]
    assert len({number for number, _ in spaces}) == 3
    assert counted >= max(number for number, _ in spaces) > 2
