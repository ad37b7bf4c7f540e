"""Vectors of SQLite files in memory: exact search over one matrix a generation.

A copy is checked against the file at every search: new vectors are read behind those it has, and when some went (by an
erasure) it is read anew. Copies of all generations take at most `CACHE_BYTES_MAX`; a generation larger than that is
read block by block at each search instead. numpy is imported where it is used: most processes never search by vector,
and it takes a tenth of a second.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from latewood.storage.queries import load_queries
from latewood.storage.sqlite.database import Statements, number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from latewood.storage.searching import Generation

    Numbers: TypeAlias = NDArray[np.float32]
    Rows: TypeAlias = NDArray[np.int64]

__all__ = ["CACHE_BYTES_MAX", "StoredGeneration", "VectorCache", "ranked", "table_of", "vector_sql"]

CACHE_BYTES_MAX: Final = 2 << 30
"""Most bytes of vectors that a process holds: 1.4 million of 384 numbers."""
_NUMBER_BYTES: Final = 4
_ROW_BYTES: Final = 8
_BLOCK: Final = 8_192
_SLAB: Final = 65_536
"""Rows of one array: a copy grows by as many at a time, and only what is used of them takes memory."""
_RANKED_FIRST: Final = 1_024
_SPARSE: Final = 8
"""Where fewer than one row in so many is asked for, those rows alone are compared."""


@dataclass(frozen=True, slots=True)
class StoredGeneration:
    """A generation's row; *changes* counts how often vectors went."""

    n: int
    name: str
    model: str
    dimensions: int
    state: str
    changes: int


def table_of(n: int) -> str:
    """Return the name of a generation's table."""
    return f"vector_{int(n)}"


def vector_sql(name: str, n: int) -> str:
    """Return a query over a generation's table."""
    return load_queries("latewood.storage.sqlite", "searching.sql")[name].replace("{table}", table_of(n))


class _Copy:
    """One generation's vectors, in the order in which they were written, in slabs that never move."""

    def __init__(self, dimensions: int, changes: int) -> None:
        self.changes = changes
        self.last = 0
        self.count = 0
        self._dimensions = dimensions
        self._slabs: list[tuple[Rows, Numbers]] = []

    @property
    def bytes(self) -> int:
        return self.count * (_NUMBER_BYTES * self._dimensions + _ROW_BYTES)

    def take(self, last: int, rows: Rows, numbers: Numbers) -> None:
        """Append a block; whoever reads the slabs as far as they went before keeps what was there."""
        import numpy as np

        done = 0
        while done < len(rows):
            place = self.count % _SLAB
            if place == 0:
                self._slabs.append((np.empty(_SLAB, np.int64), np.empty((_SLAB, self._dimensions), np.float32)))
            slab_rows, slab = self._slabs[-1]
            some = min(_SLAB - place, len(rows) - done)
            slab_rows[place : place + some] = rows[done : done + some]
            slab[place : place + some] = numbers[done : done + some]
            self.count, done = self.count + some, done + some
        self.last = last

    def parts(self) -> list[tuple[Rows, Numbers]]:
        """Return the slabs as far as they go now."""
        return [
            (rows[: self.count - _SLAB * place], numbers[: self.count - _SLAB * place])
            for place, (rows, numbers) in enumerate(self._slabs)
        ]


def _blocks(db: Statements, n: int, dimensions: int, after: int) -> Iterator[tuple[int, Rows, Numbers]]:
    """Read the vectors behind the number *after*, in blocks."""
    import numpy as np

    found = db.execute(vector_sql("vectors_after", n), (after,))
    block: list[Sequence[object]] = []

    def packed() -> tuple[int, Rows, Numbers]:
        rows = np.array([cast("int", one[1]) for one in block], np.int64)
        numbers = np.frombuffer(b"".join(cast("bytes", one[2]) for one in block), "<f4").reshape(-1, dimensions)
        return cast("int", block[-1][0]), rows, numbers

    for row in found:
        block.append(row)
        if len(block) == _BLOCK:
            yield packed()
            block.clear()
    if block:
        yield packed()


class VectorCache:
    """The copies that a process holds; used by several reader threads."""

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        """Hold nothing yet."""
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._copies: dict[int, _Copy] = {}
        self._counted: dict[int, tuple[object, tuple[Generation, ...]]] = {}

    def clear(self) -> None:
        """Forget every vector, and how many there are."""
        with self._lock:
            self._copies.clear()
            self._counted.clear()

    def counted(
        self, space: int, state: object, count: Callable[[], tuple[Generation, ...]]
    ) -> tuple[Generation, ...]:  # fmt: skip
        """Return the generations of a space with their counts, counted once for each *state* of the file."""
        found = self._counted.get(space)
        if found is None or found[0] != state:
            found = self._counted[space] = (state, count())
        return found[1]

    @property
    def bytes(self) -> int:
        """How many bytes the copies take."""
        return sum(copy.bytes for copy in self._copies.values())

    def scores(
        self, db: Statements, generation: StoredGeneration, vector: bytes, allowed: Sequence[int] | None
    ) -> tuple[Rows, Numbers]:
        """Return rows of memories and the cosine of each with *vector*; of those *allowed* (ascending) alone."""
        import numpy as np

        asked = np.frombuffer(vector, "<f4").astype(np.float32)
        wanted = None if allowed is None else np.array(allowed, np.int64)
        held = self._copied(db, generation)
        found = (
            held if held is not None
            else ((rows, numbers) for _, rows, numbers in _blocks(db, generation.n, generation.dimensions, 0))
        )  # fmt: skip
        parts = [_compared(rows, numbers, asked, wanted) for rows, numbers in found]
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        return np.concatenate([rows for rows, _ in parts]), np.concatenate([scores for _, scores in parts])

    def _copied(self, db: Statements, generation: StoredGeneration) -> list[tuple[Rows, Numbers]] | None:
        """Return the generation's copy, brought up to date; None when it is too large to be held."""
        last = number(db.execute(vector_sql("last_vector", generation.n)))
        with self._lock:
            found = self._copies.pop(generation.n, None)
            # A reader whose state of the file is older than the copy may use it: what is not there yet it does not see.
            if found is None or found.changes < generation.changes:
                found = _Copy(generation.dimensions, generation.changes)
            count = found.count + max(0, last - found.last)
            if count * (_NUMBER_BYTES * generation.dimensions + _ROW_BYTES) > self._bytes_max:
                return None
            for reached, rows, numbers in _blocks(db, generation.n, generation.dimensions, found.last):
                found.take(reached, rows, numbers)
            while self._copies and self.bytes + found.bytes > self._bytes_max:
                # The one that was asked for longest ago comes first.
                del self._copies[next(iter(self._copies))]
            self._copies[generation.n] = found
            return found.parts()


def _compared(rows: Rows, numbers: Numbers, asked: Numbers, wanted: Rows | None) -> tuple[Rows, Numbers]:
    """Compare every row, or those wanted."""
    import numpy as np

    if wanted is None:
        return rows, numbers @ asked
    if not len(wanted) or not len(rows):
        return rows[:0], np.empty(0, np.float32)
    found = np.minimum(np.searchsorted(wanted, rows), len(wanted) - 1)
    places = np.flatnonzero(wanted[found] == rows)
    scores = numbers[places] @ asked if len(places) * _SPARSE < len(rows) else (numbers @ asked)[places]
    return rows[places], scores


def ranked(rows: Rows, scores: Numbers, first: int) -> Iterator[tuple[int, float]]:
    """Yield rows and scores, best first; all are sorted only when the best thousand did not do."""
    import numpy as np

    part = max(_RANKED_FIRST, 4 * first)
    if len(rows) > 2 * part:
        top = np.argpartition(-scores, part - 1)
        # What scores like the last of the part may lie on either side of it.
        inside, least = top[:part], scores[top[:part]].min()
        inside = inside[scores[inside] > least]
        yield from _sorted(rows[inside], scores[inside])
        left = np.flatnonzero(scores <= least)
        rows, scores = rows[left], scores[left]
    yield from _sorted(rows, scores)


def _sorted(rows: Rows, scores: Numbers) -> Iterator[tuple[int, float]]:
    import numpy as np

    order = np.lexsort((rows, -scores))
    return zip(rows[order].tolist(), scores[order].tolist(), strict=True)
