"""A server that works: its workers run workflows, its watch ends what is overdue, and its end hands back."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from integration.server.conftest import serving

from latewood.execution import RunStatus, sleep, step, workflow
from latewood.graph_schema.clock import ManualClock
from latewood.memory import Memory
from latewood.memory.keys import Keys
from latewood.memory.leading import follow_in_turns
from latewood.memory.patterns import patterns
from latewood.memory.runs import agents_of, runs_of
from latewood.server.options import ServerOptions
from latewood.server.working import working

START = "mutation($input: StartRunInput!) { startRun(input: $input) { run { id } } }"
LOOKS = 1_000


@step()
async def double(number: int) -> int:
    return 2 * number


@workflow(version="7")
async def doubled(number: int) -> int:
    await sleep(0.01)
    return await double(number)


@workflow()
async def endless() -> None:
    while True:
        await sleep(0.02)


async def until(memory: Memory, run_id: str, *statuses: RunStatus) -> RunStatus:
    for _ in range(LOOKS):
        run = await runs_of(memory).run(run_id)
        if run.status in statuses:
            return run.status
        await asyncio.sleep(0.02)
    raise AssertionError((run.status, statuses))


@pytest.mark.slow
async def test_a_server_runs_workflows_and_hands_back_at_its_end(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "w.db"), sync="normal") as memory:
        async with serving(memory, Counter(), options=ServerOptions(workflows=(doubled, endless))) as served:
            given = {
                "workflow": "doubled",
                "version": "7",
                "input": {"number": 21},
                "runner": "WORKER",
                "by": "agent:ts",
            }
            run = (await served.ask(START, input=given))["startRun"]["run"]
            await until(memory, run["id"], RunStatus.DONE)
            told = await served.ask(f'{{ run(id: "{run["id"]}") {{ output runner claim {{ fence }} }} }}')
            assert told["run"] == {"output": 42, "runner": "WORKER", "claim": {"fence": 1}}
            long = await served.ask(START, input={"workflow": "endless", "runner": "WORKER", "by": "agent:ts"})
            await until(memory, long["startRun"]["run"]["id"], RunStatus.RUNNING)
        after = await runs_of(memory).run(long["startRun"]["run"]["id"])
        assert after.status is RunStatus.READY


async def test_the_watch_ends_what_is_overdue_in_every_space_and_for_every_tenant(tmp_path: Path) -> None:
    clock = ManualClock(datetime(2026, 3, 10, tzinfo=UTC))
    async with Memory.open(str(tmp_path / "o.db"), sync="normal", clock=clock) as memory:
        mine, theirs = memory.within(by="agent:a", space="lanes"), memory.within(tenant="acme", by="agent:b")
        await memory.create_space("lanes")
        runs = [(one, (await agents_of(one).start("ts.x", deadline_s=60)).id) for one in (mine, theirs)]
        clock.advance(seconds=61)
        tenants: set[str] = set()
        async with working(memory, (), lambda: tenants, look_s=0.02):
            assert await until(mine, runs[0][1], RunStatus.ESCALATED)
            assert (await runs_of(theirs).run(runs[1][1])).status is RunStatus.READY
            tenants.add("acme")
            assert await until(theirs, runs[1][1], RunStatus.ESCALATED)
        assert (await runs_of(mine).run(runs[0][1])).result["class"] == "deadline"


async def test_a_server_makes_the_vectors_that_are_missing(tmp_path: Path) -> None:
    path = str(tmp_path / "t.db")
    async with Memory.open(path, by="agent:a", sync="normal", embedder="light") as memory:
        await memory.observe("carrier:A", "note", "late again")
        async with Memory.open(path, by="agent:b", sync="normal", embedder="none") as other:
            await other.observe("carrier:B", "note", "early for once")
        async with working(memory, (), tuple, fill_s=0.02):
            for _ in range(LOOKS):
                (generation,) = await memory.store.generations("default")
                if not generation.missing:
                    break
                await asyncio.sleep(0.02)
    assert (generation.filled, generation.missing) == (2, 0)


async def test_a_tenant_is_watched_from_its_first_request_on(tmp_path: Path) -> None:
    clock = ManualClock(datetime(2026, 3, 10, tzinfo=UTC))
    async with Memory.open(str(tmp_path / "t.db"), by="human:root", sync="normal", clock=clock) as memory:
        theirs = memory.within(tenant="acme", by="agent:b")
        run = await agents_of(theirs).start("ts.x", deadline_s=60)
        key = await Keys(memory).create("k", tenant="acme", actor="agent:b", scopes=("read", "run"), by="human:root")
        clock.advance(seconds=61)
        options = ServerOptions(auth=True, watch=True)
        async with serving(memory, Counter(), options=options) as served:
            headers: dict[str, Any] = {"authorization": f"Bearer {key.secret}"}
            shown = await served.post(f'{{ run(id: "{run.id}") {{ status }} }}', **headers)
            assert shown["data"]["run"] is not None
            claim = 'mutation { claimRun(input: {run: "%s", worker: "w"}) { fence } }'
            late = await served.post(claim % run.id, **headers)
            assert late["errors"][0]["extensions"]["code"] == "run.ended"
        assert (await runs_of(theirs).run(run.id)).status is RunStatus.ESCALATED


async def test_one_of_several_looks_for_patterns_and_another_goes_on_when_it_is_gone(tmp_path: Path) -> None:
    path = str(tmp_path / "p.db")

    async def told(memory: Memory) -> int:
        return len((await patterns(memory, status=(), hidden=True)).items)

    async def found(memory: Memory, most: int) -> int:
        for _ in range(LOOKS):
            if (number := await told(memory)) > most:
                return number
            await asyncio.sleep(0.02)
        raise AssertionError(most)

    clock = ManualClock(datetime(2026, 3, 10, tzinfo=UTC))
    async with (
        Memory.open(path, by="human:ada", sync="normal", clock=clock) as memory,
        Memory.open(path, by="human:bob", sync="normal", clock=clock) as other,
    ):
        await swing(memory, "project:1")
        # The clock stands still, so that nobody loses the turn because this machine paused.
        first = asyncio.create_task(follow_in_turns(memory, settle_s=0.0, turn_s=0.3))
        one = await found(memory, 0)
        held = await memory.store.acquire("default", "patterns", "somebody", 0.1)
        second = asyncio.create_task(follow_in_turns(other, settle_s=0.0, turn_s=0.3))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await swing(memory, "project:2")
        two = await found(other, one)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)

    assert (one, held, two) == (1, None, 2)


async def swing(memory: Memory, project: str) -> None:
    """Say of a project that it goes back and forth."""
    for week in range(6):
        since = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(weeks=week)
        await memory.observe(project, "vendor", "AB"[week % 2], valid_from=since)


async def test_what_fails_in_a_way_that_nobody_foresaw_begins_again(tmp_path: Path) -> None:
    asked = 0
    again = asyncio.Event()

    def tenants() -> list[str]:
        nonlocal asked
        asked += 1
        # Once for each of the two that ask at once; whoever asks a third time has begun again.
        if asked <= 2:
            raise RuntimeError("nobody foresaw this")
        again.set()
        return []

    async with (
        Memory.open(str(tmp_path / "w.db"), sync="normal", embedder="none") as memory,
        working(memory, (), tenants, fill_s=3_600, again_s=0),
        asyncio.timeout(20),
    ):
        await again.wait()

    assert asked > 2
