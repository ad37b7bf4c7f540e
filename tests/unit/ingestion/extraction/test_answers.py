"""What a model's answer becomes: drafts that are grounded to a quote, or refusals that say why."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latewood.graph_schema.model import Trust
from latewood.ingestion.extraction.answers import PROPOSALS_MAX, read_answer
from latewood.ingestion.extraction.prompt import question
from latewood.ingestion.extraction.turns import CHUNK_BYTES_MAX, Chunk, Turn, chunks

AT = datetime(2026, 3, 1, tzinfo=UTC)
QUOTE = "we go with carrier B for the Lyon lane"


def turn(number: int, text: str, speaker: str = "ada") -> Turn:
    return Turn(f"fact-{number}", speaker, text, AT, "actor-1", "talk.jsonl", Trust.AGENT)


CHUNK = Chunk(
    (turn(1, "Morning all."), turn(2, "Right then:  We go with\ncarrier B for the Lyon lane, it is cheaper.")), "d"
)
DECISION: dict[str, Any] = {
    "kind": "decision", "turn": 2, "quote": QUOTE, "title": "Carrier B for Lyon", "choice": "carrier B",
    "rationale": "it is cheaper", "about": ["carrier:B", "lane:lyon"], "confidence": 0.9,
    "alternatives": [{"title": "carrier A", "rejected_because": None}],
}  # fmt: skip
FACT: dict[str, Any] = {
    "kind": "fact", "turn": 2, "quote": "it is cheaper", "subject": "carrier:B", "predicate": "price_level",
    "value": "cheaper", "confidence": 2,
}  # fmt: skip
RELATION: dict[str, Any] = {
    "kind": "relation", "turn": 2, "quote": QUOTE, "subject": "carrier:B", "predicate": "serves", "object": "lane:lyon"
}  # fmt: skip


def answer(*proposals: object) -> str:
    return json.dumps({"proposals": proposals})


def test_grounded_proposals_become_drafts() -> None:
    drafts, refused = read_answer(answer(DECISION, FACT, RELATION), CHUNK)

    assert refused == []
    assert [one.document["kind"] for one in drafts] == ["decision", "fact", "relation"]
    assert drafts[0].turn.fact == "fact-2"
    assert drafts[0].quote == QUOTE
    assert [one.confidence for one in drafts] == [0.9, None, None]
    assert drafts[1].document == {
        "kind": "fact", "subject": "carrier:B", "predicate": "price_level", "value": "cheaper"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"quote": "we go with carrier C for the Lyon lane"}, "proposal.ungrounded"),
        ({"quote": ""}, "proposal.ungrounded"),
        ({"quote": None}, "proposal.ungrounded"),
        ({"turn": 1}, "proposal.ungrounded"),
        ({"turn": 3}, "proposal.ungrounded"),
        ({"turn": True}, "proposal.ungrounded"),
        ({"turn": "2"}, "proposal.ungrounded"),
        ({"kind": "erase"}, "proposal.malformed"),
        ({"kind": ["fact"]}, "proposal.malformed"),
        ({"about": ["human:ada"]}, "proposal.malformed"),
        ({"about": "carrier:B"}, "proposal.malformed"),
        ({"about": ["carrier B"]}, "proposal.malformed"),
        ({"choice": "x" * 3_000}, "proposal.malformed"),
        ({"choice": " "}, "proposal.malformed"),
        ({"alternatives": ["carrier A"]}, "proposal.malformed"),
    ],
)
def test_what_no_turn_says_is_refused_and_its_neighbours_stay(wrong: dict[str, Any], code: str) -> None:
    drafts, refused = read_answer(answer({**DECISION, **wrong}, RELATION), CHUNK)

    assert [one.document["kind"] for one in drafts] == ["relation"]
    assert [one.code for one in refused] == [code]
    assert refused[0].reason


@pytest.mark.parametrize(
    "wrong",
    [{"predicate": "Price Level"}, {"predicate": "x" * 65}, {"value": None}, {"value": [1]}, {"value": " "}, {"subject": "predicate:rate"}],
)  # fmt: skip
def test_facts_are_checked_like_a_persons(wrong: dict[str, Any]) -> None:
    assert read_answer(answer({**FACT, **wrong}), CHUNK)[0] == []


def test_thinking_and_fences_are_no_part_of_an_answer() -> None:
    text = f"<think>maybe {QUOTE}? {{}}</think>\n```json\n{answer(DECISION)}\n```"

    drafts, refused = read_answer(text, CHUNK)

    assert (len(drafts), refused) == (1, [])


@pytest.mark.parametrize("text", ["", "no idea", "[]", "{}", '{"proposals": 3}', "[" * 100_000, '{"proposals": [NaN'])
def test_nonsense_is_one_refusal(text: str) -> None:
    drafts, refused = read_answer(text, CHUNK)

    assert drafts == []
    assert [one.code for one in refused] == ["proposal.malformed"]


def test_the_same_proposal_is_one_draft_and_too_many_are_named() -> None:
    many = [{**FACT, "value": f"cheaper {number}"} for number in range(PROPOSALS_MAX + 7)]

    twice, _ = read_answer(answer(RELATION, {**RELATION, "confidence": 0.2, "subject": "Carrier:b"}), CHUNK)
    drafts, refused = read_answer(answer(*many), CHUNK)

    assert len(twice) == 1
    assert len(drafts) == PROPOSALS_MAX
    assert [one.code for one in refused] == ["limit.exceeded"]
    assert refused[0].reason.startswith("7 more")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*DECISION, *FACT, *RELATION, "proposals"]), inner), max_leaves=30))  # fmt: skip
def test_no_answer_breaks_the_reader(thing: object) -> None:
    for given_answer in (
        thing,
        {"proposals": thing},
        {"proposals": [thing]},
        {"proposals": [{**FACT, "value": thing}]},
    ):
        drafts, _ = read_answer(json.dumps(given_answer), CHUNK)
        for draft in drafts:
            assert " ".join(draft.quote.split()).casefold() in " ".join(draft.turn.text.split()).casefold()


def test_chunks_keep_order_and_only_the_last_changes_when_turns_come() -> None:
    turns = [turn(number, "word " * 400) for number in range(40)]

    before, after = chunks(turns[:30]), chunks(turns)

    assert [one for chunk in after for one in chunk.turns] == turns
    assert [one.digest for one in before[:-1]] == [one.digest for one in after][: len(before) - 1]
    assert all(len(question(chunk).encode()) <= CHUNK_BYTES_MAX + 1_000 for chunk in after)
    (alone,) = chunks([turn(1, "x" * 50_000)])
    assert len(question(alone)) < CHUNK_BYTES_MAX + 100
