"""Those who wait for rows share the looks: one at a time for a space, however many wait there."""

from __future__ import annotations

import asyncio
import time

import pytest

from latewood.graph_schema.errors import UnavailableError
from latewood.graph_schema.model import LedgerName
from latewood.storage.neo4j import lookout
from latewood.storage.neo4j.lookout import Lookout

COUNT = 50


class Ledgers:
    """How far two ledgers have come, and how often somebody looked."""

    def __init__(self) -> None:
        self.seqs: dict[LedgerName, int] = {"knowledge": 0, "execution": 0}
        self.looks = 0
        self.error: UnavailableError | None = None

    async def look(self) -> dict[LedgerName, int]:
        self.looks += 1
        seen = dict(self.seqs)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return seen

    def wait(self, post: Lookout, after_seq: int = 0, seconds: float = 60.0, space: str = "s") -> asyncio.Task[bool]:
        return asyncio.create_task(post.past("t", space, self.look, "knowledge", after_seq, seconds))


def never_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_LOOK_S", "_LOOK_S_MAX"):
        monkeypatch.setattr(lookout, name, 600.0)


async def test_many_who_wait_are_told_by_one_look() -> None:
    post, ledgers = Lookout(), Ledgers()
    waiting = [ledgers.wait(post) for _ in range(COUNT)]
    others = [ledgers.wait(post, after_seq=9, seconds=0.5) for _ in range(COUNT)]
    began = time.monotonic()
    await asyncio.sleep(0.3)
    looks, shared = ledgers.looks, (time.monotonic() - began) / 0.05
    ledgers.seqs["knowledge"] = 9

    assert await asyncio.gather(*waiting) == [True] * COUNT
    assert await asyncio.gather(*others) == [False] * COUNT
    # Each looks once for itself, and together they look twenty times a second at most.
    assert looks <= 2 * COUNT + shared + 1


async def test_what_this_process_keeps_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    never_by_itself(monkeypatch)
    post, ledgers = Lookout(), Ledgers()
    here, elsewhere = ledgers.wait(post), ledgers.wait(post, seconds=0.2, space="other")
    await asyncio.sleep(0.05)
    ledgers.seqs["execution"] = 1
    post.ring("t", "s")
    await asyncio.sleep(0.05)
    assert not here.done()
    ledgers.seqs["knowledge"] = 1
    post.ring("t", "s")

    assert await asyncio.wait_for(here, 20)
    assert not await elsewhere


async def test_a_wait_of_no_time_looks_once_and_what_is_there_is_not_waited_for() -> None:
    post, ledgers = Lookout(), Ledgers()

    assert not await ledgers.wait(post, seconds=0)
    ledgers.seqs["knowledge"] = 1
    assert await ledgers.wait(post)
    assert ledgers.looks == 2


async def test_a_look_that_fails_fails_for_all_who_wait_and_the_next_looks_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never_by_itself(monkeypatch)
    post, ledgers = Lookout(), Ledgers()
    waiting = [ledgers.wait(post) for _ in range(3)]
    await asyncio.sleep(0.05)
    ledgers.error = UnavailableError("gone", code="store.unavailable")
    post.ring("t", "s")
    failed = await asyncio.gather(*waiting, return_exceptions=True)
    ledgers.error = None
    again = ledgers.wait(post)
    await asyncio.sleep(0.05)
    ledgers.seqs["knowledge"] = 1
    post.ring("t", "s")

    assert [type(one) for one in failed] == [UnavailableError] * 3
    assert await asyncio.wait_for(again, 20)


async def test_nobody_looks_when_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    never_by_itself(monkeypatch)
    post, ledgers = Lookout(), Ledgers()
    gone, over = ledgers.wait(post), ledgers.wait(post, seconds=0.05)
    await asyncio.sleep(0.02)
    gone.cancel()

    assert not await over
    await asyncio.gather(gone, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "latewood-lookout"] == []
