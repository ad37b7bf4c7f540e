"""Rebuilding a space of the reference store: its log replayed into a fresh space, and the two compared."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from itertools import groupby
from typing import Any, Final

from latewood.graph_schema.events import LedgerEntry, Receipt
from latewood.storage.deriving import Row, derive_receipt, receipt_mended
from latewood.storage.rebuilding import Findings
from latewood.storage.reference_space import SpaceLog
from latewood.storage.replaying import LedgerRow, ReplayedUnit, planned_unit

__all__ = ["rebuild"]

_VIEWS: Final = ("nodes", "by_key", "places", "claims", "keys_of", "retractions", "predicates", "names", "queued")


def _replayed(log: SpaceLog, units: Mapping[str, list[LedgerEntry]]) -> SpaceLog:
    fresh = SpaceLog(log.row)
    for unit, entries in units.items():
        rows = tuple(LedgerRow(entry) for entry in entries)
        plan = planned_unit(rows, log.row.state, log.row.filling)
        fresh.replay(ReplayedUnit(unit, entries[0].ledger, rows, plan))
    return fresh


def rebuild(
    log: SpaceLog, receipts: MutableMapping[tuple[str, str], Receipt], tenant: str, *, repair: bool
) -> Findings:  # fmt: skip
    """Compare every view of *log* with its ledgers; with *repair* let those of the ledgers take its place."""
    found = Findings(log.row.name, repair, rows=len(log.log))
    units = {unit: list(entries) for unit, entries in groupby(log.log, key=lambda entry: entry.unit)}
    fresh = _replayed(log, units)
    for view in _VIEWS:
        wanted: dict[Any, Any] = getattr(fresh, view)
        stored: dict[Any, Any] = getattr(log, view)
        found.compared += len(wanted)
        for one in {**wanted, **stored}:
            own = one.hex() if isinstance(one, bytes) else str(one)
            if one not in stored:
                found.add(view, "missing", own, own)
            elif one not in wanted:
                found.add(view, "extra", own, own)
            elif stored[one] != wanted[one]:
                found.add(view, "different", own, own)
        if repair:
            setattr(log, view, wanted)
    for unit, entries in units.items():
        found.compared += 1
        rows = [
            Row(place, one.ledger, one.seq, one.unit, one.recorded_at, one.erased, one.event)
            for place, one in enumerate(entries)
        ]
        stored_receipt = receipts.get((tenant, unit))
        mended = receipt_mended(stored_receipt, derive_receipt(rows, log.row.name))
        if mended is not None:
            what = "missing" if stored_receipt is None else "different"
            found.add("receipts", what, unit, unit, "", rows[-1].place)
            if repair:
                receipts[tenant, unit] = mended
                log.amend([mended])
    return found
