"""Why: the whole chain behind a decision, each line with its source.

From what made it necessary, through the evidence as it was known then, the rationale and the rejected alternatives, to
who decided and what followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from latewood.graph_schema.clock import NOW, AsOf, iso
from latewood.graph_schema.model import Decision, Evidence, Fact, Node, NodeKind, Source
from latewood.reasoning.decisions import decisions_by_id
from latewood.reasoning.handoffs import causes
from latewood.reasoning.patterns.told import HOLDING, told_patterns
from latewood.storage.port import GraphStore

__all__ = ["FOLLOW_MAX", "Line", "Why", "why_decision"]

FOLLOW_MAX: Final = 100
"""Most decisions followed in each direction of a chain of successors."""


@dataclass(frozen=True, slots=True)
class Line:
    """One step of the chain in words.

    Attributes:
        role: before (messages that it followed from, and what those did, in other agents' hands), trigger, evidence,
            question, choice, rationale, alternative, consequences, who, session, status, outcome, followed or replaced.
        ref: the id of the node or fact it is about.
    """

    role: str
    text: str
    ref: str | None
    source: Source | None


@dataclass(frozen=True, slots=True)
class Why:
    """A decision and its chain.

    Attributes:
        predecessors: decisions it took the place of, nearest first, transitively.
        successors: decisions that took its place, nearest first, transitively.
        in_force: those of decision and successors that stand: not superseded, withdrawn, rejected or reversed.
        truncated: the chain was longer than `FOLLOW_MAX`.
    """

    decision: Decision
    predecessors: tuple[Decision, ...]
    successors: tuple[Decision, ...]
    in_force: tuple[Decision, ...]
    lines: tuple[Line, ...]
    truncated: bool = False


_GONE: Final = frozenset({"superseded", "withdrawn", "rejected", "reversed", "deprecated"})


def _name(decision: Decision) -> str:
    return f"{decision.key} {decision.title}" if decision.key else decision.title


def _fact_words(fact: Fact, node: Node | None) -> str:
    said = fact.value.text() if fact.value is not None else (fact.object_id or "erased")
    period = iso(fact.valid_from) + (f" to {iso(fact.valid_to)}" if fact.valid_to else "")
    return f"{node.name if node else fact.subject_id} {fact.predicate} = {said} ({period})"


def _evidence_line(role: str, piece: Evidence, patterns: Mapping[str, str]) -> Line:
    if piece.fact is not None:
        words = _fact_words(piece.fact, piece.node)
        source = piece.fact.source
    else:
        words, source = patterns.get(piece.id) or (piece.node.name if piece.node else piece.id), None
    moved = f" [since {piece.moved}]" if piece.moved else ""
    return Line(role, words + moved, piece.id, source)


async def _patterns(store: GraphStore, space: str, decision: Decision, at: AsOf) -> dict[str, str]:
    """Say what the patterns that *decision* rests on said when it was taken, and where they stand since."""
    pieces = [
        piece
        for piece in (*decision.triggered_by, *decision.evidence, *decision.led_to)
        if piece.node is not None and piece.node.kind is NodeKind.PATTERN
    ]
    now = await told_patterns(store, space, [piece.id for piece in pieces], at)
    words: dict[str, str] = {}
    for pinned in sorted({piece.pinned_at for piece in pieces}):
        ids = [piece.id for piece in pieces if piece.pinned_at == pinned]
        then = await told_patterns(store, space, ids, AsOf(known_at=pinned))
        for one in ids:
            told = then.get(one) or now.get(one)
            if told is None:
                continue
            since = now[one].status if one in now else told.status
            moved = "" if since in HOLDING else f" [since {since.value}]"
            words[one] = told.statement + moved
    return words


def _lines(
    decision: Decision, predecessors: Sequence[Decision], successors: Sequence[Decision], patterns: Mapping[str, str]
) -> tuple[Line, ...]:
    said = decision.source
    lines = [_evidence_line("trigger", piece, patterns) for piece in decision.triggered_by]
    lines += [_evidence_line("evidence", piece, patterns) for piece in decision.evidence]
    words = [
        ("question", decision.question),
        ("choice", decision.choice or decision.title),
        ("rationale", decision.rationale),
        *(
            ("alternative", one.title + (f": {one.rejected_because}" if one.rejected_because else ""))
            for one in decision.alternatives
        ),
        ("consequences", decision.consequences),
    ]
    lines += [Line(role, text, decision.record_id, said) for role, text in words if text]
    lines += [Line("who", node.name, node.id, said) for node in decision.decided_by]
    if decision.session is not None:
        lines.append(Line("session", decision.session.name, decision.session.id, said))
    status = decision.status.value + (f" ({decision.source_status})" if decision.source_status else "")
    lines.append(Line("status", status, decision.status_id, said))
    lines += [Line("outcome", text, decision.id, said) for text in decision.outcomes]
    lines += [_evidence_line("followed", piece, patterns) for piece in decision.led_to]
    lines += [Line("replaced", _name(one), one.id, one.source) for one in predecessors]
    lines += [
        Line("followed", f"superseded by {_name(one)}, {one.status.value}", one.id, one.source) for one in successors
    ]
    return tuple(lines)


async def _follow(
    store: GraphStore, space: str, start: Decision, at: AsOf, *, forward: bool
) -> tuple[tuple[Decision, ...], bool]:
    """Walk the supersessions from *start* breadth first; bounded, and safe against cycles."""
    seen = {start.id}
    found: list[Decision] = []
    wave = [start]
    while wave and len(found) < FOLLOW_MAX:
        ids = [node.id for one in wave for node in (one.superseded_by if forward else one.supersedes)]
        fresh = [node_id for node_id in dict.fromkeys(ids) if node_id not in seen][: FOLLOW_MAX - len(found)]
        seen.update(fresh)
        read = await decisions_by_id(store, space, fresh, at)
        wave = [read[node_id] for node_id in fresh if node_id in read]
        found += wave
    return tuple(found), bool(wave)


async def why_decision(store: GraphStore, space: str, decision: Decision, at: AsOf = NOW) -> Why:
    """Gather the chain behind *decision* as of *at*."""
    predecessors, cut_back = await _follow(store, space, decision, at, forward=False)
    successors, cut_on = await _follow(store, space, decision, at, forward=True)
    in_force = tuple(one for one in (decision, *successors) if one.status.value not in _GONE)
    before, cut_before = await causes(store, space, decision.id, at)
    handed = [Line("before", f"{node.kind.value} {node.name}", node.id, None) for node in reversed(before)]
    lines = (*handed, *_lines(decision, predecessors, successors, await _patterns(store, space, decision, at)))
    return Why(decision, predecessors, successors, in_force, lines, truncated=cut_back or cut_on or cut_before)
