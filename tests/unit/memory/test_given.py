"""What a verb takes: arguments of other types are refused by name, and words of enumerations taken."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_type_hints

import pytest

from latewood.clients.remote import BlockingRemoteMemory, RemoteMemory
from latewood.execution import Runs
from latewood.execution.external import Agents
from latewood.execution.messages import Messages
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import DecisionStatus, Trust
from latewood.memory import Memory
from latewood.memory.messages import messages_of
from latewood.memory.patterns import patterns
from latewood.memory.runs import agents_of, runs_of

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
        ("caused_by", lambda m: messages_of(m).publish("findings", 1, caused_by="carrier:A")),
        ("rules", lambda m: messages_of(m).route("findings", [{"name": "unsure"}])),
        ("received", lambda m: messages_of(m).hand_back("a hold")),
        ("since", lambda m: messages_of(m).replay("findings", since="2026-03-01")),
        ("statuses", lambda m: runs_of(m).list(statuses="waiting")),
        ("statuses", lambda m: runs_of(m).list(statuses=["nope"])),
        ("flow", lambda m: runs_of(m).start("standard")),
        ("given", lambda m: agents_of(m).start("standard", ["one"])),
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


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("about", lambda m: m.decide("x", because="y", about="carrier:A")),
        ("evidence", lambda m: m.decide("x", because="y", evidence=[1])),
        ("valid_from", lambda m: m.observe("carrier:A", "rate", 1, valid_from="2026-03-01")),
        ("status", lambda m: m.decisions(status="accepted")),
        ("at", lambda m: m.entity("carrier:A", at=DAY)),
        ("caused_by", lambda m: m.messages.publish("findings", 1, caused_by="carrier:A")),
        ("received", lambda m: m.messages.hand_back("a hold", 7)),
    ],
)
async def test_a_remote_handle_refuses_it_before_anything_is_sent(name: str, ask: Any) -> None:
    with BlockingRemoteMemory.open("http://127.0.0.1:9") as memory, pytest.raises(InvalidError) as blocking:
        ask(memory)
    async with RemoteMemory.open("http://127.0.0.1:9") as memory:
        with pytest.raises(InvalidError) as refused:
            await ask(memory)
    assert refused.value.details == blocking.value.details == {"argument": name}


def test_what_each_argument_of_a_handle_may_be_can_be_read() -> None:
    owners = (Messages, Runs, Agents, RemoteMemory, type(RemoteMemory.open("http://127.0.0.1:9").messages))
    verbs = [one for owner in owners for name, one in inspect.getmembers(owner, callable) if not name.startswith("_")]

    assert [one.__qualname__ for one in verbs if inspect.unwrap(one) is getattr(one, "__func__", one)] == []
    assert all("return" in get_type_hints(inspect.unwrap(one)) for one in verbs)


def test_verbs_stay_what_they_were() -> None:
    assert inspect.iscoroutinefunction(Memory.decide)
    assert list(inspect.signature(Memory.fact).parameters) == ["self", "fact_id", "known_at"]
