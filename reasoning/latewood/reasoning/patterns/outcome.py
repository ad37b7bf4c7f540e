"""Outcome: decisions about one thing, or of one actor, that end badly more often than all others do."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, lgamma
from typing import Final

from latewood.graph_schema.patterns import PatternKind
from latewood.reasoning.patterns.port import LEVELS, Finding, Skipped, Taken, World
from latewood.reasoning.patterns.rates import q_values
from latewood.reasoning.patterns.telling import judged_words
from latewood.reasoning.patterns.wording import slot

__all__ = ["Outcomes"]

_TAKEN_MIN: Final = 5
_BAD_MIN: Final = 3


class Outcomes:
    """Decisions that keep being reversed or withdrawn, or turning out badly."""

    @property
    def name(self) -> str:
        """What it is called where it fails."""
        return "outcomes"

    @property
    def kinds(self) -> frozenset[PatternKind]:
        """What it finds."""
        return frozenset({PatternKind.OUTCOME})

    def find(self, world: World, slack: float = 1.0) -> tuple[Sequence[Finding], Sequence[Skipped]]:
        """Hold the decisions of each subject and actor against all others: Fisher's exact test, one-sided."""
        groups: dict[str, list[Taken]] = {}
        for one in world.taken:
            for group in one.groups:
                groups.setdefault(group, []).append(one)
        named = sorted(name for name, taken in groups.items() if _TAKEN_MIN <= len(taken) < len(world.taken))
        bad = sum(one.bad for one in world.taken)
        p = [_as_many(groups[name], bad, len(world.taken)) for name in named]
        found: list[Finding] = []
        for name, chance, q in zip(named, p, q_values(p), strict=True):
            ended = [one for one in groups[name] if one.bad]
            if q > slack * LEVELS[PatternKind.OUTCOME] or len(ended) < _BAD_MIN:
                continue
            count = len(groups[name])
            others = (bad - len(ended)) / (len(world.taken) - count)
            share = len(ended) / count
            low, high = _interval(len(ended), count)
            statement = (
                f"{len(ended)} of {count} decisions of {slot(name)} were reversed, withdrawn or turned out badly, "
                f"{share:.0%} (95 % {low:.0%} to {high:.0%}), and of all others {others:.0%}; {judged_words(float(q))}"
            )
            found.append(
                Finding(
                    kind=PatternKind.OUTCOME, scope=name, predicate="status", subjects=(name,), statement=statement,
                    family="outcomes", since=ended[0].time, until=ended[-1].time, support=len(ended),
                    evidence=tuple(one.told for one in ended), judged=len(named), p=chance, q=float(q), effect=share,
                    low=low, high=high, detail={"decisions": count, "others": others},
                )
            )  # fmt: skip
        return found, ()


def _as_many(taken: Sequence[Taken], bad: int, count: int) -> float:
    """Return the chance of as many bad ends among these, were they drawn from all."""
    own, drawn = sum(one.bad for one in taken), len(taken)
    return min(1.0, sum(_share(hit, bad, drawn, count) for hit in range(own, min(bad, drawn) + 1)))


def _share(hit: int, bad: int, drawn: int, count: int) -> float:
    if drawn - hit > count - bad:
        return 0.0
    return exp(_ways(bad, hit) + _ways(count - bad, drawn - hit) - _ways(count, drawn))


def _ways(among: int, taken: int) -> float:
    return lgamma(among + 1) - lgamma(taken + 1) - lgamma(among - taken + 1)


def _interval(hit: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    z2 = 1.96**2
    middle = (hit + z2 / 2) / (count + z2)
    half = 1.96 * (hit * (count - hit) / count + z2 / 4) ** 0.5 / (count + z2)
    return max(0.0, middle - half), min(1.0, middle + half)
