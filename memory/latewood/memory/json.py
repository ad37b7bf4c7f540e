"""The one JSON of every surface: what a verb returns, in the words of the GraphQL schema."""

from __future__ import annotations

from latewood.graph_schema.plain import plain
from latewood.graph_schema.values import Json

__all__ = ["as_json"]


def as_json(thing: object) -> Json:
    """Write *thing* as JSON: dataclasses as objects in camelCase, times in UTC, a value as its data.

    A page becomes ``{"items": [...], "next": cursor}``. Mapping keys stay as they are: they are data.
    """
    return plain(thing, camel=True)
