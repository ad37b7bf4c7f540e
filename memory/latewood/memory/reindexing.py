"""Making vectors after the words: those that are missing, and all of them anew by another model.

A new generation grows beside the current one, which goes on answering; when it is whole the space switches, in one
step. What is made is kept page by page, so a run that was stopped is simply run again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from latewood.graph_schema.errors import RefusedError
from latewood.ingestion.embedding.port import Embedder, Vector
from latewood.memory.embedding import Embedding, generation_name
from latewood.reasoning.recall import MARKS, WORKINGS
from latewood.storage.port import GraphStore
from latewood.storage.searching import Generation

__all__ = ["ReindexReport", "fill_some", "reindex"]

_PAGE_TEXTS: Final = 128
"""Texts between two keepings: what a stopped run loses at most."""

_REFUSED: Final = "embedder.refused"


@dataclass(frozen=True, slots=True)
class ReindexReport:
    """What a reindex came to.

    Attributes:
        made: vectors that were missing and are there now.
        left_out: memories whose text the embedder refuses; they are found by their words.
        switched: whether the generation was not the current one before.
        dropped: the generations of other models that were thrown away.
    """

    space: str
    generation: str
    model: str
    dimensions: int
    made: int
    left_out: int
    switched: bool
    dropped: tuple[str, ...]


async def reindex(
    store: GraphStore, space: str, own: Embedding | None, given: str | Embedder | None, *, keep_old: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ReindexReport:  # fmt: skip
    """Fill the generation of the *given* embedder, or of the engine's *own*; see `Memory.reindex`."""
    embedder, close = await asyncio.to_thread(_opened, own, given)
    try:
        model, dimensions = await asyncio.to_thread(lambda: (embedder.model, embedder.dimensions))
        generation = await _generation(store, space, model, dimensions)
        filling = _Filling(store, space, generation, embedder, progress)
        await filling.run()
        switched = generation.state != "current"
        dropped: list[str] = []
        if switched:
            await store.switch_generation(space, generation.name)
            if own is not None:
                own.forget()
            # What others wrote between the last page and the switch went to the generation before.
            await filling.run()
        if not keep_old:
            for one in await store.generations(space):
                if one.state == "old":
                    await store.drop_generation(space, one.name)
                    dropped.append(one.name)
        return ReindexReport(
            space, generation.name, model, dimensions, filling.made, filling.left_out, switched, tuple(dropped)
        )
    finally:
        await asyncio.to_thread(close)


async def fill_some(
    store: GraphStore, space: str, own: Embedding, *, after: str | None, size: int
) -> tuple[int, str | None]:  # fmt: skip
    """Make a few of the vectors that the space's current generation lacks, behind the cursor *after*; return how many
    were made, and where to go on: None at the end, or where the generation is of another model.

    Raises:
        LatewoodError: code ``embedder.*``, or what the store has to say.
    """
    there = await store.generations(space)
    current = next((one for one in there if one.state == "current"), None)
    if current is None or not current.missing:
        return 0, None
    embedder = await asyncio.to_thread(own.embedder.opened)
    if (current.model, current.dimensions) != await asyncio.to_thread(lambda: (embedder.model, embedder.dimensions)):
        return 0, None
    filling = _Filling(store, space, current, embedder, None)
    further = await filling.page(after, size, only=lambda facts: _knowledge(store, space, facts))
    return filling.made, further


async def _knowledge(store: GraphStore, space: str, facts: Sequence[str]) -> set[str]:
    """Return those of *facts* that recall gives by itself; marks and what work leaves are found by their words."""
    found = await store.facts_by_id(space, facts)
    subjects = await store.nodes(space, ids=sorted({one.subject_id for one in found.values()}))
    return {
        fact for fact, one in found.items()
        if one.predicate not in MARKS
        and (subject := subjects.get(one.subject_id)) is not None and subject.kind not in WORKINGS
    }  # fmt: skip


def _opened(own: Embedding | None, given: str | Embedder | None) -> tuple[Embedder, Callable[[], None]]:
    """Return an embedder that raises when it fails, and how to let go of it."""
    from latewood.memory.opening import chosen  # which itself builds on what is here

    if isinstance(given, Embedder):
        return given, lambda: None
    if given is None and own is not None:
        return own.embedder.opened(), lambda: None
    embedder = chosen(given).open()
    close: Callable[[], None] = getattr(embedder, "close", lambda: None)
    return embedder, close


async def _generation(store: GraphStore, space: str, model: str, dimensions: int) -> Generation:
    """Return the space's generation of this model, begun now if it has none."""
    there = await store.generations(space)
    for one in there:
        if (one.model, one.dimensions) == (model, dimensions):
            return one
    name = generation_name(model, [one.name for one in there])
    begun = await store.begin_generation(space, name, model=model, dimensions=dimensions)
    # The first of a space is current at once, and nothing was switched.
    return next((one for one in await store.generations(space) if one.name == name), begun)


class _Filling:
    """The pages of one generation that are still to be made."""

    def __init__(
        self, store: GraphStore, space: str, generation: Generation, embedder: Embedder,
        progress: Callable[[int, int], None] | None,
    ) -> None:  # fmt: skip
        self._store = store
        self._space = space
        self._name = generation.name
        self._total = generation.missing
        self._embedder = embedder
        self._progress = progress
        self._refused: set[str] = set()
        self.made = 0

    @property
    def left_out(self) -> int:
        return len(self._refused)

    async def run(self) -> None:
        after = await self.page(None, _PAGE_TEXTS)
        while after is not None:
            after = await self.page(after, _PAGE_TEXTS)

    async def page(
        self, after: str | None, size: int, only: Callable[[Sequence[str]], Awaitable[set[str]]] | None = None
    ) -> str | None:
        """Make the vectors of the next *size* texts that have none, of all or of the facts that *only* leaves, and
        return where to go on.
        """
        page = await self._store.unembedded(self._space, self._name, after=after, limit=size)
        todo = {fact: text for fact, text in page.items if fact not in self._refused}
        if only is not None and todo:
            wanted = await only(list(todo))
            todo = {fact: text for fact, text in todo.items() if fact in wanted}
        if todo:
            vectors = await asyncio.to_thread(_vectors, self._embedder, todo)
            self._refused |= todo.keys() - vectors.keys()
            self.made += await self._store.keep_vectors(self._space, self._name, vectors)
            if self._progress is not None:
                self._progress(self.made, max(self._total, self.made))
        return page.next


def _vectors(embedder: Embedder, texts: Mapping[str, str]) -> Mapping[str, Vector]:
    """Embed *texts*; where the embedder refuses them together, one by one, leaving out those that it refuses alone.

    Raises:
        RefusedError: it refuses any text, so it is the key or the model.
    """
    try:
        return dict(zip(texts, embedder.embed(list(texts.values())), strict=True))
    except RefusedError as error:
        if error.code != _REFUSED:
            raise
    embedder.embed(["latewood"])
    found: dict[str, Vector] = {}
    for fact, text in texts.items():
        try:
            found[fact] = embedder.embed([text])[0]
        except RefusedError as error:
            if error.code != _REFUSED:
                raise
    return found
