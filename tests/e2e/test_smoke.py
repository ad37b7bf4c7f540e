"""One command gives all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e.smoke import smoke_in


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_command_hands_over_resumes_escalates_and_finds_within_five_minutes(tmp_path: Path) -> None:
    smoke = smoke_in(tmp_path)

    assert len(smoke.rows) == 7
    assert all(seen for _, seen, _, _ in smoke.rows), smoke.table()
