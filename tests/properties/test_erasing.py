"""Erasing over random histories: every store as the reference, and no other answer changes, of whatever instant."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from conformance.stores import STORES, Maker
from properties.histories import PROBES, Batch, asof, pages
from properties.stories import START, WORDS, Story

from latewood.graph_schema.clock import ManualClock, Micros, from_micros
from latewood.graph_schema.commands import ActorSpec, Erase, Unit
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.model import Fact, Node, NodeKind, Trust
from latewood.storage.port import FactQuery, NodeQuery
from latewood.storage.reference import ReferenceStore

Snapshot = dict[tuple[Micros | None, Micros | None], tuple[Fact, ...]]


async def nodes_of(batch: Batch) -> dict[str, Node]:
    """Return every node, of whatever kind, by id."""
    found: dict[str, Node] = {}
    for kind in NodeKind:
        listed = await batch.same(f"nodes {kind}", lambda store, k=kind: pages(
            lambda after: store.list_nodes("default", NodeQuery(k, first=500, after=after))))  # fmt: skip
        found.update({node.id: node for node in listed})
    return found


async def look(batch: Batch, subjects: list[str]) -> Snapshot:
    """Ask both stores what holds at many instants, and return what they agree on."""
    shown: Snapshot = {}
    for known_at in (None, *batch.heads):
        for valid_at in (None, *PROBES[::3]):
            query, at = FactQuery(subjects=subjects), asof(valid_at, known_at)
            shown[valid_at, known_at] = await batch.same(
                f"facts at {at}", lambda store, q=query, a=at: store.facts("default", q, a)
            )
    return shown


def left_of(fact: Fact, erased: set[str], gone: set[str]) -> Fact:
    """Return what may be left of *fact* once the facts *erased* and the nodes *gone* are tombstones.

    Conflicts are judged apart: they may only vanish.
    """
    fact = replace(fact, conflict=None)
    if fact.id in erased:
        return replace(fact, value=None, object_id=None, source=None, as_written=None, replaces=None, erased=True)
    source = fact.source
    if source is not None and source.id in gone:
        source = replace(
            source, origin="", method="", actor_id="", session_id=None, model=None, prompt_version=None,
            on_behalf_of=None,
        )  # fmt: skip
    return replace(fact, source=source)


async def erase(batch: Batch, ids: SequentialIds, target: str) -> None:
    """Erase *target* in both stores; both must answer alike, but for places that only one has."""
    unit = Unit(
        ids.new(), "default", ActorSpec("human:officer"), Trust.HUMAN, body_digest(target),
        (Erase(ids.new(), target, "asked for"),),
    )  # fmt: skip
    answers = []
    for store in (batch.reference, batch.store):
        (answer,) = await store.commit([unit])
        if isinstance(answer, Receipt):
            places = ("ledger", "nodes", "receipts", "refusals")
            answers.append(replace(answer, erased={place: answer.erased[place] for place in places}))
        else:
            answers.append((answer.code, answer.message))
    assert answers[0] == answers[1], f"seed {batch.seed}, erasing {target}"


async def facts_of(batch: Batch, subjects: list[str]) -> dict[str, Fact]:
    """Return every assertion about *subjects*, by id."""
    listed = await batch.same("timeline", lambda store: pages(
        lambda after: store.timeline("default", subjects, first=900, after=after)))  # fmt: skip
    return {fact.id: fact for fact in listed}


async def carry(batch: Batch, make: Maker, subjects: list[str]) -> None:
    """Replay the ledger, tombstones and all, in an empty store of each kind: both answer as the first ones do."""
    image = await batch.store.image("default")
    rows = []
    while page := await batch.store.ledger_rows("default", "knowledge", len(rows), 1000):
        rows += page
    fresh = await make.fresh(clock=batch.clocks[1], ids=SequentialIds(9), words=WORDS)
    try:
        for other in (fresh, ReferenceStore(clock=batch.clocks[0], ids=SequentialIds(9), words=WORDS)):
            await other.restore(image)
            assert await other.replay("default", rows) == len(rows)
            twin = replace(batch, store=other, reference=batch.store)
            assert await look(twin, subjects) == await look(batch, subjects)
            assert await nodes_of(twin) == await nodes_of(batch)
            await facts_of(twin, subjects)
            for unit in batch.units:
                await twin.same(f"receipt {unit}", lambda store, u=unit: batch._receipt(store, u))
            assert await other.verify("default", "knowledge") == await batch.store.verify("default", "knowledge")
    finally:
        await fresh.close()
        make.discard(fresh)


async def run(seed: int, make: Maker, *, stories: int = 12, rounds: int = 5) -> int:
    """Tell stories, erase at random between them, and compare; return how many erasures there were."""
    rng = random.Random(seed)
    clocks = ManualClock(from_micros(START)), ManualClock(from_micros(START))
    reference = ReferenceStore(clock=clocks[0], ids=SequentialIds(1), words=WORDS)
    store = await make.fresh(clock=clocks[1], ids=SequentialIds(1), words=WORDS)
    ids, officer = SequentialIds(2), SequentialIds(3)
    told = [Story(random.Random(rng.random()), f"{n}x", ids) for n in range(stories)]
    batch = Batch(seed, reference, store, clocks, rng, told)
    subjects: list[str] = []
    erasures = 0
    try:
        for _ in range(rounds):
            await batch.round()
            batch.frozen.clear()
            subjects = sorted({*subjects, *batch.subjects})
            nodes = await nodes_of(batch)
            facts = await facts_of(batch, subjects)
            before = await look(batch, subjects)
            targets = rng.sample(sorted(facts), min(4, len(facts)))
            targets += rng.sample(subjects, min(2, len(subjects)))
            targets += rng.sample(sorted(nodes), 2)
            for target in targets:
                await erase(batch, officer, target)
                erasures += 1
            gone = {node.id for node in (await nodes_of(batch)).values() if node.erased}
            erased = {fact.id for fact in (await facts_of(batch, subjects)).values() if fact.erased}
            after = await look(batch, subjects)
            assert {fact for fact, one in facts.items() if one.subject_id in targets} <= erased
            assert set(targets) & set(facts) <= erased
            for at, shown in before.items():
                expected = [left_of(fact, erased, gone) for fact in shown]
                assert [replace(fact, conflict=None) for fact in after[at]] == expected, f"seed {seed} at {at}"
                for was, fact in zip(shown, after[at], strict=True):
                    assert fact.conflict is None or was.conflict is not None, f"seed {seed}: a conflict came up at {at}"
                    assert fact.conflict is None or fact.conflict.challenger_id not in erased
        await batch.compare(whole=False)
        await batch.undone()
        await carry(batch, make, subjects)
    finally:
        await store.close()
        make.discard(store)
    return erasures


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        # Neo4j takes ten times as long.
        pytest.param(name, seed, marks=[pytest.mark.slow] if name == "neo4j" and seed else [])
        for name in STORES
        for seed in range(3)
        if name != "reference"
    ],
)
async def test_nothing_else_changes(name: str, seed: int, tmp_path: Path) -> None:
    assert await run(seed, STORES[name](tmp_path)) > 20
