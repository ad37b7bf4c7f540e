"""Search by fact in the reference store: every memory is looked at and compared."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from latewood.graph_schema.clock import NOW, AsOf, Micros, to_micros
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.model import Fact
from latewood.storage.cursors import check_first, read_cursor, write_cursor
from latewood.storage.port import PAGE_MAX, Page
from latewood.storage.reference_listing import words_in
from latewood.storage.reference_space import NO_BOUND, SpaceLog, Vectors
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
    current_of,
    find_generation,
    still_current,
    text_of,
    unit_vectors,
)

__all__ = ["MemorySearch", "forget_vectors", "keep_unit"]


def _memories(log: SpaceLog) -> dict[str, str]:
    """Return the text of every memory, in the order of recording."""
    found: dict[str, str] = {}
    for entry in log.log:
        if entry.event.id in log.places and entry.event.key is not None and entry.event.target is None:
            text = None if entry.erased else text_of(log.fact(entry, NO_BOUND).value)
            if text is not None:
                found[entry.event.id] = text
    return found


def _shown(log: SpaceLog, fact_id: str) -> Fact:
    return log.fact(log.log[log.places[fact_id]], NO_BOUND)


def _holds(log: SpaceLog, fact_id: str, valid_at: Micros, known_at: Micros) -> bool:
    return log.holder_id(log.key_of(fact_id), valid_at, known_at) == fact_id


def _inside(log: SpaceLog, scope: Scope, valid_at: Micros, known_at: Micros) -> Callable[[str], bool]:
    """Return whether a memory is in *scope* and known at *known_at*."""
    about = None if scope.about is None else set(scope.about)
    if about is not None:
        subjects = set(about)
        for entry, _ in log.holding(log.keys_of, valid_at, known_at):
            if entry.event.payload.get("object") in about:
                subjects.add(entry.event.subject)
        about = subjects

    def inside(fact_id: str) -> bool:
        fact = _shown(log, fact_id)
        subject, source = log.nodes[fact.subject_id], fact.source
        starts = to_micros(fact.valid_from)
        return (
            to_micros(fact.recorded_at) <= known_at
            and (scope.kinds is None or subject.kind in scope.kinds)
            and (scope.types is None or subject.type in scope.types)
            and (scope.predicates is None or fact.predicate in scope.predicates)
            and (about is None or fact.subject_id in about)
            and (scope.sessions is None or (source is not None and source.session_id in scope.sessions))
            and (scope.actors is None or (source is not None and source.actor_id in scope.actors))
            and (scope.trust_min is None or fact.trust.level >= scope.trust_min.level)
            and (scope.since is None or starts >= scope.since)
            and (scope.until is None or starts < scope.until)
        )

    return inside


def _best(
    log: SpaceLog, scores: Mapping[str, float], scope: Scope, valid_at: Micros, known_at: Micros, first: int
) -> Matches:
    """Walk from the best score down until *first* that hold are found."""
    inside = _inside(log, check_scope(scope), valid_at, known_at)
    items: list[Match] = []
    hidden = 0
    ranked = sorted((one for one in scores if inside(one)), key=lambda one: (-scores[one], one))
    for fact_id in ranked[:LOOKED_AT_MAX]:
        if len(items) == first:
            break
        if _holds(log, fact_id, valid_at, known_at):
            items.append(_match(log, fact_id, scores[fact_id]))
        else:
            hidden += 1
    return Matches(tuple(items), hidden)


def _match(log: SpaceLog, fact_id: str, score: float) -> Match:
    fact = _shown(log, fact_id)
    return Match(fact_id, fact.subject_id, score, to_micros(fact.valid_from))


def _match_text(
    log: SpaceLog, text: str, scope: Scope, valid_at: Micros, known_at: Micros, first: int
) -> Matches:  # fmt: skip
    """Return memories that have any of the words, most distinct words first."""
    check_first(first)
    asked = words_in([text])
    scores = {one: float(len(asked & words_in([words]))) for one, words in _memories(log).items()}
    return _best(log, {one: score for one, score in scores.items() if score}, scope, valid_at, known_at, first)


def _numbers(vector: bytes) -> Sequence[float]:
    return struct.unpack(f"<{len(vector) // 4}f", vector)


def _match_vector(
    log: SpaceLog, vector: bytes, generation: str, scope: Scope, valid_at: Micros, known_at: Micros, first: int
) -> Matches:
    """Return the memories whose vectors are nearest."""
    check_first(first)
    held = _vectors_of(log, generation)
    asked = _numbers(check_vector(vector, held.dimensions, "the question"))
    scores = {
        one: math.fsum(a * b for a, b in zip(asked, _numbers(own), strict=True)) for one, own in held.by_fact.items()
    }
    return _best(log, scores, scope, valid_at, known_at, first)


def _around(
    log: SpaceLog, facts: Iterable[str], each_side: int, valid_at: Micros, known_at: Micros
) -> dict[str, tuple[Match, ...]]:
    """Return what holds before and after each fact, of the same subject and predicate."""
    check_around(each_side)
    memories = _memories(log)

    def place(one: str) -> tuple[Micros, Micros, int]:
        entry = log.log[log.places[one]]
        return cast("int", entry.event.valid_from), entry.recorded_at, entry.event.ordinal

    def beside(fact: str) -> tuple[Match, ...]:
        own = log.log[log.places[fact]].event
        line = [
            one for one in memories
            if one != fact and log.log[log.places[one]].event.subject == own.subject
            and log.predicate(log.log[log.places[one]].event) == log.predicate(own)
            and log.log[log.places[one]].recorded_at <= known_at
        ]  # fmt: skip
        line.sort(key=place)
        sides = (
            [one for one in reversed(line) if place(one) < place(fact)],
            [one for one in line if place(one) > place(fact)],
        )
        held = ([one for one in side[:AROUND_LOOKED_AT_MAX] if _holds(log, one, valid_at, known_at)] for side in sides)
        return tuple(_match(log, one, 1 / n) for side in held for n, one in enumerate(side[:each_side], 1))

    known = (one for one in dict.fromkeys(facts) if one in memories)
    return {one: beside(one) for one in known if log.log[log.places[one]].recorded_at <= known_at}


def _generations(log: SpaceLog) -> tuple[Generation, ...]:
    """Return the generations with their counts."""
    memories = _memories(log)
    return tuple(
        Generation(
            name, one.model, one.dimensions, one.state, len(one.by_fact), sum(f not in one.by_fact for f in memories)
        )
        for name, one in log.vectors.items()
    )


def _vectors_of(log: SpaceLog, generation: str) -> Vectors:
    """Return a generation. Raises NotFoundError (``generation.unknown``)."""
    return log.vectors[find_generation(_generations(log), generation).name]


def _begin(log: SpaceLog, name: str, model: str, dimensions: int) -> Generation:
    """Make a generation; the first of a space is current at once."""
    check_generation(name, model, dimensions)
    made = _generations(log)
    if (found := check_fresh(made, name, model, dimensions)) is not None:
        return found
    log.vectors[name] = Vectors(model, dimensions, "building" if made else "current", {})
    return find_generation(_generations(log), name)


def _switch(log: SpaceLog, name: str) -> Generation:
    """Make a generation current, and the one before it old."""
    chosen = _vectors_of(log, name)
    for one in log.vectors.values():
        if one.state == "current":
            one.state = "old"
    chosen.state = "current"
    return find_generation(_generations(log), name)


def _drop(log: SpaceLog, name: str) -> None:
    """Throw a generation away."""
    if _vectors_of(log, name).state == "current":
        raise still_current(name)
    del log.vectors[name]


def _unembedded(log: SpaceLog, generation: str, after: str | None, limit: int) -> Page[tuple[str, str]]:
    """Return memories without a vector, by their place in the log."""
    check_first(limit)
    (begin_at,) = read_cursor(after, "u", 1) or (-1,)
    held = _vectors_of(log, generation).by_fact
    found = [
        (log.places[one], one, text) for one, text in _memories(log).items()
        if one not in held and log.places[one] > begin_at
    ]  # fmt: skip
    shown = found[:limit]
    more = write_cursor("u", shown[-1][0]) if len(found) > limit else None
    return Page(tuple((one, text) for _, one, text in shown), more)


def _keep(log: SpaceLog, generation: str, vectors: Mapping[str, bytes]) -> int:
    """Keep vectors of memories that have none."""
    check_many(vectors)
    held = _vectors_of(log, generation)
    for fact, vector in vectors.items():
        check_vector(vector, held.dimensions, f"the fact {fact[:80]}")
    memories = _memories(log)
    fresh = {one: vector for one, vector in vectors.items() if one in memories and one not in held.by_fact}
    held.by_fact.update(fresh)
    return len(fresh)


def keep_unit(log: SpaceLog, unit: Unit, *, checking: bool) -> None:
    """Keep the vectors that came with a unit; with *checking*, only refuse those that could not be kept."""
    current = current_of(_generations(log))
    fresh = unit_vectors(unit, None if current is None else (current.name, current.dimensions))
    if current is not None and not checking:
        log.vectors[current.name].by_fact.update(fresh)


def forget_vectors(log: SpaceLog) -> None:
    """Drop the vectors of what is no memory any more."""
    memories = _memories(log)
    for one in log.vectors.values():
        one.by_fact = {fact: vector for fact, vector in one.by_fact.items() if fact in memories}


class MemorySearch:
    """The part of the reference store that searches facts; what it needs of the rest comes with the store."""

    def _space(self, name: str) -> SpaceLog:
        raise NotImplementedError

    def _instants(self, log: SpaceLog, at: AsOf) -> tuple[Micros, Micros]:
        raise NotImplementedError

    async def match_text(
        self, space: str, text: str, *, scope: Scope = EVERYTHING, at: AsOf = NOW, first: int = 100
    ) -> Matches:
        """Return memories with any of the words, most distinct words first."""
        log = self._space(space)
        return _match_text(log, text, scope, *self._instants(log, at), first)

    async def match_vector(
        self, space: str, vector: bytes, generation: str, *, scope: Scope = EVERYTHING, at: AsOf = NOW, first: int = 100
    ) -> Matches:
        """Return the memories whose vectors are nearest."""
        log = self._space(space)
        return _match_vector(log, vector, generation, scope, *self._instants(log, at), first)

    async def around(
        self, space: str, facts: Sequence[str], *, each_side: int, at: AsOf = NOW
    ) -> Mapping[str, tuple[Match, ...]]:
        """Return the neighbours in time of memories."""
        log = self._space(space)
        return _around(log, facts, each_side, *self._instants(log, at))

    async def generations(self, space: str) -> tuple[Generation, ...]:
        """Return the space's generations of vectors."""
        return _generations(self._space(space))

    async def begin_generation(self, space: str, name: str, *, model: str, dimensions: int) -> Generation:
        """Make a generation, or return it when it is there already."""
        return _begin(self._space(space), name, model, dimensions)

    async def switch_generation(self, space: str, name: str) -> Generation:
        """Make a generation the one that new facts are written with."""
        return _switch(self._space(space), name)

    async def drop_generation(self, space: str, name: str) -> None:
        """Throw a generation and its vectors away."""
        _drop(self._space(space), name)

    async def unembedded(
        self, space: str, generation: str, *, after: str | None = None, limit: int = PAGE_MAX
    ) -> Page[tuple[str, str]]:
        """Return memories that have no vector yet, with their text."""
        return _unembedded(self._space(space), generation, after, limit)

    async def keep_vectors(self, space: str, generation: str, vectors: Mapping[str, bytes]) -> int:
        """Keep vectors of memories that have none."""
        return _keep(self._space(space), generation, vectors)
