"""The words of messages: channels and who consumes them, messages, what became of each, and what nobody settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from latewood.execution.faults import DEFAULT, Action, FaultClass, Policy, Rule
from latewood.execution.messages.routing import Routes
from latewood.graph_schema.commands import Hold
from latewood.graph_schema.values import Json

__all__ = [
    "EXPIRED", "PAYLOAD_BYTES_MAX", "Channel", "DeadLetter", "Delivery", "Group", "Limits", "Message", "Published",
    "Received", "Settled", "policy_from", "policy_json",
]  # fmt: skip

PAYLOAD_BYTES_MAX: Final = 256_000
"""Most bytes of canonical JSON that a message carries."""
EXPIRED: Final = "expired"
"""The class of a dead letter whose message was not settled in its time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a channel holds at most before publishers are told to come back (``channel.full``).

    Attributes:
        pending_max: messages that wait for any one of its groups; *bytes_max* what those carry.
    """

    pending_max: int = 1_000_000
    bytes_max: int = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Group:
    """Consumers that share the messages of a channel: each message goes to one of them.

    Attributes:
        reads: the version of the channel's schema that it was made for.
        owner: who is asked when it cannot settle a message, and *policy* how often it tries; None: as the channel says.
    """

    id: str
    name: str
    reads: int
    owner: str | None = None
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """Where messages of one schema go.

    Attributes:
        schema: JSON Schema 2020-12 that the data of each message fits; None takes anything. *version* counts up from 1.
        owner: who is asked when a message cannot be settled.
        policy: how often a failed message is handed out again, by class of trouble.
        routes: rules by which a message goes to another channel instead.
        node_version: a publisher expects it, so that no message misses a group or a schema that came in between.
    """

    id: str
    name: str
    schema: Mapping[str, Json] | None
    version: int
    owner: str | None
    limits: Limits
    policy: Policy
    groups: tuple[Group, ...]
    node_version: int
    routes: Routes | None = None

    def group(self, name: str) -> Group | None:
        """Return the group of a name."""
        return next((one for one in self.groups if one.name == name), None)

    def policy_for(self, group: str) -> Policy:
        """Return the policy that a group goes by: its own, or the channel's."""
        own = self.group(group)
        return self.policy if own is None or own.policy is None else own.policy

    def owner_for(self, group: str) -> str | None:
        """Return who is asked when a group cannot settle a message: its own owner, or the channel's."""
        own = self.group(group)
        return self.owner if own is None or own.owner is None else own.owner


@dataclass(frozen=True, slots=True)
class Message:
    """A durable hand-off, as CloudEvents 1.0 has it, with where it went and under what.

    Attributes:
        id: of the node; *event_id* and *source* are the envelope's, unique together.
        extensions: further attributes of the envelope.
        version: of the channel's schema that the data fitted when it was published.
        rule: the routing rule that it came by, as ``channel@version/name``; without a name it fitted none.
    """

    id: str
    channel: str
    type: str
    source: str
    event_id: str
    time: str
    data: Json
    version: int
    recorded_at: datetime
    subject: str | None = None
    ordering_key: str | None = None
    priority: int = 0
    expires_at: datetime | None = None
    rule: str | None = None
    size: int = 0
    extensions: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def envelope(self) -> dict[str, Json]:
        """Write the message as a CloudEvent in JSON."""
        found: dict[str, Json] = {
            "specversion": "1.0", "id": self.event_id, "source": self.source, "type": self.type, "time": self.time,
            "datacontenttype": "application/json", "data": self.data,
        }  # fmt: skip
        if self.subject is not None:
            found["subject"] = self.subject
        return found | dict(self.extensions)


@dataclass(frozen=True, slots=True)
class Published:
    """That a message is kept.

    Attributes:
        duplicate: it was published before under the same idempotency key; nothing new was written.
    """

    id: str
    receipt: str
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """A message in a consumer's hands until *until*; `hold` is what its settlement is guarded by.

    Attributes:
        number: which try this is, the first being 1.
        key: the same for every try of this group at this message: an idempotency key for its effects.
    """

    message: Message
    channel: str
    group: str
    hold: Hold
    until: datetime
    number: int

    @property
    def key(self) -> str:
        """An idempotency key for the effects of this message in this group."""
        return f"message:{self.message.id}/{self.hold.group}"


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a message in a consumer's hands.

    Attributes:
        outcome: ``acked``; ``duplicate`` when its group was done with it before, and this did nothing; ``retried``;
            ``dead``.
        retry_at: when it is handed out again.
        dead_letter: the id of its dead letter.
    """

    outcome: str
    receipt: str
    retry_at: datetime | None = None
    dead_letter: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One try at a message by a consumer, settled.

    Attributes:
        outcome: ``acked``, ``failed``, ``dead``, ``duplicate``, ``dropped``, ``redriven`` or ``replayed``.
        told: what the consumer had to say of it: of a webhook the status, the time it took, and the answer's digest.
    """

    id: str
    message: str
    group: str
    number: int
    outcome: str
    consumer: str
    recorded_at: datetime
    fault: str | None = None
    words: str | None = None
    told: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that nobody could settle, and why.

    Attributes:
        fault: the class of trouble, or ``expired``.
        trace: where it went wrong, as the consumer told it.
        tries: how often it was tried.
        status: ``open``, or ``redriven``.
        message: the message with its payload; None when that was erased.
    """

    id: str
    channel: str
    group: str
    fault: str
    reason: str
    trace: str | None
    tries: int
    owner: str | None
    status: str
    recorded_at: datetime
    message: Message | None


def policy_json(policy: Policy) -> dict[str, Json]:
    """Write a policy as it is kept with its channel."""
    rules: dict[str, Json] = {
        str(kind): [rule.tries, str(rule.then), rule.first_s, rule.longest_s] for kind, rule in policy.rules.items()
    }
    return {"version": policy.version, "rules": rules}


def policy_from(kept: Json) -> Policy:
    """Read a policy back; what is not there is as `DEFAULT` has it."""
    if not isinstance(kept, dict):
        return DEFAULT
    rules: dict[FaultClass, Rule] = {}
    listed = kept.get("rules")
    for kind, said in (listed if isinstance(listed, dict) else {}).items():
        match said:
            case [int() as tries, str() as then, int() | float() as first_s, int() | float() as longest_s]:
                rules[FaultClass(kind)] = Rule(tries, Action(then), float(first_s), float(longest_s))
            case _:
                continue
    return DEFAULT.changed(str(kept.get("version", DEFAULT.version)), rules)
