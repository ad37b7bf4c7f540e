"""A hand-over at the start of a session, within a budget of tokens, the same for the same memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from latewood.graph_schema.clock import AsOf, to_micros
from latewood.graph_schema.decisions import ABOUT, STATUS
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import Decision, DecisionStatus, Fact, Node, NodeKind
from latewood.graph_schema.patterns import PatternStatus
from latewood.graph_schema.values import Value
from latewood.reasoning.decisions import decisions_by_id
from latewood.reasoning.patterns.told import ToldPattern, holding_patterns
from latewood.reasoning.stale import GONE, STANDING, Moved, Stale, stale_among
from latewood.reasoning.tokens import tokens_of
from latewood.reasoning.unsettled import Unsettled, Waiting, by_cause, inbox_of, unsettled_of
from latewood.storage.port import PAGE_MAX, FactQuery, GraphStore, NodeQuery

__all__ = ["BUDGET_MAX", "BUDGET_MIN", "SINCE_DEFAULT", "Brief", "BriefLine", "BriefSection", "brief", "compose"]

BUDGET_MIN: Final = 100
BUDGET_MAX: Final = 100_000
SINCE_DEFAULT: Final = timedelta(days=7)
"""How far back a brief looks that was not told when the last visit was."""
_DECISIONS_MAX: Final = 500
_ENTITIES_MAX: Final = 500
_CHANGES_MAX: Final = 10_000
_LINE_CHARS: Final = 240


class BriefSection(StrEnum):
    """The parts of a brief, in the order in which they are written and served from the budget."""

    YOURS = "yours"
    OPEN = "open"
    UNSETTLED = "unsettled"
    CONFLICTS = "conflicts"
    STALE = "stale"
    PATTERNS = "patterns"
    PRECEDENTS = "precedents"
    SUPERSEDED = "superseded"
    IN_FORCE = "in_force"


_TITLES: Final[Mapping[BriefSection, str]] = {
    BriefSection.YOURS: "Yours: messages that wait for you",
    BriefSection.OPEN: "Open: not decided yet",
    BriefSection.UNSETTLED: "Unsettled: messages that wait for their owner",
    BriefSection.CONFLICTS: "Conflicts: sources disagree",
    BriefSection.STALE: "Stale: the evidence moved",
    BriefSection.PATTERNS: "Patterns: what recurs or changes",
    BriefSection.PRECEDENTS: "Precedents: what followed",
    BriefSection.SUPERSEDED: "No longer in force",
    BriefSection.IN_FORCE: "In force",
}


@dataclass(frozen=True, slots=True)
class BriefLine:
    """One line of a brief.

    Attributes:
        ref: the id of the decision, dead letter, message, fact or pattern that it is about; of several the latest's.
        at: when it was decided, or became known.
    """

    section: BriefSection
    text: str
    ref: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Brief:
    """What to know before going on.

    Attributes:
        text: the brief as Markdown; costs *tokens*, never above what was asked for.
        left_out: how many lines of each section did not fit, by the section's name.
        since: what was superseded is told from here on.
        bounded: there was more than a brief looks at, so the counts are too low.
    """

    about: str | None
    since: datetime
    lines: tuple[BriefLine, ...]
    left_out: Mapping[str, int]
    tokens: int
    text: str
    bounded: bool


def _short(text: str, chars: int = _LINE_CHARS) -> str:
    line = " ".join(text.split())
    return line if len(line) <= chars else line[: chars - 1] + "…"


def _name(decision: Decision) -> str:
    return f"{decision.key} {decision.title}" if decision.key is not None else decision.title


def _day(instant: datetime) -> str:
    return instant.date().isoformat()


def _worth(value: Value | None, object_id: str | None, names: Mapping[str, Node]) -> str:
    if value is not None:
        return value.text()
    target = names.get(object_id or "")
    return target.name if target is not None else (object_id or "nothing")


def _said(fact: Fact | None, names: Mapping[str, Node]) -> str:
    return "nothing" if fact is None else _worth(fact.value, fact.object_id, names)


def _decision_line(section: BriefSection, decision: Decision) -> BriefLine:
    why = f" (because {_short(decision.rationale, 100)})" if decision.rationale else ""
    status = "" if decision.status is DecisionStatus.ACCEPTED else f" [{decision.status.value}]"
    text = f"{_day(decision.decided_at)} {_name(decision)}{status}{why}"
    return BriefLine(section, _short(text), decision.id, decision.decided_at)


def _moved_words(piece: Moved, names: Mapping[str, Node]) -> str:
    node = piece.evidence.node
    name = node.name if node is not None else piece.evidence.id
    fact = piece.evidence.fact
    if fact is None:
        return f"{name} is {piece.how}"
    now = f", now {_said(piece.now, names)}" if piece.now is not None else ""
    because = f" ({piece.reason})" if piece.reason else ""
    return f"{name} {fact.predicate} = {_said(fact, names)} was {piece.how}{now}{because}"


def _stale_line(one: Stale, names: Mapping[str, Node]) -> BriefLine:
    words = "; ".join(_moved_words(piece, names) for piece in one.moved)
    return BriefLine(
        BriefSection.STALE, _short(f"{_name(one.decision)}: {words}"), one.decision.id, one.decision.decided_at
    )


def _conflict_line(fact: Fact, names: Mapping[str, Node]) -> BriefLine | None:
    if fact.conflict is None:
        return None
    subject = names.get(fact.subject_id)
    other = fact.conflict
    said = (
        "that it ended"
        if other.value is None and other.object_id is None
        else _worth(other.value, other.object_id, names)
    )
    more = f" and {other.others} more" if other.others else ""
    source = f" (by {_short(fact.source.origin, 60)})" if fact.source is not None else ""
    name = subject.name if subject is not None else fact.subject_id
    text = f"{name} {fact.predicate} = {_said(fact, names)}{source}; another source says {said}{more}"
    return BriefLine(BriefSection.CONFLICTS, _short(text), fact.id, fact.recorded_at)


def _latest(lines: Iterable[BriefLine]) -> list[BriefLine]:
    return sorted(lines, key=lambda one: (-to_micros(one.at), one.ref))


def compose(
    about: str | None, since: datetime, lines: Iterable[BriefLine], budget_tokens: int, *, bounded: bool = False
) -> Brief:
    """Fill a budget with *lines*, one of each section in turn, each section in the order given.

    Raises:
        InvalidError: code ``query.invalid`` for a budget below `BUDGET_MIN` or above `BUDGET_MAX`.
    """
    if not BUDGET_MIN <= budget_tokens <= BUDGET_MAX:
        msg = f"a brief has a budget of {BUDGET_MIN} to {BUDGET_MAX:,} tokens, not {budget_tokens}"
        raise InvalidError(msg, code="query.invalid", budget=budget_tokens)
    waiting: dict[BriefSection, list[BriefLine]] = {section: [] for section in BriefSection}
    for line in lines:
        waiting[line.section].append(line)
    title = f"# Brief{'' if about is None else ': ' + _short(about, 80)}, since {_day(since)}"
    chosen: dict[BriefSection, list[BriefLine]] = {section: [] for section in BriefSection}
    open_sections = [section for section in BriefSection if waiting[section]]
    while open_sections:
        for section in tuple(open_sections):
            chosen[section].append(waiting[section].pop(0))
            if tokens_of(_write(title, chosen, waiting, bounded=bounded)) > budget_tokens:
                waiting[section].insert(0, chosen[section].pop())
                open_sections.remove(section)
            elif not waiting[section]:
                open_sections.remove(section)
    text = _write(title, chosen, waiting, bounded=bounded)
    left_out = {section.value: len(rest) for section, rest in waiting.items() if rest}
    told = tuple(line for section in BriefSection for line in chosen[section])
    return Brief(about, since, told, left_out, tokens_of(text), text, bounded)


def _write(
    title: str, chosen: Mapping[BriefSection, Sequence[BriefLine]],
    waiting: Mapping[BriefSection, Sequence[BriefLine]], *, bounded: bool,
) -> str:  # fmt: skip
    parts = [title]
    parts += [
        f"## {_TITLES[section]}\n" + "\n".join(f"- {line.text}" for line in chosen[section])
        for section in BriefSection
        if chosen[section]
    ]
    rest = [f"{len(waiting[section])} {section.value}" for section in BriefSection if waiting[section]]
    if rest:
        parts.append(f"Left out: {', '.join(rest)}.")
    elif not any(chosen.values()):
        parts.append("Nothing is open, stale or in force.")
    if bounded:
        parts.append("More is stored than a brief looks at.")
    return "\n\n".join(parts)


async def brief(
    store: GraphStore, space: str, at: AsOf, *, now: datetime, about: str | None = None,
    nodes: Sequence[Node] | None = None, since: datetime | None = None, budget_tokens: int = 800,
    reader: str | None = None,
) -> Brief:  # fmt: skip
    """Gather what to know of *nodes* (None: of the space) as of *at*, and fill the budget with it.

    Args:
        now: what *at* means by now.
        about: how the caller named *nodes*.
        since: when the reader was last here; a week ago when left out.
        reader: the key of who reads; of the whole space, what waits for them comes first.
    """
    since = now - SINCE_DEFAULT if since is None else since
    decisions, bounded = await _decisions(store, space, nodes, at)
    gone, more = await _gone_since(store, space, since, at.known_at or now, at)
    if nodes is not None:
        wanted = {one.id for one in decisions}
        gone = [one for one in gone if one.id in wanted]
    stale = await stale_among(store, space, decisions, at)
    subjects = await _subjects(store, space, decisions, nodes, at)
    facts = await store.facts(space, FactQuery(subjects=subjects), at) if subjects else ()
    disputed = [fact for fact in facts if fact.conflict is not None]
    names = await _names(store, space, stale, disputed, at)
    patterns, others = await holding_patterns(store, space, nodes, at)
    messages, unseen = await _messages(store, space, at, about, nodes, reader)
    lines = [
        *(line for line in messages if line.section is BriefSection.YOURS),
        *_latest(
            _decision_line(BriefSection.OPEN, one)
            for one in decisions if one.status in (DecisionStatus.PROPOSED, DecisionStatus.DEFERRED)
        ),
        *(line for line in messages if line.section is BriefSection.UNSETTLED),
        *_latest(line for line in (_conflict_line(fact, names) for fact in disputed) if line is not None),
        *_latest(_stale_line(one, names) for one in stale),
        *_latest(_pattern_line(one) for one in patterns),
        *_latest(_precedent_line(one) for one in decisions if one.outcomes),
        *_latest(_gone_line(one) for one in gone),
        *_latest(
            _decision_line(BriefSection.IN_FORCE, one) for one in decisions if one.status is DecisionStatus.ACCEPTED
        ),
    ]  # fmt: skip
    return compose(about, since, lines, budget_tokens, bounded=bounded or more or others or unseen)


async def _messages(
    store: GraphStore, space: str, at: AsOf, about: str | None, nodes: Sequence[Node] | None, reader: str | None
) -> tuple[list[BriefLine], bool]:  # fmt: skip
    """Return what waits for the reader, or for whom the brief is about, and what waits for others.

    What nobody could settle comes before what is still to be read.
    """
    if nodes is None:
        owners, whose = None, [] if reader is None else [reader]
    else:
        owners = {one for one in (about, *(node.key for node in nodes)) if one is not None}
        actors = (node.key for node in nodes if node.kind is NodeKind.ACTOR)
        whose = list(dict.fromkeys(one for one in (about, *actors) if one is not None))
    unsettled, unseen = await unsettled_of(store, space, at, owners=owners)
    waiting, more = await inbox_of(store, space, whose, at)
    own = BriefSection.UNSETTLED if nodes is not None else BriefSection.YOURS
    mine = [one for one in unsettled if nodes is None and one.owner is not None and one.owner == reader]
    others = [one for one in unsettled if one not in mine]
    return [
        *_latest(_unsettled_line(BriefSection.YOURS, alike) for alike in by_cause(mine)),
        *_latest(_unsettled_line(BriefSection.UNSETTLED, alike) for alike in by_cause(others)),
        *(_waiting_line(own, one) for one in waiting),
    ], unseen or more


def _waiting_line(section: BriefSection, one: Waiting) -> BriefLine:
    words = f"{_day(one.recorded_at)} {one.channel}: {one.title}, from {one.source}"
    return BriefLine(section, _short(words), one.id, one.recorded_at)


def _unsettled_line(section: BriefSection, alike: Sequence[Unsettled]) -> BriefLine:
    """Tell of the dead letters of one cause, the newest first: all of them in one line, so that others have room."""
    one, tries = alike[0], "1 try" if alike[0].tries == 1 else f"{alike[0].tries} tries"
    if len(alike) == 1:
        asked = "nobody owns it" if one.owner is None else f"it waits for {one.owner}"
        what = f"{one.fault} after {tries}; {asked}"
    else:
        asked = "nobody owns them" if one.owner is None else f"they wait for {one.owner}"
        since = _day(alike[-1].recorded_at)
        what = f"{len(alike)} dead letters since {since}, {one.fault}; {asked}, `dead_letters` lists them; the latest"
    words = f"{_day(one.recorded_at)} {one.channel}: {what}: {_short(one.reason, 100)}"
    return BriefLine(section, _short(words), one.id, one.recorded_at)


def _pattern_line(pattern: ToldPattern) -> BriefLine:
    fading = "" if pattern.status is PatternStatus.OPEN else f" [{pattern.status.value}]"
    return BriefLine(BriefSection.PATTERNS, _short(pattern.statement) + fading, pattern.id, pattern.recorded_at)


def _precedent_line(decision: Decision) -> BriefLine:
    outcome = "; ".join(decision.outcomes)
    text = f"{outcome} followed {_day(decision.decided_at)} {_name(decision)} [{decision.status.value}]"
    return BriefLine(BriefSection.PRECEDENTS, _short(text), decision.id, decision.decided_at)


def _gone_line(decision: Decision) -> BriefLine:
    by = ", ".join(node.key or node.name for node in decision.superseded_by)
    text = f"{_name(decision)} is {decision.status.value}{' by ' + by if by else ''}"
    return BriefLine(BriefSection.SUPERSEDED, _short(text), decision.id, decision.decided_at)


async def _decisions(
    store: GraphStore, space: str, nodes: Sequence[Node] | None, at: AsOf
) -> tuple[list[Decision], bool]:
    """Read the decisions about *nodes* or those among them; of a whole space the latest that stand."""
    if nodes is None:
        where = {STATUS: [status.value for status in STANDING]}
        page = await store.list_nodes(
            space, NodeQuery(NodeKind.DECISION, where=where, first=_DECISIONS_MAX, newest=True), at
        )
        ids, bounded = [node.id for node in page.items], page.next is not None
    else:
        ids = [node.id for node in nodes if node.kind is NodeKind.DECISION]
        others = [node.id for node in nodes if node.kind is not NodeKind.DECISION]
        if others:
            edges = await store.facts(space, FactQuery(objects=others, predicates=[ABOUT]), at)
            ids += [fact.subject_id for fact in edges]
        ids = list(dict.fromkeys(ids))
        ids, bounded = ids[:_DECISIONS_MAX], len(ids) > _DECISIONS_MAX
    read = await decisions_by_id(store, space, ids, at)
    return [read[one] for one in ids if one in read], bounded


async def _gone_since(
    store: GraphStore, space: str, since: datetime, until: datetime, at: AsOf
) -> tuple[list[Decision], bool]:
    """Return the decisions whose status became one that nobody relies on, as recorded after *since*."""
    gone = {status.value for status in GONE}
    ids: dict[str, None] = {}
    after: str | None = None
    looked = 0
    while since < until and looked < _CHANGES_MAX:
        page = await store.changes(space, to_micros(since), to_micros(until), first=PAGE_MAX, after=after)
        looked += len(page.items)
        for change in page.items:
            value = change.fact.value
            if change.fact.predicate == STATUS and value is not None and value.text() in gone:
                ids[change.fact.subject_id] = None
        after = page.next
        if after is None:
            break
    listed = list(ids)
    read = await decisions_by_id(store, space, listed[:_DECISIONS_MAX], at)
    found = [one for one in read.values() if one.status in GONE]
    return found, after is not None or len(listed) > _DECISIONS_MAX


async def _subjects(
    store: GraphStore, space: str, decisions: Sequence[Decision], nodes: Sequence[Node] | None, at: AsOf
) -> list[str]:
    """Return whose facts may be disputed: what the decisions are about, and the nodes or the latest entities."""
    if nodes is None:
        page = await store.list_nodes(space, NodeQuery(NodeKind.ENTITY, first=_ENTITIES_MAX, newest=True), at)
        nodes = page.items
    ids = [*(node.id for node in nodes), *(node.id for one in decisions for node in one.about)]
    return list(dict.fromkeys(ids))[: 2 * _ENTITIES_MAX]


async def _names(
    store: GraphStore, space: str, stale: Sequence[Stale], disputed: Sequence[Fact], at: AsOf
) -> Mapping[str, Node]:
    """Read the nodes that the lines name."""
    facts = [piece.now for one in stale for piece in one.moved] + [
        piece.evidence.fact for one in stale for piece in one.moved
    ]
    ids = {fact.object_id for fact in [*facts, *disputed] if fact is not None}
    ids |= {fact.subject_id for fact in disputed}
    ids |= {fact.conflict.object_id for fact in disputed if fact.conflict is not None}
    return await store.nodes(space, ids=sorted(one for one in ids if one is not None), at=at)
