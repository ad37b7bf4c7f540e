"""From stored rows to the facts that readers meet: the same in every store that keeps rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from latewood.graph_schema.clock import Micros, from_micros, parse_instant
from latewood.graph_schema.identity import CARRIED
from latewood.graph_schema.model import Conflict, Fact, Node, Source, Trust
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.graph_schema.resolution import Claim, Voice, challengers
from latewood.graph_schema.values import Json, Value
from latewood.storage.rows import NodeRow

__all__ = ["Challenger", "StoredFact", "build_facts", "conflict_of", "node_of", "reason_of", "said_by", "value_of"]

_TRUST: Final[Mapping[int, Trust]] = {trust.level: trust for trust in Trust}


@dataclass(frozen=True, slots=True)
class StoredFact:
    """An assertion as a row: times in microseconds, *payload* as decoded JSON, empty once it was erased.

    Attributes:
        retracted_at: None while it counts; *why* is the retraction's reason.
    """

    id: str
    subject: str
    predicate: str
    absent: bool
    trust: int
    known: bool
    valid_from: Micros
    valid_to: Micros | None
    recorded_at: Micros
    payload: Mapping[str, Json]
    retracted_at: Micros | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Challenger:
    """A claim that might challenge, with the id and the payload of its assertion."""

    claim: Claim
    id: str
    payload: Mapping[str, Json]


def _text(payload: Mapping[str, Json], key: str) -> str | None:
    found = payload.get(key)
    return found if isinstance(found, str) else None


def node_of(row: NodeRow) -> Node:
    """Show a stored node."""
    return Node(
        row.id, row.kind, row.type, row.key, row.name, row.attributes, from_micros(row.recorded_at), row.version,
        row.erased,
    )  # fmt: skip


def value_of(payload: Mapping[str, Json]) -> Value | None:
    """Read a payload's value."""
    value = payload.get("value")
    if not isinstance(value, dict):
        return None
    unit = value.get("unit")
    return Value(str(value["kind"]), value["data"], unit if isinstance(unit, str) else None)


def said_by(row: NodeRow) -> Source:
    """Read a source's node; of an erased one only its id is left."""
    said = row.attributes
    if row.erased:
        return Source(row.id, "", "", "")
    return Source(
        row.id, _text(said, "origin") or "", _text(said, "method") or "asserted", _text(said, "actor") or "",
        _text(said, "session"), model=_text(said, "model"), prompt_version=_text(said, "prompt_version"),
        on_behalf_of=_text(said, "on_behalf_of"),
    )  # fmt: skip


def _source(payload: Mapping[str, Json], sources: Mapping[str, Source]) -> Source | None:
    if not payload:
        return None
    source = sources[str(payload["source"])]
    quote, locator, time = _text(payload, "quote"), _text(payload, "locator"), _text(payload, "source_time")
    if quote is None and locator is None and time is None:
        return source
    return Source(
        source.id, source.origin, source.method, source.actor_id, source.session_id, quote, source.model,
        source.prompt_version, None if time is None else parse_instant(time), locator, source.on_behalf_of,
    )  # fmt: skip


def build_facts(
    rows: Iterable[StoredFact], known_at: Micros, sources: Callable[[Iterable[str]], Mapping[str, Source]]
) -> list[Fact]:
    """Make facts of *rows* as known at *known_at*; *sources* returns sources by their node ids."""
    listed = list(rows)
    known = sources(str(row.payload["source"]) for row in listed if row.payload)
    return [_fact(row, known_at, known) for row in listed]


def _fact(row: StoredFact, known_at: Micros, sources: Mapping[str, Source]) -> Fact:
    gone = row.retracted_at is not None and row.retracted_at <= known_at
    payload = row.payload
    return Fact(
        id=row.id,
        subject_id=row.subject,
        predicate=row.predicate,
        value=value_of(payload),
        object_id=_text(payload, "object"),
        valid_from=from_micros(row.valid_from),
        valid_to=None if row.valid_to is None else from_micros(row.valid_to),
        valid_from_known=row.known,
        recorded_at=from_micros(row.recorded_at),
        trust=_TRUST[row.trust],
        source=_source(payload, sources),
        absent=row.absent,
        as_written=_text(payload, "as_written"),
        retired_at=from_micros(row.retracted_at) if gone and row.retracted_at is not None else None,
        retired_reason=row.why if gone else None,
        replaces=_text(payload, "replaces"),
        carried=_text(payload, CARRIED),
        ends=_text(payload, "ends"),
        erased=not payload,
    )


def _said(payload: Mapping[str, Json], predicate: str, words: Vocabulary) -> str:
    value = value_of(payload)
    if value is None:
        return f"@{payload.get('object')}"
    if value.unit is None:
        defined = words.predicates.get(predicate)
        value = Value(value.kind, value.data, defined.unit if defined else None)
    return value.canonical(words.units)


def conflict_of(
    holder: Fact, rows: Iterable[Challenger], valid_at: Micros, known_at: Micros, words: Vocabulary,
    sources: Callable[[Iterable[str]], Mapping[str, Source]],
) -> Conflict | None:  # fmt: skip
    """Find who of another origin says otherwise and starts no earlier than *holder*, which is among *rows*.

    What was erased says nothing; and whose source was erased, of him it cannot be told any more whether he is another.
    """
    spoken = {row.id: row for row in rows if row.payload}
    origins = sources(str(row.payload["source"]) for row in spoken.values())
    voices: dict[str, Voice] = {}
    for row in spoken.values():
        origin = origins[str(row.payload["source"])].origin
        if not origin:
            continue
        said = None if row.claim.absent else _said(row.payload, holder.predicate, words)
        voices[row.id] = Voice(row.claim, origin, said)
    if holder.id not in voices:
        return None
    against = challengers(voices[holder.id], voices.values(), valid_at, known_at)
    if not against:
        return None
    strongest = next(row for row in spoken.values() if row.claim is against[0].claim)
    return Conflict(strongest.id, value_of(strongest.payload), _text(strongest.payload, "object"), len(against) - 1)


def reason_of(payload: str | None) -> str | None:
    """Read the reason of a retraction's payload, stored as text."""
    return None if payload is None else _text(json.loads(payload), "reason")
