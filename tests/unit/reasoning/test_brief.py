"""The brief's budget: never overdrawn, fair between sections, and open about what it left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latewood.graph_schema.errors import InvalidError
from latewood.reasoning.brief import BUDGET_MAX, BUDGET_MIN, BriefLine, BriefSection, compose
from latewood.reasoning.tokens import tokens_of

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def line(section: BriefSection, number: int, text: str = "a line of some words") -> BriefLine:
    return BriefLine(section, f"{text} {number}", f"id-{number}", SINCE + timedelta(hours=number))


def test_a_small_budget_serves_every_section_before_any_gets_a_second_line() -> None:
    lines = [line(section, number) for section in BriefSection for number in range(40)]

    found = compose(None, SINCE, lines, 240)

    counts = {section: sum(one.section is section for one in found.lines) for section in BriefSection}
    assert min(counts.values()) >= 1
    assert max(counts.values()) - min(counts.values()) <= 1
    assert found.left_out == {section.value: 40 - count for section, count in counts.items()}
    assert f"{found.left_out['open']} open" in found.text


def test_an_empty_memory_says_so() -> None:
    found = compose("carrier:A", SINCE, [], BUDGET_MIN)

    assert found.text == "# Brief: carrier:A, since 2026-01-01\n\nNothing is open, stale or in force."
    assert found.left_out == {}


@pytest.mark.parametrize("budget", [BUDGET_MIN - 1, BUDGET_MAX + 1, 0, -5])
def test_a_budget_out_of_bounds_is_refused(budget: int) -> None:
    with pytest.raises(InvalidError, match="budget"):
        compose(None, SINCE, [], budget)


@given(
    st.lists(st.tuples(st.sampled_from(BriefSection), st.text(max_size=240)), max_size=40),
    st.integers(BUDGET_MIN, 2_000),
    st.text(max_size=300),
)
def test_no_text_overdraws_a_budget_and_no_line_is_lost(
    parts: list[tuple[BriefSection, str]], budget: int, about: str
) -> None:
    lines = [line(section, number, text) for number, (section, text) in enumerate(parts)]

    found = compose(about, SINCE, lines, budget)

    assert found.tokens == tokens_of(found.text) <= budget
    assert len(found.lines) + sum(found.left_out.values()) == len(lines)
    assert compose(about, SINCE, lines, budget) == found
