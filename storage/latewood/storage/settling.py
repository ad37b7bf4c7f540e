"""Keeping the rows of a key true after a unit: which part of its history to read, and the repair that it needs.

Reading all of a key would make a write on an entity of 50,000 versions slow. What can change lies in the asserted
periods of the claims that came or went, cut where a claim of higher rank covers the rest; what holds there can only be
a claim that starts inside, or one that covers its beginning and outranks the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol

from latewood.graph_schema.clock import FOREVER, Micros
from latewood.graph_schema.errors import LimitError
from latewood.graph_schema.ledger import key_id
from latewood.graph_schema.resolution import (
    STRETCHES_MAX,
    Claim,
    Held,
    Repair,
    Stretch,
    Window,
    merge_windows,
    resolve,
    sweep,
)

__all__ = ["KeyChange", "KeyRows", "KeyState", "claim_class", "not_held", "open_end", "origin_hash", "settle_key"]


class KeyRows(Protocol):
    """What is stored of one key; retracted claims and retired rows left out."""

    def covering(self, instant: Micros) -> Iterable[Claim]:
        """Return the claims whose period covers *instant*, the latest start first."""
        ...

    def starting(self, window: Window, least: int) -> Iterable[Claim]:
        """Return the claims of class *least* or higher that start after the window's start and before its end,
        earliest first.
        """
        ...

    def live(self, window: Window) -> Iterable[Stretch]:
        """Return the live rows that overlap the window; others may be among them."""
        ...


@lru_cache(maxsize=1024)
def origin_hash(secret: bytes, origin: str) -> bytes:
    """Shorten an origin to what tells two apart, under the space's secret: it must not give away an erased one."""
    return key_id(secret, f"origin:{origin}")[:8]


def claim_class(tier: int, known: int) -> int:
    """Rank a claim's two first criteria in one number, 0 to 3."""
    return 2 * tier + known


_UNCHANGED: Final = Repair((), (), ())


@dataclass(slots=True)
class KeyState:
    """What the writer remembers of a key between units.

    Attributes:
        origin: a hash of the first origin that spoke; *contested* once another did.
        top: the highest class among its claims.
        tail: the claim that starts last and holds from there on for good, with its open row; a newer one of no lower
            rank needs nothing else read. None when that is not known.
    """

    k: int
    origin: bytes
    contested: bool
    top: int
    stored: bool = True
    tail: tuple[Claim, Stretch | None] | None = None


@dataclass(slots=True)
class KeyChange:
    """What a unit does to one key."""

    state: KeyState
    added: list[Claim] = field(default_factory=list[Claim])
    removed: list[Claim] = field(default_factory=list[Claim])
    layout: list[Held] = field(default_factory=list[Held])
    repair: Repair = _UNCHANGED


def _covering(rows: KeyRows, change: KeyChange, window: Window) -> list[Claim]:
    """Read the claims that cover the window's start and could hold in it.

    Once one of the highest class covers the whole window, an older start of any class loses to it everywhere.
    """
    gone = {claim.fact for claim in change.removed}
    found: list[Claim] = []
    enough: Micros | None = None
    for claim in rows.covering(window[0]):
        if claim.fact in gone:
            continue
        if enough is not None and claim.valid_from < enough:
            break
        found.append(claim)
        if claim.valid_to >= window[1] and claim_class(claim.tier, claim.known) == change.state.top:
            enough = claim.valid_from
    return found


def _starting(rows: KeyRows, change: KeyChange, window: Window, least: int) -> Iterator[Claim]:
    """Read the claims of class *least* or higher that start inside the window, earliest first."""
    gone = {claim.fact for claim in change.removed}
    for scanned, claim in enumerate(rows.starting(window, least)):
        if scanned >= STRETCHES_MAX:
            msg = f"this touches more than {STRETCHES_MAX:,} stretches of one key; use a shorter period"
            raise LimitError(msg, limit="STRETCHES_MAX", maximum=STRETCHES_MAX)
        if claim.fact not in gone:
            yield claim


def _window(rows: KeyRows, change: KeyChange, changed: Claim) -> Window:
    """Return where *changed* may hold: its period up to a claim of higher rank that covers the rest of it."""
    period = (changed.valid_from, changed.valid_to)
    for claim in _starting(rows, change, period, claim_class(changed.tier, changed.known)):
        if claim.valid_to >= period[1] and claim.rank > changed.rank:
            return (period[0], claim.valid_from)
    return period


def _follow_tail(change: KeyChange, recorded_at: Micros) -> bool:
    """Settle the usual change, a newer open claim after the last one, without reading; False when it is another."""
    tail = change.state.tail
    if tail is None or change.removed or len(change.added) != 1:
        return False
    last, row = tail
    claim = change.added[0]
    if claim.valid_to != FOREVER or claim.valid_from <= last.valid_from or claim.rank < last.rank:
        return False
    if row is not None and claim.valid_from <= row.valid_from:
        return False
    inserted = None if claim.absent else Stretch(claim.fact, claim.valid_from, FOREVER, recorded_at)
    change.layout = [Held(claim.valid_from, FOREVER, claim)]
    change.repair = Repair(
        () if row is None else ((row, claim.valid_from),), (), () if inserted is None else (inserted,)
    )
    change.state.tail = (claim, inserted)
    return True


def _first_word(change: KeyChange, recorded_at: Micros) -> bool:
    """Settle the one claim of a key that nothing was said of yet; False when it is another change."""
    if change.state.stored or change.removed or len(change.added) != 1:
        return False
    claim = change.added[0]
    closed_at = FOREVER if claim.valid_to == FOREVER else recorded_at
    row = None if claim.absent else Stretch(claim.fact, claim.valid_from, claim.valid_to, recorded_at, closed_at)
    change.layout = [Held(claim.valid_from, claim.valid_to, claim)]
    change.repair = Repair((), (), () if row is None else (row,))
    change.state.tail = (claim, row) if claim.valid_to == FOREVER else None
    return True


def settle_key(rows: KeyRows, change: KeyChange, recorded_at: Micros) -> None:
    """Find the new layout of a key and the repair of its rows, before anything of the unit is written.

    Raises:
        LimitError: when more than `STRETCHES_MAX` stretches are touched.
    """
    if _follow_tail(change, recorded_at) or _first_word(change, recorded_at):
        return
    state = change.state
    state.tail = None
    windows = merge_windows(_window(rows, change, one) for one in (*change.added, *change.removed))
    live: dict[tuple[int, Micros, Micros], Stretch] = {}
    last_start: Micros | None = None
    for window in windows:
        claims = _covering(rows, change, window) if state.stored else []
        # Where a new claim covers the whole window, one of a lower class holds nowhere in it, however many there are.
        whole = (one for one in change.added if one.valid_from <= window[0] and one.valid_to >= window[1])
        least = max((claim_class(one.tier, one.known) for one in whole), default=0)
        claims += [*_starting(rows, change, window, least), *change.added]
        last_start = max(claim.valid_from for claim in claims) if claims else None
        change.layout += sweep(claims, window)
        for row in rows.live(window) if state.stored else ():
            if row.valid_from < window[1] and row.valid_to > window[0]:
                live[row.fact, row.valid_from, row.recorded_at] = row
    change.repair = resolve(windows, change.layout, list(live.values()), recorded_at)
    if change.removed or len(change.added) != 1 or not change.layout:
        return
    end, claim = change.layout[-1], change.added[0]
    if end.claim is claim and end.valid_to == FOREVER and last_start == claim.valid_from == end.valid_from:
        row = next((one for one in change.repair.inserts if one.fact == claim.fact and one.valid_to == FOREVER), None)
        if claim.absent or row is not None:
            state.tail = (claim, row)


def not_held(claim: Claim, layout: Sequence[Held]) -> list[Window]:
    """Return the stretches of *claim*'s asserted period in which it does not hold."""
    if len(layout) == 1 and layout[0] == (claim.valid_from, claim.valid_to, claim):
        return []
    left, parts = claim.valid_from, list[Window]()
    for held in sorted(layout, key=lambda one: one.valid_from):
        if held.claim is None or held.claim.fact != claim.fact:
            continue
        if held.valid_from > left:
            parts.append((left, held.valid_from))
        left = max(left, held.valid_to)
    if left < claim.valid_to:
        parts.append((left, claim.valid_to))
    return parts


def open_end(end: Micros) -> Micros | None:
    """Write a stored end as None when it is open."""
    return None if end == FOREVER else end
