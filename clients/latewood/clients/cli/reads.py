"""The verbs that read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias, cast

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import app
from latewood.clients.cli.options import After, First, Newest, instant
from latewood.clients.cli.show import (
    show_brief,
    show_conflicts,
    show_decision,
    show_decisions,
    show_diff,
    show_entity,
    show_hits,
    show_nodes,
    show_precedents,
    show_recall,
    show_receipt,
    show_stale,
    show_timeline,
    show_why,
    show_whys,
)
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import DecisionStatus, NodeKind, Trust
from latewood.reasoning.changes import Axis
from latewood.reasoning.recall import LIMIT_MAX

if TYPE_CHECKING:
    from latewood.graph_schema.events import Receipt
    from latewood.graph_schema.model import Decision, Fact, Node
    from latewood.memory import Brief, Difference, Disputed, Entity, Precedent, Recall, Stale, Why
    from latewood.storage.port import Hit, Page

__all__: list[str] = []

Thing: TypeAlias = Annotated[str, typer.Argument(metavar="ID|KEY", help="Such as adr:12, carrier:A or a UUID.")]
Predicates: TypeAlias = Annotated[
    list[str] | None, typer.Option("--predicate", metavar="NAME", help="Only this predicate; may be repeated.")
]


async def _show_why_or_whys(call: Call, found: Why | tuple[Why, ...]) -> None:
    if isinstance(found, tuple):
        await show_whys(call, found)
    else:
        await show_why(call, found)


@command(app, clocks="both", show=_show_why_or_whys)
async def why(
    call: Call,
    thing: Annotated[str | None, typer.Argument(metavar="[ID|KEY]", help="A decision.", show_default=False)] = None,
    about: Annotated[
        str | None,
        typer.Option("--about", metavar="TEXT", help="Decisions about this entity (id or key), or found by words."),
    ] = None,
    first: Annotated[int, typer.Option("--first", metavar="N", help="With --about: at most so many.")] = 5,
) -> Why | tuple[Why, ...]:
    """Show the whole chain behind a decision: trigger, evidence as known then, reasons, alternatives, what followed.

    Examples: `latewood why adr:12 --known-at 2024-01-01`, `latewood why --about carrier:A`
    """
    if (thing is None) == (about is None):
        msg = "why takes a decision's id or key, or --about: exactly one of the two"
        raise InvalidError(msg, code="query.invalid")
    if about is not None:
        return await call.memory.why_about(about, call.at, first=first)
    return await call.memory.why(cast("str", thing), call.at)


@command(app, clocks="both", show=show_brief)
async def brief(
    call: Call,
    about: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ABOUT...]", help="An id, a key, or words; left out, the whole space."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="INSTANT", help="Your last visit; a week ago when left out."),
    ] = None,
    budget_tokens: Annotated[
        int, typer.Option("--budget-tokens", metavar="N", help="At most so many tokens, estimated from above.")
    ] = 800,
) -> Brief:
    """Say what to know before going on: what is open, disputed or stale, precedents, and what is in force.

    Examples: `latewood brief`, `latewood brief carrier:A --since 2026-01-01 --budget-tokens 400`
    """
    return await call.memory.within(by=call.by).brief(
        " ".join(about) if about else None, since=instant(since), budget_tokens=budget_tokens, at=call.at
    )


@command(app, clocks="both", show=show_recall)
async def recall(
    call: Call,
    query: Annotated[list[str], typer.Argument(metavar="QUESTION...", help="A question, or words.")],
    *,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help=f"At most so many, 1 to {LIMIT_MAX}.")] = 20,
    budget_tokens: Annotated[
        int | None,
        typer.Option("--budget-tokens", metavar="N", help="At most so many tokens, estimated from above."),
    ] = None,
    about: Annotated[
        list[str] | None,
        typer.Option("--about", metavar="ID|KEY", help="Of this node, or of what points at it; may be repeated."),
    ] = None,
    kind: Annotated[
        list[NodeKind] | None, typer.Option("--kind", help="Of nodes of this kind; may be repeated.")
    ] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Of nodes of this type; may be repeated.")
    ] = None,
    predicate: Predicates = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="NAME", help="Written down in this session.")
    ] = None,
    actor: Annotated[str | None, typer.Option("--actor", metavar="ID|KEY", help="Written down by this actor.")] = None,
    trust_min: Annotated[Trust | None, typer.Option("--trust-min", help="Believed at least as much as this.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="True since this instant or later.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="True since before this instant.")
    ] = None,
    past: Annotated[
        bool, typer.Option("--past", help="Decisions that are superseded, reversed or deprecated, too.")
    ] = False,
) -> Recall:
    """Recall what answers a question: facts that carry text, found by words, by meaning and by the graph.

    Examples: `latewood recall why did we leave carrier A`, `latewood recall "what did Ada say in May?" --limit 5`
    """
    return await call.memory.recall(
        " ".join(query), limit=limit, budget_tokens=budget_tokens, about=about or (), kinds=kind or None,
        types=type_ or None, predicates=predicate or None, session=session, actor=actor, trust_min=trust_min,
        since=instant(since), until=instant(until), past=past, at=call.at,
    )  # fmt: skip


@command(app, clocks="both", show=show_precedents)
async def precedents(
    call: Call,
    text: Annotated[list[str], typer.Argument(metavar="TEXT...", help="What is to be decided.")],
    first: First = 5,
) -> tuple[Precedent, ...]:
    """List the decisions most like the one at hand, those whose outcome is known first.

    Example: `latewood precedents expedite the Lyon shipment`
    """
    return await call.memory.precedents(" ".join(text), first=first, at=call.at)


@command(app, clocks="both", show=show_conflicts)
async def conflicts(
    call: Call,
    first: First = 50,
    after: After = None,
) -> Page[Disputed]:
    """List what sources disagree about. Retract or correct either side to settle it.

    Example: `latewood conflicts`
    """
    return await call.memory.conflicts(first=first, after=after, at=call.at)


@command(app, clocks="both", show=show_stale)
async def stale(
    call: Call,
    first: First = 50,
    after: After = None,
) -> Page[Stale]:
    """List decisions that stand while their evidence was corrected, retracted, ended or superseded since.

    Example: `latewood stale --known-at 2026-01-05`
    """
    return await call.memory.stale(first=first, after=after, at=call.at)


@command(app, clocks="both", show=show_decision)
async def decision(call: Call, thing: Thing) -> Decision:
    """Show one decision with its reasons.

    Example: `latewood decision adr:12`
    """
    return await call.memory.decision(thing, call.at)


@command(app, clocks="both", show=show_decisions)
async def decisions(
    call: Call,
    status: Annotated[
        list[DecisionStatus] | None, typer.Option("--status", help="Only this status; may be repeated.")
    ] = None,
    source_status: Annotated[
        list[str] | None,
        typer.Option("--source-status", metavar="WORD", help="Or with this word of their source, such as Final."),
    ] = None,
    about: Annotated[
        str | None, typer.Option("--about", metavar="ID|KEY", help="Only those about this entity.")
    ] = None,
    newest: Newest = False,  # noqa: FBT002
    first: First = 50,
    after: After = None,
) -> Page[Decision]:
    """List decisions in the order in which they were recorded.

    Example: `latewood decisions --status superseded --known-at 2024-01-01`
    """
    return await call.memory.decisions(
        status=status or (), source_status=source_status or (), about=about, first=first, after=after, newest=newest,
        at=call.at,
    )  # fmt: skip


@command(app, clocks="both", show=show_entity)
async def entity(call: Call, thing: Thing, predicate: Predicates = None) -> Entity:
    """Show one entity, or any other node, with the facts that hold of it.

    Example: `latewood entity carrier:A --valid-at 2026-03-01`
    """
    return await call.memory.entity(thing, predicate or None, call.at)


@command(app, clocks="both", show=show_nodes)
async def entities(
    call: Call,
    kind: Annotated[NodeKind | None, typer.Option("--kind", help="Only this kind.")] = None,
    type_: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only this type, such as carrier.")
    ] = None,
    newest: Newest = False,  # noqa: FBT002
    first: First = 50,
    after: After = None,
) -> Page[Node]:
    """List what is stored: entities, decisions, actors, sessions; sources and predicates when --kind says so.

    Example: `latewood entities --type carrier`
    """
    return await call.memory.nodes(kind=kind, type_=type_, first=first, after=after, newest=newest, at=call.at)


@command(app, clocks="known", show=show_timeline)
async def timeline(
    call: Call,
    thing: Thing,
    predicate: Predicates = None,
    first: First = 100,
    after: After = None,
) -> Page[Fact]:
    """Show everything that was ever asserted of a node, retracted assertions marked, in valid order.

    Example: `latewood timeline carrier:A --predicate on_time_rate`
    """
    return await call.memory.timeline(
        thing, predicates=predicate or None, known_at=call.at.known_at, first=first, after=after
    )


@command(app, show=show_diff)
async def diff(
    call: Call,
    since: Annotated[str, typer.Argument(metavar="SINCE", help="An instant or a date: changes after it.")],
    until: Annotated[str, typer.Argument(metavar="UNTIL", help="Changes up to it.")],
    about: Annotated[
        str | None, typer.Option("--about", metavar="TEXT", help="Only of this node, or of those that the words find.")
    ] = None,
    axis: Annotated[
        Axis, typer.Option("--axis", help="known: what was learned; valid: what became true.")
    ] = Axis.KNOWN,
    first: First = 100,
    after: After = None,
) -> Page[Difference]:
    """Show what changed between two instants, on either clock.

    Example: `latewood diff 2026-01-01 2026-02-01 --axis valid`
    """
    start, end = instant(since), instant(until)
    if start is None or end is None:
        raise InvalidError("a diff needs its two instants", code="query.invalid")
    return await call.memory.diff(start, end, about=about, axis=axis, first=first, after=after)


@command(app, clocks="both", show=show_hits)
async def find(
    call: Call,
    text: Annotated[list[str], typer.Argument(metavar="WORDS...", help="Words; no syntax.")],
    kind: Annotated[list[NodeKind] | None, typer.Option("--kind", help="Only this kind; may be repeated.")] = None,
    first: First = 20,
) -> tuple[Hit, ...]:
    """Find nodes whose names, keys or texts match, best first.

    Example: `latewood find message broker --kind decision`
    """
    return await call.memory.find(" ".join(text), kinds=kind or None, first=first, at=call.at)


@command(app, show=show_receipt)
async def receipt(
    call: Call, receipt_id: Annotated[str, typer.Argument(metavar="ID", help="The receipt's id.")]
) -> Receipt:
    """Say what became of a write: stored, or failed with its code.

    Example: `latewood receipt 019a...`
    """
    return await call.memory.receipt(receipt_id)
