"""Leases with fences, each locked while it is judged by the store's clock."""

from __future__ import annotations

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.errors import ConflictError
from latewood.storage.crashpoints import reach
from latewood.storage.neo4j.database import Query
from latewood.storage.port import Lease

__all__ = ["acquire", "release", "renew"]


def _until(now: Micros, ttl_s: float) -> Micros:
    return now + round(ttl_s * 1_000_000)


def _read(query: Query, n: int, name: str, now: Micros) -> tuple[str | None, int, Micros]:
    owner, fence, until = query("lease", space=n, name=name, lock=now)[0]
    return owner, fence or 0, until or 0


def _set(query: Query, n: int, name: str, **lease: object) -> None:
    query("set_lease", space=n, name=name, lease=lease)


def acquire(query: Query, n: int, space: str, name: str, owner: str, now: Micros, ttl_s: float) -> Lease | None:
    """Take the lease when it is free, run out, or the owner's already."""
    holder, fence, until = _read(query, n, name, now)
    live = holder is not None and until > now
    if live and holder != owner:
        return None
    lease = Lease(space, name, owner, fence if live else fence + 1, _until(now, ttl_s))
    _set(query, n, name, owner=owner, fence=lease.fence, until=lease.until)
    reach("lease.taken")
    return lease


def renew(query: Query, n: int, lease: Lease, now: Micros, ttl_s: float) -> Lease:
    """Prolong a lease that still runs. Raises ConflictError (``lease.lost``)."""
    owner, fence, until = _read(query, n, lease.name, now)
    if (owner, fence) != (lease.owner, lease.fence) or until <= now:
        what = f"stale fence {lease.fence} < {fence}" if fence > lease.fence else "it ran out"
        raise ConflictError(f"the lease {lease.name!r} is lost: {what}", code="lease.lost", fence=lease.fence)
    fresh = Lease(lease.space, lease.name, lease.owner, lease.fence, _until(now, ttl_s))
    _set(query, n, lease.name, until=fresh.until)
    reach("lease.renewed")
    return fresh


def release(query: Query, n: int, lease: Lease, now: Micros) -> bool:
    """Give a lease back; its fence stays, so that it can only grow."""
    owner, fence, until = _read(query, n, lease.name, now)
    if (owner, fence) != (lease.owner, lease.fence) or until <= now:
        return False
    _set(query, n, lease.name, owner=None, until=0)
    return True
