"""A look: every detector over one world, and what held at the look before too.

Whoever looks after every session would sooner or later see something in noise. What is tested therefore counts only
where it holds with and without the latest period: two looks running, the earlier one at twice the level, as what grows
is only becoming sure then. What is counted needs no second look. Both looks are computed from what is known now, so
that the order in which things arrived makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from latewood.graph_schema.patterns import PatternKind
from latewood.reasoning.patterns.contradiction import Contradictions
from latewood.reasoning.patterns.declared import Declarations
from latewood.reasoning.patterns.numeric import Changes, Recurrences
from latewood.reasoning.patterns.outcome import Outcomes
from latewood.reasoning.patterns.port import Detector, Finding, Skipped, World
from latewood.reasoning.patterns.staleness import Stalenesses
from latewood.reasoning.patterns.worded import Reversals, Rules

__all__ = ["DETECTORS", "Failed", "Look", "look"]

DETECTORS: Final[tuple[Detector, ...]] = (
    Changes(), Recurrences(), Declarations(), Reversals(), Rules(), Contradictions(), Stalenesses(), Outcomes(),
)  # fmt: skip
_SLACK_BEFORE: Final = 2.0


@dataclass(frozen=True, slots=True)
class Failed:
    """A detector that broke; the others went on."""

    detector: str
    reason: str
    kinds: frozenset[PatternKind]


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found.

    Attributes:
        findings: what holds now and held at the look before.
        fresh: what holds now only: the next look decides.
        fading: keys of what held at the look before and does not now.
        series: how many were there to look at.
    """

    findings: tuple[Finding, ...]
    fresh: tuple[Finding, ...]
    fading: frozenset[tuple[str, str, str]]
    skipped: tuple[Skipped, ...]
    failed: tuple[Failed, ...]
    series: int


def look(
    world: World, detectors: Sequence[Detector] = DETECTORS, progress: Callable[[int, int], None] | None = None
) -> Look:
    """Run every detector on *world* and on the world of the look before."""
    earlier = world.before()
    now: list[Finding] = []
    before: list[Finding] = []
    skipped = list(world.skipped)
    failed: list[Failed] = []
    for done, detector in enumerate(detectors):
        try:
            found, left_out = detector.find(world)
            found_before, _ = detector.find(earlier, _SLACK_BEFORE)
        except Exception as error:  # noqa: BLE001 - what a detector throws is told, and stops no other
            failed.append(Failed(detector.name, f"{type(error).__name__}: {error}", detector.kinds))
            continue
        now += found
        before += found_before
        skipped += left_out
        if progress is not None:
            progress(done + 1, len(detectors))
    held = {_question(one) for one in before}
    kept = tuple(one for one in now if _question(one) in held or one.q is None)
    return Look(
        findings=kept,
        fresh=tuple(one for one in now if _question(one) not in held and one.q is not None),
        fading=frozenset({one.key for one in before} - {one.key for one in now}),
        skipped=tuple(skipped),
        failed=tuple(failed),
        series=len(world.numbers) + len(world.choices) + len(world.occurrences),
    )


def _question(finding: Finding) -> tuple[str, str, str]:
    """Return what was asked: a line and a step are two answers to whether a series changes."""
    kind = PatternKind.TREND if finding.kind is PatternKind.SHIFT else finding.kind
    return (kind.value, finding.scope, finding.predicate)
