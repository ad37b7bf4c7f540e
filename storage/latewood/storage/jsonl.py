"""A space as lines of JSON: a header, every ledger row in order, and a last line that says it is whole.

Instants are written as text (RFC 3339, UTC, microseconds), bytes in hex; what was erased has neither salt nor payload.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from latewood.graph_schema.clock import Micros, from_micros, iso, parse_instant, to_micros
from latewood.graph_schema.errors import InvalidError, LatewoodError
from latewood.graph_schema.events import Event, EventKind, LedgerEntry
from latewood.graph_schema.model import LEDGERS, LedgerName
from latewood.graph_schema.values import Json, canonical_json
from latewood.storage.receipts import receipt_from_json, receipt_to_json
from latewood.storage.replaying import LedgerRow, SpaceImage

__all__ = [
    "FORMAT",
    "End",
    "read_end",
    "read_header",
    "read_line",
    "read_row",
    "write_end",
    "write_header",
    "write_row",
]

FORMAT: Final = "latewood-export/1"


@dataclass(frozen=True, slots=True)
class End:
    """The last line: how many rows there are, and the fingerprint of what they make."""

    rows: int
    fingerprint: str


def _time(at: Micros | None) -> str | None:
    return None if at is None else iso(from_micros(at))


def _hex(raw: bytes | None) -> str | None:
    return None if raw is None else raw.hex()


def write_header(image: SpaceImage, version: str) -> str:
    """Write the first line."""
    heads: dict[str, Json] = {name: [seq, digest.hex()] for name, (seq, digest) in image.heads.items()}
    return canonical_json({
        "format": FORMAT, "latewood": version, "heads": heads,
        "space": {
            "id": image.id, "name": image.name, "secret": image.secret.hex(), "strict": image.strict,
            "state": image.state, "filling": image.filling,
        },
    })  # fmt: skip


def write_row(row: LedgerRow) -> str:
    """Write one ledger row."""
    entry, event = row.entry, row.entry.event
    given: dict[str, Json] = {
        "ledger": entry.ledger, "seq": entry.seq, "unit": entry.unit, "ordinal": event.ordinal,
        "kind": event.kind.value, "id": event.id, "subject": event.subject, "target": event.target,
        "valid_from": _time(event.valid_from), "valid_to": _time(event.valid_to), "valid_from_known": event.known,
        "recorded_at": _time(entry.recorded_at), "written_at": _time(entry.written_at), "tier": event.tier,
        "trust": event.trust, "key": _hex(event.key), "op": _hex(entry.op), "body": _hex(entry.body),
        "digest": entry.digest.hex(), "hash": entry.hash.hex(),
    }  # fmt: skip
    if entry.erased:
        given["erased"] = True
    else:
        given |= {"salt": _hex(entry.salt), "payload": dict(event.payload)}
    if row.receipt is not None:
        given["receipt"] = json.loads(receipt_to_json(row.receipt))
    return canonical_json({name: value for name, value in given.items() if value is not None})


def write_end(end: End) -> str:
    """Write the last line."""
    return canonical_json({"end": True, "rows": end.rows, "fingerprint": end.fingerprint})


def _bad(number: int, what: str) -> InvalidError:
    return InvalidError(f"line {number} {what}; nothing after it was taken", code="import.malformed", line=number)


def read_line(text: str, number: int) -> Mapping[str, Json]:
    """Read a line as a JSON object. Raises InvalidError (``import.malformed``)."""
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(number, f"is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise _bad(number, "is not a JSON object")
    return cast("dict[str, Json]", found)


def read_header(line: Mapping[str, Json]) -> SpaceImage:
    """Read the first line. Raises InvalidError (``import.malformed``)."""
    if line.get("format") != FORMAT:
        msg = f"this is not an export of Latewood, or one of a newer format: {str(line.get('format'))[:60]!r}"
        raise InvalidError(msg + f" where {FORMAT!r} was due", code="import.malformed", line=1)
    try:
        space, heads = cast("dict[str, Json]", line["space"]), cast("dict[str, list[Json]]", line["heads"])
        read: dict[LedgerName, tuple[int, bytes]] = {
            name: (int(cast("int", heads[name][0])), bytes.fromhex(str(heads[name][1])))
            for name in LEDGERS if name in heads
        }  # fmt: skip
        filling = space["filling"]
        return SpaceImage(
            str(space["id"]), str(space["name"]), bytes.fromhex(str(space["secret"])), bool(space["strict"]),
            str(space["state"]), None if filling is None else str(filling), read,
        )  # fmt: skip
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise _bad(1, f"does not describe a space: {error!r}") from error


def read_end(line: Mapping[str, Json]) -> End | None:
    """Read the last line, None when this is another."""
    rows, fingerprint = line.get("rows"), line.get("fingerprint")
    if line.get("end") is not True or not isinstance(rows, int) or not isinstance(fingerprint, str):
        return None
    return End(rows, fingerprint)


def _micros(line: Mapping[str, Json], name: str) -> Micros | None:
    found = line.get(name)
    return None if found is None else to_micros(parse_instant(str(found)))


def _bytes(line: Mapping[str, Json], name: str) -> bytes | None:
    found = line.get(name)
    return None if found is None else bytes.fromhex(str(found))


def _number(line: Mapping[str, Json], name: str) -> int:
    found = line[name]
    if isinstance(found, bool) or not isinstance(found, int):
        raise TypeError(f"{name} is not a whole number")
    return found


def read_row(line: Mapping[str, Json], number: int) -> LedgerRow:
    """Read a ledger row. Raises InvalidError (``import.malformed``)."""
    try:
        return _row(line)
    except (KeyError, ValueError, TypeError, AttributeError, LatewoodError) as error:
        raise _bad(number, f"is not a ledger row: {error!r:.200}") from error


def _row(line: Mapping[str, Json]) -> LedgerRow:
    erased = line.get("erased") is True
    payload, target, receipt = line.get("payload", {}), line.get("target"), line.get("receipt")
    if not isinstance(payload, dict) or line["ledger"] not in LEDGERS:
        raise TypeError("payload or ledger")
    event = Event(
        EventKind(str(line["kind"])), str(line["id"]), str(line["subject"]), _number(line, "ordinal"), payload,
        _bytes(line, "key"), None if target is None else str(target), _number(line, "tier"), _number(line, "trust"),
        bool(line["valid_from_known"]), _micros(line, "valid_from"), _micros(line, "valid_to"),
    )  # fmt: skip
    recorded_at, written_at = _micros(line, "recorded_at"), _micros(line, "written_at")
    if recorded_at is None or written_at is None:
        raise TypeError("recorded_at or written_at")
    entry = LedgerEntry(
        line["ledger"], _number(line, "seq"), str(line["unit"]), event, recorded_at, written_at,
        _bytes(line, "op"), _bytes(line, "body"), None if erased else _bytes(line, "salt"),
        bytes.fromhex(str(line["digest"])), bytes.fromhex(str(line["hash"])), erased=erased,
    )  # fmt: skip
    return LedgerRow(entry, None if receipt is None else receipt_from_json(canonical_json(receipt)))
