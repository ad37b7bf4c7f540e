"""Reads that build facts and nodes from rows: many ids at once, bounded by the head that was read first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from latewood.graph_schema.clock import AsOf, Clock, Micros, from_micros, to_micros
from latewood.graph_schema.ids import is_id, normal_id
from latewood.graph_schema.model import Conflict, Fact, LedgerName, Node, Source
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.graph_schema.values import normal_key
from latewood.storage.bounds import check_count, check_facts
from latewood.storage.building import Challenger, StoredFact, build_facts, conflict_of, node_of, said_by
from latewood.storage.names import unknown_space
from latewood.storage.neo4j.database import Engine, Query, Row, head_of
from latewood.storage.neo4j.gathering import node_row, space_row
from latewood.storage.neo4j.keys import claim_of
from latewood.storage.neo4j.versions import nodes_at
from latewood.storage.port import FACTS_MAX, FactQuery, Point
from latewood.storage.rows import NodeRow

__all__ = ["Reading", "ids_in", "instant"]

_LAST: Final[Micros] = 253_402_300_799_999_999
_FIRST: Final[Micros] = -62_135_596_800_000_000
_FACT_COLUMNS: Final = 14


def instant(at: Micros) -> datetime:
    """Write microseconds for a query; what lies outside the years 1 to 9999 counts as their ends."""
    return from_micros(max(_FIRST, min(_LAST, at)))


def ids_in(ids: Iterable[str]) -> list[str]:
    """Write ids for a query; what has not the form of an id names nothing and is left out."""
    return list(dict.fromkeys(normal_id(one) for one in ids if is_id(one)))


def stored_fact(row: Row) -> StoredFact:
    """Read the `fact` columns of a row."""
    fact_id, subject, predicate, absent, trust, known, start, end, recorded, payload, retracted, why = row[:12]
    return StoredFact(
        fact_id, subject, predicate, absent, trust, known, start, end, recorded, json.loads(payload) if payload else {},
        retracted, why,
    )  # fmt: skip


class Reading:
    """One read of one space; made inside its transaction and thrown away.

    Attributes:
        listed: whether the statuses that nodes are noted with reach to the heads.
    """

    def __init__(self, query: Query, engine: Engine, tenant: str, space: str, clock: Clock, words: Vocabulary) -> None:
        """Read *space* of *tenant*, up to heads that are wholly visible. Raises NotFoundError (``space.unknown``)."""
        self.query = query
        rows = query("space", tenant=tenant, name=space)
        if not rows:
            raise unknown_space(space, [row[2] for row in query("spaces", tenant=tenant)])
        self.n, self.space = space_row(rows[0])
        self.listed = all(head[5] == head[1] for head in rows[0][7])
        self.heads = engine.bounds(self.n, {head[0]: head_of(head[1:]) for head in rows[0][7]})
        self._clock = clock
        self._words = words
        self._sources: dict[str, Source] = {}

    def instants(self, at: AsOf) -> tuple[Micros, Micros]:
        """Return (valid, known) for a read: now is max(clock, head), and what is known is bounded by the heads."""
        known = self.known(None if at.known_at is None else to_micros(at.known_at))
        return (self.now() if at.valid_at is None else to_micros(at.valid_at)), known

    def known(self, known_at: Micros | None = None) -> Micros:
        """Return *known_at* or the later of the heads, whichever is earlier: every statement sees one state of these.

        What is recorded after the heads may be there by halves; whoever writes to either ledger records it after both.
        """
        last = max(head.recorded_at for head in self.heads.values())
        return last if known_at is None else min(known_at, last)

    def seqs(self) -> dict[LedgerName, int]:
        """Return the seq of each ledger's head."""
        return {ledger: head.seq for ledger, head in self.heads.items()}

    def seq(self, ledger: LedgerName) -> int:
        """Return the seq of a ledger's head."""
        return self.heads[ledger].seq

    def now(self) -> Micros:
        """Return max(clock, heads)."""
        return max(self._clock.now(), *(head.recorded_at for head in self.heads.values()))

    def nodes(self, *, ids: Sequence[str], keys: Sequence[str], known_at: Micros) -> dict[str, Node]:
        """Return nodes by the id or key as asked."""
        check_count(len(ids) + len(keys))
        found: dict[str, Node] = {}
        if ids:
            for node in self.shown(self.query("nodes_by_id", space=self.n, ids=ids_in(ids))):
                if node.recorded_at <= known_at:
                    found[node.id] = node_of(node)
        if keys:
            asked: dict[str, list[str]] = {}
            for key in keys:
                asked.setdefault(normal_key(key), []).append(key)
            rows = self.query("nodes_by_key", space=self.n, keys=list(asked))
            for row, node in zip(rows, self.shown(rows), strict=True):
                if node.recorded_at <= known_at:
                    for key in asked[row[8]]:
                        found[key] = node_of(node)
        return found

    def shown(self, rows: Sequence[Row]) -> list[NodeRow]:
        """Make nodes of rows that begin with the `node` columns, as they were at the heads."""
        return nodes_at(self.query, self.n, self.heads, rows)

    def sources(self, ids: Iterable[str]) -> Mapping[str, Source]:
        """Return sources by their node ids."""
        missing = [one for one in dict.fromkeys(ids) if one not in self._sources]
        if missing:
            for row in self.query("nodes_by_id", space=self.n, ids=missing):
                source = said_by(node_row(row))
                self._sources[source.id] = source
        return self._sources

    def build(self, rows: Iterable[Row], known_at: Micros) -> list[Fact]:
        """Make facts of rows that begin with the `fact` columns."""
        return build_facts((stored_fact(row) for row in rows), known_at, self.sources)

    def facts(self, query: FactQuery, at: AsOf) -> tuple[Fact, ...]:
        """Return the facts that hold, with their conflicts."""
        valid_at, known_at = self.instants(at)
        listed = query.subjects if query.subjects is not None else query.objects or ()
        check_count(len(listed))
        rows = self.query(
            f"{'standing' if query.standing else 'holding'}_of_{'objects' if query.subjects is None else 'subjects'}",
            space=self.n, ids=ids_in(listed), t=instant(valid_at), r=instant(known_at), most=FACTS_MAX + 1,
            predicates=None if query.predicates is None else list(query.predicates),
        )  # fmt: skip
        check_facts(len(rows))
        rows.sort(key=lambda row: (row[1], row[2], row[6], row[8], row[12]))
        facts = self.build(rows, known_at)
        contested = [fact for fact, row in zip(facts, rows, strict=True) if row[_FACT_COLUMNS]]
        conflicts = self._conflicts(contested, valid_at, known_at)
        return tuple(replace(fact, conflict=conflicts.get(fact.id)) for fact in facts) if conflicts else tuple(facts)

    def _conflicts(self, facts: Sequence[Fact], valid_at: Micros, known_at: Micros) -> dict[str, Conflict]:
        """Find the claims of another origin that say otherwise and start no earlier than each of *facts*."""
        if not facts:
            return {}
        against: dict[str, list[Challenger]] = {}
        ids = [fact.id for fact in facts]
        for fact_id, row, payload in self.query(
            "challengers", space=self.n, facts=ids, t=instant(valid_at), r=instant(known_at)
        ):
            claim, ref = claim_of(row)
            # What was taken back later still counted then; the query left out what no longer did.
            said: dict[str, Any] = json.loads(payload) if payload else {}
            against.setdefault(fact_id, []).append(Challenger(claim, ref.id, said))
        found: dict[str, Conflict] = {}
        for fact in facts:
            conflict = conflict_of(fact, against.get(fact.id, ()), valid_at, known_at, self._words, self.sources)
            if conflict is not None:
                found[fact.id] = conflict
        return found

    def facts_by_id(self, ids: Sequence[str], known_at: Micros | None) -> dict[str, Fact]:
        """Return assertions by id, retracted ones too."""
        check_count(len(ids))
        known_at = self.known(known_at)
        rows = self.query("facts_by_id", space=self.n, ids=ids_in(ids), r=instant(known_at))
        return {fact.id: fact for fact in self.build(rows, known_at)}

    def held(self, points: Sequence[Point]) -> tuple[Fact | None, ...]:
        """Return what holds for the key of each point's fact."""
        check_count(len(points))
        now = self.now()
        known = [self.known(point.known_at) for point in points]
        asked = [
            {
                "n": n, "fact": normal_id(point.fact), "r": instant(known[n]),
                "t": instant(now if point.valid_at is None else point.valid_at),
            }
            for n, point in enumerate(points)
        ]  # fmt: skip
        found: list[Fact | None] = [None] * len(points)
        rows = self.query("holders", space=self.n, points=asked)
        self.sources(json.loads(row[10])["source"] for row in rows if row[10])
        for n, *row in rows:
            found[n] = self.build([row], known[int(n)])[0]
        return tuple(found)
