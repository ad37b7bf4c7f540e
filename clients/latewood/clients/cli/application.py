"""The application `latewood`: its groups of commands and how the process ends."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, cast

import typer

from latewood.clients.cli.call import EXIT_OK, EXIT_REFUSED, error_document, print_json
from latewood.clients.cli.groups import UsageError, app
from latewood.graph_schema.errors import InvalidError

__all__ = ["app", "main"]

for _part in (
    "reads",
    "writes",
    "retracting",
    "erasing",
    "identity",
    "ledgers",
    "sources",
    "proposing",
    "patterns",
    "running",
    "starting",
    "paving",
    "models",
    "portability",
    "rebuilding",
    "upgrading",
    "serving",
    "hooking",
    "messaging",
    "settling",
    "keys",
    "neo4j",
    "browser",
):
    importlib.import_module(f"latewood.clients.cli.{_part}")


def _say_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        from importlib.metadata import version

        typer.echo(f"latewood {version('latewood')}")
        raise typer.Exit(EXIT_OK)


@app.callback()
def top(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which this is.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    words = sys.argv[1:] if words is None else list(words)
    # A name or a title may hold what a narrow terminal cannot show.
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="replace")
    if "--json" not in words:
        app(words, prog_name="latewood")
        return
    try:
        sys.exit(app(words, prog_name="latewood", standalone_mode=False) or EXIT_OK)
    except UsageError as error:
        # Its own words: str() of a missing parameter would say nothing.
        say = cast("Callable[[], str]", getattr(error, "format_message", error.__str__))
        print_json(error_document(InvalidError(f"{say()} See `latewood --help`.", code="query.invalid")))
        sys.exit(EXIT_REFUSED)
