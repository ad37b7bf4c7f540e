"""A view of what entities were said to be over time, that follows the change feed.

The feed says which facts came, went or were erased; those are read, their series built again, and all others are as
they were. The first time it is followed from its beginning: a page of it costs the same however long a history is. Of
one series no more than the latest facts are held. A view lives in the process and may be dropped at any time: what it
would say is in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from latewood.graph_schema.errors import LimitError
from latewood.graph_schema.events import EventKind, LedgerEntry
from latewood.graph_schema.model import Cardinality, Fact, Node, NodeKind
from latewood.graph_schema.packs.loader import core_pack
from latewood.graph_schema.patterns import DeclaredRun
from latewood.reasoning.patterns.affairs import decisions_taken, disputes
from latewood.reasoning.patterns.memo import Memo
from latewood.reasoning.patterns.port import World
from latewood.reasoning.patterns.series import Held, Series, told_of, world_of
from latewood.storage.port import PAGE_MAX, GraphStore, NodeQuery

__all__ = ["FACTS_READ_MAX", "VIEW_FACTS_MAX", "View", "read_world"]

FACTS_READ_MAX: Final = 2_000_000
"""Most facts that are held for one look."""
VIEW_FACTS_MAX: Final = 500_000
"""Most facts that a view goes on holding between two looks; above, each look reads all."""
_FOLLOWED_MAX: Final = 50_000
"""Most rows of the feed that are followed; after more, all is read again."""
_SUBJECTS_MAX: Final = 200_000
_IDS_A_READ: Final = 2_000
_OWN_TYPES: Final = frozenset({"proposal"})
_LEDGER: Final = "knowledge"


async def read_world(store: GraphStore, space: str) -> World:
    """Gather everything that entities were said to be over time.

    Raises:
        LimitError: code ``limit.exceeded`` above `FACTS_READ_MAX` facts.
    """
    view = View(store, space)
    await view.read()
    return await view.world()


@dataclass(frozen=True, slots=True)
class _Touched:
    """What the feed says has changed: facts with their subjects, nodes; *erased* when words went, wherever."""

    facts: Mapping[str, str]
    nodes: frozenset[str]
    erased: bool

    @classmethod
    def by(cls, entries: Iterable[LedgerEntry]) -> _Touched:
        facts: dict[str, str] = {}
        nodes: set[str] = set()
        erased = False
        for entry in entries:
            event = entry.event
            if event.kind in (EventKind.ASSERTED, EventKind.ABSENT):
                facts[event.id] = event.subject
            elif event.kind is EventKind.RETRACTED and event.target is not None:
                facts[event.target] = event.subject
            elif event.kind is EventKind.DECLARED:
                nodes.add(event.id)
            elif event.kind is EventKind.ERASED:
                erased = True
        return cls(facts, frozenset(nodes), erased)


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _IDS_A_READ] for start in range(0, len(ids), _IDS_A_READ))


class View:
    """What a look is about, of one space.

    Attributes:
        facts: how many facts it holds.
        seq: the ledger's row that it has got to; None before it is read.
        news: whether anything has changed since it was last set to False.
    """

    def __init__(self, store: GraphStore, space: str, declared: tuple[DeclaredRun, ...] = ()) -> None:
        """Follow *space* of *store*, with what packs declare; nothing is read yet."""
        self._declared = declared
        self._store = store
        self._space = space
        self._told: dict[tuple[str, str], Held] = {}
        self._built: dict[tuple[str, str], Series] = {}
        self._multi: frozenset[str] = frozenset()
        self._names: dict[str, str] = {}
        self.facts = 0
        self._origins: dict[tuple[str, str], int] = {}
        self._disputed: set[tuple[str, str]] = set()
        self._denied: set[tuple[str, str]] = set()
        self._decisions: set[str] = set()
        self.seq: int | None = None
        self.news = True
        self.memo = Memo()

    async def refresh(self) -> None:
        """Follow the feed to its head, or read all where there is no telling.

        Raises:
            LimitError: as `read_world` does.
        """
        if self.seq is None or self.facts > VIEW_FACTS_MAX:
            await self.read()
            return
        entries: list[LedgerEntry] = []
        after = self.seq
        while True:
            page = await self._store.feed(self._space, _LEDGER, after, PAGE_MAX)
            entries += page
            if not page or len(entries) > _FOLLOWED_MAX:
                break
            after = page[-1].seq
        touched = _Touched.by(entries)
        if len(entries) > _FOLLOWED_MAX or touched.erased:
            await self.read()
            return
        await self._declare(touched.nodes)
        await self._tell([fact for fact, subject in touched.facts.items() if subject in self._names])
        if any(held.short for held in self._told.values()):
            await self.read()
            return
        self.news |= not self._decisions.isdisjoint(touched.facts.values())
        self.seq = after

    async def world(self) -> World:
        """Return the world as it was last read."""
        rules = await self._store.predicates(self._space)
        multi = frozenset(name for name, rule in rules.items() if rule.cardinality is Cardinality.MULTI)
        if multi != self._multi:
            self._built.clear()
            self._multi = multi
        world = world_of(self._told, self._built, multi, self._names, self.memo)
        single = [place for place in self._disputed if place[1] not in multi]
        # Values that hold side by side are at odds only with who says that one does not hold.
        several = [place for place in self._disputed & self._denied if place[1] in multi and not self._is_cut(place)]
        taken, shaken = await decisions_taken(self._store, self._space)
        self._decisions |= {one.decision for one in (*taken, *shaken)}
        return replace(
            world, declared=self._declared, disputes=await disputes(self._store, self._space, single, several),
            taken=taken, shaken=shaken,
        )  # fmt: skip

    def _is_cut(self, place: tuple[str, str]) -> bool:
        """Tell whether so much was said there that only the latest is looked at, which the world says."""
        return place in self._told and self._told[place].latest()[1] is not None

    async def read(self) -> None:
        """Read all, in place of what is held. Raises LimitError."""
        space = next((one for one in await self._store.spaces() if one.name == self._space), None)
        self._told, self._built, self._names, self.facts, self.seq = {}, {}, {}, 0, None
        self._origins, self._disputed, self._denied, self.news = {}, set(), set(), True
        # What comes while it is read is read by the next refresh.
        seq = 0 if space is None else space.seq.get(_LEDGER, 0)
        await self._read_entities()
        after = 0
        while self._names and after < seq:
            page = await self._store.feed(self._space, _LEDGER, after, PAGE_MAX)
            if not page:
                break
            after = page[-1].seq
            said = (one.event for one in page if one.event.kind in (EventKind.ASSERTED, EventKind.ABSENT))
            await self._tell([event.id for event in said if event.subject in self._names])
        self.seq = seq

    def _hear(self, facts: Iterable[Fact]) -> None:
        """Note where more than one source spoke, and where one said that something is not so."""
        for fact in facts:
            place = (fact.subject_id, fact.predicate)
            if fact.source is not None:
                origin = hash(fact.source.origin)
                if self._origins.setdefault(place, origin) != origin:
                    self._disputed.add(place)
            if fact.absent:
                self._denied.add(place)

    def _keep(self, facts: Iterable[Fact]) -> None:
        """Take in what *facts* say now, or no longer say."""
        for fact in facts:
            told, place = told_of(fact), (fact.subject_id, fact.predicate)
            self.news |= fact.absent
            held = self._told.get(place, Held())
            before = len(held)
            if not held.put(fact.id, told):
                continue
            self.news = True
            self._built.pop(place, None)
            self.facts += len(held) - before
            self._told[place] = held
            if not held:
                del self._told[place]
        if self.facts > FACTS_READ_MAX:
            msg = f"a look takes at most {FACTS_READ_MAX:,} facts, and the space {self._space!r} has more; split it"
            raise LimitError(msg, code="limit.exceeded", maximum=FACTS_READ_MAX)

    async def _read_entities(self) -> None:
        after: str | None = None
        while True:
            query = NodeQuery(NodeKind.ENTITY, first=PAGE_MAX, after=after)
            page = await self._store.list_nodes(self._space, query)
            self._name(page.items)
            after = page.next
            if after is None:
                return

    def _name(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node.kind is NodeKind.DECISION:
                self._decisions.add(node.id)
            if node.kind is NodeKind.ENTITY and node.type not in _OWN_TYPES and not node.erased:
                name = node.key or node.name
                self.news |= self._names.get(node.id) != name
                self._names[node.id] = name
        if len(self._names) > _SUBJECTS_MAX:
            msg = f"a look takes at most {_SUBJECTS_MAX:,} entities, and the space {self._space!r} has more; split it"
            raise LimitError(msg, code="limit.exceeded", maximum=_SUBJECTS_MAX)

    async def _declare(self, ids: Iterable[str]) -> None:
        for part in _parts(sorted(ids)):
            self._name((await self._store.nodes(self._space, ids=part)).values())

    async def _tell(self, ids: Sequence[str]) -> None:
        own = core_pack().predicates
        for part in _parts(ids):
            facts = await self._store.facts_by_id(self._space, part)
            self._hear(facts.values())
            self._keep(fact for fact in facts.values() if fact.predicate not in own)
