"""One call of a webhook: within its time, no further than its address, and an answer of which little is read."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Final

import httpx

from latewood.execution.faults import Fault, FaultClass
from latewood.execution.messages import Message
from latewood.execution.webhooks.signing import signed_headers
from latewood.execution.webhooks.targets import Targets
from latewood.execution.webhooks.words import Webhook

__all__ = ["ANSWER_BYTES_MAX", "GONE", "RETRY_AFTER_S_MAX", "Answer", "call", "client", "retry_after", "trouble_of"]

ANSWER_BYTES_MAX: Final = 65_536
"""How much of an answer is read."""
RETRY_AFTER_S_MAX: Final = 86_400.0
"""Longest wait that an answer can ask for."""
GONE: Final = 410
_CONNECTIONS_MAX: Final = 200
_TOO_EARLY: Final = frozenset({408, 425})
_RATE_LIMITED: Final = 429
_SERVER_FAULTS: Final = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What a webhook answered."""

    status: int
    took_ms: int
    digest: str
    retry_after_s: float | None = None

    @property
    def taken(self) -> bool:
        """Whether it took the message."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the successes of HTTP


def client() -> httpx.AsyncClient:
    """Return what calls are made with; close it at the end.

    Connections are not kept: a kept one belongs to an address, and was judged, and verified, for another name of it.
    """
    limits = httpx.Limits(max_connections=_CONNECTIONS_MAX, max_keepalive_connections=0)
    return httpx.AsyncClient(limits=limits, follow_redirects=False, trust_env=False)


async def call(
    http: httpx.AsyncClient, targets: Targets, webhook: Webhook, message: Message, secrets: Sequence[str]
) -> Answer:  # fmt: skip
    """Call *webhook* with *message*, signed.

    Raises:
        Fault: there was no answer in its time, or its name is not known.
        InvalidError: it may not be reached (``webhook.target``).
    """
    body = json.dumps(message.envelope(), ensure_ascii=False, separators=(",", ":")).encode()
    began = time.monotonic()
    try:
        async with asyncio.timeout(webhook.timeout_s):
            place = await targets.place(webhook.url)
            headers = {
                "host": place.host, "content-type": "application/cloudevents+json; charset=utf-8",
                "user-agent": f"latewood/{version('latewood')}", "accept-encoding": "identity",
                **signed_headers(secrets, message.id, datetime.now(UTC), body),
            }  # fmt: skip
            asked = http.build_request(
                "POST", place.url, content=body, headers=headers, timeout=webhook.timeout_s,
                extensions={"sni_hostname": place.name},
            )  # fmt: skip
            answered = await http.send(asked, stream=True)
            try:
                digest = await _digest(answered)
            finally:
                await answered.aclose()
    except TimeoutError as error:
        raise Fault(FaultClass.TRANSIENT, f"no answer within {webhook.timeout_s:g} s") from error
    except httpx.HTTPError as error:
        raise Fault(FaultClass.TRANSIENT, f"{type(error).__name__}: {error}") from error
    took_ms = round((time.monotonic() - began) * 1_000)
    return Answer(answered.status_code, took_ms, digest, retry_after(answered.headers.get("retry-after")))


async def _digest(answered: httpx.Response) -> str:
    """Return the digest of an answer's first `ANSWER_BYTES_MAX` bytes; what it says is not kept, and could be much."""
    seen, left = hashlib.sha256(), ANSWER_BYTES_MAX
    async for chunk in answered.aiter_raw():
        seen.update(chunk[:left])
        left -= len(chunk)
        if left <= 0:
            break
    return seen.hexdigest()


def retry_after(said: str | None) -> float | None:
    """Read a Retry-After: seconds, or a date."""
    if said is None:
        return None
    try:
        seconds = float(said) if said.strip().isdecimal() else _until(said)
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_S_MAX)


def _until(said: str) -> float:
    at = parsedate_to_datetime(said)
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()


def trouble_of(answer: Answer) -> Fault | None:
    """Say of which class an answer is that does not take the message; None for one that does."""
    if answer.taken:
        return None
    words = f"it answered {answer.status}"
    if answer.status == _RATE_LIMITED:
        return Fault(FaultClass.RATE_LIMIT, words, retry_after_s=answer.retry_after_s)
    if answer.status in _TOO_EARLY or answer.status >= _SERVER_FAULTS:
        return Fault(FaultClass.TRANSIENT, words, retry_after_s=answer.retry_after_s)
    if answer.status < 400:  # noqa: PLR2004 - an answer that sends elsewhere
        return Fault(FaultClass.PERMANENT, f"{words}, and where it sends us nobody goes: name the address itself")
    return Fault(FaultClass.PERMANENT, words)
