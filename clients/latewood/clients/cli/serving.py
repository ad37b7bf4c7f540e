"""The commands that are about the installation: serve, mcp, demo, doctor."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from latewood.clients.cli.call import EXIT_OK, Call, print_json, tool
from latewood.clients.cli.groups import app

__all__: list[str] = []

_HOST: Final = "127.0.0.1"
_PORT: Final = 8321


class DemoStory(StrEnum):
    """What the demo tells."""

    RECORDS = "records"
    FLIGHTS = "flights"


@tool(app)
def serve(
    call: Call,
    port: Annotated[int, typer.Option("--port", metavar="N", help="0 takes any that is free.")] = _PORT,
    host: Annotated[str, typer.Option("--host", metavar="NAME", help="Without --auth loopback only.")] = _HOST,
    documents: Annotated[
        Path | None, typer.Option("--documents", metavar="FILE", help="Run only the GraphQL documents listed here.")
    ] = None,
    *,
    auth: Annotated[bool, typer.Option("--auth", help="Ask everybody for a key (`latewood keys`) or a token.")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", metavar="NAME", help="A name that the server goes by.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option("--allow-origin", metavar="URL", help="A site whose pages may call it.")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option("--public-url", metavar="URL", help="Where it is reached through a proxy.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", help="Requests a second of one credential (100).")
    ] = None,
    jwks: Annotated[
        Path | None, typer.Option("--jwks", metavar="FILE", help="Take tokens that these public keys sign.")
    ] = None,
    jwt_issuer: Annotated[str | None, typer.Option("--jwt-issuer", metavar="URL", help="Whose tokens.")] = None,
    jwt_audience: Annotated[
        str | None, typer.Option("--jwt-audience", metavar="NAME", help="To whom they are made out.")
    ] = None,
    workflows: Annotated[
        list[str] | None, typer.Option("--workflows", metavar="MODULE", help="Run this module's workflows here too.")
    ] = None,
    patterns: Annotated[
        bool, typer.Option("--patterns/--no-patterns", help="Look for patterns whenever something new was said.")
    ] = True,
) -> int:
    """Serve GraphQL at /graphql (GraphiQL in a browser), MCP at /mcp and /health, until Ctrl-C.

    A write names its actor, or is in the name of --by or LATEWOOD_ACTOR where one is given. With --auth the key or
    token says who writes, whose data it is, and what may be done. It is all of Latewood
    in one process: with --workflows a worker too, in --space; it ends runs past their deadline, posts what waits for
    webhooks, and looks for patterns in --space. Several over one store share the work.

    Example: `latewood serve --db latewood.db --port 8000`
    """
    from latewood.server.options import read_options
    from latewood.server.serve import run_server

    def ready(url: str) -> None:
        if call.as_json:
            print_json(
                {"url": url, "graphql": f"{url}/graphql", "mcp": f"{url}/mcp", "health": f"{url}/health", "db": call.db}
            )
            return
        call.screen.say(f"GraphQL and GraphiQL: {url}/graphql", style="bold")
        call.screen.say(f"MCP: {url}/mcp")
        call.screen.say(f"health: {url}/health")
        call.screen.note(f"serving {call.db}; stop with Ctrl-C")

    by = call.given["by"] or call.settings.actor
    options = read_options(
        documents=documents, auth=auth, hosts=allow_host or (), origins=allow_origin or (), public_url=public_url,
        rate=rate, jwks=jwks, issuer=jwt_issuer, audience=jwt_audience, workflows=workflows or (),
        webhook_networks=call.settings.webhook_networks, patterns=patterns,
    )  # fmt: skip
    run_server(
        call.db, host, port, space=call.space, by=by, sync=call.settings.sync, options=options, on_ready=ready
    )  # fmt: skip
    return EXIT_OK


@tool(app)
def mcp(call: Call) -> int:
    """Speak the Model Context Protocol over standard input and output, for a client that starts its servers itself.

    Example: `latewood mcp --db latewood.db --by agent:desk`
    """
    from latewood.server.serve import run_stdio

    by = call.given["by"] or call.settings.actor
    run_stdio(call.db, space=call.space, by=by, sync=call.settings.sync)
    return EXIT_OK


@tool(app)
def demo(
    call: Call,
    port: Annotated[
        int | None, typer.Option("--port", metavar="N", help=f"Else {_PORT}, or any that is free.", show_default=False)
    ] = None,
    *,
    leave: Annotated[bool, typer.Option("--exit", help="Stop after the answers instead of serving on.")] = False,
    story: Annotated[
        DemoStory, typer.Option("--with", help="Instead: which carriers got worse in 2013 (the extra `flights`).")
    ] = DemoStory.RECORDS,
) -> int:
    """Load Latewood's own decision records, serve them, and answer three questions about them over GraphQL.

    In a temporary database, unless --db names one.

    Example: `latewood demo --exit`
    """
    from latewood.clients.cli.demo import Records, run_demo
    from latewood.clients.cli.flights import Flights

    told = Flights() if story is DemoStory.FLIGHTS else Records()
    done = False

    def answered() -> None:
        nonlocal done
        done = True

    try:
        asyncio.run(run_demo(call, told, port=port, default_port=_PORT, leave=leave, answered=answered))
    except KeyboardInterrupt:
        # That is how a demo that goes on serving is meant to end; before its answers it is an interruption.
        if not done:
            raise
    return EXIT_OK


@tool(app)
def doctor(
    call: Call,
    port: Annotated[int, typer.Option("--port", metavar="N", help="The port that `serve` would take.")] = _PORT,
) -> int:
    """Check the installation and the store, and say how to mend what is wrong.

    Exit code 0 when nothing failed; else 2, 4 or 5, the worst of what did.

    Example: `latewood doctor --db latewood.db`
    """
    from latewood.clients.cli.doctor import examine, show_health
    from latewood.memory.json import as_json

    health = asyncio.run(examine(call, port))
    if call.as_json:
        print_json(as_json(health))
    else:
        show_health(call, health)
    return health.exit_code
