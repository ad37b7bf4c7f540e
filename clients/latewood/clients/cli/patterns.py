"""Patterns across sessions: look for them, list them, show one with its evidence, review it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from latewood.clients.cli.call import Call, command, print_json
from latewood.clients.cli.groups import patterns
from latewood.clients.cli.options import After, First, Session
from latewood.graph_schema.clock import iso
from latewood.graph_schema.ids import is_id
from latewood.graph_schema.patterns import PatternKind, PatternReview, PatternStatus

if TYPE_CHECKING:
    from latewood.memory import Written
    from latewood.memory.patterns import DetectReport, Pattern
    from latewood.storage.port import Page

__all__: list[str] = []

_SKIPPED_SHOWN = 10
_EVIDENCE_SHOWN = 20


async def _show_report(call: Call, report: DetectReport) -> None:
    say = call.screen.say
    say(f"{report.looked} series looked at; {report.facts} facts written", style="bold")
    for title, lines in (
        ("opened", report.opened), ("changed", report.changed), ("as before", report.kept),
        ("waiting for the next look", report.waiting), ("fading", report.fading), ("ended", report.ended),
        ("withdrawn", report.withdrawn),
    ):  # fmt: skip
        if lines:
            say(f"{title} ({len(lines)})", style="bold green" if title == "opened" else "bold")
            for line in lines:
                say(f"  {line}")
    for one in report.failed:
        say(f"{one.detector} broke: {one.reason}", style="bold yellow")
    if report.skipped_count:
        say(f"not looked at ({report.skipped_count})", style="bold")
        shown = report.skipped[:_SKIPPED_SHOWN]
        names = await call.memory.nodes_by_id([one.subject for one in shown if is_id(one.subject)])
        for one in shown:
            node = names.get(one.subject)
            say(f"  {one.predicate} of {one.subject if node is None else node.key or node.name}: {one.reason}")


async def _show_list(call: Call, page: Page[Pattern]) -> None:
    rows = [(one.key, one.status.value, one.review or "", one.statement) for one in page.items]
    none = "no patterns; `latewood patterns detect` looks for them, --status ended and --hidden show others"
    await call.table(("key", "status", "review", "statement"), rows, none=none, after=page.next)


async def _show_one(call: Call, one: Pattern) -> None:
    say, field = call.screen.say, call.screen.field
    say(one.statement, style="bold")
    field("key", one.key)
    field("status", f"{one.status.value}, written {iso(one.recorded_at)}")
    field("from", f"{iso(one.since)} to {iso(one.until)}")
    if one.effect is not None:
        unit = f" {one.unit}" if one.unit else ""
        between = "" if one.low is None else f" (95 % {one.low:g} to {one.high:g})"
        field("size", f"{one.effect:g}{unit}{between}")
    if one.q is not None:
        field("by chance", f"p {one.p:g} alone; q {one.q:g} among {one.judged} judged together ({one.family})")
    else:
        field("counted", f"not tested; {one.judged} were looked at ({one.family})")
    field("review", None if one.review is None else f"{one.review.value}: {one.reason}")
    field("evidence", f"{one.support} facts")


async def _show_evidence(call: Call, one: Pattern) -> None:
    await _show_one(call, one)
    facts = await call.memory.facts_by_id(one.evidence[-10_000:], known_at=call.at.known_at)
    ordered = sorted(facts.values(), key=lambda fact: (fact.valid_from, fact.id))
    names = await call.memory.nodes_by_id(list({fact.subject_id for fact in ordered}), call.at)
    rows = [
        (
            iso(fact.valid_from), names[fact.subject_id].key or "" if fact.subject_id in names else "", fact.predicate,
            fact.value.text() if fact.value is not None else fact.object_id or "", fact.id,
        )
        for fact in ordered[-_EVIDENCE_SHOWN:]
    ]  # fmt: skip
    call.screen.table(("true from", "of", "predicate", "value", "fact"), rows)
    if len(ordered) > len(rows):
        call.screen.note(f"the latest {len(rows)} of {len(ordered)}; --json has the ids of all")


async def _show_written(call: Call, written: Written) -> None:
    call.screen.say("reviewed", style="bold green")
    call.screen.field("receipt", written.receipt.id)


@command(patterns, name="detect", writes=True, show=_show_report)
async def detect_patterns(call: Call) -> DetectReport:
    """Look at all series, and keep what drifts, shifts, stands out, recurs, flips back or follows.

    What is tested counts once it holds at two looks running, at a false discovery rate of about 5 % (anomalies 20 %).
    Looking again at the same data writes nothing.

    Example: `latewood patterns detect`
    """
    from latewood.memory.patterns import detect

    with call.progress("detectors") as progress:
        return await detect(call.memory, progress=progress)


@command(patterns, name="follow", writes=True)
async def follow_patterns(
    call: Call,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", help="Stop after so many looks; else at Ctrl-C.")
    ] = None,
    settle: Annotated[
        float, typer.Option("--settle", metavar="SECONDS", min=0.0, help="Wait so long after news, for more of it.")
    ] = 2.0,
) -> None:
    """Look whenever something new was said, from where the latest look had got to. With --json a document a line.

    Only series that changed are worked out again.

    Example: `latewood patterns follow`
    """
    from latewood.memory.following import follow

    left = count
    if left is not None and left <= 0:
        return
    async for report in follow(call.memory, settle_s=settle):
        if call.as_json:
            from latewood.memory.json import as_json

            print_json(as_json(report), compact=True)
        else:
            await _show_report(call, report)
        left = None if left is None else left - 1
        if left == 0:
            return


@command(patterns, name="list", clocks="both", show=_show_list)
async def list_patterns(
    call: Call,
    status: Annotated[
        list[PatternStatus] | None,
        typer.Option("--status", help="open, fading, ended or withdrawn; may be repeated (open and fading)."),
    ] = None,
    kind: Annotated[PatternKind | None, typer.Option("--kind", help="Only this kind.")] = None,
    about: Annotated[str | None, typer.Option("--about", metavar="ID|KEY", help="Only of this entity.")] = None,
    first: First = 50,
    after: After = None,
    *,
    hidden: Annotated[bool, typer.Option("--hidden", help="Those too that somebody muted or rejected.")] = False,
) -> Page[Pattern]:
    """List the patterns that hold, the latest first.

    Examples: `latewood patterns list --kind trend`, `latewood patterns list --about carrier:A --known-at 2026-01-05`
    """
    from latewood.memory.patterns import patterns as listed

    return await listed(
        call.memory, status=status or (PatternStatus.OPEN, PatternStatus.FADING), kind=kind, about=about,
        hidden=hidden, first=first, after=after, at=call.at,
    )  # fmt: skip


@command(patterns, name="show", clocks="both", show=_show_one)
async def show_pattern(
    call: Call, pattern: Annotated[str, typer.Argument(metavar="ID|KEY", help="As `patterns list` shows it.")]
) -> Pattern:
    """Show one pattern: its size with an interval, its error rate, its family and its period.

    Example: `latewood patterns show pattern:reversal:project:1:vendor`
    """
    from latewood.memory.patterns import explain

    return await explain(call.memory, pattern, at=call.at)


@command(patterns, name="explain", clocks="both", show=_show_evidence)
async def explain_pattern(
    call: Call, pattern: Annotated[str, typer.Argument(metavar="ID|KEY", help="As `patterns list` shows it.")]
) -> Pattern:
    """Show one pattern with the facts that speak for it.

    Example: `latewood patterns explain pattern:reversal:project:1:vendor --known-at 2026-03-01`
    """
    from latewood.memory.patterns import explain

    return await explain(call.memory, pattern, at=call.at)


@command(patterns, name="review", writes=True, show=_show_written)
async def review_pattern(
    call: Call,
    pattern: Annotated[str, typer.Argument(metavar="ID|KEY", help="As `patterns list` shows it.")],
    verdict: Annotated[PatternReview, typer.Argument(help="accepted, muted or rejected.")],
    *,
    because: Annotated[str, typer.Option("--because", metavar="TEXT", help="The reason.")],
    session: Session = None,
) -> Written:
    """Accept, mute or reject a pattern for a reason. Muted and rejected ones are no longer listed.

    Example: `latewood patterns review pattern:trend:... muted --because "the sensor was moved"`
    """
    from latewood.memory.patterns import review

    return await review(call.memory, pattern, verdict, because=because, session=session)
