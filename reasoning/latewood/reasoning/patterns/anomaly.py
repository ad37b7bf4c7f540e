"""Anomaly: one value that its series' own tail does not reach.

How far out is far depends on the tail, and a series of sixty points does not tell its tail well. So a handful of tail
shapes are weighed by how well they explain the rest of the series, beginning from how well they explain all series
together; the chance of the largest value is the average over them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from latewood.reasoning.patterns.rates import Floats

__all__ = ["AnomalyTest", "anomaly_tests"]

_ROUNDS: Final = 60
_ODD_SHARE: Final = 0.05
"""How many series are thought to hold a value from somewhere else, before looking."""
_ODD_RANGE: Final = 4.0
_FAMILY_MIN: Final = 40
_BULK: Final = (0.5, 0.8)
_RATE_MAX: Final = 2.5
_SCALES: Final = np.exp(np.linspace(-0.5, 0.5, 11))
_TABLE_POINTS: Final = 4_001
_TABLE_END: Final = 60.0


@dataclass(frozen=True, slots=True)
class AnomalyTest:
    """The value of one series that stands out most.

    Attributes:
        at: its index.
        distance: how far it lies from where it was expected, in the noise of one point.
        p: the chance of one as far among as many.
    """

    at: int
    distance: float
    p: float


def _student(freedom: float) -> Callable[[Floats], Floats]:
    return lambda x: -(freedom + 1) / 2 * np.log1p(x * x / freedom)


def _power(exponent: float) -> Callable[[Floats], Floats]:
    return lambda x: -(np.abs(x) ** exponent)


_SHAPES: Final = (
    _power(2.0), _power(1.5), _power(1.0), _power(0.75), _student(10.0), _student(5.0), _student(3.0), _student(2.0),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Table:
    """One shape, scaled so that half of it lies within 1: log density and log tail over a grid."""

    log_density: Floats
    log_tail: Floats

    def density(self, x: Floats) -> Floats:
        return np.interp(x, _GRID, self.log_density)

    def tail(self, x: Floats) -> Floats:
        return np.interp(x, _GRID, self.log_tail)


def _towards_zero(end: float, count: int, power: int) -> Floats:
    """Return a grid from zero to *end* that is the finer the nearer to zero."""
    return end * np.linspace(0.0, 1.0, count) ** power


_GRID: Final = _towards_zero(_TABLE_END, _TABLE_POINTS, 2)


def _above(pieces: Floats) -> Floats:
    out = np.zeros(len(pieces) + 1)
    out[:-1] = np.cumsum(pieces[::-1])[::-1]
    return out


@lru_cache(maxsize=1)
def _tables() -> tuple[_Table, ...]:
    """Integrate each shape once."""
    wide = _towards_zero(2_000.0, 400_001, 3)
    made: list[_Table] = []
    for shape in _SHAPES:
        density: Floats = np.exp(shape(wide))
        pieces: Floats = (wide[1:] - wide[:-1]) * (density[1:] + density[:-1]) / 2
        above = _above(pieces)
        half = float(wide[np.searchsorted(-above, -above[0] / 2)])
        at: Floats = _GRID * half
        tail = np.interp(at, wide, above / float(above[0]))
        log_density = shape(at) + math.log(half) - math.log(2 * above[0])
        made.append(_Table(log_density, np.log(np.maximum(tail, 1e-30))))
    return tuple(made)


def anomaly_tests(residuals: Sequence[Floats]) -> list[AnomalyTest]:
    """Test for each series (what its best explanation leaves over) the value that stands out most."""
    tables = _tables()
    evidence = np.zeros((len(residuals), len(tables)))
    whole = np.zeros_like(evidence)
    tails = np.zeros_like(evidence)
    places: list[tuple[int, float]] = []
    for row, values in enumerate(residuals):
        size = np.abs(values - np.median(values))
        at = int(np.argmax(size))
        rest = np.delete(size, at)
        half = max(float(np.median(rest)), 1e-12 * float(size[at]), 1e-300)
        scales = half * _SCALES
        for column, table in enumerate(tables):
            top = np.minimum(np.exp(table.tail(size[at] / scales)), 0.5)
            plain = table.density(rest[None, :] / scales[:, None]).sum(axis=1) - len(rest) * np.log(scales)
            # Shapes are learned from all values: as they are, or with the largest from somewhere else.
            same = table.density(size[at] / scales) - np.log(scales)
            other = math.log(_ODD_SHARE / len(size) / (_ODD_RANGE * max(float(size[at]), half)))
            whole[row, column] = _log_mean(plain + np.logaddexp(math.log1p(-_ODD_SHARE) + same, other))
            # To judge the largest, of the others it is only known that none is larger.
            logs = plain - len(rest) * np.log1p(-top)
            evidence[row, column] = _log_mean(logs)
            weight = np.exp(logs - logs.max())
            chance = -np.expm1(len(size) * np.log1p(-top))
            tails[row, column] = float(np.sum(weight * chance) / weight.sum())
        places.append((at, float(size[at] / (1.4826 * half))))
    shares = _shares(evidence, _learned(whole))
    p = _calibrated(np.clip(np.sum(shares * tails, axis=1), 1e-300, 1.0))
    return [AnomalyTest(at, distance, float(one)) for (at, distance), one in zip(places, p, strict=True)]


def _calibrated(p: Floats) -> Floats:
    """Set the scale of *p* by the bulk of the family, most of which has no anomaly.

    Not knowing the shape makes p too large; by how much shows between the median and the last fifth.
    """
    if len(p) < _FAMILY_MIN:
        return p
    score = -np.log(p)
    middle, high = (float(one) for one in np.quantile(score, _BULK))
    rate = min(max(math.log((1 - _BULK[0]) / (1 - _BULK[1])) / max(high - middle, 1e-9), 1.0), _RATE_MAX)
    return np.where(score > high, np.minimum(p, (1 - _BULK[1]) * np.exp(-rate * (score - high))), p)


def _log_mean(logs: Floats) -> float:
    best = float(logs.max())
    return best + math.log(float(np.mean(np.exp(logs - best))))


def _shares(evidence: Floats, prior: Floats) -> Floats:
    """Return how much each shape counts for each series."""
    shares = np.exp(evidence - evidence.max(axis=1, keepdims=True)) * prior
    return shares / shares.sum(axis=1, keepdims=True)


def _learned(evidence: Floats) -> Floats:
    """Return how common each shape is among all series together."""
    prior = np.full(evidence.shape[1], 1.0 / evidence.shape[1])
    for _ in range(_ROUNDS):
        # One more in all keeps a shape possible that no series has shown yet.
        prior = (_shares(evidence, prior).sum(axis=0) + 1.0 / len(prior)) / (len(evidence) + 1)
    return prior
