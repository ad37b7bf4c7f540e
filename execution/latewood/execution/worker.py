"""A worker: runs workflows under one lease, and takes over what lost workers left.

One lease a worker, not one a run: each unit of a run carries its worker's fence, so that a run costs no commit for its
lease, and a worker that comes back late is refused whatever it writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, ParamSpec, Self

import structlog

from latewood.execution.adopting import adopted
from latewood.execution.driving import CANCELLED, drive, finish, spec_of
from latewood.execution.faults import FaultClass, trouble_told
from latewood.execution.leaving import AbandonedError, uncut
from latewood.execution.logbook import Logbook
from latewood.execution.overdue import Overdue
from latewood.execution.parking import Parked
from latewood.execution.running import Execution
from latewood.execution.words import OPEN, Claim, Run, RunStatus
from latewood.execution.workflow import Registry, Workflow, taken_in
from latewood.execution.writing import Writing
from latewood.graph_schema.commands import Expect, Guard, Ref
from latewood.graph_schema.errors import ConflictError, LatewoodError, RefusedError, UnavailableError
from latewood.graph_schema.values import Json
from latewood.storage.crashpoints import reach
from latewood.storage.port import PAGE_MAX, Lease
from latewood.storage.queueing import Taken

__all__ = ["LEASE_S", "OPEN_MAX", "Worker"]

LEASE_S: Final = 15.0
"""How long a worker may be silent before others take over what it had."""
OPEN_MAX: Final = 10_000
"""Most open runs that one look goes through; those beyond wait for the next ones to end."""
_POLL_S: Final = 0.5
_LOOK_SHARE: Final = 10
_OVERDUE_S: Final = 5.0
"""How often a look goes for what is overdue, whoever's it is."""
_LOOK_WAIT_S_MAX: Final = 15.0
_HAND_BACKS_MAX: Final = 5
_NEWEST: Final = 50
P = ParamSpec("P")
_log = structlog.get_logger(__name__)


def _closed() -> UnavailableError:
    msg = "the worker was closed before the run ended; it goes on with the next worker that knows its workflow"
    return UnavailableError(msg, code="worker.closed")


class Worker:
    """Runs workflows, its own and those that are open in its space, while it is entered.

    ``async with Worker(book, plan_lane) as worker: run = await worker.run(plan_lane, "Lyon")``
    """

    def __init__(
        self, book: Logbook, *workflows: Workflow[..., Any], lease_s: float = LEASE_S, at_once: int = 64,
        poll_s: float = _POLL_S,
    ) -> None:  # fmt: skip
        """Stand ready with *workflows*.

        Args:
            at_once: most runs in this process.
            poll_s: how often to look for open runs; a look that takes long makes the next one wait longer.
        """
        self.registry = Registry(*workflows)
        self._book = book
        self._lease_s = lease_s
        self._at_once = at_once
        self._poll_s = poll_s
        self._lease: Lease | None = None
        self._enlisting = asyncio.Lock()
        self._going: dict[str, asyncio.Task[Run | None]] = {}
        self._starting: set[str] = set()
        # What may still be this worker's when it leaves.
        self._claimed: set[str] = set()
        self._executions: dict[str, Execution] = {}
        self._cancelling: dict[str, str] = {}
        self._awaited: dict[str, asyncio.Future[Run]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self._overdue = Overdue(book)
        self._parked = Parked(book)
        self._looked_over = -_OVERDUE_S

    @property
    def name(self) -> str:
        """What it is called; a new name after each loss of its lease."""
        return self._held.owner

    @property
    def going(self) -> int:
        """How many runs it has in hand."""
        return len(self._going)

    @property
    def _held(self) -> Lease:
        if self._lease is None:
            raise UnavailableError("the worker has no lease now; try again in a moment", code="store.unavailable")
        return self._lease

    @property
    def _guard(self) -> Guard:
        lease = self._held
        return Guard(lease.name, lease.owner, lease.fence)

    async def __aenter__(self) -> Self:
        """Take the lease and begin to look for open runs."""
        await self._enlist()
        self._tasks = [
            asyncio.create_task(self._keep_lease(), name="latewood-worker-lease"),
            asyncio.create_task(self._keep_looking(), name="latewood-worker-look"),
            asyncio.create_task(self._keep_handing(), name="latewood-worker-messages"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hand back what still runs, then the lease."""
        self._closing = True
        going = list(self._going.values())
        for task in [*self._tasks, *going]:
            task.cancel()
        await asyncio.gather(*self._tasks, *going, return_exceptions=True)
        await self._hand_back()
        for future in self._awaited.values():
            if not future.done():
                future.set_exception(_closed())
                # Whoever waited may have gone; nobody need ask for it.
                future.exception()
        if self._lease is not None:
            with contextlib.suppress(LatewoodError):
                await self._book.store.release(self._lease)
            self._lease = None

    async def _hand_back(self) -> None:
        """Let others have at once what is still this worker's, rather than when its lease is over."""
        if self._lease is None:
            return

        async def back(run: Run) -> bool:
            if run.status is not RunStatus.RUNNING or run.claim is None or run.claim.worker != self.name:
                return True
            ready = Writing(self._book.ids).run_status(run.id, RunStatus.READY)
            expects = [Expect(Ref(id=run.id), run.node_version)]
            try:
                await self._book.keep(ready, body=["handed back", run.id], guard=self._guard, expects=expects)
            except ConflictError as error:
                return error.code != "version.conflict"
            return True

        left = list(self._claimed)
        with contextlib.suppress(LatewoodError):
            for _ in range(_HAND_BACKS_MAX):
                if not left:
                    break
                runs = await self._book.runs_by_id(left)
                done = await asyncio.gather(*map(back, runs))
                # One that moved between, by a step or an end that was being kept, is looked at again.
                left = [run.id for run, whole in zip(runs, done, strict=True) if not whole]

    async def _enlist(self) -> None:
        """Take a lease under a new name, unless there is one."""
        async with self._enlisting:
            if self._lease is None:
                name = self._book.ids.new()
                self._lease = await self._book.store.acquire(self._book.space, f"worker:{name}", name, self._lease_s)

    async def _enlist_again(self) -> None:
        """Take a lease in place of one that was lost; who never entered, or leaves, has none to lose."""
        if self._lease is None and self._tasks and not self._closing:
            await self._enlist()

    async def run(self, flow: Workflow[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Run:
        """Start a run here and return it when it has ended, however long that takes.

        Raises:
            InvalidError: what it is called with cannot be kept.
            UnavailableError: the store stayed away, the worker has no lease to begin with, or it was closed
                (``worker.closed``): the run goes on with another one.
        """
        run = await self.start(flow, *args, **kwargs)
        task = self._going.get(run.id)
        if task is not None:
            # Only waited for: a worker that loses its lease cancels what it has in hand, and not those who wait for it.
            await asyncio.wait([task])
            if not task.cancelled() and (ended := task.result()) is not None and ended.ended:
                return ended
        if self._closing:
            raise _closed()
        future = self._awaited.setdefault(run.id, asyncio.get_running_loop().create_future())
        return await asyncio.shield(future)

    async def start(self, flow: Workflow[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Run:
        """Start a run here, under one commit, and return it while it goes. Raises as `run` does."""
        self.registry.add(flow)
        await self._enlist_again()
        book, write = self._book, Writing(self._book.ids)
        given, run_id, lease = taken_in(flow, args, kwargs), book.ids.new(), self._held
        spec = spec_of(flow, given, book.clock.now())
        claim = Claim(lease.owner, lease.fence)
        commands = [*write.run(run_id, flow.name, spec, parent=None), *write.claim(run_id, claim)]
        # The looking task may meet it between the commit and here.
        self._starting.add(run_id)
        self._claimed.add(run_id)
        try:
            receipt = await book.keep(commands, body=["start", flow.name, flow.version, given], guard=self._guard)
        finally:
            self._starting.discard(run_id)
        assert receipt.recorded_at is not None  # noqa: S101 - it is stored
        run = Run(
            run_id, flow.name, flow.version, flow.policy.version, RunStatus.RUNNING, flow.owner, given,
            receipt.recorded_at, deadline_at=spec["deadline_at"] if isinstance(spec["deadline_at"], int) else None,
            claim=claim,
        )  # fmt: skip
        reach("run.started")
        self._spawn(run, flow, fresh=True)
        return run

    def _spawn(
        self, run: Run, flow: Workflow[..., Any], handed: Mapping[str, Taken] | None = None, *, fresh: bool = False
    ) -> None:  # fmt: skip
        driving = self._drive(run, flow, dict(handed or {}), fresh=fresh)
        task = self._going[run.id] = asyncio.create_task(driving, name=f"latewood-run-{run.id}")
        # One that is stopped before it begins ends without its own clean-up.
        task.add_done_callback(lambda _: self._going.pop(run.id) if self._going.get(run.id) is task else None)

    async def _drive(
        self, run: Run, flow: Workflow[..., Any], handed: dict[str, Taken], *, fresh: bool
    ) -> Run | None:  # fmt: skip
        """Drive one run; None when it is not this worker's any more."""
        book = self._book
        execution = Execution(book, self.registry, run, self._guard, flow.policy, handed=handed)
        self._executions[run.id] = execution
        left: Run | None = None
        try:
            if not fresh:
                execution.memo = {step.place: step for step in await book.steps(run.id, whole=True)}
            left = await self._to_its_end(execution, flow)
        except AbandonedError as error:
            _log.warning("run_abandoned", run=run.id, why=str(error))
            return None
        except LatewoodError as error:
            # Refused now is refused again; anything else may pass, and a look takes the run up again.
            _log.warning("run_not_kept", run=run.id, code=error.code, message=error.message)
            left = await self._give_up(execution, error.message) if isinstance(error, RefusedError) else None
        except Exception as error:  # noqa: BLE001 - taken up again it would only come again, for ever
            _log.exception("run_not_driven", run=run.id)
            left = await self._give_up(execution, f"{type(error).__name__}: {error}")
        finally:
            execution.closed = True
            if left is not None:
                self._claimed.discard(run.id)
            self._going.pop(run.id, None)
            self._executions.pop(run.id, None)
            self._cancelling.pop(run.id, None)
            await self._parked.hand_back(handed.values())
        self._parked.left(left)
        if left is not None and left.ended:
            self._tell(left)
        return left

    async def _give_up(self, execution: Execution, words: str) -> Run | None:
        with contextlib.suppress(LatewoodError, AbandonedError):
            return await finish(execution, RunStatus.ESCALATED, trouble_told("workflow", words))
        return None

    async def _to_its_end(self, execution: Execution, flow: Workflow[..., Any]) -> Run | None:
        run = execution.run
        lost = flow.policy.rule(FaultClass.LOST_WORKER).tries
        if run.claim is not None and run.claim.lost >= lost:
            words = f"{run.claim.lost} workers were lost one after another after {run.claim.steps} steps"
            return await finish(execution, RunStatus.ESCALATED, trouble_told(FaultClass.POISON, words))
        if run.cancel is not None:
            return await self._cancel(execution, str(run.cancel.get("reason", "")))
        try:
            return await drive(execution, flow)
        except asyncio.CancelledError:
            if execution.run.ended:
                return execution.run
            if execution.closed or run.id not in self._cancelling:
                raise
            return await self._cancel(execution, self._cancelling[run.id])

    async def _cancel(self, execution: Execution, reason: str) -> Run:
        return await finish(execution, RunStatus.REFUSED, {"class": CANCELLED, "message": reason})

    def _tell(self, run: Run) -> None:
        future = self._awaited.pop(run.id, None)
        if future is not None and not future.done():
            future.set_result(run)

    async def _keep_lease(self) -> None:
        """Renew the lease; once it is lost let go of every run, and begin again under another name."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                if self._lease is None:
                    await self._enlist()
                else:
                    self._lease = await self._book.store.renew(self._lease, self._lease_s)
                last = time.monotonic()
            except UnavailableError:
                if time.monotonic() - last > self._lease_s:
                    self._let_go()
            except RefusedError:
                self._let_go()
                with contextlib.suppress(LatewoodError):
                    await self._enlist()

    def _let_go(self) -> None:
        """Stop everything: it may be another worker's by now."""
        if self._lease is not None:
            why = f"its lease of {self._lease_s:g} s was not renewed in time; its runs go on, here or elsewhere"
            _log.warning("lease_lost", worker=self._lease.owner, runs=len(self._going), message=why)
        self._lease = None
        self._claimed.clear()
        for execution in self._executions.values():
            execution.closed = True
        for task in self._going.values():
            task.cancel()

    async def _keep_looking(self) -> None:
        next_whole = 0.0
        while True:
            began = time.monotonic()
            try:
                if self._lease is not None and began >= next_whole:
                    await self._look(over=began - self._looked_over >= _OVERDUE_S)
                    # Looking takes a share of the store's time only; one slow answer must not make it look away for
                    # long. What begins meanwhile is found at once.
                    took = time.monotonic() - began
                    next_whole = began + min(took * (1 + _LOOK_SHARE), _LOOK_WAIT_S_MAX)
                elif self._lease is not None:
                    await self._look_at_newest()
            except LatewoodError as error:
                _log.warning("look_failed", code=error.code, message=error.message)
            await asyncio.sleep(self._poll_s)

    async def _keep_handing(self) -> None:
        """Give messages to the runs that wait for them, as they come and as there is room for the runs."""
        with self._book.bell.listen(self._parked) as ear:
            self._parked.ear = ear
            while True:
                await ear.wait(self._poll_s)
                try:
                    if self._lease is not None:
                        await self._hand_out()
                except LatewoodError as error:
                    _log.warning("look_failed", code=error.code, message=error.message)

    async def _hand_out(self) -> None:
        given = await self._parked.met(self._at_once - self.going)
        unused = {run.id: taken for run, taken in given}
        try:
            for run, taken in given:
                flow = self.registry.find(run.workflow, run.version)
                if flow is not None and await self._take_up(run, flow, {taken.group: taken}):
                    del unused[run.id]
        finally:
            await self._parked.hand_back(unused.values())

    async def _look_at_newest(self) -> None:
        """Take up what has begun since: a few reads, however many runs there are."""
        await self._look_after_own()
        dead: dict[str, bool] = {}
        for run in (await self._book.runs(first=_NEWEST)).items:
            if not run.ended:
                await self._consider(run, dead, over=False)

    async def look(self) -> None:
        """Look for open runs once, now, those of other workers that are overdue among them."""
        await self._enlist_again()
        await self._look(over=True)

    async def _look(self, *, over: bool) -> None:
        await self._look_after_own()
        seen, after = 0, None
        if over:
            self._looked_over = time.monotonic()
        dead: dict[str, bool] = {}
        while seen < OPEN_MAX:
            page = await self._book.runs(statuses=OPEN, first=PAGE_MAX, after=after, newest=False)
            for run in page.items:
                await self._consider(run, dead, over=over)
            seen, after = seen + PAGE_MAX, page.next
            if after is None:
                return

    async def _look_after_own(self) -> None:
        """End the runs that somebody cancelled, and tell those who wait for runs that ended elsewhere."""
        for run in await self._book.runs_by_id([*self._going, *self._awaited]):
            if run.ended:
                self._tell(run)
            elif run.cancel is not None and run.id in self._executions and run.id not in self._cancelling:
                self._cancelling[run.id] = str(run.cancel.get("reason", ""))
                self._going[run.id].cancel()

    async def _consider(self, run: Run, dead: dict[str, bool], *, over: bool) -> None:
        """Take *run* up if it is nobody's and due; with *over* end one that is another's to run, and overdue."""
        flow = self.registry.find(run.workflow, run.version)
        if flow is None or run.runner != "worker" or run.parent is not None:
            if over:
                await self._overdue.consider(run)
            return
        if run.id in self._going or run.id in self._starting or self.going >= self._at_once:
            return
        now = self._book.clock.now()
        late = run.deadline_at is not None and now >= run.deadline_at
        if run.status is RunStatus.WAITING and not late and run.cancel is None and (run.wake_at or now + 1) > now:
            self._parked.note(run)
            return
        # It may have been lost since the look began, which goes on under the next one.
        await self._enlist_again()
        claim = run.claim
        lost = False
        if run.status is RunStatus.RUNNING and claim is not None and claim.worker != self.name:
            if claim.worker not in dead:
                dead[claim.worker] = await self._take_over(claim.worker)
            if not dead[claim.worker]:
                return
            lost = True
        await self._take_up(run, flow, lost=lost)

    async def _take_up(
        self, run: Run, flow: Workflow[..., Any], handed: Mapping[str, Taken] | None = None, *, lost: bool = False
    ) -> bool:  # fmt: skip
        """Make *run* this worker's and drive it; False when it moved in between."""
        if run.id in self._going or run.id in self._starting:
            return False
        # Whoever looks meanwhile sees it as this worker's, and would claim it again: as one that nobody lost.
        self._starting.add(run.id)
        try:
            fresh = await uncut(self._claim(run, flow, lost=lost))
        finally:
            self._starting.discard(run.id)
        if fresh is None:
            return False
        reach("run.claimed")
        self._spawn(fresh, flow, handed)
        return True

    async def _take_over(self, worker: str) -> bool:
        """Take a worker's lease when it has run out; from then on whatever it writes is refused."""
        lease = await self._book.store.acquire(self._book.space, f"worker:{worker}", self.name, self._lease_s)
        if lease is not None:
            reach("worker.over")
        return lease is not None

    async def _claim(self, run: Run, flow: Workflow[..., Any], *, lost: bool) -> Run | None:
        """Make *run* this worker's; None when it moved in between."""
        before = run.claim or Claim("", 0)
        steps, gone = before.steps, 0
        if lost:
            steps = sum(step.completed for step in await self._book.steps(run.id))
            gone = before.lost + 1 if steps == before.steps else 1
        await self._enlist_again()
        lease = self._held
        claim = Claim(lease.owner, lease.fence, steps, gone)
        expects = [Expect(Ref(id=run.id), run.node_version)]
        body: Json = ["claim", run.id, claim.worker, claim.fence, claim.lost]
        write = Writing(self._book.ids)
        run, terms = adopted(write, run, flow, self._book.clock.now())
        commands = [*write.claim(run.id, claim), *terms]
        try:
            await self._book.keep(commands, body=body, guard=self._guard, expects=expects)
        except ConflictError:
            return None
        self._claimed.add(run.id)
        return replace(run, status=RunStatus.RUNNING, claim=claim)
