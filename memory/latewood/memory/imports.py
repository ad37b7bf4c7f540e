"""Ways in for whole folders and tables: each makes the space when it is not there, and says so."""

from __future__ import annotations

from pathlib import Path

from latewood.graph_schema.errors import NotFoundError
from latewood.ingestion.adr import ingest_adr as _ingest_adr
from latewood.ingestion.importing import TableReport
from latewood.ingestion.report import AdrReport
from latewood.ingestion.sink import Progress
from latewood.ingestion.table import ingest_table as _ingest_table
from latewood.ingestion.tablemap import load_map
from latewood.memory.api import Memory

__all__ = ["ensure_space", "ingest_adr", "ingest_table"]


async def ensure_space(memory: Memory) -> bool:
    """Make the handle's space when it is missing; return whether it was."""
    if any(space.name == memory.space for space in await memory.spaces()):
        return False
    await memory.create_space(memory.space)
    return True


def _check_there(path: Path) -> None:
    """Refuse a path that leads nowhere before a space is made for it."""
    if not path.exists():
        msg = f"{path} is not there; name a folder of decision records or a table's file"
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
