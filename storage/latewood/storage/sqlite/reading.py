"""Reads that build facts and nodes from rows: many ids at once, one state of the file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias, cast

from latewood.graph_schema.clock import FOREVER, AsOf, Clock, Micros, from_micros, parse_instant, to_micros
from latewood.graph_schema.errors import LimitError
from latewood.graph_schema.ids import id_text, is_id
from latewood.graph_schema.model import Conflict, Fact, Node, Source, Trust
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.graph_schema.resolution import Claim, Voice, challengers
from latewood.graph_schema.values import Json, Value, normal_key
from latewood.storage.port import FACTS_MAX, IDS_MAX, FactQuery, Point
from latewood.storage.rows import NodeRow
from latewood.storage.sqlite.database import Database
from latewood.storage.sqlite.stretches import holder_of_key
from latewood.storage.sqlite.writing import find_space, node_row

__all__ = ["NO_BOUND", "Reading", "check_count", "hex_list", "shown_row", "value_of"]

NO_BOUND: Final[Micros] = FOREVER - 1
"""The known_at of a read without one: after everything recorded, before `FOREVER`."""
_TRUST: Final[Mapping[int, Trust]] = {trust.level: trust for trust in Trust}
Row: TypeAlias = Sequence[object]


def hex_list(ids: Iterable[str]) -> str:
    """Write ids for a query's JSON list; what has not the form of an id names nothing and is left out."""
    return json.dumps([one.replace("-", "") for one in ids if is_id(one)])


def check_count(count: int) -> None:
    """Refuse a read of too many ids. Raises LimitError."""
    if count > IDS_MAX:
        raise LimitError(
            f"{count:,} ids in one read, more than {IDS_MAX:,}; page them", limit="IDS_MAX", maximum=IDS_MAX
        )


def _node(row: NodeRow) -> Node:
    return Node(
        row.id, row.kind, row.type, row.key, row.name, row.attributes, from_micros(row.recorded_at), row.version
    )


def value_of(payload: Mapping[str, Json]) -> Value | None:
    """Read a payload's value."""
    value = payload.get("value")
    if not isinstance(value, dict):
        return None
    unit = value.get("unit")
    return Value(cast("str", value["kind"]), value["data"], unit if isinstance(unit, str) else None)


def _text(payload: Mapping[str, Json], key: str) -> str | None:
    found = payload.get(key)
    return found if isinstance(found, str) else None


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
        self._sources: dict[str, tuple[Source, str]] = {}

    def instants(self, at: AsOf) -> tuple[Micros, Micros]:
        """Return (valid, known) for a read: now is max(clock, head), and no bound on what is known."""
        known = NO_BOUND if at.known_at is None else to_micros(at.known_at)
        return (self.now() if at.valid_at is None else to_micros(at.valid_at)), known

    def now(self) -> Micros:
        """Return max(clock, head)."""
        head = self.db.execute(self.sql["head"], (self.n, 0)).fetchone()
        now = self._clock.now()
        return now if head is None else max(now, cast("int", head[2]))

    def nodes(self, *, ids: Sequence[str], keys: Sequence[str], known_at: Micros) -> dict[str, Node]:
        """Return nodes by the id or key as asked."""
        check_count(len(ids) + len(keys))
        found: dict[str, Node] = {}
        if ids:
            for row in self.db.execute(self.sql["nodes_by_id"], (self.n, hex_list(ids))):
                node = node_row(row)
                if node.recorded_at <= known_at:
                    found[node.id] = _node(node)
        if keys:
            asked: dict[str, list[str]] = {}
            for key in keys:
                asked.setdefault(normal_key(key), []).append(key)
            for row in self.db.execute(self.sql["nodes_by_key"], (self.n, json.dumps(list(asked)))):
                node = node_row(row)
                if node.recorded_at <= known_at:
                    for key in asked[cast("str", row[9])]:
                        found[key] = _node(node)
        return found

    def nodes_by_row(self, numbers: Sequence[int]) -> dict[int, Node]:
        """Return nodes by their row numbers."""
        rows = self.db.execute(self.sql["node_rows"], (json.dumps(list(numbers)),))
        return {cast("int", row[0]): _node(node_row(row)) for row in rows}

    def _load_sources(self, ids: Iterable[str]) -> None:
        missing = [one for one in dict.fromkeys(ids) if one not in self._sources]
        if not missing:
            return
        for row in self.db.execute(self.sql["nodes_by_id"], (self.n, hex_list(missing))):
            node = node_row(row)
            said = node.attributes
            origin = _text(said, "origin") or ""
            source = Source(
                node.id, origin, _text(said, "method") or "asserted", _text(said, "actor") or "",
                _text(said, "session"), model=_text(said, "model"), prompt_version=_text(said, "prompt_version"),
                on_behalf_of=_text(said, "on_behalf_of"),
            )  # fmt: skip
            self._sources[node.id] = (source, origin)

    def _source(self, payload: Mapping[str, Json]) -> Source:
        source, _ = self._sources[cast("str", payload["source"])]
        quote, locator, time = _text(payload, "quote"), _text(payload, "locator"), _text(payload, "source_time")
        if quote is None and locator is None and time is None:
            return source
        return Source(
            source.id, source.origin, source.method, source.actor_id, source.session_id, quote, source.model,
            source.prompt_version, None if time is None else parse_instant(time), locator, source.on_behalf_of,
        )  # fmt: skip

    def build(self, rows: Sequence[Row], known_at: Micros) -> list[Fact]:
        """Make facts of rows of the fact queries (all of one shape)."""
        payloads: list[dict[str, Json]] = [json.loads(cast("str", row[11])) if row[11] else {} for row in rows]
        self._load_sources(cast("str", payload["source"]) for payload in payloads if payload)
        return [self._fact(row, payload, known_at) for row, payload in zip(rows, payloads, strict=True)]

    def _fact(self, row: Row, payload: Mapping[str, Json], known_at: Micros) -> Fact:
        _, raw_id, subject, predicate, kind, trust, known, start, end, recorded, _, _, retracted, why = row[:14]
        retired_at: Micros | None = cast("int | None", retracted)
        if retired_at is not None and retired_at > known_at:
            retired_at = None
        reason: str | None = None
        if retired_at is not None and why is not None:
            reason = _text(json.loads(cast("str", why)), "reason")
        return Fact(
            id=id_text(cast("bytes", raw_id)),
            subject_id=id_text(cast("bytes", subject)),
            predicate=cast("str", predicate),
            value=value_of(payload),
            object_id=_text(payload, "object"),
            valid_from=from_micros(cast("int", start)),
            valid_to=None if end is None else from_micros(cast("int", end)),
            valid_from_known=bool(known),
            recorded_at=from_micros(cast("int", recorded)),
            trust=_TRUST[cast("int", trust)],
            source=self._source(payload),
            absent=kind == "absent",
            as_written=_text(payload, "as_written"),
            retired_at=None if retired_at is None else from_micros(retired_at),
            retired_reason=reason,
            replaces=_text(payload, "replaces"),
        )

    def facts(self, query: FactQuery, at: AsOf) -> tuple[Fact, ...]:
        """Return the facts that hold, with their conflicts."""
        valid_at, known_at = self.instants(at)
        listed = query.subjects if query.subjects is not None else query.objects or ()
        check_count(len(listed))
        predicates = None if query.predicates is None else json.dumps(list(query.predicates))
        bindings: list[object] = [self.n, hex_list(dict.fromkeys(listed)), valid_at, known_at, FACTS_MAX + 1]
        if query.subjects is None:
            name = "holding_of_objects"
            bindings.append(predicates)
        elif predicates is None:
            name = "holding_of_subjects"
        else:
            name = "holding_of_subjects_predicates"
            bindings.append(predicates)
        rows = self.db.execute(self.sql[name], bindings).fetchall()
        if len(rows) > FACTS_MAX:
            msg = f"more than {FACTS_MAX:,} facts in one read; ask for fewer ids or predicates"
            raise LimitError(msg, limit="FACTS_MAX", maximum=FACTS_MAX)
        rows = list({row[0]: row for row in rows}.values())
        rows.sort(key=lambda row: (row[2], row[3], row[7], row[9], row[10]))
        facts = self.build(rows, known_at)
        for place, row in enumerate(rows):
            if row[16]:
                conflict = self._conflict(cast("int", row[15]), cast("int", row[0]), facts[place], valid_at, known_at)
                if conflict is not None:
                    facts[place] = replace(facts[place], conflict=conflict)
        return tuple(facts)

    def _said(self, payload: Mapping[str, Json], predicate: str) -> str:
        value = value_of(payload)
        if value is None:
            return f"@{payload.get('object')}"
        if value.unit is None:
            defined = self._words.predicates.get(predicate)
            value = Value(value.kind, value.data, defined.unit if defined else None)
        return value.canonical(self._words.units)

    def _conflict(self, k: int, e: int, holder: Fact, valid_at: Micros, known_at: Micros) -> Conflict | None:
        """Find the claims of another origin that say otherwise and start no earlier than the holder."""
        start = to_micros(holder.valid_from)
        rows = self.db.execute(self.sql["challengers"], (k, valid_at, known_at, start, e)).fetchall()
        payloads: dict[int, dict[str, Json]] = {
            cast("int", row[0]): json.loads(cast("str", row[10])) for row in rows if row[10]
        }
        self._load_sources(cast("str", payload["source"]) for payload in payloads.values())

        def origin(row: int) -> str:
            return self._sources[cast("str", payloads[row]["source"])][1]

        voices: dict[int, Voice] = {}
        for row in rows:
            number = cast("int", row[0])
            if number in payloads:
                claim = Claim(*cast("tuple[int, int, int, int, int, int, int, int]", row[:8]), absent=bool(row[8]))
                said = None if claim.absent else self._said(payloads[number], holder.predicate)
                voices[number] = Voice(claim, origin(number), said)
        against = challengers(voices[e], voices.values(), valid_at, known_at)
        if not against:
            return None
        strongest = against[0].claim.fact
        fact_id = next(id_text(cast("bytes", row[9])) for row in rows if row[0] == strongest)
        payload = payloads[strongest]
        return Conflict(fact_id, value_of(payload), _text(payload, "object"), len(against) - 1)

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
