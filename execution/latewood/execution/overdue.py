"""What has waited for too long, ended by whoever looks: any worker, any server of the space.

A run past its deadline ends escalated even when nobody is left who knows its workflow. An agent that fell silent loses
its run to the next one that claims it, and a question of such a run that nobody answered does what it said it would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from latewood.execution.external import lease_name, lost_claim
from latewood.execution.faults import FaultClass, trouble_told
from latewood.execution.logbook import Logbook
from latewood.execution.policies import policy_of
from latewood.execution.showing import Progress, is_overdue, progress_of
from latewood.execution.words import LATE, OPEN, Claim, Run, RunStatus, Step, place_text
from latewood.execution.writing import Writing
from latewood.graph_schema.clock import from_micros
from latewood.graph_schema.commands import Command, Expect, Ref
from latewood.graph_schema.errors import ConflictError
from latewood.graph_schema.values import Json
from latewood.storage.port import PAGE_MAX, Lease

__all__ = ["LOOK_MAX", "Overdue"]

LOOK_MAX: Final = 10_000
"""Most open runs that one look goes through, the oldest first."""
_LEASE_S: Final = 5.0
_DEPTH_MAX: Final = 16
_log = structlog.get_logger(__name__)


class Overdue:
    """Ends what is overdue in one space. Several may look at once: one of them writes."""

    def __init__(self, book: Logbook) -> None:
        """Act through *book*, as its actor."""
        self._book = book
        self._write = Writing(book.ids)
        self._name = book.ids.new()

    async def look(self) -> int:
        """Go through the open runs once; returns how many moved."""
        seen, moved, after = 0, 0, None
        while seen < LOOK_MAX:
            page = await self._book.runs(statuses=OPEN, first=PAGE_MAX, after=after, newest=False)
            for run in page.items:
                moved += await self.consider(run)
            seen, after = seen + PAGE_MAX, page.next
            if after is None:
                break
        return moved

    async def consider(self, run: Run) -> bool:
        """End *run*, or let go of it, when it is time; tell whether it moved."""
        late = run.deadline_at is not None and self._book.clock.now() >= run.deadline_at
        if run.parent is not None:
            return await self._child(run, late=late)
        if run.runner == "agent":
            return await self._agents(run, late=late)
        if not late or (run.status is RunStatus.RUNNING and await self._take(f"worker:{_worker(run)}") is None):
            # Whoever has it and is alive ends it itself.
            return False
        return await self._end(run, RunStatus.ESCALATED, "deadline", LATE)

    async def _child(self, run: Run, *, late: bool) -> bool:
        """End a child whose time is over, or whose parent has ended without it."""
        root = run
        for _ in range(_DEPTH_MAX):
            if root.parent is None:
                break
            root = await self._book.run(root.parent)
        if root.ended:
            words = f"the run that it is a part of has ended, {root.status}"
            return await self._end(run, RunStatus.ESCALATED, "deadline" if late else "parent", words)
        if not late or run.status is not RunStatus.WAITING:
            return False
        # Its parent waits for it and knows of no instant: it is woken to see.
        wake = self._write.fact(root.id, "run.wake", from_micros(self._book.clock.now()))
        return await self._end(run, RunStatus.ESCALATED, "deadline", LATE, also=[wake])

    async def _agents(self, run: Run, *, late: bool) -> bool:
        if late:
            # Without a look at its lease: what its agent writes expects the run as it was.
            return await self._end(run, RunStatus.ESCALATED, "deadline", LATE)
        if run.status is RunStatus.WAITING:
            return await self._unanswered(run)
        if run.status is not RunStatus.RUNNING or (lease := await self._take(lease_name(run.id))) is None:
            return False
        moved = await self._let_go(run)
        await self._book.store.release(lease)
        return moved

    async def _take(self, lease: str) -> Lease | None:
        """Take a lease that has run out; from then on whatever its owner writes is refused."""
        return await self._book.store.acquire(self._book.space, lease, self._name, _LEASE_S)

    async def _let_go(self, run: Run) -> bool:
        """Let the next agent claim the run of one that fell silent, or ask its owner after one too many."""
        steps, gone, begun = await lost_claim(self._book, run)
        if gone >= policy_of(run).rule(FaultClass.LOST_WORKER).tries:
            words = f"{gone} workers were lost one after another after {steps} steps"
            return await self._end(run, RunStatus.ESCALATED, str(FaultClass.POISON), words)
        before = run.claim or Claim("", 0)
        claim = Claim(before.worker, before.fence, steps, gone)
        commands = self._write.let_go(run.id, claim, [step.id for step in begun])
        return await self._keep(run, commands, ["let go", run.id, gone])

    async def _unanswered(self, run: Run) -> bool:
        if run.wake_at is not None and self._book.clock.now() < run.wake_at:
            return False
        far = (await progress_of(self._book, [run.id]))[run.id]
        for step, action in _due(far, self._book.clock.now()):
            words = f"nobody answered in time: {(step.asked or {}).get('question')}"
            also = self._write.denied(step.id, words) if action == "deny" else []
            status = RunStatus.REFUSED if action == "deny" else RunStatus.ESCALATED
            return await self._end(run, status, str(FaultClass.AMBIGUOUS), words, step=step, also=also)
        return False

    async def _end(
        self, run: Run, status: RunStatus, kind: str, words: str, *, step: Step | None = None,
        also: Sequence[Command] = (),
    ) -> bool:  # fmt: skip
        result = trouble_told(kind, words, None if step is None else place_text(step.place))
        ended = await self._keep(run, [*self._write.ended(run.id, status, result), *also], ["overdue", run.id, kind])
        if ended:
            _log.warning("run_overdue", run=run.id, kind=kind)
        return ended

    async def _keep(self, run: Run, commands: Sequence[Command], body: Json) -> bool:
        """Keep *commands* unless the run has moved since it was read."""
        try:
            await self._book.keep(commands, body=body, expects=[Expect(Ref(id=run.id), run.node_version)])
        except ConflictError as error:
            if error.code != "version.conflict":
                raise
            return False
        return True


def _worker(run: Run) -> str:
    return "" if run.claim is None else run.claim.worker


def _due(far: Progress, now: int) -> list[tuple[Step, str]]:
    """Return the questions that nobody answered in time and that do not hold, with what they do then."""
    late = [(step, str((step.asked or {}).get("on_timeout"))) for step in far.questions if is_overdue(step, now)]
    return [(step, action) for step, action in late if action in ("escalate", "deny")]
