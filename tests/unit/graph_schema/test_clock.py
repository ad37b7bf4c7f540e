"""Instants, periods and the two clocks."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latewood.graph_schema.clock import (
    AsOf,
    ManualClock,
    Period,
    SystemClock,
    from_micros,
    iso,
    parse_instant,
    to_micros,
    utc,
)
from latewood.graph_schema.errors import InvalidError

AWARE = st.datetimes(
    min_value=datetime(2, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    max_value=datetime(9998, 1, 1),  # noqa: DTZ001 - the same
    timezones=st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@given(AWARE)
def test_micros_are_exact(instant: datetime) -> None:
    assert from_micros(to_micros(instant)) == instant
    assert from_micros(to_micros(instant)).tzinfo is UTC


@given(AWARE, AWARE)
def test_micros_order_as_instants_do(one: datetime, other: datetime) -> None:
    assert (to_micros(one) < to_micros(other)) == (one < other)


@given(AWARE)
def test_text_comes_back(instant: datetime) -> None:
    assert iso(instant).endswith("Z")
    assert parse_instant(iso(instant)) == instant


def test_text_has_micros_only_where_there_are_some() -> None:
    assert iso(datetime(2026, 3, 1, 9, tzinfo=UTC)) == "2026-03-01T09:00:00Z"
    assert iso(datetime(2026, 3, 1, 9, microsecond=5, tzinfo=UTC)) == "2026-03-01T09:00:00.000005Z"
    assert iso(datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=2)))) == "2026-02-28T23:00:00Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        (" 2026-03-01T09:00:00Z ", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("2026-03-01T09:00:00+02:00", datetime(2026, 3, 1, 7, tzinfo=UTC)),
    ],
)
def test_instants_are_read(text: str, expected: datetime) -> None:
    assert parse_instant(text) == expected


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-13-01", "2026-02-30", "01/03/2026", "2026-03-01T25:00:00Z", "x" * 500]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidError) as error:
        parse_instant(text)
    assert error.value.code == "time.unreadable"
    assert "2026-03-01T09:00:00Z" in error.value.message


@pytest.mark.parametrize("take", [utc, to_micros, iso, Period, lambda at: Period(datetime(2020, 1, 1, tzinfo=UTC), at),
                                  AsOf, lambda at: AsOf(None, at), lambda at: parse_instant(at.isoformat())])  # fmt: skip
def test_a_naive_time_is_refused_everywhere(take) -> None:
    with pytest.raises(InvalidError) as error:
        take(datetime(2026, 1, 1, 5))  # noqa: DTZ001 - naive on purpose
    assert error.value.code == "time.naive"
    assert "2026-01-01T05:00:00Z" in error.value.message


def test_a_time_that_utc_does_not_reach_is_refused() -> None:
    for at in (datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
               datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))):  # fmt: skip
        with pytest.raises(InvalidError) as error:
            utc(at)
        assert error.value.code == "time.out_of_range"


def test_a_period_is_half_open() -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    period, tick = Period(start, end), timedelta(microseconds=1)

    assert [period.covers(at) for at in (start - tick, start, end - tick, end)] == [False, True, True, False]
    assert Period(start).covers(datetime(9999, 1, 1, tzinfo=UTC))
    assert Period(start.astimezone(timezone(timedelta(hours=5)))).start.tzinfo is UTC


@pytest.mark.parametrize("length", [timedelta(0), timedelta(microseconds=-1)])
def test_an_empty_period_is_refused(length: timedelta) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(InvalidError) as error:
        Period(start, start + length)
    assert error.value.code == "period.empty"


def test_clocks() -> None:
    clock = ManualClock()
    start = clock.now()
    clock.advance(days=1, seconds=2, micros=3)
    assert clock.now() - start == 86_402_000_003
    clock.set(datetime(1999, 1, 1, tzinfo=UTC))
    assert from_micros(clock.now()).year == 1999
    assert abs(SystemClock().now() - to_micros(datetime.now(UTC))) < 60_000_000
