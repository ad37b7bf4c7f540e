"""`latewood rebuild` and `reindex`: what can be made again is: views from the ledgers, vectors from the words."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from latewood.clients.cli.call import EXIT_CORRUPT, EXIT_OK, Call, command
from latewood.clients.cli.groups import app

if TYPE_CHECKING:
    from latewood.memory import RebuildReport, ReindexReport
    from latewood.storage.rebuilding import Drift

__all__ = ["describe"]


def describe(one: Drift) -> str:
    """Say in a line what differs."""
    place = "" if one.ledger is None else f" (row {one.seq} of the {one.ledger} ledger)"
    detail = f": {one.detail}" if one.detail else ""
    return f"{one.view} {one.id} is {one.what}{detail}{place}"


async def _show(call: Call, report: RebuildReport) -> None:
    say = call.screen.say
    looked = f"{report.compared:,} rows of views held against {report.rows:,} rows of the ledgers"
    if not report.differences:
        say(f"space {report.space}: nothing differs; {looked}", style="bold green")
        return
    done = "differ" if report.dry_run else "differed and were repaired"
    say(f"space {report.space}: {report.differences:,} {done}; {looked}", style="bold yellow")
    for one in report.found:
        say(describe(one), indent=2)
    if report.differences > len(report.found):
        say(f"and {report.differences - len(report.found):,} more", indent=2)
    if report.dry_run:
        say("fix: latewood rebuild", indent=2)


def _code(report: RebuildReport) -> int:
    return EXIT_CORRUPT if report.dry_run and report.differences else EXIT_OK


@command(app, show=_show, code=_code)
async def rebuild(
    call: Call,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what differs; write nothing.")] = False,
    after: Annotated[
        str | None, typer.Option("--after", metavar="CURSOR", help="Go on where an interrupted one says it was.")
    ] = None,
) -> RebuildReport:
    """Make a space's views again from its ledgers where they differ, while others go on reading and writing.

    It may be stopped at any time and run again. Exit code 5 when a ledger does not verify, and then nothing is touched;
    with --dry-run also when something differs.

    Example: `latewood rebuild --space decisions --dry-run`
    """
    reached = after
    with call.progress("comparing rows") as move:

        def follow(done: int, total: int, cursor: str | None) -> None:
            nonlocal reached
            reached = cursor
            if move is not None:
                move(done, total)

        try:
            return await call.memory.rebuild(dry_run=dry_run, after=after, progress=follow)
        except asyncio.CancelledError:
            if reached is not None:
                call.screen.note(f"stopped; go on with `latewood rebuild --space {call.space} --after {reached}`")
            raise


async def _show_reindex(call: Call, report: ReindexReport) -> None:
    say = call.screen.say
    say(
        f"space {report.space}: {report.made:,} vectors made by {report.model} ({report.dimensions} numbers each)",
        style="bold green",
    )
    if report.left_out:
        say(f"{report.left_out:,} texts were refused by the embedder; they are found by their words", style="yellow")
    if report.switched:
        say(f"recall uses the generation {report.generation} from now on")
    for name in report.dropped:
        say(f"the vectors of the generation {name} were thrown away")
    if report.model != call.settings.embedder.model:
        say("set LATEWOOD_EMBEDDER to the same, or what is written from now on gets no vectors", style="bold yellow")


@command(app, show=_show_reindex)
async def reindex(
    call: Call,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="EMBEDDER",
            help="light, sentence-transformers:NAME or openai:MODEL@BASE_URL (env LATEWOOD_EMBEDDER, else light).",
        ),
    ] = None,
    keep_old: Annotated[bool, typer.Option("--keep-old", help="Keep the vectors of the model before.")] = False,
) -> ReindexReport:  # fmt: skip
    """Make the vectors that are missing in a space, or with another model all of them, while others read and write.

    The vectors of another model grow beside the old ones, which answer until the new ones are whole. It may be stopped
    at any time and run again: it goes on where it stopped.

    Example: `latewood reindex --model openai:nomic-embed-text@http://127.0.0.1:11434/v1`
    """
    with call.progress("making vectors") as move:
        return await call.memory.reindex(model, keep_old=keep_old, progress=move)
