"""What a run waits for, and what went wrong in a step, in words: the same ones on every surface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from latewood.execution.logbook import due_of
from latewood.execution.words import Run, RunStatus, Step, StepStatus, place_text
from latewood.graph_schema.clock import Micros, from_micros, iso
from latewood.graph_schema.values import Json

__all__ = ["A_WORKER", "last_trouble", "step_waits_for", "unsettled", "waits_for"]

A_WORKER: Final = "a worker that knows"
"""How it begins, where only a worker can take the run up."""
_NAMED_MAX: Final = 3
_TRIED: Final = ("step", "model_call")
_THEN: Final[Mapping[str, str]] = {
    "hold": "then it is overdue and waits on", "escalate": "then the run escalates",
    "deny": "then it counts as denied",
}  # fmt: skip

Tries = Mapping[str, Sequence[Mapping[str, Json]]]


def unsettled(steps: Sequence[Step]) -> list[str]:
    """Return the ids of the steps whose tries tell what went wrong: those that are tried again, or were degraded."""
    return [
        step.id for step in steps
        if step.status is StepStatus.DEGRADED or (step.status is StepStatus.WAITING and step.sort in _TRIED)
    ]  # fmt: skip


def last_trouble(step: Step, tried: Sequence[Mapping[str, Json]]) -> tuple[str, str] | None:
    """Return the class and the words of what a step met last; None where it met nothing."""
    if step.error is not None:
        return str(step.error.get("class")), str(step.error.get("message"))
    for one in reversed(tried):
        if "class" in one:
            return str(one["class"]), str(one.get("message", ""))
    return None


def step_waits_for(step: Step, tried: Sequence[Mapping[str, Json]] = ()) -> str | None:
    """Say what a step waits for; None where it does not wait."""
    if step.status is not StepStatus.WAITING:
        return None
    if step.asked is not None:
        if step.answer is not None:
            return None
        then = _THEN.get(str(step.asked.get("on_timeout")), "")
        return f"the answer of {step.asked.get('owner') or 'anybody'}{_until(step.wake_at)}; {then}"
    if step.child is not None:
        return f"its part, run {step.child}"
    if step.awaits is not None:
        return f"a message of {step.awaits.get('channel')} for {step.awaits.get('group')}{_until(step.wake_at)}"
    if step.sort == "sleep":
        return f"its instant, {_at(step.wake_at)}"
    trouble = last_trouble(step, tried)
    due = due_of(tried)
    after = "" if trouble is None else f" after {trouble[0]}: {trouble[1]}"
    if tried and due is None:
        return f"its fallback{after}"
    return f"try {step.attempts + 1}{'' if due is None else f' at {_at(due)}'}{after}"


def waits_for(run: Run, steps: Sequence[Step], tries: Tries | None = None) -> str | None:
    """Say what has to come before a run goes on; None of one that is in hand, or has ended.

    Args:
        steps: of the run; without any, only what the run itself says of it is told.
        tries: of those steps that `unsettled` names.
    """
    whose = "an agent that claims it"
    if run.runner == "worker":
        whose = f"{A_WORKER} {run.workflow} {run.version}"
    if run.status is RunStatus.READY:
        return whose
    if run.status is not RunStatus.WAITING:
        return None
    found = [
        f"{words} (step {place_text(step.place)})" for step in steps
        if (words := step_waits_for(step, (tries or {}).get(step.id, ()))) is not None
    ]  # fmt: skip
    if not found:
        return None if run.wake_at is None else f"{whose}, from {_at(run.wake_at)} on"
    more = f"; and {len(found) - _NAMED_MAX} more" if len(found) > _NAMED_MAX else ""
    return "; ".join(found[:_NAMED_MAX]) + more


def _at(instant: Micros | None) -> str:
    return "" if instant is None else iso(from_micros(instant))


def _until(instant: Micros | None) -> str:
    return "" if instant is None else f", until {_at(instant)}"
