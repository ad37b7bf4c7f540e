"""What resolvers share: a *view* of the graph per root field, with loaders that batch into many-ids reads.

Resolvers return the plain dataclasses that every surface returns. Those do not say at which instant and in which space
they were read, so a nested resolver finds its view by the root field that its path begins at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, TypeAlias

import strawberry
from graphql.pyutils import Path
from starlette.websockets import WebSocket
from strawberry.dataloader import DataLoader
from strawberry.fastapi import BaseContext

from latewood.execution.webhooks import Targets
from latewood.graph_schema.clock import NOW, AsOf
from latewood.graph_schema.errors import ForbiddenError, LimitError, RefusedError
from latewood.graph_schema.model import Decision, Fact, Node
from latewood.memory import Memory
from latewood.memory.keys import Keys
from latewood.server.graphql.connections import cut
from latewood.server.identity import Caller
from latewood.storage.port import IDS_MAX, PAGE_MAX, Page

__all__ = ["OBJECTS_MAX", "Context", "Info", "Trusted", "View"]

OBJECTS_MAX: Final = 100_000
"""Most objects that the lists of one operation may show together."""


class Trusted(Protocol):
    """What knows which documents may be run."""

    def check(self, text: str) -> None:
        """Refuse a document that may not. Raises RefusedError."""
        ...


class View:
    """One space as of one pair of instants. Whatever is asked in the same turn of the loop is read at once.

    A now that the caller left open is settled once, when something first depends on it (see `settled`).
    """

    def __init__(self, memory: Memory, at: AsOf = NOW) -> None:
        """Read what *memory* is bound to, as of *at*."""
        self.memory = memory
        self.at = at
        self.decisions: DataLoader[str, Decision | None] = DataLoader(self._decisions, IDS_MAX)
        self.nodes: DataLoader[str, Node | None] = DataLoader(self._nodes, IDS_MAX)
        self.facts: DataLoader[str, Fact | None] = DataLoader(self._facts, IDS_MAX)
        self.absorbed: DataLoader[str, tuple[Node, ...]] = DataLoader(self._absorbed, IDS_MAX)
        self._facts_of: dict[str | None, DataLoader[str, tuple[Fact, ...]]] = {}
        self._now: asyncio.Future[AsOf] | None = None
        self._timelines: dict[tuple[str | None, int], DataLoader[str, Page[Fact]]] = {}
        self._loaders: dict[str, DataLoader[str, Any]] = {}

    async def settled(self) -> AsOf:
        """Return the instants to read at: one now for all that an operation reads of a space.

        Otherwise two parts of one answer could lie on both sides of a fact's beginning.
        """
        if self.at.valid_at is not None:
            return self.at
        if self._now is None:
            self._now = asyncio.ensure_future(self._settle())
        # Shielded, since others wait for the same one.
        return await asyncio.shield(self._now)

    async def _settle(self) -> AsOf:
        return replace(self.at, valid_at=await self.memory.now())

    async def _decisions(self, ids: list[str]) -> list[Decision | None]:
        found = await self.memory.decisions_by_id(ids, await self.settled())
        return [found.get(one) for one in ids]

    async def _nodes(self, ids: list[str]) -> list[Node | None]:
        found = await self.memory.nodes_by_id(ids, self.at)
        return [found.get(one) for one in ids]

    async def _facts(self, ids: list[str]) -> list[Fact | None]:
        found = await self.memory.facts_by_id(ids, known_at=self.at.known_at)
        return [found.get(one) for one in ids]

    async def _absorbed(self, ids: list[str]) -> list[tuple[Node, ...]]:
        found = await self.memory.absorbed_of(ids, await self.settled())
        return [found[one] for one in ids]

    def loader(self, name: str, make: Callable[[], DataLoader[str, Any]]) -> DataLoader[str, Any]:
        """Return the loader of this name, made when it is first asked for."""
        if name not in self._loaders:
            self._loaders[name] = make()
        return self._loaders[name]

    def known(self, decisions: Iterable[Decision]) -> None:
        """Spare a second read of *decisions*, which a list has read already."""
        self.decisions.prime_many({one.id: one for one in decisions})

    def facts_of(self, predicate: str | None) -> DataLoader[str, tuple[Fact, ...]]:
        """Return the loader of the facts that hold of a node, all or those of one predicate."""

        async def load(ids: list[str]) -> list[tuple[Fact, ...]]:
            found: dict[str, list[Fact]] = {one: [] for one in ids}
            at = await self.settled()
            for fact in await self.memory.facts_of(ids, None if predicate is None else [predicate], at):
                found[fact.subject_id].append(fact)
            return [tuple(found[one]) for one in ids]

        return self._facts_of.setdefault(predicate, DataLoader(load, IDS_MAX))

    def timelines(self, predicate: str | None, first: int) -> DataLoader[str, Page[Fact]]:
        """Return the loader of the beginning of a node's timeline."""

        async def load(ids: list[str]) -> list[Page[Fact]]:
            return await self._timeline_pages(ids, None if predicate is None else [predicate], first)

        return self._timelines.setdefault((predicate, first), DataLoader(load, IDS_MAX))

    async def _timeline_pages(self, ids: list[str], predicates: Sequence[str] | None, first: int) -> list[Page[Fact]]:
        """Read all timelines as one page; only where that does not hold them whole, each alone."""
        if len(ids) > 1:
            page = await self.memory.timeline_of(ids, predicates, known_at=self.at.known_at, first=PAGE_MAX)
            if page.next is None:
                found: dict[str, list[Fact]] = {one: [] for one in ids}
                for fact in page.items:
                    found[fact.subject_id].append(fact)
                return [cut(found[one], first, lambda fact: fact.id) for one in ids]
        return [await self.memory.timeline_of([one], predicates, known_at=self.at.known_at, first=first) for one in ids]


class Context(BaseContext):
    """What one operation knows: the memory, its views by root field, and how much it has shown."""

    def __init__(
        self, memory: Memory | None, keys: Keys, trusted: Trusted | None = None, who: Caller | None = None,
        take: Callable[[str], int | None] | None = None, targets: Targets | None = None,
    ) -> None:  # fmt: skip
        """Serve from *memory*, where *trusted* is given only what it lets through.

        Args:
            memory: None until *who* asks is known: then nothing is served.
            targets: judges where webhooks may be called; None: public addresses.
            take: counts an operation of a caller, and says in how many seconds to come back when that is one too many.
        """
        super().__init__()
        self._memory = memory
        self.keys = keys
        self.targets = targets or Targets()
        self.head = 0
        """The last row that a subscription found already written; it has a context of its own."""
        self._trusted = trusted
        self._who = who
        self._take = take
        self._wait: int | None = None
        self._views: dict[str | int, View] = {}
        self._shared: dict[tuple[str | None, AsOf], View] = {}
        self._shown = 0

    def fresh(self) -> Context:
        """Return a context for another operation: over one socket several run side by side."""
        made = Context(self._memory, self.keys, self._trusted, self._who, self._take, self.targets)
        if self._take is not None and self._who is not None and isinstance(self.request, WebSocket):
            # A request is counted as it comes in; a socket's operations are counted here.
            made._wait = self._take(self._who.credential.id)
        return made

    @property
    def memory(self) -> Memory:
        """What is served. Raises ForbiddenError (``credential.missing``)."""
        if self._memory is None:
            msg = "this server asks for a credential: send Authorization with connection_init, or as a header"
            raise ForbiddenError(msg, code="credential.missing")
        return self._memory

    @property
    def known(self) -> bool:
        """Whether there is anybody to serve."""
        return self._memory is not None

    def admit(self, who: Caller) -> None:
        """Serve *who* from here on."""
        self._memory, self._who = who.memory, who

    async def still(self) -> bool:
        """Tell whether the caller's credential still counts; once it does not, nothing more is served."""
        if self._who is not None and not await self._who.still():
            self._memory = None
        return self.known

    def distrusts(self, document: str) -> RefusedError | None:
        """Return why *document* may not be run, or None."""
        if self._wait is not None:
            msg = f"this credential sends more operations than it may; come back in {self._wait} s"
            return LimitError(msg, code="rate.exceeded", retryAfter=self._wait)
        if self._trusted is None:
            return None
        try:
            self._trusted.check(document)
        except RefusedError as error:
            return error
        return None

    def look(self, info: Info, space: str | None, at: AsOf = NOW) -> View:
        """Bind the root field of *info* to a view; reads of one space and instant share it."""
        key = (space, at)
        view = self._shared.setdefault(key, View(self.memory.within(space=space), at))
        self._views[_root(info)] = view
        return view

    def write(self, info: Info, space: str | None) -> View:
        """Bind the root field of a mutation to a view of its own, which shows what it wrote."""
        view = self._views[_root(info)] = View(self.memory.within(space=space))
        return view

    def view(self, info: Info) -> View:
        """Return the view that the root field of *info* was bound to."""
        return self._views[_root(info)]

    def spend(self, count: int) -> None:
        """Count *count* more objects shown.

        Raises:
            LimitError: when the operation shows more than `OBJECTS_MAX`.
        """
        self._shown += count
        if self._shown > OBJECTS_MAX:
            msg = f"the answer has more than {OBJECTS_MAX:,} objects; ask for fewer with first:, or nest less deep"
            raise LimitError(msg, limit="OBJECTS_MAX", maximum=OBJECTS_MAX)


Info: TypeAlias = strawberry.Info[Context, None]


def _root(info: Info) -> str | int:
    path: Path = info.path
    while path.prev is not None:
        path = path.prev
    return path.key
