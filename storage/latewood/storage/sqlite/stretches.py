"""The rows of a key in SQLite: what settling reads of them, and the repair written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.resolution import Claim, Stretch, Window
from latewood.storage.settling import KeyChange, claim_class
from latewood.storage.sqlite.batch import Batch
from latewood.storage.sqlite.database import Cell, Statements, number

__all__ = ["SqliteRows", "apply_repair", "holder_of_key"]

Sql: TypeAlias = Mapping[str, str]


def _claim(row: Sequence[Cell]) -> Claim:
    numbers = cast("tuple[int, ...]", row[:9])
    e, valid_from, valid_to, tier, known, trust, recorded_at, ordinal, absent = numbers
    return Claim(e, valid_from, valid_to, tier, known, trust, recorded_at, ordinal, bool(absent))


class SqliteRows:
    """What is stored of one key, read row by row as far as settling asks."""

    def __init__(self, connection: Statements, sql: Sql, k: int) -> None:
        """Read the key of row number *k*."""
        self._db = connection
        self._sql = sql
        self._k = k

    def covering(self, instant: Micros) -> Iterator[Claim]:
        """Return the claims whose period covers *instant*, the latest start first."""
        for row in self._db.execute(self._sql["claims_covering"], (self._k, instant, instant)):
            yield _claim(row)

    def starting(self, window: Window, least: int) -> Iterator[Claim]:
        """Return the claims of class *least* or higher that start inside the window, earliest first."""
        for row in self._db.execute(self._sql["claims_starting"], (self._k, window[0], window[1], least)):
            yield _claim(row)

    def live(self, window: Window) -> Iterator[Stretch]:
        """Return the live rows from the one that starts at or before the window to its end."""
        before = self._db.execute(self._sql["row_before"], (self._k, window[0])).fetchall()
        after = self._db.execute(self._sql["rows_starting"], (self._k, window[0], window[1])).fetchall()
        for row in (*before, *after):
            yield Stretch(*cast("tuple[int, int, int, int, int]", row))


def apply_repair(batch: Batch, sql: Sql, change: KeyChange, recorded_at: Micros) -> None:
    """Write the repair of one key."""
    k, repair = change.state.k, change.repair
    for row, end in repair.closes:
        batch.later(sql["close_row"], (end, recorded_at, k, row.valid_from, row.recorded_at, row.fact))
    for row in repair.retires:
        batch.later(sql["retire_row"], (recorded_at, k, row.valid_from, row.recorded_at, row.fact))
    for row in repair.inserts:
        batch.later(sql["insert_row"], (k, row.valid_from, row.recorded_at, row.fact, row.valid_to, row.closed_at))


def holder_of_key(connection: Statements, sql: Sql, k: int, valid_at: Micros, known_at: Micros) -> int | None:
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
