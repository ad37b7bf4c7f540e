"""The part of an apsw connection that the store uses, typed for every supported Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

__all__ = ["BUSY_MS", "Cell", "Database", "Row", "Rows", "Statements", "last_event", "number"]

BUSY_MS: Final = 5_000
"""How long a connection waits for another's lock."""
Cell: TypeAlias = "int | float | str | bytes | None"
"""What a column holds."""
Row: TypeAlias = Sequence[Cell]


class Rows(Protocol):
    """The answer to a statement, read as it is iterated."""

    def __iter__(self) -> Iterator[tuple[Cell, ...]]:
        """Yield the rows."""
        ...

    def fetchone(self) -> tuple[Cell, ...] | None:
        """Return the next row, None at the end."""
        ...

    def fetchall(self) -> list[tuple[Cell, ...]]:
        """Return the rows that are left."""
        ...


class Statements(Protocol):
    """What runs statements inside a transaction that somebody else began."""

    def execute(self, statements: str, bindings: Sequence[object] | Mapping[str, object] | None = None) -> Rows:
        """Run statements."""
        ...

    def executemany(self, statements: str, sequenceofbindings: Iterable[Sequence[object]]) -> Rows:
        """Run a statement for each bindings."""
        ...

    def last_insert_rowid(self) -> int:
        """Return the row number of the last insert."""
        ...

    def changes(self) -> int:
        """Return how many rows the last statement changed."""
        ...


class Database(Statements, Protocol):
    """A connection, used by one thread at a time."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def pragma(self, name: str, value: str | int | None = None) -> object:
        """Read or set a pragma."""
        ...

    def create_scalar_function(
        self, name: str, callable: Callable[[Cell], Cell] | None, numargs: int = -1, *, deterministic: bool = False  # noqa: A002
    ) -> None:  # fmt: skip
        """Register a function for SQL."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def last_event(db: Statements) -> int:
    """Return the number of the ledgers' last row, 0 before the first."""
    return number(db.execute("select coalesce(max(e), 0) from event"))


def number(rows: Rows) -> int:
    """Return the one number that a statement answers with."""
    row = rows.fetchone()
    if row is None or not isinstance(row[0], int):
        raise LookupError("a statement that must answer with a number did not")
    return row[0]
