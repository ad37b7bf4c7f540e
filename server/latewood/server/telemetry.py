"""OTLP over HTTP in: `POST /v1/traces`, so that an agent framework's own telemetry becomes sessions, runs and steps."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from latewood.graph_schema.errors import ForbiddenError, LatewoodError, NotFoundError, RefusedError, UnavailableError
from latewood.ingestion.sources.loading import SourceReport
from latewood.memory import Memory
from latewood.memory.credentials import BoundMemory
from latewood.memory.receiving import TraceReceiver, note_refusal
from latewood.server.identity import Callers

__all__ = ["UNPACKED_BYTES_MAX", "TracesIn"]

UNPACKED_BYTES_MAX: Final = 16_000_000
"""Most bytes of a batch once it is unpacked."""
_JSON: Final = "application/json"
_PROTOBUF: Final = "application/x-protobuf"
_ORIGIN_CHARS_MAX: Final = 200
_RECEIPT: Final = "latewood-receipt"
_REFUSAL: Final = "latewood-refusal"


class TracesIn:
    """The receiver; what the protocol calls partial success is told as such."""

    def __init__(self, callers: Callers) -> None:
        """Receive for whoever asks."""
        self._callers = callers
        self._receiver = TraceReceiver()

    async def __call__(self, request: Request) -> Response:
        """Answer one export."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (_JSON, _PROTOBUF):
            return _failed(_JSON, 415, f"the content type is {kind[:80]!r}; it is {_JSON} or {_PROTOBUF}")
        try:
            body = _unpacked(await request.body(), request.headers.get("content-encoding"))
        except ValueError as error:
            return _failed(kind, 400, str(error))
        memory = self._callers.memory()
        space = request.query_params.get("space")
        handle: Memory = memory
        try:
            handle = (
                memory.reporter(space=space)
                if isinstance(memory, BoundMemory)
                else memory.within(space=space, by=memory.default_actor())
            )
            # Asked first: else each span would be refused for itself.
            await handle.now()
            # Empty exports are well-formed, and there is nothing in them to read.
            report = (
                SourceReport(_origin(request), handle.space, "trace")
                if not body or _is_empty(body, kind)
                else await self._receiver.receive(handle, body, _origin(request))
            )
        except UnavailableError as error:
            return _failed(kind, 503, error.message, {"retry-after": "1"})
        except ForbiddenError as error:
            return _failed(kind, 403, error.message, {_REFUSAL: await note_refusal(handle, error, body)})
        except NotFoundError as error:
            return _failed(kind, 404, error.message)
        except RefusedError as error:
            return _failed(kind, 400, error.message, {_REFUSAL: await note_refusal(handle, error, body)})
        except LatewoodError as error:
            return _failed(kind, 500, error.message)
        if report.rejected and not report.what:
            return _failed(kind, 400, report.rejects[0].reason, _receipts(report))
        return _answered(kind, report)


def _origin(request: Request) -> str:
    """Name where spans come from: what the exporter calls itself, and never its address."""
    agent = request.headers.get("user-agent", "unknown").partition(" ")[0]
    return f"otlp:{agent}"[:_ORIGIN_CHARS_MAX]


def _unpacked(body: bytes, encoding: str | None) -> bytes:
    """Return a body as it was before it was packed. Raises ValueError."""
    if encoding in (None, "", "identity"):
        return body
    if encoding != "gzip":
        msg = f"the content encoding is {str(encoding)[:80]!r}; it is gzip, or none"
        raise ValueError(msg)
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        found = unpacker.decompress(body, UNPACKED_BYTES_MAX + 1)
    except zlib.error as error:
        msg = "the body is no gzip"
        raise ValueError(msg) from error
    if len(found) > UNPACKED_BYTES_MAX or not unpacker.eof:
        msg = f"the body is cut short, or unpacks to more than {UNPACKED_BYTES_MAX:,} bytes; send smaller batches"
        raise ValueError(msg)
    return found


def _is_empty(body: bytes, kind: str) -> bool:
    if kind != _JSON or len(body) > 1_000:  # noqa: PLR2004 - an empty export has a few braces
        return False
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return found in ({}, {"resourceSpans": []})


def _answered(kind: str, report: SourceReport) -> Response:
    refused = report.rejected + report.refused
    why = f"{report.rejects[0].code}: {report.rejects[0].reason}"[:500] if report.rejects else ""
    headers = {
        "latewood-written": str(report.written), "latewood-known": str(report.replayed), **_receipts(report)
    }  # fmt: skip
    if kind == _JSON:
        partial = {"partialSuccess": {"rejectedSpans": str(refused), "errorMessage": why}} if refused else {}
        return Response(json.dumps(partial), media_type=_JSON, headers=headers)
    partial = _field(1, _number(1, refused) + _field(2, why.encode())) if refused else b""
    return Response(partial, media_type=_PROTOBUF, headers=headers)


def _receipts(report: SourceReport) -> dict[str, str]:
    found = {_RECEIPT: report.receipt, _REFUSAL: report.refusal}
    return {name: one for name, one in found.items() if one is not None}


def _failed(kind: str, status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a google.rpc.Status, as the protocol wants it."""
    body = json.dumps({"message": message}).encode() if kind == _JSON else _field(2, message.encode())
    return Response(body, status, media_type=kind, headers=dict(headers or {}))


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value
