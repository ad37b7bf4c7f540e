"""Scalars and enums. A time without an offset is refused here, before any resolver runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum, StrEnum
from typing import Final, NewType, TypeVar, cast

import strawberry
from strawberry.types.base import WithStrawberryDefinition
from strawberry.types.enum import StrawberryEnumDefinition
from strawberry.types.scalar import ScalarDefinition

from latewood.graph_schema.clock import iso, parse_instant
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.events import EventKind
from latewood.graph_schema.model import DecisionStatus, NodeKind, Trust
from latewood.reasoning.brief import BriefSection
from latewood.reasoning.changes import Axis, DifferenceKind
from latewood.reasoning.fusion import Signal

__all__ = ["SCALARS", "BigInt", "Ledger", "ValueKind", "describe"]

BigInt = NewType("BigInt", int)
"""A whole number that outgrows GraphQL's 32 bits."""

_SAFE_MAX: Final = 2**53 - 1
_E = TypeVar("_E", bound=Enum)


def _read_time(given: object) -> datetime:
    if not isinstance(given, str):
        msg = f'{given!r:.80} is not a time; write it as a string, "2026-03-01T09:00:00Z"'
        raise InvalidError(msg, code="time.unreadable")
    return parse_instant(given)


def _read_big_int(given: object) -> int:
    if isinstance(given, int) and not isinstance(given, bool) and abs(given) <= _SAFE_MAX:
        return given
    msg = f"{given!r:.80} is not a whole number of at most {_SAFE_MAX}"
    raise InvalidError(msg, code="query.invalid")


SCALARS: Final[Mapping[object, ScalarDefinition]] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description=(
            "An instant in ISO 8601 with an offset, such as 2026-03-01T09:00:00Z; a date alone is its first instant in "
            "UTC. Without an offset it is refused (time.naive). Answers are in UTC, with a Z."
        ),
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=iso,
        parse_value=_read_time,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A whole number of up to 53 bits: a ledger's seq, a version.",
        serialize=int,
        parse_value=_read_big_int,
    ),
}
"""What the schema writes for which Python type."""


class Ledger(StrEnum):
    """One of a space's two ledgers."""

    KNOWLEDGE = "knowledge"
    EXECUTION = "execution"


class ValueKind(StrEnum):
    """Forces the kind of a value that JSON cannot tell apart."""

    DECIMAL = "decimal"
    INSTANT = "instant"


def describe(kind: type[_E], text: str, members: Mapping[_E, str]) -> None:
    """Show one of our own enums in the schema, each member with a sentence."""
    strawberry.enum(kind, description=text)
    # strawberry reads descriptions from the members' values; ours are plain texts, which other surfaces write.
    definition = cast("WithStrawberryDefinition[StrawberryEnumDefinition]", kind).__strawberry_definition__
    for value in definition.values:
        value.description = members[kind(value.value)]


describe(
    Ledger,
    "One of a space's two ledgers.",
    {Ledger.KNOWLEDGE: "Facts and decisions.", Ledger.EXECUTION: "Runs, steps and messages."},
)
describe(
    ValueKind,
    "Forces the kind of a value that JSON cannot tell apart.",
    {
        ValueKind.DECIMAL: 'An exact number, best written as a string: "0.10".',
        ValueKind.INSTANT: 'A time, "2026-03-01T09:00:00Z".',
    },
)
describe(
    DecisionStatus,
    "Where a decision stands.",
    {
        DecisionStatus.PROPOSED: "Put forward, not yet taken.",
        DecisionStatus.ACCEPTED: "Taken, and in force.",
        DecisionStatus.REJECTED: "Not taken.",
        DecisionStatus.DEFERRED: "Put off.",
        DecisionStatus.WITHDRAWN: "Taken back by whoever proposed it.",
        DecisionStatus.SUPERSEDED: "Another decision took its place.",
        DecisionStatus.REVERSED: "Undone by a later decision.",
        DecisionStatus.DEPRECATED: "Still there, but not to be followed any more.",
    },
)
describe(
    NodeKind,
    "What a node of the graph is.",
    {
        NodeKind.ENTITY: "A thing in the world that people name.",
        NodeKind.DECISION: "A choice with its reasons.",
        NodeKind.ACTOR: "Who asserts or decides: a human, an agent, a model.",
        NodeKind.SESSION: "One conversation or job of an agent.",
        NodeKind.SOURCE: "Where assertions come from.",
        NodeKind.PREDICATE: "The definition of a predicate.",
        NodeKind.PATTERN: "What recurs or shifts.",
        NodeKind.RUN: "One execution of a workflow.",
        NodeKind.STEP: "One unit of a run's work.",
        NodeKind.ATTEMPT: "One try at a step.",
        NodeKind.CHANNEL: "Where messages of one schema go.",
        NodeKind.GROUP: "Consumers that share the messages of a channel.",
        NodeKind.MESSAGE: "A durable hand-off.",
        NodeKind.DELIVERY: "One try at a message by a consumer.",
        NodeKind.DEADLETTER: "A message that nobody could settle, and why.",
        NodeKind.CASE: "Something to be settled.",
        NodeKind.BLOB: "What a step took in or returned, where that is long; an item of a growing conversation.",
    },
)
describe(
    Trust,
    "How far a source is believed, high to low.",
    {
        Trust.SYSTEM: "A system of record.",
        Trust.HUMAN: "A person.",
        Trust.AGENT: "An agent.",
        Trust.EXTRACTED: "Read from a text by a model.",
        Trust.UNTRUSTED: "Material of unknown origin.",
    },
)
describe(
    Axis,
    "Which clock a diff runs along.",
    {Axis.KNOWN: "What was learned in between.", Axis.VALID: "What became true in between."},
)
describe(
    DifferenceKind,
    "What happened to a predicate of a subject.",
    {
        DifferenceKind.APPEARED: "Something holds where nothing did.",
        DifferenceKind.CHANGED: "Another value follows.",
        DifferenceKind.CORRECTED: "The earlier assertion was never so.",
        DifferenceKind.ENDED: "It stopped being true, and nothing followed.",
        DifferenceKind.RETRACTED: "It was never true.",
        DifferenceKind.ARRIVED_LATE: "Learned now of a time that something later already covers.",
        DifferenceKind.MOVED: "Said of another node from then on: two were merged, or a merge was undone.",
    },
)
describe(
    BriefSection,
    "The parts of a brief, in the order in which they are written.",
    {
        BriefSection.YOURS: "Messages that wait for the reader: dead letters that ask them, and their inbox.",
        BriefSection.OPEN: "Proposed or deferred: not decided yet.",
        BriefSection.UNSETTLED: "Dead letters: messages that nobody could settle, and whom they ask.",
        BriefSection.CONFLICTS: "Sources disagree.",
        BriefSection.STALE: "A decision stands on evidence that moved.",
        BriefSection.PATTERNS: "What recurs, changes or follows, and holds.",
        BriefSection.PRECEDENTS: "What followed from a decision.",
        BriefSection.SUPERSEDED: "No longer in force since the last visit.",
        BriefSection.IN_FORCE: "Accepted and standing.",
    },
)
describe(
    Signal,
    "Why a memory was found.",
    {
        Signal.WORDS: "It has words of the question.",
        Signal.VECTORS: "It means much the same.",
        Signal.NEIGHBOUR: "It was said just before or after what was found.",
        Signal.SUBJECT: "Others of its session or subject were found.",
        Signal.EVIDENCE: "A decision rests on it, or it is what a decision that rests on it says.",
        Signal.NAMED: "The question names who said it or what it is about.",
        Signal.TIME: "It lies when the question says.",
    },
)
describe(
    EventKind,
    "What happened, as the ledger keeps it.",
    {
        EventKind.DECLARED: "A node entered the space.",
        EventKind.ASSERTED: "A source said that something holds.",
        EventKind.ABSENT: "A source said that nothing holds from then on.",
        EventKind.RETRACTED: "An assertion was taken back: it was never true.",
        EventKind.ERASED: "Content was erased; a tombstone is left.",
    },
)
