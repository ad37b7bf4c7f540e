"""Handing messages out in the reference store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from latewood.graph_schema.clock import Clock, Micros
from latewood.graph_schema.commands import Hold
from latewood.graph_schema.errors import ConflictError
from latewood.storage.cursors import check_first, read_cursor, write_cursor
from latewood.storage.port import Page
from latewood.storage.queueing import Lane, Queued, Taken, Want, check_hold, check_wants
from latewood.storage.reference_space import SpaceLog
from latewood.storage.reference_waiting import hand_out, lane_of, seen

__all__ = ["Handing"]


class Handing:
    """Hands messages out; a part of the store."""

    _clock: Clock

    def _space(self, name: str) -> SpaceLog:
        raise NotImplementedError

    async def take(self, space: str, wants: Sequence[Want]) -> tuple[tuple[Taken, ...], ...]:
        """Hand out messages that are due."""
        check_wants(wants)
        log = self._space(space)
        found = [hand_out(log.queued, log.held, want, self._clock.now()) for want in wants]
        rows = {one.message: log.nodes.get(one.message) for part in found for one in part}
        nodes = {message: log.node(row) for message, row in rows.items() if row is not None}
        return tuple(tuple(replace(one, node=nodes.get(one.message)) for one in part) for part in found)

    def _check_held(self, log: SpaceLog, hold: Hold) -> None:
        now = self._clock.now()
        rows = [row for row in seen(log.queued, log.held, hold.group, now) if row.message == hold.message]
        check_hold(hold, rows[0] if rows else None, now, settled=False)

    async def extend(self, space: str, hold: Hold, ttl_s: float) -> Micros:
        """Let a message be its owner's for longer."""
        log = self._space(space)
        self._check_held(log, hold)
        until = self._clock.now() + round(ttl_s * 1_000_000)
        place = (hold.group, hold.message)
        log.held[place] = replace(log.held[place], until=until)
        return until

    async def hand_back(self, space: str, holds: Sequence[Hold]) -> int:
        """Let others have messages at once."""
        log, count = self._space(space), 0
        for hold in holds:
            try:
                self._check_held(log, hold)
            except ConflictError:
                continue
            place = (hold.group, hold.message)
            held = log.held[place]
            log.held[place] = replace(held, owner=None, until=0, taken=held.taken - 1)
            count += 1
        return count

    async def lanes(self, space: str, groups: Sequence[str]) -> Mapping[str, Lane]:
        """Return how much waits for each of *groups*."""
        log, now = self._space(space), self._clock.now()
        found: dict[str, Lane] = {}
        for group in groups:
            due = [
                row.until if row.state == "leased" else row.ready_at
                for row in seen(log.queued, log.held, group, now) if row.state in ("leased", "later")
            ]  # fmt: skip
            found[group] = replace(lane_of(log.queued, group), next_at=min(due, default=None))
        return found

    async def queued(self, space: str, group: str, *, first: int = 100, after: str | None = None) -> Page[Queued]:
        """List what waits for a consumer group."""
        check_first(first)
        log = self._space(space)
        place = read_cursor(after, "q", 1) or (0,)
        rows = [row for row in seen(log.queued, log.held, group, self._clock.now()) if row.seq > place[0]]
        more = write_cursor("q", rows[first - 1].seq) if len(rows) > first else None
        return Page(tuple(rows[:first]), more)
