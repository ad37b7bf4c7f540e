"""Rebuilding the views of a space in SQLite: its nodes first, then the keys of each, then receipts and strays.

A step reads one state of the file; what differs is derived and compared again inside the transaction that repairs it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import apsw

from latewood.graph_schema.clock import FOREVER
from latewood.graph_schema.events import Event, EventKind
from latewood.graph_schema.ids import id_bytes, id_text
from latewood.graph_schema.model import LEDGERS
from latewood.graph_schema.values import Json, canonical_json, normal_key
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
from latewood.storage.queries import load_queries
from latewood.storage.rebuilding import Findings, Place, What, ledger_at, next_in_ledgers, next_phase, subjects_within
from latewood.storage.receipts import receipt_as_kept, receipt_to_json
from latewood.storage.rows import SpaceRow, has_words
from latewood.storage.searching import texts_in
from latewood.storage.sqlite import memories, statuses, waiting
from latewood.storage.sqlite.database import Cell, Statements
from latewood.storage.sqlite.reading import Reading
from latewood.storage.sqlite.records import LEDGER_NUMBER

__all__ = ["PHASES", "WORDS_MAX", "Rebuilder", "look"]

PHASES: Final = ("nodes", "keys", "receipts", "strays")
WORDS_MAX: Final = 200_000
"""Most text rows of which the index is checked."""
_LAST: Final = b"\xff" * 16
_PASSES: Final = 3
"""Nodes, keys and receipts: each reads every row of the ledgers once."""
_Cells = tuple[Cell, ...]
T = TypeVar("T")


def _hex(ids: Iterable[str]) -> str:
    return json.dumps([one.replace("-", "") for one in ids])


def _row(cells: Sequence[Cell]) -> Row:
    (e, ledger, seq, unit, ordinal, recorded_at, kind, raw_id, subject, key, target, tier, trust, known, valid_from,
     valid_to, payload) = cells[:17]  # fmt: skip
    event = Event(
        EventKind(cast("str", kind)), id_text(cast("bytes", raw_id)), id_text(cast("bytes", subject)),
        cast("int", ordinal), json.loads(cast("str", payload)) if payload else {}, cast("bytes | None", key),
        None if target is None else id_text(cast("bytes", target)), cast("int", tier), cast("int", trust), bool(known),
        cast("int | None", valid_from), cast("int | None", valid_to),
    )  # fmt: skip
    return Row(
        cast("int", e), LEDGERS[cast("int", ledger)], cast("int", seq), id_text(cast("bytes", unit)),
        cast("int", recorded_at), payload is None, event,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _StoredKey:
    """A key's row, with the rows under its number."""

    k: int
    cells: _Cells
    claims: dict[tuple[int, int], _Cells]
    stretches: dict[tuple[int, int, int], _Cells]


def look(reading: Reading, place: Place, limit: int) -> tuple[Findings, Place | None]:
    """Look at the rows from *place* on; return what differs, and where the next step begins."""
    looking = Rebuilder(reading.db, reading.n, reading.space, repair=False)
    following = looking.look(place, limit)
    return looking.found, following


class Rebuilder:
    """One step over one space; made inside its transaction and thrown away.

    Attributes:
        more: a kind of stray met the limit, so that there may be more of it.
    """

    def __init__(self, db: Statements, n: int, space: SpaceRow, *, repair: bool) -> None:
        """Work on the space of row *n*; *repair* only inside a transaction that may write."""
        self._db = db
        self._n = n
        self._space = space
        self._repair = repair
        queries = load_queries("latewood.storage.sqlite", "rebuilding.sql")
        self._sql = {name: text.replace("{table}", f"text_{n}") for name, text in queries.items()}
        self._origins: dict[str, str | None] = {}
        self.found = Findings(space.name, repair, _PASSES)
        self.more = False

    def _all(self, name: str, *bindings: object) -> list[_Cells]:
        return self._db.execute(self._sql[name], bindings).fetchall()

    def look(self, place: Place, limit: int) -> Place | None:
        """Look at the rows from *place* on; return where the next step begins."""
        if place.phase in ("nodes", "keys"):
            return self._look_subjects(place, limit)
        if place.phase == "receipts":
            return self._receipts(place, limit)
        self._strays(limit)
        return next_phase(place.phase, PHASES)

    def mend(self, place: Place, limit: int, suspects: Iterable[str]) -> Rebuilder:
        """Look at the suspects of a step again, and repair what differs."""
        if place.phase == "receipts":
            self._receipts(place, limit)
        elif place.phase == "strays":
            self._strays(limit)
            self._check_words()
        else:
            subjects = list(suspects)
            rows = [_row(cells) for cells in self._all("rows_of_subjects", self._n, _hex(subjects))]
            self._compare(place.phase, rows, subjects)
        return self

    def _look_subjects(self, place: Place, limit: int) -> Place | None:
        after = id_bytes(place.after)
        weighed = self._db.execute(self._sql["subjects"], (self._n, after))
        weights = ((id_text(cast("bytes", one[0])), cast("int", one[1])) for one in weighed)
        listed, more = subjects_within(weights, place.phase, limit)
        last = id_bytes(listed[-1]) if more else _LAST
        rows = [_row(cells) for cells in self._all("rows_in_range", self._n, after, last)]
        stored = [id_text(cast("bytes", one[0])) for one in self._all("nodes_in_range", self._n, after, last)]
        self._compare(place.phase, rows, stored)
        return Place(place.phase, listed[-1]) if more else next_phase(place.phase, PHASES)

    def _compare(self, phase: str, rows: list[Row], stored: Iterable[str]) -> None:
        self.found.rows += len(rows)
        gone = Buried({}, {})
        if any(row.erased or row.event.kind is EventKind.ERASED for row in rows):
            gone = buried(_row(cells).event for cells in self._all("erasures", self._n))
        derived = derive_nodes(rows, gone)
        ids = dict.fromkeys([*derived, *stored])
        cells = {id_text(cast("bytes", one[1])): one for one in self._all("nodes", self._n, _hex(ids))}
        if phase == "nodes":
            self._nodes(derived, cells)
            waiting.compare(self._db, self._n, self._space, self.found, rows, ids, repair=self._repair)
        else:
            self._keys(rows, gone, {one: cast("int", found[0]) for one, found in cells.items()})

    # Nodes.

    def _nodes(self, derived: Mapping[str, DerivedNode], stored: Mapping[str, _Cells]) -> None:
        bodies = self._bodies(-cast("int", cells[0]) for cells in stored.values())
        for one, cells in stored.items():
            if one not in derived:
                self.found.compared += 1
                self.found.add("node", "extra", one, one)
                if self._repair:
                    self._all("drop_node", cells[0])
                    self._put_text(-cast("int", cells[0]), None)
        for one, node in sorted(derived.items(), key=lambda item: item[1].first.handle):
            self.found.compared += 1
            cells = stored.get(one)
            wanted = _node_cells(node)
            if cells is not None and cells[1:] == wanted:
                self._text("node", one, one, node.first, -cast("int", cells[0]), _node_words(node), bodies)
                continue
            what = "missing" if cells is None else "different"
            self.found.add("node", what, one, one, _differing(_NODE_COLUMNS, cells, wanted), node.first.place)
            if self._repair:
                n = self._number(node, one) if cells is None else cast("int", cells[0])
                if node.row.key is not None and not node.row.erased:
                    self._all("free_norm", self._n, wanted[4], id_bytes(one))
                self._all("put_node", n, self._n, *wanted)
                self._put_text(-n, _node_words(node))

    def _number(self, node: DerivedNode, one: str) -> int:
        """Return the number that a lost node had, as far as it can be told: lists are in its order."""
        keys = self._all("key_of_node", self._n, id_bytes(one))
        candidates = [cast("int", keys[0][0])] if keys else []
        for n, _, since in self._all("declared_before", node.first.handle):
            candidates.append(cast("int", n) + cast("int", since))
        for candidate in candidates or [1]:
            if not self._all("node_by_number", candidate):
                return candidate
        return cast("int", self._all("last_node")[0][0]) + 1

    # Keys, with their claims, stretches and words.

    def _keys(self, rows: list[Row], gone: Buried, nodes: Mapping[str, int]) -> None:
        by_key = rows_by_key(rows)
        keys = json.dumps([one.hex() for one in by_key])
        stored = self._stored_keys(self._all("keys", self._n, keys, json.dumps(list(nodes.values()))))
        bodies = self._bodies(row.handle for row in rows if row.event.kind in (EventKind.ASSERTED, EventKind.ABSENT))
        subjects = {n: one for one, n in nodes.items()}
        for one, own in stored.items():
            if one not in by_key:
                self.found.compared += 1
                self.found.add("key", "extra", one.hex(), subjects.get(cast("int", own.cells[1]), ""))
                if self._repair:
                    self._drop_key(own.k)
        for one, own in by_key.items():
            key = derive_key(own, self._space.secret, gone, self._origin)
            self._key(key, own, stored.get(one), nodes.get(key.subject))
            for handle, row in key.rows.items():
                self._text("fact", row.event.id, key.subject, row, handle, _fact_words(row), bodies)
        self._memories({row.handle: row for row in rows if row.event.kind is EventKind.ASSERTED})
        statuses.compare(self._db, self.found, nodes, repair=self._repair)

    def _stored_keys(self, cells: Iterable[_Cells]) -> dict[bytes, _StoredKey]:
        found = {cast("int", one[0]): _StoredKey(cast("int", one[0]), one[1:], {}, {}) for one in cells}
        numbers = json.dumps(list(found))
        for one in self._all("claims", numbers):
            found[cast("int", one[0])].claims[cast("tuple[int, int]", one[1:3])] = one[3:]
        for one in self._all("stretches", numbers):
            found[cast("int", one[0])].stretches[cast("tuple[int, int, int]", one[1:4])] = one[4:]
        return {cast("bytes", one.cells[0]): one for one in found.values()}

    def _key(self, key: DerivedKey, rows: Sequence[Row], stored: _StoredKey | None, n: int | None) -> None:
        """Compare one key; *n* is its node's number, None while that is missing."""
        self.found.compared += 1 + len(key.claims) + len(key.stretches)
        cells = _key_cells(key, n, stored)
        same = stored is not None and (stored.cells == cells or n is None)
        if not same:
            what = "missing" if stored is None else "different"
            detail = _differing(_KEY_COLUMNS, None if stored is None else stored.cells, cells)
            self.found.add("key", what, key.id.hex(), key.subject, detail, rows[0].place)
        k = 0 if stored is None else stored.k
        if self._repair and n is None:
            return
        if self._repair and not same:
            # What stands under a number that no key has is of nobody: the new key may get it.
            self._all("put_key", k or None, self._n, *cells)
            if stored is None:
                k = self._db.last_insert_rowid()
                self._all("drop_claims", k)
                self._all("drop_stretches", k)
        facts = {handle: row.event.id for handle, row in key.rows.items()}
        claims = {(claim.valid_from, handle): _claim_cells(key, handle) for handle, claim in key.claims.items()}
        held = {} if stored is None else stored.claims
        for place, what in _against(claims, held):
            row = key.rows.get(place[1])
            self._differs("claim", what, facts.get(place[1], f"row {place[1]}"), key, row)
            if self._repair and what == "extra":
                self._all("drop_claim", k, *place)
            elif self._repair:
                self._all("put_claim", k, *place, *claims[place])
        stretches = {
            (one.valid_from, one.recorded_at, one.fact): (one.valid_to, one.closed_at, one.retired_at)
            for one in key.stretches.values()
        }
        kept = {} if stored is None else stored.stretches
        for place, what in _against(stretches, kept):
            self._differs("stretch", what, facts.get(place[2], f"row {place[2]}"), key, key.rows.get(place[2]))
            if self._repair and what == "extra":
                self._all("drop_stretch", k, *place)
            elif self._repair:
                self._all("put_stretch", k, *place, *stretches[place])

    def _differs(self, view: str, what: What, own: str, key: DerivedKey, row: Row | None) -> None:
        place = None if row is None else row.place
        self.found.add(view, what, own, key.subject, f"of key {key.id.hex()}", place)

    def _drop_key(self, k: int) -> None:
        for name in ("drop_claims", "drop_stretches", "drop_key"):
            self._all(name, k)

    def _origin(self, source: str) -> str | None:
        """Return the origin of a source from its declaration, None when its words are gone."""
        if source not in self._origins:
            rows = self._all("declaration", self._n, id_bytes(source))
            payload: dict[str, Json] = json.loads(cast("str", rows[0][0])) if rows and rows[0][0] is not None else {}
            said = payload.get("attributes")
            origin = said.get("origin") if isinstance(said, dict) else None
            self._origins[source] = origin if isinstance(origin, str) else None
        return self._origins[source]

    # Words, and what search by fact reads.

    def _memories(self, asserted: Mapping[int, Row]) -> None:
        """Compare memories with what the view's own query makes of nodes and keys, which are whole by now."""
        listed = json.dumps(list(asserted))
        reached = self._db.execute(memories.sql()["reached"]).fetchall()[0][0]
        query = memories.sql()["remember"].partition("\n")[2]
        query += " and f.e in (select value from json_each(?3))"
        wanted = {cast("int", one[0]): one for one in self._db.execute(query, (-1, reached, listed))}
        stored = {cast("int", one[0]): one for one in self._all("memories", listed)}
        self.found.compared += len(wanted)
        for e, what in _against(wanted, stored):
            row = asserted[e]
            self.found.add("memory", what, row.event.id, row.event.subject, "", row.place)
            if self._repair and what == "extra":
                memories.forget(self._db, self._n, [e])
            elif self._repair:
                self._all("put_memory", *wanted[e])

    def _bodies(self, numbers: Iterable[int]) -> dict[int, str]:
        listed = json.dumps(list(numbers))
        return {cast("int", one[0]): cast("str", one[1]) for one in self._all("texts", listed)}

    def _text(
        self, view: str, own: str, subject: str, row: Row, rowid: int, words: str | None, bodies: Mapping[int, str]
    ) -> None:
        self.found.compared += words is not None
        if _same_words(bodies.get(rowid), words):
            return
        detail = f"the words of a {view}"
        what: What = "missing" if rowid not in bodies else "extra" if words is None else "different"
        self.found.add("text", what, own, subject, detail, row.place)
        if self._repair:
            self._put_text(rowid, words)

    def _put_text(self, rowid: int, words: str | None) -> None:
        self._all("drop_text", rowid)
        if words is not None:
            self._all("put_text", rowid, words)

    # Receipts, and what the ledger knows nothing of.

    def _receipts(self, place: Place, limit: int) -> Place | None:
        name, after = ledger_at(place)
        ledger = LEDGER_NUMBER[name]
        end = self._db.execute(self._sql["unit_end"], (self._n, ledger, after + limit)).fetchone()
        last = cast("int", end[0]) if end and end[0] else after + limit
        cells = self._all("rows_by_seq", self._n, ledger, after, last)
        units: dict[str, list[_Cells]] = {}
        for one in cells:
            units.setdefault(id_text(cast("bytes", one[3])), []).append(one)
        self.found.rows += len(cells)
        held = {id_text(cast("bytes", one[0])): one for one in self._all("receipts", _hex(units))}
        for unit, rows in units.items():
            self._receipt(unit, rows, held.get(unit))
        return next_in_ledgers(place, name, cast("int", cells[-1][2]) if len(cells) >= limit else None, PHASES)

    def _receipt(self, unit: str, cells: Sequence[_Cells], held: _Cells | None) -> None:
        self.found.compared += 1
        rows = [_row(one) for one in cells]
        op, body = cells[0][17], cells[0][18]
        derived = derive_receipt(rows, self._space.name)
        stored = None if held is None else receipt_as_kept(held[4])
        mended = receipt_mended(stored, derived)
        if mended is None and held is not None and held[1:4] == (self._n, op, body):
            return
        what: What = "missing" if held is None else "different"
        self.found.add("receipt", what, unit, unit, "", rows[-1].place)
        if self._repair:
            if op is not None:
                self._all("free_op", self._n, op, id_bytes(unit))
            text = receipt_to_json(mended or stored or derived)
            self._all("put_receipt", id_bytes(unit), self._n, op, body, text)

    def _strays(self, limit: int) -> None:
        """Find what no row of the ledger stands behind, at most *limit* of a kind."""
        for k, key in self._some("stray_keys", limit, self._n):
            self.found.add("key", "extra", cast("bytes", key).hex(), "", "of a node that is not there")
            if self._repair:
                self._drop_key(cast("int", k))
        for view in ("claim", "stretch"):
            for place in self._some("stray_claims" if view == "claim" else "stray_stretches", limit):
                self.found.add(view, "extra", f"row {place[-1]}", "", f"of key number {place[0]}, which is not there")
                if self._repair:
                    self._all(f"drop_{view}", *place)
        for (raw,) in self._some("stray_receipts", limit, self._n):
            self.found.add("receipt", "extra", id_text(cast("bytes", raw)), "", "of a unit that no ledger has")
            if self._repair:
                self._all("drop_receipt", raw)
        for (e,) in self._some("stray_memories", limit, self._n):
            self.found.add("memory", "extra", f"row {e}", "", "of no assertion")
            if self._repair:
                memories.forget(self._db, self._n, [cast("int", e)])
        for (rowid,) in self._some("stray_texts", limit, self._n):
            self.found.add("text", "extra", f"row {rowid}", "", "the words of nothing")
            if self._repair:
                self._put_text(cast("int", rowid), None)
        waiting.compare_strays(self._db, self._n, self.found, repair=self._repair)
        self._heads()

    def _heads(self) -> None:
        for ledger, seq, recorded_at in self._all("heads", self._n):
            name = LEDGERS[cast("int", ledger)]
            self.found.add("head", "different", name, "", "its recorded time", (name, cast("int", seq)))
            if self._repair:
                self._all("set_recorded", recorded_at, self._n, ledger)

    def _some(self, name: str, limit: int, *bindings: object) -> list[_Cells]:
        found = self._db.execute(f"{self._sql[name]} limit {int(limit)}", bindings).fetchall()
        self.more = self.more or len(found) == limit
        return found

    def _check_words(self) -> None:
        """Check that the index finds what the text rows say, and build it again from them when it does not.

        SQLite does it only where it may write, so nobody else can meanwhile: a very large index is left out.
        """
        if cast("int", self._all("count_texts")[0][0]) > WORDS_MAX:
            return
        try:
            self._all("check_texts")
        except apsw.CorruptError:
            self.found.add("text", "different", f"text_{self._n}", "", "the index of the words does not fit them")
            if self._repair:
                self._all("index_texts")


_NODE_COLUMNS: Final = ("id", "kind", "type", "key", "norm", "name", "attributes", "recorded_at", "version")
_KEY_COLUMNS: Final = ("id", "subject", "predicate", "origin", "contested", "top")


def _node_cells(node: DerivedNode) -> _Cells:
    """Write a node as its row, without its number."""
    row = node.row
    return (
        id_bytes(row.id), row.kind.value, row.type, row.key, None if row.key is None else normal_key(row.key), row.name,
        "null" if row.erased else canonical_json(row.attributes), row.recorded_at, row.version,
    )  # fmt: skip


def _node_words(node: DerivedNode) -> str | None:
    row = node.row
    if row.erased or not has_words(row):
        return None
    return row.name if row.key is None or row.key == row.name else f"{row.key} {row.name}"


def _fact_words(row: Row) -> str | None:
    value = row.event.payload.get("value")
    if not isinstance(value, dict) or value["kind"] not in ("text", "json"):
        return None
    return "\n".join(texts_in(value["data"])) or None


def _same_words(stored: str | None, wanted: str | None) -> bool:
    """Tell whether two text rows say the same: the texts of a document stand as it was handed in, or by their keys."""
    return stored == wanted or bool(stored and wanted and sorted(stored.split("\n")) == sorted(wanted.split("\n")))


def _key_cells(key: DerivedKey, n: int | None, stored: _StoredKey | None) -> _Cells:
    """Write a key as its row, without its number; what cannot be told any more stays as it is stored."""
    state, old = key.state, None if stored is None else stored.cells
    predicate = key.predicate if key.predicate is not None else "" if old is None else old[2]
    if key.exact or old is None:
        # Of unknown origins each may be another: the mark only makes reads look closer.
        return key.id, n, predicate, state.origin, int(state.contested or not key.exact), state.top
    return key.id, n, predicate, old[3], max(cast("int", old[4]), int(state.contested)), state.top


def _claim_cells(key: DerivedKey, handle: int) -> _Cells:
    claim, row, retraction = key.claims[handle], key.rows[handle], key.retractions.get(handle)
    target = row.event.payload.get("object")
    return (
        claim.valid_to, claim.tier, claim.known, claim.trust, claim.recorded_at, claim.ordinal, int(claim.absent),
        claim.retracted_at if retraction is not None else FOREVER, None if retraction is None else retraction.handle,
        id_bytes(target) if isinstance(target, str) else None,
    )  # fmt: skip


def _against(wanted: Mapping[T, _Cells], stored: Mapping[T, _Cells]) -> Iterator[tuple[T, What]]:
    """Yield where two tables differ."""
    for place, cells in wanted.items():
        if place not in stored:
            yield place, "missing"
        elif stored[place] != cells:
            yield place, "different"
    for place in stored:
        if place not in wanted:
            yield place, "extra"


def _differing(columns: Sequence[str], stored: _Cells | None, wanted: _Cells) -> str:
    """Name the columns that differ; never what stands in them, which may be words of users."""
    if stored is None:
        return ""
    return ", ".join(
        name for name, one, other in zip(columns, stored[-len(columns) :], wanted, strict=True) if one != other
    )
