"""Acknowledged means found, once and whole, after kills at random: a process carries on where the last one died."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from simulation.children import Death, Job, Log, begin, finish, run
from simulation.ledgers import check_ledgers, check_store
from simulation.stores import STORES, opened_later

_LOOK: Final = 250
"""Kills after which the chains are checked in between."""
_BEGUN_MAX: Final = 16
"""Numbers that a process may have begun without a word of them being acknowledged."""
_POINTS: Final = (
    "journal.taken", "group.begin", "group.heads_read", "unit.written", "group.written", "group.committed",
    "journal.answered",
)  # fmt: skip
_OPENING_S_MAX: Final = 30.0


@dataclass(slots=True)
class Killing:
    """Kills process after process on one store, and keeps what they acknowledged."""

    url: str
    folder: Path
    rng: random.Random
    acknowledged: dict[str, str] = field(default_factory=dict[str, str])
    unfinished: set[int] = field(default_factory=set[int])
    next_number: int = 1
    kills: int = 0
    at_points: int = 0

    def job(self, *, endless: bool, death: Death | None = None) -> Job:
        """Carry on with what is unfinished, then with new numbers."""
        self.unfinished.add(self.next_number)
        return Job(
            "write_on", self.url, str(self.folder / f"{self.kills}.log"), sorted(self.unfinished), endless=endless,
            death=death,
        )  # fmt: skip

    def kill_one(self) -> None:
        """Start a process, and end it by a signal from outside or at a point within."""
        death = None
        # By turns: left to chance, one run in five hundred would kill hardly anybody at a point.
        if self.kills % 2 == 0:
            death = Death(self.rng.choice(_POINTS), self.rng.randint(1, 25))
        job = self.job(endless=True, death=death)
        child = begin(job)
        if death is None:
            # Mostly while it writes, sometimes while it opens the store or is just about to.
            if self.rng.random() < 0.9:
                self._wait_until_open(Path(job.log))
            time.sleep(self.rng.random() * 0.04)
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
        code = finish(child)
        log = Log.read(Path(job.log))
        assert code == -signal.SIGKILL, f"the process was not killed, it ended with {code}: {log.failed}"
        self.at_points += log.died_at is not None
        self.kills += 1
        self._note(log)

    def _wait_until_open(self, path: Path) -> None:
        end = time.monotonic() + _OPENING_S_MAX
        while not Log.read(path).opened:
            assert time.monotonic() < end, "the process did not open the store"
            time.sleep(0.002)

    def _note(self, log: Log) -> None:
        for op, receipt in log.acknowledged.items():
            assert self.acknowledged.setdefault(op, receipt) == receipt, f"{op} was given a second receipt"
        # Numbers are written in order, several at once; what is above the last acknowledged may have been begun.
        numbers = [int(op.partition("-")[2]) for op in log.acknowledged]
        self.next_number = max([self.next_number, *(number + 1 for number in numbers)])
        begun = self.unfinished | set(range(max(1, self.next_number - _BEGUN_MAX), self.next_number))
        self.unfinished = {number for number in begun if not _ops(number) <= self.acknowledged.keys()}

    def finish(self) -> None:
        """Let a last process finish what all the others left, and what the last of them had begun unheard."""
        self.unfinished |= set(range(self.next_number, self.next_number + _BEGUN_MAX))
        self._note(run(self.job(endless=False)))


def _ops(number: int) -> set[str]:
    names = ["see", "share", "decide", *(["mend"] if number % 3 == 0 else ["undo"] if number % 3 == 1 else [])]
    return {f"{what}-{number}" for what in names}


@pytest.mark.parametrize("url", STORES, indirect=True)
@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(14, marks=pytest.mark.timeout(600)),
        pytest.param(
            int(os.environ.get("LATEWOOD_KILLS", "300")),
            marks=[pytest.mark.slow, pytest.mark.timeout(7_200)],
            id="many",
        ),
    ],
)
async def test_what_was_acknowledged_survives_random_kills_once_and_whole(
    url: str, kills: int, tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("LATEWOOD_SEED", str(random.randrange(10**6))))
    killing = Killing(url, tmp_path, random.Random(seed))
    while killing.kills < kills:
        killing.kill_one()
        if killing.kills % _LOOK == 0:
            async with opened_later(url) as store:
                units = await check_ledgers(store, "default")
            lost = set(killing.acknowledged.values()) - units.keys()
            assert not lost, f"seed {seed}: acknowledged and not found after {killing.kills} kills: {lost}"
    killing.finish()

    async with opened_later(url) as store:
        units = await check_store(store)
    done = [number for number in range(1, killing.next_number) if _ops(number) <= killing.acknowledged.keys()]
    record_testsuite_property(
        f"kills_{kills}",
        f"seed {seed}: {killing.at_points} at a point, {len(killing.acknowledged)} writes acknowledged",
    )
    assert set(killing.acknowledged.values()) == set(units), f"seed {seed}: kept is not what was acknowledged"
    assert killing.unfinished == set(), f"seed {seed}"
    assert len(done) == killing.next_number - 1 >= kills, f"seed {seed}: the processes died too early to write"
    assert killing.at_points >= kills // 5, f"seed {seed}: hardly any process reached its point"
