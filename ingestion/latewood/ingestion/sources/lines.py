"""Lines of a file, one at a time and bounded, so that memory does not grow with the file or with its longest line."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

from latewood.graph_schema.errors import InvalidError
from latewood.ingestion.sources.fields import Fields

__all__ = ["LINE_BYTES_MAX", "Fault", "FaultClass", "Line", "read_json_lines"]

LINE_BYTES_MAX: Final = 10_000_000
"""Most bytes of a line; a longer one is passed over in pieces of this size and rejected."""
_PIECE_BYTES: Final = 1_000_000
_WIDE: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

FaultClass: TypeAlias = Literal["too_long", "encoding", "malformed", "truncated", "time", "refused"]
"""Why something was not taken, in one word: what a person would do about it differs."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is a JSON object; *end* is where it ends in the file, in bytes."""

    number: int
    end: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that could not be taken, and why."""

    number: int
    end: int
    kind: FaultClass
    code: str
    reason: str


def _json_of(raw: bytes, number: int, end: int) -> Line | Fault | None:
    try:
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start} of the line; convert the file, or mend the line"
        return Fault(number, end, "encoding", "import.malformed", reason)
    if not text.strip():
        return None
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not raw.endswith(b"\n"):
            return Fault(number, end, "truncated", "import.malformed", f"the file ends within this line: {error}")
        return Fault(number, end, "malformed", "import.malformed", f"not JSON: {error}")
    if not isinstance(found, dict):
        return Fault(number, end, "malformed", "import.malformed", "not a JSON object")
    return Line(number, end, cast("Fields", found))


def read_json_lines(path: Path) -> Iterator[Line | Fault | int]:
    """Yield what each line of *path* is: an object, a fault, or, for an empty one, where it ends.

    Raises:
        InvalidError: code ``file.unreadable``.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(2) in _WIDE:
                yield Fault(1, 2, "encoding", "import.malformed", "the file is UTF-16; convert it to UTF-8")
                return
            stream.seek(0)
            number, end = 0, 0
            while raw := stream.readline(LINE_BYTES_MAX + 1):
                number += 1
                end += len(raw)
                if len(raw) <= LINE_BYTES_MAX:
                    yield _json_of(raw, number, end) or end
                    continue
                while raw and not raw.endswith(b"\n"):
                    raw = stream.readline(_PIECE_BYTES)
                    end += len(raw)
                reason = f"the line has more than {LINE_BYTES_MAX:,} bytes (LINE_BYTES_MAX)"
                yield Fault(number, end, "too_long", "text.too_long", reason)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}"
        raise InvalidError(msg, code="file.unreadable", path=str(path)) from error
