"""The stores that the kit is run against."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from neo4j import GraphDatabase
from neo4j_server import NEO4J

from latewood.graph_schema.clock import Clock
from latewood.graph_schema.ids import IdSource
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.storage.neo4j.database import Address
from latewood.storage.neo4j.store import Neo4jStore
from latewood.storage.port import GraphStore
from latewood.storage.reference import ReferenceStore
from latewood.storage.sqlite.store import SqliteStore


class Maker(Protocol):
    """Makes fresh stores for the kit, opens them again, and clears up after long runs."""

    async def fresh(self, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore: ...

    async def again(self, store: GraphStore, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore: ...

    def discard(self, store: GraphStore) -> None: ...


class MakeReference:
    def __init__(self, folder: Path) -> None:
        pass

    async def fresh(self, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore:
        return ReferenceStore(clock=clock, ids=ids, words=words)

    async def again(self, store: GraphStore, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore:
        assert isinstance(store, ReferenceStore)
        return store.opened_again(clock=clock, ids=ids, words=words)

    def discard(self, store: GraphStore) -> None:
        pass


class MakeSqlite:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._paths: dict[int, Path] = {}

    async def _open(self, path: Path, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore:
        store = await SqliteStore.open(path, clock=clock, ids=ids, words=words, sync="normal")
        self._paths[id(store)] = path
        return store

    async def fresh(self, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore:
        return await self._open(self._folder / f"{next(self._numbers)}.db", clock, ids, words)

    async def again(self, store: GraphStore, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore:
        return await self._open(self._paths[id(store)], clock, ids, words)

    def discard(self, store: GraphStore) -> None:
        path = self._paths.pop(id(store))
        for part in path.parent.glob(path.name + "*"):
            part.unlink()


class MakeNeo4j:
    """Empties the one database of the server before each store; its indexes stay, spaces are numbered from 1 again."""

    def __init__(self, folder: Path) -> None:
        self._url = NEO4J.url()

    async def fresh(self, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore:
        empty_neo4j(self._url)
        return await Neo4jStore.open(self._url, clock=clock, ids=ids, words=words)

    async def again(self, store: GraphStore, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore:
        return await Neo4jStore.open(self._url, clock=clock, ids=ids, words=words)

    def discard(self, store: GraphStore) -> None:
        pass


def empty_neo4j(url: str) -> None:
    address = Address.parse(url)
    with (
        GraphDatabase.driver(address.uri, auth=(address.user, address.password)) as driver,
        driver.session(database=address.database) as session,
    ):
        # What tells that the schema is there stays: making it anew took half of the time of a short test.
        session.run(
            "MATCH (n) WHERE NOT n:Latewood OR n.name <> 'Latewood' "
            "CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS"
        ).consume()
        session.run("MATCH (c:Latewood) REMOVE c.spaces, c.generations").consume()


STORES: Final[dict[str, Callable[[Path], Maker]]] = {
    "reference": MakeReference,
    "sqlite": MakeSqlite,
    "neo4j": MakeNeo4j,
}
