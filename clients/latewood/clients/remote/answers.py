"""What the verbs answer with, where it is no word of the graph's own: the same fields as in `latewood.memory`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, NewType, TypeVar

from latewood.graph_schema.events import EventKind, Receipt
from latewood.graph_schema.ledger import Verdict
from latewood.graph_schema.model import Decision, DecisionStatus, Evidence, Fact, LedgerName, Node, Source
from latewood.graph_schema.values import Json

__all__ = [
    "Absorbed",
    "Axis",
    "Brief",
    "BriefLine",
    "Clue",
    "Difference",
    "Disputed",
    "Duplicate",
    "Duplicates",
    "Entity",
    "Entry",
    "ErasedRow",
    "ErasureReport",
    "Event",
    "Heads",
    "Hit",
    "IngestReport",
    "LedgerErasure",
    "Line",
    "MadeSpace",
    "Merge",
    "MissingDecision",
    "Moved",
    "Page",
    "Precedent",
    "Proposal",
    "Recall",
    "Recalled",
    "ReindexReport",
    "Reject",
    "Scrub",
    "Space",
    "Split",
    "Stale",
    "Why",
    "Word",
    "Written",
]

T = TypeVar("T")

Word = NewType("Word", str)
"""One of a few words in lower case, such as ``changed``: over GraphQL a member of an enumeration."""


class Axis(StrEnum):
    """Which clock a difference is about: what was learned, or what became true."""

    KNOWN = "known"
    VALID = "valid"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A bounded part of a list; `next` continues it and is None at its end."""

    items: tuple[T, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What a verb wrote: the *id* of the new decision or fact, and the receipt."""

    id: str
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Entity:
    """A node and the facts that hold of it."""

    node: Node
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One step of the chain behind a decision, in words; *ref* is the id of what it is about."""

    role: str
    text: str
    ref: str | None
    source: Source | None


@dataclass(frozen=True, slots=True)
class Why:
    """A decision and the chain behind it; *truncated* when the chain is longer than is followed."""

    decision: Decision
    predecessors: tuple[Decision, ...]
    successors: tuple[Decision, ...]
    in_force: tuple[Decision, ...]
    lines: tuple[Line, ...]
    truncated: bool


@dataclass(frozen=True, slots=True)
class BriefLine:
    """One line of a brief; *ref* is the id of the decision or fact that it is about."""

    section: Word
    text: str
    ref: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Brief:
    """What to know before going on, and what there was no room for."""

    about: str | None
    since: datetime
    lines: tuple[BriefLine, ...]
    left_out: Mapping[str, int]
    tokens: int
    text: str
    bounded: bool


@dataclass(frozen=True, slots=True)
class Clue:
    """What one signal says of one memory: its *share* of the score, and the fact *via* which it was found."""

    signal: Word
    share: float
    rank: int | None
    score: float | None
    via: str | None


@dataclass(frozen=True, slots=True)
class Recalled:
    """A memory that was found, with why; *cut* when the fact has more words than are repeated."""

    fact: Fact
    subject: Node
    actor: Node | None
    text: str
    cut: bool
    score: float
    clues: tuple[Clue, ...]


@dataclass(frozen=True, slots=True)
class Recall:
    """What is remembered of a question, the best first; *hidden* matched and does not hold any more."""

    query: str
    hits: tuple[Recalled, ...]
    text: str
    tokens: int
    ranked: int
    hidden: int
    left_out: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Precedent:
    """An earlier decision that resembles what is to be decided, and what followed it."""

    decision: Decision
    outcomes: tuple[str, ...]
    score: float
    clues: tuple[Clue, ...]


@dataclass(frozen=True, slots=True)
class Moved:
    """A piece of evidence that is not what it was: *how*, what holds *now*, and the reason."""

    evidence: Evidence
    how: str
    now: Fact | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Stale:
    """A decision that stands, and what moved under it."""

    decision: Decision
    moved: tuple[Moved, ...]


@dataclass(frozen=True, slots=True)
class Disputed:
    """An entity, and its facts that hold while another source says otherwise."""

    entity: Node
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Absorbed:
    """What was merged into a node."""

    absorbed: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Merge:
    """What a merge did: *moved* counts the facts, *left* are those that stay, *before* that it was done already."""

    absorbed: Node
    into: Node
    fact_id: str | None
    moved: int
    meets: tuple[str, ...]
    left: tuple[str, ...]
    dry_run: bool
    before: bool
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """What a split did: *stays* are facts that were written while the two were one."""

    node: Node
    into: Node
    moved: int
    stays: tuple[str, ...]
    stays_count: int
    dry_run: bool
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two entities that may be one, by which signal, and how alike."""

    absorbed: Node
    into: Node
    signal: str
    score: float


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The surest pairs, how many there are, and among how many entities was looked."""

    items: tuple[Duplicate, ...]
    total: int
    looked_at: int
    bounded: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """One change: appeared, changed, corrected, ended, retracted or arrived late."""

    kind: Word
    subject: Node
    predicate: str
    before: Fact | None
    after: Fact | None
    valid_from: datetime
    recorded_at: datetime
    seq: int
    reason: str | None
    target: Node | None


@dataclass(frozen=True, slots=True)
class Hit:
    """A node found by its words: by those of *fact*, or by its own name and key."""

    node: Node
    fact: Fact | None
    score: float


@dataclass(frozen=True, slots=True)
class Heads:
    """The last row of each of a space's ledgers."""

    knowledge: int
    execution: int


@dataclass(frozen=True, slots=True)
class Space:
    """A named part of a tenant's data."""

    id: str
    name: str
    state: str
    filling: str | None
    strict: bool
    nodes: int
    seq: Heads


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a model proposes, and what became of it."""

    id: str
    key: str
    kind: str
    status: DecisionStatus
    document: Mapping[str, Json]
    quote: str | None
    turn: str | None
    confidence: float | None
    model: str | None
    prompt_version: str | None
    origin: str | None
    said_at: datetime
    proposed_at: datetime
    version: int
    accepted_as: str | None


@dataclass(frozen=True, slots=True)
class ErasedRow:
    """A row of the ledger whose payload is gone, under its digest."""

    seq: int
    kind: EventKind
    digest: str


@dataclass(frozen=True, slots=True)
class Scrub:
    """Whether erased words are gone from the files under the store too: done, pending or beyond."""

    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class LedgerErasure:
    """What an erasure took out of the other ledger."""

    receipt: Receipt
    rows: tuple[ErasedRow, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """The proof of an erasure."""

    target: str
    kind: str
    reason: str
    receipt: Receipt
    rows: tuple[ErasedRow, ...]
    places: Mapping[str, int]
    scrub: Scrub
    verdict: Verdict
    also: LedgerErasure | None


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, as a row of a ledger has it."""

    kind: EventKind
    id: str
    subject: str
    ordinal: int
    payload: Mapping[str, Json]
    target: str | None
    tier: int
    trust: int
    known: bool
    valid_from: datetime | None
    valid_to: datetime | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a ledger; pass its *seq* on to go on behind it."""

    ledger: LedgerName
    seq: int
    unit: str
    event: Event
    recorded_at: datetime
    written_at: datetime
    digest: str
    hash: str
    erased: bool


@dataclass(frozen=True, slots=True)
class MadeSpace:
    """A space that was made."""

    space: Space


@dataclass(frozen=True, slots=True)
class MissingDecision:
    """A turn that sounds like a decision that nobody recorded."""

    session: Node
    turn: Fact
    speaker: str | None
    said_at: datetime
    cue: str
    sentence: str


@dataclass(frozen=True, slots=True)
class ReindexReport:
    """What a reindex came to: *made* vectors were missing, *left_out* texts are refused by the model."""

    space: str
    generation: str
    model: str
    dimensions: int
    made: int
    left_out: int
    switched: bool
    dropped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reject:
    """What was not taken, and why."""

    path: str
    line: int
    kind: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What was read, kept and left of what was sent: *what* and *rejected* sum up to *lines*."""

    path: str
    space: str
    source: str
    dry_run: bool
    files: int
    lines: int
    items: int
    written: int
    replayed: int
    late: int
    rejected: int
    refused: int
    open_calls: int
    what: Mapping[str, int]
    left_out: Mapping[str, int]
    rejects: tuple[Reject, ...]
    clock_disagreements: Sequence[Json]
    dangling: Sequence[Json]
    cyclic: Sequence[Json]
    unknown: Sequence[Json]
    gone: Sequence[Json]
    problems: Sequence[Json]
    receipt: str | None
    refusal: str | None
