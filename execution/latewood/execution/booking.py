"""What the model calls of a run used: a row a try, and sums by stage. A sum with an unknown part is unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import cast

from latewood.execution.pricing import CACHED, INPUT, OUTPUT, REASONING
from latewood.execution.words import Place, Step
from latewood.graph_schema.values import Json

__all__ = ["Call", "Saved", "Stage", "calls_of", "saved_by", "stages_of"]


@dataclass(frozen=True, slots=True)
class Call:
    """One try at asking a model. A count or a cost that nobody knows is None.

    Attributes:
        fault: the class of its trouble, of one that failed.
        model_policy: the version of the policy that let it be asked, or did not.
    """

    stage: str
    place: Place
    number: int
    model: str
    outcome: str
    fault: str | None
    input: int | None
    output: int | None
    cached: int | None
    reasoning: int | None
    cost: Decimal | None
    currency: str | None
    model_policy: str | None

    @property
    def tokens(self) -> int | None:
        """Input and output together."""
        return None if self.input is None or self.output is None else self.input + self.output


@dataclass(frozen=True, slots=True)
class Stage:
    """What all tries of a stage used together; a stage that asks no model has no calls."""

    stage: str
    steps: int
    calls: int
    tokens: int | None
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Saved:
    """What the calls cost that a resumed run does not make again: those that counted, of completed steps.

    Attributes:
        amounts: by currency, as far as costs are known.
        unknown: how many of the calls have a cost that nobody knows.
    """

    amounts: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    unknown: int = 0

    def words(self) -> str:
        """Return it for people; empty where no model was asked."""
        known = [f"{amount} {currency}".strip() for currency, amount in sorted(self.amounts.items())]
        if self.unknown:
            known.append(f"{self.unknown:,} calls of unknown cost")
        return " and ".join(known)


def saved_by(steps: Sequence[Step], calls: Sequence[Call]) -> Saved:
    """Return what a resumed run of *steps* does not pay for again."""
    done = {step.place for step in steps if step.completed}
    amounts: dict[str, Decimal] = {}
    unknown = 0
    for call in calls:
        if call.place not in done or call.fault is not None:
            continue
        if call.cost is None:
            unknown += 1
        else:
            currency = call.currency or ""
            amounts[currency] = amounts.get(currency, Decimal(0)) + call.cost
    return Saved(amounts, unknown)


def calls_of(steps: Sequence[Step], attempts: Mapping[str, Sequence[Mapping[str, Json]]]) -> tuple[Call, ...]:
    """Return the tries that asked a model, by place and number."""
    return tuple(
        _call(step, one) for step in steps for one in attempts.get(step.id, ()) if isinstance(one.get("model"), str)
    )


def _call(step: Step, tried: Mapping[str, Json]) -> Call:
    given = tried.get("usage")
    usage = cast("Mapping[str, Json]", given if isinstance(given, dict) else {})

    def count(name: str) -> int | None:
        found = usage.get(name)
        return found if isinstance(found, int) else None

    def text(name: str) -> str | None:
        found = tried.get(name)
        return found if isinstance(found, str) else None

    number = tried.get("number")
    return Call(
        text("stage") or step.name, step.place, number if isinstance(number, int) else 0, str(tried["model"]),
        str(tried.get("outcome")), text("class"), count(INPUT), count(OUTPUT), count(CACHED), count(REASONING),
        _money(text("cost")), text("currency"), text("model_policy"),
    )  # fmt: skip


def _money(text: str | None) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        return None


def stages_of(steps: Sequence[Step], calls: Sequence[Call]) -> tuple[Stage, ...]:
    """Return the stages of a run, the costliest first, then those that used most tokens; unknown sums lead."""
    by_place = {call.place: call.stage for call in calls}
    of_stage: dict[str, list[Call]] = {}
    count: dict[str, int] = {}
    for step in steps:
        if step.sort in ("sleep", "question", "child"):
            continue
        name = by_place.get(step.place, step.name)
        count[name] = count.get(name, 0) + 1
        of_stage.setdefault(name, [])
    for call in calls:
        of_stage.setdefault(call.stage, []).append(call)
    stages = [
        Stage(name, count.get(name, 0), len(made), _tokens(made), _cost(made)) for name, made in of_stage.items()
    ]  # fmt: skip
    return tuple(sorted(stages, key=_weight))


def _tokens(calls: Sequence[Call]) -> int | None:
    counts = [call.tokens for call in calls]
    known = [one for one in counts if one is not None]
    return sum(known) if len(known) == len(counts) else None


def _cost(calls: Sequence[Call]) -> Decimal | None:
    costs = [call.cost for call in calls]
    known = [one for one in costs if one is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None


def _weight(stage: Stage) -> tuple[bool, Decimal, bool, int, str]:
    cost, tokens = stage.cost, stage.tokens
    return (cost is not None, -(cost or Decimal(0)), tokens is not None, -(tokens or 0), stage.stage)
