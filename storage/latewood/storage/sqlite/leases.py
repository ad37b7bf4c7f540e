"""Leases with fences: who may act under a name, judged by the store's clock."""

from __future__ import annotations

from typing import cast

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.errors import ConflictError
from latewood.storage.crashpoints import reach
from latewood.storage.port import Lease
from latewood.storage.sqlite.database import Database

__all__ = ["acquire", "release", "renew"]


def _until(now: Micros, ttl_s: float) -> Micros:
    return now + round(ttl_s * 1_000_000)


def acquire(connection: Database, n: int, space: str, name: str, owner: str, now: Micros, ttl_s: float) -> Lease | None:
    """Take the lease when it is free, run out, or the owner's already."""
    row = connection.execute("select owner, fence, until from lease where space = ? and name = ?", (n, name)).fetchone()
    holder, fence, until = cast("tuple[str | None, int, int]", row) if row is not None else (None, 0, 0)
    live = holder is not None and until > now
    if live and holder != owner:
        return None
    lease = Lease(space, name, owner, fence if live else fence + 1, _until(now, ttl_s))
    connection.execute(
        "insert or replace into lease(space, name, owner, fence, until) values(?, ?, ?, ?, ?)",
        (n, name, owner, lease.fence, lease.until),
    )
    reach("lease.taken")
    return lease


def renew(connection: Database, n: int, lease: Lease, now: Micros, ttl_s: float) -> Lease:
    """Prolong a lease that still runs. Raises ConflictError (``lease.lost``)."""
    fresh = Lease(lease.space, lease.name, lease.owner, lease.fence, _until(now, ttl_s))
    connection.execute(
        "update lease set until = ? where space = ? and name = ? and owner = ? and fence = ? and until > ?",
        (fresh.until, n, lease.name, lease.owner, lease.fence, now),
    )
    if connection.changes() == 0:
        row = connection.execute("select fence from lease where space = ? and name = ?", (n, lease.name)).fetchone()
        current = 0 if row is None else cast("int", row[0])
        what = f"stale fence {lease.fence} < {current}" if current > lease.fence else "it ran out"
        raise ConflictError(f"the lease {lease.name!r} is lost: {what}", code="lease.lost", fence=lease.fence)
    reach("lease.renewed")
    return fresh


def release(connection: Database, n: int, lease: Lease, now: Micros) -> bool:
    """Give a lease back; its fence stays, so that it can only grow."""
    connection.execute(
        "update lease set owner = null, until = 0 "
        "where space = ? and name = ? and owner = ? and fence = ? and until > ?",
        (n, lease.name, lease.owner, lease.fence, now),
    )
    return connection.changes() == 1
