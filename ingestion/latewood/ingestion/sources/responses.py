"""Items of the OpenAI Responses API: as Codex wraps them, and as the Agents SDK's sessions keep them, one a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from latewood.graph_schema.errors import RefusedError
from latewood.ingestion.sources.fields import Fields, as_fields, items_at, text_at, without_injected, words_of
from latewood.ingestion.sources.items import (
    Entry,
    Item,
    Saying,
    Speech,
    Taken,
    call_item,
    fault_of,
    malformed,
    reject_of,
    result_item,
    session_item,
    turn_item,
)
from latewood.ingestion.sources.lines import Fault, Line, read_json_lines
from latewood.ingestion.sources.loading import SourceReport, note
from latewood.ingestion.sources.watching import Calls

__all__ = ["CLIENT", "Items", "read_responses"]

CLIENT: Final = "OpenAI Responses"
_EXIT: Final = re.compile(r"\A(?:Exit code|Process exited with code):? (-?\d{1,9})\b")
_RESULTS: Final = ("_output", "_response")
_ID_CHARS_MAX: Final = 200
_PASSED: Final = frozenset({"ghost_snapshot", "item_reference", "mcp_list_tools", "compaction", "other"})


def _parsed(given: object) -> Fields:
    if isinstance(given, str) and given[:1] == "{" and len(given) <= 1_000_000:  # noqa: PLR2004
        try:
            return as_fields(json.loads(given))
        except (ValueError, RecursionError):
            return {}
    return as_fields(given)


def _ended(payload: Fields) -> tuple[str, str | None]:
    """Return how a call ended, and its words when it failed; what does not say so is unknown."""
    output = payload.get("output")
    said = _parsed(output)
    words = output if isinstance(output, str) else text_at(said, "content", "output") or ""
    code = as_fields(said.get("metadata")).get("exit_code")
    exited = _EXIT.match(words)
    if code is None and exited is not None:
        code = int(exited[1])
    success = said.get("success")
    if isinstance(code, int):
        success = code == 0
    if text_at(payload, "status") in ("failed", "incomplete") or payload.get("error"):
        success = False
    if success is None:
        return "completed" if output is not None else "unknown", None
    return ("completed", None) if success else ("failed", text_at(said, "output", "content") or words)


class Items:
    """Takes the items of one session; made for it and thrown away."""

    def __init__(self, say: Saying, report: SourceReport, origin: str) -> None:
        """Begin at a session's first item."""
        self._say = say
        self._report = report
        self._origin = origin
        self._calls = Calls()

    def conclude(self) -> None:
        """Count the calls that have not ended."""
        self._report.open_calls += self._calls.open

    def take(self, of: Speech, line: Line, item: Fields, human: str) -> Taken:
        """Return what became of the item *item*. Raises RefusedError for one that cannot be kept."""
        sort = text_at(item, "type") or ("message" if "role" in item else "none")
        if sort == "message":
            return self._message(of, line, item, human)
        if sort == "reasoning":
            return Taken(line.number, "thinking", left_out=("thinking",))
        if sort.endswith("_call"):
            return Taken(line.number, "call", self._call(of, item, sort))
        if sort.endswith(_RESULTS):
            return Taken(line.number, "result", (self._result(of, item),))
        if sort not in _PASSED:
            note(self._report.unknown, {"path": self._origin, "type": sort[:40]})
            return Taken(line.number, f"unknown {sort[:40]}")
        return Taken(line.number, sort)

    def _message(self, of: Speech, line: Line, item: Fields, human: str) -> Taken:
        role = text_at(item, "role")
        if role not in ("user", "assistant"):
            return Taken(line.number, "injected")
        if role == "user":
            of = replace(of, by=human, speaker=human.partition(":")[2], model=None)
        texts: list[str] = []
        left_out: list[str] = []
        for block in items_at(item, "content"):
            sort = text_at(block, "type") or "none"
            if sort in ("text", "input_text", "output_text", "refusal"):
                texts.append(text_at(block, "text", "refusal") or "")
            else:
                left_out.append(sort[:40])
        # Each block is somebody's: what a program put beside the words of a person is taken out alone.
        said = "\n\n".join(left for one in texts if (left := without_injected(one)))
        what = "turn" if said else "injected" if texts else "empty turn"
        items = (turn_item(self._say, of, said),) if said else ()
        return Taken(line.number, what, items, left_out=tuple(left_out))

    def _call(self, of: Speech, item: Fields, sort: str) -> tuple[Item, ...]:
        # Some calls are run by the provider and come with their end.
        ran_there = "call_id" not in item
        call = text_at(item, "call_id", "id") or of.place
        if len(call) > _ID_CHARS_MAX:
            raise malformed(f"its call_id has more than {_ID_CHARS_MAX} characters")
        tool = (text_at(item, "name") or sort.removesuffix("_call"))[:_ID_CHARS_MAX]
        given = item.get("arguments", item.get("input", item.get("action")))
        begun = call_item(self._say, of, call, tool, words_of(_parsed(given) or given))
        status = text_at(item, "status")
        if ran_there and status in ("completed", "failed"):
            return begun, result_item(self._say, of, call, status)
        self._calls.begin(call)
        return (begun,)

    def _result(self, of: Speech, item: Fields) -> Item:
        call = text_at(item, "call_id", "id")
        if call is None or len(call) > _ID_CHARS_MAX:
            raise malformed(f"it has no call_id of up to {_ID_CHARS_MAX} characters")
        if not self._calls.end(call):
            note(self._report.dangling, {"path": self._origin, "place": of.place, "call": call})
        status, error = _ended(item)
        return result_item(self._say, of, call, status, error)


def read_responses(
    path: Path, say: Saying, report: SourceReport, human: str, session: str | None = None
) -> Iterator[Entry]:  # fmt: skip
    """Yield what became of each line of a session's items; they name neither their session nor their time.

    *session* defaults to the file's name. Raises InvalidError (``file.unreadable``).
    """
    origin, name = str(path), session or path.stem
    items = Items(say, report, origin)
    begun: tuple[Item, ...] | None = None
    for line in read_json_lines(path):
        if isinstance(line, int):
            yield Taken(1, "empty", end=line)
            continue
        if isinstance(line, Fault):
            yield fault_of(origin, line)
            continue
        of = Speech(name, f"responses:{name}", origin, "agent:openai", "assistant", None, f"line {line.number}")
        if begun is None:
            begun = session_item(say, of, CLIENT)
            yield Taken(0, "", begun)
        try:
            yield replace(items.take(of, line, line.fields, human), end=line.end)
        except RefusedError as error:
            yield reject_of(origin, line.number, line.end, error)
    items.conclude()
