"""Change points: where a series is best cut into stretches that are each level or straight, with a noise of its own.

Optimal partitioning by dynamic programming. Every stretch pays for what it needs to be told (level, slope, noise, its
place), twice what the Bayesian information criterion asks, so that a cut has to earn its keep.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from latewood.reasoning.patterns.rates import Floats

__all__ = ["POINTS_MAX", "change_points"]

POINTS_MAX: Final = 5_000
"""Most points of one series: the work grows with their square."""
_STRETCH_MIN: Final = 3
_PRICE: Final = 2.0
_NOISE_FLOOR: Final = 0.05
"""Least variance of a stretch, in that of the series: rounded data have stretches without any."""


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


def _sums(values: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values)])


def _cuts(y: Floats) -> list[int]:
    count = len(y)
    least = min(_STRETCH_MIN, max(2, count // 5))
    time = np.arange(count, dtype=np.float64)
    s_y, s_yy, s_t, s_tt, s_ty = _sums(y), _sums(y * y), _sums(time), _sums(time * time), _sums(time * y)
    price = _PRICE * np.log(count)
    cost = np.full(count + 1, np.inf)
    cost[0] = -price
    before = np.zeros(count + 1, dtype=np.int64)
    for end in range(least, count + 1):
        start = np.arange(end - least + 1)
        length = (end - start).astype(np.float64)
        sum_y, sum_t = s_y[end] - s_y[start], s_t[end] - s_t[start]
        level = np.maximum(s_yy[end] - s_yy[start] - sum_y**2 / length, 0.0)
        along = s_tt[end] - s_tt[start] - sum_t**2 / length
        across = s_ty[end] - s_ty[start] - sum_t * sum_y / length
        straight = np.maximum(level - across**2 / np.maximum(along, 1e-9), 0.0)
        told = np.minimum(
            length * np.log(level / length + _NOISE_FLOOR) + 2 * price,
            length * np.log(straight / length + _NOISE_FLOOR) + 3 * price,
        )
        total = cost[start] + told + price
        best = int(np.argmin(total))
        cost[end], before[end] = total[best], best
    cuts: list[int] = []
    end = count
    while end > 0:
        end = int(before[end])
        if end > 0:
            cuts.append(end)
    return cuts[::-1]
