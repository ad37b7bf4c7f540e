"""Codex's rollouts: JSON lines of `{timestamp, type, payload}`, one file a session; lines have no ids but their place.

What a person reads comes twice, as an item for the model and as an event for the screen; the item counts. Token counts
come as totals beside those of the last call, and are repeated when a turn begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from latewood.graph_schema.errors import RefusedError
from latewood.ingestion.sources.fields import Fields, as_fields, count_at, fields_at, instant_at, text_at
from latewood.ingestion.sources.items import (
    Entry,
    Item,
    Saying,
    Speech,
    Taken,
    fault_of,
    model_call_item,
    reject_of,
    session_item,
)
from latewood.ingestion.sources.lines import Fault, Line, read_json_lines
from latewood.ingestion.sources.loading import SourceReport, note
from latewood.ingestion.sources.responses import Items
from latewood.ingestion.sources.watching import Clockwork

__all__ = ["CLIENT", "read_codex"]

CLIENT: Final = "Codex"
_REPEATED: Final = frozenset({"user_message", "agent_message", "agent_reasoning", "agent_reasoning_raw_content"})
_KNOWN: Final = frozenset({"turn_context", "compacted", "world_state"})


def _usage(given: Fields) -> dict[str, int]:
    found = {
        "input_tokens": count_at(given, "input_tokens"), "output_tokens": count_at(given, "output_tokens"),
        "cache_read_tokens": count_at(given, "cached_input_tokens"),
        "reasoning_tokens": count_at(given, "reasoning_output_tokens"),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


class _Reader:
    """Reads one file; made for it and thrown away."""

    def __init__(self, path: Path, say: Saying, report: SourceReport, human: str) -> None:
        self._origin = str(path)
        self._say = say
        self._report = report
        self._human = human
        self._session: str | None = None
        self._model: str | None = None
        self._total: str | None = None
        self._clock = Clockwork(self._origin, report)
        self._items = Items(say, report, self._origin)

    def entries(self, path: Path) -> Iterator[Entry]:
        for line in read_json_lines(path):
            if isinstance(line, int):
                yield Taken(1, "empty", end=line)
            elif isinstance(line, Fault):
                yield fault_of(self._origin, line)
            else:
                yield self._entry(line)
        self._items.conclude()

    def _entry(self, line: Line) -> Entry:
        try:
            return replace(self._line(line), end=line.end)
        except RefusedError as error:
            return reject_of(self._origin, line.number, line.end, error)

    def _line(self, line: Line) -> Taken:
        sort, payload = text_at(line.fields, "type") or "none", fields_at(line.fields, "payload")
        at = self._clock.see(instant_at(line.fields, "timestamp"), line.number)
        if sort == "session_meta":
            return self._begin(line, payload, at)
        if sort == "turn_context":
            self._model = text_at(payload, "model") or self._model
        if sort in _KNOWN:
            return Taken(line.number, "recalled" if sort == "compacted" else sort)
        if sort not in ("response_item", "event_msg"):
            note(self._report.unknown, {"path": self._origin, "type": sort[:40]})
            return Taken(line.number, f"unknown {sort[:40]}")
        session = self._session or self._named()
        of = Speech(
            session, f"codex:{session}", self._origin, "agent:codex", "Codex", at, f"line {line.number}", self._model
        )
        begun = () if self._session is not None else self._announce(of)
        taken = (
            self._event(of, line, payload) if sort == "event_msg" else self._items.take(of, line, payload, self._human)
        )
        return replace(taken, items=(*begun, *taken.items))

    def _named(self) -> str:
        # A file cut off at its beginning still has its session in its name.
        return Path(self._origin).stem[-36:]

    def _announce(self, of: Speech, part_of: str | None = None) -> tuple[Item, ...]:
        self._session = of.session
        return session_item(self._say, of, CLIENT, part_of)

    def _begin(self, line: Line, payload: Fields, at: int | None) -> Taken:
        session = (text_at(payload, "id") or self._named())[:200]
        if self._session is not None:
            # A forked session's file begins with what it was forked from.
            return Taken(line.number, "session repeated")
        of = Speech(session, f"codex:{session}", self._origin, "agent:codex", "Codex", at, f"line {line.number}")
        return Taken(line.number, "session", self._announce(of, text_at(payload, "forked_from_id")))

    def _event(self, of: Speech, line: Line, payload: Fields) -> Taken:
        sort = text_at(payload, "type") or "none"
        if sort in _REPEATED:
            return Taken(line.number, "repeated")
        if sort != "token_count":
            return Taken(line.number, f"event {sort[:40]}")
        info = fields_at(payload, "info")
        usage, total = _usage(fields_at(info, "last_token_usage")), as_fields(info.get("total_token_usage"))
        if not usage:
            return Taken(line.number, "usage unknown")
        told = json.dumps(total, sort_keys=True) if total else str(line.number)
        if told == self._total:
            return Taken(line.number, "usage repeated")
        self._total = told
        return Taken(line.number, "usage", (model_call_item(self._say, of, of.place, usage),))


def read_codex(path: Path, say: Saying, report: SourceReport, human: str) -> Iterator[Entry]:
    """Yield what became of each line of a rollout; *human* is the actor whose turns are the user's.

    Raises:
        InvalidError: code ``file.unreadable``.
    """
    return _Reader(path, say, report, human).entries(path)
