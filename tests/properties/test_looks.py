"""Looks that follow the feed find what one look at everything finds, in whatever order things are said and taken back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from packs import SITES

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.packs.loader import load_pack
from latewood.graph_schema.values import Value
from latewood.memory import Memory
from latewood.memory.patterns import detect, patterns
from latewood.reasoning.patterns.looking import look
from latewood.reasoning.patterns.memo import Memo
from latewood.reasoning.patterns.view import read_world

START = datetime(2026, 1, 5, tzinfo=UTC)
Said = tuple[str, str, float | str, int]


def rows() -> list[Said]:
    random = np.random.default_rng(5)
    told: list[Said] = []
    for carrier in range(6):
        # Between 18 and 23 weeks, so that some come into the next band of lengths with one week more.
        weeks = 18 + carrier
        values = 80 + random.normal(size=weeks) - (np.linspace(0, 9, weeks) if carrier < 2 else 0)
        told += [(f"carrier:{carrier}", "on_time", float(value), week) for week, value in enumerate(values)]
    told += [
        (f"dept:{n}", "deviation", float(value), week)
        for n in range(3)
        for week, value in enumerate(random.normal(size=9))
    ]
    told += [("project:1", "vendor", "AB"[week % 2], week) for week in range(6)]
    told += [(f"site:{n % 3}", "incident", "abc"[n % 2], n % 20) for n in range(60)]
    return told


ROWS = rows()


async def keep(memory: Memory, told: list[Said]) -> list[str]:
    commands = [
        Assert(memory.ids.new(), Ref(key=entity), predicate, Value.of(value),
               valid_from=to_micros(START + timedelta(weeks=week)))
        for entity, predicate, value, week in told
    ]  # fmt: skip
    await memory.write(commands, [one.id for one in commands])
    return [one.id for one in commands]


def rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


async def agrees(memory: Memory) -> None:
    """Hold what the view made of the feed against a look at everything, and what is kept against both."""
    world = await read_world(memory.store, memory.space)
    whole = look(replace(world, memo=Memo(0)))
    known = memory.views.of(memory.store, memory.space).last
    assert known is not None
    for ours, theirs in ((known[1].findings, whole.findings), (known[1].fresh, whole.fresh)):
        named = [
            [(one.key, one.evidence, one.since, *map(rounded, (one.p, one.q, one.effect, one.low))) for one in sorted(side, key=lambda one: one.key)]
            for side in (ours, theirs)
        ]  # fmt: skip
        assert named[0] == named[1]
    assert (known[1].fading, known[1].series) == (whole.fading, whole.series)
    assert sorted(known[1].skipped, key=str) == sorted(whole.skipped, key=str)
    listed = {(one.kind, one.predicate, len(one.about)) for one in (await patterns(memory, first=200)).items}
    assert listed == {(one.kind, one.predicate, len(one.subjects)) for one in whole.findings}


@settings(max_examples=5, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    order=st.randoms(use_true_random=False),
    cuts=st.lists(st.integers(1, len(ROWS) - 1), max_size=4),
    undone=st.lists(st.tuples(st.sampled_from(["retract", "correct", "erase"]), st.integers(0, 10_000)), max_size=4),
)
def test_following_finds_what_reading_all_finds(order: Any, cuts: list[int], undone: list[tuple[str, int]]) -> None:
    async def run() -> None:
        said = list(ROWS)
        order.shuffle(said)
        edges = [0, *sorted(set(cuts)), len(said)]
        ids: list[str] = []
        todo = list(undone)
        async with Memory.open("reference:", by="human:ada", packs=[load_pack(SITES)], embedder="none") as memory:
            for begin, end in pairwise(edges):
                ids += await keep(memory, said[begin:end])
                if todo and ids:
                    how, which = todo.pop()
                    fact = ids.pop(which % len(ids))
                    if how == "retract":
                        await memory.retract(fact, because="a typing error")
                    elif how == "correct":
                        was = (await memory.facts_by_id([fact]))[fact].value
                        assert was is not None
                        await memory.correct(fact, "C" if was.kind == "text" else 81.5)
                    else:
                        await memory.erase(fact, reason="asked to")
                await detect(memory)
                await agrees(memory)

    asyncio.run(run())
