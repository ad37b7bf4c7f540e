"""What bringing a store to this Latewood's schema comes to, told the same way for every store."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Upgrade"]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade found, and what it did or would do.

    Attributes:
        found: the schema that the store had.
        schema: the schema that it has now, or would have.
        steps: what each step between them does.
        applied: False when nothing was changed: it was a dry run, or there was nothing to do.
        backup: the copy that was made before.
    """

    location: str
    found: int
    schema: int
    steps: tuple[str, ...]
    applied: bool
    backup: str | None = None
