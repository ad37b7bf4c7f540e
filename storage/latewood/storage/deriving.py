"""What the ledger says of views: nodes and keys worked out again from rows, by the code that settles a first write."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import NamedTuple, cast

from latewood.graph_schema.clock import FOREVER, Micros, from_micros
from latewood.graph_schema.events import Event, EventKind, Receipt
from latewood.graph_schema.model import LedgerName, NodeKind
from latewood.graph_schema.resolution import Claim, Repair, Stretch, Window
from latewood.storage.erasing import erasure_of, tombstone
from latewood.storage.replaying import declared_node
from latewood.storage.rows import NodeRow
from latewood.storage.settling import KeyChange, KeyState, claim_class, origin_hash, settle_key

__all__ = [
    "Buried",
    "DerivedKey",
    "DerivedNode",
    "Row",
    "buried",
    "derive_key",
    "derive_nodes",
    "derive_receipt",
    "receipt_mended",
    "rows_by_key",
]


class Row(NamedTuple):
    """A ledger row; *handle* is the store's own number of it, and its claim's."""

    handle: int
    ledger: LedgerName
    seq: int
    unit: str
    recorded_at: Micros
    erased: bool
    event: Event

    @property
    def place(self) -> tuple[LedgerName, int]:
        """Where it stands."""
        return self.ledger, self.seq


@dataclass(frozen=True, slots=True)
class Buried:
    """What erasures left of nodes (their kind) and of keys (their predicate)."""

    nodes: Mapping[str, NodeKind]
    predicates: Mapping[bytes, str]


def buried(erasures: Iterable[Event]) -> Buried:
    """Gather what erasures say."""
    nodes: dict[str, NodeKind] = {}
    predicates: dict[bytes, str] = {}
    for event in erasures:
        said = erasure_of(event)
        nodes.update(said.nodes)
        predicates.update(said.keys)
    return Buried(nodes, predicates)


@dataclass(slots=True)
class DerivedNode:
    """A node as it should be stored.

    Attributes:
        first: the row that declared it.
        last: ledger to the seq of its last row about the node; the latest of all is the node's version.
    """

    row: NodeRow
    first: Row
    last: dict[LedgerName, int]


def derive_nodes(rows: Iterable[Row], gone: Buried) -> dict[str, DerivedNode]:
    """Work out the nodes that *rows*, in the order in which they were written, declare."""
    found: dict[str, DerivedNode] = {}
    for row in rows:
        event = row.event
        if event.kind is EventKind.DECLARED:
            node = declared_node(event, row.recorded_at, erased=row.erased)
            known = found.get(node.id)
            if known is None:
                found[node.id] = DerivedNode(node, row, {})
            else:
                # Declared anew: another definition of the same node.
                known.row = replace(known.row, type=node.type, name=node.name, attributes=node.attributes)
        about = found.get(event.subject)
        if about is not None:
            about.last[row.ledger] = row.seq
            about.row = replace(about.row, version=row.seq)
    for node in found.values():
        kind = gone.nodes.get(node.row.id)
        if kind is not None:
            node.row = replace(tombstone(node.row), kind=kind)
    return found


@dataclass(slots=True)
class DerivedKey:
    """A key with its claims and stretches as they should be stored.

    Attributes:
        predicate: None when every row lost its words and no erasure kept it.
        exact: whether origins are all known: of what was erased nobody can tell who said it first.
        claims: a claim by its handle; retracted ones carry their stamp.
        rows: the row of each claim, and of its retraction.
    """

    id: bytes
    subject: str
    predicate: str | None
    state: KeyState
    exact: bool = True
    claims: dict[int, Claim] = field(default_factory=dict[int, Claim])
    rows: dict[int, Row] = field(default_factory=dict[int, Row])
    retractions: dict[int, Row] = field(default_factory=dict[int, Row])
    stretches: dict[tuple[int, Micros, Micros], Stretch] = field(
        default_factory=dict[tuple[int, Micros, Micros], Stretch]
    )


class _Rows:
    """The claims that count and the live rows of a key, ordered by start."""

    def __init__(self) -> None:
        self._starts: list[tuple[Micros, int]] = []
        self._claims: dict[int, Claim] = {}
        self._live: list[tuple[Micros, Micros, int]] = []
        self._stretches: dict[tuple[Micros, Micros, int], Stretch] = {}

    def covering(self, instant: Micros) -> Iterator[Claim]:
        """Return the claims whose period covers *instant*, the latest start first."""
        for place in range(bisect.bisect_right(self._starts, (instant, FOREVER)) - 1, -1, -1):
            claim = self._claims[self._starts[place][1]]
            if claim.valid_to > instant:
                yield claim

    def starting(self, window: Window, least: int) -> Iterator[Claim]:
        """Return the claims of class *least* or higher that start inside the window, earliest first."""
        for place in range(bisect.bisect_right(self._starts, (window[0], FOREVER)), len(self._starts)):
            start, fact = self._starts[place]
            if start >= window[1]:
                return
            claim = self._claims[fact]
            if claim_class(claim.tier, claim.known) >= least:
                yield claim

    def live(self, window: Window) -> Iterator[Stretch]:
        """Return the live rows from the one that starts at or before the window to its end."""
        place = bisect.bisect_right(self._live, (window[0], FOREVER, 0))
        for one in self._live[max(0, place - 1) :]:
            if one[0] >= window[1]:
                return
            yield self._stretches[one]

    def add(self, claim: Claim) -> None:
        """Let a claim count."""
        bisect.insort(self._starts, (claim.valid_from, claim.fact))
        self._claims[claim.fact] = claim

    def take(self, claim: Claim) -> None:
        """Let a claim count no more."""
        del self._starts[bisect.bisect_left(self._starts, (claim.valid_from, claim.fact))]
        del self._claims[claim.fact]

    def insert(self, row: Stretch) -> None:
        """Let a row be live, or be so with another end."""
        place = (row.valid_from, row.recorded_at, row.fact)
        if place not in self._stretches:
            bisect.insort(self._live, place)
        self._stretches[place] = row

    def retire(self, row: Stretch) -> None:
        """Let a row be live no more."""
        place = (row.valid_from, row.recorded_at, row.fact)
        del self._live[bisect.bisect_left(self._live, place)]
        del self._stretches[place]


def _claim_of(row: Row) -> Claim:
    event = row.event
    return Claim(
        row.handle, cast("int", event.valid_from), FOREVER if event.valid_to is None else event.valid_to, event.tier,
        int(event.known), event.trust, row.recorded_at, event.ordinal, event.kind is EventKind.ABSENT,
    )  # fmt: skip


def _apply(key: DerivedKey, rows: _Rows, repair: Repair, at: Micros) -> None:
    for old, end in repair.closes:
        row = old._replace(valid_to=end, closed_at=at)
        key.stretches[row.fact, row.valid_from, row.recorded_at] = row
        rows.insert(row)
    for row in repair.retires:
        stored = key.stretches[row.fact, row.valid_from, row.recorded_at]
        key.stretches[row.fact, row.valid_from, row.recorded_at] = stored._replace(retired_at=at)
        rows.retire(row)
    for row in repair.inserts:
        key.stretches[row.fact, row.valid_from, row.recorded_at] = row
        rows.insert(row)


def rows_by_key(rows: Iterable[Row]) -> dict[bytes, list[Row]]:
    """Sort assertions and retractions by the key that they are about."""
    found: dict[bytes, list[Row]] = {}
    for row in rows:
        if row.event.key is not None:
            found.setdefault(row.event.key, []).append(row)
    return found


def derive_key(
    rows: Sequence[Row], secret: bytes, gone: Buried, origin_of: Callable[[str], str | None]
) -> DerivedKey:  # fmt: skip
    """Settle a key again, unit by unit; *rows* are all of it, in the order in which they were written.

    Args:
        origin_of: the origin of a source by its node id, None when it cannot be told any more.
    """
    first = rows[0].event
    key_id = cast("bytes", first.key)
    said = next((one for row in rows if isinstance(one := row.event.payload.get("predicate"), str)), None)
    state = KeyState(0, b"", contested=False, top=0, stored=False)
    key = DerivedKey(key_id, first.subject, said or gone.predicates.get(key_id), state)
    known, by_id = _Rows(), dict[str, int]()
    # Of what was erased it is not known who said it; what is left must be told apart all the same.
    origins: list[bytes] = []
    for _, unit in groupby(rows, key=lambda row: row.unit):
        change, recorded_at = KeyChange(key.state), rows[0].recorded_at
        for row in unit:
            recorded_at = row.recorded_at
            if row.event.kind is EventKind.RETRACTED:
                handle = by_id.get(row.event.target or "")
                if handle is not None and handle not in key.retractions:
                    claim = key.claims[handle]
                    change.removed.append(claim)
                    key.claims[handle] = claim._replace(retracted_at=recorded_at)
                    key.retractions[handle] = row
                continue
            claim = _claim_of(row)
            change.added.append(claim)
            key.claims[claim.fact], key.rows[claim.fact], by_id[row.event.id] = claim, row, claim.fact
            source = row.event.payload.get("source")
            origin = origin_of(source) if isinstance(source, str) else None
            if origin:
                origins.append(origin_hash(secret, origin))
            else:
                key.exact = False
            key.state.top = max(key.state.top, claim_class(row.event.tier, int(row.event.known)))
        settle_key(known, change, recorded_at)
        for claim in change.removed:
            known.take(claim)
        for claim in change.added:
            known.add(claim)
        _apply(key, known, change.repair, recorded_at)
        key.state.stored = True
    if origins:
        key.state.origin, key.state.contested = origins[0], len(set(origins)) > 1
    return key


def derive_receipt(rows: Sequence[Row], space: str) -> Receipt:
    """Write the receipt of a unit again, as far as its rows say it."""
    last = rows[-1]
    declared = {
        row.event.id: declared_node(row.event, row.recorded_at, erased=row.erased)
        for row in rows if row.event.kind is EventKind.DECLARED
    }  # fmt: skip
    shown = [one for one in declared.values() if one.kind not in (NodeKind.PREDICATE, NodeKind.SOURCE)]
    return Receipt(
        id=last.unit, space=space, state="stored", ledger=last.ledger, seq=last.seq,
        recorded_at=from_micros(last.recorded_at),
        subject=next((row.event.subject for row in rows if row.event.kind is not EventKind.DECLARED), None),
        facts=tuple(row.event.id for row in rows if row.event.kind in (EventKind.ASSERTED, EventKind.ABSENT)),
        nodes={one.key: one.id for one in shown if one.key is not None},
        declared=tuple(one.key or one.id for one in shown),
        late=any("source_time" in row.event.payload for row in rows),
    )  # fmt: skip


def receipt_mended(stored: Receipt | None, derived: Receipt) -> Receipt | None:
    """Return what should be stored in place of *stored*, None when it says what the ledger does.

    Which nodes a unit named, and where its facts did not hold, is told by the receipt alone: that much stays.
    """
    if stored is None:
        return derived
    mended = replace(
        stored, id=derived.id, space=derived.space, state=derived.state, ledger=derived.ledger, seq=derived.seq,
        recorded_at=derived.recorded_at, subject=derived.subject, facts=derived.facts,
    )  # fmt: skip
    return None if mended == stored else mended
