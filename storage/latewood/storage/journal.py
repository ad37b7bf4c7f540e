"""The journal: the only caller of a store's `commit`.

Writers hand in units and wait; one task per store takes what is waiting, bounded by count, bytes and time, and commits
it in one transaction. Whoever waits gets a receipt only for what is durable, or the error of their own unit alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from latewood.graph_schema.commands import Unit
from latewood.graph_schema.errors import LatewoodError, LimitError, RefusedError, UnavailableError
from latewood.graph_schema.events import Receipt
from latewood.storage.bell import Bell
from latewood.storage.checking import unit_bytes
from latewood.storage.crashpoints import reach
from latewood.storage.erasing import erases
from latewood.storage.port import GraphStore, Refusal

__all__ = ["GROUP_BYTES_MAX", "GROUP_UNITS_MAX", "QUEUE_UNITS_MAX", "Journal"]

GROUP_UNITS_MAX: Final = 256
"""Most units of one transaction."""
GROUP_BYTES_MAX: Final = 4_000_000
"""Bytes of text after which a transaction takes no further unit."""
QUEUE_UNITS_MAX: Final = 10_000
"""Units that may wait; above it a writer is told to come back."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Waiting:
    store: GraphStore
    unit: Unit
    done: asyncio.Future[Receipt]


class Journal:
    """Group commit over one engine. Made by the composition root, shared by every handle in the process."""

    def __init__(self) -> None:
        """Stand ready."""
        self.bell = Bell()
        self._waiting: deque[_Waiting] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many units wait for the writer."""
        return len(self._waiting)

    async def submit(self, store: GraphStore, unit: Unit) -> Receipt:
        """Keep *unit* and return its receipt.

        Raises:
            RefusedError: the unit cannot be kept; the refusal has the unit's id as its receipt.
            UnavailableError: nothing was accepted.
        """
        if self._closed:
            raise UnavailableError("the store is closed; open it again", code="store.closed")
        if len(self._waiting) >= QUEUE_UNITS_MAX:
            msg = f"{QUEUE_UNITS_MAX:,} writes wait already; try again in a second"
            raise UnavailableError(msg, code="store.busy", retry_after_s=1)
        waiting = _Waiting(store, unit, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="latewood-journal")
        try:
            # A caller that gives up cancels only its own future: the unit is kept with its neighbours all the same.
            return await waiting.done
        except RefusedError as error:
            await self._refuse(store, unit, error)
            raise

    async def submit_many(self, store: GraphStore, units: Sequence[Unit]) -> tuple[Receipt, ...]:
        """Keep *units* in order, one group after another, and return their receipts.

        Raises as `submit` does, for the first unit that is not kept: those before it are, and so may those be that
        shared its group. With idempotency keys the same units can be handed in again.
        """
        receipts: list[Receipt] = []
        for begin in range(0, len(units), GROUP_UNITS_MAX):
            part = units[begin : begin + GROUP_UNITS_MAX]
            answers = await asyncio.gather(*(self.submit(store, unit) for unit in part), return_exceptions=True)
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
                receipts.append(answer)
        return tuple(receipts)

    async def _refuse(self, store: GraphStore, unit: Unit, error: RefusedError) -> None:
        error.details.setdefault("receipt", unit.id)
        refusal = Refusal(unit.id, unit.space, error.code, unit.actor.key, unit.body, error.message)
        with contextlib.suppress(LatewoodError):
            await store.refuse(refusal)

    def _take(self) -> list[_Waiting]:
        """Take what waits, as far as the bounds go."""
        group: list[_Waiting] = []
        weight = 0
        while self._waiting and len(group) < GROUP_UNITS_MAX and weight < GROUP_BYTES_MAX:
            if group and (erases(group[-1].unit) or erases(self._waiting[0].unit)):
                # An erasure is committed alone: it takes what those before it wrote.
                break
            group.append(self._waiting.popleft())
            weight += unit_bytes(group[-1].unit)
        return group

    async def _write(self) -> None:
        """Commit group after group until nothing waits."""
        try:
            await self._groups()
        finally:
            self._writer = None
            while self._waiting:
                gone = UnavailableError("the store was closed before this was kept; repeat it", code="store.closed")
                left = self._waiting.popleft()
                if not left.done.done():
                    left.done.set_exception(gone)

    async def _groups(self) -> None:
        while group := self._take():
            by_tenant: dict[str, list[_Waiting]] = {}
            for waiting in group:
                by_tenant.setdefault(waiting.store.tenant, []).append(waiting)
            for part in by_tenant.values():
                await self._commit(part)
            # One turn of the loop lets writers that were just answered hand in their next unit: it shares the next
            # transaction with what came meanwhile, instead of the one after.
            await asyncio.sleep(0)

    async def _commit(self, part: list[_Waiting]) -> None:
        reach("journal.taken")
        try:
            answers = await part[0].store.commit([waiting.unit for waiting in part])
            reach("journal.answered")
        except LatewoodError as error:
            if len(part) > 1 and isinstance(error, LimitError):
                for waiting in part:
                    await self._commit([waiting])
                return
            answers = tuple(error for _ in part)
        except Exception as error:  # noqa: BLE001 - see below
            if len(part) > 1:
                # One unit's fault must not become its neighbours'.
                for waiting in part:
                    await self._commit([waiting])
                return
            # Whatever it was, the waiting caller must hear of it: a silent writer would hang it.
            # As text: a traceback that the log draws shows local variables too, and with them users' words.
            _log.error("commit_failed", units=len(part), trace=traceback.format_exc())
            answers = (LatewoodError(f"the store failed unexpectedly: {error!r}", code="internal"),)
        for waiting, answer in zip(part, answers, strict=True):
            if isinstance(answer, Receipt) and waiting.unit.rooms:
                self.bell.ring([room.group for room in waiting.unit.rooms])
            if waiting.done.done():
                continue
            if isinstance(answer, Receipt):
                waiting.done.set_result(answer)
            else:
                waiting.done.set_exception(answer)

    async def close(self) -> None:
        """Commit what waits, then stop. Later units are refused."""
        self._closed = True
        if self._writer is not None:
            # Shielded: whoever stops waiting for the end must not stop the writes.
            await asyncio.shield(self._writer)
