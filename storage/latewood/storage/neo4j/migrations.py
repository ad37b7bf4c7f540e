"""The schema of a Neo4j database: what to run when it is opened, and what to refuse."""

from __future__ import annotations

import random
import time
from importlib import metadata, resources
from typing import Final

from latewood.graph_schema.errors import UnavailableError
from latewood.storage.neo4j.database import Engine
from latewood.storage.neo4j.names import index_name, space_label, vector_index_name, vector_label
from latewood.storage.neo4j.statuses import catch_up
from latewood.storage.upgrades import Upgrade

__all__ = [
    "SCHEMA_VERSION",
    "drop_vector_index",
    "drop_words_index",
    "ensure_vector_index",
    "ensure_words_index",
    "prepare",
    "upgrade",
]

SCHEMA_VERSION: Final = 4
_STEPS: Final = {4: "indexes, and the status of every node"}
_ONLINE_S: Final = 60


def _statements() -> list[str]:
    text = resources.files("latewood.storage.neo4j").joinpath("schema.cypher").read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("//"))
    return [statement.strip() for statement in code.split(";") if statement.strip()]


def define(engine: Engine, statement: str) -> None:
    """Run a statement of the schema, again when another process is at the same: they wait for each other in a ring.

    Raises:
        UnavailableError: code ``store.busy`` when that does not pass.
    """
    give_up = time.monotonic() + _ONLINE_S
    while True:
        try:
            engine.once(statement)
        except UnavailableError as error:
            if error.code != "store.busy" or time.monotonic() >= give_up:
                raise
            time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - so that they do not meet again
        else:
            return


def prepare(engine: Engine) -> None:
    """Bring the database to this schema.

    Raises:
        UnavailableError: ``schema.newer`` when a newer Latewood wrote it; ``store.*`` when it cannot be reached.
    """
    found: int | None = engine.run(lambda query: query("schema_version")[0][0], write=False)
    if found is not None and found > SCHEMA_VERSION:
        msg = (
            f"{engine.address.shown} has schema {found}, this Latewood knows up to {SCHEMA_VERSION}; "
            "upgrade Latewood first"
        )
        raise UnavailableError(msg, code="schema.newer", schema=found, known=SCHEMA_VERSION)
    if found != SCHEMA_VERSION:
        _define_all(engine)
    catch_up(engine)


def _define_all(engine: Engine) -> None:
    for statement in _statements():
        define(engine, statement)
    engine.once(f"CALL db.awaitIndexes({_ONLINE_S})")
    version = metadata.version("latewood")
    engine.run(lambda query: query("set_schema", schema=SCHEMA_VERSION, version=version), write=True)


def upgrade(engine: Engine, *, dry_run: bool) -> Upgrade:
    """Bring the database to this schema and say what that came to. Raises as `prepare` does."""
    before: int | None = engine.run(lambda query: query("schema_version")[0][0], write=False)
    found = SCHEMA_VERSION if before is None else before
    if not dry_run or found > SCHEMA_VERSION:
        prepare(engine)
    added = range(found + 1, SCHEMA_VERSION + 1)
    steps = tuple(f"schema {one}: {_STEPS.get(one, 'constraints and indexes')}" for one in added)
    return Upgrade(engine.address.shown, found, SCHEMA_VERSION, steps, applied=bool(steps) and not dry_run)


def ensure_vector_index(engine: Engine, generation: int, dimensions: int) -> None:
    """Make a generation's vector index."""
    name = vector_index_name(generation)
    # The number is new. What has its name was left behind by a database that was emptied, and may be of another length.
    drop_vector_index(engine, generation)
    engine.once(
        f"CREATE VECTOR INDEX {name} FOR (v:{vector_label(generation)}) ON v.numbers OPTIONS "
        f"{{indexConfig: {{`vector.dimensions`: {int(dimensions)}, `vector.similarity_function`: 'cosine'}}}}"
    )
    engine.once("CALL db.awaitIndex($name, $seconds)", name=name, seconds=_ONLINE_S)


def drop_vector_index(engine: Engine, generation: int) -> None:
    """Take a generation's vector index away."""
    engine.once(f"DROP INDEX {vector_index_name(generation)} IF EXISTS")


def drop_words_index(engine: Engine, space: int) -> None:
    """Take back the index of a space that was not made."""
    engine.once(f"DROP INDEX {index_name(space)} IF EXISTS")


def ensure_words_index(engine: Engine, space: int) -> None:
    """Make a space's full-text index: names and keys of nodes, words of facts."""
    define(
        engine,
        f"CREATE FULLTEXT INDEX {index_name(space)} IF NOT EXISTS FOR (n:{space_label(space)}) "
        "ON EACH [n.text] OPTIONS {indexConfig: {`fulltext.analyzer`: 'english'}}",
    )
    engine.once("CALL db.awaitIndex($name, $seconds)", name=index_name(space), seconds=_ONLINE_S)
