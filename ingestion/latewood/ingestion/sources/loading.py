"""Keeping what sources read: batches in, every line accounted for, refused items into the rejects, the run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self, cast

from latewood.graph_schema.commands import SourceSpec, Unit
from latewood.graph_schema.errors import InvalidError, LimitError, RefusedError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.model import Trust
from latewood.graph_schema.values import Json
from latewood.ingestion.sink import Progress, Sink
from latewood.ingestion.sources.items import Entry, Item, Reject, Taken
from latewood.ingestion.sources.lines import Line, read_json_lines

__all__ = ["LISTED_MAX", "Loader", "RejectsFile", "SourceReport", "note", "read_rejects"]

LISTED_MAX: Final = 1_000
"""Findings of a sort, and rejects, that a report lists; all are counted, and the rejects file has them all."""
REJECTS_MAX: Final = 1_000_000
_SORTS_MAX: Final = 200
_BATCH_UNITS: Final = 256
_BATCH_CHARS_MAX: Final = 4_000_000


@dataclass(slots=True)
class SourceReport:
    """What an import from a source read, kept and left.

    Attributes:
        path: what was read; *files* how many files that is.
        lines: that were read; *what* says of each what it was, so that its counts and *rejected* sum up to it.
        left_out: parts of lines that are not kept, by name: thinking, images.
        items: that the lines yield; *written* were new, *replayed* known already. In a dry run nothing is written.
        rejected: lines that were not taken; *refused* items of lines that the store did not keep. *rejects* lists the
            first of both.
        clock_disagreements: times that run backwards, or lie ahead of the clock here.
        dangling: lines that answer a line that is not there; *cyclic* lines that answer themselves in the end.
        unknown: sorts of lines that this version does not know.
        open_calls: calls whose end the source does not tell.
        gone: what an earlier import found and the source has no longer; it was not ended.
    receipt: of the last unit that was new; where all were known, of the last of them.
    refusal: the receipt of the first that was not taken, of which a table is kept.
    """

    path: str
    space: str
    source: str
    files: int = 0
    lines: int = 0
    items: int = 0
    written: int = 0
    replayed: int = 0
    late: int = 0
    rejected: int = 0
    refused: int = 0
    open_calls: int = 0
    dry_run: bool = False
    space_created: bool = False
    what: dict[str, int] = field(default_factory=dict[str, int])
    left_out: dict[str, int] = field(default_factory=dict[str, int])
    rejects: list[Reject] = field(default_factory=list[Reject])
    clock_disagreements: list[Json] = field(default_factory=list[Json])
    dangling: list[Json] = field(default_factory=list[Json])
    cyclic: list[Json] = field(default_factory=list[Json])
    unknown: list[Json] = field(default_factory=list[Json])
    gone: list[Json] = field(default_factory=list[Json])
    problems: list[Json] = field(default_factory=list[Json])
    receipt: str | None = None
    refusal: str | None = None


def note(found: list[Json], one: Json) -> None:
    """Add a finding, as far as a report lists them."""
    if len(found) < LISTED_MAX and one not in found[-_SORTS_MAX:]:
        found.append(one)


def _count(counts: dict[str, int], name: str) -> None:
    # The names come from the file; a hostile one must not fill the report.
    known = name if name in counts or len(counts) < _SORTS_MAX else "other"
    counts[known] = counts.get(known, 0) + 1


def read_rejects(path: Path) -> dict[str, set[int]]:
    """Read which lines of which files an earlier run rejected.

    Raises:
        InvalidError: codes ``file.unreadable``, ``import.malformed``.
        LimitError: above `REJECTS_MAX` rejects.
    """
    found: dict[str, set[int]] = {}
    for count, one in enumerate(read_json_lines(path)):
        if isinstance(one, int):
            continue
        of, line = (one.fields.get("path"), one.fields.get("line")) if isinstance(one, Line) else (None, None)
        if not isinstance(of, str) or not isinstance(line, int):
            number = one.number
            msg = f"line {number} of {path} names no path and line; name the file that --rejects wrote"
            raise InvalidError(msg, code="import.malformed", line=number)
        if count >= REJECTS_MAX:
            raise LimitError(f"{path} has more than {REJECTS_MAX:,} rejects", maximum=REJECTS_MAX)
        found.setdefault(of, set()).add(line)
    return found


class RejectsFile:
    """Where rejects are written, one JSON object a line; without a reject there is no file afterwards."""

    def __init__(self, path: Path | None) -> None:
        """Write to *path*, or nowhere."""
        self._path = path
        self._stream: IO[str] | None = None

    def write(self, reject: Reject) -> None:
        """Write a reject down. Raises InvalidError (``file.unreadable``)."""
        if self._path is None:
            return
        try:
            if self._stream is None:
                self._stream = self._path.open("w", encoding="utf-8")
            written = {name: value for name, value in asdict(reject).items() if name != "end"}
            self._stream.write(json.dumps(written, ensure_ascii=False).encode(errors="replace").decode() + "\n")
        except OSError as error:
            msg = f"the rejects file {self._path} cannot be written: {error.strerror or error}"
            raise InvalidError(msg, code="file.unreadable", path=str(self._path)) from error

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        """Close; when all went through without a reject, those of an earlier run are settled and their file goes."""
        if self._stream is not None:
            self._stream.close()
        elif self._path is not None and error is None:
            self._path.unlink(missing_ok=True)


class Loader:
    """Takes what sources yield and hands it to the sink, batch by batch; made for one import."""

    def __init__(
        self, sink: Sink, report: SourceReport, *, rejects: RejectsFile, dry_run: bool = False,
        only: Mapping[str, set[int]] | None = None, progress: Progress | None = None, bytes_all: int = 0,
    ) -> None:  # fmt: skip
        """Report to *report*; *only* limits what is kept to these lines of these files."""
        self.report = report
        report.dry_run = dry_run
        self._sink = sink
        self._rejects = rejects
        self._only = only
        self._progress = progress
        self._bytes_all = bytes_all
        self._bytes_before = 0
        self._waiting: list[tuple[Unit, Reject]] = []
        self._chars = 0
        # What an import keeps is believed no further than whoever runs it.
        self._trust = Trust.UNTRUSTED if dry_run else sink.unit((), "trust").trust

    async def take(self, path: str, entries: Iterable[Entry], size: int = 0) -> Self:
        """Keep what *entries* of the file *path* say; what is refused goes to the rejects."""
        self.report.files += 1
        await self.take_part(path, entries)
        await self.flush()
        self._bytes_before += size
        self._move(0)
        return self

    async def take_part(self, path: str, entries: Iterable[Entry]) -> None:
        """Keep what a few more entries of a file say; `flush` ends it."""
        only = None if self._only is None else self._only.get(path, set())
        for entry in entries:
            self._move(entry.end)
            if entry.line > 0:
                self.report.lines += 1
            if isinstance(entry, Reject):
                self.report.rejected += 1
                self._put_aside(entry)
                continue
            if entry.what:
                _count(self.report.what, entry.what)
            for name in entry.left_out:
                _count(self.report.left_out, name)
            if only is None or entry.line in only or entry.line == 0:
                for item in entry.items:
                    await self._put(path, entry, item)

    def _move(self, end: int) -> None:
        if self._progress is not None and self._bytes_all:
            self._progress(min(self._bytes_before + end, self._bytes_all), self._bytes_all)

    def _put_aside(self, reject: Reject) -> None:
        if len(self.report.rejects) < LISTED_MAX:
            self.report.rejects.append(reject)
        self._rejects.write(reject)

    async def _put(self, path: str, entry: Taken, item: Item) -> None:
        self.report.items += 1
        if self.report.dry_run:
            return
        own = Trust.HUMAN if item.by.casefold().startswith("human:") else Trust.AGENT
        unit = self._sink.unit(
            item.commands, item.body, by=item.by, session=item.session,
            source=SourceSpec(item.origin, "imported", item.model), idempotency_key=item.op, history=item.history,
            trust=min(own, self._trust, key=lambda one: one.level),
        )  # fmt: skip
        made = replace(unit, ledger=item.ledger)
        self._waiting.append((made, Reject(path, entry.line, "refused", "", "")))
        self._chars += len(str(item.body))
        if len(self._waiting) >= _BATCH_UNITS or self._chars >= _BATCH_CHARS_MAX:
            await self.flush()

    async def flush(self) -> None:
        """Hand in what waits; what is refused alone is rejected alone."""
        waiting, self._waiting, self._chars = self._waiting, [], 0
        if not waiting:
            return
        try:
            receipts = await self._sink.submit_many([unit for unit, _ in waiting])
        except RefusedError:
            for unit, where in waiting:
                await self._alone(unit, where)
            return
        for (unit, _), receipt in zip(waiting, receipts, strict=True):
            self._kept(unit, receipt)

    async def _alone(self, unit: Unit, where: Reject) -> None:
        try:
            (receipt,) = await self._sink.submit_many([unit])
        except RefusedError as error:
            self.report.refused += 1
            self.report.refusal = self.report.refusal or cast("str | None", error.details.get("receipt"))
            self._put_aside(Reject(where.path, where.line, "refused", error.code, error.message))
        else:
            self._kept(unit, receipt)

    def _kept(self, unit: Unit, receipt: Receipt) -> None:
        # One of a batch that was handed in again has its own receipt from the first time.
        known = receipt.replayed and receipt.id != unit.id
        self.report.replayed += known
        self.report.written += not known
        self.report.late += receipt.late and not known
        if not known or not self.report.written:
            self.report.receipt = receipt.id
