"""The demo's questions follow from the data: other records, other questions, and never an answer of its own."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from latewood.clients.cli import demo
from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.memory import Alternative, Memory
from latewood.server.app import create_app


async def asked(memory: Memory, *, history: bool = False) -> tuple[demo.Answered, ...]:
    transport = httpx.ASGITransport(create_app(memory))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await demo.answers(demo.Asker(client, memory.space), history=history)


async def test_the_richest_decision_is_asked_about() -> None:
    async with Memory.open("reference:", by="human:ada") as memory:
        await memory.decide("plain", because="x", key="d:1")
        reasons = [Alternative("tea", "cold"), Alternative("milk", "warm")]
        await memory.decide("coffee", because="it is hot", key="d:2", alternatives=reasons)
        await memory.decide("water", because="free", key="d:3", alternatives=[Alternative("wine", "dear")])
        first, second, third = await asked(memory)

    assert "d:2 coffee" in first.question
    assert {"rationale: it is hot", "rejected: tea: cold", "rejected: milk: warm"} <= set(first.answer)
    assert "rejected when 'd:3 water'" in second.question
    assert second.answer == ("rejected: wine: dear",)
    assert third.answer[0].endswith("2 of 3 decisions")
    assert third.answer[1] == "not known yet: d:3 water"


async def test_a_superseded_decision_is_asked_about_before_and_after() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    async with Memory.open("reference:", by="human:ada", clock=clock) as memory:
        await memory.decide("old", because="x", key="d:1")
        clock.advance(days=30)
        await memory.decide("new", because="y", key="d:2", supersedes=["d:1"])
        _, second, third = await asked(memory)

    assert second.answer == ("superseded by: d:2 new (accepted)", "in force now: d:2 new")
    assert "at 2026-01-30T23:59:59.999999Z" in third.question
    assert third.answer == (
        "known at 2026-01-30T23:59:59.999999Z: accepted",
        "known now: superseded",
        "superseded by: d:2 new",
    )


async def test_one_decision_is_enough_and_none_is_an_error() -> None:
    async with Memory.open("reference:", by="human:ada") as memory:
        with pytest.raises(InvalidError) as nothing:
            await asked(memory)
        await memory.decide("only", because="x")
        answered = await asked(memory)

    assert nothing.value.code == "demo.data_missing"
    assert len(answered) == 3
    assert "only" in answered[0].question


def test_records_that_are_not_there_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "a" / "b" / "c" / "d" / "demo.py"))
    monkeypatch.setattr(demo, "_shipped", lambda: tmp_path)

    with pytest.raises(NotFoundError) as missing:
        demo.records_folder()
    assert missing.value.code == "demo.data_missing"


def test_the_records_that_ship_are_taken_outside_a_checkout(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = tmp_path / "site" / "demo" / "adr"
    shutil.copytree(demo.records_folder(), shipped)
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "a" / "b" / "c" / "d" / "demo.py"))
    monkeypatch.setattr(demo, "_shipped", lambda: shipped)
    said = json.loads(cli.ok("demo", "--exit", "--json"))
    again = json.loads(cli.ok("demo", "--exit", "--json"))

    assert said["decisions"] == len(list(shipped.glob("0*.md")))
    assert said["commits"] == 0
    assert [one["question"] for one in said["questions"]][:2] == [one["question"] for one in again["questions"]][:2]
    assert cli.json("ledger", "verify")["badSeq"] is None
