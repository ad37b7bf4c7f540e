"""How much one caller may ask for: requests a second, requests at once, and time for each."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latewood.server.guard import answer, error_body
from latewood.server.identity import caller

__all__ = ["AT_ONCE_MAX", "RATE_MAX", "REQUEST_S", "Accounts", "Throttle"]

RATE_MAX: Final = 100.0
"""Requests a second of one credential, on average; twice as many may come in one second after a pause."""
AT_ONCE_MAX: Final = 64
"""Requests of one credential that are worked on at once; a stream counts until its first byte."""
REQUEST_S: Final = 60.0
"""How long an answer's first byte may take."""
_CALLERS_MAX: Final = 10_000


@dataclass(slots=True)
class _Account:
    """What one caller has left: a bucket of requests that fills with time."""

    left: float
    filled_at: float
    running: int = 0


class Accounts:
    """What each caller has left, over HTTP and over sockets together."""

    def __init__(self, rate: float = RATE_MAX, clock: Callable[[], float] = time.monotonic) -> None:
        """Let each caller have *rate* requests a second."""
        self.rate = rate
        self._clock = clock
        self._known: OrderedDict[str, _Account] = OrderedDict()

    def of(self, name: str) -> _Account:
        """Return a caller's account as it stands now."""
        now = self._clock()
        found = self._known.get(name)
        if found is None:
            # Those that are longest unused and idle have full buckets by now: forgetting them gives nobody more.
            while len(self._known) >= _CALLERS_MAX:
                self._known.popitem(last=False)
            found = self._known[name] = _Account(2 * self.rate, now)
        self._known.move_to_end(name)
        found.left = min(2 * self.rate, found.left + (now - found.filled_at) * self.rate)
        found.filled_at = now
        return found

    def take(self, name: str) -> int | None:
        """Take one request of a caller's; return in how many seconds to come back where none is left."""
        account = self.of(name)
        if account.left < 1:
            return max(1, math.ceil((1 - account.left) / self.rate))
        account.left -= 1
        return None


class Throttle:
    """Answers 429 to who asks too much, with Retry-After, and 503 to what takes too long.

    Whoever comes without a credential, which takes a server that asks for none and so this machine, has no rate: the
    number of connections bounds them.
    """

    def __init__(
        self, app: ASGIApp, *, accounts: Accounts | None = None, at_once: int = AT_ONCE_MAX,
        request_s: float = REQUEST_S,
    ) -> None:  # fmt: skip
        """Stand before *app*."""
        self._app = app
        self._accounts = accounts or Accounts()
        self._at_once = at_once
        self._request_s = request_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is one too many, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        known = caller()
        if known is None:
            await self._pass(scope, receive, send, lambda: None)
            return
        account = self._accounts.of(known.credential.id)
        wait = 1 if account.running >= self._at_once else self._accounts.take(known.credential.id)
        if wait is not None:
            await self._refuse(scope, send, wait)
            return
        account.running += 1
        released = False

        def release() -> None:
            nonlocal released
            account.running -= not released
            released = True

        try:
            await self._pass(scope, receive, send, release)
        finally:
            release()

    async def _pass(self, scope: Scope, receive: Receive, send: Send, begun: Callable[[], None]) -> None:
        """Pass a request on, for as long as it may take until its answer begins."""
        if scope["type"] == "websocket":
            begun()
            await self._app(scope, receive, send)
            return
        started = False
        limit = asyncio.timeout(self._request_s)
        try:
            async with limit:

                async def sent(message: Message) -> None:
                    nonlocal started
                    if message["type"] == "http.response.start":
                        started = True
                        limit.reschedule(None)
                        begun()
                    await send(message)

                await self._app(scope, receive, sent)
        except TimeoutError:
            if started or not limit.expired():
                raise
            msg = (
                f"the answer took more than {self._request_s:.0f} s and was given up; a write may be kept all the "
                "same: ask for less, or repeat it with the same idempotency key"
            )
            await answer(send, 503, error_body(msg, "request.timeout"), {"retry-after": "5"})

    async def _refuse(self, scope: Scope, send: Send, seconds: int) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1013, "reason": ""})
            return
        msg = (
            f"more than {self._accounts.rate:g} requests a second, or {self._at_once} at once; come back in {seconds} s"
        )
        await answer(send, 429, error_body(msg, "rate.exceeded", retryAfter=seconds), {"retry-after": str(seconds)})
