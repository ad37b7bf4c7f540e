"""The ledger as rows: the change feed and the check of the chain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

from latewood.graph_schema.events import Event, EventKind, LedgerEntry
from latewood.graph_schema.ids import id_text
from latewood.graph_schema.ledger import Verdict, Verifier
from latewood.graph_schema.model import LedgerName
from latewood.storage.cursors import check_first
from latewood.storage.sqlite.reading import Reading
from latewood.storage.sqlite.records import LEDGER_NUMBER

__all__ = ["feed", "head_seq", "verify"]


def _entry(ledger: LedgerName, row: Sequence[object], *, read_payload: bool) -> LedgerEntry:
    (seq, unit, ordinal, recorded_at, written_at, kind, raw_id, subject, key, target, tier, trust, known, valid_from,
     valid_to, op, body, digest, digest_chain, salt, payload) = row  # fmt: skip
    event = Event(
        EventKind(cast("str", kind)), id_text(cast("bytes", raw_id)), id_text(cast("bytes", subject)),
        cast("int", ordinal), json.loads(cast("str", payload)) if read_payload and payload else {},
        cast("bytes | None", key), None if target is None else id_text(cast("bytes", target)), cast("int", tier),
        cast("int", trust), bool(known), cast("int | None", valid_from), cast("int | None", valid_to),
    )  # fmt: skip
    return LedgerEntry(
        ledger, cast("int", seq), id_text(cast("bytes", unit)), event, cast("int", recorded_at),
        cast("int", written_at), cast("bytes | None", op), cast("bytes | None", body), cast("bytes | None", salt),
        cast("bytes", digest), cast("bytes", digest_chain), erased=payload is None,
    )  # fmt: skip


def head_seq(reading: Reading, ledger: LedgerName) -> int:
    """Return the seq of the ledger's last row, 0 when it has none."""
    row = reading.db.execute(reading.sql["head"], (reading.n, LEDGER_NUMBER[ledger])).fetchone()
    return 0 if row is None else cast("int", row[0])


def feed(reading: Reading, ledger: LedgerName, after_seq: int, limit: int) -> tuple[LedgerEntry, ...]:
    """Return the ledger's rows after *after_seq*."""
    check_first(limit)
    rows = reading.db.execute(reading.sql["feed"], (reading.n, LEDGER_NUMBER[ledger], after_seq, limit))
    return tuple(_entry(ledger, row, read_payload=True) for row in rows)


def verify(reading: Reading, ledger: LedgerName) -> Verdict:
    """Check the chain from its first row to its head, streaming."""
    verifier = Verifier(reading.space.id, ledger)
    for row in reading.db.execute(reading.sql["feed"], (reading.n, LEDGER_NUMBER[ledger], 0, -1)):
        try:
            entry = _entry(ledger, row, read_payload=False)
        except (TypeError, ValueError, AttributeError) as error:
            verifier.fail(cast("int", row[0]), f"it cannot be read: {error}")
            break
        payload = row[20]
        if not verifier.take(entry, payload.encode() if isinstance(payload, str) else cast("bytes | None", payload)):
            break
    head = reading.db.execute(reading.sql["head"], (reading.n, LEDGER_NUMBER[ledger])).fetchone()
    if head is None:
        return verifier.verdict(0)
    return verifier.verdict(cast("int", head[0]), cast("bytes", head[1]))
