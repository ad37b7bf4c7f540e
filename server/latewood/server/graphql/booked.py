"""What is kept of a step, over GraphQL: its tries, its costs as exact amounts in text, and who vouched for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import strawberry
from strawberry.scalars import JSON

from latewood.execution import booking
from latewood.execution.logbook import due_of
from latewood.graph_schema.clock import from_micros, parse_instant
from latewood.server.graphql.scalars import BigInt

__all__ = ["Amount", "Attempt", "RunStage", "Saves", "Vouch", "attempt_told", "saves_told", "stages_told", "vouch_told"]


@strawberry.type(description="One try at a step.")
class Attempt:
    """One try at a step."""

    number: int = strawberry.field(description="Which one, from 1.")
    outcome: str = strawberry.field(description="completed or failed.")
    seconds: float = strawberry.field(description="How long it took.")
    error_class: str | None = strawberry.field(description="Of which class its trouble was.")
    error: str | None = strawberry.field(description="The trouble's words.")
    policy: str | None = strawberry.field(description="The version of the policy that it went by.")
    model: str | None = strawberry.field(description="The model that was asked, if one was.")
    stage: str | None = strawberry.field(description="Of a model call, the stage that it is booked under.")
    cost: str | None = strawberry.field(description="What it cost by the prices of then, as an exact number.")
    currency: str | None = strawberry.field(description="In which currency.")
    prices: str | None = strawberry.field(description="The version of the price table that the cost is by.")
    data: str | None = strawberry.field(description="Of a model call, the class of the data that was sent.")
    model_policy: str | None = strawberry.field(description="The version of the policy that let the model be asked.")
    usage: JSON | None = strawberry.field(description="Tokens that were booked; a count that nobody gave is left out.")
    retry_at: datetime | None = strawberry.field(description="When the next try is due.")


def attempt_told(told: Mapping[str, Any]) -> Attempt:
    """Tell of a try."""
    due = due_of([told])
    return Attempt(
        number=int(told.get("number", 0)), outcome=str(told.get("outcome", "")), seconds=float(told.get("seconds", 0)),
        error_class=told.get("class"), error=told.get("message"), policy=told.get("policy"), model=told.get("model"),
        stage=told.get("stage"), cost=told.get("cost"), currency=told.get("currency"), prices=told.get("prices"),
        data=told.get("data"), model_policy=told.get("model_policy"),
        usage=told.get("usage"), retry_at=None if due is None else from_micros(due),
    )  # fmt: skip


@strawberry.type(description="An amount of money.")
class Amount:
    """An amount of money."""

    currency: str = strawberry.field(description="Its currency, as the price table names it.")
    amount: str = strawberry.field(description="An exact number.")


@strawberry.type(description="What the model calls cost that a resume does not make again.")
class Saves:
    """What a resume does not pay for again."""

    amounts: list[Amount] = strawberry.field(description="By currency, as far as costs are known.")
    unknown: int = strawberry.field(description="How many of the calls have a cost that nobody knows.")


@strawberry.type(description="What all tries of a stage of one run used together.")
class RunStage:
    """A stage of a run."""

    stage: str = strawberry.field(description="Its name; of a step that asks no model, the step's.")
    steps: int = strawberry.field(description="How many steps it has.")
    calls: int = strawberry.field(description="How often a model was asked.")
    tokens: BigInt | None = strawberry.field(description="Input and output together; null when a count is unknown.")
    cost: str | None = strawberry.field(description="An exact number; null when the cost of a call is unknown.")


def saves_told(saved: booking.Saved) -> Saves:
    """Tell what a resume saves."""
    return Saves(
        amounts=[Amount(currency=name, amount=str(amount)) for name, amount in sorted(saved.amounts.items())],
        unknown=saved.unknown,
    )


def stages_told(stages: Sequence[booking.Stage]) -> list[RunStage]:
    """Tell what each stage used."""
    return [
        RunStage(
            stage=one.stage, steps=one.steps, calls=one.calls, tokens=cast("BigInt | None", one.tokens),
            cost=None if one.cost is None else str(one.cost),
        )
        for one in stages
    ]  # fmt: skip


@strawberry.type(description="Somebody's word for what came of an effect elsewhere.")
class Vouch:
    """Somebody's word for what came of an effect elsewhere."""

    by: str = strawberry.field(description="Who said so.")
    reason: str = strawberry.field(description="What they saw, and where.")
    at: datetime = strawberry.field(description="When they said so.")


def vouch_told(word: Mapping[str, Any]) -> Vouch:
    """Tell of somebody's word."""
    return Vouch(by=str(word["by"]), reason=str(word["reason"]), at=parse_instant(str(word["at"])))
