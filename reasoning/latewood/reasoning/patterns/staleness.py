"""Staleness: decisions that stand on evidence that moved. Counted, not tested."""

from __future__ import annotations

from collections.abc import Sequence

from latewood.graph_schema.patterns import PatternKind
from latewood.reasoning.patterns.port import Finding, Skipped, World
from latewood.reasoning.patterns.wording import slot

__all__ = ["Stalenesses"]


class Stalenesses:
    """Decisions whose evidence moved."""

    @property
    def name(self) -> str:
        """What it is called where it fails."""
        return "stalenesses"

    @property
    def kinds(self) -> frozenset[PatternKind]:
        """What it finds."""
        return frozenset({PatternKind.STALENESS})

    def find(self, world: World, slack: float = 1.0) -> tuple[Sequence[Finding], Sequence[Skipped]]:
        """Tell each decision that stands on what is not so any more; *slack* has nothing to loosen here."""
        del slack
        found: list[Finding] = []
        for one in world.shaken:
            count = len(one.moved)
            how = ", ".join(sorted(set(one.how)))
            pieces = "a piece of its evidence was" if count == 1 else f"{count} pieces of its evidence were"
            found.append(
                Finding(
                    kind=PatternKind.STALENESS, scope=one.decision, predicate="evidence", subjects=(one.decision,),
                    statement=f"{slot(one.decision)} stands, and {pieces} {how}", family="stalenesses",
                    since=one.since, until=one.since, support=count,
                    evidence=(one.record, *sorted({*one.moved, *one.now} - {one.record})),
                    judged=len(world.shaken), effect=float(count), detail={"how": list(one.how)},
                )
            )  # fmt: skip
        return found, ()
