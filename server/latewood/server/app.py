"""The FastAPI application: GraphQL at /graphql, MCP at /mcp, health at /health; nothing needs a credential yet."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from mcp.server import MCPServer
from starlette.requests import Request
from starlette.responses import Response

from latewood.graph_schema.errors import LatewoodError
from latewood.memory import Memory
from latewood.memory.json import as_json
from latewood.server.graphql.context import Context
from latewood.server.graphql.errors import internal_error
from latewood.server.graphql.router import Router
from latewood.server.guard import BODY_BYTES_MAX, Guard
from latewood.server.mcp.service import make_mcp
from latewood.server.options import ServerOptions
from latewood.storage.journal import QUEUE_UNITS_MAX

__all__ = ["create_app", "health"]

_MCP_SESSIONS_MAX: Final = 1_000
_MCP_IDLE_S: Final = 1_800.0


async def health(memory: Memory) -> tuple[int, dict[str, object]]:
    """Ask the store how it is: the HTTP status, and what there is to say.

    ``ok`` answers 200. ``degraded`` answers 200 while reads work (a read-only store) and 503 when they do not.
    """
    try:
        info, spaces = await memory.info(), await memory.spaces()
    except LatewoodError as error:
        return 503, {
            "status": "degraded", "version": version("latewood"), "code": error.code, "reason": error.message,
            "queue": {"waiting": memory.waiting, "max": QUEUE_UNITS_MAX},
        }  # fmt: skip
    found: dict[str, object] = {
        "status": "degraded" if info.read_only else "ok",
        "version": version("latewood"),
        "store": {"engine": info.engine, "schemaVersion": info.schema_version, "readOnly": info.read_only},
        "spaces": [
            {"name": space.name, "state": space.state, "nodes": space.nodes, "seq": as_json(space.seq)}
            for space in spaces
        ],
        "queue": {"waiting": memory.waiting, "max": QUEUE_UNITS_MAX},
    }
    if info.read_only:
        found |= {"code": "store.read_only", "reason": "the database is read-only here; reads work"}
    return 200, found


def create_app(
    memory: Memory, *, owns_memory: bool = False, mcp: MCPServer[Any] | None = None,
    options: ServerOptions | None = None,
) -> FastAPI:  # fmt: skip
    """Make the application over *memory*; its actor, if it has one, writes where an input names none.

    Args:
        owns_memory: close the memory when the application stops; else that is left to the caller.
        mcp: what speaks at /mcp, made by `make_mcp` and added to; left out, just that.
        options: how it is set up; left out, as it is by default.
    """
    set_up = options or ServerOptions()
    spoken_by = mcp or make_mcp(memory)
    # Clients of 2026-07-28 need no session. Older ones are asked and told of progress over the session's stream.
    spoken = spoken_by.streamable_http_app(
        streamable_http_path="/mcp", max_request_body_size=BODY_BYTES_MAX, max_sessions=_MCP_SESSIONS_MAX,
        session_idle_timeout=_MCP_IDLE_S,
    )  # fmt: skip

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        try:
            async with spoken_by.session_manager.run():
                yield
        finally:
            if owns_memory:
                await memory.close()

    # FastAPI's own pages describe REST and fetch their scripts from the net; GraphQL describes itself.
    app = FastAPI(title="Latewood", version=version("latewood"), lifespan=lifespan, openapi_url=None)
    app.router.routes.extend(spoken.routes)
    app.include_router(Router(lambda: Context(memory, set_up.trusted), set_up.trusted), prefix="/graphql")

    async def show_health() -> JSONResponse:
        status, found = await health(memory)
        return JSONResponse(found, status)

    async def fault(_request: Request, error: Exception) -> Response:
        message, extensions = internal_error(error)
        return JSONResponse({"errors": [{"message": message, "extensions": extensions}]}, 500)

    app.add_api_route("/health", show_health, methods=["GET"])
    app.add_exception_handler(Exception, fault)
    app.add_middleware(Guard)
    return app
