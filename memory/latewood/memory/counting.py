"""What is counted as a memory works, for the whole process: writes, refusals, the time of verbs; numbers, never words.

They are kept for whoever asks this process (`/metrics`), and told to OpenTelemetry as they come: without an SDK in the
process its instruments do nothing, and cost next to it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import Meter

from latewood.graph_schema.commands import Unit
from latewood.graph_schema.errors import LatewoodError, RefusedError
from latewood.graph_schema.events import Receipt
from latewood.storage.journal import Journal
from latewood.storage.port import GraphStore

__all__ = ["BOUNDS_S", "COUNTS", "METER", "CountedJournal", "Counts", "Times"]

BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of the times that are counted together."""
METER: Final = metrics.get_meter("latewood")


@dataclass(slots=True)
class Times:
    """How often something took how long: as many counts as there are bounds, and one for what took longer."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    seconds: float = 0.0

    def see(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.seconds += seconds

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """Write them down as Prometheus reads a histogram."""
        total = 0
        for bound, count in zip((*BOUNDS_S, "+Inf"), self.counts, strict=True):
            total += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {total}'
        yield f"{name}_sum{{{labels}}} {self.seconds:.6f}"
        yield f"{name}_count{{{labels}}} {total}"


class Counts:
    """Counts since the process began."""

    def __init__(self, meter: Meter = METER) -> None:
        """Count, and tell *meter*."""
        self._writes = Counter[str]()
        self._refusals = Counter[str]()
        self._verbs: dict[str, Times] = {}
        self._told_writes = meter.create_counter(
            "latewood.writes", "{unit}", "Units that were handed in, by what came of them."
        )
        self._told_refusals = meter.create_counter("latewood.refusals", "{refusal}", "What was refused, by its code.")
        self._told_verbs = meter.create_histogram("latewood.verb.duration", "s", "Time that a verb took.")

    @property
    def writes(self) -> Mapping[str, int]:
        """How many units were stored, replayed, refused, or could not be taken."""
        return dict(self._writes)

    def wrote(self, outcome: str) -> None:
        """Count a unit that was handed in."""
        self._writes[outcome] += 1
        self._told_writes.add(1, {"latewood.outcome": outcome})

    def refused(self, code: str) -> None:
        """Count a refusal; codes are few."""
        self._refusals[code] += 1
        self._told_refusals.add(1, {"error.type": code})

    def took(self, verb: str, seconds: float, code: str | None = None) -> None:
        """Count a verb that ended, with the *code* of its error."""
        self._verbs.setdefault(verb, Times()).see(seconds)
        failed = {} if code is None else {"error.type": code}
        self._told_verbs.record(seconds, {"latewood.verb": verb, **failed})

    def lines(self) -> Iterator[str]:
        """Write everything down in the text format of Prometheus."""
        yield "# HELP latewood_writes_total Units handed in, by what came of them."
        yield "# TYPE latewood_writes_total counter"
        for outcome, count in sorted(self._writes.items()):
            yield f'latewood_writes_total{{outcome="{outcome}"}} {count}'
        yield "# HELP latewood_refusals_total What was refused, by its code."
        yield "# TYPE latewood_refusals_total counter"
        for code, count in sorted(self._refusals.items()):
            yield f'latewood_refusals_total{{code="{code}"}} {count}'
        yield "# HELP latewood_verb_seconds Time that verbs took."
        yield "# TYPE latewood_verb_seconds histogram"
        for verb, times in sorted(self._verbs.items()):
            yield from times.lines("latewood_verb_seconds", f'verb="{verb}"')


COUNTS: Final = Counts()
"""Those of this process."""


class CountedJournal(Journal):
    """A journal whose units are counted."""

    async def submit(self, store: GraphStore, unit: Unit) -> Receipt:
        """Keep *unit*. Raises as `Journal.submit` does."""
        try:
            receipt = await super().submit(store, unit)
        except LatewoodError as error:
            COUNTS.wrote(error.branch)
            if isinstance(error, RefusedError):
                COUNTS.refused(error.code)
            raise
        COUNTS.wrote("replayed" if receipt.replayed else "stored")
        return receipt
