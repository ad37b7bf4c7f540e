"""API keys over GraphQL, for those who administer a tenant: their own tenant's, and no other's."""

from __future__ import annotations

from datetime import datetime, timedelta

import strawberry

from latewood.graph_schema.errors import ForbiddenError, InvalidError
from latewood.graph_schema.model import Trust
from latewood.memory import keys as made
from latewood.memory.credentials import BoundMemory, Scope
from latewood.memory.receiving import note_refusal
from latewood.server.graphql.context import Info
from latewood.server.graphql.scalars import describe
from latewood.server.graphql.types import field

__all__ = ["KeyMutation", "KeyQuery", "administered"]

_HOURS_MAX = 24 * 366
describe(
    Scope,
    "What a credential allows. None contains another.",
    {
        Scope.READ: "Reading, subscriptions too.",
        Scope.WRITE: "Every verb that writes, but erase.",
        Scope.ERASE: "Erasing; a person's trust as well.",
        Scope.RUN: "Recording runs and their steps.",
        Scope.ADMIN: "Keys, spaces, and what keeps the store in order.",
    },
)
describe(
    made.KeyState,
    "Whether a key counts.",
    {
        made.KeyState.ACTIVE: "It counts.",
        made.KeyState.EXPIRED: "Its time ran out.",
        made.KeyState.REVOKED: "Somebody revoked it, or let another follow it.",
    },
)


@strawberry.type(description="An API key, without its secret.")
class ApiKey:
    """An API key, without its secret."""

    id: strawberry.ID = field("The part of the key between its underscores.")
    name: str = field("What it is for.")
    tenant: str = field("Whose data it reaches.")
    actor: str = field("Who writes with it.")
    on_behalf_of: str | None = field("For whom.")
    scopes: list[Scope] = field("What it allows.")
    trust: Trust | None = field("The ceiling of what it asserts; null for that of its actor's kind.")
    state: made.KeyState = field("Whether it counts.")
    created_at: datetime = field("When it was made.")
    ends_at: datetime | None = field("When it expires, or was or will be revoked.")


@strawberry.type(description="A key that was just made.")
class NewKey:
    """A key that was just made."""

    key: ApiKey = field("How it will show from now on.")
    secret: str = field("The whole key, shown this once: only its hash is kept.")


@strawberry.input(description="A new key.")
class CreateKeyInput:
    """A new key."""

    name: str = strawberry.field(description="What it is for.")
    actor: str = strawberry.field(description="Who writes with it, such as agent:planner or human:ada.")
    scopes: list[Scope] = strawberry.field(description="What it allows.")
    on_behalf_of: str | None = strawberry.field(default=None, description="For whom the actor acts.")
    trust: Trust | None = strawberry.field(default=None, description="A ceiling for what it asserts.")
    expires_at: datetime | None = strawberry.field(
        default=None, description="Until when it counts; left out, for good."
    )


@strawberry.input(description="A key to be followed by another.")
class RotateKeyInput:
    """A key to be followed by another."""

    id: strawberry.ID = strawberry.field(description="Which one.")
    grace_hours: int | None = strawberry.field(default=24, description="How long it counts on.")


@strawberry.input(description="A key that is to count no more.")
class RevokeKeyInput:
    """A key that is to count no more."""

    id: strawberry.ID = strawberry.field(description="Which one.")
    because: str | None = strawberry.field(default=None, description="Why; kept in the ledger.")


async def administered(info: Info, what: str) -> None:
    """Refuse whoever may not administer the tenant. Raises ForbiddenError (``credential.scope``)."""
    memory = info.context.memory
    if isinstance(memory, BoundMemory):
        try:
            memory.require(Scope.ADMIN, what)
        except ForbiddenError as error:
            await note_refusal(memory, error, info.field_name.encode())
            raise


async def _administered(info: Info) -> tuple[made.Keys, str, str]:
    """Return the keys, and the tenant and the actor who asks. Raises ForbiddenError (``credential.scope``)."""
    await administered(info, "looking after keys")
    memory = info.context.memory
    return info.context.keys, memory.store.tenant, memory.default_actor()


@strawberry.type
class KeyQuery:
    """What can be asked about keys."""

    @strawberry.field(graphql_type=list[ApiKey], description="The tenant's keys, the newest first. Scope: admin.")
    async def keys(self, info: Info) -> tuple[made.ApiKey, ...]:
        """List keys."""
        keys, tenant, _ = await _administered(info)
        return await keys.list(tenant)


@strawberry.type
class KeyMutation:
    """What can be done with keys."""

    @strawberry.mutation(graphql_type=NewKey, description="Make a key for the caller's tenant. Scope: admin.")
    async def create_key(self, info: Info, input: CreateKeyInput) -> made.NewKey:  # noqa: A002
        """Make a key."""
        keys, tenant, actor = await _administered(info)
        return await keys.create(
            input.name, tenant=tenant, actor=input.actor, scopes=[str(one) for one in input.scopes],
            on_behalf_of=input.on_behalf_of, trust=input.trust, expires_at=input.expires_at, by=actor,
        )  # fmt: skip

    @strawberry.mutation(
        graphql_type=NewKey, description="Make a key that may do what another may, which soon ends. Scope: admin."
    )
    async def rotate_key(self, info: Info, input: RotateKeyInput) -> made.NewKey:  # noqa: A002
        """Rotate a key."""
        keys, tenant, actor = await _administered(info)
        hours = 24 if input.grace_hours is None else input.grace_hours
        if not 0 <= hours <= _HOURS_MAX:
            raise InvalidError(f"graceHours is {hours}; it is 0 to {_HOURS_MAX}", code="credential.malformed")
        return await keys.rotate(str(input.id), tenant, by=actor, grace=timedelta(hours=hours))

    @strawberry.mutation(graphql_type=ApiKey, description="Let a key count no more, from now on. Scope: admin.")
    async def revoke_key(self, info: Info, input: RevokeKeyInput) -> made.ApiKey:  # noqa: A002
        """Revoke a key."""
        keys, tenant, actor = await _administered(info)
        return await keys.revoke(str(input.id), tenant, by=actor, because=input.because)
