"""Arguments that are wrong: refused as everything else is refused, with a code and in words that a model can act on."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias, cast

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BeforeValidator, ValidationError

from latewood.graph_schema.clock import parse_instant
from latewood.graph_schema.errors import InvalidError
from latewood.server.mcp.answers import refused

__all__ = ["Instant", "StrictServer"]

_SHOWN_MAX: Final = 5
_CHARS_MAX: Final = 300


class _UnreadableError(ValueError):
    """Carries a refusal through pydantic, which lets only errors of value pass."""

    def __init__(self, refusal: InvalidError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def _read(given: object) -> object:
    """Read a time as every other surface does: to pydantic a number is seconds, and a date a time without an offset."""
    if given is None or isinstance(given, datetime):
        return given
    try:
        return parse_instant(given if isinstance(given, str) else repr(given))
    except InvalidError as error:
        raise _UnreadableError(error) from error


Instant: TypeAlias = Annotated[datetime, BeforeValidator(_read)]


class StrictServer(MCPServer[Any]):
    """A server whose tools refuse wrong arguments with a code, like whatever else they refuse."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """Call a tool. Raises ToolError for what it refuses."""
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            # What was given is the caller's, and may be long: places and reasons are enough.
            raise ToolError(f"Error executing tool {name}: {refused(_refusal(error.__cause__))}") from None


def _refusal(wrong: ValidationError) -> InvalidError:
    found = wrong.errors(include_url=False, include_input=False)
    said: list[str] = []
    for one in found[:_SHOWN_MAX]:
        place = ".".join(map(str, one["loc"]))
        cause = cast("dict[str, object]", one.get("ctx", {})).get("error")
        if isinstance(cause, _UnreadableError):
            return InvalidError(f"{place}: {cause.refusal.message}", code=cause.refusal.code, argument=place)
        said.append(f"{place}: {one['msg']}"[:_CHARS_MAX])
    more = f"; and {len(found) - _SHOWN_MAX} more" if len(found) > _SHOWN_MAX else ""
    arguments = list(dict.fromkeys(str(one["loc"][0]) for one in found if one["loc"]))[:_SHOWN_MAX]
    return InvalidError(f"{'; '.join(said)}{more}", code="query.invalid", arguments=arguments)
