"""What becomes of a finished run over GraphQL: it goes on by somebody's word, begins anew, or its words go for good."""

from __future__ import annotations

import strawberry
from strawberry.scalars import JSON

from latewood.memory.runs import runs_of
from latewood.server.graphql.arguments import InSpace, described
from latewood.server.graphql.context import Info
from latewood.server.graphql.runs import OfRun, RunPayload, run_payload

__all__ = ["AmendingMutation"]


@strawberry.input(description="A finished run that should have been given something else.")
class AmendRunInput(OfRun):
    """A finished run with other input."""

    input: JSON = described("The workflow's arguments by name: an object.")


@strawberry.input(description="A step that failed as ambiguous, and whose effect happened.")
class VouchStepInput:
    """A step to vouch for."""

    step: str = described("The step: its id, or RUN/PLACE.")
    output: JSON | None = described("What it would have returned; left out, nothing.", None)
    reason: str = described("What you saw, and where; it is kept with the step.")
    by: str | None = described("Who says so, such as human:ada.", None)


@strawberry.input(description="A finished run whose words are to be gone for good.")
class EraseRunInput(OfRun):
    """A finished run to erase."""

    reason: str = described("Why; it is kept, so do not repeat in it what goes.")


@strawberry.type(description="What went with a run.")
class EraseRunPayload:
    """What went with a run."""

    runs: int = strawberry.field(description="The run, and the child runs that were a part of it.")
    steps: int = strawberry.field(description="Their steps.")
    attempts: int = strawberry.field(description="Their tries.")
    blobs: int = strawberry.field(description="What they took in and returned, where nothing else refers to it.")
    shared: int = strawberry.field(description="Steps that another run has too; their words stay until that one goes.")
    kept: int = strawberry.field(description="Blobs that something else refers to.")


@strawberry.type
class AmendingMutation:
    """What becomes of finished runs."""

    @strawberry.mutation(
        graphql_type=RunPayload,
        description="Say that the effect of a step that failed as ambiguous did happen: it is not made again, and its "
        "run goes on. Scope: run.",
    )
    async def vouch_step(self, info: Info, input: VouchStepInput, space: InSpace = None) -> RunPayload:  # noqa: A002
        """Vouch for a step."""
        view = info.context.write(info, space)
        runs = runs_of(view.memory.within(by=input.by))
        return run_payload(await runs.vouch(input.step, input.output, input.reason))

    @strawberry.mutation(
        graphql_type=RunPayload,
        description="Begin another run of a finished one's workflow with other input; steps that would do the same are "
        "taken over. Scope: run.",
    )
    async def amend_run(self, info: Info, input: AmendRunInput, space: InSpace = None) -> RunPayload:  # noqa: A002
        """Begin another run."""
        view = info.context.write(info, space)
        return run_payload(await runs_of(view.memory.within(by=input.by)).amend_by_name(input.run, input.input))

    @strawberry.mutation(
        graphql_type=EraseRunPayload,
        description="Let the words of a finished run, of its steps and of what no other run has be gone for good. "
        "Only a person may. Scope: erase.",
    )
    async def erase_run(self, info: Info, input: EraseRunInput, space: InSpace = None) -> EraseRunPayload:  # noqa: A002
        """Erase a run."""
        view = info.context.write(info, space)
        one = await runs_of(view.memory.within(by=input.by)).erase(input.run, input.reason)
        return EraseRunPayload(
            runs=one.runs, steps=one.steps, attempts=one.attempts, blobs=one.blobs, shared=one.shared, kept=one.kept
        )
