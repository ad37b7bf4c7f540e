"""Which status a node has now: a view of the facts, so that a list by status costs what it returns.

Without it a list of what is open goes through all that ever ended. A row says at most what to look at: whoever reads by
it asks the facts as well, and what is not plain (a status to come, one with an end, two at once) has an empty status,
which every list looks at. Like the memories the view is brought up to date at the end of each group, from the rows of
the ledger that it has not seen: an older Latewood that has the file open does not know of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Final, cast

from latewood.storage.queries import load_queries
from latewood.storage.rebuilding import Findings
from latewood.storage.sqlite.database import Cell, Database, Statements, last_event, number

__all__ = ["add_statuses", "compare", "follow", "leg", "note", "whole"]

_VIEW_ROWS: Final = 50_000


@cache
def sql() -> Mapping[str, str]:
    """Return the queries of the view."""
    return load_queries("latewood.storage.sqlite", "listed.sql")


def add_statuses(connection: Database) -> None:
    """Add what schema 4 has, and note the statuses of every node."""
    connection.execute(resources.files("latewood.storage.sqlite").joinpath("schema_4.sql").read_text(encoding="utf-8"))
    nodes = [cast("int", row[0]) for row in connection.execute(sql()["with_status"])]
    for begin in range(0, len(nodes), _VIEW_ROWS):
        _restate(connection, nodes[begin : begin + _VIEW_ROWS])
    connection.execute(sql()["reach"], (last_event(connection),))


def whole(db: Statements) -> bool:
    """Tell whether the view has seen every row of the ledger; an older Latewood may have written the last ones."""
    return number(db.execute(sql()["reached"])) == last_event(db)


def follow(db: Statements) -> None:
    """Note the statuses that the rows of the ledger which the view has not seen gave to nodes."""
    last = last_event(db)
    after = number(db.execute(sql()["reached"]))
    if after == last:
        return
    note(db, after, last)
    if number(db.execute(sql()["erased_since"], (after, last))):
        _restate(db, [cast("int", row[0]) for row in db.execute(sql()["erased"]).fetchall()])
    db.execute(sql()["reach"], (last,))


def note(db: Statements, after: int, until: int) -> None:
    """Note the statuses that the rows of the ledger after one, up to another, gave to nodes."""
    if nodes := [cast("int", row[0]) for row in db.execute(sql()["told"], (after, until)).fetchall()]:
        _restate(db, nodes)


def _restate(db: Statements, nodes: Sequence[int]) -> None:
    listed = json.dumps(nodes)
    db.execute(sql()["drop"], (listed,))
    for row in db.execute(sql()["statuses"], (listed,)).fetchall():
        db.execute(sql()["put"], row)


def leg(place: int, beyond: str) -> str:
    """Write the beginning of the query for the status that is bound as ``s`` and *place*."""
    return f"{sql()['leg']} and s.status = :s{place} and s.n {beyond} :after and "


def compare(db: Statements, found: Findings, nodes: Mapping[str, int], *, repair: bool) -> None:
    """Hold the rows of *nodes* (id to number) against what their facts say, and repair what differs."""
    listed = json.dumps(list(nodes.values()))
    wanted = _rows(db.execute(sql()["statuses"], (listed,)).fetchall())
    stored = _rows(db.execute(sql()["stored"], (listed,)).fetchall())
    found.compared += len(wanted)
    ids = {n: one for one, n in nodes.items()}
    # Of a node whose facts differ, what they say is not known before they are repaired.
    told: set[int] = set() if repair else {nodes[one] for one in found.suspects if one in nodes}
    differing = [n for n in sorted({*wanted, *stored} - told) if not _fits(wanted.get(n), stored.get(n))]
    for n in differing:
        what = "missing" if n not in stored else "extra" if n not in wanted else "different"
        found.add("status", what, ids[n], ids[n])
    if repair and differing:
        _restate(db, differing)


def _fits(wanted: tuple[Cell, ...] | None, stored: tuple[Cell, ...] | None) -> bool:
    """Tell whether a row says what it should. One that says to look at the facts may outlive its reason: a status that
    was to come holds now, and nothing was written.
    """
    return wanted == stored or (wanted is not None and stored == (*wanted[:-1], ""))


def _rows(cells: Iterable[Sequence[Cell]]) -> dict[int, tuple[Cell, ...]]:
    return {cast("int", row[0]): tuple(row) for row in cells}
