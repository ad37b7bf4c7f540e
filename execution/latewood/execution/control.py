"""What people and programs do with runs from outside: start, look, cancel, resume, fork, answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, ParamSpec, cast

from latewood.execution.booking import Call, Saved, Stage, calls_of, saved_by, stages_of
from latewood.execution.driving import CANCELLED, spec_of
from latewood.execution.erasing import ErasedRun, erase_run
from latewood.execution.governing import ModelPolicy, keep_policy, policy_of
from latewood.execution.logbook import Logbook
from latewood.execution.resuming import deadline_of, located, moved, resume_run, vouch_for
from latewood.execution.showing import Progress, next_command, parts_of, progress_of
from latewood.execution.standing import waits_for
from latewood.execution.words import Run, RunStatus, Step, StepStatus, place_of, place_text
from latewood.execution.workflow import Workflow, arguments, taken_in
from latewood.execution.writing import Writing, checked_json
from latewood.graph_schema.clock import from_micros
from latewood.graph_schema.commands import Command, Expect, Ref
from latewood.graph_schema.errors import ConflictError, ForbiddenError, InvalidError, LimitError, NotFoundError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.given import checked
from latewood.graph_schema.model import Trust
from latewood.graph_schema.values import Json, check_text
from latewood.storage.port import PAGE_MAX, Page

__all__ = ["FORKED_MAX", "Runs", "Shown"]

FORKED_MAX: Final = 900
"""Most steps that a fork takes over: they are one unit."""
_REASON_BYTES_MAX: Final = 2_000
_TRIES_MAX: Final = 8
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Shown:
    """A run with its steps.

    Attributes:
        attempts: of each step, by its id, what is known of its tries.
        saves: steps that a resumed run does not run again, *tokens* what they had used and *saved* what that cost.
        next: what to do, as a command; None when nothing is left to do.
        waits: what has to come before it goes on; None of a run that is in hand, or has ended.
        failed_part: the child run at which it failed, or that one's own: what is wrong there comes first.
        calls: what each try at asking a model used, and *stages* their sums, the costliest first.
    """

    run: Run
    steps: tuple[Step, ...]
    attempts: Mapping[str, Sequence[Mapping[str, Json]]]
    saves: int
    tokens: int
    next: str | None
    calls: tuple[Call, ...] = ()
    stages: tuple[Stage, ...] = ()
    saved: Saved = field(default_factory=Saved)
    waits: str | None = None
    failed_part: Run | None = None


@checked
class Runs:
    """The runs of a space, seen from outside of them."""

    def __init__(self, book: Logbook) -> None:
        """Act through *book*, as its actor."""
        self._book = book
        self._write = Writing(book.ids)

    @property
    def book(self) -> Logbook:
        """Where these runs are read and written."""
        return self._book

    async def start(self, flow: Workflow[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Run:
        """Start a run that the next free worker takes up. Raises InvalidError, LimitError for its input."""
        given, run_id = taken_in(flow, args, kwargs), self._book.ids.new()
        spec = spec_of(flow, given, self._book.clock.now())
        commands = [
            *self._write.run(run_id, flow.name, spec, parent=None), *self._write.run_status(run_id, RunStatus.READY)
        ]  # fmt: skip
        await self._book.keep(commands, body=["start", flow.name, flow.version, given])
        return await self._book.run(run_id)

    async def run(self, name: str) -> Run:
        """Return a run by its id or key. Raises NotFoundError (``run.unknown``)."""
        return await self._book.run(name)

    async def list(
        self, *, statuses: Sequence[RunStatus] = (), workflow: str | None = None, first: int = 50,
        after: str | None = None,
    ) -> Page[Run]:  # fmt: skip
        """List runs, the newest first. Raises InvalidError (``cursor.invalid``)."""
        return await self._book.runs(statuses=statuses, workflow=workflow, first=first, after=after)

    async def show(self, name: str) -> Shown:
        """Return a run with its steps and their tries. Raises NotFoundError (``run.unknown``)."""
        run = await self._book.run(name)
        steps = await self._book.steps(run.id)
        attempts = await self._book.attempts([step.id for step in steps])
        far = Progress(run.id, steps)
        calls = calls_of(steps, attempts)
        parts = await parts_of(run, steps, self._book.run_by_id, self._book.steps)
        return Shown(
            run, steps, attempts, far.done, far.tokens, next_command(run, steps, parts), calls,
            stages_of(steps, calls), saved_by(steps, calls), waits_for(run, steps, attempts), parts.failed,
        )  # fmt: skip

    async def steps(self, name: str, *, first: int = 100, after: str | None = None) -> Page[Step]:
        """List a run's steps by their places. Raises NotFoundError (``run.unknown``), InvalidError."""
        if not 1 <= first <= PAGE_MAX:
            raise InvalidError(f"a page has 1 to {PAGE_MAX:,} steps, not {first}", code="query.invalid")
        run, behind = await self._book.run(name), () if after is None else place_of(after)
        left = [step for step in (await progress_of(self._book, [run.id]))[run.id].steps if step.place > behind]
        shown = await self._book.steps_by_id([step.id for step in left[:first]])
        return Page(shown, place_text(shown[-1].place) if shown and len(left) > first else None)

    async def set_policy(self, policy: ModelPolicy, *, valid_from: datetime | None = None) -> Receipt:
        """Let *policy* say which models may be asked, from *valid_from* or from now on.

        Raises:
            ForbiddenError: the actor is no person (``trust.too_low``).
        """
        return await keep_policy(self._book, policy, valid_from=valid_from)

    async def policy(
        self, *, valid_at: datetime | None = None, known_at: datetime | None = None
    ) -> ModelPolicy | None:  # fmt: skip
        """Return what says which models may be asked, as of both clocks; None where nothing does."""
        return await policy_of(self._book, valid_at=valid_at, known_at=known_at)

    async def cancel(self, name: str, reason: str = "") -> Run:
        """End a run: at once when nobody works on it, else at its worker's next look. One that has ended stays so.

        Raises:
            ConflictError: it has ended, or is a part of another (``run.ended``).
        """
        check_text(reason, "the reason", bytes_max=_REASON_BYTES_MAX)

        async def made(run: Run) -> list[Command]:
            if run.ended:
                raise ConflictError(
                    f"run {run.id} has ended, {run.status}; nothing is left to cancel", code="run.ended"
                )
            if run.parent is not None:
                msg = f"run {run.id} cannot be cancelled: it is a part of run {run.parent}; cancel that one"
                raise ConflictError(msg, code="run.ended")
            words = f"cancelled by {self._book.actor}" + (f": {reason}" if reason else "")
            # What an agent writes is held against the run as it is: it cannot write past the end.
            if run.status is RunStatus.RUNNING and run.runner == "worker":
                return [self._write.fact(run.id, "run.cancel", {"by": self._book.actor, "reason": words})]
            return self._write.ended(run.id, RunStatus.REFUSED, {"class": CANCELLED, "message": words})

        return await moved(self._book, name, made, "cancel")

    async def resume(self, name: str, *, version: str | None = None) -> Run:
        """Let an escalated or refused run go on where it stopped: what is completed is not run again.

        Args:
            version: of the workflow, from here on; left out, the run stays with the one that it began with.

        Raises:
            ConflictError: it is not at an end that it could go on from (``run.ended``).
        """
        return await resume_run(self._book, name, version)

    async def vouch(self, step: str, output: object, reason: str) -> Run:
        """Say that the effect of a step with an unknown outcome happened, and what it returned; its run goes on.

        For steps that failed as ambiguous: nobody knows whether their effect happened, and whoever looks there does.
        The step is completed by this logbook's actor's word, which is kept with it, and is not called again. Another
        step of the run with an unknown outcome is not called for that either: the run asks about it next.

        Args:
            step: its id, or ``RUN/PLACE``.
            output: what the step would have returned.
            reason: what was seen, and where.

        Raises:
            ConflictError: its outcome is not unknown (``step.known``), or its run is at no end that it could go on
                from (``run.ended``).
            ForbiddenError: it is a person's run and a program speaks (``trust.too_low``).
            InvalidError, LimitError: there is no reason, or the output cannot be kept.
        """
        return await vouch_for(self._book, step, output, reason)

    async def fork(self, name: str, place: str) -> Run:
        """Start another run of the same input that has the steps before *place* already. The first one stays as it is.

        Raises:
            InvalidError: there is no such place in it, or it lies within a branch or a step.
            LimitError: more than `FORKED_MAX` steps lie before it.
        """
        run = await self._book.run(name)
        at = place_of(place)
        steps = await self._book.steps(run.id, whole=True)
        tops = {step.place[0] for step in steps}
        if len(at) != 1 or not 1 <= at[0] <= max(tops, default=0) + 1:
            msg = f"run {run.id} cannot be forked at {place!r}: name one of its steps 1 to {max(tops, default=0) + 1}"
            raise InvalidError(msg, code="query.invalid")
        taken = [step for step in steps if step.place < at]
        unfinished = [step for step in taken if not step.completed and step.sort != "sleep" and step.answer is None]
        if unfinished:
            where = place_text(unfinished[0].place)
            raise InvalidError(f"step {where} of run {run.id} is not completed; fork before it", code="query.invalid")
        if len(taken) > FORKED_MAX:
            msg = f"{len(taken):,} steps lie before {place}, more than {FORKED_MAX}; fork earlier"
            raise LimitError(msg, limit="FORKED_MAX", maximum=FORKED_MAX)
        fork_id = self._book.ids.new()
        spec: dict[str, Json] = {
            "workflow": run.workflow, "version": run.version, "policy": run.policy, "owner": run.owner,
            "rules": dict(run.rules),
            "input": dict(run.input), "forked_at": place, "runner": run.runner,
            "deadline_at": deadline_of(run, self._book.clock.now()),
        }  # fmt: skip
        commands = self._write.run(fork_id, run.workflow, spec, parent=None)
        commands.append(self._write.edge(fork_id, "forked_from", run.id))
        commands += [self._write.edge(fork_id, "has_step", step.id) for step in taken]
        commands += self._write.run_status(fork_id, RunStatus.READY)
        await self._book.keep(commands, body=["fork", run.id, place])
        return await self._book.run(fork_id)

    async def amend(self, name: str, flow: Workflow[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Run:
        """Start another run of a run's workflow with other input; steps that would do the same are taken over.

        A step is taken over when it stands at the same place, under the same name, with the same arguments, and was
        completed and not degraded. Questions, sleeps and child workflows are not.

        Raises:
            ConflictError: the first run has not ended (``run.ended``).
            InvalidError: *flow* is another workflow than the run's, or the input cannot be kept.
        """
        run = await self._finished(name)
        if flow.name != run.workflow:
            msg = f"run {run.id} is one of {run.workflow!r}, not of {flow.name!r}; amend it with its own workflow"
            raise InvalidError(msg, code="query.invalid")
        given = taken_in(flow, args, kwargs)
        return await self._amended(run, spec_of(flow, given, self._book.clock.now()))

    async def amend_by_name(self, name: str, given: object) -> Run:
        """Start another run of a run's workflow as `amend` does, where the workflow's code is not at hand.

        It is pinned to the version, the policy and the time that the first one had.

        Args:
            given: what it is started with: an object, by the names of the workflow's arguments.

        Raises:
            ConflictError: the first run has not ended (``run.ended``).
            InvalidError: it is an agent's run, or the input is no object or cannot be kept.
        """
        if not isinstance(given, dict):
            raise InvalidError("the input of a run is an object: its arguments by name", code="query.invalid")
        run = await self._finished(name)
        if run.runner == "agent":
            msg = f"run {run.id} is an agent's, which does its steps elsewhere; start another one, or fork it"
            raise InvalidError(msg, code="query.invalid")
        taken = arguments((), cast("dict[str, object]", given), run.workflow)
        spec: dict[str, Json] = {
            "workflow": run.workflow, "version": run.version, "policy": run.policy, "owner": run.owner,
            "rules": dict(run.rules), "input": taken, "deadline_at": deadline_of(run, self._book.clock.now()),
        }  # fmt: skip
        return await self._amended(run, spec)

    async def _finished(self, name: str) -> Run:
        run = await self._book.run(name)
        if not run.ended:
            msg = f"run {run.id} has not ended, it is {run.status}; only what is finished can be amended"
            raise ConflictError(msg, code="run.ended")
        return run

    async def _amended(self, run: Run, spec: dict[str, Json]) -> Run:
        """Begin what takes the place of *run*. Raises ConflictError (``run.erased``)."""
        await self._book.steps(run.id, whole=True)
        amended_id, given = self._book.ids.new(), spec["input"]
        commands = self._write.run(amended_id, run.workflow, {**spec, "amends": run.id}, parent=None)
        commands.append(self._write.edge(amended_id, "amends", run.id))
        commands += self._write.run_status(amended_id, RunStatus.READY)
        await self._book.keep(commands, body=["amend", run.id, given])
        return await self._book.run(amended_id)

    async def erase(self, name: str, reason: str) -> ErasedRun:
        """Let a run's words be gone for good: its own, its steps', and the blobs that nothing else refers to.

        Raises:
            ConflictError: it has not ended (``run.ended``).
            ForbiddenError: the actor is no person (``erase.forbidden``).
        """
        return await erase_run(self._book, name, reason)

    async def answer(self, question: str, choice: object) -> Run:
        """Answer a question, by its id or as ``RUN/PLACE``, as this logbook's actor; its run goes on from there.

        Raises:
            ConflictError: it was answered, or denied, before (``question.settled``), or its run is done without it
                (``run.ended``).
            InvalidError: the answer is none of the choices (``question.choice``).
            ForbiddenError: it is a person's question and a program answers (``trust.too_low``).
        """
        said = checked_json(choice, "the answer")
        for _ in range(_TRIES_MAX):
            step, run = await self._question(question)
            asked = step.asked or {}
            if step.answer is not None and dict(step.answer) == {"choice": said, "by": self._book.actor}:
                # The same one again: its acknowledgement was lost.
                return run
            if step.answer is not None or step.status is StepStatus.FAILED:
                by = "denied when its time was over" if step.answer is None else f"answered by {step.answer.get('by')}"
                raise ConflictError(f"question {step.id} was {by} already", code="question.settled", step=step.id)
            if run.status in (RunStatus.DONE, RunStatus.DEGRADED):
                msg = f"run {run.id} has ended, {run.status}; nobody waits for the answer to {step.id} any more"
                raise ConflictError(msg, code="run.ended", step=step.id)
            choices = asked.get("choices")
            if isinstance(choices, list) and choices and said not in choices:
                msg = f"{said!r:.80} is none of the choices: {', '.join(map(str, choices))}"
                raise InvalidError(msg, code="question.choice", choices=choices)
            if str(asked.get("owner") or "").startswith("human:") and self._book.trust.level < Trust.HUMAN.level:
                msg = f"question {step.id} is {asked['owner']}'s; only a person may answer it"
                raise ForbiddenError(msg)
            commands: list[Command] = [
                self._write.fact(step.id, "step.answer", {"choice": said, "by": self._book.actor}),
                self._write.fact(step.id, "status", str(StepStatus.COMPLETED)),
            ]
            expects = [Expect(Ref(id=step.id), step.node_version)]
            if run.status is RunStatus.WAITING:
                # By its status, and not by an instant: clocks differ. One that has ended since stays so.
                commands += self._write.run_status(run.id, RunStatus.READY)
                expects.append(Expect(Ref(id=run.id), run.node_version))
            elif run.status is RunStatus.RUNNING:
                # It may be about to wait.
                commands.append(self._write.fact(run.id, "run.wake", from_micros(self._book.clock.now())))
            try:
                await self._book.keep(commands, body=["answer", step.id, said], expects=expects)
            except ConflictError as error:
                if error.code != "version.conflict":
                    raise
                continue
            return await self._book.run(run.id)
        raise ConflictError(f"question {question!r:.80} keeps moving; read it and answer again")

    async def question(self, name: str) -> Step:
        """Return a question, by its id or as ``RUN/PLACE``. Raises NotFoundError."""
        return (await self._question(name))[0]

    async def _question(self, name: str) -> tuple[Step, Run]:
        """Return a question, and the run at whose top it stands: the one that is woken."""
        step, _, whole = await located(self._book, name)
        if step.asked is None:
            raise NotFoundError(f"{name!r:.80} is no question of a run; a run's steps have its questions")
        return step, whole
