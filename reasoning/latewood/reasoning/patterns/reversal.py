"""Reversal: a choice that flips back and forth between two options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["RETURNS_MIN", "Reversal", "reversal"]

RETURNS_MIN: Final = 3
"""Returns to what was left before, one upon the other, from which it is a pattern. One is an honest change of mind."""


@dataclass(frozen=True, slots=True)
class Reversal:
    """Choices *first* to *last* alternate between two *options*; *returns* of them go back."""

    first: int
    last: int
    options: tuple[str, str]
    returns: int


def reversal(choices: Sequence[str]) -> Reversal | None:
    """Return the longest alternation among *choices* in their order; what is only restated does not count."""
    moves = [place for place, choice in enumerate(choices) if place == 0 or choice != choices[place - 1]]
    best: Reversal | None = None
    start = 0
    for end in range(1, len(moves) + 1):
        goes_on = end < len(moves) and (end - start < 2 or choices[moves[end]] == choices[moves[end - 2]])  # noqa: PLR2004 - a return is to the one before the last
        if goes_on:
            continue
        returns = end - start - 2
        if returns >= RETURNS_MIN and (best is None or returns > best.returns):
            last = (moves[end] if end < len(moves) else len(choices)) - 1
            options = (choices[moves[start]], choices[moves[start + 1]])
            best = Reversal(moves[start], last, options, returns)
        start = max(start, end - 1)
    return best
