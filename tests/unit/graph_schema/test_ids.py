"""Ids have the form of UUIDv7, whoever makes them."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from latewood.graph_schema.ids import RandomIds, SequentialIds, id_bytes, id_text, is_id


def test_ids_are_uuids_of_version_seven() -> None:
    for ids in (RandomIds(), SequentialIds(), SequentialIds(salt=2**70)):
        made = [ids.new() for _ in range(500)]
        assert len(set(made)) == 500
        for one in made:
            assert is_id(one)
            assert (uuid.UUID(one).version, uuid.UUID(one).variant) == (7, uuid.RFC_4122)


def test_salts_give_disjoint_sequences_that_come_again() -> None:
    one, again, other = SequentialIds(1), SequentialIds(1), SequentialIds(2)
    first = [one.new() for _ in range(50)]

    assert first == [again.new() for _ in range(50)] == sorted(first)
    assert not set(first) & {other.new() for _ in range(50)}


@given(st.binary(min_size=16, max_size=16))
def test_bytes_and_text_are_one(raw: bytes) -> None:
    assert id_bytes(id_text(raw)) == raw
    assert id_text(raw) == str(uuid.UUID(bytes=raw))
    assert is_id(id_text(raw))


def test_what_is_no_id() -> None:
    good = SequentialIds().new()
    for text in (
        "",
        "x",
        good.upper().replace("0", "A"),
        good[:-1],
        good + "0",
        good.replace("-", ""),
        f" {good}",
        f"{good}\n",
    ):
        assert not is_id(text)
