"""Options that several commands share, and how their words become values."""

from __future__ import annotations

import json
import math
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Final, TypeAlias, cast

import typer

from latewood.graph_schema.clock import parse_instant
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import Alternative
from latewood.graph_schema.values import Scalar

__all__ = [
    "After",
    "Because",
    "First",
    "IdempotencyKey",
    "Kind",
    "Newest",
    "Quote",
    "Session",
    "Source",
    "Unit",
    "ValidFrom",
    "ValidTo",
    "alternative",
    "instant",
    "scalar",
]

After: TypeAlias = Annotated[
    str | None, typer.Option("--after", metavar="CURSOR", help="Go on where the last page ended.")
]
Because: TypeAlias = Annotated[str | None, typer.Option("--because", metavar="TEXT", help="The reason.")]
First: TypeAlias = Annotated[int, typer.Option("--first", metavar="N", help="At most so many.")]
IdempotencyKey: TypeAlias = Annotated[
    str | None,
    typer.Option("--idempotency-key", metavar="TEXT", help="Repeat the command with the same key: it writes once."),
]
Newest: TypeAlias = Annotated[bool, typer.Option("--newest", help="The latest recorded first.")]
Quote: TypeAlias = Annotated[str | None, typer.Option("--quote", metavar="TEXT", help="The words it rests on.")]
Session: TypeAlias = Annotated[str | None, typer.Option("--session", metavar="NAME", help="The session it belongs to.")]
Source: TypeAlias = Annotated[
    str | None,
    typer.Option("--source", metavar="ORIGIN", help="The path or URL that says so; left out, the actor does."),
]
Unit: TypeAlias = Annotated[str | None, typer.Option("--unit", metavar="UNIT", help="Of the value, such as EUR.")]
ValidFrom: TypeAlias = Annotated[
    str | None, typer.Option("--valid-from", metavar="TIME", help="Since when it is true in the world (now).")
]
ValidTo: TypeAlias = Annotated[
    str | None,
    typer.Option("--valid-to", metavar="TIME", help="Until when, not included; then the wider assertion holds again."),
]


class Kind(StrEnum):
    """How the word of a value is to be read."""

    AUTO = "auto"
    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    BOOLEAN = "boolean"
    INSTANT = "instant"
    JSON = "json"


def instant(words: str | None) -> datetime | None:
    """Read a time. Raises InvalidError (``time.unreadable``, ``time.naive``)."""
    return None if words is None else parse_instant(words)


def alternative(words: str) -> Alternative:
    """Read ``title | why it was rejected``; the reason may be left out."""
    title, bar, reason = words.partition("|")
    return Alternative(title.strip(), reason.strip() or None if bar else None)


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def _document(word: str) -> object:
    return json.loads(word, parse_constant=_refuse_constant)


_WORDS: Final = {"true": True, "false": False}


def _auto(word: str) -> Scalar:
    """Take JSON for what it is (5, 0.81, true, {"a": 1}, "5") and all else for text."""
    try:
        found = _document(word)
    except (ValueError, RecursionError):
        return word
    if found is None or (isinstance(found, float) and not math.isfinite(found)):
        return word
    return cast("Scalar", found)


def scalar(word: str, kind: Kind) -> Scalar:
    """Read the word of a value.

    Raises:
        InvalidError: code ``value.invalid`` when it is not of that kind, or a time's code.
    """
    if kind is Kind.AUTO:
        return _auto(word)
    if kind is Kind.TEXT:
        return word
    if kind is Kind.INSTANT:
        return parse_instant(word)
    try:
        if kind is Kind.BOOLEAN:
            return _WORDS[word.strip().lower()]
        if kind is Kind.JSON:
            found = _document(word)
            if not isinstance(found, dict | list):
                raise ValueError(word)
            return cast("Scalar", found)
        return {Kind.INTEGER: int, Kind.DECIMAL: Decimal, Kind.FLOAT: float}[kind](word)
    except (ValueError, KeyError, InvalidOperation, RecursionError) as error:
        msg = f"{word[:80]!r} is no {kind.value}; name another --type, or leave it out"
        raise InvalidError(msg, code="value.invalid", value=word[:80], kind=kind.value) from error
