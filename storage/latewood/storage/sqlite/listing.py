"""Lists, timelines, changes and text search: everything that comes in pages."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final, cast

from latewood.graph_schema.clock import FOREVER, Micros
from latewood.graph_schema.events import EventKind
from latewood.graph_schema.ids import id_bytes, id_text, is_id
from latewood.graph_schema.model import Fact, Node, NodeKind
from latewood.graph_schema.values import normal_key
from latewood.storage.bounds import check_count
from latewood.storage.building import value_of
from latewood.storage.cursors import check_first, near, read_cursor, write_cursor
from latewood.storage.heads import seq_at
from latewood.storage.port import Axis, Change, Hit, NodeQuery, Page
from latewood.storage.sqlite import memories, statuses
from latewood.storage.sqlite.database import Cell, Database, number
from latewood.storage.sqlite.reading import NO_BOUND, Reading, hex_list, shown_row
from latewood.storage.statuses import asked_of

__all__ = ["changes", "list_nodes", "near_keys", "register_functions", "search_text", "timeline"]

_BEGINNING: Final[Micros] = -(2**63)
_WORD: Final = re.compile(r"\w+")
_WORDS_MAX: Final = 64
_SCAN_MAX: Final = 50_000
_KEYS_FEW: Final = 1_000
"""Up to so many keys a page of each is read for a page of their timeline; of more, all that comes after is sorted."""
_HIDDEN: Final = (NodeKind.PREDICATE.value, NodeKind.SOURCE.value)
# A text, as most are, is read without leaving SQLite: a list that finds little looks at every node of its kind.
_TEXT: Final = """case when json_extract(f.payload, '$.value.kind') = 'text'
  then json_extract(f.payload, '$.value.data') else value_text(f.payload) end"""
_VISIBLE: Final = """(
  select h.e from stretch h where h.k = k.k and h.valid_from <= :t and h.recorded_at <= :r and h.retired_at > :r
    and (h.valid_to > :t or h.closed_at > :r) order by h.valid_from desc, h.recorded_at desc limit 1)"""


def register_functions(connection: Database) -> None:
    """Give *connection* the functions that the list's conditions use."""

    def value_text(payload: Cell) -> str | None:
        value = value_of(json.loads(cast("str", payload))) if payload else None
        return None if value is None else value.text()

    connection.create_scalar_function("value_text", value_text, 1, deterministic=True)
    memories.register_functions(connection)


def _conditions(query: NodeQuery, bindings: dict[str, object]) -> str:
    """Write the query's filters as SQL over `node`; words of the caller are only ever bound."""
    parts = ["node.space = :space", "node.recorded_at <= :r", "node.n < :after" if query.newest else "node.n > :after"]
    if query.kind is not None:
        parts.append("node.kind = :kind")
        bindings["kind"] = query.kind.value
    else:
        parts.append(f"node.kind not in ('{_HIDDEN[0]}', '{_HIDDEN[1]}')")
    if query.type is not None:
        parts.append("node.type = :type")
        bindings["type"] = query.type
    for place, (predicate, texts) in enumerate((query.where or {}).items()):
        bindings[f"p{place}"] = predicate
        bindings[f"v{place}"] = json.dumps([text for text in texts if not text.startswith("=")])
        bindings[f"w{place}"] = json.dumps([text[1:] for text in texts if text.startswith("=")])
        parts.append(
            f"exists (select 1 from key k join event f on f.e = {_VISIBLE} where k.subject = node.n "  # noqa: S608
            f"and k.predicate = :p{place} and ({_TEXT} in (select value from json_each(:v{place})) "
            f"or json_extract(f.payload, '$.as_written') in (select value from json_each(:w{place}))))"
        )
    if query.about is not None:
        bindings["about"] = id_bytes(query.about) if is_id(query.about) else b""
        parts.append(
            "node.n in (select k.subject from claim c join key k on k.k = c.k "  # noqa: S608
            f"where c.object = :about and k.predicate = 'about' and c.e = {_VISIBLE})"
        )
    return " and ".join(parts)


def list_nodes(
    reading: Reading, query: NodeQuery, valid_at: Micros, known_at: Micros, *, now: bool = False
) -> Page[Node]:
    """List nodes in the order they were recorded, or the other way round; *now*: at the head of both clocks."""
    first = check_first(query.first)
    kind, order = ("m", "desc") if query.newest else ("n", "asc")
    (after,) = read_cursor(query.after, kind, 1) or (FOREVER if query.newest else 0,)
    bindings: dict[str, object] = {"space": reading.n, "t": valid_at, "r": known_at, "after": after, "first": first + 1}
    legs, conditions = ["select node.n as n from node where "], _conditions(query, bindings)
    asked = asked_of(query) if now and statuses.whole(reading.db) else None
    if asked is not None:
        # Each walks its part of the index in the list's order, and the list takes from whichever comes first.
        bindings |= {f"s{place}": text for place, text in enumerate(asked)}
        legs = [statuses.leg(place, "<" if query.newest else ">") for place in range(len(asked))]
    sql = " union all ".join(leg + conditions for leg in legs) + f" order by 1 {order} limit :first"
    numbers = [cast("int", row[0]) for row in reading.db.execute(sql, bindings)]
    shown = numbers[:first]
    nodes = reading.nodes_by_row(shown)
    more = write_cursor(kind, shown[-1]) if len(numbers) > first else None
    return Page(tuple(nodes[n] for n in shown), more)


def timeline(
    reading: Reading, subjects: Sequence[str], predicates: Sequence[str] | None, known_at: Micros, first: int,
    after: str | None,
) -> Page[Fact]:  # fmt: skip
    """List every assertion about nodes in valid order."""
    check_first(first)
    check_count(len(subjects))
    start, recorded, ordinal, e = read_cursor(after, "t", 4) or (_BEGINNING, _BEGINNING, -1, -1)
    named = None if predicates is None else json.dumps(list(predicates))
    asked = (reading.n, hex_list(subjects), named)
    few = number(reading.db.execute(reading.sql["timeline_keys"], (*asked, _KEYS_FEW + 1))) <= _KEYS_FEW
    rows = reading.db.execute(
        reading.sql["timeline_of_few" if few else "timeline"],
        (*asked, known_at, start, recorded, ordinal, e, first + 1),
    ).fetchall()
    shown = rows[:first]
    facts = reading.build([shown_row(row) for row in shown], known_at)
    more = None
    if len(rows) > first:
        last = shown[-1]
        more = write_cursor(
            "t", cast("int", last[7]), cast("int", last[9]), cast("int", last[10]), cast("int", last[0])
        )
    return Page(tuple(facts), more)


def _seq_at(reading: Reading, at: Micros) -> int:
    def recorded(seq: int) -> Micros:
        return number(reading.db.execute(reading.sql["seq_recorded"], (reading.n, 0, seq)))

    head = reading.db.execute(reading.sql["head"], (reading.n, 0)).fetchone()
    return seq_at(0 if head is None else cast("int", head[0]), recorded, at)


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
    last = _seq_at(reading, until)
    if subjects is None:
        rows = reading.db.execute(reading.sql["changes"], (reading.n, seq, last, first + 1)).fetchall()
    else:
        bindings = (reading.n, seq, last, first + 1, hex_list(subjects))
        rows = reading.db.execute(reading.sql["changes_of"], bindings).fetchall()
    # As known at the end of what was asked for: a later retraction must not reach into an earlier diff.
    found = _changes(reading, rows[:first], until)
    return Page(found, write_cursor("c", found[-1].seq) if len(rows) > first else None)


def _beginnings(
    reading: Reading, since: Micros, until: Micros, subjects: Sequence[str] | None, first: int, after: str | None
) -> Page[Change]:
    start, seq = read_cursor(after, "v", 2) or (since, FOREVER)
    named = None if subjects is None else hex_list(subjects)
    rows = reading.db.execute(
        reading.sql["beginnings"], (reading.n, since, until, start, seq, named, first + 1)
    ).fetchall()
    shown = rows[:first]
    more = write_cursor("v", cast("int", shown[-1][6]), cast("int", shown[-1][0])) if len(rows) > first else None
    return Page(_changes(reading, shown, NO_BOUND), more)


def _changes(reading: Reading, rows: Sequence[Sequence[object]], known_at: Micros) -> tuple[Change, ...]:
    own = {cast("int", row[1]) for row in rows if row[2] != EventKind.RETRACTED.value}
    targets = [id_text(cast("bytes", row[4])) for row in rows if row[2] == EventKind.RETRACTED.value]
    facts = reading.facts_by_row(sorted(own), known_at) if own else {}
    taken_back = reading.facts_by_id(targets, known_at) if targets else {}
    found: list[Change] = []
    for seq, e, kind, recorded_at, target, payload, *_ in rows:
        said: dict[str, str] = json.loads(cast("str", payload)) if payload else {}
        retracted = kind == EventKind.RETRACTED.value
        fact = taken_back[id_text(cast("bytes", target))] if retracted else facts[cast("int", e)]
        found.append(
            Change(
                cast("int", seq), EventKind(cast("str", kind)), fact, cast("int", recorded_at), said.get("reason"),
                said.get("replaced_by"),
            )
        )  # fmt: skip
    return tuple(found)


def search_text(
    reading: Reading, text: str, kinds: Sequence[NodeKind] | None, valid_at: Micros, known_at: Micros, first: int
) -> tuple[Hit, ...]:
    """Find nodes by words; every filter holds before the ranking ends, so no hidden row takes a visible one's place."""
    check_first(first)
    words = list(dict.fromkeys(_WORD.findall(text.casefold())))[:_WORDS_MAX]
    if not words:
        return ()
    match = " OR ".join(f'"{word}"' for word in words)
    wanted = None if kinds is None else {kind.value for kind in kinds}
    best: dict[int, tuple[float, int | None]] = {}
    sql = reading.sql["text_hits"].replace("{table}", f"text_{reading.n}")
    for scanned, (rowid, rank) in enumerate(reading.db.execute(sql, (match,))):
        if len(best) >= first or scanned >= _SCAN_MAX:
            break
        found = _visible_text(reading, cast("int", rowid), valid_at, known_at)
        if found is None or found[0] in best or found[1] in _HIDDEN or (wanted is not None and found[1] not in wanted):
            continue
        best[found[0]] = (-cast("float", rank), cast("int", rowid) if cast("int", rowid) > 0 else None)
    nodes = reading.nodes_by_row(list(best))
    facts = reading.facts_by_row([e for _, e in best.values() if e is not None], known_at)
    return tuple(Hit(nodes[n], None if e is None else facts[e], score) for n, (score, e) in best.items())


def _visible_text(reading: Reading, rowid: int, valid_at: Micros, known_at: Micros) -> tuple[int, str] | None:
    """Return the node (row, kind) that a text row speaks of, when it is to be seen."""
    if rowid < 0:
        row = reading.db.execute("select n, kind, recorded_at from node where n = ?", (-rowid,)).fetchone()
        if row is None or cast("int", row[2]) > known_at:
            return None
    else:
        row = reading.db.execute(reading.sql["text_fact"], (rowid, valid_at, known_at)).fetchone()
    return None if row is None else (cast("int", row[0]), cast("str", row[1]))


def near_keys(reading: Reading, key: str, limit: int) -> tuple[str, ...]:
    """Find keys that resemble *key*: its repeats first, then what is spelled like it."""
    prefix = normal_key(key) + "~"
    repeats = reading.db.execute(reading.sql["near_keys"], (reading.n, prefix, prefix + "\U0010ffff", limit))
    latest = reading.db.execute(reading.sql["some_keys"], (reading.n,))
    return near([cast("str", row[0]) for row in (*repeats, *latest)], key, limit)
