"""Hypothesis looks for the shortest program after which SQLite and the reference disagree."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from properties.histories import asof, examples, told
from properties.stories import START, VALID, WORDS

from latewood.graph_schema.clock import ManualClock, Micros, from_micros, to_micros
from latewood.graph_schema.commands import ActorSpec, Assert, Command, End, Ref, Retract, SourceSpec, Unit
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.model import Fact, Trust
from latewood.graph_schema.values import Value
from latewood.storage.port import FactQuery, GraphStore, Point
from latewood.storage.reference import ReferenceStore
from latewood.storage.sqlite.store import SqliteStore

T = TypeVar("T")
INSTANTS = st.sampled_from(VALID)
PERIODS = st.one_of(
    st.tuples(st.none() | INSTANTS, st.none()),
    st.tuples(INSTANTS, INSTANTS).filter(lambda pair: pair[0] < pair[1]),
)
TRUSTS = st.sampled_from([Trust.AGENT, Trust.AGENT, Trust.HUMAN, Trust.UNTRUSTED])
ORIGINS = st.sampled_from([None, "doc:1", "doc:2"])


class TwoStores(RuleBasedStateMachine):
    """One key's life, told to both stores."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.clocks = ManualClock(from_micros(START)), ManualClock(from_micros(START))
        self.ids, self.sqlite_ids = SequentialIds(2), SequentialIds(1)
        self.facts: list[str] = []
        self.heads: list[Micros] = []
        self.subject = ""
        self.frozen: dict[tuple[Micros, Micros], tuple[Fact, ...]] = {}
        self.reference: GraphStore = ReferenceStore(clock=self.clocks[0], ids=SequentialIds(1), words=WORDS)
        self.sqlite: GraphStore = self.wait(self._open())

    async def _open(self) -> GraphStore:
        return await SqliteStore.open(
            self.folder / "a.db", clock=self.clocks[1], ids=self.sqlite_ids, words=WORDS, sync="normal"
        )

    def wait(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.wait(self.sqlite.close())
        self.wait(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)

    def commit(self, trust: Trust, origin: str | None, *commands: Command) -> None:
        unit = Unit(
            self.ids.new(), "default", ActorSpec("agent:one"), trust, body_digest(0), commands,
            source=SourceSpec(origin),
        )  # fmt: skip
        (expected,), (found,) = self.wait(self.reference.commit([unit])), self.wait(self.sqlite.commit([unit]))
        assert told(found) == told(expected)
        if isinstance(expected, Receipt):
            self.facts += expected.facts
            assert expected.recorded_at is not None
            self.heads.append(to_micros(expected.recorded_at))
            self.subject = expected.subject or self.subject

    def said(self, value: int, period: tuple[Micros | None, Micros | None], replaces: str | None = None) -> Assert:
        return Assert(
            self.ids.new(), Ref(key="thing:a"), "rate", Value.of(value), valid_from=period[0], valid_to=period[1],
            replaces=replaces,
        )  # fmt: skip

    @rule(value=st.integers(0, 2), period=PERIODS, trust=TRUSTS, origin=ORIGINS)
    def say(self, value: int, period: tuple[Micros | None, Micros | None], trust: Trust, origin: str | None) -> None:
        self.commit(trust, origin, self.said(value, period))

    @rule(place=st.integers(0, 20), trust=TRUSTS)
    def retract(self, place: int, trust: Trust) -> None:
        if self.facts:
            self.commit(trust, None, Retract(self.ids.new(), self.facts[place % len(self.facts)]))

    @rule(place=st.integers(0, 20), value=st.integers(0, 2), period=PERIODS)
    def correct(self, place: int, value: int, period: tuple[Micros | None, Micros | None]) -> None:
        if self.facts:
            old = self.facts[place % len(self.facts)]
            self.commit(Trust.AGENT, None, Retract(self.ids.new(), old), self.said(value, period, old))

    @rule(place=st.integers(0, 20), when=st.none() | INSTANTS, origin=ORIGINS)
    def end(self, place: int, when: Micros | None, origin: str | None) -> None:
        if self.facts:
            self.commit(Trust.AGENT, origin, End(self.ids.new(), self.facts[place % len(self.facts)], when))

    @rule(step=st.sampled_from([1, 3_600_000_000, -3_600_000_000, 21_600_000_000]))
    def pass_time(self, step: int) -> None:
        for clock in self.clocks:
            clock.advance(micros=step)

    @rule()
    def open_again(self) -> None:
        self.wait(self.sqlite.close())
        self.sqlite = self.wait(self._open())

    @invariant()
    def both_answer_alike(self) -> None:
        if not self.facts:
            return
        query = FactQuery(subjects=[self.subject])
        probes = sorted({t + d for t in VALID for d in (-1, 0)})
        head = self.heads[-1]
        for valid_at in probes:
            for known_at in {head - 1, head, head + 1}:
                at = asof(valid_at, known_at)
                expected = self.wait(self.reference.facts("default", query, at))
                assert self.wait(self.sqlite.facts("default", query, at)) == expected
                assert len(expected) <= 1
                if known_at == head:
                    assert self.frozen.setdefault((valid_at, known_at), expected) == expected
        points = [Point(self.facts[0], t, r) for t in probes for r in self.heads]
        assert self.wait(self.sqlite.held("default", points)) == self.wait(self.reference.held("default", points))
        for (valid_at, known_at), before in list(self.frozen.items())[:40]:
            assert self.wait(self.sqlite.facts("default", query, asof(valid_at, known_at))) == before


TwoStores.TestCase.settings = settings(max_examples=examples(25), stateful_step_count=12, deadline=None)
TestTwoStores = TwoStores.TestCase
