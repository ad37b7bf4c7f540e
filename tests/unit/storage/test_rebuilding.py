"""Where a step of a rebuild begins and ends."""

from __future__ import annotations

import pytest

from latewood.graph_schema.errors import InvalidError, LimitError
from latewood.graph_schema.ids import SequentialIds
from latewood.storage.rebuilding import (
    FINDINGS_MAX,
    STEP_ROWS_MAX,
    Findings,
    Place,
    read_place,
    subjects_within,
    write_place,
)

PHASES = ("nodes", "keys", "receipts", "strays")
IDS = SequentialIds(9)
ONE, TWO, THREE = (IDS.new() for _ in range(3))


@pytest.mark.parametrize(
    "place", [Place("nodes"), Place("keys", ONE), Place("receipts", "execution:12"), Place("strays")]
)
def test_a_cursor_comes_back(place: Place) -> None:
    assert read_place(write_place(place), PHASES) == place


@pytest.mark.parametrize(
    "place", [Place("facts", ONE), Place("keys", "1"), Place("receipts", "other:1"), Place("receipts", ONE)]
)
def test_a_cursor_of_something_else_is_refused(place: Place) -> None:
    with pytest.raises(InvalidError) as refused:
        read_place(write_place(place), PHASES)
    assert refused.value.code == "cursor.invalid"


def test_subjects_are_taken_until_the_limit_is_met() -> None:
    weights = [(ONE, 3), (TWO, 4), (THREE, 5)]

    assert subjects_within(iter(weights), "keys", 7) == ([ONE, TWO], True)
    assert subjects_within(iter(weights), "keys", 12) == ([ONE, TWO, THREE], False)
    # One that is heavier than the limit is taken by itself.
    assert subjects_within(iter(weights), "keys", 1) == ([ONE], True)


def test_a_subject_that_no_step_can_hold_is_named_with_the_way_behind_it() -> None:
    weights = [(ONE, 1), (TWO, STEP_ROWS_MAX + 1), (THREE, 1)]

    assert subjects_within(iter(weights), "keys", STEP_ROWS_MAX) == ([ONE], True)
    with pytest.raises(LimitError, match=TWO) as refused:
        subjects_within(iter(weights[1:]), "keys", STEP_ROWS_MAX)
    assert read_place(str(refused.value.details["after"]), PHASES) == Place("keys", TWO)


def test_findings_are_listed_up_to_a_bound_and_counted_beyond() -> None:
    found = Findings("default")
    for number in range(FINDINGS_MAX + 5):
        found.add("node", "missing", str(number), ONE)
    step = found.step("nodes", None)

    assert (len(step.found), step.unlisted, found.count) == (FINDINGS_MAX, 5, FINDINGS_MAX + 5)
    assert list(found.suspects) == [ONE]
