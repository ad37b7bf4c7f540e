"""Agents' transcripts: which program wrote a file, and its turns, calls and token counts into the graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, Literal, TypeAlias

from latewood.graph_schema.errors import InvalidError, LimitError, NotFoundError
from latewood.ingestion.sink import Progress, Sink
from latewood.ingestion.sources.claude import read_claude
from latewood.ingestion.sources.codex import read_codex
from latewood.ingestion.sources.fields import text_at
from latewood.ingestion.sources.items import Entry, Saying
from latewood.ingestion.sources.lines import Line, read_json_lines
from latewood.ingestion.sources.loading import Loader, RejectsFile, SourceReport, read_rejects
from latewood.ingestion.sources.responses import read_responses

__all__ = ["HUMAN", "TranscriptFormat", "detect", "files_under", "ingest_transcripts"]

TranscriptFormat: TypeAlias = Literal["claude", "codex", "responses"]
HUMAN: Final = "human:unknown"
"""The user of a transcript that names none."""
FILES_MAX: Final = 100_000
_LOOKED_AT: Final = 50
_CLAUDE: Final = frozenset({"user", "assistant", "summary", "file-history-snapshot", "system", "queue-operation"})
_CODEX: Final = frozenset({"session_meta", "response_item", "event_msg", "turn_context", "compacted"})


def detect(path: Path) -> TranscriptFormat | None:
    """Tell which program wrote *path* by its first lines; None when it is none of those known.

    Raises:
        InvalidError: code ``file.unreadable``.
    """
    for line in islice(read_json_lines(path), _LOOKED_AT):
        if not isinstance(line, Line):
            continue
        fields, sort = line.fields, text_at(line.fields, "type")
        if sort in _CODEX and "payload" in fields:
            return "codex"
        if sort in _CLAUDE and not {"role", "call_id", "output"} & fields.keys():
            return "claude"
        if "role" in fields or (sort is not None and sort.endswith(("_call", "_output", "reasoning"))):
            return "responses"
    return None


def files_under(paths: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    """Return the files that *paths* name, those in folders by their suffix, in order.

    Raises:
        NotFoundError: code ``file.unreadable``, for a path that is not there, or a folder without such a file.
        LimitError: for more than `FILES_MAX` files.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = list(islice((one for one in path.rglob("*") if one.suffix in suffixes), FILES_MAX + 1))
            found += sorted(one for one in inside if one.is_file())
        elif path.exists():
            found.append(path)
        else:
            raise NotFoundError(f"{path} is not there; name a file or a folder", code="file.unreadable", path=str(path))
        if len(found) > FILES_MAX:
            raise LimitError(f"{path} brings more than {FILES_MAX:,} files; name a smaller folder", maximum=FILES_MAX)
    if not found:
        where = ", ".join(str(path) for path in paths)
        msg = f"{where} has no file that ends in {' or '.join(suffixes)}"
        raise NotFoundError(msg, code="file.unreadable", path=where)
    return list(dict.fromkeys(found))


def _entries(
    path: Path, say: Saying, report: SourceReport, human: str, named: TranscriptFormat | None, session: str | None
) -> Iterator[Entry] | None:  # fmt: skip
    sort = named or detect(path)
    if sort == "claude":
        return read_claude(path, say, report, human)
    if sort == "codex":
        return read_codex(path, say, report, human)
    return None if sort is None else read_responses(path, say, report, human, session)


async def ingest_transcripts(
    sink: Sink, paths: Sequence[Path], *, human: str = HUMAN, session: str | None = None,
    named: TranscriptFormat | None = None, dry_run: bool = False, rejects: Path | None = None,
    retry: Path | None = None, progress: Progress | None = None,
) -> SourceReport:  # fmt: skip
    """Import transcripts of Claude Code, Codex and the OpenAI Responses API; a second run writes nothing.

    Args:
        human: the actor whose the users' turns are.
        session: of a file of Responses items, which names none; else the file's name.
        named: the format; else the first lines tell it, of each file.
        rejects: where lines that were not kept are written, one JSON object a line.
        retry: a rejects file of an earlier run: nothing but its lines is kept, of its files unless *paths* names some.

    Raises:
        InvalidError: a file cannot be read (``file.unreadable``), or none is a transcript (``import.malformed``).
    """
    only = None if retry is None else read_rejects(retry)
    files = files_under(paths or [Path(one) for one in only or {}], (".jsonl",))
    report = SourceReport(str(files[0]) if len(files) == 1 else f"{len(files)} files", sink.space, "transcript")
    sizes = {path: path.stat().st_size for path in files}
    with RejectsFile(rejects) as file:
        loader = Loader(
            sink, report, rejects=file, dry_run=dry_run, only=only, progress=progress, bytes_all=sum(sizes.values())
        )
        for path in files:
            entries = _entries(path, Saying(sink.ids), report, human, named, session)
            if entries is None:
                report.problems.append({"path": str(path), "why": "no transcript of a known program"})
            else:
                await loader.take(str(path), entries, sizes[path])
    if report.files == 0:
        msg = f"{report.path}: no transcript of Claude Code, Codex or the Responses API; if it is one, name its format"
        raise InvalidError(msg, code="import.malformed")
    return report
