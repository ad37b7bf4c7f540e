"""Taking back all that one actor, session or source said, over GraphQL."""

from __future__ import annotations

from datetime import datetime

import strawberry

from latewood.memory import retracting
from latewood.server.graphql.answers import Receipt
from latewood.server.graphql.arguments import InSpace
from latewood.server.graphql.context import Info
from latewood.server.graphql.types import Fact, field

__all__ = ["RetractMutation"]


@strawberry.type(description="A fact that could not be taken back, and why.")
class Unretracted:
    """A fact that stays."""

    fact: Fact = field("The fact.")
    code: str = field("The code of the refusal, such as trust.too_low.")
    reason: str = field("The refusal in words.")


@strawberry.type(description="What was taken back, or of a dry run would be.")
class RetractAllPayload:
    """What was taken back."""

    retracted: int = field("How many facts.")
    facts: list[Fact] = field("The first 100 of them, in the order in which they were recorded.")
    left: list[Unretracted] = field("The first 100 that stay.")
    left_count: int = field("How many those are in all.")
    dry_run: bool = field("Nothing was written.")
    next: str | None = field("Where another call goes on, as `after`; null when all was looked at.")
    receipts: list[Receipt] = field("Of the units written.")


@strawberry.input(description="Whose facts were never true; of several filters all must hold.")
class RetractAllInput:
    """Whose facts were never true."""

    because: str = strawberry.field(description="Why.")
    said_by: str | None = strawberry.field(default=None, description="The actor who wrote them, by id or key.")
    said_in: str | None = strawberry.field(default=None, description="The session in which they were written.")
    read_from: str | None = strawberry.field(
        default=None, description="The origin that was given as their source: a URL, a path."
    )
    since: datetime | None = strawberry.field(default=None, description="Only what was recorded after this.")
    until: datetime | None = strawberry.field(default=None, description="Only what was recorded up to this (now).")
    dry_run: bool | None = strawberry.field(default=False, description="Only say what would be taken back.")
    after: str | None = strawberry.field(default=None, description="`next` of the call before.")
    by: str | None = strawberry.field(default=None, description="Who says so, such as human:ada.")
    session: str | None = strawberry.field(default=None, description="In which session that is said.")


@strawberry.type
class RetractMutation:
    """Undoing by source."""

    @strawberry.mutation(
        graphql_type=RetractAllPayload,
        description=(
            "Say that nothing an actor, a session or a source said was ever true: what it displaced holds again. "
            "Made again, it takes back what is left."
        ),
    )
    async def retract_all(
        self, info: Info, input: RetractAllInput,  # noqa: A002
        space: InSpace = None,
    ) -> retracting.Retraction:  # fmt: skip
        """Undo by source."""
        view = info.context.write(info, space)
        done = await view.memory.retract_all(
            because=input.because, said_by=input.said_by, said_in=input.said_in, read_from=input.read_from,
            since=input.since, until=input.until, dry_run=bool(input.dry_run), after=input.after, by=input.by,
            session=input.session,
        )  # fmt: skip
        info.context.spend(len(done.facts) + len(done.left))
        return done
