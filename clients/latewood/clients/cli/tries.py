"""How often something is tried, by class of trouble, as options say it: ``--tries transient=3``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from latewood.graph_schema.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latewood.execution import FaultClass, Policy, Rule

__all__ = ["with_tries"]


def with_tries(policy: Policy, tries: Sequence[str]) -> Policy:
    """Return *policy* with other numbers of tries, under a version that says which. Raises InvalidError."""
    from latewood.execution import FaultClass
    from latewood.execution.policies import POLICY_TRIES_MAX

    changed: dict[FaultClass, Rule] = {}
    for one in tries:
        kind, _, number = one.partition("=")
        if kind not in set(FaultClass) or not number.isdecimal() or not 1 <= int(number) <= POLICY_TRIES_MAX:
            msg = f"--tries takes CLASS=N as in transient=3, N from 1 to {POLICY_TRIES_MAX}, not {one[:80]!r}"
            raise InvalidError(f"{msg}; the classes are {', '.join(FaultClass)}", code="query.invalid")
        changed[FaultClass(kind)] = replace(policy.rule(FaultClass(kind)), tries=int(number))
    return policy.changed(" ".join(f"{kind}={rule.tries}" for kind, rule in changed.items()), changed)
