"""Leases with fences: who may act under a name, judged by the store's clock."""

from __future__ import annotations

from typing import cast

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.errors import ConflictError
from latewood.storage.crashpoints import reach
from latewood.storage.fences import LeaseRow, check_lease
from latewood.storage.port import Lease
from latewood.storage.sqlite.database import Database, Statements

__all__ = ["acquire", "read", "release", "renew"]


def _until(now: Micros, ttl_s: float) -> Micros:
    return now + round(ttl_s * 1_000_000)


def read(connection: Statements, n: int, name: str) -> LeaseRow:
    """Return what is stored under a lease's name."""
    row = connection.execute("select owner, fence, until from lease where space = ? and name = ?", (n, name)).fetchone()
    return LeaseRow() if row is None else LeaseRow(*cast("tuple[str | None, int, int]", row))


def _write(connection: Database, n: int, name: str, row: LeaseRow) -> None:
    connection.execute(
        "insert or replace into lease(space, name, owner, fence, until) values(?, ?, ?, ?, ?)",
        (n, name, row.owner, row.fence, row.until),
    )


def acquire(connection: Database, n: int, space: str, name: str, owner: str, now: Micros, ttl_s: float) -> Lease | None:
    """Take the lease when it is free, run out, or the owner's already."""
    row = read(connection, n, name)
    live = row.live(now)
    if live and row.owner != owner:
        return None
    lease = Lease(space, name, owner, row.fence if live else row.fence + 1, _until(now, ttl_s))
    _write(connection, n, name, LeaseRow(owner, lease.fence, lease.until))
    reach("lease.taken")
    return lease


def renew(connection: Database, n: int, lease: Lease, now: Micros, ttl_s: float) -> Lease:
    """Prolong a lease that still runs. Raises ConflictError (``lease.lost``)."""
    check_lease(read(connection, n, lease.name), lease.name, lease.owner, lease.fence, now)
    fresh = Lease(lease.space, lease.name, lease.owner, lease.fence, _until(now, ttl_s))
    _write(connection, n, lease.name, LeaseRow(lease.owner, lease.fence, fresh.until))
    reach("lease.renewed")
    return fresh


def release(connection: Database, n: int, lease: Lease, now: Micros) -> bool:
    """Give a lease back; its fence stays, so that it can only grow."""
    try:
        check_lease(read(connection, n, lease.name), lease.name, lease.owner, lease.fence, now)
    except ConflictError:
        return False
    _write(connection, n, lease.name, LeaseRow(fence=lease.fence))
    return True
