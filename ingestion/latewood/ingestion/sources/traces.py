"""OpenTelemetry's GenAI spans into the graph: traces as runs, spans as steps, conversations as sessions.

Each model call repeats the whole conversation before it, so a turn is told by its place in it and its words. Counts are
booked on model calls alone: what an agent's span says it used in all stands apart, or it would be counted twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final, cast

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.errors import InvalidError, RefusedError
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.values import Json
from latewood.ingestion.sink import Progress, Sink
from latewood.ingestion.sources.fields import as_fields, count_at, items_at, shorten, text_at, without_injected
from latewood.ingestion.sources.items import (
    SAID,
    USAGE,
    Entry,
    Item,
    Reject,
    Saying,
    Taken,
    is_own_tool,
    model_ref,
    named_ref,
    reject_of,
    session_ref,
)
from latewood.ingestion.sources.loading import Loader, RejectsFile, SourceReport, note, read_rejects
from latewood.ingestion.sources.otlp import Span, read_spans
from latewood.ingestion.sources.transcripts import HUMAN, files_under
from latewood.ingestion.sources.watching import Clockwork

__all__ = ["STREAMED_MAX", "Followed", "ingest_traces", "receive_traces"]

_SUFFIXES: Final = (".json", ".jsonl", ".pb", ".bin", ".binpb", ".otlp")
_FOLLOWED_MAX: Final = 200_000
"""Spans, and turns, of a file that are kept an eye on."""
STREAMED_MAX: Final = 20_000
"""Spans of a stream that are kept an eye on, for each space."""
_MODEL_CALLS: Final = frozenset(
    {"chat", "generate_content", "text_completion", "embeddings", "call_llm", "completion", "message", "responses"}
)
_TOOL_CALLS: Final = frozenset({"execute_tool", "tool"})
_USED: Final[Mapping[str, tuple[str, ...]]] = {
    "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens"),
    "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens"),
    "cache_read_tokens": ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
    "cache_write_tokens": ("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens"),
    "reasoning_tokens": ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
}
_TOTALS: Final[Mapping[str, tuple[str, ...]]] = {
    name: (f"gen_ai.aggregated_usage.{name}", *names) for name, names in _USED.items()
}
_EVENT_ROLES: Final[Mapping[str, str]] = {
    "gen_ai.user.message": "user", "gen_ai.assistant.message": "assistant", "gen_ai.choice": "assistant",
}  # fmt: skip


def _counts(span: Span, names: Mapping[str, tuple[str, ...]]) -> dict[str, object]:
    found = {name: count_at(span.attributes, *of) for name, of in names.items()}
    return {name: count for name, count in found.items() if count is not None}


def _parsed(given: object) -> object:
    """Return a structure as it is, and one that is written as text read."""
    if isinstance(given, str) and given[:1] in ("[", "{"):
        try:
            return json.loads(given)
        except (ValueError, RecursionError):
            return given
    return given


def _words(message: Mapping[str, object]) -> str:
    """Return the text that a message holds, in its old and its new form."""
    content = _parsed(message.get("content", message.get("message")))
    if isinstance(content, str):
        return without_injected(content)
    parts = items_at(message, "parts") or items_at({"content": content}, "content")
    if isinstance(content, dict):
        parts = [as_fields(cast("object", content))]
    texts = [
        text_at(part, "content", "text") or ""
        for part in parts
        if part.get("type", "text") in ("text", "input_text", "output_text")
    ]
    return "\n\n".join(left for one in texts if (left := without_injected(one)))


def _messages(given: object, role: str) -> list[tuple[str, str]]:
    """Return role and words of each message of a list, or of a bare text in the *role* that it must be of."""
    found = _parsed(given)
    if isinstance(found, str):
        return [(role, without_injected(found))] if found else []
    listed: list[object] = cast("list[object]", found) if isinstance(found, list) else [found]
    return [(text_at(one, "role") or role, _words(one)) for one in map(as_fields, listed) if one]


def _flat(attributes: Mapping[str, object], prefix: str, role: str) -> list[tuple[str, str]]:
    """Return messages that are spread over attributes: ``gen_ai.prompt.0.role``, ``gen_ai.prompt.0.content``."""
    found: list[tuple[str, str]] = []
    while f"{prefix}.{len(found)}.role" in attributes or f"{prefix}.{len(found)}.content" in attributes:
        at = f"{prefix}.{len(found)}"
        found.append((text_at(attributes, f"{at}.role") or role, _words({"content": attributes.get(f"{at}.content")})))
    return found


def _conversation(span: Span) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return what went into a model call and what came out, each message with its role."""
    said = span.attributes
    asked = _messages(said.get("gen_ai.input.messages", said.get("gen_ai.prompt")), "user")
    answered = _messages(said.get("gen_ai.output.messages", said.get("gen_ai.completion")), "assistant")
    asked = asked or _flat(said, "gen_ai.prompt", "user")
    answered = answered or _flat(said, "gen_ai.completion", "assistant")
    for name, attributes in span.events:
        asked += _messages(attributes.get("gen_ai.prompt"), "user") if not asked else []
        answered += _messages(attributes.get("gen_ai.completion"), "assistant") if not answered else []
        role = _EVENT_ROLES.get(name)
        if role is not None:
            words = _words(attributes)
            (answered if name == "gen_ai.choice" else asked).append((role, words))
    return asked, answered


class Followed:
    """Which span lies within which, kept from one batch of a stream to the next: a span comes before what it is in.

    Bounded: of more than `STREAMED_MAX` spans the oldest are forgotten, and with them what they are a part of.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.above: dict[str, str | None] = {}
        self.kept: dict[str, tuple[Span, str]] = {}
        self.told: set[str] = set()

    def trim(self) -> None:
        """Forget the oldest."""
        for key in list(self.above)[: max(0, len(self.above) - STREAMED_MAX)]:
            del self.above[key]
            self.kept.pop(key, None)
            self.told.discard(key)


class _Reader:
    """Reads one file, or one batch of a stream; made for it and thrown away."""

    def __init__(
        self, origin: str, say: Saying, report: SourceReport, human: str, followed: Followed | None = None
    ) -> None:
        self._origin = origin
        self._say = say
        self._report = report
        self._human = human
        self._begun: set[str] = set()
        self._turns: set[bytes] = set()
        stream = followed or Followed()
        self._above, self._kept, self._told = stream.above, stream.kept, stream.told
        self._streams = followed is not None
        self._clock = Clockwork(self._origin, report)

    def entries(self, path: Path) -> Iterator[Entry]:
        for span in read_spans(path):
            if isinstance(span, Reject):
                yield span
                continue
            try:
                yield self._span(span)
            except RefusedError as error:
                yield reject_of(self._origin, span.number, span.end, error)
        yield Taken(0, "", tuple(self._edges()))

    def _span(self, span: Span) -> Entry:
        if len(self._above) < _FOLLOWED_MAX:
            self._above[f"{span.trace}/{span.id}"] = span.parent
        said = span.attributes
        if not any(name.startswith(("gen_ai.", "llm.usage.")) for name in said):
            return Taken(span.number, "no GenAI span", end=span.end)
        sort = self._sort(span)
        session = (text_at(said, "gen_ai.conversation.id", "session.id") or span.trace)[:200]
        agent = text_at(said, "gen_ai.agent.name") or span.service or "unknown"
        by = f"agent:{shorten(agent, 100)}"
        self._clock.see(span.begun, span.number)
        items = [*self._begin(span, session, by), self._step(span, session, by, sort)]
        if sort == "model_call":
            items += self._said(span, session, by)
        if len(self._kept) < _FOLLOWED_MAX:
            # Its words are said by now; a long file's spans must not stay in memory with them.
            self._kept[f"{span.trace}/{span.id}"] = (replace(span, attributes={}, events=()), session)
        return Taken(span.number, sort.replace("_", " "), tuple(items), end=span.end)

    def _sort(self, span: Span) -> str:
        said = span.attributes
        operation = text_at(said, "gen_ai.operation.name")
        if operation in _MODEL_CALLS:
            return "model_call"
        if operation in _TOOL_CALLS or (operation is None and "gen_ai.tool.name" in said):
            return "recall" if is_own_tool(f"{said.get('gen_ai.tool.name')} {span.name}") else "tool_call"
        if operation is None and _counts(span, _USED):
            return "model_call"
        return shorten(operation or "span", 60)

    def _item(
        self, span: Span, session: str, by: str, what: str, body: Json, commands: Sequence[Assert], *, run: bool = True
    ) -> Item:  # fmt: skip
        model = text_at(span.attributes, "gen_ai.response.model", "gen_ai.request.model")
        return Item(
            f"trace:{span.trace}:{what}" if run else f"trace-session:{session}:{what}", body, tuple(commands), by,
            self._origin, session, "execution" if run else "knowledge", model[:200] if model and not run else None,
        )  # fmt: skip

    def _run(self, span: Span) -> Ref:
        return Ref(key=f"run:trace:{span.trace}", kind=NodeKind.RUN, type="run", name=f"trace {span.trace[:16]}")

    def _begin(self, span: Span, session: str, by: str) -> Iterator[Item]:
        if f"{session}\0{span.trace}" in self._begun or len(self._begun) >= _FOLLOWED_MAX:
            return
        self._begun.add(f"{session}\0{span.trace}")
        client = span.service or "unknown"
        target = named_ref("client", client)
        made = self._say.edge(session_ref(session), "with_client", target, span.begun, span.id)
        # Its own trace keys it: a conversation of several services has a client from each.
        yield self._item(span, session, by, f"client:{span.trace}", ["client", client], [made], run=False)
        edge = self._say.edge(self._run(span), "in_session", session_ref(session), span.begun, span.id)
        yield self._item(span, session, by, f"run:{session}", ["run", session], [edge])

    def _step_ref(self, span: Span, sort: str) -> Ref:
        key = f"step:{span.trace}/{span.id}"
        return Ref(key=key, kind=NodeKind.STEP, type=sort, name=shorten(span.name))

    def _step(self, span: Span, session: str, by: str, sort: str) -> Item:
        step, say, at = self._step_ref(span, sort), self._say, span.ended or span.begun
        failed = span.failed is True or "error.type" in span.attributes
        # A span that has ended without a word of failure went through: that is what "unset" means there.
        status = "failed" if failed else "completed" if span.ended is not None else "unknown"
        made = [
            say.edge(self._run(span), "has_step", step, span.begun, span.id),
            say.fact(step, "status", status, at, span.id),
        ]
        if tool := text_at(span.attributes, "gen_ai.tool.name"):
            made.append(say.edge(step, "used_tool", named_ref("tool", tool), at, span.id))
        if model := text_at(span.attributes, "gen_ai.response.model", "gen_ai.request.model"):
            made.append(say.edge(step, "used_model", model_ref(model), at, span.id))
        if provider := text_at(span.attributes, "gen_ai.provider.name", "gen_ai.system"):
            made.append(say.edge(step, "with_provider", named_ref("provider", provider), at, span.id))
        error = (span.message or text_at(span.attributes, "error.type")) if failed else None
        if error:
            made.append(say.fact(step, "error", shorten(error, 500), at, span.id))
        used = _counts(span, _USED if sort == "model_call" else _TOTALS)
        if used:
            predicate = USAGE if sort == "model_call" else "usage_total"
            made.append(say.fact(step, predicate, used, at, span.id))
        body: list[Json] = ["step", span.name[:200], status, cast("Json", used)]
        return self._item(span, session, by, f"step:{span.id}", body, made)

    def _said(self, span: Span, session: str, by: str) -> Iterator[Item]:
        asked, answered = _conversation(span)
        for place, (role, words) in enumerate([*asked, *answered]):
            if not words or role not in ("user", "assistant"):
                continue
            user = role == "user"
            digest = sha256(f"{session}\0{place}\0{role}\0{words}".encode(errors="replace")).digest()[:16]
            if digest in self._turns:
                continue
            if len(self._turns) < _FOLLOWED_MAX:
                self._turns.add(digest)
            speaker = self._human if user else by
            at: Micros | None = (span.begun if place < len(asked) else span.ended) or span.begun
            document: dict[str, object] = {"speaker": speaker.partition(":")[2], "text": words}
            made = self._say.fact(session_ref(session), SAID, document, at, f"{span.id}#{place}")
            what = f"turn:{place}:{digest.hex()}"
            yield self._item(span, session, speaker, what, ["turn", role, words], [made], run=False)

    def _edges(self) -> Iterator[Item]:
        """Tell which step is a part of which, now that all of them are there."""
        for key, (span, session) in self._kept.items():
            if key in self._told:
                continue
            above = self._nearest(key)
            if above is None:
                # In a stream what it is a part of may be yet to come.
                if not self._streams and span.parent is not None and f"{span.trace}/{span.parent}" not in self._above:
                    note(self._report.dangling, {"path": self._origin, "line": span.number, "parent": span.parent})
                continue
            target, mine = Ref(key=f"step:{above}", create=False), Ref(key=f"step:{key}", create=False)
            made = self._say.edge(mine, "part_of", target, span.begun, span.id)
            self._told.add(key)
            yield self._item(span, session, "system:otlp", f"part:{span.id}", ["part", above], [made])

    def _nearest(self, key: str) -> str | None:
        """Return the nearest kept span that *key* lies within; a ring is noted."""
        trace, seen = key.partition("/")[0], {key}
        parent = self._above.get(key)
        while parent is not None:
            above = f"{trace}/{parent}"
            if above in seen:
                note(self._report.cyclic, {"path": self._origin, "span": key, "parent": parent})
                return None
            if above in self._kept:
                return above
            seen.add(above)
            parent = self._above.get(above)
        return None


async def ingest_traces(
    sink: Sink, paths: Sequence[Path], *, human: str = HUMAN, dry_run: bool = False, rejects: Path | None = None,
    retry: Path | None = None, progress: Progress | None = None,
) -> SourceReport:  # fmt: skip
    """Import traces from files: OTLP in JSON or protobuf, and SDKs' dumps; a second run writes nothing.

    Takes the arguments that `ingest_transcripts` takes; a line is a span there, by its place in the file.

    Raises:
        InvalidError: a file cannot be read (``file.unreadable``), or none has a span (``import.malformed``).
    """
    only = None if retry is None else read_rejects(retry)
    files = files_under(paths or [Path(one) for one in only or {}], _SUFFIXES)
    report = SourceReport(str(files[0]) if len(files) == 1 else f"{len(files)} files", sink.space, "trace")
    sizes = {path: path.stat().st_size for path in files}
    with RejectsFile(rejects) as file:
        loader = Loader(
            sink, report, rejects=file, dry_run=dry_run, only=only, progress=progress, bytes_all=sum(sizes.values())
        )
        for path in files:
            await loader.take(str(path), _Reader(str(path), Saying(sink.ids), report, human).entries(path), sizes[path])
    if not report.what:
        first = f": {report.rejects[0].reason}" if report.rejects else ""
        raise InvalidError(f"{report.path} holds no span that could be read{first}", code="import.malformed")
    return report


async def receive_traces(
    sink: Sink, path: Path, origin: str, followed: Followed, *, human: str = HUMAN
) -> SourceReport:  # fmt: skip
    """Keep one batch of a stream of spans, which lies in the file *path*; the same batch again writes nothing.

    Args:
        origin: where the spans come from, as the source of what they say.
        followed: what the stream's earlier batches said; one batch at a time.
    """
    report = SourceReport(origin, sink.space, "trace")
    with RejectsFile(None) as file:
        loader = Loader(sink, report, rejects=file)
        reader = _Reader(origin, Saying(sink.ids), report, human, followed)
        await loader.take(origin, reader.entries(path))
    followed.trim()
    return report
