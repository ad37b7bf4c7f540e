"""Handing messages out in Neo4j, from the rows of the queue view, under the lock of both heads of the space.

Whoever writes messages has that lock too: a message that is seen before its group is wholly there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from latewood.graph_schema.clock import Clock, Micros
from latewood.graph_schema.commands import Hold
from latewood.graph_schema.errors import ConflictError
from latewood.storage.building import node_of
from latewood.storage.cursors import check_first, read_cursor, write_cursor
from latewood.storage.names import unknown_space
from latewood.storage.neo4j.database import Engine, Query
from latewood.storage.neo4j.gathering import locked_heads, node_row, space_row
from latewood.storage.neo4j.reading import Reading
from latewood.storage.neo4j.waiting import later_text, place_text, queries, queue_row, rows_at
from latewood.storage.port import Page
from latewood.storage.queueing import PROMOTED_MAX, Lane, Queued, Taken, Want, as_of, check_hold

__all__ = ["Handing"]

T = TypeVar("T")


def _take(query: Query, n: int, wants: Sequence[Want], now: Micros) -> tuple[tuple[Taken, ...], ...]:
    found: list[list[Taken]] = [[] for _ in wants]
    until = [now + round(want.ttl_s * 1_000_000) for want in wants]
    for group in dict.fromkeys(want.group for want in wants):
        # A slot for each message that is wanted: whoever asked first has the first.
        slots = [place for place, want in enumerate(wants) if want.group == group for _ in range(want.most)]
        rows = query(
            queries()["take"], lane=place_text(n, group), now=later_text(n, group, now), promoted=PROMOTED_MAX,
            most=len(slots), slots=[
                {"owner": wants[one].owner, "until": until[one], "later": later_text(n, group, until[one])}
                for one in slots
            ],
        )  # fmt: skip
        for place, message, fence, failures, taken, there, *columns in rows:
            one = slots[int(place)]
            node = node_of(node_row(columns)) if there else None
            found[one].append(Taken(group, message, wants[one].owner, fence, until[one], failures, taken, node))
    return tuple(tuple(part) for part in found)


class Handing:
    """Hands messages out; a part of the store."""

    _engine: Engine
    _clock: Clock
    _tenant: str

    async def _ensure_default(self) -> None:
        raise NotImplementedError

    async def _read(self, space: str, work: Callable[[Reading], T]) -> T:
        raise NotImplementedError

    async def _handing(self, space: str, work: Callable[[Query, int], T]) -> T:
        """Run *work* under the lock of the space's heads."""

        def run(query: Query) -> T:
            rows = locked_heads(query, self._tenant, space)
            if not rows:
                raise unknown_space(space, [row[2] for row in query("spaces", tenant=self._tenant)])
            return work(query, space_row(rows[0])[0])

        await self._ensure_default()
        return await self._engine.write(run)

    @property
    def tenant(self) -> str:
        """Whose data it hands out."""
        raise NotImplementedError

    async def take(self, space: str, wants: Sequence[Want]) -> tuple[tuple[Taken, ...], ...]:
        """Hand out messages that are due, together with whoever else asks."""
        return await self._engine.takes.ask(self, space, wants)

    async def take_now(self, space: str, wants: Sequence[Want]) -> tuple[tuple[Taken, ...], ...]:
        """Hand out messages that are due, in one transaction."""
        return await self._handing(space, lambda query, n: _take(query, n, wants, self._clock.now()))

    async def extend(self, space: str, hold: Hold, ttl_s: float) -> Micros:
        """Let a message be its owner's for longer."""

        def work(query: Query, n: int) -> Micros:
            now = self._clock.now()
            rows = rows_at(query, n, [(hold.group, hold.message)])
            check_hold(hold, rows[0] if rows else None, now, settled=False)
            until = now + round(ttl_s * 1_000_000)
            query(
                queries()["extend"], space=n, group=hold.group, message=hold.message, until=until,
                later=later_text(n, hold.group, until),
            )  # fmt: skip
            return until

        return await self._handing(space, work)

    async def hand_back(self, space: str, holds: Sequence[Hold]) -> int:
        """Let others have messages at once."""

        def work(query: Query, n: int) -> int:
            now = self._clock.now()
            rows = {(row.group, row.message): row for row in rows_at(query, n, [(h.group, h.message) for h in holds])}
            own: list[list[str]] = []
            for hold in holds:
                try:
                    check_hold(hold, rows.get((hold.group, hold.message)), now, settled=False)
                except ConflictError:
                    continue
                own.append([hold.group, hold.message])
            if own:
                query(queries()["hand_back"], space=n, places=own)
            return len(own)

        return await self._handing(space, work)

    async def lanes(self, space: str, groups: Sequence[str]) -> Mapping[str, Lane]:
        """Return how much waits for each of *groups*."""

        def work(reading: Reading) -> dict[str, Lane]:
            found: dict[str, Lane] = {}
            now, n, query = self._clock.now(), reading.n, reading.query
            for group, pending, size in query(queries()["lanes"], space=n, groups=list(groups)):
                lane = later_text(n, group)
                rows = query(queries()["next_later"], lane=lane, now=later_text(n, group, now))
                due = int(rows[0][0][len(lane) :]) - 2**62 if rows else None
                found[group] = Lane(group, pending, size, due)
            return found

        return await self._read(space, work)

    async def queued(self, space: str, group: str, *, first: int = 100, after: str | None = None) -> Page[Queued]:
        """List what waits for a consumer group."""
        check_first(first)
        seq, now = (read_cursor(after, "q", 1) or (0,))[0], self._clock.now()

        def work(reading: Reading) -> Page[Queued]:
            found = reading.query(
                queries()["list"], lane=place_text(reading.n, group), after=place_text(reading.n, group, seq),
                most=first + 1,
            )  # fmt: skip
            rows = [as_of(queue_row(row[0]), now) for row in found]
            more = write_cursor("q", rows[first - 1].seq) if len(rows) > first else None
            return Page(tuple(rows[:first]), more)

        return await self._read(space, work)
