"""What detectors make of series that nobody should have: an explanation, and the others go on."""

from __future__ import annotations

import numpy as np
import pytest

from latewood.reasoning.patterns.looking import look
from latewood.reasoning.patterns.port import Choices, Numbers, Occurrences, World
from latewood.reasoning.patterns.rates import Floats
from latewood.reasoning.patterns.series import against_peers

WEEK = 7 * 24 * 3_600_000_000


def numbers(subject: str, values: Floats, *, every: int = 1) -> Numbers:
    times = tuple(WEEK * every * place for place in range(len(values)))
    return Numbers(subject, "rate", None, tuple(f"{subject}-{place}" for place in range(len(values))), times, values)


def good(subject: str = "good") -> Numbers:
    random = np.random.default_rng(1)
    return numbers(subject, random.normal(size=40) - np.linspace(0, 9, 40))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full(30, 4.0), "constant: all 30 values are 4"),
        (np.asarray([1.0, 2.0]), "too short: 2 of at least 16 points"),
        (np.zeros(0), "too short: 0 of at least 16 points"),
        (np.where(np.arange(30) == 7, np.nan, np.arange(30.0)), "it holds what is no finite number"),
        (np.asarray([1e308, -1e308] * 20), "it holds numbers beyond 1e+100; give them in a larger unit"),
        (np.where(np.arange(30) == 7, -np.inf, np.arange(30.0)), "it holds what is no finite number"),
    ],
)
def test_a_series_that_cannot_be_looked_at_is_explained_and_stops_no_other(values: Floats, reason: str) -> None:
    found = look(World(numbers=(numbers("bad", values), good())))
    assert found.failed == ()
    assert [one.reason for one in found.skipped if one.subject == "bad"] == [reason]
    assert [(one.kind.value, one.subjects) for one in found.findings] == [("trend", ("good",))]


@pytest.mark.parametrize(
    "values",
    [
        np.where(np.arange(40) < 39, 5.0, 6.0),
        np.where(np.arange(40) < 20, 0.0, 1.0),
        np.full(40, 1e-300) * np.arange(40),
        np.asarray([0.0, 1.0] * 20),
        np.asarray([1e99, -1e99] * 20),
        np.arange(40.0),
    ],
    ids=["one other", "a bare step", "tiny", "to and back", "huge", "a bare line"],
)
def test_no_series_breaks_a_detector(values: Floats) -> None:
    with np.errstate(all="ignore"):
        found = look(World(numbers=(numbers("odd", values), good())))
    assert found.failed == ()
    for one in found.findings:
        assert one.p is None or 0 <= one.p <= 1
        assert one.effect is None or np.isfinite(one.effect)


def test_gaps_in_time_and_empty_worlds_are_no_trouble() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=40) - np.linspace(0, 9, 40)
    kept = [int(at) for at in np.sort(random.permutation(40)[:24])]
    series = numbers("gaps", values)
    thin = Numbers(
        "gaps",
        "rate",
        None,
        tuple(series.facts[at] for at in kept),
        tuple(series.times[at] for at in kept),
        values[kept],
    )
    assert [one.kind.value for one in look(World(numbers=(thin,))).findings] == ["trend"]
    assert look(World()).findings == ()
    one = Choices("p:1", "vendor", ("f",), (0,), ("A",))
    happened = Occurrences("incident", {"f": ("p:1", 0, "fire")})
    report = look(World(choices=(one,), occurrences=(happened,)))
    assert (report.findings, report.failed) == ((), ())


def test_what_is_left_against_peers_is_the_same_to_the_last_bit_in_any_order() -> None:
    random = np.random.default_rng(2)
    common = random.normal(size=40)
    members = [numbers(f"carrier {place}", common + 0.3 * random.normal(size=40)) for place in range(9)]
    told = {one.subject: one.values.tobytes() for one in against_peers(members)}
    assert len(told) == 9
    for seed in range(5):
        mixed = [members[int(at)] for at in np.random.default_rng(seed).permutation(9)]
        assert {one.subject: one.values.tobytes() for one in against_peers(mixed)} == told


def test_one_that_steps_does_not_make_all_others_step_the_other_way() -> None:
    random = np.random.default_rng(4)
    common = np.cumsum(random.normal(size=40))
    rows = [common + 0.1 * random.normal(size=40) for _ in range(6)]
    rows[0] = rows[0] - 12.0 * (np.arange(40) >= 20)
    left = [one.values for one in against_peers([numbers(f"carrier {at}", row) for at, row in enumerate(rows)])]
    steps = [float(np.mean(one[20:]) - np.mean(one[:20])) for one in left]
    assert steps[0] < -11.0
    # By the mean of all, each of the others would rise by 2.
    assert max(abs(one) for one in steps[1:]) < 0.5
