"""Watching a ledger, and the messages of a channel."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, cast

import strawberry

from latewood.graph_schema import events
from latewood.graph_schema.errors import ForbiddenError, InvalidError, NotFoundError
from latewood.graph_schema.model import LedgerName, NodeKind
from latewood.memory.messages import messages_of
from latewood.server.graphql.answers import LedgerEntry
from latewood.server.graphql.arguments import InSpace
from latewood.server.graphql.context import Info
from latewood.server.graphql.messages import Message
from latewood.server.graphql.patterns import PatternSubscription
from latewood.server.graphql.scalars import BigInt, Ledger

__all__ = ["Subscription"]

_ALL = BigInt(0)


@strawberry.type(description="A message of a channel, and the row of the execution ledger that it came with.")
class PublishedMessage:
    """A message and its place."""

    seq: BigInt = strawberry.field(description="Pass the last one you have as `after` to go on behind it.")
    message: Message = strawberry.field(description="The message.")


def _channel_of(entry: events.LedgerEntry) -> str | None:
    """Return the channel to which the message went that a row publishes, if it does."""
    event = entry.event
    if event.kind is not events.EventKind.DECLARED or event.payload.get("kind") != NodeKind.MESSAGE:
        return None
    said = event.payload.get("attributes")
    channel = said.get("channel") if isinstance(said, dict) else None
    return channel if isinstance(channel, str) else None


@strawberry.type(description="What is pushed as it happens, over graphql-transport-ws or as server-sent events.")
class Subscription(PatternSubscription):
    """What is pushed as it happens."""

    @strawberry.subscription(
        graphql_type=LedgerEntry,
        description="The ledger's rows behind `after`, then each new one as it is written: each once, none missed.",
    )
    async def changes(
        self, info: Info,
        after: Annotated[BigInt | None, strawberry.argument(description="The last row you have; 0 for all.")] = _ALL,
        ledger: Annotated[Ledger | None, strawberry.argument(description="Which one.")] = Ledger.KNOWLEDGE,
        space: InSpace = None,
    ) -> AsyncGenerator[events.LedgerEntry, None]:  # fmt: skip
        """Follow a ledger."""
        seq = after or 0
        if seq < 0:
            raise InvalidError(f"after is {seq}; a ledger begins behind 0", code="cursor.invalid")
        view = info.context.look(info, space)
        named: LedgerName = "execution" if ledger is Ledger.EXECUTION else "knowledge"
        heads = {one.name: one.seq[named] for one in await view.memory.spaces()}
        info.context.head = heads.get(view.memory.space, 0)
        async for entry in view.memory.watch(seq, ledger=named):
            await _check_still(info)
            yield entry

    @strawberry.subscription(
        graphql_type=PublishedMessage,
        description="A channel's messages behind `after`, then each as it is published: each once, none missed. "
        "It looks on and takes none away: that does `receive`.",
    )
    async def messages(
        self, info: Info, channel: Annotated[str, strawberry.argument(description="The channel's name.")],
        after: Annotated[BigInt | None, strawberry.argument(description="The last seq you have; 0 for all.")] = _ALL,
        space: InSpace = None,
    ) -> AsyncGenerator[PublishedMessage, None]:  # fmt: skip
        """Follow a channel."""
        seq = after or 0
        if seq < 0:
            raise InvalidError(f"after is {seq}; a ledger begins behind 0", code="cursor.invalid")
        memory = info.context.look(info, space).memory
        kept = messages_of(memory)
        await kept.channel(channel)
        async for entry in memory.watch(seq, ledger="execution"):
            if _channel_of(entry) != channel:
                continue
            await _check_still(info)
            try:
                message = await kept.message(entry.event.id)
            except NotFoundError:
                # Erased between: there is nothing left to tell of.
                continue
            yield PublishedMessage(seq=BigInt(entry.seq), message=cast("Message", message))


async def _check_still(info: Info) -> None:
    if not await info.context.still():
        raise ForbiddenError("the credential of this subscription counts no more", code="credential.expired")
