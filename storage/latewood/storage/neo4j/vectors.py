"""The generations of vectors of a space as their nodes say, and vectors as the driver takes them."""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass

from latewood.storage.neo4j.database import Query
from latewood.storage.searching import Generation, find_generation

__all__ = ["StoredGeneration", "current_number", "generation_named", "numbers_of", "stored_generations"]


@dataclass(frozen=True, slots=True)
class StoredGeneration:
    """A generation's node."""

    number: int
    name: str
    model: str
    dimensions: int
    state: str


def numbers_of(vector: bytes) -> list[float]:
    """Read a vector as the driver takes it."""
    numbers = array("f")
    numbers.frombytes(vector)
    if sys.byteorder == "big":  # pragma: no cover - no such machine runs the tests
        numbers.byteswap()
    return numbers.tolist()


def stored_generations(query: Query, space: int) -> list[StoredGeneration]:
    """Return the generations of a space, in the order in which they were begun."""
    return [StoredGeneration(*row) for row in query("generations", space=space)]


def generation_named(query: Query, space: int, name: str) -> StoredGeneration:
    """Return a generation. Raises NotFoundError (``generation.unknown``)."""
    stored = stored_generations(query, space)
    shown = [Generation(one.name, one.model, one.dimensions, "old", 0, 0) for one in stored]
    return stored[shown.index(find_generation(shown, name))]


def current_number(query: Query, space: int) -> tuple[int, str, int] | None:
    """Return (number, name, dimensions) of the generation that is written with every fact."""
    return next((
        (one.number, one.name, one.dimensions) for one in stored_generations(query, space) if one.state == "current"
    ), None)  # fmt: skip
