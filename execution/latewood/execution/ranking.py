"""Where runs lose money and time: their stages, ranked by what they cost and by how long they keep a run waiting.

A stage is what steps of one name, or model calls of one stage, do in one workflow. What it cost is what all its tries
used, those that failed too. How long it took is from a step's first try, or its question, to its end or to now.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from latewood.execution.logbook import Logbook
from latewood.execution.showing import tokens_used
from latewood.execution.words import Run, StepStatus
from latewood.graph_schema.clock import AsOf, from_micros
from latewood.graph_schema.errors import LimitError
from latewood.graph_schema.model import Fact, Node
from latewood.graph_schema.values import Json
from latewood.storage.port import FactQuery

__all__ = ["RUNS_MAX", "RankedStage", "Ranking", "rank_stages"]

RUNS_MAX: Final = 1_000
"""Most runs that one ranking goes through, the newest."""
_STEPS_MAX: Final = 100_000
_RUNS_AT_ONCE: Final = 20
_READ_AT_ONCE: Final = 1_000
_P95: Final = 0.95
_LATEST: Final = AsOf(valid_at=datetime(9999, 1, 1, tzinfo=UTC))
_OVER: Final = frozenset({StepStatus.COMPLETED, StepStatus.DEGRADED, StepStatus.FAILED})


@dataclass(frozen=True, slots=True)
class RankedStage:
    """What one stage of a workflow used, over all of its steps.

    Attributes:
        tokens: those that somebody counted; *uncounted* is how many tries asked a model and said nothing of them.
        cost: of the tries that have one, in *currency*; None when none has, or they are in several.
        seconds: in all, from the beginning of each step to its end; *p50_s* and *p95_s* of one.
        waiting: how many of them have not ended.
    """

    workflow: str
    stage: str
    steps: int
    tries: int
    failed: int
    tokens: int
    uncounted: int
    cost: Decimal | None
    currency: str | None
    seconds: float
    p50_s: float
    p95_s: float
    waiting: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """The stages of the newest runs, the same ones in two orders.

    Attributes:
        runs: how many runs were gone through; *more*: whether there are others, which were not.
    """

    runs: int
    more: bool
    by_cost: tuple[RankedStage, ...]
    by_wait: tuple[RankedStage, ...]


@dataclass(slots=True)
class _Sum:
    steps: int = 0
    tries: int = 0
    failed: int = 0
    tokens: int = 0
    uncounted: int = 0
    waiting: int = 0
    costs: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    seconds: list[float] = field(default_factory=list[float])

    def ranked(self, workflow: str, stage: str) -> RankedStage:
        took = sorted(self.seconds)
        currency, cost = next(iter(self.costs.items())) if len(self.costs) == 1 else (None, None)
        return RankedStage(
            workflow, stage, self.steps, self.tries, self.failed, self.tokens, self.uncounted, cost, currency or None,
            round(sum(took), 6), _share(took, 0.5), _share(took, _P95), self.waiting,
        )  # fmt: skip


def _share(ordered: Sequence[float], share: float) -> float:
    """Return what *share* of the values do not exceed."""
    return round(ordered[max(math.ceil(share * len(ordered)) - 1, 0)], 6) if ordered else 0.0


async def rank_stages(book: Logbook, *, workflow: str | None = None, runs: int = 200) -> Ranking:
    """Rank the stages of the newest *runs*, of all workflows or of one.

    Raises:
        LimitError: *runs* is not 1 to `RUNS_MAX`.
    """
    if not 1 <= runs <= RUNS_MAX:
        msg = f"a ranking goes through 1 to {RUNS_MAX:,} runs, not {runs:,}"
        raise LimitError(msg, limit="RUNS_MAX", maximum=RUNS_MAX)
    sums: dict[tuple[str, str], _Sum] = {}
    seen, steps, after = 0, 0, None
    counted: set[str] = set()
    while True:
        page = await book.runs(
            workflow=workflow, first=min(_RUNS_AT_ONCE, runs - seen), after=after
        )  # fmt: skip
        steps += await _add(book, page.items, sums, counted)
        seen, after = seen + len(page.items), page.next
        if after is None or seen >= runs or steps >= _STEPS_MAX:
            break
    stages = [one.ranked(*name) for name, one in sums.items()]
    by_cost = sorted(stages, key=lambda one: (-(one.cost or 0), -one.tokens, -one.seconds, one.stage))
    by_wait = sorted(stages, key=lambda one: (-one.p95_s, -one.seconds, one.stage))
    return Ranking(seen, after is not None, tuple(by_cost), tuple(by_wait))


async def _add(book: Logbook, runs: Sequence[Run], sums: dict[tuple[str, str], _Sum], counted: set[str]) -> int:
    of_run = await book.step_ids([run.id for run in runs])
    # A fork has steps of the run that it was forked from; they were paid for once.
    whose: dict[str, str] = {}
    for run in reversed(runs):
        whose |= {step: run.workflow for step in of_run[run.id] if step not in counted and step not in whose}
    counted |= whose.keys()
    ids = list(whose)
    tried = await book.attempts(ids)
    for begin in range(0, len(ids), _READ_AT_ONCE):
        part = ids[begin : begin + _READ_AT_ONCE]
        nodes = await book.store.nodes(book.space, ids=part)
        query = FactQuery(subjects=part, predicates=["status"])
        status = {fact.subject_id: fact for fact in await book.store.facts(book.space, query, _LATEST)}
        for step in part:
            if step in nodes and "place" in nodes[step].attributes:
                attempts = tried.get(step, [])
                stage = next((str(one["stage"]) for one in attempts if one.get("stage")), nodes[step].name)
                total = sums.setdefault((whose[step], stage), _Sum())
                _count(total, nodes[step], status.get(step), attempts, from_micros(book.clock.now()))
    return len(ids)


def _count(
    total: _Sum, node: Node, status: Fact | None, attempts: Sequence[Mapping[str, Json]], now: datetime
) -> None:  # fmt: skip
    # A step that was written once, at its end, says so itself.
    over = (node.attributes.get("status") if status is None else status.value and status.value.data) in _OVER
    # A sleep's end is dated when it begins; one that lies ahead has not come yet.
    over = over and not (node.type == "sleep" and status is not None and status.valid_from > now)
    total.steps += 1
    total.waiting += not over
    ended = node.recorded_at if status is None else max(status.recorded_at, status.valid_from)
    ended = ended if over else now
    # Most steps are kept when they end, and only their tries know how long they took.
    total.seconds.append(max((ended - node.recorded_at).total_seconds(), sum(map(_seconds, attempts))))
    for one in attempts:
        total.tries += 1
        total.failed += one.get("outcome") == "failed"
        usage = one.get("usage")
        total.tokens += tokens_used(usage if isinstance(usage, dict) else None)
        total.uncounted += one.get("model") is not None and not usage
        cost = _money(one.get("cost"))
        if cost is not None:
            currency = str(one.get("currency") or "")
            total.costs[currency] = total.costs.get(currency, Decimal(0)) + cost


def _seconds(attempt: Mapping[str, Json]) -> float:
    given = attempt.get("seconds")
    return float(given) if isinstance(given, int | float) else 0.0


def _money(text: Json) -> Decimal | None:
    try:
        return Decimal(text) if isinstance(text, str) else None
    except InvalidOperation:
        return None
