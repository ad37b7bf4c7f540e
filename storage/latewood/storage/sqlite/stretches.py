"""Keeping the rows of a key true after a unit: which part of its history to read, and the repair to apply.

Reading all of a key would make a write on an entity of 50,000 versions slow. What can change lies in the asserted
periods of the claims that came or went, cut where a claim of higher rank covers the rest; what holds there can only be
a claim that starts inside, or one that covers its beginning and outranks the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, cast

from latewood.graph_schema.clock import FOREVER, Micros
from latewood.graph_schema.errors import LimitError
from latewood.graph_schema.resolution import (
    STRETCHES_MAX,
    Claim,
    Held,
    Stretch,
    Window,
    merge_windows,
    resolve,
    sweep,
)
from latewood.storage.sqlite.database import Cell, Database, number

__all__ = ["claim_class", "holder_of_key", "not_held", "open_end", "repair_key"]

_SCAN_MAX: Final = STRETCHES_MAX
Sql: TypeAlias = Mapping[str, str]


def claim_class(tier: int, known: int) -> int:
    """Rank a claim's two first criteria in one number, 0 to 3."""
    return 2 * tier + known


def _claim(row: Sequence[Cell]) -> Claim:
    numbers = cast("tuple[int, ...]", row[:9])
    e, valid_from, valid_to, tier, known, trust, recorded_at, ordinal, absent = numbers
    return Claim(e, valid_from, valid_to, tier, known, trust, recorded_at, ordinal, bool(absent))


def _too_many(key: int) -> LimitError:
    msg = f"this touches more than {STRETCHES_MAX:,} stretches of one key (row {key}); use a shorter period"
    return LimitError(msg, limit="STRETCHES_MAX", maximum=STRETCHES_MAX)


def _covering(connection: Database, sql: Sql, k: int, window: Window, top: int) -> list[Claim]:
    """Read the claims that cover the window's start and could hold in it.

    Once one of the highest class covers the whole window, an older start of any class loses to it everywhere.
    """
    found: list[Claim] = []
    enough: Micros | None = None
    for row in connection.execute(sql["claims_covering"], (k, window[0], window[0])):
        claim = _claim(row)
        if enough is not None and claim.valid_from < enough:
            break
        found.append(claim)
        if claim.valid_to >= window[1] and claim_class(claim.tier, claim.known) == top:
            enough = claim.valid_from
    return found


def _starting(connection: Database, sql: Sql, k: int, window: Window) -> list[Claim]:
    found: list[Claim] = []
    for row in connection.execute(sql["claims_starting"], (k, window[0], window[1])):
        if len(found) >= _SCAN_MAX:
            raise _too_many(k)
        found.append(_claim(row))
    return found


def _window(connection: Database, sql: Sql, k: int, changed: Claim) -> Window:
    """Return where *changed* may hold: its period up to a claim of higher rank that covers the rest of it."""
    end = changed.valid_to
    for scanned, row in enumerate(connection.execute(sql["claims_starting"], (k, changed.valid_from, end))):
        claim = _claim(row)
        if claim.valid_to >= end and claim.rank > changed.rank:
            return (changed.valid_from, claim.valid_from)
        if scanned >= _SCAN_MAX:
            raise _too_many(k)
    return (changed.valid_from, end)


def _live_rows(connection: Database, sql: Sql, k: int, window: Window) -> list[Stretch]:
    before = connection.execute(sql["row_before"], (k, window[0])).fetchall()
    after = connection.execute(sql["rows_starting"], (k, window[0], window[1])).fetchall()
    rows = [Stretch(*cast("tuple[int, int, int, int, int]", row)) for row in (*before, *after)]
    return [row for row in rows if row.valid_to > window[0]]


def repair_key(
    connection: Database, sql: Sql, k: int, top: int, changed: Sequence[Claim], recorded_at: Micros
) -> list[Held]:
    """Bring the rows of key *k* up to date after *changed* claims came or went, and return the new layout there.

    Raises:
        LimitError: when more than `STRETCHES_MAX` stretches are touched.
    """
    windows = merge_windows(_window(connection, sql, k, claim) for claim in changed)
    layout: list[Held] = []
    rows: dict[tuple[int, Micros, Micros], Stretch] = {}
    for window in windows:
        claims = _covering(connection, sql, k, window, top) + _starting(connection, sql, k, window)
        layout += sweep(claims, window)
        for row in _live_rows(connection, sql, k, window):
            rows[row.fact, row.valid_from, row.recorded_at] = row
    repair = resolve(windows, layout, list(rows.values()), recorded_at)
    for row, end in repair.closes:
        connection.execute(sql["close_row"], (end, recorded_at, k, row.valid_from, row.recorded_at, row.fact))
    for row in repair.retires:
        connection.execute(sql["retire_row"], (recorded_at, k, row.valid_from, row.recorded_at, row.fact))
    for row in repair.inserts:
        connection.execute(
            sql["insert_row"], (k, row.valid_from, row.recorded_at, row.fact, row.valid_to, row.closed_at)
        )
    return layout


def holder_of_key(connection: Database, sql: Sql, k: int, valid_at: Micros, known_at: Micros) -> int | None:
    """Return the row number of the assertion that holds for *k*, an absence included.

    A visible stretch answers at once; where there is none, an absence may hold.
    """
    visible = connection.execute(sql["visible_row"], (k, valid_at, known_at)).fetchone()
    if visible is not None:
        return cast("int", visible[0])
    top = number(connection.execute(sql["key_top"], (k,)))
    best: Claim | None = None
    for row in connection.execute(sql["holder_of_key"], (k, valid_at, known_at)):
        claim = _claim(row)
        settled = best is not None and claim_class(best.tier, best.known) == top
        if settled and best is not None and claim.valid_from < best.valid_from:
            break
        if best is None or claim.rank > best.rank:
            best = claim
    return None if best is None else best.fact


def not_held(claim: Claim, layout: Sequence[Held]) -> list[Window]:
    """Return the stretches of *claim*'s asserted period in which it does not hold."""
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
