"""Who claims which relation, from which side; and rings among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from latewood.ingestion.records.links import SupersessionEdge, cycles

__all__ = ["Claims", "Edge", "find_cycles"]

Edge: TypeAlias = tuple[str, str, str]
"""Predicate, from, to."""


class Claims:
    """The relations that rows claim, each with the sides that say so (True: the far one, through an inverse column)."""

    def __init__(self) -> None:
        """Begin with none."""
        self._sides: dict[Edge, set[tuple[str, bool]]] = {}
        self._of: dict[str, set[tuple[Edge, bool]]] = {}

    def replace(self, claimant: str, listed: Iterable[tuple[str, str, str, bool]]) -> tuple[list[Edge], list[Edge]]:
        """Set what *claimant* claims; return the edges that thereby begin, and those that nobody claims any more."""
        before = self._of.get(claimant, set())
        now = {((predicate, a, b), inverse) for predicate, a, b, inverse in listed}
        begun: list[Edge] = []
        ended: list[Edge] = []
        for edge, inverse in sorted(now - before):
            sides = self._sides.setdefault(edge, set())
            if not sides:
                begun.append(edge)
            sides.add((claimant, inverse))
        for edge, inverse in sorted(before - now):
            sides = self._sides[edge]
            sides.discard((claimant, inverse))
            if not sides:
                ended.append(edge)
                del self._sides[edge]
        self._of[claimant] = now
        return begun, ended

    def holds(self, predicate: str, a: str, b: str) -> bool:
        """Tell whether somebody claims the edge."""
        return (predicate, a, b) in self._sides

    def edges(self) -> Mapping[Edge, set[bool]]:
        """Return the claimed edges with their sides."""
        return {edge: {inverse for _, inverse in sides} for edge, sides in self._sides.items()}


def find_cycles(pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the rings among directed *pairs*, each sorted; a pair of a node with itself is one."""
    return [list(ring.keys) for ring in cycles(SupersessionEdge(a, b, ()) for a, b in pairs)]
