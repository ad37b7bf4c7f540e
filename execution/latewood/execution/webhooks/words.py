"""The words of webhooks: what one is, its secret as it is shown once, and what became of each call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from latewood.execution.faults import DEFAULT, Action, FaultClass, Rule

__all__ = ["POLICY", "HookState", "NewSecret", "Webhook", "WebhookReceipt"]

POLICY: Final = DEFAULT.changed("webhooks-1", {
    # About nine hours in all: long enough for an outage that somebody has to notice and mend.
    FaultClass.TRANSIENT: Rule(15, Action.ESCALATE, first_s=1.0, longest_s=7_200.0),
    FaultClass.RATE_LIMIT: Rule(15, Action.ESCALATE, first_s=2.0, longest_s=7_200.0),
})  # fmt: skip
"""How often a webhook is called with one message, unless it says otherwise."""


class HookState(StrEnum):
    """Whether a webhook is called.

    ``gone``: it answered 410, and what comes for it becomes a dead letter without a call until it is resumed.
    ``paused``: nobody calls it, and what comes for it waits until it is resumed.
    """

    ON = "on"
    PAUSED = "paused"
    GONE = "gone"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address elsewhere that each message of a channel is delivered to.

    Attributes:
        group: of the channel; its own place in the queue, and its own dead letters.
        owner: who is asked when a message cannot be delivered.
        timeout_s: how long one call may take, from the name's look-up to the end of the answer.
        previous_until: until when the secret before the present one signs too; None where there is none.
    """

    id: str
    name: str
    channel: str
    group: str
    url: str
    owner: str
    timeout_s: float
    state: HookState
    recorded_at: datetime
    previous_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewSecret:
    """The secret that a webhook's calls are signed with from now on, shown this once."""

    webhook: Webhook
    secret: str


@dataclass(frozen=True, slots=True)
class WebhookReceipt:
    """What became of one call.

    Attributes:
        number: which try at the message it was.
        outcome: ``acked``, ``failed`` (it is tried again), or ``dead``.
        status: of the answer; None where there was none.
        digest: SHA-256 of the answer's body, of as much as was read.
        fault: the class of trouble, and *words* what it was.
    """

    id: str
    message: str
    number: int
    outcome: str
    recorded_at: datetime
    status: int | None
    took_ms: int | None
    digest: str | None
    fault: str | None
    words: str | None
