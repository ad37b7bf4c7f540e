"""Messages over GraphQL, looked at: channels, what waits in them, every try at a message, and what nobody settled."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, cast

import strawberry
from strawberry.dataloader import DataLoader
from strawberry.scalars import JSON

from latewood.execution.messages import words
from latewood.graph_schema.errors import NotFoundError
from latewood.memory.json import as_json
from latewood.memory.messages import messages_of
from latewood.server.graphql.arguments import After, First, InSpace
from latewood.server.graphql.connections import Connection, Paged, read_pages
from latewood.server.graphql.context import Info
from latewood.server.graphql.scalars import BigInt
from latewood.server.graphql.types import field
from latewood.storage.port import IDS_MAX, Page
from latewood.storage.queueing import Lane, queue_of

__all__ = ["Channel", "DeadLetter", "Delivery", "Group", "Message", "MessageQuery", "PendingMessage", "lanes"]

_FIRST: Final = 50


def lanes(info: Info) -> DataLoader[str, Lane]:
    """Return what tells how much waits for groups of the space, by their ids, many at once."""
    view = info.context.view(info)

    async def load(ids: list[str]) -> list[Lane]:
        found = await queue_of(view.memory.store).lanes(view.memory.space, ids)
        return [found[one] for one in ids]

    return view.loader("lanes", lambda: DataLoader(load, IDS_MAX))


async def _waiting(root: strawberry.Parent[words.Group], info: Info) -> int:
    return (await lanes(info).load(root.id)).pending


def _own_policy(root: strawberry.Parent[words.Group]) -> Any:
    return as_json(root.policy)


@strawberry.type(description="Consumers that share a channel's messages: each message goes to one of them.")
class Group:
    """Consumers that share a channel's messages."""

    id: strawberry.ID = field("A UUID.")
    name: str = field("Its name in the channel.")
    reads: int = field("The version of the channel's schema that it was made for.")
    owner: str | None = field("Who is asked when it cannot settle a message; null: the channel's owner.")
    policy: JSON | None = field("Its own policy; null: the channel's.", _own_policy)
    waiting: BigInt = field("How many messages it has not settled.", _waiting)


@strawberry.type(description="What a channel holds at most before publishers are told to come back.")
class ChannelLimits:
    """What a channel holds at most."""

    pending_max: BigInt = field("Messages that wait for any one of its groups.")
    bytes_max: BigInt = field("Bytes that those carry.")


def _policy(root: strawberry.Parent[words.Channel]) -> Any:
    return as_json(root.policy)


def _routes(root: strawberry.Parent[words.Channel]) -> Any:
    return as_json(root.routes)


@strawberry.type(description="Where messages of one schema go.")
class Channel:
    """Where messages of one schema go."""

    id: strawberry.ID = field("A UUID.")
    name: str = field("Its name.")
    schema: JSON | None = field("JSON Schema 2020-12 that the data of each message fits; null takes anything.")
    version: int = field("Of the schema, from 1.")
    owner: str | None = field("Who is asked when a message cannot be settled.")
    limits: ChannelLimits = field("What it holds at most.")
    policy: JSON = field("How often a failed message comes again, and how soon, by class of trouble.", _policy)
    groups: list[Group] = field("Who takes its messages, by name.")
    node_version: int = field("Goes up with every change of the channel.")
    routes: JSON | None = field("Rules by which a message goes to another channel, with their version.", _routes)


def _envelope(root: strawberry.Parent[words.Message]) -> Any:
    return root.envelope()


@strawberry.type(description="A durable hand-off, as CloudEvents 1.0 has it, with where it went and under what.")
class Message:
    """A durable hand-off."""

    id: strawberry.ID = field("A UUID.")
    channel: str = field("The channel's name.")
    type: str = field("Of the event, such as order.placed.")
    source: str = field("Who or what it comes from; with eventId unique.")
    event_id: str = field("The event's own id.")
    time: str = field("When it happened, as the event says.")
    data: JSON | None = field("What it says.")
    version: int = field("Of the channel's schema that the data fitted.")
    recorded_at: datetime = field("When it was published.")
    subject: str | None = field("What it is about.")
    ordering_key: str | None = field("Messages of one key are handed out one after another.")
    priority: int = field("0 to 9; higher ones are handed out first.")
    expires_at: datetime | None = field("When it becomes a dead letter unless it was settled.")
    rule: str | None = field("The routing rule that it came by, as channel@version/name.")
    size: int = field("Bytes of its data.")
    extensions: JSON = field("Further attributes of the event.")
    envelope: JSON = field("All of it as a CloudEvent in JSON.", _envelope)


@strawberry.type(description="A message that a group has not settled.")
class PendingMessage:
    """A message that a group has not settled."""

    message: Message = strawberry.field(description="The message.")
    state: str = strawberry.field(description="ready, later, leased, or blocked behind another of its ordering key.")


@strawberry.type(description="One try at a message by a consumer, settled.")
class Delivery:
    """One try at a message."""

    id: strawberry.ID = field("A UUID.")
    message: strawberry.ID = field("The message's id.")
    group: strawberry.ID = field("The group's id.")
    number: int = field("Which try, from 1.")
    outcome: str = field("acked, failed, dead, duplicate, redriven or replayed.")
    consumer: str = field("Who had it.")
    recorded_at: datetime = field("When that was kept.")
    fault: str | None = field("The class of the trouble.")
    words: str | None = field("The trouble's words.")
    told: JSON = field("What else was kept with it, such as the status of a webhook's answer.")


@strawberry.type(description="A message that nobody could settle, and why.")
class DeadLetter:
    """A message that nobody could settle."""

    id: strawberry.ID = field("A UUID.")
    channel: str = field("The channel's name.")
    group: str = field("The group's name.")
    fault: str = field("The class of the trouble, or expired.")
    reason: str = field("The trouble's words.")
    trace: str | None = field("Where it went wrong, as the consumer told it.")
    tries: int = field("How often it was tried.")
    owner: str | None = field("Who is asked about it.")
    status: str = field("open, or redriven.")
    recorded_at: datetime = field("When it became one.")
    message: Message | None = field("The message with its data; null when that was erased.")


def _said(text: str) -> Any:
    return strawberry.argument(description=text)


@strawberry.type
class MessageQuery:
    """Messages that are kept."""

    @strawberry.field(graphql_type=Channel | None, description="One channel; null when there is none.")
    async def channel(
        self, info: Info, name: Annotated[str, _said("Its name.")], space: InSpace = None
    ) -> words.Channel | None:  # fmt: skip
        """Read one channel."""
        view = info.context.look(info, space)
        try:
            return await messages_of(view.memory).channel(name)
        except NotFoundError as error:
            if error.code != "channel.unknown":
                raise
            return None

    @strawberry.field(graphql_type=Connection[Channel], description="Channels, in the order in which they were made.")
    async def channels(
        self, info: Info, first: First = _FIRST, after: After = None, space: InSpace = None
    ) -> Paged[words.Channel]:  # fmt: skip
        """List channels."""
        view = info.context.look(info, space)
        messages = messages_of(view.memory)

        async def read(count: int, cursor: str | None) -> Page[words.Channel]:
            return await messages.channels(first=count, after=cursor)

        found = await read_pages(read, lambda one: one.id, _FIRST if first is None else first, after)
        info.context.spend(sum(1 + len(edge.node.groups) for edge in found.edges))
        return found

    @strawberry.field(graphql_type=Message | None, description="One message; null when there is none.")
    async def message(
        self, info: Info, id: Annotated[str, _said("Its id or key.")], space: InSpace = None  # noqa: A002
    ) -> words.Message | None:  # fmt: skip
        """Read one message."""
        view = info.context.look(info, space)
        try:
            return await messages_of(view.memory).message(id)
        except NotFoundError as error:
            if error.code != "message.unknown":
                raise
            return None

    @strawberry.field(
        graphql_type=Connection[Message],
        description="Messages of all channels, the newest first, those too that were settled.",
    )
    async def messages(
        self, info: Info, first: First = _FIRST, after: After = None, space: InSpace = None
    ) -> Paged[words.Message]:  # fmt: skip
        """List messages."""
        view = info.context.look(info, space)
        messages = messages_of(view.memory)

        async def read(count: int, cursor: str | None) -> Page[words.Message]:
            return await messages.messages(first=count, after=cursor)

        found = await read_pages(read, lambda one: one.id, _FIRST if first is None else first, after)
        info.context.spend(len(found.edges))
        return found

    @strawberry.field(
        graphql_type=Connection[PendingMessage],
        description="What a group has not settled, in the order in which it came.",
    )
    async def pending_messages(
        self, info: Info, channel: Annotated[str, _said("The channel's name.")],
        group: Annotated[str, _said("The group's name.")] = "default", first: First = _FIRST, after: After = None,
        space: InSpace = None,
    ) -> Paged[PendingMessage]:  # fmt: skip
        """List what waits."""
        view = info.context.look(info, space)
        messages = messages_of(view.memory)

        async def read(count: int, cursor: str | None) -> Page[PendingMessage]:
            page = await messages.pending(channel, group=group, first=count, after=cursor)
            shown = (PendingMessage(message=cast("Message", one), state=state) for one, state in page.items)
            return Page(tuple(shown), page.next)

        found = await read_pages(read, lambda one: one.message.id, _FIRST if first is None else first, after)
        info.context.spend(len(found.edges))
        return found

    @strawberry.field(graphql_type=list[Delivery], description="Every try at a message, the first first.")
    async def deliveries(
        self, info: Info, message: Annotated[str, _said("The message's id or key.")], space: InSpace = None
    ) -> tuple[words.Delivery, ...]:  # fmt: skip
        """List the tries at a message."""
        view = info.context.look(info, space)
        found = await messages_of(view.memory).deliveries(message)
        info.context.spend(len(found))
        return found

    @strawberry.field(graphql_type=DeadLetter | None, description="One dead letter; null when there is none.")
    async def dead_letter(
        self, info: Info, id: Annotated[str, _said("Its id or key.")], space: InSpace = None  # noqa: A002
    ) -> words.DeadLetter | None:  # fmt: skip
        """Read one dead letter."""
        view = info.context.look(info, space)
        try:
            return await messages_of(view.memory).dead_letter(id)
        except NotFoundError as error:
            if error.code != "message.unknown":
                raise
            return None

    @strawberry.field(graphql_type=Connection[DeadLetter], description="Dead letters, the newest first.")
    async def dead_letters(
        self, info: Info,
        status: Annotated[str | None, _said("Only these: open or redriven; null: both.")] = "open",
        fault: Annotated[str | None, _said("Only of this class of trouble, such as schema or expired.")] = None,
        first: First = _FIRST, after: After = None, space: InSpace = None,
    ) -> Paged[words.DeadLetter]:  # fmt: skip
        """List dead letters."""
        view = info.context.look(info, space)
        messages = messages_of(view.memory)

        async def read(count: int, cursor: str | None) -> Page[words.DeadLetter]:
            return await messages.dead_letters(status=status, fault=fault, first=count, after=cursor)

        found = await read_pages(read, lambda one: one.id, _FIRST if first is None else first, after)
        info.context.spend(2 * len(found.edges))
        return found
