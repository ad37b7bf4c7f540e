"""Erasing in SQLite: what is to go is found and taken in one transaction, and then the file is scrubbed.

`secure_delete` overwrites what is deleted, in tables and in the text index alike. What is left is the write-ahead log,
which still has the pages as they were: it is cut off as soon as nobody reads from it any more. A mark beside the
file, made before the erasure is committed, says that this is still to be done, and outlives a crash.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias, cast

import apsw

from latewood.graph_schema.errors import UnavailableError
from latewood.graph_schema.ids import id_bytes, id_text, is_id, normal_id
from latewood.graph_schema.model import ERASED_NAME, NodeKind
from latewood.graph_schema.values import canonical_json
from latewood.storage.crashpoints import reach
from latewood.storage.erasing import REFUSAL_ERASED, Erasure, receipt_without
from latewood.storage.port import Scrub
from latewood.storage.queries import load_queries
from latewood.storage.receipts import receipt_from_json, receipt_to_json
from latewood.storage.rows import Erasing
from latewood.storage.sqlite import memories
from latewood.storage.sqlite.database import BUSY_MS, Cell, Database, Statements, number

__all__ = ["Place", "find", "mark", "marked", "scrub", "take"]

Place: TypeAlias = tuple[str, int, str, int]
"""Where an erasure happens: the tenant, the row and the name of the space, the number of the ledger."""
_SCRUB_WAIT_MS: Final = 1_000
"""How long cutting off the log waits for readers."""


def _sql() -> Mapping[str, str]:
    return load_queries("latewood.storage.sqlite", "erasing.sql")


def _hex(ids: Iterable[str]) -> str:
    return json.dumps([one.replace("-", "") for one in ids])


def find(db: Statements, place: Place, target: str) -> Erasing | None:
    """Return what an erasure of *target* would take, None when it is neither a node nor a fact."""
    _, n, _, ledger = place
    if not is_id(target):
        return None
    raw, names = id_bytes(target), dict[str, tuple[int, NodeKind]]()
    node = db.execute(_sql()["node_target"], (n, raw)).fetchone()
    if node is not None:
        subject, kind = target, NodeKind(cast("str", node[1]))
        names = _absorbed(db, n, target)
        rows = db.execute(_sql()["rows_about_node"], (n, raw, node[0])).fetchall()
        for one, (number_of, _) in names.items():
            rows += db.execute(_sql()["rows_about_node"], (n, id_bytes(one), number_of)).fetchall()
    else:
        fact = db.execute(_sql()["fact_target"], (n, raw)).fetchone()
        if fact is None:
            return None
        subject, kind = id_text(cast("bytes", fact[0])), None
        rows = db.execute(_sql()["rows_about_fact"], (n, raw)).fetchall()
    # A merge says in one ledger again what stands in the other: what belongs together is found in both.
    every = _with_linked(db, n, rows)
    rows = [row for row in every if row[5] == ledger]
    named = _orphans(db, n, every)
    if kind is NodeKind.ACTOR and node is not None and node[3] is not None:
        own = db.execute(_sql()["sources_under_key"], (n, target, node[3]))
        named.update(id_text(cast("bytes", row[0])) for row in own)
    declared = db.execute(_sql()["declarations"], (n, ledger, _hex(sorted(named))))
    return Erasing(
        target, subject, kind, tuple(cast("int", row[1]) for row in rows),
        {id_text(cast("bytes", row[0])): cast("int", row[1]) for row in declared},
        {cast("bytes", row[2]): cast("str", row[3]) for row in rows if row[2] is not None},
        {one: kind_of for one, (_, kind_of) in names.items()},
    )  # fmt: skip


def _absorbed(db: Statements, n: int, target: str) -> dict[str, tuple[int, NodeKind]]:
    """Return the nodes that were merged into *target*, and those merged into them, with their rows and kinds."""
    found: dict[str, tuple[int, NodeKind]] = {}
    fresh = [target]
    while fresh:
        rows = db.execute(_sql()["absorbed_by"], (n, json.dumps(fresh))).fetchall()
        new = {id_text(cast("bytes", row[1])): (cast("int", row[0]), NodeKind(cast("str", row[2]))) for row in rows}
        fresh = [one for one in new if one not in found]
        found |= new
    return found


def _with_linked(db: Statements, n: int, rows: Sequence[tuple[Cell, ...]]) -> list[tuple[Cell, ...]]:
    """Return *rows* with those about the facts that say the same, of the nodes before and after merges and splits."""
    found = {cast("int", row[0]): row for row in rows}
    fresh, seen = list(found), set[str]()
    while fresh:
        linked = db.execute(_sql()["linked_facts"], (json.dumps(fresh),)).fetchall()
        facts = {normal_id(cast("str", one)) for row in linked for one in row if one is not None} - seen
        seen |= facts
        new = [
            row for fact in sorted(facts) if is_id(fact)
            for row in db.execute(_sql()["rows_about_fact"], (n, id_bytes(fact)))
        ]  # fmt: skip
        fresh = [cast("int", row[0]) for row in new if cast("int", row[0]) not in found]
        found |= {cast("int", row[0]): row for row in new}
    return sorted(found.values(), key=lambda row: cast("int", row[1]))


def _orphans(db: Statements, n: int, rows: Iterable[tuple[Cell, ...]]) -> set[str]:
    """Return the sources that no payload but those of *rows* names; the ledger is read as far as one is in doubt."""
    listed = list(rows)
    gone = {row[0] for row in listed}
    left = {cast("str", row[4]) for row in listed if row[4] is not None}
    if left:
        for e, source in db.execute(_sql()["sources_named"], (n,)):
            if source in left and e not in gone:
                left.discard(source)
                if not left:
                    break
    return left


def take(db: Statements, place: Place, erasure: Erasure) -> dict[str, int]:
    """Take the words of the rows that *erasure* names out of every table; return how many rows of each place."""
    sql = _sql()
    tenant, n, space, ledger = place
    found = db.execute(sql["rows_by_seq"], (n, ledger, json.dumps(list(erasure.seqs))))
    rows = [cast("int", row[0]) for row in found.fetchall()]
    listed = json.dumps(rows)
    db.execute(sql["take_objects"], (listed,))
    objects = db.changes()
    db.execute(sql["take_payloads"], (listed,))
    for key, predicate in erasure.keys.items():
        db.execute(sql["name_key"], (predicate, n, key))
    vectors = memories.forget(db, n, rows)
    texts, receipts, nodes = [*rows], 0, 0
    actors: list[int] = []
    keys: dict[str, str | None] = {}
    for one, kind in erasure.nodes.items():
        node = db.execute(sql["node_target"], (n, id_bytes(one))).fetchone()
        if node is not None:
            nodes += 1
            texts.append(-cast("int", node[0]))
            keys[one] = cast("str | None", node[3])
            if kind is NodeKind.ACTOR:
                actors.append(cast("int", node[0]))
            if kind is not NodeKind.SOURCE:
                receipts += _receipts(db, n, keys, one, cast("str | None", node[2]))
            db.execute(sql["bury_node"], (kind.value, ERASED_NAME, node[0]))
    memories.forget_speakers(db, actors, [one for one, kind in erasure.nodes.items() if kind is NodeKind.SOURCE])
    table, listed = f"text_{n}", json.dumps(texts)
    counted = number(db.execute(sql["count_texts"].replace("{table}", table), (listed,)))
    db.execute(sql["take_texts"].replace("{table}", table), (listed,))
    db.execute(sql["empty_refusals"], (tenant, space, REFUSAL_ERASED))
    return {
        "ledger": len(rows), "nodes": nodes, "receipts": receipts,
        "refusals": db.changes(), "text": counted, "edges": objects, "vectors": vectors,
    }  # fmt: skip


def _receipts(db: Statements, n: int, keys: Mapping[str, str | None], node: str, key: str | None) -> int:
    """Take a node's key out of the receipts that name it; receipts know it by its id or as it was written."""
    changed = 0
    written = canonical_json(key) if key is not None else node
    for raw, text in db.execute(_sql()["receipts_naming"], (n, node, written)).fetchall():
        left = receipt_without(receipt_from_json(cast("str", text)), keys)
        if left is not None:
            db.execute(_sql()["set_receipt"], (receipt_to_json(left), raw))
            changed += 1
    return changed


def _mark(path: Path) -> Path:
    return path.with_name(path.name + "-scrub")


def marked(path: Path) -> bool:
    """Tell whether an erasure left something to scrub."""
    return _mark(path).exists()


def mark(path: Path) -> None:
    """Note that an erasure is about to be committed, so that its traces are scrubbed even after a crash.

    It is made inside the erasure's transaction: whoever takes it away holds the same lock.

    Raises:
        UnavailableError: code ``file.unreadable``; nothing was erased.
    """
    try:
        _mark(path).touch()
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        msg = f"{_mark(path)} cannot be made, and without it a crash could leave erased words: {error}"
        raise UnavailableError(msg, code="file.unreadable") from error
    reach("erase.marked")


def scrub(db: Database, path: Path, *, wait_ms: int = _SCRUB_WAIT_MS) -> Scrub:
    """Cut off the write-ahead log, in which pages stand as they were before an erasure."""
    copies = sorted(one.name for one in path.parent.glob(f"{path.name}.schema-*.backup"))
    note = f"; copies made before an upgrade still have it: {', '.join(copies)}" if copies else ""
    if not marked(path):
        return Scrub("done", "nothing waits to be scrubbed" + note)
    msg = f"another process uses {path}-wal, which has the pages as they were; `latewood doctor` tries again"
    db.pragma("busy_timeout", wait_ms)
    try:
        cut = not number(db.execute("pragma wal_checkpoint(truncate)"))
        if cut:
            reach("scrub.cut")
        if cut and _unmark(db, path):
            return Scrub("done", f"{path} and its log are free of what was erased" + note)
    except (apsw.BusyError, apsw.LockedError):
        pass
    except (apsw.FullError, apsw.IOError) as error:
        # The erasure itself is committed: an error here would say that it was not.
        msg = f"{path}-wal has the pages as they were, and the disk refused to cut it off: {error}; free space, then"
        msg += " run `latewood doctor`"
    finally:
        db.pragma("busy_timeout", BUSY_MS)
    return Scrub("pending", msg + note)


def _unmark(db: Database, path: Path) -> bool:
    """Take the mark away, unless the log has grown again: it may have grown by the next erasure."""
    try:
        db.execute("begin immediate")
    except apsw.BusyError:
        return False
    try:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size > 0:
            return False
        _mark(path).unlink(missing_ok=True)
    finally:
        db.execute("rollback")
    return True
