"""The views that follow the ledger at the end of each group: which facts are memories, and which status nodes have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from latewood.graph_schema.events import Event, EventKind
from latewood.storage.sqlite import memories, statuses
from latewood.storage.sqlite.cache import Cache
from latewood.storage.sqlite.database import Statements
from latewood.storage.statuses import STATUS

__all__ = ["Views"]

_REACH: Final = "insert or replace into reached(view, e) values('memory', ?1), ('status', ?1)"


class Views:
    """Brings the views up to date with one group; made for it and thrown away.

    Each view says how far it reaches, and can make up for rows that an older Latewood wrote without it. Where the rows
    before the group are known to be in, the group's own events tell whether there is anything to look for.
    """

    def __init__(self, cache: Cache) -> None:
        """Begin before the first row of the group."""
        self._cache = cache
        self._before = cache.next_e - 1
        self._sure = cache.reached == self._before
        self._worded = self._told = False

    def unsure(self) -> None:
        """Take nothing from the events: of a row that comes without its payload nobody knows what it said."""
        self._sure = False

    def see(self, events: Iterable[Event]) -> None:
        """Note what the events of a unit have for the views."""
        for event in events:
            if event.kind is EventKind.DECLARED:
                continue
            if event.kind is EventKind.ERASED:
                self._sure = False
                continue
            payload = event.payload
            value = payload.get("value")
            self._worded = self._worded or (isinstance(value, dict) and value.get("kind") in memories.WORDED)
            self._told = self._told or payload.get("predicate") == STATUS

    def finish(self, db: Statements) -> None:
        """Bring the views up to date."""
        last = self._cache.next_e - 1
        if not self._sure:
            memories.remember(db)
            statuses.follow(db)
        elif last > self._before:
            if self._worded:
                memories.note(db, self._before, last)
            if self._told:
                statuses.note(db, self._before, last)
            db.execute(_REACH, (last,))
        self._cache.reached = last
