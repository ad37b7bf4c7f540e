"""Rebuilding views from the ledger: what a step is, what it may find, and where the next one begins.

A step looks at the rows of some subjects without a lock, and where a view differs from what the ledger says it looks at
those again under the writers' lock, where nothing moves, and repairs them in the same transaction.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, cast

from latewood.graph_schema.errors import CorruptError, InvalidError, LimitError
from latewood.graph_schema.ids import is_id
from latewood.graph_schema.ledger import Verdict
from latewood.graph_schema.model import LEDGERS, LedgerName

__all__ = [
    "FINDINGS_MAX",
    "STEP_ROWS",
    "STEP_ROWS_MAX",
    "Drift",
    "Findings",
    "Place",
    "RebuildStep",
    "What",
    "check_limit",
    "check_sound",
    "ledger_at",
    "next_in_ledgers",
    "next_phase",
    "read_place",
    "subjects_within",
    "write_place",
]

FINDINGS_MAX: Final = 100
"""Most findings that a step lists; the rest is counted."""
STEP_ROWS: Final = 20_000
"""Ledger rows that a step looks at unless told; rows with long payloads count for more."""
STEP_ROWS_MAX: Final = 500_000
_ROW: Final = re.compile(r"(knowledge|execution):\d{1,15}")
What: TypeAlias = Literal["missing", "extra", "different"]


@dataclass(frozen=True, slots=True)
class Drift:
    """A row of a view that is not what the ledger says.

    Attributes:
        view: the table or label that it stands in.
        id: of the node, fact, unit or (in hex) key that it is about.
        what: ``missing``, ``extra`` (the ledger knows nothing of it) or ``different``.
        ledger, seq: the ledger row that it derives from, None for what is extra.
    """

    space: str
    view: str
    id: str
    what: What
    detail: str
    ledger: LedgerName | None = None
    seq: int | None = None
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class RebuildStep:
    """What one step looked at and found.

    Attributes:
        rows: ledger rows read; *compared*: rows of views held against them.
        found: the first `FINDINGS_MAX` differences; *unlisted* counts the others.
        passes: how many times the steps of a whole rebuild read a ledger row.
        next: where the next step begins, None after the last.
    """

    phase: str
    rows: int
    compared: int
    found: tuple[Drift, ...]
    unlisted: int
    passes: int
    next: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step begins: its phase, and after which subject, row or stray in it."""

    phase: str
    after: str = ""


@dataclass(slots=True)
class Findings:
    """The differences of one step, with whom they are about.

    Attributes:
        suspects: subjects of which something differs; they are looked at again under the lock.
    """

    space: str
    repaired: bool = False
    passes: int = 1
    rows: int = 0
    compared: int = 0
    listed: list[Drift] = field(default_factory=list[Drift])
    unlisted: int = 0
    suspects: dict[str, None] = field(default_factory=dict[str, None])

    def add(
        self, view: str, what: What, own: str, subject: str, detail: str = "",
        row: tuple[LedgerName, int] | None = None,
    ) -> None:  # fmt: skip
        """Note one difference."""
        self.suspects[subject] = None
        if len(self.listed) >= FINDINGS_MAX:
            self.unlisted += 1
            return
        ledger, seq = row if row is not None else (None, None)
        self.listed.append(Drift(self.space, view, own, what, detail, ledger, seq, self.repaired))

    @property
    def count(self) -> int:
        """How many differences there are."""
        return len(self.listed) + self.unlisted

    def step(self, phase: str, following: str | None, looked: Findings | None = None) -> RebuildStep:
        """Make the answer of a step; *looked* is what was read before the lock, when that was more."""
        rows, compared = (looked.rows, looked.compared) if looked is not None else (self.rows, self.compared)
        return RebuildStep(phase, rows, compared, tuple(self.listed), self.unlisted, self.passes, following)


def check_limit(limit: int) -> int:
    """Return *limit* when a step may look at that many rows. Raises LimitError."""
    if not 1 <= limit <= STEP_ROWS_MAX:
        msg = f"a step of a rebuild looks at 1 to {STEP_ROWS_MAX:,} rows, not {limit}"
        raise LimitError(msg, limit="STEP_ROWS_MAX", maximum=STEP_ROWS_MAX)
    return limit


def check_sound(space: str, verdicts: Iterable[Verdict]) -> None:
    """Refuse to rebuild from a ledger that does not verify. Raises CorruptError (``ledger.corrupt``)."""
    for verdict in verdicts:
        if not verdict.ok:
            msg = (
                f"the {verdict.ledger} ledger of space {space!r} does not verify: row {verdict.bad_seq}: "
                f"{verdict.reason}; nothing was rebuilt: keep a copy and go back to a backup"
            )
            raise CorruptError(msg, code="ledger.corrupt", space=space, ledger=verdict.ledger, seq=verdict.bad_seq)


def write_place(place: Place | None) -> str | None:
    """Write where the next step begins as a cursor."""
    if place is None:
        return None
    text = json.dumps(["rebuild", place.phase, place.after], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_place(cursor: str | None, phases: tuple[str, ...]) -> Place:
    """Read a cursor; None is the beginning. Raises InvalidError (``cursor.invalid``)."""
    if cursor is None:
        return Place(phases[0])
    try:
        found: object = json.loads(base64.urlsafe_b64decode((cursor + "=" * (-len(cursor) % 4)).encode()))
    except (ValueError, RecursionError, binascii.Error):
        found = None
    match found:
        case ["rebuild", str() as phase, str() as after] if phase in phases and _fits(phase, after):
            return Place(phase, after)
        case _:
            pass
    msg = f"{cursor[:80]!r} is no cursor of a rebuild of this store; begin again without it"
    raise InvalidError(msg, code="cursor.invalid", cursor=cursor[:80])


def _fits(phase: str, after: str) -> bool:
    """Whether a phase may go on behind what a cursor names: a subject, or a row of a ledger."""
    return after == "" or (_ROW.fullmatch(after) is not None if phase == "receipts" else is_id(after))


def next_phase(phase: str, phases: tuple[str, ...]) -> Place | None:
    """Return the beginning of the phase after *phase*, None after the last."""
    place = phases.index(phase) + 1
    return Place(phases[place]) if place < len(phases) else None


def ledger_at(place: Place) -> tuple[LedgerName, int]:
    """Return the ledger that a step over rows begins in, and after which seq."""
    name, seq = place.after.split(":") if place.after else (LEDGERS[0], "0")
    return cast("LedgerName", name), int(seq)


def next_in_ledgers(place: Place, ledger: LedgerName, last: int | None, phases: tuple[str, ...]) -> Place | None:
    """Return where the step over rows after *place* begins: *last* is the seq it came to, None at the ledger's end."""
    if last is not None:
        return Place(place.phase, f"{ledger}:{last}")
    following = LEDGERS.index(ledger) + 1
    if following < len(LEDGERS):
        return Place(place.phase, f"{LEDGERS[following]}:0")
    return next_phase(place.phase, phases)


def subjects_within(weights: Iterator[tuple[str, int]], phase: str, limit: int) -> tuple[list[str], bool]:
    """Take subjects with the weight of their rows until *limit* is met; tell whether more are left.

    Raises:
        LimitError: when one subject alone has more than `STEP_ROWS_MAX`; the message says how to go on behind it.
    """
    taken: list[str] = []
    total = 0
    for subject, weight in weights:
        if taken and total + weight > limit:
            return taken, True
        if weight > STEP_ROWS_MAX:
            behind = write_place(Place(phase, subject))
            msg = (
                f"the ledgers have {weight:,} rows (or KB) about {subject}, a step holds {STEP_ROWS_MAX:,}; "
                f"go on behind it: rebuild after {behind}"
            )
            raise LimitError(msg, limit="STEP_ROWS_MAX", maximum=STEP_ROWS_MAX, after=behind)
        taken.append(subject)
        total += weight
    return taken, False
