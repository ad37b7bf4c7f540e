"""One go at a run in this process: steps are run once and kept, and what is kept already is not run again."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, NoReturn

from latewood.execution.blobs import Blobs, Transcript
from latewood.execution.faults import Action, Fault, FaultClass, Policy, fault_of
from latewood.execution.leaving import AbandonedError, NondeterministicError, Scope, SuspendedError, strand
from latewood.execution.logbook import STEPS_MAX, Logbook, due_of
from latewood.execution.messages.words import Channel
from latewood.execution.policies import since_given_up
from latewood.execution.showing import tokens_used
from latewood.execution.tracing import try_span
from latewood.execution.trying import TRYING, Trying
from latewood.execution.words import PLACE_PARTS_MAX, Place, Run, Step, StepStatus, place_text
from latewood.execution.workflow import (
    HERE,
    Registry,
    StepOf,
    addressed,
    arguments,
    called,
    digest_of,
    placed,
    running,
)  # fmt: skip
from latewood.execution.writing import Attempt, Writing, checked_json
from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Command, Expect, Guard, Ref
from latewood.graph_schema.errors import ConflictError, LimitError, RefusedError, UnavailableError
from latewood.graph_schema.values import Json
from latewood.storage.crashpoints import reach
from latewood.storage.queueing import Taken

__all__ = ["WAIT_HERE_S", "Execution", "StepFailedError", "here"]

WAIT_HERE_S: Final = 5.0
"""What lasts longer than this is waited for without the run in memory."""
_SECOND: Final = 1_000_000
_NAME_CHARS: Final = 200


class StepFailedError(RefusedError):
    """A step failed for good, after what its policy allows; *fault* says how, *action* what its policy says of it."""

    default_code = "run.step_failed"

    def __init__(self, place: Place, name: str, fault: Fault, action: Action, within: object = None) -> None:
        """Name the step; of a child run also the step *within* it, of which the fault's words speak."""
        where, words = place_text(place), f"failed, {fault.kind}: {fault.message}"
        if fault.message.startswith(f"step {within} ("):
            words = f"> {fault.message.removeprefix('step ')}"
        super().__init__(f"step {where} ({name}) {words}", step=where, kind=str(fault.kind))
        self.fault, self.action, self.place = fault, action, place


@dataclass(slots=True)
class Execution:
    """One go at a run.

    Attributes:
        memo: the steps that are kept, by place.
        visited: the places that this go came to.
        replayed: steps that were not run again, and *tokens* what they had used.
        earlier: the steps of the run that this one amends, once they are read.
        handed: messages that were taken for this go at the run, by their groups.
        channels: those that it has met, by their names: a unit that goes by one expects it to be so still.
        over: why nothing new is begun any more; what is under way may still be kept.
        busy: the tasks that have something under way.
        depth: of how many runs this one is a part.
    """

    book: Logbook
    registry: Registry
    run: Run
    guard: Guard | None
    policy: Policy
    memo: dict[Place, Step] = field(default_factory=dict[Place, Step])
    visited: set[Place] = field(default_factory=set[Place])
    degraded: bool = False
    replayed: int = 0
    tokens: int = 0
    closed: bool = False
    blobs: Blobs = field(init=False)
    earlier: dict[Place, Step] | None = None
    handed: dict[str, Taken] = field(default_factory=dict[str, Taken])
    channels: dict[str, Channel] = field(default_factory=dict[str, Channel])
    over: AbandonedError | None = None
    depth: int = 0
    busy: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Begin without any blob."""
        self.blobs = Blobs(self.book)

    @property
    def write(self) -> Writing:
        """Makes the commands."""
        return Writing(self.book.ids)

    async def keep(self, commands: Sequence[Command], body: Json, *, expects: Sequence[Expect] = ()) -> None:
        """Keep a part of the run under its worker's lease. Raises AbandonedError when that is lost."""
        self.check_open()
        kept = partial(self.book.keep, body=body, guard=self.guard, expects=expects)
        try:
            await self.blobs.settled(commands, kept)
        except ConflictError as error:
            if error.code != "lease.lost":
                raise
            self.closed = True
            raise AbandonedError(error.message) from error
        except UnavailableError as error:
            self.closed = True
            raise AbandonedError(error.message) from error

    def begun(self, task: asyncio.Task[Any]) -> bool:
        """Note that *task* has something under way; False when it had so already."""
        fresh = task not in self.busy
        self.busy.add(task)
        self.idle.clear()
        return fresh

    def over_with(self, task: asyncio.Task[Any]) -> None:
        """Note that *task* has nothing under way any more."""
        self.busy.discard(task)
        if not self.busy:
            self.idle.set()

    async def quiet(self) -> None:
        """Return when nothing is under way: what a workflow began and did not await is kept before the run is left."""
        if self.busy:
            await self.idle.wait()

    def check_open(self) -> None:
        """Stop whoever goes on after the run was left. Raises AbandonedError."""
        if self.closed:
            raise AbandonedError("this go at the run is over")

    def recall(self, place: Place, name: str, digest: str) -> Step | None:
        """Return what is kept of the step at *place*; None when it is new.

        Raises:
            NondeterministicError: another step is kept there.
        """
        self.check_open()
        if self.over is not None:
            raise self.over
        self.visited.add(place)
        kept = self.memo.get(place)
        if kept is None:
            if len(self.memo) >= STEPS_MAX or len(place) > PLACE_PARTS_MAX:
                msg = f"a run has at most {STEPS_MAX:,} steps, {PLACE_PARTS_MAX} deep; split it into child workflows"
                raise LimitError(msg, limit="STEPS_MAX", maximum=STEPS_MAX)
            return None
        if (kept.name, kept.digest) != (name[:_NAME_CHARS], digest):
            what = "other arguments" if kept.name == name[:_NAME_CHARS] else f"{kept.name!r}"
            msg = (
                f"at step {place_text(place)} the workflow calls {name!r}, and {what} is kept there: it did something "
                "else than before. Run the code that began the run, or fork it from there"
            )
            raise NondeterministicError(msg)
        return kept

    def unvisited(self) -> Place | None:
        """Return a place that is kept and that this go never came to; None when the go was like the ones before."""
        for place in sorted(self.memo):
            if place not in self.visited and not any(place[:n] in self.memo for n in range(1, len(place))):
                return place
        return None

    def remember(self, step: Step) -> None:
        """Note what is kept now."""
        self.memo[step.place] = step

    def step(
        self, made: StepOf[Any, Any], place: Place, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Coroutine[object, object, Any]:  # fmt: skip
        """Run a step once, or return what it returned before."""
        # Come to when it is called: one of a branch that was stopped may not have had its turn.
        self.visited.add(place)
        return self._step(made, place, args, kwargs)

    @placed
    async def _step(
        self, made: StepOf[Any, Any], place: Place, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Any:  # fmt: skip
        named = {name: addressed(one) for name, one in kwargs.items()}
        given = arguments(tuple(map(addressed, args)), named, made.name)
        digest = digest_of(made.name, given)
        kept = self.recall(place, made.name, digest) or await self._taken_over(place, made.name, digest)
        if kept is not None and kept.completed:
            self.replayed += 1
            self.tokens += tokens_used(kept.usage)
            self.degraded |= kept.status is StepStatus.DEGRADED
            return kept.output
        if kept is not None and kept.status is StepStatus.FAILED:
            raise self._failed_before(made, kept)
        if (gate := here(made.name)[1].gate) is not None:
            await gate.passed()
        return await _Going(self, made, place, digest, kept, args, kwargs, given).result()

    async def _taken_over(self, place: Place, name: str, digest: str) -> Step | None:
        """Return what the run that this one amends did here, when it is the same; from then on it is a step of both."""
        if self.run.amends is None:
            return None
        if self.earlier is None:
            self.earlier = {step.place: step for step in await self.book.steps(self.run.amends)}
        old = self.earlier.get(place)
        same = old is not None and (old.name, old.digest) == (name[:_NAME_CHARS], digest)
        if old is None or not same or old.status is not StepStatus.COMPLETED:
            return None
        await self.keep([self.write.edge(self.run.id, "has_step", old.id)], ["taken over", old.id])
        self.remember(old)
        return old

    def _failed_before(self, made: StepOf[Any, Any], kept: Step) -> StepFailedError:
        error = kept.error or {}
        fault = Fault(str(error.get("class", "permanent")), str(error.get("message", "")))
        rule = (made.policy or self.policy).rule(fault.kind)
        return StepFailedError(kept.place, kept.name, fault, rule.then if kept.then is None else Action(kept.then))


@dataclass(slots=True)
class _Going:
    """The tries of one step."""

    of: Execution
    made: StepOf[Any, Any]
    place: Place
    digest: str
    kept: Step | None
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    given: Json
    step_id: str = ""
    number: int = 0
    tried: Counter[str] = field(default_factory=Counter[str])
    last: Fault | None = None
    took: tuple[dict[str, Json], list[Command]] = field(default_factory=lambda: ({}, []))

    @property
    def _key(self) -> str:
        return f"{self.of.run.id}/{place_text(self.place)}"

    @property
    def _policy(self) -> Policy:
        return self.made.policy or self.of.policy

    async def result(self) -> Json:
        """Try until it goes through or the policy says that it does not."""
        self.step_id = self.of.book.ids.new() if self.kept is None else self.kept.id
        if self.kept is not None:
            if (fault := await self._go_on(self.kept)) is not None:
                return await self._fall_back(fault)
        else:
            said = [one for one in (*self.args, *self.kwargs.values()) if isinstance(one, Transcript)]
            self.took = await self.of.blobs.input_of(self.step_id, self.given, said, self._keep_blobs)
        if self.made.outside and (found := await self._begin()) is not None:
            return found
        while True:
            self.number += 1
            trying = Trying(self._key, self.number, self.last)
            began = time.monotonic()
            again = True
            try:
                output = await self._call(trying, self.made.function)
            except Exception as error:  # noqa: BLE001 - every trouble of a step has a class
                fault = error.fault if isinstance(error, StepFailedError) else fault_of(error)
                again = not isinstance(error, StepFailedError)
            else:
                reach("step.called")
                return await self._completed(output, self._attempt(trying, began))
            self.of.check_open()
            self.last = fault
            self.tried[fault.kind] += 1
            rule = self._policy.rule(fault.kind)
            if not again or self.tried[fault.kind] >= rule.tries:
                return await self._used_up(fault, self._attempt(trying, began, fault))
            # Chance keeps those that failed together from coming back together.
            wait_s = rule.wait_s(self.tried[fault.kind], random.random(), fault.retry_after_s)  # noqa: S311
            await self._try_again(self._attempt(trying, began, fault), wait_s)
            # What a lost answer left behind is looked up; a refusal that says so left nothing.
            if self.made.outside and fault.kind is FaultClass.TRANSIENT and (found := await self._probe()) is not None:
                return found

    def _attempt(self, trying: Trying, began: float, fault: Fault | None = None) -> Attempt:
        seconds = time.monotonic() - began
        return Attempt(
            trying.number, seconds, self._policy.version, fault, trying.usage, trying.model, dict(trying.about),
            tuple(dict.fromkeys(trying.links)),
        )  # fmt: skip

    async def _call(self, trying: Trying, function: Callable[..., Any], *below: int) -> Json:
        """Call *function*, as a place of its own in the run, and return what will be read of it again."""
        scope = Scope((*self.place, *below))
        here, mine = HERE.set((self.of, scope)), TRYING.set(trying)
        try:
            with try_span(self.made, trying):
                async with asyncio.timeout(self.made.timeout_s):
                    given = await strand(scope, called(function, *self.args, **self.kwargs))
                return checked_json(given, f"what {self.made.name} returns")
        finally:
            HERE.reset(here)
            TRYING.reset(mine)

    def _declared(self, **ended: Json) -> list[Command]:
        """Return what makes the step's node, the first time; from then on it is there.

        Args:
            ended: how the step ended, and what it returned, when its node is made no sooner than that.
        """
        if self.kept is not None:
            return []
        spec, commands = {**self.took[0], **ended}, self.took[1]
        if self.made.policy is not None:
            spec = {**spec, "policy": self.made.policy.version, "rules": self.made.policy.document()}
        step = self.of.write.step(
            self.of.run.id, self.step_id, self.place, self.made.name, self.made.sort, self.digest, **spec
        )  # fmt: skip
        return [*step, *commands]

    async def _keep_blobs(self, commands: Sequence[Command]) -> None:
        await self.of.keep(commands, ["blobs", self.digest])

    async def _ended(self, output: Json, tried: Sequence[Command], *, degraded: bool) -> list[Command]:
        """Return what keeps the end of a step: of one that is not there yet, as a part of its node (record 0087)."""
        status = StepStatus.DEGRADED if degraded else StepStatus.COMPLETED
        large = await self.of.blobs.output_of(self.step_id, output)
        if self.kept is None:
            returned: dict[str, Json] = {} if large else {"output": output}
            return [*self._declared(status=str(status), **returned), *tried, *large]
        return [*tried, *large, *self.of.write.completed(self.step_id, output, degraded=degraded, large=bool(large))]

    def _note(self, status: StepStatus, output: Json = None, fault: Fault | None = None) -> None:
        error: dict[str, Json] | None = None if fault is None else {"class": str(fault.kind), "message": fault.message}
        self.kept = Step(
            self.step_id, self.place, self.made.name[:_NAME_CHARS], self.made.sort, self.digest, status,
            attempts=self.number, output=output, error=error,
            then=None if fault is None or fault.then is None else str(fault.then),
        )  # fmt: skip
        self.of.remember(self.kept)

    async def _go_on(self, kept: Step) -> Fault | None:
        """Go on where another worker, or an earlier go, stopped; return what used the tries up, if something did."""
        self.number = kept.attempts
        if kept.attempts and kept.status is not StepStatus.AGAIN:
            tried = (await self.of.book.attempts([kept.id])).get(kept.id, [])
            due, before = due_of(tried), since_given_up(tried)
            # What waits for no other try: its fallback was under way.
            falls = due is None and kept.status is StepStatus.WAITING and self.made.fallback is not None
            before = tried if falls else before
            self.tried.update(str(one["class"]) for one in before if "class" in one)
            if before and "class" in before[-1]:
                self.last = Fault(str(before[-1]["class"]), str(before[-1].get("message", "")))
            if due is not None:
                await self._wait_until(due)
            if falls:
                return self.last
        return None

    async def _wait_until(self, instant: Micros) -> None:
        left_s = (instant - self.of.book.clock.now()) / _SECOND
        if left_s > WAIT_HERE_S:
            raise SuspendedError(instant)
        if left_s > 0:
            await asyncio.sleep(left_s)

    async def _begin(self) -> Json:
        """Keep the begin of an effect outside; of one that was begun before, find out what came of it."""
        if self.kept is not None and self.kept.status in (StepStatus.STARTED, StepStatus.WAITING):
            return await self._probe()
        status = self.of.write.fact(self.step_id, "status", str(StepStatus.STARTED))
        await self.of.keep([*self._declared(), status], ["begun", self.digest])
        self._note(StepStatus.STARTED)
        reach("step.begun")
        return None

    async def _probe(self) -> Json:
        """Return what came of an effect that was begun; None when nothing did. It is never guessed."""
        words = "nobody knows whether its effect happened; look there: vouch for it if it did, a resume makes it again"
        fault = Fault(FaultClass.AMBIGUOUS, words, then=Action.ESCALATE)
        if self.made.probe is not None:
            trying, began = Trying(self._key, self.number + 1), time.monotonic()
            mine = TRYING.set(trying)
            try:
                given = await strand(Scope(self.place), called(self.made.probe, *self.args, **self.kwargs))
                if given is None:
                    return None
                output = checked_json(given, f"what the probe of {self.made.name} returns")
            except Exception as error:  # noqa: BLE001 - whatever it was, the outcome is not known
                words = f"the probe of its effect failed: {fault_of(error).message}"
                fault = Fault(FaultClass.AMBIGUOUS, words, then=Action.ESCALATE)
            else:
                self.number += 1
                return await self._completed(output, self._attempt(trying, began))
            finally:
                TRYING.reset(mine)
        return await self._failed(fault, [])

    async def _completed(self, output: Json, attempt: Attempt, *, degraded: bool = False) -> Json:
        commands = await self._ended(output, self._counted(attempt), degraded=degraded)
        await self.of.keep(commands, ["completed", self.digest, output, degraded])
        self._note(StepStatus.DEGRADED if degraded else StepStatus.COMPLETED, output)
        self.of.degraded |= degraded
        reach("step.kept")
        return output

    def _counted(self, attempt: Attempt) -> list[Command]:
        """Return what keeps the try that counted, and of a model call its tokens and its model."""
        write = self.of.write
        commands = write.attempt(self.step_id, self.made.name, attempt)
        if attempt.usage is not None:
            commands.append(write.fact(self.step_id, "usage", dict[str, object](attempt.usage)))
        commands += [write.edge(self.step_id, predicate, target) for predicate, target in attempt.links]
        if attempt.model is not None:
            model = Ref(key=f"model:{attempt.model[:_NAME_CHARS]}")
            commands.append(replace(write.edge(self.step_id, "used_model", self.step_id), object=model))
        return commands

    def _fallen(self, attempt: Attempt) -> list[Command]:
        """Return what keeps the call of a fallback as a try of its own: of one that asked a model, for its tokens."""
        if attempt.model is None:
            return []
        self.number += 1
        if attempt.fault is not None:
            return self.of.write.attempt(self.step_id, self.made.name, attempt)
        return self._counted(attempt)

    async def _try_again(self, attempt: Attempt, wait_s: float) -> None:
        """Keep that a try failed, and wait; the wait is kept too, so that no restart cuts it short."""
        retry_at = self.of.book.clock.now() + round(wait_s * _SECOND)
        commands = self.of.write.attempt(self.step_id, self.made.name, attempt, retry_at=retry_at)
        status = self.of.write.waiting(self.step_id)
        body: list[Json] = ["failed", self.digest, str(attempt.fault)]
        await self.of.keep([*self._declared(), *commands, status], body)
        self._note(StepStatus.WAITING)
        reach("step.failed")
        await self._wait_until(retry_at)

    async def _used_up(self, fault: Fault, attempt: Attempt) -> Json:
        """Fall back where there is something to fall back on, else let the step have failed."""
        tried = self.of.write.attempt(self.step_id, self.made.name, attempt)
        if self.made.fallback is None:
            return await self._failed(fault, tried)
        # Kept before: a worker that is lost in the fallback has made these tries, and none is made again.
        waits = self.of.write.waiting(self.step_id)
        await self.of.keep([*self._declared(), *tried, waits], ["failed", self.digest, str(fault)])
        self._note(StepStatus.WAITING)
        reach("step.failed")
        return await self._fall_back(fault)

    async def _fall_back(self, fault: Fault) -> Json:
        trying, began = Trying(self._key, self.number + 1, fault), time.monotonic()
        assert self.made.fallback is not None  # noqa: S101 - nobody comes here without
        try:
            output = await self._call(trying, self.made.fallback, 0)
        except Exception as error:  # noqa: BLE001 - as above
            fault = fault_of(error)
            return await self._failed(fault, self._fallen(self._attempt(trying, began, fault)))
        commands = await self._ended(output, self._fallen(self._attempt(trying, began)), degraded=True)
        await self.of.keep(commands, ["degraded", self.digest, output])
        self._note(StepStatus.DEGRADED, output)
        self.of.degraded = True
        return output

    async def _failed(self, fault: Fault, tried: Sequence[Command]) -> NoReturn:
        """Keep that the step failed for good, and say so. Raises StepFailedError."""
        then = fault.then
        if then is None and self.kept is not None and self.kept.then is not None:
            # What it said the last time holds no more.
            then = self._policy.rule(fault.kind).then
        commands = [*self._declared(), *tried, *self.of.write.failed(self.step_id, fault, then)]
        body: list[Json] = ["failed for good", self.digest, str(fault.kind), fault.message]
        await self.of.keep(commands, body)
        self._note(StepStatus.FAILED, fault=fault)
        reach("step.failed")
        then = then or fault.then or self._policy.rule(fault.kind).then
        raise StepFailedError(self.place, self.made.name, fault, then)


def here(what: str) -> tuple[Execution, Scope]:
    """Return the go at a run that this task works for, and where in it. Raises InvalidError (``run.outside``)."""
    run, scope = running(what)
    assert isinstance(run, Execution)  # noqa: S101 - there is no other
    return run, scope
