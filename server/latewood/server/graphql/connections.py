"""Relay connections over the store's pages.

A store gives one cursor a page, for the place behind its last row. The other edges' cursors name the page they came in
and their place in it; going on from one reads that page's beginning again, which is at most one page of rows.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

import strawberry

from latewood.graph_schema.errors import InvalidError
from latewood.storage.cursors import check_first
from latewood.storage.port import PAGE_MAX, Page

__all__ = ["Connection", "Paged", "cut", "paged", "read_pages"]

T = TypeVar("T")
Read: TypeAlias = Callable[[int, str | None], Awaitable[Page[T]]]

_WITHIN: Final = "~"
"""Begins a cursor of ours; the stores' are base64 and never do."""


@strawberry.type(description="One item of a connection.")
class Edge(Generic[T]):
    """One item of a connection."""

    cursor: str = strawberry.field(description="Pass it as `after` to go on behind this item.")
    node: T = strawberry.field(description="The item.")


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    """Where a page lies in its list."""

    has_next_page: bool = strawberry.field(description="Whether more follow.")
    has_previous_page: bool = strawberry.field(description="Whether this page was asked for with `after`.")
    start_cursor: str | None = strawberry.field(description="The first edge's cursor; null on an empty page.")
    end_cursor: str | None = strawberry.field(description="The last edge's cursor: pass it as `after`.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    """A page of a list."""

    edges: list[Edge[T]] = strawberry.field(description="The items, each with its cursor.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    cursor: str
    node: T


@dataclass(frozen=True, slots=True)
class _Place:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@dataclass(frozen=True, slots=True)
class Paged(Generic[T]):
    """A page with a cursor for each item, as `Connection` shows it."""

    edges: tuple[_Item[T], ...]
    page_info: _Place


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Behind the item *name*, the *count*th of the page that begins at *start*."""

    start: str | None = None
    count: int = 0
    name: str | None = None

    def write(self) -> str:
        text = json.dumps([self.start, self.count, self.name], separators=(",", ":"))
        return _WITHIN + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def read(cls, after: str | None) -> _Cursor:
        if after is None or not after.startswith(_WITHIN):
            return cls(after)
        coded = after.removeprefix(_WITHIN)
        try:
            found: object = json.loads(base64.urlsafe_b64decode((coded + "=" * (-len(coded) % 4)).encode()))
        except (ValueError, binascii.Error, RecursionError):
            found = None
        match found:
            case [str() | None as start, int() as count, str() as name] if 1 <= count <= PAGE_MAX:
                return cls(start, count, name)
            case _:
                pass
        msg = f"{after[:80]!r} is no cursor of this list; begin again without it"
        raise InvalidError(msg, code="cursor.invalid", cursor=after[:80])


def paged(page: Page[T], name: Callable[[T], str], *, start: str | None = None, previous: bool = False) -> Paged[T]:
    """Give each item of *page*, which begins at the store's cursor *start*, its own cursor."""
    return _join([(start, 0, page)], name, previous=previous)


async def read_pages(read: Read[T], name: Callable[[T], str], first: int, after: str | None) -> Paged[T]:
    """Read *first* items behind *after*.

    Raises:
        InvalidError: code ``cursor.invalid``.
        LimitError: when *first* is not 1 to `PAGE_MAX`.
    """
    check_first(first)
    cursor = _Cursor.read(after)
    page = await read(min(first + cursor.count, PAGE_MAX), cursor.start)
    skip = cursor.count
    if cursor.name is not None:
        # An item may have left the list since (a status moved on): then what stood behind it now stands in its place.
        names = [name(item) for item in page.items]
        skip = names.index(cursor.name) + 1 if cursor.name in names else min(skip - 1, len(names))
    parts = [(cursor.start, skip, page)]
    missing = first - (len(page.items) - skip)
    if missing > 0 and page.next is not None:
        parts.append((page.next, 0, await read(missing, page.next)))
    return _join(parts, name, previous=after is not None, first=first)


def cut(items: list[T], first: int, name: Callable[[T], str]) -> Page[T]:
    """Make a page of a list's beginning, of which *items* holds more than *first* where there are more."""
    if len(items) <= first:
        return Page(tuple(items))
    return Page(tuple(items[:first]), _Cursor(None, first, name(items[first - 1])).write())


def _join(
    parts: list[tuple[str | None, int, Page[T]]], name: Callable[[T], str], *, previous: bool, first: int = PAGE_MAX
) -> Paged[T]:
    found: list[_Item[T]] = []
    more = False
    for start, skip, page in parts:
        last = len(page.items)
        for count, item in enumerate(page.items[skip:], skip + 1):
            if len(found) == first:
                more = True
                break
            own = page.next if count == last and page.next is not None else None
            found.append(_Item(own or _Cursor(start, count, name(item)).write(), item))
        else:
            more = page.next is not None
    # A page that found nothing may still have looked at a part of the list: one goes on behind that part.
    ends = (found[0].cursor, found[-1].cursor) if found else (None, parts[-1][2].next)
    return Paged(tuple(found), _Place(more, previous, *ends))
