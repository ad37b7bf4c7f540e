"""Claude Code's transcripts: JSON lines, one file a session, subagents in files or side chains of their own.

A line has one block of a message, and each line of a message repeats its usage, the last with the final counts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from latewood.graph_schema.errors import RefusedError
from latewood.ingestion.sources.fields import (
    Fields,
    count_at,
    fields_at,
    instant_at,
    items_at,
    text_at,
    without_injected,
    words_of,
)
from latewood.ingestion.sources.items import (
    Entry,
    Item,
    Saying,
    Speech,
    Taken,
    call_item,
    fault_of,
    malformed,
    model_call_item,
    name_at,
    reject_of,
    result_item,
    session_item,
    session_ref,
    turn_item,
)
from latewood.ingestion.sources.lines import Fault, Line, read_json_lines
from latewood.ingestion.sources.loading import SourceReport, note
from latewood.ingestion.sources.watching import Calls, Clockwork, Parents

__all__ = ["CLIENT", "read_claude"]

CLIENT: Final = "Claude Code"
_PENDING_MAX: Final = 256
"""Messages whose usage may still grow; the oldest is booked when there are more."""
_ID_CHARS_MAX: Final = 200
_NO_TURNS: Final = frozenset(
    {
        "file-history-snapshot", "progress", "queue-operation", "attachment", "last-prompt", "permission-mode",
        "custom-title", "agent-name", "ai-title", "tag", "pr-link", "hook",
    }
)  # fmt: skip
"""Sorts of lines that are bookkeeping of the program itself."""


def _usage(message: Fields) -> dict[str, int]:
    given = fields_at(message, "usage")
    fresh, read, written = (
        count_at(given, name) for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    found = {
        "input_tokens": None if fresh is None else fresh + (read or 0) + (written or 0),
        "output_tokens": count_at(given, "output_tokens"), "cache_read_tokens": read, "cache_write_tokens": written,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def _sums_up(fields: Fields) -> bool:
    """Tell whether a line is of the agent that sums a session up when it grows too long; it answers that session."""
    return (text_at(fields, "agentId") or "").startswith("acompact")


class _Reader:
    """Reads one file; made for it and thrown away."""

    def __init__(self, path: Path, say: Saying, report: SourceReport, human: str) -> None:
        self._origin = str(path)
        self._say = say
        self._report = report
        self._human = human
        self._begun: dict[str, None] = {}
        self._summaries: dict[str, tuple[int, str]] = {}
        self._usage: OrderedDict[str, tuple[Speech, dict[str, int]]] = OrderedDict()
        self._calls = Calls()
        self._parents = Parents()
        self._clock = Clockwork(self._origin, report)

    def entries(self, path: Path) -> Iterator[Entry]:
        for line in read_json_lines(path):
            if isinstance(line, int):
                yield Taken(1, "empty", end=line)
            elif isinstance(line, Fault):
                yield fault_of(self._origin, line)
            else:
                yield self._entry(line)
        booked = [self._book(call) for call in list(self._usage)]
        self._report.open_calls += self._calls.open
        self._parents.conclude(self._origin, self._report)
        for leaf, (number, _) in self._summaries.items():
            note(self._report.dangling, {"path": self._origin, "line": number, "summary_of": leaf})
        if booked:
            yield Taken(0, "", tuple(booked))

    def _entry(self, line: Line) -> Entry:
        try:
            return replace(self._line(line), end=line.end)
        except RefusedError as error:
            return reject_of(self._origin, line.number, line.end, error)

    def _line(self, line: Line) -> Taken:
        fields = line.fields
        sort = text_at(fields, "type") or "none"
        if (own := text_at(fields, "uuid")) is not None and not _sums_up(fields):
            # Lines that say nothing stand between those that do, and are answered all the same.
            self._parents.see(own, text_at(fields, "parentUuid"), line.number)
        if sort == "summary":
            return self._summary(line)
        if sort == "system":
            return Taken(line.number, f"system {(text_at(fields, 'subtype') or 'notice')[:40]}")
        if sort not in ("user", "assistant"):
            if sort not in _NO_TURNS:
                note(self._report.unknown, {"path": self._origin, "type": sort[:40]})
                return Taken(line.number, f"unknown {sort[:40]}")
            return Taken(line.number, sort)
        of = self._speech(line, sort)
        begun = (*self._begin(of, fields), *self._awaited(of))
        if fields.get("isMeta") is True:
            return Taken(line.number, "injected", begun)
        message = fields_at(fields, "message")
        if fields.get("isCompactSummary") is True or _sums_up(fields):
            # A summary of what was said before, by its agent too: nothing in it is new but what it used.
            return Taken(line.number, "recalled", (*begun, *self._use(of, message)))
        if fields.get("isApiErrorMessage") is True or of.model == "<synthetic>":
            return Taken(line.number, "notice", begun)
        what, items, left_out = self._blocks(of, message)
        return Taken(line.number, what, (*begun, *items), left_out=tuple(left_out))

    def _speech(self, line: Line, sort: str) -> Speech:
        fields = line.fields
        session = main = name_at(fields, "sessionId")
        agent = text_at(fields, "agentId")
        if fields.get("isSidechain") is True or agent is not None:
            session = f"{main}/{(agent or 'sidechain')[:_ID_CHARS_MAX]}"
        at = self._clock.see(instant_at(fields, "timestamp"), line.number)
        model = text_at(fields_at(fields, "message"), "model")
        sub = session != main
        if sort == "user":
            # What a subagent is asked, the agent above it says.
            by, speaker = ("agent:claude", "Claude") if sub else (self._human, self._human.partition(":")[2])
            model = None
        else:
            by, speaker = ("agent:claude-subagent", "Claude's subagent") if sub else ("agent:claude", "Claude")
        return Speech(session, f"claude:{session}", self._origin, by, speaker, at, name_at(fields, "uuid"), model)

    def _begin(self, of: Speech, fields: Fields) -> tuple[Item, ...]:
        if of.session in self._begun:
            return ()
        self._begun[of.session] = None
        main = str(fields["sessionId"])
        return session_item(self._say, of, CLIENT, None if main == of.session else main)

    def _awaited(self, of: Speech) -> tuple[Item, ...]:
        found = self._summaries.pop(of.place, None)
        return () if found is None else (self._summarise(of.session, of.place, found[1]),)

    def _summary(self, line: Line) -> Taken:
        text, leaf = text_at(line.fields, "summary"), name_at(line.fields, "leafUuid")
        if text is None:
            raise malformed("it has no summary")
        if self._begun and self._parents.seen(leaf):
            return Taken(line.number, "summary", (self._summarise(next(iter(self._begun)), leaf, text),))
        if len(self._summaries) >= _PENDING_MAX:
            raise malformed(f"more than {_PENDING_MAX} summaries wait for the turns that they end at")
        # It stands above the turn that it ends at, and names no session: that turn tells.
        self._summaries[leaf] = (line.number, text)
        return Taken(line.number, "summary")

    def _summarise(self, session: str, leaf: str, text: str) -> Item:
        made = self._say.fact(session_ref(session), "summary", text, None, leaf)
        return Item(
            f"claude:{session}:summary:{leaf}", ["summary", text], (made,), "agent:claude", self._origin, session
        )

    def _blocks(self, of: Speech, message: Fields) -> tuple[str, list[Item], list[str]]:
        texts: list[str] = []
        items: list[Item] = []
        left_out: list[str] = []
        what = ""
        for block in items_at(message, "content"):
            sort = text_at(block, "type") or "none"
            if sort == "text":
                texts.append(str(block.get("text") or ""))
            elif sort == "tool_use":
                items.append(self._call(of, block))
                what = what or "call"
            elif sort == "tool_result":
                items.append(self._result(of, block))
                what = what or "result"
            else:
                left_out.append(sort[:40])
        said = without_injected("\n\n".join(texts)) if texts else ""
        if said:
            items.insert(0, turn_item(self._say, of, said))
            what = "turn"
        elif texts:
            what = what or "injected"
        items += self._use(of, message)
        return what or (left_out[0] if left_out else "empty turn"), items, left_out

    def _call(self, of: Speech, block: Fields) -> Item:
        call, tool = name_at(block, "id"), name_at(block, "name")
        self._calls.begin(call)
        return call_item(self._say, of, call, tool, words_of(block.get("input")))

    def _result(self, of: Speech, block: Fields) -> Item:
        call = name_at(block, "tool_use_id")
        if not self._calls.end(call):
            note(self._report.dangling, {"path": self._origin, "place": of.place, "call": call})
        failed = block.get("is_error") is True
        error = "\n".join(text_at(one, "text") or "" for one in items_at(block, "content")) if failed else None
        # A tool's end is seen by the program, not said by the person in whose turn it stands.
        own = replace(of, by="agent:claude", speaker="Claude", model=None)
        return result_item(self._say, own, call, "failed" if failed else "completed", error)

    def _use(self, of: Speech, message: Fields) -> list[Item]:
        call, usage = text_at(message, "id"), _usage(message)
        if call is None or not usage or len(call) > _ID_CHARS_MAX or of.model is None:
            return []
        begun, known = self._usage.get(call, (of, usage))
        self._usage[call] = (begun, {name: max(usage.get(name, 0), known.get(name, 0)) for name in {**known, **usage}})
        return [self._book(next(iter(self._usage)))] if len(self._usage) > _PENDING_MAX else []

    def _book(self, call: str) -> Item:
        of, usage = self._usage.pop(call)
        # A file that grows may tell a message's final count only in its next reading: that is said anew, of one step.
        told = "-".join(str(count) for count in usage.values())
        return model_call_item(self._say, of, call, usage, f"{call}:{told}")


def read_claude(path: Path, say: Saying, report: SourceReport, human: str) -> Iterator[Entry]:
    """Yield what became of each line of a transcript of Claude Code; *human* is the actor whose turns are the user's.

    Raises:
        InvalidError: code ``file.unreadable``.
    """
    return _Reader(path, say, report, human).entries(path)
