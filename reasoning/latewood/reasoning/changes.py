"""Diff: what changed between two instants, on either clock, each change with what it replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from latewood.graph_schema.clock import from_micros, to_micros
from latewood.graph_schema.events import EventKind
from latewood.graph_schema.identity import MOVED_REASON
from latewood.graph_schema.model import Fact, Node
from latewood.storage.port import Change, GraphStore, Page, Point

__all__ = ["Axis", "Difference", "DifferenceKind", "difference"]


class Axis(StrEnum):
    """Which clock a diff runs along: what became known, or what became true."""

    KNOWN = "known"
    VALID = "valid"


class DifferenceKind(StrEnum):
    """What happened to a key."""

    APPEARED = "appeared"
    CHANGED = "changed"
    CORRECTED = "corrected"
    ENDED = "ended"
    RETRACTED = "retracted"
    ARRIVED_LATE = "arrived_late"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Difference:
    """One change.

    Attributes:
        before: what held at `valid_from` just before it was recorded (axis known) or just before it began (axis valid).
        after: what was asserted; None for a retraction that left nothing, or an end.
        reason: as given with a correction, a retraction or an end.
    """

    kind: DifferenceKind
    subject: Node
    predicate: str
    before: Fact | None
    after: Fact | None
    valid_from: datetime
    recorded_at: datetime
    seq: int
    reason: str | None
    target: Node | None = None


def _kind(change: Change, before: Fact | None, now: Fact | None, axis: Axis) -> DifferenceKind:
    if axis is Axis.KNOWN and change.fact.carried is not None and change.kind is not EventKind.RETRACTED:
        return DifferenceKind.MOVED
    if change.kind is EventKind.RETRACTED:
        return DifferenceKind.RETRACTED
    if change.kind is EventKind.ABSENT:
        return DifferenceKind.ENDED
    if change.fact.replaces is not None:
        return DifferenceKind.CORRECTED
    if now is not None and now.id != change.fact.id:
        return DifferenceKind.ARRIVED_LATE
    return DifferenceKind.APPEARED if before is None or before.absent else DifferenceKind.CHANGED


async def difference(
    store: GraphStore, space: str, since: datetime, until: datetime, *, axis: Axis = Axis.KNOWN,
    subjects: Sequence[str] | None = None, first: int = 100, after: str | None = None,
) -> Page[Difference]:  # fmt: skip
    """List the changes in (since, until] in order. Four reads a page.

    A correction shows once, as the new assertion with the old one before it; so does what a merge or a split moved.
    """
    page = await store.changes(
        space, to_micros(since), to_micros(until), axis=axis.value, subjects=subjects, first=first, after=after
    )
    kept = [one for one in page.items if one.replaced_by is None and one.reason != MOVED_REASON]
    points: list[Point] = []
    for change in kept:
        start = to_micros(change.fact.valid_from)
        earlier = Point(change.fact.id, start, change.recorded_at - 1)
        points.append(earlier if axis is Axis.KNOWN else Point(change.fact.id, start - 1, None))
        points.append(Point(change.fact.id, start, change.recorded_at))
    held = await store.held(space, points)
    ids = {c.fact.subject_id for c in kept} | {c.fact.object_id for c in kept if c.fact.object_id is not None}
    nodes = await store.nodes(space, ids=sorted(ids)) if ids else {}
    found: list[Difference] = []
    for place, change in enumerate(kept):
        before, now = held[2 * place], held[2 * place + 1]
        gone = change.kind is EventKind.RETRACTED
        if gone:
            before = change.fact
        left = now if gone and now is not None and not now.absent else None
        found.append(
            Difference(
                _kind(change, before, now, axis), nodes[change.fact.subject_id], change.fact.predicate,
                before if before is None or not before.absent else None,
                left if gone else (None if change.kind is EventKind.ABSENT else change.fact),
                change.fact.valid_from, from_micros(change.recorded_at), change.seq, change.reason,
                nodes.get(change.fact.object_id or ""),
            )
        )  # fmt: skip
    return Page(tuple(found), page.next)
