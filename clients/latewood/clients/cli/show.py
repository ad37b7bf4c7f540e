"""The answers of the verbs in words, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from latewood.clients.cli.call import Call
from latewood.graph_schema.clock import from_micros, iso
from latewood.graph_schema.model import ERASED_NAME, Decision

if TYPE_CHECKING:
    from latewood.graph_schema.events import LedgerEntry, Receipt
    from latewood.graph_schema.ledger import Verdict
    from latewood.graph_schema.model import Evidence, Fact, Node, Source
    from latewood.memory import Brief, Difference, Disputed, Entity, Precedent, Recall, Retraction, Stale, Why, Written
    from latewood.storage.port import Hit, Page, Space

__all__ = [
    "show_brief",
    "show_conflicts",
    "show_decision",
    "show_decisions",
    "show_diff",
    "show_entity",
    "show_entries",
    "show_hits",
    "show_nodes",
    "show_precedents",
    "show_recall",
    "show_receipt",
    "show_retraction",
    "show_space",
    "show_spaces",
    "show_stale",
    "show_timeline",
    "show_verdict",
    "show_why",
    "show_whys",
    "show_written",
]

_EXCERPT_CHARS: Final = 100
_STYLES: Final[Mapping[str, str]] = {
    "accepted": "bold green",
    "proposed": "bold yellow",
    "deferred": "bold yellow",
}
_NO_STYLE: Final = "bold red"


def _excerpt(text: str, chars_max: int = _EXCERPT_CHARS) -> str:
    line = " ".join(text.split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"


def _name(node: Node | Decision) -> str:
    name = node.title if isinstance(node, Decision) else node.name
    return f"{node.key} {name}" if node.key and node.key != name else name


def _names(nodes: Iterable[Node]) -> str:
    return ", ".join(_name(node) for node in nodes)


async def _called(call: Call, facts: Iterable[Fact | None]) -> dict[str, str]:
    """Return what the things that *facts* point to are called."""
    ids = sorted({fact.object_id for fact in facts if fact is not None and fact.object_id is not None})
    found = await call.memory.nodes_by_id(ids) if ids else {}
    return {node_id: _name(node) for node_id, node in found.items()}


def _said(fact: Fact | None, names: Mapping[str, str]) -> str:
    if fact is None:
        return ""
    if fact.absent:
        return "(ends)"
    if fact.erased:
        return ERASED_NAME
    if fact.value is None:
        return names.get(fact.object_id or "", fact.object_id or "")
    words = fact.value.text()
    return f"{words} ({fact.as_written})" if fact.as_written and fact.as_written != words else words


def _origin(source: Source | None) -> str:
    return ERASED_NAME if source is None or not source.origin else source.origin


def _period(fact: Fact) -> str:
    start = iso(fact.valid_from) if fact.valid_from_known else "not known"
    return start if fact.valid_to is None else f"{start} to {iso(fact.valid_to)}"


def _state(fact: Fact) -> str:
    if fact.retired_at is not None:
        return f"retired {iso(fact.retired_at)}" + (f": {fact.retired_reason}" if fact.retired_reason else "")
    return f"corrects {fact.replaces}" if fact.replaces else ""


def _evidence(piece: Evidence) -> str:
    node = _name(piece.node) if piece.node is not None else piece.id
    if piece.fact is None:
        return node
    words = f"{node} {piece.fact.predicate} = {_said(piece.fact, {})}"
    return f"{words} [since {piece.moved}]" if piece.moved else words


def _heading(call: Call, decision: Decision) -> None:
    word = decision.source_status
    said = f" ({word})" if word and word.lower() != decision.status.value else ""
    call.screen.say(_name(decision), style="bold")
    call.screen.say(f"{decision.status.value}{said}", style=_STYLES.get(decision.status.value, _NO_STYLE))


async def show_decision(call: Call, decision: Decision) -> None:
    """Show a decision with its reasons."""
    field = call.screen.field
    _heading(call, decision)
    field("question", decision.question)
    field("choice", decision.choice)
    field("rationale", decision.rationale)
    for one in decision.alternatives:
        field("rejected", f"{one.title}: {one.rejected_because}" if one.rejected_because else one.title)
    field("consequences", decision.consequences)
    field("confidence", None if decision.confidence is None else f"{decision.confidence:g}")
    field("expected", decision.expected_outcome)
    field("triggered by", "\n".join(_evidence(one) for one in decision.triggered_by))
    field("evidence", "\n".join(_evidence(one) for one in decision.evidence))
    field("outcome", "\n".join(decision.outcomes))
    field("about", _names(decision.about))
    field("decided by", _names(decision.decided_by))
    field("session", None if decision.session is None else _name(decision.session))
    field("supersedes", _names(decision.supersedes))
    field("superseded by", _names(decision.superseded_by))
    field("decided", iso(decision.decided_at))
    field("recorded", iso(decision.recorded_at))
    field("source", None if decision.source is None else f"{_origin(decision.source)} ({decision.source.method})")
    field("id", decision.id)


async def show_decisions(call: Call, page: Page[Decision]) -> None:
    """Show a list of decisions."""
    rows = [
        (
            one.key or one.id, one.status.value, one.title, iso(one.decided_at),
            ", ".join(node.key or node.name for node in one.superseded_by),
        )
        for one in page.items
    ]  # fmt: skip
    none = "no such decisions; `latewood decide` records one, `latewood ingest adr` brings a folder of records in"
    await call.table(("decision", "status", "title", "decided", "superseded by"), rows, none=none, after=page.next)


async def show_why(call: Call, why: Why) -> None:
    """Show a decision's chain, line by line, each with its source."""
    _heading(call, why.decision)
    own = why.decision.source
    for line in why.lines:
        if line.role == "status":
            continue
        # The record's own source is said once, below; another's beside its line.
        foreign = line.source is not None and (own is None or line.source.origin != own.origin)
        origin = f" [{line.source.origin}]" if foreign and line.source is not None else ""
        call.screen.field(line.role, line.text + origin, indent=2)
    call.screen.field("in force now", "\n".join(_name(one) for one in why.in_force) or "nothing", indent=2)
    call.screen.field("source", None if own is None else f"{_origin(own)} ({own.method})", indent=2)
    if why.truncated:
        call.screen.note("the chain goes on; it was cut at its limit")


async def show_whys(call: Call, whys: Sequence[Why]) -> None:
    """Show several chains."""
    if not whys:
        call.screen.say("nothing was decided about that", style="dim")
    for place, why in enumerate(whys):
        if place:
            call.screen.say()
        await show_why(call, why)


def _fact_rows(facts: Sequence[Fact], names: Mapping[str, str]) -> list[tuple[str, ...]]:
    return [
        (
            fact.predicate, _excerpt(_said(fact, names)), _period(fact), iso(fact.recorded_at), _origin(fact.source),
            _state(fact), "" if fact.conflict is None else f"{1 + fact.conflict.others} say otherwise", fact.id,
        )
        for fact in facts
    ]  # fmt: skip


_FACT_COLUMNS: Final = ("predicate", "value", "valid from", "recorded", "source", "state", "conflict", "fact")


async def show_entity(call: Call, entity: Entity) -> None:
    """Show a node with the facts that hold of it."""
    node = entity.node
    call.screen.say(_name(node), style="bold")
    call.screen.field("kind", f"{node.kind.value} {node.type}".strip())
    call.screen.field("recorded", iso(node.recorded_at))
    call.screen.field("version", str(node.version))
    call.screen.field("id", node.id)
    rows = _fact_rows(entity.facts, await _called(call, entity.facts))
    await call.table(_FACT_COLUMNS, rows, none="nothing holds of it; `latewood timeline` shows what did")


async def show_retraction(call: Call, done: Retraction) -> None:
    """Show what was taken back, and what stays."""
    say, screen = call.screen.say, call.screen
    if done.dry_run:
        say("a dry run: nothing was written", style="bold yellow")
    stays = f"; {done.left_count:,} {'would stay' if done.dry_run else 'stay'}" if done.left_count else ""
    say(f"facts that {'would be' if done.dry_run else 'were'} taken back: {done.retracted:,}{stays}", style="bold")
    facts = [*done.facts, *(one.fact for one in done.left)]
    subjects = await call.memory.nodes_by_id(sorted({fact.subject_id for fact in facts})) if facts else {}
    names = await _called(call, facts)

    def row(fact: Fact) -> tuple[str, ...]:
        about = subjects.get(fact.subject_id)
        words = _excerpt(_said(fact, names))
        return _name(about) if about else "", fact.predicate, words, iso(fact.recorded_at), _origin(fact.source)

    columns = ("subject", "predicate", "value", "recorded", "source")
    if done.facts:
        screen.table((*columns, "fact"), [(*row(fact), fact.id) for fact in done.facts])
    if done.left:
        screen.table((*columns, "stays because"), [(*row(one.fact), one.reason) for one in done.left])
    if done.retracted > len(done.facts):
        say(f"... and {done.retracted - len(done.facts):,} more")


async def show_timeline(call: Call, page: Page[Fact]) -> None:
    """Show everything that was ever asserted of a node."""
    rows = _fact_rows(page.items, await _called(call, page.items))
    await call.table(_FACT_COLUMNS, rows, none="nothing was asserted of it; `latewood observe` does", after=page.next)


async def show_diff(call: Call, page: Page[Difference]) -> None:
    """Show what changed."""
    names = await _called(call, [fact for one in page.items for fact in (one.before, one.after)])
    rows = [
        (
            one.kind.value, _name(one.subject), one.predicate, _excerpt(_said(one.before, names)),
            _excerpt(_said(one.after, names)), iso(one.valid_from), iso(one.recorded_at), one.reason or "",
        )
        for one in page.items
    ]  # fmt: skip
    columns = ("change", "subject", "predicate", "before", "after", "valid from", "recorded", "reason")
    await call.table(
        columns, rows, none="nothing changed between the two; --axis says on which clock to look", after=page.next
    )


async def show_brief(call: Call, found: Brief) -> None:
    """Show a brief as the text that a model would get."""
    call.screen.say(found.text)


async def show_recall(call: Call, found: Recall) -> None:
    """Show memories with why they were found, then what was not shown."""
    if not found.hits:
        await call.table((), (), none="nothing was found; `latewood entities` lists what there is")
    for hit in found.hits:
        why = ", ".join(
            clue.signal.value + (f" {clue.rank}" if clue.rank is not None else "") for clue in hit.clues
        )  # fmt: skip
        fact = hit.fact
        when = iso(fact.valid_from) + (f" to {iso(fact.valid_to)}" if fact.valid_to is not None else "")
        said = f" by {_name(hit.actor)}" if hit.actor is not None else ""
        place = "" if fact.source is None or fact.source.locator is None else f" {fact.source.locator}"
        call.screen.say(hit.text, style="bold")
        call.screen.say(f"  {_name(hit.subject)} {fact.predicate} · {when} · {fact.trust.value}{said}{place}")
        call.screen.say(f"  {why} · {fact.id}")
    rest = [f"{found.ranked} weighed"]
    rest += [f"{found.hidden} that no longer hold"] if found.hidden else []
    rest += [f"{found.left_out} left out by the budget"] if found.left_out else []
    for line in ("; ".join(rest), *found.notes):
        call.screen.say(line)


async def show_precedents(call: Call, found: Sequence[Precedent]) -> None:
    """Show earlier decisions and what followed them."""
    rows = [
        (
            _name(one.decision), one.decision.status.value, iso(one.decision.decided_at),
            _excerpt(" · ".join(one.outcomes), 80), _excerpt(one.decision.rationale or "", 60), one.decision.id,
        )
        for one in found
    ]  # fmt: skip
    none = "no decision is like it; `latewood decide` records one"
    await call.table(("decision", "status", "decided", "outcome", "because", "id"), rows, none=none)


async def show_conflicts(call: Call, page: Page[Disputed]) -> None:
    """Show facts that hold while another source says otherwise."""
    names = await _called(call, [fact for one in page.items for fact in one.facts])
    others = await call.memory.facts_by_id(
        [fact.conflict.challenger_id for one in page.items for fact in one.facts if fact.conflict is not None]
    )
    rows = [
        (
            _name(one.entity), fact.predicate, _excerpt(_said(fact, names), 40), fact.id,
            _excerpt(_said(others.get(fact.conflict.challenger_id), names), 40), fact.conflict.challenger_id,
            str(fact.conflict.others or ""),
        )
        for one in page.items
        for fact in one.facts
        if fact.conflict is not None
    ]  # fmt: skip
    columns = ("thing", "predicate", "holds", "id", "another source says", "its id", "and more")
    await call.table(columns, rows, none="no two sources disagree about what holds", after=page.next)


async def show_stale(call: Call, page: Page[Stale]) -> None:
    """Show decisions and what moved under them."""
    names = await _called(
        call, [fact for one in page.items for piece in one.moved for fact in (piece.evidence.fact, piece.now)]
    )
    rows = [
        (
            _name(one.decision), one.decision.status.value, piece.how,
            _name(piece.evidence.node) if piece.evidence.node is not None else piece.evidence.id,
            _excerpt(_said(piece.evidence.fact, names), 40), _excerpt(_said(piece.now, names), 40), piece.reason or "",
        )
        for one in page.items
        for piece in one.moved
    ]  # fmt: skip
    none = "no evidence of a decision that stands has moved"
    await call.table(
        ("decision", "status", "how", "evidence", "was", "now", "reason"), rows, none=none, after=page.next
    )


async def show_hits(call: Call, hits: Sequence[Hit]) -> None:
    """Show what was found by words."""
    rows = [
        (
            hit.node.kind.value, hit.node.key or "", hit.node.name,
            "" if hit.fact is None else f"{hit.fact.predicate}: {_excerpt(_said(hit.fact, {}), 60)}", hit.node.id,
        )
        for hit in hits
    ]  # fmt: skip
    none = "nothing has these words; `latewood recall` finds by meaning, `latewood entities` lists what there is"
    await call.table(("kind", "key", "name", "matched", "id"), rows, none=none)


async def show_nodes(call: Call, page: Page[Node]) -> None:
    """Show a list of nodes."""
    rows = [(node.kind.value, node.key or "", node.name, iso(node.recorded_at), node.id) for node in page.items]
    none = "nothing of that sort; `latewood observe` and `latewood ingest` write, --kind names others"
    await call.table(("kind", "key", "name", "recorded", "id"), rows, none=none, after=page.next)


async def show_receipt(call: Call, receipt: Receipt) -> None:
    """Show what became of a write."""
    field = call.screen.field
    failed = receipt.state != "stored"
    call.screen.say(receipt.state, style=_NO_STYLE if failed else "bold green")
    field("code", receipt.code)
    field("message", receipt.message)
    field("space", receipt.space)
    field("recorded", None if receipt.recorded_at is None else iso(receipt.recorded_at))
    field("seq", None if failed else f"{receipt.seq} of {receipt.ledger}")
    field("facts", "\n".join(receipt.facts))
    field("nodes", "\n".join(f"{key} = {node_id}" for key, node_id in receipt.nodes.items()))
    field("receipt", receipt.id)


async def show_written(call: Call, written: Written) -> None:
    """Show what a verb wrote, and whatever about it may surprise."""
    receipt = written.receipt
    call.screen.say("known already, nothing new written" if receipt.replayed else "stored", style="bold green")
    call.screen.field("id", written.id)
    call.screen.field("receipt", receipt.id)
    call.screen.field("recorded", None if receipt.recorded_at is None else iso(receipt.recorded_at))
    call.screen.field("new here", ", ".join(receipt.declared))
    call.screen.field("new predicates", ", ".join(receipt.registered))
    for stretch in receipt.not_holding:
        end = "on" if stretch.valid_to is None else f"to {iso(stretch.valid_to)}"
        call.screen.field(
            "does not hold", f"{stretch.fact_id} from {iso(stretch.valid_from)} {end}: {stretch.held_by} does"
        )


async def show_spaces(call: Call, spaces: Sequence[Space]) -> None:
    """Show the spaces."""
    rows = [
        (
            one.name, one.state, "strict" if one.strict else "", f"{one.nodes}", f"{one.seq.get('knowledge', 0)}",
            f"{one.seq.get('execution', 0)}", one.filling or "",
        )
        for one in spaces
    ]  # fmt: skip
    call.screen.table(("space", "state", "predicates", "nodes", "knowledge", "execution", "filled by"), rows)


async def show_space(call: Call, space: Space) -> None:
    """Show one space."""
    await show_spaces(call, [space])


async def show_verdict(call: Call, verdict: Verdict) -> None:
    """Show whether a ledger verifies."""
    if verdict.ok:
        call.screen.say(f"ok: {verdict.rows} rows of {verdict.ledger} verify", style="bold green")
        call.screen.field("head", verdict.head)
        return
    call.screen.error(
        f"row {verdict.bad_seq} of the ledger {verdict.ledger} is bad: {verdict.reason}; {verdict.rows} rows before it "
        "verify",
        "ledger.corrupt",
        ["stop writing to it, keep a copy, and go back to a backup"],
    )


async def show_entries(call: Call, entries: Sequence[LedgerEntry]) -> None:
    """Show rows of a ledger."""
    rows = [
        (
            str(one.seq), iso(from_micros(one.recorded_at)), one.event.kind.value, one.event.subject,
            str(one.event.payload.get("predicate") or one.event.payload.get("key") or ""), one.hash.hex()[:16],
        )
        for one in entries
    ]  # fmt: skip
    none = "no rows; --ledger names the other ledger"
    await call.table(("seq", "recorded", "event", "subject", "of", "hash"), rows, none=none)
