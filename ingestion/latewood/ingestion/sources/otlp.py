"""Spans out of files: OTLP in JSON (one document, or one a line) and protobuf, and the spans that SDKs dump by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.errors import InvalidError, RefusedError
from latewood.ingestion.sources.fields import Fields, as_fields, count_at, fields_at, items_at, text_at
from latewood.ingestion.sources.items import Reject, fault_of, malformed, reject_of
from latewood.ingestion.sources.lines import LINE_BYTES_MAX, Fault, Line, read_json_lines
from latewood.ingestion.sources.protobuf import looks_like_otlp, read_parts

__all__ = ["DOCUMENT_BYTES_MAX", "Span", "read_spans"]

DOCUMENT_BYTES_MAX: Final = 64_000_000
"""Most bytes of one JSON document that is not one a line."""
_DEPTH_MAX: Final = 32
_ID_CHARS_MAX: Final = 64
_TIME_MAX: Final = 253_402_300_799_000_000


@dataclass(frozen=True, slots=True)
class Span:
    """One span, whatever file it came from; *number* is its place in the file, *end* how far that reaches, in bytes.

    Attributes:
        parent: the id of the span that it is a part of; None at the root.
        failed: None when the span does not say.
    """

    number: int
    end: int
    trace: str
    id: str
    parent: str | None
    name: str
    begun: Micros | None
    ended: Micros | None
    failed: bool | None
    message: str | None
    attributes: Mapping[str, object]
    events: tuple[tuple[str, Mapping[str, object]], ...]
    service: str | None


def _plain(value: Fields, depth: int = 0) -> object:
    """Return what an `AnyValue` says."""
    if depth > _DEPTH_MAX:
        raise malformed(f"an attribute nested deeper than {_DEPTH_MAX}")
    for name, found in value.items():
        if name == "intValue" and isinstance(found, str):
            return count_at(value, name)
        if name == "arrayValue":
            return [_plain(one, depth + 1) for one in items_at(as_fields(found), "values")]
        if name == "kvlistValue":
            return _attributes(as_fields(found), "values", depth + 1)
        return found
    return None


def _attributes(given: Fields, name: str = "attributes", depth: int = 0) -> dict[str, object]:
    listed = given.get(name)
    if isinstance(listed, dict):
        return cast("dict[str, object]", listed)
    return {
        key: _plain(fields_at(one, "value"), depth) for one in items_at(given, name) if (key := text_at(one, "key"))
    }


def _time(given: Fields, *names: str) -> Micros | None:
    nanos = count_at(given, *names)
    return None if not nanos or nanos // 1_000 > _TIME_MAX else nanos // 1_000


def _id(given: Fields, *names: str) -> str | None:
    for name in names:
        found = given.get(name)
        if isinstance(found, int) and not isinstance(found, bool) and found > 0:
            return f"{found:x}"[:_ID_CHARS_MAX]
        if isinstance(found, str) and found.strip("0"):
            return found.casefold()[:_ID_CHARS_MAX]
    return None


def _failed(status: Fields) -> bool | None:
    code = status.get("code", status.get("status_code"))
    if isinstance(code, str):
        code = code.casefold().removeprefix("status_code_")
    return {1: False, 2: True, "ok": False, "error": True, "1": False, "2": True}.get(code)  # type: ignore[arg-type]


def _span(given: Fields, number: int, end: int, service: str | None) -> Span | Reject:
    context = fields_at(given, "context") or given
    trace, own = _id(context, "traceId", "trace_id"), _id(context, "spanId", "span_id")
    if trace is None or own is None:
        raise malformed("the span has no trace id or no id of its own")
    parent = _id(given, "parentSpanId", "parent_id") or _id(fields_at(given, "parent"), "span_id", "spanId")
    status = fields_at(given, "status")
    events = tuple((text_at(one, "name") or "", _attributes(one)) for one in items_at(given, "events"))
    return Span(
        number, end, trace, own, parent, text_at(given, "name") or "span",
        _time(given, "startTimeUnixNano", "start_time"), _time(given, "endTimeUnixNano", "end_time"),
        _failed(status), text_at(status, "message", "description"), _attributes(given), events, service,
    )  # fmt: skip


class _Counter:
    """Numbers the spans of a file as they come."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.number = 0

    def of_part(self, part: Fields, end: int) -> Iterator[Span | Reject]:
        """Yield the spans of one `ResourceSpans`."""
        service = text_at(_attributes(fields_at(part, "resource")), "service.name")
        for name in ("scopeSpans", "instrumentationLibrarySpans"):
            for scope in items_at(part, name):
                yield from self.of_list(items_at(scope, "spans"), end, service)

    def of_list(self, spans: list[Fields], end: int, service: str | None = None) -> Iterator[Span | Reject]:
        for one in spans:
            self.number += 1
            own = service or text_at(_attributes(fields_at(one, "resource")), "service.name")
            try:
                yield _span(one, self.number, end, own)
            except RefusedError as error:
                yield reject_of(self.path, self.number, end, error)

    def of_document(self, document: Fields, end: int) -> Iterator[Span | Reject]:
        """Yield the spans of a document: OTLP's, a dump's list of spans, or one span by itself."""
        if "resourceSpans" in document:
            for part in items_at(document, "resourceSpans"):
                yield from self.of_part(part, end)
        elif isinstance(document.get("spans"), list):
            yield from self.of_list(items_at(document, "spans"), end)
        elif "context" in document or "traceId" in document:
            yield from self.of_list([document], end)
        else:
            self.number += 1
            error = malformed("neither resourceSpans nor spans are in it")
            yield reject_of(self.path, self.number, end, error)

    def of_fault(self, fault: Fault) -> Reject:
        self.number += 1
        found = fault_of(self.path, fault)
        return Reject(self.path, self.number, found.kind, found.code, f"line {fault.number}: {found.reason}", fault.end)


def read_spans(path: Path) -> Iterator[Span | Reject]:
    """Yield the spans of a file, whichever of the known formats it is in, and a reject for each that is none.

    Raises:
        InvalidError: code ``file.unreadable``.
    """
    counter = _Counter(str(path))
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
            if looks_like_otlp(head) and not head.lstrip().startswith((b"{", b"[")):
                stream.seek(0)
                try:
                    for part in read_parts(stream):
                        yield from counter.of_part(part, stream.tell())
                except RefusedError as error:
                    yield reject_of(str(path), counter.number + 1, stream.tell(), error)
                return
            stream.seek(0)
            first = stream.readline(LINE_BYTES_MAX + 1)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}"
        raise InvalidError(msg, code="file.unreadable", path=str(path)) from error
    if _is_whole(first):
        for line in read_json_lines(path):
            if isinstance(line, Line):
                yield from counter.of_document(line.fields, line.end)
            elif isinstance(line, Fault):
                yield counter.of_fault(line)
        return
    yield from _document(path, counter)


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _document(path: Path, counter: _Counter) -> Iterator[Span | Reject]:
    size = path.stat().st_size
    if size > DOCUMENT_BYTES_MAX:
        reason = f"the document has {size:,} bytes, more than {DOCUMENT_BYTES_MAX:,}; write one batch a line"
        yield Reject(str(path), 1, "too_long", "text.too_long", reason, size)
        return
    try:
        found: object = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        yield Reject(str(path), 1, "encoding", "import.malformed", f"not UTF-8 at byte {error.start}", size)
        return
    except (ValueError, RecursionError) as error:
        yield Reject(
            str(path), 1, "malformed", "import.malformed", f"neither OTLP in JSON nor in protobuf: {error}", size
        )
        return
    for document in cast("list[object]", found) if isinstance(found, list) else [found]:
        yield from counter.of_document(as_fields(document), size)
