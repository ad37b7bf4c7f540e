"""Patterns across sessions over GraphQL: look, list, read one with its evidence, review."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from latewood.graph_schema.errors import ForbiddenError, InvalidError, NotFoundError
from latewood.graph_schema.patterns import PatternKind, PatternReview, PatternStatus
from latewood.memory import Written, following
from latewood.memory import patterns as keeping
from latewood.server.graphql.answers import Receipt
from latewood.server.graphql.arguments import After, AsOfArgument, First, InSpace
from latewood.server.graphql.connections import Connection, Paged, read_pages
from latewood.server.graphql.context import Info
from latewood.server.graphql.inputs import instants
from latewood.server.graphql.scalars import BigInt, describe
from latewood.server.graphql.types import field
from latewood.storage.port import Page

__all__ = ["PatternMutation", "PatternQuery", "PatternSubscription"]

_ALL = BigInt(0)

Statuses = Annotated[
    list[PatternStatus] | None, strawberry.argument(description="Only these; left out, those that are open or fading.")
]

describe(
    PatternKind,
    "What sort of pattern it is.",
    {
        PatternKind.TREND: "A number drifts.",
        PatternKind.SHIFT: "A number changed its level.",
        PatternKind.ANOMALY: "One value stands out from its series.",
        PatternKind.RECURRENCE: "A deviation came back period after period.",
        PatternKind.REVERSAL: "A choice goes back and forth.",
        PatternKind.RULE: "One occurrence is followed by another.",
        PatternKind.STALENESS: "A decision stands on evidence that moved.",
        PatternKind.CONTRADICTION: "Sources disagree, and nobody has settled it.",
        PatternKind.OUTCOME: "Decisions about one thing, or of one actor, keep being undone or turning out badly.",
    },
)
describe(
    PatternStatus,
    "Where a pattern stands.",
    {
        PatternStatus.OPEN: "It holds.",
        PatternStatus.FADING: "It held at the look before, and does not at this one.",
        PatternStatus.ENDED: "It held once.",
        PatternStatus.WITHDRAWN: "Evidence was taken back, and it does not hold without.",
    },
)
describe(
    PatternReview,
    "What a person made of a pattern.",
    {
        PatternReview.ACCEPTED: "It is so.",
        PatternReview.MUTED: "It is so, and no news.",
        PatternReview.REJECTED: "It is not so.",
    },
)


@strawberry.type(description="What recurs, drifts, shifts, flips back or follows across sessions.")
class Pattern:
    """A pattern as it is kept."""

    id: strawberry.ID = field("Its id.")
    key: str = field("Its key: kind, scope and predicate.")
    kind: PatternKind = field("What sort of pattern it is.")
    status: PatternStatus = field("Where it stands.")
    predicate: str = field("Of which predicate.")
    statement: str = field("One plain sentence with the numbers.")
    family: str = field("How it was judged.")
    judged: int = field("Among how many, together.")
    p: float | None = field("The chance of as much in noise, of it alone; null where it is counted, not tested.")
    q: float | None = field("The false discovery rate at which it is still among the findings.")
    effect: float | None = field("The size.")
    low: float | None = field("Where its 95 % interval begins.")
    high: float | None = field("Where that ends.")
    unit: str | None = field("The unit of the size.")
    since: datetime = field("Its onset.")
    until: datetime = field("The latest that spoke for it when its words were written.")
    support: int = field("How many facts spoke for it.")
    detail: JSON = field("What else its kind has to say.")
    recorded_at: datetime = field("When its words were written.")
    version: BigInt = field("The ledger's row of the last event about it.")
    review: PatternReview | None = field("What a person made of it.")
    reason: str | None = field("Why.")
    about: list[strawberry.ID] = field("The entities that it is about.")
    evidence: list[strawberry.ID] = field("The facts that speak for it; empty in a list.")


@strawberry.type(description="A series that was not looked at, and why.")
class SkippedSeries:
    """A series that was not looked at."""

    subject: str = field("The entity's id; empty where it is about all.")
    predicate: str = field("Of which predicate.")
    reason: str = field("Why not, in words.")


@strawberry.type(description="A detector that broke; the others went on.")
class FailedDetector:
    """A detector that broke."""

    detector: str = field("Which one.")
    reason: str = field("What it said.")


@strawberry.type(description="What a look for patterns came to.")
class DetectReport:
    """What a look came to."""

    opened: list[str] = field("Statements of patterns that are new, or back.")
    changed: list[str] = field("Statements of patterns that say something else now.")
    kept: list[str] = field("Statements of patterns that are as they were.")
    waiting: list[str] = field("What holds for the first time: the next look decides.")
    fading: list[str] = field("Keys of patterns that held at the look before.")
    ended: list[str] = field("Keys of patterns that no longer hold.")
    withdrawn: list[str] = field("Keys of patterns whose evidence was taken back.")
    looked: int = field("How many series there were.")
    skipped: list[SkippedSeries] = field("What could not be looked at, the first 1,000.")
    skipped_count: int = field("How many those are in all.")
    failed: list[FailedDetector] = field("Detectors that broke.")
    facts: int = field("How many facts were written.")


@strawberry.type(description="A pattern that opened, changed, faded, ended, was withdrawn or reviewed.")
class PatternChange:
    """A pattern that changed."""

    seq: BigInt = field("The ledger's row that says so; subscribe again behind it.")
    pattern: Pattern = field("The pattern as it is now, without its evidence.")


@strawberry.type(description="What reviewing a pattern wrote.")
class ReviewPayload:
    """What a review wrote."""

    id: strawberry.ID = field("The fact that has the verdict.")
    receipt: Receipt = field("What became of the write.")


@strawberry.input(description="What a person makes of a pattern.")
class ReviewPatternInput:
    """A review."""

    pattern: str = strawberry.field(description="Its id or key.")
    verdict: PatternReview = strawberry.field(description="accepted, muted or rejected.")
    because: str = strawberry.field(description="The reason.")
    by: str | None = strawberry.field(default=None, description="Who says so, such as human:ada.")
    session: str | None = strawberry.field(default=None, description="In which session.")


@strawberry.type
class PatternQuery:
    """Patterns that are kept."""

    @strawberry.field(graphql_type=Pattern | None, description="One pattern with its evidence; null when it is none.")
    async def pattern(
        self, info: Info, id: Annotated[str, strawberry.argument(description="Its id or key.")],  # noqa: A002
        space: InSpace = None, as_of: AsOfArgument = None,
    ) -> keeping.Pattern | None:  # fmt: skip
        """Read one pattern."""
        view = info.context.look(info, space, instants(as_of))
        try:
            found = await keeping.explain(view.memory, id, at=await view.settled())
        except NotFoundError as error:
            if error.code != "node.not_found":
                raise
            return None
        info.context.spend(len(found.evidence))
        return found

    @strawberry.field(graphql_type=Connection[Pattern], description="Patterns, the latest first.")
    async def patterns(
        self, info: Info, status: Statuses = None,
        kind: Annotated[PatternKind | None, strawberry.argument(description="Only this kind.")] = None,
        about: Annotated[str | None, strawberry.argument(description="Only of this entity, by id or key.")] = None,
        hidden: Annotated[bool | None, strawberry.argument(description="Muted and rejected ones too.")] = None,
        first: First = 50, after: After = None, space: InSpace = None, as_of: AsOfArgument = None,
    ) -> Paged[keeping.Pattern]:  # fmt: skip
        """List patterns."""
        view = info.context.look(info, space, instants(as_of))

        async def read(count: int, cursor: str | None) -> Page[keeping.Pattern]:
            return await keeping.patterns(
                view.memory, status=(PatternStatus.OPEN, PatternStatus.FADING) if status is None else status,
                kind=kind, about=about, hidden=bool(hidden), first=count, after=cursor, at=await view.settled(),
            )  # fmt: skip

        found = await read_pages(read, lambda one: one.id, 50 if first is None else first, after)
        info.context.spend(len(found.edges))
        return found


@strawberry.type
class PatternMutation:
    """Looking for patterns, and reviewing them."""

    @strawberry.mutation(
        graphql_type=DetectReport,
        description="Look for patterns in all series and keep what is found; the same data again writes nothing.",
    )
    async def detect_patterns(self, info: Info, space: InSpace = None) -> keeping.DetectReport:
        """Look for patterns."""
        return await keeping.detect(info.context.write(info, space).memory)

    @strawberry.mutation(graphql_type=ReviewPayload, description="Accept, mute or reject a pattern, for a reason.")
    async def review_pattern(self, info: Info, input: ReviewPatternInput, space: InSpace = None) -> Written:  # noqa: A002
        """Review a pattern."""
        view = info.context.write(info, space)
        return await keeping.review(
            view.memory, input.pattern, input.verdict, because=input.because, by=input.by, session=input.session
        )


@strawberry.type
class PatternSubscription:
    """Following patterns."""

    @strawberry.subscription(
        graphql_type=PatternChange,
        description="Patterns that changed behind `after`, then each that does; what changed often comes as it is now.",
    )
    async def pattern_changes(
        self, info: Info,
        after: Annotated[BigInt | None, strawberry.argument(description="The last row you have; 0 for all.")] = _ALL,
        space: InSpace = None,
    ) -> AsyncGenerator[following.PatternChange, None]:  # fmt: skip
        """Follow the patterns of a space."""
        seq = after or 0
        if seq < 0:
            raise InvalidError(f"after is {seq}; a ledger begins behind 0", code="cursor.invalid")
        view = info.context.look(info, space)
        async for change in following.watch_patterns(view.memory, seq):
            if not await info.context.still():
                raise ForbiddenError("the credential of this subscription counts no more", code="credential.expired")
            yield change
