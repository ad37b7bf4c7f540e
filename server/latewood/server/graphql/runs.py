"""Runs of workflows over GraphQL: look at them with their steps, tries and questions; answer, cancel, resume, fork."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, cast

import strawberry
from strawberry.scalars import JSON

from latewood.execution import booking, words
from latewood.execution.showing import asks_model, is_overdue, next_command
from latewood.execution.standing import unsettled, waits_for
from latewood.execution.words import RunStatus, StepStatus, place_of, place_text
from latewood.graph_schema.clock import Micros, from_micros
from latewood.graph_schema.errors import NotFoundError
from latewood.memory.runs import book_of, runs_of
from latewood.server.graphql.arguments import After, First, InSpace, described
from latewood.server.graphql.booked import (
    Attempt,
    RunStage,
    Saves,
    Vouch,
    attempt_told,
    saves_told,
    stages_told,
    vouch_told,
)
from latewood.server.graphql.connections import Connection, Paged, read_pages
from latewood.server.graphql.context import Info
from latewood.server.graphql.run_loaders import parts_read, progress, tries, whole_steps
from latewood.server.graphql.scalars import BigInt, describe
from latewood.server.graphql.types import field
from latewood.storage.port import Page

__all__ = ["OfRun", "Run", "RunMutation", "RunPayload", "RunQuery", "Runner", "Step", "run_payload"]

_FIRST: Final = 50
_STEPS_FIRST: Final = 100


class Runner(StrEnum):
    """Who runs a run."""

    AGENT = "agent"
    WORKER = "worker"


describe(
    Runner,
    "Who runs a run.",
    {
        Runner.AGENT: "Whoever claims it, call by call.",
        Runner.WORKER: "The next Python worker that knows its workflow.",
    },
)
describe(
    RunStatus,
    "Where a run stands; the last four are ends.",
    {
        RunStatus.READY: "Whoever is free takes it up.",
        RunStatus.RUNNING: "Somebody works on it.",
        RunStatus.WAITING: "It waits for a time, an answer, a message or its next try.",
        RunStatus.DONE: "It returned.",
        RunStatus.DEGRADED: "It returned, and a part of it fell back on something lesser.",
        RunStatus.ESCALATED: "It waits for its owner to put something right, and can be resumed.",
        RunStatus.REFUSED: "It failed for good, was denied or cancelled; it can be resumed.",
    },
)
describe(
    StepStatus,
    "Where a step stands.",
    {
        StepStatus.STARTED: "It began, and what came of it is not kept yet.",
        StepStatus.WAITING: "It waits for a time, an answer, a message or its next try.",
        StepStatus.COMPLETED: "It is done; no resume runs it again.",
        StepStatus.DEGRADED: "It fell back on something lesser.",
        StepStatus.FAILED: "It failed for good.",
        StepStatus.AGAIN: "It failed, and a resumed run tries it anew.",
    },
)


def _instant(at: Micros | None) -> datetime | None:
    return None if at is None else from_micros(at)


@strawberry.type(description="What a run asks somebody before it goes on.")
class Question:
    """What a run asks somebody."""

    id: strawberry.ID = strawberry.field(description="Answer it under this id: the step's.")
    question: str = strawberry.field(description="The words.")
    owner: str | None = strawberry.field(description="Whose answer it is.")
    choices: list[str] = strawberry.field(description="The answer is one of these; empty, it is free.")
    context: JSON | None = strawberry.field(description="What whoever answers should see.")
    on_timeout: str = strawberry.field(description="When nobody answers in time: hold, escalate or deny.")
    deadline_at: datetime | None = strawberry.field(description="Until when an answer is asked for.")
    overdue: bool = strawberry.field(description="Whether it waits for longer than that.")
    answer: JSON | None = strawberry.field(description="What was answered; null while it is open.")
    answered_by: str | None = strawberry.field(description="By whom.")


def _question(step: words.Step, now: Micros) -> Question | None:
    if step.asked is None:
        return None
    asked, answer = cast("Mapping[str, Any]", step.asked), step.answer or {}
    by = answer.get("by")
    return Question(
        id=strawberry.ID(step.id), question=str(asked.get("question", "")), owner=asked.get("owner"),
        choices=[str(choice) for choice in asked.get("choices") or ()], context=asked.get("context"),
        on_timeout=str(asked.get("on_timeout", "hold")), deadline_at=_instant(step.wake_at),
        overdue=is_overdue(step, now), answer=cast("Any", answer.get("choice")),
        answered_by=None if by is None else str(by),
    )  # fmt: skip


def _now(info: Info) -> Micros:
    return book_of(info.context.view(info).memory).clock.now()


def _place(root: strawberry.Parent[words.Step]) -> str:
    return place_text(root.place)


def _error_class(root: strawberry.Parent[words.Step]) -> str | None:
    return None if root.error is None else str(root.error.get("class"))


def _error(root: strawberry.Parent[words.Step]) -> str | None:
    return None if root.error is None else str(root.error.get("message"))


def _wakes(root: strawberry.Parent[words.Step]) -> datetime | None:
    return _instant(root.wake_at)


def _asked(root: strawberry.Parent[words.Step], info: Info) -> Question | None:
    return _question(root, _now(info))


def _tried(root: strawberry.Parent[words.Step]) -> int:
    return root.attempts


def _vouched(root: strawberry.Parent[words.Step]) -> Vouch | None:
    return None if root.vouched is None else vouch_told(root.vouched)


async def _attempts(root: strawberry.Parent[words.Step], info: Info) -> list[Attempt]:
    return [attempt_told(one) for one in await tries(info).load(root.id)]


@strawberry.type(description="One unit of a run's work.")
class Step:
    """One unit of a run's work."""

    id: strawberry.ID = field("A UUID.")
    place: str = field("Where it stands in its workflow: 3, or 3.2.1 within branches and steps.", _place)
    name: str = field("What it is called.")
    sort: str = field("step, model_call, sleep, question or child.")
    status: StepStatus = field("Where it stands.")
    digest: str = field("Of its name and arguments; a replay that comes with another one stops.")
    input: JSON | None = field("Its args and kwargs, where they are short; else a blob that reads names has them.")
    reads: list[strawberry.ID] = field("The blobs that it was given.")
    output: JSON | None = field("What it returned.")
    error_class: str | None = field("Of a failed step, the class of its trouble.", _error_class)
    error: str | None = field("The trouble's words.", _error)
    usage: JSON | None = field("Tokens of the try that counted; a count that nobody gave is left out.")
    wake_at: datetime | None = field("Until when it waits.", _wakes)
    tries: int = field("How often it was tried.", _tried)
    attempts: list[Attempt] = field("The tries, in order.", _attempts)
    question: Question | None = field("What it asks, if it is a question.", _asked)
    child: strawberry.ID | None = field("The run that it is, if it is a child.")
    vouched: Vouch | None = field("By whose word it is completed, where nobody knew what came of it.", _vouched)


@strawberry.type(description="Which worker has a run.")
class Claim:
    """Which worker has a run."""

    worker: str = field("Its name.")
    fence: BigInt = field("Its fence: what is written under a smaller one is refused.")
    lost: int = field("How many workers were lost since the run last got further.")


def _said(run: words.Run, name: str) -> str | None:
    told = run.result.get(name)
    return None if told is None else str(told)


def _count(run: words.Run, name: str) -> int:
    told = run.result.get(name)
    return told if isinstance(told, int) else 0


def _runner(root: strawberry.Parent[words.Run]) -> Runner:
    return Runner(root.runner)


def _deadline(root: strawberry.Parent[words.Run]) -> datetime | None:
    return _instant(root.deadline_at)


def _wake(root: strawberry.Parent[words.Run]) -> datetime | None:
    return _instant(root.wake_at)


def _run_class(root: strawberry.Parent[words.Run]) -> str | None:
    return _said(root, "class")


def _run_error(root: strawberry.Parent[words.Run]) -> str | None:
    return _said(root, "message")


def _failed_step(root: strawberry.Parent[words.Run]) -> str | None:
    return _said(root, "step")


def _replayed(root: strawberry.Parent[words.Run]) -> int:
    return _count(root, "replayed")


def _tokens_saved(root: strawberry.Parent[words.Run]) -> int:
    return _count(root, "tokens_saved")


def _cancelling(root: strawberry.Parent[words.Run]) -> str | None:
    return None if root.cancel is None else str(root.cancel.get("reason", ""))


async def _step_count(root: strawberry.Parent[words.Run], info: Info) -> int:
    return len((await progress(info).load(root.id)).steps)


async def _steps_done(root: strawberry.Parent[words.Run], info: Info) -> int:
    return (await progress(info).load(root.id)).done


async def _tokens(root: strawberry.Parent[words.Run], info: Info) -> int:
    return (await progress(info).load(root.id)).tokens


async def _booked(run: str, info: Info) -> tuple[tuple[words.Step, ...], tuple[booking.Call, ...]]:
    steps = (await progress(info).load(run)).steps
    asked = [step.id for step in steps if asks_model(step)]
    tried = await tries(info).load_many(asked)
    return steps, booking.calls_of(steps, dict(zip(asked, tried, strict=True)))


async def _saves(root: strawberry.Parent[words.Run], info: Info) -> Saves:
    return saves_told(booking.saved_by(*await _booked(root.id, info)))


async def _stages(root: strawberry.Parent[words.Run], info: Info) -> list[RunStage]:
    return stages_told(booking.stages_of(*await _booked(root.id, info)))


async def _next(root: strawberry.Parent[words.Run], info: Info) -> str | None:
    return next_command(root, (await progress(info).load(root.id)).steps, await parts_read(root, info))


async def _failed_part(root: strawberry.Parent[words.Run], info: Info) -> words.Run | None:
    return (await parts_read(root, info)).failed


async def _waits(root: strawberry.Parent[words.Run], info: Info) -> str | None:
    steps = (await progress(info).load(root.id)).steps
    ids = unsettled(steps)
    return waits_for(root, steps, dict(zip(ids, await tries(info).load_many(ids), strict=True)))


async def _questions(root: strawberry.Parent[words.Run], info: Info) -> list[Question]:
    asked = (await progress(info).load(root.id)).questions
    return [one for step in asked if (one := _question(step, _now(info))) is not None]


async def _steps(
    root: strawberry.Parent[words.Run], info: Info, first: First = _STEPS_FIRST, after: After = None
) -> Paged[words.Step]:
    every = (await progress(info).load(root.id)).steps
    whole = whole_steps(info)

    async def read(count: int, cursor: str | None) -> Page[words.Step]:
        behind = () if cursor is None else place_of(cursor)
        left = [step for step in every if step.place > behind]
        shown = await whole.load_many([step.id for step in left[:count]])
        return Page(tuple(shown), place_text(shown[-1].place) if len(left) > count else None)

    return await read_pages(read, lambda step: step.id, _STEPS_FIRST if first is None else first, after)


@strawberry.type(description="One execution of a workflow.")
class Run:
    """One execution of a workflow."""

    id: strawberry.ID = field("A UUID.")
    workflow: str = field("The workflow's name.")
    version: str = field("Its version: no other one goes on with the run.")
    policy: str = field("The version of the policy by which troubles are met.")
    status: RunStatus = field("Where it stands.")
    owner: str | None = field("Who is asked when it cannot go on.")
    runner: Runner = field("Who runs it.", _runner)
    input: JSON = field("What it was started with: args and kwargs.")
    started_at: datetime = field("When it was started.")
    deadline_at: datetime | None = field("Until when it has ended, one way or another.", _deadline)
    wake_at: datetime | None = field("When it goes on by itself, if it waits.", _wake)
    claim: Claim | None = field("Who had it last.")
    output: JSON | None = field("What it returned.")
    error_class: str | None = field("Of a run that ended otherwise, the class of its trouble.", _run_class)
    error: str | None = field("The trouble's words.", _run_error)
    failed_step: str | None = field("The place of the step that failed.", _failed_step)
    cancelling: str | None = field("Why it is to end, when somebody has asked for that.", _cancelling)
    parent: strawberry.ID | None = field("The run that it is a part of.")
    forked_from: strawberry.ID | None = field("The run that it was forked from.")
    amends: strawberry.ID | None = field("The run whose steps it took over where they would do the same.")
    replayed: int = field("How many steps its last go did not run again.", _replayed)
    tokens_saved: BigInt = field("The tokens that those had used.", _tokens_saved)
    step_count: int = field("How many steps are kept.", _step_count)
    steps_done: int = field("How many of them a resume does not run again.", _steps_done)
    tokens: BigInt = field("The tokens that those used, as far as anybody said: what a resume saves.", _tokens)
    saves: Saves = field("What it cost that a resume does not pay for again.", _saves)
    stages: list[RunStage] = field("What its model calls used by stage, the costliest first.", _stages)
    failed_part: Run | None = field("The child run, or a child's, at which it failed: that comes first.", _failed_part)
    next: str | None = field("What to do about it, as a command, or two to choose from; null: nothing.", _next)
    waits: str | None = field("What has to come before it goes on; null of one that is in hand, or has ended.", _waits)
    questions: list[Question] = field("What is asked, and not answered yet.", _questions)
    steps: Any = strawberry.field(
        graphql_type=Connection[Step], resolver=_steps, description="Its steps, by their places."
    )


@strawberry.type(description="A run as it is after what was asked for.")
class RunPayload:
    """A run as it is after what was asked for."""

    run: Run = strawberry.field(description="The run.")


def run_payload(run: words.Run) -> RunPayload:
    """Tell of a run."""
    return RunPayload(run=cast("Run", run))


@strawberry.type
class RunQuery:
    """Runs that are kept."""

    @strawberry.field(graphql_type=Run | None, description="One run of a workflow; null when there is none.")
    async def run(
        self, info: Info, id: Annotated[str, strawberry.argument(description="Its id or key.")],  # noqa: A002
        space: InSpace = None,
    ) -> words.Run | None:  # fmt: skip
        """Read one run."""
        view = info.context.look(info, space)
        try:
            return await runs_of(view.memory).run(id)
        except NotFoundError as error:
            if error.code != "run.unknown":
                raise
            return None

    @strawberry.field(
        graphql_type=Connection[Run],
        description=(
            "Runs of workflows, the newest first. Those taken from traces and transcripts: entities(kind: RUN)."
        ),
    )
    async def runs(
        self, info: Info,
        status: Annotated[list[RunStatus] | None, strawberry.argument(description="Only these.")] = None,
        workflow: Annotated[str | None, strawberry.argument(description="Only of this workflow.")] = None,
        first: First = _FIRST, after: After = None, space: InSpace = None,
    ) -> Paged[words.Run]:  # fmt: skip
        """List runs."""
        view = info.context.look(info, space)
        runs = runs_of(view.memory)

        async def read(count: int, cursor: str | None) -> Page[words.Run]:
            return await runs.list(statuses=status or (), workflow=workflow, first=count, after=cursor)

        found = await read_pages(read, lambda one: one.id, _FIRST if first is None else first, after)
        info.context.spend(len(found.edges))
        return found


@strawberry.input(description="The answer to a run's question.")
class AnswerQuestionInput:
    """An answer."""

    question: str = described("The question: its id, or RUN/PLACE.")
    answer: JSON = described("One of its choices, or your own words.")
    by: str | None = described("Who answers, such as human:ada.", None)


@strawberry.input(description="Which run, and who wants something of it.")
class OfRun:
    """Which run, and who wants something of it; other inputs begin with it."""

    run: str = described("Its id or key.")
    by: str | None = described("Who wants it, such as human:ada.", None)


@strawberry.input(description="A run that is to end.")
class CancelRunInput(OfRun):
    """A run that is to end."""

    reason: str | None = described("Why; it is kept with the run.", None)


@strawberry.input(description="An escalated or refused run that is to go on.")
class ResumeRunInput(OfRun):
    """A run that is to go on."""

    version: str | None = described("Of the workflow, from here on; left out, the one that it began with.", None)


@strawberry.input(description="A run whose beginning another one takes over.")
class ForkRunInput(OfRun):
    """A run to begin another one from."""

    place: str = described("The first step that is run again, such as 3.")


@strawberry.type
class RunMutation:
    """What people and programs do with runs from outside. Scope: run."""

    @strawberry.mutation(
        graphql_type=RunPayload, description="Answer a question of a run, which goes on from there. Scope: run."
    )
    async def answer_question(
        self, info: Info, input: AnswerQuestionInput, space: InSpace = None  # noqa: A002
    ) -> RunPayload:  # fmt: skip
        """Answer a question."""
        view = info.context.write(info, space)
        return run_payload(await runs_of(view.memory.within(by=input.by)).answer(input.question, input.answer))

    @strawberry.mutation(
        graphql_type=RunPayload,
        description="End a run: at once, or at its worker's next look. It ends refused. Scope: run.",
    )
    async def cancel_run(self, info: Info, input: CancelRunInput, space: InSpace = None) -> RunPayload:  # noqa: A002
        """End a run."""
        view = info.context.write(info, space)
        return run_payload(await runs_of(view.memory.within(by=input.by)).cancel(input.run, input.reason or ""))

    @strawberry.mutation(
        graphql_type=RunPayload,
        description="Let a run go on: what failed is tried anew, what is completed is not run again. Scope: run.",
    )
    async def resume_run(self, info: Info, input: ResumeRunInput, space: InSpace = None) -> RunPayload:  # noqa: A002
        """Let a run go on."""
        view = info.context.write(info, space)
        return run_payload(await runs_of(view.memory.within(by=input.by)).resume(input.run, version=input.version))

    @strawberry.mutation(
        graphql_type=RunPayload,
        description="Begin another run of the same input that has the steps before a place already. Scope: run.",
    )
    async def fork_run(self, info: Info, input: ForkRunInput, space: InSpace = None) -> RunPayload:  # noqa: A002
        """Begin another run."""
        view = info.context.write(info, space)
        return run_payload(await runs_of(view.memory.within(by=input.by)).fork(input.run, input.place))
