"""Erasing, as every store does it: what an erasure takes, the event that says so, and what is left behind.

What is left of an erased fact is its header, and of an erased node its id and kind; nothing is invented in place of the
words. The rows that are taken were found inside the transaction that takes them, so nothing slips in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from latewood.graph_schema.commands import Erase, Unit
from latewood.graph_schema.errors import ConflictError, ForbiddenError, InvalidError, LimitError, NotFoundError
from latewood.graph_schema.events import Event, EventKind, Receipt
from latewood.graph_schema.ledger import erased_seqs
from latewood.graph_schema.model import ERASED_NAME, NodeKind, Trust
from latewood.graph_schema.values import Json, check_text, normal_key
from latewood.storage.names import session_key
from latewood.storage.rows import Known, NodeRow

__all__ = [
    "ERASED_ROWS_MAX",
    "REFUSAL_ERASED",
    "Erasure",
    "check_alone",
    "check_stands",
    "erased_event",
    "erases",
    "erasure_of",
    "receipt_without",
    "target_of",
    "tombstone",
]

ERASED_ROWS_MAX: Final = 100_000
"""Most ledger rows that one erasure takes."""
REFUSAL_ERASED: Final = "this message went with an erasure in the space; the code stands"
"""What stands for the message of every refusal of a space in which something was erased: it may have named it."""
_REASON_BYTES_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Erasure:
    """What the event of an erasure says: read it back with `erasure_of`.

    Attributes:
        seqs: the rows, of the event's own ledger, whose payload and salt go.
        nodes: the nodes that become tombstones, with their kind.
        keys: the keys whose facts are among the rows, with their predicates: a rebuild has them from nowhere else.
    """

    target: str
    seqs: tuple[int, ...]
    nodes: Mapping[str, NodeKind]
    keys: Mapping[bytes, str]


def target_of(unit: Unit) -> str | None:
    """Return what *unit* erases, None when it does not.

    Raises:
        InvalidError: when it erases and does something else besides.
    """
    targets = [command.target for command in unit.commands if isinstance(command, Erase)]
    if not targets:
        return None
    if len(unit.commands) > 1 or unit.history is not None:
        msg = "an erasure is the only command of its unit, and no part of an imported history; send it by itself"
        raise InvalidError(msg, code="query.invalid")
    return targets[0]


def erases(unit: Unit) -> bool:
    """Tell whether *unit* erases."""
    # Asked of every unit that is written, several times.
    return Erase in map(type, unit.commands)


def check_alone(units: Sequence[Unit]) -> None:
    """Refuse a group in which a unit that erases has company: its receipt must mean that the words are gone."""
    if len(units) > 1 and any(erases(unit) for unit in units):
        raise InvalidError("a unit that erases is committed alone; hand it in by itself", code="query.invalid")


def check_stands(row: NodeRow | None) -> None:
    """Refuse to say anything more of an erased node. Raises ConflictError (``content.erased``)."""
    if row is not None and row.erased:
        msg = f"the node {row.id} was erased; nothing more is said of it. Write about another, under its own key"
        raise ConflictError(msg, code="content.erased", id=row.id)


def _writers(unit: Unit, known: Known) -> set[str]:
    """Return the nodes of the actor, of whom it acts for, and of the session."""
    session = None if unit.session is None else session_key(unit.session)
    keys = (normal_key(key) for key in (unit.actor.key, unit.actor.on_behalf_of, session) if key is not None)
    return {known.by_key[key].id for key in keys if key in known.by_key}


def erased_event(command: Erase, unit: Unit, known: Known, source: str, ordinal: int) -> Event:
    """Plan the event of an erasure by the *source* node, from what the store found.

    No message repeats the target, which may be a key: refusals are kept.

    Raises:
        ForbiddenError: code ``erase.forbidden``.
        NotFoundError: the target is neither a fact nor a node.
        ConflictError: code ``content.erased``; nothing is left to take.
        InvalidError: the reason is empty or too long, or the target is a predicate, or the actor or session itself.
        LimitError: it has more than `ERASED_ROWS_MAX` rows.
    """
    trust, found = unit.trust, known.erasing
    if trust.level < Trust.HUMAN.level:
        msg = f"{trust.value!r} may not erase; a person does it, by='human:you'. Retract what was never true"
        raise ForbiddenError(msg, code="erase.forbidden", trust=trust.value)
    if not command.reason.strip():
        raise InvalidError("an erasure needs a reason; it is kept, so do not repeat in it what goes")
    check_text(command.reason, "the reason of an erasure", bytes_max=_REASON_BYTES_MAX)
    if found is None:
        raise NotFoundError("what is to be erased is not there: name a fact's id, or a node's id or key")
    if found.kind is NodeKind.PREDICATE:
        msg = "a predicate is a word of the space's vocabulary, under which facts stay readable; erase the facts"
        raise InvalidError(msg, code="query.invalid", id=found.target)
    if found.target in _writers(unit, known):
        msg = f"the erasure of {found.target} would be signed with its own name; let another person erase it"
        raise InvalidError(msg, code="query.invalid", id=found.target)
    sources = {one: seq for one, seq in found.sources.items() if one not in {source, found.target}}
    if not found.seqs and not sources:
        msg = f"the {'fact' if found.kind is None else 'node'} {found.target} was erased already; nothing is left of it"
        raise ConflictError(msg, code="content.erased", id=found.target)
    seqs = sorted({*found.seqs, *sources.values()})
    if len(seqs) > ERASED_ROWS_MAX:
        msg = f"{len(seqs):,} rows would go, more than {ERASED_ROWS_MAX:,} at once; erase some of its facts by id first"
        raise LimitError(msg, limit="ERASED_ROWS_MAX", maximum=ERASED_ROWS_MAX)
    nodes: dict[str, Json] = dict.fromkeys(sorted(sources), NodeKind.SOURCE.value)
    nodes |= {one: kind.value for one, kind in found.names.items()}
    if found.kind is not None:
        nodes[found.target] = found.kind.value
    payload: dict[str, Json] = {
        "reason": command.reason, "source": source, "seqs": list(seqs), "nodes": nodes,
        "keys": {key.hex(): predicate for key, predicate in sorted(found.keys.items())},
    }  # fmt: skip
    return Event(EventKind.ERASED, command.id, found.subject, ordinal, payload, target=found.target, trust=trust.level)


def erasure_of(event: Event) -> Erasure:
    """Read an erasure back from its event, as planned or as the ledger has it."""
    nodes, keys = event.payload.get("nodes"), event.payload.get("keys")
    return Erasure(
        event.target or event.subject, erased_seqs(event.payload),
        {one: NodeKind(str(kind)) for one, kind in nodes.items()} if isinstance(nodes, dict) else {},
        {bytes.fromhex(one): str(predicate) for one, predicate in keys.items()} if isinstance(keys, dict) else {},
    )  # fmt: skip


def tombstone(row: NodeRow) -> NodeRow:
    """Return what is left of a node. Its key is free: to keep it taken, the key itself would have to be kept."""
    return replace(row, type="", key=None, name=ERASED_NAME, attributes={}, erased=True)


def receipt_without(receipt: Receipt, nodes: Mapping[str, str | None]) -> Receipt | None:
    """Return *receipt* with the keys of erased *nodes* (id to normal key) gone, None when it names none of them.

    Where a key was declared, the id takes its place, as for a node that has no key.
    """
    keys = {key: one for one, key in nodes.items() if key is not None}
    named = {key: one for key, one in receipt.nodes.items() if one not in nodes}
    declared = tuple(keys.get(normal_key(one), one) for one in receipt.declared)
    if len(named) == len(receipt.nodes) and declared == receipt.declared:
        return None
    return replace(receipt, nodes=named, declared=declared)
