"""One question to a server that speaks OpenAI's chat completions: bounded in bytes and time, never trusted.

It is asked once: what went wrong has a class, and what is done about it is the step's policy.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from latewood.execution.faults import Fault, FaultClass, seconds_of

if TYPE_CHECKING:  # loaded when an endpoint is really asked
    import httpx

__all__ = ["Endpoint", "NotServed"]

_SHOWN_CHARS_MAX: Final = 200
_OK: Final = 200
_RATE_LIMITED: Final = 429
_PASSING: Final = frozenset({408, 409, 425})
_REFUSED_MIN: Final = 400
_FAULT_MIN: Final = 500
_STATUS_END: Final = 600


class NotServed(Fault):
    """The server turned the question away; no model worked on it."""


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    # Reading the system's certificates takes longer than a short answer.
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where models are asked.

    Attributes:
        url: up to and with ``/v1``.
        key: sent as a bearer token; never kept and never shown.
        timeout_s: for one question, from its first byte to the last one of its answer.
    """

    url: str
    key: str | None = field(default=None, repr=False)
    timeout_s: float = 120.0
    answer_bytes_max: int = 4_000_000

    async def chat(self, asked: Mapping[str, object]) -> dict[str, Any]:
        """Return the JSON object that the server answers with. Raises Fault, of the class that it is."""
        import httpx

        if self.key is not None and not (self.key.isascii() and self.key.isprintable() and " " not in self.key):
            # The client's own words for this would show it.
            msg = f"the key for {self.url} holds white space, a line break, or what is not ASCII; take that out"
            raise NotServed(FaultClass.PERMANENT, msg)
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            # A redirect is not followed: it would take the words, and the key, to a place that nobody named.
            async with (
                asyncio.timeout(self.timeout_s),
                httpx.AsyncClient(headers=headers, timeout=None, verify=_trusted()) as client,  # noqa: S113
                client.stream("POST", f"{self.url.rstrip('/')}/chat/completions", json=dict(asked)) as answer,
            ):
                body = await self._body(answer)
        except TimeoutError as error:
            msg = f"{self.url} did not answer within {self.timeout_s:g} s"
            raise Fault(FaultClass.TRANSIENT, msg) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Fault(FaultClass.PERMANENT, f"{self.url} cannot be asked: {error}") from error
        except httpx.HTTPError as error:
            raise Fault(FaultClass.TRANSIENT, f"{self.url}: {type(error).__name__} {error}") from error
        if answer.status_code != _OK:
            raise self._refusal(answer.status_code, body, answer.headers.get("retry-after"))
        return self._read(body)

    async def _body(self, answer: httpx.Response) -> bytes:
        body = bytearray()
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > self.answer_bytes_max:
                msg = f"{self.url} answered with more than {self.answer_bytes_max:,} bytes"
                raise Fault(FaultClass.PERMANENT, msg)
        return bytes(body)

    def _read(self, body: bytes) -> dict[str, Any]:
        try:
            read: Any = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Fault(FaultClass.SCHEMA, f"{self.url} answered with something that is not JSON") from error
        if not isinstance(read, dict):
            raise Fault(FaultClass.SCHEMA, f"{self.url} answered with JSON that is no object")
        said = cast("dict[str, Any]", read)
        if said.get("error") and not said.get("choices"):
            raise self._told(said["error"], body)
        return said

    def _told(self, error: object, body: bytes) -> Fault:
        """Return what an error is that came as an answer: of the class of its code, where it has one of HTTP."""
        code = cast("Mapping[str, object]", error).get("code") if isinstance(error, Mapping) else None
        # Some model may have worked on it: what it used is not known.
        if isinstance(code, int) and _REFUSED_MIN <= code < _STATUS_END:
            told = self._refusal(code, body, None)
            return Fault(told.kind, told.message)
        return Fault(FaultClass.SCHEMA, self._refusal(_OK, body, None).message)

    def _refusal(self, status: int, body: bytes, after: str | None) -> Fault:
        said = " ".join(body[: 4 * _SHOWN_CHARS_MAX].decode("utf-8", "replace").split())[:_SHOWN_CHARS_MAX]
        words = f"{self.url} answered {status}: {said}"
        if status == _RATE_LIMITED:
            return NotServed(FaultClass.RATE_LIMIT, words, retry_after_s=seconds_of(after))
        if status in _PASSING or status >= _FAULT_MIN:
            return NotServed(FaultClass.TRANSIENT, words, retry_after_s=seconds_of(after))
        return NotServed(FaultClass.PERMANENT, words)
