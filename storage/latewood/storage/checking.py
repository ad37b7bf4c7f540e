"""What a unit must be before anything is looked up for it, and how much it weighs."""

from __future__ import annotations

from typing import Final

from latewood.graph_schema.commands import COMMANDS_MAX, Assert, Carry, Command, Declare, Unit
from latewood.graph_schema.errors import ConflictError, InvalidError, LimitError
from latewood.graph_schema.ids import is_id
from latewood.graph_schema.values import check_text
from latewood.storage.rows import Known

__all__ = ["PLACE_BYTES_MAX", "WORDS_BYTES_MAX", "check_new", "check_unit", "unit_bytes"]

WORDS_BYTES_MAX: Final = 20_000
"""Most bytes of a quote, of a source's own word, of a reason."""
PLACE_BYTES_MAX: Final = 8_000
"""Most bytes of an origin, of a place in it, and of what else names a source: a path may have 4,096."""
_OP_CHARS_MAX: Final = 512
_UNIT_BYTES: Final = 200
_COMMAND_BYTES: Final = 300


def check_unit(unit: Unit) -> None:
    """Refuse a unit that no state of the space could make right.

    Raises:
        LimitError: too many commands (``limit.exceeded``), or a text over its bound (``text.too_long``) by its name.
        InvalidError: an idempotency key or an id that is none, or a text that cannot be stored.
    """
    if len(unit.commands) > COMMANDS_MAX:
        msg = f"a unit has {len(unit.commands)} commands, more than {COMMANDS_MAX}; split it"
        raise LimitError(msg, limit="COMMANDS_MAX", maximum=COMMANDS_MAX)
    if unit.op is not None and not 0 < len(unit.op) <= _OP_CHARS_MAX:
        raise InvalidError(f"an idempotency key has 1 to {_OP_CHARS_MAX} characters", code="query.invalid")
    named = {unit.id, *(command.id for command in unit.commands)}
    if len(named) <= len(unit.commands) or not all(is_id(one) for one in named):
        msg = "a unit and its commands need an id each, no two the same, in the form of a UUID"
        raise InvalidError(msg, code="query.invalid", unit=unit.id[:80])
    source = unit.source
    for name, text in (
        ("origin", source.origin), ("method", source.method), ("model", source.model),
        ("prompt version", source.prompt_version),
    ):  # fmt: skip
        if text is not None:
            check_text(text, f"the {name} of the source", bytes_max=PLACE_BYTES_MAX)
    for command in unit.commands:
        _check_words(command)


def _check_words(command: Command) -> None:
    if isinstance(command, Assert):
        if command.locator is not None:
            check_text(command.locator, f"the locator of {command.predicate[:80]!r}", bytes_max=PLACE_BYTES_MAX)
        if command.quote is not None:
            check_text(command.quote, f"the quote of {command.predicate[:80]!r}", bytes_max=WORDS_BYTES_MAX)
        if command.as_written is not None:
            where = f"the source's own word for {command.predicate[:80]!r}"
            check_text(command.as_written, where, bytes_max=WORDS_BYTES_MAX)
    elif not isinstance(command, Declare | Carry) and command.reason is not None:
        check_text(command.reason, "the reason", bytes_max=WORDS_BYTES_MAX)


def check_new(unit: Unit, known: Known) -> None:
    """Refuse an id that stands for something else already. Raises ConflictError (``key.taken``)."""
    if unit.id in known.taken:
        raise ConflictError(f"the id {unit.id} belongs to another unit", code="key.taken", id=unit.id)
    for command in unit.commands:
        if command.id in known.taken:
            msg = f"the id {command.id} is taken; a fact and a node have an id of their own each"
            raise ConflictError(msg, code="key.taken", id=command.id)


def unit_bytes(unit: Unit) -> int:
    """Estimate a unit's size, so that one transaction stays small."""
    size = _UNIT_BYTES + len(unit.source.origin or "") + sum(map(len, unit.vectors.values()))
    for command in unit.commands:
        size += _COMMAND_BYTES
        if isinstance(command, Assert):
            size += len(command.quote or "") + len(command.as_written or "") + len(command.locator or "")
            if command.value is not None:
                size += len(str(command.value.data))
        elif isinstance(command, Declare):
            size += len(command.name)
        elif not isinstance(command, Carry):
            size += len(command.reason or "")
    return size
