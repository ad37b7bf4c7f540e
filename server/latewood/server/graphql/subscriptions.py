"""Watching a ledger."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

import strawberry

from latewood.graph_schema import events
from latewood.graph_schema.errors import ForbiddenError, InvalidError
from latewood.server.graphql.answers import LedgerEntry
from latewood.server.graphql.arguments import InSpace
from latewood.server.graphql.context import Info
from latewood.server.graphql.scalars import BigInt, Ledger

__all__ = ["Subscription"]

_ALL = BigInt(0)


@strawberry.type(description="What is pushed as it happens, over graphql-transport-ws or as server-sent events.")
class Subscription:
    """What is pushed as it happens."""

    @strawberry.subscription(
        graphql_type=LedgerEntry,
        description="The ledger's rows behind `after`, then each new one as it is written: each once, none missed.",
    )
    async def changes(
        self, info: Info,
        after: Annotated[BigInt | None, strawberry.argument(description="The last row you have; 0 for all.")] = _ALL,
        ledger: Annotated[Ledger | None, strawberry.argument(description="Which one.")] = Ledger.KNOWLEDGE,
        space: InSpace = None,
    ) -> AsyncGenerator[events.LedgerEntry, None]:  # fmt: skip
        """Follow a ledger."""
        seq = after or 0
        if seq < 0:
            raise InvalidError(f"after is {seq}; a ledger begins behind 0", code="cursor.invalid")
        view = info.context.look(info, space)
        named = "execution" if ledger is Ledger.EXECUTION else "knowledge"
        heads = {one.name: one.seq[named] for one in await view.memory.spaces()}
        info.context.head = heads.get(view.memory.space, 0)
        async for entry in view.memory.watch(seq, ledger=named):
            if not await info.context.still():
                raise ForbiddenError("the credential of this subscription counts no more", code="credential.expired")
            yield entry
