"""No message is lost and no effect doubled, wherever its publisher or its consumer dies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from simulation.deaths import DEATHS_OF_MESSAGES, Death
from simulation.message_children import POLICY, Labour, Shift, awaits, begin, begin_at_work

from latewood.execution.words import RunStatus
from latewood.memory import Memory
from latewood.memory.messages import messages_of
from latewood.memory.runs import runs_of

COUNT = 4
_END_S = 120.0
_QUICK = ("message.published", "message.taken", "message.settled")


@pytest.fixture(params=["sqlite", pytest.param("neo4j", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "messages.db")
    from conformance.stores import empty_neo4j
    from neo4j_server import NEO4J

    empty_neo4j(NEO4J.url())
    return NEO4J.url()


async def _make(url: str) -> None:
    async with Memory.open(url, by="agent:caller", embedder="none") as memory:
        await messages_of(memory).make_channel("work", policy=POLICY)


async def _check(url: str, count: int) -> None:
    """Every message is there once, settled once, and its effect is kept once; every third is a dead letter."""
    async with Memory.open(url, by="agent:caller", embedder="none") as memory:
        messages = messages_of(memory)
        kept = (await messages.messages(first=1_000)).items
        letters = (await messages.dead_letters(first=1_000)).items
        tallied = Counter(fact.object_id for fact in (await memory.timeline("tally", first=1_000)).items)
        waiting = await messages.waiting("work")
        drift = (await memory.rebuild(dry_run=True)).found

    numbers = {one.id: one.data["n"] for one in kept if isinstance(one.data, dict)}
    done = {one: 1 for one, number in numbers.items() if isinstance(number, int) and number % 3 != 2}
    assert sorted(map(str, numbers.values())) == sorted(map(str, range(count)))
    assert tallied == done
    assert Counter(one.message.id for one in letters if one.message is not None) == dict.fromkeys(
        numbers.keys() - done.keys(), 1
    )
    assert waiting == {"default": 0}
    assert drift == ()


@pytest.mark.parametrize(
    "death",
    [
        pytest.param(one, marks=[] if one.point in _QUICK else pytest.mark.slow, id=one.point)
        for one in DEATHS_OF_MESSAGES
        if one.test == "test_a_process_dies_and_another_goes_on"
    ],
)
async def test_a_process_dies_and_another_goes_on(url: str, death: Death) -> None:
    await _make(url)
    for hit in (1,) if death.point.startswith("message.") else (1, 3):
        child = begin(Labour(url, COUNT, death.point, hit))
        child.join(_END_S)
        died = child.exitcode == -signal.SIGKILL
        here = "neo4j" if url.startswith("neo4j") else "sqlite"
        assert died == (here in death.stores), f"{death.point} was not reached, or is where there is no such place"
    child = begin(Labour(url, COUNT))
    child.join(_END_S)

    assert child.exitcode == 0
    await _check(url, COUNT)


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(one, marks=[] if one == "message.taken" else pytest.mark.slow)
        for one in ("message.awaited", "run.kept", "message.taken", "run.claimed", "message.settled", "step.kept")
    ],
)
async def test_a_worker_dies_with_runs_that_wait_and_each_gets_its_message_once(url: str, point: str) -> None:
    await _make(url)
    async with Memory.open(url, by="agent:caller", embedder="none") as memory:
        runs, messages = runs_of(memory), messages_of(memory)
        begun = [await runs.start(awaits, number) for number in range(COUNT)]
        child = begin(Shift(url, point))
        while child.is_alive() and sum(run.status is RunStatus.WAITING for run in (await runs.list()).items) < COUNT:  # noqa: ASYNC110 - across processes
            await asyncio.sleep(0.05)
        for number in range(COUNT):
            await messages.publish("work", {"n": number}, idempotency_key=f"n-{number}")
        child.join(_END_S)
        assert child.exitcode == -signal.SIGKILL, f"{point} was not reached"
        child = begin(Shift(url, ahead_s=100))
        child.join(_END_S)
        ended = [await runs.run(run.id) for run in begun]
        tries = [await messages.deliveries(one.id) for one in (await messages.messages()).items]
        waiting = await messages.waiting("work")
        drift = (await memory.rebuild(dry_run=True)).found

    assert child.exitcode == 0
    assert {run.status for run in ended} == {RunStatus.DONE}
    assert sorted(str(run.output) for run in ended) == [f"{{'n': {number}}}" for number in range(COUNT)]
    assert [[one.outcome for one in of_one] for of_one in tries] == [["acked"]] * COUNT
    assert (waiting, drift) == ({"default": 0}, ())


@pytest.mark.slow
@pytest.mark.timeout(7_200)
async def test_kills_at_random_lose_nothing_and_double_nothing(url: str) -> None:
    seed, kills, rounds = random.randrange(2**32), 0, 0
    chance = random.Random(seed)
    while kills < int(os.environ.get("LATEWOOD_KILLS", "1")):
        rounds += 1
        kills += await _killed_until_done(url if url.startswith("neo4j") else f"{url}-{rounds}", chance, seed)


async def _killed_until_done(url: str, chance: random.Random, seed: int) -> int:
    """Kill one process after another until one has settled all that there is; return how many were killed."""
    if url.startswith("neo4j"):
        from conformance.stores import empty_neo4j

        empty_neo4j(url)
    await _make(url)
    neo4j = url.startswith("neo4j")
    count, longest_s, end = 30 if neo4j else 300, 3.0 if neo4j else 0.9, time.monotonic() + _END_S
    # The first dies at a point: one that is to be struck from outside may be through before that.
    child = begin(Labour(url, count, "message.published", chance.randint(1, count)))
    child.join(_END_S)
    kills = int(child.exitcode == -signal.SIGKILL)
    while time.monotonic() < end:
        child = begin_at_work(Labour(url, count))
        child.join(chance.uniform(0.0, longest_s))
        if child.exitcode == 0:
            break
        child.kill()
        child.join(_END_S)
        kills += child.exitcode == -signal.SIGKILL
    child = begin(Labour(url, count))
    child.join(_END_S)

    assert child.exitcode == 0, f"seed {seed}"
    assert kills > 0
    await _check(url, count)
    return kills
