"""Out of a store and into another: a space as a file, every space as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import app, export
from latewood.graph_schema.errors import InvalidError

if TYPE_CHECKING:
    from latewood.memory.portability import Backup, Exported, Imported

__all__: list[str] = []


def _path(file: str) -> Path | None:
    return None if file == "-" else Path(file)


async def _show_exported(call: Call, done: Exported) -> None:
    if done.path == "-":
        return
    call.screen.say(f"wrote {done.rows:,} rows of space {done.space} to {done.path}", style="bold green")
    if done.erased:
        call.screen.field("erased", f"{done.erased:,} of them without their words")
    call.screen.field("fingerprint", done.fingerprint)


@command(export, "space", show=_show_exported)
async def export_whole(
    call: Call,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to; gzipped when it ends in .gz, - for stdout.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")] = False,
) -> Exported:
    """Write the whole space, both ledgers with both clocks, as lines of JSON that `latewood import` takes back.

    The file holds all that the space holds, its secret too: keep it as you keep the database.

    Example: `latewood export space decisions.jsonl.gz --space decisions`
    """
    from latewood.memory.portability import export_space

    path = _path(file)
    if path is None and call.as_json:
        msg = "--json and the export cannot both go to standard output; name a file"
        raise InvalidError(msg, code="query.invalid")
    return await export_space(call.memory, path, overwrite=force)


async def _show_imported(call: Call, done: Imported) -> None:
    if done.dry_run:
        call.screen.say(f"{done.path}: {done.rows:,} rows, all of them whole; nothing was written", style="bold green")
        return
    known = "" if done.written == done.rows else f"; {done.rows - done.written:,} were there already"
    call.screen.say(f"{done.written:,} rows into space {done.space}{known}", style="bold green")
    call.screen.field("fingerprint", done.fingerprint)


@command(app, "import", writes=True, show=_show_imported)
async def import_whole(
    call: Call,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `latewood export space` wrote; - for stdin.")],
    *,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Under another name than it came with.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check every line, write nothing.")] = False,
) -> Imported:
    """Bring a space back, row by row verbatim; run it again to go on after an interruption.

    Example: `latewood import decisions.jsonl.gz --db neo4j://neo4j:secret@localhost:7687 --name team`
    """
    from latewood.memory.portability import import_space

    return await import_space(call.memory, _path(file), name=name, dry_run=dry_run)


async def _show_backup(call: Call, done: Backup) -> None:
    call.screen.say(f"{len(done.spaces)} space{'s' * (len(done.spaces) != 1)} in {done.path}", style="bold green")
    call.screen.table(
        ("space", "rows", "fingerprint"), [(one.space, f"{one.rows:,}", one.fingerprint[:16]) for one in done.spaces]
    )


@command(app, "backup", show=_show_backup)
async def back_up(
    call: Call, folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")]
) -> Backup:
    """Write every space into a folder, while others go on writing; `latewood restore` brings it back, in any store.

    Example: `latewood backup backups/2026-11-21 --db latewood.db`
    """
    from latewood.memory.portability import backup

    return await backup(call.memory, folder)


async def _show_restored(call: Call, done: tuple[Imported, ...]) -> None:
    for one in done:
        await _show_imported(call, one)


@command(app, "restore", writes=True, show=_show_restored)
async def bring_back(
    call: Call, folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `latewood backup` wrote.")]
) -> tuple[Imported, ...]:
    """Bring every space of a backup back, row by row verbatim, and compare fingerprints.

    Example: `latewood restore backups/2026-11-21 --db restored.db`
    """
    from latewood.memory.portability import restore

    return await restore(call.memory, folder)
