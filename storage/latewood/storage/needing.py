"""What a unit wants to know before it can be planned."""

from __future__ import annotations

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Absorb, Assert, Carry, Command, Declare, End, Erase, Ref, Release, Unit
from latewood.graph_schema.identity import MERGED_INTO
from latewood.graph_schema.values import normal_key
from latewood.storage.erasing import target_of
from latewood.storage.names import session_key, source_key
from latewood.storage.rows import Needs

__all__ = ["needs_of"]


def _refs(command: Command) -> tuple[Ref, ...]:
    if isinstance(command, Absorb):
        return command.node, command.into
    if isinstance(command, Release):
        return (Ref(id=command.node),)
    if isinstance(command, Assert):
        return (command.subject,) if command.object is None else (command.subject, command.object)
    if isinstance(command, Carry):
        ids = (command.subject, command.object)
        return tuple(Ref(id=one) for one in ids if one is not None)
    return ()


def _facts(command: Command) -> set[str]:
    """Return the facts that a command is about, besides those that its references name."""
    if isinstance(command, Assert):
        named = [command.replaces]
    elif isinstance(command, Declare | Erase | Absorb):
        named = []
    else:
        named = [command.target, command.ends if isinstance(command, Carry) else None]
    return {one for one in named if one is not None}


def needs_of(unit: Unit) -> Needs:
    """Name everything that must be looked up to plan *unit*."""
    keys = {normal_key(unit.actor.key)}
    if unit.actor.on_behalf_of is not None:
        keys.add(normal_key(unit.actor.on_behalf_of))
    if unit.session is not None:
        keys.add(normal_key(session_key(unit.session)))
    ids: set[str] = set()
    facts: set[str] = set()
    predicates: set[str] = set()
    fresh: set[str] = set()
    ends: list[tuple[str, Micros | None]] = []
    refs = [expect.node for expect in unit.expects]
    for command in unit.commands:
        refs.extend(_refs(command))
        facts |= _facts(command)
        if isinstance(command, Assert | End | Carry | Absorb):
            fresh.add(command.id)
        if isinstance(command, Declare):
            ids.add(command.id)
            if command.key is not None:
                keys.add(normal_key(command.key))
        elif isinstance(command, Assert):
            predicates.add(command.predicate)
        elif isinstance(command, Absorb):
            predicates.add(MERGED_INTO)
        elif isinstance(command, End):
            ends.append((command.target, command.at))
    for ref in refs:
        if ref.id is not None:
            ids.add(ref.id)
        elif ref.key is not None:
            keys.add(normal_key(ref.key))
    keys.add(source_key(unit.source, unit.actor, unit.session))
    return Needs(keys, ids, facts, predicates, ends, fresh, target_of(unit))
