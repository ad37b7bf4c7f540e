"""`latewood erase`: it asks first, and prints the proof."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import app
from latewood.clients.cli.options import IdempotencyKey, Session, Source
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.ids import is_id, normal_id

if TYPE_CHECKING:
    from latewood.memory import ErasureReport

__all__: list[str] = []


async def _show(call: Call, report: ErasureReport) -> None:
    """Show the proof in words."""
    say, field = call.screen.say, call.screen.field
    say("erased before; this is its proof" if report.receipt.replayed else "erased", style="bold green")
    field("target", f"{report.kind} {report.target}")
    field("reason", report.reason)
    field("gone from", ", ".join(f"{place} {count}" for place, count in sorted(report.places.items())))
    shown = [f"{row.seq} {row.kind.value}, digest {row.digest[:16]}" for row in report.rows]
    total = report.receipt.erased.get("ledger", len(shown))
    field("rows", "\n".join([*shown[:20], *([f"and {total - 20:,} more"] if total > len(shown[:20]) else [])]))
    field("files", f"{report.scrub.state}: {report.scrub.detail}")
    for verdict in [report.verdict, *([report.also.verdict] if report.also is not None else [])]:
        state = f"{verdict.rows} rows verify" if verdict.ok else f"row {verdict.bad_seq} is bad: {verdict.reason}"
        field(f"{verdict.ledger} ledger", f"{state}, {verdict.erased} of them tombstones")
    field("receipt", report.receipt.id)
    say("Backups and exports made before still have it, and Latewood cannot reach them.", style="dim")


async def _describe(call: Call, target: str) -> str:
    """Say in a line what would go."""
    name = normal_id(target)
    facts = await call.memory.facts_by_id([name]) if is_id(name) else {}
    if name in facts:
        return f"the fact {name} ({facts[name].predicate})"
    # What goes is the very node that is named, not what it was merged into.
    node = await call.memory.node_itself(name)
    page = await call.memory.timeline(node.id, first=1_000)
    more = "more than " if page.next is not None else ""
    return f"the {node.kind.value} {node.key or node.name} and {more}{len(page.items):,} facts about it"


async def _ask(call: Call, target: str) -> None:
    """Go on only when somebody says yes. Raises InvalidError (``query.invalid``)."""
    if call.as_json or not sys.stdin.isatty():
        msg = "nothing was erased: nobody is there to be asked; say --yes if the words are to be gone for good"
        raise InvalidError(msg, code="query.invalid")
    question = f"Erase {await _describe(call, target)}? The words cannot be brought back."
    if not await asyncio.to_thread(typer.confirm, question, default=False):
        raise InvalidError("nothing was erased", code="query.invalid")


@command(app, writes=True, show=_show)
async def erase(
    call: Call,
    target: Annotated[
        str, typer.Argument(metavar="FACT|ID|KEY", help="A fact, or a node: then everything about it goes.")
    ],
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Kept for good: do not repeat in it what goes.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    session: Session = None,
    source: Source = None,
    idempotency_key: IdempotencyKey = None,
) -> ErasureReport:
    """Let the words of a fact, or of a node with all about it, be gone for good, and prove it. Only a person may.

    Example: `latewood erase person:jane --reason "asked to be forgotten, ticket 481" --yes`
    """
    if not yes:
        await _ask(call, target)
    return await call.memory.erase(
        target, reason=reason, session=session, source=source, idempotency_key=idempotency_key
    )
