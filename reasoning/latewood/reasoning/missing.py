"""Missing decisions: places in sessions where something was decided in words and no decision was recorded. No model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from latewood.graph_schema.clock import NOW, AsOf, to_micros
from latewood.graph_schema.decisions import IN_SESSION
from latewood.graph_schema.model import Decision, Fact, Node, NodeKind
from latewood.reasoning.decisions import decisions_by_id
from latewood.storage.port import PAGE_MAX, FactQuery, GraphStore, NodeQuery, Page

__all__ = ["CUES", "MissingDecision", "cue_in", "missing_decisions"]

_SAID: Final = "said"
_TURNS_MAX: Final = 5_000
_LISTED_MAX: Final = 200
_EXCERPT_CHARS: Final = 300
_NEAR: Final = timedelta(hours=1)
_SHARED_MIN: Final = 0.3
_WHO: Final = r"\b(?:we|i|they|he|she|you|the team)"
_TAKES: Final = (
    r"(?:go(?:ing)? with|us(?:e|ing)|switch(?:ing)? to|mov(?:e|ing) to|stick(?:ing)? with|drop(?:ping)?"
    r"|keep(?:ing)?|adopt(?:ing)?|replac(?:e|ing)|abandon(?:ing)?)"
)

CUES: Final = {
    "decided": rf"{_WHO}(?:'ve| have|'d| had)? (?:just |finally |now )?(?:decided|agreed|chose|chosen|settled|opted)\b",
    "going to": rf"{_WHO}(?:'ll| will|'re going to| are going to|'m going to| am going to) (?:just |now )?{_TAKES}\b",
    "let's": rf"\blet(?:'s| us) (?:just |then )?{_TAKES}\b",
    "going with": r"\b(?:going|went) with\b",
    "the decision": r"\b(?:the|our|my|final) (?:decision|choice|call) (?:is|was)\b|^\s*decision\s*:",
    "rejected": rf"{_WHO}(?:'ve| have)? (?:rejected|ruled out|dropped|abandoned|turned down)\b",
    "undone": rf"{_WHO}(?:'ve| have|'ll| will)? (?:revert(?:ed)?|rolled back|roll back|undid)\b",
}
"""How people say that something is decided: a name, and a pattern over one sentence."""
_PATTERNS: Final = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in CUES.items()}
_SENTENCE: Final = re.compile(r"[^.!?\n]+[.!?]*")
_OPEN: Final = re.compile(
    r"^\W*(?:if|should|shall|could|would|can|may|maybe|perhaps|what if|unless|whether|do|does|did|have|has|why|how)\b",
    re.IGNORECASE,
)
_NOT_YET: Final = re.compile(
    r"\b(?:not|n't|never|until|before) (?:yet )?(?:we |i )?(?:decide|agree|settle|chose)", re.IGNORECASE
)
_WORD: Final = re.compile(r"\w{4,}")


@dataclass(frozen=True, slots=True)
class MissingDecision:
    """A turn that sounds like a decision that nobody recorded.

    Attributes:
        turn: the fact `said`; name it as the evidence of the decision that you record.
        cue: which of `CUES` it has.
        sentence: where.
    """

    session: Node
    turn: Fact
    speaker: str | None
    said_at: datetime
    cue: str
    sentence: str


def cue_in(text: str) -> tuple[str, str] | None:
    """Return the first cue in *text* and its sentence; questions and what is left open are none."""
    for found in _SENTENCE.finditer(text):
        sentence = " ".join(found.group().split())
        if not sentence or sentence.endswith("?") or _OPEN.match(sentence) or _NOT_YET.search(sentence):
            continue
        plain = sentence.replace("\u2019", "'")
        for name, pattern in _PATTERNS.items():
            if pattern.search(plain):
                return name, sentence[:_EXCERPT_CHARS]
    return None


async def missing_decisions(
    store: GraphStore, space: str, *, session: Node | None = None, first: int = 20, after: str | None = None,
    at: AsOf = NOW,
) -> Page[MissingDecision]:  # fmt: skip
    """Look through *first* sessions, the latest first, or through one; a page may hold none while `next` goes on.

    A turn counts as recorded when a decision of its session rests on it or was triggered by it, or was taken within an
    hour of it in much the same words. At most `_TURNS_MAX` turns of a session are read.
    """
    if session is None:
        page = await store.list_nodes(space, NodeQuery(NodeKind.SESSION, first=first, after=after, newest=True), at)
        sessions, more = page.items, page.next
    else:
        sessions, more = (session,), None
    found: list[MissingDecision] = []
    for one in sessions:
        heard = [
            part for part in (_heard(one, turn) for turn in await _turns(store, space, one, at)) if part is not None
        ]
        if heard:
            decisions = await _decisions(store, space, one, at)
            found += [part for part in heard if not _recorded(part, decisions)][:_LISTED_MAX]
    return Page(tuple(found), more)


async def _turns(store: GraphStore, space: str, session: Node, at: AsOf) -> list[Fact]:
    found: list[Fact] = []
    after: str | None = None
    known_at = None if at.known_at is None else to_micros(at.known_at)
    while len(found) < _TURNS_MAX:
        page = await store.timeline(space, [session.id], [_SAID], known_at=known_at, first=PAGE_MAX, after=after)
        found += [fact for fact in page.items if fact.retired_at is None and not fact.absent]
        after = page.next
        if after is None:
            break
    return [fact for fact in found if at.valid_at is None or fact.valid_from <= at.valid_at]


def _heard(session: Node, turn: Fact) -> MissingDecision | None:
    document = turn.value.data if turn.value is not None else None
    if not isinstance(document, dict):
        return None
    said = cast("dict[str, object]", document)
    text, speaker = said.get("text"), said.get("speaker")
    cue = cue_in(text) if isinstance(text, str) else None
    if cue is None:
        return None
    name = speaker if isinstance(speaker, str) else None
    return MissingDecision(session, turn, name, turn.valid_from, *cue)


async def _decisions(store: GraphStore, space: str, session: Node, at: AsOf) -> Sequence[Decision]:
    edges = await store.facts(space, FactQuery(objects=[session.id], predicates=[IN_SESSION]), at)
    read = await decisions_by_id(store, space, list(dict.fromkeys(edge.subject_id for edge in edges)), at)
    return tuple(read.values())


def _words(texts: Iterable[str | None]) -> set[str]:
    return {word.casefold() for text in texts if text for word in _WORD.findall(text)}


def _recorded(part: MissingDecision, decisions: Sequence[Decision]) -> bool:
    own = _words([part.sentence])
    for one in decisions:
        if any(piece.id == part.turn.id for piece in (*one.evidence, *one.triggered_by)):
            return True
        names = (node.name for node in one.about)
        shared = own & _words(
            [one.title, one.choice, one.rationale, *(item.title for item in one.alternatives), *names]
        )
        if abs(one.decided_at - part.said_at) <= _NEAR and len(shared) >= _SHARED_MIN * max(len(own), 1):
            return True
    return False
