"""Making vectors that are missing while others work: a few texts at a time, and a rest after each few.

A write never waits for its vector longer than it must, so some come late: the embedder was down, or its server busy. A
process that stays, as a server does, makes them good. It looks only into spaces that were written since it last found
them whole, and fills the current generation of its own model with knowledge; everything else is for `reindex`.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import structlog

from latewood.graph_schema.errors import LatewoodError
from latewood.memory.api import Memory
from latewood.memory.embedding import Embedding
from latewood.memory.reindexing import fill_some
from latewood.storage.port import GraphStore, Space

__all__ = ["LOOK_TEXTS_MAX", "Filler"]

LOOK_TEXTS_MAX: Final = 2_000
"""Most texts of a space that one look goes through; the next goes on there."""
_PAGE_TEXTS: Final = 32
"""Texts between two rests: what a writer waits for at most, behind them."""
_SPACES_MAX: Final = 1_000
_log = structlog.get_logger(__name__)


class Filler:
    """Looks after the vectors of a store's spaces; made once for a process."""

    def __init__(self, memory: Memory, *, rest: float = 1.0) -> None:
        """Fill with *memory*'s embedder, resting *rest* times as long as was worked."""
        self._memory = memory
        self._rest = rest
        self._whole: OrderedDict[tuple[str, str], int] = OrderedDict()
        # Where a look stopped; it goes on there, and begins again at the front with the next write.
        self._further: dict[tuple[str, str], str] = {}

    async def look(self, tenants: Iterable[str] = ()) -> int:
        """Look once into the spaces of the memory's own tenant and of *tenants*; return how many vectors were made."""
        own = self._memory.store.tenant
        embedding = self._memory._engine.embedding  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - a part of it
        made = 0
        if embedding is None:
            return made
        for tenant in [own, *sorted(set(tenants) - {own})]:
            store = self._memory.within(tenant=tenant).store
            try:
                for space in (await store.spaces())[:_SPACES_MAX]:
                    made += await self._fill(store, space, embedding)
            except LatewoodError as error:
                # The store or the embedder may be gone for a moment; the next look tries again.
                _log.info("vectors_not_filled", code=error.code)
        return made

    async def _fill(self, store: GraphStore, space: Space, embedding: Embedding) -> int:
        key, head = (store.tenant, space.name), sum(space.seq.values())
        if self._whole.get(key) == head:
            return 0
        made, after = 0, self._further.pop(key, None)
        for _ in range(LOOK_TEXTS_MAX // _PAGE_TEXTS):
            begun = time.monotonic()
            some, after = await fill_some(store, space.name, embedding, after=after, size=_PAGE_TEXTS)
            made += some
            if after is None:
                break
            await asyncio.sleep((time.monotonic() - begun) * self._rest)
        if after is not None:
            self._further[key] = after
        else:
            self._whole[key] = head
            self._whole.move_to_end(key)
            while len(self._whole) > _SPACES_MAX:
                self._whole.popitem(last=False)
        if made:
            _log.info("vectors_filled", space=space.name, tenant=store.tenant, made=made)
        return made
