"""What the conformance suite of the Model Context Protocol calls by name, added to the product's own server.

The suite can only exercise a server whose tools do certain things: return an image, ask twice, fail. Latewood's own do
not, so they are put beside its tools; the application, the transport and the middleware stay those of the product.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from typing import Annotated, Any, Final

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.mcpserver.resolve import Resolve, Sample
from mcp.types import (
    AudioContent,
    CallToolResult,
    Completion,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import Field

__all__ = ["PNG", "add_fixtures", "text"]

_PAUSE_S: Final = 0.05


def _png() -> bytes:
    """A picture of one red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def _wav() -> bytes:
    """A sound of one silent sample."""
    form = struct.pack("<HHIIHH", 1, 1, 8_000, 8_000, 1, 8)
    parts = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 1) + b"\x80\x00"
    return b"RIFF" + struct.pack("<I", len(parts)) + parts


PNG: Final = base64.b64encode(_png()).decode()
_WAV: Final = base64.b64encode(_wav()).decode()


def text(words: str) -> CallToolResult:
    """A result of one text."""
    return CallToolResult(content=[TextContent(text=words)])


def _embedded(uri: str, words: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=mime_type, text=words))


def add_fixtures(server: MCPServer[Any]) -> None:
    """Give *server* everything that the suite asks for, but for the questions (see `asking`)."""
    _add_contents(server)
    _add_manners(server)
    _add_old_questions(server)
    _add_resources(server)
    _add_prompts(server)
    _add_old_methods(server)


def _add_contents(server: MCPServer[Any]) -> None:
    @server.tool()
    def test_simple_text() -> CallToolResult:
        """Return a text."""
        return text("This is a simple text response for testing.")

    @server.tool()
    def test_image_content() -> CallToolResult:
        """Return a picture."""
        return CallToolResult(content=[ImageContent(data=PNG, mime_type="image/png")])

    @server.tool()
    def test_audio_content() -> CallToolResult:
        """Return a sound."""
        return CallToolResult(content=[AudioContent(data=_WAV, mime_type="audio/wav")])

    @server.tool()
    def test_embedded_resource() -> CallToolResult:
        """Return a resource."""
        return CallToolResult(content=[_embedded("test://embedded-resource", "This is an embedded resource content.")])

    @server.tool()
    def test_multiple_content_types() -> CallToolResult:
        """Return a text, a picture and a resource."""
        data = json.dumps({"test": "data", "value": 123})
        return CallToolResult(
            content=[
                TextContent(text="Multiple content types test:"),
                ImageContent(data=PNG, mime_type="image/png"),
                _embedded("test://mixed-content-resource", data, "application/json"),
            ]
        )

    @server.tool()
    def test_error_handling() -> CallToolResult:
        """Fail."""
        raise ToolError("This tool intentionally returns an error for testing")


def _add_manners(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_tool_with_logging(ctx: Context[Any, Any]) -> CallToolResult:
        """Log three lines."""
        for number, line in enumerate(("Tool execution started", "Tool processing data", "Tool execution completed")):
            await asyncio.sleep(_PAUSE_S if number else 0)
            await ctx.info(line)
        return text("logged")

    @server.tool()
    async def test_tool_with_progress(ctx: Context[Any, Any]) -> CallToolResult:
        """Report how far it is."""
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100)
            await asyncio.sleep(_PAUSE_S)
        return text("done")

    @server.tool()
    async def test_reconnection(ctx: Context[Any, Any]) -> CallToolResult:
        """End the stream of this call, as a server may that stores its events."""
        await ctx.close_sse_stream()
        return text("reconnected")

    @server.tool()
    def test_headers(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
    ) -> CallToolResult:
        """Take an argument that a proxy may route by."""
        return text(region)

    @server.tool()
    async def test_trigger_tool_change(ctx: Context[Any, Any]) -> CallToolResult:
        """Say that the list of tools changed."""
        await ctx.notify_tools_changed()
        return text("told")

    @server.tool()
    async def test_trigger_prompt_change(ctx: Context[Any, Any]) -> CallToolResult:
        """Say that the list of prompts changed."""
        await ctx.notify_prompts_changed()
        return text("told")

    @server.tool()
    async def test_logging_tool() -> CallToolResult:
        """Work without a line for the client, who asked for none."""
        return text("worked")

    @server.tool(name="json_schema_2020_12_tool")
    def schema_tool() -> CallToolResult:
        """Take arguments whose schema uses what JSON Schema 2020-12 has."""
        return text("taken")

    tool = server._tool_manager.get_tool("json_schema_2020_12_tool")
    assert tool is not None
    tool.parameters = _SCHEMA


_SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def _prompted(prompt: str) -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(text=prompt))], max_tokens=100)


async def _asked(ctx: Context[Any, Any], message: str, properties: dict[str, Any], required: list[str]) -> str:
    """Ask the user in the middle of a call, as clients of 2025-11-25 are asked."""
    schema = {"type": "object", "properties": properties, "required": required}
    answer = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return f"action={answer.action}, content={json.dumps(answer.content or {})}"


def _add_old_questions(server: MCPServer[Any]) -> None:
    @server.tool()
    def test_sampling(prompt: str, sampled: Annotated[Any, Resolve(_prompted)]) -> CallToolResult:
        """Ask the client's model."""
        return text(f"LLM response: {sampled.content.text}")

    @server.tool()
    async def test_elicitation(message: str, ctx: Context[Any, Any]) -> CallToolResult:
        """Ask the user."""
        properties = {
            "username": {"type": "string", "description": "User's response"},
            "email": {"type": "string", "description": "User's email address"},
        }
        return text(f"User response: {await _asked(ctx, message, properties, ['username', 'email'])}")

    @server.tool()
    async def test_elicitation_sep1034_defaults(ctx: Context[Any, Any]) -> CallToolResult:
        """Ask with defaults."""
        properties = {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
            "verified": {"type": "boolean", "default": True},
        }
        return text(f"Elicitation completed: {await _asked(ctx, 'Confirm', properties, [])}")

    @server.tool()
    async def test_elicitation_sep1330_enums(ctx: Context[Any, Any]) -> CallToolResult:
        """Ask for a choice, in the five ways that there are."""
        plain = ["option1", "option2", "option3"]
        first = [{"const": f"value{number}", "title": f"{name} Option"} for number, name in enumerate("ABC", 1)]
        properties = {
            "untitledSingle": {"type": "string", "enum": plain},
            "titledSingle": {"type": "string", "oneOf": first},
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
            "titledMulti": {"type": "array", "items": {"anyOf": first}},
        }
        return text(f"Elicitation completed: {await _asked(ctx, 'Choose', properties, [])}")


def _add_resources(server: MCPServer[Any]) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """A picture."""
        return _png()

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:  # noqa: A002 - the suite's name
        """Whatever is asked for."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        """A text that clients may ask to be told about."""
        return "watched"


def _add_prompts(server: MCPServer[Any]) -> None:
    @server.prompt()
    def test_simple_prompt() -> str:
        """Say one thing."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """Say what was given."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 - the suite's name
        """Show a resource."""
        shown = _embedded(resourceUri, "Embedded resource content for testing.")
        return [UserMessage(shown), UserMessage("Please process the embedded resource above.")]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """Show a picture."""
        shown = ImageContent(data=PNG, mime_type="image/png")
        return [UserMessage(shown), UserMessage("Please analyze the image above.")]

    @server.completion()
    async def complete(ref: Any, argument: Any, context: Any) -> Completion:
        return Completion(values=[one for one in ("paris", "park", "party") if one.startswith(argument.value)])


def _add_old_methods(server: MCPServer[Any]) -> None:
    """What only clients of 2025-11-25 may call, and which Latewood has no use for."""
    spoken = server._lowlevel_server

    async def done(_ctx: Any, _params: Any) -> EmptyResult:
        return EmptyResult()

    spoken.add_request_handler("logging/setLevel", SetLevelRequestParams, done)
    spoken.add_request_handler("resources/subscribe", SubscribeRequestParams, done)
    spoken.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, done)
