"""The command that brings a store of an earlier Latewood forward."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from latewood.clients.cli.call import EXIT_OK, Call, print_json, tool
from latewood.clients.cli.groups import app

if TYPE_CHECKING:
    from latewood.storage.upgrades import Upgrade

__all__: list[str] = []


@tool(app)
def migrate(
    call: Call,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try every step, keep none, and say what they are.")
    ] = False,
    no_backup: Annotated[bool, typer.Option("--no-backup", help="Do not copy the file beside itself first.")] = False,
) -> int:
    """Bring a database that an earlier Latewood wrote to this one's schema, after a copy of it.

    Steps that only add are taken whenever the file is opened; this takes the others too.

    Example: `latewood migrate --db latewood.db --dry-run`
    """
    from latewood.memory.json import as_json
    from latewood.memory.upgrading import migrate as bring_forward

    done = asyncio.run(bring_forward(call.db, dry_run=dry_run, backup=not no_backup))
    if call.as_json:
        print_json(as_json(done))
    else:
        _show(call, done)
    return EXIT_OK


def _show(call: Call, done: Upgrade) -> None:
    if not done.steps:
        call.screen.say(f"{done.location} has schema {done.schema}; nothing to do", style="bold green")
        return
    said = (
        f"brought from schema {done.found} to {done.schema}" if done.applied else "nothing was changed; it would take"
    )
    call.screen.say(f"{done.location}: {said}", style="bold green")
    for step in done.steps:
        call.screen.field("step", step)
    if done.backup is not None:
        call.screen.field("backup", done.backup)
