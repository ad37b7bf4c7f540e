"""Turns of a session, and the pieces of it that a model is shown."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from latewood.graph_schema.model import Fact, Trust

__all__ = ["CHUNK_BYTES_MAX", "Chunk", "Turn", "chunks", "turn_of"]

CHUNK_BYTES_MAX: Final = 12_000
"""Bytes of turns in one question, about 3,000 to 4,000 tokens; a longer turn is shown up to here."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What somebody said.

    Attributes:
        fact: the id of the fact `said`.
        origin: of its source, such as the transcript's path.
    """

    fact: str
    speaker: str
    text: str
    at: datetime
    actor: str | None
    origin: str
    trust: Trust


@dataclass(frozen=True, slots=True)
class Chunk:
    """Turns that are shown together; *digest* names exactly these words."""

    turns: tuple[Turn, ...]
    digest: str


def turn_of(fact: Fact) -> Turn | None:
    """Read a fact `said`; None for what is no turn, or was erased."""
    document = fact.value.data if fact.value is not None else None
    if not isinstance(document, dict) or fact.source is None:
        return None
    said = cast("dict[str, object]", document)
    speaker, text = said.get("speaker"), said.get("text")
    if not isinstance(text, str) or not text.strip():
        return None
    name = speaker if isinstance(speaker, str) else "unknown"
    return Turn(fact.id, name, text, fact.valid_from, fact.source.actor_id, fact.source.origin, fact.trust)


def chunks(turns: Sequence[Turn], bytes_max: int = CHUNK_BYTES_MAX) -> list[Chunk]:
    """Cut a session into chunks in order; the same turns give the same chunks, and new ones change only the last."""
    found: list[Chunk] = []
    part: list[Turn] = []
    size = 0
    for turn in turns:
        length = len(turn.text.encode()) + len(turn.speaker.encode()) + 8
        if part and size + length > bytes_max:
            found.append(_chunk(part))
            part, size = [], 0
        part.append(turn)
        size += length
    if part:
        found.append(_chunk(part))
    return found


def _chunk(turns: Iterable[Turn]) -> Chunk:
    kept = tuple(turns)
    named = "\x1e".join(f"{turn.fact}\x1f{turn.speaker}\x1f{turn.text}" for turn in kept)
    return Chunk(kept, hashlib.sha256(named.encode()).hexdigest()[:32])
