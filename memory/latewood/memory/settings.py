"""Settings, read once from the environment; what cannot be honoured is an error."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from latewood.graph_schema.errors import InvalidError

__all__ = ["SETTINGS", "Settings", "Sync"]

Sync: TypeAlias = Literal["full", "normal"]

SETTINGS: Final[Mapping[str, str]] = {
    "LATEWOOD_DB": "The store's address when none is given (latewood.db): a file, or neo4j://user:password@host:7687?timeout=60.",
    "LATEWOOD_SPACE": "The space when none is given (default).",
    "LATEWOOD_ACTOR": "Who writes when `by` is not given, such as human:ada (CLI: human:<user name>).",
    "LATEWOOD_SYNC": "full: a commit waits for the disk. normal: the last ones may go with the power.",
}
"""Every environment variable with one sentence."""

_OF_TESTS: Final = frozenset(
    {
        "LATEWOOD_EXAMPLES", "LATEWOOD_NEO4J_URL", "LATEWOOD_NEO4J_VERSION", "LATEWOOD_REQUIRE_COMPOSE",
        "LATEWOOD_REQUIRE_NEO4J",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be set from outside."""

    db: str = "latewood.db"
    space: str = "default"
    actor: str | None = None
    sync: Sync = "full"

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the environment.

        Raises:
            InvalidError: code ``setting.invalid`` for an unknown LATEWOOD_ name or a value that cannot be honoured.
        """
        given = os.environ if environment is None else environment
        ours = {key: value for key, value in given.items() if key.startswith("LATEWOOD_") and key not in _OF_TESTS}
        unknown = sorted(set(ours) - set(SETTINGS))
        if unknown:
            msg = f"unknown settings {', '.join(unknown)}; known are {', '.join(SETTINGS)}"
            raise InvalidError(msg, code="setting.invalid", unknown=unknown)
        sync = ours.get("LATEWOOD_SYNC", "full")
        if sync not in ("full", "normal"):
            raise InvalidError(f"LATEWOOD_SYNC is {sync!r}; it is full or normal", code="setting.invalid")
        return cls(
            db=ours.get("LATEWOOD_DB") or "latewood.db",
            space=ours.get("LATEWOOD_SPACE") or "default",
            actor=ours.get("LATEWOOD_ACTOR") or None,
            sync=sync,
        )
