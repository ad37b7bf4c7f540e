"""How long the other side asked to be left alone."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from latewood.execution.faults import Fault, seconds_of


@pytest.mark.parametrize("said", ["", "soon", "nan", "inf", "-5", "1e300", "Thu, 99 Foo 2026 00:00:00 GMT"])
def test_what_is_no_time_is_left_to_the_rule(said: str) -> None:
    assert seconds_of(said) is None


def test_seconds_and_dates_are_read() -> None:
    assert seconds_of("7") == 7.0
    assert seconds_of(formatdate(time.time() + 100, usegmt=True)) == pytest.approx(100, abs=3)
    assert seconds_of(formatdate(time.time() - 100, usegmt=True)) == 0.0


@pytest.mark.parametrize(
    ("said", "kept"), [(float("inf"), None), (float("nan"), None), (-1.0, None), (1e18, 1e7), (7.0, 7.0)]
)
def test_a_fault_asks_for_no_absurd_wait(said: float, kept: float | None) -> None:
    assert Fault("rate-limit", "429", retry_after_s=said).retry_after_s == kept
