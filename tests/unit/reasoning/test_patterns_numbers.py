"""The detectors on plain arrays: seeded worlds of our own, with what is planted and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from latewood.reasoning.patterns.anomaly import anomaly_tests, surprise_at, surprises
from latewood.reasoning.patterns.change import change_tests
from latewood.reasoning.patterns.rates import Floats, q_values, tail_p
from latewood.reasoning.patterns.recurrence import held_runs, run_tests
from latewood.reasoning.patterns.reversal import reversal
from latewood.reasoning.patterns.rule import rule_tests
from latewood.reasoning.patterns.segments import change_points


def _noise(random: np.random.Generator, count: int, length: int, phi: float = 0.0) -> Floats:
    shocks = random.normal(size=(count, length + 40))
    out = np.zeros_like(shocks)
    for at in range(1, length + 40):
        out[:, at] = phi * out[:, at - 1] + shocks[:, at]
    return out[:, 40:]


def _world(seed: int) -> tuple[list[Floats], list[str]]:
    """120 series of 48 points on different scales: 12 drift, 12 step, 96 do neither but are no white noise all."""
    random = np.random.default_rng(seed)
    rows = np.vstack([_noise(random, 40, 48, 0.4), _noise(random, 80, 48)])
    kinds = ["none"] * 120
    for row in range(40, 52):
        rows[row] += 4.0 * np.linspace(0, 1, 48)
        kinds[row] = "trend"
    for row in range(52, 64):
        rows[row] -= 4.0 * (np.arange(48) >= 20)
        kinds[row] = "shift"
    season = 2.0 * np.sin(2 * np.pi * np.arange(48) / 8)
    rows[64:80] += season
    return [row * scale + 30 for row, scale in zip(rows, random.uniform(0.1, 10, 120), strict=True)], kinds


def test_a_line_and_a_step_are_told_from_noise_and_from_each_other() -> None:
    series, kinds = _world(3)
    tests = [one for one, _ in change_tests(series)]
    q = q_values([one.p for one in tests])
    found = [one.kind if value <= 0.05 else "none" for one, value in zip(tests, q, strict=True)]
    pairs = list(zip(found, kinds, strict=True))
    assert sum(one == "none" != kind for one, kind in pairs) == 0
    assert sum(kind == "none" != one for one, kind in pairs) <= 2
    assert sum(one != kind for one, kind in pairs if kind != "none") <= 3
    steps = [one for one, kind in zip(tests, kinds, strict=True) if kind == "shift" == one.kind]
    assert all(abs(one.at - 20) <= 2 and one.low < one.effect < one.high < 0 for one in steps)
    assert sum(one.period is not None for one in tests[64:80]) == 16


def test_what_is_called_a_line_is_right_as_often_as_what_is_called_a_step() -> None:
    random = np.random.default_rng(3)
    rows, at = random.normal(size=(160, 48)), random.integers(10, 39, 160)
    rows[:80] += 2.0 * np.linspace(0, 1, 48)
    rows[80:] += 1.5 * (np.arange(48) >= at[80:, None])
    tests = [one for one, _ in change_tests(list(rows))]
    lines = [place < 80 for place, one in enumerate(tests) if one.kind == "trend"]
    steps = [place >= 80 and abs(one.at - at[place]) <= 3 for place, one in enumerate(tests) if one.kind == "shift"]
    right = sum(lines) / len(lines), sum(steps) / len(steps)
    # With any thumb on the scale one of the two is right less often than the other: by 0.16 at odds of e to one.
    assert min(right) >= 0.7
    assert abs(right[0] - right[1]) <= 0.1


def test_the_order_of_the_series_does_not_matter() -> None:
    series, _ = _world(4)
    order = np.random.default_rng(0).permutation(len(series))
    straight = [one for one, _ in change_tests(series)]
    mixed = [one for one, _ in change_tests([series[int(place)] for place in order])]
    assert [straight[int(place)] for place in order] == mixed


def test_autocorrelated_noise_of_any_length_is_not_called_a_change() -> None:
    random = np.random.default_rng(8)
    series = [row for length in (20, 33, 90) for row in _noise(random, 60, length, 0.6)]
    p = np.asarray([one.p for one, _ in change_tests(series)])
    # Of 180 true nulls, 9 are expected below 0.05; the bound leaves room for that they are counted in one draw.
    assert np.sum(p < 0.05) <= 20
    assert np.sum(q_values(p) <= 0.05) == 0


def test_one_value_beyond_its_tail_is_an_anomaly_and_a_heavy_tail_is_not() -> None:
    random = np.random.default_rng(5)
    rows = [random.normal(size=60) for _ in range(60)] + [random.laplace(size=60) for _ in range(20)]
    for row in range(5):
        rows[row][30] += 9.0
    tests = anomaly_tests(rows)
    q = q_values([one.p for one in tests])
    found = {row for row in range(80) if q[row] <= 0.15}
    assert set(range(5)) <= found
    assert len(found) <= 6
    assert all(tests[row].at == 30 for row in range(5))


def test_a_jump_stands_out_the_more_the_surer_its_neighbours_are() -> None:
    random = np.random.default_rng(12)
    rows = _noise(random, 80, 60, 0.7)
    rows[:10, 30] += 6.0
    plain = q_values([one.p for one in anomaly_tests(list(rows))])
    tests = anomaly_tests([surprises(row, 0.7) for row in rows])
    q = q_values([one.p for one in tests])
    assert np.sum(q[:10] <= 0.2) >= 8 > np.sum(plain[:10] <= 0.2)
    assert np.sum(q[10:] <= 0.2) <= 3
    assert all(tests[row].at == 30 for row in np.flatnonzero(q[:10] <= 0.2))


@pytest.mark.parametrize("at", [0, 1, 7, 18, 19])
def test_what_stands_out_does_not_make_its_neighbours_stand_out(at: int) -> None:
    row = np.zeros(20)
    row[at] = 3.0
    found = surprises(row, 0.5)
    assert np.flatnonzero(np.abs(found) > 1e-12).tolist() == [at]
    assert surprise_at(row, 0.5, at) == 3.0
    assert surprises(row, 0.0).tolist() == row.tolist()


def test_a_run_of_overruns_stands_out_from_single_ones() -> None:
    random = np.random.default_rng(6)
    rows = [random.normal(0, 4, 12) for _ in range(60)]
    for row in range(10):
        rows[row][3:7] = 4 * random.normal(2.8, 0.5, 4)
    for row in range(10, 30):
        rows[row][[2, 8]] += 13.0
    tests = run_tests(rows)
    q = q_values([1.0 if one is None else one.p for one in tests])
    found = {row for row in range(60) if q[row] <= 0.05}
    assert len(found & set(range(10))) >= 8
    assert len(found - set(range(10))) <= 2
    assert run_tests([np.asarray([1.0, 2.0, 3.0])]) == [None]


def test_one_overrun_between_two_chances_is_no_recurrence() -> None:
    random = np.random.default_rng(7)
    rows = [random.normal(0, 4, 12) for _ in range(80)]
    rows[0][4:7] = [12.0, 12.0, 12.0]
    rows[1][4:7] = [6.5, 23.0, 6.5]
    even, lone = run_tests(rows)[:2]
    # Their sums are the same.
    assert even is not None
    assert lone is not None
    assert even.p < lone.p / 5


def test_a_declared_threshold_is_held_for_so_many_periods() -> None:
    values = np.asarray([6.0, 7.0, 1.0, 9.0, 9.0, 9.0, 0.0])
    assert held_runs(values, 5.0, 3) == [(3, 5)]
    assert held_runs(values, 5.0, 2) == [(0, 1), (3, 5)]
    assert held_runs(values, 2.0, 1, above=False) == [(2, 2), (6, 6)]


@pytest.mark.parametrize(
    ("choices", "returns"),
    [("ABABA", 3), ("AABBAABBA", 3), ("ABCABC", None), ("ABA", None), ("CCABABABD", 4), ("", None), ("AB", None)],
)
def test_a_choice_flips_back(choices: str, returns: int | None) -> None:
    found = reversal(list(choices))
    assert (found.returns if found else None) == returns


def test_a_reversal_names_the_choices_that_alternate() -> None:
    found = reversal(list("CCABABAD"))
    assert found is not None
    assert (found.first, found.last, found.options) == (2, 6, ("A", "B"))


def _occurrences(seed: int, *, cause: bool) -> Floats:
    """12 places of their own pace, 60 times with a shared season, 8 kinds; kind 0 brings kind 1 two steps later."""
    random = np.random.default_rng(seed)
    pace = random.gamma(2.0, 0.5, 12)[:, None, None]
    season = np.where(np.arange(60) % 20 < 7, 2.5, 0.4)[None, :, None]
    rate = np.clip(0.07 * pace * np.where(np.arange(8) % 2 == 0, season, 1.0), 0, 0.8)
    seen = (random.random((12, 60, 8)) < rate).astype(np.float64)
    if cause:
        follow = (seen[:, :-2, 0] > 0) & (random.random((12, 58)) < 0.5)
        seen[:, 2:, 1] = np.maximum(seen[:, 2:, 1], follow)
        # A common cause: kind 0 also brings kind 3 one step later, so that 3 goes before 1 without causing it.
        early = (seen[:, :-1, 0] > 0) & (random.random((12, 59)) < 0.5)
        seen[:, 1:, 3] = np.maximum(seen[:, 1:, 3], early)
    return seen


def test_a_cause_is_found_and_a_common_cause_or_a_season_is_not() -> None:
    tests = rule_tests(_occurrences(1, cause=True))
    q = q_values([one.p for one in tests])
    found = {(one.cause, one.effect, one.lag) for one, value in zip(tests, q, strict=True) if value <= 0.05}
    assert found == {(0, 1, 2), (0, 3, 1)}
    quiet = rule_tests(_occurrences(2, cause=False))
    assert not (q_values([one.p for one in quiet]) <= 0.05).any()
    assert rule_tests(np.zeros((3, 4, 2))) == []


def test_a_series_is_cut_where_it_changes() -> None:
    random = np.random.default_rng(9)
    values = np.concatenate([random.normal(0, 1, 60), random.normal(6, 1, 50), 6 + np.linspace(0, 12, 60)])
    values[5] = np.nan
    cuts = change_points(values)
    assert len(cuts) == 2
    assert abs(cuts[0] - 60) <= 2
    assert abs(cuts[1] - 110) <= 12
    assert change_points(np.full(50, 3.0)) == []
    assert change_points(np.asarray([1.0, 9.0])) == []
    assert change_points(np.full(50, np.nan)) == []


def test_q_values_are_monotone_and_never_below_p_over_two() -> None:
    p = np.asarray([0.9, 0.001, 0.02, 0.5, 0.04])
    q = q_values(p)
    assert list(np.argsort(q, kind="stable")) == list(np.argsort(p, kind="stable"))
    assert (q >= p / 2).all()
    assert q_values([]).shape == (0,)


def test_a_tail_goes_on_beyond_the_resamples() -> None:
    null = np.random.default_rng(0).exponential(size=20_000)
    p = tail_p(null, np.asarray([1.0, 8.0, 16.0]))
    assert p == pytest.approx(np.exp([-1.0, -8.0, -16.0]), rel=0.6)
