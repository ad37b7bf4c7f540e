"""What a model call used and what that costs: token counts as the provider told them, and a price table as data.

A count that nobody told is not there, and so is a cost that follows from it: unknown is never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final, cast

from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.values import Json

__all__ = [
    "CACHED", "INPUT", "OUTPUT", "PARTS", "REASONING", "Price", "Prices", "tokens_in", "usage_by_name", "usage_of",
]  # fmt: skip

INPUT: Final = "input_tokens"
OUTPUT: Final = "output_tokens"
CACHED: Final = "cache_read_tokens"
REASONING: Final = "reasoning_tokens"
PARTS: Final = ("cache", "reasoning")
"""How counts begin that are parts of input or output."""
_OTHERWISE: Final[Mapping[str, str]] = {
    "input": INPUT, "prompt_tokens": INPUT, "output": OUTPUT, "completion_tokens": OUTPUT,
    "cached": CACHED, "cached_tokens": CACHED, "reasoning": REASONING,
}  # fmt: skip
"""What others call the same counts."""
_TOTALS: Final = ("total", "total_tokens")
_MILLION: Final = Decimal(1_000_000)
_EXACT: Final = Decimal("0.000001")
_COUNT_MAX: Final = 10**12


def _count(given: object, *path: str) -> int | None:
    for name in path:
        given = cast("Mapping[str, object]", given).get(name) if isinstance(given, Mapping) else None
    return given if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < _COUNT_MAX else None


def usage_of(answer: Mapping[str, Any]) -> dict[str, Json]:
    """Read the token counts of an answer to a chat completion; what is not told is left out."""
    counts = {
        INPUT: _count(answer, "usage", "prompt_tokens"),
        OUTPUT: _count(answer, "usage", "completion_tokens"),
        CACHED: _count(answer, "usage", "prompt_tokens_details", "cached_tokens"),
        REASONING: _count(answer, "usage", "completion_tokens_details", "reasoning_tokens"),
    }
    return {name: count for name, count in counts.items() if count is not None}


def usage_by_name(given: Mapping[str, Json]) -> dict[str, Json]:
    """Return counts under the names that sums are made by; a total beside its parts would be counted twice."""
    named = {_OTHERWISE.get(name, name): count for name, count in given.items()}
    return {name: count for name, count in named.items() if name not in _TOTALS or not {INPUT, OUTPUT} & named.keys()}


def tokens_in(usage: Mapping[str, Json] | None) -> int | None:
    """Return input and output together, of which cached and reasoning tokens are parts; None when one is unknown."""
    said = usage or {}
    counts = [said.get(INPUT), said.get(OUTPUT)]
    known = [count for count in counts if isinstance(count, int)]
    return sum(known) if len(known) == len(counts) else None


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost; *cached* input costs as much as other input when it is left out."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Prices:
    """A price table. *version* is kept with each cost that was worked out by it."""

    version: str = "none"
    currency: str = "USD"
    models: Mapping[str, Price] = field(default_factory=dict[str, Price])

    def cost(self, model: str, usage: Mapping[str, Json]) -> Decimal | None:
        """Return what a call cost; None when its counts, or the model's price, are unknown."""
        price = self.models.get(model)
        into, out, cached = usage.get(INPUT), usage.get(OUTPUT), usage.get(CACHED, 0)
        if price is None or not (isinstance(into, int) and isinstance(out, int) and isinstance(cached, int)):
            return None
        cached = min(cached, into)
        rate = price.input if price.cached is None else price.cached
        whole = (into - cached) * price.input + cached * rate + out * price.output
        return (whole / _MILLION).quantize(_EXACT)

    def document(self) -> dict[str, Json]:
        """Return the table as JSON."""
        rows: dict[str, Json] = {}
        for name, price in self.models.items():
            row: dict[str, Json] = {"input": str(price.input), "output": str(price.output)}
            rows[name] = row if price.cached is None else {**row, "cached": str(price.cached)}
        return {"version": self.version, "currency": self.currency, "models": rows}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Prices:
        """Read a table: ``{"version": "2026-11", "models": {"small": {"input": "0.15", "output": "0.60"}}}``.

        Raises:
            InvalidError: a price is no number from 0 on, or a model has no price for input or for output.
        """
        models = document.get("models")
        if not isinstance(models, Mapping) or not isinstance(document.get("version"), str):
            msg = "a price table has a version and models, each with its prices for input and output a million tokens"
            raise InvalidError(msg, code="query.invalid")
        rows = cast("Mapping[str, Mapping[str, object]]", models)
        return cls(
            document["version"], str(document.get("currency", "USD")),
            {name: _price(name, row) for name, row in rows.items()},
        )  # fmt: skip


def _price(name: str, row: Mapping[str, object]) -> Price:
    def rate(kind: str) -> Decimal:
        try:
            found = Decimal(str(row[kind]))
        except (InvalidOperation, KeyError, TypeError) as error:
            msg = f"the model {name[:80]!r} has no price for {kind}; write what a million tokens cost"
            raise InvalidError(msg, code="query.invalid") from error
        if not found.is_finite() or found < 0:
            raise InvalidError(f"the price for {kind} of {name[:80]!r} is {found}, below 0", code="query.invalid")
        return found

    return Price(rate("input"), rate("output"), rate("cached") if "cached" in row else None)
