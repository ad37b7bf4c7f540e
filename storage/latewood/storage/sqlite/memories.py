"""Keeping what search by fact reads: a row for each memory, and the vectors of generations.

Memories are a view of the ledger, brought up to date at the end of each group from the rows that the view has not seen
yet. An older Latewood that still has the file open writes no memories; the next group makes up for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Final, Literal, cast

from latewood.graph_schema.ids import id_text
from latewood.storage.building import value_of
from latewood.storage.queries import load_queries
from latewood.storage.searching import Generation, find_generation, text_of
from latewood.storage.sqlite.database import Cell, Database, Statements, last_event, number
from latewood.storage.sqlite.vectors import StoredGeneration, table_of, vector_sql

__all__ = [
    "WORDED", "add_search", "current_generation", "forget", "forget_speakers", "generation_named", "generations_of",
    "insert_generation", "keep", "note", "payload_text", "put_vectors", "register_functions", "remember", "shown",
    "sql",
]  # fmt: skip

State = Literal["building", "current", "old"]
_VIEW_ROWS: Final = 50_000
WORDED: Final = ("text", "json")
"""Kinds of values among which memories are."""


@cache
def sql() -> Mapping[str, str]:
    """Return the queries of search by fact."""
    return load_queries("latewood.storage.sqlite", "searching.sql")


def payload_text(payload: Cell) -> str | None:
    """Return the words of an assertion's payload; None when it is no memory."""
    return text_of(value_of(json.loads(payload))) if isinstance(payload, str) else None


def register_functions(connection: Database) -> None:
    """Give *connection* the function that tells memories from other facts."""
    connection.create_scalar_function("memory_text", payload_text, 1, deterministic=True)


def add_search(connection: Database) -> None:
    """Add what schema 2 has, and note the memories of every ledger."""
    register_functions(connection)
    connection.execute(resources.files("latewood.storage.sqlite").joinpath("schema_2.sql").read_text(encoding="utf-8"))
    remember(connection)


def remember(db: Statements) -> None:
    """Note the memories among the rows of the ledger that the view has not seen."""
    last = last_event(db)
    after = number(db.execute(sql()["reached"]))
    if after == last:
        return
    while after < last:
        until = min(last, after + _VIEW_ROWS)
        note(db, after, until)
        if number(db.execute(sql()["erased_since"], (after, until))):
            # What an older Latewood erased, it took from no table that it does not know.
            spaces: dict[int, list[int]] = {}
            for space, e in db.execute(sql()["erased_memories"]).fetchall():
                spaces.setdefault(cast("int", space), []).append(cast("int", e))
            for space, rows in spaces.items():
                forget(db, space, rows)
        after = until
    db.execute(sql()["reach"], (last,))


def note(db: Statements, after: int, until: int) -> None:
    """Note the memories among the rows of the ledger after one, up to another."""
    db.execute(sql()["remember"], (after, until))


def forget(db: Statements, space: int, rows: Iterable[int]) -> int:
    """Take memories, and their vectors out of every generation; return how many vectors there were."""
    listed, taken = json.dumps(list(rows)), 0
    db.execute(sql()["forget"], (listed,))
    for generation in generations_of(db, space):
        db.execute(vector_sql("forget_vectors", generation.n), (listed,))
        if gone := db.changes():
            taken += gone
            db.execute(sql()["changed"], (generation.n,))
    return taken


def forget_speakers(db: Statements, actors: Iterable[int], sources: Sequence[str]) -> None:
    """Forget who said what, where *sources* of erased *actors* (rows) lost their words."""
    for actor in actors:
        db.execute(sql()["forget_speakers"], (actor, json.dumps(sources)))


def generations_of(db: Statements, space: int) -> list[StoredGeneration]:
    """Return the generations of a space, in the order in which they were begun."""
    return [
        StoredGeneration(*cast("tuple[int, str, str, int, str, int]", tuple(row)))
        for row in db.execute(sql()["generations"], (space,)).fetchall()
    ]


def current_generation(db: Statements, space: int) -> StoredGeneration | None:
    """Return the generation that is written with every fact."""
    return next((one for one in generations_of(db, space) if one.state == "current"), None)


def shown(db: Statements, space: int, generations: Iterable[StoredGeneration]) -> tuple[Generation, ...]:
    """Show generations with their counts."""
    memories = number(db.execute(sql()["count_memories"], (space,)))
    found: list[Generation] = []
    for one in generations:
        filled = number(db.execute(vector_sql("count_vectors", one.n)))
        state = cast("State", one.state)
        found.append(Generation(one.name, one.model, one.dimensions, state, filled, memories - filled))
    return tuple(found)


def generation_named(db: Statements, space: int, name: str) -> StoredGeneration:
    """Return a generation. Raises NotFoundError (``generation.unknown``)."""
    stored = generations_of(db, space)
    named = [Generation(one.name, one.model, one.dimensions, "old", 0, 0) for one in stored]
    return stored[named.index(find_generation(named, name))]


def insert_generation(db: Statements, space: int, name: str, model: str, dimensions: int, state: str) -> None:
    """Make a generation and its table."""
    db.execute(sql()["insert_generation"], (space, name, model, dimensions, state))
    table = table_of(db.last_insert_rowid())
    db.execute(sql()["create_vectors"].replace("{table}", table))


def put_vectors(db: Statements, generation: int, vectors: Iterable[tuple[int, bytes]]) -> None:
    """Keep vectors of memories (by their rows) that have none."""
    db.executemany(vector_sql("put_vector", generation), vectors)


def keep(db: Statements, space: int, generation: StoredGeneration, vectors: Mapping[str, bytes], listed: str) -> int:
    """Keep vectors by the ids of their facts (*listed* as hex); what is no memory is passed over."""
    rows = {
        id_text(cast("bytes", row[0])): cast("int", row[1])
        for row in db.execute(sql()["memories_by_id"], (space, listed)).fetchall()
    }
    count = vector_sql("count_vectors", generation.n)
    before = number(db.execute(count))
    put_vectors(db, generation.n, [(rows[one], vector) for one, vector in vectors.items() if one in rows])
    return number(db.execute(count)) - before
