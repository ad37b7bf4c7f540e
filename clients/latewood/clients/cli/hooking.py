"""`latewood webhooks`: which addresses elsewhere get the messages of a channel, and what they answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import webhooks
from latewood.clients.cli.options import After, First

if TYPE_CHECKING:
    from latewood.execution.webhooks import NewSecret, Webhook, WebhookReceipt, Webhooks
    from latewood.storage.port import Page

__all__: list[str] = []

_HOUR_S: Final = 3_600.0
_TIMEOUT_S: Final = 15.0
Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="As `latewood webhooks list` shows it.")]


def _webhooks(call: Call) -> Webhooks:
    from latewood.execution.webhooks import Targets
    from latewood.memory.webhooks import webhooks_of

    return webhooks_of(call.memory, Targets.read(call.settings.webhook_networks))


def _describe(call: Call, webhook: Webhook) -> None:
    field = call.screen.field
    field("webhook", f"{webhook.name}, {webhook.state}")
    field("delivers", f"{webhook.channel} to {webhook.url}, within {webhook.timeout_s:g} s")
    field("owner", webhook.owner)
    if webhook.previous_until is not None:
        field("old secret", f"signs too until {webhook.previous_until:%Y-%m-%d %H:%M} UTC")


async def _show_secret(call: Call, made: NewSecret) -> None:
    """Show a webhook and its new secret, once."""
    _describe(call, made.webhook)
    call.screen.field("secret", made.secret)
    call.screen.note("Keep it where the calls are checked: it is never shown again.")


async def _show_webhook(call: Call, webhook: Webhook) -> None:
    """Show a webhook."""
    _describe(call, webhook)


async def _show_webhooks(call: Call, found: tuple[Webhook, ...]) -> None:
    """Show webhooks."""
    for webhook in found:
        _describe(call, webhook)
        call.screen.say("")
    if not found:
        call.screen.note("no webhooks; make one with `latewood webhooks add`")


async def _show_removed(call: Call, removed: dict[str, int]) -> None:
    """Show what a removal let go of."""
    call.screen.say(f"removed; {removed['dropped']} messages that waited for it were let go")


async def _show_receipts(call: Call, page: Page[WebhookReceipt]) -> None:
    """Show what calls came to, a line each."""
    for one in page.items:
        answer = f"{one.status} in {one.took_ms} ms" if one.status is not None else "no answer"
        why = f", {one.fault}: {one.words}" if one.fault else ""
        at = f"{one.recorded_at:%Y-%m-%d %H:%M:%S}"
        call.screen.say(f"{at}  {one.outcome}, try {one.number} at {one.message}: {answer}{why}")
    if not page.items:
        call.screen.note("it was not called yet")
    elif page.next is not None:
        call.screen.note(f"more with --after {page.next}")


@command(webhooks, writes=True, show=_show_secret)
async def add(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called by here.")],
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="Whose messages it gets, from here on.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Where they are posted, https.")],
    *,
    owner: Annotated[
        str, typer.Option("--owner", metavar="ACTOR", help="Who is asked when one cannot be delivered: human:ada.")
    ],
    within: Annotated[
        float, typer.Option("--within", metavar="SECONDS", help="How long one call may take, up to 60.")
    ] = _TIMEOUT_S,
) -> NewSecret:
    """Have each message of a channel posted to an address by `latewood serve`, as a CloudEvent, signed.

    The signature is that of Standard Webhooks; its secret is shown once. A private address is refused unless
    LATEWOOD_WEBHOOK_NETWORKS names its network.

    Example: `latewood webhooks add erp orders https://erp.example/hooks --owner human:ada`
    """
    return await _webhooks(call).add(name, channel, url, owner=owner, timeout_s=within)


@command(webhooks, "list", show=_show_webhooks)
async def list_webhooks(call: Call) -> tuple[Webhook, ...]:
    """List the webhooks of the space, without their secrets.

    Example: `latewood webhooks list --json`
    """
    return await _webhooks(call).webhooks()


@command(webhooks, writes=True, show=_show_secret)
async def rotate(
    call: Call, name: Name,
    grace: Annotated[float, typer.Option("--grace", metavar="HOURS", help="How long the old one signs too.")] = 24.0,
) -> NewSecret:  # fmt: skip
    """Make a new secret and show it; for a while calls carry both signatures.

    Example: `latewood webhooks rotate erp --grace 48`
    """
    return await _webhooks(call).rotate(name, grace_s=grace * _HOUR_S)


@command(webhooks, writes=True, show=_show_webhook)
async def pause(call: Call, name: Name) -> Webhook:
    """Call a webhook no more until it is resumed; what comes for it waits, and counts towards the channel's limits.

    Example: `latewood webhooks pause erp`
    """
    return await _webhooks(call).pause(name)


@command(webhooks, writes=True, show=_show_webhook)
async def resume(call: Call, name: Name) -> Webhook:
    """Call a webhook again that was paused, or that answered 410 Gone.

    Example: `latewood webhooks resume erp`
    """
    return await _webhooks(call).resume(name)


@command(webhooks, writes=True, show=_show_removed)
async def remove(call: Call, name: Name) -> dict[str, int]:
    """Deliver nothing more to a webhook; what waits for it is let go, and its receipts stay.

    Example: `latewood webhooks remove erp`
    """
    return {"dropped": await _webhooks(call).remove(name)}


@command(webhooks, show=_show_receipts)
async def receipts(
    call: Call, name: Name, after: After = None,
    first: First = 20,
) -> Page[WebhookReceipt]:  # fmt: skip
    """List what a webhook answered to each call, the newest first.

    Example: `latewood webhooks receipts erp`
    """
    return await _webhooks(call).receipts(name, first=first, after=after)
