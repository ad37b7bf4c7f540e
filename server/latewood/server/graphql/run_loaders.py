"""What resolvers read of runs: each run, its steps and their tries once for a root field, many in one read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from strawberry.dataloader import DataLoader

from latewood.execution import words
from latewood.execution.showing import Parts, Progress, parts_of, progress_of
from latewood.graph_schema.values import Json
from latewood.memory.runs import book_of
from latewood.server.graphql.context import Info

__all__ = ["parts_read", "progress", "tries", "whole_steps"]

T = TypeVar("T")
_RUNS_AT_ONCE: Final = 10
"""Runs whose steps are read together: each may have thousands."""
_AT_ONCE: Final = 1_000


def _loader(
    info: Info, name: str, load: Callable[[list[str]], Awaitable[list[T]]], at_once: int
) -> DataLoader[str, T]:  # fmt: skip
    return info.context.view(info).loader(name, lambda: DataLoader[str, Any](load, at_once))


def progress(info: Info) -> DataLoader[str, Progress]:
    """Return the loader of how far a run has come."""
    book = book_of(info.context.view(info).memory)

    async def load(ids: list[str]) -> list[Progress]:
        found = await progress_of(book, ids)
        info.context.spend(sum(len(one.steps) for one in found.values()))
        return [found[one] for one in ids]

    return _loader(info, "progress", load, _RUNS_AT_ONCE)


def whole_steps(info: Info) -> DataLoader[str, words.Step]:
    """Return the loader of steps with what they returned."""
    book = book_of(info.context.view(info).memory)

    async def load(ids: list[str]) -> list[words.Step]:
        found = {step.id: step for step in await book.steps_by_id(ids)}
        return [found[one] for one in ids]

    return _loader(info, "steps", load, _AT_ONCE)


def tries(info: Info) -> DataLoader[str, Sequence[Mapping[str, Json]]]:
    """Return the loader of a step's tries."""
    book = book_of(info.context.view(info).memory)

    async def load(ids: list[str]) -> list[Sequence[Mapping[str, Json]]]:
        found = await book.attempts(ids)
        info.context.spend(sum(len(of_step) for of_step in found.values()))
        return [found.get(one, ()) for one in ids]

    return _loader(info, "attempts", load, _AT_ONCE)


def _runs(info: Info) -> DataLoader[str, words.Run | None]:
    book = book_of(info.context.view(info).memory)

    async def load(ids: list[str]) -> list[words.Run | None]:
        found = {run.id: run for run in await book.runs_by_id(ids)}
        return [found.get(one) for one in ids]

    return _loader(info, "runs", load, _AT_ONCE)


async def parts_read(run: words.Run, info: Info) -> Parts:
    """Return what a run is a part of, and at which of its own parts it failed."""

    async def steps_of(one: str) -> Sequence[words.Step]:
        return (await progress(info).load(one)).steps

    return await parts_of(run, await steps_of(run.id), _runs(info).load, steps_of)
