"""What a group will write: rows of the query `keep`, gathered while units are planned and settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from latewood.graph_schema.clock import FOREVER, Micros
from latewood.graph_schema.events import Event, EventKind
from latewood.graph_schema.model import ERASED_NAME, NodeKind
from latewood.graph_schema.resolution import Repair, Stretch
from latewood.graph_schema.values import Json, canonical_json, normal_key
from latewood.storage.building import value_of
from latewood.storage.neo4j.keys import FactRef, KeyImage
from latewood.storage.neo4j.names import labels_of, relation_type, space_label, spaced, vector_label
from latewood.storage.neo4j.vectors import numbers_of
from latewood.storage.rows import NodeRow, has_words
from latewood.storage.searching import texts_in

__all__ = ["Pending", "Rows", "born", "pair"]

Rows = list[dict[str, Any]]
_TITLE_CHARS_MAX: Final = 120
_DOCUMENT: Final = ("question", "choice", "rationale", "consequences", "expected_outcome")
_SOURCE_LINKS: Final[Mapping[str, str]] = {"actor": "BY", "on_behalf_of": "ON_BEHALF_OF", "session": "IN_SESSION"}
_INTEGER_MAX: Final = 2**63


def _rows() -> Rows:
    return []


def pair(at: Micros | None) -> list[int] | None:
    """Write an instant as seconds and nanoseconds, as the queries take it; open ends and nothing are null."""
    if at is None or at == FOREVER:
        return None
    seconds, micros = divmod(at, 1_000_000)
    return [seconds, micros * 1_000]


def born(recorded_at: Micros, place: int) -> str:
    """Write when a node was recorded as a text that sorts like it."""
    return f"{recorded_at + 2**62:020d}.{place:020d}"


@dataclass(slots=True)
class Pending:
    """Rows that wait to be written, each list for its part of the query `keep`."""

    events: Rows = field(default_factory=_rows)
    nodes: Rows = field(default_factory=_rows)
    links: Rows = field(default_factory=_rows)
    facts: Rows = field(default_factory=_rows)
    alternatives: Rows = field(default_factory=_rows)
    references: Rows = field(default_factory=_rows)
    values: Rows = field(default_factory=_rows)
    relations: Rows = field(default_factory=_rows)
    value_stamps: Rows = field(default_factory=_rows)
    relation_stamps: Rows = field(default_factory=_rows)
    retractions: Rows = field(default_factory=_rows)
    keys: Rows = field(default_factory=_rows)
    versions: Rows = field(default_factory=_rows)
    receipts: Rows = field(default_factory=_rows)
    states: Rows = field(default_factory=_rows)
    heads: Rows = field(default_factory=_rows)
    vectors: Rows = field(default_factory=_rows)
    statuses: Rows = field(default_factory=_rows)

    def parameters(self) -> dict[str, Rows]:
        """Return every list by its name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def node(self, space: int, node: NodeRow, place: int) -> None:
        """Keep a node, or its new definition when it is declared again."""
        labels = list(labels_of(node.kind, node.type))
        if has_words(node) and not node.erased:
            labels.append(space_label(space))
        properties = {
            "kind": node.kind.value, "type": node.type, "key": node.key, "name": node.name,
            "norm": None if node.key is None else normal_key(node.key),
            "attributes": "null" if node.erased else canonical_json(node.attributes),
            "text": None if node.erased else spaced(node.key or "", node.name),
        }  # fmt: skip
        if node.kind is NodeKind.SOURCE:
            # A circle in the Browser has room for the end of a path, not for all of it.
            properties["title"] = node.name.rstrip("/").rsplit("/", 1)[-1] or node.name
        self.nodes.append({
            "space": space, "id": node.id, "labels": labels, "properties": properties,
            "recorded_at": pair(node.recorded_at), "born": born(node.recorded_at, place),
        })  # fmt: skip
        if node.kind is not NodeKind.SOURCE:
            return
        for attribute, link in _SOURCE_LINKS.items():
            target = node.attributes.get(attribute)
            if isinstance(target, str):
                self.links.append({"space": space, "from": node.id, "to": target, "type": link})

    def fact(self, space: int, event: Event, place: int, recorded_at: Micros) -> None:
        """Keep an assertion: what resolution sees of it, and what people do."""
        payload = event.payload
        properties: dict[str, Any] = {
            "space": space, "id": event.id, "place": place, "subject": event.subject,
            "predicate": payload.get("predicate", ""), "key_id": event.key.hex() if event.key else None,
            "absent": event.kind is EventKind.ABSENT, "tier": event.tier, "trust": event.trust, "known": event.known,
            "ordinal": event.ordinal, "source": payload.get("source"),
            "object": payload.get("object"), "as_written": payload.get("as_written"),
            # Where in the source it stands, and in which words: a commit, a line, a sentence.
            "locator": payload.get("locator"), "quote": payload.get("quote"),
            "payload": canonical_json(payload) if payload else None,
            **_shown(event),
        }  # fmt: skip
        labels = ["Fact", "Absence"] if properties["absent"] else ["Fact"]
        if properties.get("text"):
            labels.append(space_label(space))
        self.facts.append({
            "labels": labels, "properties": properties, "valid_from": pair(event.valid_from),
            "valid_to": pair(event.valid_to), "recorded_at": pair(recorded_at),
        })  # fmt: skip
        self._alternatives(space, event)
        replaces = payload.get("replaces")
        if isinstance(replaces, str):
            self.references.append({"space": space, "from": event.id, "to": replaces, "type": "REPLACES"})
        if event.kind is EventKind.ABSENT and event.target is not None:
            self.references.append({"space": space, "from": event.id, "to": event.target, "type": "ENDS"})

    def _alternatives(self, space: int, event: Event) -> None:
        value = value_of(event.payload)
        listed = value.data.get("alternatives") if value is not None and isinstance(value.data, dict) else None
        for one in listed if isinstance(listed, list) else ():
            if not isinstance(one, dict) or not isinstance(one.get("title"), str):
                continue
            properties = {
                "space": space, "title": one["title"], "fact_id": event.id,
                "rejected_because": one.get("rejected_because"),
            }  # fmt: skip
            if all(part is None or isinstance(part, str | int) for part in properties.values()):
                self.alternatives.append({"space": space, "fact": event.id, "properties": properties})

    def retraction(self, space: int, event: Event, place: int, recorded_at: Micros) -> None:
        """Stamp a fact that is taken back."""
        reason = event.payload.get("reason")
        stamps = {
            "retraction": place, "retired_reason": reason if isinstance(reason, str) else None,
        }  # fmt: skip
        self.retractions.append({
            "space": space, "fact": event.target, "stamps": stamps, "retracted_at": pair(recorded_at),
        })  # fmt: skip

    def repair(self, image: KeyImage, repair: Repair, recorded_at: Micros) -> None:
        """Write the repair of one key as stamps and new relationships."""
        for row, end in repair.closes:
            self._stamp(image, row, {"valid_to": pair(end), "closed_at": pair(recorded_at)})
        for row in repair.retires:
            self._stamp(image, row, {"retired_at": pair(recorded_at)})
        for row in repair.inserts:
            self._insert(image, row)

    def _stamp(self, image: KeyImage, row: Stretch, stamps: dict[str, Any]) -> None:
        ref = image.facts[row.fact]
        found = {
            "space": image.space, "fact_id": ref.id, "valid_from": pair(row.valid_from),
            "recorded_at": pair(row.recorded_at), **stamps,
        }  # fmt: skip
        if ref.object is None:
            self.value_stamps.append(found)
        else:
            self.relation_stamps.append({**found, "subject": image.subject, "object": ref.object})

    def _insert(self, image: KeyImage, row: Stretch) -> None:
        ref: FactRef = image.facts[row.fact]
        found: dict[str, Any] = {
            "space": image.space, "subject": image.subject,
            "stamps": {"fact_id": ref.id, "predicate": image.predicate}, "valid_from": pair(row.valid_from),
            "valid_to": pair(row.valid_to), "recorded_at": pair(row.recorded_at), "closed_at": pair(row.closed_at),
        }  # fmt: skip
        if ref.object is None:
            self.values.append(found)
        else:
            self.relations.append({**found, "object": ref.object, "type": relation_type(image.predicate)})

    def keep_vectors(self, space: int, generation: int, vectors: Mapping[str, bytes]) -> None:
        """Keep the vectors of new facts in a generation, by its number."""
        for fact, vector in vectors.items():
            properties = {
                "space": space, "fact": fact, "generation": generation, "name": "vector", "numbers": numbers_of(vector),
            }  # fmt: skip
            self.vectors.append({"label": vector_label(generation), "properties": properties})

    def key(self, image: KeyImage) -> None:
        """Keep what the next writer must know of a key."""
        tail, ids = image.tail_properties()
        properties = {
            "subject": image.subject, "predicate": image.predicate, "name": image.predicate,
            "origin": image.state.origin, "contested": image.state.contested, "top": image.state.top, "tail": tail,
            "tail_facts": ids,
        }  # fmt: skip
        self.keys.append({"space": image.space, "id": image.id, "properties": properties})

    def status(self, space: int, node: str, status: str, recorded_at: Micros) -> None:
        """Note the status that a node has from now on."""
        self.statuses.append({"space": space, "id": node, "status": status, "at": pair(recorded_at)})


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TITLE_CHARS_MAX else line[: _TITLE_CHARS_MAX - 1] + "…"


def _shown(event: Event) -> dict[str, Any]:
    """Write what people read on a fact: a title, the value as Neo4j can hold it, a decision's words, words to find."""
    if not event.payload:
        return {"title": ERASED_NAME}
    predicate = str(event.payload["predicate"])
    if event.kind is EventKind.ABSENT:
        return {"title": f"{predicate}: ended"}
    value = value_of(event.payload)
    if value is None:
        return {"title": predicate}
    text = value.text()
    shown: dict[str, Any] = {"title": _short(f"{predicate}: {text}"), "unit": value.unit}
    if value.kind in ("text", "json"):
        shown["text"] = spaced(*texts_in(value.data)) or None
    if value.kind != "text":
        shown["said"] = text
    data: Json = value.data
    if (
        isinstance(data, bool | float)
        or (isinstance(data, int) and -_INTEGER_MAX <= data < _INTEGER_MAX)
        or isinstance(data, str)
    ):
        shown["value"] = data
    elif isinstance(data, dict):
        shown |= {name: data[name] for name in _DOCUMENT if isinstance(data.get(name), str)}
        if isinstance(data.get("title"), str):
            shown["title"] = _short(str(data["title"]))
    return shown
