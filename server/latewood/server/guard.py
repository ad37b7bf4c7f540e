"""Who may speak to a server that asks for no credential: programs on this machine, and pages that it served itself.

Binding to loopback keeps other machines out, but not the pages of a browser on this one. A foreign ``Host`` is a page
whose name was pointed at 127.0.0.1 (DNS rebinding); a foreign ``Origin`` is a page that posts across sites.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latewood.graph_schema.errors import InvalidError

__all__ = ["BODY_BYTES_MAX", "Guard", "check_loopback", "error_body", "is_loopback"]

BODY_BYTES_MAX: Final = 4_000_000
"""Most bytes of a request's body, and of a message over a socket."""


def is_loopback(host: str) -> bool:
    """Tell whether *host*, a name or an address, is this machine's own."""
    name = host.strip().rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def check_loopback(host: str) -> str:
    """Return *host* when the server may bind it.

    Raises:
        InvalidError: code ``setting.invalid`` for any host but this machine's loopback.
    """
    if is_loopback(host):
        return host.strip("[]")
    msg = (
        f"the server asks for no credential, so it binds loopback only, not {host!r}; use 127.0.0.1 or ::1, "
        "and reach it from elsewhere through an SSH tunnel"
    )
    raise InvalidError(msg, code="setting.invalid", host=host)


def error_body(message: str, code: str, **details: object) -> bytes:
    """Write an error that happened before any GraphQL ran, in GraphQL's form."""
    extensions = {"code": code, "branch": "refused", "details": details}
    return json.dumps({"errors": [{"message": message, "extensions": extensions}]}).encode()


def _named(url: str) -> str | None:
    """Return the host that a URL or a ``Host`` header names."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _refusal(headers: Mapping[str, str]) -> str | None:
    """Say why a request is refused, or None."""
    host = _named("//" + headers.get("host", ""))
    if host is None or not is_loopback(host):
        return f"the Host header names {headers.get('host', '')[:80]!r}; call this server as 127.0.0.1 or localhost"
    origin = headers.get("origin")
    if origin is not None and not is_loopback(_named(origin) or ""):
        return f"pages of {origin[:80]!r} may not call this server; only those of this machine"
    # A page elsewhere that embeds or fetches from here without an Origin; following a link to GraphiQL is fine.
    if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
        return "pages of other sites may not call this server"
    return None


class Guard:
    """Refuses foreign hosts and origins (403) and oversized bodies (413) before anything else sees them."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before *app*."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = _refusal(headers)
        if refusal is not None:
            if scope["type"] == "websocket":
                # Closed before it is accepted, the handshake is answered with 403.
                await send({"type": "websocket.close", "code": 1008, "reason": ""})
            else:
                await _answer(send, 403, error_body(refusal, "origin.refused"))
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        body = await _read(headers, receive)
        if body is None:
            msg = f"the request has more than {BODY_BYTES_MAX:,} bytes; send less at once"
            await _answer(send, 413, error_body(msg, "limit.exceeded", limit="BODY_BYTES_MAX", maximum=BODY_BYTES_MAX))
            return
        await self._app(scope, _replay(body, receive), send)


async def _read(headers: Mapping[str, str], receive: Receive) -> bytes | None:
    """Read the body; None when it is too large, as announced or as it comes."""
    announced = headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > BODY_BYTES_MAX:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            # What came of it is no request; nobody waits for the answer.
            return b""
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hand out *body* once, then what else comes (a disconnect)."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
