"""Rule: an occurrence of one kind is followed by another after a lag, more often than place and time explain.

For each kind the occurrences at every place and time are regressed on all kinds at the lags looked for, on the place,
on the time, and on whatever else happens at that place just then: busy places, shared seasons, storms and common
causes are so taken out. What is left is checked against placebos, the same question with time reversed: where they
come out surer than chance allows, the tests are slowed down by as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import erfc, log1p, sqrt
from typing import Final

import numpy as np

from latewood.reasoning.patterns.rates import Floats

__all__ = ["KINDS_MAX", "LAGS", "RuleTest", "rule_tests"]

LAGS: Final = (1, 2, 3)
"""Steps between cause and effect that are looked for."""
KINDS_MAX: Final = 60
"""Most kinds that are looked at together: the most frequent."""
_SUPPORT_MIN: Final = 5
_SURE_P: Final = 1e-4
_PLACEBOS_MIN: Final = 100
_RIDGE: Final = 1e-8
_BULK: Final = (0.5, 0.9)
_FLOOR: Final = 0.005


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One ordered pair of kinds at one lag.

    Attributes:
        strength: how much likelier the effect is after the cause, with its 95 % interval *low* to *high*.
        support: how often the effect did follow.
        p: one-sided, not corrected for the other pairs.
    """

    cause: int
    effect: int
    lag: int
    strength: float
    low: float
    high: float
    support: int
    p: float


def rule_tests(seen: Floats) -> list[RuleTest]:
    """Test the ordered pairs of kinds at every lag; *seen* is places x times x kinds, 1 where the kind occurred.

    A pair that followed each other fewer than `_SUPPORT_MIN` times is not tested.
    """
    tests = _tests(seen)
    sure = {(test.cause, test.effect) for test in tests if test.p < _SURE_P}
    # Backwards in time nothing is caused, but seasons, storms and rare counts are the same. What is sure forwards
    # would show up there with its roles swapped.
    placebo = [test.p for test in _tests(seen[:, ::-1, :]) if (test.effect, test.cause) not in sure]
    if len(placebo) < _PLACEBOS_MIN:
        return tests
    middle, high = (float(one) for one in np.quantile(-np.log(np.maximum(placebo, 1e-300)), _BULK))
    rate = min(1.0, np.log((1 - _BULK[0]) / (1 - _BULK[1])) / max(high - middle, 1e-9))
    return [replace(test, p=float(test.p**rate)) for test in tests]


def _tests(seen: Floats) -> list[RuleTest]:
    places, times, kinds = seen.shape
    longest = max(LAGS)
    rows = times - longest
    if rows < longest or kinds < 2:  # noqa: PLR2004 - a rule needs two kinds
        return []
    lagged = [seen[:, longest - lag : times - lag, :].reshape(-1, kinds) for lag in range(longest + 1)]
    past = np.hstack([lagged[lag] for lag in LAGS])
    tests: list[RuleTest] = []
    for effect in range(kinds):
        now = np.delete(lagged[0], effect, axis=1)
        tests += _of_effect(np.hstack([past, now]), lagged, effect, places)
    return tests


@dataclass(frozen=True, slots=True)
class _Fit:
    """A weighted regression of *told* columns beside one for each place and each time but the first.

    Attributes:
        coefficients: of the told columns.
        left: what is left over, divided by how much of itself each row explains.
        projected: what each row's rest adds to each coefficient.
        freedom: rows beyond columns.
    """

    coefficients: Floats
    left: Floats
    projected: Floats
    freedom: int


def _fit(told: Floats, y: Floats, weight: Floats, places: int) -> _Fit:
    """Fit *y*, without ever laying out the columns of places and times, which are nearly all zeros."""
    count, columns = told.shape
    times = count // places
    weighted = told * weight[:, None]
    cube, square = weighted.reshape(places, times, columns), weight.reshape(places, times)
    across = np.vstack([cube.sum(axis=1), cube.sum(axis=0)[1:]])
    size = columns + places + times - 1
    gram = np.empty((size, size))
    gram[:columns, :columns] = weighted.T @ told
    gram[columns:, :columns], gram[:columns, columns:] = across, across.T
    fixed = np.zeros((places + times - 1, places + times - 1))
    fixed[:places, places:] = square[:, 1:]
    fixed[places:, :places] = square[:, 1:].T
    np.fill_diagonal(fixed, np.concatenate([square.sum(axis=1), square.sum(axis=0)[1:]]))
    gram[columns:, columns:] = fixed
    inverse = np.linalg.inv(gram + np.diag(_RIDGE * np.maximum(np.diag(gram), 1.0)))
    target = (weight * y).reshape(places, times)
    right = np.concatenate([weighted.T @ y, target.sum(axis=1), target.sum(axis=0)[1:]])
    solved = inverse @ right
    # The first time has no column of its own: a row of zeros stands for it.
    padded = np.zeros((size + 1, size + 1))
    padded[:size, :size] = inverse
    row = np.arange(count, dtype=np.int64)
    place = columns + row // times
    step = row % times
    time = (columns + places + step - 1) * (step > 0) + size * (step == 0)
    sides = padded[place, :columns] + padded[time, :columns]
    inner = told @ inverse[:columns, :columns]
    corner = padded[place, place] + 2 * padded[place, time] + padded[time, time]
    leverage = np.clip(weight * (np.sum(told * (inner + 2 * sides), axis=1) + corner), 0.0, 0.95)
    levels = np.append(solved, 0.0)
    left = (y - told @ solved[:columns] - levels[place] - levels[time]) / np.sqrt(1 - leverage)
    return _Fit(solved[:columns], left, weight[:, None] * (inner + sides), max(count - size, 3))


def _of_effect(told: Floats, lagged: Sequence[Floats], effect: int, places: int) -> list[RuleTest]:
    kinds = lagged[0].shape[1]
    y = lagged[0][:, effect]
    # Rare at quiet places, frequent in season: the noise of a count goes with its rate.
    table = y.reshape(places, -1)
    mean = max(float(y.mean()), _FLOOR)
    expected = np.outer(table.mean(axis=1), table.mean(axis=0)).ravel() / mean
    rate = np.clip((expected + mean) / 2, _FLOOR, 1 - _FLOOR)
    fit = _fit(told, y, 1.0 / (rate * (1 - rate)), places)
    errors = np.sqrt(np.maximum((fit.left**2) @ fit.projected**2, 1e-12))
    found: list[RuleTest] = []
    for place, lag in enumerate(LAGS):
        for cause in range(kinds):
            if cause == effect:
                continue
            column = place * kinds + cause
            support = int(np.sum(lagged[lag][:, cause] * y))
            if support < _SUPPORT_MIN:
                continue
            strength, error = float(fit.coefficients[column]), float(errors[column])
            p = _student_upper(strength / error, fit.freedom)
            found.append(
                RuleTest(cause, effect, lag, strength, strength - 1.96 * error, strength + 1.96 * error, support, p)
            )
    return found


def _student_upper(t: float, freedom: int) -> float:
    """Return the chance that Student's t exceeds *t*, by Hill's normal approximation: good to 1e-4 from 10 on."""
    a = freedom - 0.5
    b = 48 * a * a
    z = sqrt(a * log1p(t * t / freedom))
    z = ((-(((4 * z * z + 33) * z * z + 240) * z * z + 855) / (10 * (b + 0.8 * z**4 + 100)) + z * z + 3) / b + 1) * z
    upper = 0.5 * erfc(z / sqrt(2))
    return upper if t >= 0 else 1.0 - upper
