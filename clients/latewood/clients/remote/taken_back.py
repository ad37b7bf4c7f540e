"""What undoing by source answers."""

from __future__ import annotations

from dataclasses import dataclass

from latewood.graph_schema.events import Receipt
from latewood.graph_schema.model import Fact

__all__ = ["Retraction", "Unretracted"]


@dataclass(frozen=True, slots=True)
class Unretracted:
    """A fact that could not be taken back, and why."""

    fact: Fact
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Retraction:
    """What was taken back: *left* stays, and another call goes on at *next*."""

    retracted: int
    facts: tuple[Fact, ...]
    left: tuple[Unretracted, ...]
    left_count: int
    dry_run: bool
    next: str | None
    receipts: tuple[Receipt, ...]
