"""Rebuilding through the one door: every step of a space's views, and what they came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from latewood.graph_schema.model import LEDGERS
from latewood.storage.port import GraphStore
from latewood.storage.rebuilding import FINDINGS_MAX, STEP_ROWS, Drift, RebuildStep, check_sound

__all__ = ["RebuildReport", "rebuild"]


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What a rebuild looked at and found.

    Attributes:
        rows: in the ledgers when it began; *read* counts them once for each pass over them, *compared* the rows of
            views that were held against them.
        differences: how many were found, of which the first are listed in *found*.
        next: None when everything was looked at, else the cursor from which another call goes on.
    """

    space: str
    dry_run: bool
    rows: int
    read: int
    compared: int
    differences: int
    found: tuple[Drift, ...]
    next: str | None


async def rebuild(
    store: GraphStore, space: str, *, dry_run: bool = False, after: str | None = None, read_max: int | None = None,
    step_rows: int = STEP_ROWS, progress: Callable[[int, int, str | None], None] | None = None,
) -> RebuildReport:  # fmt: skip
    """Take step after step until all of *space* was looked at, or about *read_max* rows; see `Memory.rebuild`."""
    if after is not None:
        # The store looks only before its first step, which may be long ago.
        check_sound(space, [await store.verify(space, name) for name in LEDGERS])
    rows = sum(seq for seq, _ in (await store.image(space)).heads.values())
    read = compared = differences = 0
    found: list[Drift] = []
    while True:
        step: RebuildStep = await store.rebuild(space, after=after, limit=step_rows, repair=not dry_run)
        read, compared = read + step.rows, compared + step.compared
        differences += len(step.found) + step.unlisted
        found += step.found[: FINDINGS_MAX - len(found)]
        after = step.next
        if progress is not None:
            progress(min(read, rows * step.passes), rows * step.passes, after)
        if after is None or (read_max is not None and read >= read_max):
            return RebuildReport(space, dry_run, rows, read, compared, differences, tuple(found), after)
