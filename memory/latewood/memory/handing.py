"""How a consumer elsewhere names the message in its hands, and hands what came of it on.

Over a protocol nobody keeps a `Received`: the consumer is given its *hold* as a text, and shows it with each call about
the message. It says nothing that its owner could not know, and the store judges it: a hold that was lost settles
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from latewood.execution.faults import Fault, FaultClass
from latewood.execution.messages import Messages, Post, Published, Received
from latewood.execution.messages.receiving import LEASE_S_MAX
from latewood.execution.messages.sending import CAUSES_MAX, DELAY_S_MAX
from latewood.graph_schema.commands import Command, Expect, Guard, Hold, Room, Unit
from latewood.graph_schema.errors import InvalidError, LimitError
from latewood.graph_schema.ids import is_id, normal_id
from latewood.graph_schema.values import Json
from latewood.memory.api import Memory
from latewood.memory.runs import book_of

__all__ = [
    "HOLD_CHARS_MAX",
    "REMOTE_WAIT_S_MAX",
    "check_lease_s",
    "check_led_to",
    "check_wait_s",
    "fault_told",
    "hand_on",
    "hold_of",
    "received_of",
]

HOLD_CHARS_MAX: Final = 600
"""Longest text of a hold."""
REMOTE_WAIT_S_MAX: Final = 20.0
"""Longest wait for a message over a protocol, in seconds: a request has to be answered before somebody gives it up."""
_PARTS: Final = 6
_NUMBER_DIGITS_MAX: Final = 18


def hold_of(received: Received) -> str:
    """Write what a consumer settles *received* with: channel/group/message/number/fence/owner."""
    hold = received.hold
    parts = (received.channel, received.group, hold.message, received.number, hold.fence, hold.owner)
    return "/".join(str(part) for part in parts)


async def received_of(messages: Messages, hold: str) -> Received:
    """Return the message that is held by *hold*; whether it still is shows when it is settled.

    Raises:
        InvalidError: it is none (``query.invalid``).
        NotFoundError: the channel or the message is not here (``channel.unknown``, ``message.unknown``).
    """
    # The owner comes last: its name may have anything in it.
    parts = hold.split("/", _PARTS - 1) if len(hold) <= HOLD_CHARS_MAX else []
    if len(parts) != _PARTS or not is_id(normal_id(parts[2])) or not all(_is_count(part) for part in parts[3:5]):
        msg = f"{hold[:80]!r} is no hold; give the one that came with the message, as it came"
        raise InvalidError(msg, code="query.invalid")
    name, group, message_id, number, fence, owner = parts
    channel = await messages.channel(name)
    own = next((one for one in channel.groups if one.name == group), None)
    if own is None:
        msg = f"channel {channel.name!r} has no group {group[:80]!r}; give the hold that came with the message"
        raise InvalidError(msg, code="query.invalid")
    message = await messages.message(message_id)
    # Until when it is held the store knows, and nothing here goes by it.
    return Received(
        message, channel.name, own.name, Hold(own.id, message.id, owner, int(fence)), message.recorded_at, int(number)
    )


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _NUMBER_DIGITS_MAX


def check_wait_s(wait_s: float) -> float:
    """Return *wait_s* when a request may wait so long. Raises InvalidError (``query.invalid``)."""
    if not 0 <= wait_s <= REMOTE_WAIT_S_MAX:
        msg = f"a request waits 0 to {REMOTE_WAIT_S_MAX:g} seconds for a message, not {wait_s:g}; ask again instead"
        raise InvalidError(msg, code="query.invalid")
    return wait_s


def check_lease_s(lease_s: float) -> float:
    """Return *lease_s* when a message may be held so long. Raises InvalidError (``query.invalid``)."""
    if not 0 < lease_s <= LEASE_S_MAX:
        msg = f"a message is held for up to {LEASE_S_MAX:g} seconds at a time, not {lease_s:g}"
        raise InvalidError(msg, code="query.invalid")
    return lease_s


def check_led_to(named: Sequence[str]) -> list[str]:
    """Return the ids of what followed from a message. Raises InvalidError (``query.invalid``), LimitError."""
    if len(named) > CAUSES_MAX:
        msg = f"{len(named)} things that followed from one message, more than {CAUSES_MAX}; name those that matter"
        raise LimitError(msg, limit="CAUSES_MAX", maximum=CAUSES_MAX)
    found = [normal_id(one) for one in named]
    for one in found:
        if not is_id(one):
            msg = f"{one[:80]!r} is no id; what followed from a message is named by its id"
            raise InvalidError(msg, code="query.invalid")
    return found


def fault_told(kind: FaultClass | str, words: str, retry_after_s: float | None = None) -> Fault:
    """Return the trouble that a consumer tells of.

    Raises:
        InvalidError: code ``query.invalid``; it is of no class, or the wait is without end.
    """
    if kind not in set(FaultClass):
        msg = f"{kind[:40]!r} is no class of trouble; they are {', '.join(FaultClass)}"
        raise InvalidError(msg, code="query.invalid")
    if retry_after_s is not None and not 0 <= retry_after_s <= DELAY_S_MAX:
        msg = f"a message waits 0 to {DELAY_S_MAX:,} seconds for its next try, not {retry_after_s:g}"
        raise InvalidError(msg, code="query.invalid")
    return Fault(kind, words, retry_after_s=retry_after_s)


class _Handing(Post):
    """A post whose next message is kept only while *hold* lasts, and takes the held one from its group."""

    __slots__ = ("held",)

    def __init__(self, post: Post, held: Received) -> None:
        super().__init__(post.book, post.met)
        self.held = held

    def settling(self) -> list[Command]:
        """Return the commands by which the held message is done with."""
        hold, write = self.held.hold, self.write
        return [
            *write.delivery(hold.message, hold.group, self.held.number, "acked", hold.owner),
            write.settled(hold.message, hold.group),
        ]

    def unit(
        self, commands: Sequence[Command], *, body: Json, op: str | None = None, expects: Sequence[Expect] = (),
        holds: Sequence[Hold] = (), rooms: Sequence[Room] = (), guard: Guard | None = None,
    ) -> Unit:  # fmt: skip
        """Make a unit that is guarded by the hold too."""
        return super().unit(
            commands, body=body, op=op, expects=expects, holds=[*holds, self.held.hold], rooms=rooms, guard=guard
        )  # fmt: skip


async def hand_on(
    memory: Memory, received: Received, channel: str, data: object, *, type: str | None = None,  # noqa: A002
    source: str | None = None, event_id: str | None = None, subject: str | None = None, time: datetime | None = None,
    extensions: Mapping[str, Json] | None = None, idempotency_key: str | None = None,
    ordering_key: str | None = None, priority: int = 0, delay_s: float = 0.0, expires_s: float | None = None,
    caused_by: Sequence[str] = (),
) -> Published:  # fmt: skip
    """Settle a message and publish the one that follows from it in one unit: both are kept, or neither.

    The new message names the first as its cause. Handing on twice is told so twice: the key for it is the message's own
    unless another is given.

    Raises:
        ConflictError: its time ran out and another may have it (``lease.lost``), or it was handed on with other data
            (``idempotency.conflict``); nothing was kept.
        LatewoodError: as `Messages.publish` does.
    """
    post = _Handing(Post(book_of(memory)), received)
    causes = [received.message.id, *(one for one in caused_by if one != received.message.id)]
    return await Messages(post).publish(
        channel, data, type=type, source=source, event_id=event_id, subject=subject, time=time, extensions=extensions,
        idempotency_key=idempotency_key or f"{received.key}>{channel}", ordering_key=ordering_key, priority=priority,
        delay_s=delay_s, expires_s=expires_s, caused_by=causes, also=post.settling(),
    )  # fmt: skip
