"""What every test shares: how many examples Hypothesis tries, the seed in every failure, and a Neo4j."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from neo4j_server import NEO4J, wants_neo4j

# The model takes a second to load, in every process that a test starts; tests of vectors say which embedder they want.
os.environ.setdefault("LATEWOOD_EMBEDDER", "none")

if sys.dont_write_bytecode:
    # Images for containers ask for that. Then every process that a test starts compiles all that it imports, which is
    # most of what a short command takes; so it is kept after all, and goes with the environment, not into the checkout.
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(sys.prefix) / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

SCALE = int(os.environ.get("LATEWOOD_EXAMPLES", "1"))
"""Multiplies the examples of every property; `just slow` raises it."""
NEO4J_S_MAX = 300
"""A server that shares two cores with its tests answers at its own pace; this only ends what hangs."""

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    asked = max((item.config.getoption("timeout") or 0 for item in items[:1]), default=0)
    for item in items:
        if wants_neo4j(item) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(max(NEO4J_S_MAX, asked)))


def pytest_collection_finish(session: pytest.Session) -> None:
    # Before the first test, whose time limit is no measure for fetching and starting a server.
    if not session.config.option.collectonly and any(map(wants_neo4j, session.items)):
        NEO4J.start()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    NEO4J.stop()


@pytest.fixture(scope="session")
def neo4j_url() -> str:
    """The address of a Neo4j whose database tests may empty; a test that asks for it fails where there is none."""
    return NEO4J.url()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    if exitstatus == pytest.ExitCode.TESTS_FAILED:
        terminalreporter.write_line(f"seed: repeat with --hypothesis-seed={config.option.hypothesis_seed}")
