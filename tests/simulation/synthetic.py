"""Schemas of Latewoods to come, made up on today's, so that an upgrade can be tried before the first one is needed."""

from __future__ import annotations

from typing import Final

from latewood.storage.sqlite.database import Database
from latewood.storage.sqlite.migrations import CURRENT, Migration, Schema

__all__ = ["ADDING", "FAILING", "REWRITING"]


def _column(connection: Database) -> None:
    connection.execute("alter table node add column weight int not null default 7")


def _index(connection: Database) -> None:
    connection.execute("create index claim_recorded on claim(recorded_at)")


def _rewrite(connection: Database) -> None:
    connection.execute("update node set weight = 9")


def _fail(connection: Database) -> None:
    connection.execute("create table half_done(n int)")
    connection.execute("insert into nowhere values(1)")


def _schema(*steps: Migration) -> Schema:
    def create(connection: Database) -> None:
        CURRENT.create(connection)
        for step in steps:
            step.apply(connection)

    return Schema(CURRENT.first, create, (*CURRENT.migrations, *steps))


_NEXT: Final = CURRENT.version + 1
_COLUMN: Final = Migration(_NEXT, "a weight for every node", _column)
_INDEX: Final = Migration(_NEXT + 1, "claims by when they were recorded", _index)
ADDING: Final = _schema(_COLUMN, _INDEX)
REWRITING: Final = _schema(_COLUMN, _INDEX, Migration(_NEXT + 2, "another weight", _rewrite, additive=False))
FAILING: Final = _schema(_COLUMN, Migration(_NEXT + 1, "a step that cannot be taken", _fail))
