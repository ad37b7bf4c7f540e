"""The composition root: from an address to a store with its journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from latewood.graph_schema.clock import Clock, SystemClock
from latewood.graph_schema.commands import Carry, Unit
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import IdSource, RandomIds
from latewood.graph_schema.packs.loader import Pack, declared_runs, vocabulary
from latewood.ingestion.embedding.choice import Choice
from latewood.ingestion.embedding.port import Embedder
from latewood.ingestion.embedding.tolerant import TolerantEmbedder
from latewood.memory.counting import CountedJournal
from latewood.memory.embedding import Embedding
from latewood.memory.settings import Settings, Sync, given_packs, pack_of
from latewood.memory.views import Views
from latewood.storage.journal import GROUP_UNITS_MAX, Journal
from latewood.storage.port import GraphStore

__all__ = ["Engine", "chosen", "file_of", "open_engine"]

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
    embedding: Embedding | None = None
    views: Views = field(default_factory=Views, repr=False)
    open: bool = field(default=True)
    _replaying: bool = field(default=False, repr=False)

    async def submit(self, store: GraphStore, unit: Unit) -> Receipt:
        """Keep *unit* with the vectors of its texts, where they can be had. Raises as `Journal.submit` does."""
        if self.embedding is not None:
            (unit,) = await self.embedding.prepare(store, [unit])
        receipt = await self.journal.submit(store, unit)
        moved = [command.id for command in unit.commands if isinstance(command, Carry)]
        if moved and self.embedding is not None and not receipt.replayed:
            await self.embedding.say_again(store, unit.space, moved)
        return receipt

    async def submit_many(self, store: GraphStore, units: Sequence[Unit]) -> tuple[Receipt, ...]:
        """Keep *units* in order with their vectors. Raises as `Journal.submit_many` does."""
        receipts: list[Receipt] = []
        # Part by part: the vectors of a long list are never all held at once.
        for begin in range(0, len(units), GROUP_UNITS_MAX):
            part = units[begin : begin + GROUP_UNITS_MAX]
            if self.embedding is None:
                receipts += await self.journal.submit_many(store, part)
            else:
                receipts += await self._submit_part(self.embedding, store, part)
        return tuple(receipts)

    async def _submit_part(self, embedding: Embedding, store: GraphStore, units: Sequence[Unit]) -> tuple[Receipt, ...]:
        """Keep some of many units. After a part that was all known already, as in a second run of an import, the next
        is handed in first and only what was new in it is embedded: models are slow, and a replay needs no vectors.
        """
        replaying, self._replaying = self._replaying, False
        ready = units if replaying else await embedding.prepare(store, units)
        receipts = await self.journal.submit_many(store, ready)
        new = [unit for unit, receipt in zip(units, receipts, strict=True) if not receipt.replayed]
        if replaying and new:
            await embedding.follow(store, new)
        self._replaying = not new
        return receipts

    async def close(self) -> None:
        """Commit what waits, then let go of the store."""
        if self.open:
            await self.journal.close()
            await self.store.close()
            if self.embedding is not None:
                await self.embedding.close()
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


def _embedding(given: str | Embedder | None) -> Embedding | None:
    if isinstance(given, Embedder):
        return Embedding(TolerantEmbedder(lambda: given))
    choice = chosen(given)
    return None if choice.kind == "none" else Embedding(TolerantEmbedder(choice.open))


def chosen(given: str | None) -> Choice:
    """Return the embedder that *given* or else the environment names, with what the environment says of it.

    Raises:
        InvalidError: code ``setting.invalid``.
    """
    if given == "none":
        # Asks nothing of the environment: `doctor` opens a store though the settings are what is wrong.
        return Choice("none")
    settings = Settings.read().embedder
    if given is None:
        return settings
    return Choice.read(given, key=settings.key, threads=settings.threads, dimensions=settings.dimensions)


async def open_engine(
    url: str, *, tenant: str = "local", packs: Sequence[Pack | str] = (), sync: Sync = "full",
    clock: Clock | None = None, ids: IdSource | None = None, embedder: str | Embedder | None = None,
) -> Engine:  # fmt: skip
    """Open the store at *url*. The embedder is opened when it is first needed. Without *packs* those of the settings.

    Raises:
        InvalidError: code ``store.url_invalid``, ``setting.invalid`` for an embedder or a pack that cannot be read.
        LatewoodError: whatever the store has to say: a newer schema, no database, no permission.
    """
    known = tuple(pack_of(one) for one in packs) or given_packs()
    clock, ids, words = clock or SystemClock(), ids or RandomIds(), vocabulary(known)
    if not url or "\0" in url:
        raise InvalidError(f"no store is named; use {_FORMS}", code="store.url_invalid", url=url)
    embedding = _embedding(embedder)
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
    return Engine(store, CountedJournal(), clock, ids, embedding, Views(declared_runs(known)))
