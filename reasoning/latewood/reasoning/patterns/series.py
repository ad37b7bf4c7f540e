"""From facts to series: what was asserted and not taken back, by when it was true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from latewood.graph_schema.clock import Micros, to_micros
from latewood.graph_schema.model import Fact
from latewood.reasoning.patterns.memo import Memo
from latewood.reasoning.patterns.port import PEERS, Choices, Numbers, Occurrences, Skipped, World
from latewood.reasoning.patterns.rates import Floats
from latewood.reasoning.patterns.telling import day

__all__ = ["SERIES_FACTS_MAX", "Held", "Series", "Told", "against_peers", "told_of", "world_of"]

SERIES_FACTS_MAX: Final = 20_000
"""Most facts of one series that are looked at: the latest, by when they were true."""
_HELD_MAX: Final = 2 * SERIES_FACTS_MAX
_HELD_AFTER: Final = SERIES_FACTS_MAX * 3 // 2
"""How many are kept of so many: some to spare, so that a few that are taken back do not make all be read again."""

_PEERS_MIN: Final = 5
_PEER_TIMES_MIN: Final = 16
_OUTER: Final = 8
"""One of how many is left out at either end of what is held to be common, at least one."""
_COMMON_SHARE: Final = 0.15
"""How much of the movement of all must be common before each is told against the others."""
_NUMBER_KINDS: Final = frozenset({"integer", "float", "decimal"})


@dataclass(frozen=True, slots=True)
class Told:
    """As much of a fact as series are made of; *rank* says which of one instant counts.

    Attributes:
        kind: of the value; None for an object, which is then *text*.
    """

    time: Micros
    rank: tuple[int, Micros, str]
    kind: str | None
    text: str
    unit: str | None


class Held:
    """The facts of one series by their ids: all of them, or the latest of very many.

    Which are the latest is a matter of when they were true, so it makes no difference in which order they came.
    """

    __slots__ = ("_cut", "_facts", "_latest")

    def __init__(self) -> None:
        """Hold none yet."""
        self._facts: dict[str, Told] = {}
        self._cut: tuple[Micros, tuple[int, Micros, str]] | None = None
        self._latest: tuple[Mapping[str, Told], Micros | None] | None = None

    def __len__(self) -> int:
        """Return how many are held."""
        return len(self._facts)

    @property
    def short(self) -> bool:
        """Whether so many were taken back that some that were let go are among the latest now."""
        return self._cut is not None and len(self._facts) < SERIES_FACTS_MAX

    def put(self, fact: str, told: Told | None) -> bool:
        """Take in what *fact* says, None when it no longer counts; tell whether that changed anything."""
        if self._facts.get(fact) == told or (
            told is not None and self._cut is not None and (told.time, told.rank) < self._cut
        ):
            return False
        self._latest = None
        if told is None:
            del self._facts[fact]
            return True
        self._facts[fact] = told
        if len(self._facts) > _HELD_MAX:
            kept = self._in_order()[-_HELD_AFTER:]
            self._facts, self._cut = dict(kept), (kept[0][1].time, kept[0][1].rank)
        return True

    def latest(self) -> tuple[Mapping[str, Told], Micros | None]:
        """Return those that are looked at, and from when on they are; None when they are all there are."""
        if self._latest is None:
            self._latest = (self._facts, None)
            if self._cut is not None or len(self._facts) > SERIES_FACTS_MAX:
                part = self._in_order()[-SERIES_FACTS_MAX:]
                self._latest = (dict(part), part[0][1].time)
        return self._latest

    def _in_order(self) -> list[tuple[str, Told]]:
        return sorted(self._facts.items(), key=lambda one: (one[1].time, one[1].rank))


Happened: TypeAlias = "dict[str, tuple[str, Micros, str]]"
Series: TypeAlias = "Numbers | Choices | Skipped | Happened | None"
"""What the facts of one subject and predicate come to; None is nothing to look at."""


def told_of(fact: Fact) -> Told | None:
    """Return what *fact* adds to its series, None when it does not count."""
    if fact.retired_at is not None or fact.absent or fact.erased or not fact.valid_from_known:
        return None
    rank = (fact.trust.level, to_micros(fact.recorded_at), fact.id)
    if fact.value is not None:
        value = fact.value
        said = str(value.data) if value.kind in _NUMBER_KINDS else value.text()
        return Told(to_micros(fact.valid_from), rank, value.kind, said, value.unit)
    if fact.object_id is not None:
        return Told(to_micros(fact.valid_from), rank, None, fact.object_id, None)
    return None


def world_of(
    told: Mapping[tuple[str, str], Held], built: dict[tuple[str, str], Series], multi: frozenset[str],
    names: Mapping[str, str], memo: Memo,
) -> World:  # fmt: skip
    """Put the world together, building those series only that are not in *built*."""
    numbers: list[Numbers] = []
    choices: list[Choices] = []
    skipped: list[Skipped] = []
    happened: dict[str, Happened] = {}
    begins: dict[str, Micros] = {}
    for place in sorted(told):
        facts, since = told[place].latest()
        if place not in built:
            built[place] = _series(place, facts, multi)
        one = built[place]
        if since is not None:
            skipped.append(
                Skipped(
                    *place, f"more than {SERIES_FACTS_MAX:,} facts: only the latest are looked at, from {day(since)} on"
                )
            )
            begins[place[1]] = max(since, begins.get(place[1], since))
        if isinstance(one, Numbers):
            numbers.append(one)
        elif isinstance(one, Choices):
            choices.append(one)
        elif isinstance(one, Skipped):
            skipped.append(one)
        elif one is not None:
            happened.setdefault(place[1], {}).update(one)
    numbers += against_peers(numbers)
    occurrences = tuple(
        Occurrences(predicate, _since(facts, begins.get(predicate))) for predicate, facts in sorted(happened.items())
    )
    return World(tuple(numbers), tuple(choices), occurrences, tuple(skipped), dict(names), memo=memo)


def _since(facts: Happened, since: Micros | None) -> Happened:
    """Look at all places from *since* on: where one is cut, it would seem that nothing had happened there before."""
    return facts if since is None else {fact: told for fact, told in facts.items() if told[1] >= since}


def _series(place: tuple[str, str], facts: Mapping[str, Told], multi: frozenset[str]) -> Series:
    subject, predicate = place
    if predicate in multi:
        return {fact: (subject, one.time, one.text) for fact, one in facts.items()}
    kinds = {one.kind for one in facts.values()}
    if None in kinds:
        return None
    ids = _one_a_time(facts)
    rows = [facts[fact] for fact in ids]
    times = tuple(one.time for one in rows)
    if kinds <= _NUMBER_KINDS:
        units = {one.unit for one in facts.values()}
        if len(units) > 1:
            named = " and ".join(sorted(unit or "no unit" for unit in units))
            return Skipped(subject, predicate, f"mixed units: {named}; correct those that differ")
        values = np.asarray([float(one.text) for one in rows], dtype=np.float64)
        return Numbers(subject, predicate, units.pop(), ids, times, values)
    if kinds == {"text"}:
        return Choices(subject, predicate, ids, times, tuple(one.text for one in rows))
    if kinds & _NUMBER_KINDS:
        return Skipped(subject, predicate, "numbers and words are mixed; correct what is no number")
    return None


def _one_a_time(facts: Mapping[str, Told]) -> tuple[str, ...]:
    """Return one fact for each instant, in order: of several the most trusted, of these the last recorded."""
    told = sorted([(one.time, one.rank, fact) for fact, one in facts.items()])
    return tuple({time: fact for time, _, fact in told}.values())


def against_peers(numbers: Sequence[Numbers]) -> list[Numbers]:
    """Tell each series against all others of its predicate at the same time, where they move together.

    A bad winter for all is no one's decline, nor is one's decline a gain of all others: what is held to be common is
    the mean without an eighth of them at either end. Where they do not move together, it would only add noise.
    """
    found: list[Numbers] = []
    groups: dict[tuple[str, str | None], list[Numbers]] = {}
    for one in numbers:
        groups.setdefault((one.predicate, one.unit), []).append(one)
    for members in groups.values():
        shared = set(members[0].times)
        for one in members[1:]:
            shared &= set(one.times)
        times = sorted(shared)
        if len(members) < _PEERS_MIN or len(times) < _PEER_TIMES_MIN:
            continue
        rows = np.vstack([_at(one, times) for one in members])
        moves = rows[:, 1:] - rows[:, :-1]
        spread = np.std(moves, axis=1, keepdims=True)
        if not bool(np.all(spread > 0)):
            continue
        common = float(np.var(np.mean(moves / spread, axis=0)))
        if common < _COMMON_SHARE + 1.0 / len(members):
            continue
        # Sums of floats depend on their order, and ids that are drawn anew would decide which chances are drawn.
        outer = max(1, len(rows) // _OUTER)
        middle = np.mean(np.sort(rows, axis=0)[outer : len(rows) - outer], axis=0)
        found += [
            Numbers(one.subject, one.predicate, one.unit, _facts_at(one, times), tuple(times), row - middle, PEERS)
            for one, row in zip(members, rows, strict=True)
        ]
    return found


def _at(one: Numbers, times: Sequence[Micros]) -> Floats:
    return one.values[np.searchsorted(np.asarray(one.times, dtype=np.int64), np.asarray(times, dtype=np.int64))]


def _facts_at(one: Numbers, times: Sequence[Micros]) -> tuple[str, ...]:
    places = dict(zip(one.times, one.facts, strict=True))
    return tuple(places[time] for time in times)
