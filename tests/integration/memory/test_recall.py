"""Recall on every store: what is found, why, as of when, within which filters and budgets."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from math import sqrt
from pathlib import Path

import pytest
from conformance.stores import empty_neo4j

from latewood.graph_schema.clock import NOW, AsOf, ManualClock, to_micros
from latewood.graph_schema.commands import Assert, Ref, SourceSpec
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.graph_schema.model import NodeKind, Trust
from latewood.graph_schema.values import Value
from latewood.memory import Alternative, DecisionStatus, Memory, Recall, Signal
from latewood.memory.patterns import detect
from latewood.reasoning.recall import Question, recall
from latewood.reasoning.tokens import tokens_of

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
EARLIER = START - timedelta(days=1)
MODEL = "wheel"
TOPICS = ("boat", "ship", "vessel"), ("rain", "storm", "weather"), ("bread", "bakery", "loaf")
"""Words of one group mean the same to the little model below."""


def embedded(text: str) -> bytes:
    """Embed by topics: a model of four numbers, so that what is near is known for sure."""
    words = text.casefold().split()
    numbers = [float(sum(word.strip(".,?!") in group for word in words)) for group in TOPICS] + [0.1]
    length = sqrt(sum(number * number for number in numbers))
    return struct.pack("<4f", *(number / length for number in numbers))


async def embed(text: str) -> tuple[str, bytes]:
    return MODEL, embedded(text)


@pytest.fixture(params=["reference", "sqlite", "neo4j"])
def clock_and_url(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ManualClock, str]:
    if request.param == "neo4j":
        url: str = request.getfixturevalue("neo4j_url")
        empty_neo4j(url)
    else:
        url = "reference:" if request.param == "reference" else str(tmp_path / "recall.db")
    return ManualClock(START), url


@pytest.fixture
async def memory(clock_and_url: tuple[ManualClock, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Memory]:
    # What is near is said here by the little model above, given to `recall` itself.
    monkeypatch.setenv("LATEWOOD_EMBEDDER", "none")
    clock, url = clock_and_url
    async with Memory.open(url, by="human:ada", clock=clock) as opened:
        yield opened


async def say(memory: Memory, session: str, turns: Sequence[tuple[str, str]], start: datetime = EARLIER) -> list[str]:
    """Write what was said in a session, a minute a turn, as ingestion does."""
    units = [
        memory.unit(
            [
                Assert(
                    memory.ids.new(), Ref(key=f"session:{session}", kind=NodeKind.SESSION, type="session", name=session),
                    "said", Value.of({"speaker": speaker, "text": text}), relation=True,
                    valid_from=to_micros(start + timedelta(minutes=number)), locator=f"{session}:{number}",
                )
            ],
            [session, number], by=f"human:{speaker.lower()}", session=session,
            source=SourceSpec("talk.jsonl", "imported"), idempotency_key=f"{session}:{number}",
        )
        for number, (speaker, text) in enumerate(turns)
    ]  # fmt: skip
    return [receipt.facts[0] for receipt in await memory.submit_many(units)]


def found(answer: Recall) -> list[str]:
    return [hit.fact.id for hit in answer.hits]


def signals(answer: Recall, fact: str) -> set[Signal]:
    return next({clue.signal for clue in hit.clues} for hit in answer.hits if hit.fact.id == fact)


async def test_words_find_and_the_reply_beside_them_is_found_too(memory: Memory) -> None:
    asked, reply, *_ = await say(
        memory, "s-1", [
            ("Bob", "Where did you hide the spare key?"), ("Eve", "Under the third flowerpot."),
            ("Bob", "Lovely morning."), ("Eve", "Quite so."), ("Bob", "Tea?"), ("Eve", "Please."),
        ],
    )  # fmt: skip
    await say(memory, "s-2", [("Bob", "The gate is painted green."), ("Eve", "I like that.")])
    answer = await memory.recall("where is the spare key hidden?")
    assert found(answer)[:2] == [asked, reply]
    assert signals(answer, asked) >= {Signal.WORDS, Signal.SUBJECT}
    assert Signal.WORDS not in signals(answer, reply)
    clue = next(clue for clue in answer.hits[1].clues if clue.signal is Signal.NEIGHBOUR)
    assert clue.via == asked
    hit = answer.hits[0]
    assert hit.text == "Bob: Where did you hide the spare key?"
    assert hit.fact.source is not None
    assert hit.fact.source.locator == "s-1:0"
    assert hit.actor is not None
    assert hit.actor.key == "human:bob"
    assert hit.score == pytest.approx(sum(clue.share for clue in hit.clues), abs=1e-5)
    assert answer.notes == ("no embedder: found by words and by the graph alone",)


async def test_meaning_finds_what_no_word_does(memory: Memory) -> None:
    facts = await say(
        memory, "s-1",
        [("Bob", "The vessel leaves at noon."), ("Eve", "A loaf costs two."), ("Bob", "The storm passed.")],
    )  # fmt: skip
    at = AsOf()
    assert found(await recall(memory.store, memory.space, Question("boat"), at)) == []
    await memory.store.begin_generation(memory.space, "g", model=MODEL, dimensions=4)
    texts = ["vessel", "loaf", "storm"]
    await memory.store.keep_vectors(
        memory.space, "g", {fact: embedded(text) for fact, text in zip(facts, texts, strict=True)}
    )
    answer = await recall(memory.store, memory.space, Question("boat"), at, embed)
    assert found(answer)[0] == facts[0]
    clue = next(clue for clue in answer.hits[0].clues if clue.signal is Signal.VECTORS)
    assert clue.rank == 1
    assert clue.score == pytest.approx(1.0, abs=1e-3)
    assert answer.notes == ()


async def test_vectors_of_another_model_are_not_compared(memory: Memory) -> None:
    (fact,) = await say(memory, "s-1", [("Bob", "The vessel leaves at noon.")])
    nothing_yet = await recall(memory.store, memory.space, Question("boat"), NOW, embed)
    assert nothing_yet.notes == ("no memory here has a vector yet: found by words and by the graph alone",)
    await memory.store.begin_generation(memory.space, "g", model="other", dimensions=4)
    await memory.store.keep_vectors(memory.space, "g", {fact: embedded("vessel")})
    answer = await recall(memory.store, memory.space, Question("boat"), NOW, embed)
    assert found(answer) == []
    assert answer.notes == (
        "the embedder is wheel, the vectors other's: found by words and by the graph alone",
    )  # fmt: skip

    async def broken(text: str) -> None:
        assert text == "vessel"

    answer = await recall(memory.store, memory.space, Question("vessel"), NOW, broken)
    assert found(answer) == [fact]
    assert answer.notes == ("the embedder fails: found by words and by the graph alone",)


async def test_whom_the_question_names_is_preferred(memory: Memory) -> None:
    of_bob, of_eve = await say(memory, "s-1", [("Bob", "My lunch was soup."), ("Eve", "My lunch was soup.")])
    for who, first in (("Bob", of_bob), ("Eve", of_eve)):
        answer = await memory.recall(f"what was the lunch of {who}?")
        assert found(answer)[0] == first
        assert Signal.NAMED in signals(answer, first)
    both = await memory.recall("what was for lunch?")
    assert all(clue.signal is not Signal.NAMED for hit in both.hits for clue in hit.clues)


async def test_times_in_the_question_are_preferred(memory: Memory) -> None:
    (january,) = await say(memory, "s-1", [("Bob", "The audit found a leak.")], datetime(2026, 1, 12, tzinfo=UTC))
    (february,) = await say(memory, "s-2", [("Bob", "The audit found a leak.")], datetime(2026, 2, 24, tzinfo=UTC))
    assert found(await memory.recall("what did the audit find in January?"))[0] == january
    assert found(await memory.recall("what did the audit find in February?"))[0] == february
    # Asked on Monday, 2 March: last week began on 23 February.
    assert found(await memory.recall("what did the audit find last week?"))[0] == february
    earlier = AsOf(valid_at=datetime(2026, 2, 25, tzinfo=UTC))
    assert found(await memory.recall("what did the audit find last month?", at=earlier))[0] == january


async def test_a_decision_is_found_by_what_it_rests_on_and_by_what_it_is_about(memory: Memory) -> None:
    note = await memory.observe("carrier:Nordwind", "note", "The gearbox howls on every slope.")
    choice = await memory.decide("Move Lyon to Sud", because="too many delays", evidence=[note])
    about = await memory.decide("Renew for a year", because="nobody else bids", about=["carrier:Nordwind"])
    answer = await memory.recall("howls gearbox")
    assert found(answer)[0] == note.id
    subjects = {hit.subject.id: hit for hit in answer.hits}
    clue = next(clue for clue in subjects[choice.id].clues if clue.signal is Signal.EVIDENCE)
    assert clue.via == note.id
    named = await memory.recall("Nordwind?")
    hit = next(hit for hit in named.hits if hit.subject.id == about.id)
    assert Signal.NAMED in {clue.signal for clue in hit.clues}
    back = await memory.recall("move Lyon to Sud delays")
    assert next(hit for hit in back.hits if hit.fact.id == note.id).clues[0].signal is Signal.EVIDENCE


async def test_what_no_longer_holds_is_out_and_counted(memory: Memory, clock_and_url: tuple[ManualClock, str]) -> None:
    clock, _ = clock_and_url
    old = await memory.observe("team:a", "motto", "Ship the walrus", valid_from=START)
    clock.advance(days=10)
    new = await memory.observe("team:a", "motto", "Keep the walrus")
    answer = await memory.recall("walrus")
    assert found(answer) == [new.id]
    assert answer.hidden == 1
    past = await memory.recall("walrus", at=AsOf(valid_at=START + timedelta(days=1)))
    assert found(past) == [old.id]
    await memory.retract(new, because="a joke")
    assert found(await memory.recall("walrus")) == [old.id]
    known = AsOf(known_at=new.receipt.recorded_at)
    assert found(await memory.recall("walrus", at=known)) == [new.id]


async def test_decisions_out_of_force_are_out_unless_asked_for(memory: Memory) -> None:
    old = await memory.decide("Store parcels in the crypt", because="it is cool")
    new = await memory.decide("Store parcels in the attic", because="it is dry", supersedes=[old])
    answer = await memory.recall("where are parcels stored?")
    assert {hit.subject.id for hit in answer.hits} == {new.id}
    assert answer.hidden == 1
    both = await memory.recall("where are parcels stored?", past=True)
    assert {hit.subject.id for hit in both.hits} == {old.id, new.id}


async def test_filters_leave_out_before_ranking(memory: Memory) -> None:
    many = await say(memory, "big", [("Bob", f"the walrus sang {number}") for number in range(150)])
    (one,) = await say(memory, "small", [("Eve", "a long story of many things, and of one walrus at its very end")])
    assert one not in found(await memory.recall("walrus", limit=20))
    assert found(await memory.recall("walrus", session="small")) == [one]
    assert found(await memory.recall("walrus", actor="human:eve")) == [one]
    assert found(await memory.recall("walrus", about=["session:small"])) == [one]
    since = EARLIER + timedelta(minutes=140)
    late = set(found(await memory.recall("walrus", since=since, limit=100)))
    assert late == set(many[140:])
    assert found(await memory.recall("walrus", until=EARLIER, limit=5)) == []
    assert found(await memory.recall("walrus", kinds=[NodeKind.ENTITY])) == []
    assert found(await memory.recall("walrus", types=["session"], predicates=["said"], limit=1)) != []
    assert found(await memory.recall("walrus", predicates=["text"])) == []


async def test_filters_hold_for_what_the_graph_adds(memory: Memory) -> None:
    weak = await memory.observe("carrier:X", "note", "The hull is thin.", by="agent:scout", trust=Trust.UNTRUSTED)
    choice = await memory.decide("Sell the hull", because="it is thin", evidence=[weak], about=["carrier:X"])
    assert weak.id not in found(await memory.recall("sell hull", trust_min=Trust.HUMAN))
    assert weak.id in found(await memory.recall("sell hull"))
    only = await memory.recall("thin hull", kinds=[NodeKind.DECISION])
    assert {hit.subject.id for hit in only.hits} == {choice.id}
    await say(memory, "s-1", [("Bob", "Paint the mast."), ("Eve", "Which colour?"), ("Bob", "Any colour.")])
    eve = await memory.recall("paint mast", actor="human:eve")
    assert {hit.actor.key for hit in eve.hits if hit.actor} <= {"human:eve"}


async def test_a_budget_cuts_and_says_what_is_left_out(memory: Memory) -> None:
    await say(memory, "s-1", [("Bob", f"walrus {number} " + "tusk " * 30) for number in range(30)])
    whole = await memory.recall("walrus", limit=20)
    assert whole.left_out == 0
    for budget in (50, 120, 400, 1_000):
        answer = await memory.recall("walrus", limit=20, budget_tokens=budget)
        assert tokens_of(answer.text) == answer.tokens <= budget
        assert len(answer.hits) + answer.left_out == 20
        assert answer.left_out > 0
        assert found(answer) == found(whole)[: len(answer.hits)]
    assert (await memory.recall("walrus", limit=2, budget_tokens=100_000)).left_out == 0


async def test_the_same_question_gives_the_same_answer(memory: Memory) -> None:
    await say(memory, "s-1", [("Bob", f"walrus {number % 3}") for number in range(40)])
    assert await memory.recall("walrus 1", at=AsOf(valid_at=START + timedelta(days=1))) == await memory.recall(
        "walrus 1", at=AsOf(valid_at=START + timedelta(days=1))
    )


async def test_erased_words_are_not_recalled(memory: Memory) -> None:
    fact = await memory.observe("person:eve", "note", "allergic to walrus")
    other = await memory.observe("person:bob", "note", "fond of walrus")
    await memory.erase(fact, reason="asked for")
    answer = await memory.recall("walrus")
    assert found(answer) == [other.id]
    assert "allergic" not in answer.text


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("", {}), ("?!", {}), ("x" * 5_000, {}), ("walrus", {"limit": 0}), ("walrus", {"limit": 101}),
        ("walrus", {"budget_tokens": 10}), ("walrus", {"budget_tokens": 10**6}),
    ],
)  # fmt: skip
async def test_what_cannot_be_answered_is_refused(memory: Memory, query: str, arguments: dict[str, int]) -> None:
    with pytest.raises(InvalidError) as refused:
        await memory.recall(query, **arguments)  # pyright: ignore[reportArgumentType] - limit and budget_tokens are ints
    assert refused.value.code == "query.invalid"


async def test_an_unknown_filter_is_named(memory: Memory) -> None:
    await say(memory, "s-1", [("Bob", "hello walrus")])
    with pytest.raises(NotFoundError, match="s-9"):
        await memory.recall("walrus", session="s-9")
    with pytest.raises(NotFoundError, match="human:bobby"):
        await memory.recall("walrus", actor="human:bobby")


async def test_no_syntax_breaks_a_question(memory: Memory) -> None:
    (fact,) = await say(memory, "s-1", [("Bob", "the walrus AND the (carpenter)")])
    for query in ('walrus" OR "', "walrus AND NOT (", "walrus*", "walrus:~1^2", "walrus -carpenter", "WALRUS \\"):
        assert found(await memory.recall(query)) == [fact]


async def test_precedents_come_with_their_outcome_first(memory: Memory) -> None:
    plain = await memory.decide("Expedite the parcel to Lyon by rail", because="the truck was full")
    taught = await memory.decide("Expedite the crate to Lyon via carrier B", because="it is fast")
    await memory.observe(taught.id, "outcome", "arrived two days late")
    await memory.supersede(taught, plain)
    await memory.decide("Paint the office", because="it is grey", status=DecisionStatus.PROPOSED)
    first, second = await memory.precedents("expedite a parcel to Lyon", first=2)
    assert first.decision.id == taught.id
    assert first.outcomes == ("arrived two days late",)
    assert first.decision.status is DecisionStatus.SUPERSEDED
    assert (second.decision.id, second.outcomes) == (plain.id, ())
    assert second.score > first.score
    with pytest.raises(InvalidError):
        await memory.precedents("x", first=0)


async def test_decisions_and_patterns_are_recalled_in_words_that_read() -> None:
    async with Memory.open("reference:", by="human:ada", clock=ManualClock(START), embedder="none") as memory:
        rate = await memory.observe("carrier:A", "on_time_rate", 0.8)
        await memory.decide(
            "Move the lane to B", title="Lyon", question="Who drives?", because="A is late", evidence=[rate],
            alternatives=[Alternative("keep A", rejected_because="fines did not help"), Alternative("wait")],
        )  # fmt: skip
        await memory.correct(rate, 0.9)
        await detect(memory)
        # A document of anybody's, whose parts are not what they are of a decision.
        await memory.observe("note:odd", "record", {"title": "Lyon, a note", "alternatives": 5, "choice": ["none"]})
        found = await memory.recall("Lyon evidence corrected")

    told = {hit.subject.kind if hit.subject.key is None else hit.subject.key: hit.text for hit in found.hits}
    assert told[NodeKind.DECISION].split("\n") == [
        "Lyon", "question: Who drives?", "Move the lane to B", "because A is late",
        "rejected: keep A, because fines did not help", "rejected: wait",
    ]  # fmt: skip
    assert told["note:odd"] == "Lyon, a note"
    assert "Lyon stands, and a piece of its evidence was corrected" in told.values()
    assert "<<" not in found.text


async def test_a_memory_with_its_default_embedder_finds_by_meaning(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "light.db"), by="human:ada", embedder="light") as memory:
        turns = ["We adopted a puppy from the shelter.", "The printer is out of toner.", "The budget was approved."]
        puppy, *_ = await say(memory, "s-1", [("Bob", text) for text in turns])
        answer = await memory.recall("did anybody get a dog?")
    assert answer.notes == ()
    assert found(answer)[0] == puppy
    assert Signal.WORDS not in signals(answer, puppy)
    assert Signal.VECTORS in signals(answer, puppy)
