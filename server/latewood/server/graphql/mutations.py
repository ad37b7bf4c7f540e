"""Every verb that writes. The payload carries the receipt: what it names is durable, and every reader sees it."""

from __future__ import annotations

from typing import Annotated

import strawberry

from latewood.graph_schema.model import DecisionStatus
from latewood.memory import ErasureReport, Written
from latewood.memory.proposals import accept, reject
from latewood.server.graphql.agents import AgentMutation
from latewood.server.graphql.amending import AmendingMutation
from latewood.server.graphql.answers import (
    DecisionPayload,
    ErasurePayload,
    FactPayload,
    ProposalPayload,
    SpacePayload,
    SupersedePayload,
)
from latewood.server.graphql.context import Info
from latewood.server.graphql.hooking import HookMutation
from latewood.server.graphql.inputs import (
    AcceptProposalInput,
    CorrectInput,
    CreateSpaceInput,
    DecideInput,
    EndInput,
    EraseInput,
    ObserveInput,
    RejectProposalInput,
    RelateInput,
    RetractInput,
    SupersedeInput,
    scalar,
)
from latewood.server.graphql.keys import KeyMutation
from latewood.server.graphql.merging import MergeMutation
from latewood.server.graphql.patterns import PatternMutation
from latewood.server.graphql.posting import PostMutation
from latewood.server.graphql.retracting import RetractMutation
from latewood.server.graphql.runs import RunMutation
from latewood.server.graphql.upkeep import UpkeepMutation
from latewood.storage import port

__all__ = ["Mutation"]

SpaceArgument = Annotated[str | None, strawberry.argument(description="The space to write; left out, `default`.")]


@strawberry.type(description="Every verb that writes.")
class Mutation(
    AgentMutation,
    AmendingMutation,
    HookMutation,
    KeyMutation,
    MergeMutation,
    PatternMutation,
    PostMutation,
    RetractMutation,
    RunMutation,
    UpkeepMutation,
):
    """Every verb that writes."""

    @strawberry.mutation(graphql_type=DecisionPayload, description="Record a decision with its reasons.")
    async def decide(self, info: Info, input: DecideInput, space: SpaceArgument = None) -> Written:  # noqa: A002
        """Record a decision."""
        view, writer = info.context.write(info, space), input.writer()
        return await view.memory.decide(
            input.choice, because=input.because, title=input.title, question=input.question, about=input.about or (),
            evidence=input.evidence or (), trigger=input.trigger or (), alternatives=input.rejected(),
            supersedes=input.supersedes or (), consequences=input.consequences, confidence=input.confidence,
            expected=input.expected, status=input.status or DecisionStatus.ACCEPTED,
            key=input.key, decided_at=input.decided_at, decided_by=input.decided_by or (), by=writer.by,
            session=writer.session, source=writer.source, idempotency_key=writer.idempotency_key,
        )  # fmt: skip

    @strawberry.mutation(graphql_type=FactPayload, description="Assert a value of a subject, for a valid period.")
    async def observe(self, info: Info, input: ObserveInput, space: SpaceArgument = None) -> Written:  # noqa: A002
        """Assert a value."""
        view, writer = info.context.write(info, space), input.writer()
        return await view.memory.observe(
            input.subject, input.predicate, scalar(input.value, input.value_kind), unit=input.unit,
            valid_from=input.valid_from, valid_to=input.valid_to, as_written=input.as_written, quote=input.quote,
            trust=input.trust, expected_version=input.expected_version, by=writer.by, session=writer.session,
            source=writer.source, idempotency_key=writer.idempotency_key,
        )  # fmt: skip

    @strawberry.mutation(graphql_type=FactPayload, description="Assert a relation of a subject to a target.")
    async def relate(self, info: Info, input: RelateInput, space: SpaceArgument = None) -> Written:  # noqa: A002
        """Assert a relation."""
        view, writer = info.context.write(info, space), input.writer()
        return await view.memory.relate(
            input.subject, input.predicate, input.target, valid_from=input.valid_from, valid_to=input.valid_to,
            quote=input.quote, trust=input.trust, expected_version=input.expected_version, by=writer.by,
            session=writer.session, source=writer.source, idempotency_key=writer.idempotency_key,
        )  # fmt: skip

    @strawberry.mutation(
        graphql_type=FactPayload, description="Say that a fact was never so, and what was; what was known stays known."
    )
    async def correct(self, info: Info, input: CorrectInput, space: SpaceArgument = None) -> Written:  # noqa: A002
        """Correct a fact."""
        view, writer = info.context.write(info, space), input.writer()
        return await view.memory.correct(
            input.fact, None if input.value is None else scalar(input.value, input.value_kind), target=input.target,
            unit=input.unit, valid_from=input.valid_from, valid_to=input.valid_to, because=input.because,
            by=writer.by, session=writer.session, source=writer.source, idempotency_key=writer.idempotency_key,
        )  # fmt: skip

    @strawberry.mutation(
        graphql_type=FactPayload, description="Say that a fact stopped being true, and nothing followed it."
    )
    async def end(self, info: Info, input: EndInput, space: SpaceArgument = None) -> Written:  # noqa: A002
        """End a fact."""
        view, writer = info.context.write(info, space), input.writer()
        return await view.memory.end(
            input.fact, at=input.at, because=input.because, by=writer.by, session=writer.session,
            source=writer.source, idempotency_key=writer.idempotency_key,
        )  # fmt: skip

    @strawberry.mutation(
        graphql_type=FactPayload, description="Say that a fact was never true: what it displaced holds again."
    )
    async def retract(self, info: Info, input: RetractInput, space: SpaceArgument = None) -> Written:  # noqa: A002
        """Retract a fact."""
        view, writer = info.context.write(info, space), input.writer()
        return await view.memory.retract(
            input.fact, because=input.because, by=writer.by, session=writer.session, source=writer.source,
            idempotency_key=writer.idempotency_key,
        )  # fmt: skip

    @strawberry.mutation(
        graphql_type=ErasurePayload,
        description="Let the words of a fact, or of a node with all about it, be gone for good. Only a person may.",
    )
    async def erase(self, info: Info, input: EraseInput, space: SpaceArgument = None) -> ErasureReport:  # noqa: A002
        """Erase a fact or a node."""
        view, writer = info.context.write(info, space), input.writer()
        return await view.memory.erase(
            input.target, reason=input.reason, by=writer.by, session=writer.session, source=writer.source,
            idempotency_key=writer.idempotency_key,
        )  # fmt: skip

    @strawberry.mutation(
        graphql_type=SupersedePayload,
        description="Let a decision take another's place: its edge and the other's status.",
    )
    async def supersede(self, info: Info, input: SupersedeInput, space: SpaceArgument = None) -> Written:  # noqa: A002
        """Supersede a decision."""
        view, writer = info.context.write(info, space), input.writer()
        return await view.memory.supersede(
            input.old, input.new, at=input.at, by=writer.by, session=writer.session, source=writer.source,
            idempotency_key=writer.idempotency_key,
        )  # fmt: skip

    @strawberry.mutation(
        graphql_type=ProposalPayload, description="Write what a model's proposal says, and settle it, in one unit."
    )
    async def accept_proposal(
        self, info: Info, input: AcceptProposalInput, space: SpaceArgument = None,  # noqa: A002
    ) -> Written:  # fmt: skip
        """Accept a proposal."""
        view = info.context.write(info, space)
        return await accept(view.memory, input.proposal, by=input.by, session=input.session)

    @strawberry.mutation(
        graphql_type=ProposalPayload, description="Settle a model's proposal as not so; it stays, with the reason."
    )
    async def reject_proposal(
        self, info: Info, input: RejectProposalInput, space: SpaceArgument = None,  # noqa: A002
    ) -> Written:  # fmt: skip
        """Reject a proposal."""
        view = info.context.write(info, space)
        return await reject(view.memory, input.proposal, because=input.because, by=input.by, session=input.session)

    @strawberry.mutation(graphql_type=SpacePayload, description="Make a space.")
    async def create_space(self, info: Info, input: CreateSpaceInput) -> MadeSpace:  # noqa: A002
        """Make a space."""
        return MadeSpace(await info.context.memory.create_space(input.name, strict=bool(input.strict)))


class MadeSpace:
    """What `createSpace` answers with."""

    def __init__(self, space: port.Space) -> None:
        """Hold the new space."""
        self.space = space
