"""Anomaly: one value that its series' own tail does not reach.

Where noise goes on from one point to the next, a value is expected to be near its neighbours, so it is held against
what they say of it: the same jump stands out more the surer they are.

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

from latewood.reasoning.patterns.memo import Memo, digest_of
from latewood.reasoning.patterns.rates import Floats, Ints

__all__ = ["AnomalyTest", "anomaly_tests", "surprise_at", "surprises"]

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
_CELLS_MAX: Final = 100_000
"""Most values that are judged at once, each at all scales."""


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
class _Tables:
    """The shapes, each scaled so that half of it lies within 1: log density and log tail over a grid, a row each."""

    log_density: Floats
    log_tail: Floats


@dataclass(frozen=True, slots=True)
class _Spots:
    """Where values lie on the grid: after which of its points, and how far towards the next."""

    at: Ints
    part: Floats

    @classmethod
    def of(cls, x: Floats) -> _Spots:
        """Find them without a search: the grid is even in the square root."""
        inside = np.minimum(x, _TABLE_END)
        at = np.minimum((np.sqrt(inside / _TABLE_END) * (_TABLE_POINTS - 1)).astype(np.int64), _TABLE_POINTS - 2)
        return cls(at, (inside - _GRID[at]) / _STEPS[at])

    def read(self, table: Floats) -> Floats:
        """Read one row of a table there."""
        low = table[self.at]
        return low + self.part * (table[self.at + 1] - low)


def _towards_zero(end: float, count: int, power: int) -> Floats:
    """Return a grid from zero to *end* that is the finer the nearer to zero."""
    return end * np.linspace(0.0, 1.0, count) ** power


_GRID: Final = _towards_zero(_TABLE_END, _TABLE_POINTS, 2)
_STEPS: Final = _GRID[1:] - _GRID[:-1]


def _above(pieces: Floats) -> Floats:
    out = np.zeros(len(pieces) + 1)
    out[:-1] = np.cumsum(pieces[::-1])[::-1]
    return out


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    """Integrate each shape once."""
    wide = _towards_zero(2_000.0, 400_001, 3)
    densities: list[Floats] = []
    tails: list[Floats] = []
    for shape in _SHAPES:
        density: Floats = np.exp(shape(wide))
        pieces: Floats = (wide[1:] - wide[:-1]) * (density[1:] + density[:-1]) / 2
        above = _above(pieces)
        half = float(wide[np.searchsorted(-above, -above[0] / 2)])
        at: Floats = _GRID * half
        tail = np.interp(at, wide, above / float(above[0]))
        densities.append(shape(at) + math.log(half) - math.log(2 * above[0]))
        tails.append(np.log(np.maximum(tail, 1e-30)))
    return _Tables(np.vstack(densities), np.vstack(tails))


@dataclass(frozen=True, slots=True)
class _Row:
    """What one series says: under each shape, how likely its rest, how likely all, how far out its largest."""

    evidence: Floats
    whole: Floats
    tails: Floats
    at: int
    distance: float


def surprise_at(residuals: Floats, phi: float, at: int) -> float:
    """Return how far the value *at* lies from what its neighbours say of it, where noise has the lag 1 *phi*."""
    if at == 0 or at == len(residuals) - 1:
        return float(residuals[at] - phi * residuals[1 if at == 0 else -2])
    return float(residuals[at] - phi / (1 + phi * phi) * (residuals[at - 1] + residuals[at + 1]))


def surprises(residuals: Floats, phi: float) -> Floats:
    """Return for each value of a series how far it lies from what its neighbours say, all in one noise.

    What stands out most says nothing of its neighbours, or they would stand out with it.
    """
    centred = residuals - np.median(residuals)
    found = _surprises(centred, phi)
    at = int(np.argmax(np.abs(found)))
    mended = centred.copy()
    mended[at] -= surprise_at(centred, phi, at)
    others = _surprises(mended, phi)
    others[at] = found[at]
    return others


def _surprises(centred: Floats, phi: float) -> Floats:
    out = centred.copy()
    out[1:-1] -= phi / (1 + phi * phi) * (centred[:-2] + centred[2:])
    # An end has one neighbour only, which leaves more noise.
    out[[0, -1]] = (centred[[0, -1]] - phi * centred[[1, -2]]) / math.sqrt(1 + phi * phi)
    return out


def anomaly_tests(residuals: Sequence[Floats], memo: Memo | None = None) -> list[AnomalyTest]:
    """Test for each series of noise without memory (`surprises`) the value that stands out most."""
    held = Memo(0) if memo is None else memo
    digests = [digest_of(values) for values in residuals]
    rows = {digest: one for digest in digests if (one := held.get("anomaly", digest, _Row)) is not None}
    missing: dict[int, dict[bytes, Floats]] = {}
    for digest, values in zip(digests, residuals, strict=True):
        if digest not in rows:
            missing.setdefault(len(values), {})[digest] = values
    for length, part in missing.items():
        news, step = list(part), max(1, _CELLS_MAX // length)
        for start in range(0, len(news), step):
            some = news[start : start + step]
            for digest, row in zip(some, _rows(np.vstack([part[one] for one in some])), strict=True):
                rows[digest] = row
                held.put("anomaly", digest, row, 1_000)
    told = [rows[digest] for digest in digests]
    if not told:
        return []
    evidence, whole, tails = (
        np.vstack([getattr(one, name) for one in told]) for name in ("evidence", "whole", "tails")
    )
    shares = _shares(evidence, _learned(whole))
    p = _calibrated(np.clip(np.sum(shares * tails, axis=1), 1e-300, 1.0))
    return [AnomalyTest(row.at, row.distance, float(one)) for row, one in zip(told, p, strict=True)]


def _rows(values: Floats) -> list[_Row]:
    """Judge series of one length together."""
    count, length = values.shape
    tables = _tables()
    shapes = len(tables.log_density)
    evidence, whole, tails = (np.zeros((count, shapes)) for _ in range(3))
    size = np.abs(values - np.median(values, axis=1, keepdims=True))
    at = np.argmax(size, axis=1)
    largest = size[np.arange(count), at]
    rest = size[np.arange(length)[None, :] != at[:, None]].reshape(count, length - 1)
    half = np.maximum(np.maximum(np.median(rest, axis=1), 1e-12 * largest), 1e-300)
    scales = half[:, None] * _SCALES
    logs_of_scales = np.log(scales)
    # Shapes are learned from all values: as they are, or with the largest from somewhere else.
    other = np.log(_ODD_SHARE / length / (_ODD_RANGE * np.maximum(largest, half)))[:, None]
    far, near = _Spots.of(largest[:, None] / scales), _Spots.of(rest[:, None, :] / scales[:, :, None])
    for shape in range(shapes):
        plain = near.read(tables.log_density[shape]).sum(axis=2) - (length - 1) * logs_of_scales
        same = far.read(tables.log_density[shape]) - logs_of_scales
        whole[:, shape] = _log_mean(plain + np.logaddexp(math.log1p(-_ODD_SHARE) + same, other))
        # To judge the largest, of the others it is only known that none is larger.
        inside = np.log1p(-np.minimum(np.exp(far.read(tables.log_tail[shape])), 0.5))
        logs = plain - (length - 1) * inside
        evidence[:, shape] = _log_mean(logs)
        weight = np.exp(logs - logs.max(axis=1, keepdims=True))
        tails[:, shape] = np.sum(weight * -np.expm1(length * inside), axis=1) / weight.sum(axis=1)
    distance = largest / (1.4826 * half)
    return [_Row(evidence[n], whole[n], tails[n], int(at[n]), float(distance[n])) for n in range(count)]


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


def _log_mean(logs: Floats) -> Floats:
    best = logs.max(axis=1)
    return best + np.log(np.mean(np.exp(logs - best[:, None]), axis=1))


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
