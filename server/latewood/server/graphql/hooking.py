"""Webhooks over GraphQL: which addresses elsewhere get the messages of a channel, and what they answered.

Scope: admin, since what a tenant holds goes out over them; whoever changes one writes to the execution ledger: run too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import strawberry

from latewood.execution import webhooks as hooks
from latewood.execution.webhooks.registry import GRACE_S_MAX, TIMEOUT_S, TIMEOUT_S_MAX
from latewood.memory.webhooks import webhooks_of
from latewood.server.graphql.arguments import After, By, First, InSpace, described
from latewood.server.graphql.connections import Connection, Paged, read_pages
from latewood.server.graphql.context import Info
from latewood.server.graphql.keys import administered
from latewood.server.graphql.messages import lanes
from latewood.server.graphql.posting import handle_of
from latewood.server.graphql.scalars import BigInt, describe
from latewood.server.graphql.types import field
from latewood.storage.port import Page

__all__ = ["HookMutation", "HookQuery"]

_FIRST: Final = 50
_HOUR_S: Final = 3_600
_WHAT: Final = "looking after webhooks"
describe(
    hooks.HookState,
    "Whether a webhook is called.",
    {
        hooks.HookState.ON: "It is.",
        hooks.HookState.PAUSED: "Somebody paused it: what comes for it waits.",
        hooks.HookState.GONE: "It answered 410: what comes for it becomes a dead letter until it is resumed.",
        hooks.HookState.REMOVED: "Somebody removed it: nothing comes for it.",
    },
)


def _seconds(root: strawberry.Parent[hooks.Webhook]) -> float:
    return root.timeout_s


async def _waiting(root: strawberry.Parent[hooks.Webhook], info: Info) -> int:
    return (await lanes(info).load(root.id)).pending


@strawberry.type(description="An address elsewhere that each message of a channel is posted to.")
class Webhook:
    """An address elsewhere that gets messages."""

    id: strawberry.ID = field("A UUID.")
    name: str = field("What it is called by.")
    channel: str = field("Whose messages it gets.")
    group: str = field("Its group in the channel.")
    url: str = field("Where they are posted.")
    owner: str = field("Who is asked when one cannot be delivered.")
    timeout_seconds: float = field("How long one call may take.", _seconds)
    state: hooks.HookState = field("Whether it is called.")
    recorded_at: datetime = field("When it was added.")
    previous_until: datetime | None = field("Until when the secret before the present one signs too.")
    waiting: BigInt = field("How many messages it has not taken.", _waiting)


@strawberry.type(description="What became of one call of a webhook.")
class WebhookReceipt:
    """What became of one call."""

    id: strawberry.ID = field("A UUID.")
    message: strawberry.ID = field("The message's id.")
    number: int = field("Which try at the message, from 1.")
    outcome: str = field("acked; failed, and tried again; dead; or dropped, with the webhook.")
    recorded_at: datetime = field("When that was kept.")
    status: int | None = field("Of the answer; null where there was none.")
    took_ms: int | None = field("How long the answer took, in milliseconds.")
    digest: str | None = field("SHA-256 of the first 64 KiB of the answer.")
    fault: str | None = field("The class of the trouble.")
    words: str | None = field("The trouble's words.")


@strawberry.input(description="An address that is to get the messages of a channel from here on.")
class AddWebhookInput(By):
    """A new webhook."""

    name: str = described("What it is called by: 1-80 letters, digits, '.', '_' or '-'.")
    channel: str = described("Whose messages it gets.")
    url: str = described("Where they are posted: https, and a public address unless the server was told otherwise.")
    owner: str = described("Who is asked when one cannot be delivered, such as human:ada.")
    timeout_seconds: float = described(f"How long one call may take, up to {TIMEOUT_S_MAX:g}.", TIMEOUT_S)


@strawberry.input(description="A webhook whose calls are to be signed with another secret.")
class RotateWebhookInput(By):
    """A webhook that gets another secret."""

    name: str = described("Which one.")
    grace_hours: float = described(
        f"How long the old secret signs too, up to {GRACE_S_MAX // _HOUR_S}.", 24.0
    )  # fmt: skip


@strawberry.input(description="A webhook that is to be paused, resumed or removed.")
class WebhookInput(By):
    """Which webhook."""

    name: str = described("Which one.")


@strawberry.type(description="A webhook as it is now.")
class WebhookPayload:
    """A webhook as it is now."""

    webhook: Webhook = field("The webhook.")


@strawberry.type(description="A webhook with the secret that signs its calls from now on.")
class NewWebhookSecret:
    """A webhook with its new secret."""

    webhook: Webhook = field("The webhook.")
    secret: str = field("Shown this once; it is not kept in words.")


@strawberry.type(description="That nothing more is delivered to a webhook.")
class RemoveWebhookPayload:
    """That a webhook is removed."""

    dropped: int = strawberry.field(description="How many messages that waited for it were let go.")


async def _look(info: Info, space: str | None) -> hooks.Webhooks:
    await administered(info, _WHAT)
    return webhooks_of(info.context.look(info, space).memory, info.context.targets)


async def _change(info: Info, space: str | None, by: str | None) -> hooks.Webhooks:
    await administered(info, _WHAT)
    return webhooks_of(handle_of(info, space, by), info.context.targets)


def _shown(webhook: hooks.Webhook) -> WebhookPayload:
    return WebhookPayload(webhook=webhook)  # pyright: ignore[reportArgumentType]


@strawberry.type
class HookQuery:
    """Webhooks, without their secrets. Scope: admin."""

    @strawberry.field(
        graphql_type=list[Webhook], description="The webhooks that were not removed, the first first. Scope: admin."
    )
    async def webhooks(self, info: Info, space: InSpace = None) -> tuple[hooks.Webhook, ...]:
        """List webhooks."""
        found = await (await _look(info, space)).webhooks()
        info.context.spend(len(found))
        return found

    @strawberry.field(
        graphql_type=Connection[WebhookReceipt],
        description="What became of the calls of a webhook, the newest first; of a removed one too. Scope: admin.",
    )
    async def webhook_receipts(
        self, info: Info, name: Annotated[str, strawberry.argument(description="The webhook's name.")],
        first: First = _FIRST, after: After = None, space: InSpace = None,
    ) -> Paged[hooks.WebhookReceipt]:  # fmt: skip
        """List what a webhook answered."""
        known = await _look(info, space)

        async def read(count: int, cursor: str | None) -> Page[hooks.WebhookReceipt]:
            return await known.receipts(name, first=count, after=cursor)

        found = await read_pages(read, lambda one: one.id, _FIRST if first is None else first, after)
        info.context.spend(len(found.edges))
        return found


@strawberry.type
class HookMutation:
    """What is done with webhooks. Scopes: admin and run."""

    @strawberry.mutation(
        graphql_type=NewWebhookSecret,
        description="Have each message of a channel from here on posted to an address, signed. Scopes: admin and run.",
    )
    async def add_webhook(
        self, info: Info, input: AddWebhookInput, space: InSpace = None  # noqa: A002
    ) -> hooks.NewSecret:  # fmt: skip
        """Add a webhook."""
        known = await _change(info, space, input.by)
        return await known.add(
            input.name, input.channel, input.url, owner=input.owner, timeout_s=input.timeout_seconds
        )  # fmt: skip

    @strawberry.mutation(
        graphql_type=NewWebhookSecret,
        description="Sign its calls with a new secret, for a while with the old one too. Scopes: admin and run.",
    )
    async def rotate_webhook(
        self, info: Info, input: RotateWebhookInput, space: InSpace = None  # noqa: A002
    ) -> hooks.NewSecret:  # fmt: skip
        """Let another secret follow."""
        known = await _change(info, space, input.by)
        return await known.rotate(input.name, grace_s=input.grace_hours * _HOUR_S)

    @strawberry.mutation(
        graphql_type=WebhookPayload,
        description="Call a webhook no more until it is resumed; what comes for it waits. Scopes: admin and run.",
    )
    async def pause_webhook(
        self, info: Info, input: WebhookInput, space: InSpace = None  # noqa: A002
    ) -> WebhookPayload:  # fmt: skip
        """Pause a webhook."""
        return _shown(await (await _change(info, space, input.by)).pause(input.name))

    @strawberry.mutation(
        graphql_type=WebhookPayload,
        description="Call a webhook again that was paused or answered 410. Scopes: admin and run.",
    )
    async def resume_webhook(
        self, info: Info, input: WebhookInput, space: InSpace = None  # noqa: A002
    ) -> WebhookPayload:  # fmt: skip
        """Resume a webhook."""
        return _shown(await (await _change(info, space, input.by)).resume(input.name))

    @strawberry.mutation(
        graphql_type=RemoveWebhookPayload,
        description="Deliver nothing more to a webhook; what waits is let go, receipts stay. Scopes: admin and run.",
    )
    async def remove_webhook(
        self, info: Info, input: WebhookInput, space: InSpace = None  # noqa: A002
    ) -> RemoveWebhookPayload:  # fmt: skip
        """Remove a webhook."""
        return RemoveWebhookPayload(dropped=await (await _change(info, space, input.by)).remove(input.name))
