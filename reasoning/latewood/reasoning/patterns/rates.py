"""Error rates: p values from a resampled null, and q values over everything that was looked at together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Ints", "largest", "q_values", "tail_p"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_TAIL_SHARE: Final = 0.03
"""Which part of a null distribution its tail is fitted on."""
_TAIL_LEAST: Final = 50
_LAMBDA: Final = 0.5


def tail_p(null: Floats, seen: Floats) -> Floats:
    """Return for each value *seen* the chance of one as large under *null*.

    Within the null's range it is the empirical share; beyond it the last exceedances are continued exponentially, so
    that a family of thousands needs no millions of resamples.
    """
    ordered = np.sort(null)
    count = len(ordered)
    share = (1.0 + count - np.searchsorted(ordered, seen, side="left")) / (1.0 + count)
    last = min(max(int(count * _TAIL_SHARE), _TAIL_LEAST), count)
    start = float(ordered[count - last])
    scale = max(float(np.mean(ordered[count - last :])) - start, 1e-12)
    beyond = last / count * np.exp(-np.maximum(seen - start, 0.0) / scale)
    return np.where(seen > start, np.maximum(beyond, 1e-300), share)


def q_values(p: Sequence[float] | Floats) -> Floats:
    """Return the q value of each p: the least false discovery rate at which it is still among the findings.

    Benjamini and Hochberg's, times Storey's estimate of the share of true nulls, which never goes below one half: a
    family may be all real, but nobody gets more than double the findings for believing so.
    """
    given = np.asarray(p, dtype=np.float64)
    count = len(given)
    if count == 0:
        return given
    nulls = min(1.0, max(0.5, (1.0 + float(np.sum(given > _LAMBDA))) / ((1.0 - _LAMBDA) * count)))
    order = np.argsort(given)
    stepped = given[order] * count * nulls / np.arange(1, count + 1)
    falling = np.minimum.accumulate(stepped[::-1])[::-1]
    q = np.empty(count)
    q[order] = np.minimum(falling, 1.0)
    return q


def largest(values: Floats) -> int:
    """Return the place of the largest of *values*, the first of equals."""
    return int(np.argmax(values))
