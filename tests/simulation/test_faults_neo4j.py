"""The shared store behind a wire that breaks and a server that dies: acknowledged is found, once, and nothing hangs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import pytest
from conformance.stores import empty_neo4j
from simulation.ledgers import check_store
from simulation.proxy import Cut, Hold, Proxy, opened_proxy
from simulation.server import Server
from simulation.stores import opened_later

from latewood.graph_schema.errors import UnavailableError
from latewood.memory import Memory

# The first of them waits for a server to start as well.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
_WRITERS: Final = 6
_TRIES_MAX: Final = 600
_PAUSE_S: Final = 0.2
_TIMEOUT: Final = "?timeout=8"
_HANGS_S: Final = 90
"""Many times what the timeout allows, and less than the server alone would let a connection be silent."""


@pytest.fixture
def wire(server: Server) -> Iterator[Proxy]:
    empty_neo4j(server.url)
    with opened_proxy(server.port) as proxy:
        yield proxy


def _through(server: Server, wire: Proxy) -> str:
    """The server's address by way of the wire; without routing, which would lead around it."""
    parts = urlsplit(server.url)
    return f"bolt://{parts.username}:{parts.password}@127.0.0.1:{wire.port}"


@dataclass(slots=True)
class Load:
    """Writers that repeat each write, under its key, until it is acknowledged."""

    memory: Memory
    acknowledged: dict[str, str] = field(default_factory=dict[str, str])
    codes: set[str] = field(default_factory=set[str])
    stopping: bool = False

    async def write(self, op: str) -> None:
        for _ in range(_TRIES_MAX):
            try:
                told = await self.memory.observe(f"item:{op}", "note", f"basalt {op}", idempotency_key=op)
            except UnavailableError as error:
                self.codes.add(error.code)
                await asyncio.sleep(_PAUSE_S)
                continue
            assert self.acknowledged.setdefault(op, told.receipt.id) == told.receipt.id
            return
        raise AssertionError(f"{op} was never acknowledged")

    async def _writer(self, name: int) -> None:
        number = 0
        while not self.stopping:
            await self.write(f"{name}-{number}")
            number += 1

    def start(self) -> list[asyncio.Task[None]]:
        """Start the writers; they end after `stopping` is set."""
        return [asyncio.create_task(self._writer(name)) for name in range(_WRITERS)]

    async def met(self) -> None:
        """Wait until a writer was told that its write cannot be kept now."""
        for _ in range(_TRIES_MAX):
            if self.codes:
                return
            await asyncio.sleep(_PAUSE_S)
        raise AssertionError("no writer was told anything")

    async def more(self, count: int) -> None:
        """Wait until *count* more writes are acknowledged."""
        wanted = len(self.acknowledged) + count
        for _ in range(_TRIES_MAX):
            if len(self.acknowledged) >= wanted:
                return
            await asyncio.sleep(_PAUSE_S)
        raise AssertionError(f"{len(self.acknowledged)} of {wanted} writes were acknowledged; {self.codes}")


async def _found_once(server: Server, acknowledged: dict[str, str]) -> None:
    async with opened_later(server.url) as store:
        units = await check_store(store)
        assert set(acknowledged.values()) == set(units), "kept is not what was acknowledged"


@pytest.mark.parametrize("when", ["before", "while", "after"])
async def test_a_wire_cut_at_the_commit_doubles_nothing_and_loses_nothing(
    when: Cut, server: Server, wire: Proxy
) -> None:
    async with Memory.open(_through(server, wire), by="agent:writer") as memory:
        load = Load(memory)
        await load.write("first")
        for number in range(5):
            wire.cut_at_commit(when)
            await load.write(f"cut-{number}")
            # A write without a key has only its unit's id to be known by.
            wire.cut_at_commit(when)
            try:
                told = await memory.observe("item:keyless", "note", f"basalt {number}")
            except UnavailableError as error:
                load.codes.add(error.code)
                assert when == "before", "the reply was lost, not the write: asking again must find it"
            else:
                load.acknowledged[f"keyless-{number}"] = told.receipt.id
        await load.write("last")

    assert wire.cuts == 10
    assert load.codes <= {"store.unavailable", "store.busy"}
    await _found_once(server, load.acknowledged)


async def test_a_wire_cut_at_random_under_load_doubles_nothing_and_loses_nothing(server: Server, wire: Proxy) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    async with Memory.open(_through(server, wire), by="agent:writer") as memory:
        load = Load(memory)
        writers = load.start()
        for _ in range(12):
            await load.more(5)
            if rng.random() < 0.3:
                wire.cut()
            else:
                wire.cut_at_commit(rng.choice(["before", "while", "after"]))
        await load.more(5)
        load.stopping = True
        await asyncio.gather(*writers)

    assert wire.cuts > 0, f"seed {seed}"
    await _found_once(server, load.acknowledged)


async def test_a_wire_held_for_a_while_delays_and_does_no_more(server: Server, wire: Proxy) -> None:
    async with Memory.open(_through(server, wire), by="agent:writer") as memory:
        load = Load(memory)
        await load.write("before")
        wire.hold()
        waiting = asyncio.create_task(load.write("meanwhile"))
        await asyncio.sleep(1)
        assert not waiting.done(), "nothing got through, and yet the write was answered"
        wire.release()
        await waiting
        await load.write("after")

    assert load.codes == set()
    await _found_once(server, load.acknowledged)


async def test_a_wire_that_falls_silent_is_given_up_in_time(server: Server, wire: Proxy) -> None:
    async with Memory.open(_through(server, wire) + _TIMEOUT, by="agent:writer") as memory:
        load = Load(memory)
        await load.write("before")
        wire.hold()
        async with asyncio.timeout(_HANGS_S):
            with pytest.raises(UnavailableError) as read:
                await memory.entity("item:before")
            with pytest.raises(UnavailableError) as wrote:
                await memory.observe("item:held", "note", "basalt held", idempotency_key="held")
        wire.release()
        assert {read.value.code, wrote.value.code} == {"store.unavailable"}
        await load.write("held")
        assert (await memory.entity("item:before")).facts

    await _found_once(server, load.acknowledged)


@pytest.mark.parametrize("what", ["commit", "answer"])
async def test_a_wire_that_falls_silent_at_the_commit_doubles_nothing_and_loses_nothing(
    what: Hold, server: Server, wire: Proxy
) -> None:
    async with Memory.open(_through(server, wire) + _TIMEOUT, by="agent:writer") as memory:
        load = Load(memory)
        await load.write("before")
        wire.hold_at_commit(what)
        async with asyncio.timeout(_HANGS_S):
            with pytest.raises(UnavailableError) as wrote:
                await memory.observe("item:held", "note", "basalt held", idempotency_key="held")
        assert wrote.value.code == "store.outcome_unknown"
        # What was held arrives now, long after it was given up.
        wire.release()
        if what == "answer":
            # It was kept, and though nobody was told so, it is not hidden either.
            assert len((await memory.entity("item:held")).facts) == 1
        await load.write("held")
        facts = (await memory.entity("item:held")).facts
        assert [fact.value.data for fact in facts if fact.value is not None] == ["basalt held"]

    asked = wrote.value.details["receipts"]
    # The server got the commit itself, and so the first receipt is the one; of one that was held it may have given up.
    assert what == "commit" or asked == [load.acknowledged["held"]]
    await _found_once(server, load.acknowledged)


async def test_a_server_that_stands_still_under_load_is_given_up_in_time_and_used_again(
    server: Server, wire: Proxy
) -> None:
    async with Memory.open(server.url + _TIMEOUT, by="agent:writer") as memory:
        load = Load(memory)
        writers = load.start()
        await load.more(60)
        server.pause()
        try:
            async with asyncio.timeout(_HANGS_S):
                with pytest.raises(UnavailableError) as read:
                    await memory.entity("item:0-0")
                await load.met()
                before = dict(load.acknowledged)
                await asyncio.sleep(_PAUSE_S)
                assert load.acknowledged == before, "a write was acknowledged by a server that stood still"
        finally:
            server.resume()
        await load.more(60)
        load.stopping = True
        await asyncio.gather(*writers)
        assert (await memory.entity("item:0-0")).facts

    assert read.value.code == "store.unavailable"
    # Gone on, the server ends what it had begun: its time is over.
    assert load.codes <= {"store.unavailable", "store.outcome_unknown", "store.busy", "store.timeout"}
    await _found_once(server, load.acknowledged)


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_a_server_that_goes_and_comes_back_under_load_keeps_every_acknowledged_write(
    how: str, server: Server
) -> None:
    empty_neo4j(server.url)
    async with Memory.open(server.url, by="agent:writer") as memory:
        load = Load(memory)
        writers = load.start()
        for _ in range(2):
            await load.more(60)
            await asyncio.to_thread(server.stop if how == "stopped" else server.kill)
            before = dict(load.acknowledged)
            with pytest.raises(UnavailableError) as wrote:
                await memory.observe("item:nowhere", "note", "basalt")
            with pytest.raises(UnavailableError) as read:
                await memory.entity("item:0-0")
            assert {wrote.value.code, read.value.code} <= {"store.unavailable", "store.outcome_unknown", "store.busy"}
            assert load.acknowledged == before, "a write was acknowledged by a server that was gone"
            await asyncio.to_thread(server.start)
        await load.more(60)
        load.stopping = True
        await asyncio.gather(*writers)

    assert load.codes, "no writer met the server's absence"
    assert load.codes <= {"store.unavailable", "store.outcome_unknown", "store.busy"}
    async with opened_later(server.url) as store:
        units = await check_store(store)
    assert set(load.acknowledged.values()) <= set(units)
    assert len(units) == len(load.acknowledged), "something was kept that nobody was told of"
