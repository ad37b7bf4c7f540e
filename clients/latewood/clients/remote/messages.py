"""Messages between agents over HTTP: the verbs of `latewood.memory.messages`, with a text for what one holds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from latewood.clients.remote.answers import Page
from latewood.clients.remote.calling import RemoteCaller
from latewood.clients.remote.calls import Verbatim, member, there, verbatim
from latewood.clients.remote.reading import Identified, said
from latewood.graph_schema.given import checked
from latewood.graph_schema.values import Json

__all__ = [
    "Channel", "ChannelLimits", "DeadLetter", "Delivery", "Followed", "Group", "Message", "Pending", "PolicyRule",
    "Published", "Received", "RemoteMessages", "Settled",
]  # fmt: skip

_LEASE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """What a channel holds at most before publishers are told to come back (``channel.full``)."""

    pending_max: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class Group:
    """Consumers that share the messages of a channel: each message goes to one of them."""

    id: str
    name: str
    reads: int
    owner: str | None
    policy: Mapping[str, Json] | None


@dataclass(frozen=True, slots=True)
class Channel:
    """Where messages of one schema go."""

    id: str
    name: str
    schema: Mapping[str, Json] | None
    version: int
    owner: str | None
    limits: ChannelLimits
    policy: Mapping[str, Json]
    groups: tuple[Group, ...]
    node_version: int
    routes: Mapping[str, Json] | None


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """What is done about one class of trouble, such as ``rate-limit``."""

    fault: str
    tries: int
    then: str = "escalate"
    first_seconds: float = 0.5
    longest_seconds: float = 60.0

    def spoken(self) -> dict[str, object]:
        """Return it as an argument."""
        return {
            "fault": member(self.fault), "tries": self.tries, "then": member(self.then),
            "first_seconds": self.first_seconds, "longest_seconds": self.longest_seconds,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """A durable hand-off, as CloudEvents 1.0 has it, with where it went and under what."""

    id: str
    channel: str
    type: str
    source: str
    event_id: str
    time: str
    data: Json
    version: int
    recorded_at: datetime
    subject: str | None
    ordering_key: str | None
    priority: int
    expires_at: datetime | None
    rule: str | None
    size: int
    extensions: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that a group has not settled, and how it stands: ready, later, leased or blocked."""

    message: Message
    state: str


@dataclass(frozen=True, slots=True)
class Published:
    """That a message is kept; a *duplicate* was published before, and nothing new was written."""

    id: str
    receipt: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Received:
    """A message in a consumer's hands until *until*.

    Attributes:
        hold: what it is settled with.
        number: which try this is, the first being 1.
        key: the same for every try of its group: an idempotency key for its effects.
    """

    hold: str
    message: Message
    channel: str
    group: str
    until: datetime
    number: int
    key: str


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a message in a consumer's hands: ``acked``, ``duplicate``, ``retried`` or ``dead``."""

    outcome: str
    receipt: str
    retry_at: datetime | None
    dead_letter: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One try at a message by a consumer, settled."""

    id: str
    message: str
    group: str
    number: int
    outcome: str
    consumer: str
    recorded_at: datetime
    fault: str | None
    words: str | None
    told: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that nobody could settle, and why."""

    id: str
    channel: str
    group: str
    fault: str
    reason: str
    trace: str | None
    tries: int
    owner: str | None
    status: str
    recorded_at: datetime
    message: Message | None


@dataclass(frozen=True, slots=True)
class Followed:
    """A message of a channel that is followed; pass its *seq* on to go on behind it."""

    seq: int
    message: Message


@dataclass(frozen=True, slots=True)
class _OfChannel:
    channel: Channel


@dataclass(frozen=True, slots=True)
class _OfGroup:
    group: Group


@dataclass(frozen=True, slots=True)
class _Taken:
    received: tuple[Received, ...]


@dataclass(frozen=True, slots=True)
class _Until:
    until: datetime


@dataclass(frozen=True, slots=True)
class _Back:
    handed_back: int


@dataclass(frozen=True, slots=True)
class _Letter:
    dead_letter: DeadLetter


@dataclass(frozen=True, slots=True)
class _Replayed:
    replayed: int


def _held(received: Received | str) -> str:
    return received if isinstance(received, str) else received.hold


@checked
class RemoteMessages(RemoteCaller):
    """The messages of a server's space. Made by `RemoteMemory.messages`.

    A call whose answer was lost is made again where that does no harm: a message is published once. `receive` is not:
    what may have been taken comes again once its lease is over.
    """

    async def channel(self, name: str) -> Channel:
        """Return a channel as it is now. Raises NotFoundError."""
        return there(await self._or_none("channel", Channel, name=("String!", name)), name, "channel.unknown")

    async def channels(self, *, first: int = 50, after: str | None = None) -> Page[Channel]:
        """List channels in the order in which they were made."""
        return await self._ask("channels", Page[Channel], first=("Int", first), after=("String", after))

    async def make_channel(
        self, name: str, *, schema: Mapping[str, Json] | None = None, owner: str | None = None,
        pending_max: int | None = None, bytes_max: int | None = None, policy: Sequence[PolicyRule] | None = None,
        policy_version: str | None = None, by: str | None = None,
    ) -> Channel:  # fmt: skip
        """Make a channel, or let the one of that name take *schema* and the rest from now.

        Args:
            policy: what differs from the usual, by class of trouble; it needs a *policy_version*, a name for it.
        """
        rules = None if policy is None else [one.spoken() for one in policy]
        given = {
            "name": name, "schema": verbatim(schema), "owner": owner, "pending_max": pending_max,
            "bytes_max": bytes_max, "policy": rules, "policy_version": policy_version, "by": by or self._by,
        }  # fmt: skip
        return (await self._write("register_channel", _OfChannel, given, keyed=False, again=True)).channel

    async def route(self, channel: str, rules: Sequence[Mapping[str, Json]], *, by: str | None = None) -> Channel:
        """Let messages of *channel* go elsewhere from now on, by the first of *rules* that fits.

        A rule is ``{"name": ..., "when": [{"path": "$.confidence", "op": "<", "value": 0.7}], "to": ...}``.
        """
        given = {"channel": channel, "rules": [Verbatim(one) for one in rules], "by": by or self._by}
        return (await self._write("route_channel", _OfChannel, given, keyed=False, again=True)).channel

    async def subscribe(self, channel: str, group: str, *, by: str | None = None) -> Group:
        """Make a group of consumers of a channel, which gets every message from here on; or return it."""
        given = {"channel": channel, "group": group, "by": by or self._by}
        return (await self._write("subscribe_group", _OfGroup, given, keyed=False, again=True)).group

    async def publish(
        self, channel: str, data: Json, *, type: str | None = None, subject: str | None = None,  # noqa: A002
        source: str | None = None, event_id: str | None = None, time: datetime | None = None,
        extensions: Mapping[str, Json] | None = None, idempotency_key: str | None = None,
        ordering_key: str | None = None, priority: int = 0, delay_s: float = 0.0, expires_s: float | None = None,
        caused_by: Sequence[Identified] = (), handing_on: Received | str | None = None, by: str | None = None,
        session: str | None = None,
    ) -> Published:  # fmt: skip
        """Publish a message and return when it is durable.

        Args:
            handing_on: the message that it follows from: it is acked in the same unit, or neither is kept.
        """
        given = {
            "channel": channel, "data": Verbatim(data), "type": type, "subject": subject, "source": source,
            "event_id": event_id, "time": time, "extensions": verbatim(extensions),
            "idempotency_key": idempotency_key, "ordering_key": ordering_key, "priority": priority,
            "delay_seconds": delay_s, "expires_seconds": expires_s,
            "caused_by": [said(one) for one in caused_by] or None,
            "handing_on": None if handing_on is None else _held(handing_on), "by": by or self._by,
            "session": session or self._session,
        }  # fmt: skip
        # An event's own id, and the message that is handed on, are keys themselves: one made up would hide them.
        own = event_id is not None or handing_on is not None
        return await self._write("publish", Published, given, keyed=not own, again=True)

    async def receive(
        self, channel: str, *, group: str = "default", most: int = 1, wait_s: float = 0.0, lease_s: float = _LEASE_S,
        consumer: str | None = None, by: str | None = None,
    ) -> tuple[Received, ...]:  # fmt: skip
        """Take up to *most* messages; nobody else of the group gets them for *lease_s*. Wait up to *wait_s* for one."""
        given = {
            "channel": channel, "group": group, "most": most, "wait_seconds": wait_s, "lease_seconds": lease_s,
            "consumer": consumer, "by": by or self._by,
        }  # fmt: skip
        return (await self._write("receive", _Taken, given, keyed=False)).received

    async def ack(
        self, received: Received | str, *, led_to: Sequence[Identified] = (), by: str | None = None
    ) -> Settled:  # fmt: skip
        """Say that a message is done with, and what it *led to*. Raises ConflictError (``lease.lost``)."""
        given = {
            "hold": _held(received), "led_to": [said(one) for one in led_to] or None, "by": by or self._by,
        }  # fmt: skip
        return await self._write("ack", Settled, given, keyed=False, again=True)

    async def nack(
        self, received: Received | str, fault: str, message: str, *, retry_after_s: float | None = None,
        trace: str | None = None, by: str | None = None,
    ) -> Settled:  # fmt: skip
        """Say that a try failed, with the class of trouble, such as ``transient``, and its words.

        Raises ConflictError (``lease.lost``).
        """
        given = {
            "hold": _held(received), "fault": member(fault), "message": message, "retry_after_seconds": retry_after_s,
            "trace": trace, "by": by or self._by,
        }  # fmt: skip
        return await self._write("nack", Settled, given, keyed=False, again=True)

    async def heartbeat(
        self, received: Received | str, lease_s: float = _LEASE_S, *, by: str | None = None
    ) -> datetime:  # fmt: skip
        """Keep a message for *lease_s* from now; return until when. Raises ConflictError (``lease.lost``)."""
        given = {"hold": _held(received), "lease_seconds": lease_s, "by": by or self._by}
        return (await self._write("heartbeat", _Until, given, keyed=False, again=True)).until

    async def hand_back(self, *received: Received | str, by: str | None = None) -> int:
        """Let others have messages at once; return how many still were yours."""
        given = {"holds": [_held(one) for one in received], "by": by or self._by}
        return (await self._write("hand_back", _Back, given, keyed=False)).handed_back

    async def message(self, name: str) -> Message:
        """Return a message by its id or key. Raises NotFoundError."""
        return there(await self._or_none("message", Message, id=("String!", name)), name, "message.unknown")

    async def messages(self, *, first: int = 50, after: str | None = None) -> Page[Message]:
        """List messages of all channels, the newest first, settled ones too."""
        return await self._ask("messages", Page[Message], first=("Int", first), after=("String", after))

    async def pending(
        self, channel: str, *, group: str = "default", first: int = 50, after: str | None = None
    ) -> Page[Pending]:  # fmt: skip
        """List what a group has not settled, in the order in which it was put there."""
        return await self._ask(
            "pendingMessages", Page[Pending], channel=("String!", channel), group=("String!", group),
            first=("Int", first), after=("String", after),
        )  # fmt: skip

    async def deliveries(self, message: Identified) -> tuple[Delivery, ...]:
        """Return every try at a message, the first first. Raises NotFoundError."""
        return await self._ask("deliveries", tuple[Delivery, ...], message=("String!", said(message)))

    async def dead_letters(
        self, *, status: str | None = "open", fault: str | None = None, first: int = 50, after: str | None = None
    ) -> Page[DeadLetter]:  # fmt: skip
        """List dead letters, the newest first: those with this *status* (None: any), of this class."""
        return await self._ask(
            "deadLetters", Page[DeadLetter], status=("String", Verbatim(status)), fault=("String", fault),
            first=("Int", first), after=("String", after),
        )  # fmt: skip

    async def dead_letter(self, name: str) -> DeadLetter:
        """Return a dead letter by its id or key. Raises NotFoundError."""
        return there(await self._or_none("deadLetter", DeadLetter, id=("String!", name)), name, "message.unknown")

    async def redrive(self, name: str, *, by: str | None = None) -> DeadLetter:
        """Let the group of a dead letter have its message again. Raises NotFoundError, ConflictError."""
        given = {"dead_letter": name, "by": by or self._by}
        return (await self._write("redrive", _Letter, given, keyed=False)).dead_letter

    async def replay(
        self, channel: str, *, since: datetime, until: datetime | None = None, group: str = "default",
        idempotency_key: str | None = None, by: str | None = None,
    ) -> int:  # fmt: skip
        """Let a group have every message of a channel once more that was recorded from *since* on; return how many.

        With an *idempotency_key* and *until* a replay whose answer was lost is made again, and goes on.
        """
        given = {
            "channel": channel, "since": since, "until": until, "group": group, "idempotency_key": idempotency_key,
            "by": by or self._by,
        }  # fmt: skip
        again = idempotency_key is not None and until is not None
        return (await self._write("replay", _Replayed, given, keyed=False, again=again)).replayed

    async def watch(self, channel: str, after_seq: int = 0) -> AsyncGenerator[Followed]:
        """Yield the messages of a channel behind *after_seq*, then each as it is published: each once, none missed,
        though the connection drops. It takes none away.

        Raises:
            NotFoundError: code ``channel.unknown``.
            UnavailableError: code ``remote.unreachable``, when the connection does not come back.
        """
        async for row in self._follow("messages", Followed, {"channel": ("String!", channel)}, after_seq):
            yield row
