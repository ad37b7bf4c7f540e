"""Changes and text search of the reference store: scans of everything, in the order of the port."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, cast

from latewood.graph_schema.clock import AsOf, Micros
from latewood.graph_schema.events import EventKind, LedgerEntry
from latewood.graph_schema.model import Fact, NodeKind
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.storage.bounds import check_facts
from latewood.storage.cursors import check_first, read_cursor, write_cursor
from latewood.storage.port import Axis, Change, FactQuery, Hit, Page
from latewood.storage.reference_space import NO_BOUND, SpaceLog
from latewood.storage.rows import as_known, has_words
from latewood.storage.searching import texts_in

__all__ = ["HIDDEN", "changes", "facts", "search_text", "words_in"]

HIDDEN: Final = (NodeKind.PREDICATE, NodeKind.SOURCE)
"""Kinds that are listed and found only when they are asked for."""
_LISTED: Final = (EventKind.ASSERTED, EventKind.ABSENT, EventKind.RETRACTED)
_WORD: Final = re.compile(r"\w+")


def words_in(texts: Iterable[str]) -> set[str]:
    """Return the words of texts, case folded."""
    return {word for text in texts for word in _WORD.findall(text.casefold())}


def changes(
    log: SpaceLog, since: Micros, until: Micros, axis: Axis, subjects: Sequence[str] | None, first: int,
    after: str | None,
) -> Page[Change]:  # fmt: skip
    """Return what was asserted, ended and retracted in (since, until]."""
    check_first(first)
    known = until if axis == "known" else NO_BOUND
    entries = [
        one
        for one in log.ledgers["knowledge"]
        if one.event.kind in _LISTED and (subjects is None or one.event.subject in subjects)
    ]
    if axis == "valid":
        place = read_cursor(after, "v", 2)
        standing = [one for one in entries if one.event.key and one.event.kind is not EventKind.RETRACTED]
        found = sorted(
            (cast("int", one.event.valid_from), one.seq)
            for one in standing
            if one.event.id not in log.retractions and since < cast("int", one.event.valid_from) <= until
        )
    else:
        place = read_cursor(after, "c", 1)
        found = [(one.seq,) for one in entries if since < one.recorded_at <= until]
    found = [one for one in found if place is None or one > place]
    shown = found[:first]
    more = write_cursor("v" if axis == "valid" else "c", *shown[-1]) if len(found) > first else None
    return Page(tuple(_change(log, log.ledgers["knowledge"][one[-1] - 1], known) for one in shown), more)


def facts(
    log: SpaceLog, query: FactQuery, words: Vocabulary, valid_at: Micros, known_at: Micros
) -> tuple[Fact, ...]:  # fmt: skip
    """Return the facts that hold, or with `FactQuery.standing` those that count, in the order of the port."""
    found = log.holding(
        log.keys_of if query.subjects is None else query.subjects, valid_at, known_at, every=query.standing
    )
    if query.subjects is None:
        objects = set(query.objects or ())
        found = [(entry, key) for entry, key in found if entry.event.payload.get("object") in objects]
    if query.predicates is not None:
        found = [(entry, key) for entry, key in found if log.predicate(entry.event) in query.predicates]
    check_facts(len(found))
    found.sort(key=lambda one: (
        one[0].event.subject, log.predicate(one[0].event), cast("int", one[0].event.valid_from),
        one[0].recorded_at, one[0].event.ordinal,
    ))  # fmt: skip
    read = [(log.fact(entry, known_at), key) for entry, key in found]
    return (
        tuple(fact for fact, _ in read)
        if query.standing
        else tuple(replace(fact, conflict=log.conflict(fact, key, words, valid_at, known_at)) for fact, key in read)
    )


def search_text(
    log: SpaceLog, text: str, kinds: Sequence[NodeKind] | None, valid_at: Micros, known_at: Micros, at: AsOf, first: int
) -> tuple[Hit, ...]:
    """Return nodes whose names, keys or holding texts have any of the words, most distinct words first."""
    check_first(first)
    asked = words_in([text])
    hits: list[Hit] = []
    for row in log.nodes.values():
        if row.kind in HIDDEN or row.recorded_at > known_at or (kinds is not None and row.kind not in kinds):
            continue
        own = [row.key or "", row.name] if has_words(row) and not row.erased else []
        found: list[tuple[int, Fact | None]] = [(len(asked & words_in(own)), None)]
        for entry, _ in log.holding([row.id], valid_at, known_at):
            fact = log.fact(entry, known_at)
            if fact.value is not None and fact.value.kind in ("text", "json"):
                found.append((len(asked & words_in(texts_in(fact.value.data))), fact))
        score, best = max(found, key=lambda one: one[0])
        if score:
            hits.append(Hit(as_known(log.node(row), at), best, float(score)))
    return tuple(sorted(hits, key=lambda hit: -hit.score)[:first])


def _change(log: SpaceLog, entry: LedgerEntry, known_at: Micros) -> Change:
    event = entry.event
    about = entry
    if event.kind is EventKind.RETRACTED:
        about = log.log[log.places[cast("str", event.target)]]
    reason, replaced_by = event.payload.get("reason"), event.payload.get("replaced_by")
    return Change(
        entry.seq, event.kind, log.fact(about, known_at), entry.recorded_at, cast("str | None", reason),
        cast("str | None", replaced_by),
    )  # fmt: skip
