"""Runs of workflows: what they do, what becomes of them, and a worker for them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import app, run
from latewood.clients.cli.options import After, Kind, scalar
from latewood.graph_schema.clock import from_micros, iso, to_micros
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import NodeKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latewood.execution import Run, RunStatus, Shown, Step, Worker, Workflow
    from latewood.execution.erasing import ErasedRun
    from latewood.execution.ranking import Ranking
    from latewood.graph_schema.clock import Micros
    from latewood.graph_schema.values import Json
    from latewood.memory import Memory
    from latewood.storage.port import Page

__all__ = ["show_run"]

_IDLE_LOOK_S = 0.2
_MORE_CHARS = 80

RunName = Annotated[str, typer.Argument(metavar="RUN", help="The id of a run.")]


def _at(instant: Micros | None) -> str:
    return "" if instant is None else iso(from_micros(instant))


def _trouble(one: Run) -> str:
    from latewood.execution.words import OPEN

    if one.status in OPEN:
        return ""  # What a run that was resumed had ended with is no trouble of its new go.
    return f"{one.result['class']}: {one.result.get('message', '')}" if "class" in one.result else ""


async def _show_list(call: Call, page: Page[Run] | Ranking) -> None:
    from latewood.execution.ranking import Ranking

    if isinstance(page, Ranking):
        await _show_stages(call, page)
        return
    rows = [
        (one.id, one.workflow, one.version, str(one.status), iso(one.started_at), _at(one.wake_at), _trouble(one))
        for one in page.items
    ]
    none = "no such runs; `latewood worker MODULE` runs workflows, those of traces: `latewood entities --kind run`"
    await call.table(
        ("run", "workflow", "version", "status", "started", "wakes", "trouble"), rows, none=none, after=page.next
    )
    if rows and (await call.memory.nodes(kind=NodeKind.RUN, type_="run", first=1)).items:
        call.screen.note("runs taken from traces and transcripts are not among these: `latewood entities --kind run`")


async def _show_stages(call: Call, ranking: Ranking) -> None:
    head = ("workflow", "stage", "steps", "tries", "failed", "tokens", "cost", "p50 s", "p95 s", "all s", "waiting")
    if not ranking.by_cost:
        await call.table(head, (), none="no steps of workflows; `latewood worker MODULE` runs some")
        return
    for title, stages in (("by cost", ranking.by_cost), ("by wait (p95)", ranking.by_wait)):
        call.screen.say(f"{title}, {ranking.runs} runs", style="bold")
        rows = [
            (one.workflow, one.stage, str(one.steps), str(one.tries), str(one.failed), f"{one.tokens:,}",
             "" if one.cost is None else f"{one.cost} {one.currency or ''}".strip(), f"{one.p50_s:.3f}",
             f"{one.p95_s:.3f}", f"{one.seconds:.3f}", str(one.waiting))
            for one in stages
        ]  # fmt: skip
        call.screen.table(head, rows)


async def show_run(call: Call, one: Run) -> None:
    """Show how a run stands after what was asked for."""
    from latewood.execution.standing import waits_for

    call.screen.say(f"{one.status}", style="bold")
    call.screen.field("run", one.id)
    call.screen.field("workflow", f"{one.workflow} {one.version}")
    call.screen.field("trouble", _trouble(one))
    call.screen.field("waits for", _waits(waits_for(one, ())))


async def _show_answered(call: Call, one: Run) -> None:
    from latewood.execution.showing import next_command

    await show_run(call, one)
    call.screen.field("next", next_command(one, ()))


def _text(value: object) -> str:
    """Write what a run took in or returned: words as they are, else JSON, which `run amend` and others take."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _failed_part(one: Run | None) -> str | None:
    """Say at which part a run failed, whose that is and why: what is to be put right before it is resumed."""
    if one is None:
        return None
    whose = "" if one.owner is None else f" of {one.owner}"
    return f"run {one.id} ({one.workflow} {one.version}){whose}, {one.status}: {_trouble(one)}; put that right first"


def _tries(one: Run, step: Step, tried: Sequence[Mapping[str, Json]]) -> str:
    """Count the tries of a step; by policy, where one of them went by another than the run has."""
    by = Counter(str(attempt.get("policy")) for attempt in tried)
    if not by.keys() - {one.policy}:
        return str(step.attempts or "")
    return ", ".join(f"{number} by {policy}" for policy, number in by.items())


def _step_says(step: Step, tried: Sequence[Mapping[str, Json]]) -> str:
    from latewood.execution.showing import is_overdue
    from latewood.execution.standing import last_trouble, step_waits_for

    trouble = last_trouble(step, tried)
    if step.error is not None and not step.completed:
        return ": ".join(trouble or ())
    if step.asked is not None:
        choices = step.asked.get("choices")
        options = f" ({', '.join(map(str, choices))})" if isinstance(choices, list) and choices else ""
        answer = "" if step.answer is None else f" -> {step.answer.get('choice')}, {step.answer.get('by')}"
        late = ", overdue" if is_overdue(step, to_micros(datetime.now(UTC))) else ""
        return f"{step.asked.get('question')}{options}{answer}{late}"
    if (waits := step_waits_for(step, tried)) is not None:
        return f"waits for {waits}"
    said = "" if step.output is None else _text(step.output)
    said = said if len(said) <= _MORE_CHARS else f"{said[:_MORE_CHARS]}..."
    if step.vouched is not None and step.completed:
        return f"{said} (by the word of {step.vouched.get('by')}: {step.vouched.get('reason')})"
    return said if trouble is None or step.status != "degraded" else f"{said} (degraded, {': '.join(trouble)})"


def _waits(words: str | None) -> str | None:
    """Say what a run waits for, and how it comes by a worker."""
    from latewood.execution.standing import A_WORKER

    waits_for_worker = words is not None and words.startswith(A_WORKER)
    return f"{words}: `latewood worker MODULE`" if waits_for_worker else words


def _worker(one: Run) -> str | None:
    """Say which worker has a run that is in hand, and how many were lost with it before."""
    if one.status != "running" or one.claim is None:
        return None
    lost = f", {one.claim.lost} lost before it after {one.claim.steps} steps" if one.claim.lost else ""
    return f"{one.claim.worker}, fence {one.claim.fence}{lost}; another takes over once it is silent for its lease"


def _rules(one: Run) -> str:
    said = [
        f"{kind} {rule.get('tries')} then {rule.get('then')}"
        for kind, rule in one.rules.items() if isinstance(rule, dict)
    ]  # fmt: skip
    return f": {', '.join(said)}" if said else ""


def _count(count: object) -> str:
    return "unknown" if count is None else f"{count:,}" if isinstance(count, int) else str(count)


def _show_calls(call: Call, shown: Shown) -> None:
    """Show what models were asked and what it cost, a line a try and a line a stage."""
    if not shown.calls:
        return
    tries = [
        (one.stage, f"{'.'.join(map(str, one.place))} try {one.number}", one.model, one.fault or one.outcome,
         *map(_count, (one.input, one.output, one.cached, one.reasoning, one.cost)), one.model_policy or "")
        for one in shown.calls
    ]  # fmt: skip
    call.screen.table(
        ("stage", "step", "model", "outcome", "in", "out", "cached", "reasoning", "cost", "model policy"), tries
    )
    stages = [
        (one.stage, str(one.steps), str(one.calls), _count(one.tokens), _count(one.cost)) for one in shown.stages
    ]  # fmt: skip
    call.screen.table(("stage", "steps", "calls", "tokens", "cost"), stages)


async def _show_all(call: Call, shown: Shown) -> None:
    one, field = shown.run, call.screen.field
    done = sum(step.completed for step in shown.steps)
    call.screen.say(
        f"{one.workflow} {one.version}: {one.status}, {done} of {len(shown.steps)} steps done", style="bold"
    )
    field("run", one.id)
    field("input", _text(dict(one.input)))
    field("output", None if one.output is None else _text(one.output))
    field("trouble", _trouble(one))
    field("failed part", _failed_part(shown.failed_part))
    field("owner", one.owner or "nobody: `@workflow(owner=...)` names who is asked when it cannot go on")
    field("worker", _worker(one))
    field("waits for", _waits(shown.waits))
    field("policy", f"{one.policy}{_rules(one)}")
    field("deadline", _at(one.deadline_at))
    field("forked from", one.forked_from)
    field("part of", one.parent)
    rows = [
        (".".join(map(str, step.place)), step.name, str(step.status), _tries(one, step, tried), step.digest[:12],
         _step_says(step, tried))
        for step in shown.steps for tried in (shown.attempts.get(step.id, ()),)
    ]  # fmt: skip
    await call.table(("place", "step", "status", "tries", "digest", "says"), rows, none="no step began yet")
    _show_calls(call, shown)
    if shown.next is not None:
        field("next", shown.next)
        parts = [f"{shown.saves} steps", f"{shown.tokens:,} tokens", shown.saved.words()]
        field("saves", f"{', '.join(filter(None, parts))}: not paid for again")


@command(app, show=_show_list)
async def runs(
    call: Call,
    *,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="STATUS", help="Only these: ready, running, waiting, done, ..."),
    ] = None,
    workflow: Annotated[str | None, typer.Option("--workflow", metavar="NAME", help="Only of this workflow.")] = None,
    first: Annotated[
        int | None, typer.Option("--first", metavar="N", help="How many; 50, and with --stages 200.")
    ] = None,
    after: After = None,
    stages: Annotated[
        bool, typer.Option("--stages", help="Rank the stages of the newest runs, by cost and by wait.")
    ] = False,
) -> Page[Run] | Ranking:
    """List runs of workflows, the newest first; or say where they lose money and time.

    Example: `latewood runs --status escalated --status waiting`
    """
    from latewood.execution.ranking import rank_stages
    from latewood.memory.runs import book_of, runs_of

    statuses = [_status(word) for word in status or ()]
    if stages:
        if statuses or after is not None:
            raise InvalidError("--stages goes with --workflow and --first only", code="query.invalid")
        return await rank_stages(book_of(call.memory), workflow=workflow, runs=200 if first is None else first)
    return await runs_of(call.memory).list(
        statuses=statuses, workflow=workflow, first=50 if first is None else first, after=after
    )


def _status(word: str) -> RunStatus:
    from latewood.execution import RunStatus

    if word not in set(RunStatus):
        known = ", ".join(RunStatus)
        raise InvalidError(f"{word!r:.40} is no status of a run; they are {known}", code="query.invalid")
    return RunStatus(word)


@command(run, show=_show_all)
async def show(call: Call, name: RunName) -> Shown:
    """Show a run: its steps, what was tried, what went wrong, what is asked, and what to do next.

    Example: `latewood run show 01a1fee5-65dd-7e62-b759-25e7e9c9762f`
    """
    from latewood.memory.runs import runs_of

    return await runs_of(call.memory).show(name)


@command(run, writes=True, show=show_run)
async def cancel(
    call: Call, name: RunName, *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept with the run.")] = "",
) -> Run:  # fmt: skip
    """End a run: at once when nobody works on it, else at its worker's next look. It ends refused.

    Example: `latewood run cancel 01a1fee5-65dd-7e62-b759-25e7e9c9762f --reason "the order was withdrawn"`
    """
    from latewood.memory.runs import runs_of

    return await runs_of(call.memory).cancel(name, reason)


@command(run, writes=True, show=show_run)
async def resume(
    call: Call, name: RunName, *,
    version: Annotated[
        str | None, typer.Option("--version", metavar="V", help="Of the workflow, from here on; else as it began.")
    ] = None,
) -> Run:  # fmt: skip
    """Let an escalated or refused run go on: what failed is tried anew, what is completed is not run again.

    Example: `latewood run resume 01a1fee5-65dd-7e62-b759-25e7e9c9762f`
    """
    from latewood.memory.runs import runs_of

    return await runs_of(call.memory).resume(name, version=version)


@command(run, writes=True, show=show_run)
async def fork(
    call: Call, name: RunName,
    place: Annotated[str, typer.Argument(metavar="PLACE", help="The first step that is run again, such as 3.")],
) -> Run:  # fmt: skip
    """Begin another run of the same input that has the steps before PLACE already; the first one stays as it is.

    Example: `latewood run fork 01a1fee5-65dd-7e62-b759-25e7e9c9762f 3`
    """
    from latewood.memory.runs import runs_of

    return await runs_of(call.memory).fork(name, place)


@command(run, writes=True, show=show_run)
async def amend(
    call: Call, name: RunName,
    given: Annotated[str, typer.Argument(metavar="JSON", help="The workflow's arguments by name, as a JSON object.")],
) -> Run:  # fmt: skip
    """Begin another run of a finished one's workflow with other input; steps that would do the same are taken over.

    Example: `latewood run amend 01a1fee5-65dd-7e62-b759-25e7e9c9762f '{"lane": "Nice"}'`
    """
    from latewood.memory.runs import runs_of

    return await runs_of(call.memory).amend_by_name(name, scalar(given, Kind.JSON))


async def _show_erased(call: Call, one: ErasedRun) -> None:
    call.screen.say("erased", style="bold")
    for name in ("runs", "steps", "attempts", "blobs", "shared", "kept"):
        call.screen.field(name, str(getattr(one, name)))


@command(run, writes=True, show=_show_erased)
async def erase(
    call: Call, name: RunName, *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept; do not repeat in it what goes.")],
) -> ErasedRun:  # fmt: skip
    """Let a run's words be gone for good: its own, its steps', its tries', and what no other run refers to.

    Example: `latewood run erase 01a1fee5-65dd-7e62-b759-25e7e9c9762f --reason "asked for" --by human:ada`
    """
    from latewood.memory.runs import runs_of

    return await runs_of(call.memory).erase(name, reason)


@command(run, writes=True, show=_show_answered)
async def answer(
    call: Call,
    question: Annotated[str, typer.Argument(metavar="RUN/PLACE", help="The question, as `latewood run show` has it.")],
    choice: Annotated[str, typer.Argument(metavar="ANSWER", help="One of its choices, or your own words.")],
    *,
    kind: Annotated[Kind, typer.Option("--kind", help="How the answer is to be read.")] = Kind.TEXT,
) -> Run:
    """Answer a question of a run; it goes on from there.

    Example: `latewood run answer 01a1fee5-65dd-7e62-b759-25e7e9c9762f/2 yes`
    """
    from latewood.memory.runs import runs_of

    return await runs_of(call.memory).answer(question, scalar(choice, kind))


@command(run, writes=True, show=show_run)
async def vouch(
    call: Call,
    step: Annotated[str, typer.Argument(metavar="RUN/PLACE", help="The step, as `latewood run show` has it.")],
    output: Annotated[
        str | None, typer.Argument(metavar="[OUTPUT]", help="What it would have returned; left out, nothing.")
    ] = None,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="What you saw, and where; kept with it.")],
    kind: Annotated[Kind, typer.Option("--kind", help="How OUTPUT is to be read.")] = Kind.AUTO,
) -> Run:
    """Say that a step's effect, which failed as ambiguous, did happen: it is not made again, and its run goes on.

    Example: `latewood run vouch 01a1fee5-65dd-7e62-b759-25e7e9c9762f/3 '{"id": 7}' --reason "it is in their list"`
    """
    from latewood.memory.runs import runs_of

    return await runs_of(call.memory).vouch(step, None if output is None else scalar(output, kind), reason)


@command(app, writes=True)
async def worker(
    call: Call,
    module: Annotated[str, typer.Argument(metavar="MODULE", help="Where the workflows are, such as `plans.lanes`.")],
    *,
    at_once: Annotated[int, typer.Option("--at-once", metavar="N", help="Most runs at a time.", min=1)] = 64,
    lease: Annotated[
        float, typer.Option("--lease", metavar="SECONDS", help="Silent for so long, it counts as lost.", min=1)
    ] = 15.0,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when no run is left to go on with.")] = False,
) -> None:
    """Run the workflows of a module, what lost workers left too, until it is ended by Ctrl-C or a signal.

    What it has in hand then is handed back, and goes on in the next worker.

    Example: `latewood worker plans.lanes --db latewood.db`
    """
    from latewood.execution.loading import workflows_in
    from latewood.memory.runs import worker_of

    flows = workflows_in([module])
    async with worker_of(call.memory, *flows, lease_s=lease, at_once=at_once) as hand:
        names = ", ".join(sorted(f"{flow.name} {flow.version}" for flow in flows))
        call.screen.note(f"worker {hand.name} runs {names}")
        stop = asyncio.Event()
        for one in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(one, stop.set)
        if not until_idle:
            await stop.wait()
            return
        while not stop.is_set() and not await _idle(call.memory, hand, flows):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _IDLE_LOOK_S)


async def _idle(memory: Memory, hand: Worker, flows: Sequence[Workflow[..., Any]]) -> bool:
    from latewood.execution import RunStatus
    from latewood.memory.runs import runs_of

    await hand.look()
    page = await runs_of(memory).list(statuses=[RunStatus.READY, RunStatus.RUNNING], first=1_000)
    ours = {(flow.name, flow.version) for flow in flows}
    return hand.going == 0 and not any((one.workflow, one.version) in ours for one in page.items)
