"""The hash chain: each ledger row hashes the one before it, so that a changed byte is found and named.

A row's *digest* is sha256(salt + payload), the salt 16 random bytes that go with the payload; its *hash* is
sha256(previous hash + header). The header holds ids, numbers and digests, never a user's words: an erased payload
leaves the chain whole. A payload may be missing only where a later erasure names its row, and must be missing there.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.events import Event, EventKind, LedgerEntry
from latewood.graph_schema.model import LedgerName
from latewood.graph_schema.values import Json, canonical_json

__all__ = [
    "GENESIS",
    "Verdict",
    "Verifier",
    "body_digest",
    "erased_seqs",
    "header_bytes",
    "key_id",
    "link_hash",
    "op_hash",
    "payload_digest",
    "verify",
]

GENESIS: Final = bytes(32)
"""The hash before the first row."""
_FORMAT: Final = "latewood/1"
_quoted: Final = json.encoder.encode_basestring_ascii


def _hex(raw: bytes | None) -> str:
    return f'"{raw.hex()}"' if raw else "null"


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def _bytes(text: str, where: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        msg = f"{where} holds half a surrogate pair; mend the text"
        raise InvalidError(msg, code="value.invalid", where=where) from error


def payload_digest(salt: bytes, payload: bytes) -> bytes:
    """Digest a payload under its salt."""
    return hashlib.sha256(salt + payload).digest()


def key_id(secret: bytes, canonical: str) -> bytes:
    """Name a key without saying it: 16 bytes of HMAC-SHA256 under the space's secret."""
    return hmac.digest(secret, _bytes(canonical, "a name, a key or a source"), "sha256")[:16]


def op_hash(secret: bytes, op: str) -> bytes:
    """Hash an idempotency key for keeping."""
    return hmac.digest(secret, b"op\0" + _bytes(op, "an idempotency key"), "sha256")


def body_digest(body: object) -> bytes:
    """Digest what a caller asked for, so that the same key with another payload is noticed."""
    return hashlib.sha256(_bytes(canonical_json(body), "the input")).digest()


def header_bytes(
    space: str, ledger: LedgerName, seq: int, unit: str, recorded_at: Micros, written_at: Micros,
    op: bytes | None, body: bytes | None, event: Event, digest: bytes,
) -> bytes:  # fmt: skip
    """Write the hashed part of a row: one canonical JSON array."""
    # Written out, since a general encoder takes longer than all other work on a row.
    return (
        f'["{_FORMAT}",{_quoted(space)},{_quoted(ledger)},{seq},{_quoted(unit)},{recorded_at},{written_at},'
        f"{_hex(op)},{_hex(body)},{_quoted(event.kind.value)},{_quoted(event.id)},{_quoted(event.subject)},"
        f"{event.ordinal},{_hex(event.key)},{'null' if event.target is None else _quoted(event.target)},"
        f"{event.tier},{event.trust},{int(event.known)},{_number(event.valid_from)},{_number(event.valid_to)},"
        f'"{digest.hex()}"]'
    ).encode()


def erased_seqs(payload: Mapping[str, Json]) -> tuple[int, ...]:
    """Return the rows that an erasure's payload names."""
    seqs = payload.get("seqs")
    return tuple(one for one in seqs if isinstance(one, int)) if isinstance(seqs, list) else ()


def link_hash(previous: bytes, header: bytes) -> bytes:
    """Chain one row to the one before it."""
    return hashlib.sha256(previous + header).digest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of a ledger found.

    Attributes:
        rows: how many were checked.
        bad_seq: the first row that does not fit; None when all do.
        reason: what is wrong with it.
        head: the hash of the last good row, in hex.
    """

    ledger: LedgerName
    rows: int
    erased: int
    bad_seq: int | None
    reason: str | None
    head: str

    @property
    def ok(self) -> bool:
        """Whether every row fits."""
        return self.bad_seq is None


class Verifier:
    """Checks a ledger row by row, in order of seq."""

    def __init__(self, space: str, ledger: LedgerName) -> None:
        """Begin before the first row of *space*'s *ledger*; *space* is its id."""
        self._space = space
        self._ledger: LedgerName = ledger
        self._previous = GENESIS
        self._seq = 0
        self._recorded_at: Micros = -(2**63)
        self._unit = ""
        self._erased = 0
        self._unnamed: set[int] = set()
        self._bad: tuple[int, str] | None = None

    def _fault(self, entry: LedgerEntry, payload: bytes | None) -> str | None:
        if entry.seq != self._seq + 1:
            return f"seq {entry.seq} follows {self._seq}: a row is missing or doubled"
        if entry.unit != self._unit and entry.recorded_at <= self._recorded_at:
            return "its recorded time is not after the row before it"
        header = header_bytes(
            self._space, self._ledger, entry.seq, entry.unit, entry.recorded_at, entry.written_at,
            entry.op, entry.body, entry.event, entry.digest,
        )  # fmt: skip
        if link_hash(self._previous, header) != entry.hash:
            return "its hash does not follow from its header and the row before it"
        if payload is None or entry.salt is None:
            return None if entry.erased else "its payload is missing though it was not erased"
        if payload_digest(entry.salt, payload) != entry.digest:
            return "its payload does not match its digest"
        return None

    def take(self, entry: LedgerEntry, payload: bytes | None) -> bool:
        """Check the next row and its payload as stored; return False once a bad one was met."""
        if self._bad is not None:
            return False
        fault = self._fault(entry, payload)
        if fault is not None:
            self._bad = (entry.seq, fault)
            return False
        if entry.erased:
            self._unnamed.add(entry.seq)
        elif entry.event.kind is EventKind.ERASED and payload is not None:
            self._bad = self._erasure(entry.seq, payload)
            if self._bad is not None:
                return False
        self._seq, self._previous = entry.seq, entry.hash
        self._recorded_at, self._unit = entry.recorded_at, entry.unit
        self._erased += entry.erased
        return True

    def _erasure(self, seq: int, payload: bytes) -> tuple[int, str] | None:
        """Strike the rows that the erasure in row *seq* names off those whose payload is missing."""
        for named in erased_seqs(json.loads(payload)):
            if named not in self._unnamed:
                return named, f"its payload is there, though row {seq} erased it"
            self._unnamed.remove(named)
        return None

    def fail(self, seq: int, reason: str) -> None:
        """Note that row *seq* could not even be read."""
        self._bad = self._bad or (seq, reason)

    def verdict(self, head_seq: int | None = None, head_hash: bytes | None = None) -> Verdict:
        """Return what was found; the head, when given, must be the last row."""
        bad = self._bad
        if bad is None and head_seq is not None and head_seq != self._seq:
            bad = (self._seq + 1, f"the head says {head_seq} rows, the ledger has {self._seq}")
        if bad is None and head_hash is not None and head_hash != self._previous:
            bad = (self._seq, "the head's hash is not that of the last row")
        if bad is None and self._unnamed:
            bad = (min(self._unnamed), "its payload is missing, and no erasure names it")
        seq, reason = bad if bad is not None else (None, None)
        return Verdict(self._ledger, self._seq, self._erased, seq, reason, self._previous.hex())


def verify(space: str, ledger: LedgerName, rows: Iterable[tuple[LedgerEntry, bytes | None]]) -> Verdict:
    """Check a whole ledger held in memory."""
    verifier = Verifier(space, ledger)
    for entry, payload in rows:
        if not verifier.take(entry, payload):
            break
    return verifier.verdict()
