"""Values: what is taken, what equals what, and what is refused."""

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latewood.graph_schema.errors import InvalidError, LimitError
from latewood.graph_schema.packs.loader import vocabulary
from latewood.graph_schema.values import (
    DEPTH_MAX,
    TEXT_BYTES_MAX,
    Value,
    canonical_json,
    check_text,
    normal_key,
)

UNITS = vocabulary().units
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def same(one: Value, other: Value) -> bool:
    return one.canonical(UNITS) == other.canonical(UNITS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Value.of(5), Value.of(5.0)),
        (Value.of(5), Value.of(Decimal("5.00"))),
        (Value.of(0), Value.of(-0.0)),
        (Value.of(0), Value.of(Decimal("0E+5"))),
        (Value.of(0.1), Value.of(Decimal("0.1"))),
        (Value.of(10**30), Value.of(Decimal("1E+30"))),
        (Value.of(1, "h"), Value.of(60, "min")),
        (Value.of(81, "%"), Value.of(Decimal("0.81"), "1")),
        (Value.of({"a": 1, "b": 2}), Value.of({"b": 2, "a": 1})),
        (
            Value.of(datetime(2026, 1, 1, tzinfo=UTC)),
            Value.of(datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))),
        ),
    ],
)
def test_equal_values_have_one_canonical_form(one: Value, other: Value) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Value.of(1), Value.of(True)),
        (Value.of(1), Value.of("1")),
        (Value.of(1, "h"), Value.of(1, "min")),
        (Value.of(1, "h"), Value.of(1)),
        (Value.of(1, "parsec"), Value.of(1, "furlong")),
        (Value.of("a"), Value.of("A")),
        (Value.of([1, 2]), Value.of([2, 1])),
        (Value.of("2026-01-01T00:00:00Z"), Value.of(datetime(2026, 1, 1, tzinfo=UTC))),
        (Value.of("[1]"), Value.of([1])),
        (Value.of(0.1 + 0.2), Value.of(0.3)),
        (Value.of(10**30), Value.of(10**30 + 1)),
    ],
)
def test_other_values_have_another(one: Value, other: Value) -> None:
    assert not same(one, other)


@given(st.integers(-(10**40), 10**40), st.integers(0, 5))
def test_a_number_is_one_whatever_its_zeros(number: int, zeros: int) -> None:
    assert same(Value.of(number), Value.of(Decimal(f"{number}.{'0' * zeros}")))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_and_its_text_are_one(number: float) -> None:
    assert same(Value.of(number), Value.of(Decimal(repr(number))))


@given(JSON.filter(lambda value: isinstance(value, list | dict)))
def test_documents_come_back(document) -> None:
    value = Value.of(document)

    assert json.loads(canonical_json(value.data)) == document
    assert value.python == document


@given(JSON)
def test_canonical_text_is_what_the_plain_encoder_writes(document) -> None:
    plain = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    assert canonical_json(document) == plain


@pytest.mark.parametrize("odd", [math.nan, math.inf, [-math.inf]])
def test_no_text_is_written_of_what_is_not_json(odd) -> None:
    with pytest.raises(ValueError, match="Out of range float values"):
        canonical_json(odd)


@pytest.mark.parametrize(
    "given", ["x", 1, True, 0.5, Decimal("1.50"), datetime(2026, 1, 1, microsecond=3, tzinfo=UTC), {"a": [1]}, []]
)
def test_python_values_come_back(given) -> None:
    assert Value.of(given).python == given
    assert type(Value.of(given).python) is type(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Value.of(5, "ms"), "5 ms"),
        (Value.of(True), "true"),
        (Value.of({"b": 1, "a": "ü"}), '{"a":"ü","b":1}'),
        (Value.of("x"), "x"),
    ],
)
def test_a_value_in_one_line(given: Value, words: str) -> None:
    assert given.text() == words


@pytest.mark.parametrize(
    "given",
    [
        math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("Infinity"), Decimal("1E+999"), Decimal("1E-999"), Decimal("1." + "3" * 500), 10**400,
        -(10**400), object(), b"x", {1: 2}, {"a": math.nan}, [object()], "a\0b", "\ud800", {"a": "\0"}, {"\ud800": 1},
        datetime(2026, 1, 1),  # noqa: DTZ001 - naive on purpose
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(given) -> None:
    with pytest.raises(InvalidError):
        Value.of(given)


def test_bounds_are_met() -> None:
    assert Value.of("x" * TEXT_BYTES_MAX).kind == "text"
    with pytest.raises(LimitError) as error:
        Value.of("x" * (TEXT_BYTES_MAX + 1))
    assert error.value.code == "text.too_long"
    with pytest.raises(LimitError):
        Value.of("ü" * (TEXT_BYTES_MAX // 2 + 1))
    with pytest.raises(LimitError):
        Value.of(["x" * TEXT_BYTES_MAX])
    with pytest.raises(LimitError):
        Value.of(1, "u" * 65)

    def nested(depth: int) -> list[object]:
        inner: list[object] = []
        for _ in range(depth):
            inner = [inner]
        return inner

    assert Value.of(nested(DEPTH_MAX)).kind == "json"
    with pytest.raises(LimitError):
        Value.of(nested(DEPTH_MAX + 1))


def test_keys_are_normal() -> None:
    assert normal_key("  Carrier:\uff21  x\ty ") == "carrier:a x y"
    assert normal_key("STRASSE:1") == normal_key("straße:1")
    for bad in ("", "  \t", "a\0b", "\ud800"):
        with pytest.raises(InvalidError):
            normal_key(bad)
    assert normal_key("k" * 512)
    with pytest.raises(LimitError):
        normal_key("k" * 513)


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40).filter(
        str.strip
    )
)
def test_a_normal_key_is_its_own_normal_key(key: str) -> None:
    assert normal_key(normal_key(key)) == normal_key(key)


def test_text_is_returned_as_it_is() -> None:
    text = "naïve \U0001f680"
    assert check_text(text, "x") is text
