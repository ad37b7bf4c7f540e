"""What keeps a memory in order: decisions that nobody recorded, and vectors that are missing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from latewood.memory.reindexing import ReindexReport
from latewood.reasoning import missing
from latewood.server.graphql.arguments import After, AsOfArgument, First, InSpace
from latewood.server.graphql.connections import Connection, Paged, read_pages
from latewood.server.graphql.context import Info
from latewood.server.graphql.inputs import instants
from latewood.server.graphql.types import Entity, Fact, field
from latewood.server.graphql.uploads import UploadMutation
from latewood.storage.port import Page

__all__ = ["UpkeepMutation", "UpkeepQuery"]

_FIRST = 20


@strawberry.type(description="A turn that sounds like a decision that nobody recorded.")
class MissingDecision:
    """A turn that sounds like a decision that nobody recorded."""

    session: Entity = field("Where it was said.")
    turn: Fact = field("What was said: name it as the evidence of the decision that you record.")
    speaker: str | None = field("Who said it.")
    said_at: datetime = field("When.")
    cue: str = field("Which sort of wording gave it away.")
    sentence: str = field("The sentence.")


@strawberry.input(description="Vectors that are missing are to be made.")
class ReindexInput:
    """Vectors that are missing are to be made."""

    keep_old: bool | None = strawberry.field(
        default=False, description="Keep the vectors of the model before, where the server's own is another by now."
    )


@strawberry.type(description="What was made. A call that was cut short is made again: what it made is kept.")
class ReindexPayload:
    """What was made."""

    space: str = field("The space.")
    generation: str = field("The vectors' name in the store.")
    model: str = field("Who made them.")
    dimensions: int = field("How long they are.")
    made: int = field("How many were missing and are there now.")
    left_out: int = field("Memories whose text the model refuses; they are found by their words.")
    switched: bool = field("Whether recall used another model's until now.")
    dropped: list[str] = field("Other models' vectors that were thrown away.")


@strawberry.type
class UpkeepQuery:
    """What is to be looked after."""

    @strawberry.field(
        graphql_type=Connection[MissingDecision],
        description=(
            "Turns in which something was decided and no decision was recorded, of one session or of `first` sessions, "
            "the latest first."
        ),
    )
    async def missing_decisions(
        self, info: Info,
        session: Annotated[str | None, strawberry.argument(description="Only of this one, by id or key.")] = None,
        first: First = _FIRST,
        after: After = None,
        space: InSpace = None,
        as_of: AsOfArgument = None,
    ) -> Paged[missing.MissingDecision]:  # fmt: skip
        """List decisions in words alone."""
        view = info.context.look(info, space, instants(as_of))

        async def read(count: int, cursor: str | None) -> Page[missing.MissingDecision]:
            return await view.memory.missing_decisions(session, first=count, after=cursor, at=await view.settled())

        found = await read_pages(read, lambda one: one.turn.id, _FIRST if first is None else first, after)
        info.context.spend(len(found.edges))
        return found


@strawberry.type
class UpkeepMutation(UploadMutation):
    """What fills it and looks after it."""

    @strawberry.mutation(
        graphql_type=ReindexPayload,
        description=(
            "Make the vectors that are missing, with the server's own model, and switch to them when all are there; "
            "others go on reading and writing. Scope: admin."
        ),
    )
    async def reindex(
        self, info: Info, input: ReindexInput | None = None,  # noqa: A002
        space: InSpace = None,
    ) -> ReindexReport:  # fmt: skip
        """Make the vectors that are missing."""
        # Which model it is, the server's settings say: a caller who could name one could have it send texts anywhere.
        view = info.context.write(info, space)
        return await view.memory.reindex(keep_old=input is not None and bool(input.keep_old))
