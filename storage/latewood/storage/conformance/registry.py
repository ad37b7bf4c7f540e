"""Every check, by the capability that it holds a store to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from latewood.storage.conformance import (
    bounds,
    committing,
    conflicts,
    erasing,
    histories,
    idempotency,
    identity,
    leases,
    ledgers,
    lifecycle,
    memories,
    portability,
    queueing,
    reading,
    rebuilding,
    receipts,
    resolution,
    searching,
    tenancy,
    timelines,
    vectors,
)
from latewood.storage.conformance.scene import MakeStore

__all__ = ["CAPABILITIES", "Check"]

Check: TypeAlias = Callable[[MakeStore], Awaitable[None]]
"""A check gets stores from its argument and asserts."""

CAPABILITIES: Final[Mapping[str, tuple[Check, ...]]] = {
    "commit": committing.CHECKS,
    "resolution": resolution.CHECKS,
    "idempotency": idempotency.CHECKS,
    "reads": reading.CHECKS,
    "conflicts": conflicts.CHECKS,
    "timeline": timelines.CHECKS,
    "search": (*searching.CHECKS, *memories.CHECKS),
    "vectors": vectors.CHECKS,
    "ledger": ledgers.CHECKS,
    "receipts": receipts.CHECKS,
    "erasure": erasing.CHECKS,
    "identity": identity.CHECKS,
    "history": histories.CHECKS,
    "portability": portability.CHECKS,
    "rebuild": rebuilding.CHECKS,
    "tenancy": tenancy.CHECKS,
    "leases": leases.CHECKS,
    "messages": queueing.CHECKS,
    "bounds": bounds.CHECKS,
    "lifecycle": lifecycle.CHECKS,
}
