"""Which machines and pages may speak to the server: without credentials only this machine's.

Binding to loopback keeps other machines out, but not the pages of a browser on this one. A foreign ``Host`` is a page
whose name was pointed at 127.0.0.1 (DNS rebinding); a foreign ``Origin`` is a page that posts across sites.
Where credentials are asked for, the hosts and the pages that were named may call too.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latewood.graph_schema.errors import InvalidError

__all__ = [
    "BODY_BYTES_MAX",
    "BODY_WAIT_S",
    "Guard",
    "answer",
    "check_loopback",
    "error_body",
    "headers_of",
    "is_loopback",
    "origin_of",
]

BODY_BYTES_MAX: Final = 4_000_000
"""Most bytes of a request's body, and of a message over a socket."""
BODY_WAIT_S: Final = 30.0
"""How long a request's body may take to come."""


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
        f"without --auth the server asks for no credential, so it binds loopback only, not {host!r}; add --auth and "
        "make keys with `latewood keys create`, or use 127.0.0.1 and reach it through an SSH tunnel"
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


def origin_of(text: str) -> str:
    """Return an origin as browsers send it. Raises InvalidError (``setting.invalid``)."""
    host = _named(text)
    scheme, _, rest = text.strip().rstrip("/").partition("://")
    if host is None or scheme not in ("http", "https") or "/" in rest or "@" in rest:
        msg = f"{text[:80]!r} is no origin; write it as https://app.example or http://localhost:3000"
        raise InvalidError(msg, code="setting.invalid", origin=text[:80])
    return f"{scheme}://{rest.lower()}"


def headers_of(scope: Scope) -> dict[str, str]:
    """Return a request's headers by their names in lower case."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


class Guard:
    """Refuses foreign hosts and origins (403) and oversized bodies (413) before anything else sees them."""

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str] = (), origins: Collection[str] = (), any_host: bool = False
    ) -> None:
        """Stand before *app*.

        Args:
            hosts: names that the server goes by, beside this machine's own.
            origins: of the pages that may call it, beside this machine's own.
            any_host: take every name: a token keeps rebound pages out, since no browser sends it by itself.
        """
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)
        self._any_host = any_host

    def _refusal(self, headers: Mapping[str, str]) -> str | None:
        """Say why a request is refused, or None."""
        given = headers.get("host", "")
        host = _named("//" + given)
        if host is None or not (self._any_host or is_loopback(host) or host in self._hosts):
            return f"the Host header names {given[:80]!r}; call this server as 127.0.0.1 or localhost"
        origin = headers.get("origin")
        if origin in self._origins:
            return None
        if origin is not None and not is_loopback(_named(origin) or ""):
            return f"pages of {origin[:80]!r} may not call this server; only those of this machine"
        # A page elsewhere that embeds or fetches from here without an Origin; following a link to GraphiQL is fine.
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return "pages of other sites may not call this server"
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        refusal = self._refusal(headers)
        if refusal is not None:
            if scope["type"] == "websocket":
                # Closed before it is accepted, the handshake is answered with 403.
                await send({"type": "websocket.close", "code": 1008, "reason": ""})
            else:
                await answer(send, 403, error_body(refusal, "origin.refused"))
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_WAIT_S):
                body = await _read(headers, receive)
        except TimeoutError:
            msg = f"the request's body did not come within {BODY_WAIT_S:.0f} s; send it again"
            await answer(send, 408, error_body(msg, "request.timeout"))
            return
        if body is None:
            msg = f"the request has more than {BODY_BYTES_MAX:,} bytes; send less at once"
            await answer(send, 413, error_body(msg, "limit.exceeded", limit="BODY_BYTES_MAX", maximum=BODY_BYTES_MAX))
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


async def answer(send: Send, status: int, body: bytes, more: Mapping[str, str] | None = None) -> None:
    """Answer a request with JSON, and *more* headers."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in (more or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
