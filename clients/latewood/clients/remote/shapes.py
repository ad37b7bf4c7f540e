"""From a dataclass to what GraphQL is asked for, and from what it answers back to the dataclass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from latewood.clients.remote.answers import Page, Word
from latewood.graph_schema.clock import parse_instant
from latewood.graph_schema.errors import CorruptError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.model import Decision, Evidence, Fact, Source

__all__ = ["camel", "decode", "selection"]

_FRAGMENTS = (Decision, Evidence, Fact, Receipt, Source)
"""What occurs so often that it is written once: their names are those of GraphQL's types."""


def camel(name: str) -> str:
    """Write a name as GraphQL does."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


@cache
def _hints(kind: type) -> tuple[tuple[str, str, Any], ...]:
    """Return of each field of a dataclass its name, GraphQL's name, and its type."""
    hints = get_type_hints(kind)
    return tuple((one.name, camel(one.name), hints[one.name]) for one in fields(kind))


def _bare(hint: Any) -> Any:
    """Return the type under an optional, or of the items of a tuple."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        parts = [part for part in get_args(hint) if part is not NoneType]
        return _bare(parts[0]) if len(parts) == 1 else hint
    return _bare(get_args(hint)[0]) if origin is tuple else hint


def _fields_of(kind: type, fragments: dict[str, str]) -> str:
    parts = (name + _below(_bare(hint), fragments) for _, name, hint in _hints(kind))
    return "{ " + " ".join(parts) + " }"


def _below(kind: Any, fragments: dict[str, str]) -> str:
    if not is_dataclass(kind):
        return ""
    kind = cast("type", kind)
    if kind not in _FRAGMENTS:
        return " " + _fields_of(kind, fragments)
    name = kind.__name__
    if name not in fragments:
        fragments[name] = ""
        fragments[name] = f"fragment {name}Parts on {name} {_fields_of(kind, fragments)}"
    return f" {{ ...{name}Parts }}"


@cache
def selection(hint: Any) -> tuple[str, str]:
    """Return what to select for an answer of the type *hint*, and the fragments that this needs."""
    fragments: dict[str, str] = {}
    if get_origin(hint) is Page:
        items = _below(get_args(hint)[0], fragments)
        wanted = f" {{ edges {{ node{items} }} pageInfo {{ hasNextPage endCursor }} }}"
    else:
        wanted = _below(_bare(hint), fragments)
    return wanted, " ".join(fragments.values())


def decode(hint: Any, given: Any) -> Any:
    """Make of JSON what *hint* says.

    Raises:
        CorruptError: code ``remote.malformed`` when it is something else.
    """
    try:
        return _decoded(hint, given)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"the server's answer is not what this client knows ({error!r:.200}); are both of one release?"
        raise CorruptError(msg, code="remote.malformed") from error


def _decoded(hint: Any, given: Any) -> Any:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        parts = [part for part in get_args(hint) if part is not NoneType]
        # What JSON can be has many types, and stays as it is.
        return given if given is None or len(parts) > 1 else _decoded(parts[0], given)
    if origin is tuple:
        return tuple(_decoded(get_args(hint)[0], one) for one in cast("Sequence[Any]", given))
    if origin is Page:
        edges = cast("Sequence[Mapping[str, Any]]", given["edges"])
        items = tuple(_decoded(get_args(hint)[0], edge["node"]) for edge in edges)
        page = given["pageInfo"]
        return Page(items, page["endCursor"] if page["hasNextPage"] else None)
    if origin is Literal or hint is Word:
        return str(given).lower()
    return _single(hint, given)


def _single(hint: Any, given: Any) -> Any:
    if not isinstance(hint, type):
        return given
    if is_dataclass(hint):
        return hint(**{name: _decoded(of, given[written]) for name, written, of in _hints(hint)})
    if given is None:
        raise ValueError(f"nothing where {hint} belongs")
    if issubclass(hint, StrEnum):
        return hint(given.lower())
    if hint is datetime:
        return parse_instant(given)
    return hint(given) if hint in (int, float, str, bool) else given
