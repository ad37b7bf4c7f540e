"""A scope as SQL over `memory`: words of the caller are only ever bound."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from latewood.graph_schema.clock import Micros
from latewood.storage.searching import Scope
from latewood.storage.sqlite.reading import NO_BOUND, Reading, hex_list

__all__ = ["HOLDER", "conditions", "narrow"]

HOLDER: Final = """(
  select h.e from stretch h where h.k = {key} and h.valid_from <= :t and h.recorded_at <= :r and h.retired_at > :r
    and (h.valid_to > :t or h.closed_at > :r) order by h.valid_from desc, h.recorded_at desc limit 1)"""
"""The row of the fact that is visible for a key at (t, r); at most one is."""
_NAMED: Final = "select n.n from json_each(:{name}) i cross join node n on n.space = :space and n.id = unhex(i.value)"


def _listed(values: Sequence[str]) -> str:
    return json.dumps([str(value) for value in values])


def narrow(scope: Scope) -> bool:
    """Tell whether a scope has a filter that an index answers with few rows."""
    return scope.about is not None or scope.sessions is not None


def conditions(
    reading: Reading, scope: Scope, valid_at: Micros, known_at: Micros, bindings: dict[str, object]
) -> str | None:
    """Write the scope's filters over `memory m`, None when there are none; what they need goes into *bindings*."""
    bindings |= {"space": reading.n, "t": valid_at, "r": known_at}
    parts: list[str] = []
    if known_at != NO_BOUND:
        parts.append("m.recorded_at <= :r")
    if scope.kinds is not None or scope.types is not None:
        inner = "select 1 from node y where y.n = m.subject"
        if scope.kinds is not None:
            bindings["kinds"] = _listed(scope.kinds)
            inner += " and y.kind in (select value from json_each(:kinds))"
        if scope.types is not None:
            bindings["types"] = _listed(scope.types)
            inner += " and y.type in (select value from json_each(:types))"
        parts.append(f"exists ({inner})")
    if scope.predicates is not None:
        bindings["predicates"] = _listed(scope.predicates)
        parts.append("m.predicate in (select value from json_each(:predicates))")
    if scope.about is not None:
        bindings["about"] = hex_list(scope.about)
        parts.append(
            f"m.subject in ({_NAMED.format(name='about')} union select k.subject from json_each(:about) i "  # noqa: S608
            "cross join claim c on c.object = unhex(i.value) cross join key k on k.k = c.k and k.space = :space "
            f"where c.e = {HOLDER.format(key='k.k')})"
        )
    for name, ids in (("session", scope.sessions), ("actor", scope.actors)):
        if ids is not None:
            bindings[f"{name}s"] = hex_list(ids)
            parts.append(f"m.{name} in ({_NAMED.format(name=f'{name}s')})")
    if scope.trust_min is not None:
        bindings["trust"] = scope.trust_min.level
        parts.append("m.trust >= :trust")
    if scope.since is not None:
        bindings["since"] = scope.since
        parts.append("m.valid_from >= :since")
    if scope.until is not None:
        bindings["until"] = scope.until
        parts.append("m.valid_from < :until")
    if not parts:
        return None
    # The plus keeps SQLite from the index over the whole space where a filter names a few rows.
    space = "+m.space" if narrow(scope) or scope.actors is not None else "m.space"
    return " and ".join([f"{space} = :space", *parts])
