"""The detectors of words behind the port: reversals of choices, and rules between occurrences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import gcd
from typing import Final

import numpy as np

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.patterns import PatternKind
from latewood.reasoning.patterns.memo import digest_of
from latewood.reasoning.patterns.port import LEVELS, Finding, Occurrences, Skipped, World
from latewood.reasoning.patterns.rates import Floats, q_values
from latewood.reasoning.patterns.reversal import reversal
from latewood.reasoning.patterns.rule import KINDS_MAX, LAGS, RuleTest, rule_tests
from latewood.reasoning.patterns.telling import day, judged_words
from latewood.reasoning.patterns.wording import slot

__all__ = ["Reversals", "Rules"]

_HOUR: Final = 3_600_000_000
_WIDTHS: Final = (_HOUR, 24 * _HOUR, 7 * 24 * _HOUR, 28 * 24 * _HOUR, 364 * 24 * _HOUR)
_STEPS_MAX: Final = 400
_STEPS_MIN: Final = 16
_CELLS_MAX: Final = 20_000


class Reversals:
    """Choices that flip back and forth."""

    @property
    def name(self) -> str:
        """What it is called where it fails."""
        return "reversals"

    @property
    def kinds(self) -> frozenset[PatternKind]:
        """What it finds."""
        return frozenset({PatternKind.REVERSAL})

    def find(self, world: World, slack: float = 1.0) -> tuple[Sequence[Finding], Sequence[Skipped]]:
        """Count the returns of every single-valued predicate that says words; *slack* has nothing to loosen here."""
        del slack
        found: list[Finding] = []
        for one in world.choices:
            flip = reversal(one.choices)
            if flip is None:
                continue
            facts = one.facts[flip.first : flip.last + 1]
            name = slot(one.subject)
            # A choice is told by the fact that first made it.
            first, second = (
                slot(one.facts[flip.first + one.choices[flip.first :].index(word)]) for word in flip.options
            )
            since, until = one.times[flip.first], one.times[flip.last]
            statement = (
                f"{one.predicate} of {name} went back and forth between '{first}' and '{second}': "
                f"{flip.returns} returns in {len(facts)} choices, {day(since)} to {day(until)}"
            )
            found.append(
                Finding(
                    kind=PatternKind.REVERSAL,
                    scope=one.subject,
                    predicate=one.predicate,
                    subjects=(one.subject,),
                    statement=statement,
                    family="reversals",
                    since=since,
                    until=until,
                    support=len(facts),
                    evidence=facts,
                    judged=len(world.choices),
                    effect=float(flip.returns),
                    detail={"options": [first, second], "returns": flip.returns},
                )
            )
        return found, ()


class Rules:
    """One kind of occurrence followed by another."""

    @property
    def name(self) -> str:
        """What it is called where it fails."""
        return "rules"

    @property
    def kinds(self) -> frozenset[PatternKind]:
        """What it finds."""
        return frozenset({PatternKind.RULE})

    def find(self, world: World, slack: float = 1.0) -> tuple[Sequence[Finding], Sequence[Skipped]]:
        """Test every multi-valued predicate that has enough places and times; all their pairs are one family."""
        grids: list[_Grid] = []
        skipped: list[Skipped] = []
        for one in world.occurrences:
            grid = _grid(one)
            if isinstance(grid, str):
                skipped.append(Skipped("", one.predicate, grid))
            else:
                grids.append(grid)
        tests = [
            (grid, test)
            for grid in grids
            for test in world.memo.of("rules", grid.digest, partial(rule_tests, grid.seen), 20_000)
        ]
        q = q_values([test.p for _, test in tests])
        best: dict[tuple[str, int, int], tuple[float, _Grid, RuleTest]] = {}
        for (grid, test), rate in zip(tests, q, strict=True):
            key = (grid.predicate, test.cause, test.effect)
            if rate <= slack * LEVELS[PatternKind.RULE] and (key not in best or test.p < best[key][2].p):
                best[key] = (float(rate), grid, test)
        return [_rule(rate, grid, test, len(tests), world) for rate, grid, test in best.values()], skipped


@dataclass(frozen=True, slots=True)
class _Grid:
    """Occurrences laid out as places x times x kinds."""

    predicate: str
    seen: Floats
    kinds: tuple[str, ...]
    places: tuple[str, ...]
    width: Micros
    cells: Mapping[tuple[int, int, int], list[str]]
    told: Mapping[str, tuple[str, Micros, str]]

    @property
    def digest(self) -> bytes:
        return digest_of(" ".join(str(size) for size in self.seen.shape), np.packbits(self.seen > 0).astype(np.float64))


def _grid(one: Occurrences) -> _Grid | str:
    times = sorted({told[1] for told in one.facts.values()})
    start, width = _steps(times)
    steps = (times[-1] - start) // width + 1
    if steps < _STEPS_MIN:
        return f"too short: {steps} of at least {_STEPS_MIN} steps in time"
    count: dict[str, int] = {}
    busy: dict[str, int] = {}
    for place, _, kind in one.facts.values():
        count[kind] = count.get(kind, 0) + 1
        busy[place] = busy.get(place, 0) + 1
    kinds = sorted(sorted(count, key=lambda kind: (-count[kind], kind))[:KINDS_MAX])
    most = max(1, _CELLS_MAX // steps)
    places = sorted(sorted(busy, key=lambda place: (-busy[place], place))[:most])
    if len(kinds) < 2:  # noqa: PLR2004 - a rule needs two kinds
        return "only one kind ever occurred"
    kind_of = {kind: place for place, kind in enumerate(kinds)}
    place_of = {name: place for place, name in enumerate(places)}
    seen = np.zeros((len(places), int(steps), len(kinds)))
    cells: dict[tuple[int, int, int], list[str]] = {}
    for fact, (place, time, kind) in sorted(one.facts.items()):
        if place in place_of and kind in kind_of:
            cell = (place_of[place], int((time - start) // width), kind_of[kind])
            seen[cell] = 1.0
            cells.setdefault(cell, []).append(fact)
    return _Grid(one.predicate, seen, tuple(kinds), tuple(places), width, cells, one.facts)


def _steps(times: Sequence[Micros]) -> tuple[Micros, Micros]:
    """Return where the steps begin and how wide they are: the rhythm of the data, or the finest that will do."""
    rhythm = gcd(*(later - earlier for earlier, later in pairwise(times)))
    span = times[-1] - times[0]
    if rhythm >= _HOUR and span // rhythm < _STEPS_MAX:
        return times[0], rhythm
    width = next((one for one in _WIDTHS if span // one < _STEPS_MAX), span // _STEPS_MAX + 1)
    return times[0] - times[0] % width, width


def _rule(q: float, grid: _Grid, test: RuleTest, judged: int, world: World) -> Finding:
    seen = grid.seen
    times = seen.shape[1]
    places, steps = np.nonzero((seen[:, : times - test.lag, test.cause] > 0) & (seen[:, test.lag :, test.effect] > 0))
    facts: set[str] = set()
    for place, step in zip(places.tolist(), steps.tolist(), strict=True):
        facts |= set(grid.cells[place, step, test.cause]) | set(grid.cells[place, step + test.lag, test.effect])
    ordered = tuple(sorted(facts, key=lambda fact: (grid.told[fact][1], fact)))
    cause, effect = (slot(_teller(grid, ordered, kind, world)) for kind in (test.cause, test.effect))
    since, until = grid.told[ordered[0]][1], grid.told[ordered[-1]][1]
    days = test.lag * grid.width / (24 * _HOUR)
    statement = (
        f"{cause} is followed by {effect} after {days:g} days: {test.strength:.0%} more often than otherwise "
        f"(95 % {test.low:.0%} to {test.high:.0%}), {test.support} times at {len(set(places.tolist()))} places, "
        f"place, season and common causes taken out; {judged_words(q)}"
    )
    subjects = tuple(kind for kind in (grid.kinds[test.cause], grid.kinds[test.effect]) if kind in world.names)
    scope = _scope([grid.kinds[test.cause], grid.kinds[test.effect]], world)
    return Finding(
        kind=PatternKind.RULE, scope=scope, predicate=grid.predicate,
        subjects=subjects, statement=statement, family="rules", since=since, until=until, support=test.support,
        evidence=ordered, judged=judged, p=test.p, q=q, effect=test.strength, low=test.low, high=test.high,
        detail={"cause": cause, "effect": effect, "lag": test.lag, "lag_days": days, "lags_tried": list(LAGS)},
    )  # fmt: skip


def _teller(grid: _Grid, evidence: Sequence[str], kind: int, world: World) -> str:
    """Return the id of what tells a kind: of the thing itself, or of the first fact that says the word."""
    word = grid.kinds[kind]
    return word if word in world.names else next(fact for fact in evidence if grid.told[fact][2] == word)


def _scope(kinds: Sequence[str], world: World) -> str:
    """Return ids as they are, and of words a digest: a pattern's key outlives the facts that said them."""
    return " > ".join(kind if kind in world.names else digest_of(kind).hex() for kind in kinds)
