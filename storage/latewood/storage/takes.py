"""Takes that come while one is under way share the next: one transaction and one lock for many consumers.

What the journal does for units. A take is short and holds the lock that writers want, so that eight consumers who ask
one after another wait for each other, and for those who write, eight times.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from latewood.graph_schema.commands import Hold
from latewood.graph_schema.errors import LatewoodError
from latewood.storage.queueing import TAKEN_MAX, Taken, Want, check_wants

__all__ = ["ASKED_MAX", "Takes", "Taking"]

ASKED_MAX: Final = 256
"""Most consumers whose takes share a transaction."""
Answer: TypeAlias = tuple[tuple[Taken, ...], ...]


class Taking(Protocol):
    """A store's handle that hands messages out."""

    @property
    def tenant(self) -> str:
        """Whose data it is bound to."""
        ...

    async def take_now(self, space: str, wants: Sequence[Want]) -> Answer:
        """Hand messages out in a transaction of its own."""
        ...

    async def hand_back(self, space: str, holds: Sequence[Hold]) -> int:
        """Let others have messages at once."""
        ...


@dataclass(slots=True)
class _Asked:
    store: Taking
    space: str
    wants: Sequence[Want]
    done: asyncio.Future[Answer]

    @property
    def place(self) -> tuple[str, str]:
        return self.store.tenant, self.space

    @property
    def most(self) -> int:
        return sum(want.most for want in self.wants)


class Takes:
    """The takes of one engine, group after group."""

    def __init__(self) -> None:
        """Stand ready."""
        self._asked: deque[_Asked] = deque()
        self._running: asyncio.Task[None] | None = None

    async def ask(self, store: Taking, space: str, wants: Sequence[Want]) -> Answer:
        """Hand messages out, with whoever else asks meanwhile. Raises as `MessageQueue.take` does.

        What was handed out to a caller that has gone meanwhile is handed back.
        """
        check_wants(wants)
        asked = _Asked(store, space, wants, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        if self._running is None:
            self._running = asyncio.create_task(self._answer(), name="latewood-takes")
        return await asked.done

    def _next(self) -> list[_Asked]:
        """Take what waits for one space, as far as the bounds go, in the order in which it came."""
        group, left, most = list[_Asked](), deque[_Asked](), 0
        while self._asked:
            asked = self._asked.popleft()
            if asked.done.done():
                continue
            fits = not group or (
                asked.place == group[0].place and len(group) < ASKED_MAX and most + asked.most <= TAKEN_MAX
            )
            if fits:
                group.append(asked)
                most += asked.most
            else:
                left.append(asked)
        self._asked = left
        return group

    async def _answer(self) -> None:
        try:
            while group := self._next():
                await self._take(group)
                if not self._asked:
                    # One turn of the loop lets consumers that were just answered ask again.
                    await asyncio.sleep(0)
        finally:
            self._running = None
            while self._asked:
                # Only where the loop ends: whoever waits ends with it.
                self._asked.popleft().done.cancel()

    async def _take(self, group: Sequence[_Asked]) -> None:
        store, space = group[0].store, group[0].space
        try:
            answers = await store.take_now(space, [want for asked in group for want in asked.wants])
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            for asked in group:
                if not asked.done.done():
                    asked.done.set_exception(error)
            return
        begin, gone = 0, list[Hold]()
        for asked in group:
            answer = tuple(answers[begin : begin + len(asked.wants)])
            begin += len(asked.wants)
            if asked.done.done():
                gone += [one.hold for part in answer for one in part]
            else:
                asked.done.set_result(answer)
        if gone:
            with contextlib.suppress(LatewoodError):
                # If not, they come again when their time is over.
                await store.hand_back(space, gone)
