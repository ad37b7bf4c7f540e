"""Which status a node has now, noted on the node: so that a list by status costs what it returns.

Without it a list of what is open goes through all that ever ended. The note says at most what to look at: whoever
reads by it asks the facts as well, and what is not plain (a status to come, one with an end, two at once, a long one)
is noted as empty, which every list looks at. It is written with the fact. A read is bounded by heads, the note is not:
so a node also says when it was noted, and a list looks at those that were noted after its heads. Of each ledger it is
known how far the notes reach; an older Latewood that has the database open goes on without them, and the next opening
catches up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from latewood.graph_schema.clock import FOREVER, Micros
from latewood.graph_schema.events import Event, EventKind
from latewood.graph_schema.model import LEDGERS
from latewood.storage.building import value_of
from latewood.storage.deriving import Buried, DerivedKey, DerivedNode, Row, derive_key, rows_by_key
from latewood.storage.neo4j.database import Engine, Query
from latewood.storage.neo4j.keys import KeyImage
from latewood.storage.neo4j.pending import pair
from latewood.storage.statuses import STATUS, UNLISTED

__all__ = [
    "CAUGHT_UP_MAX",
    "Noted",
    "catch_up",
    "forget_erased",
    "is_status",
    "note",
    "plain",
    "restate",
    "wanted",
]

CAUGHT_UP_MAX: Final = 5_000
"""Most rows of a ledger whose statuses are noted in one transaction."""
_CHARS_MAX: Final = 100
"""The longest status that is noted as it is; an index takes no long texts."""


class Noted(NamedTuple):
    """What a node is noted with: None for no status, and when something of it was last said."""

    status: str | None
    stated_at: Micros


def _text(event: Event) -> str:
    value = value_of(event.payload)
    found = value.data if value is not None and value.kind == "text" else None
    return found if isinstance(found, str) and len(found) <= _CHARS_MAX else ""


def plain(image: KeyImage, told: Mapping[int, Event], recorded_at: Micros) -> str | None:
    """Return the status that a unit gave a node, by what was told (place to event); None when it must be looked up."""
    tail = image.state.tail
    row = None if tail is None else tail[1]
    if tail is None or row is None or tail[0].fact not in told:
        return None
    return _text(told[tail[0].fact]) if row.valid_to == FOREVER and row.valid_from <= recorded_at else ""


def is_status(image: KeyImage) -> bool:
    """Tell whether a key is that of a status."""
    return image.predicate == STATUS


def restate(query: Query, space: int, ids: Iterable[str], recorded_at: Micros) -> None:
    """Note the statuses of nodes anew, from their facts."""
    listed = sorted(ids)
    if listed:
        query("restate", space=space, ids=listed, now=pair(recorded_at), most=_CHARS_MAX)


def forget_erased(query: Query, space: int, places: list[int], recorded_at: Micros) -> None:
    """Let no note say what the erased facts at *places* said."""
    restate(query, space, (row[0] for row in query("erased_statuses", space=space, places=places)), recorded_at)


def catch_up(engine: Engine) -> None:
    """Note the statuses that an older Latewood wrote, in every space, under the lock of both heads."""
    for space, ledger in engine.run(lambda query: query("unlisted"), write=False):

        def step(query: Query, space: int = space, ledger: str = ledger) -> bool:
            heads = query("lock_first", space=space, first=LEDGERS[0], lock=engine.id)
            rows = query("unlisted_rows", space=space, ledger=ledger, most=CAUGHT_UP_MAX)
            last, subjects, head = rows[0]
            restate(query, space, subjects, max(row[2] for row in heads))
            query("set_listed", space=space, ledger=ledger, seq=last)
            return last < head

        while engine.run(step, write=True):
            pass


def wanted(
    query: Query, space: int, secret: bytes, derived: Mapping[str, DerivedNode], rows: Iterable[Row], gone: Buried
) -> dict[str, Noted]:
    """Return the notes that nodes should have by *rows*, all there are about them; empty may stand for any of them."""
    found: dict[str, list[str]] = {}
    stated: dict[str, Micros] = {}
    last: Micros = query("last_recorded", space=space)[0][0]
    for own in rows_by_key(rows).values():
        node = derived.get(own[0].event.subject)
        named = any(row.event.payload.get("predicate", STATUS) == STATUS for row in own)
        if node is None or node.row.kind in UNLISTED or not named:
            continue
        key = derive_key(own, secret, gone, lambda _: None)
        if key.predicate == STATUS:
            found.setdefault(key.subject, []).extend(_live(key, last))
            stated[key.subject] = max(stated.get(key.subject, 0), *(row.recorded_at for row in own))
    return {
        one: Noted(None if not texts else texts[0] if len(texts) == 1 else "", stated[one])
        for one, texts in found.items()
    }


def _live(key: DerivedKey, now: Micros) -> list[str]:
    live = [
        row for row in key.stretches.values()
        if row.retired_at == FOREVER and (row.valid_to > now or row.closed_at == FOREVER)
    ]  # fmt: skip
    said = {place: _text(row.event) for place, row in key.rows.items() if row.event.kind is EventKind.ASSERTED}
    return [said.get(row.fact, "") if row.valid_to == FOREVER and row.valid_from <= now else "" for row in live]


def note(
    properties: dict[str, Any], instants: dict[str, Micros | None], held: Mapping[str, Any], told: Noted | None
) -> None:
    """Set the note that a node should have among its *properties* and *instants*, as *held* where that may stand.

    An empty note is never wrong: what was to come when it was written may be there by now.
    """
    properties[STATUS] = held[STATUS] if held.get(STATUS) == "" else None if told is None else told.status
    instants["stated_at"] = held.get("stated_at") or (None if told is None else told.stated_at)
