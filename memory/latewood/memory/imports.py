"""Ways in for folders, tables, transcripts and more: each makes the space when it is not there, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from latewood.graph_schema.errors import NotFoundError
from latewood.ingestion.adr import ingest_adr as _ingest_adr
from latewood.ingestion.importing import TableReport
from latewood.ingestion.report import AdrReport
from latewood.ingestion.sink import Progress
from latewood.ingestion.sources.commits import ingest_git as _ingest_git
from latewood.ingestion.sources.graphfile import ingest_memory_file as _ingest_memory_file
from latewood.ingestion.sources.loading import SourceReport
from latewood.ingestion.sources.notes import ingest_notes as _ingest_notes
from latewood.ingestion.sources.traces import ingest_traces as _ingest_traces
from latewood.ingestion.sources.transcripts import HUMAN, TranscriptFormat
from latewood.ingestion.sources.transcripts import ingest_transcripts as _ingest_transcripts
from latewood.ingestion.table import ingest_table as _ingest_table
from latewood.ingestion.tablemap import load_map
from latewood.memory.api import Memory

__all__ = [
    "ensure_space", "ingest_adr", "ingest_git", "ingest_memory_file", "ingest_notes", "ingest_table", "ingest_traces",
    "ingest_transcripts",
]  # fmt: skip


async def ensure_space(memory: Memory) -> bool:
    """Make the handle's space when it is missing; return whether it was."""
    if any(space.name == memory.space for space in await memory.spaces()):
        return False
    await memory.create_space(memory.space)
    return True


def _check_there(path: Path) -> None:
    """Refuse a path that leads nowhere before a space is made for it."""
    if not path.exists():
        msg = f"{path} is not there; name the file or folder to import"
        raise NotFoundError(msg, code="file.unreadable", path=str(path))


async def ingest_adr(
    memory: Memory, path: Path, *, history: bool = True, progress: Progress | None = None
) -> AdrReport:
    """Import a folder of decision records; see `latewood.ingestion.adr.ingest_adr`. Raises as it does."""
    _check_there(path)
    created = await ensure_space(memory)
    report = await _ingest_adr(memory, path, history=history, progress=progress)
    report.space_created = created
    return report


async def ingest_table(
    memory: Memory, path: Path, table_map: str | Path, *, progress: Progress | None = None
) -> TableReport:
    """Import a table by a map (a file, or the name of one that comes along). Raises as its parts do."""
    read = load_map(table_map)
    _check_there(path)
    created = await ensure_space(memory)
    report = await _ingest_table(memory, path, read, progress=progress)
    report.space_created = created
    return report


async def ingest_transcripts(
    memory: Memory, paths: Sequence[Path], *, human: str = HUMAN, session: str | None = None,
    named: TranscriptFormat | None = None, dry_run: bool = False, rejects: Path | None = None,
    retry: Path | None = None, progress: Progress | None = None,
) -> SourceReport:  # fmt: skip
    """Import agents' transcripts; see `latewood.ingestion.sources.transcripts`. Raises as it does."""
    for path in paths:
        _check_there(path)
    created = not dry_run and await ensure_space(memory)
    report = await _ingest_transcripts(
        memory, paths, human=human, session=session, named=named, dry_run=dry_run, rejects=rejects, retry=retry,
        progress=progress,
    )  # fmt: skip
    report.space_created = created
    return report


async def ingest_traces(
    memory: Memory, paths: Sequence[Path], *, human: str = HUMAN, dry_run: bool = False, rejects: Path | None = None,
    retry: Path | None = None, progress: Progress | None = None,
) -> SourceReport:  # fmt: skip
    """Import OpenTelemetry traces from files; see `latewood.ingestion.sources.traces`. Raises as it does."""
    for path in paths:
        _check_there(path)
    created = not dry_run and await ensure_space(memory)
    report = await _ingest_traces(
        memory, paths, human=human, dry_run=dry_run, rejects=rejects, retry=retry, progress=progress
    )
    report.space_created = created
    return report


async def ingest_notes(
    memory: Memory, path: Path, *, by: str | None = None, dry_run: bool = False, rejects: Path | None = None,
    retry: Path | None = None, progress: Progress | None = None,
) -> SourceReport:  # fmt: skip
    """Import Markdown notes; see `latewood.ingestion.sources.notes.ingest_notes`. Raises as it does."""
    _check_there(path)
    created = not dry_run and await ensure_space(memory)
    report = await _ingest_notes(
        memory, path, by=by, dry_run=dry_run, rejects=rejects, retry=retry, progress=progress
    )  # fmt: skip
    report.space_created = created
    return report


async def ingest_git(
    memory: Memory, path: Path, *, name: str | None = None, dry_run: bool = False, rejects: Path | None = None,
    retry: Path | None = None, progress: Progress | None = None,
) -> SourceReport:  # fmt: skip
    """Import a repository's commits; see `latewood.ingestion.sources.commits.ingest_git`. Raises as it does."""
    _check_there(path)
    created = not dry_run and await ensure_space(memory)
    report = await _ingest_git(
        memory, path, name=name, dry_run=dry_run, rejects=rejects, retry=retry, progress=progress
    )  # fmt: skip
    report.space_created = created
    return report


async def ingest_memory_file(
    memory: Memory, path: Path, *, by: str = "agent:mcp-memory", dry_run: bool = False, rejects: Path | None = None,
    retry: Path | None = None, progress: Progress | None = None,
) -> SourceReport:  # fmt: skip
    """Import an MCP reference server's file; see `latewood.ingestion.sources.graphfile`. Raises as it does."""
    _check_there(path)
    created = not dry_run and await ensure_space(memory)
    report = await _ingest_memory_file(
        memory, path, by=by, dry_run=dry_run, rejects=rejects, retry=retry, progress=progress
    )  # fmt: skip
    report.space_created = created
    return report
