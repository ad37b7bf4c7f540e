"""Recurrence: a deviation that comes back period after period, in a series of deviations from a plan.

The noise of each series is read from its favourable side, which no overrun has touched, and drawn towards that of all
series. A run is worth the sum of what its periods exceed a threshold by, the greatest counting no more than the next:
one overrun between two chances is no recurrence. What such a sum comes to by chance is counted in resamples of the
family's own values: favourable ones mirrored, and overruns that stand alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from latewood.reasoning.patterns.rates import Floats, tail_p

__all__ = ["PERIODS_MIN", "RUN_MIN", "RunTest", "held_runs", "run_tests"]

PERIODS_MIN: Final = 6
"""Fewest periods of a series that is tested."""
RUN_MIN: Final = 3
"""Fewest periods of a run."""
_PULL: Final = 4.0
_LEVEL: Final = 1.4
_FLOOR: Final = 1.2
_NULLS: Final = 20_000
_SEED: Final = 11


@dataclass(frozen=True, slots=True)
class RunTest:
    """The best run of one series: periods *first* to *last*, both in it.

    Attributes:
        mean: of the run, in the series' unit; *scale* the noise of one period.
        p: the chance of a run as good.
    """

    first: int
    last: int
    mean: float
    scale: float
    p: float


def held_runs(values: Floats, threshold: float, least: int, *, above: bool = True) -> list[tuple[int, int]]:
    """Return the runs (first, last) of at least *least* periods beyond *threshold*: the declared kind, untested."""
    beyond = values > threshold if above else values < threshold
    edges = np.flatnonzero(np.diff(np.concatenate([[0], beyond.astype(np.int64), [0]])))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= least]


def _best(z: Floats) -> tuple[float, int, int]:
    """Return the worthiest run of at least `RUN_MIN` periods, each of them above `_FLOOR`: worth, first, last."""
    best = (0.0, 0, -1)
    for first in range(len(z) - RUN_MIN + 1):
        total, top, second = 0.0, -np.inf, -np.inf
        for last in range(first, len(z)):
            value = float(z[last])
            if value <= _FLOOR:
                break
            total += value - _LEVEL
            top, second = max(top, value), max(second, min(top, value))
            worth = total - (top - second)
            if last - first + 1 >= RUN_MIN and worth > best[0]:
                best = (worth, first, last)
    return best


def run_tests(series: Sequence[Floats]) -> list[RunTest | None]:
    """Test the upper side of each of *series* (deviations from a plan); None where there is no run at all."""
    own = [float(np.sqrt(np.mean(values[values < 0] ** 2))) for values in series if np.sum(values < 0) >= RUN_MIN]
    if not own:
        return [None] * len(series)
    pool = float(np.median(own))
    scales = [float(_scale(values[None, :], pool)[0]) for values in series]
    scaled = [values / scale for values, scale in zip(series, scales, strict=True)]
    best = [_best(z) for z in scaled]
    p = tail_p(_null(scaled, scales, pool), np.asarray([one[0] for one in best]))
    return [
        None if last < first else RunTest(first, last, float(np.mean(values[first : last + 1])), scale, float(chance))
        for values, scale, (_, first, last), chance in zip(series, scales, best, p, strict=True)
    ]


def _scale(rows: Floats, pool: float) -> Floats:
    """Return the noise of each row: of its values below the plan, drawn towards that of all series."""
    below = np.where(rows < 0, rows, 0.0)
    count = np.sum(rows < 0, axis=1)
    return np.sqrt((np.sum(below**2, axis=1) + _PULL * pool**2) / (count + _PULL))


def _null(scaled: Sequence[Floats], scales: Sequence[float], pool: float) -> Floats:
    """Return the worth of the best run in resamples of the family without runs, its noise estimated anew in each."""
    random = np.random.default_rng(_SEED)
    low = np.sort(np.concatenate([-z[z < 0] for z in scaled]))
    alone: list[float] = []
    for z in scaled:
        high = np.concatenate([[False], z > _LEVEL, [False]])
        alone += [float(one) for one in z[high[1:-1] & ~high[:-2] & ~high[2:]]]
    places = sum(len(z) for z in scaled)
    # What stands alone beyond what mirrored noise would give is how often one-off overruns happen.
    expected = float(np.sum(low > _LEVEL)) / max(2 * len(low), 1)
    share = max(0.0, len(alone) / max(places, 1) - expected)
    odd = np.sort(np.asarray(alone)) if alone else np.zeros(1)
    lengths = np.sort(random.choice(np.sort([len(z) for z in scaled]), _NULLS))
    out = np.zeros(_NULLS)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        size = (len(rows), int(length))
        z = random.choice(low, size) * np.where(random.random(size) < 0.5, -1.0, 1.0)  # noqa: PLR2004 - either side
        z = np.where(random.random(size) < share, random.choice(odd, size), z)
        values = z * random.choice(np.sort(scales), len(rows))[:, None]
        out[rows] = _worths(values / _scale(values, pool)[:, None])
    return out


def _worths(z: Floats) -> Floats:
    """Return what `_best` finds in each row, all rows at once."""
    best = np.zeros(len(z))
    for first in range(z.shape[1] - RUN_MIN + 1):
        total = np.zeros(len(z))
        top = np.full(len(z), -np.inf)
        second = top.copy()
        open_ = np.ones(len(z), dtype=bool)
        for last in range(first, z.shape[1]):
            open_ &= z[:, last] > _FLOOR
            if not open_.any():
                break
            value = z[:, last]
            total += value - _LEVEL
            top, second = np.maximum(top, value), np.maximum(second, np.minimum(top, value))
            if last - first + 1 >= RUN_MIN:
                worth = total - (top - second)
                best = np.where(open_ & (worth > best), worth, best)
    return best
