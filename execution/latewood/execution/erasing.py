"""Erasing a run: its words, those of its steps and tries, and the blobs that nothing else refers to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from latewood.execution.blobs import ITEMS_MAX
from latewood.execution.logbook import Logbook
from latewood.graph_schema.commands import Erase
from latewood.graph_schema.errors import ConflictError, LimitError
from latewood.storage.port import FactQuery

__all__ = ["BLOBS_MAX", "ErasedRun", "erase_run"]

_DEPTH_MAX: Final = 16
BLOBS_MAX: Final = 4 * ITEMS_MAX
_AT_ONCE: Final = 1_000
_BLOB_EDGES: Final = ("blob.content", "blob.before")


@dataclass(frozen=True, slots=True)
class ErasedRun:
    """What went.

    Attributes:
        runs: the run and the child runs that were a part of it.
        shared: steps that another run has too, a fork; their words stay until that one is erased.
        kept: blobs that something else refers to.
    """

    runs: int
    steps: int
    attempts: int
    blobs: int
    shared: int
    kept: int


@dataclass(frozen=True, slots=True)
class _Found:
    runs: tuple[str, ...]
    steps: tuple[str, ...]
    attempts: tuple[str, ...]
    heads: tuple[str, ...]
    shared: int


async def erase_run(book: Logbook, name: str, reason: str) -> ErasedRun:
    """Let the words of a run be gone for good; only a person does that. One that broke off is simply called again.

    Raises:
        NotFoundError: there is no such run (``run.unknown``).
        ConflictError: it, or a child of it, has not ended (``run.ended``).
        ForbiddenError: the actor is no person (``erase.forbidden``).
        LimitError: it refers to more blobs than can be counted.
    """
    run = await book.run(name)
    found = await _within(book, run.id)
    blobs, kept = await _blobs_of(book, found)
    # The words first and the deepest first: what an interrupted call left can still be found from the run.
    for one in (*reversed(blobs), *found.attempts, *found.steps, *reversed(found.runs)):
        await _erase(book, one, reason)
    return ErasedRun(
        len(found.runs), len(found.steps), len(found.attempts), len(blobs), found.shared, len(kept)
    )  # fmt: skip


async def _erase(book: Logbook, target: str, reason: str) -> None:
    try:
        await book.keep([Erase(book.ids.new(), target, reason)], body=["erase", target, reason])
    except ConflictError as error:
        if error.code != "content.erased":
            raise


async def _edges(
    book: Logbook, ids: Sequence[str], predicates: Sequence[str], *, back: bool = False
) -> list[tuple[str, str, str]]:  # fmt: skip
    """Return subject, predicate and object of the edges that leave these nodes, or with *back* lead to them."""
    found: list[tuple[str, str, str]] = []
    for begin in range(0, len(ids), _AT_ONCE):
        part = ids[begin : begin + _AT_ONCE]
        query = FactQuery(objects=part) if back else FactQuery(subjects=part, predicates=predicates)
        facts = await book.store.facts(book.space, query)
        found += [(fact.subject_id, fact.predicate, fact.object_id) for fact in facts if fact.object_id is not None]
    return found


async def _within(book: Logbook, run_id: str) -> _Found:
    """Return the nodes of a run and of its children. Raises ConflictError for one that has not ended."""
    runs, steps, heads = [run_id], list[str](), list[str]()
    shared = 0
    level = [run_id]
    for _ in range(_DEPTH_MAX):
        for run in await book.runs_by_id(level):
            if not run.ended:
                msg = f"run {run.id} has not ended, it is {run.status}; cancel it first"
                raise ConflictError(msg, code="run.ended")
        ids = [step for _, _, step in await _edges(book, level, ["has_step"])]
        owners = await _edges(book, ids, [], back=True)
        others = {step for run, predicate, step in owners if predicate == "has_step" and run not in runs}
        shared += len(others)
        own = [step for step in ids if step not in others]
        steps += own
        heads += [blob for _, _, blob in await _edges(book, own, ["step.input", "step.read", "step.returned"])]
        level = [one.child for one in await book.steps_by_id(own) if one.child is not None]
        if not level:
            break
        runs += level
    attempts = [attempt for _, _, attempt in await _edges(book, steps, ["has_attempt"])]
    return _Found(tuple(runs), tuple(steps), tuple(attempts), tuple(dict.fromkeys(heads)), shared)


async def _blobs_of(book: Logbook, found: _Found) -> tuple[list[str], set[str]]:
    """Return the blobs that only these steps refer to, what refers before what it refers to; and those that stay."""
    below: dict[str, list[str]] = {}
    level = list(found.heads)
    while level:
        below |= {one: [] for one in level}
        for blob, _, deeper in await _edges(book, level, _BLOB_EDGES):
            below[blob].append(deeper)
        if len(below) > BLOBS_MAX:
            msg = f"run {found.runs[0]} refers to more than {BLOBS_MAX:,} blobs; erase some of them by id first"
            raise LimitError(msg, limit="BLOBS_MAX", maximum=BLOBS_MAX)
        level = list(dict.fromkeys(deeper for one in level for deeper in below[one] if deeper not in below))
    ours = {*below, *found.steps}
    used = await _edges(book, list(below), [], back=True)
    left = [blob for user, _, blob in used if user not in ours]
    kept: set[str] = set()
    while left:
        one = left.pop()
        if one not in kept:
            kept.add(one)
            left += below[one]
    return [one for one in below if one not in kept], kept
