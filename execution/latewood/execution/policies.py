"""Policies that come as data: declared by whoever starts a run elsewhere, read back from the run that goes by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from latewood.execution.faults import DEFAULT, Action, FaultClass, Policy, Rule
from latewood.execution.words import Run, Runner
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.values import Json, check_text

__all__ = [
    "POLICY_TRIES_MAX",
    "POLICY_WAIT_S_MAX",
    "declared_policy",
    "kept_with_run",
    "policy_of",
    "since_given_up",
    "told_policy",
]

POLICY_TRIES_MAX: Final = 1_000
"""Most tries of a rule that is declared."""
POLICY_WAIT_S_MAX: Final = 86_400.0
"""Longest wait of a rule that is declared."""
_VERSION_BYTES_MAX: Final = 200


def declared_policy(
    version: str, rules: Mapping[FaultClass, Rule], *, wait_s_max: float = POLICY_WAIT_S_MAX
) -> Policy:  # fmt: skip
    """Return the usual policy with *rules* in place of its own, under the name *version*.

    Raises:
        InvalidError: it has no name of its own, or a rule cannot be gone by (``query.invalid``).
    """
    name = check_text(version, "the policy's version", bytes_max=_VERSION_BYTES_MAX).strip()
    if not name or (name == DEFAULT.version and rules):
        msg = f"a policy of its own needs a version, a name for it other than {DEFAULT.version}"
        raise InvalidError(msg, code="query.invalid")
    for kind, rule in rules.items():
        grows = 0 <= rule.first_s <= rule.longest_s <= wait_s_max
        if not grows or not 1 <= rule.tries <= POLICY_TRIES_MAX:
            msg = (
                f"the rule for {kind} has 1 to {POLICY_TRIES_MAX:,} tries, and waits of 0 to {wait_s_max:,.0f} seconds "
                "that grow"
            )
            raise InvalidError(msg, code="query.invalid")
    return DEFAULT.changed(name, rules)


def told_policy(
    rules: Sequence[tuple[FaultClass, Rule]] | None, version: str | None, *, wait_s_max: float = POLICY_WAIT_S_MAX
) -> Policy | None:  # fmt: skip
    """Return the policy that a caller elsewhere names by its rules and its version; None where it names none.

    Raises:
        InvalidError: rules without a version or the other way round, two rules for one class, or a rule that cannot
            be gone by (``query.invalid``).
    """
    if rules is None and version is None:
        return None
    if rules is None or not version:
        msg = "a policy of its own needs its rules and its version, a name for it"
        raise InvalidError(msg, code="query.invalid")
    told: dict[FaultClass, Rule] = {}
    for kind, rule in rules:
        if kind in told:
            raise InvalidError(f"the policy has two rules for {kind}; leave one of them out", code="query.invalid")
        told[kind] = rule
    return declared_policy(version, told, wait_s_max=wait_s_max)


def kept_with_run(policy: Policy, runner: Runner) -> dict[str, Json]:
    """Return what a run keeps of its policy. Raises InvalidError: a worker goes by its workflow's own policy."""
    if runner == "agent":
        return {"policy": policy.version, "rules": policy.document()}
    if policy != DEFAULT:
        raise InvalidError("a Python worker goes by its workflow's own policy; leave it out", code="query.invalid")
    return {"policy": policy.version}


def since_given_up(tried: Sequence[Mapping[str, Json]]) -> Sequence[Mapping[str, Json]]:
    """Return those of a step's tries that count now: a step that is tried anew has all its tries again."""
    for end in range(len(tried), 0, -1):
        # The last try of those that its policy allowed has none after it.
        if "class" in tried[end - 1] and "retry_at" not in tried[end - 1]:
            return tried[end:]
    return tried


def policy_of(run: Run) -> Policy:
    """Return the policy that a run was started with; one that was written without its rules goes by the usual ones."""
    rules: dict[FaultClass, Rule] = {}
    known = {str(kind): kind for kind in FaultClass}
    for name, said in run.rules.items():
        match said:
            case {
                "tries": int() as tries, "then": str() as then,
                "first_s": int() | float() as first_s, "longest_s": int() | float() as longest_s,
            } if name in known:  # fmt: skip
                rules[known[name]] = Rule(tries, Action(then), float(first_s), float(longest_s))
            case _:
                continue
    return DEFAULT.changed(run.policy, rules) if rules else DEFAULT
