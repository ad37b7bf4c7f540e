"""What a reader keeps an eye on while lines pass by: clocks, answers to lines, calls that end. All of it is bounded."""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import Final

from latewood.graph_schema.clock import Micros, from_micros, iso
from latewood.ingestion.sources.loading import SourceReport, note

__all__ = ["Calls", "Clockwork", "Parents"]

_FOLLOWED_MAX: Final = 200_000
"""Lines of a file, and calls, that are kept an eye on; beyond them findings may be missing, never words."""
_BACK_MAX: Final = 60_000_000
"""How far a time may lie before that of the line above: programs write a few lines out of order."""
_AHEAD_MAX: Final = 86_400_000_000


def _short(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(errors="replace"), digest_size=8).digest())


class Clockwork:
    """Notes times that disagree with the lines before them, or with the clock of this machine."""

    def __init__(self, path: str, report: SourceReport) -> None:
        """Begin at a file's first line."""
        self._path = path
        self._report = report
        self._latest: Micros | None = None
        self._now = time.time_ns() // 1_000

    def see(self, at: Micros | None, line: int) -> Micros | None:
        """Look at a line's time and return it as it is."""
        if at is None:
            return None
        if at > self._now + _AHEAD_MAX:
            self._note(line, at, "ahead of this machine's clock")
            return at
        before, self._latest = self._latest, max(at, self._latest or at)
        if before is not None and at < before - _BACK_MAX:
            self._note(line, at, f"before {iso(from_micros(before))}, which a line above it has")
        return at

    def _note(self, line: int, at: Micros, why: str) -> None:
        found = self._report.clock_disagreements
        note(found, {"path": self._path, "line": line, "time": iso(from_micros(at)), "why": why})


class Calls:
    """Which calls have begun and not ended."""

    def __init__(self) -> None:
        """Begin with none."""
        self._begun: set[int] = set()
        self._full = False

    @property
    def open(self) -> int:
        """How many have not ended, of those kept an eye on."""
        return len(self._begun)

    def begin(self, call: str) -> None:
        """See a call begin."""
        if len(self._begun) < _FOLLOWED_MAX:
            self._begun.add(_short(call))
        else:
            self._full = True

    def end(self, call: str) -> bool:
        """See a call end; tell whether it had begun, as far as that is known."""
        if _short(call) not in self._begun:
            return self._full
        self._begun.discard(_short(call))
        return True


class Parents:
    """Which line answers which: finds answers to nothing, and rings."""

    def __init__(self) -> None:
        """Begin with none."""
        self._above: dict[int, int | None] = {}
        self._ahead: dict[int, tuple[int, str]] = {}

    def see(self, own: str, parent: str | None, line: int) -> None:
        """See the line *own* answer *parent*."""
        if len(self._above) >= _FOLLOWED_MAX:
            return
        me, above = _short(own), None if parent is None else _short(parent)
        known = above is None or above in self._above
        self._above.setdefault(me, above)
        if parent is not None and not known:
            self._ahead[me] = (line, parent)

    def seen(self, own: str) -> bool:
        """Tell whether the line *own* has passed by."""
        return _short(own) in self._above

    def conclude(self, path: str, report: SourceReport) -> None:
        """Note the lines whose parent never came, and those that answer themselves in the end."""
        if len(self._above) >= _FOLLOWED_MAX:
            note(report.problems, {"path": path, "why": f"answers are checked for {_FOLLOWED_MAX:,} lines only"})
            return
        sound: set[int] = set()
        for me, (line, parent) in self._ahead.items():
            if self._above[me] not in self._above:
                note(report.dangling, {"path": path, "line": line, "parent": parent[:80]})
            elif self._returns(me, sound):
                note(report.cyclic, {"path": path, "line": line, "parent": parent[:80]})

    def _returns(self, me: int, sound: set[int]) -> bool:
        """Walk up from *me*; what was walked once is not walked again."""
        walked: set[int] = set()
        at: int | None = me
        while at is not None and at not in sound and at not in walked:
            walked.add(at)
            at = self._above.get(at)
        ring = at is not None and at in walked
        sound |= walked
        return ring
