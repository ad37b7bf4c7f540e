"""What a fact can say: typed values, their canonical form, and the canonical JSON under every digest.

A value is text, a whole number, a decimal, a float, a truth value, an instant, or a JSON document, with an optional
unit. Two values are the same when their canonical forms are: typed, numbers without trailing zeros and in the unit's
base.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from functools import lru_cache
from typing import Final, TypeAlias, cast

from latewood.graph_schema.clock import iso, parse_instant, utc
from latewood.graph_schema.errors import InvalidError, LimitError

__all__ = [
    "DEPTH_MAX",
    "TEXT_BYTES_MAX",
    "Json",
    "Scalar",
    "Unit",
    "Value",
    "canonical_json",
    "check_text",
    "normal_key",
]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Scalar: TypeAlias = str | bool | int | float | Decimal | datetime | Mapping[str, object] | list[object]
"""What a caller may pass as a value."""

TEXT_BYTES_MAX: Final = 1_000_000
"""Most bytes of UTF-8 in one text or JSON value."""
DEPTH_MAX: Final = 32
"""Deepest nesting of a JSON value."""
KEY_CHARS_MAX: Final = 512
_INTEGER_DIGITS_MAX: Final = 400
_INTEGER_END: Final = 10**_INTEGER_DIGITS_MAX
_EXPONENT_MAX: Final = 400
# The default context would round to 28 digits, and make two long numbers one.
_EXACT: Final = Context(prec=4 * _INTEGER_DIGITS_MAX)


_encoder: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _encode_by() -> Callable[[object], str]:
    """Return what `JSONEncoder.encode` does, with its C part made once: making it costs more than a short text."""
    make = getattr(json.encoder, "c_make_encoder", None)
    quote = getattr(json.encoder, "c_encode_basestring", None)
    if make is None or quote is None:
        return _encoder.encode
    # No table of open containers, which threads would share; a document that holds itself is a RecursionError.
    parts: Callable[[object, int], tuple[str, ...]] = make(
        None, _encoder.default, quote, None, ":", ",", True, False, False
    )
    return lambda value: "".join(parts(value, 0))


_encode: Final = _encode_by()


def canonical_json(value: object) -> str:
    """Write JSON with sorted keys, no spaces and UTF-8 characters as they are: equal documents give equal text."""
    return _encode(value)


def check_text(text: str, where: str, *, bytes_max: int = TEXT_BYTES_MAX) -> str:
    """Return *text* unchanged when it can be stored.

    Raises:
        LimitError: code ``text.too_long`` above *bytes_max* bytes of UTF-8.
        InvalidError: when it holds a NUL or half a surrogate pair.
    """
    if "\0" in text:
        raise InvalidError(f"{where} holds a NUL character; take it out", where=where)
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidError(
            f"{where} holds half a surrogate pair at {error.start}; mend the text", where=where
        ) from error
    if size > bytes_max:
        msg = f"{where} has {size:,} bytes, more than the {bytes_max:,} allowed; store a link or a summary"
        raise LimitError(msg, code="text.too_long", where=where, maximum=bytes_max, size=size)
    return text


@lru_cache(maxsize=8192)
def normal_key(key: str) -> str:
    """Return the form under which a key is looked up: NFKC, case folded, inner white space single.

    Raises:
        InvalidError: when it is empty, too long or cannot be stored.
    """
    normal = " ".join(unicodedata.normalize("NFKC", key).casefold().split())
    if not normal:
        raise InvalidError("a key is empty; name the thing, as in 'carrier:A'")
    if len(normal) > KEY_CHARS_MAX:
        msg = f"the key {normal[:40]!r}... has {len(normal)} characters, more than {KEY_CHARS_MAX}"
        raise LimitError(msg, code="text.too_long", maximum=KEY_CHARS_MAX)
    return check_text(normal, "a key")


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of measure: one *name* is *factor* of *base*."""

    name: str
    base: str
    factor: Decimal


def _number(number: float | Decimal, unit: str | None, units: Mapping[str, Unit]) -> list[Json]:
    exact = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    known = units.get(unit) if unit else None
    if known is not None:
        exact, unit = _EXACT.multiply(exact, known.factor), known.base
    exact = _EXACT.normalize(exact)
    return ["n", format(exact, "f") if exact else "0", unit]


def _check_name(key: object) -> str:
    if not isinstance(key, str):
        raise InvalidError("a JSON value has a key that is not text")
    return check_text(key, "a key in a JSON value")


def _check_document(value: object, depth: int = 0) -> object:
    """Return a plain, storable copy of a JSON document."""
    if depth > DEPTH_MAX:
        raise LimitError(f"a JSON value is nested deeper than {DEPTH_MAX}", code="value.invalid", maximum=DEPTH_MAX)
    if isinstance(value, str):
        return check_text(value, "a text in a JSON value")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < _INTEGER_END:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {
            _check_name(key): _check_document(item, depth + 1)
            for key, item in cast("Mapping[object, object]", value).items()
        }
    if isinstance(value, list | tuple):
        return [_check_document(item, depth + 1) for item in cast("list[object]", value)]
    raise InvalidError(f"{value!r:.80} cannot be kept in a JSON value: use text, finite numbers, lists and objects")


@dataclass(frozen=True, slots=True)
class Value:
    """A typed value with its unit, as its source gave it.

    Attributes:
        kind: text, integer, decimal, float, boolean, instant or json.
        data: what JSON can hold: decimals and instants as text.
        unit: as written by the source.
    """

    kind: str
    data: Json
    unit: str | None = None

    @classmethod
    def of(cls, given: Scalar, unit: str | None = None, where: str = "the value") -> Value:
        """Take a Python value.

        Raises:
            InvalidError: for an unknown type, a number that is not finite or is absurdly large, a naive time.
            LimitError: for a text or document over its bound.
        """
        if unit is not None:
            check_text(unit, f"the unit of {where}", bytes_max=64)
        if isinstance(given, bool):
            return cls("boolean", given, unit)
        if isinstance(given, str):
            return cls("text", check_text(given, where), unit)
        if isinstance(given, int):
            if abs(given) >= _INTEGER_END:
                raise InvalidError(f"{where} has more than {_INTEGER_DIGITS_MAX} digits; keep it as text")
            return cls("integer", given, unit)
        if isinstance(given, float):
            if not math.isfinite(given):
                raise InvalidError(f"{where} is {given}, not a finite number; leave it out or say why as text")
            return cls("float", given, unit)
        if isinstance(given, Decimal):
            long = given.is_finite() and len(given.as_tuple().digits) > _INTEGER_DIGITS_MAX
            if long or not given.is_finite() or abs(given.adjusted()) > _EXPONENT_MAX:
                raise InvalidError(f"{where} is {given:.20}, not a finite number of fewer than {_EXPONENT_MAX} digits")
            return cls("decimal", str(given), unit)
        if isinstance(given, datetime):
            return cls("instant", iso(utc(given)), unit)
        document = _check_document(given)
        check_text(canonical_json(document), where)
        return cls("json", cast("Json", document), unit)

    @property
    def python(self) -> Scalar:
        """The value as Python holds it: Decimal and datetime come back as themselves."""
        if self.kind == "decimal":
            return Decimal(cast("str", self.data))
        if self.kind == "instant":
            return parse_instant(cast("str", self.data))
        return cast("Scalar", self.data)

    def canonical(self, units: Mapping[str, Unit] | None = None) -> str:
        """Return the text that is equal for equal values: 5, 5.0 and Decimal('5.00') are one."""
        if self.kind in ("integer", "float"):
            return canonical_json(_number(cast("int | float", self.data), self.unit, units or {}))
        if self.kind == "decimal":
            return canonical_json(_number(Decimal(cast("str", self.data)), self.unit, units or {}))
        return canonical_json([self.kind[0], self.data, self.unit])

    def text(self) -> str:
        """Return the value in one line for people and for the text index."""
        if self.kind == "json":
            return canonical_json(self.data)
        words = str(self.data).lower() if self.kind == "boolean" else str(self.data)
        return f"{words} {self.unit}" if self.unit else words
