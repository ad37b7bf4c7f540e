"""Runs that wait for a message hold no worker (record 0095): a worker takes what has come, and wakes one run for each.

A `receive` that finds nothing keeps that it waits, for which groups and until when, and its run is left. A message is
taken for a run, under a lease of its own, before that run is claimed: so one message wakes one run, and nobody is woken
for nothing. When the worker dies in between, the message comes again when the lease is over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

from latewood.execution.logbook import Logbook
from latewood.execution.words import Run, RunStatus
from latewood.graph_schema.errors import LatewoodError
from latewood.storage.bell import Ear
from latewood.storage.crashpoints import reach
from latewood.storage.queueing import TAKEN_MAX, Taken, Want, queue_of

__all__ = ["Parked"]

_GROUPS_AT_ONCE: Final = 500


class Parked:
    """The runs of a space that wait for messages, as far as a worker has met them; in it are their groups."""

    def __init__(self, book: Logbook) -> None:
        """Begin without any."""
        self._book = book
        self._runs: dict[str, tuple[str, ...]] = {}
        # In both the first is the one that has waited longest: of the groups, since one of its messages was taken.
        self._groups: dict[str, dict[str, None]] = {}
        self._short = False
        self.ear: Ear | None = None

    def __contains__(self, group: object) -> bool:
        """Whether a run waits for a message of *group*."""
        return group in self._groups

    def note(self, run: Run) -> None:
        """Remember a run that waits, if it is for messages; one that was remembered otherwise is so no more."""
        groups = tuple(run.awaits) if run.status is RunStatus.WAITING else ()
        if self._runs.get(run.id, ()) == groups:
            return
        self._forget(run.id)
        if not groups:
            return
        self._runs[run.id] = groups
        for group in groups:
            self._groups.setdefault(group, {})[run.id] = None
        # What came between its last look and now rang for nobody.
        self._wake()

    def _wake(self) -> None:
        if self.ear is not None:
            self.ear.wake()

    def left(self, run: Run | None) -> None:
        """Note that a run has left its slot, as *run* where that is known: another may have waited for the slot."""
        if run is not None:
            self.note(run)
        if self._short:
            self._wake()

    def _forget(self, run_id: str) -> None:
        for group in self._runs.pop(run_id, ()):
            runs = self._groups[group]
            del runs[run_id]
            if not runs:
                del self._groups[group]

    async def met(self, most: int) -> list[tuple[Run, Taken]]:
        """Take messages for up to *most* of the runs, and return each with its run as that now is.

        Raises UnavailableError.
        """
        self._short = most <= 0
        if self._short or not self._groups:
            return []
        chosen = await self._chosen(min(most, TAKEN_MAX))
        found = {run.id: run for run in await self._book.runs_by_id(list(chosen))} if chosen else {}
        wants: list[tuple[Run, Want]] = []
        for run_id, group in chosen.items():
            run = found.get(run_id)
            if run is None or run.status is not RunStatus.WAITING or group not in run.awaits:
                # Something else woke it, here or elsewhere.
                self._forget(run_id)
                if run is not None:
                    self.note(run)
                continue
            owner = f"run:{run_id}/{self._book.ids.new()}"
            wants.append((run, Want(group, owner, 1, run.awaits[group])))
        if not wants:
            return []
        answers = await queue_of(self._book.store).take(self._book.space, [want for _, want in wants])
        given = [(run, taken[0]) for (run, _), taken in zip(wants, answers, strict=True) if taken]
        if given:
            reach("message.taken")
        for run, taken in given:
            if taken.group in self._groups:
                self._groups[taken.group] = self._groups.pop(taken.group)
            self._forget(run.id)
        return given

    async def _chosen(self, most: int) -> dict[str, str]:
        """Return which runs are tried for a message of which group: no more than may get one."""
        groups = list(self._groups)[:_GROUPS_AT_ONCE]
        lanes = await queue_of(self._book.store).lanes(self._book.space, groups)
        chosen: dict[str, str] = {}
        for group in groups:
            pending = lanes[group].pending if group in self._groups else 0
            for run_id in self._groups.get(group, ()):
                self._short = self._short or (pending > 0 and len(chosen) >= most)
                if not pending or self._short:
                    break
                if run_id not in chosen:
                    chosen[run_id] = group
                    pending -= 1
        return chosen

    async def hand_back(self, taken: Iterable[Taken]) -> None:
        """Let others have what a run had no use for. If the store is gone, it comes again when its time is over."""
        holds = [one.hold for one in taken]
        if holds:
            with contextlib.suppress(LatewoodError):
                await queue_of(self._book.store).hand_back(self._book.space, holds)
