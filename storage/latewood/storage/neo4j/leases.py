"""Leases with fences, each locked while it is judged by the store's clock."""

from __future__ import annotations

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.errors import ConflictError
from latewood.storage.crashpoints import reach
from latewood.storage.fences import LeaseRow, check_lease
from latewood.storage.neo4j.database import Query
from latewood.storage.port import Lease

__all__ = ["acquire", "release", "renew"]


def _until(now: Micros, ttl_s: float) -> Micros:
    return now + round(ttl_s * 1_000_000)


def _read(query: Query, n: int, name: str, now: Micros) -> LeaseRow:
    owner, fence, until = query("lease", space=n, name=name, lock=now)[0]
    return LeaseRow(owner, fence or 0, until or 0)


def _set(query: Query, n: int, name: str, **lease: object) -> None:
    query("set_lease", space=n, name=name, lease=lease)


def acquire(query: Query, n: int, space: str, name: str, owner: str, now: Micros, ttl_s: float) -> Lease | None:
    """Take the lease when it is free, run out, or the owner's already."""
    row = _read(query, n, name, now)
    live = row.live(now)
    if live and row.owner != owner:
        return None
    lease = Lease(space, name, owner, row.fence if live else row.fence + 1, _until(now, ttl_s))
    _set(query, n, name, owner=owner, fence=lease.fence, until=lease.until)
    reach("lease.taken")
    return lease


def renew(query: Query, n: int, lease: Lease, now: Micros, ttl_s: float) -> Lease:
    """Prolong a lease that still runs. Raises ConflictError (``lease.lost``)."""
    check_lease(_read(query, n, lease.name, now), lease.name, lease.owner, lease.fence, now)
    fresh = Lease(lease.space, lease.name, lease.owner, lease.fence, _until(now, ttl_s))
    _set(query, n, lease.name, until=fresh.until)
    reach("lease.renewed")
    return fresh


def release(query: Query, n: int, lease: Lease, now: Micros) -> bool:
    """Give a lease back; its fence stays, so that it can only grow."""
    try:
        check_lease(_read(query, n, lease.name, now), lease.name, lease.owner, lease.fence, now)
    except ConflictError:
        return False
    _set(query, n, lease.name, owner=None, until=0)
    return True
