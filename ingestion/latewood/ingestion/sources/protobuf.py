"""OTLP's trace messages in protobuf's wire format, read into the shape that OTLP's JSON has.

Eight messages of a format that never changes its field numbers are less than the two packages that would read them, and
reading them here keeps each step bounded: a file is taken one `ResourceSpans` at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import IO, Final, TypeAlias

from latewood.graph_schema.errors import InvalidError, LimitError

__all__ = ["PART_BYTES_MAX", "looks_like_otlp", "read_parts"]

PART_BYTES_MAX: Final = 64_000_000
"""Most bytes of one `ResourceSpans`, or of one framed message."""
_DEPTH_MAX: Final = 32
_VARINT_BYTES_MAX: Final = 10
_LENGTH_DELIMITED: Final = 2

_Field: TypeAlias = "tuple[str, str]"
"""The name in JSON, and how it is read: a scalar, a message's name, or either with ``*`` for a repeated one."""
_MESSAGES: Final[Mapping[str, Mapping[int, _Field]]] = {
    "ResourceSpans": {1: ("resource", "Resource"), 2: ("scopeSpans", "ScopeSpans*")},
    "Resource": {1: ("attributes", "KeyValue*")},
    "ScopeSpans": {1: ("scope", "Scope"), 2: ("spans", "Span*")},
    "Scope": {1: ("name", "text"), 2: ("version", "text")},
    "Span": {
        1: ("traceId", "hex"), 2: ("spanId", "hex"), 4: ("parentSpanId", "hex"), 5: ("name", "text"),
        6: ("kind", "int"), 7: ("startTimeUnixNano", "fixed"), 8: ("endTimeUnixNano", "fixed"),
        9: ("attributes", "KeyValue*"), 11: ("events", "Event*"), 15: ("status", "Status"),
    },
    "Event": {1: ("timeUnixNano", "fixed"), 2: ("name", "text"), 3: ("attributes", "KeyValue*")},
    "Status": {2: ("message", "text"), 3: ("code", "int")},
    "KeyValue": {1: ("key", "text"), 2: ("value", "AnyValue")},
    "AnyValue": {
        1: ("stringValue", "text"), 2: ("boolValue", "bool"), 3: ("intValue", "signed"), 4: ("doubleValue", "double"),
        5: ("arrayValue", "ArrayValue"), 6: ("kvlistValue", "KeyValueList"), 7: ("bytesValue", "hex"),
    },
    "ArrayValue": {1: ("values", "AnyValue*")},
    "KeyValueList": {1: ("values", "KeyValue*")},
}  # fmt: skip


def _broken(what: str) -> InvalidError:
    return InvalidError(f"not OTLP in protobuf: {what}", code="import.malformed")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    found = 0
    for place in range(_VARINT_BYTES_MAX):
        if at + place >= len(data):
            raise _broken("it ends within a number")
        byte = data[at + place]
        found |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a number has no high bit
            return found & (1 << 64) - 1, at + place + 1
    raise _broken("a number of more than 64 bits")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire == _LENGTH_DELIMITED:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _broken(f"a field of the wire type {wire}")
        if at + size > len(data):
            raise _broken("it ends within a field")
        yield tag >> 3, data[at : at + size]
        at += size


def _scalar(how: str, value: int | memoryview) -> object:
    if isinstance(value, int):
        if how == "signed":
            return value - (1 << 64) if value >= 1 << 63 else value
        return bool(value) if how == "bool" else value
    if how == "text":
        return bytes(value).decode(errors="replace")
    if how == "hex":
        return bytes(value).hex()
    if how in ("fixed", "double") and len(value) == 8:  # noqa: PLR2004 - both are eight bytes
        return struct.unpack("<Q" if how == "fixed" else "<d", value)[0]
    raise _broken("a field of another type than OTLP gives it")


def _message(name: str, data: memoryview, depth: int = 0) -> dict[str, object]:
    if depth > _DEPTH_MAX:
        raise _broken(f"messages nested deeper than {_DEPTH_MAX}")
    found: dict[str, object] = {}
    lists: dict[str, list[object]] = {}
    for number, value in _fields(data):
        known = _MESSAGES[name].get(number)
        if known is None:
            continue
        key, how = known
        inner = how.removesuffix("*")
        if inner not in _MESSAGES:
            found[key] = _scalar(how, value)
            continue
        if isinstance(value, int):
            raise _broken(f"a number where {inner} should be")
        made = _message(inner, value, depth + 1)
        if inner is how:
            found[key] = made
        else:
            lists.setdefault(key, []).append(made)
    return {**found, **lists}


def looks_like_otlp(head: bytes) -> bool:
    """Tell whether a file that begins with *head* is OTLP in protobuf: bare, or framed with lengths of four bytes."""
    return head[:1] == b"\x0a" or (len(head) > 4 and head[0] < 0x10 and head[4] == 0x0A)  # noqa: PLR2004


def _length(stream: IO[bytes]) -> int:
    head = bytearray()
    while not head or head[-1] >= 0x80:  # noqa: PLR2004 - see _varint
        byte = stream.read(1)
        if not byte or len(head) >= _VARINT_BYTES_MAX:
            raise _broken("it ends within a length")
        head += byte
    return _varint(memoryview(bytes(head)), 0)[0]


def _read(stream: IO[bytes], size: int) -> memoryview:
    if size > PART_BYTES_MAX:
        msg = f"a part has {size:,} bytes, more than {PART_BYTES_MAX:,} (PART_BYTES_MAX); export in smaller batches"
        raise LimitError(msg, limit="PART_BYTES_MAX", maximum=PART_BYTES_MAX)
    data = stream.read(size)
    if len(data) < size:
        raise _broken("the file ends within a part")
    return memoryview(data)


def read_parts(stream: IO[bytes]) -> Iterator[dict[str, object]]:
    """Yield each `ResourceSpans` of an opened file.

    Raises:
        InvalidError: code ``import.malformed``; what came before it has been yielded.
        LimitError: for a part above `PART_BYTES_MAX`.
    """
    framed = stream.read(1) != b"\x0a"
    stream.seek(0)
    while head := stream.read(4 if framed else 1):
        if framed:
            if len(head) < 4:  # noqa: PLR2004 - a length has four bytes
                raise _broken("it ends within a length")
            for number, value in _fields(_read(stream, int.from_bytes(head))):
                if number == 1 and isinstance(value, memoryview):
                    yield _message("ResourceSpans", value)
        elif head == b"\x0a":
            yield _message("ResourceSpans", _read(stream, _length(stream)))
        else:
            raise _broken(f"the byte {head.hex()} where a part should begin")
