"""What is kept by its bytes: made once while there is room, and never more than the room."""

from __future__ import annotations

from latewood.reasoning.patterns.bounding import kept_within


def test_what_is_kept_is_made_once_and_what_was_used_longest_ago_goes_first() -> None:
    made: list[int] = []

    @kept_within(100, len)
    def text(size: int) -> str:
        made.append(size)
        return "x" * size

    assert [text(40), text(50), text(40), text(45), text(40)] == ["x" * size for size in (40, 50, 40, 45, 40)]
    assert made == [40, 50, 45]
    text(50)
    assert made == [40, 50, 45, 50]


def test_what_is_larger_than_the_room_is_made_each_time() -> None:
    made: list[int] = []

    @kept_within(100, len)
    def text(size: int) -> str:
        made.append(size)
        return "x" * size

    for size in (101, 101, 10, 10):
        text(size)

    assert made == [101, 101, 10]
