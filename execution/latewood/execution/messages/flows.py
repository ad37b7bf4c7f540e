"""What a workflow does with messages: sending and receiving are steps, whose message and completion are one unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from latewood.execution.leaving import AbandonedError, SuspendedError
from latewood.execution.messages.post import Post
from latewood.execution.messages.receiving import LEASE_S, Receiving, check_lease
from latewood.execution.messages.sending import Sending, plain_json
from latewood.execution.messages.words import Received
from latewood.execution.running import Execution, here
from latewood.execution.words import Place, Step, StepStatus
from latewood.execution.workflow import digest_of, placed
from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Command
from latewood.graph_schema.errors import ConflictError, InvalidError
from latewood.graph_schema.values import Json
from latewood.storage.crashpoints import reach

__all__ = ["RECEIVE_S_MAX", "receive", "send"]

RECEIVE_S_MAX: Final = 90 * 86_400
"""Longest that a workflow waits for a message, in seconds."""
_SECOND: Final = 1_000_000


class _Hands(Sending, Receiving):
    def __init__(self, run: Execution) -> None:
        self._post = Post(run.book, run.channels)
        self._run = run

    async def next(self, channel: str, group: str, lease_s: float) -> tuple[Received | None, str]:
        """Return what was taken for this go at the run, or can be taken now, and the id of the group."""
        known = await self._post.channel(channel)
        own = await self._post.group(known, group)
        handed = self._run.handed.pop(own.id, None)
        found = () if handed is None else await self._opened(known, own, [handed])
        if not found:
            found = await self.receive(channel, group=group, lease_s=lease_s, consumer=f"run:{self._run.run.id}")
        return (found[0] if found else None), own.id


def _done(
    run: Execution, place: Place, name: str, digest: str, output: Json, kept: Step | None = None
) -> tuple[str, list[Command]]:  # fmt: skip
    """Return the step's id and what keeps that it is completed: a part of its node where that is new (record 0087)."""
    if kept is not None:
        return kept.id, run.write.completed(kept.id, output)
    step_id, status = run.book.ids.new(), str(StepStatus.COMPLETED)
    return step_id, run.write.step(
        run.run.id, step_id, place, name, "message", digest, status=status, output=output
    )  # fmt: skip


def _remember(run: Execution, step_id: str, place: Place, name: str, digest: str, output: Json) -> None:
    run.remember(Step(step_id, place, name, "message", digest, StepStatus.COMPLETED, output=output))


@placed
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
    message_id = run.book.ids.new()
    step_id, done = _done(run, place, "send", digest, message_id)
    try:
        await hands.publish(
            channel, payload, type=type, subject=subject, ordering_key=ordering_key, priority=priority,
            delay_s=delay_s, expires_s=expires_s, caused_by=[run.run.id, *caused_by], message_id=message_id,
            also=done, guard=run.guard,
        )  # fmt: skip
    except ConflictError as error:
        raise _abandoned(run, error) from error
    _remember(run, step_id, place, "send", digest, message_id)
    return message_id


@placed
async def receive(
    channel: str, *, group: str = "default", deadline_s: float = 86_400.0, lease_s: float = LEASE_S
) -> dict[str, Json] | None:  # fmt: skip
    """Wait for a message of a channel and return it as a CloudEvent in JSON; None when there was none in time.

    It is acknowledged in the unit that completes the step: whenever the worker dies, either the run has it, or it goes
    to another. The run follows from it: `caused_by`. While nothing is there the run holds no worker: that it waits is
    kept, with its deadline, and a message wakes it.

    Args:
        lease_s: how long the message is this run's before another gets it, should the worker die with it.

    Raises:
        InvalidError: this runs in no workflow (``run.outside``), or the deadline or the lease is out of bounds.
        NotFoundError: code ``channel.unknown``.
    """
    if not 0 <= deadline_s <= RECEIVE_S_MAX:
        raise InvalidError(f"a workflow waits 0 to {RECEIVE_S_MAX:,} seconds for a message, not {deadline_s}")
    check_lease(lease_s)
    run, scope = here("receive")
    place, hands = scope.next(), _Hands(run)
    digest = digest_of("receive", [channel, group])
    kept = run.recall(place, "receive", digest)
    if kept is not None and kept.completed:
        return kept.output if isinstance(kept.output, dict) else None
    found, group_id = await hands.next(channel, group, lease_s)
    run.check_open()
    if found is not None:
        return await _taken(run, hands, found, place, digest, kept)
    now = run.book.clock.now()
    give_up = now + round(deadline_s * _SECOND) if kept is None else kept.wake_at or 0
    if give_up > now:
        if kept is None:
            await _keep_waiting(run, place, digest, {"channel": channel, "group": group}, give_up)
        raise SuspendedError(give_up, groups={group_id: lease_s})
    step_id, commands = _done(run, place, "receive", digest, None, kept)
    await run.keep(commands, ["receive", channel, None])
    _remember(run, step_id, place, "receive", digest, None)
    return None


async def _keep_waiting(run: Execution, place: Place, digest: str, awaits: dict[str, Json], until: Micros) -> None:
    step_id = run.book.ids.new()
    commands = run.write.step(run.run.id, step_id, place, "receive", "message", digest, awaits=awaits, wake_at=until)
    await run.keep([*commands, run.write.waiting(step_id)], ["receive", awaits, until])
    run.remember(Step(step_id, place, "receive", "message", digest, StepStatus.WAITING, wake_at=until))
    reach("message.awaited")


async def _taken(
    run: Execution, hands: _Hands, received: Received, place: Place, digest: str, kept: Step | None
) -> dict[str, Json]:  # fmt: skip
    output = received.message.envelope()
    follows = run.write.edge(run.run.id, "caused_by", received.message.id)
    step_id, commands = _done(run, place, "receive", digest, output, kept)
    try:
        settled = await hands.ack(received, also=[*commands, follows], guard=run.guard)
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
