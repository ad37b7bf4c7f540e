"""The tools that a model may ask for: known by name, with a schema, and checked before anything is done."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from latewood.execution.faults import Fault, FaultClass, Policy
from latewood.execution.schemas import check_schema, misfit
from latewood.execution.workflow import StepOf
from latewood.execution.writing import checked_json
from latewood.graph_schema.errors import InvalidError, LatewoodError, LimitError
from latewood.graph_schema.values import Json, canonical_json

__all__ = ["CALLS_MAX", "TOOLS_MAX", "Schema", "Tool", "Tools", "tool"]

TOOLS_MAX: Final = 128
CALLS_MAX: Final = 64
"""Most calls that one answer may ask for."""
_SHOWN_CHARS_MAX: Final = 200
_ID_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Schema:
    """A JSON Schema (2020-12) that stands alone. Raises InvalidError (``schema.invalid``) when it is none."""

    document: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Check the schema itself."""
        check_schema(dict(self.document), "this schema")

    def trouble(self, given: Json) -> str | None:
        """Return what is wrong with *given*, in short; None when it fits."""
        found = misfit(self.document, given, "the schema")
        return None if found is None else str(found)


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that a model may ask for: a step, and the schema of its arguments."""

    step: StepOf[..., Any]
    description: str
    parameters: Schema

    @property
    def name(self) -> str:
        """Its name, as the model writes it."""
        return self.step.name


def tool(
    description: str, parameters: Mapping[str, Any], *, name: str | None = None, policy: Policy | None = None,
    timeout_s: float | None = None, probe: Callable[..., Any] | None = None, outside: bool = False,
) -> Callable[[Callable[..., Awaitable[Any] | Any]], Tool]:  # fmt: skip
    """Mark a function as a tool: ``@tool("Look an order up", {"type": "object", ...})``.

    Args:
        parameters: the JSON Schema of its arguments, an object; they are handed over by name.
        outside: as of `StepOf`: it has an effect that Latewood cannot take back.

    Raises:
        InvalidError: *parameters* is no schema.
    """
    schema = Schema(parameters)

    def mark(function: Callable[..., Awaitable[Any] | Any]) -> Tool:
        known = name or getattr(function, "__name__", "tool")
        made: StepOf[..., Any] = StepOf(
            function, known, policy, timeout_s, None, outside or probe is not None, probe, "tool_call"
        )
        return Tool(made, description, schema)

    return mark


class Tools:
    """The tools of one agent; nothing else can be called."""

    def __init__(self, *tools: Tool) -> None:
        """Know *tools*. Raises InvalidError when two have one name, LimitError above `TOOLS_MAX`."""
        self._known = {one.name: one for one in tools}
        if len(self._known) != len(tools):
            raise InvalidError("two tools have the same name; give one of them another", code="query.invalid")
        if len(tools) > TOOLS_MAX:
            msg = f"an agent has at most {TOOLS_MAX} tools, not {len(tools)}"
            raise LimitError(msg, limit="TOOLS_MAX", maximum=TOOLS_MAX)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._known)

    def offered(self) -> list[dict[str, object]]:
        """Return them as a request names them."""
        return [
            {"type": "function", "function": {
                "name": one.name, "description": one.description, "parameters": dict(one.parameters.document),
            }}
            for one in self._known.values()
        ]  # fmt: skip

    def read(self, asked: Sequence[Any]) -> list[Json]:
        """Return the calls that an answer asks for, every one of them checked: name, arguments, schema.

        Raises:
            Fault: one is not what it must be (``invalid-tool-call``); then none of them is made.
        """
        if len(asked) > CALLS_MAX:
            raise _invalid(f"{len(asked)} calls at once, more than {CALLS_MAX}")
        return [self._read(number, call) for number, call in enumerate(asked, 1)]

    def _read(self, number: int, call: object) -> dict[str, Json]:
        said = cast("Mapping[str, Any]", call if isinstance(call, Mapping) else {})
        function = said.get("function")
        if not isinstance(function, Mapping):
            raise _invalid(f"call {number} names no function")
        named = cast("Mapping[str, Any]", function)
        name, given = str(named.get("name", "")), named.get("arguments")
        known = self._known.get(name)
        if known is None:
            have = ", ".join(sorted(self._known)) or "none"
            raise _invalid(f"there is no tool {name[:80]!r}; there are {have}")
        try:
            arguments: Any = json.loads(given) if isinstance(given, str) else given
        except (ValueError, RecursionError) as error:
            raise _invalid(f"the arguments of {name} are not JSON") from error
        if not isinstance(arguments, dict):
            raise _invalid(f"the arguments of {name} are no JSON object")
        trouble = known.parameters.trouble(cast("Json", arguments))
        if trouble is not None:
            raise _invalid(f"the arguments of {name} do not fit its schema: {trouble}")
        try:
            taken = checked_json(cast("object", arguments), f"the arguments of {name}")
            # What its schema lets through and its function does not take.
            inspect.signature(known.step.function).bind(**cast("dict[str, Any]", arguments))
        except LatewoodError as error:
            raise _invalid(f"the arguments of {name} cannot be kept: {error.message}") from error
        except TypeError as error:
            raise _invalid(f"{name} does not take these arguments: {error}") from error
        return {"id": str(said.get("id") or f"call_{number}")[:_ID_CHARS_MAX], "name": name, "arguments": taken}

    async def call(self, call: Mapping[str, Any]) -> dict[str, Json]:
        """Make one call that `read` returned, as a step; return the message that answers it.

        Raises:
            Fault: it is no call of these tools.
        """
        known = self._known.get(str(call.get("name")))
        arguments = call.get("arguments")
        if known is None or not isinstance(arguments, dict) or known.parameters.trouble(cast("Json", arguments)):
            raise _invalid(f"{canonical_json(dict(call))[:_SHOWN_CHARS_MAX]} is no call of these tools")
        output = await known.step(**cast("dict[str, Any]", arguments))
        return {"role": "tool", "call": str(call.get("id", "")), "content": cast("Json", output)}


def _invalid(what: str) -> Fault:
    return Fault(FaultClass.INVALID_TOOL_CALL, what)
