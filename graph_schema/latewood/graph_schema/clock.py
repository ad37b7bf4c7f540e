"""Time, on two clocks.

*Valid time* is when something is true in the world, *recorded time* is when Latewood learned it. Past this module all
times are aware UTC datetimes; inside the stores they are whole microseconds since 1970 (`Micros`), which order and hash
exactly. A period is half-open, and "until further notice" is `None` (stored as `FOREVER`), never the year 9999.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Protocol, TypeAlias

from latewood.graph_schema.errors import InvalidError

__all__ = [
    "FOREVER",
    "NOW",
    "AsOf",
    "Clock",
    "ManualClock",
    "Micros",
    "Period",
    "SystemClock",
    "from_micros",
    "iso",
    "parse_instant",
    "to_micros",
    "utc",
]

Micros: TypeAlias = int
"""Microseconds since 1970-01-01T00:00:00Z."""

FOREVER: Final[Micros] = 2**63 - 1
"""The stored end of an open period."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_A_DAY: Final = 86_400
_DATE_LENGTH: Final = 10


def utc(instant: datetime) -> datetime:
    """Return *instant* in UTC.

    Raises:
        InvalidError: code ``time.naive`` when it has no offset, ``time.out_of_range`` when UTC does not reach it.
    """
    if instant.tzinfo is None or instant.utcoffset() is None:
        msg = f"{instant.isoformat()} has no offset; write {instant.isoformat()}Z or give the zone's offset"
        raise InvalidError(msg, code="time.naive", value=instant.isoformat())
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        msg = f"{instant.isoformat()} lies outside the years 1 to 9999 in UTC"
        raise InvalidError(msg, code="time.out_of_range", value=instant.isoformat()) from error


def to_micros(instant: datetime) -> Micros:
    """Convert an aware datetime to whole microseconds since 1970, exactly.

    Raises:
        InvalidError: as `utc` does.
    """
    delta = (instant if instant.tzinfo is UTC else utc(instant)) - _EPOCH
    return (delta.days * _SECONDS_A_DAY + delta.seconds) * 1_000_000 + delta.microseconds


def from_micros(micros: Micros) -> datetime:
    """Convert microseconds since 1970 to an aware UTC datetime, exactly."""
    return _EPOCH + timedelta(microseconds=micros)


def iso(instant: datetime) -> str:
    """Write *instant* as RFC 3339 in UTC with a Z, and microseconds only where there are some."""
    return utc(instant).isoformat().replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant with an offset; a date alone means its first instant in UTC.

    Raises:
        InvalidError: code ``time.unreadable`` or ``time.naive``.
    """
    words = text.strip()
    try:
        if len(words) == _DATE_LENGTH:
            day = date.fromisoformat(words)
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        instant = datetime.fromisoformat(words)
    except ValueError as error:
        msg = f"{text[:80]!r} is not a time; write it as 2026-03-01T09:00:00Z or as a date, 2026-03-01"
        raise InvalidError(msg, code="time.unreadable", value=text[:80]) from error
    return utc(instant)


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open stretch of valid time: *start* is in it, *end* is not; an *end* of None is open.

    Raises:
        InvalidError: code ``period.empty`` when it does not end after its start, or as `utc` does.
    """

    start: datetime
    end: datetime | None = None

    def __post_init__(self) -> None:
        """Bring both ends to UTC and refuse an empty stretch."""
        object.__setattr__(self, "start", utc(self.start))
        if self.end is None:
            return
        object.__setattr__(self, "end", utc(self.end))
        if self.end <= self.start:
            msg = (
                f"the period ends {iso(self.end)}, not after its start {iso(self.start)}; "
                "leave the end out if it is not known"
            )
            raise InvalidError(msg, code="period.empty", start=iso(self.start), end=iso(self.end))

    def covers(self, instant: datetime) -> bool:
        """Tell whether *instant* lies in the period."""
        return self.start <= instant and (self.end is None or instant < self.end)


@dataclass(frozen=True, slots=True)
class AsOf:
    """The two clocks of a read. None is "now": the head for `known_at`, max(clock, head) for `valid_at`."""

    valid_at: datetime | None = None
    known_at: datetime | None = None

    def __post_init__(self) -> None:
        """Bring both to UTC."""
        if self.valid_at is not None:
            object.__setattr__(self, "valid_at", utc(self.valid_at))
        if self.known_at is not None:
            object.__setattr__(self, "known_at", utc(self.known_at))


NOW: Final = AsOf()
"""Current on both clocks."""


class Clock(Protocol):
    """Tells the time. Injected everywhere, so that a test never waits."""

    def now(self) -> Micros:
        """Return the present in microseconds since 1970."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> Micros:
        """Return the wall clock in microseconds since 1970."""
        return time.time_ns() // 1_000


class ManualClock:
    """A clock that a test sets by hand."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        """Stand at *start*."""
        self._now = to_micros(start)

    def now(self) -> Micros:
        """Return the instant it was set to."""
        return self._now

    def set(self, instant: datetime) -> None:
        """Stand at *instant*, which may lie before the present one."""
        self._now = to_micros(instant)

    def advance(self, *, days: float = 0, seconds: float = 0, micros: int = 0) -> None:
        """Go forward by the sum of the arguments."""
        self._now += round((days * _SECONDS_A_DAY + seconds) * 1_000_000) + micros
