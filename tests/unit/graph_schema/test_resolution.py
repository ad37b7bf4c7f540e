"""The rows against the definition: sweep and resolve equal holder at every boundary of both clocks."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latewood.graph_schema.clock import FOREVER
from latewood.graph_schema.errors import LimitError
from latewood.graph_schema.resolution import (
    STRETCHES_MAX,
    Claim,
    Stretch,
    Voice,
    challengers,
    holder,
    merge_windows,
    resolve,
    sweep,
    visible,
)


@st.composite
def claims(draw: st.DrawFn) -> list[list[Claim | int]]:
    """Units of new claims and places of claims to retract; the recorded time is the unit's place times ten."""
    units: list[list[Claim | int]] = []
    count = 0
    for unit in range(1, draw(st.integers(1, 7)) + 1):
        commands: list[Claim | int] = []
        for ordinal in range(draw(st.integers(1, 3))):
            if count and draw(st.booleans()) and draw(st.booleans()):
                commands.append(draw(st.integers(0, count - 1)))
                continue
            start = draw(st.integers(0, 8))
            end = draw(st.one_of(st.just(FOREVER), st.integers(start + 1, 10)))
            commands.append(
                Claim(
                    count, start, end, draw(st.integers(0, 1)), draw(st.integers(0, 1)), draw(st.integers(0, 2)),
                    unit * 10, ordinal, draw(st.integers(0, 4)) == 0,
                )
            )  # fmt: skip
            count += 1
        units.append(commands)
    return units


def told(units: list[list[Claim | int]]) -> tuple[list[Claim], list[Stretch]]:
    """Apply units one after another, as a store would, and keep the rows."""
    said: list[Claim] = []
    rows: list[Stretch] = []
    for place, unit in enumerate(units, 1):
        recorded_at, before = place * 10, len(said)
        changed = []
        for command in unit:
            if isinstance(command, Claim):
                said.append(command)
                changed.append(command)
            elif command < before and said[command].retracted_at == FOREVER:
                said[command] = said[command]._replace(retracted_at=recorded_at)
                changed.append(said[command])
        windows = merge_windows((claim.valid_from, claim.valid_to) for claim in changed)
        standing = [claim for claim in said if claim.retracted_at == FOREVER]
        layout = [held for window in windows for held in sweep(standing, window)]
        live = [
            row
            for row in rows
            if row.retired_at == FOREVER
            and any(row.valid_from < end and row.valid_to > start for start, end in windows)
        ]
        repair = resolve(windows, layout, live, recorded_at)
        for row, end in repair.closes:
            assert (row.valid_to, row.closed_at) == (FOREVER, FOREVER), "a row was closed twice"
            rows[rows.index(row)] = row._replace(valid_to=end, closed_at=recorded_at)
        for row in repair.retires:
            rows[rows.index(row)] = row._replace(retired_at=recorded_at)
        rows += repair.inserts
    return said, rows


@settings(max_examples=400)
@given(claims())
def test_rows_answer_as_the_definition_does(units: list[list[Claim | int]]) -> None:
    said, rows = told(units)
    for known_at in [known for n in range(len(units) + 2) for known in (n * 10 - 1, n * 10)]:
        for valid_at in range(-1, 12):
            best = holder(said, valid_at, known_at)
            seen = [row.fact for row in rows if visible(row, valid_at, known_at)]

            assert seen == ([] if best is None or best.absent else [best.fact]), (valid_at, known_at)


@settings(max_examples=300)
@given(claims(), st.integers(-1, 8), st.integers(1, 6))
def test_a_sweep_names_the_holder_everywhere(units: list[list[Claim | int]], start: int, length: int) -> None:
    said = [one for unit in units for one in unit if isinstance(one, Claim)]
    window = (start, start + length)
    layout = sweep(said, window)

    assert (layout[0].valid_from, layout[-1].valid_to) == window
    for one, following in pairwise(layout):
        assert one.valid_to == following.valid_from
        assert one.claim is not following.claim
    for held in layout:
        for valid_at in range(held.valid_from, held.valid_to):
            assert holder(said, valid_at, FOREVER - 1) == held.claim


@settings(max_examples=200)
@given(claims())
def test_rows_of_one_key_never_overlap(units: list[list[Claim | int]]) -> None:
    _, rows = told(units)

    assert all(row.valid_from < row.valid_to for row in rows)
    assert all(row.recorded_at < row.retired_at for row in rows), "a row came and went in one unit"
    places = [(row.valid_from, row.recorded_at, row.fact) for row in rows]
    assert len(places) == len(set(places))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)).map(lambda pair: (pair[0], pair[0] + pair[1]))))
def test_merged_windows_are_the_union(windows: list[tuple[int, int]]) -> None:
    merged = merge_windows(windows)

    assert merged == sorted(merged)
    assert all(one[1] < following[0] for one, following in pairwise(merged))
    for instant in range(16):
        assert any(a <= instant < b for a, b in merged) == any(a <= instant < b for a, b in windows)


def claim(fact: int, start: int = 0, end: int = FOREVER, **more: int) -> Claim:
    given: dict[str, int] = {"tier": 1, "known": 1, "trust": 2, "recorded_at": fact, "ordinal": 0, **more}
    return Claim(
        fact, start, end, given["tier"], given["known"], given["trust"], given["recorded_at"], given["ordinal"],
        retracted_at=given.get("retracted_at", FOREVER),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [
        (claim(1, 5, tier=0, known=1, trust=4), claim(2, 0, known=0, trust=0)),
        (claim(1, 5, known=0, trust=4), claim(2, 0, trust=0)),
        (claim(1, 0, trust=4), claim(2, 5, trust=0)),
        (claim(2, 0, trust=2, recorded_at=9), claim(1, 0, trust=3, recorded_at=1)),
        (claim(2, 0, recorded_at=1, ordinal=9), claim(1, 0, recorded_at=2, ordinal=0)),
        (claim(2, 0, recorded_at=1, ordinal=0), claim(1, 0, recorded_at=1, ordinal=1)),
    ],
    ids=["tier", "known start", "start", "trust", "recording", "ordinal"],
)
def test_rank_decides_in_this_order(weaker: Claim, stronger: Claim) -> None:
    assert holder([weaker, stronger], 7, 100) is stronger
    assert holder([stronger, weaker], 7, 100) is stronger


def test_challengers_speak_otherwise_from_elsewhere_and_no_earlier() -> None:
    holding = Voice(claim(1, 5), "one", "a")
    voices = [
        holding,
        Voice(claim(2, 5), "two", "b"),
        Voice(claim(3, 6), "three", None),
        Voice(claim(4, 6), "one", "b"),
        Voice(claim(5, 6), "two", "a"),
        Voice(claim(6, 4), "two", "b"),
        Voice(claim(7, 6, 8), "two", "b"),
        Voice(claim(8, 6, recorded_at=99), "two", "b"),
        Voice(claim(9, 6, retracted_at=10), "two", "b"),
    ]

    assert [voice.claim.fact for voice in challengers(holding, voices, 8, 20)] == [3, 2]
    assert [voice.claim.fact for voice in challengers(holding, voices, 7, 20)] == [7, 3, 2]
    assert [voice.claim.fact for voice in challengers(holding, voices, 8, 9)] == [9, 3, 2]


def test_a_repair_is_bounded() -> None:
    said = [claim(n, 2 * n, 2 * n + 1) for n in range(1, STRETCHES_MAX + 2)]
    window = (0, FOREVER)

    with pytest.raises(LimitError) as error:
        resolve([window], sweep(said, window), [], 1)
    assert error.value.details["limit"] == "STRETCHES_MAX"
    assert len(resolve([window], sweep(said[:-1], window), [], 1).inserts) == STRETCHES_MAX
