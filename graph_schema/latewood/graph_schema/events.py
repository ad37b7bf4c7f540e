"""Events: the only things ever stored. Everything that can be read is derived from them.

A node is *Declared*, a predicate again when its rules change and an entity when it is merged or split; an assertion is
*Asserted* (a value or an object) or *Absent* (nothing holds from then on); a fact is *Retracted*; content is *Erased*.
The header is hashed into the ledger and holds no words of a user; the payload is what can be erased.

An erasure takes the payload and the salt of earlier rows of its ledger. Its own payload says why (``reason``), by which
``source``, which rows (``seqs``), and the two things about them that views cannot do without: which nodes became
tombstones, with their kind (``nodes``), and under which predicate the keys of erased facts go (``keys``, in hex).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.model import LedgerName
from latewood.graph_schema.values import Json

__all__ = ["Event", "EventKind", "LedgerEntry", "NotHolding", "Receipt"]


class EventKind(StrEnum):
    """What happened."""

    DECLARED = "declared"
    ASSERTED = "asserted"
    ABSENT = "absent"
    RETRACTED = "retracted"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Event:
    """One event before it has its place in a ledger.

    Attributes:
        id: of the fact, of the declared node, or of the event itself.
        subject: the node that it is about.
        key: the 16-byte id of the key it competes for: an HMAC with the space's secret.
        target: the fact that a retraction takes back or an absence ends; the fact or node that was erased.
        known: whether `valid_from` is known.
        payload: JSON; words of users live only here.
    """

    kind: EventKind
    id: str
    subject: str
    ordinal: int
    payload: Mapping[str, Json]
    key: bytes | None = None
    target: str | None = None
    tier: int = 0
    trust: int = 0
    known: bool = True
    valid_from: Micros | None = None
    valid_to: Micros | None = None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One row of a ledger, as export and the change feed show it."""

    ledger: LedgerName
    seq: int
    unit: str
    event: Event
    recorded_at: Micros
    written_at: Micros
    op: bytes | None
    body: bytes | None
    salt: bytes | None
    digest: bytes
    hash: bytes
    erased: bool = False


@dataclass(frozen=True, slots=True)
class NotHolding:
    """A stretch of its asserted period in which a new fact does not hold, and the fact that holds at its start."""

    fact_id: str
    valid_from: datetime
    valid_to: datetime | None
    held_by: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an acknowledged write became; ask for it again with `receipt(id)`.

    Attributes:
        state: stored (a refused write has a receipt too: failed, with *code* and *message*).
        subject: the node that the unit's first event about a fact is about: of `decide` the decision.
        facts: ids of the assertions made, in order.
        nodes: key to id of every node the unit named.
        declared: keys of the nodes that it was the first to name.
        registered: predicates that registered themselves.
        replayed: the same idempotency key was seen before; nothing new was written.
        late: a history's unit that came after the space went live, stamped now.
        erased: of an erasure, how many rows lost their words, by the place where they stood (``ledger``, ``nodes``,
            ``receipts``, ``refusals``, ``text`` and whatever else the store keeps).
    """

    id: str
    space: str
    state: str
    ledger: LedgerName
    seq: int
    recorded_at: datetime | None
    subject: str | None = None
    facts: tuple[str, ...] = ()
    nodes: Mapping[str, str] = field(default_factory=dict[str, str])
    declared: tuple[str, ...] = ()
    registered: tuple[str, ...] = ()
    not_holding: tuple[NotHolding, ...] = ()
    replayed: bool = False
    late: bool = False
    erased: Mapping[str, int] = field(default_factory=dict[str, int])
    code: str | None = None
    message: str | None = None
