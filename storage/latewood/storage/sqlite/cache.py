"""What the writer remembers between groups, so that the usual write reads nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.model import LedgerName
from latewood.storage.rows import NodeRow, SpaceRow
from latewood.storage.settling import KeyState
from latewood.storage.sqlite.database import Database, number
from latewood.storage.sqlite.vectors import StoredGeneration

__all__ = ["Cache", "CachedLedger", "CachedSpace"]

NODES_CACHED_MAX: Final = 50_000
KEYS_CACHED_MAX: Final = 50_000


@dataclass(slots=True)
class CachedLedger:
    """The head of a ledger while a group is written."""

    number: int
    seq: int
    hash: bytes
    recorded_at: Micros


@dataclass(slots=True)
class CachedSpace:
    """A space while it is written to; *generation* is the current one of its vectors."""

    n: int
    row: SpaceRow
    ledgers: dict[LedgerName, CachedLedger] = field(default_factory=dict[LedgerName, CachedLedger])
    generation: StoredGeneration | None = None


@dataclass(slots=True)
class Cache:
    """What the writer knows of the file without looking: valid as long as no other connection has written.

    Attributes:
        version: SQLite's data_version when it was filled; another one empties it.
        nodes: by normal key, and *by_id* with their row numbers; of most kinds without their attributes.
        reached: as far as the memories and the statuses are known to reach; -1 when that is not known.
    """

    version: int = -1
    spaces: dict[tuple[str, str], CachedSpace] = field(default_factory=dict[tuple[str, str], "CachedSpace"])
    nodes: dict[tuple[int, str], NodeRow] = field(default_factory=dict[tuple[int, str], NodeRow])
    by_id: dict[tuple[int, str], tuple[int, NodeRow]] = field(
        default_factory=dict[tuple[int, str], tuple[int, NodeRow]]
    )
    keys: dict[tuple[int, bytes], KeyState] = field(default_factory=dict[tuple[int, bytes], KeyState])
    next_e: int = 0
    next_n: int = 0
    next_k: int = 0
    reached: int = -1

    def refresh(self, connection: Database) -> None:
        """Empty the cache when another connection wrote, or when it has grown too large."""
        version = number(connection.execute("pragma data_version"))
        full = len(self.by_id) > NODES_CACHED_MAX or len(self.keys) > KEYS_CACHED_MAX
        if version == self.version and not full:
            return
        self.clear()
        self.version = version
        self.next_e = number(connection.execute("select coalesce(max(e), 0) + 1 from event"))
        self.next_n = number(connection.execute("select coalesce(max(n), 0) + 1 from node"))
        self.next_k = number(connection.execute("select coalesce(max(k), 0) + 1 from key"))

    def clear(self) -> None:
        """Forget everything."""
        self.version = self.reached = -1
        self.spaces.clear()
        self.forget_nodes()
        self.keys.clear()

    def forget_nodes(self) -> None:
        """Forget the nodes."""
        self.nodes.clear()
        self.by_id.clear()
