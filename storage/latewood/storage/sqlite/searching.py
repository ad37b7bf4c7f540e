"""Search by fact over one file: words by FTS5, vectors by comparing all of them, and what stands beside in time.

What a scope leaves out is never ranked. What does not hold is met in the ranking and passed over, in parts, so that a
search reads no more rows than it must.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar, cast

from latewood.graph_schema.clock import NOW, AsOf
from latewood.graph_schema.ids import id_text
from latewood.storage.bounds import check_count
from latewood.storage.cursors import check_first, read_cursor, write_cursor
from latewood.storage.port import PAGE_MAX, Page
from latewood.storage.searching import (
    AROUND_LOOKED_AT_MAX,
    EVERYTHING,
    LOOKED_AT_MAX,
    Generation,
    Match,
    Matches,
    Scope,
    check_around,
    check_fresh,
    check_generation,
    check_many,
    check_scope,
    check_vector,
    find_generation,
    still_current,
)
from latewood.storage.sqlite import memories
from latewood.storage.sqlite.database import Database, last_event, number
from latewood.storage.sqlite.engine import Engine
from latewood.storage.sqlite.memories import generation_named, generations_of, sql
from latewood.storage.sqlite.reading import Reading, hex_list
from latewood.storage.sqlite.records import find_space
from latewood.storage.sqlite.scopes import HOLDER, conditions, narrow
from latewood.storage.sqlite.vectors import VectorCache, ranked, table_of, vector_sql

__all__ = ["MemorySearch"]

_WORD: Final = re.compile(r"\w+")
_WORDS_MAX: Final = 64
_PART: Final = 256
_TRIED: Final = 2_048
"""Vectors of a whole space, best first, that are tried before all that is inside a wide scope is listed."""
_LAST: Final = 2**62

T = TypeVar("T")


def _parts(ranking: Iterator[tuple[int, float]], first: int) -> Iterator[list[tuple[int, float]]]:
    # Most of what is ranked holds: the first part is hardly larger than what is asked for.
    looked_at, size = itertools.islice(ranking, LOOKED_AT_MAX), min(first + first // 8 + 8, _PART)
    while part := list(itertools.islice(looked_at, size)):
        yield part
        size = _PART


def _held(
    reading: Reading, ranking: Iterator[tuple[int, float]], first: int, bindings: Mapping[str, object],
    filters: str | None = None,
) -> Matches:  # fmt: skip
    """Walk down a ranking until *first* that hold are found; it may have what the *filters* leave out."""
    items: list[Match] = []
    hidden = 0
    states = sql()["states"].replace("{holder}", HOLDER.format(key="m.k")).replace("{filters}", filters or "true")
    for part in _parts(ranking, first):
        bindings = {**bindings, "rows": json.dumps([e for e, _ in part])}
        found = {cast("int", row[0]): row for row in reading.db.execute(states, bindings)}
        for e, score in part:
            row = found.get(e)
            if row is None:
                continue
            if not row[4]:
                hidden += 1
                continue
            items.append(_match(row[1:], score))
            if len(items) == first:
                return Matches(tuple(items), hidden)
    return Matches(tuple(items), hidden)


def _match(row: Sequence[object], score: float) -> Match:
    return Match(id_text(cast("bytes", row[0])), id_text(cast("bytes", row[1])), score, cast("int", row[2]))


def _match_text(reading: Reading, text: str, scope: Scope, at: AsOf, first: int) -> Matches:
    check_first(first)
    check_scope(scope)
    words = list(dict.fromkeys(_WORD.findall(text.casefold())))[:_WORDS_MAX]
    if not words:
        return Matches((), 0)
    valid_at, known_at = reading.instants(at)
    bindings: dict[str, object] = {"words": " OR ".join(f'"{word}"' for word in words)}
    filters = conditions(reading, scope, valid_at, known_at, bindings)
    table = f"text_{reading.n}"
    if filters is None:
        query = sql()["every_match"].replace("{table}", table)
        rows = reading.db.execute(query, bindings)
    else:
        bindings |= {"least": 1, "most": _LAST}
        if narrow(scope):
            least, most = reading.db.execute(sql()["span"].replace("{filters}", filters), bindings).fetchall()[0]
            if least is None:
                return Matches((), 0)
            bindings |= {"least": least, "most": most}
        query = sql()["matches"].replace("{table}", table).replace("{filters}", filters)
        rows = reading.db.execute(query, bindings)
    ranking = ((cast("int", row[0]), cast("float", row[1])) for row in rows)
    return _held(reading, ranking, first, bindings)


def _match_vector(
    reading: Reading, cache: VectorCache, vector: bytes, generation: str, scope: Scope, at: AsOf, first: int
) -> Matches:  # fmt: skip
    check_first(first)
    check_scope(scope)
    own = generation_named(reading.db, reading.n, generation)
    check_vector(vector, own.dimensions, "the question")
    valid_at, known_at = reading.instants(at)
    bindings: dict[str, object] = {}
    filters = conditions(reading, scope, valid_at, known_at, bindings)
    if filters is None or not narrow(scope):
        rows, scores = cache.scores(reading.db, own, vector, None)
        ranking = ranked(rows, scores, first)
        # A wide scope leaves enough of the best; to list all that is inside would take longer than to compare it.
        some = ranking if filters is None else itertools.islice(ranking, max(_TRIED, 4 * first))
        found = _held(reading, some, first, bindings, filters)
        if filters is None or len(found.items) == first:
            return found
    query = sql()["inside"].replace("{filters}", filters)
    allowed = [cast("int", row[0]) for row in reading.db.execute(query, bindings)]
    rows, scores = cache.scores(reading.db, own, vector, allowed)
    return _held(reading, ranked(rows, scores, first), first, bindings)


def _around(reading: Reading, facts: Sequence[str], each_side: int, at: AsOf) -> dict[str, tuple[Match, ...]]:
    check_around(each_side)
    check_count(len(facts))
    valid_at, known_at = reading.instants(at)
    bindings: dict[str, object] = {
        "facts": hex_list(dict.fromkeys(facts)), "space": reading.n, "t": valid_at, "r": known_at,
        "most": AROUND_LOOKED_AT_MAX, "each_side": each_side,
    }  # fmt: skip
    query = sql()["beside"].replace("{holder}", HOLDER.format(key="m.k"))
    sides: dict[str, tuple[list[int], list[int]]] = {
        id_text(cast("bytes", raw)): (json.loads(cast("str", before)), json.loads(cast("str", after)))
        for raw, before, after in reading.db.execute(query, bindings)
    }
    near = {e for pair in sides.values() for side in pair for e in side}
    rows = {cast("int", row[0]): row[1:] for row in reading.db.execute(sql()["memory_rows"], (json.dumps(list(near)),))}
    return {
        fact: tuple(_match(rows[e], 1 / n) for side in pair for n, e in enumerate(side, 1))
        for fact, pair in sides.items()
    }


def _unembedded(reading: Reading, generation: str, after: str | None, limit: int) -> Page[tuple[str, str]]:
    check_first(limit)
    (e,) = read_cursor(after, "u", 1) or (0,)
    own = generation_named(reading.db, reading.n, generation)
    rows = reading.db.execute(vector_sql("unembedded", own.n), (reading.n, e, limit + 1)).fetchall()
    shown = rows[:limit]
    more = write_cursor("u", cast("int", shown[-1][0])) if len(rows) > limit else None
    return Page(
        tuple((id_text(cast("bytes", raw)), memories.payload_text(payload) or "") for _, raw, payload in shown), more
    )


def _generations(db: Database, n: int) -> tuple[Generation, ...]:
    return memories.shown(db, n, generations_of(db, n))


def _counted(db: Database, n: int, cache: VectorCache) -> tuple[Generation, ...]:
    """Return what `_generations` does. Whatever row of the ledger or vector comes or goes shows in the state."""
    stored = generations_of(db, n)
    vectors = [(one, number(db.execute(vector_sql("last_vector", one.n)))) for one in stored]
    state = (last_event(db), vectors)
    return cache.counted(n, state, lambda: memories.shown(db, n, stored))


def _begin(db: Database, n: int, name: str, model: str, dimensions: int) -> Generation:
    made = _generations(db, n)
    if (found := check_fresh(made, name, model, dimensions)) is not None:
        return found
    memories.insert_generation(db, n, name, model, dimensions, "building" if made else "current")
    return find_generation(_generations(db, n), name)


def _switch(db: Database, n: int, name: str) -> Generation:
    chosen = generation_named(db, n, name)
    for one in generations_of(db, n):
        state = "current" if one.n == chosen.n else "old" if one.state == "current" else one.state
        db.execute(sql()["set_state"], (state, one.n))
    return find_generation(_generations(db, n), name)


def _drop(db: Database, n: int, name: str) -> None:
    chosen = generation_named(db, n, name)
    if chosen.state == "current":
        raise still_current(name)
    db.execute(f"drop table {table_of(chosen.n)}")
    db.execute("delete from generation where n = ?", (chosen.n,))


class MemorySearch:
    """The part of the store that searches facts; what it needs of the rest comes with the store."""

    _engine: Engine
    _tenant: str

    async def _read(self, space: str, work: Callable[[Reading], T]) -> T:
        raise NotImplementedError

    async def _ensure_default(self) -> None:
        raise NotImplementedError

    async def _change(self, space: str, work: Callable[[Database, int], T]) -> T:
        """Change the generations of a space, or what is in them."""
        await self._ensure_default()
        engine = self._engine

        def run(connection: Database) -> T:
            n, _ = find_space(connection, engine.sql, self._tenant, space)
            # The writer remembers which generation is current.
            engine.cache.clear()
            return work(connection, n)

        return await engine.write(run)

    async def match_text(
        self, space: str, text: str, *, scope: Scope = EVERYTHING, at: AsOf = NOW, first: int = 100
    ) -> Matches:
        """Return memories with any of the words, best first."""
        return await self._read(space, lambda one: _match_text(one, text, scope, at, first))

    async def match_vector(
        self, space: str, vector: bytes, generation: str, *, scope: Scope = EVERYTHING, at: AsOf = NOW, first: int = 100
    ) -> Matches:
        """Return the memories whose vectors are nearest, best first."""
        cache = self._engine.vectors
        return await self._read(
            space, lambda one: _match_vector(one, cache, vector, generation, scope, at, first)
        )  # fmt: skip

    async def around(
        self, space: str, facts: Sequence[str], *, each_side: int, at: AsOf = NOW
    ) -> Mapping[str, tuple[Match, ...]]:
        """Return the neighbours in time of memories."""
        return await self._read(space, lambda one: _around(one, facts, each_side, at))

    async def generations(self, space: str) -> tuple[Generation, ...]:
        """Return the space's generations of vectors."""
        cache = self._engine.vectors
        return await self._read(space, lambda one: _counted(one.db, one.n, cache))

    async def begin_generation(self, space: str, name: str, *, model: str, dimensions: int) -> Generation:
        """Make a generation, or return it when it is there already."""
        check_generation(name, model, dimensions)
        return await self._change(space, lambda db, n: _begin(db, n, name, model, dimensions))

    async def switch_generation(self, space: str, name: str) -> Generation:
        """Make a generation the one that new facts are written with."""
        return await self._change(space, lambda db, n: _switch(db, n, name))

    async def drop_generation(self, space: str, name: str) -> None:
        """Throw a generation and its vectors away."""
        await self._change(space, lambda db, n: _drop(db, n, name))

    async def unembedded(
        self, space: str, generation: str, *, after: str | None = None, limit: int = PAGE_MAX
    ) -> Page[tuple[str, str]]:
        """Return memories that have no vector yet, with their text."""
        return await self._read(space, lambda one: _unembedded(one, generation, after, limit))

    async def keep_vectors(self, space: str, generation: str, vectors: Mapping[str, bytes]) -> int:
        """Keep vectors of memories that have none."""
        check_many(vectors)
        listed = hex_list(vectors)

        def work(db: Database, n: int) -> int:
            own = generation_named(db, n, generation)
            for fact, vector in vectors.items():
                check_vector(vector, own.dimensions, f"the fact {fact[:80]}")
            return memories.keep(db, n, own, vectors, listed)

        return await self._change(space, work)
