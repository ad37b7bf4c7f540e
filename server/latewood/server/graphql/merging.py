"""Two keys, one thing, over GraphQL: what looks alike, merging and splitting."""

from __future__ import annotations

from typing import Annotated

import strawberry

from latewood.memory import duplicates as looking
from latewood.memory import identity
from latewood.server.graphql.answers import Receipt
from latewood.server.graphql.arguments import InSpace
from latewood.server.graphql.context import Info
from latewood.server.graphql.types import Entity, field

__all__ = ["MergeMutation", "MergeQuery"]


@strawberry.type(description="What a merge did, or of a dry run would do.")
class MergePayload:
    """What a merge did."""

    absorbed: Entity = field("The one whose key and id mean the other from now on.")
    into: Entity = field("The one that goes on.")
    fact_id: strawberry.ID | None = field("The fact that says so; null in a dry run.")
    moved: int = field("How many facts are said of the other now.")
    meets: list[str] = field("Predicates of one value of which both had something: their facts compete from now on.")
    left: list[strawberry.ID] = field("Facts that stay: erased, or an end of which nobody can tell what ended.")
    dry_run: bool = field("Nothing was written.")
    before: bool = field("It was merged already; `moved` is what was still left of it.")
    receipts: list[Receipt] = field("Of the units written: one, unless more moved than a unit holds.")


@strawberry.type(description="What a split did, or of a dry run would do.")
class SplitPayload:
    """What a split did."""

    node: Entity = field("The one that is one of its own again.")
    into: Entity = field("What it had been merged into.")
    moved: int = field("How many facts went back.")
    stays: list[strawberry.ID] = field("The first 100 facts that were written while the two were one: they stay.")
    stays_count: int = field("How many those are in all.")
    dry_run: bool = field("Nothing was written.")
    receipts: list[Receipt] = field("Of the units written.")


@strawberry.type(description="Two entities of one type that may be one.")
class Duplicate:
    """Two entities that may be one."""

    absorbed: Entity = field("The later one: a merge would let its key mean the other.")
    into: Entity = field("The one that would go on.")
    signal: str = field("name (the same words), words (but for forms of company), letters or meaning.")
    score: float = field("How far it says so, from 0 to 1.")


@strawberry.type(description="Entities that may be one, the surest pair first.")
class Duplicates:
    """Entities that may be one."""

    items: list[Duplicate] = field("The pairs.")
    total: int = field("How many pairs were found.")
    looked_at: int = field("How many entities were looked at.")
    bounded: bool = field("There were more entities or pairs than are shown.")


@strawberry.input(description="That one entity is another under a second name.")
class MergeInput:
    """That one entity is another."""

    absorbed: str = strawberry.field(description="The one, by id or key, whose key is to mean the other.")
    into: str = strawberry.field(description="The one, by id or key, that goes on.")
    reason: str = strawberry.field(description="Why the two are one.")
    dry_run: bool | None = strawberry.field(default=False, description="Only say what would move.")
    by: str | None = strawberry.field(default=None, description="Who says so, such as human:ada.")
    session: str | None = strawberry.field(default=None, description="In which session.")
    idempotency_key: str | None = strawberry.field(default=None, description="Repeated, it writes once.")


@strawberry.input(description="That a merge was wrong.")
class SplitInput:
    """That a merge was wrong."""

    absorbed: str = strawberry.field(description="The one, by id or key, that was merged into another.")
    reason: str = strawberry.field(description="Why the two are not one.")
    dry_run: bool | None = strawberry.field(default=False, description="Only say what would go back.")
    by: str | None = strawberry.field(default=None, description="Who says so, such as human:ada.")
    session: str | None = strawberry.field(default=None, description="In which session.")
    idempotency_key: str | None = strawberry.field(default=None, description="Repeated, it writes once.")


@strawberry.input(description="That an entity has another key.")
class AliasInput:
    """That an entity has another key."""

    thing: str = strawberry.field(description="The entity, by id or key.")
    alias: str = strawberry.field(description="The other key; an entity that has it already is merged.")
    reason: str | None = strawberry.field(default="an alias", description="Why it means the same.")
    by: str | None = strawberry.field(default=None, description="Who says so, such as human:ada.")
    session: str | None = strawberry.field(default=None, description="In which session.")


@strawberry.type
class MergeQuery:
    """What looks alike."""

    @strawberry.field(graphql_type=Duplicates, description="Entities that may be one; nothing is merged by asking.")
    async def duplicates(
        self, info: Info,
        type: Annotated[str | None, strawberry.argument(description="Only of this type.")] = None,  # noqa: A002
        signals: Annotated[list[str] | None, strawberry.argument(description="Only what these say.")] = None,
        score_min: Annotated[float | None, strawberry.argument(description="Only what is so alike, 0 to 1.")] = 0.0,
        first: Annotated[int | None, strawberry.argument(description="At most so many pairs.")] = 100,
        space: InSpace = None,
    ) -> looking.Duplicates:  # fmt: skip
        """List duplicates."""
        view = info.context.look(info, space)
        found = await view.memory.duplicates(
            type_=type, signals=signals or (), score_min=score_min or 0.0, first=100 if first is None else first
        )
        info.context.spend(2 * len(found.items))
        return found


@strawberry.type
class MergeMutation:
    """Merging and splitting."""

    @strawberry.mutation(graphql_type=MergePayload, description="Say that an entity is another under a second name.")
    async def merge(self, info: Info, input: MergeInput, space: InSpace = None) -> identity.Merge:  # noqa: A002
        """Merge two entities."""
        view = info.context.write(info, space)
        return await view.memory.merge(
            input.absorbed, input.into, reason=input.reason, dry_run=bool(input.dry_run), by=input.by,
            session=input.session, idempotency_key=input.idempotency_key,
        )  # fmt: skip

    @strawberry.mutation(
        graphql_type=MergePayload,
        description="Give an entity another key; said again it writes nothing. `split` undoes it.",
    )
    async def alias(self, info: Info, input: AliasInput, space: InSpace = None) -> identity.Merge:  # noqa: A002
        """Give an entity another key."""
        view = info.context.write(info, space)
        return await view.memory.alias(
            input.thing, input.alias, reason=input.reason or "an alias", by=input.by, session=input.session
        )

    @strawberry.mutation(graphql_type=SplitPayload, description="Undo a merge: what moved goes back.")
    async def split(self, info: Info, input: SplitInput, space: InSpace = None) -> identity.Split:  # noqa: A002
        """Split two entities."""
        view = info.context.write(info, space)
        return await view.memory.split(
            input.absorbed, reason=input.reason, dry_run=bool(input.dry_run), by=input.by, session=input.session,
            idempotency_key=input.idempotency_key,
        )  # fmt: skip
