"""The words of patterns: their kinds, where they stand, and what people make of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["DeclaredRun", "PatternKind", "PatternReview", "PatternStatus"]


class PatternKind(StrEnum):
    """What sort of pattern it is."""

    TREND = "trend"
    SHIFT = "shift"
    ANOMALY = "anomaly"
    RECURRENCE = "recurrence"
    REVERSAL = "reversal"
    RULE = "rule"
    STALENESS = "staleness"
    CONTRADICTION = "contradiction"
    OUTCOME = "outcome"


class PatternStatus(StrEnum):
    """Where a pattern stands.

    Fading: it held at the look before and does not at this one. Withdrawn: evidence was taken back.
    """

    OPEN = "open"
    FADING = "fading"
    ENDED = "ended"
    WITHDRAWN = "withdrawn"


class PatternReview(StrEnum):
    """What a person made of a pattern."""

    ACCEPTED = "accepted"
    MUTED = "muted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class DeclaredRun:
    """What a pack declares to be a recurrence: a *predicate* beyond a *threshold* for *periods* running.

    Attributes:
        above: whether beyond is above; else below.
        unit: of the threshold; None takes every series as it is.
    """

    name: str
    predicate: str
    threshold: float
    above: bool
    periods: int
    unit: str | None = None
    description: str = ""
