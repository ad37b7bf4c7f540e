"""How a run that stopped goes on: what failed is tried anew, or completed by the word of whoever looked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from latewood.execution.blobs import Blobs
from latewood.execution.faults import FaultClass
from latewood.execution.logbook import Logbook
from latewood.execution.words import RUN_S, STOPPED, Run, RunStatus, Step, StepStatus, place_of, place_text
from latewood.execution.writing import Writing, checked_json
from latewood.graph_schema.clock import Micros, from_micros, to_micros
from latewood.graph_schema.commands import Command, Expect, Ref
from latewood.graph_schema.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from latewood.graph_schema.model import Trust
from latewood.graph_schema.values import Json, check_text

__all__ = ["deadline_of", "is_unknown", "located", "moved", "resume_run", "tried_anew", "vouch_for"]

_DEPTH_MAX: Final = 16
_TRIES_MAX: Final = 8
_REASON_BYTES_MAX: Final = 2_000


def is_unknown(step: Step) -> bool:
    """Tell whether a step failed because nobody knows whether its effect happened; a model's answer is no effect."""
    kind = (step.error or {}).get("class")
    return step.status is StepStatus.FAILED and step.sort == "step" and kind == FaultClass.AMBIGUOUS


def tried_anew(run: Run, steps: Sequence[Step]) -> list[Step]:
    """Return the steps of a run that stopped which it tries anew when it is resumed.

    They are those that failed. One that failed before others went on was caught: the run came further without it, and
    would not come to the same steps if it went through now.
    """
    # What somebody vouched for went on at another's word, not by itself.
    went_on = (step for step in steps if step.status is not StepStatus.FAILED and step.vouched is None)
    last = max((step.node_version for step in went_on), default=0)
    found: list[Step] = []
    for step in steps:
        asks = step.sort == "question" and step.answer is None
        ended = step.node_version > last or run.result.get("step") == place_text(step.place)
        failed = step.status is StepStatus.FAILED
        open_part = step.child is not None and not failed and not step.completed
        if open_part or (failed and ended and not asks):
            found.append(step)
    return found


def deadline_of(run: Run, now: Micros) -> Micros | None:
    """Return the deadline of what begins now and may take as long as *run* might."""
    if run.deadline_at is None or run.timed_from is None:
        return None
    lasts = run.deadline_at - to_micros(run.timed_from)
    # A clock that was put back since makes it look as if it had never had any time.
    return now + (lasts if lasts > 0 else round(RUN_S * 1_000_000))


async def resume_run(book: Logbook, name: str, version: str | None) -> Run:
    """Let an escalated or refused run go on where it stopped. Raises ConflictError (``run.ended``, ``run.erased``)."""

    async def made(run: Run) -> list[Command]:
        return await _resumed(book, run, version=version)

    return await moved(book, name, made, "resume")


async def vouch_for(book: Logbook, name: str, output: object, reason: str) -> Run:
    """Complete a step with an unknown outcome by its owner's word, and let its run go on from there.

    Raises:
        ConflictError: its outcome is not unknown (``step.known``), or its run is at no end that it could go on from
            (``run.ended``).
        ForbiddenError: it is a person's run and a program speaks (``trust.too_low``).
        InvalidError: there is no reason, or the output cannot be kept.
    """
    said = checked_json(output, "what the step returned")
    if not check_text(reason, "the reason", bytes_max=_REASON_BYTES_MAX).strip():
        raise InvalidError("say by a reason what you saw of the effect: it is kept with the step", code="query.invalid")
    _, _, whole = await located(book, name)

    async def made(run: Run) -> list[Command]:
        step, of, _ = await located(book, name)
        vouched = step.vouched or {}
        if step.completed and step.output == said and vouched.get("by") == book.actor:
            return []  # The same word again: its acknowledgement was lost.
        where = f"step {place_text(step.place)} ({step.name}) of run {of.id}"
        if not is_unknown(step):
            msg = f"nobody has to vouch for {where}: it is {step.status}, and did not fail as ambiguous"
            raise ConflictError(msg, code="step.known", step=step.id)
        owner = of.owner or run.owner or ""
        if owner.startswith("human:") and book.trust.level < Trust.HUMAN.level:
            raise ForbiddenError(f"{where} is {owner}'s; only a person may vouch for it")
        commands = await _resumed(book, run, vouched=step, of=of)
        write = Writing(book.ids)
        large = await Blobs(book).output_of(step.id, said)
        word: dict[str, Json] = {"by": book.actor, "reason": reason}
        done = write.completed(step.id, said, large=bool(large))
        return [*large, *done, write.fact(step.id, "step.vouched", word), *commands]

    return await moved(book, whole.id, made, "vouch")


async def _resumed(
    book: Logbook, run: Run, *, version: str | None = None, vouched: Step | None = None, of: Run | None = None
) -> list[Command]:  # fmt: skip
    """Return what lets *run* go on; with *vouched*, a step of the part *of*, no other effect is made again for that."""
    if run.status not in STOPPED or run.parent is not None:
        what = f"it is {run.status}" if run.parent is None else "it is a part of another; resume that one"
        raise ConflictError(f"run {run.id} cannot be resumed: {what}", code="run.ended")
    write, now = Writing(book.ids), book.clock.now()
    again, parts = await _failed_within(book, run)
    if vouched is not None and of is not None:
        if vouched.id not in {step.id for step in again}:
            where = f"step {place_text(vouched.place)} of run {of.id}"
            msg = f"nobody has to vouch for {where}: the run {run.id} went on without it, or cannot come to it again"
            raise ConflictError(msg, code="step.known", step=vouched.id)
        again = [step for step in again if not is_unknown(step)]
    commands: list[Command] = [write.fact(step.id, "status", str(StepStatus.AGAIN)) for step in again]
    if run.cancel is not None:
        commands.append(write.fact(run.id, "run.cancel", {}))
    if version is not None:
        commands.append(write.fact(run.id, "run.version", version))
    # It has counted from the start; a resumed run gets as long again, and so do its parts.
    commands += [
        write.fact(one.id, "run.deadline", from_micros(deadline_at))
        for one in (run, *parts) if (deadline_at := deadline_of(one, now)) is not None
    ]  # fmt: skip
    return [*commands, *write.run_status(run.id, RunStatus.READY)]


async def _failed_within(book: Logbook, run: Run) -> tuple[list[Step], list[Run]]:
    """Return the steps that a resumed run tries anew, its own and those of its parts, and these parts."""
    found, parts, left = list[Step](), list[Run](), (run,)
    for _ in range(_DEPTH_MAX):
        here = [step for one in left for step in tried_anew(one, await book.steps(one.id, whole=True))]
        found += here
        children = [step.child for step in here if step.child is not None]
        left = await book.runs_by_id(children) if children else ()
        parts += left
    return found, parts


async def located(book: Logbook, name: str) -> tuple[Step, Run, Run]:
    """Return a step, by its id or as ``RUN/PLACE``, its run, and the run that this is a part of in the end.

    Raises:
        NotFoundError: there is no such step (``run.unknown``).
    """
    head, slash, place = name.partition("/")
    if slash:
        of = await book.run(head)
        steps = [step for step in await book.steps(of.id) if step.place == place_of(place)]
    else:
        steps = list(await book.steps_by_id([name]))
        of = await book.run(await book.run_of(name)) if steps else None
    if not steps or of is None:
        raise NotFoundError(f"{name!r:.80} is no step of a run; write it RUN/PLACE, as `run show` has it")
    whole = of
    for _ in range(_DEPTH_MAX):
        if whole.parent is None:
            break
        whole = await book.run(whole.parent)
    return steps[0], of, whole


async def moved(book: Logbook, name: str, made: Callable[[Run], Awaitable[Sequence[Command]]], what: str) -> Run:
    """Keep what *made* says of the run as it is, against the version that was read; read again when it moved."""
    for _ in range(_TRIES_MAX):
        run = await book.run(name)
        commands = await made(run)
        if not commands:
            return run
        # A worker's run at work moves with each step; what is asked of it then is a wish that its worker reads.
        still = run.status is not RunStatus.RUNNING or run.runner == "agent"
        expects = [Expect(Ref(id=run.id), run.node_version)] if still else []
        keep = partial(book.keep, body=[what, run.id], expects=expects)
        try:
            await Blobs(book).settled(commands, keep)
        except ConflictError as error:
            if error.code != "version.conflict":
                raise
            continue
        return await book.run(run.id)
    raise ConflictError(f"run {name} keeps moving; try again in a moment")
