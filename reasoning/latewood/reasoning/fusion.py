"""From the lists that each signal gives to one order: relative scores, weighted and added.

Scores of words and of vectors have no common scale, and ranks throw away how far ahead the best is. So each list is
brought to 0 to 1 in itself: words by their best, vectors between their last and their best, because the cosines of
even unrelated texts lie far above zero. What the graph knows is a share of a score, carried from one memory to another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from latewood.graph_schema.clock import Micros
from latewood.storage.port import Match

__all__ = ["WEIGHTS", "Candidate", "Clue", "Fusion", "Signal", "relative_to_best", "relative_to_last"]


class Signal(StrEnum):
    """Why a memory was found.

    words: it has words of the question. vectors: it means much the same. neighbour: what was said just before or after
    it was found. subject: other memories of its session or subject were. evidence: a decision rests on it, or it is
    what the decision says. named: the question names who said it or what it is about. time: it lies when the question
    says.
    """

    WORDS = "words"
    VECTORS = "vectors"
    NEIGHBOUR = "neighbour"
    SUBJECT = "subject"
    EVIDENCE = "evidence"
    NAMED = "named"
    TIME = "time"


WEIGHTS: Final[Mapping[Signal, float]] = {
    Signal.WORDS: 1.0,
    Signal.VECTORS: 1.0,
    Signal.NEIGHBOUR: 0.5,
    Signal.SUBJECT: 0.3,
    Signal.EVIDENCE: 0.5,
    Signal.NAMED: 0.3,
    Signal.TIME: 0.3,
}
"""What each signal may bring at most, or the share of another's score that it carries on."""


@dataclass(frozen=True, slots=True)
class Clue:
    """What one signal says of one memory.

    Attributes:
        share: what it brought to the score.
        rank: its place in the list of words or of vectors, from 1.
        score: the store's own: of words, the cosine of vectors.
        via: the fact through which it was found, for a neighbour or evidence.
    """

    signal: Signal
    share: float
    rank: int | None = None
    score: float | None = None
    via: str | None = None


@dataclass(slots=True)
class Candidate:
    """A memory that some signal found, while its clues come together.

    Attributes:
        score: the sum of what its clues bring.
    """

    fact: str
    subject: str
    valid_from: Micros
    score: float = 0.0
    clues: dict[Signal, Clue] = field(default_factory=dict[Signal, Clue])

    def take(self, clue: Clue) -> None:
        """Keep a clue, unless one of the same signal brings as much."""
        old = self.clues.get(clue.signal)
        if old is None or clue.share > old.share:
            self.score += clue.share if old is None else clue.share - old.share
            self.clues[clue.signal] = clue

    @property
    def order(self) -> tuple[float, int, str]:
        """Sort by this: the best first, of equals the latest."""
        return -round(self.score, 9), -self.valid_from, self.fact


def relative_to_best(matches: Sequence[Match]) -> list[float]:
    """Return scores as parts of the best one."""
    best = max((one.score for one in matches), default=0.0)
    return [one.score / best if best > 0 else 1.0 for one in matches]


def relative_to_last(matches: Sequence[Match]) -> list[float]:
    """Return where scores lie between the last of the list, 0, and the best, 1."""
    if not matches:
        return []
    best, last = max(one.score for one in matches), min(one.score for one in matches)
    return [(one.score - last) / (best - last) if best > last else 1.0 for one in matches]


class Fusion:
    """The memories found so far, by the id of the fact."""

    def __init__(self, without: Collection[Signal] = ()) -> None:
        """Begin with none; signals *without* which to go bring nothing."""
        self.found: dict[str, Candidate] = {}
        self._weights = {signal: 0.0 if signal in without else weight for signal, weight in WEIGHTS.items()}

    def _add(self, match: Match, clue: Clue) -> None:
        kept = self.found.get(match.fact)
        if kept is None:
            kept = self.found[match.fact] = Candidate(match.fact, match.subject, match.valid_from)
        kept.take(clue)

    def rank(self, signal: Signal, matches: Sequence[Match]) -> None:
        """Take a list of words or of vectors, best first."""
        if not self._weights[signal]:
            return
        relative = relative_to_last(matches) if signal is Signal.VECTORS else relative_to_best(matches)
        for rank, (one, part) in enumerate(zip(matches, relative, strict=True), 1):
            self._add(one, Clue(signal, self._weights[signal] * part, rank, one.score))

    def best(self, count: int) -> list[Candidate]:
        """Return the best so far, in order."""
        return sorted(self.found.values(), key=lambda one: one.order)[:count]

    def spread(self, signal: Signal, scores: Mapping[str, float], links: Iterable[tuple[str, Match]]) -> None:
        """Carry a share of the score of each (fact, match) link's fact on to the match, nearer ones more.

        Of several ways to one memory the strongest counts: many weak neighbours do not make a strong one.
        """
        for via, one in links:
            share = self._weights[signal] * scores[via] * one.score
            if via != one.fact and share > 0:
                self._add(one, Clue(signal, share, via=via))

    def lift_subjects(self, seeds: Sequence[Candidate]) -> None:
        """Lift every memory of a subject, a session among them, by a share of its best *seed*."""
        tops: dict[str, float] = {}
        for one in seeds:
            tops[one.subject] = max(tops.get(one.subject, 0.0), one.score)
        for one in self.found.values():
            top = tops.get(one.subject, 0.0)
            if share := self._weights[Signal.SUBJECT] * top:
                one.take(Clue(Signal.SUBJECT, share))

    def lift(self, signal: Signal, candidate: Candidate) -> None:
        """Lift one memory for what the question names."""
        if share := self._weights[signal]:
            candidate.take(Clue(signal, share))
