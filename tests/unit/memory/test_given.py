"""What a verb takes: arguments of other types are refused by name, and words of enumerations taken."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import DecisionStatus, Trust
from latewood.memory import Memory
from latewood.memory.patterns import patterns

DAY = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
async def memory() -> AsyncIterator[Any]:
    async with Memory.open("reference:", by="human:ada", embedder="none") as opened:
        yield opened


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("about", lambda m: m.decide("x", because="y", about="carrier:A")),
        ("evidence", lambda m: m.decide("x", because="y", evidence=[{"id": 1}])),
        ("alternatives", lambda m: m.decide("x", because="y", alternatives=["keep A"])),
        ("status", lambda m: m.decide("x", because="y", status="maybe")),
        ("confidence", lambda m: m.decide("x", because="y", confidence=True)),
        ("subject", lambda m: m.observe(None, "rate", 1)),
        ("predicate", lambda m: m.observe("carrier:A", 5, 1)),
        ("value", lambda m: m.observe("carrier:A", "rate", None)),
        ("valid_from", lambda m: m.observe("carrier:A", "rate", 1, valid_from="2026-03-01")),
        ("status", lambda m: m.decisions(status="accepted")),
        ("kinds", lambda m: m.recall("x", kinds=["nope"])),
        ("budget_tokens", lambda m: m.brief(budget_tokens="800")),
        ("at", lambda m: m.entity("carrier:A", at=DAY)),
        ("axis", lambda m: m.diff(DAY, DAY, axis="nope")),
        ("status", lambda m: patterns(m, status=["closed"])),
    ],
)
async def test_what_a_verb_does_not_take_is_refused_by_name_and_nothing_is_written(
    memory: Any, name: str, ask: Any
) -> None:
    before = await memory.verify()

    with pytest.raises(InvalidError, match=f"^{name} is .*; give ") as refused:
        await ask(memory)
    assert (refused.value.code, refused.value.details) == ("query.invalid", {"argument": name})
    assert await memory.verify() == before


async def test_the_word_of_an_enumeration_is_its_member(memory: Any) -> None:
    with pytest.raises(InvalidError, match="trust is 'humn'; give one of system, human"):
        memory.within(trust="humn")
    late = await memory.within(trust="agent").observe("carrier:A", "rate", Decimal("0.8"), valid_from=DAY)
    choice = await memory.decide("x", because="y", status="proposed", evidence=(one for one in [late]))

    assert (await memory.fact(late.id)).trust is Trust.AGENT
    (found,) = (await memory.decisions(status={"proposed"})).items
    assert (found.id, found.status, len(found.evidence)) == (choice.id, DecisionStatus.PROPOSED, 1)


async def test_more_than_a_verb_takes_is_left_to_python(memory: Any) -> None:
    with pytest.raises(TypeError, match="positional"):
        await memory.fact("x", "y")
    with pytest.raises(TypeError, match="unexpected keyword"):
        await memory.fact("x", nonsense=1)


def test_verbs_stay_what_they_were() -> None:
    assert inspect.iscoroutinefunction(Memory.decide)
    assert list(inspect.signature(Memory.fact).parameters) == ["self", "fact_id", "known_at"]
