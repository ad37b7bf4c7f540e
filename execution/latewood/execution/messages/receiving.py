"""Receiving: a message in one consumer's hands at a time, settled once, tried again by class, and never lost."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import structlog

from latewood.execution.faults import FaultClass, Policy, fault_of
from latewood.execution.messages.post import Post, message_of
from latewood.execution.messages.words import EXPIRED, Channel, Group, Message, Received, Settled
from latewood.execution.messages.writing import CAUSED_BY, cut
from latewood.graph_schema.clock import from_micros, iso, to_micros
from latewood.graph_schema.commands import Command, Guard
from latewood.graph_schema.errors import ConflictError, InvalidError
from latewood.graph_schema.given import checked
from latewood.graph_schema.values import Json
from latewood.storage.crashpoints import reach
from latewood.storage.queueing import Taken, Want

__all__ = ["LEASE_S", "LEASE_S_MAX", "WAIT_S_MAX", "Receiving", "check_lease"]

LEASE_S: Final = 30.0
"""How long a message is a consumer's unless it says otherwise, in seconds."""
LEASE_S_MAX: Final = 86_400.0
WAIT_S_MAX: Final = 60.0
"""Longest wait for a message in one call, in seconds."""
_POLL_FIRST_S: Final = 0.01
_POLL_S_MAX: Final = 0.25

_log = structlog.get_logger(__name__)


@checked
class Receiving:
    """How messages are received and settled; a part of `Messages`."""

    _post: Post

    async def receive(
        self, channel: str, *, group: str = "default", most: int = 1, wait_s: float = 0.0, lease_s: float = LEASE_S,
        consumer: str | None = None,
    ) -> tuple[Received, ...]:  # fmt: skip
        """Take up to *most* messages into this consumer's hands; nobody else of the group gets them for *lease_s*.

        Those of the highest priority come first, then the oldest. When there are none, wait up to *wait_s* for one.
        What is not settled in its time goes to another. A message past its expiry, or at which its policy's number of
        consumers was lost, becomes a dead letter instead.

        Raises:
            NotFoundError: code ``channel.unknown``.
            InvalidError: a wait or a lease is out of bounds.
            LimitError: *most* is above `TAKEN_MAX`.
        """
        check_lease(lease_s)
        if not 0 <= wait_s <= WAIT_S_MAX:
            raise InvalidError(f"one waits 0 to {WAIT_S_MAX:g} seconds for a message, not {wait_s}")
        post = self._post
        known = await post.channel(channel)
        own = await post.group(known, group)
        # Random, so that a fence that was lost with the machine is never mistaken for a later one.
        owner = f"{cut(consumer or post.book.actor, 200)}/{post.book.ids.new()}"
        give_up, pause_s = time.monotonic() + wait_s, _POLL_FIRST_S
        # What this process publishes is told at once; for what others do, and what comes due, it looks by itself.
        with post.book.bell.listen({own.id}) as ear:
            while True:
                (taken,) = await post.queue.take(post.book.space, [Want(own.id, owner, most, lease_s)])
                if taken:
                    reach("message.taken")
                found = await self._opened(known, own, taken)
                left = give_up - time.monotonic()
                if found or (left <= 0 and not taken):
                    return found
                if not taken:
                    await ear.wait(min(pause_s, left))
                    pause_s = min(2 * pause_s, _POLL_S_MAX)

    async def _opened(self, channel: Channel, group: Group, taken: Sequence[Taken]) -> tuple[Received, ...]:
        """Return what was taken with its messages; what nobody may have any more becomes a dead letter."""
        if not taken:
            return ()
        now, found = self._post.book.clock.now(), list[Received]()
        for one in taken:
            message = None if one.node is None else message_of(one.node)
            if message is None:
                # Erased between: the store has taken it from the queue with its words.
                continue
            received = Received(message, channel.name, group.name, one.hold, from_micros(one.until), one.failures + 1)
            why = self._unfit(channel.policy_for(group.name), message, one, now)
            if why is None:
                found.append(received)
                continue
            try:
                await self._bury(received, *why, trace=None)
            except ConflictError as error:
                _log.info("message_settled_between", message=message.id, code=error.code)
        return tuple(found)

    def _unfit(self, policy: Policy, message: Message, one: Taken, now: int) -> tuple[str, str] | None:
        if message.expires_at is not None and to_micros(message.expires_at) <= now:
            return EXPIRED, f"it was not settled before {message.expires_at.isoformat()}"
        lost = one.taken - 1 - one.failures
        if lost >= policy.rule(FaultClass.LOST_WORKER).tries:
            return str(FaultClass.POISON), f"{lost} consumers were lost with it in their hands"
        return None

    async def ack(
        self, received: Received, *, also: Sequence[Command] = (), led_to: Sequence[str] = (),
        told: Mapping[str, Json] | None = None, guard: Guard | None = None,
    ) -> Settled:  # fmt: skip
        """Say that a message is done with: its group never gets it again.

        Args:
            also: further commands of the execution ledger that are kept with it or not at all.
            told: what is kept with the try: of a webhook the status of the answer.
            led_to: ids of decisions, facts' subjects or messages that followed from it; `why` walks back along these.
            guard: a lease that the unit is under.

        Returns:
            ``acked``, or ``duplicate`` when the group was done with it before: then nothing of *also* was kept.

        Raises:
            ConflictError: its time ran out and another may have it (``lease.lost``); nothing was kept.
        """
        post, write, hold = self._post, self._post.write, received.hold
        commands = [
            *write.delivery(hold.message, hold.group, received.number, "acked", hold.owner, **_told(told)),
            write.settled(hold.message, hold.group), *also,
            *(write.edge(one, CAUSED_BY, hold.message) for one in dict.fromkeys(led_to)),
        ]  # fmt: skip
        try:
            receipt = await post.submit(
                post.unit(commands, body=_body("ack", received), op=_op("ack", received), holds=[hold], guard=guard)
            )
        except ConflictError as error:
            if error.code != "lease.lost" or hold.group not in await post.settled_groups(hold.message):
                raise
            return await self._duplicate(received)
        reach("message.settled")
        return Settled("acked", receipt.id)

    async def _duplicate(self, received: Received) -> Settled:
        """Keep that a consumer came with a message that its group was done with: an audit line, and nothing else."""
        post, hold = self._post, received.hold
        commands = post.write.delivery(hold.message, hold.group, received.number, "duplicate", hold.owner)
        receipt = await post.submit(post.unit(commands, body=_body("duplicate", received)))
        return Settled("duplicate", receipt.id)

    async def nack(
        self, received: Received, error: Exception, *, trace: str | None = None, told: Mapping[str, Json] | None = None
    ) -> Settled:  # fmt: skip
        """Say that a try failed: the message comes again, or becomes a dead letter when its policy says so.

        The class of *error* is found as for a step of a workflow; `Fault` says it outright.

        Raises ConflictError (``lease.lost``): another may have it; nothing was kept.
        """
        fault = fault_of(error)
        post, hold = self._post, received.hold
        channel = await post.channel(received.channel, fresh=True)
        rule = channel.policy_for(received.group).rule(fault.kind)
        if received.number >= rule.tries:
            return await self._bury(received, str(fault.kind), fault.message, trace=trace, told=told)
        wait_s = rule.wait_s(received.number, random.random(), fault.retry_after_s)  # noqa: S311 - to spread them
        ready_at = post.book.clock.now() + round(wait_s * 1_000_000)
        words: dict[str, Json] = {
            "class": str(fault.kind), "words": cut(fault.message), "retry_at": iso(from_micros(ready_at)),
            **_told(told),
        }  # fmt: skip
        commands = [
            *post.write.delivery(hold.message, hold.group, received.number, "failed", hold.owner, **words),
            post.write.again(hold.message, hold.group, ready_at, received.number),
        ]
        body = _body("nack", received)
        receipt = await post.submit(post.unit(commands, body=body, op=_op("nack", received), holds=[hold]))
        reach("message.put_off")
        return Settled("retried", receipt.id, retry_at=from_micros(ready_at))

    async def _bury(
        self, received: Received, fault: str, reason: str, *, trace: str | None, told: Mapping[str, Json] | None = None
    ) -> Settled:  # fmt: skip
        """Keep a dead letter and take the message from its group, in one unit."""
        post, hold = self._post, received.hold
        owner = (await post.channel(received.channel)).owner_for(received.group)
        one, commands = post.write.dead_letter(
            hold.message, channel=received.channel, group=received.group, group_id=hold.group, owner=owner,
            fault=fault, reason=reason, trace=trace, tries=received.number,
        )  # fmt: skip
        words: dict[str, Json] = {"class": fault, "words": cut(reason)} | _told(told)
        tried = post.write.delivery(hold.message, hold.group, received.number, "dead", hold.owner, **words)
        unit = post.unit([*tried, *commands], body=_body("nack", received), op=_op("nack", received), holds=[hold])
        receipt = await post.submit(unit)
        reach("message.buried")
        _log.warning("dead_letter", dead_letter=one, channel=received.channel, fault=fault, owner=owner)
        return Settled("dead", receipt.id, dead_letter=one)

    async def heartbeat(self, received: Received, lease_s: float = LEASE_S) -> Received:
        """Keep a message for *lease_s* from now. Raises ConflictError (``lease.lost``)."""
        until = await self._post.queue.extend(self._post.book.space, received.hold, lease_s)
        return replace(received, until=from_micros(until))

    async def hand_back(self, *received: Received) -> int:
        """Let others have messages at once, as if they had never been received; return how many still were yours."""
        return await self._post.queue.hand_back(self._post.book.space, [one.hold for one in received])


def check_lease(lease_s: float) -> None:
    """Refuse a lease that is out of bounds. Raises InvalidError."""
    if not 0 < lease_s <= LEASE_S_MAX:
        raise InvalidError(f"one has a message above 0 and up to {LEASE_S_MAX:g} seconds, not {lease_s}")


def _told(told: Mapping[str, Json] | None) -> dict[str, Json]:
    return {} if told is None else {"told": dict(told)}


def _body(what: str, received: Received) -> Json:
    hold = received.hold
    return [what, hold.message, hold.group, hold.owner, hold.fence]


def _op(what: str, received: Received) -> str:
    """Return the key under which a consumer settles what it has in its hands, so that it may be told so twice."""
    hold = received.hold
    return f"{what}:{hold.message}:{hold.group}:{hold.owner}:{hold.fence}"
