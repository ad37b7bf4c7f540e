"""Packs: a domain as data. The loader reads TOML and refuses what it does not understand, with the place named."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib import resources
from math import isfinite
from typing import Final, cast

from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import Cardinality, Predicate, Trust
from latewood.graph_schema.patterns import DeclaredRun
from latewood.graph_schema.values import Unit

__all__ = ["Pack", "Vocabulary", "core_pack", "declared_runs", "load_pack", "vocabulary"]

_TOP: Final = {"name", "version", "title", "description", "predicates", "units", "patterns"}
_PATTERN: Final = {"predicate", "above", "below", "periods", "unit", "description"}
_PERIODS_MIN: Final = 2
_PERIODS_MAX: Final = 1_000
_PREDICATE: Final = {"cardinality", "unit", "authority", "relation", "description"}


@dataclass(frozen=True, slots=True)
class Pack:
    """One pack: its *name* and *version*, predicates, units, and the recurrences that it declares."""

    name: str
    version: str
    title: str
    description: str
    predicates: Mapping[str, Predicate]
    units: Mapping[str, Unit]
    patterns: Mapping[str, DeclaredRun] = field(default_factory=dict[str, DeclaredRun])


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The predicates and units of all packs of a store."""

    predicates: Mapping[str, Predicate] = field(default_factory=dict[str, Predicate])
    units: Mapping[str, Unit] = field(default_factory=dict[str, Unit])


def _refuse(pack: str, where: str, problem: str) -> InvalidError:
    return InvalidError(f"pack {pack!r}, {where}: {problem}", code="pack.invalid", pack=pack, where=where)


def _table(pack: str, where: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _refuse(pack, where, "must be a table")
    return cast("dict[str, object]", value)


def _text(pack: str, where: str, table: Mapping[str, object], key: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or not value:
        raise _refuse(pack, f"{where}{key}", "must be a text")
    return value


def _predicate(pack: str, name: str, table: Mapping[str, object]) -> Predicate:
    where = f"predicates.{name}"
    unknown = set(table) - _PREDICATE
    if unknown:
        raise _refuse(pack, where, f"unknown keys {sorted(unknown)}; known are {sorted(_PREDICATE)}")
    try:
        cardinality = Cardinality(_text(pack, where + ".", table, "cardinality"))
        authority = Trust(_text(pack, where + ".", table, "authority", Trust.AGENT.value))
    except ValueError as error:
        raise _refuse(pack, where, str(error)) from error
    unit = table.get("unit")
    if unit is not None and not isinstance(unit, str):
        raise _refuse(pack, f"{where}.unit", "must be a text")
    relation = table.get("relation", False)
    if not isinstance(relation, bool):
        raise _refuse(pack, f"{where}.relation", "must be true or false")
    return Predicate(name, cardinality, unit, authority, relation)


def _unit(pack: str, name: str, value: object) -> Unit:
    table = _table(pack, f"units.{name}", value)
    try:
        factor = Decimal(_text(pack, f"units.{name}.", table, "factor"))
    except InvalidOperation as error:
        raise _refuse(pack, f"units.{name}.factor", "must be a decimal number as text") from error
    if not factor.is_finite() or factor <= 0:
        raise _refuse(pack, f"units.{name}.factor", "must be above zero")
    return Unit(name, _text(pack, f"units.{name}.", table, "base"), factor)


def _run(pack: str, name: str, value: object) -> DeclaredRun:
    where = f"patterns.{name}"
    table = _table(pack, where, value)
    unknown = set(table) - _PATTERN
    if unknown:
        raise _refuse(pack, where, f"unknown keys {sorted(unknown)}; known are {sorted(_PATTERN)}")
    if ("above" in table) == ("below" in table):
        raise _refuse(pack, where, "must have one of above and below")
    side = "above" if "above" in table else "below"
    threshold, periods = table[side], table.get("periods")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not isfinite(threshold):
        raise _refuse(pack, f"{where}.{side}", "must be a finite number")
    if isinstance(periods, bool) or not isinstance(periods, int) or not _PERIODS_MIN <= periods <= _PERIODS_MAX:
        raise _refuse(pack, f"{where}.periods", f"must be a whole number from {_PERIODS_MIN} to {_PERIODS_MAX:,}")
    unit = None if "unit" not in table else _text(pack, f"{where}.", table, "unit")
    predicate = _text(pack, f"{where}.", table, "predicate")
    description = _text(pack, f"{where}.", table, "description", name)
    return DeclaredRun(name, predicate, float(threshold), side == "above", periods, unit, description)


def load_pack(text: str, name: str = "pack") -> Pack:
    """Read a pack from TOML *text*; *name* is used in messages until the pack's own is known.

    Raises:
        InvalidError: code ``pack.invalid``, with the place.
    """
    try:
        document: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refuse(name, "the file", f"is not TOML: {error}") from error
    name = _text(name, "", document, "name")
    unknown = set(document) - _TOP
    if unknown:
        raise _refuse(name, "the file", f"unknown keys {sorted(unknown)}; known are {sorted(_TOP)}")
    predicates = {
        key: _predicate(name, key, _table(name, f"predicates.{key}", value))
        for key, value in _table(name, "predicates", document.get("predicates", {})).items()
    }
    units = {key: _unit(name, key, value) for key, value in _table(name, "units", document.get("units", {})).items()}
    return Pack(
        name=name,
        version=_text(name, "", document, "version"),
        title=_text(name, "", document, "title", name),
        description=_text(name, "", document, "description", name),
        predicates=predicates,
        units=units,
        patterns={
            key: _run(name, key, value) for key, value in _table(name, "patterns", document.get("patterns", {})).items()
        },
    )


@cache
def core_pack() -> Pack:
    """Return the pack that every space has."""
    text = resources.files("latewood.graph_schema.packs").joinpath("core.toml").read_text(encoding="utf-8")
    return load_pack(text, "core")


def declared_runs(packs: Iterable[Pack] = ()) -> tuple[DeclaredRun, ...]:
    """Join the recurrences that *packs* declare.

    Raises:
        InvalidError: when two packs declare one name differently.
    """
    runs: dict[str, DeclaredRun] = {}
    for pack in packs:
        for key, run in pack.patterns.items():
            if runs.setdefault(key, run) != run:
                raise _refuse(pack.name, f"patterns.{key}", "is declared otherwise by another pack")
    return tuple(runs[key] for key in sorted(runs))


def vocabulary(packs: Iterable[Pack] = ()) -> Vocabulary:
    """Join the core pack with *packs*.

    Raises:
        InvalidError: when two packs define one word differently.
    """
    predicates: dict[str, Predicate] = {}
    units: dict[str, Unit] = {}
    for pack in (core_pack(), *packs):
        for key, predicate in pack.predicates.items():
            if predicates.setdefault(key, predicate) != predicate:
                raise _refuse(pack.name, f"predicates.{key}", "is defined otherwise by another pack")
        for key, unit in pack.units.items():
            if units.setdefault(key, unit) != unit:
                raise _refuse(pack.name, f"units.{key}", "is defined otherwise by another pack")
    return Vocabulary(predicates, units)
