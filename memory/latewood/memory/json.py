"""The one JSON of every surface: what a verb returns, in the words of the GraphQL schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import cast

from latewood.graph_schema.clock import iso
from latewood.graph_schema.values import Json, Value

__all__ = ["as_json"]


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


@cache
def _names(kind: type) -> tuple[tuple[str, str], ...]:
    return tuple((field.name, _camel(field.name)) for field in fields(kind))


def as_json(thing: object) -> Json:
    """Write *thing* as JSON: dataclasses as objects in camelCase, times in UTC, a value as its data.

    A page becomes ``{"items": [...], "next": cursor}``. Mapping keys stay as they are: they are data.
    """
    if thing is None or isinstance(thing, bool | int | float):
        return thing
    if isinstance(thing, Enum):
        return str(thing.value)
    if isinstance(thing, str):
        return thing
    if isinstance(thing, datetime):
        return iso(thing)
    if isinstance(thing, Value):
        return {"kind": thing.kind, "data": thing.data, "unit": thing.unit}
    if isinstance(thing, bytes):
        return thing.hex()
    if is_dataclass(thing) and not isinstance(thing, type):
        return {camel: as_json(getattr(thing, name)) for name, camel in _names(type(thing))}
    if isinstance(thing, Mapping):
        return {str(key): as_json(value) for key, value in cast("Mapping[object, object]", thing).items()}
    if isinstance(thing, Sequence | AbstractSet):
        return [as_json(item) for item in cast("Sequence[object]", thing)]
    return str(thing)
