"""Runs whose code is elsewhere: an agent in any language starts, claims, logs and finishes them, call by call.

They are the nodes and facts that a worker writes. Each run has a lease of its own, and every call carries its fence and
expects the run as it was read: a late writer is refused, and so is whoever writes after the run's end. Every call may
be made again: what was kept is returned, not kept twice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NoReturn

from latewood.execution.blobs import Blobs
from latewood.execution.external_words import Begun, Claimed, Done, Held, StepCall, Trouble
from latewood.execution.faults import DEFAULT, Action, Fault, FaultClass, Policy, trouble_told
from latewood.execution.logbook import STEPS_MAX, Logbook, due_of
from latewood.execution.pausing import SLEEP_S_MAX, OnTimeout, question_of
from latewood.execution.policies import kept_with_run, policy_of, since_given_up
from latewood.execution.showing import progress_of
from latewood.execution.words import (
    LATE,
    PLACE_PARTS_MAX,
    RUN_S,
    Claim,
    Run,
    Runner,
    RunStatus,
    Step,
    StepStatus,
    place_text,
)
from latewood.execution.workflow import arguments, digest_of
from latewood.execution.writing import Attempt, Writing, checked_json
from latewood.graph_schema.clock import Micros, from_micros
from latewood.graph_schema.commands import Command, Expect, Guard, Ref
from latewood.graph_schema.errors import ConflictError, InvalidError, LimitError
from latewood.graph_schema.given import checked
from latewood.graph_schema.values import Json, check_text
from latewood.storage.port import Lease

__all__ = ["CLAIM_S_MAX", "Agents", "lease_name", "lost_claim"]

CLAIM_S_MAX: Final = 3_600.0
"""Longest that a claim may be silent."""
_CLAIM_S_MIN: Final = 1.0
_TRIES_MAX: Final = 12
_WAIT_S: Final = 0.005
_NAME_BYTES_MAX: Final = 200
_SECOND: Final = 1_000_000


def lease_name(run_id: str) -> str:
    """Return the name of the lease on an agent's run."""
    return f"run:{run_id}"


async def lost_claim(book: Logbook, run: Run) -> tuple[int, int, list[Step]]:
    """Return how far a run had come whose worker was lost, how many were lost there, and what they had begun."""
    before = run.claim or Claim("", 0)
    (far,) = (await progress_of(book, [run.id])).values()
    gone = before.lost + 1 if far.done == before.steps else 1
    return far.done, gone, [step for step in far.steps if step.status is StepStatus.STARTED]


@checked
class Agents:
    """The runs of a space, for the agents that run them elsewhere."""

    def __init__(self, book: Logbook) -> None:
        """Act through *book*, as its actor."""
        self._book = book
        self._write = Writing(book.ids)

    async def start(
        self, workflow: str, given: Mapping[str, object] | None = None, *, version: str = "1", owner: str | None = None,
        deadline_s: float = RUN_S, runner: Runner = "agent", once: str | None = None, policy: Policy = DEFAULT,
    ) -> Run:  # fmt: skip
        """Start a run that whoever is free takes up.

        Args:
            given: what it is started with, by name.
            owner: who is asked when it cannot go on, such as human:ada.
            runner: *worker* leaves it to the next Python worker that knows the workflow in this version.
            once: the same key and the same words start one run.
            policy: what is done about each class of trouble, such as `policies.declared_policy` returns.

        Raises:
            ConflictError: the key came with other words (``idempotency.conflict``).
            InvalidError, LimitError: what it is started with cannot be kept.
        """
        for text, where in ((workflow, "the workflow's name"), (version, "the version"), (owner or "-", "the owner")):
            if not check_text(text, where, bytes_max=_NAME_BYTES_MAX).strip():
                raise InvalidError(f"{where} is empty", code="query.invalid")
        if not 1 <= deadline_s <= SLEEP_S_MAX:
            raise InvalidError(f"a run ends in 1 to {SLEEP_S_MAX:,} seconds, not {deadline_s}", code="query.invalid")
        told, run_id = arguments((), dict(given or {}), workflow), self._book.ids.new()
        spec: dict[str, Json] = {
            "workflow": workflow, "version": version, **kept_with_run(policy, runner), "owner": owner, "input": told,
            "deadline_at": self._book.clock.now() + round(deadline_s * _SECOND), "runner": runner,
        }  # fmt: skip
        commands = self._write.run(run_id, workflow, spec, parent=None)
        commands += self._write.run_status(run_id, RunStatus.READY)
        body: list[Json] = ["start", workflow, version, told, owner, deadline_s, runner]
        body += [] if policy == DEFAULT else [policy.version, policy.document()]
        op = None if once is None else f"latewood.start:{self._book.actor}:{once}"
        receipt = await self._book.keep(commands, body=body, op=op)
        if receipt.replayed:
            run_id = next(node for key, node in receipt.nodes.items() if key.startswith("run:"))
        return await self._book.run(run_id)

    async def claim(self, name: str, worker: str, *, lease_s: float = 60.0) -> Claimed:
        """Make a run this worker's, from where it stands; the same worker may ask again.

        Args:
            worker: a name of its own for each process.
            lease_s: how long it may be silent before others may claim the run.

        Raises:
            ConflictError: another one has it (``run.claimed``), it has ended (``run.ended``), or it is Python's
                (``run.runner``).
        """
        owner = self._owner(worker)
        _check_lease_s(lease_s)
        for _ in range(_TRIES_MAX):
            run = await self._open(name)
            lease = await self._book.store.acquire(self._book.space, lease_name(run.id), owner, lease_s)
            if lease is None:
                who = "another worker" if run.claim is None else run.claim.worker
                msg = f"run {run.id} is claimed by {who}; claim it once that has been silent for as long as it said"
                raise ConflictError(msg, code="run.claimed", run=run.id)
            claimed = await self._claimed(run, owner, lease)
            if claimed is not None:
                return claimed
            await _moment()
        raise ConflictError(f"run {name[:80]} keeps moving; claim it again in a moment", code="version.conflict")

    async def _claimed(self, run: Run, owner: str, lease: Lease) -> Claimed | None:
        before = run.claim or Claim("", 0)
        held, until = Held(run.id, owner, lease.fence), from_micros(lease.until)
        running = run.status is RunStatus.RUNNING
        if running and (before.worker, before.fence) == (owner, lease.fence):
            return Claimed(run, lease.fence, until)
        most = policy_of(run).rule(FaultClass.LOST_WORKER).tries
        # One that was escalated over its losses and resumed begins to count anew.
        steps, gone, begun = (before.steps, before.lost if before.lost < most else 0, list[Step]())
        if running:
            steps, gone, begun = await lost_claim(self._book, run)
        try:
            await self._book.steps(run.id, whole=True)
        except ConflictError as error:
            await self._refuse(run, held, "erased", error.message, code=error.code)
        if gone >= most:
            words = f"{gone} workers were lost one after another after {steps} steps"
            return await self._refuse(run, held, FaultClass.POISON, words)
        claim = Claim(owner, lease.fence, steps, gone)
        commands = self._write.claim(run.id, claim)
        # What a lost worker began may have happened: whoever comes to it again is told.
        commands += [self._write.fact(step.id, "status", str(StepStatus.AGAIN)) for step in begun]
        if not await self._kept(run, held, commands, ["claim", run.id, owner, lease.fence, gone]):
            return None
        return Claimed(replace(run, status=RunStatus.RUNNING, claim=claim), lease.fence, until)

    async def _refuse(
        self, run: Run, held: Held, kind: FaultClass | str, words: str, *, code: str = "run.ended"
    ) -> NoReturn:  # fmt: skip
        """End a run escalated, and tell whoever called."""
        commands = self._write.ended(run.id, RunStatus.ESCALATED, trouble_told(kind, words))
        await self._kept(run, held, commands, ["ended", run.id, str(kind)])
        raise ConflictError(f"run {run.id} was escalated, {kind}: {words}", code=code, run=run.id)

    async def heartbeat(self, held: Held, *, lease_s: float = 60.0) -> Claimed:
        """Keep a claim for another *lease_s*.

        Raises:
            ConflictError: it is lost (``lease.lost``), or the run has ended (``run.ended``): cancelled, or too late.
        """
        _check_lease_s(lease_s)
        run = await self._mine(held)
        lease = Lease(self._book.space, lease_name(run.id), self._owner(held.worker), held.fence, 0)
        renewed = await self._book.store.renew(lease, lease_s)
        return Claimed(run, renewed.fence, from_micros(renewed.until))

    async def hand_back(self, held: Held) -> Run:
        """Let another worker claim the run at once. Raises as `heartbeat` does."""

        async def made(run: Run, _: Step | None) -> list[Command]:
            return [] if run.status is RunStatus.READY else self._write.run_status(run.id, RunStatus.READY)

        run = await self._move(held, made, ["handed back"])
        await self._release(held)
        return run

    async def begin(self, held: Held, call: StepCall) -> Begun:
        """Say that a step begins. When it was completed before, its output comes back and it must not be done again.

        Raises:
            ConflictError: another step, or other arguments, are kept at this place (``run.nondeterministic``; the run
                is escalated); or as `heartbeat` does.
        """
        found: list[Step | None] = []

        async def made(run: Run, kept: Step | None) -> list[Command]:
            found[:] = [kept]
            # One that may have happened stays marked so, however often its begin is said.
            if kept is not None and kept.status is not StepStatus.WAITING:
                return []
            step_id = self._book.ids.new() if kept is None else kept.id
            declared = await self._declared(run, step_id, call) if kept is None else []
            return [*declared, self._write.fact(step_id, "status", str(StepStatus.STARTED))]

        run = await self._move(held, made, ["begun", call.digest], call)
        before = found[0]
        step = before if before is not None and before.completed else await self._step(run, held, call)
        assert step is not None  # noqa: S101 - it was kept just now
        again = before is not None and before.status is StepStatus.AGAIN
        return Begun(step, step.attempts + 1, again, await self._due(step))

    async def _due(self, step: Step) -> Micros | None:
        """Return when the next try is due of a step whose last one failed."""
        if not step.attempts or step.completed:
            return None
        tried = (await self._book.attempts([step.id])).get(step.id, [])
        at = due_of(tried)
        return at if at is not None and at > self._book.clock.now() else None

    async def complete(self, held: Held, call: StepCall, done: Done) -> Step:
        """Keep what a step returned; begun or not.

        Raises:
            ConflictError: something else is kept of it (``step.settled``); or as `begin` does.
        """
        output = checked_json(done.output, f"what {call.name} returns")

        async def made(run: Run, kept: Step | None) -> list[Command]:
            if kept is not None and (kept.completed or kept.status is StepStatus.FAILED):
                if not kept.completed or kept.output != output:
                    raise _settled(kept)
                return []
            step_id = self._book.ids.new() if kept is None else kept.id
            number = 1 if kept is None else kept.attempts + 1
            attempt = Attempt(number, done.seconds, policy_of(run).version, None, done.usage, done.model)
            commands = [] if kept is not None else await self._declared(run, step_id, call)
            commands += self._write.attempt(step_id, call.name, attempt)
            if done.usage is not None:
                commands.append(self._write.fact(step_id, "usage", dict[str, object](done.usage)))
            if done.model is not None:
                model = Ref(key=f"model:{done.model}")
                commands.append(replace(self._write.edge(step_id, "used_model", step_id), object=model))
            large = await Blobs(self._book).output_of(step_id, output)
            ended = self._write.completed(step_id, output, degraded=done.degraded, large=bool(large))
            return [*commands, *large, *ended]

        run = await self._move(held, made, ["completed", call.digest, output, done.degraded], call)
        step = await self._step(run, held, call)
        assert step is not None  # noqa: S101 - it was kept just now
        return step

    async def fail(self, held: Held, call: StepCall, number: int, trouble: Trouble) -> Begun:
        """Keep that try *number* of a step failed, and say when the next one is due, by the policy of its class.

        When no try is left the step has failed for good; the run goes on, so that its agent may do without it, or say
        with `finish` that it cannot.

        Raises:
            ConflictError: it is completed or failed already (``step.settled``); or as `begin` does.
        """
        fault = Fault(trouble.kind, trouble.message, retry_after_s=trouble.retry_after_s)

        async def made(run: Run, kept: Step | None) -> list[Command]:
            policy = policy_of(run)
            rule = policy.rule(fault.kind)
            if kept is not None and kept.attempts >= number and not (kept.completed and kept.attempts == number):
                return []
            if kept is not None and (kept.completed or kept.status is StepStatus.FAILED):
                raise _settled(kept)
            before = [] if kept is None else (await self._book.attempts([kept.id])).get(kept.id, [])
            tried = 1 + sum(one.get("class") == str(fault.kind) for one in since_given_up(before))
            step_id = self._book.ids.new() if kept is None else kept.id
            attempt = Attempt(len(before) + 1, trouble.seconds, policy.version, fault, trouble.usage, trouble.model)
            commands = [] if kept is not None else await self._declared(run, step_id, call)
            if tried >= rule.tries:
                commands += self._write.attempt(step_id, call.name, attempt)
                return [*commands, *self._write.failed(step_id, fault)]
            wait_s = rule.wait_s(tried, random.random(), fault.retry_after_s)  # noqa: S311 - keeps retries apart
            retry_at = self._book.clock.now() + round(wait_s * _SECOND)
            commands += self._write.attempt(step_id, call.name, attempt, retry_at=retry_at)
            return [*commands, self._write.waiting(step_id)]

        run = await self._move(held, made, ["failed", call.digest, number, str(fault.kind)], call)
        step = await self._step(run, held, call)
        assert step is not None  # noqa: S101 - it was kept just now
        return Begun(step, step.attempts + 1, again=True, retry_at=await self._due(step))

    async def ask(
        self, held: Held, place: tuple[int, ...], question: str, *, owner: str | None = None,
        choices: Sequence[str] = (), deadline_s: float = 86_400.0, on_timeout: OnTimeout = "hold",
        context: object = None,
    ) -> Step:  # fmt: skip
        """Keep a question; asked again, it comes back with its answer once there is one.

        The run waits meanwhile, and is ready for whoever claims it when it was answered. See `latewood.execution.ask`.

        Raises:
            ConflictError: as `begin` does.
            InvalidError: the question is malformed.
        """
        said: dict[str, Json] = {}
        call = StepCall(place, "ask", "")

        async def made(run: Run, _: Step | None) -> list[Command]:
            nonlocal call, said
            said = question_of(question, owner or run.owner, choices, deadline_s, on_timeout, context)
            call = StepCall(place, "ask", digest_of("ask", said), "question")
            if await self._step(run, held, call) is not None:
                return []
            due = self._book.clock.now() + round(deadline_s * _SECOND)
            await self._check_room(run, place)
            commands = self._write.question(run.id, self._book.ids.new(), place, call.digest, said, due)
            return [*commands, *self._write.run_status(run.id, RunStatus.WAITING, wake_at=due)]

        run = await self._move(held, made, ["ask", question])
        step = await self._step(run, held, call)
        assert step is not None  # noqa: S101 - it was kept just now
        return step

    async def finish(self, held: Held, output: object = None, *, trouble: Trouble | None = None) -> Run:
        """End a run: done, or degraded when a part of it is; with *trouble* escalated or refused, by its class.

        Raises:
            ConflictError: it ended otherwise (``run.ended``), or the claim is lost (``lease.lost``).
        """
        result: dict[str, Json] = {"output": checked_json(output, "what the run returns")}
        if trouble is not None:
            result = trouble_told(trouble.kind, trouble.message, trouble.step)
        run = await self._book.run(held.run)
        if run.ended and self._has(run, held) and dict(run.result) == result:
            return run

        async def made(run: Run, _: Step | None) -> list[Command]:
            if trouble is not None:
                refused = policy_of(run).rule(FaultClass(trouble.kind)).then is Action.REFUSE
                return self._write.ended(run.id, RunStatus.REFUSED if refused else RunStatus.ESCALATED, result)
            (far,) = (await progress_of(self._book, [run.id])).values()
            degraded = any(step.status is StepStatus.DEGRADED for step in far.steps)
            return self._write.ended(run.id, RunStatus.DEGRADED if degraded else RunStatus.DONE, result)

        ended = await self._move(held, made, ["ended", result])
        await self._release(held)
        return ended

    def _owner(self, worker: str) -> str:
        """Return who holds the lease: a name and the actor's, so that no other actor can act under it."""
        name = check_text(worker, "the worker's name", bytes_max=_NAME_BYTES_MAX).removesuffix(f"@{self._book.actor}")
        if not name.strip() or "@" in name:
            msg = f"{worker!r:.80} is no name of a worker; take one of its own for each process, without an @"
            raise InvalidError(msg, code="query.invalid")
        return f"{name}@{self._book.actor}"

    def _has(self, run: Run, held: Held) -> bool:
        claim = run.claim
        return claim is not None and (claim.worker, claim.fence) == (self._owner(held.worker), held.fence)

    async def _release(self, held: Held) -> None:
        owner = self._owner(held.worker)
        await self._book.store.release(Lease(self._book.space, lease_name(held.run), owner, held.fence, 0))

    async def _open(self, name: str) -> Run:
        """Return an agent's run that has not ended; one whose time is over ends now."""
        run = await self._book.run(name)
        if run.runner != "agent":
            msg = f"run {run.id} is of the workflow {run.workflow!r} in Python; its workers run it"
            raise ConflictError(msg, code="run.runner", run=run.id)
        if not run.ended and run.deadline_at is not None and self._book.clock.now() >= run.deadline_at:
            commands = self._write.ended(run.id, RunStatus.ESCALATED, trouble_told("deadline", LATE))
            await self._kept(run, None, commands, ["ended", run.id, "deadline"])
            run = await self._book.run(run.id)
        if run.ended:
            words = f": {run.result['message']}" if "message" in run.result else ""
            raise ConflictError(f"run {run.id} has ended, {run.status}{words}", code="run.ended", run=run.id)
        return run

    async def _mine(self, held: Held) -> Run:
        """Return the run that is held. Raises ConflictError (``lease.lost``, ``run.ended``)."""
        run = await self._book.run(held.run)
        claim = run.claim
        if claim is None or claim.fence > held.fence:
            fences = "it was never claimed" if claim is None else f"stale fence {held.fence} < {claim.fence}"
            raise ConflictError(f"the claim of run {run.id} is lost: {fences}; claim it again", code="lease.lost")
        return await self._open(run.id)

    async def _step(self, run: Run, held: Held, call: StepCall) -> Step | None:
        """Return what is kept at a place. Raises ConflictError (``run.nondeterministic``) for another step."""
        key = f"step:{run.id}/{place_text(call.place)}"
        ids = [node.id for node in (await self._book.store.nodes(self._book.space, keys=[key])).values()]
        if not ids and run.forked_from is not None:
            # What a fork has taken over goes by the first run's places.
            (far,) = (await progress_of(self._book, [run.id])).values()
            ids = [step.id for step in far.steps if step.place == call.place]
        found = await self._book.steps_by_id(ids)
        if not found:
            return None
        (step,) = found
        if (step.name, step.digest) != (call.name, call.digest):
            what = "other arguments" if step.name == call.name else f"{step.name!r}"
            words = f"at step {place_text(call.place)} it comes to {call.name!r}, and {what} is kept there"
            if self._has(run, held) and not run.ended:
                await self._refuse(run, held, "nondeterministic", words, code="run.nondeterministic")
            raise ConflictError(f"run {run.id}: {words}", code="run.nondeterministic", run=run.id)
        return step

    async def _declared(self, run: Run, step_id: str, call: StepCall) -> list[Command]:
        await self._check_room(run, call.place)
        spec: dict[str, Json] = {}
        commands: list[Command] = []
        if call.given is not None:
            spec, commands = await Blobs(self._book).input_of(step_id, call.given, [], _at_once)
        return [*self._write.step(run.id, step_id, call.place, call.name, call.sort, call.digest, **spec), *commands]

    async def _check_room(self, run: Run, place: tuple[int, ...]) -> None:
        """Refuse a step beyond a run's bounds. Raises LimitError (``STEPS_MAX``)."""
        deep = not 1 <= len(place) <= PLACE_PARTS_MAX or not all(1 <= part <= STEPS_MAX for part in place)
        # Places of one number bound themselves; those within others are counted.
        if deep or (len(place) > 1 and len((await self._book.step_ids([run.id]))[run.id]) >= STEPS_MAX):
            msg = f"a run has at most {STEPS_MAX:,} steps, at places of 1 to {PLACE_PARTS_MAX} numbers from 1 on"
            raise LimitError(msg, limit="STEPS_MAX", maximum=STEPS_MAX)

    async def _move(
        self, held: Held, made: Callable[[Run, Step | None], Awaitable[list[Command]]], body: list[Json],
        call: StepCall | None = None,
    ) -> Run:  # fmt: skip
        """Keep what *made* says of the run, and of the step of *call*, as they are, under the claim; or nothing."""
        for _ in range(_TRIES_MAX):
            run = await self._mine(held)
            kept = None if call is None else await self._step(run, held, call)
            commands = await made(run, kept)
            if not commands:
                return run
            if await self._kept(run, held, self._going(run, commands), [*body, run.id], kept):
                return await self._book.run(run.id)
            await _moment()
        raise ConflictError(f"run {held.run} keeps moving; make the call again", code="version.conflict")

    def _going(self, run: Run, commands: list[Command]) -> list[Command]:
        """Say of a run that waited or was ready that it runs, unless the commands say how it stands."""
        told = any(getattr(one, "predicate", "") == "status" and _of(one) == run.id for one in commands)
        if run.status is RunStatus.RUNNING or told:
            return commands
        return [*commands, *self._write.run_status(run.id, RunStatus.RUNNING)]

    async def _kept(
        self, run: Run, held: Held | None, commands: Sequence[Command], body: Json, step: Step | None = None
    ) -> bool:  # fmt: skip
        """Keep *commands* unless the run, or the *step* that they are of, has moved since it was read."""
        guard = None if held is None else Guard(lease_name(run.id), self._owner(held.worker), held.fence)
        # What is said of a step that is there already does not move its run.
        expects = [Expect(Ref(id=one.id), one.node_version) for one in (run, step) if one is not None]
        keep = partial(self._book.keep, body=body, guard=guard, expects=expects)
        try:
            await Blobs(self._book).settled(commands, keep)
        except ConflictError as error:
            if error.code not in ("version.conflict", "key.taken"):
                raise
            return False
        return True


def _of(command: Command) -> str | None:
    subject = getattr(command, "subject", None)
    return subject.id if isinstance(subject, Ref) else None


async def _at_once(commands: Sequence[Command]) -> None:
    # Only conversations are kept in parts, and agents send none.
    raise AssertionError(commands)


def _settled(kept: Step) -> ConflictError:
    where = place_text(kept.place)
    return ConflictError(f"step {where} ({kept.name}) is {kept.status} already, otherwise", code="step.settled")


def _check_lease_s(lease_s: float) -> None:
    if not _CLAIM_S_MIN <= lease_s <= CLAIM_S_MAX:
        msg = f"a claim lasts {_CLAIM_S_MIN:g} to {CLAIM_S_MAX:g} seconds, not {lease_s}"
        raise InvalidError(msg, code="query.invalid")


async def _moment() -> None:
    # Two calls of one agent at the same time: chance lets one of them go first.
    await asyncio.sleep(_WAIT_S * random.random())  # noqa: S311
