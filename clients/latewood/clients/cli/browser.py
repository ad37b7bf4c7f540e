"""The command that writes what the Neo4j Browser takes in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latewood.clients.cli.call import EXIT_OK, Call, print_json, tool
from latewood.clients.cli.groups import neo4j

__all__: list[str] = []


@tool(neo4j)
def browser(
    call: Call,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to; files of the same names are replaced.")
    ] = Path("latewood-browser"),
) -> int:
    """Write a style sheet and saved queries for the Neo4j Browser into a folder, and say how to load them.

    Example: `latewood neo4j browser --out latewood-browser`
    """
    from latewood.storage.neo4j.browser import write_browser_files

    done = write_browser_files(out)
    if call.as_json:
        queries = [{"file": str(out / "queries" / one.filename), "title": one.title} for one in done.queries]
        print_json({
            "folder": str(done.folder), "style": str(done.style), "archive": str(done.archive), "queries": queries,
        })  # fmt: skip
        return EXIT_OK
    screen = call.screen
    screen.say(f"wrote a style sheet and {len(done.queries)} saved queries to {out}", style="bold green")
    screen.field("style", f"drop {done.style} onto the Browser's page")
    screen.field("queries", f"drop {done.archive} onto it: a folder Latewood under the star, Favorites")
    screen.field("first", f"run “{done.queries[0].title}” with your space and key in it")
    screen.field("then", "run :config autoComplete: false, or the Browser draws all that ever held between two nodes")
    return EXIT_OK
