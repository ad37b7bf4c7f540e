"""What became of decisions, and where sources disagree: gathered for the detectors that look at more than series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.decisions import OUTCOME
from latewood.graph_schema.model import Decision, DecisionStatus, Fact, NodeKind
from latewood.reasoning.decisions import decisions_by_id
from latewood.reasoning.patterns.port import Dispute, Shaken, Taken
from latewood.reasoning.stale import Stale, stale_among
from latewood.storage.port import PAGE_MAX, FactQuery, GraphStore, NodeQuery

__all__ = ["DECISIONS_LOOKED_AT_MAX", "decisions_taken", "disputes"]

DECISIONS_LOOKED_AT_MAX: Final = 5_000
"""Most decisions of one look, the latest."""
_DISPUTED_MAX: Final = 5_000
_READ_DECISIONS: Final = 200
_READ_PLACES: Final = 200
"""Places of one read: even where each subject has each predicate of them, fewer facts than a read may have."""
_Part = TypeVar("_Part")
_ENDED_BADLY: Final = (DecisionStatus.REVERSED, DecisionStatus.WITHDRAWN)
_NEVER_TAKEN: Final = (DecisionStatus.PROPOSED, DecisionStatus.DEFERRED, DecisionStatus.REJECTED)


async def disputes(
    store: GraphStore, space: str, single: Sequence[tuple[str, str]], multi: Sequence[tuple[str, str]] = ()
) -> tuple[Dispute, ...]:
    """Return where sources disagree now, of subjects and their predicates, at most `_DISPUTED_MAX` of them.

    Args:
        single: have one value at a time, so that of each one fact is read, however much was ever said of its subject.
        multi: have many values; all that hold are read, for each by itself.
    """
    found: dict[tuple[str, str], Dispute] = {}
    queries = [
        FactQuery(subjects=sorted({one[0] for one in part}), predicates=sorted({one[1] for one in part}))
        for part in _parts(sorted(single)[:_DISPUTED_MAX], _READ_PLACES)
    ]
    queries += [FactQuery(subjects=[one[0]], predicates=[one[1]]) for one in sorted(multi)[:_DISPUTED_MAX]]
    for query in queries:
        for fact in await store.facts(space, query):
            if fact.conflict is not None:
                one = Dispute(
                    fact.subject_id, fact.predicate, fact.id, fact.conflict.challenger_id, fact.conflict.others,
                    to_micros(fact.valid_from),
                )  # fmt: skip
                found.setdefault((fact.subject_id, fact.predicate), one)
    return tuple(found[key] for key in sorted(found))


async def decisions_taken(store: GraphStore, space: str) -> tuple[tuple[Taken, ...], tuple[Shaken, ...]]:
    """Return what became of decisions, and those that stand on evidence that moved."""
    ids: list[str] = []
    after: str | None = None
    while len(ids) < DECISIONS_LOOKED_AT_MAX:
        query = NodeQuery(NodeKind.DECISION, first=PAGE_MAX, after=after, newest=True)
        page = await store.list_nodes(space, query)
        ids += [node.id for node in page.items]
        after = page.next
        if after is None:
            break
    taken: list[Taken] = []
    shaken: list[Shaken] = []
    for part in _parts(ids[:DECISIONS_LOOKED_AT_MAX], _READ_DECISIONS):
        read = list((await decisions_by_id(store, space, part)).values())
        judged = await _judged(store, space, part)
        taken += [_taken(one, judged.get(one.id)) for one in read if one.status not in _NEVER_TAKEN]
        shaken += [_shaken(one) for one in await stale_among(store, space, read)]
    return tuple(sorted(taken, key=lambda one: (one.time, one.decision))), tuple(
        sorted(shaken, key=lambda one: one.decision)
    )


async def _judged(store: GraphStore, space: str, decisions: Sequence[str]) -> Mapping[str, Fact]:
    """Return of each decision the outcome that says yes or no: of several the one that was true last."""
    found: dict[str, Fact] = {}
    for fact in await store.facts(space, FactQuery(subjects=decisions, predicates=[OUTCOME])):
        if fact.value is None or not isinstance(fact.value.data, bool):
            continue
        known = found.setdefault(fact.subject_id, fact)
        if (fact.valid_from, fact.recorded_at, fact.id) > (known.valid_from, known.recorded_at, known.id):
            found[fact.subject_id] = fact
    return found


def _taken(one: Decision, judged: Fact | None) -> Taken:
    groups = sorted({node.id for node in (*one.about, *one.decided_by)})
    ended = one.status in _ENDED_BADLY
    failed = judged is not None and judged.value is not None and judged.value.data is False
    told = judged.id if judged is not None and failed and not ended else one.status_id or one.record_id
    return Taken(one.id, tuple(groups), to_micros(one.decided_at), told, ended or failed)


def _shaken(stale: Stale) -> Shaken:
    pieces = sorted(stale.moved, key=lambda piece: piece.evidence.id)
    since = [to_micros(piece.now.recorded_at) for piece in pieces if piece.now is not None]
    return Shaken(
        stale.decision.id, stale.decision.record_id, tuple(piece.evidence.id for piece in pieces),
        tuple(piece.how for piece in pieces), tuple(piece.now.id for piece in pieces if piece.now is not None),
        max(since, default=to_micros(stale.decision.decided_at)),
    )  # fmt: skip


def _parts(ids: Sequence[_Part], size: int) -> Iterator[Sequence[_Part]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
