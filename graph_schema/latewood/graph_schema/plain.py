"""Anything that Latewood says, as plain JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, Final, cast

from latewood.graph_schema.clock import from_micros, iso
from latewood.graph_schema.values import Json, Value

__all__ = ["plain"]


_WRITTEN: Final[Mapping[str, Callable[[Any], Json]]] = {
    "Micros": lambda instant: iso(from_micros(instant)),
    "Place": lambda place: ".".join(map(str, place)),
}
"""How fields of these types are written: an instant in microseconds, and the place of a step."""


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


@cache
def _fields(kind: type, *, camel: bool) -> tuple[tuple[str, str, Callable[[Any], Json] | None], ...]:
    """Return each field's name, its name in JSON, and how it is written where its type alone does not say that."""
    return tuple(
        (one.name, _camel(one.name) if camel else one.name, _WRITTEN.get(str(one.type).removesuffix(" | None")))
        for one in fields(kind)
    )


def plain(thing: object, *, camel: bool = False) -> Json:
    """Write *thing* as JSON: dataclasses as objects by their fields' names, in camelCase if asked, a value as its data.

    Times are written in UTC, those kept in microseconds too, and the place of a step as text, ``3.1``. Mapping keys
    stay as they are: they are data.
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
        found: dict[str, Json] = {}
        for name, told, write in _fields(type(thing), camel=camel):
            part = getattr(thing, name)
            found[told] = plain(part, camel=camel) if write is None or part is None else write(part)
        return found
    if isinstance(thing, Mapping):
        return {str(key): plain(value, camel=camel) for key, value in cast("Mapping[object, object]", thing).items()}
    if isinstance(thing, Sequence | AbstractSet):
        return [plain(item, camel=camel) for item in cast("Sequence[object]", thing)]
    return str(thing)
