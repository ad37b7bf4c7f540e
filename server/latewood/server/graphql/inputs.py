"""What can be written: one input object a verb, in the words of the Python verbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation

import strawberry
from strawberry.scalars import JSON

from latewood.graph_schema import clock, model
from latewood.graph_schema.clock import parse_instant
from latewood.graph_schema.commands import SourceSpec
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import DecisionStatus, NodeKind, Trust
from latewood.graph_schema.values import Scalar
from latewood.server.graphql.scalars import BigInt, ValueKind

__all__ = [
    "AcceptProposalInput",
    "AsOf",
    "CorrectInput",
    "CreateSpaceInput",
    "DecideInput",
    "EndInput",
    "EraseInput",
    "ObserveInput",
    "RecallFilter",
    "RejectProposalInput",
    "RelateInput",
    "RetractInput",
    "SupersedeInput",
    "Writer",
    "instants",
    "scalar",
]


@strawberry.input(description="The two clocks of a read. What is left out is now.")
class AsOf:
    """The two clocks of a read."""

    valid_at: datetime | None = strawberry.field(default=None, description="When it held in the world.")
    known_at: datetime | None = strawberry.field(default=None, description="As Latewood knew it then.")


@strawberry.input(description="Which memories recall looks at; what lies outside is never ranked.")
class RecallFilter:
    """Which memories recall looks at."""

    kinds: list[NodeKind] | None = strawberry.field(default=None, description="Of nodes of these kinds.")
    types: list[str] | None = strawberry.field(default=None, description="Of nodes of these types, such as carrier.")
    predicates: list[str] | None = strawberry.field(default=None, description="Only these predicates, such as said.")
    about: list[str] | None = strawberry.field(
        default=None, description="Of these nodes, by id or key, and of what points at them."
    )
    session: str | None = strawberry.field(default=None, description="Written down in this session.")
    actor: str | None = strawberry.field(default=None, description="Written down by this actor, by id or key.")
    trust_min: Trust | None = strawberry.field(default=None, description="Believed at least as much as this.")
    since: datetime | None = strawberry.field(default=None, description="True since this instant or later.")
    until: datetime | None = strawberry.field(default=None, description="True since before this instant.")
    past: bool = strawberry.field(
        default=False, description="Decisions that are superseded, reversed or deprecated, too."
    )


def instants(as_of: AsOf | None) -> clock.AsOf:
    """Return the instants that a read asks for."""
    return clock.NOW if as_of is None else clock.AsOf(as_of.valid_at, as_of.known_at)


def scalar(value: object, kind: ValueKind | None) -> Scalar:
    """Return *value* as the kind that is asked for; without one JSON's own kind stands.

    Raises:
        InvalidError: when it is null, or no decimal or instant where one is asked for.
    """
    if value is None:
        raise InvalidError("the value is null; to say that nothing holds any more, end the fact")
    if kind is ValueKind.DECIMAL:
        try:
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                return Decimal(str(value))
        except InvalidOperation:
            pass
        raise InvalidError(f'{value!r:.80} is no decimal number; write it as a string, "0.10"')
    if kind is ValueKind.INSTANT:
        if not isinstance(value, str):
            raise InvalidError(f'{value!r:.80} is no time; write it as a string, "2026-03-01T09:00:00Z"')
        return parse_instant(value)
    if isinstance(value, str | bool | int | float | dict | list):
        return value  # pyright: ignore[reportUnknownVariableType] - any JSON, which the value itself checks
    raise InvalidError(f"{type(value).__name__} is no JSON value")


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, from where: what every input has in common."""

    by: str | None
    session: str | None
    source: SourceSpec | None
    idempotency_key: str | None


@strawberry.input(description="Who writes, from where.")
class _Written:
    """What every input has in common."""

    by: str | None = strawberry.field(
        default=None, description="The actor, such as agent:planner; required unless the server was given one."
    )
    session: str | None = strawberry.field(default=None, description="The conversation or job it belongs to.")
    source: str | None = strawberry.field(
        default=None, description="The path, URL or person that says so; left out, the actor itself."
    )
    method: str | None = strawberry.field(
        default=None, description="asserted (default), extracted, derived or imported."
    )
    model: str | None = strawberry.field(default=None, description="The model that read it, if one did.")
    prompt_version: str | None = strawberry.field(default=None, description="Which version of that model's prompt.")
    idempotency_key: str | None = strawberry.field(
        default=None,
        description="The same key and input give the same receipt and write once; another input is refused.",
    )

    def writer(self) -> Writer:
        """Return who writes."""
        given = (self.source, self.method, self.model, self.prompt_version)
        source = SourceSpec(self.source, self.method or "asserted", self.model, self.prompt_version)
        return Writer(self.by, self.session, source if any(given) else None, self.idempotency_key)


@strawberry.input(description="A choice not taken, and why.")
class AlternativeInput:
    """A choice not taken."""

    title: str = strawberry.field(description="The choice.")
    rejected_because: str | None = strawberry.field(default=None, description="Why it was not taken.")


@strawberry.input(description="A decision with its reasons.")
class DecideInput(_Written):
    """A decision with its reasons."""

    choice: str = strawberry.field(description="What was chosen.")
    because: str | None = strawberry.field(default=None, description="Why.")
    title: str | None = strawberry.field(default=None, description="In a line; left out, the choice's beginning.")
    question: str | None = strawberry.field(default=None, description="What was to be decided.")
    about: list[str] | None = strawberry.field(
        default=None, description="What it concerns, by key or id; a new key is declared."
    )
    evidence: list[str] | None = strawberry.field(
        default=None, description="Facts, decisions or sources it rests on, by id or key, pinned as known now."
    )
    trigger: list[str] | None = strawberry.field(default=None, description="What made it necessary, by id or key.")
    alternatives: list[AlternativeInput] | None = strawberry.field(default=None, description="What was not chosen.")
    supersedes: list[str] | None = strawberry.field(
        default=None, description="Decisions whose place it takes; their status becomes SUPERSEDED."
    )
    consequences: str | None = strawberry.field(default=None, description="What follows from it.")
    confidence: float | None = strawberry.field(default=None, description="From 0 to 1.")
    expected: str | None = strawberry.field(default=None, description="What is expected to follow.")
    status: DecisionStatus | None = strawberry.field(default=DecisionStatus.ACCEPTED, description="Where it stands.")
    key: str | None = strawberry.field(default=None, description="Its own key, such as adr:12.")
    decided_at: datetime | None = strawberry.field(default=None, description="When it was taken; left out, now.")
    decided_by: list[str] | None = strawberry.field(
        default=None, description="Who decided, when that is not who writes."
    )

    def rejected(self) -> Sequence[model.Alternative]:
        """Return the alternatives."""
        return [model.Alternative(one.title, one.rejected_because) for one in self.alternatives or ()]


@strawberry.input(description="A value of a subject.")
class ObserveInput(_Written):
    """A value of a subject."""

    subject: str = strawberry.field(description="The node it is about, by key or id; a new key is declared.")
    predicate: str = strawberry.field(description="In which respect; a new one registers itself, single-valued.")
    value: JSON = strawberry.field(description="Any JSON but null.")
    value_kind: ValueKind | None = strawberry.field(default=None, description="Makes it a decimal or an instant.")
    unit: str | None = strawberry.field(default=None, description="Its unit of measure.")
    valid_from: datetime | None = strawberry.field(default=None, description="From when it is true; left out, now.")
    valid_to: datetime | None = strawberry.field(
        default=None, description="Until when, that instant not included: after it the wider assertion holds again."
    )
    as_written: str | None = strawberry.field(default=None, description="The source's own word for the value.")
    quote: str | None = strawberry.field(default=None, description="The words it rests on.")
    trust: Trust | None = strawberry.field(default=None, description="Lower than the actor's own, never higher.")
    expected_version: BigInt | None = strawberry.field(
        default=None, description="The subject's version as you read it: refused when it moved; 0 when it must be new."
    )


@strawberry.input(description="A relation of a subject to a target.")
class RelateInput(_Written):
    """A relation of a subject to a target."""

    subject: str = strawberry.field(description="The node it goes from, by key or id; a new key is declared.")
    predicate: str = strawberry.field(description="The relation; a new one registers itself, multi-valued.")
    target: str = strawberry.field(description="The node it goes to, by key or id; a new key is declared.")
    valid_from: datetime | None = strawberry.field(default=None, description="From when it is true; left out, now.")
    valid_to: datetime | None = strawberry.field(default=None, description="Until when, that instant not included.")
    quote: str | None = strawberry.field(default=None, description="The words it rests on.")
    trust: Trust | None = strawberry.field(default=None, description="Lower than the actor's own, never higher.")
    expected_version: BigInt | None = strawberry.field(
        default=None, description="The subject's version as you read it: refused when it moved; 0 when it must be new."
    )


@strawberry.input(description="That a fact was never so, and what was: a value or a target.")
class CorrectInput(_Written):
    """That a fact was never so, and what was."""

    fact: strawberry.ID = strawberry.field(description="The fact to correct.")
    value: JSON | None = strawberry.field(default=None, description="The right value.")
    value_kind: ValueKind | None = strawberry.field(default=None, description="Makes it a decimal or an instant.")
    target: str | None = strawberry.field(default=None, description="Of a relation, the right target, by key or id.")
    unit: str | None = strawberry.field(default=None, description="The value's unit of measure.")
    valid_from: datetime | None = strawberry.field(default=None, description="The right start; left out, the old one.")
    valid_to: datetime | None = strawberry.field(default=None, description="The right end; left out, the old one.")
    because: str | None = strawberry.field(default=None, description="Why.")


@strawberry.input(description="That a fact stopped being true, and nothing followed it.")
class EndInput(_Written):
    """That a fact stopped being true."""

    fact: strawberry.ID = strawberry.field(description="The fact that ended; it must hold at that instant.")
    at: datetime | None = strawberry.field(default=None, description="When; left out, now.")
    because: str | None = strawberry.field(default=None, description="Why.")


@strawberry.input(description="That a fact was never true.")
class RetractInput(_Written):
    """That a fact was never true."""

    fact: strawberry.ID = strawberry.field(description="The fact to take back.")
    because: str | None = strawberry.field(default=None, description="Why.")


@strawberry.input(description="A proposal that is so.")
class AcceptProposalInput:
    """A proposal that is so."""

    proposal: str = strawberry.field(description="Its id or key.")
    by: str | None = strawberry.field(default=None, description="Who accepts it, such as human:ada.")
    session: str | None = strawberry.field(default=None, description="In which session.")


@strawberry.input(description="A proposal that is not so, and why.")
class RejectProposalInput(AcceptProposalInput):
    """A proposal that is not so."""

    because: str = strawberry.field(description="Why; kept with it.")


@strawberry.input(description="What is to be gone for good, and why.")
class EraseInput(_Written):
    """What is to be gone for good."""

    target: str = strawberry.field(description="A fact's id, or a node's id or key: then everything about it goes.")
    reason: str = strawberry.field(description="Kept in the ledger for good: do not repeat in it what goes.")


@strawberry.input(description="That a decision takes another's place.")
class SupersedeInput(_Written):
    """That a decision takes another's place."""

    old: str = strawberry.field(description="The decision that is superseded, by id or key.")
    new: str = strawberry.field(description="The decision that takes its place, by id or key.")
    at: datetime | None = strawberry.field(default=None, description="When; left out, now.")


@strawberry.input(description="A new space.")
class CreateSpaceInput:
    """A new space."""

    name: str = strawberry.field(description="1-64 of a-z, 0-9, '.', '_' and '-', a letter or digit first.")
    strict: bool | None = strawberry.field(default=False, description="It takes only predicates of packs.")
