"""Messages over GraphQL, handed on: channels are registered, messages published, received and settled. Scope: run."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import strawberry
from strawberry.scalars import JSON

from latewood.execution.faults import FaultClass
from latewood.execution.messages import LEASE_S, Limits, Messages, words
from latewood.execution.messages.receiving import LEASE_S_MAX
from latewood.execution.messages.routing import routes_from
from latewood.graph_schema.errors import InvalidError, LimitError, NotFoundError
from latewood.graph_schema.values import Json
from latewood.memory import Memory
from latewood.memory.handing import (
    REMOTE_WAIT_S_MAX,
    check_lease_s,
    check_led_to,
    check_wait_s,
    fault_told,
    hand_on,
    hold_of,
    received_of,
)
from latewood.memory.messages import messages_of
from latewood.server.graphql.arguments import By, InSpace, described, object_of
from latewood.server.graphql.context import Info
from latewood.server.graphql.messages import Channel, DeadLetter, Group, Message
from latewood.server.graphql.policies import PolicyRuleInput, policy_from_input
from latewood.server.graphql.scalars import BigInt
from latewood.storage.queueing import TAKEN_MAX

__all__ = ["PostMutation", "handle_of"]

_HOLD = "As receive gave it."


@strawberry.input(description="A channel that is to be made, or changed: what is left out stays as it is.")
class RegisterChannelInput(By):
    """A channel that is to be made or changed."""

    name: str = described("Its name.")
    schema: JSON | None = described("JSON Schema 2020-12 that the data of each message must fit.", None)
    owner: str | None = described("Who is asked when a message cannot be settled, such as human:ada.", None)
    pending_max: BigInt | None = described("Most messages that wait for one group; more are refused.", None)
    bytes_max: BigInt | None = described("Most bytes that those carry.", None)
    policy: list[PolicyRuleInput] | None = described("What differs from the usual, by class of trouble.", None)
    policy_version: str | None = described("A name for that policy; needed with it.", None)


@strawberry.input(description="Consumers that are to share a channel's messages.")
class SubscribeGroupInput(By):
    """A group of consumers."""

    channel: str = described("The channel's name.")
    group: str = described("The group's name; it gets every message from here on.")


@strawberry.input(description="Rules by which messages of a channel go elsewhere.")
class RouteChannelInput(By):
    """Rules of a channel."""

    channel: str = described("The channel's name.")
    rules: list[JSON] = described(
        "The first that fits counts: {name, when: [{path: $.confidence, op: <, value: 0.7}], to}; empty, none holds."
    )


@strawberry.input(description="A message that is to be handed over.")
class PublishInput(By):
    """A message."""

    channel: str = described("The channel's name.")
    data: JSON | None = described("What it says, at most 256,000 bytes; it must fit the channel's schema.", None)
    handing_on: str | None = described(
        "The hold of the message that it follows from, which is acked in the same unit.", None
    )
    type: str | None = described("Of the event, such as order.placed; left out, the channel's name.", None)
    source: str | None = described("Who or what it comes from; left out, the actor.", None)
    event_id: str | None = described("The event's own id: with it, source and id are the idempotency key.", None)
    subject: str | None = described("What it is about.", None)
    time: datetime | None = described("When it happened; left out, now.", None)
    extensions: JSON | None = described("Further attributes of the event, an object.", None)
    ordering_key: str | None = described("Messages of one key are handed out one after another.", None)
    priority: int = described("0 to 9; higher ones are handed out first.", 0)
    delay_seconds: float = described("For how long nobody gets it.", 0.0)
    expires_seconds: float | None = described("After how long it becomes a dead letter.", None)
    caused_by: list[str] | None = described(
        "Ids or keys of the run, decision, fact or message that it follows from.", None
    )
    idempotency_key: str | None = described("The same key and data are kept once; other data are refused.", None)
    session: str | None = described("In which session.", None)


@strawberry.input(description="Who wants messages, and for how long.")
class ReceiveInput(By):
    """Who wants messages."""

    channel: str = described("The channel's name.")
    group: str = described("The group's name.", "default")
    most: int = described("How many at most, 1 to 1,000.", 1)
    wait_seconds: float = described(f"How long to wait for one, 0 to {REMOTE_WAIT_S_MAX:g}.", 0.0)
    lease_seconds: float = described(f"How long each is yours, up to {LEASE_S_MAX:,.0f}.", LEASE_S)
    consumer: str | None = described("A name of your own, kept with each try; left out, the actor.", None)


@strawberry.input(description="A message that is done with.")
class AckInput(By):
    """A message that is done with."""

    hold: str = described(_HOLD)
    led_to: list[str] | None = described("Ids of decisions or messages that followed from it.", None)


@strawberry.input(description="A try at a message that failed.")
class NackInput(By):
    """A try that failed."""

    hold: str = described(_HOLD)
    fault: FaultClass = described("The class of the trouble; how often it is tried again goes by it.")
    message: str = described("The trouble, in words.")
    retry_after_seconds: float | None = described("How long the other side asked to be left alone.", None)
    trace: str | None = described("Where it went wrong; kept with the dead letter.", None)


@strawberry.input(description="A message that is to be kept longer.")
class HeartbeatInput(By):
    """A message that is to be kept longer."""

    hold: str = described(_HOLD)
    lease_seconds: float = described("For how long from now.", LEASE_S)


@strawberry.input(description="Messages that others may have at once.")
class HandBackInput(By):
    """Messages that others may have."""

    holds: list[str] = described("As receive gave them.")


@strawberry.input(description="A dead letter whose message is to be handed out again.")
class RedriveInput(By):
    """A dead letter that is tried again."""

    dead_letter: str = described("Its id or key.")


@strawberry.input(description="Which part of the past a group is to have once more.")
class ReplayInput(By):
    """A part of the past."""

    channel: str = described("The channel's name.")
    since: datetime = described("From when on they were recorded.")
    until: datetime | None = described("Up to when; left out, now.", None)
    group: str = described("The group's name.", "default")
    idempotency_key: str | None = described("With until, a replay that was cut short goes on.", None)


@strawberry.type(description="A channel as it is now.")
class ChannelPayload:
    """A channel as it is now."""

    channel: Channel = strawberry.field(description="The channel.")


@strawberry.type(description="A group of consumers.")
class GroupPayload:
    """A group of consumers."""

    group: Group = strawberry.field(description="The group.")


@strawberry.type(description="That a message is kept.")
class PublishPayload:
    """That a message is kept."""

    id: strawberry.ID = strawberry.field(description="The message's id.")
    receipt: strawberry.ID = strawberry.field(description="Of the unit; receipt(id:) tells of it.")
    duplicate: bool = strawberry.field(description="It was published before; nothing new was written.")


@strawberry.type(description="A message in a consumer's hands.")
class Received:
    """A message in a consumer's hands."""

    hold: str = strawberry.field(description="What it is settled with: show it as it is.")
    message: Message = strawberry.field(description="The message.")
    channel: str = strawberry.field(description="The channel's name.")
    group: str = strawberry.field(description="The group's name.")
    until: datetime = strawberry.field(description="Until when it is yours.")
    number: int = strawberry.field(description="Which try this is, from 1.")
    key: str = strawberry.field(description="An idempotency key for its effects: the same for every try.")


@strawberry.type(description="What a consumer was given.")
class ReceivePayload:
    """What a consumer was given."""

    received: list[Received] = strawberry.field(description="The messages; none when none waits.")


@strawberry.type(description="What became of a message in a consumer's hands.")
class SettlePayload:
    """What became of a message."""

    outcome: str = strawberry.field(description="acked; duplicate: its group was done with it before; retried; dead.")
    receipt: strawberry.ID = strawberry.field(description="Of the unit.")
    retry_at: datetime | None = strawberry.field(description="When it is handed out again.")
    dead_letter: strawberry.ID | None = strawberry.field(description="The dead letter that it became.")


@strawberry.type(description="Until when a message is yours.")
class HeartbeatPayload:
    """Until when a message is yours."""

    until: datetime = strawberry.field(description="The instant.")


@strawberry.type(description="How many messages were still yours.")
class HandBackPayload:
    """How many messages were still yours."""

    handed_back: int = strawberry.field(description="The count.")


@strawberry.type(description="A dead letter as it is now.")
class DeadLetterPayload:
    """A dead letter as it is now."""

    dead_letter: DeadLetter = strawberry.field(description="The dead letter.")


@strawberry.type(description="How many messages a group gets once more.")
class ReplayPayload:
    """How many messages a group gets once more."""

    replayed: int = strawberry.field(description="The count.")


def handle_of(info: Info, space: str | None, by: str | None, session: str | None = None) -> Memory:
    """Return a handle that writes in the name of *by*. Raises InvalidError (``actor.missing``)."""
    handle = info.context.write(info, space).memory.within(by=by, session=session)
    if not handle.names_actor:
        msg = "a message is sent and received in somebody's name: give by, such as agent:planner"
        raise InvalidError(msg, code="actor.missing")
    return handle


def _messages(info: Info, space: str | None, by: str | None) -> Messages:
    return messages_of(handle_of(info, space, by))


async def _limits(messages: Messages, given: RegisterChannelInput) -> Limits | None:
    """Return the limits that are asked for; what is left out stays as it is."""
    if given.pending_max is None and given.bytes_max is None:
        return None
    try:
        now = (await messages.channel(given.name)).limits
    except NotFoundError:
        now = Limits()
    return Limits(
        now.pending_max if given.pending_max is None else given.pending_max,
        now.bytes_max if given.bytes_max is None else given.bytes_max,
    )  # fmt: skip


def _received(one: words.Received) -> Received:
    return Received(
        hold=hold_of(one), message=cast("Message", one.message), channel=one.channel, group=one.group, until=one.until,
        number=one.number, key=one.key,
    )  # fmt: skip


def _settled(one: words.Settled) -> SettlePayload:
    return SettlePayload(
        outcome=one.outcome, receipt=strawberry.ID(one.receipt), retry_at=one.retry_at,
        dead_letter=None if one.dead_letter is None else strawberry.ID(one.dead_letter),
    )  # fmt: skip


@strawberry.type
class PostMutation:
    """What agents do with messages. Scope: run."""

    @strawberry.mutation(
        graphql_type=ChannelPayload,
        description="Make a channel, or let the one of that name take a new schema or owner from now. Scope: run.",
    )
    async def register_channel(
        self, info: Info, input: RegisterChannelInput, space: InSpace = None  # noqa: A002
    ) -> ChannelPayload:  # fmt: skip
        """Make or change a channel."""
        messages = _messages(info, space, input.by)
        channel = await messages.make_channel(
            input.name, schema=object_of(input.schema, "a schema"), owner=input.owner,
            limits=await _limits(messages, input),
            policy=policy_from_input(input.policy, input.policy_version, LEASE_S_MAX),
        )  # fmt: skip
        return ChannelPayload(channel=cast("Channel", channel))

    @strawberry.mutation(
        graphql_type=ChannelPayload,
        description="Let messages of a channel go elsewhere from now on, by what they say. Scope: run.",
    )
    async def route_channel(
        self, info: Info, input: RouteChannelInput, space: InSpace = None  # noqa: A002
    ) -> ChannelPayload:  # fmt: skip
        """Route a channel."""
        routes = routes_from({"rules": cast("list[Json]", input.rules)})
        channel = await _messages(info, space, input.by).route(input.channel, () if routes is None else routes.rules)
        return ChannelPayload(channel=cast("Channel", channel))

    @strawberry.mutation(
        graphql_type=GroupPayload, description="Make a group of consumers of a channel, or return it. Scope: run."
    )
    async def subscribe_group(
        self, info: Info, input: SubscribeGroupInput, space: InSpace = None  # noqa: A002
    ) -> GroupPayload:  # fmt: skip
        """Make a group."""
        found = await _messages(info, space, input.by).subscribe(input.channel, input.group)
        return GroupPayload(group=cast("Group", found))

    @strawberry.mutation(
        graphql_type=PublishPayload,
        description="Publish a message, or hand on what came of one. What does not fit is refused. Scope: run.",
    )
    async def publish(self, info: Info, input: PublishInput, space: InSpace = None) -> PublishPayload:  # noqa: A002
        """Publish a message."""
        handle = handle_of(info, space, input.by, input.session)
        messages = messages_of(handle)
        how: dict[str, Any] = {
            "type": input.type, "source": input.source, "event_id": input.event_id, "subject": input.subject,
            "time": input.time, "extensions": object_of(input.extensions, "extensions"),
            "idempotency_key": input.idempotency_key, "ordering_key": input.ordering_key, "priority": input.priority,
            "delay_s": input.delay_seconds, "expires_s": input.expires_seconds, "caused_by": input.caused_by or (),
        }  # fmt: skip
        if input.handing_on is None:
            found = await messages.publish(input.channel, input.data, **how)
        else:
            held = await received_of(messages, input.handing_on)
            found = await hand_on(handle, held, input.channel, input.data, **how)
        return PublishPayload(
            id=strawberry.ID(found.id), receipt=strawberry.ID(found.receipt), duplicate=found.duplicate
        )  # fmt: skip

    @strawberry.mutation(
        graphql_type=ReceivePayload,
        description="Take messages; nobody else of the group gets them while they are yours. Scope: run.",
    )
    async def receive(self, info: Info, input: ReceiveInput, space: InSpace = None) -> ReceivePayload:  # noqa: A002
        """Take messages."""
        found = await _messages(info, space, input.by).receive(
            input.channel, group=input.group, most=input.most, wait_s=check_wait_s(input.wait_seconds),
            lease_s=check_lease_s(input.lease_seconds), consumer=input.consumer,
        )  # fmt: skip
        info.context.spend(2 * len(found))
        return ReceivePayload(received=[_received(one) for one in found])

    @strawberry.mutation(
        graphql_type=SettlePayload, description="Say that a message is done with; it may be said again. Scope: run."
    )
    async def ack(self, info: Info, input: AckInput, space: InSpace = None) -> SettlePayload:  # noqa: A002
        """Settle a message."""
        messages = _messages(info, space, input.by)
        held = await received_of(messages, input.hold)
        return _settled(await messages.ack(held, led_to=check_led_to(input.led_to or ())))

    @strawberry.mutation(
        graphql_type=SettlePayload,
        description="Say that a try failed: it comes again, or becomes a dead letter, by its class. Scope: run.",
    )
    async def nack(self, info: Info, input: NackInput, space: InSpace = None) -> SettlePayload:  # noqa: A002
        """Say that a try failed."""
        messages = _messages(info, space, input.by)
        fault = fault_told(input.fault, input.message, input.retry_after_seconds)
        return _settled(await messages.nack(await received_of(messages, input.hold), fault, trace=input.trace))

    @strawberry.mutation(
        graphql_type=HeartbeatPayload, description="Keep a message longer; refused once it is lost. Scope: run."
    )
    async def heartbeat(
        self, info: Info, input: HeartbeatInput, space: InSpace = None  # noqa: A002
    ) -> HeartbeatPayload:  # fmt: skip
        """Keep a message longer."""
        messages = _messages(info, space, input.by)
        held = await received_of(messages, input.hold)
        return HeartbeatPayload(until=(await messages.heartbeat(held, check_lease_s(input.lease_seconds))).until)

    @strawberry.mutation(
        graphql_type=HandBackPayload,
        description="Let others have messages at once, as if they had never been received. Scope: run.",
    )
    async def hand_back(
        self, info: Info, input: HandBackInput, space: InSpace = None  # noqa: A002
    ) -> HandBackPayload:  # fmt: skip
        """Hand messages back."""
        messages = _messages(info, space, input.by)
        if len(input.holds) > TAKEN_MAX:
            msg = f"{len(input.holds)} messages at once, more than {TAKEN_MAX:,}; hand them back in parts"
            raise LimitError(msg, limit="TAKEN_MAX", maximum=TAKEN_MAX)
        held = [await received_of(messages, one) for one in input.holds]
        return HandBackPayload(handed_back=await messages.hand_back(*held))

    @strawberry.mutation(
        graphql_type=DeadLetterPayload,
        description="Let a dead letter's group have its message again; what became of it before stays. Scope: run.",
    )
    async def redrive(self, info: Info, input: RedriveInput, space: InSpace = None) -> DeadLetterPayload:  # noqa: A002
        """Try a dead letter again."""
        found = await _messages(info, space, input.by).redrive(input.dead_letter)
        return DeadLetterPayload(dead_letter=cast("DeadLetter", found))

    @strawberry.mutation(
        graphql_type=ReplayPayload,
        description="Let a group have every message of a channel once more that came since an instant. Scope: run.",
    )
    async def replay(self, info: Info, input: ReplayInput, space: InSpace = None) -> ReplayPayload:  # noqa: A002
        """Hand the past out again."""
        count = await _messages(info, space, input.by).replay(
            input.channel, since=input.since, until=input.until, group=input.group,
            idempotency_key=input.idempotency_key,
        )  # fmt: skip
        return ReplayPayload(replayed=count)
