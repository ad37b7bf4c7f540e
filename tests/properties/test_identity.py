"""Merges and splits among random histories: every store as the reference, the past as it was, and nothing lost.

What holds after a merge is held to what held before it: where the other node had nothing, it answers as the merged one
did; and a split on which nothing was written in between restores every answer.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from conformance.stores import STORES, Maker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties.histories import PROBES, Batch, asof, examples, told
from properties.stories import START, VALID, WORDS, Story

from latewood.graph_schema.clock import ManualClock, Micros, from_micros
from latewood.graph_schema.commands import Absorb, ActorSpec, Assert, Command, Ref, Release, Unit
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.identity import MERGED_INTO
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.model import Fact, Trust
from latewood.storage.moving import carries_back, carries_to, claims_of
from latewood.storage.port import FactQuery
from latewood.storage.reference import ReferenceStore

DAY: Micros = 24 * 3_600_000_000


class Merging:
    """Merges and splits in both stores of a batch, by the same units."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.ids = SequentialIds(5)

    async def write(self, *commands: Command) -> Receipt:
        for clock in self.batch.clocks:
            clock.advance(micros=DAY)
        unit = Unit(self.ids.new(), "default", ActorSpec("human:ada"), Trust.HUMAN, body_digest(""), commands)
        answers = [(await store.commit([unit]))[0] for store in (self.batch.reference, self.batch.store)]
        assert told(answers[0]) == told(answers[1]), f"seed {self.batch.seed}, {unit}"
        assert isinstance(answers[0], Receipt), answers[0]
        self.batch.heads.append(self.batch.clocks[0].now())
        self.batch.known.append(self.batch.clocks[0].now())
        return answers[0]

    async def merge(self, one: str, other: Ref) -> None:
        found = await self.batch.same("claims", lambda store: claims_of(store, "default", one))
        into = other.id or ""
        if other.id is None:
            receipt = await self.write(Absorb(self.ids.new(), Ref(id=one), other, "one"))
            into = next(iter(receipt.nodes.values()))
            await self.write(*carries_to(found, one, into, self.ids))
            return
        moves = carries_to(found, one, into, self.ids)
        await self.write(Absorb(self.ids.new(), Ref(id=one), other, "one"), *moves)

    async def split(self, one: str) -> None:
        query = FactQuery(subjects=[one], predicates=[MERGED_INTO])
        (fact,) = await self.batch.same("merge", lambda store: store.facts("default", query))
        into = fact.object_id or ""
        while said := (await self.batch.reference.nodes("default", ids=[into]))[into].attributes.get(MERGED_INTO):
            into = str(said)
        claims = await self.batch.same("claims", lambda store: claims_of(store, "default", into))
        moves = await carries_back(self.batch.reference, "default", one, claims, fact.recorded_at, self.ids)
        await self.write(Release(self.ids.new(), one, fact.id, "two"), *moves)

    async def merged(self) -> dict[str, str]:
        nodes = await self.batch.reference.nodes("default", ids=self.batch.subjects)
        found = {one: node.attributes.get(MERGED_INTO) for one, node in nodes.items()}
        return {one: into for one, into in found.items() if isinstance(into, str)}

    async def answers(self, names: dict[str, str]) -> list[object]:
        """Return what holds now at every boundary of valid time, and what points where; *names* renames nodes."""
        found: list[object] = []
        ids = self.batch.subjects + sorted(set(names) - set(self.batch.subjects))
        for valid_at in PROBES:
            for query in (FactQuery(subjects=ids), FactQuery(objects=ids)):
                facts = await self.batch.same(
                    f"facts at {valid_at}",
                    lambda store, q=query, t=valid_at: store.facts("default", q, asof(t, None)),
                )
                shown = (_shown(fact, names) for fact in facts if fact.predicate != MERGED_INTO)
                found.append(sorted(shown, key=repr))
        return found


def _shown(fact: Fact, names: dict[str, str]) -> object:
    """Show what a fact says without when and under which id it was written down."""
    target = None if fact.object_id is None else names.get(fact.object_id, fact.object_id)
    origin = None if fact.source is None else fact.source.origin
    said = None if fact.value is None else (fact.value.kind, repr(fact.value.data), fact.value.unit)
    subject = names.get(fact.subject_id, fact.subject_id)
    conflict = None if fact.conflict is None else fact.conflict.others
    return (
        subject, fact.predicate, said, target, fact.valid_from, fact.valid_to, fact.valid_from_known, fact.trust,
        origin, fact.as_written, conflict,
    )  # fmt: skip


async def started(seed: int, make: Maker, *, stories: int, rounds: int) -> tuple[Batch, Merging]:
    rng = random.Random(seed)
    clocks = ManualClock(from_micros(START)), ManualClock(from_micros(START))
    reference = ReferenceStore(clock=clocks[0], ids=SequentialIds(1), words=WORDS)
    store = await make.fresh(clock=clocks[1], ids=SequentialIds(1), words=WORDS)
    ids = SequentialIds(2)
    batch = Batch(
        seed, reference, store, clocks, rng, [Story(random.Random(rng.random()), f"{n}x", ids) for n in range(stories)]
    )
    merging = Merging(batch)
    keys = [key for story in batch.stories for key in story.keys]
    for _ in range(rounds):
        await batch.round()
        for _ in range(3):
            # What stories do not say: relations of which one holds, often from the same instant on.
            one, other = rng.choice(keys), rng.choice(keys)
            said = Assert(
                merging.ids.new(), Ref(key=one), "owner", object=Ref(key=other), valid_from=rng.choice(VALID[:3])
            )
            await merging.write(said)
    batch.subjects = sorted({node.id for node in (await reference.nodes("default", keys=keys)).values()})
    return batch, merging


async def mix(seed: int, make: Maker, *, stories: int = 5, rounds: int = 3, moves: int = 6) -> int:
    """Merge and split at random among stories that go on meanwhile; compare everything; return how many there were."""
    batch, merging = await started(seed, make, stories=stories, rounds=rounds)
    rng, done = batch.rng, 0
    try:
        for _ in range(moves):
            merged = await merging.merged()
            alone = [one for one in batch.subjects if one not in merged]
            if merged and rng.random() < 0.45:
                await merging.split(rng.choice(sorted(merged)))
                done += 1
            elif len(alone) > 1:
                one, other = rng.sample(alone, 2)
                await merging.merge(one, Ref(id=other))
                done += 1
            if rng.random() < 0.5:
                await batch.round()
        await batch.compare(whole=False)
        await batch.undone()
        step, after = 0, None
        while True:
            found = await batch.store.rebuild("default", after=after, repair=False)
            assert found.found == (), f"seed {seed}"
            step, after = step + 1, found.next
            if after is None:
                break
    finally:
        await batch.store.close()
        make.discard(batch.store)
    return done


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        pytest.param(name, seed, marks=[pytest.mark.slow] if name == "neo4j" and seed else [])
        for name in STORES
        for seed in range(3)
        if name != "reference"
    ],
)
async def test_stores_merge_and_split_alike_and_the_past_stays(name: str, seed: int, tmp_path: Path) -> None:
    assert await mix(seed, STORES[name](tmp_path)) > 2


@settings(
    max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # fmt: skip
@given(seed=st.integers(0, 2**32))
async def test_a_node_that_had_nothing_answers_as_the_merged_one_did(seed: int, tmp_path: Path) -> None:
    make = STORES["reference"](tmp_path)
    batch, merging = await started(seed, make, stories=2, rounds=4)
    if not batch.subjects:
        return
    one = batch.rng.choice(batch.subjects)
    before = await merging.answers({})
    await merging.merge(one, Ref(key="thing:fresh"))
    fresh = (await batch.reference.nodes("default", keys=["thing:fresh"]))["thing:fresh"].id
    assert await merging.answers({fresh: one}) == before
    await merging.split(one)
    assert await merging.answers({fresh: one}) == before


@settings(
    max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # fmt: skip
@given(seed=st.integers(0, 2**32))
async def test_a_split_restores_every_answer(seed: int, tmp_path: Path) -> None:
    make = STORES["reference"](tmp_path)
    batch, merging = await started(seed, make, stories=2, rounds=4)
    if len(batch.subjects) < 2:
        return
    one, other = batch.rng.sample(batch.subjects, 2)
    before = await merging.answers({})
    await merging.merge(one, Ref(id=other))
    await merging.split(one)
    assert await merging.answers({}) == before
