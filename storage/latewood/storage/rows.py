"""What planning a unit looks at: spaces, nodes and assertions as a store keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from latewood.graph_schema.clock import AsOf, Micros
from latewood.graph_schema.identity import MERGED_INTO
from latewood.graph_schema.model import Node, NodeKind, Predicate
from latewood.graph_schema.values import Json

__all__ = ["Erasing", "FactRow", "Known", "Needs", "NodeRow", "SpaceRow", "as_known", "has_words"]

_WORDLESS: Final = (NodeKind.PREDICATE, NodeKind.SOURCE, NodeKind.ATTEMPT, NodeKind.DELIVERY)


def has_words(node: NodeRow) -> bool:
    """Tell whether a node is found by the words of its key and name.

    A predicate, a source and a try are found by what they belong to. So are a message without a subject and a step of a
    workflow (one that has a place in its run; imported ones have none): all of a channel, or all that ran a function,
    would be found by one name, each at the price of a row in the index of words.
    """
    if node.kind is NodeKind.STEP:
        return "place" not in node.attributes
    return node.kind not in _WORDLESS and not (node.kind is NodeKind.MESSAGE and node.name == node.type)


def as_known(node: Node, at: AsOf) -> Node:
    """Show a node as of *at*: a read of the past has no version, which is today's and no base for a write, and does not
    say what the node was merged into since; the fact `merged_into` tells when.
    """
    if at.known_at is None:
        return node
    said = node.attributes
    if MERGED_INTO in said:
        said = {name: value for name, value in said.items() if name != MERGED_INTO}
    return replace(node, version=0, attributes=said)


@dataclass(frozen=True, slots=True)
class SpaceRow:
    """A space as a plan needs it; *state* is empty, filling or live."""

    id: str
    name: str
    secret: bytes
    strict: bool
    state: str
    filling: str | None


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node as stored."""

    id: str
    kind: NodeKind
    type: str
    key: str | None
    name: str
    attributes: Mapping[str, Json]
    recorded_at: Micros
    version: int
    erased: bool = False


@dataclass(frozen=True, slots=True)
class FactRow:
    """An assertion as a plan needs it.

    Attributes:
        retracted_at: None while it counts.
        payload: empty once it was erased.
        origin: of the source that said it; empty once that was erased.
    """

    id: str
    subject: str
    predicate: str
    key: bytes
    tier: int
    absent: bool
    valid_from: Micros
    retracted_at: Micros | None
    valid_to: Micros | None
    trust: int
    known: bool
    payload: Mapping[str, Json]
    origin: str


@dataclass(frozen=True, slots=True)
class Erasing:
    """What an erasure of *target* would take, from the rows of one ledger that still have their payload.

    What says the same of another node since a merge is looked for in both ledgers, and taken from this one.

    Attributes:
        subject: the node that the target is or is about.
        kind: of the target when it is a node, None when it is a fact.
        seqs: of the fact: its own row and those that end or retract it. Of the node: every row about it but erasures.
        sources: source nodes that no other payload names, and those that speak under an erased actor's key, with the
            seq of their declaration.
        keys: the keys of the assertions among the rows, with their predicates.
        names: the nodes that were absorbed by the target: they are what else it was called, and go with it.
    """

    target: str
    subject: str
    kind: NodeKind | None
    seqs: tuple[int, ...]
    sources: Mapping[str, int]
    keys: Mapping[bytes, str]
    names: Mapping[str, NodeKind] = field(default_factory=dict[str, NodeKind])


@dataclass(slots=True)
class Needs:
    """What a unit wants to know: normal keys, ids of nodes or facts, and (fact, instant or None) of each end.

    *fresh* are the ids of the assertions that it makes, *erase* is the target of an erasure.
    """

    keys: AbstractSet[str]
    ids: AbstractSet[str]
    facts: AbstractSet[str]
    predicates: AbstractSet[str]
    ends: Sequence[tuple[str, Micros | None]]
    fresh: AbstractSet[str]
    erase: str | None = None


@dataclass(slots=True)
class Known:
    """The answers to `Needs`, as of the head, inside the transaction that will keep the plan.

    Attributes:
        head: what the unit is recorded after.
        by_id: the nodes by which others were absorbed are among them, to the last.
        holders: (fact, instant as asked) to the id of what holds for its key then, absences included.
        predicates: those in use in the space.
        erasing: what `Needs.erase` would take; None when it is neither a fact nor a node.
        taken: of the unit's own id and those of `Needs.fresh`, the ones that stand for something already.
    """

    space: SpaceRow
    head: Micros
    by_key: Mapping[str, NodeRow]
    by_id: Mapping[str, NodeRow]
    facts: Mapping[str, FactRow]
    predicates: Mapping[str, Predicate]
    holders: Mapping[tuple[str, Micros | None], str | None]
    erasing: Erasing | None = None
    taken: AbstractSet[str] = frozenset()
