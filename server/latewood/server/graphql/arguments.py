"""Arguments that many fields take, each said once, and how an input says what it takes."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from latewood.server.graphql.inputs import AsOf
from latewood.storage.port import PAGE_MAX

__all__ = ["After", "AsOfArgument", "First", "InSpace", "described"]

InSpace = Annotated[str | None, strawberry.argument(description="The space; left out, `default`.")]
AsOfArgument = Annotated[AsOf | None, strawberry.argument(description="The two clocks; left out, now.")]
First = Annotated[int | None, strawberry.argument(description=f"How many, 1 to {PAGE_MAX}.")]
After = Annotated[str | None, strawberry.argument(description="An edge's cursor, to go on behind it.")]


def described(description: str, default: Any = strawberry.UNSET) -> Any:
    """Describe a field of an input; with a *default* it may be left out."""
    if default is strawberry.UNSET:
        return strawberry.field(description=description)
    return strawberry.field(default=default, description=description)
