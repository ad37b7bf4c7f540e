"""What a unit becomes: its events with their stamps, and the receipt that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from latewood.graph_schema.clock import Micros, from_micros
from latewood.graph_schema.commands import History, Unit
from latewood.graph_schema.events import Event, EventKind, NotHolding, Receipt
from latewood.graph_schema.model import Cardinality, LedgerName, NodeKind, Predicate, Trust
from latewood.graph_schema.values import Json
from latewood.storage.merging import is_redeclared
from latewood.storage.rows import NodeRow, SpaceRow

__all__ = ["Plan", "fills", "last_recorded", "predicate_attributes", "predicate_of", "receipt_of", "recorded_time"]

NOT_HOLDING_MAX: Final = 20


@dataclass(slots=True)
class Plan:
    """What a unit becomes.

    Attributes:
        events: in order; their ordinals are their places.
        declared: new nodes, in order (predicates declared again included).
        state: of the space afterwards, with *filling*.
        unsaid: keys of which nothing can have been said, since they name a node that the unit itself is the first to.
        origin: the origin of every assertion of the unit, for conflicts, but of those in *origins*, by their ids.
    """

    recorded_at: Micros
    written_at: Micros
    state: str
    filling: str | None
    late: bool
    origin: str
    events: list[Event] = field(default_factory=list[Event])
    declared: list[NodeRow] = field(default_factory=list[NodeRow])
    nodes: dict[str, str] = field(default_factory=dict[str, str])
    registered: list[str] = field(default_factory=list[str])
    facts: list[str] = field(default_factory=list[str])
    origins: dict[str, str] = field(default_factory=dict[str, str])
    unsaid: set[bytes] = field(default_factory=set[bytes])

    def origin_of(self, event: Event) -> str:
        """Return whose words an assertion of the unit has."""
        return self.origins.get(event.id, self.origin)


def predicate_attributes(predicate: Predicate) -> dict[str, Json]:
    """Write a predicate's definition as the attributes of its node."""
    return {
        "name": predicate.name,
        "cardinality": predicate.cardinality.value,
        "unit": predicate.unit,
        "authority": predicate.authority.value,
        "relation": predicate.relation,
    }


def predicate_of(attributes: Mapping[str, Json]) -> Predicate:
    """Read a predicate's definition from the attributes of its node."""
    unit = attributes.get("unit")
    return _predicate(
        str(attributes["name"]), str(attributes["cardinality"]), None if unit is None else str(unit),
        str(attributes["authority"]), bool(attributes.get("relation", False)),
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _predicate(name: str, cardinality: str, unit: str | None, authority: str, relation: bool) -> Predicate:  # noqa: FBT001
    return Predicate(name, Cardinality(cardinality), unit, Trust(authority), relation)


def fills(history: History, space: SpaceRow) -> bool:
    """Tell whether a history's unit is of the past that an empty space is filled with."""
    return space.state == "empty" or space.filling == history.origin


def last_recorded(unit: Unit, space: SpaceRow, heads: Mapping[LedgerName, Micros]) -> Micros:
    """Return what *unit* is recorded after: the later of both ledgers' heads, so that a space has one order of times.

    A past that an empty space is filled with keeps its own times, in each ledger by itself.
    """
    history = unit.history
    return heads[unit.ledger] if history is not None and fills(history, space) else max(heads.values())


def recorded_time(unit: Unit, space: SpaceRow, head: Micros, now: Micros) -> Micros:
    """Return when *unit* is recorded: by the store's clock, or, while an empty space is filled, by the history's."""
    history = unit.history
    return max(head + 1, history.time if history is not None and fills(history, space) else now)


def receipt_of(
    unit: Unit, plan: Plan, seq: int, not_holding: Sequence[NotHolding], erased: Mapping[str, int] | None = None
) -> Receipt:
    """Write the receipt of a kept unit; *seq* is that of its last event."""
    subject = next((event.subject for event in plan.events if event.kind is not EventKind.DECLARED), None)
    hidden = (NodeKind.PREDICATE, NodeKind.SOURCE)
    return Receipt(
        id=unit.id, space=unit.space, state="stored", ledger=unit.ledger, seq=seq,
        recorded_at=from_micros(plan.recorded_at), subject=subject, facts=tuple(plan.facts), nodes=dict(plan.nodes),
        declared=tuple(
            node.key or node.id for node in plan.declared if node.kind not in hidden and not is_redeclared(node)
        ),
        registered=tuple(plan.registered), not_holding=tuple(not_holding[:NOT_HOLDING_MAX]), late=plan.late,
        erased=erased or {},
    )  # fmt: skip
