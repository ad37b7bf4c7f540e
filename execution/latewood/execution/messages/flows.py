"""What a workflow does with messages: sending and receiving are steps, whose message and completion are one unit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from latewood.execution.messages.post import Post
from latewood.execution.messages.receiving import LEASE_S, WAIT_S_MAX, Receiving
from latewood.execution.messages.sending import Sending, plain_json
from latewood.execution.messages.words import Received
from latewood.execution.running import AbandonedError, Execution, here
from latewood.execution.words import Place, Step, StepStatus
from latewood.execution.workflow import digest_of
from latewood.graph_schema.commands import Command
from latewood.graph_schema.errors import ConflictError, InvalidError
from latewood.graph_schema.values import Json

__all__ = ["RECEIVE_S_MAX", "receive", "send"]

RECEIVE_S_MAX: Final = 90 * 86_400
"""Longest that a workflow waits for a message, in seconds."""


class _Hands(Sending, Receiving):
    def __init__(self, run: Execution) -> None:
        self._post = Post(run.book)


def _done(run: Execution, step_id: str, place: Place, name: str, digest: str, output: Json) -> list[Command]:
    step = run.write.step(run.run.id, step_id, place, name, "message", digest)
    return [*step, *run.write.completed(step_id, output)]


def _remember(run: Execution, step_id: str, place: Place, name: str, digest: str, output: Json) -> None:
    run.remember(Step(step_id, place, name, "message", digest, StepStatus.COMPLETED, output=output))


async def send(
    channel: str, data: object, *, type: str | None = None, subject: str | None = None,  # noqa: A002
    ordering_key: str | None = None, priority: int = 0, delay_s: float = 0.0, expires_s: float | None = None,
    caused_by: Sequence[str] = (),
) -> str:  # fmt: skip
    """Publish a message as a step of the workflow that this runs in, and return its id.

    The message and the step's completion are kept together: whenever the worker dies, it is sent once. It is caused by
    the run. Outside of a workflow, or within one of its steps, use `Messages.publish`.

    Raises:
        InvalidError: this runs in no workflow (``run.outside``), or as `Messages.publish` does.
        NotFoundError, LimitError: as `Messages.publish` does.
    """
    run, scope = here("send")
    place, hands = scope.next(), _Hands(run)
    payload, _ = plain_json(data, "the data of a message")
    said: Json = [channel, payload, type, subject, ordering_key, priority, delay_s, expires_s, list(caused_by)]
    digest = digest_of("send", said)
    kept = run.recall(place, "send", digest)
    if kept is not None and kept.completed:
        return str(kept.output)
    step_id, message_id = run.book.ids.new(), run.book.ids.new()
    try:
        await hands.publish(
            channel, payload, type=type, subject=subject, ordering_key=ordering_key, priority=priority,
            delay_s=delay_s, expires_s=expires_s, caused_by=[run.run.id, *caused_by], message_id=message_id,
            also=_done(run, step_id, place, "send", digest, message_id), guard=run.guard,
        )  # fmt: skip
    except ConflictError as error:
        raise _abandoned(run, error) from error
    _remember(run, step_id, place, "send", digest, message_id)
    return message_id


async def receive(
    channel: str, *, group: str = "default", deadline_s: float = 86_400.0, lease_s: float = LEASE_S
) -> dict[str, Json] | None:  # fmt: skip
    """Wait for a message of a channel and return it as a CloudEvent in JSON; None when there was none in time.

    It is acknowledged in the unit that completes the step: whenever the worker dies, either the run has it, or it goes
    to another. The run follows from it: `caused_by`. While it waits the run stays with its worker.

    Raises:
        InvalidError: this runs in no workflow (``run.outside``), or the deadline is out of bounds.
        NotFoundError: code ``channel.unknown``.
    """
    if not 0 <= deadline_s <= RECEIVE_S_MAX:
        raise InvalidError(f"a workflow waits 0 to {RECEIVE_S_MAX:,} seconds for a message, not {deadline_s}")
    run, scope = here("receive")
    place, hands = scope.next(), _Hands(run)
    digest = digest_of("receive", [channel, group])
    kept = run.recall(place, "receive", digest)
    if kept is not None and kept.completed:
        return kept.output if isinstance(kept.output, dict) else None
    give_up = time.monotonic() + deadline_s
    while True:
        left = max(0.0, give_up - time.monotonic())
        found = await hands.receive(
            channel, group=group, wait_s=min(left, WAIT_S_MAX), lease_s=lease_s, consumer=f"run:{run.run.id}"
        )
        run.check_open()
        if found or not left:
            break
    step_id = run.book.ids.new()
    if not found:
        await run.keep(_done(run, step_id, place, "receive", digest, None), ["receive", channel, None])
        _remember(run, step_id, place, "receive", digest, None)
        return None
    return await _taken(run, hands, found[0], step_id, place, digest)


async def _taken(
    run: Execution, hands: _Hands, received: Received, step_id: str, place: Place, digest: str
) -> dict[str, Json]:  # fmt: skip
    output = received.message.envelope()
    follows = run.write.edge(run.run.id, "caused_by", received.message.id)
    also = [*_done(run, step_id, place, "receive", digest, output), follows]
    try:
        settled = await hands.ack(received, also=also, guard=run.guard)
    except ConflictError as error:
        raise _abandoned(run, error) from error
    if settled.outcome != "acked":
        # Another was quicker, and nothing of this was kept: the next go receives another message.
        run.closed = True
        raise AbandonedError(f"the message {received.message.id} was settled by another")
    _remember(run, step_id, place, "receive", digest, output)
    return output


def _abandoned(run: Execution, error: ConflictError) -> BaseException:
    """Return what ends this go at the run when its lease, or the message's, is lost; another go tries again."""
    if error.code != "lease.lost":
        return error
    run.closed = True
    return AbandonedError(error.message)
