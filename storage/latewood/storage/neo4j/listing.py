"""Lists, timelines, changes, text search and the ledger's rows: everything that comes in pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from latewood.graph_schema.clock import FOREVER, Micros
from latewood.graph_schema.events import Event, EventKind, LedgerEntry
from latewood.graph_schema.ids import normal_id
from latewood.graph_schema.ledger import Verifier
from latewood.graph_schema.model import Fact, LedgerName, Node, NodeKind
from latewood.graph_schema.values import normal_key
from latewood.storage.bounds import check_count
from latewood.storage.building import node_of
from latewood.storage.cursors import check_first, near, read_cursor, write_cursor
from latewood.storage.heads import seq_at
from latewood.storage.neo4j.database import Row
from latewood.storage.neo4j.names import index_name, spaced
from latewood.storage.neo4j.pending import born
from latewood.storage.neo4j.reading import Reading, ids_in, instant
from latewood.storage.port import Axis, Change, Hit, NodeQuery, Page
from latewood.storage.statuses import asked_of

__all__ = ["changes", "feed", "list_nodes", "near_keys", "search_text", "stored_rows", "timeline", "verify_rows"]

_BEGINNING: Final[Micros] = -(2**63)
_WORDS_MAX: Final = 64
_SCAN_MAX: Final = 50_000
Compose = Callable[..., str]


def _conditions(query: NodeQuery, parameters: dict[str, object]) -> tuple[str, str]:
    """Write where nodes come from and the query's filters as Cypher; words of the caller are only ever bound."""
    source, parts = "MATCH (n:Node) USING INDEX SEEK n:Node(space, born)", list[str]()
    if query.about is not None:
        # What is about a node is found first: together with the rest, every node of the space might be looked at.
        source = (
            "MATCH (o:Node {space: $space, id: $about})<-[a]-(n:Node) USING INDEX SEEK o:Node(space, id) "
            "WHERE a.predicate = 'about' AND {visible:a} WITH DISTINCT n"
        )
        parameters["about"] = normal_id(query.about)
    if query.kind is not None:
        parts.append("n.kind = $kind")
        parameters["kind"] = query.kind.value
    else:
        parts.append("n.kind <> 'predicate' AND n.kind <> 'source'")
    if query.type is not None:
        parts.append("n.type = $type")
        parameters["type"] = query.type
    for place, (predicate, texts) in enumerate((query.where or {}).items()):
        parameters[f"p{place}"] = predicate
        parameters[f"v{place}"] = [text for text in texts if not text.startswith("=")]
        parameters[f"w{place}"] = [text[1:] for text in texts if text.startswith("=")]
        parts.append(
            f"EXISTS {{ MATCH (n)-[h:HAS_FACT]->(f) WHERE h.predicate = $p{place} AND {{visible:h}} "
            f"AND (coalesce(f.said, f.value) IN $v{place} OR f.as_written IN $w{place}) }}"
        )
    return source, " AND ".join(parts)


def list_nodes(
    reading: Reading, compose: Compose, query: NodeQuery, valid_at: Micros, known_at: Micros, *, now: bool = False
) -> Page[Node]:
    """List nodes in the order they were recorded, or the other way round; *now*: at the head of both clocks."""
    first = check_first(query.first)
    kind, beyond, order = ("m", "<", "DESC") if query.newest else ("n", ">", "ASC")
    after = read_cursor(query.after, kind, 2)
    parameters: dict[str, object] = {
        "space": reading.n, "t": instant(valid_at), "r": instant(known_at), "first": first + 1,
        "after": ("~" if query.newest else "") if after is None else born(*after),
    }  # fmt: skip
    source, conditions = _conditions(query, parameters)
    # By what a node is about it is found faster than by its status.
    noted = now and reading.listed and query.about is None
    parameters["statuses"] = asked_of(query) if noted else None
    name = "list_nodes" if parameters["statuses"] is None else "list_by_status"
    text = compose(name, source=source, beyond=beyond, conditions=conditions, order=order)
    rows = reading.query(text, **parameters)
    shown = rows[:first]
    more = None
    if len(rows) > first:
        recorded_at, place = (int(part) for part in shown[-1][10].split("."))
        more = write_cursor(kind, recorded_at - 2**62, place)
    return Page(tuple(node_of(node) for node in reading.shown(shown)), more)


def timeline(
    reading: Reading, subjects: Sequence[str], predicates: Sequence[str] | None, known_at: Micros | None, first: int,
    after: str | None,
) -> Page[Fact]:  # fmt: skip
    """List every assertion about nodes in valid order."""
    check_first(first)
    check_count(len(subjects))
    known_at = reading.known(known_at)
    place = read_cursor(after, "t", 4) or (_BEGINNING, _BEGINNING, -1, -1)
    rows = reading.query(
        "timeline", space=reading.n, subjects=ids_in(subjects), r=instant(known_at), start=instant(place[0]),
        predicates=None if predicates is None else list(predicates), after=list(place), first=first + 1,
    )  # fmt: skip
    shown = rows[:first]
    more = None
    if len(rows) > first:
        last = shown[-1]
        more = write_cursor("t", last[6], last[8], last[12], last[13])
    return Page(tuple(reading.build(shown, known_at)), more)


def _seq_at(reading: Reading, at: Micros) -> int:
    def recorded(seq: int) -> Micros:
        return reading.query("seq_recorded", space=reading.n, ledger="knowledge", seq=seq)[0][0]

    return seq_at(reading.seq("knowledge"), recorded, at)


def changes(
    reading: Reading, since: Micros, until: Micros, axis: Axis, subjects: Sequence[str] | None, first: int,
    after: str | None,
) -> Page[Change]:  # fmt: skip
    """List what was asserted, ended and retracted."""
    check_first(first)
    check_count(len(subjects or ()))
    if axis == "valid":
        return _beginnings(reading, since, until, subjects, first, after)
    (seq,) = read_cursor(after, "c", 1) or (_seq_at(reading, since),)
    parameters: dict[str, object] = {
        "space": reading.n, "after": seq, "last": _seq_at(reading, until), "first": first + 1,
    }  # fmt: skip
    if subjects is None:
        rows = reading.query("changes", **parameters)
    else:
        rows = reading.query("changes_of", subjects=ids_in(subjects), **parameters)
    # As known at the end of what was asked for: a later retraction must not reach into an earlier diff.
    found = _changes(reading, rows[:first], until)
    return Page(found, write_cursor("c", found[-1].seq) if len(rows) > first else None)


def _beginnings(
    reading: Reading, since: Micros, until: Micros, subjects: Sequence[str] | None, first: int, after: str | None
) -> Page[Change]:
    place = read_cursor(after, "v", 2) or (since, FOREVER)
    parameters: dict[str, object] = {
        "space": reading.n, "since": instant(since), "until": instant(until), "after": list(place), "first": first + 1,
    }  # fmt: skip
    if subjects is None:
        rows = reading.query("beginnings", **parameters)
    else:
        rows = reading.query("beginnings_of", subjects=ids_in(subjects), **parameters)
    shown = rows[:first]
    more = write_cursor("v", shown[-1][6], shown[-1][0]) if len(rows) > first else None
    return Page(_changes(reading, shown, reading.known()), more)


def _changes(reading: Reading, rows: Sequence[Row], known_at: Micros) -> tuple[Change, ...]:
    retracted = EventKind.RETRACTED.value
    wanted = [row[4] if row[1] == retracted else row[3] for row in rows]
    facts = reading.facts_by_id(wanted, known_at) if wanted else {}
    found: list[Change] = []
    for (seq, kind, recorded_at, _, _, payload, *_), fact_id in zip(rows, wanted, strict=True):
        said: dict[str, str] = json.loads(payload) if payload else {}
        found.append(
            Change(seq, EventKind(kind), facts[fact_id], recorded_at, said.get("reason"), said.get("replaced_by"))
        )
    return tuple(found)


def search_text(
    reading: Reading, text: str, kinds: Sequence[NodeKind] | None, valid_at: Micros, known_at: Micros, first: int
) -> tuple[Hit, ...]:
    """Find nodes by words; every filter holds before the ranking ends, so no hidden row takes a visible one's place."""
    check_first(first)
    words = list(dict.fromkeys(spaced(text.casefold()).split()))[:_WORDS_MAX]
    if not words:
        return ()
    rows = reading.query(
        "search", index=index_name(reading.n), words=" OR ".join(f'"{word}"' for word in words), scan=_SCAN_MAX,
        t=instant(valid_at), r=instant(known_at), first=first,
        kinds=None if kinds is None else [kind.value for kind in kinds],
    )  # fmt: skip
    facts = reading.facts_by_id([row[10] for row in rows if row[10] is not None], known_at)
    return tuple(
        Hit(node_of(node), None if row[10] is None else facts[row[10]], float(row[11]))
        for row, node in zip(rows, reading.shown(rows), strict=True)
    )


def near_keys(reading: Reading, key: str, limit: int) -> tuple[str, ...]:
    """Find keys that resemble *key*: its repeats first, then what is spelled like it."""
    rows = reading.query("near_keys", space=reading.n, prefix=normal_key(key) + "~", first=limit)
    return near([row[0] for row in rows], key, limit)


def _entry(ledger: LedgerName, row: Row, payload: Mapping[str, Any]) -> LedgerEntry:
    (seq, unit, ordinal, recorded_at, written_at, kind, event_id, subject, key, target, tier, trust, known, valid_from,
     valid_to, op, body, digest, chained, salt, stored) = row  # fmt: skip
    raw = {name: None if one is None else bytes(one) for name, one in (("op", op), ("body", body), ("salt", salt))}
    event = Event(
        EventKind(kind), event_id, subject, ordinal, payload, None if key is None else bytes(key), target, tier, trust,
        known, valid_from, valid_to,
    )  # fmt: skip
    return LedgerEntry(
        ledger, seq, unit, event, recorded_at, written_at, raw["op"], raw["body"], raw["salt"], bytes(digest),
        bytes(chained), erased=stored is None,
    )  # fmt: skip


def feed(reading: Reading, ledger: LedgerName, after_seq: int, limit: int) -> tuple[LedgerEntry, ...]:
    """Return the ledger's rows after *after_seq*."""
    check_first(limit)
    rows = reading.query("feed", space=reading.n, ledger=ledger, after=after_seq, last=reading.seq(ledger), first=limit)
    return tuple(_entry(ledger, row, json.loads(row[20]) if row[20] else {}) for row in rows)


def stored_rows(reading: Reading, ledger: LedgerName, after_seq: int, last_seq: int, limit: int) -> list[Row]:
    """Return rows of the ledger up to *last_seq* as they are stored, for `verify_rows`."""
    return reading.query("feed", space=reading.n, ledger=ledger, after=after_seq, last=last_seq, first=limit)


def verify_rows(verifier: Verifier, ledger: LedgerName, rows: Sequence[Row]) -> bool:
    """Check rows; return False after a bad one."""
    for row in rows:
        try:
            entry = _entry(ledger, row, {})
        except (TypeError, ValueError, AttributeError) as error:
            verifier.fail(row[0], f"it cannot be read: {error}")
            return False
        if not verifier.take(entry, None if row[20] is None else str(row[20]).encode()):
            return False
    return True
