"""`latewood messages receive`, and what is said of a message in one's hands: done, failed, or for others to have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import messages
from latewood.clients.cli.messaging import ChannelName, Group, messages_called
from latewood.graph_schema.clock import iso

if TYPE_CHECKING:
    from latewood.execution.messages import Message, Messages, Received, Settled

__all__ = ["CLASSES"]

_LEASE_S = 900.0
# Written out: what has them takes long to load.
CLASSES = "transient, rate-limit, permanent, invalid-tool-call, schema, ambiguous, poison, lost-worker"
Hold: TypeAlias = Annotated[str, typer.Argument(metavar="HOLD", help="Of the message, as `receive` gave it.")]


@dataclass(frozen=True, slots=True)
class InHand:
    """A message in the hands of whoever asked for it: *hold* settles it, until *until*."""

    hold: str
    until: datetime
    number: int
    key: str
    message: Message


@dataclass(frozen=True, slots=True)
class HandedBack:
    """Whether a message was still the caller's, so that others can have it now."""

    handed_back: bool


async def _held(call: Call, hold: str) -> tuple[Messages, Received]:
    from latewood.memory.handing import received_of

    own = messages_called(call)
    return own, await received_of(own, hold)


async def _show_received(call: Call, found: tuple[InHand, ...]) -> None:
    """Show what was received, and how to settle it."""
    if not found:
        call.screen.say("nothing waits; --wait 20 waits for a message")
    for one in found:
        field, message = call.screen.field, one.message
        call.screen.say(f"{message.subject or message.type}, from {message.source}", style="bold")
        field("message", message.id)
        field("data", json.dumps(message.data, ensure_ascii=False))
        field("rule", message.rule)
        field("try", str(one.number))
        field("yours until", iso(one.until))
        field("done", f"latewood messages ack {one.hold}")
        field("failed", f"latewood messages nack {one.hold} CLASS WORDS")


async def _show_settled(call: Call, one: Settled) -> None:
    """Show what became of a message."""
    call.screen.say(one.outcome)
    call.screen.field("again at", None if one.retry_at is None else iso(one.retry_at))
    call.screen.field("dead letter", one.dead_letter)


async def _show_handed_back(call: Call, found: HandedBack) -> None:
    """Show whether a message was still there to be handed back."""
    call.screen.say("others can have it now" if found.handed_back else "it was not yours any more")


@command(messages, "receive", writes=True, show=_show_received)
async def receive(
    call: Call, name: ChannelName, *,
    group: Group = "default",
    most: Annotated[int, typer.Option("--most", metavar="N", help="How many at most.")] = 1,
    wait: Annotated[float, typer.Option("--wait", metavar="SECONDS", help="How long to wait for one.")] = 0.0,
    lease: Annotated[float, typer.Option("--lease", metavar="SECONDS", help="How long it is yours.")] = _LEASE_S,
) -> tuple[InHand, ...]:  # fmt: skip
    """Take messages: nobody else gets them while they are yours. What is not settled in its time goes to another.

    Example: `latewood messages receive human:ada --by human:ada`
    """
    from latewood.memory.handing import hold_of

    found = await messages_called(call).receive(name, group=group, most=most, wait_s=wait, lease_s=lease)
    return tuple(InHand(hold_of(one), one.until, one.number, one.key, one.message) for one in found)


@command(messages, "ack", writes=True, show=_show_settled)
async def ack(
    call: Call, hold: Hold, *,
    led_to: Annotated[
        list[str] | None,
        typer.Option("--led-to", metavar="ID", help="A decision or message that followed from it; may be repeated."),
    ] = None,
) -> Settled:  # fmt: skip
    """Say that a message is done with: its group never gets it again.

    Example: `latewood messages ack HOLD --led-to 019a...`
    """
    from latewood.memory.handing import check_led_to

    own, held = await _held(call, hold)
    return await own.ack(held, led_to=check_led_to(led_to or ()))


@command(messages, "nack", writes=True, show=_show_settled)
async def nack(
    call: Call, hold: Hold,
    kind: Annotated[str, typer.Argument(metavar="CLASS", help=f"Of the trouble: {CLASSES}.")],
    words: Annotated[str, typer.Argument(metavar="WORDS", help="What went wrong.")], *,
    retry_after: Annotated[
        float | None, typer.Option("--retry-after", metavar="SECONDS", help="How long to wait, if told.")
    ] = None,
) -> Settled:  # fmt: skip
    """Say that the work failed: the message comes again, or becomes a dead letter, as its channel's policy says.

    Example: `latewood messages nack HOLD permanent "there is no such carrier"`
    """
    from latewood.memory.handing import fault_told

    own, held = await _held(call, hold)
    return await own.nack(held, fault_told(kind, words, retry_after))


@command(messages, "hand-back", writes=True, show=_show_handed_back)
async def hand_back(call: Call, hold: Hold) -> HandedBack:
    """Let others have a message at once, as if it had never been received.

    Example: `latewood messages hand-back HOLD`
    """
    own, held = await _held(call, hold)
    return HandedBack(await own.hand_back(held) == 1)
