"""Reads that build facts and nodes from rows: many ids at once, one state of the file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias, cast

from latewood.graph_schema.clock import FOREVER, AsOf, Clock, Micros, to_micros
from latewood.graph_schema.ids import id_text, is_id
from latewood.graph_schema.model import Conflict, Fact, Node, Source
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.graph_schema.resolution import Claim
from latewood.graph_schema.values import Json, normal_key
from latewood.storage.bounds import check_count, check_facts
from latewood.storage.building import (
    Challenger,
    StoredFact,
    build_facts,
    conflict_of,
    node_of,
    reason_of,
    said_by,
)
from latewood.storage.port import FACTS_MAX, FactQuery, Point
from latewood.storage.sqlite.database import Database
from latewood.storage.sqlite.records import find_space, node_row
from latewood.storage.sqlite.stretches import holder_of_key

__all__ = ["NO_BOUND", "Reading", "hex_list", "shown_row"]

NO_BOUND: Final[Micros] = FOREVER - 1
"""The known_at of a read without one: after everything recorded, before `FOREVER`."""
Row: TypeAlias = Sequence[object]


def hex_list(ids: Iterable[str]) -> str:
    """Write ids for a query's JSON list; what has not the form of an id names nothing and is left out."""
    return json.dumps([one.replace("-", "") for one in ids if is_id(one)])


def _stored(row: Row) -> StoredFact:
    """Read a row of the fact queries (all of one shape)."""
    _, raw_id, subject, predicate, kind, trust, known, start, end, recorded, _, payload, retracted, why = row[:14]
    return StoredFact(
        id_text(cast("bytes", raw_id)), id_text(cast("bytes", subject)), cast("str", predicate), kind == "absent",
        cast("int", trust), bool(known), cast("int", start), cast("int | None", end), cast("int", recorded),
        json.loads(cast("str", payload)) if payload else {}, cast("int | None", retracted),
        reason_of(cast("str | None", why)),
    )  # fmt: skip


class Reading:
    """One read of one space; made inside its transaction and thrown away."""

    def __init__(
        self, connection: Database, sql: Mapping[str, str], tenant: str, space: str, clock: Clock,
        words: Vocabulary,
    ) -> None:  # fmt: skip
        """Read *space* of *tenant*. Raises NotFoundError (``space.unknown``)."""
        self.db = connection
        self.sql = sql
        self.n, self.space = find_space(connection, sql, tenant, space)
        self._clock = clock
        self._words = words
        self._sources: dict[str, Source] = {}

    def instants(self, at: AsOf) -> tuple[Micros, Micros]:
        """Return (valid, known) for a read: now is max(clock, head), and no bound on what is known."""
        known = NO_BOUND if at.known_at is None else to_micros(at.known_at)
        return (self.now() if at.valid_at is None else to_micros(at.valid_at)), known

    def now(self) -> Micros:
        """Return max(clock, heads)."""
        heads = self.db.execute(self.sql["heads"], (self.n,))
        return max(self._clock.now(), *(cast("int", head[3]) for head in heads), 0)

    def nodes(self, *, ids: Sequence[str], keys: Sequence[str], known_at: Micros) -> dict[str, Node]:
        """Return nodes by the id or key as asked."""
        check_count(len(ids) + len(keys))
        found: dict[str, Node] = {}
        if ids:
            for row in self.db.execute(self.sql["nodes_by_id"], (self.n, hex_list(ids))):
                node = node_row(row)
                if node.recorded_at <= known_at:
                    found[node.id] = node_of(node)
        if keys:
            asked: dict[str, list[str]] = {}
            for key in keys:
                asked.setdefault(normal_key(key), []).append(key)
            for row in self.db.execute(self.sql["nodes_by_key"], (self.n, json.dumps(list(asked)))):
                node = node_row(row)
                if node.recorded_at <= known_at:
                    for key in asked[cast("str", row[9])]:
                        found[key] = node_of(node)
        return found

    def nodes_by_row(self, numbers: Sequence[int]) -> dict[int, Node]:
        """Return nodes by their row numbers."""
        rows = self.db.execute(self.sql["node_rows"], (json.dumps(list(numbers)),))
        return {cast("int", row[0]): node_of(node_row(row)) for row in rows}

    def sources(self, ids: Iterable[str]) -> Mapping[str, Source]:
        """Return sources by their node ids."""
        missing = [one for one in dict.fromkeys(ids) if one not in self._sources]
        if missing:
            for row in self.db.execute(self.sql["nodes_by_id"], (self.n, hex_list(missing))):
                source = said_by(node_row(row))
                self._sources[source.id] = source
        return self._sources

    def build(self, rows: Sequence[Row], known_at: Micros) -> list[Fact]:
        """Make facts of rows of the fact queries."""
        return build_facts((_stored(row) for row in rows), known_at, self.sources)

    def facts(self, query: FactQuery, at: AsOf) -> tuple[Fact, ...]:
        """Return the facts that hold, with their conflicts."""
        valid_at, known_at = self.instants(at)
        listed = query.subjects if query.subjects is not None else query.objects or ()
        check_count(len(listed))
        predicates = None if query.predicates is None else json.dumps(list(query.predicates))
        bindings: list[object] = [self.n, hex_list(dict.fromkeys(listed)), valid_at, known_at, FACTS_MAX + 1]
        if query.standing:
            name = "standing_of_objects" if query.subjects is None else "standing_of_subjects"
            bindings.append(predicates)
        elif query.subjects is None:
            name = "holding_of_objects"
            bindings.append(predicates)
        elif predicates is None:
            name = "holding_of_subjects"
        else:
            name = "holding_of_subjects_predicates"
            bindings.append(predicates)
        rows = self.db.execute(self.sql[name], bindings).fetchall()
        check_facts(len(rows))
        rows = list({row[0]: row for row in rows}.values())
        rows.sort(key=lambda row: (row[2], row[3], row[7], row[9], row[10]))
        facts = self.build(rows, known_at)
        for place, row in enumerate(rows):
            if row[16]:
                conflict = self._conflict(cast("int", row[15]), cast("int", row[0]), facts[place], valid_at, known_at)
                if conflict is not None:
                    facts[place] = replace(facts[place], conflict=conflict)
        return tuple(facts)

    def _conflict(self, k: int, e: int, holder: Fact, valid_at: Micros, known_at: Micros) -> Conflict | None:
        """Find the claims of another origin that say otherwise and start no earlier than the holder."""
        start = to_micros(holder.valid_from)
        found: list[Challenger] = []
        for row in self.db.execute(self.sql["challengers"], (k, valid_at, known_at, start, e)).fetchall():
            claim = Claim(*cast("tuple[int, int, int, int, int, int, int, int]", row[:8]), absent=bool(row[8]))
            payload: dict[str, Json] = json.loads(cast("str", row[10])) if row[10] else {}
            found.append(Challenger(claim, id_text(cast("bytes", row[9])), payload))
        return conflict_of(holder, found, valid_at, known_at, self._words, self.sources)

    def facts_by_id(self, ids: Sequence[str], known_at: Micros) -> dict[str, Fact]:
        """Return assertions by id, retracted ones too."""
        check_count(len(ids))
        rows = self.db.execute(self.sql["facts_by_id"], (self.n, hex_list(ids), known_at)).fetchall()
        return {fact.id: fact for fact in self.build([shown_row(row) for row in rows], known_at)}

    def facts_by_row(self, numbers: Sequence[int], known_at: Micros) -> dict[int, Fact]:
        """Return assertions by their row numbers."""
        rows = self.db.execute(self.sql["facts_by_row"], (json.dumps(list(numbers)),)).fetchall()
        built = self.build([shown_row(row) for row in rows], known_at)
        return {cast("int", row[0]): fact for row, fact in zip(rows, built, strict=True)}

    def held(self, points: Sequence[Point]) -> tuple[Fact | None, ...]:
        """Return what holds for the key of each point's fact."""
        check_count(len(points))
        rows = self.db.execute(self.sql["keys_of_facts"], (self.n, hex_list(dict.fromkeys(p.fact for p in points))))
        keys = {id_text(cast("bytes", row[0])): cast("int", row[1]) for row in rows}
        now = self.now()
        holders: list[int | None] = []
        for point in points:
            k = keys.get(point.fact)
            valid_at = now if point.valid_at is None else point.valid_at
            known_at = NO_BOUND if point.known_at is None else point.known_at
            holders.append(None if k is None else holder_of_key(self.db, self.sql, k, valid_at, known_at))
        facts: dict[tuple[int, Micros], Fact] = {}
        for known_at in {NO_BOUND if p.known_at is None else p.known_at for p in points}:
            wanted = [
                e for e, p in zip(holders, points, strict=True)
                if e is not None and known_at == (NO_BOUND if p.known_at is None else p.known_at)
            ]  # fmt: skip
            for e, fact in self.facts_by_row(sorted(set(wanted)), known_at).items():
                facts[e, known_at] = fact
        return tuple(
            None if e is None else facts[e, NO_BOUND if p.known_at is None else p.known_at]
            for e, p in zip(holders, points, strict=True)
        )


def shown_row(row: Row) -> Row:
    """Show an open `retracted_at` as None."""
    return (*row[:12], None if row[12] == FOREVER else row[12], *row[13:])
