"""Ids: random UUIDv7, never derived from keys, the same in every store and on every surface."""

from __future__ import annotations

import os
import re
import time
from typing import Final, Protocol

__all__ = ["IdSource", "RandomIds", "SequentialIds", "id_bytes", "id_text", "is_id", "normal_id"]

_SPELLED: Final = re.compile(r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{12}")
_PATTERN: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# Where version and variant stand in the 128 bits, and what stands there.
_SET: Final = 0x7 << 76 | 0x2 << 62
_FREE: Final = ~(0xF << 76 | 0x3 << 62)


def is_id(text: str) -> bool:
    """Tell whether *text* has the form of an id (36 lower-case characters)."""
    return _PATTERN.fullmatch(text) is not None


def normal_id(text: str) -> str:
    """Return *text* as an id is written, when it is one in upper case or without dashes; else unchanged."""
    digits = text.replace("-", "").lower()
    return id_text(bytes.fromhex(digits)) if _SPELLED.fullmatch(text) is not None else text


def id_text(raw: bytes) -> str:
    """Write the 16 bytes of an id as text."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def id_bytes(text: str) -> bytes:
    """Return the 16 bytes of an id."""
    return bytes.fromhex(text.replace("-", ""))


def _compose(millis: int, tail: bytes) -> str:
    """Set UUID version 7 and variant over 48 bits of time and 10 random bytes (RFC 9562, section 5.7)."""
    bits = millis << 80 | int.from_bytes(tail, "big")
    digits = f"{bits & _FREE | _SET:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class IdSource(Protocol):
    """Makes ids. Injected, so that a test can foretell them."""

    def new(self) -> str:
        """Return an id that was never returned before."""
        ...


class RandomIds:
    """UUIDv7 from the wall clock and the system's random source."""

    def new(self) -> str:
        """Return a fresh UUIDv7."""
        return _compose(time.time_ns() // 1_000_000, os.urandom(10))


class SequentialIds:
    """UUIDv7-shaped ids that count up: for tests, where a seed must give the same ids again."""

    def __init__(self, salt: int = 0) -> None:
        """Start the count at one; another *salt* gives a disjoint sequence."""
        self._salt = salt
        self._count = 0

    def new(self) -> str:
        """Return the next id."""
        self._count += 1
        return _compose(self._count, self._salt.to_bytes(10, "big"))
