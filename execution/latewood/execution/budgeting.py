"""Counting what model calls may use, before they are made: a call takes the most that it may need, and gives back.

A budget's count is a node of the execution ledger, moved against the version that was read: of two workers that would
exceed it together, one is stopped. What a lost worker held stays counted: nobody knows whether its call was paid for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeAlias, cast
from weakref import WeakKeyDictionary

from latewood.execution.faults import Action, Fault, FaultClass
from latewood.execution.governing import Budget
from latewood.execution.logbook import Logbook
from latewood.execution.words import Run
from latewood.graph_schema.clock import from_micros
from latewood.graph_schema.commands import Assert, Expect, Ref
from latewood.graph_schema.errors import ConflictError
from latewood.graph_schema.values import Json, Value
from latewood.storage.port import FactQuery

__all__ = ["Held", "Need", "hold", "settle"]

_MICROS: Final = Decimal(1_000_000)
_AGAIN_MAX: Final = 40
_AGAIN_S: Final = 0.02
_DEPTH_MAX: Final = 16
_COUNT: Final = "budget.count"
_DEFAULT_SPACE: Final = "default"
_LOCKS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Need:
    """What a call may use at most; *cost* is None when the model has no price."""

    tokens: int
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Held:
    """What a call holds of which budgets: nodes by key, in the logbooks of their spaces."""

    key: str
    counts: tuple[tuple[Logbook, tuple[str, ...]], ...]
    need: Need


_Counts: TypeAlias = dict[str, Any]


async def hold(book: Logbook, run: Run, budgets: Sequence[Budget], stage: str, key: str, need: Need) -> Held:
    """Take *need* from each budget that a call at *stage* of *run* falls under, from all of them or from none.

    Args:
        key: the same for every try of a step; what an earlier try still holds counts as used.

    Raises:
        Fault: it would exceed one (``permanent``, and the run escalates); the message names it and what is left.
    """
    mine = [one for one in budgets if one.scope != "stage" or one.stage in ("*", stage)]
    root = await _root(book, run) if any(one.scope in ("run", "stage") for one in mine) else run.id
    tenant = book if book.space == _DEFAULT_SPACE else replace(book, space=_DEFAULT_SPACE)
    held = Held(key, (), need)
    for where, scopes in ((book, ("run", "stage", "space")), (tenant, ("tenant",))):
        # Rows of a policy that count the same have one count, and each of them holds: tokens in one, money in another.
        here: dict[str, list[Budget]] = {}
        for one in mine:
            if one.scope in scopes:
                here.setdefault(_name(one, root, stage, where), []).append(one)
        if not here:
            continue
        try:
            await _move(where, list(here), partial(_take, here, held))
        except Fault:
            await settle(held, 0, Decimal(0))
            raise
        held = replace(held, counts=(*held.counts, (where, tuple(here))))
    return held


async def settle(held: Held, tokens: int | None, cost: Decimal | None) -> None:
    """Book what a call used in the place of what it held; of an unknown count, all that it held."""
    used = held.need.tokens if tokens is None else tokens
    paid = held.need.cost if cost is None else cost

    def booked(name: str, count: _Counts) -> None:
        del name
        if held.key not in count["held"]:
            return
        del count["held"][held.key]
        count["tokens"] += used
        count["micros"] += round((paid or Decimal(0)) * _MICROS)

    for where, names in held.counts:
        await _move(where, names, booked)


async def _root(book: Logbook, run: Run) -> str:
    for _ in range(_DEPTH_MAX):
        if run.parent is None:
            break
        run = await book.run(run.parent)
    return run.id


def _name(budget: Budget, root: str, stage: str, book: Logbook) -> str:
    at = from_micros(book.clock.now())
    since = {"day": f"/{at:%Y-%m-%d}", "month": f"/{at:%Y-%m}"}.get(budget.every or "", "")
    if budget.scope == "run":
        return f"budget:run/{root}"
    return f"budget:run/{root}/{stage}" if budget.scope == "stage" else f"budget:{budget.scope}{since}"


def _take(budgets: Mapping[str, Sequence[Budget]], held: Held, name: str, count: _Counts) -> None:
    """Add what a call needs to what is held. Raises Fault when a budget does not allow it."""
    others: dict[str, list[int]] = count["held"]
    before = others.pop(held.key, [0, 0])
    # Nobody knows whether the call of a try that never came back was paid for.
    count["tokens"] += before[0]
    count["micros"] += before[1]
    tokens = count["tokens"] + sum(one[0] for one in others.values())
    micros = count["micros"] + sum(one[1] for one in others.values())
    for budget in budgets[name]:
        _check(name, budget, held.need, tokens, micros)
    others[held.key] = [held.need.tokens, round((held.need.cost or Decimal(0)) * _MICROS)]


def _check(name: str, budget: Budget, need: Need, tokens: int, micros: int) -> None:
    """Raise Fault when *need* is more than is left of a budget."""
    if budget.tokens is not None and tokens + need.tokens > budget.tokens:
        left = max(budget.tokens - tokens, 0)
        raise _over(
            f"{name} is {budget.tokens:,} tokens, of which {left:,} are left; the call may take {need.tokens:,}"
        )
    if budget.cost is not None:
        if need.cost is None:
            raise _over(f"{name} limits the cost, and the price table has no price for the model")
        if Decimal(micros) / _MICROS + need.cost > budget.cost:
            left = max(budget.cost - Decimal(micros) / _MICROS, Decimal(0))
            raise _over(f"{name} is {budget.cost}, of which {left} is left; the call may cost {need.cost}")


def _over(what: str) -> Fault:
    words = f"{what}. Raise it in the policy, then resume the run"
    return Fault(FaultClass.PERMANENT, words, then=Action.ESCALATE)


async def _move(book: Logbook, names: Sequence[str], change: Callable[[str, _Counts], None]) -> None:
    """Change counts that stand together in one space, against the versions that were read."""
    lock = _LOCKS.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    # Those of this process take turns; against others the version decides.
    async with lock:
        for tried in range(_AGAIN_MAX):
            versions, counts = await _read(book, names)
            before = {name: _document(count) for name, count in counts.items()}
            for name, count in counts.items():
                change(name, count)
            moved = [name for name in names if _document(counts[name]) != before[name]]
            commands = [_said(book, name, counts[name]) for name in moved]
            if not commands:
                return
            expects = [Expect(Ref(key=name), versions[name]) for name in moved]
            try:
                await book.keep(commands, body=["budget", list(moved)], expects=expects)
            except ConflictError as error:
                if error.code != "version.conflict" or tried == _AGAIN_MAX - 1:
                    raise
                await asyncio.sleep(_AGAIN_S * random.random())  # noqa: S311 - not a secret
                continue
            return


def _document(count: _Counts) -> dict[str, Json]:
    return {**count, "held": {key: list(one) for key, one in count["held"].items()}}


def _said(book: Logbook, name: str, count: _Counts) -> Assert:
    node = Ref(key=name, type="budget", name=f"used of {name}")
    return Assert(book.ids.new(), node, _COUNT, Value.of(_document(count), where="the count of a budget"))


async def _read(book: Logbook, names: Sequence[str]) -> tuple[dict[str, int], dict[str, _Counts]]:
    nodes = await book.store.nodes(book.space, keys=list(names))
    by_id = {node.id: name for name, node in nodes.items()}
    counts: dict[str, _Counts] = {name: {"tokens": 0, "micros": 0, "held": {}} for name in names}
    if by_id:
        query = FactQuery(subjects=list(by_id), predicates=[_COUNT])
        for fact in await book.store.facts(book.space, query):
            if fact.value is not None and isinstance(fact.value.data, dict):
                counts[by_id[fact.subject_id]] |= cast("Mapping[str, Any]", _copied(fact.value.data))
    return {name: nodes[name].version if name in nodes else 0 for name in names}, counts


def _copied(said: Mapping[str, Any]) -> dict[str, Any]:
    held = cast("Mapping[str, list[int]]", said.get("held", {}))
    return {
        "tokens": int(said.get("tokens", 0)), "micros": int(said.get("micros", 0)),
        "held": {key: list(one) for key, one in held.items()},
    }  # fmt: skip
