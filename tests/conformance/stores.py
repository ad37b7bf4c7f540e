"""The stores that the kit is run against."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Final

from latewood.graph_schema.clock import Clock
from latewood.graph_schema.ids import IdSource
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.storage.conformance.scene import MakeStore
from latewood.storage.port import GraphStore
from latewood.storage.reference import ReferenceStore
from latewood.storage.sqlite.store import SqliteStore


class MakeReference:
    def __init__(self, folder: Path) -> None:
        pass

    async def fresh(self, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore:
        return ReferenceStore(clock=clock, ids=ids, words=words)

    async def again(self, store: GraphStore, *, clock: Clock, ids: IdSource, words: Vocabulary) -> GraphStore:
        assert isinstance(store, ReferenceStore)
        return store.opened_again(clock=clock, ids=ids, words=words)


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


STORES: Final[dict[str, Callable[[Path], MakeStore]]] = {"reference": MakeReference, "sqlite": MakeSqlite}
