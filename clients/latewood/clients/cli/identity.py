"""Two keys, one thing: `merge`, `split`, `aliases` and `duplicates`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import aliases, app
from latewood.clients.cli.options import IdempotencyKey, Session

if TYPE_CHECKING:
    from latewood.graph_schema.model import Node
    from latewood.memory import Duplicates, Merge, Split

__all__: list[str] = []

_SHOWN: Final = 20


def _name(node: Node) -> str:
    return node.key or node.name


async def _show_merge(call: Call, done: Merge) -> None:
    say, field = call.screen.say, call.screen.field
    gone, stays = _name(done.absorbed), _name(done.into)
    if done.dry_run:
        say("a dry run: nothing was written", style="bold yellow")
        say(f"{gone} would be absorbed: from then on its key and its id would mean {stays}")
    elif done.before and not done.moved:
        say(f"{gone} was merged into {stays} before; nothing was left to move", style="bold")
    else:
        say(f"{gone} was absorbed: its key and its id mean {stays} from now on", style="bold green")
    field("absorbed", f"{gone} ({done.absorbed.id})")
    field("goes on", f"{stays} ({done.into.id})")
    field("facts", f"{done.moved:,} {'would move' if done.dry_run else 'moved'}")
    field("compete", ", ".join(done.meets) or None)
    field(
        "stay", f"{len(done.left):,} that are erased, or ends of which nobody knows what ended" if done.left else None
    )
    field("undo", None if done.dry_run else f"latewood split {gone!r} --reason ...")


@command(app, writes=True, show=_show_merge)
async def merge(
    call: Call,
    absorbed: Annotated[str, typer.Argument(metavar="ABSORBED", help="The id or key that is to mean the other one.")],
    into: Annotated[str, typer.Argument(metavar="INTO", help="The id or key of the one that goes on.")],
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why the two are one.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would move.")] = False,
    session: Session = None,
    idempotency_key: IdempotencyKey = None,
) -> Merge:
    """Say that ABSORBED is INTO under another name: its facts move to INTO, and its key means INTO from then on.

    As known before, both are what they were; `latewood split ABSORBED` undoes it.

    Example: `latewood merge "carrier:ACME Inc." carrier:acme --reason "one company, two spellings"`
    """
    return await call.memory.merge(
        absorbed, into, reason=reason, dry_run=dry_run, session=session, idempotency_key=idempotency_key
    )


async def _show_split(call: Call, done: Split) -> None:
    say, field = call.screen.say, call.screen.field
    if done.dry_run:
        say("a dry run: nothing was written", style="bold yellow")
    else:
        say(f"{_name(done.node)} is one of its own again", style="bold green")
    field("from", _name(done.into))
    field("facts", f"{done.moved:,} {'would go back' if done.dry_run else 'went back'}")
    shown = done.stays[:_SHOWN]
    more = [f"and {done.stays_count - _SHOWN:,} more"] if done.stays_count > _SHOWN else []
    field(f"stay with {_name(done.into)}", "\n".join([*shown, *more]) or None)


@command(app, writes=True, show=_show_split)
async def split(
    call: Call,
    absorbed: Annotated[str, typer.Argument(metavar="ABSORBED", help="The id or key that was merged into another.")],
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why the two are not one.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go back.")] = False,
    session: Session = None,
    idempotency_key: IdempotencyKey = None,
) -> Split:
    """Undo a merge: what moved goes back; what was written while the two were one stays, and is listed.

    Example: `latewood split "carrier:ACME Inc." --reason "a subsidiary, not a spelling"`
    """
    return await call.memory.split(
        absorbed, reason=reason, dry_run=dry_run, session=session, idempotency_key=idempotency_key
    )


async def _show_aliases(call: Call, nodes: tuple[Node, ...]) -> None:
    rows = [(node.key or "", node.name, node.id) for node in nodes]
    await call.table(("key", "name", "id"), rows, none="no other key means it; `latewood aliases add` makes one")


@command(aliases, name="list", clocks="both", show=_show_aliases)
async def list_aliases(
    call: Call, thing: Annotated[str, typer.Argument(metavar="ID|KEY", help="The entity.")]
) -> tuple[Node, ...]:
    """List the keys that mean an entity besides its own: its aliases, and what was merged into it.

    Example: `latewood aliases list carrier:acme`
    """
    return await call.memory.absorbed(thing, call.at)


@command(aliases, name="add", writes=True, show=_show_merge)
async def add_alias(
    call: Call,
    thing: Annotated[str, typer.Argument(metavar="ID|KEY", help="The entity.")],
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The other key; an entity of that key is absorbed.")],
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it means the same.")] = "an alias",
    session: Session = None,
) -> Merge:
    """Let another key mean an entity. Where an entity has that key already, this is `latewood merge ALIAS KEY`.

    Example: `latewood aliases add carrier:acme "carrier:ACME Inc."`
    """
    return await call.memory.alias(thing, alias, reason=reason, session=session)


@command(aliases, name="remove", writes=True, show=_show_split)
async def remove_alias(
    call: Call,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The key that is to be one of its own.")],
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it does not.")] = "no alias",
    session: Session = None,
) -> Split:
    """Let a key no longer mean another entity; the same as `latewood split ALIAS`.

    Example: `latewood aliases remove "carrier:ACME Inc."`
    """
    return await call.memory.split(alias, reason=reason, session=session)


@dataclass(frozen=True, slots=True)
class _Found:
    """What `duplicates` prints: the pairs, and the keys of the proposals that were made of them."""

    duplicates: Duplicates
    proposed: tuple[str, ...]


async def _show_found(call: Call, found: _Found) -> None:
    from latewood.clients.cli.screen import counted  # rich is loaded only to speak to people

    pairs = found.duplicates
    rows = [(_name(one.absorbed), _name(one.into), one.signal, f"{one.score:.2f}") for one in pairs.items]
    await call.table(
        ("absorbed", "into", "signal", "score"), rows, none="no two look alike; a lower --score-min shows more"
    )
    among = f"among {counted(pairs.looked_at, 'entity', 'entities')}"
    call.screen.note(f"{counted(pairs.total, 'pair', 'pairs')} {among}; nothing was merged")
    if found.proposed:
        made = counted(len(found.proposed), "proposal was", "proposals were")
        call.screen.note(f"{made} made: see `latewood proposals list`")
    if pairs.bounded:
        call.screen.note("There is more than is listed; name a --type, a --signal, or a higher --score-min.")


@command(app, writes="propose", show=_show_found)
async def duplicates(
    call: Call,
    *,
    type_: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only entities of this type.")] = None,
    signal: Annotated[
        list[str] | None,
        typer.Option("--signal", metavar="NAME", help="Only by name, words, letters or meaning; may be repeated."),
    ] = None,
    score_min: Annotated[float, typer.Option("--score-min", metavar="X", help="Only what is so alike, 0 to 1.")] = 0.0,
    first: Annotated[int, typer.Option("--first", metavar="N", help="At most so many pairs.")] = 100,
    propose: Annotated[bool, typer.Option("--propose", help="Keep the pairs as proposals to merge.")] = False,
) -> _Found:
    """List entities that may be one: a dry run of what could be merged. With --propose the pairs wait as proposals.

    Nothing is merged until somebody accepts: `latewood proposals accept`, or by rule
    `latewood proposals accept-all --rule dedupe --kind merge --signal name`. A rejected pair is not proposed again.

    Example: `latewood duplicates --type carrier --signal name --signal words --propose`
    """
    found = await call.memory.duplicates(type_=type_, signals=signal or (), score_min=score_min, first=first)
    proposed = await call.memory.propose_merges(found.items) if propose else ()
    return _Found(found, proposed)
