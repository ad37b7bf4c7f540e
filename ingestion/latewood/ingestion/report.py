"""Parts of a report as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import cast

from latewood.graph_schema.values import Json

__all__ = ["plain"]


def plain(thing: object) -> Json:
    """Write a finding as JSON: dataclasses as objects by their field names."""
    if thing is None or isinstance(thing, bool | int | float):
        return thing
    if isinstance(thing, Enum):
        return str(thing.value)
    if isinstance(thing, str):
        return thing
    if is_dataclass(thing) and not isinstance(thing, type):
        return {one.name: plain(getattr(thing, one.name)) for one in fields(thing)}
    if isinstance(thing, Mapping):
        return {str(key): plain(value) for key, value in cast("Mapping[object, object]", thing).items()}
    if isinstance(thing, Sequence | set | frozenset):
        return [plain(one) for one in cast("Sequence[object]", thing)]
    return str(thing)
