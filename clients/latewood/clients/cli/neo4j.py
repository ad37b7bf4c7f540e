"""The commands of a Neo4j of one's own: up, down, status."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from latewood.clients.cli.call import EXIT_OK, Call, print_json, tool
from latewood.clients.cli.groups import neo4j
from latewood.graph_schema.errors import UnavailableError

if TYPE_CHECKING:
    from latewood.clients.neo4j_local import Running, Stopped

__all__: list[str] = []

Home: TypeAlias = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Where it keeps its data (~/.local/share/latewood/neo4j/home)."),
]


@tool(neo4j)
def up(
    call: Call,
    home: Home = None,
    release: Annotated[
        str | None,
        typer.Option("--version", metavar="N", help="5.26.30, or 2026.08.1 (Java 21 or later).", show_default=False),
    ] = None,
    bolt_port: Annotated[
        int | None, typer.Option("--bolt-port", metavar="N", help="7687; 0 takes any that is free.", show_default=False)
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option("--http-port", metavar="N", help="Of the Browser: 7474; 0 takes any.", show_default=False),
    ] = None,
    heap: Annotated[str, typer.Option("--heap", metavar="SIZE", help="Memory for queries.")] = "1g",
    page_cache: Annotated[str, typer.Option("--page-cache", metavar="SIZE", help="Memory for data.")] = "512m",
    password: Annotated[
        str | None,
        typer.Option("--password", metavar="TEXT", help="Of the user neo4j; left out, one is made and kept."),
    ] = None,
) -> int:
    """Start a Neo4j on loopback without Docker, and wait until it answers. Needs Java 17 or later, and Maven once.

    The first time it is assembled from Maven Central (140 MB). One that runs already is left as it is.

    Example: `latewood neo4j up`
    """
    _require_posix()
    from latewood.clients.neo4j_local import Wanted, server

    wanted = Wanted(home, release, bolt_port, http_port, heap, page_cache, password)
    if not call.as_json:
        call.screen.note("starting Neo4j; the first time its jars are fetched, which takes a minute")
    _show(call, server.up(wanted))
    return EXIT_OK


@tool(neo4j)
def down(call: Call, home: Home = None) -> int:
    """Stop the Neo4j that `latewood neo4j up` started; its data stays.

    Example: `latewood neo4j down`
    """
    _require_posix()
    from latewood.clients.neo4j_local import server

    _show(call, server.down(home))
    return EXIT_OK


@tool(neo4j)
def status(call: Call, home: Home = None) -> int:
    """Say whether a Neo4j of `latewood neo4j up` runs, and where.

    Example: `latewood neo4j status --json`
    """
    _require_posix()
    from latewood.clients.neo4j_local import server

    _show(call, server.status(home))
    return EXIT_OK


def _require_posix() -> None:
    if sys.platform == "win32":  # pragma: no cover - no test runs there
        msg = "`latewood neo4j` runs on Linux and macOS; on Windows start Neo4j with Docker or in WSL"
        raise UnavailableError(msg, code="neo4j.start_failed")


def _show(call: Call, found: Running | Stopped) -> None:
    from latewood.clients.neo4j_local import Stopped

    if call.as_json:
        from latewood.memory.json import as_json

        print_json(as_json(found))
        return
    screen = call.screen
    if isinstance(found, Stopped):
        said = "stopped (it had to be killed)" if found.killed else "stopped" if found.stopped else "nothing runs"
        screen.say(f"{said}: {found.home}")
        return
    said = "runs" if found.started else "runs already"
    screen.say(f"Neo4j {found.version} {said}{'' if found.ready else ', but does not answer yet'}", style="bold")
    screen.field("db", found.url or "its password is not kept here")
    screen.field("browser", f"{found.browser} (user {found.user})")
    screen.field("home", found.home)
    screen.field("log", found.log)
    screen.note("use it with --db or LATEWOOD_DB; stop it with `latewood neo4j down`")
