"""What the tools' arguments have in common, and how a tool is made of a function."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from types import CodeType, FunctionType
from typing import Annotated, Any, Final, TypeAlias, cast

from mcp.server.mcpserver.tools import Tool as Offered
from mcp.types import ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field

from latewood.graph_schema.model import Trust
from latewood.memory import Memory
from latewood.memory.credentials import BoundMemory
from latewood.memory.runs import book_of
from latewood.server.mcp.answers import Answer
from latewood.server.mcp.strictness import Instant

__all__ = [
    "READS",
    "WRITER",
    "WRITES",
    "AnyJson",
    "AnyValue",
    "By",
    "Cursor",
    "KnownAt",
    "Once",
    "Rejected",
    "Session",
    "Source",
    "Space",
    "Text",
    "Tool",
    "ValidAt",
    "as_owner",
    "tool_into",
    "writer",
]

WRITER: Final = "agent:mcp"
"""Who writes when neither the call nor the server names an actor."""

Space: TypeAlias = Annotated[str | None, Field(description="Which space; left out, the server's own.")]
ValidAt: TypeAlias = Annotated[Instant | None, Field(description="As it held then, with an offset; left out, now.")]
KnownAt: TypeAlias = Annotated[Instant | None, Field(description="As it was known then; left out, now.")]
Cursor: TypeAlias = Annotated[str | None, Field(description="From the last answer, to go on behind it.")]
By: TypeAlias = Annotated[str | None, Field(description="Who says so, such as agent:planner or human:ada.")]
Session: TypeAlias = Annotated[str | None, Field(description="Your session's name.")]
Source: TypeAlias = Annotated[str | None, Field(description="The path or URL that says so; left out, you do.")]
Once: TypeAlias = Annotated[str | None, Field(description="Repeat a call with the same key: it writes once.")]
AnyValue: TypeAlias = str | int | float | bool | dict[str, Any] | None
# Named to its second level: clients refuse a schema that takes just anything.
AnyJson: TypeAlias = AnyValue | list[AnyValue | list[AnyValue]]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=20_000)]

READS: Final = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
WRITES: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)


class Rejected(BaseModel):
    """An alternative that was not taken."""

    model_config = ConfigDict(extra="forbid")
    title: str = Field(description="What it was.")
    rejected_because: str | None = Field(default=None, description="Why not.")


Tool: TypeAlias = Callable[[ToolAnnotations], Callable[[Callable[..., Awaitable[Answer]]], None]]
"""Offers a function as a tool with these annotations."""


_MADE: Final[dict[CodeType, Offered]] = {}
"""What is made of the arguments of a function that is a tool: the same for every server, and slow to make."""


def tool_into(offered: list[Offered]) -> Tool:
    """Return what appends tools to *offered*, each of which refuses arguments that it does not have."""

    def tool(annotations: ToolAnnotations) -> Callable[[Callable[..., Awaitable[Answer]]], None]:
        def take(work: Callable[..., Awaitable[Answer]]) -> None:
            code = cast("FunctionType", work).__code__
            made = _MADE.get(code) or _strict(work, annotations)
            # What asks people back does so for one memory; all else is the same whichever memory the function has.
            if not made.resolved_params:
                _MADE[code] = made.model_copy(update={"fn": _unbound})
            offered.append(made.model_copy(update={"fn": work}))

        return take

    return tool


def _strict(work: Callable[..., Awaitable[Answer]], annotations: ToolAnnotations) -> Offered:
    """Refuse arguments that the tool does not have: a model that misspells one must hear of it."""
    tool = Offered.from_function(
        work, description=inspect.getdoc(work), annotations=annotations, structured_output=True
    )
    model = tool.fn_metadata.arg_model
    model.model_config["extra"] = "forbid"
    model.model_rebuild(force=True)
    parameters = {**_untitled(tool.parameters), "additionalProperties": False}
    return tool.model_copy(update={"parameters": parameters})


async def _unbound() -> Answer:
    """Stand for the function of one server: it has a memory in it, which is not kept for as long as the process."""
    raise NotImplementedError  # pragma: no cover - each server puts its own in this place


def _untitled(schema: Any) -> Any:
    """Leave out the titles that are made from names: every model that lists the tools pays for them."""
    if isinstance(schema, list):
        return [_untitled(one) for one in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for name, part in cast("dict[str, Any]", schema).items():
        if name in ("properties", "$defs"):
            found[name] = {own: _untitled(of) for own, of in cast("dict[str, Any]", part).items()}
        elif name != "title":
            found[name] = _untitled(part)
    return found


def writer(memory: Memory, space: str | None, by: str | None, session: str | None) -> Memory:
    """Return the handle to write with, which names somebody in any case."""
    handle = memory.within(space=space, by=by, session=session)
    return handle if handle.names_actor else handle.within(by=WRITER)


def as_owner(handle: Memory, owner: str | None) -> Memory:
    """Let an answer that a human gave be its owner's, where nobody shows who they are; a credential says who it is."""
    person = owner is not None and owner.startswith("human:")
    if not person or isinstance(handle, BoundMemory) or book_of(handle).trust.level >= Trust.HUMAN.level:
        return handle
    return handle.within(by=owner)
