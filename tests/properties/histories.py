"""Holds a store to the reference over random histories, many in one space and many in one transaction.

Run it for long with `python tests/properties/histories.py [HISTORIES] [SEED]`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

from latewood.graph_schema.clock import AsOf, ManualClock, Micros, from_micros, to_micros
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.errors import LatewoodError
from latewood.graph_schema.events import EventKind, LedgerEntry, Receipt
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.model import LEDGERS, Fact, NodeKind
from latewood.storage.port import Committed, FactQuery, GraphStore, NodeQuery, Page, Point
from latewood.storage.reference import ReferenceStore

sys.path.insert(0, str(Path(__file__).parents[1]))
from conformance.stores import Maker, MakeSqlite
from properties.stories import HOUR, SEARCHED, START, VALID, WORDS, Story

BATCH: Final = 60
"""Histories that share a space, and every round a transaction."""
ROUNDS: Final = 6
PROBES: Final = tuple(sorted({t + d for t in VALID for d in (-1, 0, 1)}))
_SINGLES: Final = frozenset({"rate", "limit", "delay", "status"})
T = TypeVar("T")


def examples(usual: int) -> int:
    """Scale a number of examples by LATEWOOD_EXAMPLES."""
    return max(1, round(usual * float(os.environ.get("LATEWOOD_EXAMPLES", "1"))))


def told(answer: Committed) -> object:
    """Bring an answer into a form that can be compared."""
    if isinstance(answer, LatewoodError):
        return type(answer).__name__, answer.code, answer.message, answer.details
    return answer


def row_of(entry: LedgerEntry, keys: dict[bytes, int]) -> object:
    """Show a ledger row without what is random in each store: secrets, salts and what follows from them."""
    key = None if entry.event.key is None else keys.setdefault(entry.event.key, len(keys))
    event = replace(entry.event, key=None)
    if event.kind is EventKind.ERASED:
        event = replace(event, payload={**event.payload, "keys": sorted(event.payload["keys"].values())})
    return event, key, entry.seq, entry.unit, entry.recorded_at, entry.written_at, entry.op is None, entry.body


async def pages(read: Callable[[str | None], Awaitable[Page[T]]]) -> list[T]:
    """Read a list to its end."""
    found: list[T] = []
    after: str | None = None
    while True:
        page = await read(after)
        found += page.items
        if page.next is None:
            return found
        after = page.next


def asof(valid_at: Micros | None, known_at: Micros | None) -> AsOf:
    return AsOf(
        None if valid_at is None else from_micros(valid_at), None if known_at is None else from_micros(known_at)
    )


@dataclass(slots=True)
class Batch:
    """Two stores, the same stories told to both."""

    seed: int
    reference: GraphStore
    store: GraphStore
    clocks: tuple[ManualClock, ManualClock]
    rng: random.Random
    stories: list[Story]
    subjects: list[str] = field(default_factory=list[str])
    known: list[Micros] = field(default_factory=list[Micros])
    heads: list[Micros] = field(default_factory=list[Micros])
    units: list[str] = field(default_factory=list[str])
    frozen: dict[tuple[Micros, Micros], tuple[Fact, ...]] = field(default_factory=dict)

    async def same(self, what: str, ask: Callable[[GraphStore], Awaitable[T]]) -> T:
        """Ask both, compare, and return the answer."""
        expected, found = await ask(self.reference), await ask(self.store)
        assert found == expected, (
            f"seed {self.seed}, {what}:\n reference {expected!r:.3000}\n found     {found!r:.3000}"
        )
        return expected

    async def round(self) -> None:
        """Let every story write once, in one transaction."""
        step = self.rng.choice((0, 1, HOUR, HOUR, HOUR, -HOUR))
        for clock in self.clocks:
            clock.advance(micros=step)
        keys = [key for story in self.stories for key in story.keys]
        nodes = await self.reference.nodes("default", keys=keys)
        versions = {key: node.version for key, node in nodes.items()}
        units = [story.unit(versions) for story in self.stories if self.rng.random() < 0.9]
        self.rng.shuffle(units)
        answers = await self._commit(units)
        self.units += [unit.id for unit in units]
        nodes = await self.same("nodes by key", lambda store: store.nodes("default", keys=keys))
        self.subjects = sorted({node.id for node in nodes.values()})
        fresh = [to_micros(one.recorded_at) for one in answers
                 if isinstance(one, Receipt) and one.recorded_at and not one.replayed]  # fmt: skip
        if not fresh:
            return
        self.heads.append(fresh[-1])
        self.known += {fresh[0] - 1, fresh[0], fresh[-1] - 1, fresh[-1], self.rng.choice(fresh)}
        for valid_at in self.rng.sample(PROBES, 3):
            self.frozen[valid_at, fresh[-1]] = await self.facts(valid_at, fresh[-1])
        # Invariant 4: as of now is current.
        assert await self.facts(None, None) == await self.facts(None, max(fresh))

    async def _commit(self, units: Sequence[Unit]) -> list[Committed]:
        expected, found = await self.reference.commit(units), await self.store.commit(units)
        for unit, one, other in zip(units, expected, found, strict=True):
            assert told(one) == told(other), f"seed {self.seed}, {unit}:\n reference {one!r}\n found     {other!r}"
        return list(expected)

    async def facts(self, valid_at: Micros | None, known_at: Micros | None) -> tuple[Fact, ...]:
        """Compare what holds of every story at an instant, and hold the answer to the invariants."""
        query, at = FactQuery(subjects=self.subjects), asof(valid_at, known_at)
        found = await self.same(f"facts at {at}", lambda store: store.facts("default", query, at))
        singles = [(fact.subject_id, fact.predicate) for fact in found if fact.predicate in _SINGLES]
        assert len(singles) == len(set(singles)), f"seed {self.seed}: two facts hold for one single-valued key at {at}"
        return found

    async def compare(self, *, whole: bool) -> None:
        """Compare every read, at every boundary of both clocks when *whole*, else at a sample of them."""
        grid = list(itertools.product(PROBES, sorted(set(self.known) | {r + 1 for r in self.heads})))
        if not whole:
            ends = list(itertools.product(self.rng.sample(PROBES, 9), self.heads))
            grid = [*ends, *self.rng.sample(grid, 30)]
        for valid_at, known_at in grid:
            await self.facts(valid_at, known_at)
        for (valid_at, known_at), before in self.frozen.items():
            assert await self.facts(valid_at, known_at) == before, f"seed {self.seed}: history was rewritten"
        await self._ids()
        await self._lists()
        await self._ledger()

    async def _ids(self) -> None:
        facts = [fact for story in self.stories for fact in story.facts]
        for known_at in (None, *self.rng.sample(self.known, 2)):
            await self.same("facts by id", lambda store, r=known_at: store.facts_by_id("default", facts, known_at=r))
        times = [*self.known, None]
        points = [
            Point(fact, self.rng.choice((*PROBES, None)), self.rng.choice(times)) for fact in facts for _ in range(3)
        ]
        for part in range(0, len(points), 5_000):
            await self.same("held", lambda store, p=part: store.held("default", points[p : p + 5_000]))
        for unit in self.units:
            await self.same(f"receipt {unit}", lambda store, u=unit: self._receipt(store, u))
        for valid_at, known_at in zip(self.rng.sample(PROBES, 4), self.rng.choices(times, k=4), strict=True):
            query, at = FactQuery(objects=[*self.subjects[::3], *facts[::3]]), asof(valid_at, known_at)
            await self.same(f"pointing at {at}", lambda store, q=query, a=at: store.facts("default", q, a))
            for words in SEARCHED:
                await self.same(f"search {words!r} at {at}", lambda store, w=words, a=at: self._search(store, w, a))

    async def _receipt(self, store: GraphStore, unit: str) -> object:
        try:
            return await store.receipt(unit)
        except LatewoodError as error:
            return error.code

    async def _search(self, store: GraphStore, words: str, at: AsOf) -> list[str]:
        return sorted(hit.node.id for hit in await store.search_text("default", words, at=at, first=1000))

    async def _lists(self) -> None:
        rng, times = self.rng, [*self.known, None]
        some = rng.sample(self.subjects, min(6, len(self.subjects)))
        for subjects in (some, self.subjects):
            known_at, first = rng.choice(times), rng.choice((2, 7)) if subjects is some else 1000
            await self.same("timeline", lambda store, s=subjects, k=known_at, f=first: pages(
                lambda after: store.timeline("default", s, known_at=k, first=f, after=after)))  # fmt: skip
        bounds = sorted(rng.sample([*self.known, START - HOUR * 99, START + HOUR * 99], 2))
        for axis, subjects in itertools.product(("known", "valid"), (None, some)):
            first = 900 if subjects is None else rng.choice((1, 3))
            since, until = bounds if axis == "known" else sorted(rng.sample(PROBES, 2))
            await self.same(f"changes {axis}", lambda store, a=axis, s=subjects, f=first, b=since, e=until: pages(
                lambda after: store.changes("default", b, e, axis=a, subjects=s, first=f, after=after)))  # fmt: skip
        for query in (
            NodeQuery(first=500), NodeQuery(kind=NodeKind.SOURCE, first=3), NodeQuery(kind=NodeKind.PREDICATE),
            NodeQuery(where={"rate": ("granite", "2", "=Final"), "status": ("basalt", "true", "1")}, first=7),
            NodeQuery(where={"outcome": ("granite",)}, type="thing", first=30),
        ):  # fmt: skip
            at = asof(rng.choice(PROBES), rng.choice(times))
            await self.same(f"list {query}", lambda store, q=query, a=at: pages(
                lambda after: store.list_nodes("default", replace(q, after=after), a)))  # fmt: skip
        await self.same("predicates", lambda store: store.predicates("default"))
        await self.same("spaces", lambda store: store.spaces())

    async def _ledger(self) -> None:
        async def rows(store: GraphStore) -> list[object]:
            keys: dict[bytes, int] = {}
            found: list[object] = []
            while page := await store.feed("default", "knowledge", len(found), 1000):
                found += [row_of(entry, keys) for entry in page]
            return found

        ledger = await self.same("feed", rows)
        for store in (self.reference, self.store):
            for name in LEDGERS:
                verdict = await store.verify("default", name)
                assert verdict.ok, f"seed {self.seed}: {verdict}"
                assert name != "knowledge" or verdict.rows == len(ledger)
            guest = store.for_tenant("guest")
            assert await guest.facts("default", FactQuery(subjects=self.subjects)) == ()
            assert await guest.nodes("default", ids=self.subjects) == {}

    async def undone(self) -> None:
        """Invariant 3: a retracted fact holds nowhere from its retraction on, and did not vanish from before it."""
        changes = await pages(lambda after: self.store.changes("default", 0, 2**62, first=900, after=after))
        retracted = {one.fact.id: one.recorded_at for one in changes if one.kind is EventKind.RETRACTED}
        for valid_at in self.rng.sample(PROBES, 3):
            for known_at in self.heads:
                facts = await self.store.facts("default", FactQuery(subjects=self.subjects), asof(valid_at, known_at))
                assert all(retracted.get(fact.id, known_at + 1) > known_at for fact in facts), f"seed {self.seed}"


async def run_batch(
    seed: int, make: Maker, *, histories: int = BATCH, rounds: int = ROUNDS, whole: bool = False
) -> None:
    """Tell *histories* random stories to a fresh reference and a fresh store, and compare them."""
    rng = random.Random(seed)
    clocks = ManualClock(from_micros(START)), ManualClock(from_micros(START))
    reference = ReferenceStore(clock=clocks[0], ids=SequentialIds(1), words=WORDS)
    store = await make.fresh(clock=clocks[1], ids=SequentialIds(1), words=WORDS)
    ids = SequentialIds(2)
    stories = [Story(random.Random(rng.random()), f"{n}x", ids) for n in range(histories)]
    batch = Batch(seed, reference, store, clocks, rng, stories)
    try:
        for _ in range(rounds):
            await batch.round()
        await batch.compare(whole=whole)
        await batch.undone()
    finally:
        await store.close()
        make.discard(store)


async def run_many(histories: int, seed: int, make: Maker) -> int:
    """Run batches until *histories* were told; every tenth is compared at every boundary."""
    done = 0
    for number in range(-(-histories // BATCH)):
        size = min(BATCH, histories - done)
        await run_batch(seed + number, make, histories=size, whole=number % 10 == 0)
        done += size
    return done


def main() -> None:
    """Run from the command line."""
    histories = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**31)
    sys.stdout.write(f"seed {seed}\n")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        done = asyncio.run(run_many(histories, seed, MakeSqlite(Path(folder))))
    seconds = time.monotonic() - start
    sys.stdout.write(f"{done} histories, 0 differences, {seconds:.1f} s, {done / seconds:.0f} a second\n")


if __name__ == "__main__":
    main()
