"""JSON Schema 2020-12: what is a schema that stands alone, and where data does not fit one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, relevance
from referencing import Registry
from referencing.exceptions import Unresolvable

from latewood.graph_schema.errors import InvalidError, LimitError
from latewood.graph_schema.values import Json, canonical_json

__all__ = ["SCHEMA_BYTES_MAX", "Misfit", "check_schema", "joined", "misfit", "references", "short"]

SCHEMA_BYTES_MAX: Final = 64_000
"""Most bytes of a schema."""
_WORDS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Misfit:
    """Where data does not fit its schema: the JSON path, in which way, and how many places more there are."""

    path: str
    words: str
    more: int

    def __str__(self) -> str:
        """Return it as a part of a sentence."""
        return f"{self.path} {self.words}" + (f", and {self.more} more" if self.more else "")


def check_schema(schema: object, what: str) -> dict[str, Json]:
    """Return *schema* when it is one of JSON Schema 2020-12 that stands alone; *what* names it in the error.

    Raises:
        InvalidError: code ``schema.invalid``.
        LimitError: it is larger than `SCHEMA_BYTES_MAX`.
    """
    if not isinstance(schema, dict):
        msg = f"{what} is a JSON object, as in {{'type': 'object', 'required': ['amount']}}"
        raise InvalidError(msg, code="schema.invalid")
    document = cast("dict[str, Json]", schema)
    size = len(canonical_json(document).encode())
    if size > SCHEMA_BYTES_MAX:
        msg = f"{what} has {size:,} bytes, more than {SCHEMA_BYTES_MAX:,}; describe less, or in parts"
        raise LimitError(msg, limit="SCHEMA_BYTES_MAX", maximum=SCHEMA_BYTES_MAX)
    try:
        Draft202012Validator.check_schema(cast("Any", document))
    except SchemaError as error:
        msg = f"{what} is none of JSON Schema 2020-12: {_path(error.absolute_path)}: {short(error.message)}"
        raise InvalidError(msg, code="schema.invalid") from error
    for place, target in references(document, "$"):
        if not target.startswith("#"):
            msg = f"{what} refers elsewhere at {place}: {target[:80]!r}; nothing is fetched: put it under $defs"
            raise InvalidError(msg, code="schema.invalid")
    return document


def misfit(schema: Mapping[str, Json], data: Json, what: str) -> Misfit | None:
    """Return where *data* does not fit *schema*, the most telling place; None when it fits.

    Raises:
        InvalidError: code ``schema.invalid``: *what* cannot be followed.
    """
    try:
        found = list(_validator(canonical_json(dict(schema))).iter_errors(cast("Any", data)))  # pyright: ignore[reportUnknownMemberType]
    except (Unresolvable, RecursionError) as error:
        msg = f"{what} cannot be followed: {short(str(error))}; give another"
        raise InvalidError(msg, code="schema.invalid") from error
    return _told(max(found, key=relevance), len(found) - 1) if found else None


def references(schema: Json, place: str) -> Iterable[tuple[str, str]]:
    """Yield where a schema refers to another, and to which."""
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield place, value
            yield from references(value, f"{place}.{name}")
    elif isinstance(schema, list):
        for item in schema:
            yield from references(item, place)


@lru_cache(maxsize=256)
def _validator(text: str) -> Draft202012Validator:
    # A registry that has nothing and fetches nothing.
    return Draft202012Validator(json.loads(text), registry=Registry())


def _told(error: ValidationError, more: int) -> Misfit:
    """Say where and in which way; what is missing is named itself."""
    path = _path(error.absolute_path)
    if error.validator == "required":
        wanted = cast("list[str]", error.validator_value)
        given = cast("dict[str, object]", error.instance)
        missing = next((one for one in wanted if one not in given), "")
        return Misfit(joined(path, missing), "required", more)
    return Misfit(path, f"does not fit {error.validator}: {short(str(error.validator_value))}", more)


def _path(parts: Iterable[str | int]) -> str:
    path = "$"
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else joined(path, part)
    return path[:_WORDS_MAX]


def joined(path: str, name: str) -> str:
    """Return the JSON path of a member."""
    return f"{path}.{name}" if name.isidentifier() else f"{path}[{name!r}]"


def short(text: str) -> str:
    """Return the beginning of *text*."""
    return text if len(text) <= _WORDS_MAX else text[: _WORDS_MAX - 1] + "…"
