"""Several processes that write, correct, merge, erase and run at once leave views that are what the ledgers say."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from simulation.mixed_children import Bustle, begin

from latewood.execution import RunStatus
from latewood.memory import Memory
from latewood.memory.runs import runs_of
from latewood.storage.port import PAGE_MAX

_PROCESSES = 3
_END_S = 200.0


@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.parametrize(("url", "deeds"), [("sqlite", 60), ("neo4j", 10)], indirect=["url"])
async def test_processes_that_do_everything_at_once_agree(url: str, deeds: int, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    async with Memory.open(url, by="human:ada", embedder="none") as memory:
        # Made before they come, so that they do not meet over the schema.
        await memory.observe("thing:0", "speed", 0.5)
        told = [tmp_path / f"told-{number}" for number in range(_PROCESSES)]
        children = [begin(Bustle(url, str(path), seed + number, deeds)) for number, path in enumerate(told)]
        for child in children:
            child.join(_END_S)
        assert [child.exitcode for child in children] == [0] * _PROCESSES, f"seed {seed}"

        receipts = [one for path in told for one in path.read_text(encoding="utf-8").splitlines()]
        states = {(await memory.receipt(one)).state for one in receipts}
        runs = (await runs_of(memory).list(first=PAGE_MAX)).items
        ledgers = [(await memory.store.verify("default", ledger)).ok for ledger in ("knowledge", "execution")]
        found = (await memory.rebuild(dry_run=True)).found

    assert len(receipts) > _PROCESSES * deeds
    assert states == {"stored"}
    assert {run.status for run in runs} == {RunStatus.DONE}
    assert (ledgers, found) == ([True, True], ()), f"seed {seed}"
