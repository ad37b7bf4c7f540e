"""A run that ends while it is being listed is not in the list: nobody takes up what has ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from integration.execution.acting import until, worker_of

from latewood.execution import Fault, RunStatus, step, workflow
from latewood.execution.words import OPEN
from latewood.memory import Memory
from latewood.memory.runs import book_of, runs_of


class Between:
    """The real store, where something happens between a list of nodes and what is read of them next."""

    def __init__(self, store: Any, happens: Callable[[], Awaitable[object]]) -> None:
        self._store, self._happens = store, happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def list_nodes(self, *given: Any, **named: Any) -> Any:
        page = await self._store.list_nodes(*given, **named)
        await self._happens()
        return page


@step()
async def torn() -> None:
    raise Fault("ambiguous", "two of them")


@workflow()
async def tearing() -> None:
    await torn()


async def test_a_run_that_ends_while_it_is_listed_is_not_listed_as_open(memory: Memory) -> None:
    run = await runs_of(memory).start(tearing)
    book = book_of(memory)

    async def end() -> None:
        async with worker_of(memory, tearing, poll_s=60) as worker:
            await worker.look()
            await until(memory, run.id, RunStatus.ESCALATED)

    listed = await replace(book, store=Between(book.store, end)).runs(statuses=OPEN)  # type: ignore[arg-type]
    assert listed.items == ()
    assert (await runs_of(memory).run(run.id)).status is RunStatus.ESCALATED
    assert [one.id for one in (await book.runs(statuses=[RunStatus.ESCALATED])).items] == [run.id]


async def test_another_run_comes_in_the_place_of_one_that_ended_while_it_was_listed(memory: Memory) -> None:
    waits = await runs_of(memory).start(tearing)
    ends = await runs_of(memory).start(tearing)
    book = book_of(memory)

    async def end() -> None:
        if not (await runs_of(memory).run(ends.id)).ended:
            await runs_of(memory).cancel(ends.id, "no longer wanted")

    listed = await replace(book, store=Between(book.store, end)).runs(statuses=OPEN, first=1)  # type: ignore[arg-type]
    assert [one.id for one in listed.items] == [waits.id]
