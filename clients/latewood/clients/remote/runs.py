"""Runs of workflows over HTTP: an agent's verbs of `latewood.memory.runs`, and what is done with a run from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeVar

from latewood.clients.remote.answers import Page, Word
from latewood.clients.remote.calling import RemoteCaller
from latewood.clients.remote.calls import Call, Verbatim, member, there, verbatim
from latewood.clients.remote.messages import PolicyRule
from latewood.clients.remote.shapes import decode
from latewood.graph_schema.given import checked
from latewood.graph_schema.values import Json

__all__ = [
    "Begun", "Claim", "Claimed", "Done", "ErasedRun", "Held", "Question", "RemoteRuns", "Run", "Step", "StepCall",
    "Trouble", "Vouch", "call_of", "done_of", "trouble_of",
]  # fmt: skip

T = TypeVar("T")
_DAY_S: Final = 86_400.0
_ENDED: Final = ("done", "degraded", "escalated", "refused")


@dataclass(frozen=True, slots=True)
class Claim:
    """Which worker has a run, under which fence; *lost* counts those that it lost since it last got further."""

    worker: str
    fence: int
    lost: int


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a workflow.

    Attributes:
        input: ``args`` and ``kwargs``.
        output: what it returned; *error_class*, *error* and *failed_step* of one that ended otherwise.
        waits: what has to come before it goes on; *next* what to do about it, as a command.
    """

    id: str
    workflow: str
    version: str
    policy: str
    status: Word
    owner: str | None
    runner: Word
    input: Mapping[str, Json]
    started_at: datetime
    deadline_at: datetime | None
    wake_at: datetime | None
    claim: Claim | None
    output: Json
    error_class: str | None
    error: str | None
    failed_step: str | None
    parent: str | None
    forked_from: str | None
    amends: str | None
    waits: str | None
    next: str | None

    @property
    def ended(self) -> bool:
        """Whether it has come to an end."""
        return self.status in _ENDED


@dataclass(frozen=True, slots=True)
class Question:
    """What a run asks somebody before it goes on; *answered_by* is None while it is open."""

    question: str
    owner: str | None
    choices: tuple[str, ...]
    context: Json
    on_timeout: str
    deadline_at: datetime | None
    overdue: bool
    answer: Json
    answered_by: str | None


@dataclass(frozen=True, slots=True)
class Vouch:
    """Somebody's word for what came of an effect elsewhere: *by* whom, and what they saw."""

    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """One unit of a run's work; *place* is as a run shows it, ``3`` or ``3.2``, and *tries* counts them."""

    id: str
    place: str
    name: str
    sort: str
    status: Word
    digest: str
    output: Json
    error_class: str | None
    error: str | None
    usage: Mapping[str, Json] | None
    wake_at: datetime | None
    tries: int
    question: Question | None
    child: str | None
    vouched: Vouch | None

    @property
    def completed(self) -> bool:
        """Whether it need not be done again."""
        return self.status in ("completed", "degraded")

    @property
    def answer(self) -> Mapping[str, Json] | None:
        """Of a question what was answered, ``choice``, and ``by`` whom; None while it is open."""
        if self.question is None or self.question.answered_by is None:
            return None
        return {"choice": self.question.answer, "by": self.question.answered_by}


@dataclass(frozen=True, slots=True)
class Held:
    """A run that is claimed, by which worker, under which fence: what every call carries."""

    run: str
    worker: str
    fence: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim, *until* when it holds without another word."""

    run: Run
    fence: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Begun:
    """A step, and what to do about it.

    Attributes:
        attempt: the number of the next try.
        again: it was begun or tried before: look whether its effect is there already.
        retry_at: not before this instant; None: now.
    """

    step: Step
    attempt: int
    again: bool
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class StepCall:
    """Which step: its place, its name, and its input or the digest of it. Made by `call_of`."""

    place: tuple[int, ...]
    name: str
    given: Mapping[str, Json] | None
    digest: str | None
    model_call: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What a step returned, how long its last try took, and what that used. Made by `done_of`."""

    output: Json
    seconds: float | None = None
    usage: Mapping[str, Json] | None = None
    model: str | None = None
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong, of which class, such as ``transient``, and what the try had used. Made by `trouble_of`."""

    kind: str
    message: str
    retry_after_s: float | None = None
    seconds: float | None = None
    usage: Mapping[str, Json] | None = None
    model: str | None = None
    step: str | None = None


@checked
def call_of(
    place: tuple[int, ...], name: str, given: Mapping[str, Json] | None, digest: str | None, *,
    model_call: bool = False,
) -> StepCall:  # fmt: skip
    """Name a step by its arguments or by their digest, one of the two."""
    return StepCall(place, name, given, digest, model_call)


@checked
def done_of(
    output: Json, *, seconds: float | None = None, usage: Mapping[str, Json] | None = None, model: str | None = None,
    degraded: bool = False,
) -> Done:  # fmt: skip
    """Say what a step returned."""
    return Done(output, seconds, usage, model, degraded)


@checked
def trouble_of(
    kind: str, message: str, *, retry_after_s: float | None = None, seconds: float | None = None,
    usage: Mapping[str, Json] | None = None, model: str | None = None, step: str | None = None,
) -> Trouble:  # fmt: skip
    """Say what went wrong."""
    return Trouble(kind, message, retry_after_s, seconds, usage, model, step)


@dataclass(frozen=True, slots=True)
class ErasedRun:
    """What went with a run: itself and its child runs, their *steps*, tries and blobs.

    Attributes:
        shared: steps that another run has too; their words stay until that one is erased.
        kept: blobs that something else refers to.
    """

    runs: int
    steps: int
    attempts: int
    blobs: int
    shared: int
    kept: int


@dataclass(frozen=True, slots=True)
class _OfRun:
    run: Run


def _claim(held: Held) -> dict[str, object]:
    return {"run": held.run, "worker": held.worker, "fence": held.fence}


def _place(place: tuple[int, ...]) -> str:
    return ".".join(map(str, place))


def _step(call: StepCall) -> dict[str, object]:
    return {
        "place": _place(call.place), "name": call.name, "input": verbatim(call.given), "digest": call.digest,
        "model_call": call.model_call,
    }  # fmt: skip


def _trouble(one: Trouble) -> dict[str, object]:
    return {
        "kind": member(one.kind), "message": one.message, "retry_after_seconds": one.retry_after_s, "step": one.step
    }  # fmt: skip


def _used(one: Done | Trouble) -> dict[str, object]:
    return {"seconds": one.seconds, "usage": verbatim(one.usage), "model": one.model}


def _output(output: Json) -> Verbatim | None:
    return None if output is None else Verbatim(output)


@checked
class RemoteRuns(RemoteCaller):
    """The runs of a server's space, for an agent that runs them here. Made by `RemoteMemory.runs`.

    An agent's calls may all be made again, and are where an answer was lost.
    """

    async def start(
        self, workflow: str, given: Mapping[str, Json] | None = None, *, version: str = "1", owner: str | None = None,
        deadline_s: float = 90 * _DAY_S, runner: Literal["agent", "worker"] = "agent", once: str | None = None,
        policy: Sequence[PolicyRule] | None = None, policy_version: str | None = None,
    ) -> Run:  # fmt: skip
        """Start a run that whoever is free takes up.

        Args:
            once: the same key and the same words start one run.
            policy: what differs from the usual, by class of trouble; it needs a *policy_version*, a name for it.
        """
        own = {
            "workflow": workflow, "input": verbatim(given), "version": version, "owner": owner,
            "deadline_seconds": deadline_s, "runner": member(runner), "idempotency_key": once,
            "policy": None if policy is None else [one.spoken() for one in policy], "policy_version": policy_version,
        }  # fmt: skip
        return (await self._write("start_run", _OfRun, {**own, "by": self._by})).run

    async def claim(self, name: str, worker: str, *, lease_s: float = 60.0) -> Claimed:
        """Make a run this worker's, from where it stands. Raises ConflictError as `Agents.claim` does."""
        return await self._say("claim_run", Claimed, {"run": name, "worker": worker, "lease_seconds": lease_s})

    async def heartbeat(self, held: Held, *, lease_s: float = 60.0) -> Claimed:
        """Keep a claim for another *lease_s*. Raises ConflictError (``lease.lost``, ``run.ended``)."""
        return await self._say("heartbeat_run", Claimed, {"claim": _claim(held), "lease_seconds": lease_s})

    async def hand_back(self, held: Held) -> Run:
        """Let another worker claim the run at once. Raises as `heartbeat` does."""
        return (await self._say("hand_back_run", _OfRun, {"claim": _claim(held)})).run

    async def begin(self, held: Held, call: StepCall) -> Begun:
        """Say that a step begins. When it was completed before, its output comes back and it must not be done again.

        Raises ConflictError (``run.nondeterministic``), or as `heartbeat` does.
        """
        return await self._say("begin_step", Begun, {"claim": _claim(held), "step": _step(call)})

    async def complete(self, held: Held, call: StepCall, done: Done) -> Step:
        """Keep what a step returned; begun or not. Raises ConflictError (``step.settled``), or as `begin` does."""
        given = {"output": _output(done.output), "degraded": done.degraded, **_used(done)}
        return (await self._say("complete_step", Begun, {"claim": _claim(held), "step": _step(call), **given})).step

    async def fail(self, held: Held, call: StepCall, number: int, trouble: Trouble) -> Begun:
        """Keep that try *number* of a step failed, and say when the next one is due. Raises as `complete` does."""
        given = {"attempt": number, "trouble": _trouble(trouble), **_used(trouble)}
        return await self._say("fail_step", Begun, {"claim": _claim(held), "step": _step(call), **given})

    async def ask(
        self, held: Held, place: tuple[int, ...], question: str, *, owner: str | None = None,
        choices: Sequence[str] = (), deadline_s: float = _DAY_S,
        on_timeout: Literal["hold", "escalate", "deny"] = "hold", context: Json = None,
    ) -> Step:  # fmt: skip
        """Keep a question; asked again, it comes back with its answer once there is one. Raises as `begin` does."""
        given = {
            "claim": _claim(held), "place": _place(place), "question": question, "owner": owner,
            "choices": list(choices), "deadline_seconds": deadline_s, "on_timeout": member(on_timeout),
            "context": _output(context),
        }  # fmt: skip
        return (await self._say("ask_question", Begun, given)).step

    async def finish(self, held: Held, output: Json = None, *, trouble: Trouble | None = None) -> Run:
        """End a run: with what it returned, or with *trouble* escalated or refused, by its class.

        Raises ConflictError (``run.ended``, ``lease.lost``).
        """
        given = {"output": _output(output), "trouble": None if trouble is None else _trouble(trouble)}
        return (await self._say("finish_run", _OfRun, {"claim": _claim(held), **given})).run

    async def run(self, name: str) -> Run:
        """Return a run by its id or key. Raises NotFoundError (``run.unknown``)."""
        return there(await self._or_none("run", Run, id=("String!", name)), name, "run.unknown")

    async def list(
        self, *, statuses: Sequence[str] = (), workflow: str | None = None, first: int = 50, after: str | None = None
    ) -> Page[Run]:  # fmt: skip
        """List runs, the newest first."""
        return await self._ask(
            "runs", Page[Run], status=("[RunStatus!]", [member(one) for one in statuses] or None),
            workflow=("String", workflow), first=("Int", first), after=("String", after),
        )  # fmt: skip

    async def answer(self, question: str, choice: Json) -> Run:
        """Answer a question, by its id or as ``RUN/PLACE``; its run goes on from there.

        Raises ConflictError (``question.settled``), InvalidError (``question.choice``), ForbiddenError.
        """
        given = {"question": question, "answer": Verbatim(choice)}
        return (await self._say("answer_question", _OfRun, given)).run

    async def cancel(self, name: str, reason: str = "") -> Run:
        """End a run: at once when nobody works on it, else at its worker's next look. Raises ConflictError."""
        return (await self._say("cancel_run", _OfRun, {"run": name, "reason": reason}, again=False)).run

    async def resume(self, name: str, *, version: str | None = None) -> Run:
        """Let an escalated or refused run go on: what is completed is not run again. Raises ConflictError."""
        return (await self._say("resume_run", _OfRun, {"run": name, "version": version}, again=False)).run

    async def fork(self, name: str, place: str) -> Run:
        """Start another run of the same input that has the steps before *place* already. Raises InvalidError."""
        return (await self._say("fork_run", _OfRun, {"run": name, "place": place}, again=False)).run

    async def amend_by_name(self, name: str, given: object) -> Run:
        """Start another run of a finished one's workflow with other input: its arguments, by name.

        Steps that would do the same are taken over. Raises ConflictError (``run.ended``), InvalidError.
        """
        return (await self._say("amend_run", _OfRun, {"run": name, "input": Verbatim(given)}, again=False)).run

    async def vouch(self, step: str, output: Json, reason: str) -> Run:
        """Say that the effect of a step that failed as ambiguous did happen, and what it returned; its run goes on.

        Args:
            step: its id, or ``RUN/PLACE``.
            reason: what was seen, and where; it is kept with the step.

        Raises ConflictError (``step.known``, ``run.ended``), ForbiddenError, InvalidError.
        """
        given = {"step": step, "output": _output(output), "reason": reason}
        return (await self._say("vouch_step", _OfRun, given)).run

    async def erase(self, name: str, reason: str) -> ErasedRun:
        """Let a finished run's words be gone for good. Raises ConflictError (``run.ended``), ForbiddenError."""
        return await self._say("erase_run", ErasedRun, {"run": name, "reason": reason})

    async def steps(self, name: str, *, first: int = 100, after: str | None = None) -> Page[Step]:
        """List a run's steps by their places. Raises NotFoundError (``run.unknown``)."""
        given = {"id": ("String!", name), "space": ("String", self._space)}
        part = ("steps", {"first": ("Int", first), "after": ("String", after)})
        found = there(await self._call(Call("run", Page[Step], given, part=part)), name, "run.unknown")
        return decode(Page[Step], found["part"])

    async def _say(self, verb: str, answer: type[T], given: Mapping[str, object], *, again: bool = True) -> T:
        return await self._write(verb, answer, {**given, "by": self._by}, keyed=False, again=again)
