"""Settings, read once from the environment; what cannot be honoured is an error."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.packs.loader import Pack, load_pack
from latewood.ingestion.embedding.choice import Choice

__all__ = ["SETTINGS", "Settings", "Sync", "given_packs", "pack_of"]

Sync: TypeAlias = Literal["full", "normal"]

SETTINGS: Final[Mapping[str, str]] = {
    "LATEWOOD_DB": "The store's address when none is given (latewood.db): a file, or neo4j://user:password@host:7687?timeout=60.",
    "LATEWOOD_SPACE": "The space when none is given (default).",
    "LATEWOOD_ACTOR": "Who writes when `by` is not given, such as human:ada (CLI: human:<user name>).",
    "LATEWOOD_EMBEDDER": "Makes vectors: light, none, sentence-transformers:NAME or openai:MODEL@BASE_URL (light).",
    "LATEWOOD_EMBEDDER_DIMENSIONS": "How long its vectors are to be, asked of an openai: server (as it answers).",
    "LATEWOOD_EMBEDDER_KEY": "The key for an openai: server, sent as a bearer token (none).",
    "LATEWOOD_EMBEDDER_THREADS": "How many cores the light embedder may take (up to 4).",
    "LATEWOOD_MODEL": "The model that `latewood extract` asks, as NAME@URL of an OpenAI-compatible server (none).",
    "LATEWOOD_MODEL_KEY": "The key for that server, sent as a bearer token (none).",
    "LATEWOOD_PACKS": "Files of packs, separated as in PATH, for every store that is opened without its own (none).",
    "LATEWOOD_SYNC": "full: a commit waits for the disk. normal: the last ones may go with the power.",
    "LATEWOOD_WEBHOOK_NETWORKS": "Private networks that webhooks may reach, http too: 127.0.0.0/8,10.2.0.0/16 (none).",
}
"""Every environment variable with one sentence."""

_DIGITS_MAX: Final = 9
_PACK_BYTES_MAX: Final = 1_000_000
_OF_TESTS: Final = frozenset(
    {
        "LATEWOOD_EXAMPLES", "LATEWOOD_KILLS", "LATEWOOD_NEO4J_URL", "LATEWOOD_NEO4J_VERSION",
        "LATEWOOD_REQUIRE_COMPOSE", "LATEWOOD_REQUIRE_NEO4J",
    }
)  # fmt: skip


def _number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX):
        raise InvalidError(f"{name} is {text[:40]!r}; it is a whole number", code="setting.invalid")
    return int(text)


def given_packs(environment: Mapping[str, str] | None = None) -> tuple[Pack, ...]:
    """Load the packs that the environment names.

    Raises:
        InvalidError: code ``setting.invalid`` for a file that cannot be read, ``pack.invalid`` for what is in it.
    """
    given = (os.environ if environment is None else environment).get("LATEWOOD_PACKS", "")
    return tuple(pack_of(name) for name in given.split(os.pathsep) if name)


def pack_of(given: Pack | str) -> Pack:
    """Return a pack, or load the one in the file of that name.

    Raises:
        InvalidError: code ``setting.invalid`` for a file that cannot be read, ``pack.invalid`` for what is in it.
    """
    if isinstance(given, Pack):
        return given
    try:
        with Path(given).open("rb") as file:
            text = file.read(_PACK_BYTES_MAX + 1)
    except OSError as error:
        msg = f"the pack {given!r} cannot be read: {error.strerror}"
        raise InvalidError(msg, code="setting.invalid", path=given) from error
    if len(text) > _PACK_BYTES_MAX:
        msg = f"the pack {given!r} has more than {_PACK_BYTES_MAX:,} bytes"
        raise InvalidError(msg, code="setting.invalid", path=given)
    return load_pack(text.decode("utf-8", errors="replace"), given)


def _listed(text: str) -> tuple[str, ...]:
    """Read what is listed with commas."""
    return tuple(one.strip() for one in text.split(",") if one.strip())


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be set from outside."""

    db: str = "latewood.db"
    space: str = "default"
    actor: str | None = None
    sync: Sync = "full"
    embedder: Choice = field(default_factory=Choice)
    model: str | None = None
    model_key: str | None = None
    webhook_networks: tuple[str, ...] = ()

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
            embedder=Choice.read(
                ours.get("LATEWOOD_EMBEDDER") or "light",
                key=ours.get("LATEWOOD_EMBEDDER_KEY") or None,
                threads=_number(ours, "LATEWOOD_EMBEDDER_THREADS"),
                dimensions=_number(ours, "LATEWOOD_EMBEDDER_DIMENSIONS"),
            ),
            model=ours.get("LATEWOOD_MODEL") or None,
            model_key=ours.get("LATEWOOD_MODEL_KEY") or None,
            webhook_networks=_listed(ours.get("LATEWOOD_WEBHOOK_NETWORKS", "")),
        )
