"""Where ingestion hands in what it read: units through a sink, which memory is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from latewood.graph_schema.commands import Command, History, SourceSpec, Unit
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import IdSource
from latewood.graph_schema.model import Trust
from latewood.storage.port import GraphStore

__all__ = ["Progress", "Sink"]

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many of how many steps are done."""


class Sink(Protocol):
    """What a source needs to write: memory satisfies it."""

    @property
    def space(self) -> str:
        """The space that is written."""
        ...

    @property
    def store(self) -> GraphStore:
        """For reading what is there already."""
        ...

    @property
    def ids(self) -> IdSource:
        """Where new ids come from."""
        ...

    def unit(
        self, commands: Sequence[Command], body: object, *, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, trust: Trust | None = None, idempotency_key: str | None = None,
        history: History | None = None,
    ) -> Unit:  # fmt: skip
        """Make a unit in the handle's name, or in that of *by*. Raises InvalidError (``actor.missing``)."""
        ...

    async def submit_many(self, units: Sequence[Unit]) -> tuple[Receipt, ...]:
        """Keep units in order. Raises for the first that is not kept."""
        ...
