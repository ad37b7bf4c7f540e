"""A map: how the columns of a table become nodes, facts and relations."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final, cast

from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.graph_schema.model import DecisionStatus, NodeKind

__all__ = ["FactColumn", "HistoryColumn", "RelationColumn", "TableMap", "fill", "load_map", "read_map"]

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_PLACE: Final = re.compile(r"\{(\w+)\}")
_KINDS: Final = frozenset({NodeKind.ENTITY, NodeKind.DECISION})
_TYPES: Final = ("text", "number", "decimal", "boolean", "instant", "json")
_TEXTS: Final = ("question", "choice", "rationale", "consequences", "expected_outcome")


@dataclass(frozen=True, slots=True)
class FactColumn:
    """A column whose value is a fact. *type* is text, number, decimal, boolean, instant or json."""

    column: str
    predicate: str
    type: str = "text"
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """A column that names other nodes, one or a list; *inverse*: they point here."""

    column: str
    predicate: str
    target: str
    inverse: bool = False
    split: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryColumn:
    """A list of dated items: each has a time *at*, perhaps a status, and perhaps the relation columns as they were."""

    column: str
    at: str
    locator: str | None = None
    status: str | None = None
    relations: bool = False


@dataclass(frozen=True, slots=True)
class TableMap:
    """How to read a row.

    Attributes:
        key, name: templates such as ``pep:{pep}``.
        text: a decision's fields to templates; *extra* columns are kept beside them.
        valid_from, valid_to: columns with the row's own dates.
        status: the column with the status, *words* its words (lower case) to ours.
    """

    kind: NodeKind
    key: str
    name: str
    text: Mapping[str, str] = field(default_factory=dict[str, str])
    extra: Sequence[str] = ()
    valid_from: str | None = None
    valid_to: str | None = None
    status: str | None = None
    words: Mapping[str, DecisionStatus] = field(default_factory=dict[str, DecisionStatus])
    facts: tuple[FactColumn, ...] = ()
    relations: tuple[RelationColumn, ...] = ()
    history: tuple[HistoryColumn, ...] = ()


def fill(template: str, row: Mapping[str, object]) -> str | None:
    """Fill a template from a row's columns; None when one of them is missing or empty."""
    values = {name: row.get(name) for name in _PLACE.findall(template)}
    if any(value is None or value == "" for value in values.values()):
        return None
    return _PLACE.sub(lambda place: str(values[place[1]]), template)


class _Reader:
    """Reads a map's TOML, naming the place of what it does not understand."""

    def __init__(self, name: str) -> None:
        self._name = name

    def refuse(self, where: str, problem: str) -> InvalidError:
        return InvalidError(f"map {self._name}, {where}: {problem}", code="import.malformed", where=where)

    def table(self, value: object, where: str, known: Sequence[str]) -> dict[str, object]:
        if not isinstance(value, dict):
            raise self.refuse(where, "must be a table")
        found = cast("dict[str, object]", value)
        unknown = sorted(set(found) - set(known))
        if unknown:
            raise self.refuse(where, f"unknown keys {unknown}; known are {sorted(known)}")
        return found

    def tables(self, value: object, where: str, known: Sequence[str]) -> list[dict[str, object]]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.refuse(where, "must be a list of tables ([[...]])")
        return [self.table(one, f"{where}[{n}]", known) for n, one in enumerate(cast("list[object]", value))]

    def text(self, table: Mapping[str, object], key: str, where: str) -> str:
        found = self.maybe(table, key, where)
        if found is None:
            raise self.refuse(f"{where}.{key}", "is missing")
        return found

    def maybe(self, table: Mapping[str, object], key: str, where: str) -> str | None:
        found = table.get(key)
        if found is not None and (not isinstance(found, str) or not found):
            raise self.refuse(f"{where}.{key}", "must be a text")
        return found

    def flag(self, table: Mapping[str, object], key: str, where: str) -> bool:
        found = table.get(key, False)
        if not isinstance(found, bool):
            raise self.refuse(f"{where}.{key}", "must be true or false")
        return found

    def status(self, document: Mapping[str, object]) -> tuple[str | None, dict[str, DecisionStatus]]:
        if "status" not in document:
            return None, {}
        table = self.table(document["status"], "status", ("column", "words"))
        words: dict[str, DecisionStatus] = {}
        given = table.get("words", {})
        for word, ours in cast("dict[str, object]", given if isinstance(given, dict) else {}).items():
            try:
                words[word.casefold()] = DecisionStatus(str(ours))
            except ValueError as error:
                known = ", ".join(DecisionStatus)
                raise self.refuse(f"status.words.{word}", f"{ours!r} is none of {known}") from error
        return self.text(table, "column", "status"), words


def read_map(text: str, name: str = "map") -> TableMap:
    """Read a map from TOML.

    Raises:
        InvalidError: code ``import.malformed``, with the place.
    """
    reader = _Reader(name)
    try:
        document: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise reader.refuse("the file", f"is not TOML: {error}") from error
    reader.table(document, "the file", ("node", "text", "dates", "status", "facts", "relations", "history"))
    node = reader.table(document.get("node"), "node", ("kind", "key", "name"))
    kind = reader.maybe(node, "kind", "node") or "entity"
    if kind not in _KINDS:
        raise reader.refuse("node.kind", f"{kind!r} is neither entity nor decision")
    words = reader.table(document.get("text", {}), "text", (*_TEXTS, "extra"))
    dates = reader.table(document.get("dates", {}), "dates", ("valid_from", "valid_to"))
    status, meanings = reader.status(document)
    facts = reader.tables(document.get("facts"), "facts", ("column", "predicate", "type", "unit"))
    for one in facts:
        if one.get("type", "text") not in _TYPES:
            raise reader.refuse("facts.type", f"{one['type']!r} is none of {', '.join(_TYPES)}")
    relations = reader.tables(
        document.get("relations"), "relations", ("column", "predicate", "target", "inverse", "split")
    )
    history = reader.tables(document.get("history"), "history", ("column", "at", "locator", "status", "relations"))
    key = reader.text(node, "key", "node")
    return TableMap(
        kind=NodeKind(kind), key=key, name=reader.maybe(node, "name", "node") or key,
        text={field_: reader.text(words, field_, "text") for field_ in _TEXTS if field_ in words},
        extra=[str(one) for one in cast("list[object]", words.get("extra", []))],
        valid_from=reader.maybe(dates, "valid_from", "dates"), valid_to=reader.maybe(dates, "valid_to", "dates"),
        status=status, words=meanings,
        facts=tuple(
            FactColumn(
                reader.text(one, "column", "facts"), reader.maybe(one, "predicate", "facts") or str(one["column"]),
                str(one.get("type", "text")), reader.maybe(one, "unit", "facts"),
            )
            for one in facts
        ),
        relations=tuple(
            RelationColumn(
                reader.text(one, "column", "relations"), reader.text(one, "predicate", "relations"),
                reader.text(one, "target", "relations"), reader.flag(one, "inverse", "relations"),
                reader.maybe(one, "split", "relations"),
            )
            for one in relations
        ),
        history=tuple(
            HistoryColumn(
                reader.text(one, "column", "history"), reader.text(one, "at", "history"),
                reader.maybe(one, "locator", "history"), reader.maybe(one, "status", "history"),
                reader.flag(one, "relations", "history"),
            )
            for one in history
        ),
    )  # fmt: skip


def load_map(name: str | Path) -> TableMap:
    """Read a map from a file, or one that comes along by its name (``pep``, ``rfc``).

    Raises:
        NotFoundError: code ``file.unreadable``.
        InvalidError: code ``import.malformed``.
    """
    path = Path(name)
    if path.is_file():
        return read_map(path.read_text(encoding="utf-8"), str(name))
    shipped = resources.files("latewood.ingestion.maps")
    if _NAME.fullmatch(str(name)) is not None and shipped.joinpath(f"{name}.toml").is_file():
        return read_map(shipped.joinpath(f"{name}.toml").read_text(encoding="utf-8"), str(name))
    known = sorted(one.name.removesuffix(".toml") for one in shipped.iterdir() if one.name.endswith(".toml"))
    msg = f"there is no map {str(name)!r}; name a TOML file or one of {', '.join(known)}"
    raise NotFoundError(msg, code="file.unreadable", path=str(name))
