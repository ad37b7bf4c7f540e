"""Which names may mean one thing: pairs that look alike, by what they have in common, never by comparing all with all.

Names of one type are put side by side only where they share something rare: a word, a run of three letters. What most
names have ("GmbH", "service") brings nobody together, so the work grows with the names, not with their square. Nothing
here says that two are one: a pair is a candidate for somebody to judge.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = ["SIGNALS", "Candidate", "Named", "candidates", "same_numbers"]

SIGNALS: Final = ("name", "words", "letters", "meaning")
"""From sure to weak: the same words in the same order; the same words but for forms of company; nearly the same
letters; nearly the same meaning to the embedder.
"""
_WORD: Final = re.compile(r"[^\W_]+")
_NUMBER: Final = re.compile(r"\d+")
_FORMS: Final = frozenset({
    "ab", "ag", "as", "bv", "co", "company", "corp", "corporation", "gmbh", "inc", "incorporated", "kg", "limited",
    "llc", "llp", "ltd", "nv", "oy", "plc", "pty", "sa", "sarl", "se", "spa", "srl", "the",
})  # fmt: skip
_SHARED_MAX: Final = 40
"""A word or a run of letters that more names than this share brings nobody together."""
_RAREST: Final = 6
"""By so many of its rarest runs of letters a name is compared."""
_WORDS_LEAST: Final = 0.6
_LETTERS_LEAST: Final = 0.72
_LETTERS_CHARS_LEAST: Final = 5


@dataclass(frozen=True, slots=True)
class Named:
    """A thing with what it is called: its key without the type, and its name where that says more."""

    id: str
    type: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two things that may be one.

    Attributes:
        signal: the surest of `SIGNALS` that says so; *score* from 0 to 1, how far.
    """

    one: str
    other: str
    signal: str
    score: float


@lru_cache(maxsize=200_000)
def _words(name: str) -> tuple[str, ...]:
    """Return the words of a name without case, accents and signs."""
    bare = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    return tuple(_WORD.findall(bare.casefold()))


def _core(name: str) -> frozenset[str]:
    """Return the words of a name but forms of company; all of them where nothing else is left."""
    words = frozenset(_words(name))
    return words - _FORMS or words


def _runs(words: Sequence[str]) -> frozenset[str]:
    text = f" {' '.join(words)} "
    return frozenset(text[place : place + 3] for place in range(len(text) - 2))


def _common(names: Iterable[str]) -> frozenset[str]:
    """Return the words that so many names have that they say nothing of one."""
    counts = Counter(word for name in names for word in set(_words(name)))
    return frozenset(word for word, count in counts.items() if count > _SHARED_MAX) | _FORMS


def same_numbers(one: str, other: str) -> bool:
    """Tell whether two names have the same numbers: lane 12 is not lane 13, however alike they look."""
    return sorted(_NUMBER.findall(" ".join(_words(one)))) == sorted(_NUMBER.findall(" ".join(_words(other))))


def _sharing(marks: Mapping[int, Iterable[str]], rarest: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield pairs that share a mark which few have; with *rarest*, one of the rarest of either."""
    owners: dict[str, list[int]] = {}
    for place, own in marks.items():
        for mark in own:
            owners.setdefault(mark, []).append(place)
    kept: dict[str, list[int]] = {}
    for place, own in marks.items():
        few = sorted(
            (mark for mark in own if len(owners[mark]) <= _SHARED_MAX), key=lambda one: (len(owners[one]), one)
        )
        for mark in few[:rarest]:
            kept.setdefault(mark, []).append(place)
    seen: set[tuple[int, int]] = set()
    for places in kept.values():
        for index, one in enumerate(places):
            for other in places[index + 1 :]:
                pair = (min(one, other), max(one, other))
                if one != other and pair not in seen:
                    seen.add(pair)
                    yield pair


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one or other else 0.0


def _dice(one: frozenset[str], other: frozenset[str]) -> float:
    return 2 * len(one & other) / (len(one) + len(other)) if one and other else 0.0


def _of_type(things: Sequence[Named]) -> Iterator[Candidate]:
    """Yield what looks alike among things of one type, each pair perhaps by several signals."""
    names = [(place, name) for place, thing in enumerate(things) for name in thing.names if _words(name)]
    exact: dict[tuple[str, ...], list[int]] = {}
    for place, name in names:
        exact.setdefault(_words(name), []).append(place)
    for places in exact.values():
        first, *rest = dict.fromkeys(places)
        # All are one with the first: that says it, and a thousand of one name are not half a million pairs.
        for other in rest:
            yield Candidate(things[first].id, things[other].id, "name", 1.0)
    cores = {index: _core(name) for index, (_, name) in enumerate(names)}
    common = _common(name for _, name in names)
    own = {index: [word for word in _words(name) if word not in common] for index, (_, name) in enumerate(names)}
    runs = {index: _runs(words) for index, words in own.items() if len("".join(words)) >= _LETTERS_CHARS_LEAST}
    for signal, marks, alike, least, pairs in (
        ("words", cores, _overlap, _WORDS_LEAST, _sharing(cores)),
        ("letters", runs, _dice, _LETTERS_LEAST, _sharing(runs, _RAREST)),
    ):
        for left, right in pairs:
            (one, name), (other, theirs) = names[left], names[right]
            score = alike(marks[left], marks[right])
            if one != other and score >= least and same_numbers(name, theirs):
                yield Candidate(things[one].id, things[other].id, signal, round(score, 3))


def candidates(things: Iterable[Named]) -> list[Candidate]:
    """Return pairs of one type that look alike, the surest first, each once with its surest signal."""
    by_type: dict[str, list[Named]] = {}
    for thing in things:
        by_type.setdefault(thing.type, []).append(thing)
    best: dict[tuple[str, str], Candidate] = {}
    for own in by_type.values():
        for found in _of_type(own):
            pair = (min(found.one, found.other), max(found.one, found.other))
            known = best.get(pair)
            if known is None or _order(found) < _order(known):
                best[pair] = found
    return sorted(best.values(), key=lambda one: (*_order(one), one.one, one.other))


def _order(one: Candidate) -> tuple[int, float]:
    return SIGNALS.index(one.signal), -one.score
