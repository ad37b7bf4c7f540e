"""Rebuilding the views of a space in Neo4j: nodes, then facts, then keys with their stretches, then receipts, strays.

Other subjects' relations need the nodes and facts that they lead to, so each kind is whole in the space before the next
begins. A read of Neo4j is not of one state: what seems to differ is looked at again under the lock of both heads, where
nobody writes, before it is said or repaired.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from neo4j.time import DateTime

from latewood.graph_schema.clock import FOREVER, Micros, from_micros, to_micros
from latewood.graph_schema.events import Event, EventKind
from latewood.graph_schema.model import LEDGERS
from latewood.graph_schema.resolution import Stretch
from latewood.graph_schema.values import Json
from latewood.storage.deriving import (
    Buried,
    DerivedKey,
    DerivedNode,
    Row,
    buried,
    derive_key,
    derive_nodes,
    derive_receipt,
    receipt_mended,
    rows_by_key,
)
from latewood.storage.neo4j import statuses, waiting
from latewood.storage.neo4j.database import Query
from latewood.storage.neo4j.database import Row as Cells
from latewood.storage.neo4j.gathering import LEDGER_NUMBER
from latewood.storage.neo4j.keys import FactRef, KeyImage
from latewood.storage.neo4j.names import relation_type
from latewood.storage.neo4j.pending import Pending, born
from latewood.storage.neo4j.reading import Reading
from latewood.storage.neo4j.versions import last_touch
from latewood.storage.queries import load_queries
from latewood.storage.rebuilding import Findings, Place, What, ledger_at, next_in_ledgers, next_phase, subjects_within
from latewood.storage.receipts import receipt_as_kept, receipt_to_json
from latewood.storage.rows import SpaceRow

__all__ = ["PHASES", "Rebuilder", "look"]

PHASES: Final = ("nodes", "facts", "keys", "receipts", "strays")
_PASSES: Final = 4
"""Nodes, facts, keys and receipts: each reads every row of the ledgers once."""
_LAST: Final = "~"
"""Sorts after every id."""
_SEARCHED: Final = "text"


def _row(cells: Cells) -> Row:
    (seq, ledger, unit, ordinal, recorded_at, kind, own, subject, key, target, tier, trust, known, valid_from, valid_to,
     payload) = cells[:16]  # fmt: skip
    event = Event(
        EventKind(kind), own, subject, ordinal, json.loads(payload) if payload else {},
        None if key is None else bytes(key), target, tier, trust, bool(known), valid_from, valid_to,
    )  # fmt: skip
    return Row(2 * seq + LEDGER_NUMBER[ledger], ledger, seq, unit, recorded_at, payload is None, event)


def _plain(value: Any) -> Any:
    """Write a stored value as what it is compared with: instants as microseconds, bytes as such."""
    if isinstance(value, DateTime):
        return to_micros(value.to_native())
    return bytes(value) if isinstance(value, bytes | bytearray) else value


def _properties(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in stored.items()}


@dataclass(slots=True)
class _Wanted:
    """A node of the graph as it should be; instants, in microseconds, stand apart."""

    properties: dict[str, Any]
    instants: dict[str, Micros | None]
    labels: list[str] = field(default_factory=list[str])

    def compared(self) -> dict[str, Any]:
        """Return what is stored of it: nothing of what is null, or has no end."""
        both = {**self.properties, **{name: None if at == FOREVER else at for name, at in self.instants.items()}}
        return {name: value for name, value in both.items() if value is not None}

    def written(self) -> dict[str, Any]:
        """Return the same as the driver takes it."""
        found = self.compared()
        return {name: from_micros(value) if name in self.instants else value for name, value in found.items()}


def _differing(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name the properties that differ; never what they hold, which may be words of users."""
    return [
        name for name in sorted({*stored, *wanted})
        if stored.get(name) != wanted.get(name) and not (
            name == _SEARCHED and _sorted_words(stored.get(name)) == _sorted_words(wanted.get(name)))
    ]  # fmt: skip


def _sorted_words(text: Any) -> list[str] | None:
    # The words of a document stand as it was handed in, or by its keys.
    return sorted(text.split()) if isinstance(text, str) else None


def look(reading: Reading, place: Place, limit: int) -> tuple[Findings, Place | None]:
    """Look at the rows from *place* on; return what seems to differ, and where the next step begins."""
    looking = Rebuilder(reading.query, reading.n, reading.space, repair=False)
    following = looking.look(place, limit)
    return looking.found, following


class Rebuilder:
    """One step over one space; made inside its transaction and thrown away.

    Attributes:
        more: a kind of stray met the limit, so that there may be more of it.
    """

    def __init__(self, query: Query, n: int, space: SpaceRow, *, repair: bool) -> None:
        """Work on the space of number *n*; *repair* only under the lock of its heads."""
        self._query = query
        self._n = n
        self._space = space
        self._repair = repair
        self._texts = load_queries("latewood.storage.neo4j", "rebuilding.cypher")
        self.found = Findings(space.name, repair, _PASSES)
        self.more = False

    def _run(self, name: str, **parameters: object) -> list[Cells]:
        return self._query(self._texts[name], space=self._n, **parameters)

    def _rows(self, name: str, **parameters: object) -> list[Row]:
        """Read rows in the order in which they were recorded."""
        found = [_row(cells) for cells in self._run(name, **parameters)]
        return sorted(found, key=lambda row: (row.recorded_at, row.ledger != LEDGERS[0], row.seq))

    def look(self, place: Place, limit: int) -> Place | None:
        """Look at the rows from *place* on; return where the next step begins."""
        if place.phase == "receipts":
            return self._receipts(place, limit)
        if place.phase == "strays":
            self._strays(limit)
            return next_phase(place.phase, PHASES)
        weighed = self._run("subjects", after=place.after, most=limit + 1)
        listed, more = subjects_within(((cells[0], cells[1]) for cells in weighed), place.phase, limit)
        last = listed[-1] if more else _LAST
        self._compare(place.phase, self._rows("rows_in_range", after=place.after, last=last))
        return Place(place.phase, last) if more else next_phase(place.phase, PHASES)

    def mend(self, place: Place, limit: int, suspects: Iterable[str]) -> Rebuilder:
        """Look at the suspects of a step again, under the lock, and repair what differs."""
        if place.phase == "receipts":
            self._receipts(place, limit)
        elif place.phase == "strays":
            self._strays(limit)
        else:
            self._compare(place.phase, self._rows("rows_of_subjects", subjects=list(suspects)))
        if self._repair and self.found.count:
            # Every process that writes to the space forgets what it remembers of it.
            self._run("mark_rebuilt")
        return self

    def _compare(self, phase: str, rows: list[Row]) -> None:
        self.found.rows += len(rows)
        gone = Buried({}, {})
        if any(row.erased or row.event.kind is EventKind.ERASED for row in rows):
            gone = buried(row.event for row in self._rows("erasures"))
        if phase == "nodes":
            derived = derive_nodes(rows, gone)
            self._nodes(derived, statuses.wanted(self._query, self._n, self._space.secret, derived, rows, gone))
            waiting.compare(self._query, self._n, self._space, self.found, rows, repair=self._repair)
        elif phase == "facts":
            self._links(derive_nodes(rows, gone))
            self._facts(rows, gone)
        else:
            self._keys(rows, gone)

    def _nodes(self, derived: Mapping[str, DerivedNode], told: Mapping[str, statuses.Noted]) -> None:
        stored = {cells[0]: cells for cells in self._run("nodes", ids=list(derived))}
        for one, node in derived.items():
            self.found.compared += 1
            wanted = self._node(node)
            cells = stored.get(one)
            differing, gone = ["labels"], list[str]()
            held = {} if cells is None else _properties(cells[1])
            statuses.note(wanted.properties, wanted.instants, held, told.get(one))
            if cells is not None:
                if node.row.erased:
                    # What was buried keeps a title where it had one.
                    wanted.properties["title"] = held.get("title") and node.row.name
                wanted.properties |= last_touch(node, held)
                differing = _differing(held, wanted.compared())
                gone = [label for label in cells[2] if label not in wanted.labels]
                if gone or len(cells[2]) != len(wanted.labels):
                    differing.append("labels")
                if not differing:
                    continue
            what: What = "missing" if cells is None else "different"
            self.found.add("Node", what, one, one, ", ".join(differing) if cells else "", node.first.place)
            if self._repair:
                self._run(
                    "put_node", id=one, norm=wanted.properties["norm"], properties=wanted.written(), gone=gone,
                    labels=wanted.labels,
                )  # fmt: skip

    def _node(self, node: DerivedNode) -> _Wanted:
        pending = Pending()
        pending.node(self._n, node.row, node.first.handle)
        row = pending.nodes[0]
        properties = {
            **row["properties"], "space": self._n, "id": node.row.id, **last_touch(node),
            "born": born(node.row.recorded_at, node.first.handle),
        }  # fmt: skip
        return _Wanted(properties, {"recorded_at": node.row.recorded_at}, row["labels"])

    def _links(self, derived: Mapping[str, DerivedNode]) -> None:
        for cells in self._run("nodes", ids=list(derived)):
            node = derived[cells[0]]
            pending = Pending()
            pending.node(self._n, node.row, node.first.handle)
            wanted = sorted([link["type"], link["to"]] for link in pending.links)
            if sorted(list(link) for link in cells[3]) == wanted:
                continue
            self.found.add("Source", "different", cells[0], cells[0], "who said it", node.first.place)
            if self._repair:
                self._run("put_links", id=cells[0], links=wanted)

    # Facts.

    def _facts(self, rows: Sequence[Row], gone: Buried) -> None:
        asserted = {row.event.id: row for row in rows if row.event.kind in (EventKind.ASSERTED, EventKind.ABSENT)}
        retracted: dict[str, Row] = {}
        for row in rows:
            if row.event.kind is EventKind.RETRACTED and row.event.target is not None:
                retracted.setdefault(row.event.target, row)
        names = {
            row.event.key: str(row.event.payload["predicate"]) for row in asserted.values()
            if row.event.key is not None and "predicate" in row.event.payload
        }  # fmt: skip
        stored = {cells[0]: cells for cells in self._run("facts", ids=list(asserted))}
        for one, row in asserted.items():
            self.found.compared += 1
            key = cast("bytes", row.event.key)
            cells = stored.get(one)
            predicate = names.get(key) or gone.predicates.get(key)
            if predicate is None:
                predicate = "" if cells is None else str(cells[1].get("predicate", ""))
            wanted, hanging = self._fact(row, retracted.get(one), predicate)
            differing, stale = list[str](), list[str]()
            if cells is not None:
                differing = _differing(_properties(cells[1]), wanted.compared())
                stale = [label for label in cells[2] if label not in wanted.labels]
                if stale or len(cells[2]) != len(wanted.labels):
                    differing.append("labels")
                differing += hanging.differing(cells)
                if not differing:
                    continue
            what: What = "missing" if cells is None else "different"
            self.found.add("Fact", what, one, row.event.subject, ", ".join(differing), row.place)
            if self._repair:
                self._run(
                    "put_fact", id=one, place=row.handle, properties=wanted.written(), gone=stale,
                    labels=wanted.labels, said=hanging.said, references=hanging.references,
                    alternatives=hanging.alternatives,
                )  # fmt: skip

    def _fact(self, row: Row, retraction: Row | None, predicate: str) -> tuple[_Wanted, _Hanging]:
        pending = Pending()
        event = row.event
        pending.fact(self._n, event, row.handle, row.recorded_at)
        made = pending.facts[0]
        properties = {**made["properties"], "predicate": predicate}
        instants = {"valid_from": event.valid_from, "valid_to": event.valid_to, "recorded_at": row.recorded_at}
        if retraction is not None:
            pending.retraction(self._n, retraction.event, retraction.handle, retraction.recorded_at)
            properties |= pending.retractions[0]["stamps"]
            instants["retracted_at"] = retraction.recorded_at
        source = event.payload.get("source")
        hanging = _Hanging(
            [source] if isinstance(source, str) else [],
            [[one["type"], one["to"]] for one in pending.references],
            [
                {name: value for name, value in one["properties"].items() if value is not None}
                for one in pending.alternatives
            ],
            row.erased,
        )  # fmt: skip
        return _Wanted(properties, instants, made["labels"]), hanging

    # Keys and their stretches.

    def _keys(self, rows: Sequence[Row], gone: Buried) -> None:
        by_key = rows_by_key(rows)
        origins = self._origins(rows)
        stored = {cells[0]: _properties(cells[1]) for cells in self._run("keys", ids=[one.hex() for one in by_key])}
        subjects = list(dict.fromkeys(row.event.subject for row in rows))
        held: dict[str, dict[_Stamp, list[tuple[dict[str, Any], str]]]] = {one: {} for one in subjects}
        for subject, kind, end, properties, element in self._run("stretches", ids=subjects):
            found = _properties(properties)
            place = (found["fact_id"], kind, end, found.get("valid_from"), found.get("recorded_at"))
            held[subject].setdefault(place, []).append((found, element))
        for own in by_key.values():
            key = derive_key(own, self._space.secret, gone, origins.get)
            known = stored.get(key.id.hex())
            if key.predicate is None:
                key.predicate = "" if known is None else str(known.get("predicate", ""))
            self._key(key, own, known)
            self._stretches(key, held[key.subject])
        for subject, left in held.items():
            for place, rest in left.items():
                for _, element in rest:
                    self._extra_stretch(place, subject, element)

    def _origins(self, rows: Iterable[Row]) -> dict[str, str]:
        named = {one for row in rows if isinstance(one := row.event.payload.get("source"), str)}
        found: dict[str, str] = {}
        for one, attributes in self._run("origins", ids=sorted(named)):
            read: dict[str, Json] | None = json.loads(attributes)
            origin = None if read is None else read.get("origin")
            if isinstance(origin, str):
                found[one] = origin
        return found

    def _key(self, key: DerivedKey, rows: Sequence[Row], stored: dict[str, Any] | None) -> None:
        self.found.compared += 1
        own = key.id.hex()
        refs = {handle: _ref(row) for handle, row in key.rows.items()}
        image = KeyImage(self._n, own, key.subject, key.predicate or "", key.state, facts=refs)
        if not key.exact and stored is not None:
            state = key.state
            contested = bool(stored.get("contested")) or state.contested
            image.state = replace(state, origin=stored.get("origin", b""), contested=contested)
        elif not key.exact:
            # Of unknown origins each may be another: the mark only makes reads look closer.
            image.state = replace(key.state, contested=True)
        pending = Pending()
        pending.key(image)
        wanted = _Wanted({**pending.keys[0]["properties"], "space": self._n, "id": own}, {})
        differing: list[str] = []
        if stored is not None:
            differing = _differing(stored, wanted.compared())
            if "tail" not in stored:
                # It saves the next write a look, no more.
                differing = [name for name in differing if name not in ("tail", "tail_facts")]
            if not differing:
                return
        what: What = "missing" if stored is None else "different"
        self.found.add("Key", what, own, key.subject, ", ".join(differing), rows[0].place)
        if self._repair:
            self._run("put_key", id=own, properties=wanted.written())

    def _stretches(self, key: DerivedKey, held: dict[_Stamp, list[tuple[dict[str, Any], str]]]) -> None:
        """Compare the stretches of a key, and take them off those that its subject has."""
        for stretch in key.stretches.values():
            self.found.compared += 1
            row = key.rows[stretch.fact]
            ref = _ref(row)
            kind = "HAS_FACT" if ref.object is None else relation_type(key.predicate or "")
            place = (ref.id, kind, ref.object or ref.id, stretch.valid_from, stretch.recorded_at)
            wanted = _stamps(ref.id, key.predicate or "", stretch)
            rest = held.get(place, [])
            found = next((one for one in rest if one[0] == wanted.compared()), None) or next(iter(rest), None)
            if found is not None:
                rest.remove(found)
                if found[0] == wanted.compared():
                    continue
            what: What = "missing" if found is None else "different"
            detail = f"of key {key.id.hex()}"
            self.found.add("stretch", what, ref.id, key.subject, detail, row.place)
            if self._repair:
                if found is not None:
                    self._run("drop_stretch", id=found[1])
                self._run("put_stretch", subject=key.subject, end=place[2], type=kind, properties=wanted.written())

    def _extra_stretch(self, place: _Stamp, subject: str, element: str) -> None:
        self.found.add("stretch", "extra", place[0], subject, f"a relationship {place[1]} that nothing asserts so")
        if self._repair:
            self._run("drop_stretch", id=element)

    # Receipts, and what the ledger knows nothing of.

    def _receipts(self, place: Place, limit: int) -> Place | None:
        ledger, after = ledger_at(place)
        end = self._run("unit_end", ledger=ledger, seq=after + limit)[0][0]
        cells = self._run("rows_by_seq", ledger=ledger, after=after, last=end or after + limit)
        units: dict[str, list[Cells]] = {}
        for one in cells:
            units.setdefault(one[2], []).append(one)
        self.found.rows += len(cells)
        held = {one[0]: _properties(one[1]) for one in self._run("receipts", ids=list(units))}
        for unit, rows in units.items():
            self._receipt(unit, rows, held.get(unit))
        return next_in_ledgers(place, ledger, cells[-1][0] if len(cells) >= limit else None, PHASES)

    def _receipt(self, unit: str, cells: Sequence[Cells], held: dict[str, Any] | None) -> None:
        self.found.compared += 1
        rows = [_row(one) for one in cells]
        op, body = cells[0][16], cells[0][17]
        derived = derive_receipt(rows, self._space.name)
        stored = None if held is None else receipt_as_kept(held.get("receipt"))
        mended = receipt_mended(stored, derived)
        text = receipt_to_json(mended or stored or derived) if mended or held is None else held["receipt"]
        properties = {
            "space": self._n, "id": unit, "op": None if op is None else bytes(op).hex(), "body": bytes(body),
            "receipt": text, "name": f"receipt {rows[-1].seq}",
        }  # fmt: skip
        wanted = _Wanted(properties, {}).compared()
        differing = [] if held is None else _differing(held, wanted)
        if held is not None and not differing:
            return
        detail = ", ".join(differing)
        self.found.add("Receipt", "missing" if held is None else "different", unit, unit, detail, rows[-1].place)
        if self._repair:
            self._run("put_receipt", id=unit, op=properties["op"], properties=wanted)

    def _strays(self, limit: int) -> None:
        """Find what no row of the ledger stands behind, at most *limit* of a kind."""
        kinds = {"Node": "node", "Fact": "fact", "Key": "key", "Receipt": "receipt", "Alternative": "alternative"}
        for view, kind in kinds.items():
            for element, own in self._some(f"stray_{kind}", limit):
                self.found.add(view, "extra", str(own), "", "no row of a ledger stands behind it")
                if self._repair:
                    self._run("drop", id=element)
        waiting.compare_strays(self._query, self._n, self.found, repair=self._repair)
        for element, own in self._some("stray_stretch", limit):
            self.found.add("stretch", "extra", str(own), "", "it does not begin at the subject of a fact")
            if self._repair:
                self._run("drop_stretch", id=element)
        for ledger, seq, recorded_at in self._run("heads"):
            self.found.add("Ledger", "different", ledger, "", "its recorded time", (ledger, seq))
            if self._repair:
                self._run("set_recorded", ledger=ledger, recorded_at=recorded_at)

    def _some(self, name: str, limit: int) -> list[Cells]:
        found = self._run(name, most=limit)
        self.more = self.more or len(found) == limit
        return found


_Stamp = tuple[str, str, str, Any, Any]
"""What tells two stretches of a subject apart: the fact, the type, where it leads, and two of its stamps."""


@dataclass(frozen=True, slots=True)
class _Hanging:
    """What hangs on a fact: who said it, what it ends and replaces, and a decision's alternatives."""

    said: list[str]
    references: list[list[str]]
    alternatives: list[dict[str, Any]]
    erased: bool

    def differing(self, cells: Cells) -> list[str]:
        """Name what is stored otherwise."""
        found: list[str] = []
        if sorted(cells[3]) != self.said:
            found.append("SAID_BY")
        # What an erased fact took the place of may still be seen where it was first written.
        stored = [list(one) for one in cells[4] if not self.erased or one[0] != "REPLACES"]
        if sorted(stored) != sorted(self.references):
            found.append("REPLACES and ENDS")
        if sorted(map(_said, cells[5])) != sorted(map(_said, self.alternatives)):
            found.append("CONSIDERED")
        return found


def _said(properties: Mapping[str, Any]) -> str:
    return json.dumps(properties, sort_keys=True, default=str)


def _ref(row: Row) -> FactRef:
    target = row.event.payload.get("object")
    return FactRef(row.event.id, target if isinstance(target, str) else None)


def _stamps(fact: str, predicate: str, row: Stretch) -> _Wanted:
    instants: dict[str, Micros | None] = {
        "valid_from": row.valid_from, "valid_to": row.valid_to, "recorded_at": row.recorded_at,
        "closed_at": row.closed_at, "retired_at": row.retired_at,
    }  # fmt: skip
    return _Wanted({"fact_id": fact, "predicate": predicate}, instants)
