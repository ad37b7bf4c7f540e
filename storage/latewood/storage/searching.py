"""Search by fact: what may be asked and what is found, and what every store checks the same way.

A *memory* is a fact that carries text: its value is a text, or a document with one inside. Searches find memories, one
match a fact, at two clocks. A *generation* holds one vector for each memory, all made by one model; vectors of two
generations are never compared.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Assert, Unit
from latewood.graph_schema.errors import ConflictError, InvalidError, LimitError, NotFoundError
from latewood.graph_schema.model import NodeKind, Trust
from latewood.graph_schema.values import Json, Value

__all__ = [
    "AROUND_LOOKED_AT_MAX",
    "AROUND_MAX",
    "DIMENSIONS_MAX",
    "EVERYTHING",
    "GENERATIONS_MAX",
    "LOOKED_AT_MAX",
    "SCOPE_IDS_MAX",
    "VECTORS_MAX",
    "Generation",
    "Match",
    "Matches",
    "Scope",
    "check_around",
    "check_fresh",
    "check_generation",
    "check_many",
    "check_scope",
    "check_vector",
    "current_of",
    "find_generation",
    "still_current",
    "text_of",
    "texts_in",
    "unit_vectors",
]

DIMENSIONS_MAX: Final = 4_096
"""Most numbers of a vector: what Neo4j's vector index takes."""
GENERATIONS_MAX: Final = 4
"""Most generations of a space; each costs a copy of every vector."""
SCOPE_IDS_MAX: Final = 1_000
"""Most ids or names in one filter of a scope."""
LOOKED_AT_MAX: Final = 50_000
"""Matches that a search looks at, best first, before it gives up finding ones that hold."""
AROUND_MAX: Final = 50
"""Most neighbours on each side of a fact."""
AROUND_LOOKED_AT_MAX: Final = 1_000
"""Memories on each side of a fact that are looked at for neighbours that hold."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,127}")
VECTORS_MAX: Final = 1_000
"""Most vectors that are kept at once."""
_MODEL_CHARS_MAX: Final = 200
_LETTER: Final = re.compile(r"[^\W_]")
_FLOAT_BYTES: Final = 4
_LENGTH_SLACK: Final = 0.01


@dataclass(frozen=True, slots=True)
class Scope:
    """Which memories a search is about. Filters hold before anything is ranked; None filters nothing.

    Attributes:
        kinds, types: of the subject.
        about: node ids; facts of these nodes, and of nodes that point at them with a relation that holds (a decision
            about a carrier). A session is a subject too.
        sessions, actors: ids of the session and the actor of the fact's source.
        since, until: `valid_from` lies in [since, until).
    """

    kinds: Sequence[NodeKind] | None = None
    types: Sequence[str] | None = None
    predicates: Sequence[str] | None = None
    about: Sequence[str] | None = None
    sessions: Sequence[str] | None = None
    actors: Sequence[str] | None = None
    trust_min: Trust | None = None
    since: Micros | None = None
    until: Micros | None = None


EVERYTHING: Final = Scope()
"""The scope that filters nothing."""


@dataclass(frozen=True, slots=True)
class Match:
    """A memory that was found: ids of the fact and its subject. A higher score is better."""

    fact: str
    subject: str
    score: float
    valid_from: Micros


@dataclass(frozen=True, slots=True)
class Matches:
    """What a search found, best first.

    Attributes:
        hidden: matches known at `known_at` that were better than the last item, or better than nothing where fewer
            were found than asked for, and do not hold at `valid_at`; at most `LOOKED_AT_MAX`.
    """

    items: tuple[Match, ...]
    hidden: int


@dataclass(frozen=True, slots=True)
class Generation:
    """The vectors that one model made for the memories of a space.

    Attributes:
        state: ``building`` beside the current one, ``current`` (written with every fact), ``old`` once another is.
        filled: memories that have their vector in it; *missing*: those that have not yet.
    """

    name: str
    model: str
    dimensions: int
    state: Literal["building", "current", "old"]
    filled: int
    missing: int


def texts_in(document: Json) -> Iterable[str]:
    """Return every text inside a JSON document, in order; its keys are not among them."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, list):
        for item in document:
            yield from texts_in(item)
    elif isinstance(document, dict):
        for item in document.values():
            yield from texts_in(item)


def _spoken(data: Json) -> str | None:
    """Return a turn of a session as people write it: models tell who speaks from the words by the colon."""
    if not isinstance(data, dict) or data.keys() != {"speaker", "text"}:
        return None
    speaker, text = data["speaker"], data["text"]
    return f"{speaker}: {text}" if isinstance(speaker, str) and isinstance(text, str) and text.strip() else None


def text_of(value: Value | None) -> str | None:
    """Return the words of a value as they are searched and embedded; None when it is no memory: no letter, no digit."""
    if value is None or value.kind not in ("text", "json"):
        return None
    words = _spoken(value.data) or "\n".join(texts_in(value.data))
    return words if _LETTER.search(words) else None


def check_scope(scope: Scope) -> Scope:
    """Return *scope* when it may be asked. Raises LimitError."""
    for filtered in (scope.kinds, scope.types, scope.predicates, scope.about, scope.sessions, scope.actors):
        if filtered is not None and len(filtered) > SCOPE_IDS_MAX:
            msg = f"a filter of a search names {len(filtered):,}, more than {SCOPE_IDS_MAX:,}; ask in parts"
            raise LimitError(msg, limit="SCOPE_IDS_MAX", maximum=SCOPE_IDS_MAX)
    return scope


def check_around(each_side: int) -> int:
    """Return *each_side* when so many neighbours may be asked for. Raises LimitError."""
    if not 1 <= each_side <= AROUND_MAX:
        msg = f"1 to {AROUND_MAX} neighbours on each side, not {each_side}"
        raise LimitError(msg, limit="AROUND_MAX", maximum=AROUND_MAX)
    return each_side


def check_many(vectors: Iterable[str]) -> None:
    """Refuse too many vectors at once. Raises LimitError."""
    count = len(list(vectors))
    if count > VECTORS_MAX:
        msg = f"{count:,} vectors at once, more than {VECTORS_MAX:,}; keep them in parts"
        raise LimitError(msg, limit="VECTORS_MAX", maximum=VECTORS_MAX)


def check_vector(vector: bytes, dimensions: int, of: str) -> bytes:
    """Return *vector* when it has that many numbers and length 1. Raises InvalidError (``vector.invalid``)."""
    if len(vector) != _FLOAT_BYTES * dimensions:
        msg = f"the vector of {of} has {len(vector)} bytes; {dimensions} little-endian float32 are {4 * dimensions}"
        raise InvalidError(msg, code="vector.invalid", dimensions=dimensions)
    numbers = array("f")
    numbers.frombytes(vector)
    if sys.byteorder == "big":  # pragma: no cover - no such machine runs the tests
        numbers.byteswap()
    length = sum(number * number for number in numbers)
    # Not a number compares as false, and an infinity is no length of 1 either.
    if not abs(length - 1) <= _LENGTH_SLACK:
        msg = f"the vector of {of} has the squared length {length:.4g}, not 1; normalise it"
        raise InvalidError(msg, code="vector.invalid", dimensions=dimensions)
    return vector


def check_generation(name: str, model: str, dimensions: int) -> None:
    """Refuse a generation that cannot be. Raises InvalidError (``vector.invalid``, ``query.invalid``)."""
    if _NAME.fullmatch(name) is None or not 0 < len(model) <= _MODEL_CHARS_MAX:
        msg = f"{name[:140]!r} cannot name a generation of vectors: use 1-128 letters, digits and . _ : @ / + -"
        raise InvalidError(msg, code="query.invalid", name=name[:140])
    if not 1 <= dimensions <= DIMENSIONS_MAX:
        msg = f"a vector has 1 to {DIMENSIONS_MAX:,} numbers, not {dimensions}"
        raise InvalidError(msg, code="vector.invalid", maximum=DIMENSIONS_MAX)


def check_fresh(generations: Sequence[Generation], name: str, model: str, dimensions: int) -> Generation | None:
    """Return the generation of that name when it is the one asked for, None when it can be made.

    Raises:
        ConflictError: code ``generation.exists``.
        LimitError: the space has `GENERATIONS_MAX` already.
    """
    for one in generations:
        if one.name == name:
            if (one.model, one.dimensions) == (model, dimensions):
                return one
            msg = f"the generation {name!r} holds vectors of {one.model} with {one.dimensions} numbers; name another"
            raise ConflictError(msg, code="generation.exists", name=name)
    if len(generations) >= GENERATIONS_MAX:
        msg = f"the space has {GENERATIONS_MAX} generations of vectors, the most it may; drop one"
        raise LimitError(msg, limit="GENERATIONS_MAX", maximum=GENERATIONS_MAX)
    return None


def find_generation(generations: Sequence[Generation], name: str) -> Generation:
    """Return the generation of that name. Raises NotFoundError (``generation.unknown``)."""
    for one in generations:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in generations) or "none yet"
    msg = f"the space has no generation of vectors {name[:140]!r}; it has: {known}"
    raise NotFoundError(msg, code="generation.unknown", name=name[:140])


def current_of(generations: Sequence[Generation]) -> Generation | None:
    """Return the generation that is written with every fact."""
    return next((one for one in generations if one.state == "current"), None)


def still_current(name: str) -> ConflictError:
    """Say that a generation cannot be dropped while it answers searches."""
    msg = f"the generation {name!r} is the current one; switch to another, then drop it"
    return ConflictError(msg, code="generation.current", name=name)


def unit_vectors(unit: Unit, current: tuple[str, int] | None) -> Mapping[str, bytes]:
    """Return the vectors to keep with *unit*: none unless they are of the *current* generation (name, dimensions).

    Raises:
        InvalidError: code ``vector.invalid``; the unit must not be kept.
    """
    if not unit.vectors or current is None or unit.generation != current[0]:
        return {}
    memories = {
        one.id for one in unit.commands if isinstance(one, Assert) and one.value is not None and text_of(one.value)
    }
    for fact, vector in unit.vectors.items():
        if fact not in memories:
            msg = f"the unit has a vector for {fact[:80]}, which is no fact of it that carries text"
            raise InvalidError(msg, code="vector.invalid", id=fact[:80])
        check_vector(vector, current[1], f"the fact {fact}")
    return unit.vectors
