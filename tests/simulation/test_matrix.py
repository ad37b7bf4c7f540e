"""The published page is what the tests do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from simulation.deaths import DEATHS_OF_MESSAGES, DEATHS_OF_RUNS
from simulation.faults import FAULTS
from simulation.matrix import PAGE, page

import latewood.execution
from latewood.execution.messages import points as of_messages
from latewood.execution.points import POINTS as POINTS_OF_RUNS
from latewood.storage.crashpoints import POINTS

HERE = Path(__file__).parent


def test_the_published_matrix_is_what_is_tested() -> None:
    if not PAGE.parent.is_dir():
        pytest.skip("the documents do not come along with the wheel")

    assert PAGE.read_text(encoding="utf-8") == page(), "run `uv run python tests/simulation/matrix.py --write`"


def test_every_fault_that_is_published_has_a_test_and_every_test_of_a_fault_is_published() -> None:
    files = [path.read_text(encoding="utf-8") for path in HERE.glob("test_faults_*.py")]
    written = {name for text in files for name in re.findall(r"^async def (test_\w+)", text, re.MULTILINE)}

    assert {fault.test for fault in FAULTS} == written


def test_every_point_of_runs_and_messages_is_published_and_killed_at() -> None:
    tests = {
        path.stem: set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        for path in HERE.glob("test_*_killed.py")
    }

    for deaths, points, where in (
        (DEATHS_OF_RUNS, POINTS_OF_RUNS, "test_runs_killed"),
        (DEATHS_OF_MESSAGES, of_messages.POINTS, "test_messages_killed"),
    ):
        assert {one.point for one in deaths} - set(POINTS) == set(points)
        assert {one.test for one in deaths} <= tests[where]


def test_every_point_that_the_executor_reaches_is_registered() -> None:
    reached: set[str] = set()
    for folder in latewood.execution.__path__:
        for path in Path(folder).rglob("*.py"):
            reached |= set(re.findall(r'\breach\("([\w.]+)"\)', path.read_text(encoding="utf-8")))

    assert reached == {*POINTS_OF_RUNS, *of_messages.POINTS}
