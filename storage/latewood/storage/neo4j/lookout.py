"""Who waits for rows of a ledger: one look at the heads of a space, for all who wait there.

Each for itself would ask the server twenty times a second. What this process keeps is told at once, as the bell of
messages does; what others keep is found by looking, the less often the longer nothing came.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from latewood.graph_schema.model import LedgerName

__all__ = ["Lookout"]

_LOOK_S: Final = 0.05
_LOOK_S_MAX: Final = 0.25
_SHARE: Final = 0.05
"""How much of the time in which nothing came passes before the next look."""
Look: TypeAlias = Callable[[], Awaitable[Mapping[LedgerName, int]]]
"""Returns the seq of each head of a space."""


@dataclass(slots=True, eq=False)
class _Waiting:
    ledger: LedgerName
    after_seq: int
    told: asyncio.Future[Exception | None]


@dataclass(slots=True)
class _Post:
    """Those who wait in one space, and the task that looks for them."""

    waiting: dict[_Waiting, None] = field(default_factory=dict[_Waiting, None])
    rung: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Lookout:
    """Those who wait for rows, of one engine."""

    def __init__(self) -> None:
        """Begin with nobody who waits."""
        self._posts: dict[tuple[str, str], _Post] = {}

    def ring(self, tenant: str, space: str) -> None:
        """Look now for those who wait in a space, as something was kept there."""
        if (post := self._posts.get((tenant, space))) is not None:
            post.rung.set()

    async def past(
        self, tenant: str, space: str, look: Look, ledger: LedgerName, after_seq: int, seconds_max: float
    ) -> bool:  # fmt: skip
        """Return True as soon as a ledger's head is behind *after_seq*, False after *seconds_max*; look at least once.

        Raises as *look* does.
        """
        end = time.monotonic() + seconds_max
        if (await look())[ledger] > after_seq:
            return True
        left = end - time.monotonic()
        if left <= 0:
            return False
        one = _Waiting(ledger, after_seq, asyncio.get_running_loop().create_future())
        post = self._posts.setdefault((tenant, space), _Post())
        post.waiting[one] = None
        if post.task is None:
            post.task = asyncio.create_task(self._look_on((tenant, space), post, look), name="latewood-lookout")
        try:
            done, _ = await asyncio.wait([one.told], timeout=left)
        finally:
            post.waiting.pop(one, None)
            if not post.waiting:
                # Nobody is left: it ends now.
                post.rung.set()
        if done and (error := one.told.result()) is not None:
            raise error
        return bool(done)

    async def _look_on(self, place: tuple[str, str], post: _Post, look: Look) -> None:
        """Look until nobody waits any more."""
        came, seen = time.monotonic(), dict[LedgerName, int]()
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(max(_LOOK_S, _SHARE * (time.monotonic() - came)), _LOOK_S_MAX)):
                        await post.rung.wait()
                post.rung.clear()
                if not post.waiting:
                    return
                try:
                    heads, error = dict(await look()), None
                except Exception as failed:  # noqa: BLE001 - it belongs to those who wait
                    heads, error = seen, failed
                if heads != seen:
                    came, seen = time.monotonic(), heads
                for one in [one for one in post.waiting if error or heads[one.ledger] > one.after_seq]:
                    del post.waiting[one]
                    one.told.set_result(error)
        finally:
            del self._posts[place]
