"""`retract-all`: undo what one actor, session or source said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import app
from latewood.clients.cli.options import Session, instant
from latewood.clients.cli.show import show_retraction

if TYPE_CHECKING:
    from latewood.memory import Retraction

__all__: list[str] = []


@command(app, name="retract-all", writes=True, show=show_retraction)
async def retract_all(
    call: Call,
    *,
    because: Annotated[str, typer.Option("--because", metavar="TEXT", help="Why none of it was true.")],
    said_by: Annotated[
        str | None, typer.Option("--said-by", metavar="ID|KEY", help="The actor who wrote it, such as agent:scraper.")
    ] = None,
    said_in: Annotated[
        str | None, typer.Option("--said-in", metavar="ID|KEY", help="The session in which it was written.")
    ] = None,
    read_from: Annotated[
        str | None, typer.Option("--read-from", metavar="ORIGIN", help="The URL or path that was given as its source.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only what was recorded after this instant.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Only what was recorded up to this instant (now).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be taken back.")] = False,
    session: Session = None,
) -> Retraction:
    """Say that nothing an actor, a session or a source said was ever true: what it displaced holds again.

    What was known before stays known; facts of a higher tier than yours stay, and are listed.

    Example: `latewood retract-all --read-from https://evil.example/page --because "a poisoned page" --dry-run`
    """
    from latewood.memory.retracting import LISTED_MAX

    whole: Retraction | None = None
    while True:
        done = await call.memory.retract_all(
            because=because, said_by=said_by, said_in=said_in, read_from=read_from, since=instant(since),
            until=instant(until), dry_run=dry_run, after=None if whole is None else whole.next, session=session,
        )  # fmt: skip
        whole = done if whole is None else replace(
            done, retracted=whole.retracted + done.retracted, facts=(*whole.facts, *done.facts)[:LISTED_MAX],
            left=(*whole.left, *done.left)[:LISTED_MAX], left_count=whole.left_count + done.left_count,
            receipts=(*whole.receipts, *done.receipts),
        )  # fmt: skip
        if whole.next is None:
            return whole
