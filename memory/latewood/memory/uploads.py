"""Taking in what a caller sends as text: the sources that read files, over files that are gone when they were read.

A caller over a network names no path of this machine. What is kept and told says under which name it was sent, never
where it lay meanwhile.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

from latewood.graph_schema.commands import Command, History, SourceSpec, Unit
from latewood.graph_schema.errors import InvalidError, LimitError
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import IdSource
from latewood.graph_schema.model import Trust
from latewood.graph_schema.values import Json
from latewood.ingestion.sources.graphfile import ingest_memory_file
from latewood.ingestion.sources.items import Reject
from latewood.ingestion.sources.loading import SourceReport
from latewood.ingestion.sources.notes import ingest_notes
from latewood.ingestion.sources.traces import ingest_traces
from latewood.ingestion.sources.transcripts import HUMAN, TranscriptFormat, ingest_transcripts
from latewood.memory.api import Memory
from latewood.memory.credentials import BoundMemory, Scope
from latewood.storage.port import GraphStore

__all__ = ["UPLOAD_BYTES_MAX", "UPLOAD_FILES_MAX", "Upload", "UploadSource", "UploadedFile", "ingest_upload"]

UPLOAD_BYTES_MAX: Final = 3_000_000
"""Most bytes of one upload, over all of its files."""
UPLOAD_FILES_MAX: Final = 200
_NAME_CHARS_MAX: Final = 200
_PARTS_MAX: Final = 8


class UploadSource(StrEnum):
    """What an upload is of; the same sources as those of `latewood ingest`."""

    TRANSCRIPT = "transcript"
    TRACE = "trace"
    NOTES = "notes"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file by its name, which may have folders in it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Upload:
    """What is sent.

    Attributes:
        name: of the whole: sent again under the same name, notes that were edited take the place of the old.
        human: the actor whose the turns of users are.
        author: the actor whose notes they are, or who kept the memory; who sends them where it is left out.
        session: of Responses items, which name none.
        form: of transcripts; else the first lines tell it.
    """

    source: UploadSource
    files: Sequence[UploadedFile]
    name: str = "upload"
    human: str = HUMAN
    author: str | None = None
    session: str | None = None
    form: TranscriptFormat | None = None
    dry_run: bool = False


def _check(upload: Upload) -> None:
    if not upload.files or (upload.source is UploadSource.MEMORY and len(upload.files) > 1):
        wanted = "exactly one file" if upload.source is UploadSource.MEMORY else "a file"
        raise InvalidError(f"an upload of {upload.source} needs {wanted}", code="upload.malformed")
    if len(upload.files) > UPLOAD_FILES_MAX:
        msg = f"the upload has {len(upload.files):,} files, more than {UPLOAD_FILES_MAX}; send several"
        raise LimitError(msg, limit="UPLOAD_FILES_MAX", maximum=UPLOAD_FILES_MAX)
    size = sum(len(one.text.encode(errors="replace")) for one in upload.files)
    if size > UPLOAD_BYTES_MAX:
        msg = f"the upload has {size:,} bytes, more than {UPLOAD_BYTES_MAX:,}; send several, or ingest beside the store"
        raise LimitError(msg, limit="UPLOAD_BYTES_MAX", maximum=UPLOAD_BYTES_MAX)
    names = [upload.name, *(one.name for one in upload.files)]
    for name in names:
        path = PurePosixPath(name)
        plain = name.isprintable() and not set(name) & set('\\:*?"<>|')
        if not (plain and 0 < len(name) <= _NAME_CHARS_MAX and path.parts and len(path.parts) <= _PARTS_MAX) or (
            path.is_absolute() or ".." in path.parts
        ):
            msg = f"{name[:80]!r} is no name of an uploaded file: a plain relative path such as 2026/notes.md"
            raise InvalidError(msg, code="upload.malformed", name=name[:80])
    if len(PurePosixPath(upload.name).parts) > 1:
        raise InvalidError(f"{upload.name!r} has folders; an upload's own name has none", code="upload.malformed")
    if len({PurePosixPath(one.name) for one in upload.files}) < len(upload.files):
        raise InvalidError("two files of the upload have one name", code="upload.malformed")


class _Sent:
    """A sink for sources that read the files of an upload: what they say they read gets the name it was sent under."""

    def __init__(self, memory: Memory, lies: str, name: str) -> None:
        self._memory = memory
        self._lies = lies
        self._name = name

    @property
    def space(self) -> str:
        return self._memory.space

    @property
    def store(self) -> GraphStore:
        return self._memory.store

    @property
    def ids(self) -> IdSource:
        return self._memory.ids

    def unit(
        self, commands: Sequence[Command], body: object, *, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, trust: Trust | None = None, idempotency_key: str | None = None,
        history: History | None = None,
    ) -> Unit:  # fmt: skip
        if isinstance(source, SourceSpec) and source.origin is not None:
            source = replace(source, origin=self.named(source.origin))
        return self._memory.unit(
            commands, body, by=by, session=session, source=source, trust=trust, idempotency_key=idempotency_key,
            history=history,
        )  # fmt: skip

    async def submit_many(self, units: Sequence[Unit]) -> tuple[Receipt, ...]:
        return await self._memory.submit_many(units)

    def named(self, text: str) -> str:
        return text.replace(self._lies, f"upload:{self._name}")

    def told(self, found: Json) -> Json:
        if isinstance(found, str):
            return self.named(found)
        if isinstance(found, list):
            return [self.told(one) for one in found]
        return {name: self.told(one) for name, one in found.items()} if isinstance(found, Mapping) else found


def _report(report: SourceReport, sent: _Sent) -> SourceReport:
    def listed(found: Sequence[Json]) -> list[Json]:
        return [sent.told(one) for one in found]

    def reject(one: Reject) -> Reject:
        return replace(one, path=sent.named(one.path), reason=sent.named(one.reason))

    return replace(
        report, path=sent.named(report.path), rejects=[reject(one) for one in report.rejects],
        clock_disagreements=listed(report.clock_disagreements), dangling=listed(report.dangling),
        cyclic=listed(report.cyclic), unknown=listed(report.unknown), gone=listed(report.gone),
        problems=listed(report.problems),
    )  # fmt: skip


async def ingest_upload(memory: Memory, upload: Upload) -> SourceReport:
    """Take in what was sent, into a space that is there; the same upload again writes nothing.

    It is kept in the names of those who spoke and acted, believed no further than who sends it.

    Raises:
        ForbiddenError: code ``credential.scope``: it takes write, and run for what was done.
        InvalidError: codes ``upload.malformed``, ``import.malformed``.
        LimitError: above `UPLOAD_BYTES_MAX` or `UPLOAD_FILES_MAX`.
        NotFoundError: the space is not there.
    """
    _check(upload)
    if isinstance(memory, BoundMemory):
        memory.require(Scope.WRITE, "taking something in")
        author, handle = upload.author or memory.credential.actor, memory.reporter()
    else:
        author = upload.author or memory.default_actor()
        handle = memory.within(by=memory.default_actor())
    # Asked first: else each line would be refused for itself.
    await handle.now()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / upload.name
        paths = await asyncio.to_thread(_lay_down, root, upload.files)
        sent = _Sent(handle, str(root), upload.name)
        try:
            return _report(await _ingest(sent, upload, root, paths, author), sent)
        except InvalidError as error:
            raise InvalidError(sent.named(error.message), code=error.code) from error


def _lay_down(root: Path, files: Sequence[UploadedFile]) -> list[Path]:
    found: list[Path] = []
    try:
        for one in files:
            path = root / one.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(one.text, encoding="utf-8", errors="replace", newline="")
            found.append(path)
    except OSError as error:
        # One name is a folder of another's, or longer than a file system takes.
        msg = f"the files of the upload cannot be laid side by side: {error.strerror or 'a name does not fit'}"
        raise InvalidError(msg, code="upload.malformed") from error
    return found


async def _ingest(sent: _Sent, upload: Upload, root: Path, paths: Sequence[Path], author: str) -> SourceReport:
    if upload.source is UploadSource.TRANSCRIPT:
        return await ingest_transcripts(
            sent, paths, human=upload.human, session=upload.session, named=upload.form, dry_run=upload.dry_run
        )
    if upload.source is UploadSource.TRACE:
        return await ingest_traces(sent, paths, human=upload.human, dry_run=upload.dry_run)
    if upload.source is UploadSource.NOTES:
        return await ingest_notes(sent, root, by=author, dry_run=upload.dry_run)
    return await ingest_memory_file(sent, paths[0], by=author, dry_run=upload.dry_run)
