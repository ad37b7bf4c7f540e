"""Decisions put together from their facts, many at once in a fixed number of reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, cast

from latewood.graph_schema.clock import NOW, AsOf, Micros, parse_instant, to_micros
from latewood.graph_schema.decisions import (
    ABOUT,
    BASED_ON,
    DECIDED_BY,
    IN_SESSION,
    LED_TO,
    OUTCOME,
    RECORD,
    STATUS,
    SUPERSEDES,
    TRIGGERED_BY,
    read_document,
)
from latewood.graph_schema.model import Decision, DecisionStatus, Evidence, Fact, Node
from latewood.graph_schema.values import Json
from latewood.reasoning.identity import carried_on
from latewood.storage.port import FactQuery, GraphStore, Point

__all__ = ["decisions_by_id", "evidence_of"]

_EVIDENCE: Final = (BASED_ON, TRIGGERED_BY, LED_TO)
_CORRECTIONS_MAX: Final = 32
"""Most corrections, one of another, that are followed back to the fact that was corrected first."""
_STATUSES: Final = {status.value: status for status in DecisionStatus}


def _moved(fact: Fact, holding: Fact | None, corrected: set[str]) -> str | None:
    """Say how a fact moved since: None when it still holds."""
    if fact.retired_at is not None:
        return "corrected" if fact.id in corrected else "retracted"
    if holding is None or holding.id == fact.id:
        return None
    return "ended" if holding.absent else "superseded"


async def _corrected(
    store: GraphStore, space: str, pairs: Iterable[tuple[Fact, Fact | None]], known_at: Micros | None
) -> set[str]:
    """Return the ids of the retired facts in whose place, by one correction or several, the other of the pair holds."""
    back = {one.id: holding.replaces for one, holding in pairs if one.retired_at is not None and holding is not None}
    found: set[str] = set()
    for _ in range(_CORRECTIONS_MAX):
        found |= {one for one, before in back.items() if one == before}
        asked = {before for one, before in back.items() if before is not None and one != before}
        if not asked:
            break
        told = await store.facts_by_id(space, sorted(asked), known_at=known_at)
        back = {one: told[before].replaces for one, before in back.items() if one != before and before in told}
    return found


async def evidence_of(store: GraphStore, space: str, edges: Sequence[Fact], at: AsOf = NOW) -> dict[str, Evidence]:
    """Resolve the targets of *edges* as they were known when each edge was recorded, by the edge's fact id."""
    targets = list(dict.fromkeys(fact.object_id for fact in edges if fact.object_id is not None))
    if not targets:
        return {}
    known_at = None if at.known_at is None else to_micros(at.known_at)
    valid_at = None if at.valid_at is None else to_micros(at.valid_at)
    facts = await store.facts_by_id(space, targets, known_at=known_at)
    # What a merge or a split moved says the same elsewhere, and is judged there.
    now = {**facts, **await carried_on(store, space, facts.values(), known_at)}
    points = [Point(now[one].id, valid_at, known_at) for one in facts]
    holding = dict(zip(facts, await store.held(space, points), strict=True))
    corrected = await _corrected(store, space, ((now[one], holding[one]) for one in facts), known_at)
    node_ids = {*(one for one in targets if one not in facts), *(fact.subject_id for fact in facts.values())}
    nodes = await store.nodes(space, ids=sorted(node_ids), at=at)
    found: dict[str, Evidence] = {}
    for link in edges:
        if link.object_id is None:
            continue
        fact = facts.get(link.object_id)
        node = nodes.get(fact.subject_id if fact is not None else link.object_id)
        moved = _moved(now[fact.id], holding[fact.id], corrected) if fact is not None else None
        found[link.id] = Evidence(link.object_id, link.recorded_at, _as_known(fact, link.recorded_at), node, moved)
    return found


def _as_known(fact: Fact | None, known_at: datetime) -> Fact | None:
    """Show *fact* as it was known then: a later retraction was not."""
    if fact is None or fact.retired_at is None or fact.retired_at <= known_at:
        return fact
    return replace(fact, retired_at=None, retired_reason=None)


def _group(facts: Iterable[Fact]) -> dict[str, dict[str, list[Fact]]]:
    grouped: dict[str, dict[str, list[Fact]]] = {}
    for fact in facts:
        grouped.setdefault(fact.subject_id, {}).setdefault(fact.predicate, []).append(fact)
    return grouped


def _targets(facts: Mapping[str, list[Fact]], predicate: str, nodes: Mapping[str, Node]) -> tuple[Node, ...]:
    found = (nodes.get(fact.object_id or "") for fact in facts.get(predicate, ()))
    return tuple(node for node in found if node is not None)


def _build(
    node: Node, facts: Mapping[str, list[Fact]], nodes: Mapping[str, Node], evidence: Mapping[str, Evidence],
    superseded_by: Sequence[Node],
) -> Decision | None:  # fmt: skip
    records = facts.get(RECORD)
    if not records or records[0].value is None:
        return None
    record, status = records[0], (facts.get(STATUS) or [None])[0]
    document = cast("dict[str, Json]", records[0].value.data)
    text = read_document(document)
    decided = document.get("decided_at")
    said = status.value.text() if status is not None and status.value is not None else DecisionStatus.PROPOSED.value

    def pieces(predicate: str) -> tuple[Evidence, ...]:
        return tuple(evidence[fact.id] for fact in facts.get(predicate, ()) if fact.id in evidence)

    return Decision(
        id=node.id,
        key=node.key,
        title=text.title,
        status=_STATUSES.get(said, DecisionStatus.PROPOSED),
        source_status=status.as_written if status is not None else None,
        question=text.question,
        choice=text.choice,
        rationale=text.rationale,
        consequences=text.consequences,
        confidence=text.confidence,
        expected_outcome=text.expected_outcome,
        alternatives=text.alternatives,
        decided_at=parse_instant(decided) if isinstance(decided, str) else record.valid_from,
        recorded_at=node.recorded_at,
        version=node.version,
        record_id=record.id,
        status_id=status.id if status is not None else None,
        decided_by=_targets(facts, DECIDED_BY, nodes),
        about=_targets(facts, ABOUT, nodes),
        session=next(iter(_targets(facts, IN_SESSION, nodes)), None),
        # A tombstone is no decision any more.
        supersedes=tuple(one for one in _targets(facts, SUPERSEDES, nodes) if not one.erased),
        superseded_by=tuple(superseded_by),
        triggered_by=pieces(TRIGGERED_BY),
        led_to=pieces(LED_TO),
        evidence=pieces(BASED_ON),
        outcomes=tuple(fact.value.text() for fact in facts.get(OUTCOME, ()) if fact.value is not None),
        source=record.source,
        extra=text.extra,
    )


async def decisions_by_id(store: GraphStore, space: str, ids: Sequence[str], at: AsOf = NOW) -> dict[str, Decision]:
    """Read decisions as of *at*, by id. What is no decision, or was not known then, is left out.

    Six reads, however many ids.
    """
    if not ids:
        return {}
    nodes = await store.nodes(space, ids=ids, at=at)
    facts = await store.facts(space, FactQuery(subjects=list(nodes)), at)
    incoming = await store.facts(space, FactQuery(objects=list(nodes), predicates=[SUPERSEDES]), at)
    related = {fact.object_id for fact in facts if fact.object_id is not None and fact.predicate not in _EVIDENCE}
    related |= {fact.subject_id for fact in incoming}
    others = await store.nodes(space, ids=sorted(related - set(nodes)), at=at) if related - set(nodes) else {}
    known = {**nodes, **others}
    evidence = await evidence_of(store, space, [fact for fact in facts if fact.predicate in _EVIDENCE], at)
    successors: dict[str, list[Node]] = {}
    for fact in incoming:
        if fact.object_id is not None and fact.subject_id in known:
            successors.setdefault(fact.object_id, []).append(known[fact.subject_id])
    grouped = _group(facts)
    found: dict[str, Decision] = {}
    for node_id, node in nodes.items():
        decision = _build(node, grouped.get(node_id, {}), known, evidence, successors.get(node_id, ()))
        if decision is not None:
            found[node_id] = decision
    return found
