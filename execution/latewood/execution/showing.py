"""How far runs have come: their steps, what a resume would save, what is asked, and what to do next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from latewood.execution.booking import Saved, calls_of, saved_by
from latewood.execution.logbook import Logbook
from latewood.execution.pricing import PARTS
from latewood.execution.resuming import is_unknown, tried_anew
from latewood.execution.words import INPUT, PLACE_PARTS_MAX, STOPPED, Run, Step, StepStatus, place_text
from latewood.graph_schema.clock import Micros
from latewood.graph_schema.values import Json

__all__ = [
    "NextAct",
    "Parts",
    "Progress",
    "asks_model",
    "is_open_question",
    "is_overdue",
    "next_act",
    "next_command",
    "parts_of",
    "progress_of",
    "saved_of",
    "tokens_used",
]

_TAKES: Final = {"answer": "CHOICE", "vouch": "OUTPUT --reason WHY", "amend": "INPUT"}


@dataclass(frozen=True, slots=True)
class NextAct:
    """What to do about a run: to which question, step, run or part of it, and from which place.

    Attributes:
        otherwise: what to do where an effect that is vouched for did not happen.
    """

    verb: Literal["answer", "vouch", "amend", "resume", "fork", "show"]
    name: str
    place: str | None = None
    otherwise: NextAct | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The steps of a run by their places, without what they returned."""

    run: str
    steps: tuple[Step, ...]

    @property
    def done(self) -> int:
        """How many steps a resumed run does not run again."""
        return sum(step.completed for step in self.steps)

    @property
    def tokens(self) -> int:
        """Return what those steps had used, as far as anybody said."""
        return sum(tokens_used(step.usage) for step in self.steps if step.completed)

    @property
    def questions(self) -> tuple[Step, ...]:
        """Return what is asked and not answered yet."""
        return tuple(step for step in self.steps if is_open_question(step))


@dataclass(frozen=True, slots=True)
class Parts:
    """Where a run stands among those that it is a part of, and that are parts of it.

    Attributes:
        whole: the run that is a part of none: itself, or what it is a part of. It is the one that is resumed; None
            where it was erased.
        failed: the part, or the part of a part, at which it failed; None where it did not, or failed by itself.
        steps: those of *failed*.
    """

    whole: Run | None
    failed: Run | None = None
    steps: tuple[Step, ...] = ()


def tokens_used(usage: Mapping[str, Json] | None) -> int:
    """Count the tokens of a step; what nobody counted is none."""
    counts = [count for name, count in (usage or {}).items() if not name.startswith(PARTS)]
    return sum(count for count in counts if isinstance(count, int))


def is_open_question(step: Step) -> bool:
    """Tell whether a step is a question that waits for its answer."""
    return step.asked is not None and step.answer is None and step.status is StepStatus.WAITING


def is_overdue(step: Step, now: Micros) -> bool:
    """Tell whether a question waits for longer than its owner was given."""
    return is_open_question(step) and step.wake_at is not None and now >= step.wake_at


async def parts_of(
    run: Run, steps: Sequence[Step], run_of: Callable[[str], Awaitable[Run | None]],
    steps_of: Callable[[str], Awaitable[Sequence[Step]]],
) -> Parts:  # fmt: skip
    """Return what a run is a part of, and at which of its own parts it failed.

    Args:
        run_of: reads a run; None where it was erased.
        steps_of: reads the steps of a run.
    """
    whole: Run | None = run
    failed, of_failed = None, tuple[Step, ...]()
    for _ in range(PLACE_PARTS_MAX):
        if whole is None or whole.parent is None:
            break
        whole = await run_of(whole.parent)
    last, of_last = run, steps
    for _ in range(PLACE_PARTS_MAX):
        at = last.result.get("step") if last.status in STOPPED else None
        child = next((one.child for one in of_last if one.child is not None and place_text(one.place) == at), None)
        part = None if child is None else await run_of(child)
        if part is None or part.status not in STOPPED:
            break
        of_last = await steps_of(part.id)
        last = failed = part
        of_failed = tuple(of_last)
    return Parts(whole, failed, of_failed)


def next_act(run: Run, steps: Sequence[Step], parts: Parts | None = None) -> NextAct | None:
    """Return what to do about a run; None when nothing is left to do.

    Args:
        parts: what `parts_of` says of it; without, it is taken for a run that is no part and has none.
    """
    whole = run if parts is None else parts.whole
    if whole is None:
        return None
    last, of_last = run, steps
    if parts is not None and parts.failed is not None:
        last, of_last = parts.failed, parts.steps
    again = NextAct("resume" if whole.status in STOPPED else "show", whole.id)
    for step in of_last:
        place = place_text(step.place)
        if step.sort != "question" or (last.ended and last.result.get("step") != place):
            continue
        if is_open_question(step):
            # Of an escalated one too: resumed without an answer it would only escalate again.
            return NextAct("answer", f"{last.id}/{place}")
        if last.ended and step.status is StepStatus.FAILED:
            # It was denied, and stays so in this run. A part is begun anew by a fork of what it is a part of.
            at = place if last is whole else str(whole.result.get("step", ""))
            return NextAct("fork", whole.id, at.partition(".")[0]) if at and whole.status in STOPPED else again
    if run.status in STOPPED:
        return _go_on(again, last, of_last)
    for step in steps:
        if step.child is not None and step.status is StepStatus.WAITING and not run.ended:
            return NextAct("show", step.child)
    return None


def _go_on(again: NextAct, last: Run, steps: Sequence[Step]) -> NextAct:
    """Return what lets a run go on that stopped at *last*, where that is more than doing it *again*."""
    if again.verb != "resume":
        return again
    if last.result.get("class") == INPUT:
        return NextAct("amend", last.id)
    unknown = next((step for step in tried_anew(last, steps) if is_unknown(step)), None)
    return again if unknown is None else NextAct("vouch", f"{last.id}/{place_text(unknown.place)}", otherwise=again)


def next_command(run: Run, steps: Sequence[Step], parts: Parts | None = None) -> str | None:
    """Return what to do about a run, as a command, or as two to choose from; None when nothing is left to do."""
    act = next_act(run, steps, parts)
    return None if act is None else _command(act)


def _command(act: NextAct) -> str:
    command = " ".join(filter(None, ("latewood run", act.verb, act.name, _TAKES.get(act.verb), act.place)))
    return command if act.otherwise is None else f"{command} if it happened, else {_command(act.otherwise)}"


async def progress_of(book: Logbook, run_ids: Sequence[str]) -> dict[str, Progress]:
    """Return how far each of these runs is, in as many reads as for one of them."""
    of_run = await book.step_ids(run_ids)
    # A fork has the steps of the run that it was forked from: one step may be of several runs.
    wanted = list(dict.fromkeys(step for steps in of_run.values() for step in steps))
    found = {step.id: step for step in await book.steps_by_id(wanted, outputs=False)}
    return {
        run: Progress(run, tuple(sorted((found[one] for one in steps if one in found), key=lambda step: step.place)))
        for run, steps in of_run.items()
    }


def asks_model(step: Step) -> bool:
    """Tell whether a step is one that asked a model."""
    return step.sort == "model_call" or step.usage is not None


async def saved_of(book: Logbook, steps: Sequence[Step]) -> Saved:
    """Return what the calls of *steps* cost that a resumed run does not make again."""
    asked = [step for step in steps if step.completed and asks_model(step)]
    attempts = await book.attempts([step.id for step in asked])
    return saved_by(asked, calls_of(asked, attempts))
