"""Where runs lose money and time, over GraphQL."""

from __future__ import annotations

from typing import Annotated, Final

import strawberry

from latewood.execution import ranking
from latewood.memory.runs import book_of
from latewood.server.graphql.arguments import InSpace
from latewood.server.graphql.context import Info
from latewood.server.graphql.scalars import BigInt
from latewood.server.graphql.types import field

__all__ = ["StageQuery"]

_RANKED: Final = 200


def _stage_cost(root: strawberry.Parent[ranking.RankedStage]) -> str | None:
    return None if root.cost is None else str(root.cost)


@strawberry.type(description="What one stage of a workflow used, over all of its steps.")
class RankedStage:
    """What one stage of a workflow used."""

    workflow: str = field("Of which workflow.")
    stage: str = field("The steps' name, or the stage that a model call names.")
    steps: int = field("How many steps.")
    tries: int = field("How many tries these took.")
    failed: int = field("How many of the tries failed.")
    tokens: BigInt = field("What all tries used, as far as anybody counted.")
    uncounted: int = field("Tries that asked a model and said nothing of tokens.")
    cost: str | None = field("What the tries cost that have a price, as an exact number.", _stage_cost)
    currency: str | None = field("In which currency; null too where there are several.")
    seconds: float = field("How long all of them took, from begin to end, waits and retries within.")
    p50_s: float = strawberry.field(name="p50Seconds", description="How long half of them took at most.")
    p95_s: float = strawberry.field(name="p95Seconds", description="How long 95 % of them took at most.")
    waiting: int = field("How many have not ended.")


@strawberry.type(description="Where the newest runs lost money and time: the same stages in two orders.")
class Ranking:
    """Stages in two orders."""

    runs: int = field("How many runs were gone through, the newest.")
    more: bool = field("Whether there are others, which were not.")
    by_cost: list[RankedStage] = field("The costliest first; without prices, those that used most tokens.")
    by_wait: list[RankedStage] = field("Those first that keep a run longest, by their p95.")


@strawberry.type
class StageQuery:
    """Stages of runs."""

    @strawberry.field(
        graphql_type=Ranking, description="The stages of the newest runs, ranked by cost and by how long they take."
    )
    async def stages(
        self, info: Info,
        workflow: Annotated[str | None, strawberry.argument(description="Only of this workflow.")] = None,
        runs: Annotated[int | None, strawberry.argument(description=f"Of how many runs, 1 to {ranking.RUNS_MAX}.")]
        = _RANKED, space: InSpace = None,
    ) -> ranking.Ranking:  # fmt: skip
        """Rank stages."""
        view = info.context.look(info, space)
        found = await ranking.rank_stages(
            book_of(view.memory), workflow=workflow, runs=_RANKED if runs is None else runs
        )
        info.context.spend(2 * len(found.by_cost))
        return found
