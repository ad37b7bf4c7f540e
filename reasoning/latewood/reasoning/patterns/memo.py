"""What a look need not work out twice: what followed from the same numbers at the look before.

Everything in it is named by a digest of what it was worked out from, so that it is never out of date, and a look with a
memo finds what a look without one finds. It holds numbers and no words, and may be dropped at any time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, TypeVar, cast

from latewood.reasoning.patterns.rates import Floats

__all__ = ["MEMO_BYTES_MAX", "Memo", "digest_of"]

MEMO_BYTES_MAX: Final = 64_000_000
"""Most bytes that a memo keeps; what was used longest ago goes first."""

T = TypeVar("T")


def digest_of(*parts: Floats | str) -> bytes:
    """Return a digest of numbers and words, in this order."""
    digest = blake2b(digest_size=16)
    for part in parts:
        told = part.encode() if isinstance(part, str) else part.tobytes()
        digest.update(len(told).to_bytes(8, "big"))
        digest.update(told)
    return digest.digest()


class Memo:
    """A bounded memory of results, by a name and a digest of what they follow from."""

    def __init__(self, bytes_max: int = MEMO_BYTES_MAX) -> None:
        """Keep at most about *bytes_max*; with 0 nothing."""
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, bytes], tuple[object, int]] = OrderedDict()

    @property
    def keeps(self) -> bool:
        """Whether anything can be kept at all."""
        return self._bytes_max > 0

    def __len__(self) -> int:
        """Return how many results are kept."""
        return len(self._kept)

    def get(self, name: str, digest: bytes, kind: type[T]) -> T | None:
        """Return what was kept under *name* and *digest*; *kind* says what that is."""
        del kind
        held = self._kept.get((name, digest))
        if held is None:
            return None
        self._kept.move_to_end((name, digest))
        return cast("T", held[0])

    def put(self, name: str, digest: bytes, result: object, size: int) -> None:
        """Keep *result*, of about *size* bytes."""
        key = (name, digest)
        old = self._kept.pop(key, None)
        self._bytes += size - (0 if old is None else old[1])
        self._kept[key] = (result, size)
        while self._bytes > self._bytes_max and self._kept:
            _, (_, gone) = self._kept.popitem(last=False)
            self._bytes -= gone

    def of(self, name: str, digest: bytes, make: Callable[[], T], size: int) -> T:
        """Return what is kept, or else make it and keep it."""
        key = (name, digest)
        if key in self._kept:
            self._kept.move_to_end(key)
            return cast("T", self._kept[key][0])
        made = make()
        self.put(name, digest, made, size)
        return made
