"""How writes and questions get their vectors: one embedder for an engine, asked beside the event loop.

The texts of all writers that wait are embedded together, as the journal then commits them together. Nothing here fails
a write: without an embedder, with a failing one, or where the space's vectors are another model's, the words are kept
without vectors, and `reindex` makes them later.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from latewood.graph_schema.commands import Assert, Unit
from latewood.graph_schema.errors import LatewoodError
from latewood.ingestion.embedding.port import Vector
from latewood.ingestion.embedding.tolerant import TolerantEmbedder
from latewood.storage.port import GraphStore
from latewood.storage.searching import VECTORS_MAX, Generation, text_of

__all__ = ["UNIT_TEXTS_MAX", "Embedding", "generation_name"]

UNIT_TEXTS_MAX: Final = 256
"""Texts of one unit that get their vectors as they are written; a longer unit's further ones get them later."""
_BATCH_TEXTS_MAX: Final = 512
_FRESH_S: Final = 20.0
"""How long a space's current generation is taken to be that still. The store leaves out vectors of one that is not."""
_SPACES_MAX: Final = 1_000
_OUTSIDE: Final = re.compile(r"[^A-Za-z0-9._:@/+-]+")
_NAME_CHARS_MAX: Final = 100


def generation_name(model: str, taken: Sequence[str] = ()) -> str:
    """Return a name for a generation of *model*, another one than those that are *taken*."""
    name = _OUTSIDE.sub("-", model)[:_NAME_CHARS_MAX].lstrip("._:@/+-") or "model"
    # A space has few generations, so a free number is near.
    return next(one for one in (name, *(f"{name}+{n}" for n in range(2, 99))) if one not in taken)


def _texts(unit: Unit) -> dict[str, str]:
    """Return the texts of *unit* by the ids of their assertions, as many as are embedded when they are written."""
    found: dict[str, str] = {}
    for command in unit.commands:
        if isinstance(command, Assert) and (text := text_of(command.value)) is not None:
            found[command.id] = text
            if len(found) == UNIT_TEXTS_MAX:
                break
    return found


class Embedding:
    """The embedder of an engine. Shared by every handle over it; lives on the engine's event loop."""

    def __init__(self, embedder: TolerantEmbedder, *, now: Callable[[], float] = time.monotonic) -> None:
        """Take the embedder; it is opened when a text comes."""
        self.embedder = embedder
        self._now = now
        self._waiting: deque[tuple[list[str], asyncio.Future[list[Vector] | None]]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._current: dict[tuple[str, str], tuple[float, Generation]] = {}

    async def query(self, text: str) -> tuple[str, Vector] | None:
        """Return the embedder's model and the vector of *text*, None when it cannot be made now."""
        if not text.strip():
            return None
        made = await self._vectors([text])
        model = self.embedder.health.model
        return None if made is None or model is None else (model, made[0])

    async def prepare(self, store: GraphStore, units: Sequence[Unit]) -> list[Unit]:
        """Return *units* with the vectors of their texts, where they can be had now. Never raises for want of them."""
        wanted = [_texts(unit) for unit in units]
        if not any(wanted):
            return list(units)
        described = await asyncio.to_thread(self.embedder.describe)
        if described is None:
            self.embedder.passed_over(sum(map(len, wanted)))
            return list(units)
        named = {
            space: await self._generation(store, space, *described)
            for space in {unit.space for unit, texts in zip(units, wanted, strict=True) if texts}
        }
        texts = [
            text for unit, own in zip(units, wanted, strict=True) if named.get(unit.space) for text in own.values()
        ]
        made = await self._vectors(texts) if texts else None
        if made is None:
            return list(units)
        rest = iter(made)
        return [
            replace(unit, vectors={fact: next(rest) for fact in own}, generation=named[unit.space])
            if own and named[unit.space]
            else unit
            for unit, own in zip(units, wanted, strict=True)
        ]

    async def follow(self, store: GraphStore, units: Sequence[Unit]) -> None:
        """Make the vectors of *units* that are kept already. Never raises for want of them."""
        by_generation: dict[tuple[str, str], dict[str, Vector]] = {}
        for unit in await self.prepare(store, units):
            if unit.generation is not None:
                by_generation.setdefault((unit.space, unit.generation), {}).update(unit.vectors)
        for (space, generation), vectors in by_generation.items():
            facts = list(vectors)
            # The generation may have been dropped meanwhile: these are then among the missing of the next.
            with contextlib.suppress(LatewoodError):
                for begin in range(0, len(facts), VECTORS_MAX):
                    part = {fact: vectors[fact] for fact in facts[begin : begin + VECTORS_MAX]}
                    await store.keep_vectors(space, generation, part)

    async def say_again(self, store: GraphStore, space: str, facts: Sequence[str]) -> None:
        """Make the vectors of *facts* that are kept already, in words of others. Never raises for want of them."""
        with contextlib.suppress(LatewoodError):
            kept = await store.facts_by_id(space, facts)
            texts = {one: text for one, fact in kept.items() if (text := text_of(fact.value)) is not None}
            described = await asyncio.to_thread(self.embedder.describe) if texts else None
            generation = None if described is None else await self._generation(store, space, *described)
            listed = list(texts)
            for begin in range(0, len(listed) if generation is not None else 0, UNIT_TEXTS_MAX):
                part = listed[begin : begin + UNIT_TEXTS_MAX]
                made = await self._vectors([texts[one] for one in part])
                if made is None or generation is None:
                    return
                await store.keep_vectors(space, generation, dict(zip(part, made, strict=True)))

    def forget(self) -> None:
        """Ask the store anew which generation is current: it was changed here."""
        self._current.clear()

    async def close(self) -> None:
        """Wait for what is being embedded, then let go of the embedder."""
        if self._worker is not None:
            await asyncio.wait([self._worker])
        await asyncio.to_thread(self.embedder.close)

    async def _generation(self, store: GraphStore, space: str, model: str, dimensions: int) -> str | None:
        """Return the space's current generation if it is of this model; begin one in a space that has none."""
        key = (store.tenant, space)
        known = self._current.get(key)
        if known is None or self._now() - known[0] > _FRESH_S:
            try:
                there = await store.generations(space)
                found = next((one for one in there if one.state == "current"), None)
                if found is None:
                    name = generation_name(model, [one.name for one in there])
                    found = await store.begin_generation(space, name, model=model, dimensions=dimensions)
            # Whatever the store has against it, the write beside it will say better.
            except LatewoodError:
                return None
            if len(self._current) >= _SPACES_MAX:
                self._current.clear()
            known = self._current[key] = (self._now(), found)
        current = known[1]
        return current.name if (current.model, current.dimensions) == (model, dimensions) else None

    async def _vectors(self, texts: list[str]) -> list[Vector] | None:
        future: asyncio.Future[list[Vector] | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((texts, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._embed(), name="latewood-embedding")
        return await future

    async def _embed(self) -> None:
        """Embed what waits, all that came meanwhile together, until nothing waits."""
        try:
            while self._waiting:
                batch = [self._waiting.popleft()]
                count = len(batch[0][0])
                while self._waiting and count + len(self._waiting[0][0]) <= _BATCH_TEXTS_MAX:
                    batch.append(self._waiting.popleft())
                    count += len(batch[-1][0])
                # The same words often come together, such as the status of many decisions.
                texts = list(dict.fromkeys(text for own, _ in batch for text in own))
                made = await asyncio.to_thread(self.embedder.embed, texts)
                found = None if made is None else dict(zip(texts, made, strict=True))
                for own, future in batch:
                    if not future.done():
                        future.set_result(None if found is None else [found[text] for text in own])
        finally:
            self._worker = None
            # Only an end of the whole loop leaves anyone waiting here.
            while self._waiting:
                _, future = self._waiting.popleft()
                future.cancel()
