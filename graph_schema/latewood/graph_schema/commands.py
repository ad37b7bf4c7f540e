"""What a caller wants written: commands, gathered into units that are kept whole or not at all.

A unit is planned against what the space holds (see `latewood.storage.planning`) and becomes events. Everything here is
plain data, so ingestion can yield it, a journal can queue it and a test can replay it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.model import LedgerName, NodeKind, Trust
from latewood.graph_schema.values import Json, Value

__all__ = [
    "COMMANDS_MAX",
    "Absorb",
    "ActorSpec",
    "Assert",
    "Carry",
    "Command",
    "Declare",
    "End",
    "Erase",
    "Expect",
    "Guard",
    "History",
    "Hold",
    "Ref",
    "Release",
    "Retract",
    "Room",
    "SourceSpec",
    "Unit",
]

COMMANDS_MAX: Final = 1_000
"""Most commands in one unit."""


@dataclass(frozen=True, slots=True)
class Ref:
    """Which node is meant: by *id*, or by *key*, declared on first use with *kind*, *type* and *name* if *create*."""

    id: str | None = None
    key: str | None = None
    kind: NodeKind = NodeKind.ENTITY
    type: str | None = None
    name: str | None = None
    create: bool = True


@dataclass(frozen=True, slots=True)
class Declare:
    """A new node enters the space under the caller's *id*."""

    id: str
    kind: NodeKind
    type: str
    key: str | None
    name: str
    attributes: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class Assert:
    """A source says that *predicate* of *subject* is *value* or points to *object*, for a valid period.

    Attributes:
        relation: registers an unknown predicate as multi-valued.
        valid_from: None means the instant of recording.
        known: whether `valid_from` is known; False for undated imports.
        replaces: the fact that this corrects.
        locator: where in the source: a commit, a line.
    """

    id: str
    subject: Ref
    predicate: str
    value: Value | None = None
    object: Ref | None = None
    relation: bool = False
    valid_from: Micros | None = None
    valid_to: Micros | None = None
    known: bool = True
    as_written: str | None = None
    quote: str | None = None
    locator: str | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """The fact *target* stopped being true at *at* (None: the instant of recording) and nothing follows it."""

    id: str
    target: str
    at: Micros | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Retract:
    """The fact *target* was never true."""

    id: str
    target: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Erase:
    """The words of *target*, a fact or a node, are to be gone for good; what they closed stays closed.

    Of a fact: what it says, and the reasons given when it was ended or retracted. Of a node: its name, key and
    attributes, and every payload about it; of the nodes that it absorbed the same, for they are what else it is called.
    What was said again of another node, after a merge or a split, goes wherever it stands. Sources that said nothing
    else go with it. It is the only command of its
    unit and takes the rows of the unit's ledger; the trust must be human or higher.

    Attributes:
        target: the id of a fact or a node.
        reason: kept for good, so it must not repeat what is erased.
    """

    id: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Absorb:
    """*node* is *into*, under another name: from here on what is written of the one is written of the other.

    Nothing that was said of *node* before moves by this alone; see `Carry`.

    Attributes:
        id: of the fact that says so.
    """

    id: str
    node: Ref
    into: Ref
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """The node of the id *node* is one of its own after all: the fact *target*, which merged it, is undone."""

    id: str
    node: str
    target: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Carry:
    """What the fact *target* says is said of *subject* (and *object*) from here on, by the same source, as strongly.

    It becomes a new fact, and the old one is taken back.

    Attributes:
        subject: the id of the node that it is about now.
        object: the id that it points to now; of an absence, what the fact that it ended points to.
        ends: of an absence, the fact that it ended: without it nobody could tell which value ended.
    """

    id: str
    target: str
    subject: str
    object: str | None = None
    ends: str | None = None


Command: TypeAlias = Declare | Assert | End | Retract | Erase | Absorb | Release | Carry


@dataclass(frozen=True, slots=True)
class Expect:
    """The unit counts only if *node* has not changed since ledger seq *version* (0: does not exist)."""

    node: Ref
    version: int


@dataclass(frozen=True, slots=True)
class Guard:
    """The unit counts only while *owner* has the lease *name* under *fence*, judged where it is committed."""

    name: str
    owner: str
    fence: int


@dataclass(frozen=True, slots=True)
class Hold:
    """The unit counts only while *owner* has *message* of the group *group* under *fence*, judged like a guard.

    Attributes:
        group: the id of the group's node; *message* that of the message's.
    """

    group: str
    message: str
    owner: str
    fence: int


@dataclass(frozen=True, slots=True)
class Room:
    """The unit counts only if the consumer group *group* has fewer than *pending_max* messages pending, and if those
    have fewer than *bytes_max* bytes in all, judged like a guard.
    """

    group: str
    pending_max: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class ActorSpec:
    """Who writes: *key* such as ``human:ada`` or ``agent:planner``, perhaps on behalf of another actor."""

    key: str
    on_behalf_of: str | None = None


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Where the unit's assertions come from. *origin* None means the actor itself."""

    origin: str | None = None
    method: str = "asserted"
    model: str | None = None
    prompt_version: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """Marks a unit of an imported history: whose (*origin*) and when it was recorded there (*time*)."""

    origin: str
    time: Micros


@dataclass(frozen=True, slots=True)
class Unit:
    """What is written together, once.

    Attributes:
        id: of the receipt.
        op: the idempotency key, hashed before it is stored.
        body: sha256 of what the caller asked for; the same op with another body is refused.
        trust: of every assertion in it, already cut to the credential's ceiling.
        vectors: id of an assertion to the vector of its text, little-endian float32 of length 1. No part of what was
            asked for: kept in the unit's transaction when *generation* is the space's current one, else left out.
    """

    id: str
    space: str
    actor: ActorSpec
    trust: Trust
    body: bytes
    commands: tuple[Command, ...]
    ledger: LedgerName = "knowledge"
    op: str | None = None
    session: str | None = None
    source: SourceSpec = SourceSpec()
    expects: tuple[Expect, ...] = ()
    history: History | None = None
    guard: Guard | None = None
    holds: tuple[Hold, ...] = ()
    rooms: tuple[Room, ...] = ()
    vectors: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    generation: str | None = None
