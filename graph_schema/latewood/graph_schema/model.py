"""Things and facts as readers meet them: frozen, slotted, and free of any store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from latewood.graph_schema.values import Json, Value

__all__ = [
    "ERASED_NAME",
    "EXECUTED",
    "LEDGERS",
    "TRUSTS",
    "Alternative",
    "Cardinality",
    "Conflict",
    "Decision",
    "DecisionStatus",
    "Evidence",
    "Fact",
    "LedgerName",
    "Node",
    "NodeKind",
    "Predicate",
    "Source",
    "Trust",
]

ERASED_NAME: Final = "(erased)"
"""What a node is called whose name was erased."""
LedgerName: TypeAlias = Literal["knowledge", "execution"]
LEDGERS: Final[tuple[LedgerName, ...]] = ("knowledge", "execution")
"""In the order in which a unit over both locks them."""


class NodeKind(StrEnum):
    """What a node of the graph is."""

    ENTITY = "entity"
    DECISION = "decision"
    ACTOR = "actor"
    SESSION = "session"
    SOURCE = "source"
    PREDICATE = "predicate"
    PATTERN = "pattern"
    RUN = "run"
    STEP = "step"
    ATTEMPT = "attempt"
    CHANNEL = "channel"
    GROUP = "group"
    MESSAGE = "message"
    DELIVERY = "delivery"
    DEADLETTER = "deadletter"
    CASE = "case"
    BLOB = "blob"


EXECUTED: Final = frozenset(
    {
        NodeKind.RUN, NodeKind.STEP, NodeKind.ATTEMPT, NodeKind.CHANNEL, NodeKind.GROUP, NodeKind.MESSAGE,
        NodeKind.DELIVERY, NodeKind.BLOB,
    }
)  # fmt: skip
"""Of which the execution ledger alone says something."""


class Trust(StrEnum):
    """How far a source is believed, high to low. It never exceeds the credential's ceiling."""

    SYSTEM = "system"
    HUMAN = "human"
    AGENT = "agent"
    EXTRACTED = "extracted"
    UNTRUSTED = "untrusted"

    @property
    def level(self) -> int:
        """4 for system down to 0 for untrusted."""
        return TRUSTS[self]


TRUSTS: Final[Mapping[Trust, int]] = {trust: 4 - place for place, trust in enumerate(Trust)}


class Cardinality(StrEnum):
    """How many values of a predicate hold for one subject at one instant."""

    SINGLE = "single"
    MULTI = "multi"


class DecisionStatus(StrEnum):
    """Where a decision stands."""

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DEFERRED = "deferred"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"
    REVERSED = "reversed"
    DEPRECATED = "deprecated"


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph.

    Attributes:
        id: UUIDv7, the same in every store and on every surface.
        key: as first written, such as ``carrier:A``; None for what has none (most decisions, sources).
        type: the part of an entity's key before the colon; the sort of an actor (human, agent, model).
        attributes: what is fixed at declaration: of a predicate its definition, of a source its origin.
        version: the ledger's seq of the last event about it; pass it back as `expected_version`. 0 in a read with a
            `known_at`: the past is no base for a write.
        erased: its words were erased; what is left is a tombstone named `ERASED_NAME`, without a key or a type.
    """

    id: str
    kind: NodeKind
    type: str
    key: str | None
    name: str
    attributes: Mapping[str, Json]
    recorded_at: datetime
    version: int
    erased: bool = False


@dataclass(frozen=True, slots=True)
class Predicate:
    """The rules of a predicate: how many values hold at once, in which unit, and from which trust on it is tier 1."""

    name: str
    cardinality: Cardinality
    unit: str | None = None
    authority: Trust = Trust.AGENT
    relation: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where an assertion comes from.

    Attributes:
        origin: the path, URL or actor that speaks, the same across versions; empty once it was erased.
        method: asserted, extracted, derived or imported.
        quote: the words it rests on, if any.
        model: which model wrote it, if one did; *prompt_version* beside it.
        source_time: when the source says it was written, where that is not `recorded_at`.
        locator: where in the source: a commit, a line.
        on_behalf_of: the id of the actor that the actor acts for.
    """

    id: str
    origin: str
    method: str
    actor_id: str
    session_id: str | None = None
    quote: str | None = None
    model: str | None = None
    prompt_version: str | None = None
    source_time: datetime | None = None
    locator: str | None = None
    on_behalf_of: str | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Who disagrees with the fact that holds: the strongest challenger, and how many more there are."""

    challenger_id: str
    value: Value | None
    object_id: str | None
    others: int


@dataclass(frozen=True, slots=True)
class Fact:
    """What a source asserted of a subject: a value or an object, for a valid period.

    Attributes:
        absent: the assertion that from `valid_from` on nothing holds for this key.
        valid_from_known: False when only the recording is dated, not the thing.
        as_written: the source's own word for the value, if it differs (``Final`` for accepted).
        retired_at: when it was corrected or retracted, as far as known at the read's `known_at`.
        retired_reason: why, when it was.
        replaces: the fact that this one corrects.
        carried: the fact that this one says again, of another node: one was merged into the other, or split from it.
        ends: of an absence, the fact that it ended.
        source: None once it is erased.
        erased: its content was erased; what is left is a tombstone.
    """

    id: str
    subject_id: str
    predicate: str
    value: Value | None
    object_id: str | None
    valid_from: datetime
    valid_to: datetime | None
    valid_from_known: bool
    recorded_at: datetime
    trust: Trust
    source: Source | None
    absent: bool = False
    as_written: str | None = None
    retired_at: datetime | None = None
    retired_reason: str | None = None
    replaces: str | None = None
    carried: str | None = None
    ends: str | None = None
    erased: bool = False
    conflict: Conflict | None = None


@dataclass(frozen=True, slots=True)
class Alternative:
    """A choice not taken, and why."""

    title: str
    rejected_because: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a decision rested on, as it was known when it was taken, and whether it has moved since.

    Attributes:
        pinned_at: the recorded time whose knowledge is shown.
        fact: the fact itself when the evidence is one.
        node: the decision, message, run or source when it is one of those; for a fact its subject.
        moved: None, or corrected, retracted, ended, superseded.
    """

    id: str
    pinned_at: datetime
    fact: Fact | None
    node: Node | None
    moved: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A choice with its reasons, as of the two clocks it was read at.

    Attributes:
        source_status: the source's own word for the status (``Final``), or None.
        decided_at: when it was taken, in the world.
        record_id: the fact that holds its words; correct that one to mend them.
        status_id: the fact that holds its status.
        evidence: as it was known when each piece was recorded.
        extra: what an imported record had beside the named fields.
    """

    id: str
    key: str | None
    title: str
    status: DecisionStatus
    source_status: str | None
    question: str | None
    choice: str | None
    rationale: str | None
    consequences: str | None
    confidence: float | None
    expected_outcome: str | None
    alternatives: tuple[Alternative, ...]
    decided_at: datetime
    recorded_at: datetime
    version: int
    record_id: str
    status_id: str | None
    decided_by: tuple[Node, ...] = ()
    about: tuple[Node, ...] = ()
    session: Node | None = None
    supersedes: tuple[Node, ...] = ()
    superseded_by: tuple[Node, ...] = ()
    triggered_by: tuple[Evidence, ...] = ()
    led_to: tuple[Evidence, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    outcomes: tuple[str, ...] = ()
    source: Source | None = None
    extra: Mapping[str, Json] = field(default_factory=dict[str, Json])
