"""The groups that commands are put into."""

from __future__ import annotations

from typing import Any, Final, cast

import typer
from typer.core import TyperGroup

__all__ = [
    "UsageError", "aliases", "app", "dead_letters", "export", "ingest", "keys", "ledger", "messages", "models", "neo4j",
    "new", "patterns", "proposals", "run", "spaces", "webhooks",
]  # fmt: skip


_ABOUT: Final = """A context graph: what was decided, why, what it rested on, and what was known when.

Every command takes --help, --json, --db and --space.

Exit codes: 0 done, 1 internal fault, 2 refused or wrong usage, 3 not found, 4 unavailable, 5 corrupt.
"""


# The errors of a wrong command line; typer has changed where they live, not how they are related.
UsageError: Final = cast("type[Exception]", typer.BadParameter.__base__)


class _Group(TyperGroup):
    """A group that answers a word that is no command of its own with those that there are."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; typer itself names only words that are nearly the same."""
        try:
            return super().resolve_command(ctx, args)
        except UsageError as error:
            said = cast("Any", error)
            if "Did you mean" not in said.message:
                said.message = f"{said.message} There are: {', '.join(self.list_commands(ctx))}."
            raise


def _group(about: str) -> typer.Typer:
    return typer.Typer(
        cls=_Group, help=about, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]}, add_completion=about is _ABOUT,
    )  # fmt: skip


app: Final = _group(_ABOUT)
aliases: Final = _group("Other keys that mean an entity.")
ingest: Final = _group("Bring in records, tables, transcripts, traces, notes, commits.")
dead_letters: Final = _group("What nobody could settle, and how it is handed out again.")
export: Final = _group("Write decisions out.")
keys: Final = _group("Make and revoke the keys that `latewood serve --auth` asks for.")
ledger: Final = _group("Look at the hash-chained ledger.")
models: Final = _group("Which models workflows may ask, about what, and for how much.")
messages: Final = _group("Hand work over: channels, messages, and what waits.")
new: Final = _group("Begin something from a template.")
neo4j: Final = _group("Run a Neo4j of your own, without Docker.")
patterns: Final = _group("What recurs, drifts, shifts, flips back or follows across sessions.")
proposals: Final = _group("Settle what a model proposed.")
run: Final = _group("Start a run of a workflow, look at it, and settle what becomes of it.")
spaces: Final = _group("List and make spaces.")
webhooks: Final = _group("Addresses elsewhere that get the messages of a channel, signed.")

app.add_typer(aliases, name="aliases")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(ingest, name="ingest")
app.add_typer(export, name="export")
app.add_typer(keys, name="keys")
app.add_typer(ledger, name="ledger")
app.add_typer(messages, name="messages")
app.add_typer(models, name="models")
app.add_typer(neo4j, name="neo4j")
app.add_typer(new, name="new")
app.add_typer(patterns, name="patterns")
app.add_typer(proposals, name="proposals")
app.add_typer(run, name="run")
app.add_typer(spaces, name="spaces")
app.add_typer(webhooks, name="webhooks")
