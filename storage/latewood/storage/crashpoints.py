"""Named places of the write path at which a test may end the process.

What a store promises of a crash is only worth what was seen when it crashed: each place is hit by a test that kills the
process there, opens the store again and looks (`docs/guide/crash-matrix.md` has what was seen). Nothing that is stored
or sent can make a place do anything: only `install`, called by the process itself, can, and nothing here calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["POINTS", "install", "reach"]

POINTS: Final[Mapping[str, str]] = {
    "journal.taken": "the journal took a group from its queue and has not handed it over",
    "group.begin": "the store has the group; its transaction has not begun",
    "group.heads_read": "the ledger's head and what planning needs are read; nothing is written",
    "group.half_written": "in the transaction, the ledger's rows are written and the views' are not",
    "unit.written": "in the transaction, one unit of the group is done and others are not",
    "group.written": "every row is written; the transaction is not committed",
    "group.committed": "the transaction is committed; the store has not answered",
    "journal.answered": "the store has answered; no caller has its receipt",
    "fill.ended": "in the transaction that ends a history's filling, before its commit",
    "fill.committed": "the filling is ended; the caller does not know",
    "migration.backed_up": "the file is copied; no step of the upgrade is begun",
    "migration.step": "in the upgrade's transaction, one step is done and others are not",
    "space.numbered": "a new space has its number; nothing else of it is there",
    "space.indexed": "the text index of a new space is made; the space is not",
    "space.written": "in the transaction that makes a space, before its commit",
    "space.made": "the space is there; the caller does not know",
    "restore.adopted": "in the transaction in which an empty space becomes that of an import, before its commit",
    "replay.unit": "in the transaction of a part of an import, one unit is rebuilt and others are not",
    "replay.written": "every row of a part of an import is written; its transaction is not committed",
    "replay.committed": "a part of an import is committed; the importer does not know",
    "erase.marked": "it is noted beside the file that something is to be scrubbed; the erasure is not committed",
    "erase.taken": "in the transaction of an erasure, the words are out of the ledger and every view",
    "scrub.cut": "the file's log, which had the erased words, is cut off; the note beside the file is still there",
    "lease.taken": "in the transaction that takes a lease, before its commit",
    "lease.renewed": "in the transaction that prolongs a lease, before its commit",
}
"""Every place, and what is done and not done there."""

_hook: Callable[[str], None] | None = None


def install(hook: Callable[[str], None] | None) -> None:
    """Call *hook* with the name of each place that is reached in this process; None takes it away."""
    global _hook  # noqa: PLW0603 - one process has one end
    _hook = hook


def reach(point: str) -> None:
    """Note that the write path is at *point*."""
    if _hook is not None:
        _hook(point)
