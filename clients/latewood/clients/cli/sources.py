"""Bringing in decision records, tables and transcripts, and writing decisions out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, cast

import typer

from latewood.clients.cli.call import EXIT_OK, EXIT_REFUSED, Call, command
from latewood.clients.cli.groups import export, ingest
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.values import Json

if TYPE_CHECKING:
    from latewood.ingestion.sources.transcripts import TranscriptFormat
    from latewood.memory.exports import ExportReport

__all__: list[str] = []

_LISTED_MAX: Final = 10
"""Findings of a sort that are written out; --json has them all."""


def _finding(found: Json) -> str:
    """Write a finding in one line."""
    if isinstance(found, dict):
        return ", ".join(f"{name} {_finding(part)}" for name, part in found.items() if part not in (None, [], ""))
    if isinstance(found, list):
        return " ".join(_finding(part) for part in found)
    return str(found)


_NO_FAULTS: Final = frozenset({"skipped", "deleted"})
"""What a report lists though nothing is wrong with it: templates, and records that a history has no longer."""
_Strict: TypeAlias = Annotated[bool, typer.Option("--strict", help="End with exit code 2 when there is a finding.")]


def _strict_code(report: Mapping[str, Json]) -> int:
    """Return the exit code of an import: a finding fails a strict one, though everything was written all the same."""
    return EXIT_REFUSED if report.get("strict") and _findings(report).keys() - _NO_FAULTS else EXIT_OK


def _findings(report: Mapping[str, Json]) -> dict[str, list[Json]]:
    return {name: value for name, value in report.items() if isinstance(value, list) and value}


async def _show_report(call: Call, report: Mapping[str, Json]) -> None:
    counts = {name: value for name, value in report.items() if isinstance(value, int) and not isinstance(value, bool)}
    findings = _findings(report)
    where = f"{report['path']} into space {report['space']}"
    call.screen.say(where + (", which is new" if report.get("space_created") else ""), style="bold")
    call.screen.table(("", "count"), [(name.replace("_", " "), str(value)) for name, value in counts.items()])
    if counts.get("written") == 0 and not report.get("dry_run"):
        call.screen.say("everything was known already; nothing was written", style="dim")
    for name, listed in findings.items():
        call.screen.say()
        call.screen.say(f"{name.replace('_', ' ')}: {len(listed)}", style="bold yellow")
        for one in listed[:_LISTED_MAX]:
            call.screen.say(_finding(one), indent=2)
        if len(listed) > _LISTED_MAX:
            call.screen.say(f"and {len(listed) - _LISTED_MAX} more; --json lists them all", style="dim", indent=2)


@command(ingest, "adr", writes=True, show=_show_report, code=_strict_code)
async def ingest_records(
    call: Call,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder of Nygard or MADR records.")],
    *,
    history: Annotated[
        bool, typer.Option("--history/--no-history", help="With its whole git history, or as the files lie.")
    ] = True,
    strict: _Strict = False,
) -> Mapping[str, Json]:
    """Import decision records, with their git history where they have one; a second run writes nothing.

    Makes the space when it is missing. The report lists what a person should look at; nothing is dropped in silence.

    Example: `latewood ingest adr docs/adr --space decisions`
    """
    from latewood.graph_schema.plain import plain
    from latewood.memory.imports import ingest_adr

    with call.progress("reading records") as move:
        report = await ingest_adr(call.memory, path, history=history, progress=move)
    return {**cast("Mapping[str, Json]", plain(report)), "strict": strict}


@command(ingest, "table", writes=True, show=_show_report, code=_strict_code)
async def ingest_rows(
    call: Call,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines (.jsonl) or CSV.")],
    map_: Annotated[
        str, typer.Option("--map", metavar="FILE|NAME", help="What its columns mean: a TOML file, or pep, or rfc.")
    ],
    *,
    strict: _Strict = False,
) -> Mapping[str, Json]:
    """Import a table of states and relations by a map of its columns; a second run writes nothing.

    Makes the space when it is missing. Rows that cannot be taken are listed with line, code and reason.

    Example: `latewood ingest table peps.jsonl --map pep --space peps`
    """
    from latewood.graph_schema.plain import plain
    from latewood.memory.imports import ingest_table

    with call.progress("reading rows") as move:
        report = await ingest_table(call.memory, path, map_, progress=move)
    return {**cast("Mapping[str, Json]", plain(report)), "strict": strict}


_Paths: TypeAlias = Annotated[list[Path] | None, typer.Argument(metavar="PATH...", help="Files, or folders of them.")]
_Human: TypeAlias = Annotated[
    str, typer.Option("--human", metavar="ACTOR", help="Whose the user's turns are; nobody knows unless you say.")
]
_DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Read and report, write nothing.")]
_Rejects: TypeAlias = Annotated[
    Path | None, typer.Option("--rejects", metavar="FILE", help="Write what was not taken here, as JSON lines.")
]
_Retry: TypeAlias = Annotated[
    Path | None, typer.Option("--retry", metavar="FILE", help="Take only what an earlier run wrote to this file.")
]


async def _show_source(call: Call, report: Mapping[str, Json]) -> None:
    await _show_report(call, report)
    for title in ("what", "left_out"):
        counts = report.get(title)
        if isinstance(counts, dict) and counts:
            call.screen.say()
            call.screen.table(
                ("of the lines" if title == "what" else "left out", "count"),
                [(name, str(count)) for name, count in sorted(counts.items())],
            )
    if report.get("dry_run"):
        call.screen.say("a dry run: nothing was written", style="bold")


@command(ingest, "transcript", writes=True, show=_show_source, code=_strict_code)
async def ingest_transcript(
    call: Call,
    paths: _Paths = None,
    *,
    human: _Human = "human:unknown",
    session: Annotated[
        str | None, typer.Option("--session", metavar="NAME", help="Of Responses items, which name none (file's name).")
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="claude, codex or responses (told by the first lines)."),
    ] = None,
    dry_run: _DryRun = False,
    rejects: _Rejects = None,
    retry: _Retry = None,
    strict: _Strict = False,
) -> Mapping[str, Json]:
    """Import agents' transcripts: turns as what was said, tool and model calls as steps; a second run writes nothing.

    Takes Claude Code's JSON lines with subagents, Codex's rollouts and items of the OpenAI Responses API. Thinking is
    not kept, nor what tools returned, nor what programs put into turns. The report counts every line.

    Example: `latewood ingest transcript ~/.claude/projects --human human:ada`
    """
    from latewood.graph_schema.plain import plain
    from latewood.memory.imports import ingest_transcripts

    with call.progress("reading transcripts") as move:
        report = await ingest_transcripts(
            call.memory, _given(paths, retry), human=human, session=session, named=_format(format_), dry_run=dry_run,
            rejects=rejects, retry=retry, progress=move,
        )  # fmt: skip
    return {**cast("Mapping[str, Json]", plain(report)), "strict": strict}


@command(ingest, "trace", writes=True, show=_show_source, code=_strict_code)
async def ingest_trace(
    call: Call,
    paths: _Paths = None,
    *,
    human: _Human = "human:unknown",
    dry_run: _DryRun = False,
    rejects: _Rejects = None,
    retry: _Retry = None,
    strict: _Strict = False,
) -> Mapping[str, Json]:
    """Import OpenTelemetry traces of GenAI from files: sessions, runs, steps and token counts.

    Takes OTLP as JSON (a document, or one a line) and as protobuf, with current and old attribute names. A second run
    writes nothing. Other spans are passed over and counted.

    Example: `latewood ingest trace traces.jsonl --space runs`
    """
    from latewood.graph_schema.plain import plain
    from latewood.memory.imports import ingest_traces

    with call.progress("reading traces") as move:
        report = await ingest_traces(
            call.memory, _given(paths, retry), human=human, dry_run=dry_run, rejects=rejects, retry=retry,
            progress=move,
        )  # fmt: skip
    return {**cast("Mapping[str, Json]", plain(report)), "strict": strict}


_By: TypeAlias = Annotated[str, typer.Option("--kept-by", metavar="ACTOR", help="Who kept it until now.")]


@command(ingest, "notes", writes=True, show=_show_source, code=_strict_code)
async def ingest_note_files(
    call: Call,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder of Markdown files, or one.")],
    *,
    author: Annotated[
        str | None, typer.Option("--author", metavar="ACTOR", help="Whose notes they are (who imports them).")
    ] = None,
    dry_run: _DryRun = False,
    rejects: _Rejects = None,
    retry: _Retry = None,
    strict: _Strict = False,
) -> Mapping[str, Json]:
    """Import Markdown notes: a section under a heading is an entity with its text, links are relations.

    A second run writes nothing; after edits it writes what changed, and ends the links and fields that an edit took
    out. Sections and files that are gone are listed and stay.

    Example: `latewood ingest notes ~/notes --space notes`
    """
    from latewood.graph_schema.plain import plain
    from latewood.memory.imports import ingest_notes

    with call.progress("reading notes") as move:
        report = await ingest_notes(
            call.memory, path, by=author, dry_run=dry_run, rejects=rejects, retry=retry, progress=move
        )  # fmt: skip
    return {**cast("Mapping[str, Json]", plain(report)), "strict": strict}


@command(ingest, "git", writes=True, show=_show_source, code=_strict_code)
async def ingest_commits(
    call: Call,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A checkout, or a folder in it.")] = Path(),
    *,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Of the repository, in its files' keys (its folder).")
    ] = None,
    dry_run: _DryRun = False,
    rejects: _Rejects = None,
    retry: _Retry = None,
    strict: _Strict = False,
) -> Mapping[str, Json]:
    """Import a repository's commits: each a change with its reason, author and files; a revert takes one back.

    Into an empty space the commits keep their own recorded times. A second run writes nothing.

    Example: `latewood ingest git . --space commits`
    """
    from latewood.graph_schema.plain import plain
    from latewood.memory.imports import ingest_git

    with call.progress("reading commits") as move:
        report = await ingest_git(
            call.memory, path, name=name, dry_run=dry_run, rejects=rejects, retry=retry, progress=move
        )  # fmt: skip
    return {**cast("Mapping[str, Json]", plain(report)), "strict": strict}


@command(ingest, "memory", writes=True, show=_show_source, code=_strict_code)
async def ingest_memory(
    call: Call,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="memory.jsonl of the MCP reference memory server.")],
    *,
    kept_by: _By = "agent:mcp-memory",
    dry_run: _DryRun = False,
    rejects: _Rejects = None,
    retry: _Retry = None,
    strict: _Strict = False,
) -> Mapping[str, Json]:
    """Import the MCP reference memory server's file: entities with observations, and relations.

    A second run writes nothing; observations that the file has no longer are listed and stay.

    Example: `latewood ingest memory memory.jsonl --space old`
    """
    from latewood.graph_schema.plain import plain
    from latewood.memory.imports import ingest_memory_file

    with call.progress("reading a memory") as move:
        report = await ingest_memory_file(
            call.memory, path, by=kept_by, dry_run=dry_run, rejects=rejects, retry=retry, progress=move
        )  # fmt: skip
    return {**cast("Mapping[str, Json]", plain(report)), "strict": strict}


def _given(paths: list[Path] | None, retry: Path | None) -> list[Path]:
    if not paths and retry is None:
        raise InvalidError("name a file or a folder to import, or --retry a file of rejects", code="query.invalid")
    return paths or []


def _format(name: str | None) -> TranscriptFormat | None:
    formats: Mapping[str, TranscriptFormat] = {"claude": "claude", "codex": "codex", "responses": "responses"}
    if name is not None and name not in formats:
        raise InvalidError(f"{name!r} is no format of transcripts: {', '.join(formats)}", code="query.invalid")
    return None if name is None else formats[name]


async def _show_export(call: Call, report: ExportReport) -> None:
    call.screen.say(f"wrote {report.decisions} decisions to {report.path}", style="bold green")
    call.screen.field("supersessions", str(report.supersessions))


@command(export, "adr", clocks="both", show=_show_export)
async def export_records(
    call: Call,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; made when it is not there.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
) -> ExportReport:
    """Write the space's decisions as MADR files, both sides of each supersession in both files.

    Example: `latewood export adr out --space decisions --known-at 2024-01-01`
    """
    from latewood.memory.exports import export_adr

    return await export_adr(call.memory, folder, force=force, at=call.at)
