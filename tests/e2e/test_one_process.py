"""Two servers over one Neo4j share the work, and neither does what the other did."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conformance.stores import empty_neo4j
from e2e.smoke import Smoke, environment, listening, served

from latewood.memory import Memory
from latewood.memory.messages import messages_of
from latewood.memory.patterns import patterns
from latewood.memory.runs import runs_of

RUNS = 16
MESSAGES = 12
LOOKS = 600
FLOWS = """
import os
from pathlib import Path
from latewood.execution import sleep, step, workflow

@step()
async def part(name: str, number: int) -> int:
    with Path("calls.txt").open("a") as file:
        file.write(f"{name}/{number} {os.getpid()}\\n")
    return number

@workflow()
async def parts(name: str) -> int:
    total = 0
    for number in range(3):
        total += await part(name, number)
        await sleep(0.5)
    return total
"""


async def until(memory: Memory, smoke: Smoke, posted: int, found: int) -> None:
    """Wait until every run has ended, so much was posted, and so many patterns were found."""
    runs, listed = None, None
    for _ in range(LOOKS):
        runs = (await runs_of(memory).list(first=100)).items
        listed = await patterns(memory, status=(), hidden=True)
        if all(run.ended for run in runs) and len(smoke.posted) >= posted and len(listed.items) >= found:
            return
        await asyncio.sleep(0.2)
    raise AssertionError((runs, len(smoke.posted), listed))


def start(smoke: Smoke, name: str) -> None:
    given = {"workflow": "parts", "runner": "WORKER", "by": "human:ada", "input": {"name": name}}
    smoke.ask("mutation($input: StartRunInput!) { startRun(input: $input) { run { id } } }", input=given)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_two_share_runs_messages_and_looks_and_one_goes_on_alone(neo4j_url: str, tmp_path: Path) -> None:
    empty_neo4j(neo4j_url)
    (tmp_path / "flows.py").write_text(FLOWS)
    first, second = (Smoke(tmp_path, db=neo4j_url, env=environment()) for _ in range(2))
    async with Memory.open(neo4j_url, by="human:ada", embedder="none") as memory:
        messages = messages_of(memory)
        await messages.make_channel("reports", owner="human:ada")
        with ExitStack() as stack:
            elsewhere = stack.enter_context(listening(first))
            first.run("webhooks", "add", "elsewhere", "reports", elsewhere, "--owner", "human:ada", "--by", "human:ada")
            stack.enter_context(served(second, tmp_path / "second.log"))
            with served(first, tmp_path / "first.log"):
                for number in range(RUNS):
                    start((first, second)[number % 2], f"run-{number}")
                sent = [await messages.publish("reports", {"n": number}) for number in range(MESSAGES)]
                for week in range(6):
                    said: dict[str, Any] = {"value": "AB"[week % 2], "validFrom": f"2026-0{week + 1}-05T00:00:00Z"}
                    given = {"subject": "project:1", "predicate": "vendor", "by": "human:ada", **said}
                    second.ask("mutation($input: ObserveInput!) { observe(input: $input) { id } }", input=given)
                await until(memory, first, MESSAGES, 1)
                for number in range(RUNS, RUNS + 4):
                    start(second, f"run-{number}")
                late = await messages.publish("reports", {"n": MESSAGES})
            # The first was asked to stop with runs and messages about: the second has them all.
            await until(memory, first, MESSAGES + 1, 1)
        runs = (await runs_of(memory).list(first=100)).items
        listed = await patterns(memory, status=(), hidden=True)

    calls = [line.split() for line in (tmp_path / "calls.txt").read_text().splitlines()]
    wanted = {f"run-{run}/{number}": 1 for run in range(RUNS + 4) for number in range(3)}
    assert [(str(run.status), run.output) for run in runs] == [("done", 3)] * (RUNS + 4)
    assert Counter(name for name, _ in calls) == wanted
    assert len({process for _, process in calls}) == 2
    posted = Counter(one["headers"]["webhook-id"] for one in first.posted)
    assert posted == {one.id: 1 for one in [*sent, late]}
    assert len(listed.items) == 1
