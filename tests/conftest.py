"""What every test shares: how many examples Hypothesis tries, and the seed in every failure."""

from __future__ import annotations

import os
import secrets

import pytest
from hypothesis import HealthCheck, settings

SCALE = int(os.environ.get("LATEWOOD_EXAMPLES", "1"))
"""Multiplies the examples of every property; `just slow` raises it."""

settings.register_profile(
    "dev",
    max_examples=100 * SCALE,
    # Shared machines stall; a slow example is no wrong answer.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=False,
    print_blob=True,
)
settings.register_profile("ci", parent=settings.get_profile("dev"), database=None)
settings.load_profile("ci" if "CI" in os.environ or SCALE > 1 else "dev")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # Chosen here rather than by Hypothesis, which only names its seed in some failures.
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(secrets.randbits(32))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    if exitstatus == pytest.ExitCode.TESTS_FAILED:
        terminalreporter.write_line(f"seed: repeat with --hypothesis-seed={config.option.hypothesis_seed}")
