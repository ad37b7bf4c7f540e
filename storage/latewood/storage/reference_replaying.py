"""Export and import of the reference store's spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ledger import GENESIS
from latewood.graph_schema.model import LEDGERS, LedgerName
from latewood.storage.reference_space import SpaceLog
from latewood.storage.replaying import LedgerRow, SpaceImage, check_restored, name_taken, units_of
from latewood.storage.rows import SpaceRow

__all__ = ["adopted", "image_of", "replayed", "rows_of"]


def image_of(log: SpaceLog) -> SpaceImage:
    """Return what a space is beside its ledgers."""
    row = log.row
    heads: dict[LedgerName, tuple[int, bytes]] = {
        name: (len(entries), entries[-1].hash) for name, entries in log.ledgers.items() if entries
    }
    return SpaceImage(row.id, row.name, row.secret, row.strict, row.state, row.filling, heads)


def rows_of(
    log: SpaceLog, ledger: LedgerName, after_seq: int, limit: int, receipts: Mapping[str, Receipt]
) -> tuple[LedgerRow, ...]:
    """Return ledger rows with the receipts of their units."""
    start = max(0, after_seq)
    found: list[LedgerRow] = []
    for entry in log.ledgers[ledger][start : start + limit]:
        receipt = receipts.get(entry.unit)
        found.append(LedgerRow(entry, receipt if receipt is not None and receipt.seq == entry.seq else None))
    return tuple(found)


def adopted(logs: Mapping[str, SpaceLog], wanted: SpaceImage) -> SpaceLog | None:
    """Return the space of an image when it is there; an empty one of its name becomes it."""
    for log in logs.values():
        check_restored(log.row, wanted)
    log = logs.get(wanted.name)
    if log is None or (log.row.id, log.row.secret) == (wanted.id, wanted.secret):
        return log
    if any(log.ledgers[name] for name in LEDGERS):
        raise name_taken(wanted.name)
    log.row = SpaceRow(wanted.id, wanted.name, wanted.secret, wanted.strict, wanted.state, wanted.filling)
    return log


def replayed(log: SpaceLog, rows: Sequence[LedgerRow]) -> tuple[int, list[Receipt]]:
    """Append ledger rows verbatim; return how many were new, and the receipts of their units."""
    entries = log.ledgers[rows[0].entry.ledger]
    head = (len(entries), entries[-1].hash if entries else GENESIS)
    stored = {row.entry.seq: entries[row.entry.seq - 1].hash for row in rows if 0 < row.entry.seq <= len(entries)}
    units = units_of(image_of(log), rows, head, stored)
    receipts = [receipt for receipt in [log.replay(unit) for unit in units] if receipt is not None]
    return sum(len(unit.rows) for unit in units), receipts
