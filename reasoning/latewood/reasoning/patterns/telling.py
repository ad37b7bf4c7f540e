"""One plain sentence for a pattern, with its numbers."""

from __future__ import annotations

from latewood.graph_schema.clock import Micros, from_micros
from latewood.reasoning.patterns.port import PEERS

__all__ = ["amount", "day", "judged_words", "versus"]


def amount(value: float, unit: str | None) -> str:
    """Write a size to three digits, with its sign and unit."""
    return f"{value:+.3g}{' ' + unit if unit else ''}"


def day(instant: Micros) -> str:
    """Write the day of an instant."""
    return from_micros(instant).date().isoformat()


def judged_words(q: float) -> str:
    """Write a q value so that nobody takes it for a certainty."""
    return f"q {q:.3f}" if q >= 0.001 else "q < 0.001"  # noqa: PLR2004 - three digits are shown


def versus(against: str | None) -> str:
    """Say what a series was compared with."""
    return " against all others of the time" if against == PEERS else ""
