"""Search by fact over one database: words by its full-text index, vectors one by one or by its vector index.

Neither index takes a filter. Words are filtered while all matches go by. Vectors are compared one by one where a scope
leaves at most `EXACT_MAX` memories; of more the index is asked for twice as many until enough of them hold, and, should
that not do, they are compared one by one after all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from latewood.graph_schema.clock import NOW, AsOf
from latewood.graph_schema.ids import is_id, normal_id
from latewood.storage.bounds import check_count
from latewood.storage.building import value_of
from latewood.storage.cursors import check_first, read_cursor, write_cursor
from latewood.storage.neo4j.database import Engine, Query, Row
from latewood.storage.neo4j.migrations import drop_vector_index, ensure_vector_index
from latewood.storage.neo4j.names import index_name, spaced, vector_index_name, vector_label
from latewood.storage.neo4j.reading import Reading, ids_in, instant
from latewood.storage.neo4j.vectors import generation_named, numbers_of, stored_generations
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
    text_of,
)

__all__ = ["EXACT_MAX", "MemorySearch"]

EXACT_MAX: Final = 20_000
"""Most memories of a scope whose vectors are compared one by one before the index is asked."""
_WORDS_MAX: Final = 64
_DROPPED_AT_ONCE: Final = 10_000

T = TypeVar("T")


def _shown(query: Query, engine: Engine, space: int) -> tuple[Generation, ...]:
    stored = stored_generations(query, space)
    memories: int = query("count_memories", space=space)[0][0] if stored else 0
    found: list[Generation] = []
    for one in stored:
        filled: int = query(engine.composed("count_vectors", label=vector_label(one.number)))[0][0]
        state = one.state if one.state in ("building", "current") else "old"
        found.append(Generation(one.name, one.model, one.dimensions, state, filled, memories - filled))
    return tuple(found)


class _Search:
    """One question about memories, at two clocks; its scope as Cypher."""

    def __init__(self, reading: Reading, engine: Engine, scope: Scope, at: AsOf) -> None:
        check_scope(scope)
        valid_at, known_at = reading.instants(at)
        self._engine = engine
        self._query = reading.query
        self.parameters: dict[str, object] = {
            "space": reading.n, "t": instant(valid_at), "r": instant(known_at),
        }  # fmt: skip
        self.everything = scope == EVERYTHING
        self.filters = self._filters(scope)
        self.source = self._source(scope)

    def _filters(self, scope: Scope) -> str:
        parts, given = ["f.text IS NOT NULL AND f.recorded_at <= $r"], self.parameters
        if scope.kinds is not None or scope.types is not None:
            given["kinds"] = None if scope.kinds is None else [kind.value for kind in scope.kinds]
            given["types"] = None if scope.types is None else list(scope.types)
            parts.append(
                "EXISTS { MATCH (s:Node {space: $space, id: f.subject}) "
                "WHERE ($kinds IS NULL OR s.kind IN $kinds) AND ($types IS NULL OR s.type IN $types) }"
            )
        if scope.predicates is not None:
            given["predicates"] = list(scope.predicates)
            parts.append("f.predicate IN $predicates")
        if scope.about is not None:
            ids = ids_in(scope.about)
            pointing = self._query("pointing", ids=ids, **given)
            given["subjects"] = list(dict.fromkeys([*ids, *(row[0] for row in pointing)]))
            parts.append("f.subject IN $subjects")
        for name, query, ids in (
            ("session_sources", "sources_in_session", scope.sessions),
            ("actor_sources", "sources_of_actor", scope.actors),
        ):
            if ids is not None:
                given[name] = [row[0] for row in self._query(query, space=given["space"], ids=ids_in(ids))]
                parts.append(f"f.source IN ${name}")
        if scope.trust_min is not None:
            given["trust"] = scope.trust_min.level
            parts.append("f.trust >= $trust")
        if scope.since is not None:
            given["since"] = instant(scope.since)
            parts.append("f.valid_from >= $since")
        if scope.until is not None:
            given["until"] = instant(scope.until)
            parts.append("f.valid_from < $until")
        return " AND ".join(parts)

    def _source(self, scope: Scope) -> str | None:
        """Write where the memories of the scope are found with fewer steps than by looking at all; None: nowhere."""
        if scope.about is not None:
            return (
                "UNWIND $subjects AS subject MATCH (f:Fact {space: $space, subject: subject}) "
                "USING INDEX SEEK f:Fact(space, subject, valid_from) WHERE f.valid_from IS NOT NULL"
            )
        for name, ids in (("session_sources", scope.sessions), ("actor_sources", scope.actors)):
            if ids is not None:
                # What they said is found first: together with the rest, all facts of the space might be looked at.
                return (
                    f"UNWIND ${name} AS source MATCH (o:Node {{space: $space, id: source}})<-[:SAID_BY]-(f:Fact) "
                    "USING INDEX SEEK o:Node(space, id) WITH DISTINCT f WHERE f.space = $space"
                )
        if scope.since is not None or scope.until is not None:
            # Its filters say when; that there is a time at all would be looked for just as well.
            return "MATCH (f:Fact) USING INDEX SEEK f:Fact(space, valid_from) WHERE f.space = $space"
        return None

    def rows(self, name: str, parts: Mapping[str, str], **more: object) -> list[Row]:
        """Run a query with the scope written in."""
        return self._query(self._engine.composed(name, **parts), **self.parameters, **more)

    def held(self, ask: Callable[[int], list[Row]], first: int, *, end: int | None = None) -> tuple[Matches, bool]:
        """Ask for twice as many until *first* hold; say whether the ranking was walked as far as it matters.

        Attributes:
            end: how many there are at most; None: the answer is shorter than what was asked for at its end.
        """
        most = min(2 * first + 32, LOOKED_AT_MAX)
        while True:
            rows = ask(most)
            items: list[Match] = []
            hidden = 0
            for fact, subject, valid_from, score, holds in rows:
                if fact is None:
                    continue
                if not holds:
                    hidden += 1
                    continue
                items.append(Match(fact, subject, float(score), valid_from))
                if len(items) == first:
                    return Matches(tuple(items), hidden), True
            done = len(rows) < most if end is None else most >= end
            if done or most >= LOOKED_AT_MAX:
                return Matches(tuple(items), hidden), done
            most = min(2 * most, LOOKED_AT_MAX)


def _match_text(reading: Reading, engine: Engine, text: str, scope: Scope, at: AsOf, first: int) -> Matches:
    check_first(first)
    search = _Search(reading, engine, scope, at)
    words = list(dict.fromkeys(spaced(text.casefold()).split()))[:_WORDS_MAX]
    if not words:
        return Matches((), 0)
    given = {"index": index_name(reading.n), "words": " OR ".join(f'"{word}"' for word in words)}
    name, parts = ("match_words", {}) if search.everything and at.known_at is None else (
        "match_words_inside", {"filters": search.filters},
    )  # fmt: skip
    return search.held(lambda most: search.rows(name, parts, most=most, **given), first)[0]


def _match_vector(
    reading: Reading, engine: Engine, vector: bytes, generation: str, scope: Scope, at: AsOf, first: int
) -> Matches:
    check_first(first)
    own = generation_named(reading.query, reading.n, generation)
    check_vector(vector, own.dimensions, "the question")
    search = _Search(reading, engine, scope, at)
    label = vector_label(own.number)
    everything = (
        f"MATCH (w:{label}) MATCH (f:Fact {{space: $space, id: w.fact}}) USING INDEX SEEK f:Fact(space, id) "
        "WHERE f.space = $space"
    )
    parts = {"filters": search.filters, "source": search.source or everything}
    given = {"vector": numbers_of(vector), "generation": own.number}
    held: int = reading.query(engine.composed("count_vectors", label=label))[0][0]
    few = held if search.everything else search.rows("count_inside", parts, most=EXACT_MAX + 1)[0][0]

    def exact(most: int) -> list[Row]:
        return search.rows("match_inside", parts, most=most, **given)

    def near(most: int) -> list[Row]:
        return search.rows("match_near", parts, most=most, index=vector_index_name(own.number), vector=given["vector"])

    if min(held, few) > EXACT_MAX:
        found, whole = search.held(near, first, end=held)
        if whole:
            return found
    return search.held(exact, first)[0]


def _around(
    reading: Reading, facts: Sequence[str], each_side: int, at: AsOf
) -> dict[str, tuple[Match, ...]]:  # fmt: skip
    check_around(each_side)
    check_count(len(facts))
    valid_at, known_at = reading.instants(at)
    rows = reading.query(
        "around", space=reading.n, ids=ids_in(facts), t=instant(valid_at), r=instant(known_at),
        most=AROUND_LOOKED_AT_MAX, each_side=each_side,
    )  # fmt: skip
    return {
        row[0]: tuple(
            Match(fact, subject, 1 / n, valid_from)
            for side in row[1:] for n, (fact, subject, valid_from) in enumerate(side, 1)
        )
        for row in rows
    }  # fmt: skip


def _unembedded(reading: Reading, generation: str, after: str | None, limit: int) -> Page[tuple[str, str]]:
    check_first(limit)
    (place,) = read_cursor(after, "u", 1) or (-1,)
    own = generation_named(reading.query, reading.n, generation)
    rows = reading.query("unembedded", space=reading.n, generation=own.number, after=place, first=limit + 1)
    shown = rows[:limit]
    more = write_cursor("u", shown[-1][0]) if len(rows) > limit else None
    return Page(tuple((row[1], text_of(value_of(json.loads(row[2]))) or "") for row in shown), more)


class MemorySearch:
    """The part of the store that searches facts; what it needs of the rest comes with the store."""

    _engine: Engine
    _tenant: str

    async def _read(self, space: str, work: Callable[[Reading], T]) -> T:
        raise NotImplementedError

    async def match_text(
        self, space: str, text: str, *, scope: Scope = EVERYTHING, at: AsOf = NOW, first: int = 100
    ) -> Matches:
        """Return memories with any of the words, best first."""
        return await self._read(space, lambda one: _match_text(one, self._engine, text, scope, at, first))

    async def match_vector(
        self, space: str, vector: bytes, generation: str, *, scope: Scope = EVERYTHING, at: AsOf = NOW, first: int = 100
    ) -> Matches:
        """Return the memories whose vectors are nearest, best first."""
        return await self._read(
            space, lambda one: _match_vector(one, self._engine, vector, generation, scope, at, first)
        )  # fmt: skip

    async def around(
        self, space: str, facts: Sequence[str], *, each_side: int, at: AsOf = NOW
    ) -> Mapping[str, tuple[Match, ...]]:
        """Return the neighbours in time of memories."""
        return await self._read(space, lambda one: _around(one, facts, each_side, at))

    async def generations(self, space: str) -> tuple[Generation, ...]:
        """Return the space's generations of vectors."""
        return await self._read(space, lambda one: _shown(one.query, self._engine, one.n))

    async def begin_generation(self, space: str, name: str, *, model: str, dimensions: int) -> Generation:
        """Make a generation, or return it when it is there already."""
        check_generation(name, model, dimensions)
        made = await self.generations(space)
        if (found := check_fresh(made, name, model, dimensions)) is not None:
            return found
        engine = self._engine
        n = await self._read(space, lambda one: one.n)
        number: int = await engine.write(lambda query: query("next_generation")[0][0])
        # The index comes first: an index without a generation harms nobody.
        await engine.call(lambda: ensure_vector_index(engine, number, dimensions))

        def work(query: Query) -> tuple[Generation, ...]:
            stored = stored_generations(query, n)
            if not any(one.name == name for one in stored):
                query("create_generation", generation={
                    "space": n, "number": number, "name": name, "model": model, "dimensions": dimensions,
                    "state": "building" if stored else "current",
                })  # fmt: skip
            return _shown(query, engine, n)

        made = await engine.write(work)
        # Another process may have begun it at the same time; then its own is there.
        found = find_generation(made, name)
        return check_fresh([found], name, model, dimensions) or found

    async def switch_generation(self, space: str, name: str) -> Generation:
        """Make a generation the one that new facts are written with."""
        n, chosen = await self._read(space, lambda one: (one.n, generation_named(one.query, one.n, name)))

        def work(query: Query) -> tuple[Generation, ...]:
            rows = [
                {"name": one.name, "state": "current" if one.number == chosen.number else "old"}
                for one in stored_generations(query, n) if one.number == chosen.number or one.state == "current"
            ]  # fmt: skip
            query("set_generations", space=n, rows=rows)
            return _shown(query, self._engine, n)

        return find_generation(await self._engine.write(work), name)

    async def drop_generation(self, space: str, name: str) -> None:
        """Throw a generation and its vectors away."""
        engine = self._engine
        n, chosen = await self._read(space, lambda one: (one.n, generation_named(one.query, one.n, name)))
        if chosen.state == "current":
            raise still_current(name)
        await engine.call(lambda: drop_vector_index(engine, chosen.number))
        text = engine.composed("drop_vectors", label=vector_label(chosen.number))
        while (await engine.write(lambda query: query(text, most=_DROPPED_AT_ONCE)))[0][0]:
            pass
        # Last, so that a crash leaves a generation to drop again.
        await engine.write(lambda query: query("delete_generation", space=n, name=name))

    async def unembedded(
        self, space: str, generation: str, *, after: str | None = None, limit: int = PAGE_MAX
    ) -> Page[tuple[str, str]]:
        """Return memories that have no vector yet, with their text."""
        return await self._read(space, lambda one: _unembedded(one, generation, after, limit))

    async def keep_vectors(self, space: str, generation: str, vectors: Mapping[str, bytes]) -> int:
        """Keep vectors of memories that have none."""
        check_many(vectors)
        n, own = await self._read(space, lambda one: (one.n, generation_named(one.query, one.n, generation)))
        for fact, vector in vectors.items():
            check_vector(vector, own.dimensions, f"the fact {fact[:80]}")
        rows = [
            {"fact": normal_id(one), "numbers": numbers_of(vector)} for one, vector in vectors.items() if is_id(one)
        ]
        text = self._engine.composed("keep_vectors", label=vector_label(own.number))
        return (await self._engine.write(lambda query: query(text, space=n, generation=own.number, rows=rows)))[0][0]
