"""What recall answers with: memories with why they were found, cut to a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from latewood.graph_schema.clock import iso
from latewood.graph_schema.decisions import RECORD, DecisionText, read_document
from latewood.graph_schema.model import Alternative, Fact, Node
from latewood.reasoning.fusion import Clue
from latewood.reasoning.tokens import tokens_of
from latewood.storage.searching import text_of, texts_in

__all__ = ["TEXT_CHARS_MAX", "Recall", "Recalled", "compose", "words_of"]

TEXT_CHARS_MAX: Final = 4_000
"""Characters of a memory that an answer repeats; the fact has the rest."""
_CUT_TOKENS_MIN: Final = 40
"""A memory is not cut to less than this to fit a budget: it is left out."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """A memory that was found.

    Attributes:
        fact: what was remembered, with its period, trust and source.
        subject: what it is of: a session, an entity, a decision.
        actor: who said it.
        text: its words; *cut* when they are more than is repeated here.
        clues: why it was found, the strongest first; their shares add up to *score*.
    """

    fact: Fact
    subject: Node
    actor: Node | None
    text: str
    cut: bool
    score: float
    clues: tuple[Clue, ...]


@dataclass(frozen=True, slots=True)
class Recall:
    """What is remembered of a question.

    Attributes:
        hits: the best first.
        text: the hits as lines for a model; costs *tokens* at most.
        ranked: how many memories were weighed.
        hidden: memories that matched and do not hold at `valid_at`: superseded, ended, or not yet begun.
        left_out: hits within the limit for which the budget had no room.
        notes: what was not looked at, and why: without an embedder, say, nothing is found by its meaning.
    """

    query: str
    hits: tuple[Recalled, ...]
    text: str
    tokens: int
    ranked: int
    hidden: int
    left_out: int
    notes: tuple[str, ...]


def words_of(fact: Fact) -> str:
    """Return the words of a memory in the order of reading, the title first; a decision says which are its reasons."""
    data = fact.value.data if fact.value is not None else None
    title = data.get("title") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(title, str):
        return text_of(fact.value) or ""
    if fact.predicate == RECORD:
        return "\n".join(_told(read_document(data)))
    lines = (text_of(fact.value) or "").split("\n")
    return "\n".join([title, *(line for at, line in enumerate(lines) if line != title or title in lines[:at])])


def _told(record: DecisionText) -> list[str]:
    """Return the lines of a decision: each part once, a rejected alternative never as if it had been chosen."""
    parts = (
        ("question: ", record.question), ("", record.choice), ("because ", record.rationale),
        *(("rejected: ", _rejected(one)) for one in record.alternatives),
        ("consequences: ", record.consequences), ("expected: ", record.expected_outcome),
        *(("", one) for one in texts_in(dict(record.extra))),
    )  # fmt: skip
    return [record.title, *(f"{lead}{words}" for lead, words in parts if words and words != record.title)]


def _rejected(one: Alternative) -> str:
    return f"{one.title}, because {one.rejected_because}" if one.rejected_because else one.title


def _line(hit: Recalled) -> str:
    """Return a memory as one line: when, of what, in which words, where from."""
    fact = hit.fact
    day = iso(fact.valid_from)[:10] + (f" to {iso(fact.valid_to)[:10]}" if fact.valid_to is not None else "")
    when = day if fact.valid_from_known else f"known since {iso(fact.recorded_at)[:10]}"
    place = ""
    if fact.source is not None and fact.source.method != "asserted":
        place = f" ({fact.source.origin}{' ' + fact.source.locator if fact.source.locator else ''})"
    # A line break in a name or a place would let one memory pass for two.
    words = " ".join(f"{hit.subject.name} {fact.predicate}: {hit.text}{place}".split())
    return f"- [{when}, {fact.trust.value}] {words}"


def _shortened(hit: Recalled, tokens: int) -> Recalled | None:
    """Return *hit* with so much of its text that its line costs at most *tokens*."""
    spare = tokens - tokens_of(_line(hit)) + tokens_of(hit.text)
    if spare < _CUT_TOKENS_MIN:
        return None
    low, high = 0, len(hit.text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if tokens_of(_line(_cut(hit, middle))) <= tokens else (low, middle - 1)
    return _cut(hit, low) if low else None


def _cut(hit: Recalled, chars: int) -> Recalled:
    text = hit.text[:chars].rstrip() + "…"
    return Recalled(hit.fact, hit.subject, hit.actor, text, True, hit.score, hit.clues)


def compose(
    query: str, hits: Sequence[Recalled], *, budget_tokens: int | None, ranked: int, hidden: int, notes: Sequence[str]
) -> Recall:
    """Write the answer: hits in order while the budget lasts, the one that meets its end cut where that is worth it."""
    kept: list[Recalled] = []
    spent = 0
    for hit in hits:
        # One more for the line's end: what is added up is never less than what the whole text costs.
        cost = tokens_of(_line(hit)) + 1
        if budget_tokens is not None and spent + cost > budget_tokens:
            short = _shortened(hit, budget_tokens - spent - 1)
            if short is not None:
                kept.append(short)
            break
        kept.append(hit)
        spent += cost
    text = "\n".join(_line(hit) for hit in kept)
    return Recall(query, tuple(kept), text, tokens_of(text), ranked, hidden, len(hits) - len(kept), tuple(notes))
