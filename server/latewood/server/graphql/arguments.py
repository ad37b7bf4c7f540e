"""Arguments that many fields take, each said once, and how an input says what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

import strawberry

from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.values import Json
from latewood.server.graphql.inputs import AsOf
from latewood.storage.port import PAGE_MAX

__all__ = ["After", "AsOfArgument", "By", "First", "InSpace", "described", "object_of"]

InSpace = Annotated[str | None, strawberry.argument(description="The space; left out, `default`.")]
AsOfArgument = Annotated[AsOf | None, strawberry.argument(description="The two clocks; left out, now.")]
First = Annotated[int | None, strawberry.argument(description=f"How many, 1 to {PAGE_MAX}.")]
After = Annotated[str | None, strawberry.argument(description="An edge's cursor, to go on behind it.")]


def described(description: str, default: Any = strawberry.UNSET) -> Any:
    """Describe a field of an input; with a *default* it may be left out."""
    if default is strawberry.UNSET:
        return strawberry.field(description=description)
    return strawberry.field(default=default, description=description)


@strawberry.input(description="Who says so.")
class By:
    """Who says so; other inputs begin with it."""

    by: str | None = described("Who says so, such as agent:planner; required unless the server was given one.", None)


def object_of(given: object, what: str) -> Mapping[str, Json] | None:
    """Return *what* has to be an object of JSON where it is given. Raises InvalidError (``query.invalid``)."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise InvalidError(f"{what} is an object, by name; not {given!r:.80}", code="query.invalid")
    return cast("Mapping[str, Json]", given)
