"""Cursors and near names, the same in every store.

A cursor is opaque to callers: the place of the last row seen, so that rows that come later neither shift nor repeat a
page.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
from collections.abc import Iterable
from typing import cast

from latewood.graph_schema.errors import InvalidError, LimitError
from latewood.graph_schema.values import normal_key
from latewood.storage.port import PAGE_MAX

__all__ = ["check_first", "near", "read_cursor", "write_cursor"]


def check_first(first: int) -> int:
    """Return *first* when a page may have that many rows. Raises LimitError."""
    if not 1 <= first <= PAGE_MAX:
        msg = f"a page has 1 to {PAGE_MAX:,} rows, not {first}"
        raise LimitError(msg, limit="PAGE_MAX", maximum=PAGE_MAX)
    return first


def write_cursor(kind: str, *place: int) -> str:
    """Write the place of the last row of a list of this *kind*."""
    return base64.urlsafe_b64encode(json.dumps([kind, *place], separators=(",", ":")).encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, kind: str, count: int) -> tuple[int, ...] | None:
    """Read the *count* numbers of a cursor; None stays None. Raises InvalidError (``cursor.invalid``)."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found: object = json.loads(base64.urlsafe_b64decode(padded.encode()))
    except (ValueError, RecursionError, binascii.Error):
        found = None
    if isinstance(found, list) and found:
        head, *place = cast("list[object]", found)
        if head == kind and len(place) == count and all(type(part) is int and abs(part) < 2**63 for part in place):
            return tuple(cast("list[int]", place))
    msg = f"{cursor[:80]!r} is no cursor of this list; begin again without it"
    raise InvalidError(msg, code="cursor.invalid", cursor=cursor[:80])


def near(keys: Iterable[str], key: str, limit: int) -> tuple[str, ...]:
    """Return those of *keys* that resemble *key*: its repeats (``adr:12~name``) first, then what is spelled like it."""
    asked = normal_key(key)
    by_normal = {normal_key(one): one for one in keys}
    repeats = sorted(one for one in by_normal if one.startswith(asked + "~"))
    alike = difflib.get_close_matches(asked, by_normal, n=limit, cutoff=0.6)
    return tuple(by_normal[one] for one in dict.fromkeys([*repeats, *alike]))[:limit]
