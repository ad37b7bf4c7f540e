"""Handing messages out in SQLite, from the rows of the queue view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, cast

from latewood.graph_schema.clock import Clock, Micros
from latewood.graph_schema.commands import Hold
from latewood.graph_schema.errors import ConflictError
from latewood.graph_schema.ids import id_text
from latewood.storage.cursors import check_first, read_cursor, write_cursor
from latewood.storage.port import Page
from latewood.storage.queueing import PROMOTED_MAX, Lane, Queued, Taken, Want, as_of, check_hold
from latewood.storage.sqlite.database import Database
from latewood.storage.sqlite.engine import Engine
from latewood.storage.sqlite.reading import NO_BOUND, Reading
from latewood.storage.sqlite.waiting import held_row, lane_of, queue_row, raw_id, sql

__all__ = ["Handing"]

T = TypeVar("T")


def _take(reading: Reading, want: Want, now: Micros) -> tuple[Taken, ...]:
    db, n, group = reading.db, reading.n, raw_id(want.group)
    until = now + round(want.ttl_s * 1_000_000)
    db.execute(sql()["promote"], (n, group, now, PROMOTED_MAX))
    taken: list[Taken] = []
    for raw, fence, failures, times in db.execute(sql()["first_ready"], (n, group, want.most)).fetchall():
        db.execute(sql()["hand_out"], (until, want.owner, n, group, raw))
        taken.append(Taken(
            want.group, id_text(cast("bytes", raw)), want.owner, cast("int", fence) + 1, until, cast("int", failures),
            cast("int", times) + 1,
        ))  # fmt: skip
    return tuple(taken)


def _told(reading: Reading, answers: Sequence[Sequence[Taken]]) -> tuple[tuple[Taken, ...], ...]:
    """Say what the messages say that are handed out."""
    ids = list({one.message for part in answers for one in part})
    nodes = reading.nodes(ids=ids, keys=(), known_at=NO_BOUND) if ids else {}
    return tuple(tuple(replace(one, node=nodes.get(one.message)) for one in part) for part in answers)


class Handing:
    """Hands messages out; a part of the store."""

    _engine: Engine
    _clock: Clock

    async def _ensure_default(self) -> None:
        raise NotImplementedError

    async def _read(self, space: str, work: Callable[[Reading], T]) -> T:
        raise NotImplementedError

    def _reading(self, connection: Database, space: str) -> Reading:
        raise NotImplementedError

    def _number(self, connection: Database, space: str) -> int:
        raise NotImplementedError

    @property
    def tenant(self) -> str:
        """Whose data it hands out."""
        raise NotImplementedError

    async def take(self, space: str, wants: Sequence[Want]) -> tuple[tuple[Taken, ...], ...]:
        """Hand out messages that are due, together with whoever else asks."""
        return await self._engine.takes.ask(self, space, wants)

    async def take_now(self, space: str, wants: Sequence[Want]) -> tuple[tuple[Taken, ...], ...]:
        """Hand out messages that are due, in one transaction."""

        def work(connection: Database) -> tuple[tuple[Taken, ...], ...]:
            reading = self._reading(connection, space)
            return _told(reading, [_take(reading, want, self._clock.now()) for want in wants])

        await self._ensure_default()
        return await self._engine.write(work, lasting=False)

    async def extend(self, space: str, hold: Hold, ttl_s: float) -> Micros:
        """Let a message be its owner's for longer."""

        def work(connection: Database) -> Micros:
            n, now = self._number(connection, space), self._clock.now()
            check_hold(hold, held_row(connection, n, hold.group, hold.message), now, settled=False)
            until = now + round(ttl_s * 1_000_000)
            connection.execute(sql()["extend"], (until, n, raw_id(hold.group), raw_id(hold.message)))
            return until

        await self._ensure_default()
        return await self._engine.write(work, lasting=False)

    async def hand_back(self, space: str, holds: Sequence[Hold]) -> int:
        """Let others have messages at once."""

        def work(connection: Database) -> int:
            n, now, count = self._number(connection, space), self._clock.now(), 0
            for hold in holds:
                try:
                    check_hold(hold, held_row(connection, n, hold.group, hold.message), now, settled=False)
                except ConflictError:
                    continue
                connection.execute(sql()["hand_back"], (n, raw_id(hold.group), raw_id(hold.message)))
                count += 1
            return count

        await self._ensure_default()
        return await self._engine.write(work, lasting=False)

    async def lanes(self, space: str, groups: Sequence[str]) -> Mapping[str, Lane]:
        """Return how much waits for each of *groups*."""

        def one(reading: Reading, group: str) -> Lane:
            lane = lane_of(reading.db, reading.n, group)
            row = reading.db.execute(sql()["next_at"], (reading.n, raw_id(group), self._clock.now())).fetchone()
            return Lane(group, lane.pending, lane.bytes, None if row is None else cast("int | None", row[0]))

        return await self._read(space, lambda reading: {group: one(reading, group) for group in groups})

    async def queued(self, space: str, group: str, *, first: int = 100, after: str | None = None) -> Page[Queued]:
        """List what waits for a consumer group."""
        check_first(first)
        seq, now = (read_cursor(after, "q", 1) or (0,))[0], self._clock.now()

        def work(reading: Reading) -> Page[Queued]:
            bindings = (reading.n, raw_id(group), seq, b"\xff" * 17, first + 1)
            rows = [as_of(queue_row(cells), now) for cells in reading.db.execute(sql()["list"], bindings).fetchall()]
            more = write_cursor("q", rows[first - 1].seq) if len(rows) > first else None
            return Page(tuple(rows[:first]), more)

        return await self._read(space, work)
