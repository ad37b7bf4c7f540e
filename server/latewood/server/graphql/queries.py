"""Every verb that reads. Who asks by a key that is not there gets null; what cannot be answered is a typed error."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated, Any, TypeVar, cast

import strawberry

from latewood.graph_schema import events, model
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.graph_schema.ids import is_id
from latewood.graph_schema.ledger import Verdict as LedgerVerdict
from latewood.graph_schema.model import DecisionStatus, NodeKind
from latewood.memory import Axis
from latewood.memory import proposals as proposing
from latewood.reasoning import brief as briefs
from latewood.reasoning import changes, recalled
from latewood.reasoning import conflicts as disputes
from latewood.reasoning import precedents as earlier
from latewood.reasoning import stale as reasons
from latewood.reasoning import why as chains
from latewood.reasoning.recall import LIMIT_DEFAULT, LIMIT_MAX
from latewood.server.graphql.answers import (
    Brief,
    Difference,
    Disputed,
    Hit,
    Precedent,
    Proposal,
    Recall,
    Receipt,
    Space,
    Stale,
    Verdict,
    Why,
)
from latewood.server.graphql.arguments import After, AsOfArgument, First
from latewood.server.graphql.connections import Connection, Paged, read_pages
from latewood.server.graphql.context import Info
from latewood.server.graphql.hooking import HookQuery
from latewood.server.graphql.inputs import AsOf, RecallFilter, instants
from latewood.server.graphql.keys import KeyQuery
from latewood.server.graphql.merging import MergeQuery
from latewood.server.graphql.messages import MessageQuery
from latewood.server.graphql.patterns import PatternQuery
from latewood.server.graphql.runs import RunQuery
from latewood.server.graphql.scalars import Ledger
from latewood.server.graphql.stages import StageQuery
from latewood.server.graphql.types import Decision, Entity, Fact, Node
from latewood.server.graphql.upkeep import UpkeepQuery
from latewood.storage import port
from latewood.storage.port import Page

__all__ = ["Query"]

T = TypeVar("T")

SpaceArgument = Annotated[str | None, strawberry.argument(description="The space to read; left out, `default`.")]


def _said(text: str) -> Any:
    return strawberry.argument(description=text)


async def _or_none(answer: Awaitable[T]) -> T | None:
    """Return None for a thing that is not there; an unknown space and an ambiguous key stay errors."""
    try:
        return await answer
    except NotFoundError as error:
        if error.code != "node.not_found":
            raise
        return None


def _id(thing: model.Node | model.Decision | model.Fact) -> str:
    return thing.id


def _count(first: int | None, default: int) -> int:
    return default if first is None else first


def _one_of(verb: str, first: object, second: object, names: str) -> None:
    if (first is None) == (second is None):
        raise InvalidError(f"{verb} takes {names}: exactly one of the two", code="query.invalid")


async def _node(info: Info, id: strawberry.ID, space: str | None, as_of: AsOf | None) -> object:  # noqa: A002
    view = info.context.look(info, space, instants(as_of))
    if not is_id(id):
        return None
    node = await view.nodes.load(id)
    if node is None:
        return await view.facts.load(id)
    decision = await view.decisions.load(id) if node.kind is NodeKind.DECISION else None
    return decision or node


@strawberry.type(description="Every verb that reads. Each is answered as of the two clocks; what is left out is now.")
class Query(
    HookQuery, KeyQuery, MergeQuery, MessageQuery, PatternQuery, RunQuery, StageQuery, UpkeepQuery
):  # fmt: skip
    """Every verb that reads."""

    @strawberry.field(
        graphql_type=Node | None, description="An entity, decision or fact by id; null when there is none."
    )
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, _said("A UUID.")], space: SpaceArgument = None,  # noqa: A002
        as_of: AsOfArgument = None,
    ) -> object:  # fmt: skip
        """Return the node with this id."""
        return await _node(info, id, space, as_of)

    @strawberry.field(
        graphql_type=Decision | None,
        description="One decision, by id or by key (adr:12); null when there is none. A key of several is an error.",
    )
    async def decision(
        self, info: Info, id: Annotated[strawberry.ID | None, _said("Its id.")] = None,  # noqa: A002
        key: Annotated[str | None, _said("Its key, such as adr:12, pep:572, rfc:5000.")] = None,
        space: SpaceArgument = None, as_of: AsOfArgument = None,
    ) -> model.Decision | None:  # fmt: skip
        """Return one decision."""
        _one_of("decision", id, key, "id or key")
        view = info.context.look(info, space, instants(as_of))
        if id is not None:
            return await view.decisions.load(id) if is_id(id) else None
        return await _or_none(view.memory.decision(cast("str", key), await view.settled()))

    @strawberry.field(
        graphql_type=Connection[Decision], description="Decisions in the order in which they were recorded."
    )
    async def decisions(
        self, info: Info, first: First = 50, after: After = None,
        status: Annotated[list[DecisionStatus] | None, _said("Only these statuses.")] = None,
        about: Annotated[str | None, _said("Only those about this node, by id or key.")] = None,
        space: SpaceArgument = None, as_of: AsOfArgument = None,
        source_status: Annotated[list[str] | None, _said("Or with one of these words of their source (Final).")] = None,
        newest: Annotated[bool, _said("The latest recorded first.")] = False,  # noqa: FBT002
    ) -> Paged[model.Decision]:  # fmt: skip
        """List decisions."""
        view = info.context.look(info, space, instants(as_of))

        async def read(count: int, cursor: str | None) -> Page[model.Decision]:
            page = await view.memory.decisions(
                status=status or (), source_status=source_status or (), about=about, first=count, after=cursor,
                newest=newest, at=await view.settled(),
            )  # fmt: skip
            view.known(page.items)
            return page

        found = await read_pages(read, _id, _count(first, 50), after)
        info.context.spend(len(found.edges))
        return found

    @strawberry.field(
        graphql_type=Entity | None,
        description="One node by key (carrier:A) or id; null when there is none. A key of several is an error.",
    )
    async def entity(
        self, info: Info, key: Annotated[str, _said("Its key or id.")], space: SpaceArgument = None,
        as_of: AsOfArgument = None,
    ) -> model.Node | None:  # fmt: skip
        """Return one node."""
        view = info.context.look(info, space, instants(as_of))
        return await _or_none(view.memory.node(key, view.at))

    @strawberry.field(
        graphql_type=Connection[Entity],
        description="Nodes in the order in which they were recorded; sources and predicates only when kind says so.",
    )
    async def entities(
        self, info: Info, first: First = 50, after: After = None,
        kind: Annotated[NodeKind | None, _said("Only this kind.")] = None,
        type: Annotated[str | None, _said("Only this type, such as carrier.")] = None,  # noqa: A002
        space: SpaceArgument = None, as_of: AsOfArgument = None,
        newest: Annotated[bool, _said("The latest recorded first.")] = False,  # noqa: FBT002
    ) -> Paged[model.Node]:  # fmt: skip
        """List nodes."""
        view = info.context.look(info, space, instants(as_of))

        async def read(count: int, cursor: str | None) -> Page[model.Node]:
            return await view.memory.nodes(kind=kind, type_=type, first=count, after=cursor, newest=newest, at=view.at)

        found = await read_pages(read, _id, _count(first, 50), after)
        info.context.spend(len(found.edges))
        return found

    @strawberry.field(
        graphql_type=Fact | None, description="One assertion by id, retracted or not; null when there is none."
    )
    async def fact(
        self, info: Info, id: Annotated[strawberry.ID, _said("Its id.")], space: SpaceArgument = None,  # noqa: A002
        as_of: AsOfArgument = None,
    ) -> model.Fact | None:  # fmt: skip
        """Return one assertion."""
        view = info.context.look(info, space, instants(as_of))
        return await view.facts.load(id) if is_id(id) else None

    @strawberry.field(
        graphql_type=list[Why],
        description=(
            "The whole chain behind a decision (id), or behind those about an entity or found by words (about), those "
            "in force first: trigger, evidence as known then, rationale, alternatives, who, and what followed."
        ),
    )
    async def why(
        self, info: Info, id: Annotated[strawberry.ID | None, _said("A decision's id or key.")] = None,  # noqa: A002
        about: Annotated[str | None, _said("An entity's id or key, or words.")] = None, space: SpaceArgument = None,
        as_of: AsOfArgument = None,
    ) -> list[chains.Why]:  # fmt: skip
        """Return chains of reasons."""
        _one_of("why", id, about, "id or about")
        view = info.context.look(info, space, instants(as_of))
        if id is not None:
            return [await view.memory.why(id, await view.settled())]
        return list(await view.memory.why_about(cast("str", about), await view.settled()))

    @strawberry.field(
        graphql_type=Recall,
        description=(
            "The memories that answer a question, by their words, by meaning and by what the graph knows, each with "
            "why it was found. Times that the question names are preferred; `filter` leaves out before ranking."
        ),
    )
    async def recall(
        self, info: Info, query: Annotated[str, _said("A question, or words.")],
        limit: Annotated[int | None, _said(f"How many, 1 to {LIMIT_MAX}.")] = LIMIT_DEFAULT,
        budget_tokens: Annotated[int | None, _said("What the text may cost, estimated from above.")] = None,
        space: SpaceArgument = None, as_of: AsOfArgument = None,
        filter: Annotated[RecallFilter | None, _said("Which memories to look at.")] = None,  # noqa: A002
    ) -> recalled.Recall:  # fmt: skip
        """Recall memories."""
        view = info.context.look(info, space, instants(as_of))
        only = filter or RecallFilter()
        found = await view.memory.recall(
            query, limit=_count(limit, LIMIT_DEFAULT), budget_tokens=budget_tokens, kinds=only.kinds, types=only.types,
            predicates=only.predicates, about=only.about or (), session=only.session, actor=only.actor,
            trust_min=only.trust_min, since=only.since, until=only.until, past=only.past, at=await view.settled(),
        )  # fmt: skip
        info.context.spend(len(found.hits))
        return found

    @strawberry.field(
        graphql_type=list[Precedent],
        description="The decisions most like the one described, those whose outcome is known first.",
    )
    async def precedents(
        self, info: Info, text: Annotated[str, _said("What is to be decided.")], first: First = 5,
        space: SpaceArgument = None, as_of: AsOfArgument = None,
    ) -> list[earlier.Precedent]:  # fmt: skip
        """List precedents."""
        view = info.context.look(info, space, instants(as_of))
        found = await view.memory.precedents(text, first=_count(first, 5), at=await view.settled())
        info.context.spend(len(found))
        return list(found)

    @strawberry.field(
        graphql_type=Connection[Proposal],
        description="What models proposed, the latest first: what waits to be settled, or what was settled so.",
    )
    async def proposals(
        self, info: Info, status: Annotated[DecisionStatus | None, _said("Only these; null is all.")]
        = DecisionStatus.PROPOSED, first: First = 50, after: After = None, space: SpaceArgument = None,
        as_of: AsOfArgument = None,
    ) -> Paged[proposing.Proposal]:  # fmt: skip
        """List proposals."""
        view = info.context.look(info, space, instants(as_of))

        async def read(count: int, cursor: str | None) -> Page[proposing.Proposal]:
            return await proposing.proposals(
                view.memory, status=status, first=count, after=cursor, at=await view.settled()
            )

        found = await read_pages(read, lambda one: one.id, _count(first, 50), after)
        info.context.spend(len(found.edges))
        return found

    @strawberry.field(
        graphql_type=Connection[Disputed], description="Things of which sources disagree, the latest recorded first."
    )
    async def conflicts(
        self, info: Info, first: First = 50, after: After = None, space: SpaceArgument = None,
        as_of: AsOfArgument = None,
    ) -> Paged[disputes.Disputed]:  # fmt: skip
        """List conflicts."""
        view = info.context.look(info, space, instants(as_of))

        async def read(count: int, cursor: str | None) -> Page[disputes.Disputed]:
            return await view.memory.conflicts(first=count, after=cursor, at=await view.settled())

        found = await read_pages(read, lambda one: one.entity.id, _count(first, 50), after)
        info.context.spend(len(found.edges))
        return found

    @strawberry.field(
        graphql_type=Connection[Stale],
        description=(
            "Decisions that stand while their evidence was corrected, retracted, ended or superseded since, the latest "
            "first."
        ),
    )
    async def stale(
        self, info: Info, first: First = 50, after: After = None, space: SpaceArgument = None,
        as_of: AsOfArgument = None,
    ) -> Paged[reasons.Stale]:  # fmt: skip
        """List stale decisions."""
        view = info.context.look(info, space, instants(as_of))

        async def read(count: int, cursor: str | None) -> Page[reasons.Stale]:
            return await view.memory.stale(first=count, after=cursor, at=await view.settled())

        found = await read_pages(read, lambda one: one.decision.id, _count(first, 50), after)
        info.context.spend(len(found.edges))
        return found

    @strawberry.field(
        graphql_type=Brief,
        description=(
            "What to know before going on: what is open, disputed and stale, precedents, what is no longer in force "
            "since the last visit, and what is in force; and what was left out."
        ),
    )
    async def brief(
        self, info: Info,
        about: Annotated[str | None, _said("An id, a key, or words; left out, the whole space.")] = None,
        since: Annotated[datetime | None, _said("The last visit; a week ago when left out.")] = None,
        budget_tokens: Annotated[int, _said("At most so many tokens, estimated from above.")] = 800,
        space: SpaceArgument = None, as_of: AsOfArgument = None,
    ) -> briefs.Brief:  # fmt: skip
        """Return a brief."""
        view = info.context.look(info, space, instants(as_of))
        return await view.memory.brief(about, since=since, budget_tokens=budget_tokens, at=await view.settled())

    @strawberry.field(
        graphql_type=Connection[Fact],
        description=(
            "Everything ever asserted of a node that was known at asOf.knownAt, retracted assertions marked, in valid "
            "order. It shows every valid time, so asOf.validAt is refused."
        ),
    )
    async def timeline(
        self, info: Info, key: Annotated[str, _said("The node's key or id.")],
        predicates: Annotated[list[str] | None, _said("Only these predicates.")] = None, first: First = 100,
        after: After = None, space: SpaceArgument = None, as_of: AsOfArgument = None,
    ) -> Paged[model.Fact]:  # fmt: skip
        """Return a node's timeline."""
        at = instants(as_of)
        if at.valid_at is not None:
            raise InvalidError("a timeline shows every valid time; give knownAt only", code="query.invalid")
        view = info.context.look(info, space, at)

        async def read(count: int, cursor: str | None) -> Page[model.Fact]:
            return await view.memory.timeline(
                key, predicates=predicates, known_at=at.known_at, first=count, after=cursor
            )

        found = await read_pages(read, _id, _count(first, 100), after)
        info.context.spend(len(found.edges))
        return found

    @strawberry.field(
        graphql_type=Connection[Difference],
        description="What changed after `since`, up to `until`, each change with what held before.",
    )
    async def diff(
        self, info: Info, since: Annotated[datetime, _said("After this instant.")],
        until: Annotated[datetime, _said("Up to this one.")],
        about: Annotated[str | None, _said("Only of this node, by id or key, or of those that the words find.")] = None,
        axis: Annotated[Axis | None, _said("Along which clock.")] = Axis.KNOWN, space: SpaceArgument = None,
        first: First = 100, after: After = None,
    ) -> Paged[changes.Difference]:  # fmt: skip
        """List what changed."""
        view = info.context.look(info, space)

        async def read(count: int, cursor: str | None) -> Page[changes.Difference]:
            return await view.memory.diff(since, until, about=about, axis=axis or Axis.KNOWN, first=count, after=cursor)

        found = await read_pages(read, lambda one: str(one.seq), _count(first, 100), after)
        info.context.spend(len(found.edges))
        return found

    @strawberry.field(
        graphql_type=list[Hit], description="Nodes whose names, keys or texts match the words, best first."
    )
    async def find(
        self, info: Info, text: Annotated[str, _said("Words; no syntax.")],
        kinds: Annotated[list[NodeKind] | None, _said("Only these kinds.")] = None, first: First = 20,
        space: SpaceArgument = None, as_of: AsOfArgument = None,
    ) -> tuple[port.Hit, ...]:  # fmt: skip
        """Find nodes by words."""
        view = info.context.look(info, space, instants(as_of))
        return await view.memory.find(text, kinds=kinds, first=_count(first, 20), at=await view.settled())

    @strawberry.field(
        graphql_type=Receipt | None,
        description="What became of a write: stored, or failed with its code; null when it is not known.",
    )
    async def receipt(
        self,
        info: Info,
        id: Annotated[strawberry.ID, _said("The receipt's id.")],  # noqa: A002
    ) -> events.Receipt | None:
        """Return a receipt."""
        return await _or_none(info.context.memory.receipt(id)) if is_id(id) else None

    @strawberry.field(graphql_type=list[Space], description="All spaces, by name.")
    async def spaces(self, info: Info) -> tuple[port.Space, ...]:
        """List spaces."""
        return await info.context.memory.spaces()

    @strawberry.field(
        graphql_type=Verdict, description="Checks a ledger's chain from its first row, naming the first bad one."
    )
    async def verify_ledger(
        self, info: Info, ledger: Annotated[Ledger | None, _said("Which one.")] = Ledger.KNOWLEDGE,
        space: SpaceArgument = None,
    ) -> LedgerVerdict:  # fmt: skip
        """Check a ledger."""
        view = info.context.look(info, space)
        return await view.memory.verify("execution" if ledger is Ledger.EXECUTION else "knowledge")
