"""Contradiction: sources that disagree about one thing, and nobody has settled it. Counted, not tested."""

from __future__ import annotations

from collections.abc import Sequence

from latewood.graph_schema.patterns import PatternKind
from latewood.reasoning.patterns.port import Finding, Skipped, World
from latewood.reasoning.patterns.wording import slot

__all__ = ["Contradictions"]


class Contradictions:
    """Open conflicts."""

    @property
    def name(self) -> str:
        """What it is called where it fails."""
        return "contradictions"

    @property
    def kinds(self) -> frozenset[PatternKind]:
        """What it finds."""
        return frozenset({PatternKind.CONTRADICTION})

    def find(self, world: World, slack: float = 1.0) -> tuple[Sequence[Finding], Sequence[Skipped]]:
        """Tell each conflict that is open; *slack* has nothing to loosen here."""
        del slack
        found: list[Finding] = []
        for one in world.disputes:
            more = f", and {one.others} more say otherwise" if one.others else ""
            statement = (
                f"{one.predicate} of {slot(one.subject)} is {slot(one.fact)} by one source and "
                f"{slot(one.challenger)} by another{more}; nobody has settled it"
            )
            found.append(
                Finding(
                    kind=PatternKind.CONTRADICTION, scope=one.subject, predicate=one.predicate, subjects=(one.subject,),
                    statement=statement, family="contradictions", since=one.since, until=one.since,
                    support=2 + one.others, evidence=(one.fact, one.challenger), judged=len(world.disputes),
                    effect=float(1 + one.others),
                )
            )  # fmt: skip
        return found, ()
