"""The times that a question names: "in May", "last week", "on 7 March 2024". A preference, never a filter.

A day or a month without a year means that of every year: whoever asks in spring about "June" may mean any.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["DAY_SLACK", "Times", "times_of"]

DAY_SLACK: Final = timedelta(days=3)
"""How far from a named day a memory may lie: people tell of a thing some days after it happened."""
_YEARS: Final = range(1900, 2200)
_QUESTION_CHARS_MAX: Final = 4_000
_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_SHORT: Final = {"jan": 1, "feb": 2, "mar": 3, "apr": 4, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "sept": 9, "oct": 10,
                 "nov": 11, "dec": 12}  # fmt: skip
_MONTH_OF: Final = {name: number for number, name in enumerate(_MONTHS, 1)} | _SHORT
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTH: Final = "|".join(sorted(_MONTH_OF, key=len, reverse=True))
_DAY: Final = r"(\d{1,2})(?:st|nd|rd|th)?"
_YEAR: Final = r"(?:,?\s+(?:of\s+)?(\d{4}))?"
_COUNTS: Final = {"a": 1, "an": 1, "one": 1, "two": 2, "couple of": 2, "three": 3, "few": 3, "four": 4, "five": 5,
                  "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}  # fmt: skip
_COUNT: Final = r"(\d{1,3}|" + "|".join(_COUNTS) + ")"
_UNIT: Final = r"(day|week|month|year)s?"
_MONTHS_A_YEAR: Final = 12
_DAYS_A_WEEK: Final = 7
_DAYS_MAX: Final = 365 * 200
_DAYS_A: Final = {"day": 1, "week": 7, "month": 30, "year": 365}


@dataclass(frozen=True, slots=True)
class Times:
    """What a question says of when.

    Attributes:
        spans: half-open stretches of time.
        yearly: (month, day) of any year; day 0 is the whole month.
    """

    spans: tuple[tuple[datetime, datetime], ...] = ()
    yearly: tuple[tuple[int, int], ...] = ()

    def __bool__(self) -> bool:
        """Tell whether any time is named."""
        return bool(self.spans or self.yearly)

    def prefer(self, instant: datetime) -> bool:
        """Tell whether *instant* lies in one of the times."""
        if any(start <= instant < end for start, end in self.spans):
            return True
        return any(_in_year(instant, month, day) for month, day in self.yearly)


def _in_year(instant: datetime, month: int, day: int) -> bool:
    if day == 0:
        return instant.month == month
    near = (instant - DAY_SLACK, instant, instant + DAY_SLACK)
    for year in {one.year for one in near}:
        if day > monthrange(year, month)[1]:
            continue
        named = datetime(year, month, day, tzinfo=UTC)
        if named - DAY_SLACK <= instant < named + DAY_SLACK + timedelta(days=1):
            return True
    return False


def _midnight(instant: datetime) -> datetime:
    return instant.replace(hour=0, minute=0, second=0, microsecond=0)


def _month_start(year: int, month: int) -> datetime:
    years, month_0 = divmod(month - 1, 12)
    return datetime(year + years, month_0 + 1, 1, tzinfo=UTC)


def _around(day: datetime) -> tuple[datetime, datetime]:
    return day - DAY_SLACK, day + timedelta(days=1) + DAY_SLACK


class _Reading:
    """A question in which each stretch of text is taken for one time only, the most telling form first."""

    def __init__(self, text: str, asked_at: datetime) -> None:
        self.text = text
        self.today = _midnight(asked_at)
        self.spans: list[tuple[datetime, datetime]] = []
        self.yearly: list[tuple[int, int]] = []

    def take(self, pattern: str, act: Callable[[re.Match[str]], bool]) -> None:
        """Hand each match to *act*; what it takes is blanked out."""
        self.text = re.sub(pattern, lambda found: " # " if act(found) else found[0], self.text)

    def date(self, year: str | None, month: int, day: int) -> bool:
        """Keep a day, of one year or of each."""
        if not 1 <= month <= _MONTHS_A_YEAR:
            return False
        if year is None:
            valid = 1 <= day <= monthrange(2024, month)[1]
            if valid:
                self.yearly.append((month, day))
            return valid
        if int(year) not in _YEARS or not 1 <= day <= monthrange(int(year), month)[1]:
            return False
        self.spans.append(_around(datetime(int(year), month, day, tzinfo=UTC)))
        return True

    def month(self, year: str | None, month: int) -> bool:
        """Keep a month, of one year or of each."""
        if year is None:
            self.yearly.append((month, 0))
            return True
        return self.months(int(year), month, 1)

    def months(self, year: int, month: int, count: int) -> bool:
        """Keep *count* months from one on."""
        if year not in _YEARS:
            return False
        self.spans.append((_month_start(year, month), _month_start(year, month + count)))
        return True

    def ago(self, count: int, unit: str) -> bool:
        """Keep the time about *count* units before today; the wider the unit, the wider it is."""
        if count * _DAYS_A[unit] > _DAYS_MAX:
            return False
        day = self.today - timedelta(days=count * _DAYS_A[unit])
        slack = timedelta(days=_DAYS_A[unit] / 2) if unit != "day" else timedelta(0)
        self.spans.append((day - slack - DAY_SLACK, day + timedelta(days=1) + slack + DAY_SLACK))
        return True

    def past(self, count: int, unit: str) -> bool:
        """Keep the last *count* units up to the end of today."""
        if count * _DAYS_A[unit] > _DAYS_MAX:
            return False
        end = self.today + timedelta(days=1)
        self.spans.append((end - timedelta(days=count * _DAYS_A[unit]), end))
        return True

    def calendar(self, which: str, unit: str) -> bool:
        """Keep last, this or next week, month or year."""
        step = {"last": -1, "previous": -1, "past": -1, "this": 0, "next": 1}[which]
        if unit == "week":
            start = self.today - timedelta(days=self.today.weekday()) + timedelta(weeks=step)
            self.spans.append((start, start + timedelta(weeks=1)))
        elif unit == "month":
            return self.months(self.today.year, self.today.month + step, 1)
        elif unit == "year":
            return self.months(self.today.year + step, 1, 12)
        else:
            self.spans.append(_around(self.today + timedelta(days=step)))
        return True

    def weekday(self, which: str | None, day: str) -> bool:
        """Keep the last (or next) such day of the week, not today."""
        index = _DAYS.index(day)
        back = (self.today.weekday() - index) % _DAYS_A_WEEK or _DAYS_A_WEEK
        on = (index - self.today.weekday()) % _DAYS_A_WEEK or _DAYS_A_WEEK
        self.spans.append(_around(self.today + timedelta(days=on if which == "next" else -back)))
        return True


def _count(word: str) -> int:
    return int(word) if word.isdigit() else _COUNTS[word]


def _steps(reading: _Reading) -> Iterator[tuple[str, Callable[[re.Match[str]], bool]]]:
    """Yield what to look for, the most telling first."""
    yield r"\b(\d{4})-(\d{2})-(\d{2})\b", lambda m: reading.date(m[1], int(m[2]), int(m[3]))
    yield rf"\b{_DAY}\s+(?:of\s+)?({_MONTH})\b\.?{_YEAR}", lambda m: reading.date(m[3], _MONTH_OF[m[2]], int(m[1]))
    yield rf"\b({_MONTH})\.?\s+{_DAY}\b(?!\d){_YEAR}", lambda m: reading.date(m[3], _MONTH_OF[m[1]], int(m[2]))
    yield r"\b(\d{4})-(\d{2})\b", lambda m: 1 <= int(m[2]) <= _MONTHS_A_YEAR and reading.month(m[1], int(m[2]))
    yield r"\bq([1-4])\s+(?:of\s+)?(\d{4})\b", lambda m: reading.months(int(m[2]), 3 * int(m[1]) - 2, 3)
    yield rf"\b({_MONTH})\.?(?:,?\s+(?:of\s+)?)(\d{{4}})\b", lambda m: reading.month(m[2], _MONTH_OF[m[1]])
    # "may", "march" and the short names are months only behind a word that says so.
    said = r"(?:in|of|during|since|until|till|by|before|after|last|this|early|late|mid|between|and)"
    yield (
        rf"\b{said}\s+({_MONTH})\b(?!\s+(?:be|have|i|we|you|he|she|they|it)\b)",
        lambda m: reading.month(None, _MONTH_OF[m[1]]),
    )
    sure = "|".join(name for name in _MONTHS if name not in ("march", "may"))
    yield rf"\b({sure})\b", lambda m: reading.month(None, _MONTH_OF[m[1]])
    yield r"\b(?:in|of|during|since|before|after|by|year)\s+(\d{4})\b", lambda m: reading.months(int(m[1]), 1, 12)
    yield rf"\b{_COUNT}\s+{_UNIT}\s+ago\b", lambda m: reading.ago(_count(m[1]), m[2])
    yield rf"\b(?:last|past|previous)\s+{_COUNT}\s+{_UNIT}\b", lambda m: reading.past(_count(m[1]), m[2])
    yield r"\b(last|previous|past|this|next)\s+(week|month|year)\b", lambda m: reading.calendar(m[1], m[2])
    yield rf"\b(?:(last|next|this|on)\s+)({'|'.join(_DAYS)})\b", lambda m: reading.weekday(m[1], m[2])
    yield r"\byesterday\b", lambda _: reading.calendar("last", "day")
    yield r"\btoday\b", lambda _: reading.calendar("this", "day")
    yield r"\btomorrow\b", lambda _: reading.calendar("next", "day")
    yield r"\b(?:recently|lately)\b", lambda _: reading.past(30, "day")


def times_of(question: str, asked_at: datetime) -> Times:
    """Return the times that *question* names; "last week" and the like as seen from *asked_at*."""
    reading = _Reading(question[:_QUESTION_CHARS_MAX].casefold(), asked_at)
    if not _YEARS.start < asked_at.year < _YEARS.stop - 1:
        return Times()
    for pattern, act in _steps(reading):
        reading.take(pattern, act)
    return Times(tuple(dict.fromkeys(reading.spans)), tuple(dict.fromkeys(reading.yearly)))
