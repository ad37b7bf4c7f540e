"""Declared recurrence: a threshold that was passed so many periods running, as a pack has it. Counted, not tested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from latewood.graph_schema.patterns import DeclaredRun, PatternKind
from latewood.reasoning.patterns.port import Finding, Numbers, Skipped, World
from latewood.reasoning.patterns.recurrence import held_runs
from latewood.reasoning.patterns.telling import amount, day
from latewood.reasoning.patterns.wording import slot

__all__ = ["Declarations"]

_GAP: Final = 1.5
"""How many of its usual steps may lie between two periods that follow each other."""


class Declarations:
    """Runs beyond a threshold that packs declare."""

    @property
    def name(self) -> str:
        """What it is called where it fails."""
        return "declarations"

    @property
    def kinds(self) -> frozenset[PatternKind]:
        """What it finds."""
        return frozenset({PatternKind.RECURRENCE})

    def find(self, world: World, slack: float = 1.0) -> tuple[Sequence[Finding], Sequence[Skipped]]:
        """Return the latest run of each series that a declaration is about; *slack* has nothing to loosen here."""
        del slack
        found: list[Finding] = []
        skipped: list[Skipped] = []
        for declared in world.declared:
            members = [one for one in world.numbers if one.predicate == declared.predicate and one.against is None]
            for one in members:
                reason = _unfit(one, declared)
                if reason is not None:
                    skipped.append(Skipped(one.subject, one.predicate, reason))
                    continue
                run = _latest(one, declared)
                if run is not None:
                    found.append(_found(one, declared, *run, len(members)))
        return found, skipped


def _unfit(one: Numbers, declared: DeclaredRun) -> str | None:
    if declared.unit is not None and one.unit != declared.unit:
        said = one.unit or "no unit"
        return f"{declared.name} is declared in {declared.unit}, and this is in {said}; convert it"
    if len(one.values) < declared.periods:
        return f"too short: {len(one.values)} of at least {declared.periods} periods of {declared.name}"
    if not bool(np.all(np.isfinite(one.values))):
        return "it holds what is no finite number"
    return None


def _latest(one: Numbers, declared: DeclaredRun) -> tuple[int, int] | None:
    found: tuple[int, int] | None = None
    for begin, end in _unbroken(one):
        part = one.values[begin:end]
        for first, last in held_runs(part, declared.threshold, declared.periods, above=declared.above):
            found = (begin + first, begin + last)
    return found


def _unbroken(one: Numbers) -> Iterator[tuple[int, int]]:
    """Yield the parts of a series in which no period is missing."""
    steps = np.diff(np.asarray(one.times, dtype=np.float64))
    breaks = np.flatnonzero(steps > _GAP * np.median(steps)) + 1 if len(steps) else np.zeros(0, dtype=np.int64)
    edges = [0, *(int(at) for at in breaks), len(one.times)]
    yield from pairwise(edges)


def _found(one: Numbers, declared: DeclaredRun, first: int, last: int, judged: int) -> Finding:
    facts = one.facts[first : last + 1]
    going_on = last == len(one.values) - 1
    unit = f" {one.unit}" if one.unit else ""
    mean = float(np.mean(one.values[first : last + 1]))
    statement = (
        f"{one.predicate} of {slot(one.subject)} {'has been' if going_on else 'was'} "
        f"{'above' if declared.above else 'below'} {declared.threshold:g}{unit} {len(facts)} periods running, "
        f"{day(one.times[first])} to {day(one.times[last])}, {amount(mean, one.unit)} on average "
        f"({declared.name}: at least {declared.periods})"
    )
    return Finding(
        kind=PatternKind.RECURRENCE, scope=f"{one.subject} {declared.name}", predicate=one.predicate,
        subjects=(one.subject,), statement=statement, family="declarations", since=one.times[first],
        until=one.times[last], support=len(facts), evidence=facts, judged=judged, effect=float(len(facts)),
        detail={
            "declared": declared.name, "threshold": declared.threshold, "above": declared.above,
            "least": declared.periods, "periods": len(facts), "mean": mean, "going_on": going_on,
        },
    )  # fmt: skip
