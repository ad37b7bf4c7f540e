"""The chain: whichever byte is changed, the first bad row is named."""

import json
import os
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latewood.graph_schema.events import Event, EventKind, LedgerEntry
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.ledger import (
    GENESIS,
    Verifier,
    body_digest,
    header_bytes,
    key_id,
    link_hash,
    op_hash,
    payload_digest,
    verify,
)
from latewood.graph_schema.model import LEDGERS
from latewood.graph_schema.values import canonical_json

SPACE = "00000000-0000-7000-8000-000000000001"
Row = tuple[LedgerEntry, bytes | None]


def chain(count: int = 5) -> list[Row]:
    ids = SequentialIds()
    rows: list[Row] = []
    previous = GENESIS
    for seq in range(1, count + 1):
        event = Event(
            EventKind.ASSERTED, ids.new(), ids.new(), 0, {}, key=os.urandom(16), target=ids.new(), tier=1, trust=2,
            known=True, valid_from=seq, valid_to=seq + 5,
        )  # fmt: skip
        salt, payload = os.urandom(16), f'{{"n":{seq}}}'.encode()
        digest, unit = payload_digest(salt, payload), ids.new()
        op, body = os.urandom(32), os.urandom(32)
        header = header_bytes(SPACE, "knowledge", seq, unit, seq * 10, seq * 10 + 1, op, body, event, digest)
        previous = link_hash(previous, header)
        rows.append((
            LedgerEntry("knowledge", seq, unit, event, seq * 10, seq * 10 + 1, op, body, salt, digest, previous), payload,
        ))  # fmt: skip
    return rows


def other(value: object) -> object:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, EventKind):
        return EventKind.ABSENT
    if isinstance(value, int):
        return value + 1
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    assert isinstance(value, str), value
    return value[:-1] + ("0" if value[-1] != "0" else "1")


def test_a_whole_chain_verifies() -> None:
    rows = chain()
    verdict = verify(SPACE, "knowledge", rows)

    assert verdict.ok
    assert (verdict.rows, verdict.erased, verdict.reason) == (5, 0, None)
    assert verdict.head == rows[-1][0].hash.hex()
    assert verify(SPACE, "knowledge", []).ok


ENTRY_FIELDS = [one.name for one in fields(LedgerEntry) if one.name not in ("ledger", "event", "erased")]
EVENT_FIELDS = [one.name for one in fields(Event) if one.name != "payload"]


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize("name", ENTRY_FIELDS)
def test_a_changed_field_of_a_row_is_found(name: str, place: int) -> None:
    rows = chain()
    entry, payload = rows[place]
    rows[place] = (replace(entry, **{name: other(getattr(entry, name))}), payload)
    verdict = verify(SPACE, "knowledge", rows)

    assert not verdict.ok
    assert verdict.bad_seq == rows[place][0].seq
    assert verdict.rows == place
    assert verdict.reason


@pytest.mark.parametrize("name", EVENT_FIELDS)
def test_a_changed_field_of_an_event_is_found(name: str) -> None:
    rows = chain()
    entry, payload = rows[2]
    rows[2] = (replace(entry, event=replace(entry.event, **{name: other(getattr(entry.event, name))})), payload)

    assert verify(SPACE, "knowledge", rows).bad_seq == 3


@pytest.mark.parametrize("name", ["op", "body", "salt"])
def test_a_field_taken_away_is_found(name: str) -> None:
    rows = chain()
    entry, payload = rows[2]
    rows[2] = (replace(entry, **{name: None}), payload)

    assert verify(SPACE, "knowledge", rows).bad_seq == 3


@pytest.mark.parametrize("name", ["key", "target", "valid_from", "valid_to"])
def test_a_field_of_an_event_taken_away_is_found(name: str) -> None:
    rows = chain()
    entry, payload = rows[2]
    rows[2] = (replace(entry, event=replace(entry.event, **{name: None})), payload)

    assert verify(SPACE, "knowledge", rows).bad_seq == 3


def test_every_bit_of_a_payload_counts() -> None:
    rows = chain(2)
    entry, payload = rows[1]
    assert payload is not None
    for bit in range(8 * len(payload)):
        changed = bytearray(payload)
        changed[bit // 8] ^= 1 << bit % 8
        assert verify(SPACE, "knowledge", [rows[0], (entry, bytes(changed))]).bad_seq == 2


numbers = st.integers(-(2**63), 2**63 - 1)
raws = st.none() | st.binary(max_size=4)
words = st.text(max_size=6)
events = st.builds(
    Event, st.sampled_from(EventKind), words, words, st.integers(0, 999), st.just({}), raws, st.none() | words,
    st.integers(0, 1), st.integers(0, 4), st.booleans(), st.none() | numbers, st.none() | numbers,
)  # fmt: skip


@given(words, st.sampled_from(LEDGERS), numbers, words, numbers, numbers, raws, raws, events, st.binary(max_size=32))
def test_a_header_is_one_json_array(space, ledger, seq, unit, recorded_at, written_at, op, body, event, digest) -> None:
    array = [
        "latewood/1", space, ledger, seq, unit, recorded_at, written_at, op.hex() if op else None,
        body.hex() if body else None, event.kind.value, event.id, event.subject, event.ordinal,
        event.key.hex() if event.key else None, event.target, event.tier, event.trust, int(event.known),
        event.valid_from, event.valid_to, digest.hex(),
    ]  # fmt: skip
    header = header_bytes(space, ledger, seq, unit, recorded_at, written_at, op, body, event, digest)

    assert header == json.dumps(array, separators=(",", ":")).encode()


def drop(rows: list[Row]) -> list[Row]:
    return [*rows[:2], *rows[3:]]


def double(rows: list[Row]) -> list[Row]:
    return [*rows[:3], rows[2], *rows[3:]]


def swap(rows: list[Row]) -> list[Row]:
    return [*rows[:2], rows[3], rows[2], rows[4]]


@pytest.mark.parametrize(("spoil", "seq"), [(drop, 4), (double, 3), (swap, 4)])
def test_missing_doubled_and_swapped_rows_are_found(spoil: Callable[[list[Row]], list[Row]], seq: int) -> None:
    assert verify(SPACE, "knowledge", spoil(chain())).bad_seq == seq


def test_a_row_of_another_space_or_ledger_is_found() -> None:
    assert verify(str(other(SPACE)), "knowledge", chain()).bad_seq == 1
    assert verify(SPACE, "execution", chain()).bad_seq == 1


def test_a_tail_cut_off_is_found_by_the_head() -> None:
    rows = chain()
    verifier = Verifier(SPACE, "knowledge")
    assert all(verifier.take(*row) for row in rows[:-1])

    assert verifier.verdict().ok
    assert verifier.verdict(4, rows[3][0].hash).ok
    assert verifier.verdict(5, rows[4][0].hash).bad_seq == 5
    assert verifier.verdict(3).bad_seq is not None
    assert verifier.verdict(4, rows[4][0].hash).bad_seq == 4


def test_recorded_time_must_grow_between_units() -> None:
    rows = chain(1)
    entry, payload = rows[0]
    follower = replace(entry, seq=2, unit=str(other(entry.unit)))
    header = header_bytes(
        SPACE, "knowledge", 2, follower.unit, entry.recorded_at, entry.written_at, entry.op, entry.body, entry.event,
        entry.digest,
    )  # fmt: skip
    verdict = verify(SPACE, "knowledge", [rows[0], (replace(follower, hash=link_hash(entry.hash, header)), payload)])

    assert verdict.bad_seq == 2
    assert verdict.reason is not None
    assert "recorded time" in verdict.reason


def erasing(rows: list[Row], *seqs: int) -> list[Row]:
    """Add an erasure of *seqs* to the chain."""
    last, _ = rows[-1]
    event = Event(EventKind.ERASED, f"e{len(rows)}", "n", 0, {"reason": "asked", "seqs": list(seqs)}, target="f")
    payload, salt = canonical_json(event.payload).encode(), bytes(16)
    digest, at = payload_digest(salt, payload), last.recorded_at + 1
    header = header_bytes(SPACE, "knowledge", last.seq + 1, f"u{len(rows)}", at, at, None, None, event, digest)
    entry = LedgerEntry(
        "knowledge", last.seq + 1, f"u{len(rows)}", event, at, at, None, None, salt, digest,
        link_hash(last.hash, header),
    )  # fmt: skip
    return [*rows, (entry, payload)]


def test_an_erased_payload_leaves_the_chain_whole() -> None:
    rows = erasing(chain(), 3)
    entry, _ = rows[2]
    rows[2] = (replace(entry, salt=None, erased=True), None)
    verdict = verify(SPACE, "knowledge", rows)
    assert (verdict.ok, verdict.rows, verdict.erased) == (True, 6, 1)

    rows[2] = (replace(entry, salt=None), None)
    assert verify(SPACE, "knowledge", rows).bad_seq == 3


def test_a_payload_goes_only_where_an_erasure_names_its_row() -> None:
    rows = chain()
    entry, payload = rows[2]
    rows[2] = (replace(entry, salt=None, erased=True), None)
    verdict = verify(SPACE, "knowledge", rows)
    assert (verdict.bad_seq, verdict.reason) == (3, "its payload is missing, and no erasure names it")

    rows = erasing(rows, 2, 3)
    verdict = verify(SPACE, "knowledge", rows)
    assert (verdict.bad_seq, verdict.reason) == (2, "its payload is there, though row 6 erased it")
    rows = erasing(chain(), 3)
    rows[2] = (entry, payload)
    assert verify(SPACE, "knowledge", rows).bad_seq == 3


def test_after_a_bad_row_nothing_counts() -> None:
    verifier = Verifier(SPACE, "knowledge")
    rows = chain()
    verifier.take(*rows[0])
    verifier.fail(2, "it cannot be read")
    assert not verifier.take(*rows[1])
    verifier.fail(7, "another")

    assert (verifier.verdict().bad_seq, verifier.verdict().reason) == (2, "it cannot be read")


def test_secrets_separate_what_is_equal() -> None:
    assert key_id(b"one", "x") != key_id(b"two", "x")
    assert key_id(b"one", "x") == key_id(b"one", "x")
    assert len(key_id(b"one", "x")) == 16
    assert op_hash(b"one", "x") != op_hash(b"two", "x")
    assert op_hash(b"one", "x")[:16] != key_id(b"one", "x")
    assert body_digest({"a": 1, "b": 2}) == body_digest({"b": 2, "a": 1}) != body_digest({"a": 1})
    assert payload_digest(b"s", b"p") != payload_digest(b"t", b"p")
