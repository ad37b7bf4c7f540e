"""Rows of a table file: JSON lines or CSV, one after the other, with what could not be read beside them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, cast

from latewood.graph_schema.clock import Micros, parse_instant, to_micros
from latewood.graph_schema.errors import InvalidError, LatewoodError
from latewood.graph_schema.values import Scalar, Value
from latewood.ingestion.tablemap import FactColumn

__all__ = ["LINE_BYTES_MAX", "ROWS_MAX", "Reject", "Row", "instant_of", "items_of", "read_rows", "value_of"]

LINE_BYTES_MAX: Final = 10_000_000
ROWS_MAX: Final = 1_000_000
_MONTH: Final = re.compile(r"(\d{4})-(\d{2})")
_YEAR: Final = re.compile(r"\d{4}")


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not taken, and why."""

    line: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row with the line that it begins on."""

    line: int
    columns: Mapping[str, object]


def _json_rows(path: Path) -> Iterator[Row | Reject]:
    with path.open("rb") as stream:
        line = 0
        while raw := stream.readline(LINE_BYTES_MAX + 1):
            line += 1
            if len(raw) > LINE_BYTES_MAX:
                while raw and not raw.endswith(b"\n"):
                    raw = stream.readline(LINE_BYTES_MAX)
                yield Reject(line, "text.too_long", f"the line has more than {LINE_BYTES_MAX:,} bytes")
                continue
            if not raw.strip():
                continue
            try:
                found: object = json.loads(raw.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                yield Reject(line, "import.malformed", f"not JSON: {error}")
                continue
            if isinstance(found, dict):
                yield Row(line, cast("dict[str, object]", found))
            else:
                yield Reject(line, "import.malformed", "not a JSON object")


def _csv_rows(path: Path) -> Iterator[Row | Reject]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        reader = csv.DictReader(stream)
        while True:
            try:
                found = next(reader, None)
            except csv.Error as error:
                yield Reject(reader.line_num, "import.malformed", f"not CSV: {error}")
                continue
            if found is None:
                return
            if None in found or None in found.values():
                yield Reject(reader.line_num, "import.malformed", "it has not as many cells as the header")
                continue
            yield Row(reader.line_num, dict(found))


def read_rows(path: Path) -> Iterator[Row | Reject]:
    """Yield the rows of a ``.csv`` file or of JSON lines, and a `Reject` for each that cannot be read.

    Raises:
        InvalidError: code ``file.unreadable``; or ``limit.exceeded`` above `ROWS_MAX` rows.
    """
    if not path.is_file():
        raise InvalidError(f"{path} is not a file; name a .jsonl or .csv file", code="file.unreadable", path=str(path))
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _json_rows(path)
    for count, row in enumerate(rows):
        if count >= ROWS_MAX:
            raise InvalidError(f"{path} has more than {ROWS_MAX:,} rows; split it", code="limit.exceeded")
        yield row


def instant_of(given: object, where: str) -> Micros | None:
    """Read a time, a day, a month (``1969-04``) or a year as its first instant in UTC; None when there is none.

    Raises:
        InvalidError: codes ``time.unreadable``, ``time.naive``.
    """
    if given is None or given == "":
        return None
    text = str(given).strip()
    month = _MONTH.fullmatch(text)
    try:
        if month is not None:
            return to_micros(datetime(int(month[1]), int(month[2]), 1, tzinfo=UTC))
        if _YEAR.fullmatch(text):
            return to_micros(datetime(int(text), 1, 1, tzinfo=UTC))
    except ValueError as error:
        raise InvalidError(f"{where}: {text!r} is no month", code="time.unreadable") from error
    return to_micros(parse_instant(text))


def items_of(given: object, split: str | None) -> list[object]:
    """Return the items of a cell that names one thing or several."""
    if given is None or given == "":
        return []
    if isinstance(given, list):
        return [one for one in cast("list[object]", given) if one not in (None, "")]
    if split is not None and isinstance(given, str):
        return [part.strip() for part in given.split(split) if part.strip()]
    return [given]


def _typed(given: object, column: FactColumn) -> Scalar:
    text = str(given).strip()
    if column.type == "boolean" and not isinstance(given, bool):
        if text.casefold() not in ("true", "false", "yes", "no", "1", "0"):
            raise InvalidError(f"column {column.column}: {text[:80]!r} is neither true nor false")
        return text.casefold() in ("true", "yes", "1")
    if column.type in ("number", "decimal") and not isinstance(given, int | float):
        try:
            return Decimal(text)
        except InvalidOperation as error:
            raise InvalidError(f"column {column.column}: {text[:80]!r} is no number") from error
    if column.type == "instant":
        return parse_instant(text)
    if column.type == "text" and not isinstance(given, str):
        return json.dumps(given, ensure_ascii=False) if isinstance(given, dict | list) else text
    return cast("Scalar", given)


def value_of(given: object, column: FactColumn) -> Value:
    """Read a cell as the value of a fact.

    Raises:
        InvalidError: when it is not of the column's type, or cannot be kept.
    """
    try:
        return Value.of(_typed(given, column), column.unit, where=f"column {column.column}")
    except LatewoodError as error:
        raise InvalidError(error.message, code=error.code) from error
