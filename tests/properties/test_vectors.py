"""Search by fact over random histories: every store finds what the reference finds by looking at everything."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from conformance.stores import STORES
from properties.histories import asof
from properties.stories import HOUR, START, VALID, WORDS, Story

from latewood.graph_schema.clock import AsOf, ManualClock, Micros, from_micros, to_micros
from latewood.graph_schema.commands import ActorSpec, Assert, Erase, Unit
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.model import NodeKind, Trust
from latewood.storage.neo4j import searching
from latewood.storage.port import GraphStore, Matches, NodeQuery, Scope
from latewood.storage.reference import ReferenceStore
from latewood.storage.searching import text_of
from latewood.storage.sqlite import engine
from latewood.storage.sqlite import searching as sqlite_searching
from latewood.storage.sqlite.vectors import VectorCache

_DIMENSIONS: Final = 8
_SLACK: Final = 1e-5
_EVERY: Final = 1_000
WAYS: Final = [("sqlite", "held"), ("sqlite", "in blocks"), ("neo4j", "one by one"), ("neo4j", "by its index")]


def _vector(rng: random.Random) -> bytes:
    numbers = [rng.gauss(0, 1) for _ in range(_DIMENSIONS)]
    length = math.sqrt(sum(number * number for number in numbers))
    return struct.pack(f"<{_DIMENSIONS}f", *(number / length for number in numbers))


def _told(rng: random.Random, story: Story) -> Unit:
    """Let a story write, in some session, and with vectors for some of what carries text."""
    unit = story.unit({})
    texts = [one.id for one in unit.commands if isinstance(one, Assert) and one.value and text_of(one.value)]
    vectors = {one: _vector(rng) for one in texts if rng.random() < 0.7}
    return replace(unit, vectors=vectors, generation="m1", session=rng.choice((None, "s-1", "s-2")), expects=())


async def _scopes(rng: random.Random, store: GraphStore) -> list[Scope]:
    """Make scopes of what there is."""
    ids: dict[NodeKind, list[str]] = {}
    for kind in (NodeKind.ENTITY, NodeKind.ACTOR, NodeKind.SESSION):
        page = await store.list_nodes("default", NodeQuery(kind, first=500))
        ids[kind] = sorted(one.id for one in page.items) or [""]
    entities, actors, sessions = ids[NodeKind.ENTITY], ids[NodeKind.ACTOR], ids[NodeKind.SESSION]
    return [
        Scope(), Scope(about=rng.sample(entities, min(3, len(entities)))), Scope(actors=[rng.choice(actors)]),
        Scope(sessions=[rng.choice(sessions)]), Scope(trust_min=rng.choice(list(Trust))),
        Scope(predicates=["rate", "status"], kinds=[NodeKind.ENTITY]), Scope(since=rng.choice(VALID)),
        Scope(until=rng.choice(VALID), actors=rng.sample(actors, min(2, len(actors)))), Scope(types=["thing"]),
        Scope(sessions=sessions, predicates=["limit", "rate"], since=VALID[2], until=VALID[7]),
    ]  # fmt: skip


def _alike(seed: int, what: object, expected: Matches, found: Matches, *, ranked: bool) -> None:
    where = f"seed {seed}, {what}:\n reference {expected}\n found     {found}"
    assert found.hidden == expected.hidden, where
    places = [[(one.fact, one.subject, one.valid_from) for one in matches.items] for matches in (expected, found)]
    if not ranked:
        assert sorted(places[0]) == sorted(places[1]), where
        return
    assert places[0] == places[1], where
    for one, other in zip(expected.items, found.items, strict=True):
        assert abs(one.score - other.score) < _SLACK, where


async def _compare(
    seed: int, rng: random.Random, stores: Sequence[GraphStore], heads: Sequence[Micros], most: int
) -> int:
    """Ask both stores the same at many instants, in at most so many scopes; return how many memories were found."""
    reference, store = stores
    count = 0
    scopes = rng.sample(await _scopes(rng, reference), most)
    for at in (AsOf(), asof(rng.choice(VALID), None), asof(rng.choice(VALID), rng.choice(heads))):
        for scope in scopes:
            asked, first = _vector(rng), rng.choice((1, 3, _EVERY))
            pair = [await one.match_vector("default", asked, "m1", scope=scope, at=at, first=first) for one in stores]
            _alike(seed, (scope, at, first), *pair, ranked=True)
            count += len(pair[0].items)
            words = rng.choice(("granite", "basalt marble", "final"))
            pair = [await one.match_text("default", words, scope=scope, at=at, first=_EVERY) for one in stores]
            _alike(seed, (words, scope, at), *pair, ranked=False)
            count += len(pair[0].items)
        facts = [one.fact for one in (await reference.match_text("default", "granite", at=at, first=20)).items]
        beside = [await one.around("default", facts, each_side=2, at=at) for one in stores]
        assert beside[0] == beside[1], f"seed {seed}, around {facts} at {at}"
    assert await reference.generations("default") == await store.generations("default"), f"seed {seed}"
    assert (await reference.unembedded("default", "m1")).items == (await store.unembedded("default", "m1")).items
    return count


@pytest.mark.parametrize(("name", "way"), [one for one in WAYS if one[0] in STORES])
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(2))
async def test_every_store_finds_what_the_reference_finds(
    name: str, way: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "in blocks":
        monkeypatch.setattr(engine, "VectorCache", lambda: VectorCache(bytes_max=0))
        monkeypatch.setattr(sqlite_searching, "_TRIED", 1)
    if way == "by its index":
        monkeypatch.setattr(searching, "EXACT_MAX", 0)
    rng = random.Random(f"{name} {way} {seed}")
    clocks = ManualClock(from_micros(START)), ManualClock(from_micros(START))
    reference = ReferenceStore(clock=clocks[0], ids=SequentialIds(1), words=WORDS)
    make = STORES[name](tmp_path)
    stores = (reference, await make.fresh(clock=clocks[1], ids=SequentialIds(1), words=WORDS))
    # A question to a server takes ten times as long.
    turns, scopes, count = (2, 3, 8) if name == "neo4j" else (5, 10, 16)
    stories = [Story(random.Random(rng.random()), f"{n}x", SequentialIds(100 + n)) for n in range(count)]
    officer, heads, found = SequentialIds(99), list[Micros](), 0
    try:
        for one in stores:
            await one.begin_generation("default", "m1", model="model", dimensions=_DIMENSIONS)
        for turn in range(turns):
            for clock in clocks:
                clock.advance(micros=HOUR)
            units = [_told(rng, story) for story in stories for _ in range(3)]
            answers = [await one.commit(units) for one in stores]
            assert [isinstance(one, Receipt) for one in answers[0]] == [isinstance(one, Receipt) for one in answers[1]]
            heads += [to_micros(one.recorded_at) for one in answers[0] if isinstance(one, Receipt) and one.recorded_at]
            missing = [one for one, _ in (await reference.unembedded("default", "m1")).items]
            fresh = {one: _vector(rng) for one in rng.sample(missing, len(missing) // 2)}
            kept = [await one.keep_vectors("default", "m1", fresh) for one in stores]
            assert kept == [len(fresh)] * 2
            if turn > 0:
                memories = (await reference.match_text("default", "granite", first=_EVERY)).items
                nodes = (await reference.list_nodes("default", NodeQuery(NodeKind.ACTOR))).items
                for target in (*(one.fact for one in memories[:1]), rng.choice(nodes).id):
                    erase = Unit(
                        officer.new(), "default", ActorSpec("human:officer"), Trust.HUMAN, body_digest(target),
                        (Erase(officer.new(), target, "asked for"),),
                    )  # fmt: skip
                    for one in stores:
                        await one.commit([erase])
            found += await _compare(seed, rng, stores, heads, scopes)
    finally:
        for one in stores:
            await one.close()
    assert found > 10
