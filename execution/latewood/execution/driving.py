"""From a workflow's function to the end of its run: what it returned or raised becomes one of the four ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, ParamSpec, TypeVar, cast

import structlog

from latewood.execution.fanning import Gate
from latewood.execution.faults import Action, Fault, FaultClass, trouble_told
from latewood.execution.leaving import AbandonedError, NondeterministicError, SuspendedError, strand, uncut
from latewood.execution.running import Execution, StepFailedError, here
from latewood.execution.schemas import misfit
from latewood.execution.tracing import run_span
from latewood.execution.words import INPUT, LATE, Place, Run, RunStatus, Step, StepStatus, place_text
from latewood.execution.workflow import HERE, Scope, Workflow, check_call, digest_of, placed, taken_in
from latewood.execution.writing import checked_json
from latewood.graph_schema.commands import Command, Expect, Ref
from latewood.graph_schema.errors import ConflictError, InvalidError, LatewoodError, LimitError
from latewood.graph_schema.values import Json
from latewood.storage.crashpoints import reach

__all__ = ["CANCELLED", "CHILDREN_DEEP_MAX", "child", "drive", "finish", "spec_of"]

P = ParamSpec("P")
R = TypeVar("R")

CANCELLED: Final = "cancelled"
CHILDREN_DEEP_MAX: Final = 15
"""Deepest that child workflows begin child workflows of their own."""
_SECOND: Final = 1_000_000
_STOP_S: Final = 2.0
"""How long code that is told to stop may take."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _End:
    status: RunStatus
    result: dict[str, Json]


def spec_of(flow: Workflow[..., Any], given: Mapping[str, Json], now: int) -> dict[str, Json]:
    """Return what is fixed of a run at its start."""
    return {
        "workflow": flow.name, "version": flow.version, "policy": flow.policy.version, "owner": flow.owner,
        "rules": flow.policy.document(),
        "input": dict(given), "deadline_at": now + round(flow.deadline_s * _SECOND),
        **({} if flow.path is None else {"path": flow.path}),
    }  # fmt: skip


def _trouble(status: RunStatus, kind: str, message: str, place: Place | None = None) -> _End:
    return _End(status, trouble_told(kind, message, None if place is None else place_text(place)))


def _failed(execution: Execution, error: StepFailedError | Fault) -> _End:
    """Return the end of a run whose step failed, or whose own code says which class of trouble it met."""
    if isinstance(error, Fault):
        action, fault, place = error.then or execution.policy.rule(error.kind).then, error, None
    else:
        action, fault, place = error.action, error.fault, error.place
    status = RunStatus.REFUSED if action is Action.REFUSE else RunStatus.ESCALATED
    return _trouble(status, str(fault.kind), error.message, place)


async def _gone_through(
    execution: Execution, flow: Workflow[..., Any], args: Sequence[Json], kwargs: Mapping[str, Json]
) -> Any:  # fmt: skip
    """Run the function in a task of its own, so that code which does not let itself be stopped can be left behind."""
    scope = Scope(gate=Gate() if execution.memo else None)
    HERE.set((execution, scope))

    async def code() -> Any:
        return await flow.function(*args, **kwargs)

    try:
        returned = await strand(scope, code())
    except SuspendedError:
        await execution.quiet()
        raise scope.leave(SuspendedError(None)) from None
    scope.leave(AbandonedError("the workflow has returned"))
    await execution.quiet()
    return returned


async def _stop(execution: Execution, task: asyncio.Task[Any]) -> None:
    """Let nothing more of a workflow's code begin, and end what it has under way, or leave it behind."""
    execution.over = AbandonedError("this go at the run is over")
    going = {task, *execution.busy}
    for one in going:
        one.cancel()
    _, left = await asyncio.wait(going, timeout=_STOP_S)
    if left:
        _log.warning("code_not_stopped", run=execution.run.id, tasks=len(left))
    for one in going:
        # What it still raises is for nobody.
        one.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


async def _called(execution: Execution, flow: Workflow[..., Any]) -> _End:
    """Run the function; what it does ends in a value, in trouble, or in a wait."""
    given = execution.run.input
    args, kwargs = cast("list[Json]", given.get("args", [])), cast("dict[str, Json]", given.get("kwargs", {}))
    deadline_at = execution.run.deadline_at
    left_s = None if deadline_at is None else (deadline_at - execution.book.clock.now()) / _SECOND
    if left_s is not None and left_s <= 0:
        return _trouble(RunStatus.ESCALATED, "deadline", LATE)
    if (unfit := _unfit(execution, flow)) is not None:
        return unfit
    task = asyncio.create_task(_gone_through(execution, flow, args, kwargs), name=f"latewood-code-{execution.run.id}")
    try:
        await asyncio.wait([task], timeout=left_s)
    except asyncio.CancelledError:
        await _stop(execution, task)
        raise
    if not task.done():
        await _stop(execution, task)
        return _trouble(RunStatus.ESCALATED, "deadline", LATE)
    try:
        returned = task.result()
        output = checked_json(returned, f"what the workflow {flow.name} returns")
        if flow.output_schema is not None:
            found = misfit(flow.output_schema, output, f"the output_schema of the workflow {flow.name}")
            if found is not None:
                words = f"what the workflow {flow.name} returns does not fit its output_schema: {found}"
                return _trouble(RunStatus.ESCALATED, str(FaultClass.SCHEMA), words)
    except (StepFailedError, Fault) as error:
        return _failed(execution, error)
    except NondeterministicError as error:
        return _trouble(RunStatus.ESCALATED, "nondeterministic", str(error))
    except Exception as error:  # noqa: BLE001 - a bug in a workflow ends its run, not its worker
        words = error.message if isinstance(error, LatewoodError) else f"{type(error).__name__}: {error}"
        return _trouble(RunStatus.ESCALATED, "workflow", f"the workflow's own code raised {words}")
    finally:
        if execution.busy:
            await _stop(execution, task)
    missed = execution.unvisited()
    if missed is not None:
        name = execution.memo[missed].name
        msg = f"the workflow ended and never came to step {place_text(missed)} ({name}), which is kept"
        return _trouble(RunStatus.ESCALATED, "nondeterministic", msg)
    return _End(RunStatus.DEGRADED if execution.degraded else RunStatus.DONE, {"output": output})


def _unfit(execution: Execution, flow: Workflow[..., Any]) -> _End | None:
    """Return the end of a run that was begun where its workflow was not known, with what that does not take."""
    # What begins a part is the code of what it is a part of: that is at fault, and no other input helps.
    if execution.memo or execution.run.parent is not None:
        return None
    given = execution.run.input
    args, kwargs = cast("list[Json]", given.get("args", [])), cast("dict[str, Json]", given.get("kwargs", {}))
    try:
        check_call(flow, args, kwargs)
        taken_in(flow, tuple(args), kwargs)
    except InvalidError as error:
        return _trouble(RunStatus.REFUSED, INPUT, error.message)
    return None


async def drive(execution: Execution, flow: Workflow[..., Any]) -> Run:
    """Run *flow* until it ends or waits, and keep that. Returns the run as it then is.

    Raises:
        AbandonedError: the run is another worker's.
        asyncio.CancelledError: whoever called this has to say what becomes of the run.
    """
    with run_span(execution.run) as gone:
        while True:
            try:
                end = await _called(execution, flow)
            except SuspendedError as wait:
                reach("run.left")
                waiting = await _suspend(execution, wait)
                if waiting is not None:
                    return gone.left(waiting)
                continue
            reach("run.left")
            return gone.left(await finish(execution, end.status, end.result))


async def finish(
    execution: Execution, status: RunStatus, result: Mapping[str, Json], also: Sequence[Command] = ()
) -> Run:  # fmt: skip
    """Keep the end of a run; nothing of it may be written after that, also not by who is stopped meanwhile."""
    stats: dict[str, Json] = {"replayed": execution.replayed, "tokens_saved": execution.tokens}
    said: dict[str, Json] = {**result, **(stats if execution.replayed else {})}

    async def kept() -> None:
        commands = execution.write.ended(execution.run.id, status, said)
        await execution.keep([*commands, *also], ["ended", str(status), said])
        execution.closed = True
        execution.run = replace(execution.run, status=status, result=said)

    await uncut(kept())
    reach("run.kept")
    return execution.run


async def _suspend(execution: Execution, wait: SuspendedError) -> Run | None:
    """Keep that a run waits; None when an answer came in between, and the run can go on at once.

    The questions' versions go with it: an answer that nobody has read yet makes the store refuse the wait.
    """
    run = execution.run
    if wait.questions:
        asked = await execution.book.steps_by_id([step.id for step in wait.questions])
        if any(step.answer is not None for step in asked):
            return _again(execution, asked)
    else:
        asked = ()
    expects = [Expect(Ref(id=step.id), step.node_version) for step in asked]
    # Without an instant of its own it sleeps until its deadline: an answer wakes it before.
    wake_at = wait.wake_at if wait.wake_at is not None else run.deadline_at
    commands = execution.write.run_status(run.id, RunStatus.WAITING, wake_at=wake_at)
    if wait.groups or run.awaits:
        # What it waited for before is over: a message of that must not wake it any more.
        commands.append(execution.write.awaits(run.id, wait.groups))
    try:
        await execution.keep(commands, ["waiting", wake_at], expects=expects)
    except ConflictError as error:
        if error.code != "version.conflict":
            raise
        return _again(execution, await execution.book.steps_by_id([step.id for step in asked]))
    execution.closed = True
    reach("run.kept")
    return replace(run, status=RunStatus.WAITING, wake_at=wake_at, awaits=wait.groups)


def _again(execution: Execution, steps: Sequence[Step]) -> None:
    for step in steps:
        # Those of a child are read again with the child.
        mine = execution.memo.get(step.place)
        if mine is not None and mine.id == step.id:
            execution.remember(step)
    execution.visited.clear()


@placed
async def child(flow: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run another workflow as a run of its own, a part of this one, and return what it returns.

    Raises:
        StepFailedError: it ended escalated or refused.
        LimitError: above `CHILDREN_DEEP_MAX`.
    """
    execution, scope = here("child")
    return cast("R", await _child(execution, scope.next(), flow, args, kwargs))


async def _child(
    of: Execution, place: Place, flow: Workflow[..., Any], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> Json:  # fmt: skip
    given = taken_in(flow, args, kwargs)
    digest = digest_of(flow.name, given)
    kept = of.recall(place, flow.name, digest)
    if kept is not None and kept.completed:
        of.replayed += 1
        of.degraded |= kept.status is StepStatus.DEGRADED
        return kept.output
    if kept is None:
        kept = await _begin_child(of, place, flow, given, digest)
    run = await of.book.run(str(kept.child))
    if not run.ended or kept.status is StepStatus.AGAIN:
        run, flow = await _pinned(of, kept, run, flow)
        try:
            steps = await of.book.steps(run.id, whole=True)
        except ConflictError as gone:
            raise NondeterministicError(gone.message) from gone
        memo = {step.place: step for step in steps}
        inner = Execution(
            of.book, of.registry, run, of.guard, flow.policy, memo, handed=of.handed, depth=of.depth + 1
        )  # fmt: skip
        try:
            run = await _drive_child(inner, flow)
        finally:
            inner.closed = True
    if run.status in (RunStatus.DONE, RunStatus.DEGRADED):
        degraded = run.status is RunStatus.DEGRADED
        await of.keep(of.write.completed(kept.id, run.output, degraded=degraded), ["completed", digest, run.output])
        of.degraded |= degraded
        status = StepStatus.DEGRADED if degraded else StepStatus.COMPLETED
        of.remember(replace(kept, status=status, output=run.output))
        return run.output
    kind = str(run.result.get("class", "permanent"))
    known = FaultClass(kind) if kind in set(FaultClass) else FaultClass.PERMANENT
    action = Action.REFUSE if run.status is RunStatus.REFUSED else Action.ESCALATE
    fault = Fault(known, str(run.result.get("message", "")))
    if kept.status is not StepStatus.FAILED:
        await of.keep(of.write.failed(kept.id, fault), ["failed", digest, str(known)])
        error: dict[str, Json] = {"class": str(known), "message": fault.message}
        of.remember(replace(kept, status=StepStatus.FAILED, error=error))
    raise StepFailedError(place, flow.name, fault, action, run.result.get("step"))


async def _pinned(
    of: Execution, kept: Step, run: Run, flow: Workflow[..., Any]
) -> tuple[Run, Workflow[..., Any]]:  # fmt: skip
    """Return a part with the workflow of the version that it is pinned to; resumed, it may move to that of *flow*.

    Raises:
        NondeterministicError: nobody here knows that version.
    """
    if run.version == flow.version:
        return run, flow
    known = of.registry.find(run.workflow, run.version)
    if known is not None:
        return run, known
    if kept.status is StepStatus.AGAIN:
        await of.keep([of.write.fact(run.id, "run.version", flow.version)], ["version", run.id, flow.version])
        return replace(run, version=flow.version), flow
    raise NondeterministicError(
        f"step {place_text(kept.place)} is run {run.id} of {run.workflow!r}, version {run.version!r}, and its worker "
        f"knows version {flow.version!r}; let one that knows both have it, or resume the run to move it to the other"
    )


async def _begin_child(
    of: Execution, place: Place, flow: Workflow[..., Any], given: dict[str, Json], digest: str
) -> Step:  # fmt: skip
    if of.depth >= CHILDREN_DEEP_MAX:
        msg = f"a run has parts of parts at most {CHILDREN_DEEP_MAX} deep; let the workflow {flow.name} end before that"
        raise LimitError(msg, limit="CHILDREN_DEEP_MAX", maximum=CHILDREN_DEEP_MAX)
    write, step_id, child_id = of.write, of.book.ids.new(), of.book.ids.new()
    commands = write.step(of.run.id, step_id, place, flow.name, "child", digest, child=child_id)
    commands += write.run(child_id, flow.name, spec_of(flow, given, of.book.clock.now()), parent=of.run.id)
    commands += write.run_status(child_id, RunStatus.RUNNING)
    commands.append(write.waiting(step_id))
    await of.keep(commands, ["child", flow.name, given])
    kept = Step(step_id, place, flow.name, "child", digest, StepStatus.WAITING, child=child_id)
    of.remember(kept)
    return kept


async def _drive_child(inner: Execution, flow: Workflow[..., Any]) -> Run:
    """Drive a child; when it waits, so does its parent, until the same instant or answer."""
    with run_span(inner.run) as gone:
        try:
            end = await _called(inner, flow)
        except SuspendedError:
            status = inner.write.run_status(inner.run.id, RunStatus.WAITING)
            await inner.keep(status, ["waiting"])
            gone.left(replace(inner.run, status=RunStatus.WAITING))
            raise
        except asyncio.CancelledError:
            inner.closed = True
            raise
        return gone.left(await finish(inner, end.status, end.result))
