"""What a group of units looks up before they are planned: mostly from memory, and once for all of them where it can be.

What the group itself wrote may still wait in its batch. What is asked here finds it nevertheless: nodes, keys and
receipts of the group are noted as they are written, and what else is read, is read after the batch.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, cast

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Guard, Unit
from latewood.graph_schema.errors import CorruptError, RefusedError
from latewood.graph_schema.ids import id_bytes, id_text, is_id
from latewood.graph_schema.ledger import op_hash
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.values import canonical_json, normal_key
from latewood.storage.fences import LeaseRow, check_lease
from latewood.storage.rows import FactRow, NodeRow
from latewood.storage.settling import open_end
from latewood.storage.sqlite import leases
from latewood.storage.sqlite.batch import Batch
from latewood.storage.sqlite.cache import Cache, CachedSpace
from latewood.storage.sqlite.database import Database
from latewood.storage.sqlite.records import node_row

__all__ = ["Lookup"]

_PLANNED_BY: Final = (NodeKind.ENTITY, NodeKind.PREDICATE)
"""Kinds whose attributes a plan asks for."""
_ONCE: Final = (NodeKind.STEP, NodeKind.ATTEMPT, NodeKind.BLOB, NodeKind.DELIVERY)
"""Kinds of which there are many, and which a later group hardly asks for."""


class Lookup:
    """Looks things up for one group; made for it and thrown away."""

    def __init__(self, connection: Database, batch: Batch, sql: Mapping[str, str], cache: Cache) -> None:
        """Read through *connection* what *batch* does not hold back, and the rest through *batch*."""
        self._connection = connection
        self._batch = batch
        self._sql = sql
        self._cache = cache
        self._taken: set[tuple[int, str]] = set()
        self._ops: dict[str, bytes] = {}
        self._replays: dict[tuple[int, bytes], tuple[bytes, str]] = {}
        self._leases: dict[tuple[int, str], LeaseRow] = {}
        self._by_key: dict[tuple[int, str], NodeRow] = {}
        self._by_id: dict[tuple[int, str], tuple[int, NodeRow]] = {}

    def ahead(self, units: Sequence[Unit], spaces: Mapping[str, CachedSpace]) -> None:
        """Find which ids of *units* are taken, and which of their idempotency keys were used."""
        ids = [unit.id for unit in units] + [command.id for unit in units for command in unit.commands]
        listed = canonical_json([one.replace("-", "") for one in ids if is_id(one)])
        self._taken = {
            (cast("int", n), id_text(cast("bytes", raw)))
            for n, raw in self._connection.execute(self._sql["taken"], (listed,))
        }
        ops: dict[int, list[str]] = {}
        for unit in units:
            space = spaces.get(unit.space)
            # One that cannot be hashed is refused when its turn comes.
            with contextlib.suppress(RefusedError):
                if space is not None and (op := self.op_of(unit, space)) is not None:
                    ops.setdefault(space.n, []).append(op.hex())
        for n, hashes in ops.items():
            for op, body, receipt in self._connection.execute(self._sql["replayed"], (n, canonical_json(hashes))):
                self._replays[n, cast("bytes", op)] = (cast("bytes", body), cast("str", receipt))

    def op_of(self, unit: Unit, space: CachedSpace) -> bytes | None:
        """Return the hash of a unit's idempotency key. Raises InvalidError."""
        found = self._ops.get(unit.id)
        if found is None and unit.op is not None:
            found = self._ops[unit.id] = op_hash(space.row.secret, unit.op)
        return found

    def replayed(self, n: int, op: bytes) -> tuple[bytes, str] | None:
        """Return what an idempotency key was used for: the digest of what was asked, and the receipt."""
        return self._replays.get((n, op))

    def kept(self, n: int, unit: Unit, receipt: str) -> None:
        """Note a unit of the group that was written, with its *receipt*."""
        self._taken.add((0, unit.id))
        op = self._ops.get(unit.id)
        if op is not None:
            self._replays[n, op] = (unit.body, receipt)

    def take(self, n: int, ids: Iterable[str]) -> None:
        """Note that *ids* stand for something in a space now."""
        self._taken.update((n, one) for one in ids)

    def is_taken(self, n: int, one: str) -> bool:
        """Tell whether an id that should be new is not; *n* is 0 for a unit's own."""
        return (n, one) in self._taken

    def check_guard(self, n: int, guard: Guard, now: Micros) -> None:
        """Refuse a unit whose lease is no longer its writer's. Raises ConflictError (``lease.lost``)."""
        row = self._leases.get((n, guard.name))
        if row is None:
            row = self._leases[n, guard.name] = leases.read(self._connection, n, guard.name)
        check_lease(row, guard.name, guard.owner, guard.fence, now)

    def declared(self, n: int, number: int, node: NodeRow) -> None:
        """Note a node that the group declared, and its *number*."""
        self._note(n, number, node)
        self._by_id[n, node.id] = (number, node)
        if node.key is not None:
            self._by_key[n, normal_key(node.key)] = node

    def _note(self, n: int, number: int, node: NodeRow) -> None:
        """Remember a node for later groups, without what they do not ask for."""
        if node.kind in _ONCE:
            return
        kept = node if node.kind in _PLANNED_BY or not node.attributes else replace(node, attributes={})
        self._cache.by_id[n, node.id] = (number, kept)
        if node.key is not None:
            self._cache.nodes[n, normal_key(node.key)] = kept

    def by_key(self, n: int, keys: Iterable[str], *, versions: bool) -> dict[str, NodeRow]:
        """Return nodes by their normal keys; with *versions*, which nobody remembers, as they are stored now."""
        found: dict[str, NodeRow] = {}
        missing: list[str] = []
        for key in keys:
            node = None if versions else self._by_key.get((n, key)) or self._cache.nodes.get((n, key))
            if node is None:
                missing.append(key)
            else:
                found[key] = node
        if missing:
            through = self._batch if versions else self._connection
            for row in through.execute(self._sql["nodes_by_key"], (n, canonical_json(missing))):
                node = found[cast("str", row[9])] = node_row(row)
                self._note(n, cast("int", row[0]), node)
        return found

    def by_id(self, n: int, ids: Iterable[str], *, versions: bool = False) -> dict[str, NodeRow]:
        """Return nodes by their ids; with *versions* as above."""
        found: dict[str, NodeRow] = {}
        missing: list[str] = []
        for one in ids:
            noted = None if versions else self._by_id.get((n, one)) or self._cache.by_id.get((n, one))
            if noted is not None:
                found[one] = noted[1]
            elif is_id(one):
                missing.append(one.replace("-", ""))
        if missing:
            through = self._batch if versions else self._connection
            for row in through.execute(self._sql["nodes_by_id"], (n, canonical_json(missing))):
                node = node_row(row)
                found[node.id] = node
                self._note(n, cast("int", row[0]), node)
        return found

    def number(self, n: int, node: str) -> int:
        """Return the row of a node. Raises CorruptError when there is none."""
        noted = self._by_id.get((n, node)) or self._cache.by_id.get((n, node))
        if noted is not None:
            return noted[0]
        row = self._connection.execute(self._sql["node_number"], (n, id_bytes(node))).fetchone()
        if row is None:
            raise CorruptError(f"the node {node} of a fact is not in the view; run `latewood doctor`")
        return cast("int", row[0])

    def facts(self, n: int, ids: Iterable[str], into: dict[str, FactRow]) -> dict[str, int]:
        """Add facts by their ids to *into*, and return the rows of their keys."""
        keys: dict[str, int] = {}
        listed = canonical_json([one.replace("-", "") for one in ids])
        for row in self._batch.execute(self._sql["facts_for_plan"], (n, listed)):
            raw_id, subject, predicate, key, tier, absent, valid_from, retracted_at, _, k = row[:10]
            valid_to, trust, known, payload, origin = row[10:]
            fact_id = id_text(cast("bytes", raw_id))
            into[fact_id] = FactRow(
                fact_id, id_text(cast("bytes", subject)), cast("str", predicate), cast("bytes", key), cast("int", tier),
                bool(absent), cast("int", valid_from), open_end(cast("int", retracted_at)),
                cast("int | None", valid_to), cast("int", trust), bool(known),
                json.loads(cast("str", payload)) if payload else {}, cast("str | None", origin) or "",
            )  # fmt: skip
            keys[fact_id] = cast("int", k)
        return keys
