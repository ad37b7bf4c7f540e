"""A fault of a store: its writer hears of it, and the log holds no words of users."""

from __future__ import annotations

from typing import Any

import pytest

from latewood.graph_schema.errors import LatewoodError
from latewood.memory import Memory


async def test_a_fault_is_told_without_what_was_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Memory.open("reference:", by="human:ada", embedder="none") as memory:

        async def fails(*_: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(type(memory.store), "commit", fails)
        with pytest.raises(LatewoodError, match="failed unexpectedly: ZeroDivisionError") as raised:
            await memory.observe("carrier:A", "note", "Wintergarten")

    said = "".join(capsys.readouterr())
    assert raised.value.code == "internal"
    assert "commit_failed" in said
    assert "Wintergarten" not in said
