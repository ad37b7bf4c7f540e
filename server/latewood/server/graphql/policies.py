"""Policies as input: what is done about each class of trouble, by a channel or by a run of an agent elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry

from latewood.execution.faults import Action, FaultClass, Policy, Rule
from latewood.execution.policies import POLICY_WAIT_S_MAX, told_policy
from latewood.server.graphql.arguments import described
from latewood.server.graphql.scalars import describe

__all__ = ["PolicyRuleInput", "policy_from_input"]

describe(
    FaultClass,
    "Of which class a trouble is: what is tried how often goes by it.",
    {
        FaultClass.TRANSIENT: "It passes: a lost connection, a timeout. Five tries, then escalate.",
        FaultClass.RATE_LIMIT: "Too much at once. Eight tries, never sooner than asked for, then escalate.",
        FaultClass.PERMANENT: "It would only fail again. One try, then refuse.",
        FaultClass.INVALID_TOOL_CALL: "A model called a tool wrongly. One repair, then escalate.",
        FaultClass.SCHEMA: "An answer is not of the form that was asked for. One repair, then escalate.",
        FaultClass.AMBIGUOUS: "Nobody knows what came of it, or several things fit. Escalate at once.",
        FaultClass.POISON: "It takes down whoever tries it. Escalate at once.",
        FaultClass.LOST_WORKER: "Its worker was lost. Three of them, then escalate.",
    },
)
describe(
    Action,
    "What becomes of a message or of an agent's run when the tries of a class are used up; a message is a dead letter.",
    {Action.ESCALATE: "Its owner is asked.", Action.REFUSE: "It is given up."},
)


@strawberry.input(description="What is done about one class of trouble.")
class PolicyRuleInput:
    """What is done about one class of trouble."""

    fault: FaultClass = described("The class.")
    tries: int = described(
        "In all, the first one counted; of LOST_WORKER how many consumers a message, or workers a run, may lose."
    )
    then: Action = described("What is done when they are used up.", Action.ESCALATE)
    first_seconds: float = described("Before the second try; each later wait is twice as long.", 0.5)
    longest_seconds: float = described("The longest wait.", 60.0)


def policy_from_input(
    rules: Sequence[PolicyRuleInput] | None, version: str | None, wait_s_max: float = POLICY_WAIT_S_MAX
) -> Policy | None:
    """Return the policy that an input names; None where it names none. Raises InvalidError as `told_policy` does."""
    said = [(one.fault, Rule(one.tries, one.then, one.first_seconds, one.longest_seconds)) for one in rules or ()]
    return told_policy(None if rules is None else said, version, wait_s_max=wait_s_max)
