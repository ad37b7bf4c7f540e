"""Which sentences sound like a decision."""

from __future__ import annotations

import pytest

from latewood.reasoning.missing import CUES, cue_in


@pytest.mark.parametrize(
    ("text", "cue"),
    [
        ("Fine. We decided to keep carrier A.", "decided"),
        ("We\u2019ve agreed on Postgres", "decided"),
        ("I'll use httpx here, requests has no async.", "going to"),
        ("Let's go with the second option!", "let's"),
        ("After the test I went with WAL mode.", "going with"),
        ("The final decision is to wait.", "the decision"),
        ("Decision: no new dependency", "the decision"),
        ("We ruled out Kafka, too much to run.", "rejected"),
        ("I reverted the cache since it was stale.", "undone"),
        ("Looking at the logs now.\nWe will switch to the new API.", "going to"),
    ],
)
def test_decisions_in_words_are_heard(text: str, cue: str) -> None:
    heard = cue_in(text)

    assert heard is not None
    assert heard[0] == cue
    assert heard[1] in " ".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "Should we go with carrier B?", "If we decided to keep A, what then.", "Maybe we will use it.", "", "...",
        "What about the decision?", "The build is green.", "I will look at the tests first.", "Have we agreed on this.",
        "It uses the cache.", "We have not decided yet.",
    ],
)  # fmt: skip
def test_what_is_open_is_not(text: str) -> None:
    assert cue_in(text) is None


def test_a_very_long_turn_is_read_in_time_that_grows_with_it() -> None:
    assert cue_in("we will " * 200_000) is None
    assert set(CUES) == {"decided", "going to", "let's", "going with", "the decision", "rejected", "undone"}
