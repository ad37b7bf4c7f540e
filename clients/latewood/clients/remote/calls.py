"""One call of GraphQL: its document, its variables, and what its answer is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar, cast

from latewood.clients.remote.shapes import camel, selection
from latewood.graph_schema.clock import NOW, AsOf, iso
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.graph_schema.plain import plain
from latewood.graph_schema.values import Json, Scalar

__all__ = ["Call", "Verbatim", "instants", "member", "spoken", "there", "valued", "verbatim"]

T = TypeVar("T")


class Kind(Enum):
    """What JSON cannot tell apart."""

    DECIMAL = "decimal"
    INSTANT = "instant"


@dataclass(frozen=True, slots=True)
class Verbatim:
    """JSON that is data: its names stay as they are."""

    document: object


@dataclass(frozen=True, slots=True)
class Call:
    """An operation on one field.

    Attributes:
        given: arguments, each with its GraphQL type; None is left out, and the server's default holds.
        answer: the type of what comes back.
        again: it can be made twice without harm.
        part: what of the answer is asked for, with its own arguments; else all of it.
    """

    name: str
    answer: Any
    given: Mapping[str, tuple[str, object]] = field(default_factory=dict[str, tuple[str, object]])
    operation: str = "query"
    again: bool = True
    part: tuple[str, Mapping[str, tuple[str, object]]] | None = None

    def body(self) -> dict[str, object]:
        """Return what is posted."""
        own, below = _said(self.given), _said({} if self.part is None else self.part[1])
        given = {**own, **below}
        declared = ", ".join(f"${name}: {kind}" for name, (kind, _) in given.items())
        wanted, fragments = selection(self.answer)
        if self.part is not None:
            wanted = f" {{ part: {_field(self.part[0], below)}{wanted} }}"
        field_ = _field(self.name, own)
        head = f"{self.operation} {self.name}({declared})" if declared else f"{self.operation} {self.name}"
        document = f"{head} {{ answer: {field_}{wanted} }} {fragments}".strip()
        return {
            "query": document, "operationName": self.name,
            "variables": {name: spoken(value) for name, (_, value) in given.items()},
        }  # fmt: skip


def _said(given: Mapping[str, tuple[str, object]]) -> Mapping[str, tuple[str, object]]:
    return {name: one for name, one in given.items() if one[1] is not None}


def _field(name: str, given: Mapping[str, object]) -> str:
    passed = ", ".join(f"{one}: ${one}" for one in given)
    return f"{name}({passed})" if passed else name


def spoken(value: object) -> Any:
    """Write a variable as GraphQL takes it: enumerations in capitals, times in UTC, things by their id.

    Raises:
        InvalidError: code ``time.naive`` for a time without an offset.
    """
    if isinstance(value, Verbatim):
        return value.document
    if isinstance(value, Enum):
        return str(value.value).upper()
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, str | bool | int | float) or value is None:
        return value
    if isinstance(value, Mapping):
        given = cast("Mapping[str, object]", value)
        return {camel(name): spoken(one) for name, one in given.items() if one is not None}
    if isinstance(value, Sequence):
        return [spoken(one) for one in cast("Sequence[object]", value)]
    if is_dataclass(value):
        return cast("Any", value).id
    raise InvalidError(f"{type(value).__name__} is nothing that a server can be told", code="value.invalid")


def instants(at: AsOf) -> object:
    """Return the two clocks as an argument; None when both are left out."""
    return None if at == NOW else {"valid_at": at.valid_at, "known_at": at.known_at}


def valued(value: Scalar | None) -> dict[str, object]:
    """Return the arguments for a value, with its kind where JSON cannot tell it."""
    if isinstance(value, Decimal):
        return {"value": str(value), "value_kind": Kind.DECIMAL}
    if isinstance(value, datetime):
        return {"value": iso(value), "value_kind": Kind.INSTANT}
    return {"value": value if value is None or isinstance(value, str | bool | int | float) else Verbatim(plain(value))}


def member(word: str) -> str:
    """Write a word, such as a class of trouble, as the member of an enumeration that GraphQL has for it."""
    return word.upper().replace("-", "_")


def verbatim(given: Mapping[str, Json] | None) -> Verbatim | None:
    """Return a document as an argument whose names stay as they are."""
    return None if given is None else Verbatim(given)


def there(found: T | None, name: str, code: str) -> T:
    """Return what was found. Raises NotFoundError."""
    if found is None:
        raise NotFoundError(f"the server has no {name[:80]!r} in this space", code=code)
    return found
