"""The FastAPI application: GraphQL at /graphql, MCP at /mcp, health at /health, and who may speak to them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any, Final, cast

from fastapi import FastAPI
from fastapi.responses import JSONResponse, RedirectResponse
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from latewood.graph_schema.errors import ForbiddenError, LatewoodError
from latewood.memory import Memory
from latewood.memory.credentials import BoundMemory, Scope, Verifier
from latewood.memory.json import as_json
from latewood.memory.keys import Keys
from latewood.server.events import EventsIn
from latewood.server.graphql.errors import internal_error
from latewood.server.graphql.router import Router
from latewood.server.guard import BODY_BYTES_MAX, Guard, error_body
from latewood.server.identity import METADATA_PATH, Callers, Identity, PerCaller
from latewood.server.mcp.service import make_mcp
from latewood.server.observing import Metrics, Observed
from latewood.server.options import ServerOptions
from latewood.server.telemetry import TracesIn
from latewood.server.throttle import Accounts, Throttle
from latewood.server.working import SETTLE_S, working
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
    keys = Keys(memory)
    verifiers: list[Verifier] = [keys, *([set_up.tokens] if set_up.tokens is not None else [])]
    callers = Callers(memory, verifiers, required=set_up.auth)
    spoken_by = mcp or make_mcp(cast("Memory", PerCaller(callers)))
    # Clients of 2026-07-28 need no session. Older ones are asked and told of progress over the session's stream.
    spoken = spoken_by.streamable_http_app(
        streamable_http_path="/mcp", max_request_body_size=BODY_BYTES_MAX, max_sessions=_MCP_SESSIONS_MAX,
        session_idle_timeout=_MCP_IDLE_S,
        # The guard stands before it, and knows the names that this server goes by.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )  # fmt: skip

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(spoken_by.session_manager.run())
                if set_up.watch or set_up.workflows:
                    await stack.enter_async_context(
                        working(
                            memory,
                            set_up.workflows,
                            lambda: callers.tenants,
                            targets=set_up.targets,
                            settle_s=SETTLE_S if set_up.patterns else None,
                        )
                    )
                yield
        finally:
            if owns_memory:
                await memory.close()

    # FastAPI's own pages describe REST and fetch their scripts from the net; GraphQL describes itself.
    app = FastAPI(title="Latewood", version=version("latewood"), lifespan=lifespan, openapi_url=None)
    app.router.routes.extend(spoken.routes)
    accounts = Accounts(set_up.rate)
    app.include_router(Router(callers, keys, set_up.trusted, accounts.take, set_up.targets), prefix="/graphql")

    metrics = Metrics(lambda: memory.waiting)
    _add_pages(app, memory, callers, metrics, set_up)

    async def fault(_request: Request, error: Exception) -> Response:
        message, extensions = internal_error(error)
        return JSONResponse({"errors": [{"message": message, "extensions": extensions}]}, 500)

    app.add_exception_handler(Exception, fault)
    _stand_guard(app, callers, metrics, accounts, set_up)
    return app


def _add_pages(app: FastAPI, memory: Memory, callers: Callers, metrics: Metrics, set_up: ServerOptions) -> None:
    """Answer what is neither GraphQL nor MCP."""

    async def show_health() -> JSONResponse:
        asked_by = callers.open_memory()
        reads = not isinstance(asked_by, BoundMemory) or Scope.READ in asked_by.credential.scopes
        # What spaces there are is not for strangers, and those of each tenant are its own to see.
        status, found = await health(asked_by if asked_by is not None and reads else memory)
        if asked_by is None or not reads:
            found = {name: found[name] for name in ("status", "version", "code") if name in found}
        return JSONResponse(found, status)

    async def show_metrics() -> Response:
        asked_by = callers.memory()
        if isinstance(asked_by, BoundMemory):
            try:
                asked_by.require(Scope.ADMIN, "reading the server's counts")
            except ForbiddenError as error:
                return Response(error_body(error.message, error.code), 403, media_type="application/json")
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    async def show_metadata(request: Request) -> JSONResponse:
        base = set_up.public_url or str(request.base_url).rstrip("/")
        found: dict[str, object] = {
            "resource": f"{base}/mcp", "scopes_supported": [str(one) for one in Scope],
            "bearer_methods_supported": ["header"], "resource_name": "Latewood",
        }  # fmt: skip
        if set_up.issuer is not None:
            found["authorization_servers"] = [set_up.issuer]
        return JSONResponse(found)

    async def show_the_way() -> Response:
        # Relative, so that it leads to the same place behind a proxy that puts a prefix before it.
        return RedirectResponse("graphql")

    app.add_api_route("/", show_the_way, methods=["GET"])
    for path in (METADATA_PATH, f"{METADATA_PATH}/mcp"):
        app.add_api_route(path, show_metadata, methods=["GET"])
    app.add_route("/events", EventsIn(callers).__call__, methods=["POST"])
    app.add_route("/v1/traces", TracesIn(callers).__call__, methods=["POST"])
    app.add_api_route("/metrics", show_metrics, methods=["GET"])
    app.add_api_route("/health", show_health, methods=["GET"])


def _stand_guard(app: FastAPI, callers: Callers, metrics: Metrics, accounts: Accounts, set_up: ServerOptions) -> None:
    """Put what every request goes through before the application."""
    # The last one stands outermost.
    app.add_middleware(Throttle, accounts=accounts, at_once=set_up.at_once)
    app.add_middleware(Identity, callers=callers, public_url=set_up.public_url)
    if set_up.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=sorted(set_up.origins), allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"], expose_headers=["mcp-session-id", "retry-after", "www-authenticate"], max_age=600,
        )  # fmt: skip
    app.add_middleware(
        Guard, hosts=set_up.hosts, origins=set_up.origins, any_host=set_up.auth and not set_up.hosts
    )  # fmt: skip
    app.add_middleware(Observed, metrics=metrics, log=set_up.log)
