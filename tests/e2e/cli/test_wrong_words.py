"""Every command with a word that makes no sense where each argument and option goes: refused, never a fault of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from latewood.clients.cli import app

WRONG = "nonsense"
# They go on until they are stopped, or start another program.
ENDLESS = {"serve", "mcp", "demo", "worker", "neo4j up", "neo4j browser", "neo4j down", "patterns follow", "watch"}


def commands() -> Iterator[tuple[str, Any]]:
    waiting = [("", get_command(app))]
    while waiting:
        name, one = waiting.pop()
        inner = getattr(one, "commands", None)
        if inner is None:
            yield name, one
        else:
            waiting += [(f"{name} {word}".strip(), sub) for word, sub in inner.items()]


def lines(command: Any) -> Iterator[list[str]]:
    """Lines that put `WRONG` in each place, one option at a time."""
    needed = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and not one.is_flag and one.opts]
    required = [word for one in options if one.required for word in (one.opts[-1], "x")]
    yield [*required, "--", *([WRONG] * len(needed))]
    for option in options:
        yield [*required, option.opts[-1], WRONG, "--", *(["carrier:A"] * len(needed))]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_word_in_any_place_is_a_fault_of_ours(seeded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    faults: list[str] = []
    tried = 0
    for name, command in commands():
        if name in ENDLESS:
            continue
        for words in lines(command):
            if "--db" in words:
                continue
            done = CliRunner(env=seeded.env).invoke(app, [*name.split(), "--db", str(seeded.db), *words])
            tried += 1
            if done.exit_code not in {0, 2, 3, 4}:
                faults.append(f"latewood {name} {words}: {done.exit_code} {done.stderr[-300:]}")

    assert not faults, "\n".join(faults[:20])
    assert tried > 400
