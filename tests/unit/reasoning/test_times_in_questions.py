"""Times that questions name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from latewood.reasoning.timewords import times_of

ASKED = datetime(2026, 11, 18, 15, 30, tzinfo=UTC)  # a Wednesday


def on(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("question", "inside", "outside"),
    [
        ("what did we ship on 2024-03-07?", "2024-03-07", "2024-03-20"),
        ("what happened on 7 March 2024?", "2024-03-07", "2025-03-07"),
        ("what happened on March 7th, 2024?", "2024-03-08", "2024-04-07"),
        ("who left on the 7th of March?", "2019-03-07", "2019-03-25"),
        ("what did Ada say in May?", "2023-05-31", "2023-06-01"),
        ("what did Ada say in May 2023?", "2023-05-01", "2024-05-01"),
        ("release notes of 2023-05", "2023-05-31", "2023-06-01"),
        ("what broke in Q2 2025?", "2025-06-30", "2025-07-01"),
        ("what broke in 2025?", "2025-12-31", "2026-01-01"),
        ("what broke in march 2025", "2025-03-31", "2025-04-01"),
        ("the December outage", "2020-12-15", "2020-11-30"),
        ("what did we decide yesterday?", "2026-11-17", "2026-11-10"),
        ("what did we decide last week?", "2026-11-10", "2026-11-17"),
        ("what did we decide this week?", "2026-11-17", "2026-11-10"),
        ("what did we decide last month?", "2026-10-31", "2026-11-01"),
        ("what did we decide last year?", "2025-01-01", "2026-01-01"),
        ("what comes next month?", "2026-12-31", "2027-01-01"),
        ("what did we decide two weeks ago?", "2026-11-04", "2026-11-17"),
        ("what did we decide 3 days ago", "2026-11-15", "2026-11-05"),
        ("what failed in the last 10 days?", "2026-11-09", "2026-11-08"),
        ("what failed in the past few weeks?", "2026-10-30", "2026-10-27"),
        ("what failed on Monday?", "2026-11-16", "2026-11-22"),
        ("what comes next friday", "2026-11-20", "2026-11-13"),
        ("what changed recently?", "2026-11-01", "2026-10-01"),
    ],
)
def test_a_time_in_a_question_is_preferred(question: str, inside: str, outside: str) -> None:
    times = times_of(question, ASKED)
    assert times
    assert times.prefer(on(inside))
    assert not times.prefer(on(outside))


@pytest.mark.parametrize(
    "question",
    [
        "why did we leave carrier A?",
        "may I march through the second gate?",
        "error 2023 in module 1999-99",
        "99999999 days ago",
        "",
    ],
)
def test_what_is_no_time_is_not_taken_for_one(question: str) -> None:
    assert not times_of(question, ASKED)


def test_a_day_takes_in_what_is_told_a_few_days_later() -> None:
    times = times_of("who came to dinner on 30 December?", ASKED)
    assert times.prefer(on("2024-01-01"))
    assert times.prefer(on("2023-12-28"))
    assert not times.prefer(on("2024-01-04"))


def test_the_29th_of_february_is_a_day_of_leap_years_only() -> None:
    times = times_of("the party on 29 February", ASKED)
    assert times.prefer(on("2024-02-29"))
    assert not times.prefer(on("2023-02-28"))


def test_each_stretch_of_text_names_one_time() -> None:
    times = times_of("between 3 May 2024 and June 2025", ASKED)
    assert times.yearly == ()
    assert len(times.spans) == 2


def test_a_question_asked_at_the_edge_of_time_names_none_of_its_own() -> None:
    assert not times_of("yesterday", datetime(1, 1, 1, tzinfo=UTC))
    assert not times_of("tomorrow", datetime(9999, 12, 31, tzinfo=UTC))
