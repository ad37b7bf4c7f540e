"""The queue view of the reference store: what the ledger leaves to be done, and who has it; found by looking at all."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Unit
from latewood.graph_schema.events import LedgerEntry
from latewood.storage.queueing import (
    Gone,
    Lane,
    Later,
    Put,
    Queued,
    Settle,
    Taken,
    Want,
    changes_of,
    check_hold,
    check_room,
    settle_key,
)

__all__ = ["Held", "Place", "check_unit_held", "follow", "hand_out", "lane_of", "seen"]

Place: TypeAlias = tuple[str, str]
"""A group and a message."""


@dataclass(frozen=True, slots=True)
class Held:
    """Who has a message, until when; *owner* is None once it was handed back or put off."""

    owner: str | None
    fence: int
    until: Micros
    taken: int


_NOBODY = Held(None, 0, 0, 0)


def follow(
    queued: MutableMapping[Place, Queued], held: MutableMapping[Place, Held], entry: LedgerEntry, secret: bytes
) -> None:  # fmt: skip
    """Move the view along with one row of the execution ledger."""
    for step in changes_of(entry.event, entry.seq, secret):
        if isinstance(step, Put):
            queued[step.row.group, step.row.message] = step.row
            held.pop((step.row.group, step.row.message), None)
        elif isinstance(step, Later):
            place = (step.group, step.message)
            if place in queued:
                queued[place] = replace(queued[place], ready_at=step.ready_at, failures=step.failures)
                held[place] = replace(held.get(place, _NOBODY), owner=None, until=0)
        else:
            gone = [place for place in queued if place[1] == step.message and _meant(step, place[0], secret)]
            for place in gone:
                del queued[place]
                held.pop(place, None)


def _meant(step: Settle | Gone, group: str, secret: bytes) -> bool:
    if isinstance(step, Gone):
        return True
    return step.group == group or (step.group is None and settle_key(secret, step.message, group) == step.key)


def seen(queued: Mapping[Place, Queued], held: Mapping[Place, Held], group: str, now: Micros) -> list[Queued]:
    """Return what waits for a group as it stands at *now*, by its place."""
    found: list[Queued] = []
    first: set[bytes] = set()
    for row in sorted((row for row in queued.values() if row.group == group), key=lambda row: (row.seq, row.message)):
        own = held.get((group, row.message), _NOBODY)
        state = "leased" if own.owner is not None and own.until > now else "later" if row.ready_at > now else "ready"
        if row.ordering is not None and row.ordering in first:
            state = "blocked"
        if row.ordering is not None:
            first.add(row.ordering)
        found.append(
            replace(row, state=state, owner=own.owner, fence=own.fence, until=own.until, taken=own.taken)
        )  # fmt: skip
    return found


def hand_out(
    queued: Mapping[Place, Queued], held: MutableMapping[Place, Held], want: Want, now: Micros
) -> tuple[Taken, ...]:  # fmt: skip
    """Hand out messages of a group that are due."""
    until = now + round(want.ttl_s * 1_000_000)
    due = [row for row in seen(queued, held, want.group, now) if row.state == "ready"]
    due.sort(key=lambda row: (-row.priority, row.seq))
    taken: list[Taken] = []
    for row in due[: want.most]:
        one = Taken(row.group, row.message, want.owner, row.fence + 1, until, row.failures, row.taken + 1)
        held[row.group, row.message] = Held(one.owner, one.fence, until, one.taken)
        taken.append(one)
    return tuple(taken)


def lane_of(queued: Mapping[Place, Queued], group: str) -> Lane:
    """Count what waits for a group."""
    rows = [row for row in queued.values() if row.group == group]
    return Lane(group, len(rows), sum(row.size for row in rows))


def check_unit_held(
    queued: Mapping[Place, Queued], held: Mapping[Place, Held], unit: Unit, now: Micros
) -> None:  # fmt: skip
    """Judge a unit's holds and rooms. Raises ConflictError (``lease.lost``), LimitError (``channel.full``)."""
    for hold in unit.holds:
        rows = [row for row in seen(queued, held, hold.group, now) if row.message == hold.message]
        check_hold(hold, rows[0] if rows else None, now, settled=False)
    for room in unit.rooms:
        check_room(room, lane_of(queued, room.group), (0, 0))
