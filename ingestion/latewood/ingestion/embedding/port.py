"""What an embedder is, and what every one of them holds to."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias, runtime_checkable

from latewood.graph_schema.errors import InvalidError

__all__ = ["DIMENSIONS_MAX", "TEXT_CHARS_MAX", "Embedder", "Vector", "cut", "numbers", "packed"]

Vector: TypeAlias = bytes
"""Little-endian float32 numbers, of length one together."""

DIMENSIONS_MAX: Final = 4096
"""Numbers of a vector at most; the widest models in use have 4096."""
TEXT_CHARS_MAX: Final = 8_000
"""Characters of a text that are looked at. No model here takes more tokens than this many characters make."""


@runtime_checkable
class Embedder(Protocol):
    """Something that turns texts into vectors, always the same way."""

    @property
    def model(self) -> str:
        """The name that its vectors are told apart by: vectors of two names are never compared."""
        ...

    @property
    def dimensions(self) -> int:
        """How many numbers each vector has."""
        ...

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vector of each text, in order. Blocks; the memory it takes does not grow with the texts' length.

        Raises:
            InvalidError: code ``value.invalid``: a text is blank.
            LatewoodError: code ``embedder.*``: the model or its server does not answer as it must.
        """
        ...


def cut(texts: Sequence[str]) -> list[str]:
    """Return the part of each text that is looked at.

    Raises:
        InvalidError: code ``value.invalid`` for a blank text: a vector of nothing would be near to everything.
    """
    parts: list[str] = []
    for place, text in enumerate(texts):
        # Half a surrogate pair has no UTF-8, and one such text must not stop those beside it.
        part = text.strip()[:TEXT_CHARS_MAX].rstrip().encode("utf-8", "replace").decode("utf-8")
        if not part:
            msg = f"text {place} of {len(texts)} to embed is blank; leave it out"
            raise InvalidError(msg, code="value.invalid", place=place)
        parts.append(part)
    return parts


def packed(values: Sequence[float]) -> Vector | None:
    """Return *values* as a vector of length one, None when they have no direction or are not finite."""
    length = math.hypot(*values)
    if not math.isfinite(length) or length == 0.0:
        return None
    row = array("f", [value / length for value in values])
    if sys.byteorder == "big":  # pragma: no cover - no such machine among those tested on
        row.byteswap()
    return row.tobytes()


def numbers(vector: Vector) -> array[float]:
    """Return the numbers of *vector*."""
    row = array("f")
    row.frombytes(vector)
    if sys.byteorder == "big":  # pragma: no cover - no such machine among those tested on
        row.byteswap()
    return row
