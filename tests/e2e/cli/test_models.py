"""`latewood models`: what people allow, what then is asked, and what `latewood run show` says that it used."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from chat_server import chat_server
from model_answers import in_turn, says

from latewood.memory import Memory
from latewood.memory.runs import runs_of

_ASKING = """
import os
from latewood.execution import Endpoint, Model, model_step, workflow

choose = model_step("choose", Model("small", Endpoint(os.environ["CHAT_SERVER_URL"])), stage="plan", data="orders")

@workflow()
async def choosing() -> str:
    return (await choose([{"role": "user", "content": "A or B?"}]))["content"]
"""


def test_models_are_asked_as_the_policy_allows_and_the_run_shows_what_it_used(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"asking_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(_ASKING, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    policy = tmp_path / "models.json"
    policy.write_text('{"version": "1", "models": [{"data": "orders", "models": ["small"]}]}', encoding="utf-8")
    with chat_server() as server:
        server.reply = in_turn([says("A")])
        monkeypatch.setenv("CHAT_SERVER_URL", server.url)
        cli.ok("worker", name, "--until-idle")
        assert cli.refused("models", "show", exit_code=3)["code"] == "node.not_found"
        assert cli.refused("models", "set", str(policy), "--by", "agent:x")["code"] == "trust.too_low"
        cli.ok("models", "set", str(policy), "--by", "human:ada", "--from", "2026-01-01")

        async def start() -> str:
            async with Memory.open(str(cli.db), by="agent:caller") as memory:
                return (await runs_of(memory).start(sys.modules[name].choosing)).id

        run = asyncio.run(start())
        cli.ok("worker", name, "--until-idle")

    shown = cli.json("run", "show", run)
    assert (shown["run"]["status"], shown["run"]["result"]["output"]) == ("done", "A")
    (call,) = shown["calls"]
    assert (call["stage"], call["model"], call["input"], call["cost"], call["modelPolicy"]) == (
        "plan", "small", 100, None, "1"
    )  # fmt: skip
    words = cli.ok("run", "show", run)
    assert "reasoning" in words
    assert "unknown" in words
    assert "orders" in cli.ok("models", "show", "--valid-at", "2026-02-01")
    assert cli.refused("models", "show", "--valid-at", "2025-01-01", exit_code=3)["code"] == "node.not_found"
    policy.write_text("[]", encoding="utf-8")
    assert cli.refused("models", "set", str(policy))["code"] == "query.invalid"
    assert cli.refused("models", "set", str(tmp_path / "none.json"), exit_code=3)["code"] == "node.not_found"
