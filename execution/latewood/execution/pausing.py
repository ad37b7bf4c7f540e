"""What a workflow awaits beside its steps: time, an answer, and several things at once."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar

from latewood.execution.fanning import Branches
from latewood.execution.faults import Action, Fault, FaultClass
from latewood.execution.leaving import SuspendedError, merged, strand
from latewood.execution.running import WAIT_HERE_S, Execution, StepFailedError, here
from latewood.execution.words import Place, Step, StepStatus
from latewood.execution.workflow import HERE, Scope, digest_of, placed
from latewood.execution.writing import checked_json
from latewood.graph_schema.commands import Expect, Ref
from latewood.graph_schema.errors import ConflictError, InvalidError, LimitError
from latewood.graph_schema.values import Json, check_text
from latewood.storage.crashpoints import reach

__all__ = ["BRANCHES_MAX", "CHOICES_MAX", "SLEEP_S_MAX", "OnTimeout", "ask", "gather", "question_of", "sleep"]

T = TypeVar("T")
OnTimeout: TypeAlias = Literal["hold", "escalate", "deny"]
"""What becomes of a question that nobody answers in time; there is no way to say that the run just goes on."""

SLEEP_S_MAX: Final = 10 * 366 * 86_400
BRANCHES_MAX: Final = 1_000
CHOICES_MAX: Final = 50
_QUESTION_BYTES_MAX: Final = 10_000
_SECOND: Final = 1_000_000


@placed
async def sleep(seconds: float) -> None:
    """Wait, for weeks if need be: the instant is kept, and no process has to live until then.

    Raises:
        InvalidError: *seconds* is not a number from 0 to `SLEEP_S_MAX`.
    """
    if not (math.isfinite(seconds) and 0 <= seconds <= SLEEP_S_MAX):
        raise InvalidError(f"a run sleeps 0 to {SLEEP_S_MAX:,} seconds, not {seconds}", code="query.invalid")
    run, scope = here("sleep")
    place = scope.next()
    digest = digest_of("sleep", seconds)
    kept = run.recall(place, "sleep", digest)
    if kept is None:
        step_id, now = run.book.ids.new(), run.book.clock.now()
        wake_at = now + round(seconds * _SECOND)
        commands = run.write.step(run.run.id, step_id, place, "sleep", "sleep", digest, wake_at=wake_at)
        commands += run.write.sleeping(step_id, now, wake_at)
        await run.keep(commands, ["sleep", seconds])
        kept = Step(step_id, place, "sleep", "sleep", digest, StepStatus.WAITING, wake_at=wake_at)
        run.remember(kept)
        reach("sleep.kept")
    left_s = ((kept.wake_at or 0) - run.book.clock.now()) / _SECOND
    if left_s > WAIT_HERE_S:
        raise SuspendedError(kept.wake_at)
    if left_s > 0:
        await asyncio.sleep(left_s)


@placed
async def ask(
    question: str, *, owner: str | None = None, choices: Sequence[str] = (), deadline_s: float = 86_400.0,
    on_timeout: OnTimeout = "hold", context: object = None,
) -> Json:  # fmt: skip
    """Ask somebody, and go on with the answer, however long it takes.

    Args:
        owner: whose answer it is; else the workflow's owner.
        choices: the answer is one of these; without any it is free.
        on_timeout: ``hold``: wait on, and show as overdue; ``escalate``: the run ends escalated, and goes on when it is
            resumed after an answer; ``deny``: the question counts as denied, and this raises.
        context: what whoever answers should see.

    Raises:
        StepFailedError: nobody answered in time, and the policy is deny or escalate.
        InvalidError: the question is malformed.
    """
    run, scope = here("ask")
    place = scope.next()
    said = question_of(question, owner or run.run.owner, choices, deadline_s, on_timeout, context)
    digest = digest_of("ask", said)
    kept = run.recall(place, "ask", digest)
    if kept is None:
        kept = await _keep_question(run, place, digest, said, deadline_s)
    if kept.answer is not None:
        return kept.answer.get("choice")
    return await _unanswered(run, kept, on_timeout)


def question_of(
    question: str, owner: str | None, choices: Sequence[str], deadline_s: float, on_timeout: OnTimeout, context: object
) -> dict[str, Json]:  # fmt: skip
    """Return what is kept of a question. Raises InvalidError when it is malformed."""
    if (
        on_timeout not in ("hold", "escalate", "deny")
        or not 0 < deadline_s <= SLEEP_S_MAX
        or len(choices) > CHOICES_MAX
    ):
        msg = f"a question has a deadline, at most {CHOICES_MAX} choices, and holds, escalates or denies at its end"
        raise InvalidError(msg, code="query.invalid")
    check_text(question, "a question", bytes_max=_QUESTION_BYTES_MAX)
    return {
        "question": question, "owner": owner, "choices": list(choices), "on_timeout": on_timeout,
        "context": checked_json(context, "the context of a question"),
    }  # fmt: skip


async def _keep_question(run: Execution, place: Place, digest: str, said: dict[str, Json], deadline_s: float) -> Step:
    step_id = run.book.ids.new()
    deadline_at = run.book.clock.now() + round(deadline_s * _SECOND)
    commands = run.write.question(run.run.id, step_id, place, digest, said, deadline_at)
    await run.keep(commands, ["ask", said])
    kept = Step(step_id, place, "ask", "question", digest, StepStatus.WAITING, wake_at=deadline_at, asked=said)
    run.remember(kept)
    reach("question.kept")
    return kept


async def _unanswered(run: Execution, kept: Step, on_timeout: OnTimeout) -> Json:
    due = kept.wake_at is not None and run.book.clock.now() >= kept.wake_at
    if not due:
        raise SuspendedError(kept.wake_at, [kept])
    if on_timeout == "hold":
        raise SuspendedError(None, [kept])
    fault = Fault(FaultClass.AMBIGUOUS, f"nobody answered in time: {(kept.asked or {}).get('question')}")
    if on_timeout == "escalate" or kept.status is StepStatus.FAILED:
        action = Action.ESCALATE if on_timeout == "escalate" else Action.REFUSE
        raise StepFailedError(kept.place, "ask", fault, action)
    # The denial is kept, against the version that had no answer: one that comes now is told that it is too late.
    (now,) = await run.book.steps_by_id([kept.id])
    if now.answer is None:
        try:
            await run.keep(
                run.write.failed(kept.id, fault), ["denied", kept.digest],
                expects=[Expect(Ref(id=kept.id), now.node_version)],
            )  # fmt: skip
        except ConflictError:
            (now,) = await run.book.steps_by_id([kept.id])
    run.remember(now)
    if now.answer is not None:
        return now.answer.get("choice")
    raise StepFailedError(kept.place, "ask", fault, Action.REFUSE)


@placed
async def gather(*branches: Awaitable[T], at_most: int = 8) -> list[T]:
    """Await several things at once, *at_most* so many at a time, and return their results in order.

    Each branch counts its own places, so that it does not matter which of them is quicker. When one fails the others
    are stopped, and the error of the first of those that failed is raised; what they had done is kept.

    Raises:
        LimitError: above `BRANCHES_MAX` branches.
    """
    run, scope = here("gather")
    place = scope.next()
    if len(branches) > BRANCHES_MAX or at_most < 1:
        for one in branches:
            if asyncio.iscoroutine(one):
                one.close()
        msg = f"{len(branches):,} branches at once, more than {BRANCHES_MAX:,}; gather them in parts"
        raise LimitError(msg, limit="BRANCHES_MAX", maximum=BRANCHES_MAX)
    turns = Branches(len(branches), at_most, scope.gate)

    async def branch(awaited: Awaitable[T], number: int) -> T:
        await turns.turn()
        own = Scope((*place, number), scope.gate)
        HERE.set((run, own))
        try:
            result = await strand(own, awaited)
        except SuspendedError:
            turns.ended()
            raise
        turns.ended()
        return result

    tasks = [
        asyncio.create_task(branch(one, number), context=contextvars.copy_context())
        for number, one in enumerate(branches, 1)
    ]
    try:
        await _settle(tasks)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for one in branches:
            # One that never had its turn would complain that nobody awaited it.
            if asyncio.iscoroutine(one):
                one.close()
    return [task.result() for task in tasks]


async def _settle(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Return when all are done; raise at the first trouble, and for those that wait only when all have ended or wait.

    Raises:
        SuspendedError: until the first instant, and for all the questions and messages, of those that wait.
    """
    left = set(tasks)
    while left:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        if any(not isinstance(task.exception(), SuspendedError | None) for task in done):
            break
    troubles = [error for task in tasks if task.done() and (error := task.exception()) is not None]
    for error in troubles:
        if not isinstance(error, SuspendedError):
            raise error
    waits = [error for error in troubles if isinstance(error, SuspendedError)]
    if waits:
        raise merged(waits)
