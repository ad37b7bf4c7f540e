"""Running the kit against a store, and the table of what it does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from latewood.storage.conformance.registry import CAPABILITIES, Check
from latewood.storage.conformance.scene import MakeStore

__all__ = ["Report", "Result", "SkippedError", "run"]


class SkippedError(Exception):
    """Raised by an adapter's `MakeStore` for what it does not offer, with the reason."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one check went."""

    capability: str
    check: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """How every check went."""

    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return all(result.outcome != "failed" for result in self.results)

    def __str__(self) -> str:
        """Write a table with a row per capability, then each failure and each skip with its reason."""
        lines = [f"{'capability':<14}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}"]
        for capability in dict.fromkeys(result.capability for result in self.results):
            own = [result for result in self.results if result.capability == capability]
            counts = {name: sum(one.outcome == name for one in own) for name in ("passed", "failed", "skipped")}
            seconds = sum(one.seconds for one in own)
            lines.append(
                f"{capability:<14}{counts['passed']:>8}{counts['failed']:>8}{counts['skipped']:>9}{seconds:>9.2f}"
            )
        lines += [
            f"{one.outcome} {one.capability}.{one.check}: {one.detail}"
            for one in self.results
            if one.outcome != "passed"
        ]
        return "\n".join(lines)


async def _result(make: MakeStore, capability: str, check: Check) -> Result:
    start = time.monotonic()
    outcome: Literal["passed", "failed", "skipped"] = "passed"
    detail = ""
    try:
        await check(make)
    except SkippedError as reason:
        outcome, detail = "skipped", str(reason)
    except Exception as error:  # noqa: BLE001 - a store may fail in any way, and the other checks still run
        outcome, detail = "failed", f"{type(error).__name__}: {error}"
    return Result(capability, check.__name__, outcome, detail, time.monotonic() - start)


async def run(make: MakeStore) -> Report:
    """Run every check, each on a fresh store."""
    results = [
        await _result(make, capability, check) for capability, checks in CAPABILITIES.items() for check in checks
    ]
    return Report(tuple(results))
