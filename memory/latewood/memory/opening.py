"""The composition root: from an address to a store with its journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from latewood.graph_schema.clock import Clock, SystemClock
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.ids import IdSource, RandomIds
from latewood.graph_schema.packs.loader import Pack, vocabulary
from latewood.memory.settings import Sync
from latewood.storage.journal import Journal
from latewood.storage.port import GraphStore

__all__ = ["Engine", "file_of", "open_engine"]

_FORMS: Final = (
    "a file path such as latewood.db, sqlite:///path/to/latewood.db, neo4j://user:password@host:7687/database, "
    "or reference: (in memory, for tests)"
)
_NEO4J: Final = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")


@dataclass(slots=True)
class Engine:
    """A store with the journal that writes to it, and the ids and the clock it runs on."""

    store: GraphStore
    journal: Journal
    clock: Clock
    ids: IdSource
    open: bool = field(default=True)

    async def close(self) -> None:
        """Commit what waits, then let go of the store."""
        if self.open:
            await self.journal.close()
            await self.store.close()
            self.open = False


def _is_neo4j(url: str) -> bool:
    scheme, colon, rest = url.partition("://")
    return bool(colon and rest) and scheme in _NEO4J


def _path(url: str) -> Path:
    scheme, colon, rest = url.partition(":")
    if not colon or len(scheme) == 1:
        return Path(url)
    if scheme != "sqlite" or not rest.startswith("///") or rest == "///":
        msg = f"{url!r} is not the address of a store; use {_FORMS}"
        raise InvalidError(msg, code="store.url_invalid", url=url)
    return Path(unquote(rest[3:]))


def file_of(url: str) -> Path | None:
    """Return the file that the store at *url* lives in, None for one that has no file.

    Raises:
        InvalidError: code ``store.url_invalid``.
    """
    return None if url == "reference:" or _is_neo4j(url) else _path(url)


async def open_engine(
    url: str, *, tenant: str = "local", packs: Sequence[Pack] = (), sync: Sync = "full",
    clock: Clock | None = None, ids: IdSource | None = None,
) -> Engine:  # fmt: skip
    """Open the store at *url*.

    Raises:
        InvalidError: code ``store.url_invalid``.
        LatewoodError: whatever the store has to say: a newer schema, no database, no permission.
    """
    clock, ids, words = clock or SystemClock(), ids or RandomIds(), vocabulary(packs)
    if not url or "\0" in url:
        raise InvalidError(f"no store is named; use {_FORMS}", code="store.url_invalid", url=url)
    # Loaded when needed: a process that only speaks to one store need not have the others.
    store: GraphStore
    if url == "reference:":
        from latewood.storage.reference import ReferenceStore

        store = ReferenceStore(tenant=tenant, clock=clock, ids=ids, words=words)
    elif _is_neo4j(url):
        from latewood.storage.neo4j.store import Neo4jStore

        store = await Neo4jStore.open(url, tenant=tenant, clock=clock, ids=ids, words=words)
    else:
        from latewood.storage.sqlite.store import SqliteStore

        store = await SqliteStore.open(_path(url), tenant=tenant, clock=clock, ids=ids, words=words, sync=sync)
    return Engine(store, Journal(), clock, ids)
