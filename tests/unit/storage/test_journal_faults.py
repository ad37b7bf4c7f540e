"""A fault of a store: its writer hears of it, and the log holds no words of users."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from latewood.graph_schema.errors import LatewoodError
from latewood.memory import Memory


async def test_a_fault_is_told_without_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Memory.open("reference:", by="human:ada", embedder="none") as memory:

        async def fails(*_: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(type(memory.store), "commit", fails)
        with capture_logs() as logs, pytest.raises(LatewoodError, match="unexpectedly: ZeroDivisionError") as raised:
            await memory.observe("carrier:A", "note", "Wintergarten")

    assert raised.value.code == "internal"
    (said,) = (str(line) for line in logs if line["event"] == "commit_failed")
    assert "in fails" in said
    assert "Wintergarten" not in said
