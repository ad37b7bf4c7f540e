"""Runs of workflows through the one door: over the handle's store, in its space, as its actor."""

from __future__ import annotations

from typing import Any

from latewood.execution import Logbook, Runs, Worker, Workflow
from latewood.execution.external import Agents
from latewood.execution.worker import LEASE_S
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.model import Trust
from latewood.memory.api import Memory
from latewood.memory.credentials import BoundMemory
from latewood.storage.port import GraphStore

__all__ = ["agents_of", "book_of", "runs_of", "worker_of"]


def runs_of(memory: Memory) -> Runs:
    """Return the runs of the handle's space; a handle without an actor only looks."""
    return Runs(book_of(memory))


def worker_of(
    memory: Memory, *workflows: Workflow[..., Any], lease_s: float = LEASE_S, at_once: int = 64, poll_s: float = 0.5
) -> Worker:  # fmt: skip
    """Return a worker for the handle's space; enter it with `async with`."""
    return Worker(book_of(memory), *workflows, lease_s=lease_s, at_once=at_once, poll_s=poll_s)


def agents_of(memory: Memory) -> Agents:
    """Return the runs of the handle's space for an agent that runs them elsewhere."""
    return Agents(book_of(memory))


class _Credentialed:
    """Keeps units of a credential's bearer: only as far as its scopes and its actor go."""

    def __init__(self, memory: BoundMemory) -> None:
        self._memory = memory

    async def submit(self, store: GraphStore, unit: Unit) -> Receipt:
        # The handle knows its own store: the one that it shows has no way to write.
        del store
        return await self._memory.submit(unit)


def book_of(memory: Memory) -> Logbook:
    """Return what reads and writes the runs of the handle's space."""
    # A part of the one door, which shows its engine to nobody else.
    engine = memory._engine  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    keeper = _Credentialed(memory) if isinstance(memory, BoundMemory) else engine.journal
    bell = engine.journal.bell
    if not memory.names_actor:
        return Logbook(memory.store, keeper, memory.space, engine.clock, engine.ids, "", Trust.UNTRUSTED, bell=bell)
    # A unit knows the handle's actor, and its trust, cut to the handle's ceiling.
    made = memory.unit([], "runs")
    return Logbook(
        memory.store, keeper, memory.space, engine.clock, engine.ids, made.actor.key, made.trust, made.session,
        made.actor.on_behalf_of, bell,
    )  # fmt: skip
