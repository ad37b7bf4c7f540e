"""What the verbs of patterns answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from latewood.graph_schema.patterns import PatternKind, PatternReview, PatternStatus
from latewood.graph_schema.values import Json

__all__ = ["DetectReport", "Failed", "Pattern", "Skipped"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """What recurs, drifts, shifts, flips back or follows, with its size, error rate and evidence (empty in a list)."""

    id: str
    key: str
    kind: PatternKind
    status: PatternStatus
    predicate: str
    statement: str
    family: str
    judged: int
    p: float | None
    q: float | None
    effect: float | None
    low: float | None
    high: float | None
    unit: str | None
    since: datetime
    until: datetime
    support: int
    detail: Mapping[str, Json]
    recorded_at: datetime
    version: int
    review: PatternReview | None
    reason: str | None
    about: tuple[str, ...]
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A series that was not looked at, and why."""

    subject: str
    predicate: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A detector that broke; the others went on."""

    detector: str
    reason: str


@dataclass(frozen=True, slots=True)
class DetectReport:
    """What a look for patterns came to."""

    opened: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    waiting: tuple[str, ...]
    fading: tuple[str, ...]
    ended: tuple[str, ...]
    withdrawn: tuple[str, ...]
    looked: int
    skipped: tuple[Skipped, ...]
    skipped_count: int
    failed: tuple[Failed, ...]
    facts: int
