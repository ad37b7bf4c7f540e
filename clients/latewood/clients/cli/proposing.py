"""Extraction by a model, and what becomes of its proposals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import app, proposals
from latewood.clients.cli.options import After, First, Session
from latewood.graph_schema.clock import iso
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import DecisionStatus

if TYPE_CHECKING:
    from latewood.memory import Written
    from latewood.memory.extracting import ExtractionReport
    from latewood.memory.proposals import Proposal
    from latewood.reasoning.missing import MissingDecision
    from latewood.storage.port import Page

__all__: list[str] = []


async def _show_report(call: Call, report: ExtractionReport) -> None:
    say, field = call.screen.say, call.screen.field
    left = report.chunks - report.before - report.read
    say(f"{report.proposed} proposals from {report.sessions} sessions", style="bold")
    field("model", report.model)
    field("read", f"{report.read} chunks now, {report.before} before, {left} left")
    field("tokens", f"{report.tokens:,} of {report.budget_tokens:,}; reading all was estimated at {report.estimate:,}")
    field("known", f"{report.known} proposals were made before" if report.known else None)
    field("rejected", "\n".join(f"{one.session} {one.code}: {one.reason}" for one in report.rejects[:20]) or None)
    if report.stopped is not None:
        say(f"stopped: {report.stopped}; run it again to go on", style="bold yellow")
    if report.bounded:
        say("There were more sessions or turns than one run looks at.", style="bold yellow")


def _words(one: Proposal) -> str:
    document = one.document
    if one.kind == "decision":
        return str(document["title"])
    unit = f" {document['unit']}" if "unit" in document else ""
    return f"{document['subject']} {document['predicate']} {document.get('value', document.get('object'))}{unit}"


async def _show_list(call: Call, page: Page[Proposal] | tuple[Proposal, ...]) -> None:
    items = page if isinstance(page, tuple) else page.items
    rows = [
        (
            one.key, one.kind, one.status.value, _words(one), one.quote or "",
            "" if one.confidence is None else f"{one.confidence:.2f}", one.model or "",
        )
        for one in items
    ]  # fmt: skip
    none = "no such proposals; `latewood extract` and `latewood duplicates --propose` make them"
    after = None if isinstance(page, tuple) else page.next
    await call.table(("key", "kind", "status", "says", "quote", "confidence", "model"), rows, none=none, after=after)


async def _show_settled(call: Call, written: Written) -> None:
    call.screen.say("settled", style="bold green")
    call.screen.field("wrote", written.id)
    call.screen.field("receipt", written.receipt.id)


@command(app, writes=True, show=_show_report)
async def extract(
    call: Call,
    session: Annotated[
        str | None, typer.Argument(metavar="[SESSION]", help="The id or key of one session; all when left out.")
    ] = None,
    *,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME@URL", help="Which model, and where (env LATEWOOD_MODEL)."),
    ] = None,
    budget_tokens: Annotated[
        int | None, typer.Option("--budget-tokens", metavar="N", help="No more than so many. Needed but for --dry-run.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask nobody; say what it would cost at most.")] = False,
) -> ExtractionReport:
    """Let a model read what was said in sessions; what it finds waits as proposals, each grounded to a quote.

    Nothing that it proposes holds until somebody accepts it. A run that was stopped goes on where it ended.

    Examples: `latewood extract --model llama3@http://127.0.0.1:11434/v1 --dry-run`,
    `latewood extract session:s-12 --budget-tokens 50000`
    """
    from latewood.ingestion.extraction.chat import ChatModel
    from latewood.memory.extracting import extract as run

    named = model or call.settings.model
    name, at, url = (named or "").rpartition("@")
    if not (name and at and url):
        msg = "no model is named: give --model NAME@URL or set LATEWOOD_MODEL, such as llama3@http://127.0.0.1:11434/v1"
        raise InvalidError(msg, code="setting.invalid")
    if budget_tokens is None and not dry_run:
        raise InvalidError(
            "say what it may cost with --budget-tokens, or look first with --dry-run", code="query.invalid"
        )
    chat = ChatModel(name, url, key=call.settings.model_key)
    try:
        with call.screen.progress("chunks") as progress:
            return await run(
                call.memory, chat, budget_tokens=budget_tokens or 1, session=session, dry_run=dry_run, progress=progress
            )
    finally:
        chat.close()


async def _show_missing(call: Call, page: Page[MissingDecision]) -> None:
    rows = [
        (one.session.key or one.session.name, iso(one.said_at), one.speaker or "", one.cue, one.sentence, one.turn.id)
        for one in page.items
    ]
    none = "nothing said sounds like a decision that was not recorded; `latewood ingest transcript` brings sessions in"
    await call.table(("session", "said", "by", "cue", "sentence", "turn"), rows, none=none, after=page.next)


@command(app, name="missing-decisions", clocks="both", show=_show_missing)
async def missing_decisions(
    call: Call,
    session: Annotated[
        str | None, typer.Argument(metavar="[SESSION]", help="The id or key of one session; the latest when left out.")
    ] = None,
    first: Annotated[int, typer.Option("--first", metavar="N", help="Look through so many sessions.")] = 20,
    after: After = None,
) -> Page[MissingDecision]:
    """List what was decided in words while no decision was recorded. Needs no model; English cues.

    Example: `latewood missing-decisions session:s-12`
    """
    return await call.memory.missing_decisions(session, first=first, after=after, at=call.at)


@command(proposals, name="list", clocks="both", show=_show_list)
async def list_proposals(
    call: Call,
    status: Annotated[
        DecisionStatus | None, typer.Option("--status", help="proposed, accepted or rejected.")
    ] = DecisionStatus.PROPOSED,
    first: First = 50,
    after: After = None,
) -> Page[Proposal]:
    """List what models proposed and nobody has settled yet, the latest first.

    Example: `latewood proposals list --status rejected`
    """
    from latewood.memory.proposals import proposals as listed

    return await listed(call.memory, status=status, first=first, after=after, at=call.at)


@command(proposals, name="accept", writes=True, show=_show_settled)
async def accept_proposal(
    call: Call,
    proposal: Annotated[str, typer.Argument(metavar="ID|KEY", help="Such as proposal:4f2a...")],
    *,
    session: Session = None,
) -> Written:
    """Write what a proposal says, resting on its quote, and settle it.

    Example: `latewood proposals accept proposal:4f2a81...`
    """
    from latewood.memory.proposals import accept

    return await accept(call.memory, proposal, session=session)


@command(proposals, name="accept-all", writes=True, show=_show_list)
async def accept_all(
    call: Call,
    *,
    rule: Annotated[str, typer.Option("--rule", metavar="NAME", help="Who accepts: the actor is system:NAME.")],
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Only decision, fact, relation or merge; may be repeated.")
    ] = None,
    predicate: Annotated[
        list[str] | None, typer.Option("--predicate", metavar="NAME", help="Only this predicate; may be repeated.")
    ] = None,
    confidence_min: Annotated[
        float | None, typer.Option("--confidence-min", metavar="X", help="Only what the model was so sure of.")
    ] = None,
    signal: Annotated[
        list[str] | None, typer.Option("--signal", metavar="NAME", help="Only merges that this suggests; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be accepted.")] = False,
) -> tuple[Proposal, ...]:
    """Accept every waiting proposal that a rule takes.

    Example: `latewood proposals accept-all --rule nightly --kind fact --predicate capacity --confidence-min 0.9`
    """
    from latewood.memory.proposals import ProposalRule, accept_by_rule

    wanted = ProposalRule(rule, kind or (), predicate or (), confidence_min=confidence_min, signals=signal or ())
    return await accept_by_rule(call.memory, wanted, dry_run=dry_run)


@command(proposals, name="reject", writes=True, show=_show_settled)
async def reject_proposal(
    call: Call,
    proposal: Annotated[str, typer.Argument(metavar="ID|KEY", help="Such as proposal:4f2a...")],
    *,
    because: Annotated[str, typer.Option("--because", metavar="TEXT", help="The reason.")],
    session: Session = None,
) -> Written:
    """Settle a proposal as not so, for a reason; it stays, and is not made again.

    Example: `latewood proposals reject proposal:4f2a81... --because "he was joking"`
    """
    from latewood.memory.proposals import reject

    return await reject(call.memory, proposal, because=because, session=session)
