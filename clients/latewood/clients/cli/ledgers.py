"""The ledger and the spaces: following, checking, listing, making."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from latewood.clients.cli.call import EXIT_CORRUPT, EXIT_OK, Call, command, print_json
from latewood.clients.cli.groups import app, ledger, spaces
from latewood.clients.cli.show import show_entries, show_space, show_spaces, show_verdict
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import LEDGERS, LedgerName

if TYPE_CHECKING:
    from latewood.graph_schema.events import LedgerEntry
    from latewood.graph_schema.ledger import Verdict
    from latewood.storage.port import Space

__all__ = ["Checked", "verify_all"]

Ledger: TypeAlias = Annotated[str, typer.Option("--ledger", metavar="knowledge|execution", help="Which one.")]
_KNOWLEDGE: Final = "knowledge"


@command(app)
async def watch(
    call: Call,
    after: Annotated[int, typer.Option("--after", metavar="SEQ", help="Begin behind this row.")] = 0,
    ledger: Ledger = _KNOWLEDGE,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", help="Stop after so many rows; else at Ctrl-C.")
    ] = None,
    *,
    fresh: Annotated[bool, typer.Option("--new", help="Only rows written from now on.")] = False,
) -> None:
    """Follow the ledger: its rows, then each new one as it is written. With --json one document a line.

    Example: `latewood watch --new --json`
    """
    name = ledger_name(ledger)
    if fresh:
        after = max(after, await head_of(call, name))
    left = count
    if left is not None and left <= 0:
        return
    async for entry in call.memory.watch(after, ledger=name):
        if call.as_json:
            from latewood.memory.json import as_json

            print_json(as_json(entry), compact=True)
        else:
            await show_entries(call, [entry])
        if left is not None:
            left -= 1
            if left <= 0:
                return


def ledger_name(word: str) -> LedgerName:
    """Read the name of a ledger. Raises InvalidError."""
    if word == "knowledge":
        return "knowledge"
    if word == "execution":
        return "execution"
    raise InvalidError(f"{word!r} is no ledger; they are knowledge and execution", code="query.invalid", ledger=word)


async def head_of(call: Call, name: LedgerName) -> int:
    """Return the seq of the last row of a ledger of the call's space. Raises NotFoundError (``space.unknown``)."""
    for space in await call.memory.spaces():
        if space.name == call.space:
            return space.seq.get(name, 0)
    # The store says what near names there are.
    await call.memory.verify(name)
    return 0


@dataclass(frozen=True, slots=True)
class Checked:
    """A space with the verdict on one of its ledgers; `_system` is the system's own, which has the keys."""

    space: str
    verdict: Verdict


async def verify_all(call: Call) -> tuple[Checked, ...]:
    """Check every ledger of every space, and those of the system itself once it has kept anything."""
    from latewood.memory.credentials import SYSTEM_TENANT
    from latewood.memory.keys import system_verdicts

    checked = [
        Checked(space.name, await call.memory.within(space=space.name).verify(name))
        for space in await call.memory.spaces()
        for name in LEDGERS
    ]
    return (*checked, *[Checked(SYSTEM_TENANT, verdict) for verdict in await system_verdicts(call.memory)])


async def _show_checked(call: Call, found: Verdict | tuple[Checked, ...]) -> None:
    if not isinstance(found, tuple):
        await show_verdict(call, found)
        return
    for one in found:
        call.screen.say(f"space {one.space}", style="bold")
        await show_verdict(call, one.verdict)


def _verdict_code(found: Verdict | tuple[Checked, ...]) -> int:
    verdicts = [one.verdict for one in found] if isinstance(found, tuple) else [found]
    return EXIT_OK if all(one.ok for one in verdicts) else EXIT_CORRUPT


@command(ledger, show=_show_checked, code=_verdict_code)
async def verify(
    call: Call,
    ledger: Ledger = _KNOWLEDGE,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every ledger of every space.")] = False,
) -> Verdict | tuple[Checked, ...]:
    """Check the chain from its first row to its head and name the first bad row (exit code 5).

    Example: `latewood ledger verify --db latewood.db --all`
    """
    if everything:
        return await verify_all(call)
    return await call.memory.verify(ledger_name(ledger))


@command(ledger, show=show_entries)
async def tail(
    call: Call,
    last: Annotated[int, typer.Option("--last", metavar="N", help="How many rows, up to 1000.")] = 20,
    ledger: Ledger = _KNOWLEDGE,
) -> tuple[LedgerEntry, ...]:
    """Show the last rows of the ledger; `latewood watch` follows it.

    Example: `latewood ledger tail --last 5`
    """
    name = ledger_name(ledger)
    head = await head_of(call, name)
    return await call.memory.store.feed(call.memory.space, name, max(0, head - max(last, 0)), last)


@command(spaces, "list", show=show_spaces)
async def list_spaces(call: Call) -> tuple[Space, ...]:
    """List the spaces with how far their ledgers are.

    Example: `latewood spaces list`
    """
    return await call.memory.spaces()


@command(spaces, "create", writes=True, show=show_space)
async def create_space(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="1-64 of a-z, 0-9, '.', '_', '-'.")],
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Take only predicates that a pack declares.")] = False,
) -> Space:
    """Make a space.

    Example: `latewood spaces create decisions`
    """
    return await call.memory.create_space(name, strict=strict)
