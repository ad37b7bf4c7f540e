"""Which models may be asked, about what, and for how much: a policy that people keep in the graph.

It is a fact with a period, like every other: what applied on a day can be asked, and so can what was known to apply.
Only a person changes it; a run that meets its limits ends refused or escalated, before anything is sent to a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from latewood.execution.faults import Action, Fault, FaultClass
from latewood.execution.logbook import Logbook
from latewood.execution.writing import Writing
from latewood.graph_schema.clock import AsOf, to_micros, utc
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.errors import ForbiddenError, InvalidError, LimitError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.model import Trust
from latewood.graph_schema.values import Json, Value, check_text
from latewood.storage.port import FactQuery

__all__ = [
    "OPEN_DATA", "Allowed", "Budget", "ModelPolicy", "Scope", "check_model", "keep_policy", "policy_of",
]  # fmt: skip

OPEN_DATA: Final = "open"
"""The class of data that needs no policy as long as a space has none."""
_KEY: Final = "policy:models"
_PREDICATE: Final = "policy.models"
_ROWS_MAX: Final = 200
_NAME_BYTES_MAX: Final = 200
_ANY: Final = "*"
Scope: TypeAlias = Literal["run", "stage", "space", "tenant"]
"""What a budget is for: one run with its children, one stage of one, all runs of a space, or of all of a tenant's."""
Every: TypeAlias = Literal["day", "month"]


@dataclass(frozen=True, slots=True)
class Allowed:
    """These *models* may be asked at *stage* about *data*; ``*`` stands for any."""

    models: tuple[str, ...]
    stage: str = _ANY
    data: str = _ANY

    def covers(self, stage: str, data: str, model: str) -> bool:
        """Tell whether it lets *model* be asked there."""
        return self.stage in (_ANY, stage) and self.data in (_ANY, data) and bool({_ANY, model} & {*self.models})


@dataclass(frozen=True, slots=True)
class Budget:
    """Most that may be used: tokens (input and output together), or money in the currency of the price table.

    Attributes:
        stage: of a budget for a stage, which one; ``*`` for each.
        every: what is counted begins anew each day or month, in UTC; of a space or a tenant only.
    """

    scope: Scope
    tokens: int | None = None
    cost: Decimal | None = None
    stage: str = _ANY
    every: Every | None = None


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    """What is allowed. *version* is kept with every try that went by it."""

    version: str
    allowed: tuple[Allowed, ...] = ()
    budgets: tuple[Budget, ...] = ()
    document: Mapping[str, Json] = field(default_factory=dict[str, Json], repr=False, compare=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ModelPolicy:
        """Read a policy as it is written down.

        ``{"version": "2", "models": [{"stage": "report", "data": "phi", "models": ["small"]}],
        "budgets": [{"scope": "run", "tokens": 10000}]}``

        Raises:
            InvalidError: it is none; the message names the row.
            LimitError: it has more than 200 rows of a kind.
        """
        unknown = document.keys() - {"version", "models", "budgets"}
        version = document.get("version")
        if unknown or not isinstance(version, str) or not version:
            more = f", and no {', '.join(sorted(unknown))}" if unknown else ""
            raise _malformed(f"it has a version, models and perhaps budgets{more}")
        check_text(version, "the version of a policy", bytes_max=_NAME_BYTES_MAX)
        allowed = tuple(_allowed(row, n) for n, row in enumerate(_rows(document, "models"), 1))
        budgets = tuple(_budget(row, n) for n, row in enumerate(_rows(document, "budgets"), 1))
        return cls(version, allowed, budgets, dict(document))


def _malformed(what: str) -> InvalidError:
    return InvalidError(f"this is no policy for models: {what}", code="query.invalid")


def _rows(document: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    rows = document.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in cast("list[object]", rows)):
        raise _malformed(f"{name} is a list of objects")
    found = cast("list[Mapping[str, Any]]", rows)
    if len(found) > _ROWS_MAX:
        msg = f"a policy has at most {_ROWS_MAX} {name}, not {len(found)}"
        raise LimitError(msg, limit="_ROWS_MAX", maximum=_ROWS_MAX)
    return found


def _word(row: Mapping[str, Any], name: str, where: str) -> str:
    said = row.get(name, _ANY)
    if not isinstance(said, str) or not said:
        raise _malformed(f"the {name} of {where} is no text")
    return check_text(said, f"the {name} of {where}", bytes_max=_NAME_BYTES_MAX)


def _allowed(row: Mapping[str, Any], number: int) -> Allowed:
    where = f"row {number} of models"
    models = row.get("models")
    if row.keys() - {"stage", "data", "models"} or not isinstance(models, list) or not models:
        raise _malformed(f"{where} has a stage, data and a list of models, and nothing else")
    named = tuple(_word({"model": one}, "model", where) for one in cast("list[object]", models))
    return Allowed(named, _word(row, "stage", where), _word(row, "data", where))


def _budget(row: Mapping[str, Any], number: int) -> Budget:
    where = f"row {number} of budgets"
    scope, every, tokens, cost = row.get("scope"), row.get("every"), row.get("tokens"), row.get("cost")
    if row.keys() - {"scope", "stage", "tokens", "cost", "every"} or scope not in get_args(Scope):
        raise _malformed(f"{where} has a scope ({', '.join(get_args(Scope))}), tokens or cost, and perhaps every")
    if every is not None and (every not in get_args(Every) or scope in ("run", "stage")):
        raise _malformed(f"{where}: every is day or month, and of a space or a tenant only")
    if tokens is None and cost is None:
        raise _malformed(f"{where} limits nothing; give it tokens or cost")
    if tokens is not None and (isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0):
        raise _malformed(f"the tokens of {where} are no whole number from 0 on")
    return Budget(cast("Scope", scope), tokens, _money(cost, where), _word(row, "stage", where), every)


def _money(cost: object, where: str) -> Decimal | None:
    if cost is None:
        return None
    try:
        found = Decimal(str(cost))
    except InvalidOperation as error:
        raise _malformed(f"the cost of {where} is no number") from error
    if not found.is_finite() or found < 0:
        raise _malformed(f"the cost of {where} is {found}, no amount from 0 on")
    return found


async def keep_policy(book: Logbook, policy: ModelPolicy, *, valid_from: datetime | None = None) -> Receipt:
    """Let *policy* hold from *valid_from*, or from now on, in the place of the one before. Only a person does that.

    Raises:
        ForbiddenError: the logbook's actor is no person (``trust.too_low``).
    """
    if book.trust.level < Trust.HUMAN.level:
        raise ForbiddenError("which models may be asked is for a person to say, by='human:you'", code="trust.too_low")
    said = Value.of(policy.document, where="the policy")
    node = Ref(key=_KEY, type="policy", name="which models may be asked")
    since = None if valid_from is None else to_micros(utc(valid_from))
    command = Assert(Writing(book.ids).ids.new(), node, _PREDICATE, said, valid_from=since)
    body: list[Json] = ["policy", dict(policy.document), since]
    return await book.keep([command], body=body)


async def policy_of(
    book: Logbook, *, valid_at: datetime | None = None, known_at: datetime | None = None
) -> ModelPolicy | None:  # fmt: skip
    """Return the policy that held at *valid_at*, as known at *known_at*; left out, now. None when there is none."""
    at = AsOf(
        valid_at=None if valid_at is None else utc(valid_at), known_at=None if known_at is None else utc(known_at)
    )
    found = await book.store.nodes(book.space, keys=[_KEY])
    if _KEY not in found:
        return None
    query = FactQuery(subjects=[found[_KEY].id], predicates=[_PREDICATE])
    for fact in await book.store.facts(book.space, query, at):
        # A program that writes the same words by other ways does not change what may be asked.
        if fact.trust.level >= Trust.HUMAN.level and fact.value is not None and isinstance(fact.value.data, dict):
            return ModelPolicy.of(fact.value.data)
    return None


def check_model(policy: ModelPolicy | None, stage: str, data: str, model: str) -> None:
    """Refuse a model that is not allowed. Raises Fault (``permanent``), which names the policy's version."""
    if policy is None:
        if data == OPEN_DATA:
            return
        msg = (
            f"the space has no policy for models, and data of the class {data!r} goes to none without one; a person "
            "sets one, `set_policy`"
        )
        raise Fault(FaultClass.PERMANENT, msg, then=Action.REFUSE)
    if not any(row.covers(stage, data, model) for row in policy.allowed):
        msg = (
            f"policy {policy.version} does not allow model {model!r} at stage {stage!r} for data {data!r}; "
            "`policy` has what it allows"
        )
        raise Fault(FaultClass.PERMANENT, msg, then=Action.REFUSE)
