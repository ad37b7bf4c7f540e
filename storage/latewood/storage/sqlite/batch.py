"""A connection whose view rows wait until somebody reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from latewood.storage.crashpoints import reach
from latewood.storage.sqlite.database import Rows, Statements

__all__ = ["Batch"]


class Batch:
    """Keeps rows that nobody reads yet, and writes those of one statement together, the ledger's first.

    The units of a group mostly write the same few statements, and one run of a statement over many rows costs half of
    as many runs. Whatever else goes through it first writes what waits, so a read misses nothing. Statements are
    written in a fixed order, so a row that one statement makes and another changes must meet them in that order:
    stretches are inserted, then closed, then retired; claims are inserted, then retracted.
    """

    def __init__(self, connection: Statements, sql: Mapping[str, str], order: Sequence[str]) -> None:
        """Write through *connection*; *order* names the statements whose rows may wait, first that of the ledger."""
        self._db = connection
        self._waiting: dict[str, list[Sequence[object]]] = {sql[name]: [] for name in order}
        self._some = False

    def later(self, statement: str, bindings: Sequence[object]) -> None:
        """Run *statement* before anything else is read, or with `flush`; one without a place after the others."""
        self._waiting.setdefault(statement, []).append(bindings)
        self._some = True

    def flush(self) -> None:
        """Write what waits."""
        if not self._some:
            return
        self._some = False
        for place, (statement, rows) in enumerate(self._waiting.items()):
            if rows:
                if len(rows) == 1:
                    self._db.execute(statement, rows[0])
                else:
                    self._db.executemany(statement, rows)
                rows.clear()
            if place == 0:
                reach("group.half_written")

    def execute(self, statements: str, bindings: Sequence[object] | Mapping[str, object] | None = None) -> Rows:
        """Run statements after what waits."""
        if self._some:
            self.flush()
        return self._db.execute(statements, bindings)

    def executemany(self, statements: str, sequenceofbindings: Iterable[Sequence[object]]) -> Rows:
        """Run a statement for each bindings after what waits."""
        self.flush()
        return self._db.executemany(statements, sequenceofbindings)

    def last_insert_rowid(self) -> int:
        """Return the row number of the last insert."""
        return self._db.last_insert_rowid()

    def changes(self) -> int:
        """Return how many rows the last statement changed."""
        return self._db.changes()
