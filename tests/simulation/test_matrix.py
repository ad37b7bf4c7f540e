"""The published page is what the tests do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from simulation.faults import FAULTS
from simulation.matrix import PAGE, page

HERE = Path(__file__).parent


def test_the_published_matrix_is_what_is_tested() -> None:
    if not PAGE.parent.is_dir():
        pytest.skip("the documents do not come along with the wheel")

    assert PAGE.read_text(encoding="utf-8") == page(), "run `uv run python tests/simulation/matrix.py --write`"


def test_every_fault_that_is_published_has_a_test_and_every_test_of_a_fault_is_published() -> None:
    files = [path.read_text(encoding="utf-8") for path in HERE.glob("test_faults_*.py")]
    written = {name for text in files for name in re.findall(r"^async def (test_\w+)", text, re.MULTILINE)}

    assert {fault.test for fault in FAULTS} == written
