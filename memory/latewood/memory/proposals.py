"""Proposals: what a model read out of a transcript, until a person or a rule accepts or rejects it.

A proposal is a node of the type `proposal` with what it proposes, the quote, and a status; nothing that it says holds
of anything else. Accepting it writes that, grounded to the same quote, and settles the proposal in the same unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from latewood.graph_schema.clock import NOW, AsOf, to_micros
from latewood.graph_schema.commands import Assert, Command, Expect, Ref, SourceSpec
from latewood.graph_schema.decisions import (
    BASED_ON,
    STATUS,
    DecisionDraft,
    DecisionText,
    decision_commands,
    edge,
    status_assert,
)
from latewood.graph_schema.errors import ConflictError, InvalidError, NotFoundError
from latewood.graph_schema.model import Alternative, DecisionStatus, Fact, Node, NodeKind, Trust
from latewood.graph_schema.values import Json, Scalar, Value
from latewood.ingestion.extraction.answers import Draft
from latewood.memory.api import Memory
from latewood.memory.duplicates import accept_merge
from latewood.memory.reader import Identified, Written
from latewood.storage.port import NodeQuery, Page

__all__ = [
    "ACCEPTED_AS",
    "PROPOSAL",
    "Proposal",
    "ProposalRule",
    "accept",
    "accept_by_rule",
    "proposal_commands",
    "proposals",
    "reject",
    "waiting",
]

PROPOSAL: Final = "proposal"
"""The type of a proposal's node, and the predicate of what it proposes."""
ACCEPTED_AS: Final = "accepted_as"
_PAGE: Final = 200
_RULE_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a model proposes.

    Attributes:
        kind: decision, fact or relation; or merge, of two entities that look alike.
        document: the arguments of the verb that accepting it amounts to.
        quote: the words that it rests on, of the fact *turn* (None once that is gone).
        status: proposed, accepted or rejected.
        accepted_as: the decision or fact that it became.
    """

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
    accepted_as: str | None = None


@dataclass(frozen=True, slots=True)
class ProposalRule:
    """Which proposals are accepted without being looked at: all that is given must hold.

    Attributes:
        name: who accepts: the actor is ``system:<name>``.
        confidence_min: of the model in itself; a proposal without one does not pass.
        signals: of merges, what says that the two are one; no other proposal has one.
    """

    name: str
    kinds: Sequence[str] = ()
    predicates: Sequence[str] = ()
    models: Sequence[str] = ()
    confidence_min: float | None = None
    signals: Sequence[str] = ()

    def takes(self, one: Proposal) -> bool:
        """Tell whether the rule accepts *one*."""
        return (
            (not self.kinds or one.kind in self.kinds)
            and (not self.predicates or one.document.get("predicate") in self.predicates)
            and (not self.models or one.model in self.models)
            and (not self.signals or one.document.get("signal") in self.signals)
            and (self.confidence_min is None or (one.confidence or -1.0) >= self.confidence_min)
        )


def proposal_commands(memory: Memory, draft: Draft) -> list[Command]:
    """Return what keeps *draft* as a proposal."""
    subject = Ref(key=f"{PROPOSAL}:{draft.digest}", name=_title(draft.document))
    document: dict[str, Json] = dict(draft.document)
    if draft.confidence is not None:
        document["confidence"] = draft.confidence
    said = Value.of(cast("Scalar", document), where="a proposal")
    start = to_micros(draft.turn.at)
    return [
        Assert(memory.ids.new(), subject, PROPOSAL, said, valid_from=start, quote=draft.quote),
        status_assert(memory.ids, subject, DecisionStatus.PROPOSED, valid_from=None),
        edge(memory.ids, subject, BASED_ON, Ref(id=draft.turn.fact), valid_from=start),
    ]


def _title(document: Mapping[str, Json]) -> str:
    if document["kind"] == "decision":
        return str(document["title"])[:200]
    said = document.get("value", document.get("object"))
    return f"{document['subject']} {document['predicate']} {said}"[:200]


async def proposals(
    memory: Memory, *, status: DecisionStatus | None = DecisionStatus.PROPOSED, first: int = 50,
    after: str | None = None, at: AsOf = NOW,
) -> Page[Proposal]:  # fmt: skip
    """List proposals, the latest first: those that wait, those of another *status*, or all."""
    query = NodeQuery(
        NodeKind.ENTITY, PROPOSAL, where=None if status is None else {STATUS: [status.value]}, first=first,
        after=after, newest=True,
    )  # fmt: skip
    page = await memory.store.list_nodes(memory.space, query, at)
    return Page(tuple(await _read(memory, page.items, at)), page.next)


async def _read(memory: Memory, nodes: Sequence[Node], at: AsOf) -> list[Proposal]:
    grouped: dict[str, dict[str, Fact]] = {}
    for fact in await memory.facts_of([node.id for node in nodes], at=at):
        grouped.setdefault(fact.subject_id, {})[fact.predicate] = fact
    return [one for one in (_proposal(node, grouped.get(node.id, {})) for node in nodes) if one is not None]


def _proposal(node: Node, facts: Mapping[str, Fact]) -> Proposal | None:
    said, status = facts.get(PROPOSAL), facts.get(STATUS)
    if said is None or said.value is None or node.key is None:
        return None
    document = dict(cast("Mapping[str, Json]", said.value.data))
    confidence = document.pop("confidence", None)
    source = said.source
    settled = facts.get(ACCEPTED_AS)
    turn = facts.get(BASED_ON)
    return Proposal(
        id=node.id, key=node.key, kind=str(document.pop("kind")),
        status=DecisionStatus(status.value.text()) if status is not None and status.value is not None
        else DecisionStatus.PROPOSED,
        document=document, quote=source.quote if source is not None else None,
        turn=None if turn is None else turn.object_id,
        confidence=float(confidence) if isinstance(confidence, int | float) else None,
        model=source.model if source is not None else None,
        prompt_version=source.prompt_version if source is not None else None,
        origin=source.origin if source is not None else None, said_at=said.valid_from, proposed_at=said.recorded_at,
        version=node.version, accepted_as=None if settled is None else settled.object_id,
    )  # fmt: skip


async def waiting(memory: Memory, thing: Identified) -> Proposal:
    """Return a proposal that is not settled. Raises NotFoundError, ConflictError (``proposal.settled``)."""
    node = await memory.node(thing)
    found = await _read(memory, [node], NOW) if node.type == PROPOSAL else []
    if not found:
        raise NotFoundError(f"{node.key or node.id} is no proposal; `proposals` lists them", id=node.id)
    if found[0].status is not DecisionStatus.PROPOSED:
        msg = f"{node.key} was {found[0].status.value} already; write what you hold true instead"
        raise ConflictError(msg, code="proposal.settled", id=node.id, status=found[0].status.value)
    return found[0]


async def accept(
    memory: Memory, thing: Identified, *, by: str | None = None, session: str | None = None
) -> Written:  # fmt: skip
    """Write what a proposal says, and settle it, in one unit. `Written.id` is the decision's or fact's.

    What is written rests on the quote, names the model, and is trusted no more than the turn that it was read from.

    Raises:
        NotFoundError: it is no proposal.
        ConflictError: code ``proposal.settled``; another settled it meanwhile: ``version.conflict``.
        RefusedError: what it proposes cannot be written; the proposal stays.
    """
    one = await waiting(memory, thing)
    if one.kind == "merge":
        return await accept_merge(memory, one, by=by, session=session)
    turn = None if one.turn is None else (await memory.facts_by_id([one.turn])).get(one.turn)
    trust = Trust.EXTRACTED if turn is None else turn.trust
    written_id, commands = _writes(memory, one, turn)
    own = Ref(id=one.id)
    commands += [
        status_assert(memory.ids, own, DecisionStatus.ACCEPTED, valid_from=None),
        edge(memory.ids, own, ACCEPTED_AS, Ref(id=written_id), valid_from=None),
    ]
    source = SourceSpec(origin=one.origin, method="extracted", model=one.model, prompt_version=one.prompt_version)
    receipt = await memory.write(
        commands, ["accept", one.id], by=by, session=session, source=source, trust=trust,
        expects=(Expect(own, one.version),), idempotency_key=f"accept:{one.id}",
    )  # fmt: skip
    return Written(written_id, receipt)


def _writes(memory: Memory, one: Proposal, turn: Fact | None) -> tuple[str, list[Command]]:
    """Return the id of what is written, and its commands."""
    document: Mapping[str, Any] = one.document
    start = to_micros(one.said_at)
    if one.kind == "decision":
        listed: list[Mapping[str, Any]] = document.get("alternatives", [])
        text = DecisionText(
            title=document["title"], choice=document["choice"], rationale=document.get("rationale"),
            confidence=one.confidence,
            alternatives=tuple(Alternative(item["title"], item.get("rejected_because")) for item in listed),
        )  # fmt: skip
        speaker = turn.source.actor_id if turn is not None and turn.source is not None else None
        session = turn.subject_id if turn is not None else None
        draft = DecisionDraft(
            id=memory.ids.new(), text=text, status=DecisionStatus.ACCEPTED, key=None, valid_from=start,
            about=[Ref(key=key) for key in document.get("about", [])],
            evidence=[] if turn is None else [Ref(id=turn.id)],
            triggered_by=[], decided_by=[] if speaker is None else [Ref(id=speaker)], supersedes=[],
            session=None if session is None else Ref(id=session),
        )  # fmt: skip
        return draft.id, decision_commands(draft, memory.ids)
    subject, predicate = Ref(key=document["subject"]), str(document["predicate"])
    if one.kind == "relation":
        said = Assert(
            memory.ids.new(), subject, predicate, object=Ref(key=document["object"]), relation=True, valid_from=start,
            quote=one.quote,
        )  # fmt: skip
    else:
        value = Value.of(document["value"], document.get("unit"), where=f"the value of {predicate!r}")
        said = Assert(memory.ids.new(), subject, predicate, value, valid_from=start, quote=one.quote)
    return said.id, [said]


async def reject(
    memory: Memory, thing: Identified, *, because: str, by: str | None = None, session: str | None = None
) -> Written:
    """Settle a proposal as not so; it stays, with the reason, and is not made again. Raises as `accept` does."""
    if not because.strip():
        raise InvalidError("a proposal is rejected for a reason: say why with because", code="query.invalid")
    one = await waiting(memory, thing)
    own = Ref(id=one.id)
    said = status_assert(memory.ids, own, DecisionStatus.REJECTED, valid_from=None)
    reason = Assert(memory.ids.new(), own, "reason", Value.of(because, where="the reason"))
    receipt = await memory.write(
        [said, reason], ["reject", one.id, because], by=by, session=session, expects=(Expect(own, one.version),)
    )
    return Written(said.id, receipt)


async def accept_by_rule(memory: Memory, rule: ProposalRule, *, dry_run: bool = False) -> tuple[Proposal, ...]:
    """Accept every waiting proposal that *rule* takes, as the actor ``system:<rule>``; return them.

    One that cannot be written stays and is left out. At most `_RULE_MAX` are looked at.
    """
    taken: list[Proposal] = []
    after: str | None = None
    looked = 0
    while looked < _RULE_MAX:
        page = await proposals(memory, first=_PAGE, after=after)
        looked += len(page.items)
        taken += [one for one in page.items if rule.takes(one)]
        after = page.next
        if after is None:
            break
    if dry_run:
        return tuple(taken)
    done: list[Proposal] = []
    for one in taken:
        try:
            await accept(memory, one.id, by=f"system:{rule.name}")
        except (InvalidError, ConflictError, NotFoundError):
            continue
        done.append(one)
    return tuple(done)
