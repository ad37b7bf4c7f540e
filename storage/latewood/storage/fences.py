"""Whether a lease is still its owner's: judged alike by every store, inside the transaction that depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.errors import ConflictError

__all__ = ["LeaseRow", "check_lease"]


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """What is stored under a lease's name; *owner* is None when it was given back."""

    owner: str | None = None
    fence: int = 0
    until: Micros = 0

    def live(self, now: Micros) -> bool:
        """Whether someone has it at *now*."""
        return self.owner is not None and self.until > now


def check_lease(row: LeaseRow, name: str, owner: str, fence: int, now: Micros) -> None:
    """Refuse whoever acts under a lease that is no longer theirs.

    Raises:
        ConflictError: code ``lease.lost``; the message has both fences when another owner came after.
    """
    if row.live(now) and (row.owner, row.fence) == (owner, fence):
        return
    what = f"stale fence {fence} < {row.fence}" if row.fence > fence else "it ran out or was given back"
    msg = f"the lease {name!r} is lost: {what}; acquire it again before you act under it"
    raise ConflictError(msg, code="lease.lost", lease=name, fence=fence, current=row.fence)
