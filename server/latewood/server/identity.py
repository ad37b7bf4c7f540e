"""Who is asking: a bearer token becomes a credential, and a credential the only memory that a request can reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.types import ASGIApp, Receive, Scope, Send

from latewood.graph_schema.errors import ForbiddenError, LatewoodError
from latewood.memory import Memory
from latewood.memory.credentials import BoundMemory, Credential, Verifier
from latewood.server.guard import answer, error_body, headers_of

__all__ = ["METADATA_PATH", "SEEN", "Caller", "Callers", "Identity", "PerCaller", "bearer_of", "caller"]

METADATA_PATH: Final = "/.well-known/oauth-protected-resource"
"""Where clients of MCP learn how to be let in (RFC 9728)."""
SEEN: Final = "latewood.credential"
"""Where a request's scope has the credential, for what stands further out."""
_TOKEN_CHARS_MAX: Final = 8_000
_OPEN: Final = ("/", "/health", METADATA_PATH, f"{METADATA_PATH}/mcp")
"""What is answered without a credential; `health` then says less."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, for as long as their token counts."""

    memory: BoundMemory
    check: Callable[[], Awaitable[object]]

    @property
    def credential(self) -> Credential:
        """Whose it is."""
        return self.memory.credential

    async def still(self) -> bool:
        """Tell whether the token still counts: streams outlive the request that opened them."""
        try:
            await self.check()
        except ForbiddenError:
            return False
        return True


_CALLER: Final[ContextVar[Caller | None]] = ContextVar("latewood_caller", default=None)


def caller() -> Caller | None:
    """Return who sent the request that is being answered, None where no credential came with it."""
    return _CALLER.get()


def bearer_of(authorization: str | None) -> str | None:
    """Return the token of an Authorization header, None where there is none.

    Raises:
        ForbiddenError: code ``credential.invalid`` for another scheme, and for what is no token.
    """
    if authorization is None:
        return None
    scheme, _, token = authorization.strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > _TOKEN_CHARS_MAX or not token.isascii():
        raise ForbiddenError("send a credential as `Authorization: Bearer KEY`", code="credential.invalid")
    return token


class Callers:
    """The memory of whoever asks."""

    def __init__(self, memory: Memory, verifiers: Sequence[Verifier], *, required: bool) -> None:
        """Bind *memory* to the credentials that *verifiers* find.

        Args:
            required: whether whoever comes without a credential reaches nothing; else they reach *memory* itself.
        """
        self._memory = memory
        self._verifiers = verifiers
        self.required = required
        self.tenants: set[str] = set()
        """Whose bearers were let in since the process began."""

    async def verify(self, token: str) -> Credential:
        """Return whose *token* is. Raises ForbiddenError (``credential.invalid``, ``credential.expired``)."""
        for verifier in self._verifiers:
            credential = await verifier.verify(token)
            if credential is not None:
                return credential
        raise ForbiddenError("the token is of no form that this server takes", code="credential.invalid")

    async def admit(self, token: str) -> Caller:
        """Return the caller that *token* makes. Raises as `verify` does."""
        credential = await self.verify(token)
        self.tenants.add(credential.tenant)
        return Caller(BoundMemory(self._memory, credential), lambda: self.verify(token))

    def open_memory(self) -> Memory | None:
        """Return the memory of the request that is being answered, None when its caller has shown no credential."""
        found = _CALLER.get()
        if found is not None:
            return found.memory
        return None if self.required else self._memory

    def memory(self) -> Memory:
        """Return the memory of the request that is being answered. Raises ForbiddenError (``credential.missing``)."""
        found = self.open_memory()
        if found is None:
            msg = "this server asks for a credential: send `Authorization: Bearer` with a key of whoever runs it"
            raise ForbiddenError(msg, code="credential.missing")
        return found


class PerCaller:
    """Stands where a memory is wanted once and for all, and is that of whoever asks, each time."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._callers.memory(), name)


class Identity:
    """Lets a request through as the caller that its token makes, or answers 401."""

    def __init__(self, app: ASGIApp, callers: Callers, public_url: str | None) -> None:
        """Stand before *app*; *public_url* is where clients reach it from outside, without a path."""
        self._app = app
        self._callers = callers
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 (503 when the store does not answer), or pass the request on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        try:
            token = bearer_of(headers.get("authorization"))
            found = None if token is None else await self._callers.admit(token)
        except ForbiddenError as error:
            await self._refuse(scope, headers, send, error)
            return
        except LatewoodError as error:
            if scope["type"] == "websocket":
                # Try again later (RFC 6455's registry); before it is accepted, 403 to the handshake.
                await send({"type": "websocket.close", "code": 1013, "reason": ""})
                return
            await answer(send, 503, error_body(error.message, error.code), {"retry-after": "1"})
            return
        if found is None and self._callers.required and not _may_come(scope, headers):
            try:
                self._callers.memory()
            except ForbiddenError as error:
                await self._refuse(scope, headers, send, error)
                return
        if found is not None:
            known = scope[SEEN] = found.credential
            # What the SDK ties the sessions of MCP to: another caller's session does not exist.
            access = AccessToken(
                token="", client_id=known.id, subject=f"{known.tenant}/{known.actor}",
                scopes=sorted(str(one) for one in known.scopes),
            )  # fmt: skip
            scope["user"] = AuthenticatedUser(access)
        mark = _CALLER.set(found)
        try:
            await self._app(scope, receive, send)
        finally:
            _CALLER.reset(mark)

    async def _refuse(self, scope: Scope, headers: Mapping[str, str], send: Send, error: ForbiddenError) -> None:
        if scope["type"] == "websocket":
            # Closed before it is accepted, the handshake is answered with 403.
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        base = self._public_url or f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"
        how = f'Bearer realm="latewood", resource_metadata="{base}{METADATA_PATH}/mcp"'
        if error.code != "credential.missing":
            how += ', error="invalid_token"'
        await answer(send, 401, error_body(error.message, error.code), {"www-authenticate": how})


def _may_come(scope: Scope, headers: Mapping[str, str]) -> bool:
    """Tell whether a request is let in without a credential, to reach nothing of anybody's."""
    if scope["type"] == "websocket":
        # Browsers cannot set a header here: the token comes with connection_init.
        return True
    if scope["path"] in _OPEN:
        return True
    # GraphiQL's page; its queries come with a header.
    shown = scope["method"] == "GET" and not scope.get("query_string") and "text/html" in headers.get("accept", "")
    return shown and scope["path"] == "/graphql"
