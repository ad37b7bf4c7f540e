"""Requests to a server: bounded in time and size, tried again where that can do no harm.

The verbs are written once, as coroutines. `AsyncTransport` awaits the network; `BlockingTransport` has the same
methods, which never wait for anything but the socket, so that a coroutine over it runs to its end when first resumed.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

import httpx

from latewood.graph_schema.errors import (
    ConflictError,
    CorruptError,
    ForbiddenError,
    InvalidError,
    LatewoodError,
    LimitError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)

__all__ = [
    "ANSWER_BYTES_MAX",
    "AsyncTransport",
    "BlockingTransport",
    "Patience",
    "Transport",
    "endpoint",
    "error_of",
    "post",
    "unreachable",
]

ANSWER_BYTES_MAX: Final = 64_000_000
_LINE_CHARS_MAX: Final = 8_000_000
_PAUSE_S: Final = 0.1
_PAUSE_S_MAX: Final = 30.0
_QUIET_S: Final = 60.0
"""After this long without a word, not even a sign of life, a stream is opened again."""
_OK: Final = 200
_TOO_MANY: Final = 429
_FORBIDDEN: Final = (401, 403)
_LIMITED: Final = (413, _TOO_MANY)
_UNCERTAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_KINDS: Final[Mapping[str, type[LatewoodError]]] = {
    kind.__name__: kind
    for kind in (
        ConflictError, CorruptError, ForbiddenError, InvalidError, LimitError, NotFoundError, RefusedError,
        UnavailableError,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call may take.

    Attributes:
        timeout_s: for one try, from connecting to the answer's end (of each read of it).
        tries: how often a call is made at most that can be made again without harm.
    """

    timeout_s: float = 30.0
    tries: int = 4

    def __post_init__(self) -> None:
        """Refuse what waits for ever. Raises InvalidError (``setting.invalid``)."""
        if not (0 < self.timeout_s <= 3_600 and 1 <= self.tries <= 20):  # noqa: PLR2004
            msg = f"{self} waits too long or not at all; give up to 3,600 seconds and 20 tries"
            raise InvalidError(msg, code="setting.invalid")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, what it asks to wait, and its body."""

    status: int
    retry_after: str | None
    body: bytes


class Transport(Protocol):
    """What the verbs need of a connection."""

    @property
    def patience(self) -> Patience:
        """How long a call may take."""
        ...

    async def send(self, body: Mapping[str, object]) -> Reply:
        """Post *body* once. Raises httpx.HTTPError."""
        ...

    def lines(self, body: Mapping[str, object]) -> AsyncGenerator[str]:
        """Post *body* and yield the lines of what is pushed. Raises httpx.HTTPError, LatewoodError."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...


def endpoint(url: str) -> str:
    """Return where a server's GraphQL is.

    Raises:
        InvalidError: code ``setting.invalid`` for what is no address of a server.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    else:
        bare = parts.username is None and not parts.query and not parts.fragment
        if parts.scheme in ("http", "https") and host and bare:
            path = parts.path.rstrip("/")
            return f"{parts.scheme}://{parts.netloc}{path if path.endswith('/graphql') else path + '/graphql'}"
    msg = "a server is named as http://127.0.0.1:8000 or https://memory.example, without a password in it"
    raise InvalidError(msg, code="setting.invalid")


def _headers(token: str | None) -> dict[str, str]:
    found = {"accept": "application/graphql-response+json, application/json"}
    return found if token is None else {**found, "authorization": f"Bearer {token}"}


class AsyncTransport:
    """Awaits the network."""

    def __init__(self, url: str, token: str | None, patience: Patience) -> None:
        """Speak to the GraphQL at *url*."""
        self.patience = patience
        self._url = url
        self._client = httpx.AsyncClient(headers=_headers(token), timeout=patience.timeout_s)

    async def send(self, body: Mapping[str, object]) -> Reply:
        """Post *body* once."""
        async with self._client.stream("POST", self._url, json=body) as response:
            found = bytearray()
            async for chunk in response.aiter_bytes():
                found += _room(found, chunk)
            return Reply(response.status_code, response.headers.get("retry-after"), bytes(found))

    async def lines(self, body: Mapping[str, object]) -> AsyncGenerator[str]:
        """Post *body* and yield the lines of what is pushed."""
        timeout = httpx.Timeout(self.patience.timeout_s, read=_QUIET_S)
        request = self._client.build_request(
            "POST", self._url, json=body, headers={"accept": "text/event-stream"}, timeout=timeout
        )
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code != _OK:
                raise _error_of(
                    Reply(response.status_code, response.headers.get("retry-after"), await response.aread())
                )
            async for line in response.aiter_lines():
                yield _short(line)
        finally:
            await response.aclose()

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()


class BlockingTransport:
    """Waits for the socket in the thread that calls."""

    def __init__(self, url: str, token: str | None, patience: Patience) -> None:
        """Speak to the GraphQL at *url*."""
        self.patience = patience
        self._url = url
        self._client = httpx.Client(headers=_headers(token), timeout=patience.timeout_s)

    async def send(self, body: Mapping[str, object]) -> Reply:
        """Post *body* once."""
        with self._client.stream("POST", self._url, json=body) as response:
            found = bytearray()
            for chunk in response.iter_bytes():
                found += _room(found, chunk)
            return Reply(response.status_code, response.headers.get("retry-after"), bytes(found))

    async def lines(self, body: Mapping[str, object]) -> AsyncGenerator[str]:
        """Post *body* and yield the lines of what is pushed."""
        timeout = httpx.Timeout(self.patience.timeout_s, read=_QUIET_S)
        request = self._client.build_request(
            "POST", self._url, json=body, headers={"accept": "text/event-stream"}, timeout=timeout
        )
        response = self._client.send(request, stream=True)
        try:
            if response.status_code != _OK:
                raise _error_of(Reply(response.status_code, response.headers.get("retry-after"), response.read()))
            for line in response.iter_lines():
                yield _short(line)
        finally:
            response.close()

    async def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)  # noqa: ASYNC251 - no loop runs here

    async def close(self) -> None:
        """Let go of the connections."""
        self._client.close()


def _room(found: bytearray, chunk: bytes) -> bytes:
    if len(found) + len(chunk) > ANSWER_BYTES_MAX:
        msg = f"the answer has more than {ANSWER_BYTES_MAX:,} bytes; ask for fewer at once"
        raise LimitError(msg, limit="ANSWER_BYTES_MAX", maximum=ANSWER_BYTES_MAX)
    return chunk


def _short(line: str) -> str:
    if len(line) > _LINE_CHARS_MAX:
        msg = f"a pushed row has more than {_LINE_CHARS_MAX:,} characters"
        raise LimitError(msg, limit="LINE_CHARS_MAX", maximum=_LINE_CHARS_MAX)
    return line


def _pauses(tries: int) -> Iterator[float]:
    """Yield how long to wait before each further try: longer each time, and not all clients at once."""
    for number in range(tries - 1):
        yield min(_PAUSE_S * 2**number, _PAUSE_S_MAX) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _asked(retry_after: str | None) -> float:
    return min(float(retry_after), _PAUSE_S_MAX) if retry_after is not None and retry_after.isdecimal() else 0.0


async def post(transport: Transport, body: Mapping[str, object], *, again: bool) -> Mapping[str, Any]:
    """Post an operation and return its data.

    Args:
        again: it does no harm to make the call twice: it reads, or it has an idempotency key.

    Raises:
        LatewoodError: whatever the server has to say, as it would be raised there; InvalidError, code
            ``value.invalid``, for what cannot be sent; UnavailableError, code ``remote.unreachable``, when it says
            nothing.
    """
    for pause in [*_pauses(transport.patience.tries), None]:
        wait = 0.0
        try:
            reply = await transport.send(body)
        except (TypeError, ValueError, RecursionError) as error:
            msg = f"what was given cannot be sent as JSON: {error}; use text, finite numbers, lists and objects"
            raise InvalidError(msg, code="value.invalid") from error
        except httpx.HTTPError as error:
            # Without a connection nothing was asked, so asking again is safe for every call.
            if pause is None or not (again or isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)):
                raise unreachable(error) from error
        else:
            # 429 is answered before anything runs; whatever else may have been cut short in the middle.
            first = reply.status == _TOO_MANY
            if pause is None or reply.status not in _UNCERTAIN or not (again or first):
                return _data_of(reply)
            wait = _asked(reply.retry_after)
        await transport.pause(max(pause, wait))
    raise AssertionError("the last try returns or raises")  # pragma: no cover


def unreachable(error: Exception) -> UnavailableError:
    """Return what is raised when a server says nothing."""
    said = f"{type(error).__name__}: {error}".rstrip(": ")[:200]
    msg = f"the server cannot be reached ({said}); see that it runs, then make the same call again"
    return UnavailableError(msg, code="remote.unreachable")


def _document(body: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else None


def _data_of(reply: Reply) -> Mapping[str, Any]:
    found = _document(reply.body)
    if found is None or found.get("errors") or not isinstance(found.get("data"), dict):
        raise _error_of(reply)
    return cast("Mapping[str, Any]", found["data"])


def _error_of(reply: Reply) -> LatewoodError:
    """Return what went wrong as the error that the server raised, or by its status where it says no more."""
    errors: object = (_document(reply.body) or {}).get("errors")
    first: object = cast("list[object]", errors)[0] if isinstance(errors, list) and errors else None
    return error_of(cast("Mapping[str, Any]", first if isinstance(first, dict) else {}), reply.status)


def error_of(said: Mapping[str, Any], status: int) -> LatewoodError:
    """Return the error that a server described."""
    extensions = cast("Mapping[str, Any]", said.get("extensions") or {})
    kind = _KINDS.get(str(extensions.get("error"))) or _by_status(status, str(extensions.get("branch")))
    message = str(said.get("message") or f"the server answered {status} without a word of its own")
    code, details = extensions.get("code"), extensions.get("details")
    error = kind(message)
    # A newer server may have codes that this client has not heard of; they are told as they are.
    error.code = code if isinstance(code, str) else "remote.malformed"
    error.details = dict(cast("Mapping[str, object]", details)) if isinstance(details, dict) else {}
    return error


def _by_status(status: int, branch: str) -> type[LatewoodError]:
    if status in _FORBIDDEN:
        return ForbiddenError
    if status in _LIMITED:
        return LimitError
    by_branch = {"refused": RefusedError, "unavailable": UnavailableError, "corrupt": CorruptError}
    if branch in by_branch:
        return by_branch[branch]
    return UnavailableError if status in _UNCERTAIN else LatewoodError
