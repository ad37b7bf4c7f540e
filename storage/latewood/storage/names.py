"""What may be called what: spaces, and the keys of nodes that Latewood names itself."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from latewood.graph_schema.commands import ActorSpec, SourceSpec
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.graph_schema.ledger import key_id
from latewood.graph_schema.model import Cardinality, Predicate
from latewood.graph_schema.packs.loader import Vocabulary
from latewood.graph_schema.values import Value, canonical_json, normal_key
from latewood.storage.settling import origin_hash

__all__ = [
    "check_free",
    "check_space_name",
    "competes_for",
    "forget_names",
    "predicate_key",
    "session_key",
    "source_key",
    "unknown_space",
]

_SPACE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_space_name(name: str) -> str:
    """Return *name* when a space may have it. Raises InvalidError (``space.name_invalid``)."""
    if _SPACE_NAME.fullmatch(name) is None:
        msg = f"{name[:80]!r} cannot name a space: use 1-64 of a-z, 0-9, '.', '_', '-', a letter or digit first"
        raise InvalidError(msg, code="space.name_invalid", name=name[:80])
    return name


def unknown_space(name: str, names: Sequence[str]) -> NotFoundError:
    """Say that there is no such space, with near names."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or sorted(names)[:3]
    msg = f"there is no space {name!r}; near: {', '.join(near)}. Spaces are made on purpose: create {name} first"
    return NotFoundError(msg, code="space.unknown", space=name, suggestions=list(near))


def session_key(session: str) -> str:
    """Return the key of a session's node."""
    return session if session.casefold().startswith("session:") else f"session:{session}"


def predicate_key(name: str) -> str:
    """Return the key of a predicate's node."""
    return f"predicate:{name}"


@lru_cache(maxsize=1024)
def source_key(spec: SourceSpec, actor: ActorSpec, session: str | None) -> str:
    """Name a source by what it is, without saying it: equal sources are one node."""
    parts = [spec.origin, spec.method, normal_key(actor.key), actor.on_behalf_of, session]
    parts += [spec.model, spec.prompt_version]
    return "source:" + key_id(b"latewood source", canonical_json(parts)).hex()


def forget_names() -> None:
    """Drop what this process still holds of keys and sources for speed alone."""
    source_key.cache_clear()
    normal_key.cache_clear()
    origin_hash.cache_clear()


def check_free(normal: str) -> None:
    """Keep the keys that Latewood gives itself for itself. Raises InvalidError (``key.taken``)."""
    if normal.startswith(("predicate:", "source:")):
        raise InvalidError(f"keys that begin like {normal[:20]!r} are Latewood's own; choose another", code="key.taken")


def competes_for(
    secret: bytes, words: Vocabulary, subject: str, predicate: Predicate, value: Value | None, target: str | None
) -> bytes:
    """Return the id of the key that an assertion competes for: its subject and predicate, and of a multi-valued
    predicate the value (canonical, in the predicate's unit) or the object.
    """
    if predicate.cardinality is Cardinality.SINGLE:
        return _single_key(secret, subject, predicate.name)
    if value is None:
        said = f"@{target}"
    else:
        said = Value(value.kind, value.data, value.unit or predicate.unit).canonical(words.units)
    return key_id(secret, canonical_json([subject, predicate.name, said]))


@lru_cache(maxsize=8192)
def _single_key(secret: bytes, subject: str, predicate: str) -> bytes:
    return key_id(secret, canonical_json([subject, predicate]))
