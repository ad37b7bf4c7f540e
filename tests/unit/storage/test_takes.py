"""Consumers that ask while a take is under way share the next one, and who has gone keeps nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from latewood.execution.messages import Messages
from latewood.graph_schema.errors import LimitError, NotFoundError
from latewood.memory import Memory
from latewood.memory.messages import messages_of
from latewood.memory.runs import book_of
from latewood.storage.queueing import TAKEN_MAX, Taken, Want, queue_of
from latewood.storage.sqlite.handing import Handing


async def sent(memory: Memory, many: int) -> tuple[Messages, str]:
    messages = messages_of(memory)
    channel = await messages.make_channel("orders")
    for number in range(many):
        await messages.publish("orders", {"number": number})
    return messages, channel.groups[0].id


async def test_twenty_consumers_share_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    take_now = Handing.take_now

    async def counted(self: Handing, space: str, wants: Sequence[Want]) -> tuple[tuple[Taken, ...], ...]:
        calls.append(len(wants))
        return await take_now(self, space, wants)

    monkeypatch.setattr(Handing, "take_now", counted)
    async with Memory.open(str(tmp_path / "a.db"), by="agent:a", embedder="none") as memory:
        messages, _ = await sent(memory, 20)
        taken = await asyncio.gather(*(messages.receive("orders") for _ in range(20)))
        assert sorted(one.message.data["number"] for (one,) in taken) == list(range(20))  # type: ignore[index,call-overload]
        assert sum(calls) == 20
        assert len(calls) < 20


async def test_who_goes_while_it_waits_keeps_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    take_now = Handing.take_now

    async def held_up(self: Handing, space: str, wants: Sequence[Want]) -> tuple[tuple[Taken, ...], ...]:
        answer = await take_now(self, space, wants)
        begun.set()
        await go_on.wait()
        return answer

    async with Memory.open(str(tmp_path / "a.db"), by="agent:a", embedder="none") as memory:
        messages, _ = await sent(memory, 1)
        with monkeypatch.context() as patched:
            patched.setattr(Handing, "take_now", held_up)
            gone = asyncio.create_task(messages.receive("orders"))
            await begun.wait()
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            go_on.set()
        (received,) = await messages.receive("orders", wait_s=20)
        # As if it had never been taken: nobody was lost with it in their hands.
        assert received.number == 1
        await messages.ack(received)


async def test_what_cannot_be_taken_is_refused_to_who_asked_alone(tmp_path: Path) -> None:
    async with Memory.open(str(tmp_path / "a.db"), by="agent:a", embedder="none") as memory:
        _, group = await sent(memory, 1)
        queue = queue_of(book_of(memory).store)
        answers = await asyncio.gather(
            queue.take("default", [Want(group, "a", TAKEN_MAX + 1, 30)]),
            queue.take("nowhere", [Want(group, "b", 1, 30)]),
            queue.take("default", [Want(group, "c", 1, 30)]),
            return_exceptions=True,
        )
        assert [type(one) for one in answers] == [LimitError, NotFoundError, tuple]
