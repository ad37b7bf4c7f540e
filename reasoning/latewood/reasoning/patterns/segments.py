"""Change points: where a series is most probably cut into stretches that are each level or straight.

Each stretch has a noise of its own. Level, slope and noise are averaged over conjugate priors rather than fitted, so a
stretch is judged by how well it was to be foreseen; a short one that happens to be quiet gains nothing by it. The most
probable cut is found exactly, by dynamic programming.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from latewood.reasoning.patterns.rates import Floats

__all__ = ["POINTS_MAX", "change_points"]

POINTS_MAX: Final = 5_000
"""Most points of one series: the work grows with their square."""
_STRETCH_MIN: Final = 3
_CUT_PRICE: Final = 2.0
"""What a cut costs, in log n: one for its place, one for that there is one."""
_NOISE_WORTH: Final = 1.0
_NOISE: Final = 0.1
"""The prior of a stretch's noise, worth two points, in the variance of the series."""
_LEVEL_WORTH: Final = 0.2
_SLOPE_WORTH: Final = 1.0
"""How many points the priors of level and slope are worth."""


def change_points(values: Floats) -> list[int]:
    """Return the first index of every stretch but the first; gaps (NaN) are bridged by a straight line."""
    y = np.asarray(values, dtype=np.float64)[-POINTS_MAX:]
    skipped = len(values) - len(y)
    gaps = ~np.isfinite(y)
    if gaps.all() or len(y) < 2 * _STRETCH_MIN:
        return []
    if gaps.any():
        y = np.interp(np.arange(len(y)), np.flatnonzero(~gaps), y[~gaps])
    spread = float(np.std(y))
    if spread <= 0.0:
        return []
    y = (y - y.mean()) / spread
    return [cut + skipped for cut in _cuts(y)]


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over the first so many points, from which those of any stretch follow."""

    value: Floats
    square: Floats
    time: Floats
    time_square: Floats
    product: Floats

    @classmethod
    def of(cls, y: Floats) -> _Sums:
        time = np.arange(len(y), dtype=np.float64)

        def until(values: Floats) -> Floats:
            out = np.zeros(len(values) + 1)
            np.cumsum(values, out=out[1:])
            return out

        return cls(until(y), until(y * y), until(time), until(time * time), until(time * y))


def _evidence(sums: _Sums, end: int, count: int, gammas: Floats) -> Floats:
    """Return the log probability of each stretch that ends at *end* and begins at one of the first *count* places."""
    begin = np.arange(count)
    points = (end - begin).astype(np.float64)
    mean = (sums.value[end] - sums.value[begin]) / points
    middle = (sums.time[end] - sums.time[begin]) / points
    around = np.maximum(sums.square[end] - sums.square[begin] - points * mean * mean, 0.0)
    along = sums.time_square[end] - sums.time_square[begin] - points * middle * middle
    across = sums.product[end] - sums.product[begin] - points * middle * mean
    explained = across * across / np.maximum(along * (1.0 + _SLOPE_WORTH / points), 1e-9)
    drawn = _LEVEL_WORTH * points * mean * mean / (_LEVEL_WORTH + points)
    weight = _NOISE_WORTH + points / 2
    common = (
        gammas[end - begin]
        - points / 2 * math.log(2 * math.pi)
        + _NOISE_WORTH * math.log(_NOISE)
        + 0.5 * np.log(_LEVEL_WORTH / (_LEVEL_WORTH + points))
    )
    level = common - weight * np.log(_NOISE + (around + drawn) / 2)
    straight = (
        common
        + 0.5 * np.log(_SLOPE_WORTH / (_SLOPE_WORTH + points))
        - weight * np.log(_NOISE + (np.maximum(around - explained, 0.0) + drawn) / 2)
    )
    return np.logaddexp(level, straight) - math.log(2.0)


def _cuts(y: Floats) -> list[int]:
    length = len(y)
    sums = _Sums.of(y)
    gammas = np.asarray([math.lgamma(_NOISE_WORTH + points / 2) for points in range(length + 1)])
    price = _CUT_PRICE * math.log(length)
    # What the best way to a place is worth, a cut there included; nothing needs to be cut at the beginning.
    worth = np.full(length + 1, -math.inf)
    worth[0] = 0.0
    came_from = [0] * (length + 1)
    for end in range(_STRETCH_MIN, length + 1):
        ways = worth[: end - _STRETCH_MIN + 1] + _evidence(sums, end, end - _STRETCH_MIN + 1, gammas)
        came_from[end] = int(np.argmax(ways))
        worth[end] = float(ways[came_from[end]]) - price
    cuts: list[int] = []
    place = came_from[length]
    while place > 0:
        cuts.append(place)
        place = came_from[place]
    return cuts[::-1]
