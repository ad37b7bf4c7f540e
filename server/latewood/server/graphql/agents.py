"""Runs whose code is elsewhere, over GraphQL: start, claim, log and finish them. Every call may be made again."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import cast

import strawberry
from strawberry.scalars import JSON

from latewood.execution import external_words as told
from latewood.execution.external import CLAIM_S_MAX, Agents
from latewood.execution.external_words import call_of, done_of, trouble_of
from latewood.execution.faults import DEFAULT, FaultClass
from latewood.execution.words import RUN_S, place_of
from latewood.graph_schema.clock import from_micros
from latewood.memory.runs import agents_of
from latewood.server.graphql.arguments import By, InSpace, described, object_of
from latewood.server.graphql.context import Info
from latewood.server.graphql.policies import PolicyRuleInput, policy_from_input
from latewood.server.graphql.runs import Run, Runner, RunPayload, Step
from latewood.server.graphql.scalars import BigInt, describe

__all__ = ["AgentMutation"]


class OnTimeout(StrEnum):
    """What becomes of a question that nobody answers in time."""

    HOLD = "hold"
    ESCALATE = "escalate"
    DENY = "deny"


describe(
    OnTimeout,
    "What becomes of a question that nobody answers in time; it never just goes on.",
    {
        OnTimeout.HOLD: "The run waits on, and shows it as overdue.",
        OnTimeout.ESCALATE: "The run ends escalated; it is resumed after an answer.",
        OnTimeout.DENY: "It counts as denied, and the run is refused.",
    },
)


@strawberry.input(description="A run that is to start.")
class StartRunInput(By):
    """A run that is to start."""

    workflow: str = described("The workflow's name, such as lanes.plan.")
    version: str = described("The version of its code.", "1")
    input: JSON | None = described("What it is started with: an object, by name.", None)
    owner: str | None = described("Who is asked when it cannot go on, such as human:ada.", None)
    deadline_seconds: float | None = described("Within how long it ends, one way or another; 90 days.", None)
    runner: Runner | None = described("Who runs it.", Runner.AGENT)
    idempotency_key: str | None = described("The same key and words start one run; other words are refused.", None)
    policy: list[PolicyRuleInput] | None = described(
        "For an agent: what differs from the usual, by class of trouble.", None
    )
    policy_version: str | None = described("A name for that policy; needed with it.", None)


@strawberry.input(description="A run that is to be claimed.")
class ClaimRunInput(By):
    """A run that is to be claimed."""

    run: str = described("Its id or key.")
    worker: str = described("A name of your own for each process; the same again when the call is repeated.")
    lease_seconds: float | None = described(f"How long you may be silent: 1 to {CLAIM_S_MAX:,.0f}.", 60.0)


@strawberry.input(description="A claim, as claimRun gave it.")
class ClaimInput:
    """A claim."""

    run: strawberry.ID = described("The run's id.")
    worker: str = described("The name that it was claimed under.")
    fence: BigInt = described("The claim's fence; once another claim came, what is written under this one is refused.")


@strawberry.input(description="Which step: its place and name, and its input or the digest of it.")
class StepInput:
    """Which step."""

    place: str = described("Where it stands: 3 is the third thing that the run does, 3.2 the second within it.")
    name: str = described("What it is called; at the same place it is always the same.")
    input: JSON | None = described("Its arguments, an object by name; only their digest is kept.", None)
    digest: str | None = described("Or their SHA-256, 64 hexadecimal digits.", None)
    model_call: bool = described("Whether it asks a model.", False)


@strawberry.input(description="How a claim goes on.")
class HeartbeatRunInput(By):
    """A claim that is to last longer."""

    claim: ClaimInput = described("Your claim.")
    lease_seconds: float | None = described("For how long from now.", 60.0)


@strawberry.input(description="A claim that is given back.")
class HandBackRunInput(By):
    """A claim that is given back."""

    claim: ClaimInput = described("Your claim.")


@strawberry.input(description="A step that begins.")
class BeginStepInput(By):
    """A step that begins."""

    claim: ClaimInput = described("Your claim.")
    step: StepInput = described("Which one.")


@strawberry.input(description="What a step returned.")
class CompleteStepInput(By):
    """What a step returned."""

    claim: ClaimInput = described("Your claim.")
    step: StepInput = described("Which one.")
    output: JSON | None = described("What it returned, at most 256,000 bytes.", None)
    seconds: float | None = described("How long its last try took.", None)
    usage: JSON | None = described(
        "Tokens by name: input, output, cached, reasoning; leave out what you do not know.", None
    )
    model: str | None = described("The model that was asked, if one was.", None)
    degraded: bool = described("It fell back on something lesser.", False)


@strawberry.input(description="What went wrong.")
class TroubleInput:
    """What went wrong."""

    kind: FaultClass = described("Of which class it is.")
    message: str = described("What happened, in words.")
    retry_after_seconds: float | None = described("How long the other side asked to be left alone.", None)
    step: str | None = described("Of a run's end, the place of the step that failed.", None)


@strawberry.input(description="A try at a step that failed.")
class FailStepInput(By):
    """A try that failed."""

    claim: ClaimInput = described("Your claim.")
    step: StepInput = described("Which step.")
    attempt: int = described("The number of the try, as beginStep or the failStep before gave it; from 1.")
    trouble: TroubleInput = described("What went wrong.")
    seconds: float | None = described("How long the try took.", None)
    usage: JSON | None = described("Tokens by name.", None)
    model: str | None = described("The model that was asked, if one was.", None)


@strawberry.input(description="A question of a run.")
class AskQuestionInput(By):
    """A question of a run."""

    claim: ClaimInput = described("Your claim.")
    place: str = described("Where it stands in the run, as a step does.")
    question: str = described("The words.")
    owner: str | None = described("Whose answer it is; the run's owner when left out.", None)
    choices: list[str] | None = described("The answer is one of these; left out, it is free.", None)
    deadline_seconds: float | None = described("How long it is waited for; a day.", 86_400.0)
    on_timeout: OnTimeout | None = described("What then.", OnTimeout.HOLD)
    context: JSON | None = described("What whoever answers should see.", None)


@strawberry.input(description="How a run ended.")
class FinishRunInput(By):
    """How a run ended."""

    claim: ClaimInput = described("Your claim.")
    output: JSON | None = described("What it returned.", None)
    trouble: TroubleInput | None = described("Or why it cannot go on: it is escalated or refused, by the class.", None)


@strawberry.type(description="A claim of a run.")
class ClaimPayload:
    """A claim of a run."""

    run: Run = strawberry.field(description="The run.")
    fence: BigInt = strawberry.field(description="Pass it with everything that you say of the run.")
    until: datetime = strawberry.field(description="Until when the claim holds without another word.")


@strawberry.type(description="A step as it is kept, and what to do about it.")
class StepPayload:
    """A step as it is kept."""

    step: Step = strawberry.field(description="The step; when it is COMPLETED or DEGRADED do not do it again.")
    attempt: int = strawberry.field(description="The number of the next try.")
    again: bool = strawberry.field(
        description="It was begun before, and what came of that is not known: look for its effect before you repeat it."
    )
    retry_at: datetime | None = strawberry.field(description="Not before this instant; null: now.")


def _held(claim: ClaimInput) -> told.Held:
    return told.Held(str(claim.run), claim.worker, claim.fence)


def _call(step: StepInput) -> told.StepCall:
    given = object_of(step.input, "a step's input")
    return call_of(place_of(step.place), step.name, given, step.digest, model_call=step.model_call)


def _trouble(
    given: TroubleInput, seconds: float | None = None, usage: object = None, model: str | None = None
) -> told.Trouble:  # fmt: skip
    return trouble_of(
        given.kind, given.message, retry_after_s=given.retry_after_seconds, seconds=seconds,
        usage=object_of(usage, "usage"), model=model, step=given.step,
    )  # fmt: skip


def _claimed(claim: told.Claimed) -> ClaimPayload:
    return ClaimPayload(run=cast("Run", claim.run), fence=BigInt(claim.fence), until=claim.until)


def _begun(one: told.Begun) -> StepPayload:
    retry_at = None if one.retry_at is None else from_micros(one.retry_at)
    return StepPayload(step=cast("Step", one.step), attempt=one.attempt, again=one.again, retry_at=retry_at)


def _agents(info: Info, space: str | None, by: str | None) -> Agents:
    return agents_of(info.context.write(info, space).memory.within(by=by))


@strawberry.type
class AgentMutation:
    """What agents in any language say of the runs that they run. Scope: run."""

    @strawberry.mutation(graphql_type=RunPayload, description="Start a run that whoever is free takes up. Scope: run.")
    async def start_run(self, info: Info, input: StartRunInput, space: InSpace = None) -> RunPayload:  # noqa: A002
        """Start a run."""
        agents = _agents(info, space, input.by)
        deadline_s = RUN_S if input.deadline_seconds is None else input.deadline_seconds
        run = await agents.start(
            input.workflow, object_of(input.input, "a run's input"), version=input.version, owner=input.owner,
            deadline_s=deadline_s, runner=(input.runner or Runner.AGENT).value, once=input.idempotency_key,
            policy=policy_from_input(input.policy, input.policy_version) or DEFAULT,
        )  # fmt: skip
        return RunPayload(run=cast("Run", run))

    @strawberry.mutation(
        graphql_type=ClaimPayload,
        description="Make an agent's run yours, from where it stands; the same worker may ask again. Scope: run.",
    )
    async def claim_run(self, info: Info, input: ClaimRunInput, space: InSpace = None) -> ClaimPayload:  # noqa: A002
        """Claim a run."""
        agents = _agents(info, space, input.by)
        lease_s = 60.0 if input.lease_seconds is None else input.lease_seconds
        return _claimed(await agents.claim(input.run, input.worker, lease_s=lease_s))

    @strawberry.mutation(
        graphql_type=ClaimPayload,
        description="Keep a claim; refused once it is lost, or the run was ended meanwhile. Scope: run.",
    )
    async def heartbeat_run(
        self, info: Info, input: HeartbeatRunInput, space: InSpace = None  # noqa: A002
    ) -> ClaimPayload:  # fmt: skip
        """Keep a claim."""
        agents = _agents(info, space, input.by)
        lease_s = 60.0 if input.lease_seconds is None else input.lease_seconds
        return _claimed(await agents.heartbeat(_held(input.claim), lease_s=lease_s))

    @strawberry.mutation(graphql_type=RunPayload, description="Let another worker claim the run at once. Scope: run.")
    async def hand_back_run(
        self, info: Info, input: HandBackRunInput, space: InSpace = None  # noqa: A002
    ) -> RunPayload:  # fmt: skip
        """Give a claim back."""
        run = await _agents(info, space, input.by).hand_back(_held(input.claim))
        return RunPayload(run=cast("Run", run))

    @strawberry.mutation(
        graphql_type=StepPayload,
        description="Say that a step begins; one that was completed before comes back with its output. Scope: run.",
    )
    async def begin_step(self, info: Info, input: BeginStepInput, space: InSpace = None) -> StepPayload:  # noqa: A002
        """Say that a step begins."""
        return _begun(await _agents(info, space, input.by).begin(_held(input.claim), _call(input.step)))

    @strawberry.mutation(
        graphql_type=StepPayload, description="Keep what a step returned; it may have been begun or not. Scope: run."
    )
    async def complete_step(
        self, info: Info, input: CompleteStepInput, space: InSpace = None  # noqa: A002
    ) -> StepPayload:  # fmt: skip
        """Keep what a step returned."""
        done = done_of(
            input.output, seconds=input.seconds, usage=object_of(input.usage, "usage"), model=input.model,
            degraded=input.degraded,
        )  # fmt: skip
        step = await _agents(info, space, input.by).complete(_held(input.claim), _call(input.step), done)
        return _begun(told.Begun(step, step.attempts + 1))

    @strawberry.mutation(
        graphql_type=StepPayload,
        description="Keep that a try failed; says when the next one is due, or that the step is FAILED. Scope: run.",
    )
    async def fail_step(self, info: Info, input: FailStepInput, space: InSpace = None) -> StepPayload:  # noqa: A002
        """Keep that a try failed."""
        trouble = _trouble(input.trouble, input.seconds, input.usage, input.model)
        agents = _agents(info, space, input.by)
        return _begun(await agents.fail(_held(input.claim), _call(input.step), input.attempt, trouble))

    @strawberry.mutation(
        graphql_type=StepPayload,
        description=(
            "Keep a question, while which the run waits; asked again it comes back with its answer, once there is one. "
            "Scope: run."
        ),
    )
    async def ask_question(
        self, info: Info, input: AskQuestionInput, space: InSpace = None  # noqa: A002
    ) -> StepPayload:  # fmt: skip
        """Keep a question."""
        step = await _agents(info, space, input.by).ask(
            _held(input.claim), place_of(input.place), input.question, owner=input.owner, choices=input.choices or (),
            deadline_s=86_400.0 if input.deadline_seconds is None else input.deadline_seconds,
            on_timeout=(input.on_timeout or OnTimeout.HOLD).value, context=input.context,
        )  # fmt: skip
        return _begun(told.Begun(step, step.attempts + 1))

    @strawberry.mutation(
        graphql_type=RunPayload, description="End a run: with what it returned, or with its trouble. Scope: run."
    )
    async def finish_run(self, info: Info, input: FinishRunInput, space: InSpace = None) -> RunPayload:  # noqa: A002
        """End a run."""
        trouble = None if input.trouble is None else _trouble(input.trouble)
        run = await _agents(info, space, input.by).finish(_held(input.claim), input.output, trouble=trouble)
        return RunPayload(run=cast("Run", run))
