"""Delivering: what waits for the webhooks of a space is posted, each webhook beside the others, until it is taken."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

import httpx
import structlog

from latewood.execution.faults import Fault, FaultClass
from latewood.execution.messages import Messages, Post, Received
from latewood.execution.webhooks.calling import GONE, call, trouble_of
from latewood.execution.webhooks.registry import Webhooks
from latewood.execution.webhooks.targets import Targets
from latewood.execution.webhooks.words import HookState, Webhook
from latewood.graph_schema.errors import InvalidError, LatewoodError
from latewood.graph_schema.values import Json

__all__ = ["CALLS_AT_ONCE", "Deliveries"]

CALLS_AT_ONCE: Final = 8
"""Most messages that one process delivers to one webhook at once."""
_LEASE_MARGIN_S: Final = 30.0
_POLL_S: Final = 0.2
_WEBHOOKS_AGE_S_MAX: Final = 2.0
_AFTER_TROUBLE_S: Final = 2.0
_GRACE_S: Final = 5.0
_log = structlog.get_logger(__name__)


class Deliveries:
    """Delivers what waits for the webhooks of one space. Several processes may: each message is in one's hands."""

    def __init__(self, post: Post, targets: Targets, http: httpx.AsyncClient) -> None:
        """Act through *post*, as its actor, calling with *http* where *targets* allows."""
        self._post = post
        self._targets = targets
        self._http = http
        self._messages = Messages(post)
        self._webhooks = Webhooks(post, targets)
        self._calls: dict[asyncio.Task[None], tuple[str, Received]] = {}
        self._listed: tuple[Webhook, ...] = ()
        self._listed_at = 0.0

    async def run(self) -> None:
        """Deliver until cancelled, or until the space has no webhook left; what is in hand then is finished first."""
        try:
            while await self._round():  # noqa: ASYNC110 - others put it there
                await asyncio.sleep(_POLL_S)
        finally:
            await self._finish()

    async def _round(self) -> bool:
        """Take what waits and begin its calls; tell whether there are webhooks to come back for."""
        try:
            if time.monotonic() - self._listed_at > _WEBHOOKS_AGE_S_MAX or not self._listed_at:
                self._listed = await self._webhooks.webhooks()
                self._listed_at = time.monotonic()
            lanes = await self._post.queue.lanes(self._post.book.space, [one.id for one in self._listed])
            for webhook in self._listed:
                held = sum(1 for owner, _ in self._calls.values() if owner == webhook.id)
                if webhook.state is HookState.PAUSED:
                    continue
                if held < CALLS_AT_ONCE and lanes[webhook.id].pending > held:
                    await self._take(webhook, CALLS_AT_ONCE - held)
        except LatewoodError as error:
            # The store may be gone for a moment; what waits waits on.
            _log.warning("webhooks_failed", code=error.code, message=error.message)
            self._listed_at = 0.0
            await asyncio.sleep(_AFTER_TROUBLE_S)
            return True
        return bool(self._listed or self._calls)

    async def _take(self, webhook: Webhook, most: int) -> None:
        lease_s = webhook.timeout_s + _LEASE_MARGIN_S
        taken = await self._messages.receive(webhook.channel, group=webhook.group, most=most, lease_s=lease_s)
        if not taken:
            return
        called = False
        try:
            # Read again, and after the messages: what came once it was paused waits, however old the list is.
            fresh = await self._webhooks.webhook(webhook.name)
            called = fresh.id == webhook.id and fresh.state in (HookState.ON, HookState.GONE)
        finally:
            if not called:
                self._listed_at = 0.0
                # If the store is gone they come again when their time is over.
                with contextlib.suppress(LatewoodError):
                    await self._messages.hand_back(*taken)
        for received in taken if called else ():
            task = asyncio.create_task(self._deliver(fresh, received), name="latewood-webhook")
            self._calls[task] = webhook.id, received
            task.add_done_callback(self._calls.pop)

    async def _deliver(self, webhook: Webhook, received: Received) -> None:
        """Make one call and settle its message by the answer."""
        try:
            await self._settle(webhook, received)
        except LatewoodError as error:
            # Its lease runs out, and another, or this one, delivers it again under the same id.
            _log.warning("webhook_unsettled", webhook=webhook.name, code=error.code, message=error.message)

    async def _settle(self, webhook: Webhook, received: Received) -> None:
        told: dict[str, Json] = {}
        try:
            if webhook.state is HookState.GONE:
                raise Fault(FaultClass.PERMANENT, "it was not called: it answered 410 before, until it is resumed")
            secrets = await self._webhooks.secrets(webhook.id)
            answer = await call(self._http, self._targets, webhook, received.message, secrets)
        except InvalidError as error:
            if error.code != "webhook.target":
                raise
            await self._messages.nack(received, Fault(FaultClass.PERMANENT, error.message), told=told)
            return
        except Fault as fault:
            await self._messages.nack(received, fault, told=told)
            return
        told |= {"status": answer.status, "took_ms": answer.took_ms, "digest": answer.digest}
        trouble = trouble_of(answer)
        if trouble is None:
            await self._messages.ack(received, told=told)
            return
        await self._messages.nack(received, trouble, told=told)
        if answer.status == GONE:
            await self._webhooks.switch_off(webhook)
            self._listed_at = 0.0
            _log.warning("webhook_gone", webhook=webhook.name, owner=webhook.owner)

    async def _finish(self) -> None:
        """Let calls under way end, and hand back what they did not get done."""
        if not self._calls:
            return
        await asyncio.wait(self._calls, timeout=_GRACE_S)
        left = dict(self._calls)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if left:
            await self._messages.hand_back(*(received for _, received in left.values()))
