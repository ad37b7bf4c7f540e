"""The detectors of numbers behind the port: trend and shift, anomaly, recurrence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from latewood.graph_schema.clock import Micros, from_micros, iso
from latewood.graph_schema.patterns import PatternKind
from latewood.graph_schema.values import Json
from latewood.reasoning.patterns.anomaly import AnomalyTest, anomaly_tests, surprise_at, surprises
from latewood.reasoning.patterns.change import LENGTH_MAX, ChangeTest, Fitted, change_tests
from latewood.reasoning.patterns.memo import Memo, digest_of
from latewood.reasoning.patterns.port import LEVELS, PEERS, Finding, Numbers, Skipped, World
from latewood.reasoning.patterns.rates import Floats, q_values
from latewood.reasoning.patterns.recurrence import RunTest, run_tests
from latewood.reasoning.patterns.segments import change_points
from latewood.reasoning.patterns.telling import amount, day, judged_words, versus
from latewood.reasoning.patterns.wording import slot

__all__ = ["POINTS_MIN", "Changes", "Recurrences"]

POINTS_MIN: Final = 16
"""Fewest values of a series that is tested for a change or an anomaly."""
_SIZE_MAX: Final = 1e100
"""Beyond it squares overflow, and one series would break the family's null."""
_RUN_POINTS_MIN: Final = 6
_RUN_POINTS_MAX: Final = 40
"""Longer series have the test of changes, which knows autocorrelation; a run's null does not."""


def _scope(one: Numbers) -> str:
    return one.subject if one.against is None else f"{one.subject} against {one.against}"


class Changes:
    """Trend and shift, and what stands out from either."""

    @property
    def name(self) -> str:
        """What it is called where it fails."""
        return "changes"

    @property
    def kinds(self) -> frozenset[PatternKind]:
        """What it finds."""
        return frozenset({PatternKind.TREND, PatternKind.SHIFT, PatternKind.ANOMALY})

    def find(self, world: World, slack: float = 1.0) -> tuple[Sequence[Finding], Sequence[Skipped]]:
        """Test all series of enough points, those told against peers as a family of their own."""
        found: list[Finding] = []
        skipped: list[Skipped] = []
        for against in (None, PEERS):
            members: list[Numbers] = []
            for one in world.numbers:
                if one.against != against:
                    continue
                reason = _unfit(one)
                if reason is None:
                    members.append(one)
                elif against is None:
                    skipped.append(Skipped(one.subject, one.predicate, reason))
            if members:
                found += _family(members, world, slack)
        return found, skipped


def _unfit(one: Numbers) -> str | None:
    if len(one.values) < POINTS_MIN:
        return f"too short: {len(one.values)} of at least {POINTS_MIN} points"
    if not bool(np.all(np.isfinite(one.values))):
        return "it holds what is no finite number"
    if float(np.max(np.abs(one.values))) > _SIZE_MAX:
        return f"it holds numbers beyond {_SIZE_MAX:g}; give them in a larger unit"
    if bool(np.all(one.values == one.values[0])):
        return f"constant: all {len(one.values)} values are {one.values[0]:g}"
    return None


@dataclass(frozen=True, slots=True)
class _Judged:
    """A family after its tests: one change and one anomaly of each member, with their q values."""

    changes: Sequence[tuple[ChangeTest, Fitted]]
    change_q: Floats
    anomalies: Sequence[AnomalyTest]
    anomaly_q: Floats


def _judge(members: Sequence[Numbers], memo: Memo) -> _Judged:
    changes = change_tests([one.values for one in members], memo=memo)
    anomalies = anomaly_tests([surprises(fitted.residuals, test.phi) for test, fitted in changes], memo)
    return _Judged(
        changes, q_values([test.p for test, _ in changes]), anomalies, q_values([test.p for test in anomalies])
    )


def _family(members: Sequence[Numbers], world: World, slack: float) -> list[Finding]:
    # The look before is, for most, what the look was then.
    whole = digest_of(*(one.values for one in members))
    points = sum(len(one.values) for one in members)
    judged = world.memo.of("family", whole, lambda: _judge(members, world.memo), 8 * points + 1_500 * len(members))
    found = [
        _change(one, test, float(rate), len(members))
        for one, (test, _), rate in zip(members, judged.changes, judged.change_q, strict=True)
        if rate <= slack * LEVELS[PatternKind(test.kind)]
    ]
    return found + _anomalies(members, judged, slack)


def _change(one: Numbers, test: ChangeTest, q: float, judged: int) -> Finding:
    skipped = max(0, len(one.values) - LENGTH_MAX)
    facts, times = one.facts[skipped:], one.times[skipped:]
    kind = PatternKind(test.kind)
    since = times[test.at]
    name = slot(one.subject)
    what = "drifts" if kind is PatternKind.TREND else "shifted"
    unit = f" {one.unit}" if one.unit else ""
    statement = (
        f"{one.predicate} of {name} {what}{versus(one.against)} by {amount(test.effect, one.unit)} "
        f"(95 % {test.low:.3g} to {test.high:.3g}{unit}) since {day(since)}; "
        f"{len(facts)} values, {judged_words(q)}"
    )
    return Finding(
        kind=kind, scope=_scope(one), predicate=one.predicate, subjects=(one.subject,), statement=statement,
        family=f"changes{versus(one.against)}", since=since, until=times[-1], support=len(facts), evidence=facts,
        judged=judged, p=test.p, q=q, effect=test.effect, low=test.low, high=test.high, unit=one.unit,
        detail={
            "direction": 1 if test.effect > 0 else -1, "noise": test.scale, "autocorrelation": test.phi,
            "season": test.period, "against": one.against,
        },
        more=partial(_cuts, one.values[skipped:], times),
    )  # fmt: skip


def _cuts(values: Floats, times: Sequence[Micros]) -> dict[str, Json]:
    return {"cuts": [iso(from_micros(times[at])) for at in change_points(values)]}


def _anomalies(members: Sequence[Numbers], judged: _Judged, slack: float) -> list[Finding]:
    found: list[Finding] = []
    for one, (change, around), test, rate in zip(
        members, judged.changes, judged.anomalies, judged.anomaly_q, strict=True
    ):
        if rate > slack * LEVELS[PatternKind.ANOMALY]:
            continue
        at = test.at + max(0, len(one.values) - LENGTH_MAX)
        off = surprise_at(around.residuals, change.phi, test.at)
        # The distance is that in noises of one point; of what is found it is far from zero.
        error = 1.96 * abs(off) / test.distance
        name = slot(one.subject)
        statement = (
            f"{one.predicate} of {name} was {slot(one.facts[at])} on "
            f"{day(one.times[at])}{versus(one.against)}, {amount(off, one.unit)} from what was to be expected "
            f"({test.distance:.1f} times its noise; {judged_words(float(rate))})"
        )
        found.append(
            Finding(
                kind=PatternKind.ANOMALY,
                scope=_scope(one),
                predicate=one.predicate,
                subjects=(one.subject,),
                statement=statement,
                family=f"anomalies{versus(one.against)}",
                since=one.times[at],
                until=one.times[at],
                support=1,
                evidence=(one.facts[at],),
                judged=len(members),
                p=test.p,
                q=float(rate),
                effect=off,
                low=off - error,
                high=off + error,
                unit=one.unit,
                detail={"against": one.against, "distance": test.distance},
            )
        )
    return found


class Recurrences:
    """Runs of deviations from a plan in short series, over it and under it."""

    @property
    def name(self) -> str:
        """What it is called where it fails."""
        return "recurrences"

    @property
    def kinds(self) -> frozenset[PatternKind]:
        """What it finds."""
        return frozenset({PatternKind.RECURRENCE})

    def find(self, world: World, slack: float = 1.0) -> tuple[Sequence[Finding], Sequence[Skipped]]:
        """Test all series that look like deviations, the plan being zero."""
        members = [one for one in world.numbers if one.against is None and _deviates(one)]
        if not members:
            return (), ()
        best: dict[str, tuple[float, Numbers, RunTest, int]] = {}
        for sign in (1, -1):
            # Over and under are two questions, and two families: runs on one side widen the noise seen from the other.
            signed = [sign * one.values for one in members]
            tests = world.memo.of("runs", digest_of(*signed), partial(run_tests, signed), 200 * len(signed))
            q = q_values([1.0 if test is None else test.p for test in tests])
            for one, test, rate in zip(members, tests, q, strict=True):
                key = f"{one.subject} {one.predicate}"
                within = rate <= slack * LEVELS[PatternKind.RECURRENCE] and rate < best.get(key, (2.0,))[0]
                if test is not None and within:
                    best[key] = (float(rate), one, test, sign)
        return [_run(*told, len(members)) for told in best.values()], ()


def _deviates(one: Numbers) -> bool:
    count = len(one.values)
    if not _RUN_POINTS_MIN <= count <= _RUN_POINTS_MAX or not bool(np.all(np.abs(one.values) <= _SIZE_MAX)):
        return False
    # What is never below and never above zero is no deviation from a plan.
    return bool(np.any(one.values < 0)) and bool(np.any(one.values > 0))


def _run(q: float, one: Numbers, test: RunTest, sign: int, judged: int) -> Finding:
    facts = one.facts[test.first : test.last + 1]
    mean = sign * test.mean
    error = 1.96 * test.scale / len(facts) ** 0.5
    name = slot(one.subject)
    statement = (
        f"{one.predicate} of {name} was {'over' if sign > 0 else 'under'} plan {len(facts)} periods running, "
        f"{day(one.times[test.first])} to {day(one.times[test.last])}: {amount(mean, one.unit)} on average, "
        f"{test.mean / test.scale:.1f} times its noise; {judged_words(q)}"
    )
    return Finding(
        kind=PatternKind.RECURRENCE, scope=one.subject, predicate=one.predicate, subjects=(one.subject,),
        statement=statement, family="recurrences", since=one.times[test.first], until=one.times[test.last],
        support=len(facts), evidence=facts, judged=judged, p=test.p, q=q, effect=mean, low=mean - error,
        high=mean + error, unit=one.unit, detail={"periods": len(facts)},
    )  # fmt: skip
