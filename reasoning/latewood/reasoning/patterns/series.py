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

__all__ = ["Series", "Told", "against_peers", "told_of", "world_of"]

_PEERS_MIN: Final = 5
_PEER_TIMES_MIN: Final = 16
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
    told: Mapping[tuple[str, str], Mapping[str, Told]], built: dict[tuple[str, str], Series], multi: frozenset[str],
    names: Mapping[str, str], memo: Memo,
) -> World:  # fmt: skip
    """Put the world together, building those series only that are not in *built*."""
    numbers: list[Numbers] = []
    choices: list[Choices] = []
    skipped: list[Skipped] = []
    happened: dict[str, Happened] = {}
    for place in sorted(told):
        if place not in built:
            built[place] = _series(place, told[place], multi)
        one = built[place]
        if isinstance(one, Numbers):
            numbers.append(one)
        elif isinstance(one, Choices):
            choices.append(one)
        elif isinstance(one, Skipped):
            skipped.append(one)
        elif one is not None:
            happened.setdefault(place[1], {}).update(one)
    numbers += against_peers(numbers)
    occurrences = tuple(Occurrences(predicate, facts) for predicate, facts in sorted(happened.items()))
    return World(tuple(numbers), tuple(choices), occurrences, tuple(skipped), dict(names), memo=memo)


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

    A bad winter for all is no one's decline. Where they do not move together, their mean would only add noise.
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
        mean = np.mean(np.sort(rows, axis=0), axis=0)
        found += [
            Numbers(one.subject, one.predicate, one.unit, _facts_at(one, times), tuple(times), row - mean, PEERS)
            for one, row in zip(members, rows, strict=True)
        ]
    return found


def _at(one: Numbers, times: Sequence[Micros]) -> Floats:
    return one.values[np.searchsorted(np.asarray(one.times, dtype=np.int64), np.asarray(times, dtype=np.int64))]


def _facts_at(one: Numbers, times: Sequence[Micros]) -> tuple[str, ...]:
    places = dict(zip(one.times, one.facts, strict=True))
    return tuple(places[time] for time in times)
