"""The day a record gives itself. One that can be read in two ways is decided by evidence, and said so, or left out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from latewood.ingestion.records.markdown import one_line, plain
from latewood.ingestion.records.model import Problem

__all__ = ["DateReading", "day_order", "read_date"]

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME: Final = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,7}\.?"
_ISO: Final = re.compile(r"(?<!\d)(\d{4})([-/.]?)(\d{2})\2(\d{2})(?!\d)")
_LOOSE_ISO: Final = re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
_DAY_NAME: Final = re.compile(
    r"(?<!\d)(\d{1,2})(?:st|n[d]|rd|th)?(?:\s+of)?[\s\-/.,]+" + _NAME + r"[\s\-/.,]+(\d{4}|\d{2})\b",
    re.IGNORECASE,
)
_NAME_DAY: Final = re.compile(
    r"\b" + _NAME + r"[\s\-/.]+(\d{1,2})(?:st|n[d]|rd|th)?,?[\s\-/.]+(\d{4})\b", re.IGNORECASE
)
_NAME_YEAR: Final = re.compile(r"\b" + _NAME + r",?\s+(\d{4})\b", re.IGNORECASE)
_NUMBERS: Final = re.compile(r"(?<!\d)(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?!\d)")

_MONTHS_A_YEAR: Final = 12
_SHORT_YEAR: Final = 2
_SLACK: Final = timedelta(days=1)
_CLOSE: Final = timedelta(days=45)
"""A record is written within weeks of the commit that brings it; a reading farther off than this is the wrong one."""


@dataclass(frozen=True, slots=True)
class DateReading:
    """A day, and what was odd about it; `day` is None where it is unreadable or undecided."""

    day: date | None
    raw: str
    problems: tuple[Problem, ...] = ()


def _day(written: str, month: int, day: int) -> date | None:
    """Return the day if the calendar has it; a year of two digits is one of this century."""
    try:
        return date(int(written) + (2000 if len(written) == _SHORT_YEAR else 0), month, day)
    except ValueError:
        return None


def _named(text: str) -> tuple[date | None, bool]:
    """Read a date with a month's name; and whether it names its day."""
    found = _DAY_NAME.search(text)
    if found:
        month = _MONTHS.index(found.group(2).lower()) + 1
        return _day(found.group(3), month, int(found.group(1))), True
    found = _NAME_DAY.search(text)
    if found:
        return _day(found.group(3), _MONTHS.index(found.group(1).lower()) + 1, int(found.group(2))), True
    found = _NAME_YEAR.search(text)
    if found:
        return _day(found.group(2), _MONTHS.index(found.group(1).lower()) + 1, 1), False
    return None, True


def _readings(text: str) -> tuple[date | None, date | None, str] | None:
    """Read ``dd/mm/yyyy`` as (day first, month first, separator); None where the text has no such date."""
    found = _NUMBERS.search(text)
    if not found:
        return None
    first, second, year = int(found.group(1)), int(found.group(3)), found.group(4)
    return _day(year, second, first), _day(year, first, second), found.group(2)


def day_order(raw_dates: Iterable[str]) -> bool | None:
    """Tell from a folder's dates whether they are written day first.

    Returns:
        True or False where dates with a part above 12 all agree; None where there are none or they contradict.
    """
    seen: set[bool] = set()
    for raw in raw_dates:
        pair = None if _LOOSE_ISO.search(raw) else _readings(raw)
        if pair and (pair[0] is None) != (pair[1] is None):
            seen.add(pair[1] is None)
    return seen.pop() if len(seen) == 1 else None


def read_date(text: str, line: int = 0, *, day_first: bool | None = None, near: date | None = None) -> DateReading:
    """Read the first date in *text*.

    Args:
        text: as written.
        line: where it stands.
        day_first: what other dates of the folder show (`day_order`).
        near: the day of the commit that brought the record, if known.
    """
    raw = one_line(plain(text))[:200]
    for pattern in (_ISO, _LOOSE_ISO):
        found = pattern.search(raw)
        if found:
            month, day = (int(found.group(n)) for n in ((3, 4) if pattern is _ISO else (2, 3)))
            return _whole(_day(found.group(1), month, day), raw, line)
    pair = _readings(raw)
    if pair:
        return _decided(pair, raw, line, day_first=day_first, near=near)
    named, exact = _named(raw)
    if named and not exact:
        return DateReading(named, raw, (Problem("date.month_only", f"{raw!r} is taken as {named}", line),))
    return _whole(named, raw, line)


def _whole(day: date | None, raw: str, line: int) -> DateReading:
    if day is None:
        return DateReading(None, raw, (Problem("date.unreadable", f"{raw!r} is no date", line),))
    return DateReading(day, raw)


def _decided(
    pair: tuple[date | None, date | None, str], raw: str, line: int, *, day_first: bool | None, near: date | None
) -> DateReading:  # fmt: skip
    """Decide between two readings by the strongest evidence there is."""
    by_day, by_month, separator = pair
    if by_day is None or by_month is None or by_day == by_month:
        return _whole(by_day or by_month, raw, line)
    choice: tuple[date, str] | None = None
    if day_first is not None:
        choice = (by_day if day_first else by_month), "other dates of the folder"
    elif near is not None:
        choice = _nearest(by_day, by_month, near)
    if choice is None and separator == ".":
        choice = by_day, "dots, which part dates written day first"
    if choice is None:
        message = f"{raw!r} may be {by_day} or {by_month}; write it as {by_day} or {by_month}"
        return DateReading(None, raw, (Problem("date.ambiguous", message, line),))
    message = f"{raw!r} is taken as {choice[0]} by {choice[1]}"
    return DateReading(choice[0], raw, (Problem("date.inferred", message, line),))


def _nearest(by_day: date, by_month: date, near: date) -> tuple[date, str] | None:
    """Choose by the commit's day: what it precedes, and what lies close before it."""
    possible = [day for day in (by_day, by_month) if day <= near + _SLACK]
    if len(possible) == 1:
        return possible[0], f"its commit on {near}, which the other reading would follow"
    close = [day for day in possible if near - day <= _CLOSE]
    return (close[0], f"its commit on {near}, close after it") if len(close) == 1 else None
