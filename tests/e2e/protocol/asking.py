"""The conformance suite's tools that need more than they were given: they ask, and are called again with the answer."""

from __future__ import annotations

from typing import Any, Final

from e2e.protocol.fixtures import text
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolResult,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)

__all__ = ["add_asking"]

_Asked = Context[Any, Any]


def _form(message: str, name: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(prompt: str, tokens: int) -> CreateMessageRequest:
    said = SamplingMessage(role="user", content=TextContent(text=prompt))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[said], max_tokens=tokens))


_NAME: Final = _form("What is your name?", "name")
_ROOTS: Final = ListRootsRequest()


def _require(ctx: _Asked, **asked: InputRequest) -> None:
    """Refuse a client that did not say that it can answer."""
    have = ctx.client_capabilities
    needs = {
        "elicitation": (ElicitRequest, have and have.elicitation),
        "sampling": (CreateMessageRequest, have and have.sampling),
        "roots": (ListRootsRequest, have and have.roots),
    }
    missing = {
        name: dict[str, Any]()
        for name, (kind, able) in needs.items()
        if able is None and any(isinstance(one, kind) for one in asked.values())
    }
    if missing:
        raise MCPError(
            MISSING_REQUIRED_CLIENT_CAPABILITY, f"the client did not declare {', '.join(missing)}",
            {"requiredCapabilities": missing},
        )  # fmt: skip


def _ask(ctx: _Asked, state: str | None = None, **asked: InputRequest) -> InputRequiredResult:
    _require(ctx, **asked)
    return InputRequiredResult(input_requests=asked, request_state=state)


def _field(ctx: _Asked, key: str, field: str) -> Any:
    """What the user put into a field of a form, or None."""
    answer = (ctx.input_responses or {}).get(key)
    return (answer.content or {}).get(field) if isinstance(answer, ElicitResult) else None


def add_asking(server: MCPServer[Any]) -> None:
    """Give *server* the tools and the prompt that ask."""
    _add_single(server)
    _add_states(server)
    _add_capabilities(server)


def _add_single(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_input_required_result_elicitation(ctx: _Asked) -> CallToolResult | InputRequiredResult:
        """Ask the user for a name."""
        name = _field(ctx, "user_name", "name")
        return text(f"Hello, {name}!") if isinstance(name, str) else _ask(ctx, user_name=_NAME)

    @server.tool()
    async def test_input_required_result_sampling(ctx: _Asked) -> CallToolResult | InputRequiredResult:
        """Ask the client's model."""
        answer = (ctx.input_responses or {}).get("capital_question")
        if isinstance(answer, CreateMessageResult) and isinstance(answer.content, TextContent):
            return text(answer.content.text)
        return _ask(ctx, capital_question=_sample("What is the capital of France?", 100))

    @server.tool()
    async def test_input_required_result_list_roots(ctx: _Asked) -> CallToolResult | InputRequiredResult:
        """Ask for the client's folders."""
        answer = (ctx.input_responses or {}).get("client_roots")
        if isinstance(answer, ListRootsResult):
            return text(", ".join(str(root.uri) for root in answer.roots))
        return _ask(ctx, client_roots=_ROOTS)

    @server.prompt()
    async def test_input_required_result_prompt(ctx: _Asked) -> list[UserMessage] | InputRequiredResult:
        """Ask what it should be about."""
        about = _field(ctx, "user_context", "context")
        if isinstance(about, str):
            return [UserMessage(f"Use this context: {about}")]
        return _ask(ctx, user_context=_form("What context should the prompt use?", "context"))


def _add_states(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_input_required_result_request_state(ctx: _Asked) -> CallToolResult | InputRequiredResult:
        """Ask, and know on the second call what was asked on the first."""
        if ctx.request_state == "asked" and _field(ctx, "confirm", "ok") is not None:
            return text("state-ok")
        return _ask(ctx, "asked", confirm=_form("Please confirm", "ok", "boolean"))

    @server.tool()
    async def test_input_required_result_tampered_state(ctx: _Asked) -> CallToolResult | InputRequiredResult:
        """Ask, and take only an answer to what was asked."""
        if ctx.request_state == "asked" and _field(ctx, "confirm", "ok") is not None:
            return text("state-ok")
        return _ask(ctx, "asked", confirm=_form("Please confirm", "ok", "boolean"))

    @server.tool()
    async def test_input_required_result_multiple_inputs(ctx: _Asked) -> CallToolResult | InputRequiredResult:
        """Ask three things at once."""
        given = ctx.input_responses or {}
        wanted = {"user_name", "greeting", "client_roots"}
        if ctx.request_state == "asked" and wanted <= given.keys():
            return text(f"{_field(ctx, 'user_name', 'name')}: all three came")
        return _ask(ctx, "asked", user_name=_NAME, greeting=_sample("Generate a greeting", 50), client_roots=_ROOTS)

    @server.tool()
    async def test_input_required_result_multi_round(ctx: _Asked) -> CallToolResult | InputRequiredResult:
        """Ask for a name, then for a colour."""
        state = ctx.request_state or ""
        if state.startswith("name:") and (colour := _field(ctx, "step2", "color")) is not None:
            return text(f"{state.removeprefix('name:')} likes {colour}")
        if state == "start" and (name := _field(ctx, "step1", "name")) is not None:
            return _ask(ctx, f"name:{name}", step2=_form("Step 2: What is your favorite color?", "color"))
        return _ask(ctx, "start", step1=_form("Step 1: What is your name?", "name"))


def _add_capabilities(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_input_required_result_capabilities(ctx: _Asked) -> CallToolResult | InputRequiredResult:
        """Ask only what the client said it can answer."""
        have = ctx.client_capabilities
        if ctx.input_responses:
            return text("answered")
        asked: dict[str, InputRequest] = {}
        if have is not None and have.elicitation is not None:
            asked["user_name"] = _NAME
        if have is not None and have.sampling is not None:
            asked["greeting"] = _sample("Generate a greeting", 50)
        return _ask(ctx, **asked) if asked else text("nobody to ask")

    @server.tool()
    async def test_missing_capability(ctx: _Asked) -> CallToolResult:
        """Need a model at the client's."""
        _require(ctx, question=_sample("Say something", 10))
        return text("able")

    @server.tool()
    async def test_streaming_elicitation(ctx: _Asked) -> CallToolResult | InputRequiredResult:
        """Report progress, then ask."""
        await ctx.report_progress(1, 2)
        name = _field(ctx, "user_name", "name")
        return text(f"Hello, {name}!") if isinstance(name, str) else _ask(ctx, user_name=_NAME)
