"""The process: open the store, bind, serve until asked to stop, then commit what waits."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import socket
import sys
from collections.abc import Callable
from typing import Final

import structlog
import uvicorn

from latewood.graph_schema.errors import InvalidError
from latewood.memory import Memory
from latewood.memory.settings import Sync
from latewood.server.app import create_app
from latewood.server.guard import BODY_BYTES_MAX, check_loopback
from latewood.server.mcp.service import make_mcp
from latewood.server.options import ServerOptions

__all__ = ["HOST", "PORT", "bind", "run_server", "run_stdio", "serve"]

HOST: Final = "127.0.0.1"
PORT: Final = 8000
_PORT_MAX: Final = 65_535
_GRACE_S: Final = 5
"""How long open requests and subscriptions may go on after a stop was asked for."""
_CONNECTIONS_MAX: Final = 500
_BACKLOG: Final = 128


def bind(host: str, port: int, *, anywhere: bool = False) -> socket.socket:
    """Bind before anything starts, so that a taken port is our error and not a log line.

    Args:
        anywhere: take any address of this machine, where credentials are asked for; else loopback only.

    Raises:
        InvalidError: code ``setting.invalid`` for another host than it may be, and for a port that cannot be had.
    """
    address = host.strip("[]") if anywhere else check_loopback(host)
    if not 0 <= port <= _PORT_MAX:
        raise InvalidError(f"{port} is no port; name one of 0 to {_PORT_MAX}", code="setting.invalid", port=port)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only then; else each answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be bound ({error.strerror})"
        msg = f"port {port} of {address} {why}; name another, or 0 for any that is free"
        raise InvalidError(msg, code="setting.invalid", host=host, port=port) from error
    return listener


async def serve(
    memory: Memory, *, host: str = HOST, port: int = PORT, options: ServerOptions | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:  # fmt: skip
    """Serve *memory*, and close it at the end, until the process is asked to stop (SIGINT, SIGTERM).

    Args:
        port: 0 takes any that is free.
        on_ready: told the server's address, such as http://127.0.0.1:8000, once it listens.

    Raises:
        InvalidError: code ``setting.invalid``, as `run_server` does.
    """
    try:
        listener = bind(host, port, anywhere=options is not None and options.auth)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        config = uvicorn.Config(
            create_app(memory, owns_memory=True, options=options), log_level="warning", access_log=False,
            server_header=False, ws="websockets-sansio", ws_max_size=BODY_BYTES_MAX, limit_concurrency=_CONNECTIONS_MAX,
            timeout_graceful_shutdown=_GRACE_S, lifespan="on", proxy_headers=False,
        )  # fmt: skip
        shown = f"[{host.strip('[]')}]" if ":" in host else host
        server = uvicorn.Server(config)
        if on_ready is not None:
            on_ready(f"http://{shown}:{listener.getsockname()[1]}")
        await server.serve(sockets=[listener])
    finally:
        # The application closed it already where it got to run.
        await memory.close()


def _log_lines() -> None:
    """Log one JSON object a line to stderr, tracebacks without the values of variables: those hold users' words."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def run_server(
    memory_url: str, host: str = HOST, port: int = PORT, *, space: str = "default", by: str | None = None,
    sync: Sync = "full", options: ServerOptions | None = None, on_ready: Callable[[str], None] | None = None,
) -> None:  # fmt: skip
    """Open the store at *memory_url* and serve it until the process is asked to stop.

    Raises:
        InvalidError: code ``setting.invalid`` for another host than loopback where no credentials are asked for, and
            for a port that cannot be had.
        LatewoodError: whatever the store has to say.
    """
    # Judged first: a wrong host must not even make a database file.
    if options is None or not options.auth:
        check_loopback(host)
    _log_lines()

    async def run() -> None:
        memory = await Memory.open(memory_url, space=space, by=by, sync=sync)
        # What was loaded stays for good. Walked through at each full collection, it held requests up for a tenth of a
        # second.
        gc.collect()
        gc.freeze()
        await serve(memory, host=host, port=port, options=options, on_ready=on_ready)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


def run_stdio(
    memory_url: str, *, space: str = "default", by: str | None = None, sync: Sync = "full"
) -> None:  # fmt: skip
    """Open the store at *memory_url* and speak MCP over standard input and output until the input ends.

    Raises:
        LatewoodError: whatever the store has to say.
    """
    _log_lines()

    async def run() -> None:
        async with Memory.open(memory_url, space=space, by=by, sync=sync) as memory:
            await make_mcp(memory).run_stdio_async()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())
