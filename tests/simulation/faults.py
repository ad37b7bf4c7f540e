"""The faults of disk and server that are tested, in words; the tests name them, and the published page lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["FAULTS", "Fault"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to a store, what was seen, and the name of the test that saw it."""

    what: str
    seen: str
    test: str


FAULTS: Final[tuple[Fault, ...]] = ()
