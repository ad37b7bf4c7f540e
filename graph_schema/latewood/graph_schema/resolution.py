"""Which fact holds: the definition, and the write-once rows that answer for it.

*The definition.* At valid time t, as known at r, among the claims of one key that were recorded by r, not retracted by
r, and whose asserted period covers t, the one of greatest `Claim.rank` holds. Rank orders by tier, then whether the
start is known, then the start, trust, recorded time and place in its unit: facts may arrive in any order, agents go on
updating what a human once set, and untrusted text never displaces what they said.

*The rows.* A stretch is a part of a claim's period in which it holds. It is inserted once, closed at most once (an open
end becomes a date) and retired at most once, never otherwise touched. It is visible at (t, r) when

    recorded_at <= r < retired_at  and  valid_from <= t  and  (t < valid_to or r < closed_at)

so that what was known at r stays readable for ever. `resolve` finds the repair of one key after a unit; an absence
holds like any claim but leaves no row.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from latewood.graph_schema.clock import FOREVER, Micros
from latewood.graph_schema.errors import LimitError

__all__ = [
    "STRETCHES_MAX",
    "Claim",
    "Held",
    "Rank",
    "Repair",
    "Stretch",
    "Voice",
    "Window",
    "challengers",
    "holder",
    "merge_windows",
    "resolve",
    "sweep",
    "visible",
]

STRETCHES_MAX: Final = 10_000
"""Most stretches of one key that one unit may change."""

Rank: TypeAlias = tuple[int, int, Micros, int, Micros, int]
Window: TypeAlias = tuple[Micros, Micros]
"""A half-open stretch of valid time."""

# The four below are tuples, not dataclasses: each write makes several, and a frozen dataclass takes longer.


class Claim(NamedTuple):
    """An assertion as resolution sees it; *fact* is the store's own handle of it."""

    fact: int
    valid_from: Micros
    valid_to: Micros
    tier: int
    known: int
    trust: int
    recorded_at: Micros
    ordinal: int
    absent: bool = False
    retracted_at: Micros = FOREVER

    @property
    def rank(self) -> Rank:
        """What decides between two claims that cover the same instant: the greater holds."""
        return (self.tier, self.known, self.valid_from, self.trust, self.recorded_at, self.ordinal)


@dataclass(frozen=True, slots=True)
class Voice:
    """A claim with who says it and what: the origin, and the canonical value or object (None for an absence)."""

    claim: Claim
    origin: str
    said: str | None


class Stretch(NamedTuple):
    """A row: a stretch of valid time held by *fact*, with its write-once stamps."""

    fact: int
    valid_from: Micros
    valid_to: Micros
    recorded_at: Micros
    closed_at: Micros = FOREVER
    retired_at: Micros = FOREVER


class Held(NamedTuple):
    """A stretch of a window and the claim that holds in it, if one does."""

    valid_from: Micros
    valid_to: Micros
    claim: Claim | None


class Repair(NamedTuple):
    """What brings the rows of a key up to date: (row, new end) to close, rows to retire, rows to insert."""

    closes: tuple[tuple[Stretch, Micros], ...]
    retires: tuple[Stretch, ...]
    inserts: tuple[Stretch, ...]


def holder(claims: Iterable[Claim], valid_at: Micros, known_at: Micros) -> Claim | None:
    """Return the claim that holds at (*valid_at*, *known_at*): the definition, word for word."""
    best: Claim | None = None
    for claim in claims:
        if (
            claim.recorded_at <= known_at < claim.retracted_at
            and claim.valid_from <= valid_at < claim.valid_to
            and (best is None or claim.rank > best.rank)
        ):
            best = claim
    return best


def challengers(holding: Voice, voices: Iterable[Voice], valid_at: Micros, known_at: Micros) -> list[Voice]:
    """Return who disagrees with what holds at (*valid_at*, *known_at*), the strongest first.

    A challenger counts then, covers the instant, starts no earlier than the holder, comes from another origin and says
    something else, an absence included. Of one origin the later word is a restatement, not a conflict.
    """
    found = [
        voice
        for voice in voices
        if voice.claim.recorded_at <= known_at < voice.claim.retracted_at
        and holding.claim.valid_from <= voice.claim.valid_from <= valid_at < voice.claim.valid_to
        and voice.origin != holding.origin
        and voice.said != holding.said
    ]
    return sorted(found, key=lambda voice: voice.claim.rank, reverse=True)


def visible(row: Stretch, valid_at: Micros, known_at: Micros) -> bool:
    """Tell whether *row* answers for (*valid_at*, *known_at*)."""
    return (
        row.recorded_at <= known_at < row.retired_at
        and row.valid_from <= valid_at
        and (valid_at < row.valid_to or known_at < row.closed_at)
    )


def merge_windows(windows: Iterable[Window]) -> list[Window]:
    """Return the union of *windows* as disjoint, sorted windows."""
    merged: list[Window] = []
    for start, end in sorted(windows):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def sweep(claims: Iterable[Claim], window: Window) -> list[Held]:
    """Split *window* into the stretches of its holders, neighbours of one holder joined.

    *claims* must contain every claim that could hold somewhere in the window; retracted ones must be left out.
    """
    start, end = window
    inside = sorted((c for c in claims if c.valid_from < end and c.valid_to > start), key=lambda c: c.valid_from)
    bounds = sorted({start, end, *(max(c.valid_from, start) for c in inside), *(min(c.valid_to, end) for c in inside)})
    waiting: list[tuple[tuple[int, ...], Claim]] = []
    held: list[Held] = []
    place = 0
    for left, right in itertools.pairwise(bounds):
        while place < len(inside) and inside[place].valid_from <= left:
            claim = inside[place]
            heapq.heappush(waiting, (tuple(-part for part in claim.rank), claim))
            place += 1
        while waiting and waiting[0][1].valid_to <= left:
            heapq.heappop(waiting)
        best = waiting[0][1] if waiting else None
        if held and held[-1].claim is best:
            held[-1] = Held(held[-1].valid_from, right, best)
        else:
            held.append(Held(left, right, best))
    return held


def _outside(row: Stretch, windows: Sequence[Window]) -> list[Window]:
    """Return the parts of *row* that no window touches."""
    parts: list[Window] = []
    left = row.valid_from
    for start, end in windows:
        if end <= left:
            continue
        if start >= row.valid_to:
            break
        if start > left:
            parts.append((left, start))
        left = end
    if left < row.valid_to:
        parts.append((left, row.valid_to))
    return parts


def _clip(parts: Iterable[Window], start: Micros, end: Micros) -> list[Window]:
    return [(max(a, start), min(b, end)) for a, b in parts if a < end and b > start]


def _subtract(part: Window, covered: Iterable[Window]) -> list[Window]:
    left, end = part
    rest: list[Window] = []
    for a, b in sorted(covered):
        if b <= left or a >= end:
            continue
        if a > left:
            rest.append((left, a))
        left = max(left, b)
    if left < end:
        rest.append((left, end))
    return rest


def resolve(windows: Sequence[Window], layout: Iterable[Held], rows: Sequence[Stretch], recorded_at: Micros) -> Repair:
    """Find the repair that makes *rows* agree with *layout*.

    Args:
        windows: disjoint and sorted; where the layout may differ from the rows.
        layout: the holders in all windows, from `sweep`.
        rows: every live row of the key (open `retired_at`) that overlaps a window.
        recorded_at: of the unit.

    Raises:
        LimitError: when more than `STRETCHES_MAX` stretches would change.
    """
    wanted: dict[int, list[Window]] = {}
    for held in layout:
        if held.claim is not None and not held.claim.absent:
            wanted.setdefault(held.claim.fact, []).append((held.valid_from, held.valid_to))
    closes: list[tuple[Stretch, Micros]] = []
    retires: list[Stretch] = []
    inserts: list[Stretch] = []
    covered: dict[int, list[Window]] = {}

    def insert(fact: int, part: Window) -> None:
        closed_at = FOREVER if part[1] == FOREVER else recorded_at
        inserts.append(Stretch(fact, part[0], part[1], recorded_at, closed_at))

    for row in rows:
        keep = merge_windows([*_outside(row, windows), *_clip(wanted.get(row.fact, ()), row.valid_from, row.valid_to)])
        covered.setdefault(row.fact, []).append((row.valid_from, row.valid_to))
        if keep == [(row.valid_from, row.valid_to)]:
            continue
        if row.valid_to == FOREVER and keep and keep[0][0] == row.valid_from:
            closes.append((row, keep[0][1]))
            keep = keep[1:]
        else:
            retires.append(row)
        for part in keep:
            insert(row.fact, part)
    for fact, parts in wanted.items():
        for part in parts:
            for rest in _subtract(part, covered.get(fact, ())):
                insert(fact, rest)
    changed = len(closes) + len(retires) + len(inserts)
    if changed > STRETCHES_MAX:
        msg = f"this would change {changed:,} stretches of one key, more than {STRETCHES_MAX:,}; use a shorter period"
        raise LimitError(msg, limit="STRETCHES_MAX", maximum=STRETCHES_MAX)
    return Repair(tuple(closes), tuple(retires), tuple(inserts))
