"""What rows of the tables mean: spaces and nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, cast

from latewood.graph_schema.ids import id_text
from latewood.graph_schema.model import LEDGERS, LedgerName, NodeKind
from latewood.graph_schema.values import Json
from latewood.storage.names import unknown_space
from latewood.storage.rows import NodeRow, SpaceRow
from latewood.storage.sqlite.database import Statements

__all__ = ["ERASED", "LEDGER_NUMBER", "attributes_of", "find_space", "node_row", "space_row"]

ERASED: Final = "null"
"""The attributes of a node whose words were erased."""
_CACHED_CHARS: Final = 2_000
LEDGER_NUMBER: Final[Mapping[LedgerName, int]] = {name: place for place, name in enumerate(LEDGERS)}


def space_row(row: Sequence[object]) -> tuple[int, SpaceRow]:
    """Read a row of the query `space`."""
    n, raw_id, name, secret, strict, state, filling = row
    return cast("int", n), SpaceRow(
        id_text(cast("bytes", raw_id)), cast("str", name), cast("bytes", secret), bool(strict), cast("str", state),
        cast("str | None", filling),
    )  # fmt: skip


def find_space(connection: Statements, sql: Mapping[str, str], tenant: str, name: str) -> tuple[int, SpaceRow]:
    """Return a space's row number and the space. Raises NotFoundError (``space.unknown``) with near names."""
    row = connection.execute(sql["space"], (tenant, name)).fetchone()
    if row is None:
        names = [cast("str", one[2]) for one in connection.execute(sql["spaces"], (tenant,))]
        raise unknown_space(name, names)
    return space_row(row)


@lru_cache(maxsize=4096)
def attributes_of(text: str) -> Mapping[str, Json]:
    """Read a node's attributes, of few characters: few such texts come again and again."""
    return json.loads(text) if text != "{}" else {}


def _attributes(text: str) -> Mapping[str, Json]:
    return attributes_of(text) if len(text) < _CACHED_CHARS else json.loads(text)


def node_row(row: Sequence[object]) -> NodeRow:
    """Read a row of the queries over `node`."""
    _, raw_id, kind, node_type, key, name, attributes, recorded_at, version, _ = row
    erased = attributes == ERASED
    return NodeRow(
        id_text(cast("bytes", raw_id)), NodeKind(cast("str", kind)), cast("str", node_type), cast("str | None", key),
        cast("str", name), {} if erased else _attributes(cast("str", attributes)), cast("int", recorded_at),
        cast("int", version), erased,
    )  # fmt: skip
