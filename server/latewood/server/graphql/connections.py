"""Relay connections over the store's pages.

A store gives one cursor a page, for the place behind its last row. The other edges' cursors name the page they came in
and the last items up to theirs; going on from one reads that page's beginning again, which is at most one page of rows.
What was shown may have left the list by then: one goes on behind the last of them that is still there, and where none
is, with the page's beginning. So an item may come twice, and none is passed over.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Generic, TypeAlias, TypeVar, cast

import strawberry

from latewood.graph_schema.errors import InvalidError
from latewood.storage.cursors import check_first
from latewood.storage.port import PAGE_MAX, Page

__all__ = ["Connection", "Paged", "cut", "paged", "read_pages"]

T = TypeVar("T")
Read: TypeAlias = Callable[[int, str | None], Awaitable[Page[T]]]

_WITHIN: Final = "~"
"""Begins a cursor of ours; the stores' are base64 and never do."""
_BETWEEN: Final = "."
_MARKS: Final = 8
"""Of how many items a cursor tells, its own the last: as many may leave the list before one begins its page again."""


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
    _page: _Page[T]
    _count: int
    node: T

    @property
    def cursor(self) -> str:
        # Made when asked for: a page of a thousand has a thousand, and most callers want the last one's.
        return self._page.cursor(self._count)


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
    """Behind the *count*th item of the page that begins at *start*; *marks* are of the last items up to it."""

    start: str | None = None
    count: int = 0
    marks: tuple[str, ...] = ()

    def write(self) -> str:
        text = json.dumps([self.start, self.count, _BETWEEN.join(self.marks)], separators=(",", ":"))
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
        match cast("list[object]", found) if isinstance(found, list) else []:
            case [str() | None as start, int() as count, str() as marks] if 1 <= count <= PAGE_MAX and marks:
                return cls(start, count, tuple(marks.split(_BETWEEN)[-_MARKS:]))
            case _:
                pass
        msg = f"{after[:80]!r} is no cursor of this list; begin again without it"
        raise InvalidError(msg, code="cursor.invalid", cursor=after[:80])

    def behind(self, names: Sequence[str]) -> int:
        """Return how many of *names*, the page as it is now, were shown."""
        places = {_mark(one): place for place, one in enumerate(names, 1)}
        return next((places[mark] for mark in reversed(self.marks) if mark in places), 0)


def _mark(name: str) -> str:
    return blake2b(name.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class _Page(Generic[T]):
    """A page as the store gave it, which begins at *start*."""

    start: str | None
    page: Page[T]
    name: Callable[[T], str]

    def cursor(self, count: int) -> str:
        if count == len(self.page.items) and self.page.next is not None:
            return self.page.next
        last = self.page.items[max(0, count - _MARKS) : count]
        return _Cursor(self.start, count, tuple(_mark(self.name(one)) for one in last)).write()


def paged(page: Page[T], name: Callable[[T], str], *, start: str | None = None, previous: bool = False) -> Paged[T]:
    """Give each item of *page*, which begins at the store's cursor *start*, its own cursor."""
    return _join([(_Page(start, page, name), 0)], previous=previous)


async def read_pages(read: Read[T], name: Callable[[T], str], first: int, after: str | None) -> Paged[T]:
    """Read *first* items behind *after*.

    Raises:
        InvalidError: code ``cursor.invalid``.
        LimitError: when *first* is not 1 to `PAGE_MAX`.
    """
    check_first(first)
    cursor = _Cursor.read(after)
    page = await read(min(first + cursor.count, PAGE_MAX), cursor.start)
    skip = cursor.behind([name(item) for item in page.items]) if cursor.marks else 0
    parts = [(_Page(cursor.start, page, name), skip)]
    missing = first - (len(page.items) - skip)
    if missing > 0 and page.next is not None:
        parts.append((_Page(page.next, await read(missing, page.next), name), 0))
    return _join(parts, previous=after is not None, first=first)


def cut(items: list[T], first: int, name: Callable[[T], str]) -> Page[T]:
    """Make a page of a list's beginning, of which *items* holds more than *first* where there are more."""
    if len(items) <= first:
        return Page(tuple(items))
    shown = tuple(items[:first])
    return Page(shown, _Page(None, Page(shown), name).cursor(first))


def _join(
    parts: list[tuple[_Page[T], int]], *, previous: bool, first: int = PAGE_MAX
) -> Paged[T]:  # fmt: skip
    found: list[_Item[T]] = []
    more = False
    for one, skip in parts:
        for count, item in enumerate(one.page.items[skip:], skip + 1):
            if len(found) == first:
                more = True
                break
            found.append(_Item(one, count, item))
        else:
            more = one.page.next is not None
    # A page that found nothing may still have looked at a part of the list: one goes on behind that part.
    ends = (found[0].cursor, found[-1].cursor) if found else (None, parts[-1][0].page.next)
    return Paged(tuple(found), _Place(more, previous, *ends))
