"""What verbs answer with: chains of reasons, differences, hits, receipts, spaces and what a write became."""

from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry.scalars import JSON

from latewood.graph_schema import events, model
from latewood.graph_schema.clock import from_micros
from latewood.graph_schema.events import EventKind
from latewood.graph_schema.model import DecisionStatus
from latewood.memory import Written
from latewood.reasoning.brief import BriefSection
from latewood.reasoning.changes import DifferenceKind
from latewood.reasoning.fusion import Signal
from latewood.server.graphql.context import Info
from latewood.server.graphql.scalars import BigInt, Ledger
from latewood.server.graphql.types import Decision, Entity, Evidence, Fact, Source, field
from latewood.storage import port

__all__ = [
    "Brief",
    "DecisionPayload",
    "Difference",
    "Disputed",
    "ErasurePayload",
    "FactPayload",
    "Hit",
    "LedgerEntry",
    "Precedent",
    "Proposal",
    "ProposalPayload",
    "Recall",
    "Receipt",
    "Space",
    "SpacePayload",
    "Stale",
    "SupersedePayload",
    "Verdict",
    "Why",
]


@strawberry.type(description="One step of a chain of reasons, in words.")
class Line:
    """One step of a chain of reasons."""

    role: str = field(
        "trigger, evidence, question, choice, rationale, alternative, consequences, who, session, status, outcome, "
        "followed or replaced."
    )
    text: str = field("The step in words.")
    ref: strawberry.ID | None = field("The node or fact it is about.")
    source: Source | None = field("Where it comes from.")


@strawberry.type(description="A decision and its chain: what led to it, what it took the place of, what followed.")
class Why:
    """A decision and its chain."""

    decision: Decision = field("The decision.")
    predecessors: list[Decision] = field("What it took the place of, nearest first, transitively.")
    successors: list[Decision] = field("What took its place, nearest first, transitively.")
    in_force: list[Decision] = field("Those of the decision and its successors that stand.")
    lines: list[Line] = field("The chain in words, each line with its source.")
    truncated: bool = field("The chain was longer than is followed.")


@strawberry.type(description="A piece of evidence that is not what it was when the decision was taken.")
class Moved:
    """A piece of evidence that moved."""

    evidence: Evidence = field("As it was known then.")
    how: str = field("corrected, retracted, ended or superseded; of a decision the status that it has now.")
    now: Fact | None = field("What holds in its place.")
    reason: str | None = field("As given with the correction or the retraction.")


@strawberry.type(description="A decision that stands while what it rested on moved.")
class Stale:
    """A decision that stands on evidence which moved."""

    decision: Decision = field("The decision.")
    moved: list[Moved] = field("What moved under it.")


@strawberry.type(description="A thing of which sources disagree.")
class Disputed:
    """A thing of which sources disagree."""

    entity: Entity = field("The thing.")
    facts: list[Fact] = field("What holds of it while another source says otherwise: see their conflict.")


@strawberry.type(description="One line of a brief.")
class BriefLine:
    """One line of a brief."""

    section: BriefSection = field("The part it belongs to.")
    text: str = field("The line.")
    ref: strawberry.ID = field("The decision, dead letter, message, fact or pattern that it is about.")
    at: datetime = field("When it was decided, or became known.")


@strawberry.type(description="What to know before going on, within a budget of tokens.")
class Brief:
    """What to know before going on."""

    about: str | None = field("What it is about; null is the whole space.")
    since: datetime = field("What is no longer in force is told from here on.")
    lines: list[BriefLine] = field("Its lines, by section.")
    left_out: JSON = field("How many lines of each section did not fit.")
    tokens: int = field("What the text costs, estimated from above.")
    text: str = field("The brief as Markdown.")
    bounded: bool = field("There was more than a brief looks at, so the counts are too low.")


@strawberry.type(description="What one signal says of a memory.")
class Clue:
    """What one signal says of a memory."""

    signal: Signal = field("Which signal.")
    share: float = field("What it brought to the score.")
    rank: int | None = field("The place in the list of words or of vectors, from 1.")
    score: float | None = field("The list's own score: of words, the cosine of vectors.")
    via: strawberry.ID | None = field("The memory through which it was found.")


@strawberry.type(description="A memory that was found, and why.")
class Recalled:
    """A memory that was found, and why."""

    fact: Fact = field("What was remembered, with its period, trust and source.")
    subject: Entity = field("What it is of: a session, an entity, a decision.")
    actor: Entity | None = field("Who said it.")
    text: str = field("Its words.")
    cut: bool = field("Its words are more than is repeated here; the fact has the rest.")
    score: float = field("What its clues bring together; comparable within one answer.")
    clues: list[Clue] = field("Why it was found, the strongest first.")


@strawberry.type(description="What is remembered of a question.")
class Recall:
    """What is remembered of a question."""

    query: str = field("The question.")
    hits: list[Recalled] = field("The memories, the best first.")
    text: str = field("The memories as lines for a model.")
    tokens: int = field("What the text costs, estimated from above.")
    ranked: int = field("How many memories were weighed.")
    hidden: int = field("How many matched that do not hold: superseded, ended or not yet begun.")
    left_out: int = field("How many within the limit found no room in the budget.")
    notes: list[str] = field("What was not looked at, and why.")


@strawberry.type(description="An earlier decision that resembles what is to be decided.")
class Precedent:
    """An earlier decision that resembles what is to be decided."""

    decision: Decision = field("The decision, with its status now.")
    outcomes: list[str] = field("What was observed to follow it.")
    score: float = field("How much it resembles; comparable within one answer.")
    clues: list[Clue] = field("Why its best memory was found, the strongest first.")


@strawberry.type(description="What a model read out of a session, until somebody accepts or rejects it.")
class Proposal:
    """What a model proposes."""

    id: strawberry.ID = field("Its id.")
    key: str = field("Its key.")
    kind: str = field("decision, fact or relation; merge, of two entities that look alike.")
    status: DecisionStatus = field("proposed, accepted or rejected.")
    document: JSON = field("The arguments of the verb that accepting it amounts to.")
    quote: str | None = field("The words that it rests on.")
    turn: strawberry.ID | None = field("The fact that has these words.")
    confidence: float | None = field("How sure the model said it was, 0 to 1.")
    model: str | None = field("Which model.")
    prompt_version: str | None = field("Asked with which prompt.")
    origin: str | None = field("Where the words come from.")
    said_at: datetime = field("When they were said.")
    proposed_at: datetime = field("When it was recorded.")
    version: BigInt = field("The ledger's row of the last event about it.")
    accepted_as: strawberry.ID | None = field("The decision or fact that it became.")


@strawberry.type(description="One change between two instants.")
class Difference:
    """One change between two instants."""

    kind: DifferenceKind = field("What happened.")
    subject: Entity = field("To what.")
    predicate: str = field("In which respect.")
    before: Fact | None = field("What held before.")
    after: Fact | None = field("What was asserted; null for an end, and for a retraction that left nothing.")
    valid_from: datetime = field("From when it is true.")
    recorded_at: datetime = field("When it was learned.")
    seq: BigInt = field("The ledger's row.")
    reason: str | None = field("As given with a correction, a retraction or an end.")
    target: Entity | None = field("Of a relation, what it points to.")


@strawberry.type(description="A node found by its words.")
class Hit:
    """A node found by its words."""

    node: Entity = field("The node.")
    fact: Fact | None = field("The fact whose words matched; null when the node's own name or key did.")
    score: float = field("Higher is better; comparable within one answer only.")


@strawberry.type(description="A stretch of its asserted period in which a new fact does not hold.")
class NotHolding:
    """A stretch in which a new fact does not hold."""

    fact_id: strawberry.ID = field("The new fact.")
    valid_from: datetime = field("The stretch's start.")
    valid_to: datetime | None = field("Its end; null is open.")
    held_by: strawberry.ID = field("The fact that holds at its start.")


@strawberry.type(description="What an acknowledged write became.")
class Receipt:
    """What an acknowledged write became."""

    id: strawberry.ID = field("Ask for it again with receipt(id:).")
    space: str = field("Where it was written.")
    state: str = field("stored, or failed (then code and message say why).")
    ledger: Ledger = field("In which ledger.")
    seq: BigInt = field("Its last row there.")
    recorded_at: datetime | None = field("The recorded time of everything in it; null when it failed.")
    subject: strawberry.ID | None = field("The node that its first fact is about: of `decide` the decision.")
    facts: list[strawberry.ID] = field("The assertions made, in order.")
    nodes: JSON = field("Key to id of every node that was named.")
    declared: list[str] = field("Keys that it was the first to name.")
    registered: list[str] = field("Predicates that registered themselves.")
    not_holding: list[NotHolding] = field("Where a new fact does not hold, and what does.")
    replayed: bool = field("The idempotency key was seen before; nothing new was written.")
    late: bool = field("Of a history that came after the space went live; stamped now.")
    erased: JSON = field("Of an erasure, how many rows lost their words, by the place where they stood.")
    code: str | None = field("Of a failed write, the error's code.")
    message: str | None = field("Of a failed write, the error's message.")


@strawberry.type(description="What settling a proposal wrote.")
class ProposalPayload:
    """What settling a proposal wrote."""

    id: strawberry.ID = field("The decision or fact that was written; of a rejection the proposal's new status.")
    receipt: Receipt = field("What became of the write.")


async def _written_fact(root: strawberry.Parent[Written], info: Info) -> model.Fact | None:
    return await info.context.view(info).facts.load(root.id)


async def _written_decision(root: strawberry.Parent[Written], info: Info) -> model.Decision | None:
    return await info.context.view(info).decisions.load(root.id)


async def _old(root: strawberry.Parent[Written], info: Info) -> model.Decision | None:
    edge = await _written_fact(root, info)
    if edge is None or edge.object_id is None:
        return None
    return await info.context.view(info).decisions.load(edge.object_id)


async def _new(root: strawberry.Parent[Written], info: Info) -> model.Decision | None:
    edge = await _written_fact(root, info)
    return None if edge is None else await info.context.view(info).decisions.load(edge.subject_id)


@strawberry.type(description="What `decide` wrote.")
class DecisionPayload:
    """What `decide` wrote."""

    id: strawberry.ID = field("The decision's id.")
    receipt: Receipt = field("What became of the write.")
    decision: Decision | None = field("The decision, as it reads now.", _written_decision)


@strawberry.type(description="What a verb about one fact wrote.")
class FactPayload:
    """What a verb about one fact wrote."""

    id: strawberry.ID = field("The new fact's id; of `retract` the retracted one's.")
    receipt: Receipt = field("What became of the write.")
    fact: Fact | None = field("That fact, as it reads now.", _written_fact)


@strawberry.type(description="What `supersede` wrote.")
class SupersedePayload:
    """What `supersede` wrote."""

    id: strawberry.ID = field("The id of the edge from the new decision to the old.")
    receipt: Receipt = field("What became of the write.")
    fact: Fact | None = field("The edge.", _written_fact)
    old: Decision | None = field("The decision that was superseded, as it reads now.", _old)
    new: Decision | None = field("The decision that took its place.", _new)


def _seqs(root: strawberry.Parent[port.Space]) -> LedgerHeads:
    return LedgerHeads(knowledge=BigInt(root.seq.get("knowledge", 0)), execution=BigInt(root.seq.get("execution", 0)))


@strawberry.type(description="The last row of each of a space's ledgers.")
class LedgerHeads:
    """The last row of each of a space's ledgers."""

    knowledge: BigInt = strawberry.field(description="Facts and decisions.")
    execution: BigInt = strawberry.field(description="Runs, steps and messages.")


@strawberry.type(description="A named part of the data.")
class Space:
    """A named part of the data."""

    id: strawberry.ID = field("A UUID.")
    name: str = field("What `space:` takes.")
    state: str = field("empty, filling or live.")
    filling: str | None = field("Whose history runs in, while it does.")
    strict: bool = field("It takes only predicates of packs.")
    nodes: BigInt = field("How many nodes it has.")
    seq: LedgerHeads = field("The heads of its ledgers.", _seqs)


@strawberry.type(description="What `createSpace` made.")
class SpacePayload:
    """What `createSpace` made."""

    space: Space = strawberry.field(description="The new space.")


@strawberry.type(description="What a check of a ledger found.")
class Verdict:
    """What a check of a ledger found."""

    ledger: Ledger = field("Which one.")
    rows: BigInt = field("How many rows were checked.")
    erased: BigInt = field("How many of them are tombstones.")
    bad_seq: BigInt | None = field("The first row that does not fit; null when all do.")
    reason: str | None = field("What is wrong with it.")
    head: str = field("The hash of the last good row, in hex.")
    ok: bool = field("Whether every row fits.")


@strawberry.type(description="A row of the ledger whose payload is gone.")
class ErasedRow:
    """A row of the ledger whose payload is gone."""

    seq: BigInt = field("Its place.")
    kind: EventKind = field("What it had said.")
    digest: str = field("The sha256 of its salt and payload, in hex, as the chain has it; both are gone.")


@strawberry.type(description="Whether erased words are gone from the files under the store too.")
class Scrub:
    """Whether erased words are gone from the files."""

    state: str = field("done; pending, while another process keeps them; beyond, in a database server's files.")
    detail: str = field("What keeps them, and until when.")


@strawberry.type(description="What an erasure took out of the other ledger.")
class LedgerErasure:
    """What an erasure took out of the other ledger."""

    receipt: Receipt = field("Of the unit that took it.")
    rows: list[ErasedRow] = field("The first rows that lost their payload, at most 1,000.")
    verdict: Verdict = field("The check of the whole ledger afterwards.")


@strawberry.type(description="The proof of an erasure: what went from where, and that the chain verifies.")
class ErasurePayload:
    """The proof of an erasure."""

    target: strawberry.ID = field("The fact or node whose words are gone.")
    kind: str = field("fact, or the kind of the node.")
    reason: str = field("Why, as the ledger keeps it.")
    receipt: Receipt = field("Durable, and seen by every reader.")
    rows: list[ErasedRow] = field("The first rows that lost their payload in the ledger of the receipt, at most 1,000.")
    places: JSON = field("How many rows lost their words, by the place where they stood, in both ledgers.")
    scrub: Scrub = field("Whether the files are clean.")
    verdict: Verdict = field("The check of the whole ledger afterwards.")
    also: LedgerErasure | None = field("The same of the execution ledger, when words went from both.")


def _valid_from(root: strawberry.Parent[events.Event]) -> datetime | None:
    return None if root.valid_from is None else from_micros(root.valid_from)


def _valid_to(root: strawberry.Parent[events.Event]) -> datetime | None:
    return None if root.valid_to is None else from_micros(root.valid_to)


@strawberry.type(description="One event, as the ledger keeps it.")
class Event:
    """One event, as the ledger keeps it."""

    kind: EventKind = field("What happened.")
    id: strawberry.ID = field("The id of the fact, of the declared node, or of the event itself.")
    subject: strawberry.ID = field("The node it is about.")
    ordinal: int = field("Its place in its unit.")
    payload: JSON = field("What it says; empty once it is erased.")
    target: strawberry.ID | None = field("The fact that a retraction takes back, or that an absence ends.")
    tier: int = field("1 at or above the predicate's authority, else 0.")
    trust: int = field("4 for system down to 0 for untrusted.")
    known: bool = field("Whether validFrom is known.")
    valid_from: datetime | None = field("From when it is true, as asserted.", _valid_from)
    valid_to: datetime | None = field("Until when; null is open.", _valid_to)


def _entry_recorded_at(root: strawberry.Parent[events.LedgerEntry]) -> datetime:
    return from_micros(root.recorded_at)


def _entry_written_at(root: strawberry.Parent[events.LedgerEntry]) -> datetime:
    return from_micros(root.written_at)


def _digest(root: strawberry.Parent[events.LedgerEntry]) -> str:
    return root.digest.hex()


def _hash(root: strawberry.Parent[events.LedgerEntry]) -> str:
    return root.hash.hex()


def _missed(root: events.LedgerEntry, info: Info) -> bool:
    return root.seq <= info.context.head


@strawberry.type(description="One row of a ledger.")
class LedgerEntry:
    """One row of a ledger."""

    ledger: Ledger = field("Which one.")
    seq: BigInt = field("Its place there: pass it as `after` to go on behind it.")
    unit: strawberry.ID = field("The receipt of the write it belongs to.")
    event: Event = field("What happened.")
    recorded_at: datetime = field("When it was learned.", _entry_recorded_at)
    written_at: datetime = field("When it was written here, by the wall clock.", _entry_written_at)
    digest: str = field("The salted sha256 of its payload, in hex.", _digest)
    hash: str = field("The hash that chains it to the row before, in hex.", _hash)
    erased: bool = field("Its payload was erased.")
    missed: bool = field("It was there when the subscription began: it came while you were away.", _missed)
