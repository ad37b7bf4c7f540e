"""Plain JSON of what Latewood says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum

from latewood.graph_schema.events import Event, EventKind, LedgerEntry
from latewood.graph_schema.plain import plain
from latewood.graph_schema.values import Value


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    some_name: object
    at: datetime | None = None


def test_names_are_kept_or_written_in_camel_case_all_the_way_down() -> None:
    thing = [Inner({"kept_key": Inner(1)}), (Inner(None),)]

    assert plain(thing) == [{"some_name": {"kept_key": {"some_name": 1, "at": None}}, "at": None},
                            [{"some_name": None, "at": None}]]  # fmt: skip
    assert plain(thing, camel=True) == [{"someName": {"kept_key": {"someName": 1, "at": None}}, "at": None},
                                        [{"someName": None, "at": None}]]  # fmt: skip


def test_every_sort_of_value_is_json() -> None:
    when = datetime(2026, 3, 1, 9, tzinfo=UTC)

    assert plain(Inner(b"\x01\xff", when)) == {"some_name": "01ff", "at": "2026-03-01T09:00:00Z"}
    assert plain([Colour.RED, True, 0.5, None, Decimal("1.50")]) == ["red", True, 0.5, None, "1.50"]
    assert plain(Value.of(Decimal("1.5"), "kg")) == {"kind": "decimal", "data": "1.5", "unit": "kg"}
    assert plain(frozenset({"one"})) == ["one"]


def test_instants_in_microseconds_are_written_as_times() -> None:
    event = Event(EventKind.ASSERTED, "a", "b", 0, {"value": 1}, key=b"k", valid_from=1_000_001, valid_to=None)
    entry = LedgerEntry("knowledge", 7, "u", event, 2_000_000, 3_000_000, None, None, None, b"d", b"h")
    found = plain(entry, camel=True)

    assert isinstance(found, dict)
    assert (found["recordedAt"], found["writtenAt"]) == ("1970-01-01T00:00:02Z", "1970-01-01T00:00:03Z")
    assert isinstance(found["event"], dict)
    assert (found["event"]["validFrom"], found["event"]["validTo"]) == ("1970-01-01T00:00:01.000001Z", None)
    assert found["seq"] == 7
