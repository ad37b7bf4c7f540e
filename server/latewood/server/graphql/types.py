"""What can be read: nodes, facts and decisions, field by field as the dataclasses that every surface returns.

Resolvers hand out those dataclasses themselves; the types here say which fields show, in which words. Only what is not
a field of the dataclass has a resolver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import strawberry
from strawberry.scalars import JSON

from latewood.graph_schema import model
from latewood.graph_schema.identity import MERGED_INTO
from latewood.graph_schema.model import DecisionStatus, NodeKind, Trust
from latewood.graph_schema.values import Json
from latewood.server.graphql.connections import Connection, Paged, paged, read_pages
from latewood.server.graphql.context import Info
from latewood.server.graphql.scalars import BigInt

__all__ = ["Alternative", "Decision", "Entity", "Evidence", "Fact", "FactValue", "Node", "Source", "field"]


def field(description: str, resolver: Any = None) -> Any:
    """Declare a field with its description."""
    return strawberry.field(resolver=resolver, description=description)


@strawberry.interface(description="Whatever has an id; the same id in every store and on every surface.")
class Node:
    """Whatever has an id."""

    id: strawberry.ID = field("A UUID.")


@strawberry.type(description="What a fact says, when it says a value.")
class FactValue:
    """What a fact says, when it says a value."""

    kind: str = field("text, integer, decimal, float, boolean, instant or json.")
    data: JSON = field("The value; a decimal and an instant as text.")
    unit: str | None = field("Its unit of measure.")


@strawberry.type(description="Where an assertion comes from.")
class Source:
    """Where an assertion comes from."""

    id: strawberry.ID = field("A UUID.")
    origin: str = field("The path, URL or actor that speaks, the same across versions.")
    method: str = field("asserted, extracted, derived or imported.")
    actor_id: strawberry.ID = field("Who wrote it.")
    session_id: strawberry.ID | None = field("In which session.")
    quote: str | None = field("The words it rests on.")
    model: str | None = field("The model that read it, if one did.")
    prompt_version: str | None = field("Which version of that model's prompt.")
    source_time: datetime | None = field("When the source says it was written, where that is not recordedAt.")
    locator: str | None = field("Where in the source: a commit, a line.")
    on_behalf_of: strawberry.ID | None = field("The actor that the actor acts for.")


@strawberry.type(description="Who disagrees with the fact that holds: the strongest challenger.")
class Conflict:
    """Who disagrees with the fact that holds."""

    challenger_id: strawberry.ID = field("The challenging fact.")
    value: FactValue | None = field("What it says.")
    object_id: strawberry.ID | None = field("What it points to.")
    others: int = field("How many more challenge.")


async def _subject(root: strawberry.Parent[model.Fact], info: Info) -> model.Node | None:
    return await info.context.view(info).nodes.load(root.subject_id)


async def _object(root: strawberry.Parent[model.Fact], info: Info) -> model.Node | None:
    return None if root.object_id is None else await info.context.view(info).nodes.load(root.object_id)


@strawberry.type(description="What a source asserted of a subject: a value or an object, for a valid period.")
class Fact(Node):
    """What a source asserted of a subject."""

    subject_id: strawberry.ID = field("What it is about.")
    predicate: str = field("What it says of it.")
    value: FactValue | None = field("The value; null for a relation, an absence and an erased fact.")
    object_id: strawberry.ID | None = field("What it points to: a node, or a fact that is evidence.")
    valid_from: datetime = field("From when it is true, as asserted.")
    valid_to: datetime | None = field("Until when, that instant not included; null is open.")
    valid_from_known: bool = field("False when only the recording is dated, not the thing.")
    recorded_at: datetime = field("When Latewood learned it.")
    trust: Trust = field("How far its source is believed.")
    source: Source | None = field("Where it comes from; null once it is erased.")
    absent: bool = field("The assertion that from validFrom on nothing holds.")
    as_written: str | None = field("The source's own word for the value, if it differs.")
    retired_at: datetime | None = field("When it was corrected or retracted.")
    retired_reason: str | None = field("Why it was.")
    replaces: strawberry.ID | None = field("The fact that this one corrects.")
    carried: strawberry.ID | None = field(
        "The fact that this one says again of another node: a merge or a split did it."
    )
    ends: strawberry.ID | None = field("Of an absence, the fact that it ended.")
    erased: bool = field("Its content was erased; this is the tombstone.")
    conflict: Conflict | None = field("Who disagrees, if anyone does.")
    subject: Entity | None = field("The node it is about.", _subject)
    object: Entity | None = field("The node it points to; null when it points to a fact.", _object)

    @classmethod
    def is_type_of(cls, obj: object, _info: Any) -> bool:
        """Tell whether *obj* is shown as this type."""
        return isinstance(obj, model.Fact)


async def _entity_facts(
    root: strawberry.Parent[model.Node], info: Info, predicate: str | None = None
) -> Sequence[model.Fact]:
    facts = await info.context.view(info).facts_of(predicate).load(root.id)
    info.context.spend(len(facts))
    return facts


async def _entity_timeline(
    root: strawberry.Parent[model.Node], info: Info, predicate: str | None = None, first: int | None = 100,
    after: str | None = None,
) -> Paged[model.Fact]:  # fmt: skip
    view, first = info.context.view(info), 100 if first is None else first
    if after is None:
        found = paged(await view.timelines(predicate, first).load(root.id), _id)
    else:

        async def read(count: int, cursor: str | None) -> Any:
            named = None if predicate is None else [predicate]
            return await view.memory.timeline_of([root.id], named, known_at=view.at.known_at, first=count, after=cursor)

        found = await read_pages(read, _id, first, after)
    info.context.spend(len(found.edges))
    return found


def _id(fact: model.Fact) -> str:
    return fact.id


def _itself(root: strawberry.Parent[model.Node]) -> model.Node:
    return root


async def _absorbed(root: strawberry.Parent[model.Node], info: Info) -> Sequence[model.Node]:
    if root.kind is not NodeKind.ENTITY:
        return ()
    found = await info.context.view(info).absorbed.load(root.id)
    info.context.spend(len(found))
    return found


async def _merged_into(root: strawberry.Parent[model.Node], info: Info) -> model.Node | None:
    view = info.context.view(info)
    if root.kind is not NodeKind.ENTITY:
        return None
    said = await view.facts_of(MERGED_INTO).load(root.id)
    into = said[0].object_id if said else None
    return None if into is None else await view.nodes.load(into)


async def _as_decision(root: strawberry.Parent[model.Node], info: Info) -> model.Decision | None:
    if root.kind is not NodeKind.DECISION:
        return None
    return await info.context.view(info).decisions.load(root.id)


@strawberry.type(
    description="A node of the graph: an entity, and in the same shape an actor, a session, a source, a decision."
)
class Entity(Node):
    """A node of the graph."""

    kind: NodeKind = field("What it is.")
    type: str = field("The part of an entity's key before the colon; the sort of an actor (human, agent, model).")
    key: str | None = field("As first written, such as carrier:A.")
    name: str = field("For people.")
    attributes: JSON = field("What was fixed when it was declared.")
    recorded_at: datetime = field("When Latewood first heard of it.")
    version: BigInt = field("The ledger's seq of the last event about it; pass it back as expectedVersion.")
    erased: bool = field("Its words were erased; this is the tombstone.")
    node: Entity = field("Itself: other surfaces answer `entity` with {node, facts}.", _itself)
    facts: list[Fact] = field(
        "What holds of it, as of the read's asOf; of one predicate where it is named.", _entity_facts
    )
    timeline: Connection[Fact] = field(
        "Everything ever asserted of it that was known at asOf.knownAt, retracted assertions marked, in valid order.",
        _entity_timeline,
    )
    merged_into: Entity | None = field(
        "What it was merged into, as of the read's asOf: a read by its key answers with that one.", _merged_into
    )
    absorbed: list[Entity] = field("What was merged into it, as of the read's asOf: its other names.", _absorbed)
    decision: Decision | None = field("The whole decision, when it is one.", _as_decision)

    @classmethod
    def is_type_of(cls, obj: object, _info: Any) -> bool:
        """Tell whether *obj* is shown as this type."""
        return isinstance(obj, model.Node)


@strawberry.type(description="A choice not taken, and why.")
class Alternative:
    """A choice not taken."""

    title: str = field("The choice.")
    rejected_because: str | None = field("Why it was not taken.")


@strawberry.type(description="What a decision rested on, as it was known when it was taken.")
class Evidence:
    """What a decision rested on."""

    id: strawberry.ID = field("The id of the fact or node.")
    pinned_at: datetime = field("The recorded time whose knowledge is shown.")
    fact: Fact | None = field("The fact itself, when the evidence is one.")
    node: Entity | None = field("The node when the evidence is one; of a fact its subject.")
    moved: str | None = field(
        "What became of the fact since: corrected, retracted, ended, superseded; null when it holds."
    )


async def _decisions(root: Sequence[model.Node], info: Info) -> list[model.Decision]:
    found = await info.context.view(info).decisions.load_many([node.id for node in root])
    info.context.spend(len(found))
    return [one for one in found if one is not None]


async def _supersedes(root: strawberry.Parent[model.Decision], info: Info) -> list[model.Decision]:
    return await _decisions(root.supersedes, info)


async def _superseded_by(root: strawberry.Parent[model.Decision], info: Info) -> list[model.Decision]:
    return await _decisions(root.superseded_by, info)


async def _name(root: strawberry.Parent[model.Decision], info: Info) -> str:
    node = await info.context.view(info).nodes.load(root.id)
    return root.title if node is None else node.name


async def _type(root: strawberry.Parent[model.Decision], info: Info) -> str:
    node = await info.context.view(info).nodes.load(root.id)
    return "decision" if node is None else node.type


async def _attributes(root: strawberry.Parent[model.Decision], info: Info) -> Mapping[str, Json]:
    node = await info.context.view(info).nodes.load(root.id)
    return {} if node is None else node.attributes


def _kind() -> NodeKind:
    return NodeKind.DECISION


def _stands() -> bool:
    return False


@strawberry.type(description="A choice with its reasons, as of the two clocks it was read at.")
class Decision(Node):
    """A choice with its reasons."""

    key: str | None = field("The key of an imported record, such as adr:12.")
    title: str = field("In a line.")
    status: DecisionStatus = field("Where it stands.")
    source_status: str | None = field("The source's own word for the status.")
    question: str | None = field("What was to be decided.")
    choice: str | None = field("What was chosen.")
    rationale: str | None = field("Why.")
    consequences: str | None = field("What follows from it, as seen then.")
    confidence: float | None = field("From 0 to 1.")
    expected_outcome: str | None = field("What was expected to follow.")
    alternatives: list[Alternative] = field("What was not chosen, each with the reason.")
    decided_at: datetime = field("When it was taken, in the world.")
    recorded_at: datetime = field("When Latewood first heard of it.")
    version: BigInt = field("The ledger's seq of the last event about it.")
    record_id: strawberry.ID = field("The fact that holds its words: correct that one to mend them.")
    status_id: strawberry.ID | None = field("The fact that holds its status.")
    decided_by: list[Entity] = field("Who decided.")
    about: list[Entity] = field("What it concerns.")
    session: Entity | None = field("In which session.")
    supersedes: list[Decision] = field("The decisions whose place it took.", _supersedes)
    superseded_by: list[Decision] = field("The decisions that took its place.", _superseded_by)
    triggered_by: list[Evidence] = field("What made it necessary.")
    led_to: list[Evidence] = field("What it led to.")
    evidence: list[Evidence] = field("What it rests on, each piece as it was known when it was recorded.")
    outcomes: list[str] = field("What was observed to follow.")
    source: Source | None = field("Where its words come from.")
    extra: JSON = field("What an imported record had beside the named fields.")
    name: str = field("Its node's name: the title it was first recorded under.", _name)
    kind: NodeKind = field("DECISION.", _kind)
    type: str = field("Its node's type.", _type)
    attributes: JSON = field("What was fixed when it was declared.", _attributes)
    erased: bool = field("False: an erased decision is a node and no decision any more.", _stands)

    @classmethod
    def is_type_of(cls, obj: object, _info: Any) -> bool:
        """Tell whether *obj* is shown as this type."""
        return isinstance(obj, model.Decision)
