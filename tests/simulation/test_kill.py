"""Acknowledged means found, once and whole, after a kill at any point."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from latewood.memory import Memory

WRITER = Path(__file__).with_name("writer.py")


def run_until_killed(path: Path, first: int, lines_before_kill: int, seed: int) -> set[int]:
    """Start a writer, kill it some milliseconds after it acknowledged enough, and return what it acknowledged."""
    rnd = random.Random(seed)
    child = subprocess.Popen([sys.executable, str(WRITER), str(path), str(first)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    seen: set[int] = set()
    for line in child.stdout:
        seen.add(int(line))
        if len(seen) >= lines_before_kill:
            time.sleep(rnd.random() * 0.01)
            child.send_signal(signal.SIGKILL)
            break
    # What was printed before the kill was acknowledged; a line cut short by it may not have been.
    seen.update(int(line) for line in child.stdout.read().split("\n")[:-1] if line)
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    return seen


@pytest.mark.parametrize("wanted", [100, pytest.param(1_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
async def test_every_acknowledged_write_survives_kills_once_and_whole(tmp_path: Path, wanted: int) -> None:
    seed = int(os.environ.get("LATEWOOD_SEED", str(random.randrange(10**6))))
    rnd = random.Random(seed)
    path = tmp_path / "killed.db"
    acknowledged: set[int] = set()
    begun = 0
    while len(acknowledged) < wanted:
        acknowledged |= run_until_killed(path, begun, rnd.randrange(5, 60), rnd.randrange(10**6))
        begun += 10_000

    async with Memory.open(str(path)) as memory:
        for number in sorted(acknowledged):
            found = (await memory.decisions(about=f"item:{number}")).items
            assert len(found) == 1, f"seed {seed}: decision {number} was found {len(found)} times"
        after: str | None = None
        while True:
            page = await memory.decisions(first=500, after=after)
            for decision in page.items:
                whole = decision.rationale and len(decision.about) == 1 and decision.decided_by and decision.evidence
                assert whole, f"seed {seed}: {decision.key} is partial"
            after = page.next
            if after is None:
                break
        assert (await memory.verify()).ok
